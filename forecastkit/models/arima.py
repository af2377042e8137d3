"""`arima`: ARIMA of fixed order with known covariates, each series alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self, final

from forecastkit import sarimax
from forecastkit.data.panel import Floats
from forecastkit.forecaster import Trial
from forecastkit.local import LocalForecaster, Series


@final
@dataclass(frozen=True, kw_only=True)
class ARIMA(LocalForecaster):
    """Regression with ARIMA errors, exact maximum likelihood by statsmodels (see `forecastkit.sarimax`).

    For series without a season, or with one that the known covariates explain; else `sarima`. Quantiles are normal
    with the forecast's standard error, and not below 0 where demand never was. Gaps are what the Kalman filter makes
    of them. FPP3, chapters 9 and 10.

    order: (p, d, q), autoregressive terms, differences, moving average terms.
    trend: 'n' none, 'c' constant, 't' linear, 'ct' both, of the differenced series; None takes 'c' without
        differences, else 'n'.
    season: periods in a season, for the fallback only; None takes the panel's.

    >>> ARIMA(order=(0, 1, 1)).order
    (0, 1, 1)
    """

    name: ClassVar[str] = "arima"
    uses: ClassVar[frozenset[str]] = frozenset({"known", "available"})

    order: tuple[int, int, int] = (1, 1, 1)
    trend: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "order", sarimax.check_order("order", self.order))
        sarimax.check_trend(self.trend)

    @property
    def _design(self) -> sarimax.Design:
        trend = sarimax.usual_trend(self.order[1]) if self.trend is None else self.trend
        return sarimax.Design(self.order, (0, 0, 0), 1, trend, 0)

    def shortest(self, season: int) -> int:
        return self._design.shortest

    def estimate(self, one: Series) -> Floats:
        return sarimax.estimate(one, self._design)

    def extrapolate(
        self, one: Series, parameters: Floats, horizon: int, levels: tuple[float, ...]
    ) -> tuple[Floats, Floats]:
        mean, deviation = sarimax.extrapolate(one, self._design, parameters, horizon)
        return mean, one.quantiles(mean, deviation, levels)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
        yield cls(order=(2, 0, 0))

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        order = (trial.suggest_int("p", 0, 3), trial.suggest_int("d", 0, 1), trial.suggest_int("q", 0, 3))
        return cls(order=order)
