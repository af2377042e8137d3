"""A panel as padded arrays, series ending in the same column, ready to go to a device.

`W = pad + T + ahead` columns: `pad` empty ones so that every window has its full width, the history, and the periods
to be forecast, of which only the known covariates are filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecastkit import baseline
from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Floats, Ints, Panel, ranges
from forecastkit.features.dates import FIELDS, varying
from forecastkit.nn.plan import Block, Plan

_YEARLY = ("day_of_year", "week", "month", "quarter")  # fields that come back once a year
_PERIODS = {"minute": 60.0, "day_of_month": 31.0, "day_of_year": 366.0, "week": 53.0, "month": 12.0, "quarter": 4.0}
_ONE_HOT = {"hour": range(24), "day_of_week": range(7)}
_HARMONICS = 2
_AT_ONCE = 2**22  # periods that are laid out at once: what that needs beside its result is ten times as large
_COLUMNS = ("y", "seen", "known", "past")  # arrays with a column a period

Float32s = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a network reads, as numpy arrays.

    y: [N, W] `(demand - shift) / units`, 0 where not seen · seen: [N, W] · known: [N, W, K] · past: [N, W, P] ·
    static: [N, S] · calendar: [O, C] features by period, `origin` [N] the one of column 0 · prior: [N] mean of y ·
    base: [N] the shift in units · shift, units: [N] in float64, so that float32 holds any scale and any level ·
    lengths: [N] · end: column after the history.
    """

    y: Float32s
    seen: NDArray[np.bool_]
    known: Float32s
    past: Float32s
    static: Float32s
    calendar: Float32s
    origin: Ints
    prior: Float32s
    base: Float32s
    shift: Floats
    units: Floats
    lengths: Ints
    end: int


