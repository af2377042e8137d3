"""`naive`: tomorrow is as today."""

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
class NaiveFitted(Fitted):
    """The history is all there is."""

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        y, offsets = baseline.demand(self.history), self.history.offsets
        mean = np.repeat(baseline.last_value(y, offsets)[:, None], horizon, axis=1)  # [N, H]
        deviation = baseline.spread(y, offsets, 1)[:, None] * np.sqrt(np.arange(1, horizon + 1))
        return mean, baseline.normal_quantiles(mean, deviation, levels, baseline.lowest(y, offsets))


@final
@dataclass(frozen=True, kw_only=True)
class Naive(Forecaster):
    """Every step is the last observed value. The best there is for a random walk, and the floor for everything else.

    Quantiles are normal with sigma * sqrt(h), sigma from the one-step changes (FPP3, sections 5.2 and 5.5), and not
    below 0 where demand never was. A gap at the end takes the last value seen.

    >>> Naive()
    Naive()
    """

    name: ClassVar[str] = "naive"
    fitted_type: ClassVar[type[Fitted]] = NaiveFitted
    uses: ClassVar[frozenset[str]] = frozenset({"available"})

    def _fit(self, train: Panel, horizon: int) -> NaiveFitted:
        return NaiveFitted(recipe=self, history=train, failures=baseline.unseen(train))

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
