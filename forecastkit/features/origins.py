"""A target seen from an origin some steps before it: the features of pooled direct and recursive regression.

Volumes differ between series by orders of magnitude, so that everything in units of demand is divided by the level
that the series had at the origin; one model can then learn from all of them. Montero-Manso & Hyndman (2021),
"Principles and algorithms for forecasting groups of time series: locality and globality", International Journal of
Forecasting 37.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from forecastkit.data.calendar import DAY, Frequency
from forecastkit.data.panel import Floats, Ints, Panel
from forecastkit.features.dates import Calendar
from forecastkit.features.lags import Ewm, Lag, Lagged, Rolling, Segments
from forecastkit.features.table import lengthened, observed_values

Column = tuple[str, Floats]
_FEW = 100_000  # targets below which each is seen from several origins
_YEAR = 366 * DAY
_LONG = 40  # seasons of as many periods are seen so few times that windows are parts of them


@dataclass(frozen=True)
class Origins:
    """Which features an origin has, from the `season` alone.

    Recent values and means, spread and maximum over windows around the season's length, the share of zeros, the values
    and means of the same season as the target, dates, and covariates with what they were lately. `fields` are those of
    the calendar (None: all that vary), `flags` the known columns of 0 and 1.
    """

    season: int
    fields: tuple[str, ...] | None = None
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, panel: Panel, season: int) -> Origins:
        """The features that `panel` can teach something by."""
        flags = tuple(name for name, column in _numeric(panel) if np.isin(column, (0.0, 1.0)).all() and column.any())
        return cls(season, learnable_fields(panel), flags)

    @property
    def windows(self) -> tuple[int, ...]:
        """Lengths of the windows that statistics are taken over, ascending."""
        m = self.season
        parts = (m / 2, m, 2 * m, 4 * m, 8 * m) if m < _LONG else (m / 13, m / 6, m / 4, m / 2, m)
        return tuple(sorted({max(round(part), 3) for part in parts}))

    @property
    def level(self) -> tuple[Rolling, Rolling]:
        """Windows of the level that divides: the recent one, and a long one for items that have not sold lately."""
        m = self.season
        window = max(12, 4 * m if m <= 8 else 2 * m if m < _LONG else m // 2)
        return Rolling("mean", window), Rolling("mean", 8 * window)

    @property
    def recent(self) -> tuple[Lagged, ...]:
        middle = self.windows[len(self.windows) // 2]
        spread = (Rolling("std", middle), Rolling("quantile", middle), Rolling("max", middle))
        halflife = self.season / 2 if self.season < _LONG else self.season / 13
        means = (Rolling("mean", window) for window in self.windows)
        return (Lag(1), Lag(2), Lag(3), *means, *spread, Ewm(max(2.0, halflife)))

    @property
    def seasonal(self) -> tuple[Lagged, ...]:
        """Read a season before the target, or as many seasons as keep them behind the origin."""
        m = self.season
        if m < 2:
            return ()
        if m >= _LONG:  # few such seasons are known, so neighbours stand in
            return Lag(m), Lag(2 * m), Rolling("mean", 3, shift=m - 1)
        same = (Rolling("mean", 4, shift=m, every=m), Rolling("mean", 8, shift=m, every=m))
        return Lag(m), Lag(2 * m), Lag(3 * m), *same

    @property
    def reach(self) -> int:
        """Periods of history that the features read."""
        seasonal = max((f.reach for f in self.seasonal), default=0) + self.season
        return max(seasonal, self.level[1].reach, *(f.reach for f in self.recent))

    def design(self, panel: Panel, rows: Ints, steps: Ints, *, values: Floats | None = None) -> Design:
        """Features of the targets `rows` [B] of the panel, each `steps` [B] periods after its origin.

        The origin is the last period whose value may be read, and stands inside the series or right before it. Given
        `values` [R] are read in place of the panel's: for a forecast, whose rows are few.
        """
        ahead = values is not None
        values = observed_values(panel) if values is None else values
        return Design.of(_Sight(panel, values, rows, steps, ahead), self)


@dataclass(frozen=True, eq=False)
class Design:
    """X: [B, F] · level: [B] units of demand, 0 where nothing was sold · names: F · categorical: columns of
    codes, with how many there are.
    """

    X: Floats
    level: Floats
    names: tuple[str, ...]
    categorical: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, sight: _Sight, spec: Origins) -> Design:
        level = _level(sight, spec)
        parts = [*_own(sight, spec, level), *_dates(sight, spec), *_known(sight, spec), *_rest(sight, spec)]
        names = tuple(name for name, _ in parts)
        X = np.empty((len(sight.rows), len(parts)), order="F")
        for k, (_, column) in enumerate(parts):
            X[:, k] = column
        codes = _codes(sight.panel)
        return cls(X, level, names, {k: codes[name] for k, name in enumerate(names) if name in codes})

    @property
    def step(self) -> Floats:
        """Steps from the origin to each target, [B]."""
        return self.X[:, self.names.index("step")]

    def take(self, index: Ints) -> Design:
        """Only the targets at `index`."""
        return replace(self, X=self.X[index], level=self.level[index])

    def beside(self, name: str, column: Floats) -> Design:
        """With one more column."""
        return replace(self, X=np.concatenate([self.X, column[:, None]], axis=1), names=(*self.names, name))

    def onehot(self) -> Floats:
        """X with 0/1 columns in place of codes, behind the others; for learners that don't know categories."""
        plain = [k for k in range(len(self.names)) if k not in self.categorical]
        codes = [self.X[:, k, None] == np.arange(count) for k, count in self.categorical.items()]
        return np.concatenate([self.X[:, plain], *codes], axis=1)


