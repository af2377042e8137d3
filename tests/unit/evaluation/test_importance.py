"""Importance of inputs, with a model whose inputs are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import pytest

import forecastkit as fk
from forecastkit import Panel
from forecastkit.data.panel import Floats
from forecastkit.errors import DataError
from forecastkit.evaluation.importance import importance
from forecastkit.forecaster import Fitted, Forecaster


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenFitted(Fitted):
    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        assert future is not None
        panel = self.history
        last = panel.values[panel.offsets[1:] - 1] - 10 * panel.known.values[panel.offsets[1:] - 1, 0]
        weekend = panel.future_ordinals(horizon) % 7 >= 5
        mean = last[:, None] + 10 * future[:, :, 0] + 5 * weekend
        return mean, np.empty((*mean.shape, 0))


@dataclass(frozen=True, kw_only=True)
class Open(Forecaster):
    """The newest value, corrected by the first covariate and the day of the week; nothing else."""

    name: ClassVar[str] = "open"
    fitted_type: ClassVar[type[Fitted]] = OpenFitted
    uses: ClassVar[frozenset[str]] = frozenset({"known"})
    probabilistic: ClassVar[bool] = False

    def _fit(self, train: Panel, horizon: int) -> Fitted:
        return OpenFitted(recipe=self, history=train)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()


@pytest.fixture
def panel() -> Panel:
    """Levels of 50 and more, an effect of promotion, weekends at the ends, and a column that means nothing."""
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=61)
    plain = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": days, "y": 0.0}))
    weekend = plain.ordinals() % 7 >= 5
    frames = []
    for k in range(20):
        promotion = (rng.random(61) < 0.4).astype(float)
        y = 50 + k + 10 * promotion + 5 * weekend + rng.normal(0, 0.5, 61)
        frame = {"unique_id": f"s{k:02}", "ds": days, "y": y, "promotion": promotion, "noise": rng.random(61)}
        frames.append(pd.DataFrame(frame))
    return Panel.from_frame(pd.concat(frames), known=["promotion", "noise"])


def test_inputs_that_a_model_uses_are_worth_something_and_the_others_nothing(panel: Panel) -> None:
    found = importance(Open().fit(panel.cut(panel.lengths - 7)), panel, horizon=7).set_index("input")
    assert found["increase"].is_monotonic_decreasing
    used = ["promotion", "calendar", "demand 1 back"]
    assert (found.loc[used, "low"] > 0.1).all()
    others = found.drop(index=used)
    assert "noise" in others.index
    assert (others["increase"] == 0).all()
    assert (others["kind"] == "demand").sum() == 4


def test_the_same_seed_gives_the_same_numbers_and_the_panel_stays_as_it_is(panel: Panel) -> None:
    fitted, before = Open().fit(panel.cut(panel.lengths - 7)), panel.fingerprint
    first, second = (importance(fitted, panel, horizon=7, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert panel.fingerprint == before
    assert not first.equals(importance(fitted, panel, horizon=7, seed=4))


def test_a_covariate_that_is_the_same_for_all_series_is_destroyed_too(panel: Panel) -> None:
    frame = panel.to_frame()
    shared = frame.groupby("ds")["promotion"].transform("first")
    frame = frame.assign(y=frame["y"] + 10 * (shared - frame["promotion"]), promotion=shared)
    same = Panel.from_frame(frame, known=["promotion"])
    found = importance(Open().fit(same.cut(same.lengths - 7)), same, horizon=7).set_index("input")
    assert found.loc["promotion", "low"] > 0.1


def test_seasonal_naive_looks_at_the_last_season_alone(weekly_shop: Panel) -> None:
    fitted = fk.create("seasonal_naive").fit(weekly_shop.cut(weekly_shop.lengths - 7))
    found = importance(fitted, weekly_shop, horizon=7).set_index("input")["increase"]
    assert found["demand 2 to 7 back"] > 0.5
    assert found["demand 8 to 14 back"] == 0
    assert found["calendar"] == 0


def test_a_series_with_nothing_before_the_horizon_is_named(panel: Panel) -> None:
    with pytest.raises(DataError, match="s00"):
        importance(Open().fit(panel), panel, horizon=61)


@pytest.mark.slow
def test_boosted_trees_know_what_promotions_are_worth(panel: Panel) -> None:
    pytest.importorskip("lightgbm")
    fitted = fk.create("boosted").fit(panel.cut(panel.lengths - 7), horizon=7)
    found = importance(fitted, panel, horizon=7).set_index("input")["increase"]
    assert found["promotion"] > 10 * abs(found["noise"])


class DeafFitted(Fitted):
    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        mean = np.full((len(self.history), horizon), 2.4)
        return mean, np.repeat(mean[..., None], len(levels), axis=-1)


@dataclass(frozen=True, kw_only=True)
class Deaf(Forecaster):
    """2.4, whatever came."""

    name: ClassVar[str] = "deaf"
    fitted_type: ClassVar[type[Fitted]] = DeafFitted

    def _fit(self, train: Panel, horizon: int) -> Fitted:
        return DeafFitted(recipe=self, history=train)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()


def test_a_past_of_counts_that_is_not_read_is_worth_nothing():
    """What is put in its place are no counts: rounded in one of both alone, the forecast would seem to read it."""
    days, rng = pd.date_range("2024-01-01", periods=90), np.random.default_rng(0)
    rows = [pd.DataFrame({"unique_id": f"s{k}", "ds": days, "y": rng.poisson(1 + k, 90)}) for k in range(12)]
    panel = Panel.from_frame(pd.concat(rows))
    found = importance(Deaf().fit(panel.cut(panel.lengths - 7)), panel, horizon=7)
    assert (found["increase"] == 0).all()
