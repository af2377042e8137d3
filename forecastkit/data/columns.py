"""Columns of any table as plain arrays: times, numbers, ids and categories.

Each function reads one Arrow column of whatever type the table had, or says in a person's words why it can't.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from narwhals.exceptions import DuplicateError

from forecastkit.data.calendar import DAY, Frequency
from forecastkit.data.panel import Floats, Ints
from forecastkit.errors import ConfigError, DataError, counted

_COMMA = re.compile(r"-?\d+(?:,\d+)?")
_ZONE = r"(?<=\d)\s?(?:[Zz]|(?<=:\d\d)[+-]\d\d(?::?\d\d)?|[+-]\d\d:?\d\d)$"  # Z, +02:00, +0200; +02 after minutes
_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column plays which role. Text in `known`, `past` and `static` becomes categories."""

    id: str = "unique_id"
    time: str = "ds"
    target: str = "y"
    known: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    available: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str):
            raise ConfigError(
                f"one column names the series, not {self.id!r}: join the parts into one column first, such as store/sku"
            )
        for role in ("known", "past", "static"):
            names = getattr(self, role)
            object.__setattr__(self, role, (names,) if isinstance(names, str) else tuple(names))
        used = [name for _, name in self]
        if twice := sorted({name for name in used if used.count(name) > 1}):
            raise ConfigError(f"column {twice[0]!r} has two roles; a column has one")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Pairs of role and column name."""
        for role, names in vars(self).items():
            if isinstance(names, str):
                yield role, names
            else:
                yield from ((role, name) for name in names or ())


def to_arrow(frame: Any, columns: Columns) -> pa.Table:
    """The columns that are needed of any eager or lazy frame, as an Arrow table."""
    frame = _with_index(frame, columns)
    # A wrapper around each pandas column would cost as much as reading a short one.
    eager = frame if isinstance(frame, (pa.Table, pd.DataFrame)) else _eager(frame)
    labels = eager.column_names if isinstance(eager, pa.Table) else list(eager.columns)
    names = list(map(str, labels))
    if twice := sorted({name for _, name in columns if names.count(name) > 1}):
        raise DataError(f"the table has {names.count(twice[0])} columns named {twice[0]!r}: rename or drop one")
    if isinstance(eager, pa.Table):
        return eager
    needed = {name for _, name in columns}
    arrays = {
        name: _arrow_column(eager[label], name, name == columns.id) if name in needed else pa.nulls(len(eager))
        for name, label in zip(names, labels, strict=True)
    }
    return pa.table(arrays)


def _eager(frame: Any) -> nw.DataFrame[Any] | pa.Table:
    try:
        native = nw.from_native(frame)
    except TypeError as error:
        if isinstance(frame, (pa.RecordBatch, pa.RecordBatchReader)):
            return pa.table(frame)
        raise DataError(
            f"a table is needed (pandas, polars, pyarrow, duckdb), this is a {type(frame).__name__}"
        ) from error
    except DuplicateError as error:
        raise DataError(f"the table has several columns of one name, rename or drop them: {error}") from error
    return native.collect("pyarrow") if isinstance(native, nw.LazyFrame) else native


def _with_index(frame: Any, columns: Columns) -> Any:
    """A pandas frame whose ids or times stand in the index has them as columns; all others are as they were."""
    levels = getattr(getattr(frame, "index", None), "names", ())
    roles = (columns.id, columns.time)
    wanted = [name for name in levels if name in roles and name not in getattr(frame, "columns", levels)]
    return frame.reset_index(level=wanted) if wanted else frame


def _arrow_column(column: pd.Series | nw.Series, name: str, as_text: bool) -> pa.ChunkedArray | pa.Array:
    try:
        return _of_pandas(column) if isinstance(column, pd.Series) else column.to_arrow()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        series = nw.from_native(column, series_only=True)
        values = [None if is_null else v for v, is_null in zip(series.to_list(), series.is_null(), strict=True)]
        kinds = sorted({type(v).__name__ for v in values if v is not None})
        if as_text:
            return pa.array([None if v is None else str(v) for v in values])
        raise DataError(f"column {name!r} holds {' and '.join(kinds)}: make it one plain type") from error


def _of_pandas(column: pd.Series) -> pa.Array:
    # Handed a whole Series, Arrow asks it for a dozen attributes that it hasn't, which costs more than a short column.
    values = column.array
    if isinstance(column.dtype, np.dtype):
        return pa.array(column.values, from_pandas=True)
    return pa.array(values if hasattr(values, "__arrow_array__") else column, from_pandas=True)


def read_stamps(column: pa.ChunkedArray, name: str, like: Frequency | None = None) -> tuple[Ints, str | None]:
    """Times as microseconds, and the zone of those that carry one and are counted in UTC.

    `like` is the calendar of a history that the times go on from; it decides what too few rows could not tell.
    """
    column = _plain(column)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        raise DataError(
            f"column {name!r} holds numbers ({column[0].as_py()}), dates are needed: convert a year or a "
            "step into a date first"
        )
    wall = None
    if _is_text(kind):
        column, wall = _parsed(column, name)
    elif not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise DataError(f"column {name!r} is {kind}, dates are needed")
    if column.null_count:
        row = int(np.flatnonzero(pc.is_null(column).to_numpy())[0])
        raise DataError(f"column {name!r} has {counted(column.null_count, 'empty time')}, the first in row {row + 1}")
    zone = getattr(column.type, "tz", None)
    stamps = _micros(column)
    if like is not None and like.zone is not None:
        if zone is None:
            raise DataError(f"the history's times are in {like.zone}, those of column {name!r} have no zone: give it")
        return stamps, zone
    if zone is None:
        return stamps, None
    wall = _micros(pc.local_timestamp(column) if wall is None else wall)
    # A period of a day or longer is a date on the wall, and so are shifts (6:00, 14:00, 22:00) that keep to it. Hours
    # are counted in UTC, where no day has 23 or 25 of them.
    by_wall = like is not None or _pace(wall) == DAY or _pace(wall) > _pace(stamps)
    return (wall, None) if by_wall else (stamps, zone)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A dictionary's values; the first moment of each pandas period."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    if getattr(column.type, "extension_name", "") == "pandas.period":
        return pa.chunked_array([pa.Array.from_pandas(column.to_pandas().dt.to_timestamp())])
    return column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _micros(column: pa.ChunkedArray) -> Ints:
    if column.type == pa.timestamp("us"):
        return np.asarray(column.to_numpy()).view(np.int64)
    kind = pa.timestamp("us", getattr(column.type, "tz", None))
    column = column if column.type == kind else column.cast(kind, safe=False)
    return np.asarray(column.cast(pa.int64()).to_numpy())


def _pace(stamps: Ints) -> int:
    """The coarsest step, at most a day, that leads from any time of day in `stamps` to any other."""
    hours = np.unique(stamps % DAY)
    return int(np.gcd.reduce(np.append(hours - hours[0], DAY)))


def _parsed(column: pa.ChunkedArray, name: str) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """Text as times; of text with a zone the times in UTC, and besides what the clock on the wall showed."""
    texts = column.to_pandas()
    zoned = bool(texts.dropna().str.contains(_ZONE).any())
    times = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=zoned)
    bad = np.flatnonzero(times.isna() & texts.notna())
    if len(bad):
        raise DataError(
            f"column {name!r} has {counted(len(bad), 'time')} that can't be read, the first is "
            f"{texts.iloc[bad[0]]!r} in row {bad[0] + 1}: write them as 2024-12-31 or 2024-12-31 23:00"
        )
    wall = None
    if zoned:
        bare = pd.to_datetime(texts.str.replace(_ZONE, "", regex=True), format="ISO8601")
        wall = pa.chunked_array([pa.Array.from_pandas(bare)])
    return pa.chunked_array([pa.Array.from_pandas(times)]), wall


def id_texts(column: pa.ChunkedArray, name: str) -> tuple[Ints, list[str]]:
    """An id column of any type as codes and the texts behind them; 7 and 7.0 are both "7"."""
    if column.null_count:
        raise DataError(f"column {name!r} has {counted(column.null_count, 'empty id')}")
    if _is_constant(column):  # one series, told without counting its texts
        codes, values = np.zeros(len(column), np.int64), [column[0].as_py()]
    else:
        codes, values = _dictionary(column)
    return codes, [str(int(v) if isinstance(v, float) and v.is_integer() else v) for v in values]


def _is_constant(column: pa.ChunkedArray) -> bool:
    """Whether there are rows, and all are alike: each is compared with the one before."""
    return len(column) > 0 and bool(column.slice(1).equals(column.slice(0, len(column) - 1)))


def _dictionary(column: pa.ChunkedArray) -> tuple[Ints, list[Any]]:
    """Codes and the values behind them; the code of an empty cell is -1."""
    column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    whole = whole if isinstance(whole, pa.DictionaryArray) else whole.chunk(0)
    codes = whole.indices.cast(pa.int64()).fill_null(-1) if whole.null_count else whole.indices
    return codes.to_numpy(zero_copy_only=False).astype(np.int64), whole.dictionary.to_pylist()


def numbers(column: pa.ChunkedArray, name: str) -> Floats:
    """A column as float64, NaN where empty; `DataError` names the first text that is no number."""
    column = _plain(column)
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if _is_text(kind):
        column = _numeric_text(column, name)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise DataError(f"column {name!r} is not in UTF-8: save the file so")
    elif not any(check(kind) for check in _NUMERIC):
        raise DataError(f"column {name!r} is {kind}, numbers are needed")
    column = column if pa.types.is_float64(kind) else column.cast(pa.float64(), safe=False)
    return np.array(column.to_numpy(), np.float64)


def _numeric_text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    texts = column.to_pandas()
    values = pd.to_numeric(texts, errors="coerce")
    bad = np.flatnonzero(values.isna() & texts.notna())
    if len(bad):
        raise DataError(
            f"column {name!r} holds text where numbers are needed: {counted(len(bad), 'row')}, the first is "
            f"{texts.iloc[bad[0]]!r} in row {bad[0] + 1}"
        )
    return pa.chunked_array([pa.array(values.to_numpy(np.float64))])


def coded(column: pa.ChunkedArray, name: str) -> tuple[Floats, tuple[str, ...] | None]:
    """A covariate as numbers; text as the codes of its sorted categories, which come second."""
    if not _is_text(column.type.value_type if pa.types.is_dictionary(column.type) else column.type):
        values = numbers(column, name)
        if np.isinf(values).any():
            raise DataError(f"covariate {name!r} has {counted(int(np.isinf(values).sum()), 'infinite value')}")
        return values, None
    codes, texts = _dictionary(column)
    if texts and all(_COMMA.fullmatch(text) for text in texts) and any("," in text for text in texts):
        shown = next(text for text in texts if "," in text)
        raise DataError(f"covariate {name!r} has commas in its numbers, such as {shown!r}: write decimal points")
    order = np.argsort(np.array(texts, object))
    rank = np.full(len(texts) + 1, np.nan)  # the last stands for -1, an empty cell
    rank[order] = np.arange(len(texts))
    return rank[codes], tuple(texts[i] for i in order)
