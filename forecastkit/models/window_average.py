"""`window_average`: the mean of the newest values, of all or of the same place in the season."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from forecastkit import baseline
from forecastkit.data.panel import Floats, Ints, Panel, ranges
from forecastkit.errors import ConfigError
from forecastkit.forecaster import Fitted, Forecaster, Trial


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class WindowAverageFitted(Fitted):
    """The history is all there is."""

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        y, offsets = baseline.demand(self.history), self.history.offsets
        season = self.recipe.season or self.history.season
        places = season if self.recipe.seasonal else 1
        window = self.recipe.window or (4 if self.recipe.seasonal else max(season, 4))
        level, sigma = _averages(*_by_place(y, offsets, places), window)  # [N * m]
        steps = np.arange(horizon) % places
        level, sigma = level.reshape(-1, places), sigma.reshape(-1, places)
        level = np.where(np.isnan(level), baseline.last_value(y, offsets)[:, None], level)
        mean, deviation = level[:, steps], sigma[:, steps]  # [N, H]
        return mean, baseline.normal_quantiles(mean, deviation, levels, baseline.lowest(y, offsets))


def _by_place(y: Floats, offsets: Ints, places: int) -> tuple[Floats, Ints]:
    """The observed values sorted by series and place in the season, and where each of the N * m groups begins."""
    lengths = np.diff(offsets)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    place = (ranges(np.zeros_like(lengths), lengths) - lengths[owner]) % places
    seen = ~np.isnan(y)
    group = (owner * places + place)[seen]
    order = np.argsort(group, kind="stable")
    count = np.bincount(group, minlength=len(lengths) * places)
    return y[seen][order], np.concatenate([[0], np.cumsum(count)])


def _averages(values: Floats, offsets: Ints, window: int) -> tuple[Floats, Floats]:
    """Mean of the last `window` values of each group, NaN for an empty one, and the spread of such means' errors.

    The spread is the root mean square of one-step errors: each value less the mean of up to `window` before it.
    """
    count = np.diff(offsets)
    owner = np.repeat(np.arange(len(count)), count)
    centre = np.append(values, np.nan)[np.where(count > 0, offsets[1:] - 1, len(values))]
    unit = np.zeros(len(count))
    np.maximum.at(unit, owner, np.abs(values - centre[owner]))
    unit[unit == 0] = 1.0
    # One sum runs through all groups, so each is first brought to numbers around 1: no scale drowns another.
    total = np.concatenate([[0.0], np.cumsum((values - centre[owner]) / unit[owner])])

    def mean_before(at: Ints, group: Ints) -> Floats:
        first = np.maximum(at - window, offsets[group])
        return unit[group] * (total[at] - total[first]) / np.maximum(at - first, 1) + centre[group]

    ends = np.concatenate([[0], np.cumsum(np.maximum(count - 1, 0))])
    later = ranges(offsets[:-1] + np.minimum(count, 1), np.maximum(count - 1, 0))
    sigma = baseline.root_mean_square(values[later] - mean_before(later, owner[later]), ends)
    return mean_before(offsets[1:], np.arange(len(count))), sigma


@final
@dataclass(frozen=True, kw_only=True)
class WindowAverage(Forecaster):
    """Every step is the mean of the last `window` observed values; with `seasonal`, at its place in the season.

    The moving average of stock-keeping systems. Demand is taken as a level with noise, so the normal quantiles have
    the spread of the one-step errors at every step; they are not below 0 where demand never was.

    window: values to average; None is one season and at least 4, or 4 seasons with `seasonal`.
    season: periods in a season; None takes the panel's.
    seasonal: average each weekday, hour or month apart.

    >>> WindowAverage(window=28).window
    28
    """

    name: ClassVar[str] = "window_average"
    fitted_type: ClassVar[type[Fitted]] = WindowAverageFitted
    uses: ClassVar[frozenset[str]] = frozenset({"available"})

    window: int | None = None
    season: int | None = None
    seasonal: bool = False

    def __post_init__(self) -> None:
        baseline.check_season(self.season)
        if self.window is not None and self.window < 1:
            raise ConfigError(f"window must be at least 1, not {self.window}")

    def _fit(self, train: Panel, horizon: int) -> WindowAverageFitted:
        return WindowAverageFitted(recipe=self, history=train, failures=baseline.unseen(train))

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
        yield cls(window=3, season=7, seasonal=True)

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        return cls(
            window=trial.suggest_categorical("window", (None, 2, 4, 7, 14, 28, 56)),
            seasonal=trial.suggest_categorical("seasonal", [False, True]),
        )
