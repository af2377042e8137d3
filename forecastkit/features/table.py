"""The tabular view: one row a series and period, one column a feature, for any regression that takes a matrix.

::

    from sklearn.linear_model import Ridge

    spec = TableSpec(lags=(28, 35), rolling=(Rolling("mean", 28, shift=28),))  # nothing younger than the horizon
    rows = table(panel, spec)
    model = Ridge().fit(rows.X, rows.y)
    forecast = model.predict(ahead(panel, spec, horizon=28).X).reshape(len(panel), 28)  # [N, H]

Features that look back less than the horizon need forecasts in place of what hasn't happened yet: the model `boosted`
does that, period by period.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from forecastkit.data.panel import Covariates, Floats, Ints, Panel, ranges
from forecastkit.errors import ConfigError, DataError, counted
from forecastkit.features.dates import Calendar, Fourier
from forecastkit.features.lags import Ewm, Lag, Lagged, Rolling, Segments

Block = tuple[tuple[str, ...], Floats]  # names of F columns, [rows, F]


@dataclass(frozen=True)
class TableSpec:
    """Which features a table has.

    lags: periods back · rolling, ewm: statistics of the past · calendar: the fields that vary at the frequency (False:
    none, or a `Calendar` of one's own) · fourier: seasonal waves · static, known: the panel's covariates, where it has
    them · past_lags: periods back at which `past` covariates are read · onehot: a category becomes a 0/1 column a text
    (otherwise one column of codes, for learners that know categories).
    """

    lags: tuple[int, ...] = (1, 2, 7, 14)
    rolling: tuple[Rolling, ...] = ()
    ewm: tuple[Ewm, ...] = ()
    calendar: bool | Calendar = True
    fourier: tuple[Fourier, ...] = ()
    static: bool = True
    known: bool = True
    past_lags: tuple[int, ...] = ()
    onehot: bool = True

    def __post_init__(self) -> None:
        for slot in fields(self):
            if isinstance(getattr(self, slot.name), list):
                object.__setattr__(self, slot.name, tuple(getattr(self, slot.name)))
        names = [feature.name for feature in self.lagged]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"the feature {twice[0]!r} is asked for twice")

    @property
    def lagged(self) -> tuple[Lagged, ...]:
        """The features made of a series' own past, in the order of their columns."""
        return (*(Lag(k) for k in self.lags), *self.rolling, *self.ewm)

    @property
    def reach(self) -> int:
        """How many periods before a row's its features read."""
        return max((feature.reach for feature in self.lagged), default=0)

    @property
    def shift(self) -> int | None:
        """The longest horizon that can be forecast without forecasts as features; None without limit."""
        back = [feature.shift for feature in self.lagged] + list(self.past_lags)
        return min(back, default=None)


@dataclass(frozen=True, eq=False)
class Table:
    """Features and targets. X: [rows, F] · y: [rows] · names: F · series: [rows] index into the panel's ids · period:
    [rows] number of the period (`panel.calendar.times` makes dates of it) · categorical: columns that hold codes.
    """

    X: Floats
    y: Floats
    names: tuple[str, ...]
    series: Ints
    period: Ints
    categorical: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Ints) -> Table:
        """Only the rows at `index`."""
        parts = {name: getattr(self, name)[index] for name in ("X", "y", "series", "period")}
        return replace(self, **parts)


def table(panel: Panel, spec: TableSpec | None = None, *, complete: bool = True) -> Table:
    """The rows of every period whose target was seen, for fitting.

    Unavailable periods and gaps are no targets, and missing in the lags of others. `complete` keeps only rows
    without a missing feature, as most of scikit-learn demands; LightGBM can do without. The value of a lagged feature
    in the row of period t reads nothing younger than t - shift.
    """
    spec = spec or TableSpec()
    rows = _rows(panel, spec, np.flatnonzero(panel.observed))
    if not complete:
        return rows
    whole = ~np.isnan(rows.X).any(axis=1)
    return rows if whole.all() else rows.take(np.flatnonzero(whole))


