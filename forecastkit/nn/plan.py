"""The sizes of a network, resolved once from a recipe and the panel that it is fitted on.

A `Plan` is plain JSON, is saved with the weights, and is all that is needed to lay out new data for the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forecastkit.data.calendar import DAY, Frequency
from forecastkit.data.panel import Covariates, Floats, Ints, Panel
from forecastkit.nn.distributions import DISTRIBUTIONS, Distribution

_WIDEST_PATCH = 24  # periods of a longer season are spread over several steps of the network
_LOOKBACK = 336  # periods that the automatic lookback aims at
_NEARLY = 0.95  # of a year, which a season is taken for one from
_GROWN = 1.75  # times as many windows as a network has learned from ask for a new one
_APART = 0.1  # share of a column's variance that may lie within periods where all series are said to share it


@dataclass(frozen=True)
class Block:
    """How the columns of a covariate role become numbers for the network; one entry a column, K.

    sizes: texts of a category, 0 for a number · logs: numbers taken as logarithms (prices) · centers, scales: of
    numbers · within: the spread of a number inside a series in units of `scales`, 0 where it only differs between
    series or is a flag; such a number is shown to the network relative to the window's usual value too · common: the
    same for nearly all series at a time, such as a holiday.
    """

    sizes: tuple[int, ...] = ()
    logs: tuple[bool, ...] = ()
    centers: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    within: tuple[float, ...] = ()
    common: tuple[bool, ...] = ()

    @classmethod
    def learned(cls, columns: Covariates, values: Floats, offsets: Ints, periods: Ints | None = None) -> Self:
        """From `values` [R, K], the columns' own filled, of series that begin at `offsets`.

        `periods` [R], from 0 on, are of those that change with time.
        """
        rows = [
            (
                *_column(columns, k, values[:, k], offsets),
                periods is not None and _common(columns.values[:, k], periods),
            )
            for k in range(len(columns))
        ]
        return cls(*(tuple(entry) for entry in zip(*rows, strict=True))) if rows else cls()

    @property
    def widths(self) -> list[int]:
        """Features of each column that the network sees."""
        return [size or 1 + (within > 0) for size, within in zip(self.sizes, self.within, strict=True)]

    @property
    def width(self) -> int:
        """Features that the network sees, F."""
        return sum(self.widths)

    def standardised(self, values: Floats) -> NDArray[np.float32]:
        """Raw columns [..., K] to standardised numbers and codes, -1 for an unknown or missing text; [..., K]."""
        out = np.empty(values.shape, np.float32)
        for k, size in enumerate(self.sizes):
            column = values[..., k]
            if size:
                out[..., k] = np.where(np.isnan(column), -1, column)
            else:
                column = np.log(np.maximum(column, np.exp(self.centers[k] - 10))) if self.logs[k] else column
                out[..., k] = np.nan_to_num((column - self.centers[k]) / self.scales[k])
        return out


def _column(columns: Covariates, k: int, column: Floats, offsets: Ints) -> tuple[int, bool, float, float, float]:
    if (texts := columns.categories.get(columns.names[k])) is not None:
        return len(texts), False, 0.0, 1.0, 0.0
    good = column[~np.isnan(column)]
    if not len(good):
        return 0, False, 0.0, 1.0, 0.0
    flag = bool(np.isin(good, (0, 1)).all())
    log = bool(good.min() > 0)
    column, good = (np.log(column), np.log(good)) if log else (column, good)
    center, scale = float(good.mean()), float(good.std())
    scale = scale if scale > 1e-9 * max(1.0, abs(center)) else 1.0
    return 0, log, center, scale, 0.0 if flag else _within(column, offsets) / scale


def _common(column: Floats, periods: Ints) -> bool:
    """Whether a column [R] is nearly the same in all series at a time: its variance within a period is next to nothing.

    Periods that one series alone has say nothing; where most rows are of such, nothing is common.
    """
    known = ~np.isnan(column)
    series = np.bincount(periods, weights=known)  # that have a value in each period
    shared = known & (series[periods] > 1)
    if 2 * shared.sum() <= len(column):
        return False
    values, at = column[shared] - column[shared].mean(), periods[shared]
    between = np.square(np.bincount(at, weights=values, minlength=len(series))) / np.maximum(series, 1)
    total = float(np.square(values).sum())
    return total - float(between.sum()) <= _APART * total


def _within(column: Floats, offsets: Ints) -> float:
    """Root mean square deviation of a column from its own mean in each series."""
    seen = ~np.isnan(column)
    filled = np.where(seen, column, 0.0)
    count = np.maximum(np.add.reduceat(seen, offsets[:-1], dtype=np.int64), 1)
    mean = np.add.reduceat(filled, offsets[:-1]) / count
    apart = np.where(seen, column - np.repeat(mean, np.diff(offsets)), 0.0)
    spread = float(np.sqrt((apart**2).sum() / max(seen.sum(), 1)))
    return spread if spread > 1e-9 * max(1.0, float(np.abs(mean).max())) else 0.0


@dataclass(frozen=True)
class Plan:
    """What a network is built for.

    horizon: periods that it is trained for, H · season: periods, m · lookback: periods of history that are read as a
    whole, L · patch: periods of one recurrent step · lags: seasonal distances beyond the lookback or above a season
    that each step looks back by · yearly: the history is long enough for the time of the year to mean something ·
    dated: the past is told apart by covariates that all series share as well · static: nothing where networks are as
    good without · usual: periods of a series of usual length, 1 where that was not kept · log: windows are scaled by
    their level and squeezed like a logarithm, else by their spread · head: quantiles, or the distribution that demand
    is thought to have · decoder: direct, or rolled from patch to patch.
    """

    horizon: int
    season: int
    lookback: int
    patch: int
    lags: tuple[int, ...]
    yearly: bool
    dated: bool = True
    usual: int = 1
    log: bool = False
    known: Block = field(default_factory=Block)
    past: Block = field(default_factory=Block)
    static: Block = field(default_factory=Block)
    head: str = "quantiles"
    decoder: str = "direct"

    @property
    def block(self) -> int:
        """Steps of the head."""
        return min(self.patch, self.horizon) if self.decoder == "rolled" else self.horizon

    @property
    def distribution(self) -> Distribution | None:
        """What demand is distributed like; None where the head gives quantiles."""
        return DISTRIBUTIONS.get(self.head)

    @property
    def whole(self) -> bool:
        """Whether demand is thought of as counts."""
        return self.distribution is not None and self.distribution.whole

    @property
    def told(self) -> list[int]:
        """The features of known covariates by which the network tells one period of the past from another.

        Those that all series share say which day of the history it is, and what came after it is learned by heart.
        """
        if self.dated:
            return list(range(self.known.width))
        return np.flatnonzero(~np.repeat(np.array(self.known.common, bool), self.known.widths)).tolist()

    @property
    def recall(self) -> int:
        """Periods of history in which times like those ahead are looked for, where covariates tell what is alike, R."""
        return max(self.lookback, 2 * self.season) if self.known.sizes else self.lookback

    @property
    def older(self) -> int:
        """Periods of `recall` that lie before the lookback."""
        return self.recall - self.lookback

    @property
    def context(self) -> int:
        """Periods of history that a forecast depends on."""
        return max((self.recall, *self.lags))

    def like(self, other: Plan) -> bool:
        """Whether a network of this plan still suits a panel that asks for the `other`, of a longer history perhaps.

        What was found out, and learned, from a much shorter one does not (decision 156).
        """
        static = other.static if self.static.sizes else self.static  # which the network may have been better without
        blocks = all(
            (a.sizes, a.logs, a.widths) == (b.sizes, b.logs, b.widths)
            for a, b in ((self.known, other.known), (self.past, other.past), (self.static, static))
        )
        told = self.told == replace(other, dated=self.dated).told
        before, now = (self._windows(plan.usual) for plan in (self, other))
        same = (self.horizon, self.season) == (other.horizon, other.season)
        return blocks and told and same and now < _GROWN * before

    def first(self, lengths: Ints) -> Ints:
        """Periods before the first window that is learned from in series of these `lengths` [N].

        Half of the lookback is enough: few periods may be wasted where a season is a year (decision 144).
        """
        return np.maximum(np.minimum(lengths, self.lookback) // 2, 1)

    def _windows(self, length: int) -> int:
        """How many windows a series of this length has to learn from; at least 1."""
        return max(length - self.horizon - int(self.first(np.array([length]))[0]) + 1, 1)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The way back from `dataclasses.asdict` and JSON."""
        blocks = {role: Block(**{k: tuple(v) for k, v in values[role].items()}) for role in ("known", "past", "static")}
        return cls(**{**values, **blocks, "lags": tuple(values["lags"])})


