"""Intervals calibrated on past windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import pytest

import forecastkit as fk
from forecastkit import Panel, Report, Run
from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError
from forecastkit.evaluation.conformal import Conformal, upper_quantiles
from forecastkit.forecaster import Fitted, Forecaster


@dataclass(frozen=True, eq=False, kw_only=True)
class FlatFitted(Fitted):
    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        mean = np.full((len(self.history), horizon), 100.0)
        return mean, mean[..., None] + self.recipe.width * (np.array(levels) - 0.5)


@dataclass(frozen=True, kw_only=True)
class Flat(Forecaster):
    """Always 100, with an interval of its own idea."""

    name: ClassVar[str] = "flat"
    fitted_type: ClassVar[type[Fitted]] = FlatFitted
    width: float = 1.0

    def _fit(self, train: Panel, horizon: int) -> Fitted:
        return FlatFitted(recipe=self, history=train)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()


@dataclass(frozen=True, kw_only=True)
class Silent(Flat):
    name: ClassVar[str] = "silent"
    probabilistic: ClassVar[bool] = False


def noise(series: int, spread: Floats) -> Panel:
    """Series around 100 whose spread is given for each day, [T]."""
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=len(spread))
    y = 100 + spread * rng.normal(size=(series, len(spread)))
    frames = [
        pd.DataFrame({"unique_id": f"s{k:03}", "ds": days, "y": row, "shop": "ab"[k % 2]}) for k, row in enumerate(y)
    ]
    return Panel.from_frame(pd.concat(frames), static=["shop"])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    run = Run(folder=tmp_path_factory.mktemp("runs") / "run")
    spread = np.full(80, 5.0)
    return fk.backtest(noise(100, spread), [Flat(), Silent()], horizon=10, windows=3, calibrate=3, run=run)


def test_intervals_that_cover_nothing_cover_what_they_promise(report: Report) -> None:
    before, after = (r.scores().set_index("model")["coverage"] for r in (report.calibrated(None), report))
    assert before["flat"] < 0.1
    assert np.isnan(before["silent"])
    assert after.between(0.78, 0.82).all()


def test_windows_to_calibrate_on_are_not_scored_and_the_forecast_stays(report: Report) -> None:
    rows = report.forecasts
    assert sorted(set(rows["window"])) == [0, 1, 2]
    assert len(report.head["cutoffs"]) == 3
    assert (rows["mean"] == 100).all()
    assert (rows["q0.5"] == 100).all()
    assert (rows["q0.1"] < 100).all()
    # What was fitted before is part of what the scored windows cost: networks go on from it.
    assert set(report.timings["window"]) == {-3, -2, -1, 0, 1, 2}


def test_what_the_models_said_stays_on_disk(report: Report) -> None:
    again = Report.read(report.folder)
    pd.testing.assert_frame_equal(report.forecasts, again.forecasts)
    assert (again.calibrated(None).forecasts.query("model == 'flat'")["q0.9"] == 100.4).all()


def test_a_later_window_changes_no_interval_before_it(report: Report) -> None:
    panel = noise(100, np.full(80, 5.0))
    wild = panel.values.copy()
    wild[panel.offsets[1:, None] - 1 - np.arange(10)] *= 3
    changed = fk.backtest(replace(panel, values=wild), [Flat(), Silent()], horizon=10, windows=3, calibrate=3).forecasts
    pd.testing.assert_series_equal(changed["q0.9"], report.forecasts["q0.9"])


@pytest.mark.parametrize(("step", "gap"), [(1, 0), (3, 0), (2, 3), (7, 2)])
def test_demand_after_a_cutoff_changes_no_interval_of_its_window(step: int, gap: int) -> None:
    panel = noise(30, np.full(60, 5.0))
    plan = {"horizon": 7, "step": step, "gap": gap, "windows": 2, "calibrate": 10 // step + 1}
    before = fk.backtest(panel, [Flat(), Silent()], **plan)
    for window in range(2):
        wild = panel.values.copy()
        wild[panel.offsets[1:, None] - 1 - np.arange(gap + 7 + (1 - window) * step)] += 1000
        after = fk.backtest(replace(panel, values=wild), [Flat(), Silent()], **plan)
        for how in (Conformal(), Conformal(rate=0.5, decay=0.8), Conformal(group="shop")):
            rows = [report.calibrated(how).forecasts.query(f"window <= {window}") for report in (before, after)]
            pd.testing.assert_frame_equal(*(r[["q0.1", "q0.9"]] for r in rows))


def test_the_newest_errors_that_are_known_count() -> None:
    panel = noise(30, np.full(60, 5.0))
    plan = {"horizon": 7, "step": 2, "gap": 1, "windows": 1, "calibrate": 5}
    wild = panel.values.copy()
    wild[panel.offsets[1:] - 1 - 8] += 1000  # the last period before the cutoff
    before, after = (
        fk.backtest(replace(panel, values=y), [Flat()], **plan).forecasts["q0.9"] for y in (panel.values, wild)
    )
    assert (after != before).any()


def test_a_plan_with_nothing_to_calibrate_on_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nothing to calibrate on: 2 windows, 1 period apart.*calibrate=9"):
        fk.backtest(noise(5, np.full(60, 5.0)), [Flat()], horizon=7, step=1, gap=2, calibrate=2)


def test_steps_without_errors_of_their_own_are_told(caplog: pytest.LogCaptureFixture) -> None:
    panel = noise(5, np.full(60, 5.0))
    fk.backtest(panel, [Flat()], horizon=7, step=1, calibrate=7)
    assert "too narrow" not in caplog.text
    fk.backtest(panel, [Flat()], horizon=7, step=1, calibrate=6)
    assert "calibrate=7 (--calibrate 7)" in caplog.text


def test_each_step_has_its_own_errors() -> None:
    spread = np.tile([1.0, 10.0], 30)
    panel = noise(100, spread)
    by_step = fk.backtest(panel, [Silent()], horizon=2, windows=2, calibrate=2)
    together = by_step.calibrated(Conformal(by_step=False))
    assert by_step.scores("step")["coverage"].between(0.74, 0.86).all()
    assert together.scores("step")["coverage"].tolist()[0] > 0.95


def test_a_group_has_its_own_errors_and_a_small_one_those_of_all() -> None:
    spread = np.full(60, 5.0)
    panel = noise(100, spread)
    shop = panel.static.values[:, 0]
    values = 100 + (panel.values - 100) * np.repeat(np.where(shop == 0, 1.0, 4.0), panel.lengths)
    report = fk.backtest(replace(panel, values=values), {"flat": Flat()}, horizon=5, windows=2, calibrate=2)
    apart = report.calibrated(Conformal(group="shop"))
    assert report.scores("shop")["coverage"].max() > 0.95
    assert apart.scores("shop")["coverage"].between(0.74, 0.86).all()
    alone = report.calibrated(Conformal(group="series"))
    assert alone.forecasts[["q0.1", "q0.9"]].notna().all(axis=None)


def test_forgetting_and_adapting_follow_a_spread_that_grows() -> None:
    panel = noise(100, np.repeat(1.5 ** np.arange(12), 10))
    plain = fk.backtest(panel, [Flat()], horizon=10, windows=4, calibrate=5)
    covered = {
        how: plain.calibrated(how).scores()["coverage"].iloc[0]
        for how in (Conformal(), Conformal(decay=0.3), Conformal(rate=0.5))
    }
    first, forgetting, adapting = covered.values()
    assert first < 0.7
    assert forgetting > first + 0.05
    assert adapting > first + 0.05


def test_only_the_models_named_are_calibrated(report: Report) -> None:
    rows = report.calibrated(Conformal(models=("silent",))).forecasts
    assert (rows.loc[rows["model"] == "flat", "q0.9"] == 100.4).all()
    assert rows.loc[rows["model"] == "silent", "q0.9"].notna().all()


def test_demand_that_is_never_negative_gets_no_bound_below_zero() -> None:
    days = pd.date_range("2024-01-01", periods=60)
    y = np.random.default_rng(0).poisson(0.4, (30, 60))
    panel = Panel.from_frame(
        pd.concat([pd.DataFrame({"unique_id": f"{k}", "ds": days, "y": r}) for k, r in enumerate(y)])
    )
    rows = fk.backtest(panel, ["seasonal_naive"], horizon=7, windows=2, calibrate=2).forecasts
    assert (rows["q0.1"] >= 0).all()
    assert (rows["q0.1"] <= rows["q0.5"]).all()
    assert (rows["q0.5"] <= rows["q0.9"]).all()


def test_the_quantile_counts_what_is_yet_to_come() -> None:
    scores, cells = np.arange(1.0, 10.0), np.zeros(9, int)
    ones = np.ones(9)
    assert upper_quantiles(scores, ones, cells, np.array([0.9]))[0] == 9
    assert upper_quantiles(scores, ones, cells, np.array([0.5]))[0] == 5
    assert np.isnan(upper_quantiles(scores, ones, cells, np.array([0.91]))[0])
    assert upper_quantiles(scores, ones, cells, np.array([0.91]), bounded=True)[0] == 9
    assert np.isnan(upper_quantiles(scores, ones, cells, np.array([0.5, 0.5]))[1])


def test_the_quantile_is_the_one_of_each_cell_with_weights() -> None:
    rng = np.random.default_rng(0)
    scores, weights, cells = rng.normal(size=300), rng.random(300), rng.integers(0, 3, 300)
    found = upper_quantiles(scores, weights, cells, np.array([0.6, 0.7, 0.8]))
    for k, level in enumerate((0.6, 0.7, 0.8)):
        s, w = scores[cells == k], weights[cells == k]
        reached = [x for x in np.sort(s) if w[s <= x].sum() >= level * (w.sum() + 1)]
        assert found[k] == reached[0]


def test_without_windows_to_calibrate_on_it_says_what_to_do() -> None:
    report = fk.backtest(noise(3, np.ones(40)), [Flat()], horizon=5)
    with pytest.raises(ConfigError, match="calibrate=4"):
        report.calibrated(Conformal())
    with pytest.raises(ConfigError, match="decay"):
        Conformal(decay=0)


def test_a_group_or_a_model_that_is_not_there_is_refused_at_once(report: Report) -> None:
    with pytest.raises(ConfigError, match="grouped by 'shp', did you mean 'shop'"):
        report.calibrated(Conformal(group="shp"))
    with pytest.raises(ConfigError, match="no model 'silnt' in this backtest, did you mean 'silent'"):
        report.calibrated(Conformal(models=("flat", "silnt")))


def test_reliability_says_where_levels_lie(report: Report) -> None:
    table = report.reliability()
    flat = table[table["model"] == "flat"].set_index("level")
    assert flat["bin"].sum() == pytest.approx(1)
    assert (flat["below"] - flat.index).abs().iloc[:-1].max() < 0.04
    raw = report.calibrated(None).reliability()
    assert set(raw["model"]) == {"flat"}


@pytest.mark.slow
def test_calibrated_intervals_of_groceries_cover_what_they_promise(shared_data: Path) -> None:
    panel = fk.read(shared_data / "m5_foods_ca_top500_daily.parquet")
    report = fk.backtest(panel, ["naive", "seasonal_naive", "window_average"], horizon=28, windows=4, calibrate=4)
    assert report.scores()["coverage"].between(0.77, 0.83).all()


def test_a_report_shows_itself_in_a_line() -> None:
    report = fk.backtest(noise(3, np.ones(40)), [Flat()], horizon=5)
    assert repr(report).endswith("flat on 3 series)")
    assert len(repr(report)) < 200
