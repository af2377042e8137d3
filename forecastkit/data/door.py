"""The door: a long table comes in, is checked, and leaves as a `Panel`.

Everything that can be wrong with a table of demand is said here, once, in a person's words; behind the door every
series is regular, sorted and numeric.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forecastkit.data import calendar, strays
from forecastkit.data.calendar import Frequency, shown
from forecastkit.data.columns import Columns, coded, id_texts, numbers, read_stamps, to_arrow
from forecastkit.data.panel import Covariates, Floats, Ints, Panel, is_number
from forecastkit.data.rows import ALL, Rows, first_of_each
from forecastkit.errors import ColumnError, DataError, FrequencyError, closest, counted

logger = logging.getLogger(__name__)

_MOST_CELLS = 10_000_000  # below this a sparse grid costs nothing worth an error
_MOST_BLOWN = 50  # grid cells for each row of the table
_MOST_SLOTS = 8  # slots for each row, up to which laying out is quicker than sorting
_NOTHING = Covariates()
_MOST_YEARS = 20  # a hole this long is a mistyped date
_MOST_TEXTS = 30  # categories of a column that changes with time
_NUMBERS = 3  # among the texts of a column, and
_FEW_STRAYS = 0.05  # of its rows that are no numbers, which are then taken for mistakes
_DIGIT = re.compile(r"\d")


def from_frame(frame: Any, columns: Columns, freq: str | None = None) -> Panel:
    """See `Panel.from_frame`."""
    table = to_arrow(frame, columns)
    columns, table = _find(table, columns)
    if not table.num_rows:
        raise DataError("the table has no rows")
    stamps, zone = read_stamps(table.column(columns.time), columns.time)
    rows = _sorted(table, columns, stamps, zone)
    frequency = _frequency(rows, freq)
    return _on_grid(table, columns, rows, frequency)


def _find(table: pa.Table, columns: Columns) -> tuple[Columns, pa.Table]:
    found = table.column_names
    if columns.id == Columns.id and columns.id not in found and not closest(columns.id, found):
        # One series needs no id. When it is many, the duplicated times say so further down.
        logger.warning("no column %r: taken as one series called %r", columns.id, columns.target)
        table = table.append_column(columns.id, pa.array([columns.target]).take(pa.array(np.zeros(len(table), int))))
    for role, name in columns:
        if name not in found and name not in table.column_names:
            raise ColumnError(name, found, role=f"{role} role", option=f"--{role}")
    return columns, table


def _sorted(table: pa.Table, columns: Columns, stamps: Ints, zone: str | None) -> Rows:
    owner, ids = _owners(table.column(columns.id), columns.id)
    order = None
    if not _ascending(owner, stamps, len(ids)):
        order = _order(owner, stamps, len(ids))
        owner, stamps = owner[order], stamps[order]
        same = (owner[1:] == owner[:-1]) & (stamps[1:] == stamps[:-1])
        if same.any():
            raise _duplicates(ids, owner[1:][same], stamps[1:][same], zone)
    y = numbers(table.column(columns.target), columns.target)
    y = y if order is None else y[order]
    if np.isinf(y).any():
        at = int(np.flatnonzero(np.isinf(y))[0])
        raise DataError(
            f"column {columns.target!r} has {counted(int(np.isinf(y).sum()), 'infinite value')}, the first in "
            f"series {ids[owner[at]]!r} at {shown(stamps[at], zone)}",
            series=ids[owner[at]],
        )
    return Rows(ids, owner, stamps, y, order, zone)


def _owners(column: pa.ChunkedArray, name: str) -> tuple[Ints, tuple[str, ...]]:
    """Index of each row's series, and the ids as text in ascending order."""
    codes, texts = id_texts(column, name)
    if len(texts) == 1:
        return codes, tuple(texts)
    present = np.bincount(codes, minlength=len(texts)) > 0  # a filtered category leaves unused texts behind
    names = sorted({text for text, here in zip(texts, present, strict=True) if here})
    if names == texts:
        return codes, tuple(names)
    index = {text: i for i, text in enumerate(names)}
    rank = np.array([index.get(text, -1) for text in texts], np.int64)
    return rank[codes], tuple(names)


