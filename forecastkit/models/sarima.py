"""`sarima`: seasonal ARIMA of fixed order with known covariates, whole panels at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self, final

from forecastkit import sarimax
from forecastkit.arima.forecaster import LONGEST, PAIRS, FixedOrder
from forecastkit.errors import ConfigError
from forecastkit.forecaster import Trial

_USUAL = (0, 1, 1)
_SEASONAL = ("000", "100", "001", "101", "010", "110", "011", "111")  # orders that a tuner tries, digit by digit


@final
@dataclass(frozen=True, kw_only=True)
class SARIMA(FixedOrder):
    """Regression with seasonal ARIMA errors, exact maximum likelihood over the whole panel at once (docs/arima.md).

    The classical model of demand with a season; `auto_arima` chooses the orders itself. Quantiles are normal with the
    forecast's standard error, and not below 0 where demand never was. Missing values are integrated out. FPP3, chapters
    9 and 10.

    order: (p, d, q), autoregressive terms, differences, moving average terms.
    seasonal_order: (P, D, Q), the same at the distance of a season; None takes (0, 1, 1), or Fourier terms where the
        season has more than 24 periods.
    trend: 'n' none, 'c' constant, 't' linear, 'ct' both, of the differenced series; None takes 'c' without
        differences, else 'n'.
    fourier: pairs of sine and cosine that stand for the season instead of `seasonal_order`; 0 for none, None takes 2
        for seasons of more than 24 periods (weeks of a year) unless `seasonal_order` is given.
    engine: 'compiled', or 'statsmodels' for that library one series at a time.
    season: periods in a season; None takes the panel's.

    >>> SARIMA(seasonal_order=(1, 0, 1), season=12).order
    (1, 0, 1)
    """

    name: ClassVar[str] = "sarima"

    order: tuple[int, int, int] = (1, 0, 1)
    seasonal_order: tuple[int, int, int] | None = None
    trend: str | None = None
    fourier: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "order", sarimax.check_order("order", self.order))
        if self.seasonal_order is not None:
            object.__setattr__(self, "seasonal_order", sarimax.check_order("seasonal_order", self.seasonal_order))
        sarimax.check_trend(self.trend)
        if self.fourier is not None and self.fourier < 0:
            raise ConfigError(f"fourier must be at least 0 pairs, or none for automatic, not {self.fourier}")

    def design(self, season: int) -> sarimax.Design:
        waves = season > LONGEST and self.seasonal_order is None
        pairs = (PAIRS if waves else 0) if self.fourier is None else min(self.fourier, season // 2)
        seasonal = (0, 0, 0) if pairs or season == 1 else self.seasonal_order or _USUAL
        trend = sarimax.usual_trend(self.order[1] + seasonal[1]) if self.trend is None else self.trend
        return sarimax.Design(self.order, seasonal, season, trend, pairs)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
        yield cls(order=(0, 1, 1), seasonal_order=(1, 0, 0), season=7)
        yield cls(engine="statsmodels")

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        p, d, q = (trial.suggest_int(f"order.{k}", 0, most) for k, most in enumerate((2, 1, 2)))
        digits = trial.suggest_categorical("seasonal_order", (None, *_SEASONAL))
        fourier = trial.suggest_categorical("fourier", (None, 1, 2, 4))
        seasonal = None if digits is None or fourier else (int(digits[0]), int(digits[1]), int(digits[2]))
        return cls(order=(p, d, q), seasonal_order=seasonal, fourier=fourier)
