"""`sarima`: seasonal ARIMA of fixed order with known covariates, each series alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self, final

from forecastkit import sarimax
from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError
from forecastkit.forecaster import Trial
from forecastkit.local import LocalForecaster, Series

_LONGEST = 24  # a longer season makes a state that takes seconds a series
_PAIRS = 2


@final
@dataclass(frozen=True, kw_only=True)
class SARIMA(LocalForecaster):
    """Regression with seasonal ARIMA errors, exact maximum likelihood by statsmodels (see `forecastkit.sarimax`).

    The classical model of demand with a season. Quantiles are normal with the forecast's standard error, and not below
    0 where demand never was. Gaps are what the Kalman filter makes of them. FPP3, chapters 9 and 10.

    order: (p, d, q), autoregressive terms, differences, moving average terms.
    seasonal_order: (P, D, Q), the same at the distance of a season.
    trend: 'n' none, 'c' constant, 't' linear, 'ct' both, of the differenced series; None takes 'c' without
        differences, else 'n'.
    fourier: pairs of sine and cosine that stand for the season instead of `seasonal_order`; 0 for none, None takes 2
        for seasons of more than 24 periods (weeks of a year), where the seasonal state would cost seconds a series.
    season: periods in a season; None takes the panel's.

    >>> SARIMA(order=(1, 0, 1), season=12).seasonal_order
    (0, 1, 1)
    """

    name: ClassVar[str] = "sarima"
    uses: ClassVar[frozenset[str]] = frozenset({"known", "available"})

    order: tuple[int, int, int] = (1, 0, 1)
    seasonal_order: tuple[int, int, int] = (0, 1, 1)
    trend: str | None = None
    fourier: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("order", "seasonal_order"):
            object.__setattr__(self, field, sarimax.check_order(field, getattr(self, field)))
        sarimax.check_trend(self.trend)
        if self.fourier is not None and self.fourier < 0:
            raise ConfigError(f"fourier must be at least 0 pairs, or none for automatic, not {self.fourier}")

    def _design(self, season: int) -> sarimax.Design:
        pairs = (_PAIRS if season > _LONGEST else 0) if self.fourier is None else min(self.fourier, season // 2)
        seasonal = (0, 0, 0) if pairs or season == 1 else self.seasonal_order
        trend = sarimax.usual_trend(self.order[1] + seasonal[1]) if self.trend is None else self.trend
        return sarimax.Design(self.order, seasonal, season, trend, pairs)

    def shortest(self, season: int) -> int:
        return self._design(season).shortest

    def estimate(self, one: Series) -> Floats:
        return sarimax.estimate(one, self._design(one.season))

    def extrapolate(
        self, one: Series, parameters: Floats, horizon: int, levels: tuple[float, ...]
    ) -> tuple[Floats, Floats]:
        mean, deviation = sarimax.extrapolate(one, self._design(one.season), parameters, horizon)
        return mean, one.quantiles(mean, deviation, levels)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
        yield cls(order=(0, 1, 1), seasonal_order=(1, 0, 0), season=7)

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        order = (trial.suggest_int("p", 0, 2), trial.suggest_int("d", 0, 1), trial.suggest_int("q", 0, 2))
        seasonal = (trial.suggest_int("P", 0, 1), trial.suggest_int("D", 0, 1), trial.suggest_int("Q", 0, 1))
        return cls(order=order, seasonal_order=seasonal)
