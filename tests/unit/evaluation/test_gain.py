"""What one model gains over another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

import forecastkit as fk
from forecastkit import Panel, Report, Run
from forecastkit.evaluation.gain import gain
from forecastkit.evaluation.metrics import METRICS
from forecastkit.models.naive import Naive


@dataclass(frozen=True, kw_only=True)
class Silent(Naive):
    name: ClassVar[str] = "silent"
    probabilistic: ClassVar[bool] = False


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Series of very different size and of more and less season."""
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=60)
    week = np.sin(2 * np.pi * days.day_of_week.to_numpy() / 7)
    rows = [4.0**k * (20 + k * week + rng.normal(0, 1 + k % 2, 60)) for k in range(6)]
    panel = Panel.from_frame(
        pd.concat([pd.DataFrame({"unique_id": f"s{k}", "ds": days, "y": y}) for k, y in enumerate(rows)])
    )
    models = {name: fk.create(name, season=7) for name in ("seasonal_naive", "naive")} | {"silent": Silent()}
    return fk.backtest(panel, models, horizon=7, windows=3, run=Run(folder=tmp_path_factory.mktemp("runs") / "run"))


@pytest.mark.parametrize("by", sorted(METRICS))
def test_the_gain_is_that_of_the_leaderboard_in_every_metric(report: Report, by: str) -> None:
    table = report.scores().set_index("model")[by].abs()
    found = gain(report, by, "naive", "seasonal_naive")
    assert found.value == pytest.approx(1 - table["seasonal_naive"] / table["naive"], rel=1e-9)
    assert found.low <= found.value <= found.high
    assert found.low < found.high


def test_over_itself_it_is_nothing_and_of_a_model_without_quantiles_unknown(report: Report) -> None:
    same = gain(report, "wis", "naive", "naive")
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    assert np.isnan(gain(report, "wis", "naive", "silent").value)
    assert np.isnan(gain(report, "wis", "silent", "naive").high)


def noise(series: int) -> Panel:
    """Nothing to learn."""
    rng, days = np.random.default_rng(1), pd.date_range("2024-01-01", periods=120)
    frames = [pd.DataFrame({"unique_id": f"s{k:02}", "ds": days, "y": rng.normal(20, 3, 120)}) for k in range(series)]
    return Panel.from_frame(pd.concat(frames))


@pytest.mark.parametrize("series", [1, 3, 12])
def test_what_is_no_better_gains_nothing_for_sure_however_few_series_there_are(series: int) -> None:
    found = fk.backtest(noise(series), ["window_average:window=28", "window_average:window=29"], horizon=7, windows=3)
    base, other = found.models
    told = gain(found, "wape", base, other)
    assert told.low < 0 < told.high
    assert np.isfinite([told.low, told.high]).all()
    assert "95 % interval" in told.between("{:.3g}".format)


def test_one_window_of_few_series_tells_nothing(report: Report) -> None:
    one = fk.backtest(noise(2), ["naive", "historic_mean"], horizon=7)
    told = gain(one, "wape", "naive", "historic_mean")
    assert told.value != 0
    assert (told.low, told.high) == (-np.inf, np.inf)
    assert "too few" in told.between(str)


def test_demand_in_one_window_alone_tells_nothing_for_sure() -> None:
    days = pd.date_range("2024-01-01", periods=60)
    y = np.where(np.arange(60) % 8 == 0, 5.0, 0.0) * (np.arange(60) < 53)
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "part", "ds": days, "y": y}))
    told = gain(fk.backtest(panel, ["naive", "historic_mean"], horizon=7, windows=2), "wape", "naive", "historic_mean")
    assert np.isfinite(told.value)
    assert (told.low, told.high) == (-np.inf, np.inf)


def test_windows_that_overlap_say_no_more_than_one() -> None:
    panel, models = noise(2), ["naive", "historic_mean"]
    apart, over = (fk.backtest(panel, models, horizon=7, windows=8, step=step) for step in (7, 2))
    widths = [np.subtract(told.high, told.low) for told in (gain(r, "wape", *models) for r in (apart, over))]
    assert widths[1] > widths[0]
