"""What holds for every panel: tables round-trip, order doesn't matter, cuts and extensions undo each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Covariates, Panel

FREQUENCIES = (
    "s", "15min", "h", "6h", "D", "2D", "B", "W-MON", "W-SUN", "2W-WED", "MS", "ME", "2MS", "QS-FEB", "QE-DEC",
    "2QS-JAN", "YS-JAN", "YE-JUN", "2YS-MAR",
)  # fmt: skip

values = st.floats(-1e12, 1e12, allow_nan=False, width=64)
names = st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=5), min_size=1, max_size=4)


@st.composite
def series(draw: st.DrawFn) -> list[float]:
    """Demand that begins and ends with a value, with gaps between."""
    middle = draw(st.lists(st.one_of(values, st.just(np.nan)), max_size=12))
    return [draw(values), *middle, draw(values)]


@st.composite
def panels(draw: st.DrawFn) -> Panel:
    ids = sorted(set(draw(names)))
    demand = [draw(series()) for _ in ids]
    lengths = [len(y) for y in demand]
    freq = Frequency.parse(draw(st.sampled_from(FREQUENCIES)))
    frequency = Frequency(freq.alias, draw(st.integers(0, 1)) * (freq.step is None and freq.alias[0].isdigit()))
    rows = sum(lengths)
    price = draw(st.lists(values, min_size=rows, max_size=rows))
    brand = [float(draw(st.integers(0, 1))) for _ in ids]
    texts = {"brand": tuple(sorted({("other", "own")[int(b)] for b in brand}))}
    codes = [float(texts["brand"].index(("other", "own")[int(b)])) for b in brand]
    flags = draw(st.none() | st.lists(st.booleans(), min_size=rows, max_size=rows).map(np.array))
    base = 100 if frequency.step is None else 2_000
    return Panel(
        ids=tuple(ids),
        values=np.concatenate([np.array(y) for y in demand]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        starts=np.array([base + draw(st.integers(0, 20)) for _ in ids]) // 2,
        calendar=frequency,
        known=Covariates(("price",), np.array(price)[:, None]),
        static=Covariates(("brand",), np.array(codes)[:, None], texts),
        available=flags,
    )


def reread(frame: pd.DataFrame, panel: Panel) -> Panel:
    flag: dict[str, Any] = {} if panel.available is None else {"available": "available"}
    return Panel.from_frame(frame, freq=panel.freq, known="price", static="brand", **flag)


@given(panels())
@settings(max_examples=150, deadline=None)
def test_a_panel_survives_the_way_to_a_table_and_back(panel: Panel) -> None:
    assert reread(panel.to_frame(), panel).fingerprint == panel.fingerprint


@given(panels(), st.randoms(use_true_random=False))
@settings(max_examples=75, deadline=None)
def test_the_order_of_rows_does_not_matter(panel: Panel, random: Any) -> None:
    frame = panel.to_frame()
    order = list(range(len(frame)))
    random.shuffle(order)
    assert reread(frame.iloc[order], panel).fingerprint == panel.fingerprint


@given(panels())
@settings(max_examples=75, deadline=None)
def test_rows_of_gaps_may_be_there_or_not(panel: Panel) -> None:
    steps = [set(np.diff(np.flatnonzero(~np.isnan(panel.series(i))))) for i in range(len(panel))]
    assume(all(len(some) > 1 or some == {1} for some in steps))  # the door takes an even step for a frequency
    frame = panel.to_frame().assign(price=1.0)
    flags = {} if panel.available is None else {"available": np.where(panel.available, 1, 0)}
    full = reread(frame.assign(**flags), panel)
    sparse = reread(frame.assign(**flags)[frame["y"].notna()], panel)
    np.testing.assert_array_equal(full.values, sparse.values)
    assert full.gaps == sparse.gaps == panel.gaps


@given(panels(), st.data())
@settings(max_examples=75, deadline=None)
def test_a_cut_panel_extended_by_all_of_it_is_the_panel(panel: Panel, data: st.DataObject) -> None:
    lengths = np.array([data.draw(st.integers(0, int(n))) for n in panel.lengths])
    assert panel.cut(lengths).extended(panel).fingerprint == panel.fingerprint
    head, rest = panel.cut(lengths), panel.lengths - lengths
    tail = panel.take(np.flatnonzero(rest > 0)).tail(rest[rest > 0])
    joined = head.extended(tail)
    np.testing.assert_array_equal(joined.values, panel.take(np.flatnonzero(rest > 0)).values)


@given(panels(), st.integers(1, 8))
@settings(max_examples=75, deadline=None)
def test_cut_and_tail_never_keep_more_than_was_asked_for_and_lose_nothing_together(panel: Panel, periods: int) -> None:
    head, tail = panel.cut(panel.lengths - periods), panel.tail(periods)
    np.testing.assert_array_equal(head.lengths + tail.lengths, panel.lengths)
    assert (tail.lengths <= periods).all()
    np.testing.assert_array_equal(tail.ends, panel.ends)
    np.testing.assert_array_equal(head.starts, panel.starts)
    for i in range(len(panel)):
        np.testing.assert_array_equal(np.concatenate([head.series(i), tail.series(i)]), panel.series(i))


@given(panels())
@settings(max_examples=50, deadline=None)
def test_a_panel_extended_by_itself_or_turned_round_twice_is_itself(panel: Panel) -> None:
    back = np.arange(len(panel))[::-1]
    assert panel.extended(panel).fingerprint == panel.fingerprint
    assert panel.take(back).take(back).fingerprint == panel.fingerprint


@given(st.sampled_from(FREQUENCIES), st.integers(0, 200), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_period_numbers_and_times_are_inverse_and_monotone(alias: str, first: int, count: int) -> None:
    frequency = Frequency.parse(alias)
    first //= 4 if frequency.alias[0].isdigit() else 1
    numbers = np.arange(first // 3, first // 3 + count)
    times = frequency.times(numbers)
    np.testing.assert_array_equal(frequency.ordinals(times), numbers)
    assert (np.diff(times) > np.timedelta64(0, "us")).all()


@given(st.sampled_from(FREQUENCIES), st.integers(0, 3_000), st.integers(3, 30))
@settings(max_examples=200, deadline=None)
def test_a_frequency_is_found_from_any_of_its_ranges(alias: str, day: int, count: int) -> None:
    times = pd.date_range(pd.Timestamp("1990-01-01") + pd.Timedelta(day, "D"), periods=count, freq=alias)
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": times, "y": 1.0}))
    assert panel.gaps == 0
    np.testing.assert_array_equal(panel.times(), times.to_numpy())