def ahead(panel: Panel, spec: TableSpec, horizon: int, future: Floats | None = None) -> Table:
    """The rows of the `horizon` periods after each series, N x H series by series, for forecasting; y is NaN.

    `future` [N, H, K] holds the known covariates of those periods. Raises `ConfigError` where a feature would read a
    period that has not happened yet, `DataError` where known covariates are needed and missing.
    """
    if spec.shift is not None and horizon > spec.shift:
        raise ConfigError(
            f"the table looks back {counted(spec.shift, 'period')}, too few for a horizon of {horizon}: use lags "
            f"from {horizon} on, or forecast step by step"
        )
    if spec.known and len(panel.known) and future is None:
        raise DataError(
            f"the table needs the known columns {', '.join(panel.known.names)} of the periods ahead: future"
        )
    needed = max([spec.reach, *spec.past_lags])
    longer = lengthened(panel.tail(max(needed, 1)), horizon, future)
    first = longer.offsets[1:] - horizon
    return _rows(longer, spec, ranges(first, np.full(len(panel), horizon)))


def lengthened(panel: Panel, horizon: int, future: Floats | None = None) -> Panel:
    """`panel` with `horizon` more periods a series, NaN but for the known covariates in `future` [N, H, K]."""
    lengths = panel.lengths + horizon
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    old = ranges(offsets[:-1], panel.lengths)
    new = ranges(offsets[1:] - horizon, np.full(len(panel), horizon))

    def longer(block: Covariates, ahead: Floats | None = None) -> Covariates:
        if not len(block):
            return block
        values = np.full((offsets[-1], len(block)), np.nan)
        values[old] = block.values
        if ahead is not None:
            values[new] = ahead.reshape(-1, len(block))
        return replace(block, values=values)

    values = np.full(offsets[-1], np.nan)
    values[old] = panel.values
    available = None
    if panel.available is not None:
        available = np.ones(offsets[-1], bool)
        available[old] = panel.available
    known, past = longer(panel.known, future), longer(panel.past)
    return replace(panel, values=values, offsets=offsets, known=known, past=past, available=available)


def observed_values(panel: Panel) -> Floats:
    """Values with NaN where an item could not be sold: a zero then is not "no demand"; [R]."""
    return panel.values if panel.available is None else np.where(panel.observed, panel.values, np.nan)


def _rows(panel: Panel, spec: TableSpec, rows: Ints) -> Table:
    series = np.searchsorted(panel.offsets, rows, side="right") - 1
    period = panel.starts[series] + rows - panel.offsets[series]
    blocks = [*_dated(panel, spec, period), *_described(panel, spec, rows, series)]
    named = [name for names, _ in blocks for name in names]
    lagged = _lagged_names(panel, spec)
    X = np.empty((len(rows), len(lagged) + len(named)), order="F")  # written, and read by trees, a column at a time
    for k, column in enumerate(_lagged(panel, spec)):
        X[:, k] = column[rows]
    if named:
        X[:, len(lagged) :] = np.concatenate([block for _, block in blocks], axis=1)
    names = (*lagged, *named)
    codes = set() if spec.onehot else {*panel.known.categories, *panel.static.categories}
    categorical = tuple(k for k, name in enumerate(names) if name in codes)
    return Table(X, panel.values[rows], names, series, period, categorical)


def _lagged_names(panel: Panel, spec: TableSpec) -> tuple[str, ...]:
    past = [f"{name}_lag_{k}" for k in spec.past_lags for name in panel.past.names]
    return (*(feature.name for feature in spec.lagged), *past)


def _lagged(panel: Panel, spec: TableSpec) -> Iterator[Floats]:
    """Columns [R] for every period of the panel."""
    values, segments = observed_values(panel), Segments(panel.offsets)
    yield from (feature.apply(values, segments) for feature in spec.lagged)
    for k in spec.past_lags:
        yield from (Lag(k).apply(column, segments) for column in panel.past.values.T)


def _dated(panel: Panel, spec: TableSpec, period: Ints) -> Iterator[Block]:
    if spec.calendar:
        calendar = Calendar() if spec.calendar is True else spec.calendar
        yield calendar.names(panel.calendar), calendar.apply(period, panel.calendar)
    yield from ((waves.names, waves.apply(period)) for waves in spec.fourier)


def _described(panel: Panel, spec: TableSpec, rows: Ints, series: Ints) -> Iterator[Block]:
    """The covariates that stand beside the target."""
    if spec.known and len(panel.known):
        yield _columns(panel.known, panel.known_filled[rows], spec.onehot)
    if spec.static and len(panel.static):
        yield _columns(panel.static, panel.static.values[series], spec.onehot)


def _columns(block: Covariates, values: Floats, onehot: bool) -> Block:
    return (block.features, block.encode(values)) if onehot else (block.names, values)
