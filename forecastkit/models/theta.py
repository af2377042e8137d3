"""`theta`: half a trend line, half exponential smoothing; the method that won the M3 competition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np
from statsmodels.tsa.forecasting.theta import ThetaModel

from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError
from forecastkit.forecaster import Trial
from forecastkit.local import LocalForecaster, Series, filled

_HEAD = 7
_METHODS = ("auto", "additive", "multiplicative")


@dataclass(frozen=True, eq=False)
class _Lines:
    """What is estimated: demand over `scale` less (or over) the season's `places`, a slope, and a smoothing weight.

    places: [m] by period number modulo m, of length 1 where there is no season.
    """

    scale: float
    multiplied: bool
    alpha: float
    slope: float
    sigma: float
    origin: int
    places: Floats

    def pack(self) -> Floats:
        head = (self.scale, self.multiplied, self.alpha, self.slope, self.sigma, self.origin, len(self.places))
        return np.concatenate([np.array(head, np.float64), self.places])

    @classmethod
    def unpack(cls, parameters: Floats) -> _Lines:
        scale, multiplied, alpha, slope, sigma, origin, season = parameters[:_HEAD].tolist()
        places = parameters[_HEAD : _HEAD + int(season)]
        return cls(scale, bool(multiplied), alpha, slope, sigma, int(origin), places)

    def without_season(self, one: Series) -> Floats:
        season = self.places[(one.start + np.arange(len(one))) % len(self.places)]
        return one.y / self.scale / season if self.multiplied else one.y / self.scale - season


@final
@dataclass(frozen=True, kw_only=True)
class Theta(LocalForecaster):
    """The Theta method: the mean of a straight line through the history and of its smoothing, put back on the season.

    Few parameters, a cautious trend: strong on short monthly and quarterly series. The season is taken off first where
    its autocorrelation passes a 10 % test and two seasons are there. Assimakopoulos & Nikolopoulos (2000), in the form
    of Hyndman & Billah (2003), Unmasking the Theta method; estimated by statsmodels.

    Quantiles are normal with sigma * sqrt(1 + (h - 1) alpha^2), the spread of the exponential smoothing that Hyndman &
    Billah show Theta to be, and not below 0 where demand never was. A gap is stepped over; for the estimate it is
    interpolated between the same places of the seasons around it.

    theta: weight of the line against the smoothing, (theta - 1) / theta; at least 1, where the line has none.
    method: 'additive' or 'multiplicative' season; 'auto' is multiplicative where all demand is positive.
    season: periods in a season; None takes the panel's.

    >>> Theta().theta
    2.0
    """

    name: ClassVar[str] = "theta"

    theta: float = 2.0
    method: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.theta >= 1:
            raise ConfigError(f"theta must be at least 1, not {self.theta}")
        if self.method not in _METHODS:
            raise ConfigError(f"method must be one of {', '.join(_METHODS)}, not {self.method!r}")

    def shortest(self, season: int) -> int:
        return 6

    def estimate(self, one: Series) -> Floats:
        scale = float(np.nanmean(np.abs(one.y)))
        whole = filled(one.y / scale, one.season)
        positive = bool((whole > 0).all())
        seasonal = one.season > 1 and len(whole) >= 2 * one.season
        method = self.method if positive or self.method == "auto" else "additive"
        model = ThetaModel(whole, period=max(one.season, 2), deseasonalize=seasonal, method=method)
        found = model.fit()
        slope, alpha = (float(v) for v in found.params.to_numpy())
        places = _places(found, one) if seasonal else np.zeros(1)
        multiplied = seasonal and model.method.startswith("mul")
        lines = _Lines(scale, multiplied, alpha, slope, 0.0, one.start, places)
        errors = _smoothed(one, lines)[1] - self._line(lines, np.arange(1.0, len(one)))
        sigma = float(np.sqrt(np.nanmean(errors**2)))
        return _Lines(scale, multiplied, alpha, slope, sigma, one.start, places).pack()

    def _line(self, lines: _Lines, periods: Floats) -> Floats:
        """What the trend line adds to the next step's smoothing after so many `periods` of history."""
        alpha = max(lines.alpha, 1e-8)
        return (1 - 1 / self.theta) * lines.slope * -np.expm1(periods * np.log1p(-min(alpha, 1 - 1e-12))) / alpha

    def extrapolate(
        self, one: Series, parameters: Floats, horizon: int, levels: tuple[float, ...]
    ) -> tuple[Floats, Floats]:
        lines = _Lines.unpack(parameters)
        level, _ = _smoothed(one, lines)
        steps = np.arange(horizon)
        periods = np.array([one.start + len(one) - lines.origin], np.float64)
        mean = level + self._line(lines, periods) + (1 - 1 / self.theta) * lines.slope * steps
        deviation = lines.sigma * np.sqrt(1 + steps * lines.alpha**2)
        season = lines.places[one.steps(horizon) % len(lines.places)]
        mean = mean * season if lines.multiplied else mean + season
        deviation = deviation * np.abs(season) if lines.multiplied else deviation
        return lines.scale * mean, one.quantiles(lines.scale * mean, lines.scale * deviation, levels)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
        yield cls(theta=3.0, method="additive", season=7)

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        return cls(theta=trial.suggest_float("theta", 1.0, 4.0), method=trial.suggest_categorical("method", _METHODS))


def _places(found: object, one: Series) -> Floats:
    """Seasonal values by period number modulo the season, [m]."""
    ahead = found.forecast_components(one.season).seasonal.to_numpy()  # type: ignore[attr-defined]
    return np.roll(ahead, (one.start + len(one)) % one.season)


def _smoothed(one: Series, lines: _Lines) -> tuple[float, Floats]:
    """Simple exponential smoothing of the series without its season: the last level, and the errors [T - 1].

    It begins at the first observed value; a gap leaves the level as it is and has no error.
    """
    values = lines.without_season(one)
    level = float(values[np.argmax(~np.isnan(values))])
    errors = []
    for value in values.tolist()[1:]:
        error = value - level
        errors.append(error)
        if error == error:  # noqa: PLR0124 (a gap is not equal to itself)
            level += lines.alpha * error
    return level, np.array(errors)