@dataclass(frozen=True, eq=False)
class _Sight:
    """What is read when: `rows` [B] are the targets, `first` [B] the period after the origin of each."""

    panel: Panel
    values: Floats  # [R]
    rows: Ints
    steps: Ints
    ahead: bool  # a few rows at the end of each series, or most of the panel's?

    @cached_property
    def segments(self) -> Segments:
        return Segments(self.panel.offsets)

    @cached_property
    def series(self) -> Ints:
        return np.searchsorted(self.panel.offsets, self.rows, side="right") - 1

    @cached_property
    def first(self) -> Ints:
        return self.rows - self.steps + 1

    def at_origin(self, feature: Lagged, column: Floats | None = None) -> Floats:
        """A feature of `column` (None: the values) as it stood at the origin, [B]."""
        column = self.values if column is None else column
        if not self.ahead:
            return feature.apply(column, self.segments)[self.first]
        once, back = self._origins
        return feature.read(column, self.segments, once)[back]

    @cached_property
    def _origins(self) -> tuple[Ints, Ints]:
        """Each origin once, for all of its targets."""
        once, back = np.unique(self.first, return_inverse=True)
        return once, back

    def at_season(self, feature: Lagged, season: int) -> Floats:
        """A feature at the period of the target's season that begins after the origin, [B]."""
        # Of a long season the period after the target's place is read too, so they turn back one earlier.
        late = int(season >= _LONG)
        rows = self.rows - (self.steps - 1 + late) // season * season
        return self.at(feature, self.values, rows)

    def at(self, feature: Lagged, column: Floats, rows: Ints) -> Floats:
        """A feature of `column` at `rows` [B]."""
        return feature.read(column, self.segments, rows) if self.ahead else feature.apply(column, self.segments)[rows]


def _level(sight: _Sight, spec: Origins) -> Floats:
    """The mean of absolute values, not below a tenth of the longer mean, [B]."""
    sizes = np.abs(sight.values)
    recent, long = (np.nan_to_num(sight.at_origin(feature, sizes)) for feature in spec.level)
    return np.maximum(recent, 0.1 * long)


def _own(sight: _Sight, spec: Origins, level: Floats) -> Iterator[Column]:
    size = np.where(level > 0, level, 1.0)
    for feature in spec.recent:
        yield feature.name, sight.at_origin(feature) / size
    for feature in spec.seasonal:
        yield f"season:{feature.name}", sight.at_season(feature, spec.season) / size
    zeros = np.where(np.isnan(sight.values), np.nan, sight.values == 0)
    yield "zeros", sight.at_origin(Rolling("mean", spec.windows[-2 if len(spec.windows) > 1 else -1]), zeros)
    yield "level", np.log(size)
    yield "step", sight.steps.astype(float)
    for name, uplift in _uplift(sight, spec):
        yield name, uplift / size


def _uplift(sight: _Sight, spec: Origins) -> Iterator[Column]:
    """For a known flag: the mean of the periods when it stood as it will at the target."""
    window = Rolling("mean", spec.windows[-1])
    for name, column in _numeric(sight.panel):
        if name in spec.flags:
            on = sight.at_origin(window, np.where(column > 0, sight.values, np.nan))
            off = sight.at_origin(window, np.where(column > 0, np.nan, sight.values))
            yield f"with:{name}", np.where(column[sight.rows] > 0, on, off)


def _numeric(panel: Panel) -> Iterator[Column]:
    for name, column in zip(panel.known.names, panel.known_filled.T, strict=True):
        if name not in panel.known.categories:
            yield name, np.ascontiguousarray(column)


def _dates(sight: _Sight, spec: Origins) -> Iterator[Column]:
    calendar = Calendar(spec.fields)
    period = sight.panel.starts[sight.series] + sight.rows - sight.panel.offsets[sight.series]
    block = calendar.apply(period, sight.panel.calendar)
    yield from zip(calendar.names(sight.panel.calendar), block.T, strict=True)


def _known(sight: _Sight, spec: Origins) -> Iterator[Column]:
    """A known column at the target, and against what it was lately and a season ago."""
    panel = sight.panel
    for name in panel.known.categories:
        yield f"known:{name}", panel.known.values[sight.rows, panel.known.names.index(name)]
    for name, column in _numeric(panel):
        now = column[sight.rows]
        yield f"known:{name}", now
        yield f"known:{name}:last", sight.at_origin(Lag(1), column)
        yield f"known:{name}:season", sight.at(Lag(spec.season), column, sight.rows)
        for window in (spec.windows[1 if len(spec.windows) > 1 else 0], spec.windows[-1]):
            mean = sight.at_origin(Rolling("mean", window), column)
            yield f"known:{name}:mean_{window}", mean
            yield f"known:{name}:change_{window}", now - mean


