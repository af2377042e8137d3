"""`auto_arima`: ARIMA whose orders are chosen for each series, whole panels at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self, final

import numpy as np

from forecastkit.arima import boxcox, differences, search
from forecastkit.arima import estimation as est
from forecastkit.arima import panel as core
from forecastkit.arima.forecaster import LONGEST, ArimaForecaster
from forecastkit.arima.orders import LARGEST
from forecastkit.arima.panel import Demand
from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError
from forecastkit.forecaster import Trial

_CRITERIA = {"aicc": search.AICC, "aic": search.AIC, "bic": search.BIC}
_TESTS = {"strength": differences.STRENGTH, "ocsb": differences.OCSB}
_PAIRS = 6  # Fourier terms that are tried for a long season


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the search may choose from.

    max_p, max_q, max_P, max_Q: terms of each polynomial, at most 5 · max_d, max_D: differences that the tests may ask
    for · d, D: differences, where they are not to be tested for · max_order: of p + q + P + Q, when not stepwise.
    """

    max_p: int = 5
    max_q: int = 5
    max_P: int = 2
    max_Q: int = 2
    max_d: int = 2
    max_D: int = 1
    d: int | None = None
    D: int | None = None
    max_order: int = 5

    def __post_init__(self) -> None:
        most = {"max_p": LARGEST, "max_q": LARGEST, "max_P": LARGEST, "max_Q": LARGEST, "max_d": 2, "max_D": 1}
        for name, highest in (most | {"d": 2, "D": 1, "max_order": 4 * LARGEST}).items():
            value = getattr(self, name)
            if value is not None and not 0 <= value <= highest:
                raise ConfigError(f"bounds.{name} must lie between 0 and {highest}, not {value}")


@final
@dataclass(frozen=True, kw_only=True)
class AutoARIMA(ArimaForecaster):
    """The ARIMA with the best information criterion, found for each series: the classical automatic forecaster.

    Differences come from tests (KPSS for the level; strength of the season by STL, or OCSB), the rest from the stepwise
    search of Hyndman & Khandakar (2008), every candidate by exact maximum likelihood (docs/arima.md). Known covariates
    are regressors of every candidate. Quantiles are normal with the forecast's standard error, on the scale of the
    transform if there is one, and not below 0 where demand never was. Missing values are integrated out.

    bounds: what may be chosen. criterion: 'aicc', 'aic' or 'bic'. stepwise: False tries all models with at most
    `bounds.max_order` terms. seasonal_test: 'strength' (of the season, by STL) or 'ocsb'. fourier: most pairs of sine
    and cosine that may stand for the season, chosen by AICc; 0 for seasonal lags, None takes
        up to 6 for seasons of more than 24 periods. Then there are no seasonal lags, whatever the bounds.
    boxcox: lambda of a Box-Cox transform, 'auto' by Guerrero's method, or none. The way back is corrected for bias.
    season: periods in a season; None takes the panel's.

    >>> AutoARIMA(criterion="bic", bounds=Bounds(max_p=3)).bounds.max_p
    3
    """

    name: ClassVar[str] = "auto_arima"

    bounds: Bounds = field(default_factory=Bounds)
    criterion: Literal["aicc", "aic", "bic"] = "aicc"
    stepwise: bool = True
    seasonal_test: Literal["strength", "ocsb"] = "strength"
    fourier: int | None = None
    boxcox: float | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.criterion not in _CRITERIA:
            raise ConfigError(f"criterion must be one of {', '.join(_CRITERIA)}, not {self.criterion!r}")
        if self.seasonal_test not in _TESTS:
            raise ConfigError(f"seasonal_test must be one of {', '.join(_TESTS)}, not {self.seasonal_test!r}")
        if self.fourier is not None and self.fourier < 0:
            raise ConfigError(f"fourier must be at least 0 pairs, or none for automatic, not {self.fourier}")
        if isinstance(self.boxcox, str) and self.boxcox != "auto":
            raise ConfigError(f"boxcox must be a number, 'auto' or none, not {self.boxcox!r}")
        if isinstance(self.boxcox, (int, float)) and not boxcox.LOW <= self.boxcox <= boxcox.HIGH:
            raise ConfigError(f"boxcox must lie between {boxcox.LOW:g} and {boxcox.HIGH:g}, not {self.boxcox:g}")

    def limits(self, season: int, known: int) -> search.Limits:
        """The bounds as the compiled search takes them."""
        b = self.bounds
        pairs = (_PAIRS if season > LONGEST else 0) if self.fourier is None else self.fourier
        pairs = min(pairs, (season - 1) // 2)
        lags = season > 1 and not pairs
        return search.Limits(
            p=b.max_p,
            q=b.max_q,
            P=b.max_P if lags else 0,
            Q=b.max_Q if lags else 0,
            d=-1 if b.d is None else b.d,
            D=(-1 if b.D is None else b.D) if lags else 0,
            m=season if lags else 1,
            most_d=b.max_d,
            most_D=b.max_D if lags else 0,
            total=b.max_order,
            stepwise=self.stepwise,
            constant=True,
            criterion=_CRITERIA[self.criterion],
            test=_TESTS[self.seasonal_test],
            pairs=pairs,
            known=known,
        )

    def rows(self, demand: Demand, warm: Floats | None) -> Floats:
        powers = self._powers(demand)
        curved = demand if powers is None else core.curved(demand, powers)
        rows = core.search(curved, self.limits(demand.season, demand.known.shape[1]), warm)
        if powers is not None:
            rows[:, est.LAMBDA] = powers
        return rows

    def _powers(self, demand: Demand) -> Floats | None:
        """Lambda of each series, [N]; None without a transform."""
        if self.boxcox is None:
            return None
        if self.boxcox == "auto":
            found: Floats = boxcox.guerrero(np.array(demand.values), np.array(demand.offsets), demand.season)
            return found
        return boxcox.usable(float(self.boxcox), demand.values, demand.offsets)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
        yield cls(stepwise=False, bounds=Bounds(max_p=1, max_q=1, max_P=1, max_Q=1), seasonal_test="ocsb")
        yield cls(fourier=2, boxcox="auto", criterion="bic")

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        return cls(
            criterion=trial.suggest_categorical("criterion", tuple(_CRITERIA)),
            seasonal_test=trial.suggest_categorical("seasonal_test", tuple(_TESTS)),
            fourier=trial.suggest_categorical("fourier", (None, 0, 2, 4)),
            boxcox=trial.suggest_categorical("boxcox", (None, "auto")),
        )
