"""Metrics: by hand, at their edges, and against the published figures of M4 Hourly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import forecastkit as fk
from forecastkit.errors import ConfigError
from forecastkit.evaluation import metrics, report

Y, F = np.array([10.0, 0.0, 5.0]), np.array([12.0, 0.0, 4.0])
PUBLISHED = {"sNaive": (13.912, 1.193), "Naive2": (18.383, 2.395), "SES": (18.094, 2.385), "Naive": (43.003, 11.608)}
GOLDEN = Path(__file__).parents[2] / "golden" / "metrics.json"


def test_each_metric_is_what_its_formula_says() -> None:
    assert metrics.mae(Y, F) == 1.0
    assert metrics.rmse(Y, F) == pytest.approx(np.sqrt(5 / 3))
    assert metrics.wape(Y, F) == pytest.approx(3 / 15)
    assert metrics.bias(Y, F) == pytest.approx(1 / 15)
    assert metrics.smape(Y, F) == pytest.approx(200 * (2 / 22 + 0 + 1 / 9) / 3)
    assert metrics.mase(Y, F, 2.0) == 0.5
    assert metrics.rmsse(Y, F, 5.0) == pytest.approx(np.sqrt(1 / 3))
    assert metrics.pinball(Y, F, 0.9) == pytest.approx((0.2 + 0 + 0.9) / 3)
    assert metrics.coverage(Y, Y - 1, F) == pytest.approx(2 / 3)
    assert metrics.owa(10, 1, 20, 4) == pytest.approx(0.375)


def test_positive_bias_means_over_forecast() -> None:
    assert metrics.bias([10, 10], [12, 12]) == pytest.approx(0.2)
    assert metrics.error(10, 12) == 2


def test_the_quantile_loss_of_the_median_is_wape() -> None:
    assert metrics.weighted_quantile_loss(Y, F[:, None], (0.5,)) == pytest.approx(metrics.wape(Y, F))


def test_a_missing_actual_is_passed_over() -> None:
    y, f = np.append(Y, np.nan), np.append(F, 100.0)
    for metric in (metrics.mae, metrics.rmse, metrics.wape, metrics.bias, metrics.smape):
        assert metric(y, f) == pytest.approx(metric(Y, F))
    assert metrics.coverage(y, f - 1, f + 1) == pytest.approx(metrics.coverage(Y, F - 1, F + 1))


def test_a_missing_forecast_makes_the_score_undefined() -> None:
    holed = np.append(F[:-1], np.nan)
    for metric in (metrics.mae, metrics.rmse, metrics.wape, metrics.bias, metrics.smape):
        assert np.isnan(metric(Y, holed))
    assert np.isnan(metrics.coverage(Y, holed, F + 1))
    assert np.isnan(metrics.weighted_quantile_loss(Y, holed[:, None], (0.5,)))


def test_zero_denominators_are_undefined_and_not_infinite() -> None:
    zero = np.zeros(3)
    assert np.isnan(metrics.wape(zero, F))
    assert np.isnan(metrics.bias(zero, F))
    assert np.isnan(metrics.mase(Y, F, 0.0))
    assert np.isnan(metrics.rmsse(Y, F, 0.0))
    assert np.isnan(metrics.mae([np.nan], [1.0]))
    assert metrics.smape(zero, zero) == 0.0


def test_the_last_axis_is_reduced() -> None:
    y, f = np.stack([Y, 2 * Y]), np.stack([F, 2 * F])
    np.testing.assert_allclose(metrics.mae(y, f), [1.0, 2.0])
    np.testing.assert_allclose(metrics.wape(y, f), [0.2, 0.2])


def test_the_scale_is_the_mean_seasonal_difference_of_the_training_part() -> None:
    train = np.array([1.0, 2.0, 4.0, 8.0, np.nan, 3.0])
    assert metrics.absolute_scale(train, 2) == pytest.approx((3 + 6 + 5) / 3)
    assert metrics.squared_scale(train, 2) == pytest.approx((9 + 36 + 25) / 3)
    assert metrics.absolute_scale(train[:2], 7) == 1.0  # shorter than a season: lag one
    assert np.isnan(metrics.absolute_scale(train[:1], 7))


def test_the_scales_of_a_panel_are_those_of_its_series() -> None:
    days = pd.date_range("2024-01-01", periods=30)
    rng = np.random.default_rng(0)
    frames = [pd.DataFrame({"unique_id": str(n), "ds": days[:n], "y": rng.normal(size=n)}) for n in (1, 5, 7, 8, 30)]
    panel = fk.Panel.from_frame(pd.concat(frames), freq="D")
    expected = [[f(panel.series(i), 7) for f in (metrics.absolute_scale, metrics.squared_scale)] for i in range(5)]
    np.testing.assert_allclose(metrics.scales(panel, 7), expected)


def test_naive2_is_naive_without_a_season_and_seasonal_with_one() -> None:
    rng = np.random.default_rng(0)
    noise = 10 + rng.normal(size=60)
    np.testing.assert_array_equal(metrics.naive2(noise, 12, 3), np.repeat(noise[-1], 3))
    season = np.tile([1.0, 2.0, 3.0, 2.0], 10)
    np.testing.assert_allclose(metrics.naive2(season, 4, 6), [1, 2, 3, 2, 1, 2])


@pytest.mark.parametrize("season", [4, 7])
def test_naive2_bridges_gaps(season: int) -> None:
    profile = 1 + 0.5 * np.sin(2 * np.pi * np.arange(season) / season)
    holed = 50 * np.tile(profile, 40)
    holed[[5, 6, 30]] = np.nan
    np.testing.assert_allclose(metrics.naive2(holed, season, season), 50 * profile, rtol=0.06)


@pytest.mark.parametrize("shift", [0.0, -9.0])
def test_naive2_repeats_the_last_value_where_nothing_can_be_divided_by(shift: float) -> None:
    closed_on_sundays = np.tile([9.0, 8.0, 7.0, 8.0, 12.0, 15.0, 0.0], 20)[:-3] + shift
    assert metrics.is_seasonal(closed_on_sundays, 7)
    np.testing.assert_array_equal(metrics.naive2(closed_on_sundays, 7, 4), np.full(4, closed_on_sundays[-1]))
    with pytest.raises(ConfigError, match="at least one value"):
        metrics.naive2([np.nan, np.nan], 7, 3)


def test_the_registry_says_what_each_score_of_a_report_looks_at() -> None:
    assert tuple(metrics.METRICS) == report.SCORES
    looks = {kind: {n for n, m in metrics.METRICS.items() if m.scores == kind} for kind in ("median", "mean")}
    assert looks == {"median": {"mae", "mase", "smape", "wape"}, "mean": {"bias", "rmse", "rmsse"}}
    assert {n for n, m in metrics.METRICS.items() if not m.pooled} == {"mase", "rmsse", "smape"}
    assert {n for n, m in metrics.METRICS.items() if not m.lower_is_better} == {"bias", "coverage"}


def test_the_golden_numbers_come_out_again() -> None:
    case = json.loads(GOLDEN.read_text())
    y, f, q = (np.array(case[name]) for name in ("y", "forecast", "quantiles"))
    scales = [[s(t, 4) for s in (metrics.absolute_scale, metrics.squared_scale)] for t in np.array(case["train"])]
    absolute, squared = np.array(scales).T
    found = {
        "mae": metrics.mae(y, f),
        "rmse": metrics.rmse(y, f),
        "wape": metrics.wape(y, f),
        "smape": metrics.smape(y, f),
        "bias": metrics.bias(y, f),
        "mase": metrics.mase(y, f, absolute),
        "rmsse": metrics.rmsse(y, f, squared),
        "wql": metrics.weighted_quantile_loss(y, q, (0.1, 0.9)),
        "coverage": metrics.coverage(y, q[..., 0], q[..., 1]),
    }
    assert found.keys() == case["expected"].keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, case["expected"][name], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_figures_of_m4_hourly_come_out_to_three_decimals(shared_data: Path, method: str) -> None:
    panel, y = _hourly(shared_data)
    forecasts = _reference(shared_data, panel)[method].to_numpy().reshape(len(panel), 48)
    scale = metrics.scales(panel.cut(panel.lengths - 48), 24)[:, 0]
    found = metrics.smape(y, forecasts).mean(), metrics.mase(y, forecasts, scale).mean()
    assert found == pytest.approx(PUBLISHED[method], abs=5e-4)


def test_our_naive2_is_the_official_one(shared_data: Path) -> None:
    panel, _ = _hourly(shared_data)
    official = _reference(shared_data, panel)["Naive2"].to_numpy().reshape(len(panel), 48)
    ours = np.stack([metrics.naive2(panel.series(i)[:-48], 24, 48) for i in range(len(panel))])
    np.testing.assert_allclose(ours, official, rtol=1e-5)


def _hourly(folder: Path) -> tuple[fk.Panel, np.ndarray]:
    panel = fk.read(folder / "m4_hourly.parquet")
    return panel, np.stack([panel.series(i)[-48:] for i in range(len(panel))])


def _reference(folder: Path, panel: fk.Panel) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "m4_hourly_reference_forecasts.parquet")
    return frame.set_index(["unique_id", "step"]).sort_index().loc[list(panel.ids)]


def test_the_weighted_interval_score_is_width_and_misses_of_the_intervals() -> None:
    levels = (0.1, 0.25, 0.5, 0.75, 0.9)
    quantiles = np.array([[2.0, 3.0, 5.0, 6.0, 9.0]])
    for y in (0.5, 4.0, 12.0):
        expected = 0.5 * abs(y - 5)
        for low, high, alpha in ((2, 9, 0.2), (3, 6, 0.5)):
            misses = max(low - y, 0) + max(y - high, 0)
            expected += alpha / 2 * (high - low + 2 / alpha * misses)
        assert metrics.weighted_interval_score([y], quantiles, levels) == pytest.approx(expected / 2.5)


def test_the_crps_of_many_quantiles_is_that_of_the_distribution() -> None:
    from scipy import stats

    levels = tuple((np.arange(400) + 0.5) / 400)
    quantiles = stats.norm.ppf(levels)[None]
    y = 0.7
    closed = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
    assert metrics.crps([y], quantiles, levels) == pytest.approx(closed, abs=1e-3)


def test_scores_of_a_backtest_hold_the_interval_metrics_computed_by_hand(weekly_shop: fk.Panel) -> None:
    levels = (0.1, 0.5, 0.8)
    report = fk.backtest(weekly_shop, ["seasonal_naive"], horizon=7, levels=levels)
    rows, found = report.forecasts, report.scores().iloc[0]
    y, quantiles = rows["y"].to_numpy(), rows[["q0.1", "q0.5", "q0.8"]].to_numpy()
    assert found["wis"] == pytest.approx(metrics.weighted_interval_score(y, quantiles, levels))
    assert found["crps"] == pytest.approx(metrics.crps(y, quantiles, levels))
    assert found["width"] == pytest.approx((quantiles[:, 2] - quantiles[:, 0]).mean())
