"""Frequencies: names, period numbers, seasons, and finding them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastkit.data import calendar
from forecastkit.data.calendar import Frequency
from forecastkit.errors import FrequencyError


def micros(times: pd.DatetimeIndex) -> np.ndarray:
    return times.to_numpy().astype("M8[us]").astype(np.int64)


def inferred(times: pd.DatetimeIndex) -> Frequency:
    return calendar.infer(micros(times), np.diff(micros(times)))


@pytest.mark.parametrize(
    ("freq", "season"),
    [
        ("h", 24), ("2h", 12), ("30min", 48), ("min", 1440), ("15s", 240), ("D", 7), ("7D", 52), ("14D", 26),
        ("3D", 1), ("W", 52), ("2W", 26), ("B", 5), ("MS", 12), ("ME", 12), ("2MS", 6), ("QS", 4), ("QE", 4),
        ("2QS", 2), ("YS", 1),
    ],
)  # fmt: skip
def test_the_season_is_the_shortest_usual_one(freq: str, season: int) -> None:
    assert Frequency.parse(freq).season == season


@pytest.mark.parametrize(
    ("old", "new"),
    [("H", "h"), ("2T", "2min"), ("M", "ME"), ("3M", "3ME"), ("Q", "QE-DEC"), ("Q-MAR", "QE-DEC"), ("A-JUN", "YE-JUN"),
     ("d", "D"), ("w", "W-SUN"), ("1.5h", "90min"), ("QS-APR", "QS-JAN"), ("QE-NOV", "QE-NOV")],
)  # fmt: skip
def test_names_of_older_pandas_are_understood_and_one_grid_has_one_name(old: str, new: str) -> None:
    assert Frequency.parse(old).alias == new


@pytest.mark.parametrize(
    ("alias", "words"),
    [
        ("W-MOM", "did you mean 'W-MON'"),
        ("daily", "the usual ones are min, h, D"),
        ("", "the usual ones are"),
        ("-1D", "must step forward"),
        ("0D", "must step forward"),
        ("ms", "below a second"),
    ],
)
def test_what_is_no_frequency_is_refused_with_a_hint(alias: str, words: str) -> None:
    with pytest.raises(FrequencyError, match=words):
        Frequency.parse(alias)


@pytest.mark.parametrize(
    "freq",
    ["s", "15min", "h", "6h", "D", "B", "W-MON", "W-SUN", "MS", "ME", "2MS", "5ME", "QS-FEB", "2QS-MAR", "QE-DEC",
     "YS-JAN", "YE-JUN", "3YS-MAR", "14D"],
)  # fmt: skip
@pytest.mark.parametrize("start", ["1961-07-01", "2024-02-29"])
def test_a_regular_range_is_found_again_and_counts_up_by_one(freq: str, start: str) -> None:
    times = pd.date_range(start, periods=40, freq=freq)
    found = inferred(times)
    assert found.alias == freq
    numbers = found.ordinals(times.to_numpy())
    np.testing.assert_array_equal(np.diff(numbers), 1)
    np.testing.assert_array_equal(found.times(numbers), times.to_numpy())


def test_gaps_do_not_change_the_frequency() -> None:
    times = pd.date_range("2024-01-01", periods=40, freq="W-MON")[[0, 2, 5, 6, 30]]
    assert inferred(times).alias == "W-MON"


def test_days_without_weekends_are_business_days() -> None:
    assert inferred(pd.bdate_range("2024-01-01", periods=12)).alias == "B"


def test_shops_that_close_on_sundays_keep_days() -> None:
    days = pd.date_range("2024-01-01", periods=30)
    assert inferred(days[days.day_of_week != 6]).alias == "D"


@pytest.mark.parametrize("day", ["2014-04-07", "2014-04-14"])
def test_every_other_week_may_be_the_odd_or_the_even_one(day: str) -> None:
    times = pd.date_range(day, periods=5, freq="14D")
    frequency = Frequency.parse("2W").anchored(int(micros(times)[0])).fitted_to(int(micros(times)[0]))
    assert frequency.alias == "2W-MON"
    np.testing.assert_array_equal(np.diff(frequency.ordinals(times.to_numpy())), 1)


def test_a_time_off_the_grid_is_quoted() -> None:
    with pytest.raises(FrequencyError, match=r"2024-01-02 is not on the grid of 'MS'") as caught:
        Frequency.parse("MS").ordinals(np.array(["2024-01-01", "2024-01-02"], "M8[us]"))
    assert caught.value.expected == "MS"


def test_calendar_periods_end_with_the_years_that_are_known() -> None:
    months = Frequency.parse("MS")
    with pytest.raises(FrequencyError, match="known from 1900 to 2150 only"):
        months.ordinals(np.array(["1850-01-01"], "M8[us]"))
    last = months.ordinals(np.array(["2150-12-01"], "M8[us]"))
    with pytest.raises(FrequencyError, match="known from 1900 to 2150 only"):
        months.times(last + 1)


@pytest.mark.parametrize(
    ("alias", "time", "grid"),
    [
        ("MS", "2150-12-15", "2150-12-01"),
        ("ME", "1900-01-15", "1900-01-31"),
        ("MS", "2150-11-15", "2150-11-01 and 2150-12-01"),
        ("W-MON", "1969-12-31", "1969-12-29 and 1970-01-05"),
    ],
)
def test_a_time_off_the_grid_is_told_its_neighbours_and_at_the_ends_the_only_one(
    alias: str, time: str, grid: str
) -> None:
    with pytest.raises(FrequencyError, match=f"{time} is not on the grid of '{alias}', which has {grid}$"):
        Frequency.parse(alias).ordinals(np.array([time], "M8[us]"))


def test_ordinals_keep_their_shape() -> None:
    times = pd.date_range("2024-01-01", periods=6).to_numpy().reshape(2, 3)
    days = Frequency.parse("D")
    assert days.ordinals(times).shape == (2, 3)
    np.testing.assert_array_equal(days.times(days.ordinals(times)), times)


def test_local_times_are_the_clock_on_the_wall() -> None:
    utc = np.array([["2024-07-01T00:00"], ["2024-12-01T00:00"]], "M8[us]")
    wall = Frequency("h", 0, "Europe/Berlin").local(utc)
    np.testing.assert_array_equal(wall, np.array([["2024-07-01T02:00"], ["2024-12-01T01:00"]], "M8[us]"))
    assert Frequency("h").local(utc) is utc


def test_the_words_of_two_frequencies_tell_them_apart() -> None:
    assert (
        Frequency("h", 1_800_000_000, "UTC").words
        == "the frequency 'h' shifted by 0 days 00:30:00 in the time zone UTC"
    )
    assert Frequency("2MS", 1).words == "the frequency '2MS' shifted by 1"
