"""Fits against statsmodels', and of series that are odd."""

from __future__ import annotations

import json

import numpy as np
import pytest
from make_arima import FILE, ORDERS, reference
from shapes import AIR, coefficients_of, demand, fit, forecast, simulated
from statsmodels.tsa.statespace.sarimax import SARIMAX

from forecastkit.arima import estimation as est
from forecastkit.arima import panel as core
from forecastkit.arima.orders import Order
from forecastkit.arima.preparation import Terms
from forecastkit.data.panel import Floats

pytestmark = pytest.mark.filterwarnings("ignore::Warning:statsmodels", "ignore::UserWarning")

AIRLINE, USUAL = ORDERS[:2]


def share_as_high(order: Order, series: list[Floats], reference: list[float]) -> float:
    """Of fits that statsmodels ends, those whose log-likelihood is at least its own, but for 0.1."""
    ahead = fit(order, *series)[:, est.LOG_LIKELIHOOD] - np.array(reference, float)
    ended = ~np.isnan(ahead)
    assert ended.mean() > 0.9
    return float(np.mean(ahead[ended] >= -0.1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "share"),
    [(AIRLINE, 0.99), (USUAL, 0.98), (Order(0, 1, 2, 0, 0, 0, 1), 0.99), (Order(2, 1, 1, 1, 0, 1, 12), 0.95)],
    ids=str,
)
def test_the_maximum_is_as_high_as_that_of_statsmodels(order: Order, share: float, m3_monthly: list[Floats]) -> None:
    """In every 20th M3 series, so that 0.98 of 72 allows one; the requirement is held to by the larger sample below."""
    assert share_as_high(order, m3_monthly, [reference(order, y) for y in m3_monthly]) >= share


@pytest.mark.parametrize(("order", "share"), list(zip(ORDERS, (0.99, 0.99, 0.95, 0.95), strict=True)), ids=str)
def test_the_maximum_is_as_high_in_a_larger_sample(order: Order, share: float, m3_monthly_widely: list[Floats]) -> None:
    """99 % for orders up to (1,1,1)(0,1,1), 95 % for those beyond; 100 series are too few to tell 95 from 96 %.

    What statsmodels finds in these 357 series takes it minutes, and is kept.
    """
    kept = json.loads(FILE.read_text())["log_likelihood"][str(order)]
    assert share_as_high(order, m3_monthly_widely, kept) >= share


def test_the_airline_model_of_the_air_passengers_is_the_textbook_one() -> None:
    row = fit(AIRLINE, np.log(AIR))[0]
    theta, seasonal = coefficients_of(AIRLINE, row)
    # Box, Jenkins, Reinsel & Ljung 2015, section 9.2: theta 0.40, Theta 0.56, sigma^2 0.00134, in their signs.
    assert theta == pytest.approx(-0.40, abs=0.01)
    assert seasonal == pytest.approx(-0.56, abs=0.01)
    assert row[est.SIGMA] ** 2 == pytest.approx(0.00135, abs=2e-5)
    assert row[est.LOG_LIKELIHOOD] == pytest.approx(244.70, abs=0.01)  # R: arima(log(AirPassengers), ...)


def test_regression_and_trend_are_estimated_jointly_with_the_coefficients() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 2)).cumsum(axis=0)
    y = simulated(Order(1, 0, 1, 0, 0, 0, 1), np.array([0.6, 0.3]), 150, 1) + 5 + x @ np.array([2.0, -1.0])
    order = Order(1, 0, 1, 0, 0, 0, 1)
    data = demand(y, season=1, known=x)
    row = core.fit(data, est.Model(order, Terms(1, 0, 0, 2), 0))[0]
    joint = SARIMAX(y, x, order=(1, 0, 1), trend="c").fit(disp=0, maxiter=500)
    assert row[est.LOG_LIKELIHOOD] >= joint.llf - 1e-3
    np.testing.assert_allclose(row[est.REGRESSION + 2 :], joint.params[1:3], atol=0.02)


def test_a_warm_start_finds_the_same_maximum() -> None:
    cold = fit(USUAL, AIR)
    warm = core.fit(demand(AIR), est.Model(USUAL, Terms(0, 0, 0, 0), 0), cold)
    assert warm[0, est.STARTS] == 1
    np.testing.assert_allclose(warm[0, est.LOG_LIKELIHOOD], cold[0, est.LOG_LIKELIHOOD], atol=1e-3)


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_a_fit_does_not_depend_on_the_unit(unit: float) -> None:
    plain, scaled = fit(USUAL, AIR)[0], fit(USUAL, unit * AIR)[0]
    np.testing.assert_allclose(coefficients_of(USUAL, scaled), coefficients_of(USUAL, plain), rtol=1e-6)
    assert scaled[est.SIGMA] == pytest.approx(unit * plain[est.SIGMA], rel=1e-6)


