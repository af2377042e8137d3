"""Lags and rolling statistics: what was known of a series before the period to be forecast.

Each is a value. `apply` gives the feature of every period of a panel: that of period t reads nothing after t - shift.
`read` gives it at a few rows only, which is what a forecast needs: the periods ahead of each series.

Sums, minima and deviations of windows are put together from those of windows half as long, so that a window of any
length costs log2(window) passes over the array and, unlike a difference of cumulative sums, loses nothing when 1e12
and 1e-3 stand side by side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecastkit.data.panel import Floats, Ints
from forecastkit.errors import ConfigError, closest

STATS = ("mean", "std", "min", "max", "quantile")
_CHUNK = 1_000_000  # numbers in a block of sorted windows


class Segments:
    """Series one after another in one array; `back` looks into the past of each without leaving it."""

    def __init__(self, offsets: Ints) -> None:
        self.offsets = offsets

    @cached_property
    def position(self) -> NDArray[np.int32]:
        """Number of each row within its series, [R]."""
        lengths = np.diff(self.offsets)
        return (np.arange(self.offsets[-1]) - np.repeat(self.offsets[:-1], lengths)).astype(np.int32)

    @cached_property
    def longest(self) -> int:
        return int(np.diff(self.offsets).max(initial=0))

    def back(self, values: NDArray[Any], periods: int, blank: float) -> NDArray[Any]:
        """The value `periods` earlier, [R]; `blank` before the series begins."""
        if not periods:
            return values
        out = np.empty_like(values)
        out[periods:] = values[:-periods]
        out[self.position < periods] = blank
        return out

    def before(self, values: Floats, rows: Ints, taps: Ints) -> Floats:
        """Values at `taps` [W] periods before each of `rows` [B], [B, W]; NaN before the series begins."""
        inside = taps <= self.position[rows, None]
        return np.where(inside, values[np.maximum(rows[:, None] - taps, 0)], np.nan)


class Lagged(ABC):
    """A feature made of a series' own past."""

    shift: int  # how many periods before the target its newest value stands

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    @abstractmethod
    def taps(self) -> Ints:
        """How many periods before the target its values stand, the newest first, [W]."""

    @property
    def reach(self) -> int:
        """How many periods before the target it reads."""
        return int(self.taps[-1])

    @abstractmethod
    def apply(self, values: Floats, segments: Segments) -> Floats:
        """The feature of every period, [R] -> [R]; NaN where there is no history."""

    @abstractmethod
    def reduce(self, windows: Floats) -> Floats:
        """The feature of the values at `taps`, [B, W] -> [B]."""

    def read(self, values: Floats, segments: Segments, rows: Ints) -> Floats:
        """The feature at `rows` [B] only, [B]; what it gives for a row doesn't depend on the others."""
        many = max(1, _CHUNK // len(self.taps))
        parts = [rows[first : first + many] for first in range(0, len(rows), many)]
        done = [self.reduce(segments.before(values, part, self.taps)) for part in parts]
        return np.concatenate(done) if done else np.empty(0)


@dataclass(frozen=True)
class Lag(Lagged):
    """The value `shift` periods before; a multiple of the season gives a seasonal lag.

    >>> Lag(1).apply(np.array([1.0, 2.0, 3.0, 4.0]), Segments(np.array([0, 2, 4])))
    array([nan,  1., nan,  3.])
    """

    shift: int

    def __post_init__(self) -> None:
        _at_least_one(self, "shift")

    @property
    def name(self) -> str:
        return f"lag_{self.shift}"

    @property
    def taps(self) -> Ints:
        return np.array([self.shift])

    def apply(self, values: Floats, segments: Segments) -> Floats:
        return segments.back(values, self.shift, np.nan)

    def reduce(self, windows: Floats) -> Floats:
        return windows[:, 0]


@dataclass(frozen=True)
class Rolling(Lagged):
    """A statistic of `window` values up to `shift` periods before, `every` so many periods.

    stat: mean, std (sample), min, max or quantile (`q`, linear between order statistics: Hyndman & Fan 1996, type 7).
    `every=7` takes the same weekday of the last `window` weeks. NaN values are left out; NaN stands where none is left
    (std: fewer than two).

    >>> Rolling("mean", 2).apply(np.array([1.0, 3.0, np.nan, 9.0]), Segments(np.array([0, 4])))
    array([nan,  1.,  2.,  3.])
    """

    stat: str
    window: int
    shift: int = 1
    every: int = 1
    q: float = 0.5

    def __post_init__(self) -> None:
        if self.stat not in STATS:
            raise ConfigError(f"stat is one of {', '.join(STATS)}, not {self.stat!r}{closest(self.stat, STATS)}")
        _at_least_one(self, "window", "shift", "every")
        if not 0 <= self.q <= 1:
            raise ConfigError(f"q must be between 0 and 1, not {self.q}")

    @property
    def name(self) -> str:
        stat = f"q{self.q:g}" if self.stat == "quantile" else self.stat
        every = f"x{self.every}" if self.every > 1 else ""
        return f"{stat}_{self.window}{every}" + (f"_from_{self.shift}" if self.shift > 1 else "")

    @property
    def taps(self) -> Ints:
        return self.shift + np.arange(self.window) * self.every

    def apply(self, values: Floats, segments: Segments) -> Floats:
        window = min(self.window, segments.longest // self.every + 1)  # the rest would find nothing
        if self.stat == "quantile":
            out = _quantiles(values, segments, window, self)
        else:
            out = _BY_DOUBLING[self.stat](values, _Doubling(segments, window, self.every))
        return segments.back(out, self.shift, np.nan)

    def reduce(self, windows: Floats) -> Floats:
        return _quantile(windows, self.q) if self.stat == "quantile" else _DENSE[self.stat](windows)


@dataclass(frozen=True)
class Ewm(Lagged):
    """The exponentially weighted mean: a value `halflife` periods older counts half; NaN values are left out.

    Weights are normalised over what is seen (Brown 1959's smoothing with a warm start). It looks back 60 half-lives,
    beyond which weights are below rounding.
    """

    halflife: float
    shift: int = 1

    def __post_init__(self) -> None:
        _at_least_one(self, "shift")
        if not self.halflife > 0:
            raise ConfigError(f"halflife must be above 0, not {self.halflife}")

    @property
    def name(self) -> str:
        return f"ewm_{self.halflife:g}" + (f"_from_{self.shift}" if self.shift > 1 else "")

    @property
    def window(self) -> int:
        return int(np.ceil(60 * self.halflife))

    @property
    def taps(self) -> Ints:
        return self.shift + np.arange(self.window)

    def apply(self, values: Floats, segments: Segments) -> Floats:
        seen = ~np.isnan(values)
        doubling = _Doubling(segments, min(self.window, segments.longest + 1), 1)

        def older(one: Floats, two: Floats, size: int) -> Floats:
            return one + two * 0.5 ** (size / self.halflife)

        total = doubling.combine(np.where(seen, values, 0.0), older, 0.0)
        weight = doubling.combine(seen.astype(float), older, 0.0)
        return segments.back(_ratio(total, weight), self.shift, np.nan)

    def reduce(self, windows: Floats) -> Floats:
        weights = 0.5 ** (np.arange(self.window) / self.halflife)
        seen = ~np.isnan(windows)
        # No matrix product: its rounding depends on how many rows there are.
        return _ratio((np.where(seen, windows, 0.0) * weights).sum(axis=1), (seen * weights).sum(axis=1))


@dataclass(frozen=True)
class _Doubling:
    """Windows of any length from windows of the lengths 1, 2, 4, 8 ..."""

    segments: Segments
    window: int
    every: int

    def combine(self, single: Floats, join: Callable[[Any, Any, int], Any], blank: float) -> Any:
        """`join(newer, older, length of newer)` over all windows; `single` is [R] or [R, ...] for one period."""
        done, length = None, 0  # the newest part of the window so far
        block, size = single, 1
        while True:
            if self.window & size:
                older = self._back(block, length, blank)
                done = older if done is None else join(done, older, length)
                length += size
            if length == self.window:
                return done
            block = join(block, self._back(block, size, blank), size)
            size *= 2

    def _back(self, values: Any, periods: int, blank: float) -> Any:
        if isinstance(values, tuple):
            return tuple(self.segments.back(v, periods * self.every, blank) for v in values)
        return self.segments.back(values, periods * self.every, blank)

    def counts(self, seen: NDArray[np.bool_]) -> Floats:
        """Values that are no NaN in each window, [R]."""
        if seen.all():
            return np.minimum(self.segments.position // self.every + 1, self.window).astype(float)
        return self.combine(seen.astype(float), lambda a, b, _: a + b, 0.0)


def _mean(values: Floats, doubling: _Doubling) -> Floats:
    seen = ~np.isnan(values)
    total = doubling.combine(np.where(seen, values, 0.0), lambda a, b, _: a + b, 0.0)
    return _ratio(total, doubling.counts(seen))


def _std(values: Floats, doubling: _Doubling) -> Floats:
    """Counts, means and squared deviations of two halves make those of the whole: Chan, Golub & LeVeque (1979)."""
    seen = ~np.isnan(values)
    mean = np.where(seen, values, 0.0)

    def join(one: Any, two: Any, _: int) -> Any:
        (n1, m1, s1), (n2, m2, s2) = one, two
        count = n1 + n2
        share = n2 / np.maximum(count, 1.0)
        apart = m2 - m1
        return count, m1 + apart * share, s1 + s2 + apart * apart * n1 * share

    single: Any = (seen.astype(float), mean, np.zeros(len(values)))
    count, _, squares = doubling.combine(single, join, 0.0)
    return np.sqrt(_ratio(squares, count - 1))


def _min(values: Floats, doubling: _Doubling) -> Floats:
    return doubling.combine(values, lambda a, b, _: np.fmin(a, b), np.nan)


def _max(values: Floats, doubling: _Doubling) -> Floats:
    return doubling.combine(values, lambda a, b, _: np.fmax(a, b), np.nan)


_BY_DOUBLING = {"mean": _mean, "std": _std, "min": _min, "max": _max}


def _quantiles(values: Floats, segments: Segments, window: int, what: Rolling) -> Floats:
    """Quantiles need their window whole: sorted in chunks, never all [R, W] at once."""
    taps = np.arange(window) * what.every
    out = np.empty(len(values))
    many = max(1, _CHUNK // window)
    for first in range(0, len(values), many):
        rows = np.arange(first, min(first + many, len(values)))
        out[rows] = _quantile(segments.before(values, rows, taps), what.q)
    return out


def _quantile(windows: Floats, q: float) -> Floats:
    """[B, W] -> [B], NaN left out."""
    ordered = np.sort(windows, axis=1)  # NaN come last
    count = (~np.isnan(ordered)).sum(axis=1)
    place = np.maximum(count - 1, 0) * q
    low = np.floor(place).astype(int)
    rows = np.arange(len(windows))
    lower, upper = ordered[rows, low], ordered[rows, np.minimum(low + 1, np.maximum(count - 1, 0))]
    return lower + (upper - lower) * (place - low)


def _dense_mean(windows: Floats) -> Floats:
    seen = ~np.isnan(windows)
    return _ratio(np.where(seen, windows, 0.0).sum(axis=1), seen.sum(axis=1))


def _dense_std(windows: Floats) -> Floats:
    mean = _dense_mean(windows)
    apart = (windows - mean[:, None]) ** 2
    seen = ~np.isnan(windows)
    return np.sqrt(_ratio(np.where(seen, apart, 0.0).sum(axis=1), seen.sum(axis=1) - 1))


_DENSE: dict[str, Callable[[Floats], Floats]] = {
    "mean": _dense_mean,
    "std": _dense_std,
    "min": lambda windows: np.fmin.reduce(windows, axis=1),
    "max": lambda windows: np.fmax.reduce(windows, axis=1),
}


def _ratio(total: Floats, count: NDArray[Any]) -> Floats:
    """`total / count`, NaN where nothing was counted."""
    return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)


def _at_least_one(value: Any, *names: str) -> None:
    for name in names:
        number = getattr(value, name)
        if not isinstance(number, (int, np.integer)) or number < 1:
            raise ConfigError(f"{name} must be a whole number from 1 on, not {number!r}")