def resolve(train: Panel, horizon: int, season: int | None, lookback: int | None, patch: int | None) -> Plan:
    """The plan for a panel; None leaves a size to the panel.

    The season is the panel's where the longest series holds one and a half of it, else 1. Where it is a year, what all
    series share stands for the time of the year, and the past is dated by it. The lookback is about 336 periods, 2 to
    14 seasons, within six tenths of the median history (a single season where it is as long as a year of weeks). The
    patch is the season, or the largest divisor of a longer one up to 24. A week of hours and a year of days are looked
    up as lags where the median history holds one and a half of them.
    """
    longest, usual = int(train.lengths.max()), int(np.median(train.lengths))
    m = season or train.season
    m = m if longest >= 1.5 * m else 1
    # Where the horizon is most of the history windows begin in its middle all the same.
    lookback = lookback or _lookback(m, max(usual - horizon, usual // 2, 1))
    patch = min(patch or _patch(m), lookback)
    everywhere, year = np.arange(len(train) + 1), _year(train.calendar)
    periods = train.ordinals() - train.starts.min() if len(train.known) else None
    return Plan(
        horizon=horizon,
        season=m,
        lookback=lookback,
        patch=patch,
        lags=tuple(lag for lag in _long_seasons(train.calendar) if lag > m and usual >= 1.5 * lag),
        yearly=usual >= 1.9 * year,
        dated=m > _NEARLY * year,
        usual=usual,
        known=Block.learned(train.known, train.known_filled, train.offsets, periods),
        past=Block.learned(train.past, train.past_filled, train.offsets),
        static=Block.learned(train.static, train.static.values, everywhere),
    )


def _lookback(m: int, spare: int) -> int:
    seasons = min(max(_LOOKBACK // m, 2), 14 if m > 1 else 64)
    least = min(spare, 8) if m == 1 else 2 if m <= _WIDEST_PATCH else 1
    return m * max(min(seasons, int(0.6 * spare) // m), least)


def _patch(m: int) -> int:
    if m == 1:
        return 4
    return max(d for d in range(1, min(m, _WIDEST_PATCH) + 1) if m % d == 0)


def _year(calendar: Frequency) -> int:
    """Periods in a year; at least 1."""
    length = calendar.step
    if length is None:  # months, quarters, business days
        days = np.diff(calendar.times(np.array([100, 120])).astype(np.int64))[0] / DAY
        return max(round(20 * 365.25 / days), 1)
    return max(round(365.25 * DAY / length), 1)


def _long_seasons(calendar: Frequency) -> tuple[int, ...]:
    step = calendar.step
    if step is None:
        return ()
    if step < DAY:
        return () if 7 * DAY % step else (7 * DAY // step,)
    return (364 * DAY // step,) if 364 * DAY % step == 0 else ()