def _order(owner: Ints, stamps: Ints, series: int) -> Ints:
    """The rows by series and time: each laid in its own slot where the slots are few, else sorted."""
    since = stamps - stamps.min()
    ticks = since // max(int(np.gcd.reduce(since)), 1)
    width = int(ticks.max()) + 1
    if series * width <= _MOST_SLOTS * len(ticks):
        slots = np.full(series * width, -1)
        slots[owner * width + ticks] = np.arange(len(ticks))
        filled = slots[slots >= 0]
        if len(filled) == len(ticks):  # no two rows share a slot
            return filled
    return np.lexsort((stamps, owner))


def _ascending(owner: Ints, stamps: Ints, series: int) -> bool:
    later = stamps[1:] > stamps[:-1]
    if series > 1:
        before, after = owner[:-1], owner[1:]
        later = (after > before) | ((after == before) & later)
    return bool(later.all())


def _duplicates(ids: tuple[str, ...], owner: Ints, stamps: Ints, zone: str | None) -> DataError:
    hint = "add them up or drop them first"
    days = np.unique(stamps // calendar.DAY)
    years = np.unique(days.astype("M8[D]").astype("M8[Y]"))
    if zone is None and (stamps % calendar.DAY).any() and len(days) == len(years):
        hint = "an hour that comes twice is the end of summer time: give times with their zone, or in UTC"
    elif len(ids) == 1:
        hint = "name the column that tells the series apart with id (--id), or " + hint
    return DataError(
        f"{counted(len(owner), 'row repeats', 'rows repeat')} a series and time, the first is {ids[owner[0]]!r} at "
        f"{shown(stamps[0], zone)}: {hint}",
        series=ids[owner[0]],
    )


def _frequency(rows: Rows, freq: str | None) -> Frequency:
    if freq is None:
        return _inferred(rows).within(rows.zone)
    first = int(rows.stamps[0])
    found = Frequency.parse(freq)
    found = found if "-" in freq else found.anchored(first)  # 'W' alone leaves the weekday to the data
    return found.fitted_to(first).within(rows.zone)


def _inferred(rows: Rows) -> Frequency:
    """The frequency of all rows, or of nearly all where the others would spoil it: they are then refused by name."""
    try:
        found = calendar.infer(rows.moments[0], rows.steps)
    except FrequencyError:
        usual = strays.usual(rows)
        if usual is None:
            raise
        return usual
    gaps = np.count_nonzero(rows.steps > found.longest)
    return found if 2 * gaps <= len(rows.steps) else strays.usual(rows) or found


def _on_grid(table: pa.Table, columns: Columns, rows: Rows, frequency: Frequency) -> Panel:
    numbers_ = _ordinals(rows, frequency, table.column(columns.time))
    _same_pace(rows, numbers_, frequency)
    _no_leap(rows, frequency)
    keep = _inner(rows, columns)
    owner, numbers_, y = rows.owner[keep], numbers_[keep], rows.y[keep]
    first = rows.first if keep is ALL else first_of_each(owner[1:] == owner[:-1])
    last = np.concatenate([first[1:], [len(owner)]]) - 1
    starts, lengths = numbers_[first], numbers_[last] - numbers_[first] + 1
    _not_blown_up(rows, lengths, frequency)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    source = keep if rows.order is None else rows.order[keep]
    whole = len(y) == offsets[-1]
    grid = _Grid(table, ALL if whole else numbers_ + (offsets[:-1] - starts)[owner], source, int(offsets[-1]))
    panel = Panel(
        ids=rows.ids,
        values=grid.lay(y),
        offsets=offsets,
        starts=starts,
        calendar=frequency,
        known=grid.changing(columns.known),
        past=grid.changing(columns.past),
        static=_static(grid, columns.static, offsets, rows.ids),
        available=grid.flags(columns.available),
    )
    logger.info("%r: %d rows without a value at the ends dropped", panel, len(rows.y) - len(y))
    return panel


def _ordinals(rows: Rows, frequency: Frequency, times: pa.ChunkedArray) -> Ints:
    moments, which = rows.moments
    try:
        return frequency.ordinals(moments.view("M8[us]"))[which]
    except FrequencyError as error:
        raise _off_grid(rows, frequency, times, str(error)) from error


def _off_grid(rows: Rows, frequency: Frequency, times: pa.ChunkedArray, what: str) -> FrequencyError:
    """`what` is wrong with the first row off the grid, with its series and what may be meant by it."""
    moments, which = rows.moments
    off = frequency.off_grid(moments.view("M8[us]"))[which]  # [rows]
    at = int(np.argmax(off))
    name = rows.ids[rows.owner[at]]
    hint = _looks_like(rows, frequency) or _against_most(rows, off)
    text = f"series {name!r}: {what}{_written(rows, times, at)}{hint}"
    return FrequencyError(text, series=name, expected=frequency.alias)


def _against_most(rows: Rows, off: NDArray[np.bool_]) -> str:
    """What to do where nearly all rows are on the grid and a few, or a whole series, are `off` it [rows]."""
    if not strays.few(off):
        return ""
    whole = off[rows.owner == rows.owner[np.argmax(off)]]
    on = f"; {np.count_nonzero(~off):,} of {len(off):,} rows are on it"
    if len(whole) > 1 and whole.all():
        return f"{on}, but none of the {len(whole):,} of this series: forecast it apart, or move its dates to the grid"
    finer = _holding(rows)
    other = "another freq (--freq)" if finer is None else f"freq={finer!r} (--freq {finer}) where the dates are right"
    return f"{on}: look for a mistyped date, or give {other}"


def _holding(rows: Rows) -> str | None:
    """The frequency that takes all rows as they are, strays too; None where there is none."""
    try:
        found = calendar.infer(rows.moments[0], rows.steps)
        _same_pace(rows, found.ordinals(rows.stamps.view("M8[us]")), found)
        _no_leap(rows, found)
    except DataError:
        return None
    return found.alias


def _written(rows: Rows, times: pa.ChunkedArray, at: int) -> str:
    """How the table writes a time of a zone where it is text: each row may have a distance from UTC of its own."""
    row = at if rows.order is None else int(rows.order[at])
    text = times[row].as_py()
    return f"; row {row + 1} has it as {text!r}" if rows.zone is not None and isinstance(text, str) else ""


def _looks_like(rows: Rows, frequency: Frequency) -> str:
    try:
        seen = _inferred(rows).alias
    except FrequencyError:
        return ""
    return "" if seen == frequency.alias else f"; the times look like {seen!r}"


def _same_pace(rows: Rows, ordinals: Ints, frequency: Frequency) -> None:
    """Refuse a series whose every step is the same several periods: it has another frequency, not gaps."""
    steps = ordinals[1:] - ordinals[:-1]
    if ((steps == 1) | ~rows.together).all():
        return
    steps, owner = steps[rows.together], rows.owner[1:][rows.together]
    every = int(steps[0])
    if len(steps) > 2 and (steps == every).all():
        raise FrequencyError(
            f"every value is {every} periods of {frequency.alias!r} after the one before{_looks_like(rows, frequency)}",
            expected=frequency.alias,
        )
    first = first_of_each(owner[1:] == owner[:-1])
    smallest, largest = np.minimum.reduceat(steps, first), np.maximum.reduceat(steps, first)
    count = np.diff(np.append(first, len(steps)))
    slow = (smallest == largest) & (smallest > 1) & (count >= 6)
    if slow.any():
        at = int(np.flatnonzero(slow)[0])
        name = rows.ids[owner[first[at]]]
        raise FrequencyError(
            f"mixed frequencies: {int(slow.sum()):,} of {len(rows.ids):,} series, the first is {name!r}, with a value "
            f"every {smallest[at]} periods of {frequency.alias!r} only: forecast them apart, or aggregate all alike",
            series=name,
            expected=frequency.alias,
        )


def _no_leap(rows: Rows, frequency: Frequency) -> None:
    """Refuse a hole of decades: 9999-12-31 is no day of demand."""
    if frequency.alias.startswith(("Y", "Q", "BY")) or rows.steps.max(initial=0) <= _MOST_YEARS * 366 * calendar.DAY:
        return
    at = int(np.flatnonzero(rows.together)[np.argmax(rows.steps)])
    name = rows.ids[rows.owner[at]]
    before, after = (shown(stamp, rows.zone) for stamp in rows.stamps[at : at + 2])
    raise DataError(
        f"series {name!r} has nothing between {before} and {after}: look for a mistyped date",
        series=name,
    )


def _inner(rows: Rows, columns: Columns) -> Ints | slice:
    """The rows from the first to the last value of each series."""
    seen = np.isfinite(rows.y)
    if seen.all():
        return ALL
    count = np.bincount(rows.owner[seen], minlength=len(rows.ids))
    if (count == 0).any():
        name = rows.ids[int(np.flatnonzero(count == 0)[0])]
        raise DataError(
            f"{counted(int((count == 0).sum()), 'series has', 'series have')} no value at all in {columns.target!r}, "
            f"the first is {name!r}: drop what has none",
            series=name,
        )
    places = np.flatnonzero(seen)
    first = places[np.concatenate([[0], np.cumsum(count)[:-1]])]
    last = places[np.cumsum(count) - 1]
    index = np.arange(len(seen))
    return index[(index >= first[rows.owner]) & (index <= last[rows.owner])]


def _not_blown_up(rows: Rows, lengths: Ints, frequency: Frequency) -> None:
    cells = int(lengths.sum())
    if cells > _MOST_CELLS and cells > _MOST_BLOWN * len(rows.y):
        name = rows.ids[int(np.argmax(lengths))]
        raise FrequencyError(
            f"at {frequency.alias!r} the {counted(len(rows.y), 'row')} would spread over {cells:,} periods; series "
            f"{name!r} alone spans {int(lengths.max()):,}. Look for a mistyped date, or give a longer freq (--freq)",
            series=name,
        )


@dataclass(frozen=True)
class _Grid:
    """Lays columns of the table on the panel's rows."""

    table: pa.Table
    place: Ints | slice  # [kept rows] row of the panel
    source: Ints | slice  # [kept rows] row of the table
    rows: int

    def lay(self, column: Floats) -> Floats:
        if len(column) == self.rows:
            return column
        out = np.full(self.rows, np.nan)
        out[self.place] = column
        return out

    def covariates(self, names: tuple[str, ...]) -> Covariates:
        if not names:
            return _NOTHING
        columns, categories = [], {}
        for name in names:
            column, texts = coded(self.table.column(name), name)
            columns.append(self.lay(column[self.source]))
            if texts is not None:
                categories[name] = texts
        return Covariates(names, np.stack(columns, axis=-1), categories)

    def changing(self, names: tuple[str, ...]) -> Covariates:
        """Columns that differ from period to period; of texts that seem to be meant as numbers it is said."""
        block = self.covariates(names)
        for name, texts in block.categories.items():
            odd = [k for k, text in enumerate(texts) if not is_number(text)]
            many = len(texts) > _MOST_TEXTS and 2 * sum(bool(_DIGIT.search(text)) for text in texts) > len(texts)
            strays = np.isin(block.values[:, block.names.index(name)], odd).mean()
            if many or (0 < strays < _FEW_STRAYS and len(texts) - len(odd) >= _NUMBERS):
                why = (
                    f"as not all are numbers: {texts[odd[0]]!r}, for instance"
                    if odd
                    else "though all are numbers: convert it"
                )
                logger.warning("column %r is read as text, %s categories of it, %s", name, f"{len(texts):,}", why)
        return block

    def flags(self, name: str | None) -> NDArray[np.bool_] | None:
        """True where the column is 1 or empty; a period without a row was not on offer."""
        if name is None:
            return None
        column = numbers(self.table.column(name), name)[self.source]
        column = np.where(np.isnan(column), 1.0, column)
        if (other := column[(column != 0) & (column != 1)]).size:
            raise DataError(f"column {name!r} says whether an item could be sold, 0 or 1; it holds {other[0]:g}")
        return self.lay(column) == 1.0


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
