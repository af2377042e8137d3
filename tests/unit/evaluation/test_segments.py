"""Kinds of series."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import forecastkit as fk
from forecastkit import Panel
from forecastkit.errors import ConfigError
from forecastkit.evaluation.segments import CLASSES, demand_classes, names, parts

DAYS = pd.date_range("2024-01-01", periods=40)
SHAPES = {
    "erratic": np.tile([1.0, 9.0, 1.0, 1.0], 10),
    "intermittent": np.tile([0.0, 5.0], 20),
    "lumpy": np.tile([0.0, 1.0, 0.0, 9.0, 0.0, 1.0, 0.0, 1.0], 5),
    "none": np.zeros(40),
    "smooth": np.tile([9.0, 10.0], 20),
}


@pytest.fixture
def panel() -> Panel:
    frames = [pd.DataFrame({"unique_id": n, "ds": DAYS, "y": y, "size": len(n)}) for n, y in SHAPES.items()]
    return Panel.from_frame(pd.concat(frames), static=["size"])


def test_the_four_classes_of_demand_and_none(panel: Panel) -> None:
    assert [CLASSES[k] for k in demand_classes(panel)] == list(panel.ids)


def test_a_period_in_which_nothing_could_be_sold_makes_no_series_intermittent() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": DAYS, "y": SHAPES["intermittent"], "on": SHAPES["intermittent"] > 0})
    assert demand_classes(Panel.from_frame(frame, available="on")).tolist() == [CLASSES.index("smooth")]


def test_deciles_are_of_equal_size_and_ten_is_the_largest() -> None:
    found = parts(np.arange(50.0)[::-1], 10)
    assert np.bincount(found)[1:].tolist() == [5] * 10
    assert found[0] == 10


def test_the_names_of_segments_are_known_before_anything_runs(panel: Panel) -> None:
    report = fk.backtest(panel, ["naive"], horizon=5)
    assert names(panel) == tuple(report.segments.columns)


def test_scores_by_segment_add_up_to_those_of_all(panel: Panel) -> None:
    report = fk.backtest(panel, ["naive", "historic_mean"], horizon=5, windows=2)
    whole = report.scores().set_index("model")
    for key in ("demand_class", "volume_decile", "size"):
        parts = report.scores(["model", key])
        assert len(parts) == 2 * report.segments[key].nunique()
        mean = (parts["mae"] * parts["cells"]).groupby(parts["model"]).sum() / 10
        np.testing.assert_allclose(mean[whole.index], whole["mae"])
    with pytest.raises(ConfigError, match="did you mean 'demand_class'"):
        report.scores("demand_clas")


def test_a_class_is_told_from_what_came_before_the_first_cutoff() -> None:
    y = np.concatenate([SHAPES["smooth"][:30], np.zeros(10)])
    report = fk.backtest(Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": DAYS, "y": y})), ["naive"], horizon=10)
    assert report.segments["demand_class"].tolist() == ["smooth"]


def test_thirds_are_those_of_the_demand_before_the_first_cutoff() -> None:
    sizes = {"a": 1.0, "b": 2.0, "c": 3.0}
    frames = [pd.DataFrame({"unique_id": n, "ds": DAYS, "y": np.full(40, y)}) for n, y in sizes.items()]
    table = pd.concat(frames)
    table.loc[(table["unique_id"] == "a") & (table["ds"] >= DAYS[30]), "y"] = 900.0
    report = fk.backtest(Panel.from_frame(table), ["naive"], horizon=10)
    assert report.segments["volume_third"].tolist() == ["low", "middle", "high"]
