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