def lay_out(panel: Panel, plan: Plan, ahead: int, future: Floats | None = None) -> Inputs:
    """The arrays of `panel` with `ahead` columns after the end, whose known covariates are `future` [N, ahead, K]."""
    size = max(_AT_ONCE // int(panel.lengths.max()), 1)
    if len(panel) > size:
        return _in_blocks(panel, plan, ahead, future, size)
    pad, longest = plan.context, int(panel.lengths.max())
    end = pad + longest
    place = _Place(
        np.repeat(np.arange(len(panel)), panel.lengths),
        ranges(end - panel.lengths, panel.lengths),
        (len(panel), end + ahead),
    )
    demand = baseline.demand(panel)
    shift, units = _units(demand, panel.offsets, plan)
    seen = ~np.isnan(demand)
    y = np.where(seen, (demand - shift[place.owner]) / units[place.owner], 0.0)
    prior = means(y, seen, panel.offsets)
    known = place.covariates(plan.known, panel.known_filled)
    if future is not None and plan.known.sizes:
        known[:, end:] = plan.known.standardised(future)
    first = int(panel.starts.min())
    calendar = features_from(panel.calendar, first, int(panel.ends.max()) + 1 + ahead - first, plan.yearly)
    return Inputs(
        y=place.lay(y.astype(np.float32)),
        seen=place.lay(seen),
        known=known,
        past=place.covariates(plan.past, panel.past_filled),
        static=_static(panel, plan),
        calendar=calendar.copy(),  # torch wants arrays that it may write to
        origin=panel.ends + 1 - end - first,
        prior=prior.astype(np.float32),
        base=(shift / units).astype(np.float32),
        shift=shift,
        units=units,
        lengths=panel.lengths,
        end=end,
    )


def _static(panel: Panel, plan: Plan) -> Float32s:
    return plan.static.standardised(panel.static.values) if plan.static.sizes else np.empty((len(panel), 0), np.float32)


@dataclass(frozen=True)
class _Place:
    """Where the rows of a panel stand in the padded arrays."""

    owner: Ints  # [R]
    column: Ints  # [R]
    shape: tuple[int, int]  # N, W

    def lay(self, rows: NDArray[Any], outside: Any = 0) -> NDArray[Any]:
        """`rows` [R, ...] in their places, and `outside` before a series begins and ahead; [N, W, ...]."""
        out = np.full((*self.shape, *rows.shape[1:]), outside, rows.dtype)
        out[self.owner, self.column] = rows
        return out

    def covariates(self, block: Block, rows: Floats) -> Float32s:
        """Columns [R, K] standardised, where there is nothing like a missing value; [N, W, K]."""
        if not block.sizes:
            return np.zeros((*self.shape, 0), np.float32)
        return self.lay(block.standardised(rows), block.standardised(np.full(len(block.sizes), np.nan)))


def placed(rows: Floats, lengths: Ints, width: int) -> Floats:
    """The newest `width` rows of each series, NaN before its first; [R, ...] -> [N, width, ...]."""
    out = np.full((len(lengths), width, *rows.shape[1:]), np.nan)
    if len(lengths) == 1:
        out[0, max(width - len(rows), 0) :] = rows[max(len(rows) - width, 0) :]
        return out
    newest = np.minimum(lengths, width)
    owner = np.repeat(np.arange(len(lengths)), newest)
    ends = np.cumsum(lengths)
    out[owner, ranges(width - newest, newest)] = rows[ranges(ends - newest, newest)]
    return out


def _units(demand: Floats, offsets: Ints, plan: Plan) -> tuple[Floats, Floats]:
    """Where zero lies and what one is to the network: counts stay counts, and a distribution's zero stays zero."""
    if plan.whole:
        return np.zeros(len(offsets) - 1), np.ones(len(offsets) - 1)
    return _size(demand, offsets, centred=not plan.log and plan.distribution is None)


def _size(demand: Floats, offsets: Ints, centred: bool) -> tuple[Floats, Floats]:
    """Where each series lies and how far it spreads: its mean, or 0 if not `centred`, and the mean distance from it.

    The distance is 1 where it is 0; [N], [N].
    """
    seen, lengths = ~np.isnan(demand), np.diff(offsets)
    values = np.where(seen, demand, 0.0)
    largest = np.maximum.reduceat(np.abs(values), offsets[:-1])
    largest = np.where(largest > 0, largest, 1.0)  # so that sums of huge values stay finite, of tiny ones apart from 0
    shares = values / np.repeat(largest, lengths)
    mean = means(shares, seen, offsets) if centred else np.zeros(len(lengths))
    distance = means(np.where(seen, np.abs(shares - np.repeat(mean, lengths)), 0.0), seen, offsets)
    distance = np.where(distance > 1e-14, distance, 1.0)  # below is the rounding of a constant
    return mean * largest, distance * largest


def means(values: Floats, seen: NDArray[np.bool_], offsets: Ints) -> Floats:
    """Mean of each series of `values` [R], which are 0 where not `seen`; 0 where nothing was; [N]."""
    count = np.add.reduceat(seen, offsets[:-1], dtype=np.int64)
    return np.asarray(np.add.reduceat(values, offsets[:-1]) / np.maximum(count, 1))


@lru_cache(maxsize=64)
def features_from(calendar: Frequency, first: int, count: int, yearly: bool) -> Float32s:
    """`calendar_features` of `count` periods from `first` on, kept: forecasts of one day ask for the same ones."""
    features = calendar_features(calendar, np.arange(first, first + count), yearly)
    features.flags.writeable = False
    return features


def calendar_features(calendar: Frequency, periods: Ints, yearly: bool) -> Float32s:
    """Hours and weekdays one-hot, longer fields as waves; [O] -> [O, C]."""
    times = calendar.local(calendar.times(periods))
    parts = [_encoded(name, FIELDS[name](times)) for name in _fields(calendar, yearly)]
    return np.concatenate(parts, axis=-1).astype(np.float32) if parts else np.empty((len(periods), 0), np.float32)


def _fields(calendar: Frequency, yearly: bool) -> list[str]:
    names = varying(calendar)
    once_a_year = next((name for name in _YEARLY if name in names), None) if yearly else None
    useful = [name for name in names if name in _ONE_HOT or name in ("minute", "day_of_month")]
    # A day of the month means something to days and hours; for weeks it is noise.
    useful = [name for name in useful if name != "day_of_month" or "day_of_week" in names]
    return [*useful, *([once_a_year] if once_a_year else [])]


def _encoded(name: str, values: NDArray[Any]) -> Floats:
    if name in _ONE_HOT:
        return (values[:, None] == np.array(_ONE_HOT[name])).astype(float)
    turns = 2 * np.pi * values[:, None] * np.arange(1, _HARMONICS + 1) / _PERIODS[name]
    return np.concatenate([np.sin(turns), np.cos(turns)], axis=-1)


def _in_blocks(panel: Panel, plan: Plan, ahead: int, future: Floats | None, size: int) -> Inputs:
    """`lay_out` of `size` series at a time, which bounds the memory beside the result."""
    first, end = int(panel.starts.min()), plan.context + int(panel.lengths.max())
    whole: dict[str, NDArray[Any]] = {}
    for k in range(0, len(panel), size):
        rows = slice(k, k + size)
        own = np.arange(len(panel))[rows]
        part = lay_out(panel.take(own), plan, ahead, None if future is None else future[rows])
        for name in {f.name for f in fields(Inputs)} - {"calendar", "origin", "end"}:
            array = getattr(part, name)
            if name not in whole:
                columns = (end + ahead, *array.shape[2:]) if name in _COLUMNS else array.shape[1:]
                whole[name] = np.zeros((len(panel), *columns), array.dtype)
            place = (rows, slice(-array.shape[1], None)) if name in _COLUMNS else rows
            whole[name][place] = array
    periods = first + np.arange(int(panel.ends.max()) + 1 + ahead - first)
    calendar = calendar_features(panel.calendar, periods, plan.yearly)
    return Inputs(calendar=calendar, origin=panel.ends + 1 - end - first, end=end, **whole)
