"""Each criterion asks what it says, and both answers occur."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecastkit import Report, backtest, create
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.evaluation.gate import Costs, Criterion, Gate, judge


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Six items of two stores with a weekly season; those of the second store double after the last cutoff."""
    days = pd.date_range("2024-01-01", periods=84)
    rng = np.random.default_rng(5)
    frames = []
    for k in range(6):
        y = (k + 1) * (20 + 8 * (days.day_of_week >= 5)) + rng.normal(0, 1, 84)
        y = np.where((days >= "2024-03-18") & (k % 2 == 1), 2 * y, y)
        frames.append(pd.DataFrame({"unique_id": f"i{k}", "ds": days, "y": y, "store": "AB"[k % 2]}))
    return Panel.from_frame(pd.concat(frames), static=["store"])


@pytest.fixture(scope="module")
def report(panel: Panel) -> Report:
    recipes = {
        "challenger": create("window_average:seasonal=true"),
        "champion": create("historic_mean"),
        "baseline": create("seasonal_naive"),
    }
    return backtest(panel, recipes, horizon=7)


def asked(panel: Panel, report: Report, measured: float | None = None, **fields) -> dict[str, Criterion]:
    gate = Gate(**{"loss": None, **fields})
    return {criterion.name: criterion for criterion in judge(gate, report, measured)}


def test_what_is_not_in_the_gate_is_not_asked(panel: Panel, report: Report) -> None:
    assert asked(panel, report, bias=9.0).keys() == {"bias"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"by": "wap"}, "can't be by 'wap', did you mean 'wape'"),
        ({"by": "coverage"}, "can't be by 'coverage'"),
        ({"loss": None}, "the gate asks nothing: write one of skill"),
        ({"levels": (0.9, 0.1)}, "the lower first"),
        ({"levels": (10.0, 90.0)}, "two probabilities"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Gate(**fields)


def test_skill_is_the_share_by_which_the_error_is_below_the_baselines(panel: Panel, report: Report) -> None:
    scores = report.scores().set_index("model")["wape"]
    found = asked(panel, report, skill=-1.0)["skill in wape"]
    assert found.value == pytest.approx(1 - scores["challenger"] / scores["baseline"])
    assert found.passed
    assert not asked(panel, report, skill=0.9)["skill in wape"].passed


def test_a_loss_against_the_champion_must_be_sure_to_fail(panel: Panel, report: Report) -> None:
    assert asked(panel, report, loss=0.0)["loss in wape"].passed
    even = panel.take(np.flatnonzero(np.arange(6) % 2 == 0))
    recipes = {"challenger": create("historic_mean"), "champion": create("seasonal_naive")}
    recipes["baseline"] = create("seasonal_naive")
    over_four = backtest(even, recipes, horizon=7, windows=4)
    lost = asked(even, over_four, loss=0.0)["loss in wape"]
    assert not lost.passed
    assert asked(even, over_four, loss=99.0)["loss in wape"].passed
    once = asked(even, backtest(even, recipes, horizon=7), loss=0.0)["loss in wape"]
    assert once.value == pytest.approx(lost.value, rel=0.5)
    assert once.passed
    assert "too few" in once.bound


def test_without_a_champion_there_is_no_loss_and_something_else_must_be_asked(panel: Panel) -> None:
    recipes = {"challenger": create("historic_mean"), "baseline": create("seasonal_naive")}
    alone = backtest(panel, recipes, horizon=7)
    assert asked(panel, alone, loss=0.0, skill=-9.0).keys() == {"skill in wape"}
    with pytest.raises(ConfigError, match="there is no champion yet"):
        asked(panel, alone, loss=0.0)


def test_coverage_lies_between_two_bounds(panel: Panel, report: Report) -> None:
    value = asked(panel, report, coverage=(0.0, 1.0))["coverage"].value
    assert not asked(panel, report, coverage=(value + 0.01, 1.0))["coverage"].passed
    assert not asked(panel, report, coverage=(0.0, value - 0.01))["coverage"].passed


def test_bias_in_a_segment_is_seen_where_the_other_is_well(panel: Panel, report: Report) -> None:
    found = asked(panel, report, segment_bias=0.1, segment="store")
    assert found.keys() == {"bias in store A", "bias in store B"}
    assert (found["bias in store A"].passed, found["bias in store B"].passed) == (True, False)
    assert found["bias in store B"].value == pytest.approx(-0.5, abs=0.05)


def test_segments_by_volume_are_thirds(panel: Panel, report: Report) -> None:
    found = asked(panel, report, segment_bias=1.0)
    assert found.keys() == {"bias in low volume", "bias in middle volume", "bias in high volume"}


def test_thirds_by_volume_know_nothing_of_the_windows_that_are_judged(panel: Panel, report: Report) -> None:
    values = panel.values.copy()
    values[panel.offsets[1] - 7 : panel.offsets[1]] *= 100.0  # the smallest item is the largest in the last week
    burst = backtest(replace(panel, values=values), {"challenger": create("seasonal_naive"),
                                                    "baseline": create("seasonal_naive")}, horizon=7)  # fmt: skip
    assert burst.segments.set_index("series")["volume_third"]["i0"] == "low"
    found = asked(panel, burst, segment_bias=0.1)
    assert (found["bias in low volume"].passed, found["bias in high volume"].passed) == (False, False)
    own = burst.scores(["model", "volume_third"]).set_index(["model", "volume_third"])["bias"]["challenger"]
    assert found["bias in low volume"].value == pytest.approx(own["low"])
    assert found["bias in low volume"].value < -0.9


def test_a_segment_that_is_no_column_is_refused(panel: Panel, report: Report) -> None:
    with pytest.raises(ConfigError, match="--static region"):
        asked(panel, report, segment_bias=0.1, segment="region")


def test_costs_of_running_are_held_against_budgets(panel: Panel, report: Report) -> None:
    found = asked(panel, report, 3.0, p95_ms=2.0, fit_s=1e-9, peak_mb=1e9)
    assert not found["p95_ms"].passed
    assert not found["fit_s"].passed
    assert found["peak_mb"].passed


def test_money_is_saved_by_smaller_errors_on_the_dear_side(panel: Panel, report: Report) -> None:
    table = report.forecasts
    error = table["mean"] - table["y"]
    cost = error.clip(lower=0) * 1.0 + (-error).clip(lower=0) * 3.0
    by_model = cost.groupby(table["model"]).sum()
    found = asked(panel, report, costs=Costs(over=1.0, under=3.0, saved=1e9))["money saved against the champion"]
    assert found.value == pytest.approx(by_model["champion"] - by_model["challenger"])
    assert not found.passed


def test_a_criterion_says_number_bound_and_answer() -> None:
    assert str(Criterion("bias", 0.123456, "at most 0.1", False)) == "0.1235 (at most 0.1): fail"


def test_a_gate_is_read_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text("skill = 0.05\ncoverage = [0.7, 0.9]\n[costs]\nover = 1\nunder = 4\n[backtest]\nhorizon = 12\n")
    gate = Gate.read(file)
    assert (gate.skill, gate.coverage, gate.costs, gate.backtest.horizon) == (
        0.05,
        (0.7, 0.9),
        Costs(over=1, under=4),
        12,
    )
    with pytest.raises(ConfigError, match="can't be read"):
        Gate.read(tmp_path / "none.toml")


def test_the_gate_in_the_docs_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "team.md").read_text("utf-8")
    (tmp_path / "gate.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    gate = Gate.read(tmp_path / "gate.toml")
    assert (gate.skill, gate.costs, gate.backtest.windows) == (0.05, Costs(over=1, under=4), 2)
