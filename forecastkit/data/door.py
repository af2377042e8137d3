"""The door: a long table comes in, is checked, and leaves as a `Panel`.

Everything that can be wrong with a table of demand is said here, once, in a person's words; behind the door every
series is regular, sorted and numeric.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forecastkit.data import calendar
from forecastkit.data.calendar import Frequency, shown
from forecastkit.data.panel import Covariates, Floats, Ints, Panel
from forecastkit.errors import ColumnError, ConfigError, DataError, FrequencyError, closest

logger = logging.getLogger(__name__)

_ZONE = r"(?<=\d)\s?(?:[Zz]|(?<=:\d\d)[+-]\d\d(?::?\d\d)?|[+-]\d\d:?\d\d)$"  # Z, +02:00, +0200; +02 after minutes
_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
_MOST_CELLS = 10_000_000  # below this a sparse grid costs nothing worth an error
_MOST_BLOWN = 50  # grid cells for each row of the table
_MOST_YEARS = 20  # a hole this long is a mistyped date


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
        for role in ("known", "past", "static"):
            names = getattr(self, role)
            object.__setattr__(self, role, (names,) if isinstance(names, str) else tuple(names))
        used = [name for _, name in self]
        if twice := sorted({name for name in used if used.count(name) > 1}):
            raise ConfigError(f"column {twice[0]!r} has two roles; a column has one")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Pairs of role and column name."""
        for slot in fields(self):
            names = getattr(self, slot.name)
            yield from ((slot.name, n) for n in ([names] if isinstance(names, str) else names or ()))


@dataclass(frozen=True)
class _Rows:
    """The table's rows by series and time, before they are laid on a grid; `order` sorts a column alike."""

    ids: tuple[str, ...]  # N
    owner: Ints  # [rows] index into ids, ascending
    stamps: Ints  # [rows] microseconds, ascending within a series
    y: Floats  # [rows]
    order: Ints | None


def from_frame(frame: Any, columns: Columns, freq: str | None = None) -> Panel:
    """See `Panel.from_frame`."""
    table = to_arrow(frame, columns)
    columns, table = _find(table, columns)
    if not table.num_rows:
        raise DataError("the table has no rows")
    stamps, zone = read_stamps(table.column(columns.time), columns.time)
    rows = _sorted(table, columns, stamps)
    frequency = _frequency(rows, freq, zone)
    return _on_grid(table, columns, rows, frequency)


def to_arrow(frame: Any, columns: Columns) -> pa.Table:
    """The columns that are needed of any eager or lazy frame, as an Arrow table."""
    if not isinstance(frame, pa.Table):
        frame = _from_any(_with_index(frame, columns), columns)
    names = frame.column_names
    if twice := sorted({name for _, name in columns if names.count(name) > 1}):
        raise DataError(f"the table has {names.count(twice[0])} columns named {twice[0]!r}: rename or drop one")
    return frame


def _from_any(frame: Any, columns: Columns) -> pa.Table:
    try:
        native = nw.from_native(frame)
    except (TypeError, ValueError) as error:  # narwhals says it of names that come twice, too
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.table(frame)
        raise DataError(
            f"a table with one name a column is needed (pandas, polars, pyarrow, duckdb), not this "
            f"{type(frame).__name__}: {error}"
        ) from error
    eager = native.collect("pyarrow") if isinstance(native, nw.LazyFrame) else native
    needed = {name for _, name in columns}
    arrays = {
        str(name): _arrow_column(eager.get_column(name), str(name), str(name) == columns.id)
        if str(name) in needed
        else pa.nulls(len(eager))
        for name in eager.columns
    }
    return pa.table(arrays)


def _with_index(frame: Any, columns: Columns) -> Any:
    """A pandas frame whose ids or times stand in the index has them as columns; all others are as they were."""
    levels = getattr(getattr(frame, "index", None), "names", ())
    wanted = [name for name in levels if name in (columns.id, columns.time) and name not in frame.columns]
    return frame.reset_index(level=wanted) if wanted else frame


