"""`Panel`: many regular series in contiguous arrays, and their frequency.

Series stand one after another in one array; `offsets` says where each begins and `starts` which period its first
value belongs to. Everything that loops over series, samples windows or runs compiled code does so on these arrays;
tables are read in `forecastkit.data.door` and written by `to_frame`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecastkit.data.calendar import Frequency
from forecastkit.errors import DataError, counted

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Covariates:
    """Named columns beside a panel. A column of text holds the codes of its `categories`; NaN is missing.

    names: K · values: [R, K] (one row a period) or [N, K] (static) · categories: the texts behind the codes, by name.
    """

    names: tuple[str, ...] = ()
    values: Floats = field(default_factory=lambda: np.empty((0, 0)))
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, index: Ints) -> Covariates:
        return replace(self, values=self.values[index]) if len(self) else self

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns of `encode`: a category becomes one column a text, `name=text`."""
        return tuple(
            label
            for name in self.names
            for label in ([f"{name}={text}" for text in self.categories[name]] if name in self.categories else [name])
        )

    def encode(self, values: Floats | None = None) -> Floats:
        """Columns as numbers: [..., K] -> [..., F], categories one-hot; an unknown or missing text is all zeros."""
        values = self.values if values is None else values
        parts = []
        for k, name in enumerate(self.names):
            column = values[..., k, None]  # [..., 1]
            texts = self.categories.get(name)
            parts.append(column if texts is None else (column == np.arange(len(texts))).astype(float))
        return np.concatenate(parts, axis=-1) if parts else np.empty((*values.shape[:-1], 0))

    def only(self, names: Collection[str]) -> Covariates:
        """Those of the columns that are among `names`."""
        places = [k for k, name in enumerate(self.names) if name in names]
        if len(places) == len(self):
            return self
        kept = tuple(self.names[k] for k in places)
        return Covariates(kept, self.values[..., places], {n: t for n, t in self.categories.items() if n in kept})

    def recoded(self, like: Covariates) -> Covariates:
        """The same columns in the order and with the codes of `like`; `DataError` when one is missing."""
        if self.names == like.names and self.categories == like.categories:
            return self
        if missing := [name for name in like.names if name not in self.names]:
            raise DataError(f"the columns {missing} that the model was fitted with are not in this table")
        columns = [self._recoded(name, like.categories.get(name)) for name in like.names]
        values = np.stack(columns, axis=-1) if columns else np.empty((*self.values.shape[:-1], 0))
        return Covariates(like.names, values, like.categories)

    def _recoded(self, name: str, texts: tuple[str, ...] | None) -> Floats:
        column = self.values[..., self.names.index(name)]
        own = self.categories.get(name)
        if own == texts:
            return column
        if np.isnan(column).all():  # an empty column has no type
            return column
        if own is None or texts is None:
            here, before = ("a number", "text") if own is None else ("text", "a number")
            odd = f"{_odd(own or texts or ())!r}, for instance, is text"
            raise DataError(f"column {name!r} is {here} and was {before} in the history: {odd}")
        codes = np.array([float(texts.index(t)) if t in texts else np.nan for t in own] + [np.nan])
        return codes[np.where(np.isnan(column), len(own), column).astype(int)]


