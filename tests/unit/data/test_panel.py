"""The panel as a value: views, cuts, newer observations, covariates, and the way to a table and back."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Covariates, Panel, ranges
from forecastkit.errors import DataError


def long(name: str, start: str, y: list[float], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": name, "ds": pd.date_range(start, periods=len(y)), "y": y} | columns)


@pytest.fixture
def frame() -> pd.DataFrame:
    milk = long("milk", "2024-01-01", [5.0, 4.0, 6.0, 7.0], price=[1.0, 2.0, 3.0, 4.0], kind=["a", "b", "a", None])
    oats = long("oats", "2024-01-02", [1.0, 2.0, 3.0], price=[5.0, 6.0, 7.0], kind=["c", "c", "a"])
    return pd.concat([milk.assign(brand="own", on=1), oats.assign(brand="other", on=[1, 0, 1])])


ROLES: dict[str, Any] = {"known": ("price", "kind"), "static": "brand", "available": "on"}


@pytest.fixture
def panel(frame: pd.DataFrame) -> Panel:
    return Panel.from_frame(frame, **ROLES)


def test_a_panel_says_what_it_is(panel: Panel) -> None:
    assert repr(panel) == "Panel(2 series, 7 periods of 'D', 2024-01-01 to 2024-01-04, 0 gaps)"
    assert (len(panel), panel.freq, panel.season, panel.ids) == (2, "D", 7, ("milk", "oats"))


def test_a_panel_can_not_be_written_to(panel: Panel) -> None:
    for array in (panel.values, panel.offsets, panel.starts, panel.known.values, panel.static.values, panel.available):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_offsets_that_do_not_fit_the_values_are_refused() -> None:
    with pytest.raises(DataError, match="offsets must run from 0"):
        Panel(("a",), np.ones(3), np.array([0, 2]), np.zeros(1, np.int64), Frequency("D"))


def test_a_series_is_a_view(panel: Panel) -> None:
    assert np.shares_memory(panel.series(1), panel.values)
    np.testing.assert_array_equal(panel.series(1), [1, 2, 3])
    np.testing.assert_array_equal(panel.values[panel.rows_of(1)], panel.series(1))


def test_the_future_begins_one_period_after_the_end(panel: Panel) -> None:
    times = panel.calendar.times(panel.future_ordinals(2))
    np.testing.assert_array_equal(times, np.array([["2024-01-05", "2024-01-06"]] * 2, "M8[us]"))


def test_take_picks_series_in_the_order_that_was_asked_for(panel: Panel) -> None:
    back = panel.take([1, 0])
    assert back.ids == ("oats", "milk")
    np.testing.assert_array_equal(back.values, [1, 2, 3, 5, 4, 6, 7])
    np.testing.assert_array_equal(back.known.values[:, 0], [5, 6, 7, 1, 2, 3, 4])
    np.testing.assert_array_equal(back.available, [True, False, True, True, True, True, True])
    np.testing.assert_array_equal(back.static.values, panel.static.values[::-1])


def test_a_cut_keeps_what_was_known_and_a_tail_what_came_last(panel: Panel) -> None:
    past = panel.cut(np.array([2, 9]))
    assert past.lengths.tolist() == [2, 3]
    np.testing.assert_array_equal(past.known.values[:, 0], [1, 2, 5, 6, 7])
    last = panel.tail(1)
    np.testing.assert_array_equal(last.values, [7, 3])
    np.testing.assert_array_equal(last.starts, panel.ends)
    assert panel.cut(-1).lengths.tolist() == panel.tail(-1).lengths.tolist() == [0, 0]


def test_known_values_after_a_cutoff_are_carried_on_inside_and_nan_beyond_the_end(panel: Panel) -> None:
    future = panel.known_after(np.array([2, 2]), 2)  # [N, H, K]
    np.testing.assert_array_equal(future[..., 0], [[3, 4], [7, np.nan]])


def test_missing_numbers_are_carried_on_within_a_series_and_categories_are_left_alone(frame: pd.DataFrame) -> None:
    frame["price"] = [np.nan, 2.0, np.nan, 4.0, np.nan, np.nan, np.nan]
    filled = Panel.from_frame(frame, **ROLES).known_filled
    np.testing.assert_array_equal(filled[:, 0], [2, 2, 2, 4, 0, 0, 0])
    np.testing.assert_array_equal(filled[:, 1], [0, 1, 0, np.nan, 2, 2, 0])


def test_observed_is_a_value_on_a_day_when_the_item_could_be_sold(frame: pd.DataFrame) -> None:
    frame.iloc[1, frame.columns.get_loc("y")] = np.nan
    np.testing.assert_array_equal(
        Panel.from_frame(frame, **ROLES).observed, [True, False, True, True, True, False, True]
    )


def test_categories_are_encoded_one_hot_and_an_unknown_one_as_zeros(panel: Panel) -> None:
    assert panel.known.features == ("price", "kind=a", "kind=b", "kind=c")
    np.testing.assert_array_equal(panel.known.encode()[[0, 3]], [[1, 1, 0, 0], [4, 0, 0, 0]])
    assert Covariates().encode(np.empty((3, 0))).shape == (3, 0)


def test_the_way_to_arrays_and_back_loses_nothing(panel: Panel) -> None:
    assert Panel.from_arrays(*panel.arrays()).fingerprint == panel.fingerprint
    assert pickle.loads(pickle.dumps(panel)).fingerprint == panel.fingerprint


def test_the_way_to_a_table_and_back_loses_nothing(panel: Panel) -> None:
    again = Panel.from_frame(panel.to_frame(), **ROLES | {"available": "available"})
    assert again.fingerprint == panel.fingerprint


@pytest.mark.parametrize(
    ("column", "value"), [("y", 9.0), ("price", 9.0), ("kind", "z"), ("on", 0), ("unique_id", "tea")]
)
def test_the_fingerprint_changes_with_anything(frame: pd.DataFrame, panel: Panel, column: str, value: Any) -> None:
    frame = frame.reset_index(drop=True)
    frame.loc[0 if column != "unique_id" else frame["unique_id"] == "milk", column] = value
    assert Panel.from_frame(frame, **ROLES).fingerprint != panel.fingerprint


# Newer observations


def test_newer_observations_are_put_behind_the_known_ones() -> None:
    old = Panel.from_frame(
        pd.concat([long("milk", "2024-01-01", [1.0, 2.0, 3.0]), long("oats", "2024-01-01", [7.0, 8.0])])
    )
    newer = Panel.from_frame(long("milk", "2024-01-03", [30.0, 4.0]))
    both = old.extended(newer)
    assert both.ids == ("milk",)
    np.testing.assert_array_equal(both.values, [1, 2, 30, 4])
    np.testing.assert_array_equal(both.starts, old.starts[:1])


def test_periods_that_neither_panel_has_are_gaps() -> None:
    old = Panel.from_frame(long("milk", "2024-01-01", [1.0, 2.0], price=1.0), known="price")
    newer = Panel.from_frame(long("milk", "2024-01-05", [5.0, 6.0], price=2.0), known="price")
    both = old.extended(newer)
    np.testing.assert_array_equal(both.values, [1, 2, np.nan, np.nan, 5, 6])
    np.testing.assert_array_equal(both.known.values[:, 0], [1, 1, np.nan, np.nan, 2, 2])


def test_a_series_that_was_never_seen_stands_alone() -> None:
    old = Panel.from_frame(long("milk", "2024-01-01", [1.0, 2.0]))
    newer = Panel.from_frame(
        pd.concat([long("beer", "2024-01-02", [7.0, 8.0]), long("milk", "2024-01-03", [3.0, 4.0])])
    )
    both = old.extended(newer)
    assert both.ids == ("beer", "milk")
    np.testing.assert_array_equal(both.values, [7, 8, 1, 2, 3, 4])
    np.testing.assert_array_equal(both.lengths, [2, 4])


def test_a_panel_that_ends_earlier_takes_the_history_back() -> None:
    old = Panel.from_frame(long("milk", "2024-01-01", [1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_array_equal(old.extended(old.cut(2)).values, [1, 2])


def test_newer_categories_are_written_in_the_codes_of_the_first(panel: Panel, frame: pd.DataFrame) -> None:
    newer = frame.assign(kind=["z", "c", "a", "b", None, "a", "c"])
    codes = panel.extended(Panel.from_frame(newer, **ROLES)).known.values[:, 1]
    np.testing.assert_array_equal(codes, [np.nan, 2, 0, 1, np.nan, 0, 2])


def test_an_empty_column_of_categories_stays_one(panel: Panel, frame: pd.DataFrame) -> None:
    both = panel.extended(Panel.from_frame(frame.assign(kind=None), **ROLES))
    assert both.known.categories == panel.known.categories
    assert np.isnan(both.known.values[:, 1]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda f: f.drop(columns="price"),
            r"the columns \['price'\] that the model was fitted with are not in this table",
        ),
        (lambda f: f.assign(price="dear"), "'price' is text and was a number in the history: 'dear', for"),
        (lambda f: f.assign(kind=1.0), "'kind' is a number and was text in the history"),
        (
            lambda f: f.assign(ds=f["ds"] + pd.Timedelta(12, "h")),
            "'D' shifted by 0 days 12:00:00, the model was fitted on",
        ),
    ],
)
def test_a_newer_table_that_does_not_fit_is_refused(panel: Panel, frame: pd.DataFrame, change: Any, words: str) -> None:
    changed = change(frame)
    roles = ROLES | {"known": tuple(name for name in ROLES["known"] if name in changed)}
    with pytest.raises(DataError, match=words):
        panel.extended(Panel.from_frame(changed, **roles))


def test_ranges_are_laid_one_after_another() -> None:
    np.testing.assert_array_equal(ranges(np.array([5, 0, 9]), np.array([2, 0, 3])), [5, 6, 9, 10, 11])
    assert ranges(np.array([], int), np.array([], int)).size == 0


@pytest.mark.parametrize("odd", ["not yet", "EUR 5"])
def test_of_a_column_that_was_text_one_that_is_no_number_is_named(odd: str) -> None:
    days = pd.date_range("2024-01-01", periods=3)
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": 1.0, "price": ["1.5", odd, "2"]})
    before = Panel.from_frame(frame, known=("price",))
    with pytest.raises(DataError, match=f"'price' is a number and was text in the history: '{odd}', for instance"):
        before.extended(Panel.from_frame(frame.assign(price=1.0, ds=days + pd.Timedelta(3, "D")), known=("price",)))