def _rest(sight: _Sight, spec: Origins) -> Iterator[Column]:
    """Past covariates as they stood at the origin, and what never changes of a series."""
    panel = sight.panel
    for name, column in zip(panel.past.names, panel.past.values.T, strict=True):
        yield f"past:{name}", sight.at_origin(Lag(1), column)
        if name not in panel.past.categories:
            yield f"past:{name}:mean", sight.at_origin(Rolling("mean", spec.windows[0]), column)
    for name, column in zip(panel.static.names, panel.static.values.T, strict=True):
        yield f"static:{name}", column[sight.series]


def _codes(panel: Panel) -> dict[str, int]:
    """Names of the columns that hold codes, with the number of categories."""
    roles = {"known": panel.known, "past": panel.past, "static": panel.static}
    return {f"{role}:{name}": len(texts) for role, block in roles.items() for name, texts in block.categories.items()}


def learnable_fields(panel: Panel) -> tuple[str, ...]:
    """Calendar fields whose effect a panel can show: those of the year only after two years of it.

    With less, a month happened once, and a learner takes that month's events for the month.
    """
    names = Calendar().names(panel.calendar)
    spans = panel.calendar.times(np.array([panel.starts.min(), panel.ends.max()])).astype(np.int64)
    yearly: set[str] = set()
    if spans[1] - spans[0] < 2 * _YEAR:
        yearly = {"day_of_year", "week", "month", "quarter", "days_in_month"}
    elif _finest(panel.calendar):
        # One field of the year is enough; several invite splits on single dates.
        yearly = {"day_of_year", "month", "quarter", "days_in_month", "day_of_month"}
    return tuple(name for name in names if name not in yearly)


def _finest(calendar: Frequency) -> bool:
    return calendar.step is not None and calendar.step >= 7 * DAY


class Path:
    """The periods ahead of a history, forecast a block at a time; later blocks read what earlier ones wrote."""

    def __init__(self, history: Panel, horizon: int, block: int, future: Floats | None) -> None:
        self.block, self.count = block, -(-horizon // block)
        total = self.count * block
        if future is not None and total > horizon:
            blank = np.full((len(history), total - horizon, future.shape[2]), np.nan)
            future = np.concatenate([future, blank], axis=1)  # [N, count x block, K]
        self.panel = lengthened(history, total, future)
        self.values = observed_values(self.panel).copy()
        self.rows = (self.panel.offsets[1:] - total)[:, None] + np.arange(total)  # [N, count x block]

    def blocks(self, origins: Origins) -> Iterator[tuple[int, Design]]:
        """The first step of each block counted from 0, and the features of its N x B targets."""
        steps = np.tile(np.arange(1, self.block + 1), len(self.panel))
        for start in range(0, self.count * self.block, self.block):
            yield start, origins.design(self.panel, self.read_rows(start).ravel(), steps, values=self.values)

    def read_rows(self, start: int) -> Ints:
        return self.rows[:, start : start + self.block]  # [N, B]

    def read(self, start: int) -> Floats:
        return self.values[self.read_rows(start)]

    def write(self, start: int, mean: Floats) -> None:
        self.values[self.read_rows(start)] = mean

    def shaped(self, numbers: Floats) -> Floats:
        return numbers.reshape(len(self.panel), self.block)


@dataclass(frozen=True, eq=False)
class Examples:
    """What a learner learns from: features and y [B], in units of each one's level."""

    design: Design
    y: Floats

    @classmethod
    def drawn(cls, panel: Panel, origins: Origins, steps: int, *, most: int, seed: int) -> Examples:
        """Every observed target from an origin at most `steps` before it; from several where targets are few."""
        rng = np.random.default_rng(seed)
        position = Segments(panel.offsets).position
        rows = np.flatnonzero(panel.observed & (position > 0))
        if len(rows) > most:
            rows = np.sort(rng.choice(rows, most, replace=False))
        rows = np.repeat(rows, min(5, steps, max(1, _FEW // max(len(rows), 1))))
        ahead = rng.integers(1, np.minimum(steps, position[rows]) + 1)
        return cls.of(origins.design(panel, rows, ahead), panel.values[rows])

    @classmethod
    def of(cls, design: Design, y: Floats) -> Examples:
        """With the targets divided by the levels; an item that has not sold teaches nothing."""
        kept = np.flatnonzero((design.level > 0) & ~np.isnan(y))
        if not len(kept):
            return cls(design, np.zeros(len(y)))
        return cls(design.take(kept), y[kept] / design.level[kept])

    @classmethod
    def joined(cls, parts: list[Examples]) -> Examples:
        X, level = (np.concatenate([getattr(p.design, n) for p in parts]) for n in ("X", "level"))
        return cls(replace(parts[0].design, X=X, level=level), np.concatenate([p.y for p in parts]))