def _arrow_column(series: nw.Series, name: str, as_text: bool) -> pa.ChunkedArray | pa.Array:
    try:
        return series.to_arrow()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        values = [None if is_null else v for v, is_null in zip(series.to_list(), series.is_null(), strict=True)]
        kinds = sorted({type(v).__name__ for v in values if v is not None})
        if as_text:
            return pa.array([None if v is None else str(v) for v in values])
        raise DataError(f"column {name!r} holds {' and '.join(kinds)}: make it one plain type") from error


def _find(table: pa.Table, columns: Columns) -> tuple[Columns, pa.Table]:
    found = table.column_names
    if columns.id == Columns.id and columns.id not in found and not closest(columns.id, found):
        # One series needs no id. When it is many, the duplicated times say so further down.
        table = table.append_column(columns.id, pa.array([columns.target]).take(pa.array(np.zeros(len(table), int))))
        found = table.column_names
    for role, name in columns:
        if name not in found:
            raise ColumnError(name, found, role=f"{role} role", option=f"--{role}")
    return columns, table


def read_stamps(column: pa.ChunkedArray, name: str) -> tuple[Ints, str | None]:
    """Times as microseconds, and the zone of those that carry one and are counted in UTC."""
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
        raise DataError(f"column {name!r} has {column.null_count:,} empty times, the first in row {row + 1}")
    zone = getattr(column.type, "tz", None)
    stamps = _micros(column)
    if zone is None:
        return stamps, None
    wall = _micros(pc.local_timestamp(column) if wall is None else wall)
    # A period of a day or longer is a date on the wall, and so are shifts (6:00, 14:00, 22:00) that keep to it. Hours
    # are counted in UTC, where no day has 23 or 25 of them.
    by_wall = _pace(wall) == calendar.DAY or _pace(wall) > _pace(stamps)
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
    kind = pa.timestamp("us", getattr(column.type, "tz", None))
    return np.asarray(column.cast(kind, safe=False).cast(pa.int64()).to_numpy())


def _pace(stamps: Ints) -> int:
    """The coarsest step, at most a day, that leads from any time of day in `stamps` to any other."""
    hours = np.unique(stamps % calendar.DAY)
    return int(np.gcd.reduce(np.append(hours - hours[0], calendar.DAY)))


def _parsed(column: pa.ChunkedArray, name: str) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """Text as times; of text with a zone the times in UTC, and besides what the clock on the wall showed."""
    import pandas as pd

    texts = column.to_pandas()
    zoned = bool(texts.dropna().str.contains(_ZONE).any())
    times = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=zoned)
    bad = np.flatnonzero(times.isna() & texts.notna())
    if len(bad):
        raise DataError(
            f"column {name!r} has {len(bad):,} times that can't be read, the first is {texts.iloc[bad[0]]!r} in row "
            f"{bad[0] + 1}: write them as 2024-12-31 or 2024-12-31 23:00"
        )
    wall = None
    if zoned:
        bare = pd.to_datetime(texts.str.replace(_ZONE, "", regex=True), format="ISO8601")
        wall = pa.chunked_array([pa.Array.from_pandas(bare)])
    return pa.chunked_array([pa.Array.from_pandas(times)]), wall


def _sorted(table: pa.Table, columns: Columns, stamps: Ints) -> _Rows:
    owner, ids = _owners(table.column(columns.id), columns.id)
    order = None
    if not _ascending(owner, stamps):
        span = int(stamps.max() - stamps.min()) + 1
        fits = len(ids) * span < 2**62
        order = (
            np.argsort(owner * span + (stamps - stamps.min()), kind="stable") if fits else np.lexsort((stamps, owner))
        )
        owner, stamps = owner[order], stamps[order]
    same = (np.diff(owner) == 0) & (np.diff(stamps) == 0)
    if same.any():
        raise _duplicates(ids, owner[1:][same], stamps[1:][same])
    y = numbers(table.column(columns.target), columns.target)
    y = y if order is None else y[order]
    if np.isinf(y).any():
        at = int(np.flatnonzero(np.isinf(y))[0])
        raise DataError(
            f"column {columns.target!r} has {int(np.isinf(y).sum()):,} infinite values, the first in series "
            f"{ids[owner[at]]!r} at {shown(stamps[at])}",
            series=ids[owner[at]],
        )
    return _Rows(ids, owner, stamps, y, order)


