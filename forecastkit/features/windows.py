"""Windows: pieces of history and what followed, as views on the panel's one array.

Nothing is copied until a batch of windows is picked, so that all windows of a million periods cost a few indices.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forecastkit.data.panel import Floats, Ints, Panel, ranges
from forecastkit.errors import ConfigError


@dataclass(frozen=True)
class Windows:
    """`lookback` periods and the `horizon` after them, every `stride` periods, counted back from the newest.

    >>> past, future = Windows(lookback=3, horizon=1, stride=2).apply(np.arange(6.0))
    >>> past, future
    (array([[0., 1., 2.],
           [2., 3., 4.]]), array([[3.],
           [5.]]))
    """

    lookback: int
    horizon: int = 0
    stride: int = 1

    def __post_init__(self) -> None:
        for name, least in (("lookback", 1), ("horizon", 0), ("stride", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, not {getattr(self, name)}")

    @property
    def span(self) -> int:
        return self.lookback + self.horizon

    def apply(self, values: Floats) -> tuple[Floats, Floats]:
        """Views of one series: [T] -> [B, L], [B, H], the oldest first; B = 0 when the series is too short."""
        past, future = self._views(values)
        first = (len(values) - self.span) % self.stride
        return past[first :: self.stride], future[first :: self.stride]

    def of(self, panel: Panel) -> PanelWindows:
        """All windows of a panel; none crosses the border of a series."""
        count = np.maximum(0, (panel.lengths - self.span) // self.stride + 1)  # [N]
        first = np.where(count > 0, (panel.lengths - self.span) % self.stride, 0)
        series = np.repeat(np.arange(len(panel)), count)
        number = ranges(np.zeros(len(panel), np.int64), count)
        start = first[series] + number * self.stride  # [B]
        past, future = self._views(panel.values)
        return PanelWindows(series, start + self.lookback, panel.offsets[series] + start, past, future)

    def _views(self, values: Floats) -> tuple[Floats, Floats]:
        """Views that begin at every period, [T - L - H + 1, ...]."""
        if len(values) < self.span:
            return np.empty((0, self.lookback)), np.empty((0, self.horizon))
        whole = sliding_window_view(values, self.span)
        return whole[:, : self.lookback], whole[:, self.lookback :]


@dataclass(frozen=True, eq=False)
class PanelWindows:
    """B windows of a panel; indexing with anything numpy takes gives `past` [b, L] and `future` [b, H].

    series: [B] whose window it is · position: [B] periods of the series that the window may see (the cutoff) ·
    rows: [B] where it begins in `panel.values`.
    """

    series: Ints
    position: Ints
    rows: Ints
    _past: Floats = field(repr=False)
    _future: Floats = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Ints | slice | int) -> tuple[Floats, Floats]:
        rows = self.rows[index]
        return self._past[rows], self._future[rows]
