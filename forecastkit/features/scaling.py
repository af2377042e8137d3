"""Scaling: bring series of any volume to one size, and back again.

A scaler is a value; `measure` looks at windows or at a panel's series and returns a `Scale`, which applies and inverts.
Everything ignores NaN, and a scale of zero (a constant or empty window) counts as one, so that nothing divides by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from forecastkit.data.panel import Floats, Ints, Panel

_EPS = np.finfo(float).eps
_TINY = np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class Scale:
    """What was measured: `(z - shift) / size`, where z is y or, with `log`, its signed logarithm.

    shift, size: one number a window or series, [B].
    """

    shift: Floats
    size: Floats
    log: bool = False

    def apply(self, values: Floats) -> Floats:
        """Scaled `values`, [B] or [B, ...]; row b by the b-th scale."""
        values = _logged(values) if self.log else values
        return (values - self._wide(self.shift, values)) / self._wide(self.size, values)

    def invert(self, scaled: Floats) -> Floats:
        """The way back, exact but for the rounding of the largest number involved."""
        values = scaled * self._wide(self.size, scaled) + self._wide(self.shift, scaled)
        return np.sign(values) * np.expm1(np.abs(values)) if self.log else values

    def rows(self, index: Ints) -> Scale:
        """The scales at `index`, for a batch of windows or for the rows of a panel."""
        return Scale(self.shift[index], self.size[index], self.log)

    @staticmethod
    def _wide(numbers: Floats, like: Floats) -> Floats:
        return numbers.reshape(numbers.shape + (1,) * (np.ndim(like) - 1))


class Scaler(Protocol):
    """Anything that measures windows."""

    def measure(self, windows: Floats) -> Scale: ...


@dataclass(frozen=True)
class Standard:
    """Mean zero and standard deviation one: for demand that moves around a level, negative values included.

    >>> scale = Standard().measure(np.array([[1.0, 3.0, np.nan]]))
    >>> scale.apply(np.array([[1.0, 5.0]])), scale.invert(np.array([[0.0]]))
    (array([[-1.,  3.]]), array([[2.]]))
    """

    def measure(self, windows: Floats) -> Scale:
        """One shift and size a row of `windows` [B, L]; the deviation divides by the number of values."""
        largest = _largest(windows)  # [B], dividing by it first keeps squares from overflowing
        unit = windows / largest[:, None]
        mean = _mean(unit)
        spread = np.sqrt(_mean((unit - mean[:, None]) ** 2))
        # A deviation of the size of rounding is a constant's.
        spread = np.where(spread <= 8 * _EPS * np.abs(mean), 0.0, spread)
        return Scale(mean * largest, _nonzero(spread * largest))


@dataclass(frozen=True)
class MeanAbsolute:
    """Divided by the mean of absolute values: keeps zero at zero, so it suits demand, intermittent too.

    >>> MeanAbsolute().measure(np.array([[2.0, 4.0, 0.0]])).apply(np.array([[6.0]]))
    array([[3.]])
    """

    def measure(self, windows: Floats) -> Scale:
        """One size a row of `windows` [B, L]."""
        largest = _largest(windows)
        size = _nonzero(_mean(np.abs(windows) / largest[:, None]) * largest)
        return Scale(np.zeros(len(size)), size)


@dataclass(frozen=True)
class Log1p:
    """sign(y) log(1 + |y|): for demand whose ups and downs are relative; needs no measuring, and takes negatives.

    Far below one unit the logarithm is a straight line: scale such series first.
    """

    def measure(self, windows: Floats) -> Scale:
        """Nothing to learn from `windows` [B, L]; the scale fits as many rows."""
        return Scale(np.zeros(len(windows)), np.ones(len(windows)), log=True)


def measure_panel(scaler: Scaler, panel: Panel, periods: int | None = None) -> Scale:
    """One scale a series [N], from its last `periods` (None: all); unavailable periods count as missing."""
    periods = min(periods or int(panel.lengths.max()), int(panel.lengths.max()))
    scales = [scaler.measure(block) for block in _blocks(panel, periods)]
    shift, size = (np.concatenate([getattr(s, part) for s in scales]) for part in ("shift", "size"))
    return Scale(shift, size, scales[0].log)


def _blocks(panel: Panel, periods: int) -> list[Floats]:
    """The newest periods as dense rows [n, periods], some series at a time so that one long one costs little."""
    many = max(1, 4_000_000 // periods)
    return [recent(panel, periods, slice(first, first + many)) for first in range(0, len(panel), many)]


def recent(panel: Panel, periods: int, series: slice = slice(None)) -> Floats:
    """The last `periods` observed values of each series, right-aligned [N, periods]; NaN before its start."""
    ends, lengths = panel.offsets[1:][series, None], panel.lengths[series, None]
    back = np.arange(periods, 0, -1)  # [periods]
    rows = np.maximum(ends - back, 0)
    return np.where((back <= lengths) & panel.observed[rows], panel.values[rows], np.nan)


def _logged(values: Floats) -> Floats:
    return np.sign(values) * np.log1p(np.abs(values))


def _mean(windows: Floats) -> Floats:
    seen = ~np.isnan(windows)
    return np.where(seen, windows, 0.0).sum(axis=-1) / np.maximum(seen.sum(axis=-1), 1)


def _largest(windows: Floats) -> Floats:
    if not windows.shape[-1]:
        return np.ones(len(windows))
    return _nonzero(np.where(np.isnan(windows), 0.0, np.abs(windows)).max(axis=-1))


def _nonzero(size: Floats) -> Floats:
    return np.where(size > _TINY, size, 1.0)