@dataclass(frozen=True, eq=False)
class Panel:
    """N regular series of one frequency.

    ids: N texts, in ascending order when read from a table · values: [R] demand per period, NaN where a period has
    no record · offsets: [N + 1], series i is `values[offsets[i]:offsets[i + 1]]` · starts: [N] number of the first
    period of each · known, past: [R, K] · static: [N, K] · available: [R] bool, None means always.

    >>> import pandas as pd
    >>> rows = {"unique_id": "milk", "ds": pd.date_range("2024-01-01", periods=3), "y": [5.0, 4.0, 6.0]}
    >>> Panel.from_frame(pd.DataFrame(rows))
    Panel(1 series, 3 periods of 'D', 2024-01-01 to 2024-01-03, 0 gaps)
    """

    ids: tuple[str, ...]
    values: Floats
    offsets: Ints
    starts: Ints
    calendar: Frequency
    known: Covariates = Covariates()
    past: Covariates = Covariates()
    static: Covariates = Covariates()
    available: NDArray[np.bool_] | None = None

    @classmethod
    def from_frame(cls, frame: Any, *, freq: str | None = None, **columns: Any) -> Panel:
        """Read a long table: a pandas frame, or anything narwhals reads (polars, pyarrow, a duckdb relation).

        `columns` are the fields of `door.Columns`: id, time, target, known, past, static, available. Rows may come in
        any order; ids become text; periods without a row become NaN. Raises `ColumnError`, `FrequencyError` or
        `DataError` saying what was found and what to do.
        """
        from forecastkit.data.door import Columns, from_frame

        return from_frame(frame, Columns(**columns), freq)

    def __post_init__(self) -> None:
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.values) or len(self.offsets) != len(self.ids) + 1:
            raise DataError("offsets must run from 0 to the number of values, one more than there are series")
        blocks = (self.known.values, self.past.values, self.static.values)
        flags = () if self.available is None else (self.available,)
        for array in (self.values, self.offsets, self.starts, *blocks, *flags):
            array.flags.writeable = False  # a panel is a value: what is fitted on it must not change under it

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        if not len(self):
            return f"Panel(0 series of {self.freq!r})"
        first, last = self.calendar.texts(np.array([self.starts.min(), self.ends.max()]))
        return (
            f"Panel({len(self):,} series, {counted(len(self.values), 'period')} of {self.freq!r}, "
            f"{first} to {last}, {counted(self.gaps, 'gap')})"
        )

    @property
    def freq(self) -> str:
        return self.calendar.alias

    @property
    def season(self) -> int:
        return self.calendar.season

    @property
    def gaps(self) -> int:
        """Periods without a value."""
        return int(np.isnan(self.values).sum())

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.ids)}

    @cached_property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)  # [N]

    @property
    def ends(self) -> Ints:
        """Number of the last period of each series, [N]."""
        return self.starts + self.lengths - 1

    def series(self, i: int) -> Floats:
        """A view of series `i`, [T]."""
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def holding(self, rows: NDArray[np.bool_]) -> tuple[str, ...]:
        """The ids of the series that have a true one among these rows [R]."""
        owners = np.searchsorted(self.offsets, np.flatnonzero(rows), side="right") - 1
        return tuple(self.ids[i] for i in np.unique(owners))

    def rows_of(self, i: int) -> slice:
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def ordinals(self) -> Ints:
        """The period number of every value, [R]."""
        return ranges(self.starts, self.lengths)

    def times(self) -> NDArray[np.datetime64]:
        """The period start of every value, [R]."""
        return self.calendar.times(self.ordinals())

    def future_ordinals(self, horizon: int) -> Ints:
        return self.ends[:, None] + 1 + np.arange(horizon)  # [N, H]

    def take(self, index: Sequence[int] | Ints) -> Panel:
        """The series at `index`, in that order."""
        index = np.asarray(index, np.int64)
        return self._rows(index, np.zeros(len(index), np.int64), self.lengths[index])

    def until(self, index: Ints, lengths: Ints) -> Panel:
        """The first `lengths` periods, [n], of the series at `index`, [n]: what was known of them at a cutoff."""
        return self._rows(index, np.zeros(len(index), np.int64), lengths)

    def bare(self) -> Panel:
        """The same demand without covariates; nothing is copied."""
        return replace(self, known=Covariates(), past=Covariates(), static=Covariates())

    def only(self, columns: Collection[str], *, available: bool) -> Panel:
        """The same demand with those of its covariates alone, and with what could be sold or without."""
        roles = {role: getattr(self, role).only(columns) for role in ("known", "past", "static")}
        return replace(self, **roles, available=self.available if available else None)

    def cut(self, lengths: Ints | int) -> Panel:
        """Only the first `lengths` periods, [N] or one for all: the past as it was known at a cutoff."""
        everything = np.arange(len(self))
        return self._rows(everything, np.zeros(len(self), np.int64), np.clip(lengths, 0, self.lengths))

    def tail(self, periods: Ints | int) -> Panel:
        """Only the last `periods` of each series, [N] or one for all."""
        keep = np.maximum(np.minimum(periods, self.lengths), 0)
        if (keep == self.lengths).all():
            return self
        return self._rows(np.arange(len(self)), self.lengths - keep, keep)

    def _rows(self, series: Ints, skip: Ints, keep: Ints) -> Panel:
        first = self.offsets[series] + skip
        rows = ranges(first, keep) if len(series) != 1 else np.arange(first[0], first[0] + keep[0])
        return replace(
            self,
            ids=tuple(self.ids[i] for i in series),
            values=self.values[rows],
            offsets=np.concatenate([[0], np.cumsum(keep)]),
            starts=self.starts[series] + skip,
            known=self.known.rows(rows),
            past=self.past.rows(rows),
            static=self.static.rows(series),
            available=None if self.available is None else self.available[rows],
        )

    def known_after(self, lengths: Ints, horizon: int) -> Floats:
        """Known covariates of the `horizon` periods after the first `lengths` of each series, [N, H, K].

        Missing numbers are carried on from the period before; NaN stands after the panel's end.
        """
        positions = lengths[:, None] + np.arange(horizon)  # [N, H]
        inside = positions < self.lengths[:, None]
        rows = np.where(inside, self.offsets[:-1, None] + positions, 0)
        texts = np.array([name in self.known.categories for name in self.known.names], bool)
        values = self.known_filled[rows]
        # An empty text is a category like any other, and -1 here; NaN says that there is no such period.
        values = np.where(np.isnan(values) & texts, -1.0, values)
        return np.where(inside[..., None], values, np.nan)

    @cached_property
    def known_filled(self) -> Floats:
        """Known covariates with missing numbers carried forward, then backward, within a series; [R, K]."""
        return self._filled(self.known)

    @cached_property
    def past_filled(self) -> Floats:
        """Past covariates, filled like `known_filled`; [R, K]."""
        return self._filled(self.past)

    def _filled(self, columns: Covariates) -> Floats:
        values = columns.values if len(columns) else np.empty((len(self.values), 0))
        numeric = [k for k, name in enumerate(columns.names) if name not in columns.categories]
        if not numeric or not np.isnan(values[:, numeric]).any():
            return values
        values = values.copy()
        for k in numeric:
            values[:, k] = _carried(values[:, k], self.offsets)
        return values

    @property
    def observed(self) -> NDArray[np.bool_]:
        """True where a value stands and the item could be sold, [R]."""
        seen = ~np.isnan(self.values)
        return seen if self.available is None else seen & self.available

    def recoded(self, like: Panel) -> Panel:
        """This panel with the covariate columns and category codes of `like`; raises `DataError` when it can't."""
        if self.calendar != like.calendar:
            raise DataError(f"this table has {self.calendar.words}, the model was fitted on {like.calendar.words}")
        roles = {role: getattr(self, role).recoded(getattr(like, role)) for role in ("known", "past", "static")}
        same = all(getattr(self, role) is block for role, block in roles.items())
        return self if same else replace(self, **roles)

    def extended(self, newer: Panel) -> Panel:
        """The series of `newer`, each with what this panel knows of it before; `newer` counts where both have a period.

        Periods between the two that neither has are NaN.
        """
        newer = newer.recoded(self)
        own = np.array([self._places.get(name, -1) for name in newer.ids], np.int64)
        # Only what stands before `newer` begins is kept: all of it, some of it, or nothing.
        shift = np.minimum(newer.starts - self.starts[own], self.lengths[own])
        before = np.where(own < 0, 0, np.maximum(shift, 0))
        if not before.any() and (self.available is None or newer.available is not None):
            return newer
        starts = np.where(before > 0, self.starts[own], newer.starts)
        lengths = newer.ends - starts + 1
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        source = ranges(self.offsets[own], before)
        target = ranges(offsets[:-1], before)
        fresh = ranges(offsets[:-1] + newer.starts - starts, newer.lengths)

        def merged(old: NDArray[Any], new: NDArray[Any], blank: Any) -> NDArray[Any]:
            out = np.full((offsets[-1], *new.shape[1:]), blank, new.dtype)
            out[target], out[fresh] = old[source], new
            return out

        def columns(old: Covariates, new: Covariates) -> Covariates:
            return replace(new, values=merged(old.values, new.values, np.nan)) if len(new) else new

        available = None
        if self.available is not None or newer.available is not None:
            ours, theirs = (np.ones(len(p.values), bool) if p.available is None else p.available for p in (self, newer))
            available = merged(ours, theirs, False)
        return replace(
            newer,
            values=merged(self.values, newer.values, np.nan),
            offsets=offsets,
            starts=starts,
            known=columns(self.known, newer.known),
            past=columns(self.past, newer.past),
            available=available,
        )

    def to_frame(self) -> pd.DataFrame:
        """The long table again: unique_id, ds, y and the covariates."""
        import pandas as pd

        # A zone is put back on, so that the two hours of an autumn night stay apart.
        times = pd.DatetimeIndex(self.times())
        if self.calendar.zone is not None:
            times = times.tz_localize("UTC").tz_convert(self.calendar.zone)
        owner = np.repeat(np.arange(len(self)), self.lengths)
        columns: dict[str, Any] = {"unique_id": np.array(self.ids, object)[owner], "ds": times, "y": self.values}
        for block, rows in ((self.known, None), (self.past, None), (self.static, owner)):
            columns |= {name: _texts(block, name, rows) for name in block.names}
        if self.available is not None:
            columns["available"] = self.available
        return pd.DataFrame(columns)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change when anything in the panel does."""
        digest = hashlib.sha256(json.dumps([self.ids, self.freq, self.calendar.phase, self.calendar.zone]).encode())
        for array in (self.values, self.offsets, self.starts):
            digest.update(np.ascontiguousarray(array).tobytes())
        for block in (self.known, self.past, self.static):
            digest.update(json.dumps([block.names, dict(block.categories)]).encode() + block.values.tobytes())
        if self.available is not None:
            digest.update(self.available.tobytes())
        return digest.hexdigest()[:16]

    def arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything in plain arrays and JSON, for a folder on disk; `from_arrays` is the way back."""
        arrays: dict[str, NDArray[Any]] = {"values": self.values, "offsets": self.offsets, "starts": self.starts}
        about: dict[str, Any] = {"ids": list(self.ids), "calendar": asdict(self.calendar)}
        for role in ("known", "past", "static"):
            block: Covariates = getattr(self, role)
            if len(block):
                arrays[role] = block.values
                about[role] = {
                    "names": list(block.names),
                    "categories": {name: list(texts) for name, texts in block.categories.items()},
                }
        if self.available is not None:
            arrays["available"] = self.available
        return arrays, about

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Panel:
        roles = {}
        for role in ("known", "past", "static"):
            if role in about:
                texts = {name: tuple(values) for name, values in about[role]["categories"].items()}
                roles[role] = Covariates(tuple(about[role]["names"]), arrays[role], texts)
        return cls(
            ids=tuple(about["ids"]),
            values=arrays["values"],
            offsets=arrays["offsets"],
            starts=arrays["starts"],
            calendar=Frequency(**about["calendar"]),
            available=arrays.get("available"),
            **roles,
        )


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """`arange(start, start + length)` of each pair, one after another: [N], [N] -> [sum of lengths]."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def _odd(texts: tuple[str, ...]) -> str:
    """The first text that is no number, if there is one."""
    return min(texts, key=is_number, default="")


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _carried(column: Floats, offsets: Ints) -> Floats:
    """A column with NaN filled from before, then from after, within each series; 0 where a series has nothing."""
    lengths = np.diff(offsets)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(column))
    good = ~np.isnan(column)
    before = np.maximum.accumulate(np.where(good, places, -1))
    before = np.where(before >= offsets[owner], before, -1)
    after = np.minimum.accumulate(np.where(good, places, len(column))[::-1])[::-1]
    after = np.where(after < offsets[owner + 1], after, -1)
    source = np.where(before >= 0, before, after)
    return np.where(source >= 0, column[source], 0.0)


def _texts(block: Covariates, name: str, rows: Ints | None) -> NDArray[Any]:
    column = block.values[:, block.names.index(name)]
    column = column if rows is None else column[rows]
    if name not in block.categories:
        return column
    texts = np.array([*block.categories[name], None], object)
    return texts[np.where(np.isnan(column), -1, column).astype(int)]
