"""boosted: accuracy on real demand, rolling, quantiles, storage, and other regressors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

lightgbm = pytest.importorskip("lightgbm")
pytest.importorskip("sklearn")

from forecastkit import models  # noqa: E402
from forecastkit.data.io import read  # noqa: E402
from forecastkit.data.panel import Panel  # noqa: E402
from forecastkit.errors import ConfigError, SeriesTooShortError, StoreError  # noqa: E402
from forecastkit.forecaster import State  # noqa: E402
from forecastkit.models.boosted import Boosted, BoostedFitted  # noqa: E402

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def quick(**options: object) -> Boosted:
    return Boosted(trees=40, threads=1, **options)  # type: ignore[arg-type]


def made(*series: np.ndarray, **columns: object) -> Panel:
    frames = [
        pd.DataFrame({"unique_id": f"s{k}", "ds": pd.date_range("2024-01-01", periods=len(y)), "y": y})
        for k, y in enumerate(series)
    ]
    return Panel.from_frame(pd.concat(frames), freq="D")


def promoted(effect: float = 3.0) -> Panel:
    """Twelve items whose demand is multiplied on promotion days, which come at random."""
    rng = np.random.default_rng(5)
    frames = []
    for k in range(12):
        promo = rng.random(150) < 0.2
        y = rng.gamma(60, (k + 1) / 60, 150) * np.where(promo, effect, 1.0)
        days = pd.date_range("2024-01-01", periods=150)
        frames.append(pd.DataFrame({"unique_id": f"item {k:02d}", "ds": days, "y": y, "promo": promo.astype(int)}))
    return Panel.from_frame(pd.concat(frames), known=("promo",))


def scores(mean: np.ndarray, panel: Panel, horizon: int) -> float:
    actual = panel.tail(horizon).values.reshape(len(panel), horizon)
    return float(np.nansum(np.abs(mean - actual)) / np.nansum(np.abs(actual)))


@pytest.mark.parametrize("recipe", list(Boosted.examples()), ids=lambda r: f"{r.regressor} {r.strategy}")
def test_a_forecast_does_not_depend_on_the_horizon_asked_for(recipe: Boosted, weekly_shop: Panel) -> None:
    fitted = recipe.fit(weekly_shop, horizon=10)
    long, short = fitted.predict(25, levels=LEVELS), fitted.predict(4, levels=LEVELS)
    np.testing.assert_array_equal(long.mean[:, :4], short.mean)
    np.testing.assert_array_equal(long.quantiles[:, :4], short.quantiles)


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_the_weekly_pattern_is_found(strategy: str, weekly_shop: Panel) -> None:
    train = weekly_shop.cut(weekly_shop.lengths - 14)
    mean = quick(strategy=strategy).fit(train, horizon=14).predict(14).mean
    flat = np.array([train.series(i).mean() for i in range(3)])[:, None]
    assert scores(mean, weekly_shop, 14) < 0.5 * scores(flat, weekly_shop, 14)


@pytest.mark.parametrize("recipe", [quick(), quick(strategy="recursive"), Boosted(regressor="Ridge")])
def test_a_known_promotion_lifts_the_forecast_of_its_day(recipe: Boosted) -> None:
    panel = promoted()
    fitted = recipe.fit(panel, horizon=6)
    plan = np.zeros((12, 6, 1))
    plan[:, [1, 4]] = 1
    mean = fitted.predict(6, future=plan).mean
    lift = mean[:, [1, 4]].mean(axis=1) / mean[:, [0, 2, 3, 5]].mean(axis=1)
    assert (lift > 2).all()
    assert (lift < 4).all()


def test_unavailable_zeros_are_no_demand_lost() -> None:
    rng = np.random.default_rng(2)
    values = rng.gamma(50, 0.4, 600)  # six items of 20 a day
    offered = rng.random(600) > 0.3
    panel = made(*np.where(offered, values, 0.0).reshape(6, 100))
    blind = quick().fit(panel, horizon=7).predict(7).mean.mean()
    told = quick().fit(replace(panel, available=offered), horizon=7).predict(7).mean.mean()
    assert told == pytest.approx(20, rel=0.05)
    assert blind < 16


def test_quantiles_are_apart_in_order_and_cover_what_they_say() -> None:
    rng = np.random.default_rng(8)
    values = 30 + 5 * rng.normal(size=(60, 130))
    panel = made(*values)
    train = panel.cut(116)
    found = quick().fit(train, horizon=14).predict(14, levels=LEVELS).quantiles
    assert (np.diff(found, axis=-1) > 0).all()
    actual = values[:, 116:, None]
    np.testing.assert_allclose((actual <= found).mean(axis=(0, 1)), LEVELS, atol=0.06)


def test_the_mean_of_skewed_demand_is_not_its_median() -> None:
    rng = np.random.default_rng(4)
    values = rng.gamma(0.5, 20.0, (40, 150))  # mean 10, median 4.5
    forecast = quick().fit(made(*values), horizon=14).predict(14, levels=(0.5,))
    assert forecast.mean.mean() == pytest.approx(10, rel=0.1)
    assert forecast.median().mean() == pytest.approx(4.55, rel=0.2)


def test_nothing_below_zero_is_forecast_for_counts_and_negatives_stay_possible() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.4, (8, 120)).astype(float)
    forecast = quick().fit(made(*counts), horizon=7).predict(7, levels=LEVELS)
    assert forecast.quantiles.min() >= 0
    assert forecast.mean.min() >= 0
    negative = quick().fit(made(*(counts - 5)), horizon=7).predict(7, levels=LEVELS)
    assert negative.mean.max() < 0
    counts[3, 100:] = -20  # one series has returns, the others have not
    returned = quick().fit(made(*counts), horizon=7).predict(7, levels=LEVELS)
    assert np.flatnonzero(returned.quantiles.min(axis=(1, 2)) < 0).tolist() == [3]


@pytest.mark.parametrize("recipe", [quick(), Boosted(regressor="Ridge")])
@pytest.mark.parametrize("value", [5.0, 0.0, 1e12, 1e-12, -3.0])
def test_a_constant_stays_what_it_is(recipe: Boosted, value: float) -> None:
    forecast = recipe.fit(made(*np.full((3, 60), value)), horizon=7).predict(20, levels=LEVELS)
    np.testing.assert_allclose(forecast.mean, value, rtol=0.02)
    np.testing.assert_allclose(forecast.quantiles, value, rtol=0.02)


def test_series_of_any_volume_learn_from_each_other(weekly_shop: Panel) -> None:
    owner = np.repeat(np.array([1e12, 1.0, 1e-12]), weekly_shop.lengths)
    scaled = replace(weekly_shop, values=weekly_shop.values * owner)
    mean = quick().fit(scaled.cut(scaled.lengths - 7), horizon=7).predict(7).mean
    actual = scaled.tail(7).values.reshape(3, 7)
    assert (np.abs(mean - actual).mean(axis=1) < 0.15 * actual.mean(axis=1)).all()


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_the_order_of_the_series_changes_nothing(strategy: str, weekly_shop: Panel) -> None:
    recipe = quick(strategy=strategy)
    forward = recipe.fit(weekly_shop, horizon=7).predict(9, levels=LEVELS)
    backward = recipe.fit(weekly_shop.take([2, 0, 1]), horizon=7).predict(9, levels=LEVELS)
    np.testing.assert_array_equal(forward.mean[[2, 0, 1]], backward.mean)
    np.testing.assert_array_equal(forward.quantiles[[2, 0, 1]], backward.quantiles)


def test_the_number_of_threads_changes_nothing(weekly_shop: Panel) -> None:
    one, two = (Boosted(trees=5, threads=n).fit(weekly_shop, horizon=7).predict(7, levels=LEVELS) for n in (1, 2))
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.quantiles, two.quantiles)


def test_updating_with_the_same_panel_changes_nothing_and_newer_days_move_on(weekly_shop: Panel) -> None:
    train = weekly_shop.cut(100)
    fitted = quick().fit(train, horizon=7)
    before = fitted.predict(9, levels=LEVELS)
    same = fitted.update(train).predict(9, levels=LEVELS)
    np.testing.assert_array_equal(before.quantiles, same.quantiles)
    np.testing.assert_array_equal(before.mean, same.mean)
    newer = weekly_shop.cut(107).tail(7)
    moved = fitted.update(newer)
    np.testing.assert_array_equal(moved.predict(7).mean, fitted.update(weekly_shop.cut(107)).predict(7).mean)
    assert moved.predict(1).times[0, 0] == before.times[0, 7]


def test_an_item_never_seen_is_forecast_from_its_own_history(weekly_shop: Panel) -> None:
    fitted = quick().fit(weekly_shop.take([0, 2]), horizon=7)
    forecast = fitted.update(weekly_shop.take([1]).cut(123)).predict(7)
    assert forecast.series == ("shop 1",)
    assert scores(forecast.mean, weekly_shop.take([1]), 7) < 0.15


def test_the_history_kept_is_no_longer_than_the_features_reach() -> None:
    rng = np.random.default_rng(0)
    panel = made(*rng.gamma(4, 3, (2, 900)))
    fitted = quick().fit(panel, horizon=7)
    assert fitted.history.lengths.max() == fitted.origins.reach < 900
    assert fitted.trained_on == panel.fingerprint


@pytest.mark.parametrize("recipe", [quick(), Boosted(regressor="Ridge"), Boosted(regressor="sklearn.svm.LinearSVR")])
def test_what_was_saved_forecasts_the_same(recipe: Boosted, weekly_shop: Panel, tmp_path: Path) -> None:
    fitted = recipe.fit(weekly_shop, horizon=7)
    fitted.save(tmp_path / "model")
    loaded = models.restore(tmp_path / "model")
    before, after = fitted.predict(9, levels=LEVELS), loaded.predict(9, levels=LEVELS)
    np.testing.assert_array_equal(before.mean, after.mean)
    np.testing.assert_array_equal(before.quantiles, after.quantiles)
    assert loaded.recipe == recipe


def test_damaged_trees_are_a_store_error(weekly_shop: Panel) -> None:
    fitted = quick().fit(weekly_shop, horizon=7)
    state = fitted.state()
    arrays = dict(state.arrays) | {"mean.text": np.zeros(10, np.uint8)}
    with pytest.raises(StoreError, match="damaged"):
        BoostedFitted.from_state(State(arrays, state.values), recipe=fitted.recipe, history=fitted.history)


def test_a_forest_of_scikit_learn_forecasts_but_says_why_it_cannot_be_saved(weekly_shop: Panel, tmp_path: Path) -> None:
    fitted = Boosted(regressor="DecisionTreeRegressor").fit(weekly_shop.tail(80), horizon=7)
    assert np.isfinite(fitted.predict(9, levels=LEVELS).quantiles).all()
    with pytest.raises(StoreError, match="regressor='lightgbm' or a linear one"):
        fitted.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_link_function_is_not_mistaken_for_a_linear_model(weekly_shop: Panel) -> None:
    fitted = Boosted(regressor="PoissonRegressor").fit(weekly_shop, horizon=7)
    with pytest.raises(StoreError, match="PoissonRegressor"):
        fitted.state()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"regressor": "Rigde"}, "did you mean 'Ridge'"),
        ({"regressor": "os.path"}, "no regressor"),
        ({"regressor": "MultiOutputRegressor"}, "needs 'estimator'"),
        ({"strategy": "both"}, "direct or recursive"),
        ({"trees": 0}, "trees must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"season": 0}, "season must be at least 1"),
    ],
)
def test_options_are_checked(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Boosted(**options)  # type: ignore[arg-type]


def test_a_handful_of_observations_is_refused_by_name() -> None:
    with pytest.raises(SeriesTooShortError, match="'s0' has 5 periods"):
        quick().fit(made(np.arange(5.0)))


def test_one_short_series_among_long_ones_is_forecast(weekly_shop: Panel) -> None:
    short = made(np.array([8.0]))
    together = quick().fit(weekly_shop, horizon=7).update(short).predict(3, levels=LEVELS)
    assert np.isfinite(together.quantiles).all()
    assert together.mean.min() > 0


def test_an_item_that_never_sold_is_forecast_as_zero_and_told() -> None:
    rng = np.random.default_rng(0)
    panel = made(rng.gamma(4, 3, 90), np.zeros(90), np.zeros(90))
    fitted = quick().fit(replace(panel, available=np.repeat([True, True, False], 90)), horizon=7)
    mean = fitted.predict(7).mean
    assert not mean[1:].any()
    assert set(fitted.failures) == {"s2"}


@pytest.mark.slow
def test_on_500_grocery_items_the_published_rival_is_beaten(shared_data: Path) -> None:
    file = shared_data / "m5_foods_ca_top500_daily.parquet"
    panel = read(file, known=("event_type", "snap"), static=("store_id", "dept_id"))
    train = panel.cut(panel.lengths - 28)
    future = panel.known_after(train.lengths, 28)
    forecast = Boosted(threads=1).fit(train, horizon=28).predict(28, levels=(0.5,), future=future)
    actual = panel.tail(28).values.reshape(500, 28)
    scale = np.array([np.nanmean(np.abs(np.subtract(y[7:], y[:-7]))) for y in map(train.series, range(500))])
    mase = (np.abs(forecast.median() - actual).mean(axis=1) / scale).mean()
    assert mase < 0.79  # mlforecast with LightGBM: 0.789, seasonal naive: 0.981
    assert abs(forecast.mean.sum() / actual.sum() - 1) < 0.03