def _owners(column: pa.ChunkedArray, name: str) -> tuple[Ints, tuple[str, ...]]:
    """Index of each row's series, and the ids as text in ascending order."""
    codes, texts = id_texts(column, name)
    names, rank = np.unique(texts, return_inverse=True)
    present, owner = np.unique(rank[codes], return_inverse=True)  # a filtered category leaves unused texts behind
    return owner.astype(np.int64), tuple(names[present])


def id_texts(column: pa.ChunkedArray, name: str) -> tuple[Ints, NDArray[Any]]:
    """An id column of any type as codes and the texts behind them; 7 and 7.0 are both "7"."""
    if column.null_count:
        raise DataError(f"column {name!r} has {column.null_count:,} empty ids")
    codes, values = _dictionary(column)
    whole = (int(v) if isinstance(v, float) and v.is_integer() else v for v in values)
    return codes, np.array([str(v) for v in whole], object)


def _dictionary(column: pa.ChunkedArray) -> tuple[Ints, list[Any]]:
    """Codes and the values behind them; the code of an empty cell is -1."""
    column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    whole = whole if isinstance(whole, pa.DictionaryArray) else whole.chunk(0)
    codes = whole.indices.cast(pa.int64()).fill_null(-1)
    return np.asarray(codes), whole.dictionary.to_pylist()


def _ascending(owner: Ints, stamps: Ints) -> bool:
    later = np.diff(owner)
    return bool(((later > 0) | ((later == 0) & (np.diff(stamps) > 0))).all())