ODD = {
    "constant": np.full(60, 7.0),
    "zeros": np.zeros(60),
    "almost constant": 7.0 + 1e-13 * np.random.default_rng(0).normal(size=60),
    "line": np.arange(60.0),
    "cycle": np.tile(np.arange(12.0), 5),
    "short": AIR[:20],
    "shorter than the season": AIR[:9],
    "four values": AIR[:4],
    "two values": AIR[:2],
    "one value": AIR[:1],
    "nothing": np.full(30, np.nan),
    "an outlier of 1e9": np.where(np.arange(60) == 31, 1e9, AIR[:60]),
    "the last value of 1e9": np.where(np.arange(60) == 59, 1e9, AIR[:60]),
    "random walk": np.random.default_rng(1).normal(size=80).cumsum(),
    "explosive": 1.2 ** np.arange(80.0),
    "alternating": np.tile([1.0, -1.0], 40),
    "one jump": np.repeat([0.0, 5.0], 40),
    "mostly zero": np.where(np.arange(80) % 17 == 0, 3.0, 0.0),
    "half missing": np.where(np.arange(80) % 2 == 0, np.resize(AIR, 80), np.nan),
    "nearly all missing": np.where(np.arange(80) % 16 == 0, np.resize(AIR, 80), np.nan),
}


@pytest.mark.parametrize("order", [AIRLINE, USUAL, Order(2, 0, 2, 1, 0, 1, 12), Order(5, 2, 5, 2, 1, 2, 4)], ids=str)
def test_odd_series_give_a_finite_forecast_or_a_reason(order: Order) -> None:
    rows = fit(order, *ODD.values())
    mean, deviation = forecast(order, rows, *ODD.values(), horizon=24)
    for i, (name, y) in enumerate(ODD.items()):
        reason = int(rows[i, est.REASON])
        if reason in est.FAILED:
            assert name in ("constant", "zeros", "two values", "one value", "nothing", "four values"), name
            continue
        assert np.isfinite(mean[i]).all(), name
        assert np.isfinite(deviation[i]).all(), name
        assert (deviation[i] >= 0).all(), name
        spread = np.nanmax(y) - np.nanmin(y)
        # A model with two differences may run on; nothing explodes.
        assert np.abs(mean[i] - np.nanmean(y)).max() < 1e3 * max(spread, abs(np.nanmean(y))), name


def test_fewer_terms_are_taken_where_a_series_is_short_and_said_so() -> None:
    row = fit(USUAL, AIR[:20])[0]
    assert row[est.ORDER + 5] == 0
    assert row[est.REASON] == est.FEWER_TERMS
    assert fit(USUAL, AIR[:60])[0, est.REASON] == est.GOOD


@pytest.mark.parametrize("order", [AIRLINE, USUAL, Order(1, 0, 0, 0, 1, 1, 12), Order(1, 2, 1, 0, 0, 0, 1)], ids=str)
@pytest.mark.parametrize("values", range(2, 9))
def test_a_very_short_series_is_forecast_where_it_is(order: Order, values: int) -> None:
    y = 200 + np.array([3.0, -2.0, 5.0, 0.0, 1.0, -4.0, 2.0, 3.0])[:values]
    row = fit(order, y)
    if int(row[0, est.REASON]) in est.FAILED:
        assert values <= 3
        return
    mean, _ = forecast(order, row, y, horizon=2)
    assert np.abs(mean - 200).max() < 30


def test_nearly_cancelling_factors_and_a_moving_average_at_one_converge() -> None:
    cancelled = simulated(Order(1, 0, 1, 0, 0, 0, 1), np.array([0.9, -0.88]), 120, 3)
    piled = np.diff(np.random.default_rng(4).normal(size=121))
    rows = fit(Order(1, 0, 1, 0, 0, 0, 1), cancelled, piled)
    assert (rows[:, est.CONVERGED] == 1).all()
    assert coefficients_of(Order(1, 0, 1, 0, 0, 0, 1), rows[1])[1] < -0.9


def test_gaps_are_stepped_over_and_the_air_passengers_stay_seasonal() -> None:
    y = np.log(AIR[:-12])
    holes = y.copy()
    holes[np.random.default_rng(5).choice(np.arange(1, len(y)), len(y) // 10, replace=False)] = np.nan
    rows = fit(AIRLINE, y, holes)
    mean, _ = forecast(AIRLINE, rows, y, holes, horizon=12)
    np.testing.assert_allclose(mean[1], mean[0], atol=0.05)
    assert np.ptp(mean[1]) > 0.8 * np.ptp(mean[0])
    assert np.abs(coefficients_of(AIRLINE, rows[1])).min() > 0.1


def test_a_series_of_too_many_gaps_is_estimated_on_its_newest_part() -> None:
    y = np.random.default_rng(6).normal(size=600).cumsum()
    y[:400][np.arange(400) % 2 == 0] = np.nan
    row = fit(Order(0, 1, 1, 0, 0, 0, 1), y)[0]
    assert row[est.REASON] == est.NEWEST_PART
    assert 200 <= row[est.OBSERVED] < 400


def test_threads_and_their_number_change_nothing(m3_monthly: list[Floats]) -> None:
    from forecastkit import execution

    data, model = demand(*m3_monthly), est.Model(USUAL, Terms(0, 0, 0, 0), 0)
    with execution.use_threads(1):
        alone = core.fit(data, model)
    with execution.use_threads(4):
        together = core.fit(data, model)
    np.testing.assert_array_equal(together, alone)
