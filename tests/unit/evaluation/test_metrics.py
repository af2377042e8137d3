"""Metrics: hand-computed values, gaps, zero denominators, and M4's published figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.evaluation import metrics
from forecastkit.forecaster import Forecast

Y = np.array([[4.0, 0.0, 6.0], [10.0, np.nan, 30.0]])  # [N, H]
F = np.array([[5.0, 0.0, 3.0], [8.0, 99.0, 30.0]])


@pytest.mark.parametrize(
    ("function", "by_series", "pooled"),
    [
        (metrics.mae, [4 / 3, 1.0], 6 / 5),
        (metrics.rmse, [np.sqrt(10 / 3), np.sqrt(2)], np.sqrt(14 / 5)),
        (metrics.wape, [0.4, 0.05], 6 / 50),
        (metrics.bias, [-0.2, -0.05], -4 / 50),
        (metrics.smape, [(200 / 9 + 600 / 9) / 3, 400 / 18 / 2], (200 / 9 + 600 / 9 + 400 / 18) / 5),
    ],
)
def test_a_metric_equals_what_paper_and_pencil_give(function, by_series, pooled) -> None:
    np.testing.assert_allclose(function(Y, F), by_series)
    np.testing.assert_allclose(function(Y, F, axis=None), pooled)


def test_a_gap_in_the_actuals_counts_neither_above_nor_below_the_line() -> None:
    without = ~np.isnan(Y[1])
    for function in (metrics.mae, metrics.rmse, metrics.wape, metrics.bias, metrics.smape):
        assert function(Y[1], F[1]) == function(Y[1][without], F[1][without])
        assert function(Y[1], np.where(without, F[1], np.nan)) == function(Y[1], F[1])


def test_a_forecast_that_is_missing_makes_the_score_nan() -> None:
    holed = F.copy()
    holed[0, 1] = np.nan
    for function in (metrics.mae, metrics.rmse, metrics.wape, metrics.bias, metrics.smape):
        scores = function(Y, holed)
        assert np.isnan(scores[0])
        assert np.isfinite(scores[1])
    assert np.isnan(metrics.coverage([1.0, 2.0], [0.0, np.nan], [3.0, 3.0]))
    assert np.isnan(metrics.wql([1.0, 2.0], [[1.0], [np.nan]], [0.5]))


def test_without_any_actual_every_score_is_nan() -> None:
    nothing = np.full(3, np.nan)
    for function in (metrics.mae, metrics.rmse, metrics.wape, metrics.bias, metrics.smape):
        assert np.isnan(function(nothing, F[0]))
    assert np.isnan(metrics.mase(nothing, F[0], 2.0))
    assert np.isnan(metrics.coverage(nothing, F[0], F[0]))


def test_zero_denominators_are_nan_and_only_smape_calls_nought_by_nought_nought() -> None:
    zeros, ones = np.zeros(4), np.ones(4)
    assert np.isnan(metrics.wape(zeros, ones))
    assert np.isnan(metrics.bias(zeros, ones))
    assert np.isnan(metrics.wql(zeros, ones[:, None], [0.5]))
    assert np.isnan(metrics.mase(ones, zeros, 0.0))
    assert np.isnan(metrics.rmsse(ones, zeros, 0.0))
    assert metrics.smape(zeros, zeros) == 0.0
    assert metrics.smape(zeros, ones) == 200.0
    assert np.isnan(metrics.owa(10.0, 1.0, 0.0, 1.0))


def test_a_positive_error_is_an_over_forecast() -> None:
    assert metrics.bias([10.0, 10.0], [11.0, 11.0]) == pytest.approx(0.1)
    assert metrics.bias([10.0, 10.0], [9.0, 9.0]) == pytest.approx(-0.1)
    assert metrics.bias([-10.0, -10.0], [-9.0, -9.0]) == pytest.approx(0.1)  # returns outweigh sales: still too much


def test_scaled_errors_divide_by_the_training_part_of_their_own_series() -> None:
    np.testing.assert_allclose(metrics.mase(Y, F, [2.0, 4.0]), [2 / 3, 0.25])
    np.testing.assert_allclose(metrics.rmsse(Y, F, [10 / 3, 0.5]), [1.0, 2.0])
    assert metrics.over_series([0.5, np.nan, 1.5]) == 1.0
    assert np.isnan(metrics.over_series([np.nan]))


def test_the_scale_is_the_error_of_seasonal_naive() -> None:
    train = [1.0, 10.0, 3.0, 14.0, 2.0]
    assert metrics.absolute_scale(train, 2) == pytest.approx((2 + 4 + 1) / 3)
    assert metrics.squared_scale(train, 2) == pytest.approx((4 + 16 + 1) / 3)


def test_the_scale_skips_pairs_with_a_gap() -> None:
    assert metrics.absolute_scale([1.0, np.nan, 3.0, 14.0, 2.0], 2) == pytest.approx((2 + 1) / 2)


@pytest.mark.parametrize("train", [[1.0, 4.0, 2.0], [1.0, np.nan, 2.0, 6.0, 7.0, np.nan]])
def test_a_series_without_a_pair_a_season_apart_is_scaled_by_lag_one(train) -> None:
    steps = np.diff(train)
    assert metrics.absolute_scale(train, 5) == pytest.approx(np.nanmean(np.abs(steps)))
    assert metrics.squared_scale(train, 5) == pytest.approx(np.nanmean(steps**2))


def test_a_series_of_one_value_has_no_scale_and_a_constant_one_has_scale_zero() -> None:
    assert np.isnan(metrics.absolute_scale([5.0], 7))
    assert metrics.absolute_scale([0.1] * 30, 7) == 0.0


def test_the_scales_of_a_panel_are_those_of_its_series() -> None:
    rng = np.random.default_rng(3)
    lengths = np.array([1, 4, 40, 23])
    values = rng.poisson(5.0, lengths.sum()).astype(float)
    values[rng.random(len(values)) < 0.1] = np.nan
    available = rng.random(len(values)) > 0.2
    panel = _panel(values, lengths, available)
    found = metrics.scales(panel, 7)
    assert found.shape == (4, 2)
    for i in range(4):
        train = np.where(available[panel.rows_of(i)], panel.series(i), np.nan)
        expected = [metrics.absolute_scale(train, 7), metrics.squared_scale(train, 7)]
        np.testing.assert_allclose(found[i], expected)


def _panel(values, lengths, available=None) -> Panel:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    from forecastkit.data.calendar import Frequency

    ids = tuple(f"{i}" for i in range(len(lengths)))
    starts = np.zeros(len(lengths), np.int64)
    return Panel(ids, values, offsets, starts, Frequency.parse("D"), available=available)


def test_a_season_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="season must be at least 1, not 0"):
        metrics.absolute_scale([1.0, 2.0], 0)


def test_pinball_weighs_what_is_missing_by_the_level_and_what_is_too_much_by_the_rest() -> None:
    loss = metrics.pinball([10.0, 10.0], [[8.0, 12.0], [8.0, 12.0]], (0.1, 0.9))
    np.testing.assert_allclose(loss, [[0.2, 0.2], [0.2, 0.2]])
    np.testing.assert_allclose(metrics.pinball([10.0], [[12.0]], (0.1,)), [[1.8]])


def test_the_quantile_loss_of_the_median_is_wape() -> None:
    assert metrics.wql(Y, F[..., None], (0.5,), axis=None) == pytest.approx(metrics.wape(Y, F, axis=None))


def test_levels_that_are_no_probabilities_or_of_another_number_are_refused() -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        metrics.pinball([1.0], [[1.0]], (10.0,))
    with pytest.raises(ConfigError, match="2 quantiles need as many levels"):
        metrics.pinball([1.0], [[1.0, 2.0]], (0.5,))


def test_coverage_counts_both_ends_and_ignores_gaps() -> None:
    y = [1.0, 2.0, 3.0, np.nan, 5.0]
    assert metrics.coverage(y, [1.0] * 5, [3.0] * 5) == pytest.approx(3 / 4)


def test_owa_of_naive2_against_itself_is_one() -> None:
    assert metrics.owa(18.383, 2.395, 18.383, 2.395) == 1.0
    assert metrics.owa(9.0, 3.0, 18.0, 2.0) == pytest.approx((0.5 + 1.5) / 2)


def test_naive2_of_a_series_without_a_season_is_its_last_value() -> None:
    walk = np.cumsum(np.random.default_rng(0).normal(size=200)) + 100
    np.testing.assert_array_equal(metrics.naive2(walk, 5, 7), np.full(5, walk[-1]))
    np.testing.assert_array_equal(metrics.naive2([3.0, 9.0], 3, 7), [9.0, 9.0, 9.0])
    np.testing.assert_array_equal(metrics.naive2([4.0] * 60, 3, 7), [4.0, 4.0, 4.0])


@pytest.mark.parametrize("season", [4, 7])
def test_naive2_goes_on_with_a_multiplicative_season(season: int) -> None:
    profile = 1 + 0.5 * np.sin(2 * np.pi * np.arange(season) / season)
    y = 50 * np.tile(profile, 12)[: 11 * season + 2]
    expected = 50 * np.tile(profile, 3)[2 : 2 + 2 * season]
    np.testing.assert_allclose(metrics.naive2(y, 2 * season, season), expected)
    holed = y.copy()
    holed[[5, 6, 30]] = np.nan
    np.testing.assert_allclose(metrics.naive2(holed, 2 * season, season), expected, rtol=0.1)


@pytest.mark.parametrize("shift", [0.0, -100.0])
def test_naive2_where_the_decomposition_is_undefined_repeats_the_last_value(shift: float) -> None:
    closed_on_sundays = np.tile([9.0, 8.0, 7.0, 8.0, 12.0, 15.0, 0.0], 20)[:-3] + shift
    np.testing.assert_array_equal(metrics.naive2(closed_on_sundays, 4, 7), np.full(4, closed_on_sundays[-1]))


def test_naive2_of_nothing_observed_is_refused() -> None:
    with pytest.raises(ConfigError, match="observed"):
        metrics.naive2([np.nan, np.nan], 3, 7)


def test_the_registry_says_what_each_metric_scores() -> None:
    assert {name for name, m in metrics.METRICS.items() if m.scores == "median"} == {"mae", "mase", "smape", "wape"}
    assert {name for name, m in metrics.METRICS.items() if m.scores == "mean"} == {"bias", "rmse", "rmsse"}
    assert {name for name, m in metrics.METRICS.items() if not m.lower_is_better} == {"bias", "coverage"}
    assert all(name == m.name for name, m in metrics.METRICS.items())
    with pytest.raises(TypeError):
        metrics.METRICS["mape"] = metrics.METRICS["mae"]  # type: ignore[index]


def test_evaluate_scores_the_median_or_the_mean_as_the_registry_says() -> None:
    forecast = _forecast(mean=F, quantiles=np.stack([F - 2, F + 1, F + 2], axis=-1), levels=(0.1, 0.5, 0.9))
    scales = np.array([[2.0, 4.0], [0.0, 0.0]])
    found = metrics.evaluate(Y, forecast, scales)
    assert list(found) == list(metrics.METRICS)
    assert found["wape"] == metrics.wape(Y, F + 1, axis=None)
    assert found["bias"] == metrics.bias(Y, F, axis=None)
    assert found["mase"] == metrics.mase(Y[0], F[0] + 1, 2.0)  # the other series has no scale
    assert found["smape"] == pytest.approx(metrics.smape(Y, F + 1).mean())
    assert found["coverage"] == pytest.approx(4 / 5)


def test_evaluate_gives_a_forecast_without_quantiles_no_quantile_scores() -> None:
    found = metrics.evaluate(Y, _forecast(F, np.empty((2, 3, 0)), ()), np.ones((2, 2)))
    assert {name for name, value in found.items() if np.isnan(value)} == {"wql", "coverage"}


def test_evaluate_refuses_arrays_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"\(2, 2\) and forecast \(2, 3\)"):
        metrics.evaluate(Y[:, :2], _forecast(F, np.empty((2, 3, 0)), ()), np.ones((2, 2)))


def _forecast(mean, quantiles, levels) -> Forecast:
    times = np.full(mean.shape, np.datetime64("2024-01-01", "us"))
    return Forecast(("a", "b"), times, mean, quantiles, levels)


# ----------------------------------------------------------------------------------------- published M4 figures

PUBLISHED = {  # Makridakis et al. (2020), table of the Hourly series: sMAPE, MASE
    "sNaive": (13.912, 1.193),
    "Naive2": (18.383, 2.395),
    "SES": (18.094, 2.385),
    "Naive": (43.003, 11.608),
}


@pytest.fixture(scope="module")
def hourly(shared_data: Path) -> tuple[Panel, np.ndarray, pd.DataFrame]:
    """The training part, what came [414, 48], and the official forecasts in the same order."""
    files = [shared_data / f"{name}.parquet" for name in ("m4_hourly", "m4_hourly_reference_forecasts")]
    for file in files:
        if not file.is_file():
            pytest.skip(f"{file.name} is not in the folder of shared data sets")
    panel = Panel.from_frame(pd.read_parquet(files[0]))
    reference = pd.read_parquet(files[1]).sort_values(["unique_id", "step"])
    assert tuple(reference["unique_id"].unique()) == panel.ids
    return panel.cut(panel.lengths - 48), panel.tail(48).values.reshape(-1, 48), reference


@pytest.mark.parametrize("method", PUBLISHED)
def test_the_published_figures_of_m4_hourly_come_out_to_three_decimals(hourly, method: str) -> None:
    train, actual, reference = hourly
    forecast = reference[method].to_numpy().reshape(actual.shape)
    scale = metrics.scales(train, 24)[:, 0]
    found = (
        metrics.over_series(metrics.smape(actual, forecast)),
        metrics.over_series(metrics.mase(actual, forecast, scale)),
    )
    assert tuple(round(score, 3) for score in found) == PUBLISHED[method]


def test_naive2_reproduces_the_official_forecasts_of_m4_hourly(hourly) -> None:
    train, actual, reference = hourly
    own = np.stack([metrics.naive2(train.series(i), 48, 24) for i in range(len(train))])
    np.testing.assert_allclose(own, reference["Naive2"].to_numpy().reshape(actual.shape), rtol=1e-8)
