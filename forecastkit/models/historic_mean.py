"""`historic_mean`: the mean of everything seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from forecastkit import baseline
from forecastkit.data.panel import Floats, Panel
from forecastkit.forecaster import Fitted, Forecaster


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class HistoricMeanFitted(Fitted):
    """The history is all there is."""

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        y, offsets = baseline.demand(self.history), self.history.offsets
        values, seen = baseline.compact(y, offsets)
        count = np.diff(seen)  # [N]
        owner = np.repeat(np.arange(len(count)), count)
        # Taken about the last value, so that a constant comes out to the last digit at any scale.
        centre = baseline.last_value(y, offsets)
        level = centre + np.bincount(owner, values - centre[owner], minlength=len(count)) / np.maximum(count, 1)
        sigma = baseline.root_mean_square(values - level[owner], seen)
        sigma = sigma * np.sqrt(count / np.maximum(count - 1, 1)) * np.sqrt(1 + 1 / np.maximum(count, 1))
        mean = np.repeat(level[:, None], horizon, axis=1)  # [N, H]
        deviation = np.repeat(sigma[:, None], horizon, axis=1)
        return mean, baseline.normal_quantiles(mean, deviation, levels, baseline.lowest(y, offsets))


@final
@dataclass(frozen=True, kw_only=True)
class HistoricMean(Forecaster):
    """Every step is the mean of all observed values: what noise around a level asks for, and hard to beat on it.

    Quantiles are normal with sigma * sqrt(1 + 1/T) at every step (FPP3, table 5.2), and not below 0 where demand
    never was. Gaps are left out.

    >>> HistoricMean()
    HistoricMean()
    """

    name: ClassVar[str] = "historic_mean"
    fitted_type: ClassVar[type[Fitted]] = HistoricMeanFitted
    uses: ClassVar[frozenset[str]] = frozenset({"available"})

    def _fit(self, train: Panel, horizon: int) -> HistoricMeanFitted:
        return HistoricMeanFitted(recipe=self, history=train, failures=baseline.unseen(train))

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
