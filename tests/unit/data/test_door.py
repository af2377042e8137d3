"""What the door says of bad tables, and what it makes of good ones."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from narwhals.exceptions import DuplicateError

from forecastkit.data.panel import Panel
from forecastkit.errors import ColumnError, ConfigError, DataError, FrequencyError

DAYS = pd.date_range("2024-01-01", periods=4)


def table(**columns: Any) -> pd.DataFrame:
    """Four days of one series, with columns replaced or added."""
    return pd.DataFrame({"unique_id": "milk", "ds": DAYS, "y": [5.0, 4.0, 6.0, 7.0]} | columns)


def at(times: Any, **columns: Any) -> pd.DataFrame:
    """One series at these times."""
    return pd.DataFrame({"unique_id": "milk", "ds": times, "y": np.arange(1.0, len(times) + 1)} | columns)


def refusal(frame: Any, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        Panel.from_frame(frame, **options)
    return caught.value


# Columns


def test_a_missing_column_is_named_with_the_closest_one() -> None:
    with pytest.raises(
        ColumnError, match=r"no column 'ds'.*did you mean 'dss'\? Columns found: unique_id, dss, y"
    ) as e:
        Panel.from_frame(table().rename(columns={"ds": "dss"}))
    assert e.value.column == "ds"
    assert e.value.found == ("unique_id", "dss", "y")


@pytest.mark.parametrize("role", ["known", "past", "static", "available"])
def test_a_missing_covariate_is_named_with_its_role(role: str) -> None:
    with pytest.raises(ColumnError, match=f"'price' for the {role}.*did you mean 'prices'.*--{role}"):
        Panel.from_frame(table(prices=1.0), **{role: "price"})


def test_a_misspelt_id_column_is_not_taken_for_one_series() -> None:
    with pytest.raises(ColumnError, match="did you mean 'uniqueid'"):
        Panel.from_frame(table().rename(columns={"unique_id": "uniqueid"}))


def test_a_table_without_an_id_column_is_one_series_named_after_the_target() -> None:
    assert Panel.from_frame(table().drop(columns="unique_id")).ids == ("y",)


def test_many_series_without_an_id_column_are_told_to_name_it() -> None:
    frame = pd.concat([table(), table()]).drop(columns="unique_id")
    assert "name the column that tells the series apart with id (--id)" in str(refusal(frame))


def test_a_column_has_one_role() -> None:
    with pytest.raises(ConfigError, match="column 'y' has two roles"):
        Panel.from_frame(table(), known="y")


@pytest.mark.parametrize(
    "make", [lambda f: f, lambda f: pa.Table.from_arrays([pa.array([1])] * 4, ["unique_id", "ds", "y", "y"])]
)
def test_a_name_that_comes_twice_is_refused(make: Any) -> None:
    frame = pd.concat([table(), table()[["y"]]], axis=1)
    assert "2 columns named 'y'" in str(refusal(make(frame)))


def test_other_names_are_fixed_once_at_the_door() -> None:
    frame = table().rename(columns={"unique_id": "sku", "ds": "day", "y": "sold"})
    panel = Panel.from_frame(frame, id="sku", time="day", target="sold")
    assert list(panel.to_frame().columns) == ["unique_id", "ds", "y"]


def test_columns_that_nobody_declared_are_ignored_whatever_they_hold() -> None:
    panel = Panel.from_frame(table(note=["a", 1, None, object()]))
    assert len(panel.known) == len(panel.past) == len(panel.static) == 0


@pytest.mark.parametrize("frame", [{"y": [1]}, [1, 2], pd.Series([1.0]), np.ones(3), None, "demand.csv"])
def test_what_is_no_table_is_refused_by_its_type(frame: Any) -> None:
    assert f"a table is needed (pandas, polars, pyarrow, duckdb), this is a {type(frame).__name__}" in str(
        refusal(frame)
    )


# Kinds of tables


def kinds() -> dict[str, Any]:
    import polars as pl

    frame = table(promo=["a", None, "b", "a"])
    narrow = frame.astype({"unique_id": "category", "promo": "category"})
    eager = pl.from_pandas(frame)
    return {
        "pandas": frame,
        "pandas categories": narrow,
        "pandas index": frame.set_index(["unique_id", "ds"]),
        "polars": eager,
        "polars lazy": eager.lazy(),
        "polars categories": eager.with_columns(pl.col("unique_id", "promo").cast(pl.Categorical)),
        "polars enum": eager.with_columns(pl.col("promo").cast(pl.Enum(["b", "a"]))),
        "pyarrow": pa.Table.from_pandas(frame),
        "pyarrow batch": pa.Table.from_pandas(frame).to_batches()[0],
        "pyarrow dictionaries": pa.Table.from_pandas(narrow),
        "pyarrow chunks": pa.concat_tables([pa.Table.from_pandas(narrow[:1]), pa.Table.from_pandas(narrow[1:])]),
    }


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_table_gives_the_same_panel(kind: str) -> None:
    made, known = (Panel.from_frame(kinds()[k], known="promo") for k in (kind, "pandas"))
    assert made.fingerprint == known.fingerprint
    assert made.known.categories == {"promo": ("a", "b")}
    np.testing.assert_array_equal(made.known.values[:, 0], [0, np.nan, 1, 0])


def test_a_duckdb_relation_is_a_table() -> None:
    duckdb = pytest.importorskip("duckdb")
    frame = table()
    with duckdb.connect() as connection:
        relation = connection.from_df(frame)
        assert Panel.from_frame(relation).fingerprint == Panel.from_frame(frame).fingerprint


# Ids


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([7] * 4, "7"),
        ([7.0] * 4, "7"),
        ([7.5] * 4, "7.5"),
        (["007"] * 4, "007"),
        (["🥛, whole"] * 4, "🥛, whole"),
        ([7, "7", 7, "7"], "7"),
        (pd.Categorical(["b"] * 4, ["a", "b"]), "b"),
        (pd.array([7] * 4, "Int64"), "7"),
        ([dt.date(2024, 1, 1)] * 4, "2024-01-01"),
        ([True] * 4, "True"),
    ],
)
def test_ids_of_any_type_become_text(ids: Any, text: str) -> None:
    assert Panel.from_frame(table(unique_id=ids)).ids == (text,)


@pytest.mark.parametrize("nothing", [None, pd.NA, np.nan])
def test_an_empty_id_is_refused(nothing: Any) -> None:
    assert "has 1 empty id" in str(refusal(table(unique_id=["milk", nothing, "milk", 3])))


def test_series_stand_in_the_order_of_their_text() -> None:
    ids = ["10", "9", "é", "Z", "a"]
    frame = pd.concat([table(unique_id=name) for name in ids])
    assert Panel.from_frame(frame).ids == ("10", "9", "Z", "a", "é")


# Times


@pytest.mark.parametrize(
    "times",
    [
        DAYS.strftime("%Y-%m-%d"),
        DAYS.strftime("%Y%m%d"),
        DAYS.strftime("%Y-%m-%d %H:%M:%S"),
        DAYS.strftime("%Y-%m-%dT%H:%M:%SZ"),
        DAYS.date,
        DAYS.astype("M8[s]"),
        DAYS.astype("M8[ns]"),
        DAYS.to_period("D"),
        DAYS.tz_localize("America/New_York"),
        pd.Categorical(DAYS.strftime("%Y-%m-%d")),
        pa.array(DAYS.date).to_pandas(),
    ],
)
def test_times_may_be_written_in_many_ways(times: Any) -> None:
    panel = Panel.from_frame(table(ds=times))
    assert panel.fingerprint == Panel.from_frame(table()).fingerprint


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (["2024-01-01", "soon", "2024-01-03", "later"], "2 times that can't be read, the first is 'soon' in row 2"),
        (["31.12.2024"] * 4, "can't be read, the first is '31.12.2024' in row 1: write them as 2024-12-31"),
        (["2024-02-30"] * 4, "can't be read, the first is '2024-02-30'"),
        ([1, 2, 3, 4], "holds numbers \\(1\\), dates are needed"),
        ([DAYS[0], pd.NaT, DAYS[2], DAYS[3]], "1 empty time, the first in row 2"),
        ([None, "2024-01-02", "2024-01-03", "2024-01-04"], "1 empty time, the first in row 1"),
        ([DAYS[0], "x", 3, None], "holds Timestamp and int and str"),
        ([True] * 4, "is bool, dates are needed"),
        ([pd.Timedelta(1, "h")] * 4, "is duration"),
        (
            [*DAYS[:3].date, dt.date(9999, 12, 31)],
            "nothing between 2024-01-03 and 9999-12-31: look for",
        ),
    ],
)
def test_times_that_make_no_sense_are_quoted(times: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Panel.from_frame(table(ds=times))


def test_duplicates_are_counted_and_the_first_is_named() -> None:
    error = refusal(pd.concat([table(), table(unique_id="oats"), table(unique_id="oats")[1:3]]))
    assert "2 rows repeat a series and time, the first is 'oats' at 2024-01-02: add them up or drop them" in str(error)
    assert error.series == "oats"


# Time zones and the two days of summer time

AUTUMN = pd.date_range("2024-10-26", "2024-10-29", freq="h", tz="Europe/Berlin")
SPRING = pd.date_range("2024-03-30", "2024-04-02", freq="h", tz="Europe/Berlin")


def test_hours_with_a_zone_are_regular_across_the_end_of_summer_time() -> None:
    panel = Panel.from_frame(at(AUTUMN))
    assert (panel.freq, panel.gaps, panel.calendar.zone) == ("h", 0, "Europe/Berlin")
    assert (panel.to_frame()["ds"] == AUTUMN).all()


def test_hours_as_text_with_offsets_are_regular_across_the_end_of_summer_time() -> None:
    panel = Panel.from_frame(at([time.isoformat() for time in AUTUMN]))
    assert (panel.freq, panel.gaps, len(panel.values)) == ("h", 0, len(AUTUMN))


def test_the_hour_that_comes_twice_without_a_zone_is_explained() -> None:
    assert "the end of summer time: give times with their zone, or in UTC" in str(refusal(at(AUTUMN.tz_localize(None))))


def test_the_hours_that_come_twice_are_explained_over_several_years() -> None:
    years = pd.date_range("2021-06-01", "2024-12-31", freq="30min", tz="Europe/Berlin")
    assert "the end of summer time" in str(refusal(at(years.tz_localize(None))))


def test_the_hour_that_is_missing_in_spring_is_a_gap_without_a_zone_and_none_with_one() -> None:
    assert Panel.from_frame(at(SPRING.tz_localize(None))).gaps == 1
    assert Panel.from_frame(at(SPRING)).gaps == 0


@pytest.mark.parametrize("as_text", [False, True])
def test_days_in_a_zone_are_dates_on_the_wall(as_text: bool) -> None:
    days = pd.date_range("2024-10-20", "2024-11-05", freq="D", tz="Europe/Berlin")
    panel = Panel.from_frame(at([d.isoformat() for d in days] if as_text else days))
    assert (panel.freq, panel.gaps, panel.calendar.zone) == ("D", 0, None)
    assert panel.times()[0] == np.datetime64("2024-10-20")


def test_shifts_that_keep_to_the_clock_on_the_wall_stay_regular() -> None:
    shifts = pd.date_range("2024-10-20", "2024-11-05", freq="6h").tz_localize("Europe/Berlin")
    panel = Panel.from_frame(at(shifts))
    assert (panel.freq, panel.gaps) == ("6h", 0)


def test_hours_at_half_past_keep_their_phase() -> None:
    panel = Panel.from_frame(at(pd.date_range("2024-01-01 00:30", periods=30, freq="h")))
    assert panel.freq == "h"
    assert panel.times()[0] == np.datetime64("2024-01-01T00:30")


def test_an_hour_off_the_grid_is_told_on_the_clock_on_the_wall() -> None:
    odd = SPRING.delete(31).insert(31, SPRING[31] + pd.Timedelta(7, "min"))[::-1]  # 2024-03-31 08:07, in row 41
    words = "2024-03-31 08:07:00+02:00 is not on the grid of 'h', which has 2024-03-31 08:00:00+02:00 and 2024-03-31 09"
    assert str(refusal(at(odd), freq="h")).startswith(f"series 'milk': {words}")
    error = str(refusal(at([time.isoformat() for time in odd]), freq="h"))
    assert error.startswith("series 'milk': 2024-03-31 06:07:00+00:00 is not on the grid")
    assert "; row 41 has it as '2024-03-31T08:07:00+02:00'" in error


def test_a_row_with_a_zone_is_told_on_the_clock_on_the_wall_whatever_is_wrong_with_it() -> None:
    twice = pd.concat([at(SPRING), at(SPRING[31:32])])
    assert "the first is 'milk' at 2024-03-31 08:00:00+02:00: name the column" in str(refusal(twice))
    infinite = at(SPRING, y=np.where(np.arange(len(SPRING)) == 31, np.inf, 1.0))
    assert "in series 'milk' at 2024-03-31 08:00:00+02:00" in str(refusal(infinite))
    far = at([*SPRING, pd.Timestamp("9999-12-31 23:00", tz="Europe/Berlin")])
    assert "between 2024-04-02 00:00:00+02:00 and 9999-12-31 23:00:00+01:00" in str(refusal(far))


# Frequencies


def test_one_row_a_series_needs_a_frequency() -> None:
    with pytest.raises(FrequencyError, match=r"every series has one row.*give freq \(--freq\)"):
        Panel.from_frame(table()[:1])
    assert len(Panel.from_frame(table()[:1], freq="D").values) == 1


@pytest.mark.parametrize(
    "times",
    [
        [f"2024-{month:02}-15" for month in range(1, 10)],
        [f"{year}-07-04" for year in range(2001, 2012)],
        ["2024-01-01 00:13", "2024-01-03 07:44", "2024-02-01 10:00"],
        ["2024-01-01 00:00:00.123400", "2024-01-01 00:00:01.300000", "2024-01-01 00:00:02.000000"],
    ],
)
def test_times_without_a_frequency_are_refused_with_the_range_of_their_steps(times: list[str]) -> None:
    with pytest.raises(FrequencyError, match=r"no regular frequency fits the times, whose steps run from .* to "):
        Panel.from_frame(at(times))


@pytest.mark.parametrize(
    ("times", "freq", "words"),
    [
        (DAYS, "W", r"'milk': 2024-01-02 is not on the grid of 'W-MON', which has .*; the times look like 'D'$"),
        (DAYS, "MS", r"'MS', which has 2024-01-01 and 2024-02-01; the times look like 'D'$"),
        (DAYS, "h", r"every value is 24 periods of 'h' after the one before; the times look like 'D'"),
        (pd.date_range("2024-01-01", periods=9, freq="W-WED"), "D", r"7 periods of 'D'.*look like 'W-WED'"),
        (pd.date_range("2024-01-01", periods=9, freq="ME"), "MS", r"2024-01-31 is not on the grid.*look like 'ME'"),
        (pd.date_range("2024-01-01", periods=9, freq="W-WED"), "W-MON", r"2024-01-03 is not on the grid of 'W-MON'"),
    ],
)
def test_a_frequency_that_contradicts_the_times_is_refused(times: Any, freq: str, words: str) -> None:
    with pytest.raises(FrequencyError, match=words):
        Panel.from_frame(at(times), freq=freq)


def test_days_given_as_business_days_look_like_days_though_most_are_on_the_grid() -> None:
    error = str(refusal(at(pd.date_range("2024-01-01", periods=60)), freq="B"))
    assert "2024-01-06 is not on the grid of 'B', which has 2024-01-05 and 2024-01-08; the times look like 'D'" in error
    assert "mistyped" not in error


def test_a_grid_that_many_rows_are_off_is_not_blamed_on_a_mistyped_date() -> None:
    times = [time + pd.Timedelta(7 * (k % 3 == 1), "min") for k, time in enumerate(SPRING)]
    assert "mistyped" not in str(refusal(at(times), freq="h"))


@pytest.mark.parametrize("freq", [None, "W-MON"])
def test_a_series_that_is_off_the_grid_of_all_others_as_a_whole_has_no_mistyped_date(freq: str | None) -> None:
    weeks = pd.date_range("2024-01-01", periods=30, freq="W-MON")
    others = [at(weeks, unique_id=f"m{k:02}") for k in range(95)]
    error = refusal(pd.concat([*others, at(weeks + pd.Timedelta(1, "D"), unique_id="oats")]), freq=freq)
    assert str(error).startswith("series 'oats': 2024-01-02 is not on the grid of 'W-MON', which has ")
    words = "2,850 of 2,880 rows are on it, but none of the 30 of this series: forecast it apart, or move its dates"
    assert words in str(error)
    assert "mistyped" not in str(error)


def moved(freq: str, to: str, row: int = 25, length: int = 20) -> pd.DataFrame:
    """Two series of a frequency, one of whose rows has another time."""
    times = pd.date_range("2024-01-01", periods=length, freq=freq)
    frame = pd.DataFrame({"unique_id": np.repeat(["milk", "oats"], length), "ds": [*times, *times], "y": 1.0})
    frame.loc[row, "ds"] = pd.Timestamp(to)
    return frame


@pytest.mark.parametrize("series", [["milk", "oats"], ["oats"]])
@pytest.mark.parametrize(
    ("freq", "to", "row", "words"),
    [
        ("W-MON", "2024-02-07", 25, "2024-02-07 is not on the grid of 'W-MON', which has 2024-02-05 and 2024-02-12"),
        ("W-MON", "2024-01-03", 20, "2024-01-03 is not on the grid of 'W-MON', which has 2024-01-01 and 2024-01-08"),
        ("MS", "2024-06-15", 25, "2024-06-15 is not on the grid of 'MS', which has 2024-06-01 and 2024-07-01"),
        ("ME", "2024-06-15", 25, "2024-06-15 is not on the grid of 'ME', which has 2024-05-31 and 2024-06-30"),
        ("QS", "2025-05-01", 25, "2025-05-01 is not on the grid of 'QS-JAN', which has 2025-04-01 and 2025-07-01"),
        (
            "D",
            "2024-01-06 05:00",
            25,
            "2024-01-06 05:00:00 is not on the grid of 'D', which has 2024-01-06 and",
        ),
    ],
)
def test_a_date_off_the_pace_of_all_others_is_named_with_its_series_and_the_grid(
    freq: str, to: str, row: int, words: str, series: list[str]
) -> None:
    frame = moved(freq, to, row)
    error = refusal(frame[frame["unique_id"].isin(series)])
    assert str(error).startswith(f"series 'oats': {words}")
    assert f"; {20 * len(series) - 1} of {20 * len(series)} rows are on it: look for a mistyped date" in str(error)
    assert isinstance(error, FrequencyError)
    assert error.series == "oats"
    with pytest.raises(FrequencyError, match=r"^series 'oats': "):
        Panel.from_frame(frame, freq=freq)


WEEKS = pd.date_range("2024-01-01", periods=60, freq="W-MON")


@pytest.mark.parametrize(
    ("times", "freq"),
    [
        (WEEKS.union(WEEKS[[8, 30, 51]] + pd.Timedelta(4, "D")), "B"),  # Mondays and three Fridays
        (WEEKS + pd.to_timedelta(1 * np.isin(np.arange(60), [13, 20, 35, 51, 52]), unit="D"), "D"),  # holidays
        (WEEKS + pd.to_timedelta(5 * (np.arange(60) == 20), unit="D"), "D"),
    ],
)
@pytest.mark.parametrize("given", [None, "W-MON"])
def test_weeks_some_of_which_are_dated_another_day_are_told_the_frequency_that_takes_them(
    times: Any, freq: str, given: str | None
) -> None:
    error = str(refusal(at(times), freq=given))
    assert error.endswith(f"look for a mistyped date, or give freq='{freq}' (--freq {freq}) where the dates are right")
    panel = Panel.from_frame(at(times), freq=freq)
    assert (panel.freq, np.isfinite(panel.values).sum()) == (freq, len(times))


@pytest.mark.parametrize(("freq", "to"), [("W-MON", "2024-02-07"), ("MS", "2024-06-15"), ("D", "2024-01-06 05:00")])
def test_no_frequency_is_offered_that_would_be_refused_in_its_turn(freq: str, to: str) -> None:
    assert str(refusal(moved(freq, to))).endswith("look for a mistyped date, or give another freq (--freq)")


@pytest.mark.parametrize("row", [4, 8])
def test_one_stray_date_of_nine_is_named_and_one_of_five_may_be_chance(row: int) -> None:
    weeks = WEEKS[:9] + pd.to_timedelta(2 * (np.arange(9) == row), unit="D")
    error = str(refusal(at(weeks)))
    assert f"{weeks[row].date()} is not on the grid of 'W-MON'" in error
    assert "8 of 9 rows are on it" in error
    assert Panel.from_frame(at([*WEEKS[:4], WEEKS[4] - pd.Timedelta(2, "D")])).freq == "D"


def test_a_week_that_begins_on_another_day_is_taken_where_days_are_asked_for() -> None:
    frame = moved("W-MON", "2024-02-07").iloc[20:]
    assert Panel.from_frame(frame, freq="D").freq == "D"


def test_days_with_many_gaps_and_a_quicker_series_are_no_stray_dates() -> None:
    rng = np.random.default_rng(3)
    days = pd.date_range("2024-01-01", periods=400)
    sparse = pd.DataFrame({"unique_id": "milk", "ds": days[np.sort(rng.choice(400, 60, replace=False))], "y": 1.0})
    assert Panel.from_frame(sparse).freq == "D"
    weeks = pd.concat([pd.DataFrame({"unique_id": f"w{k:02}", "ds": days[::7], "y": 1.0}) for k in range(30)])
    daily = pd.DataFrame({"unique_id": "milk", "ds": days[:40], "y": 1.0})
    assert "mixed frequencies: 30 of 31 series, the first is 'w00'" in str(refusal(pd.concat([weeks, daily])))


def test_a_date_beyond_the_calendar_is_named_with_its_series() -> None:
    frame = moved("MS", "2200-01-01", 39)
    assert str(refusal(frame)).startswith("series 'oats': 2200-01-01 is too far: 'MS' periods are known from 1900 to")


@pytest.mark.parametrize("years", [("2024", "9999"), ("1800", "2100"), ("2200", "3200")])
@pytest.mark.parametrize("freq", [None, "1000YS"])
def test_years_that_no_calendar_holds_are_refused_in_words(years: tuple[str, str], freq: str | None) -> None:
    times = np.array([f"{year}-01-01" for year in years], "M8[us]")
    assert "YS-JAN' periods are known from 1900 to 2150 only" in str(refusal(at(times), freq=freq))


def test_a_weekly_series_among_daily_ones_is_called_a_mixed_frequency() -> None:
    days = pd.DataFrame({"unique_id": "milk", "ds": pd.date_range("2024-01-01", periods=60), "y": 1.0})
    weeks = pd.DataFrame({"unique_id": "oats", "ds": pd.date_range("2024-01-01", periods=8, freq="W-MON"), "y": 1.0})
    with pytest.raises(FrequencyError, match=r"mixed frequencies: 1 of 2 series.*'oats'.*every 7 periods of 'D'") as e:
        Panel.from_frame(pd.concat([days, weeks]))
    assert e.value.series == "oats"


def test_a_grid_that_explodes_is_refused_before_it_is_made() -> None:
    times = pd.to_datetime(["2010-01-01 00:00:00", "2010-01-01 00:00:01", "2024-01-01 00:00:00"])
    assert "would spread over" in str(refusal(at(times)))


# Values


def test_unsorted_rows_are_sorted() -> None:
    frame = pd.concat([table(), table(unique_id="bread", y=[1.0, 2.0, 3.0, 4.0])]).sample(frac=1, random_state=1)
    panel = Panel.from_frame(frame)
    assert panel.ids == ("bread", "milk")
    np.testing.assert_array_equal(panel.values, [1, 2, 3, 4, 5, 4, 6, 7])


def test_sparse_rows_out_of_order_are_sorted_too() -> None:
    days = pd.date_range("2020-01-01", periods=1000)[[999, 1, 0, 500, 501]]
    panel = Panel.from_frame(at(days))
    assert (len(panel.values), panel.gaps) == (1000, 995)
    np.testing.assert_array_equal(panel.values[[0, 1, 500, 501, 999]], [3, 2, 4, 5, 1])


def test_gaps_are_kept_as_nan_and_counted() -> None:
    panel = Panel.from_frame(table(y=[5.0, np.nan, 6.0, 7.0])[lambda f: f["ds"] != DAYS[2]])
    assert panel.gaps == 2
    np.testing.assert_array_equal(panel.values, [5, np.nan, np.nan, 7])


def test_nan_at_both_ends_is_cut_off() -> None:
    frame = pd.concat([table(y=[np.nan, 4.0, 6.0, np.nan]), table(unique_id="oats")])
    panel = Panel.from_frame(frame)
    assert panel.lengths.tolist() == [2, 4]
    assert panel.times()[0] == np.datetime64("2024-01-02")


def test_a_series_without_any_value_is_named() -> None:
    error = refusal(pd.concat([table(), table(unique_id="oats", y=np.nan)]))
    assert "1 series has no value at all in 'y', the first is 'oats'" in str(error)
    assert error.series == "oats"


@pytest.mark.parametrize(
    "y",
    [
        np.array([5, 4, 6, 7], np.int16),
        np.array([5, 4, 6, 7], np.float16),
        np.array([5, 4, 6, 7], np.uint64),
        [decimal.Decimal(v) for v in "5467"],
        ["5", "4", "6.0", "7e0"],
        pd.Categorical([5, 4, 6, 7]),
        pd.array([5, 4, 6, 7], "Int8"),
        pd.array([5, 4, 6, 7], "float[pyarrow]"),
    ],
)
def test_numbers_of_any_type_become_floats(y: Any) -> None:
    values = Panel.from_frame(table(y=y)).values
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, [5, 4, 6, 7])


def test_booleans_count_as_one_and_zero() -> None:
    np.testing.assert_array_equal(Panel.from_frame(table(y=[True, False, True, True])).values, [1, 0, 1, 1])


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["5", "few", "6", "many"], "holds text where numbers are needed: 2 rows, the first is 'few' in row 2"),
        (["5", "4,5", "6", "7"], "the first is '4,5' in row 2"),
        ([5, "few", 6.0, None], "holds float and int and str"),
        ([5.0, np.inf, 6.0, -np.inf], "2 infinite values, the first in series 'milk' at 2024-01-02"),
        (["5", "inf", "6", "7"], "1 infinite value"),
        (DAYS, "is timestamp"),
        ([[1]] * 4, "is list"),
        ([1j] * 4, "holds complex"),
    ],
)
def test_a_target_that_is_no_number_is_refused(y: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Panel.from_frame(table(y=y))


@pytest.mark.parametrize("scale", [1e12, 1e-12, -3.0])
def test_any_scale_and_sign_passes_unchanged(scale: float) -> None:
    y = np.array([5.0, 4.0, 6.0, 7.0]) * scale
    np.testing.assert_array_equal(Panel.from_frame(table(y=y)).values, y)


@pytest.mark.parametrize("frame", [table()[:0], pa.table({"unique_id": [], "ds": [], "y": []})])
def test_an_empty_table_is_refused(frame: Any) -> None:
    assert str(refusal(frame)) == "the table has no rows"


def test_a_series_is_no_table_and_two_columns_of_one_name_are_said() -> None:
    series = pd.Series([1.0, 2.0], index=pd.date_range("2024-01-01", periods=2, name="ds"))
    assert "a table is needed (pandas, polars, pyarrow, duckdb), this is a Series" in str(refusal(series))

    class Frame:
        """Like a frame of a library that narwhals knows, which refuses it."""

    def refuse(_: Any) -> None:
        raise DuplicateError("column names 'y' appear twice")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecastkit.data.columns.nw.from_native", refuse)
        assert "several columns of one name, rename or drop them" in str(refusal(Frame()))


# Covariates


def test_one_text_among_prices_is_said(caplog: pytest.LogCaptureFixture) -> None:
    days = pd.date_range("2024-01-01", periods=40)
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": 1.0, "price": [f"{k / 10}" for k in range(40)]})
    Panel.from_frame(frame, known="price")
    assert "column 'price' is read as text, 40 categories of it, though all are numbers: convert it" in caplog.text
    caplog.clear()
    frame.loc[7, "price"] = "n/a"
    Panel.from_frame(frame, known="price")
    assert "column 'price' is read as text, 40 categories of it, as not all are numbers: 'n/a'" in caplog.text
    caplog.clear()
    Panel.from_frame(frame.assign(price=[f"$ {k / 10}" for k in range(40)]), known="price")
    assert "column 'price' is read as text, 40 categories" in caplog.text
    caplog.clear()
    Panel.from_frame(frame.assign(price=[f"name {'abcdefgh'[k % 8] * k}" for k in range(40)]), known="price")
    assert "price" not in caplog.text
    few = pd.Series(["1.5", "2", "2.5", "3"] * 10)
    Panel.from_frame(frame.assign(price=few.where(few.index != 7, "cheap")), known="price")
    assert "column 'price' is read as text, 5 categories of it, as not all are numbers: 'cheap'" in caplog.text
    caplog.clear()
    Panel.from_frame(frame.assign(price=few.where(few.index % 4 > 0, "none")), known="price")
    assert "price" not in caplog.text


def test_text_covariates_are_categories_and_numbers_stay_numbers() -> None:
    frame = table(price=[1.5, 2.0, np.nan, 1.5], kind=["b", None, "a", "b"], step=pd.Categorical([3, 4, None, 3]))
    known = Panel.from_frame(frame, known=("price", "kind", "step")).known
    assert known.categories == {"kind": ("a", "b")}
    np.testing.assert_array_equal(known.values.T, [[1.5, 2, np.nan, 1.5], [1, np.nan, 0, 1], [3, 4, np.nan, 3]])


def test_covariates_follow_their_rows_through_sorting_and_gaps() -> None:
    frame = table(price=[1.0, 2.0, 3.0, 4.0], brand="own").drop(index=1)[::-1]
    panel = Panel.from_frame(frame, known="price", static="brand")
    np.testing.assert_array_equal(panel.known.values[:, 0], [1, np.nan, 3, 4])
    assert panel.static.categories == {"brand": ("own",)}


def test_an_infinite_covariate_is_refused() -> None:
    assert "covariate 'price' has 1 infinite value" in str(refusal(table(price=[1, np.inf, 1, 1]), past="price"))


def test_a_date_is_no_covariate() -> None:
    assert "column 'when' is timestamp" in str(refusal(table(when=DAYS), known="when"))


def test_a_static_column_that_changes_is_refused_with_its_series() -> None:
    frame = pd.concat([table(brand="own"), table(unique_id="oats", brand=["a", "a", "b", "a"])])
    error = refusal(frame, static="brand")
    assert "static column 'brand' changes within 1 series, the first is 'oats'" in str(error)
    assert error.series == "oats"


def test_a_static_column_may_have_empty_cells() -> None:
    static = Panel.from_frame(table(brand=[None, "own", None, "own"], size=np.nan), static=("brand", "size")).static
    np.testing.assert_array_equal(static.values, [[0, np.nan]])


@pytest.mark.parametrize("flags", [[1, 0, None, 1], [True, False, None, True], ["1", "0", None, "1"]])
def test_an_available_flag_is_true_unless_it_is_zero(flags: Any) -> None:
    available = Panel.from_frame(table(on_sale=flags), available="on_sale").available
    np.testing.assert_array_equal(available, [True, False, True, True])


def test_a_period_without_a_row_was_not_available() -> None:
    panel = Panel.from_frame(table(on_sale=1).drop(index=2), available="on_sale")
    np.testing.assert_array_equal(panel.available, [True, True, False, True])


def test_a_stock_level_is_no_available_flag() -> None:
    assert "0 or 1; it holds 37" in str(refusal(table(stock=[37, 0, 2, 1]), available="stock"))