def _duplicates(ids: tuple[str, ...], owner: Ints, stamps: Ints) -> DataError:
    hint = "add them up or drop them first"
    days = np.unique(stamps // calendar.DAY)
    years = np.unique(days.astype("M8[D]").astype("M8[Y]"))
    if (stamps % calendar.DAY).any() and len(days) == len(years):
        hint = "an hour that comes twice is the end of summer time: give times with their zone, or in UTC"
    elif len(ids) == 1:
        hint = "name the column that tells the series apart with id (--id), or " + hint
    return DataError(
        f"{len(owner):,} rows repeat a series and time, the first is {ids[owner[0]]!r} at {shown(stamps[0])}: {hint}",
        series=ids[owner[0]],
    )


def numbers(column: pa.ChunkedArray, name: str) -> Floats:
    """A column as float64, NaN where empty; `DataError` names the first text that is no number."""
    column = _plain(column)
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if _is_text(kind):
        column = _numeric_text(column, name)
    elif not any(check(kind) for check in _NUMERIC):
        raise DataError(f"column {name!r} is {kind}, numbers are needed")
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def _numeric_text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    import pandas as pd

    texts = column.to_pandas()
    values = pd.to_numeric(texts, errors="coerce")
    bad = np.flatnonzero(values.isna() & texts.notna())
    if len(bad):
        raise DataError(
            f"column {name!r} holds text where numbers are needed: {len(bad):,} rows, the first is "
            f"{texts.iloc[bad[0]]!r} in row {bad[0] + 1}"
        )
    return pa.chunked_array([pa.array(values.to_numpy(np.float64))])


def _frequency(rows: _Rows, freq: str | None, zone: str | None) -> Frequency:
    first = int(rows.stamps[0])
    if freq is None:
        found = calendar.infer(rows.stamps, np.diff(rows.stamps)[np.diff(rows.owner) == 0])
    else:
        found = Frequency.parse(freq)
        found = found if "-" in freq else found.anchored(first)  # 'W' alone leaves the weekday to the data
    found = found.fitted_to(first)
    return Frequency(found.alias, found.phase, zone)


def _on_grid(table: pa.Table, columns: Columns, rows: _Rows, frequency: Frequency) -> Panel:
    numbers_ = _ordinals(rows, frequency)
    _same_pace(rows, numbers_, frequency)
    _no_leap(rows, frequency)
    keep = _inner(rows, np.isfinite(rows.y), columns)
    owner, numbers_, y = rows.owner[keep], numbers_[keep], rows.y[keep]
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    last = np.append(first[1:], len(owner)) - 1
    starts, lengths = numbers_[first], numbers_[last] - numbers_[first] + 1
    _not_blown_up(rows, lengths, frequency)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    place = offsets[owner] + numbers_ - starts[owner]  # where each row of the table stands in the panel
    source = keep if rows.order is None else rows.order[keep]
    grid = _Grid(table, place, source, int(offsets[-1]))
    panel = Panel(
        ids=rows.ids,
        values=grid.lay(y),
        offsets=offsets,
        starts=starts,
        calendar=frequency,
        known=grid.covariates(columns.known),
        past=grid.covariates(columns.past),
        static=_static(grid, columns.static, offsets, rows.ids),
        available=grid.flags(columns.available),
    )
    logger.info("%r: %d rows without a value at the ends dropped", panel, len(rows.y) - len(keep))
    return panel


def _ordinals(rows: _Rows, frequency: Frequency) -> Ints:
    try:
        return frequency.ordinals(rows.stamps.astype("M8[us]"))
    except FrequencyError as error:
        raise FrequencyError(f"{error}{_looks_like(rows, frequency)}", expected=frequency.alias) from error


def _looks_like(rows: _Rows, frequency: Frequency) -> str:
    try:
        seen = calendar.infer(rows.stamps, np.diff(rows.stamps)[np.diff(rows.owner) == 0]).alias
    except FrequencyError:
        return ""
    return "" if seen == frequency.alias else f"; the times look like {seen!r}"


def _same_pace(rows: _Rows, ordinals: Ints, frequency: Frequency) -> None:
    """Refuse a series whose every step is the same several periods: it has another frequency, not gaps."""
    same = np.diff(rows.owner) == 0
    steps, owner = np.diff(ordinals)[same], rows.owner[1:][same]
    if not len(steps) or (steps == 1).all():
        return
    every = int(steps[0])
    if len(steps) > 1 and (steps == every).all():
        raise FrequencyError(
            f"every value is {every} periods of {frequency.alias!r} after the one before{_looks_like(rows, frequency)}",
            expected=frequency.alias,
        )
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    smallest, largest = np.minimum.reduceat(steps, first), np.maximum.reduceat(steps, first)
    count = np.diff(np.append(first, len(steps)))
    slow = (smallest == largest) & (smallest > 1) & (count >= 6)
    if slow.any():
        at = int(np.flatnonzero(slow)[0])
        name = rows.ids[owner[first[at]]]
        raise FrequencyError(
            f"mixed frequencies: {int(slow.sum()):,} of {len(rows.ids):,} series, the first is {name!r}, have a value "
            f"every {smallest[at]} periods of {frequency.alias!r} only. Forecast them apart, or aggregate to one frequency",
            series=name,
            expected=frequency.alias,
        )


def _no_leap(rows: _Rows, frequency: Frequency) -> None:
    """Refuse a hole of decades: 9999-12-31 is no day of demand."""
    holes = np.where(np.diff(rows.owner) == 0, np.diff(rows.stamps), 0)
    at = int(np.argmax(holes)) if len(holes) else 0
    if len(holes) and holes[at] > _MOST_YEARS * 366 * calendar.DAY and not frequency.alias.startswith(("Y", "Q", "BY")):
        name = rows.ids[rows.owner[at]]
        raise DataError(
            f"series {name!r} has nothing between {shown(rows.stamps[at])} and {shown(rows.stamps[at + 1])}: look for a "
            "mistyped date",
            series=name,
        )


def _inner(rows: _Rows, seen: NDArray[np.bool_], columns: Columns) -> Ints:
    """Indices of the rows from the first to the last value of each series."""
    count = np.bincount(rows.owner[seen], minlength=len(rows.ids))
    if (count == 0).any():
        name = rows.ids[int(np.flatnonzero(count == 0)[0])]
        raise DataError(
            f"{int((count == 0).sum()):,} series have no value at all in {columns.target!r}, the first is {name!r}: "
            "drop them",
            series=name,
        )
    places = np.flatnonzero(seen)
    first = places[np.concatenate([[0], np.cumsum(count)[:-1]])]
    last = places[np.cumsum(count) - 1]
    index = np.arange(len(seen))
    return index[(index >= first[rows.owner]) & (index <= last[rows.owner])]


def _not_blown_up(rows: _Rows, lengths: Ints, frequency: Frequency) -> None:
    cells = int(lengths.sum())
    if cells > _MOST_CELLS and cells > _MOST_BLOWN * len(rows.y):
        name = rows.ids[int(np.argmax(lengths))]
        raise FrequencyError(
            f"at {frequency.alias!r} the {len(rows.y):,} rows would spread over {cells:,} periods; series {name!r} "
            f"alone spans {int(lengths.max()):,}. Look for a mistyped date, or give a longer freq (--freq)",
            series=name,
        )


@dataclass(frozen=True)
class _Grid:
    """Lays columns of the table on the panel's rows."""

    table: pa.Table
    place: Ints  # [kept rows] row of the panel
    source: Ints  # [kept rows] row of the table
    rows: int

    def lay(self, column: Floats) -> Floats:
        if len(column) == self.rows:
            return column
        out = np.full(self.rows, np.nan)
        out[self.place] = column
        return out

    def covariates(self, names: tuple[str, ...]) -> Covariates:
        if not names:
            return Covariates()
        columns, categories = [], {}
        for name in names:
            column, texts = coded(self.table.column(name), name)
            columns.append(self.lay(column[self.source]))
            if texts is not None:
                categories[name] = texts
        return Covariates(names, np.stack(columns, axis=-1), categories)

    def flags(self, name: str | None) -> NDArray[np.bool_] | None:
        """True where the column is 1 or empty; a period without a row was not on offer."""
        if name is None:
            return None
        column = numbers(self.table.column(name), name)[self.source]
        column = np.where(np.isnan(column), 1.0, column)
        if (other := column[(column != 0) & (column != 1)]).size:
            raise DataError(f"column {name!r} says whether an item could be sold, 0 or 1; it holds {other[0]:g}")
        return self.lay(column) == 1.0


def coded(column: pa.ChunkedArray, name: str) -> tuple[Floats, tuple[str, ...] | None]:
    """A covariate as numbers; text as the codes of its sorted categories, which come second."""
    if not _is_text(column.type.value_type if pa.types.is_dictionary(column.type) else column.type):
        values = numbers(column, name)
        if np.isinf(values).any():
            raise DataError(f"covariate {name!r} has {int(np.isinf(values).sum()):,} infinite values")
        return values, None
    codes, texts = _dictionary(column)
    order = np.argsort(np.array(texts, object))
    rank = np.full(len(texts) + 1, np.nan)  # the last stands for -1, an empty cell
    rank[order] = np.arange(len(texts))
    return rank[codes], tuple(texts[i] for i in order)


def _static(grid: _Grid, names: tuple[str, ...], offsets: Ints, ids: tuple[str, ...]) -> Covariates:
    """One value a series; `DataError` where a static column changes."""
    block = grid.covariates(names)
    if not names:
        return block
    low = np.fmin.reduceat(block.values, offsets[:-1], axis=0)  # [N, K]
    high = np.fmax.reduceat(block.values, offsets[:-1], axis=0)
    changing = (low != high) & ~np.isnan(low)
    if changing.any():
        series, k = (int(v[0]) for v in np.nonzero(changing))
        raise DataError(
            f"static column {names[k]!r} changes within {int(changing[:, k].sum()):,} series, the first is "
            f"{ids[series]!r}: declare it as known or past",
            series=ids[series],
        )
    return Covariates(names, low, block.categories)
