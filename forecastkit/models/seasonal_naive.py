"""`seasonal_naive`: as a season ago. The baseline that every other model has to beat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self, final

from forecastkit import baseline
from forecastkit.data.panel import Floats, Panel
from forecastkit.forecaster import Fitted, Forecaster


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class SeasonalNaiveFitted(Fitted):
    """The history is all there is."""

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        season = self.recipe.season or self.history.season
        return baseline.seasonal_naive(baseline.demand(self.history), self.history.offsets, season, horizon, levels)


@final
@dataclass(frozen=True, kw_only=True)
class SeasonalNaive(Forecaster):
    """Every step is the value of the same place in the last season: of the same weekday, hour or month.

    Quantiles are normal with sigma * sqrt(k + 1), k full seasons before the step, sigma from the changes over a season
    (FPP3, sections 5.2 and 5.5), and not below 0 where demand never was. A gap in the last season takes the season
    before; a place of the season never seen, as in a series shorter than one, takes the last value.

    season: periods in a season; None takes the panel's.

    >>> SeasonalNaive(season=7).season
    7
    """

    name: ClassVar[str] = "seasonal_naive"
    fitted_type: ClassVar[type[Fitted]] = SeasonalNaiveFitted
    uses: ClassVar[frozenset[str]] = frozenset({"available"})

    season: int | None = None

    def __post_init__(self) -> None:
        baseline.check_season(self.season)

    def _fit(self, train: Panel, horizon: int) -> SeasonalNaiveFitted:
        return SeasonalNaiveFitted(recipe=self, history=train, failures=baseline.unseen(train))

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
        yield cls(season=7)
