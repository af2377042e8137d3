"""`arima`: ARIMA of fixed order with known covariates, whole panels at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self, final

from forecastkit import sarimax
from forecastkit.arima.forecaster import FixedOrder
from forecastkit.forecaster import Trial


@final
@dataclass(frozen=True, kw_only=True)
class ARIMA(FixedOrder):
    """Regression with ARIMA errors, exact maximum likelihood over the whole panel at once (docs/arima.md).

    For series without a season, or with one that the known covariates explain; else `sarima`, or `auto_arima` to have
    the orders chosen. Quantiles are normal with the forecast's standard error, and not below 0 where demand never was.
    Missing values are integrated out. FPP3, chapters 9 and 10.

    order: (p, d, q), autoregressive terms, differences, moving average terms.
    trend: 'n' none, 'c' constant, 't' linear, 'ct' both, of the differenced series; None takes 'c' without
        differences, else 'n'.
    engine: 'compiled', or 'statsmodels' for that library one series at a time.
    season: periods in a season, for the fallback only; None takes the panel's.

    >>> ARIMA(order=(0, 1, 1)).order
    (0, 1, 1)
    """

    name: ClassVar[str] = "arima"

    order: tuple[int, int, int] = (1, 1, 1)
    trend: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "order", sarimax.check_order("order", self.order))
        sarimax.check_trend(self.trend)

    def design(self, season: int) -> sarimax.Design:
        trend = sarimax.usual_trend(self.order[1]) if self.trend is None else self.trend
        return sarimax.Design(self.order, (0, 0, 0), 1, trend, 0)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
        yield cls(order=(2, 0, 0))
        yield cls(engine="statsmodels")

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        p, d, q = (trial.suggest_int(f"order.{k}", 0, most) for k, most in enumerate((3, 1, 3)))
        return cls(order=(p, d, q), trend=trial.suggest_categorical("trend", (None, "n", "c")))
