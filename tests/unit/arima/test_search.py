"""How orders are chosen."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from shapes import AIR, demand, fit, panel, simulated
from statsmodels.tsa.seasonal import STL
from statsmodels.tsa.stattools import kpss as kpss_of_statsmodels

from forecastkit.arima import boxcox, differences
from forecastkit.arima import estimation as est
from forecastkit.arima import panel as core
from forecastkit.arima.orders import Order
from forecastkit.arima.search import clear_of_circle
from forecastkit.arima.stl import stl, strength
from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError
from forecastkit.models.auto_arima import AutoARIMA, Bounds

pytestmark = pytest.mark.filterwarnings("ignore::Warning:statsmodels", "ignore::UserWarning")


def orders(fitted_rows: Floats) -> list[tuple[int, ...]]:
    return [tuple(row) for row in fitted_rows[:, est.ORDER : est.ORDER + 7].astype(int).tolist()]


def search(*series: Floats, season: int = 12, **options: object) -> Floats:
    recipe = AutoARIMA(season=season, **options)
    return recipe.rows(demand(*series, season=season), None)


@pytest.mark.parametrize(("n", "m"), [(60, 12), (144, 12), (300, 24), (26, 12), (48, 4)])
def test_the_decomposition_is_that_of_statsmodels(n: int, m: int) -> None:
    y = np.random.default_rng(n).normal(size=n).cumsum() + 3 * np.sin(np.arange(n) * 2 * np.pi / m)
    season, trend = np.zeros(n), np.zeros(n)
    stl(y, m, season, trend, np.zeros((4, n + 2 * m)))
    trend_window = int(np.ceil(1.5 * m / (1 - 1.5 / 11)))
    trend_window += 1 - trend_window % 2
    low = m + 1 - m % 2
    windows = {"seasonal": 11, "trend": trend_window, "low_pass": low}
    jumps = {f"{name}_jump": (size + 9) // 10 for name, size in windows.items()}
    expected = STL(y, period=m, seasonal_deg=0, **windows, **jumps).fit(inner_iter=2, outer_iter=0)
    np.testing.assert_allclose(season, expected.seasonal, atol=1e-10)
    np.testing.assert_allclose(trend, expected.trend, atol=1e-10)
    own = strength(y, m, np.zeros((6, n + 2 * m)))
    assert own == pytest.approx(max(0.0, 1 - expected.resid.var() / (expected.resid + expected.seasonal).var()))


@pytest.mark.parametrize("n", [40, 150, 700])
def test_kpss_is_that_of_statsmodels(n: int) -> None:
    y = np.random.default_rng(n).normal(size=n).cumsum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its table's ends, and of what it will return one day
        expected = kpss_of_statsmodels(y, "c", nlags=int(3 * np.sqrt(n) / 13))[0]
    assert differences.kpss(y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("test", ["strength", "ocsb"])
def test_a_season_that_wanders_is_differenced_and_noise_is_not(test: str) -> None:
    noise = np.random.default_rng(0).normal(size=144)
    found = orders(search(np.log(AIR), noise, seasonal_test=test))
    assert [order[4] for order in found] == [1, 0]


@pytest.mark.parametrize(("lags", "raw", "log"), [(1, 2.77013411, -1.42403069), (3, 2.71584173, -1.34141779)])
def test_ocsb_is_that_of_pmdarima(lags: int, raw: float, log: float) -> None:
    """OCSBTest._fit_ocsb(y, 12, lags, lags).tvalues[-1] of pmdarima 2.1.1, on the air passengers and their log."""
    for y, expected in ((AIR, raw), (np.log(AIR), log)):
        assert differences._ocsb(y.copy(), 12, lags, np.zeros((6, 400)))[1] == pytest.approx(expected, rel=1e-6)
    assert differences.ocsb_critical(12) == pytest.approx(-1.8029627911815704)


@pytest.mark.parametrize("n", [16, 17, 18])
def test_ocsb_has_no_statistic_where_the_values_are_too_few(n: int) -> None:
    y = np.random.default_rng(n).normal(size=n)
    assert differences._ocsb(y, 12, 1, np.zeros((6, 400))) == (np.inf, 0.0)


def test_the_level_is_differenced_as_often_as_it_must_be() -> None:
    noise = np.random.default_rng(1).normal(size=200)
    once, twice = noise.cumsum(), (noise + 0.5).cumsum().cumsum()
    assert [order[1] for order in orders(search(noise, once, twice, season=1))] == [0, 1, 2]
    assert orders(search(once, season=1, bounds=Bounds(d=0)))[0][1] == 0
    assert orders(search(np.log(AIR), bounds=Bounds(D=0)))[0][4] == 0


@pytest.mark.parametrize(
    ("order", "c"),
    [
        (Order(1, 0, 0, 0, 0, 0, 1), [0.7]),
        (Order(0, 0, 1, 0, 0, 0, 1), [-0.6]),
        (Order(2, 0, 0, 0, 0, 0, 1), [0.5, 0.3]),
    ],
    ids=str,
)
def test_the_order_that_made_a_long_series_is_found_or_one_that_is_better(order: Order, c: list[float]) -> None:
    y = simulated(order, np.array(c), 600, 5)
    found = search(y, season=1, criterion="bic", bounds=Bounds(d=0))[0]
    own = fit(order, y)[0]
    assert est.criteria(found[None])[2] <= est.criteria(own[None])[2] + 1e-6
    assert found[est.ORDER] + found[est.ORDER + 2] <= 3


def test_a_search_through_all_models_is_never_worse_than_the_stepwise_one() -> None:
    bounds = Bounds(max_p=2, max_q=2, max_P=1, max_Q=1, max_order=6)
    steps, everything = (search(np.log(AIR), stepwise=on, bounds=bounds)[0] for on in (True, False))
    assert everything[est.TRIED] > steps[est.TRIED]
    assert est.criteria(everything[None])[1] <= est.criteria(steps[None])[1] + 1e-2


def test_the_bounds_are_kept() -> None:
    rows = search(np.log(AIR), simulated(Order(2, 1, 1, 0, 0, 0, 1), np.array([0.5, 0.3, 0.4]), 200, 2),
                  bounds=Bounds(max_p=1, max_q=0, max_P=0, max_Q=1, max_D=0))  # fmt: skip
    for p, _, q, long_auto, long_differences, long_moving, _ in orders(rows):
        assert p <= 1
        assert (q, long_auto, long_differences) == (0, 0, 0)
        assert long_moving <= 1


def test_a_drift_is_found_where_there_is_one() -> None:
    y = (np.random.default_rng(6).normal(size=150) + 0.8).cumsum()
    fitted = AutoARIMA(season=1).fit(panel(y))
    ahead = fitted.predict(10).mean[0]
    assert ahead[-1] - ahead[0] == pytest.approx(9 * 0.8, rel=0.4)


def test_seasonal_roots_are_looked_at_in_their_own_lag() -> None:
    order = Order(0, 1, 0, 0, 1, 1, 24)
    assert clear_of_circle(order, np.array([-0.9]), np.zeros(20))
    assert not clear_of_circle(order, np.array([-0.9999]), np.zeros(20))
    assert not clear_of_circle(Order(1, 0, 0, 0, 0, 0, 1), np.array([0.995]), np.zeros(20))
    assert not clear_of_circle(Order(2, 0, 0, 0, 0, 0, 1), np.array([1.2, -0.999]), np.zeros(20))


def test_a_long_season_is_made_of_as_many_waves_as_help() -> None:
    t = np.arange(208)
    y = 50 + 20 * np.sin(2 * np.pi * t / 52) + 8 * np.cos(2 * np.pi * 3 * t / 52)
    y += np.random.default_rng(7).normal(size=208)
    row = search(y, season=52)[0]
    assert row[est.PAIRS] in (3, 4)
    fitted = AutoARIMA(season=52).fit(panel(y[:156], freq="W"))
    np.testing.assert_allclose(fitted.predict(52).mean[0], y[156:], atol=6)


def test_covariates_are_part_of_every_candidate() -> None:
    rng = np.random.default_rng(8)
    price = rng.normal(size=200)
    y = 10 + 3 * price + simulated(Order(1, 0, 0, 0, 0, 0, 1), np.array([0.6]), 200, 9)
    fitted = AutoARIMA(season=1).fit(panel(y, price=price))
    plan = np.zeros((1, 1, 1))
    low, high = fitted.predict(1, future=plan).mean, fitted.predict(1, future=plan + 1).mean
    assert (high - low)[0, 0] == pytest.approx(3, abs=0.25)
    assert fitted.summary("a").names[:2] == ("const", "price")


@pytest.mark.parametrize("stepwise", [True, False])
def test_few_values_do_not_make_a_price_the_cause_of_all_demand(stepwise: bool) -> None:
    price = np.array([11.0, 10.5, 11.5, 10.8, 11.2, 11.0])
    y = np.array([40.0, 43.0, 41.0, 38.0, 42.0, 44.0])
    fitted = AutoARIMA(season=1, stepwise=stepwise).fit(panel(y, price=price))
    assert fitted.diagnostics()["constant"][0]
    usual, half = (fitted.predict(1, future=np.full((1, 1, 1), p)).mean[0, 0] for p in (11.0, 5.5))
    assert half > 0.8 * usual


def test_waves_stand_on_a_constant() -> None:
    waves = np.random.default_rng(13).normal(size=90) + 3 * np.sin(np.arange(90) * 2 * np.pi / 30)
    for level in (0.0, 50.0):
        row = search(level + waves, season=30, bounds=Bounds(d=0))[0]
        assert row[est.PAIRS] >= 1
        assert row[est.CONSTANT] == 1


def test_a_series_too_short_for_its_season_says_so() -> None:
    short, long, plain = search(AIR[:28], AIR[:60])[:, est.REASON].tolist() + search(AIR[:28], season=1)[0, :1].tolist()
    assert short == est.FEWER_TERMS
    assert (long, plain) == (est.GOOD, est.GOOD)


def test_a_refit_goes_on_from_the_orders_it_has() -> None:
    fitted = AutoARIMA().fit(panel(AIR[:-12]))
    again, cold = fitted.refit(panel(AIR)), AutoARIMA().fit(panel(AIR))
    assert again.diagnostics()["tried"][0] < cold.diagnostics()["tried"][0] + 5
    criteria = [est.criteria(model.parameters)[1][0] for model in (again, cold)]
    assert criteria[0] <= criteria[1] + 3


def test_waves_are_found_where_no_other_term_is_allowed() -> None:
    t = np.arange(208)
    y = 50 + 20 * np.sin(2 * np.pi * t / 52) + np.random.default_rng(11).normal(size=208)
    row = search(y, season=52, bounds=Bounds(max_p=0, max_q=0))[0]
    assert row[est.PAIRS] >= 1
    assert (row[est.ORDER], row[est.ORDER + 2]) == (0, 0)


def test_a_refit_learns_a_category_that_is_new() -> None:
    rng, rows = np.random.default_rng(12), 160
    shelf = np.array(["a", "b"])[rng.integers(2, size=rows)]
    shelf[120:] = np.array(["a", "b", "c"])[rng.integers(3, size=40)]
    y = 10 + 5 * (shelf == "c") + rng.normal(size=rows)
    fitted = AutoARIMA(season=1).fit(panel(y[:120], shelf=shelf[:120]))
    again = fitted.refit(panel(y, shelf=shelf))
    names = again.summary("a").names
    assert "shelf=c" in names
    effects = dict(zip(names, again.summary("a").estimates, strict=True))
    assert effects["shelf=c"] - effects.get("shelf=a", 0.0) == pytest.approx(5, abs=1)


def test_guerrero_levels_the_spread_of_the_air_passengers() -> None:
    powers = boxcox.guerrero(AIR.copy(), np.array([0, len(AIR)]), 12)
    assert powers[0] == pytest.approx(-0.2947, abs=0.01)  # R: forecast::BoxCox.lambda(AirPassengers)
    mixed = np.concatenate([AIR, AIR - 200, AIR[:5]])
    assert boxcox.guerrero(mixed, np.array([0, 144, 288, 293]), 12)[1:].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"criterion": "r2"}, "criterion must be one of"),
        ({"seasonal_test": "ch"}, "seasonal_test must be one of"),
        ({"boxcox": 7.0}, "boxcox must lie between"),
        ({"boxcox": "log"}, "boxcox must be a number"),
        ({"fourier": -1}, "fourier must be at least 0"),
        ({"season": 0}, "season must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        AutoARIMA(**options)


def test_bounds_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_p must lie between 0 and 5"):
        Bounds(max_p=9)


def test_the_panel_gives_what_each_series_gives_alone() -> None:
    series = [np.log(AIR), AIR[:70], np.random.default_rng(10).normal(size=90)]
    together = search(*series)
    for i, y in enumerate(series):
        np.testing.assert_array_equal(search(y)[0], together[i])
    assert core.row_length(0, 0) == together.shape[1]
