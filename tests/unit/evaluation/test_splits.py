"""Where a backtest cuts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecastkit import Panel, Plan
from forecastkit.errors import ConfigError, SeriesTooShortError
from forecastkit.evaluation.splits import left_out, under_a_season, windows


def panel(*spans: tuple[str, int]) -> Panel:
    frames = [
        pd.DataFrame({"unique_id": f"s{k}", "ds": pd.date_range(start, periods=n), "y": np.arange(n, dtype=float)})
        for k, (start, n) in enumerate(spans)
    ]
    return Panel.from_frame(pd.concat(frames))


def test_the_last_window_ends_with_the_data_and_windows_go_back_by_steps() -> None:
    shop = panel(("2024-01-01", 30), ("2024-01-11", 20))
    plan = Plan(horizon=4, windows=3, step=2).settled(shop)
    cuts = windows(shop, plan)
    assert [c.lengths.tolist() for c in cuts] == [[22, 12], [24, 14], [26, 16]]


def test_a_gap_lies_between_the_cutoff_and_the_first_scored_period() -> None:
    shop = panel(("2024-01-01", 30))
    assert windows(shop, Plan(horizon=4, gap=3).settled(shop))[0].lengths.tolist() == [23]


def test_series_that_end_apart_are_cut_from_their_own_ends_unless_told_otherwise() -> None:
    shop = panel(("2024-01-01", 30), ("2024-01-01", 28))
    assert Plan(horizon=4).settled(shop).align == "series"
    assert windows(shop, Plan(horizon=4).settled(shop))[0].lengths.tolist() == [26, 24]
    common = windows(shop, Plan(horizon=4, align="calendar").settled(shop))[0]
    assert common.lengths.tolist() == [26, 26]


def test_a_common_cutoff_shows_no_series_anything_later() -> None:
    shop = panel(("2024-01-01", 30), ("2024-01-08", 23), ("2024-01-15", 16))
    for cut in windows(shop, Plan(horizon=3, windows=2, align="calendar").settled(shop)):
        last_seen = shop.starts[cut.series] + cut.lengths - 1
        assert len(set(last_seen)) == 1


def test_a_series_without_anything_to_score_is_left_out_of_the_window() -> None:
    shop = panel(("2024-01-01", 30), ("2024-01-01", 20), ("2024-01-29", 2))
    cuts = windows(shop, Plan(horizon=4, align="calendar").settled(shop))
    assert cuts[0].series.tolist() == [0]
    assert left_out(shop, cuts).tolist() == [1, 2]


def test_a_horizon_longer_than_every_history_says_what_is_needed() -> None:
    shop = panel(("2024-01-01", 30))
    with pytest.raises(SeriesTooShortError) as caught:
        windows(shop, Plan(horizon=10, windows=3).settled(shop))
    assert (caught.value.needed, caught.value.found) == (31, 30)
    assert "room for 2" in str(caught.value)
    assert len(windows(shop, Plan(horizon=10, windows=2).settled(shop))) == 2
    with pytest.raises(SeriesTooShortError, match="room for 5"):
        windows(shop, Plan(horizon=10, gap=2, step=4, windows=6, align="calendar").settled(shop))
    assert len(windows(shop, Plan(horizon=10, gap=2, step=4, windows=5, align="calendar").settled(shop))) == 5


def test_series_without_a_whole_season_before_a_cutoff_are_counted() -> None:
    shop = panel(("2024-01-01", 30), ("2024-01-01", 12), ("2024-01-01", 11))
    plan = Plan(horizon=4, season=7, align="series").settled(shop)
    assert under_a_season(plan, windows(shop, plan)) == 1
    assert under_a_season(replace(plan, season=1), windows(shop, plan)) == 0


@pytest.mark.parametrize("wrong", [{"horizon": 0}, {"windows": 0}, {"step": 0}, {"gap": -1}, {"align": "diagonal"}])
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Plan(**({"horizon": 4} | wrong))  # type: ignore[arg-type]
