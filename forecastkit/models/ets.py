"""`ets`: exponential smoothing, its form chosen by AICc for each series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, final

import numpy as np
from scipy.special import ndtri
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError, FitError
from forecastkit.forecaster import Explanation, Trial
from forecastkit.local import LocalForecaster, Series, filled

_LONGEST = 400  # periods of a season that still gets a state of its own
_EVEN = 10  # highest over lowest value up to which the logarithm is tried
_MODES = ("auto", "always", "never")
_START = (0.2, 0.02, 0.1, 0.95)  # alpha, beta, gamma, phi where the search begins
_STARTS = tuple((a, a * b, g * (1 - a), 0.95) for a in (0.05, 0.3, 0.6, 0.9) for b, g in ((0.02, 0.05), (0.3, 0.4)))
_ROUNDS = 2  # of weights, then first states


@dataclass(frozen=True, eq=False)
class _Form:
    """One exponential smoothing model with additive parts, of demand or of its logarithm.

    season: its periods, 1 for none · scale: what demand is divided by · origin: number of the period that `first`
    stands before · weights: alpha, beta, gamma, phi · first: [S] level, slope if any, seasonal values by period number
    modulo the season.
    """

    log: bool
    trend: bool
    season: int
    scale: float
    origin: int
    weights: tuple[float, float, float, float] = _START
    sigma: float = 0.0
    first: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def seasonal(self) -> bool:
        return self.season > 1

    @property
    def states(self) -> int:
        return 1 + self.trend + self.season * self.seasonal

    @property
    def used(self) -> tuple[float, float, float, float]:
        """The weights with those of absent parts at 0."""
        alpha, beta, gamma, phi = self.weights
        return alpha, beta * self.trend, gamma * self.seasonal, phi * self.trend

    def pack(self) -> Floats:
        head = (self.log, self.trend, self.season, self.scale, self.origin, *self.weights, self.sigma)
        return np.concatenate([np.array(head, np.float64), self.first])

    @classmethod
    def unpack(cls, parameters: Floats) -> _Form:
        log, trend, season, scale, origin, *weights, sigma = parameters[:10].tolist()
        form = cls(bool(log), bool(trend), int(season), scale, int(origin), tuple(weights), sigma)
        return replace(form, first=parameters[10 : 10 + form.states])

    def scaled(self, y: Floats) -> Floats:
        return np.log(y / self.scale) if self.log else y / self.scale

    def parts(self, state: Any) -> tuple[Any, Any, list[Any]]:
        """Level, slope and seasonal values of a state, zeros for absent parts."""
        slope = state[1] if self.trend else 0.0 * state[0]
        return state[0], slope, list(state[1 + self.trend :]) if self.seasonal else [0.0 * state[0]]


@final
@dataclass(frozen=True, kw_only=True)
class ETS(LocalForecaster):
    """Exponential smoothing: level, damped trend and season, each with a weight for how fast it learns.

    Quick, hard to beat on many short series. On each series the form with the smallest AICc is taken out of: with and
    without season, with and without damped trend, of demand itself or, where all of it is positive, of its logarithm,
    which makes season and noise proportional to the level. Weights are maximum likelihood by statsmodels, first states
    least squares. Hyndman, Koehler, Ord & Snyder (2008), Forecasting with Exponential Smoothing, chapters 2, 3 and 6.

    Quantiles are normal (of the logarithm: log-normal) with the analytic spread of each step, and not below 0 where
    demand never was. A gap is stepped over by the states; for the search of the weights alone it is interpolated
    between the same places of the seasons around it.

    trend: 'auto' by AICc, 'always' a damped trend, or 'never'.
    seasonal: 'auto' by AICc where there are two seasons of history, 'always' there, or 'never'. A season of more than
        400 periods has none.
    log: 'auto' by AICc where the highest value is at most 10 times the lowest, 'always' where all are positive, or
        'never'.
    season: periods in a season; None takes the panel's.

    >>> ETS(trend="never").seasonal
    'auto'
    """

    name: ClassVar[str] = "ets"

    trend: str = "auto"
    seasonal: str = "auto"
    log: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("trend", "seasonal", "log"):
            if getattr(self, option) not in _MODES:
                raise ConfigError(f"{option} must be one of {', '.join(_MODES)}, not {getattr(self, option)!r}")

    def shortest(self, season: int) -> int:
        return 6

    def estimate(self, one: Series) -> Floats:
        """The best of level forms first, then the best of those with and without a trend."""
        seen = one.y[~np.isnan(one.y)]
        seasons = _wanted(self.seasonal, one.season, 1, possible=self._season_fits(one, len(seen)))
        # Over more than an order of magnitude a wandering logarithm runs off within a season.
        even = self.log == "always" or seen.max() <= _EVEN * seen.min()
        logs = _wanted(self.log, True, False, possible=bool((seen > 0).all()) and even)
        first, *others = _wanted(self.trend, True, False, possible=len(seen) >= 10)[::-1]
        scale = float(np.abs(seen).mean())
        found = [_fitted(one, _Form(log, first, season, scale, one.start)) for log in logs for season in seasons]
        best = min(found, key=lambda pair: pair[0])
        found = [best, *(_fitted(one, replace(best[1], trend=trend)) for trend in others)]
        cost, form = min(found, key=lambda pair: pair[0])
        if not np.isfinite(cost):
            raise FitError("no form of exponential smoothing has a finite likelihood")
        return form.pack()

    def _season_fits(self, one: Series, seen: int) -> bool:
        return 1 < one.season <= _LONGEST and seen >= max(2 * one.season, one.season + 6)

    def extrapolate(
        self, one: Series, parameters: Floats, horizon: int, levels: tuple[float, ...]
    ) -> tuple[Floats, Floats]:
        form = _Form.unpack(parameters)
        mean, deviation = _ahead(one, form, horizon)
        if not form.log:
            mean, deviation = mean * form.scale, deviation * form.scale
            return mean, one.quantiles(mean, deviation, levels)
        spread = mean[:, None] + deviation[:, None] * ndtri(np.array(levels, np.float64))
        # Only the noise of one step lifts the mean over the median: the whole variance of a level that wanders would
        # double the forecast of a long horizon.
        return form.scale * np.exp(mean + form.sigma**2 / 2), form.scale * np.exp(spread)

    def explained(self, one: Series, parameters: Floats, horizon: int, known: Sequence[str]) -> Explanation:
        """The form that was chosen and its weights: near 1 a part follows the newest demand, near 0 it stays."""
        form = _Form.unpack(parameters)
        parts = ("level", *["damped trend"] * form.trend, *[f"season of {form.season}"] * form.seasonal)
        names, present = ("alpha", "beta", "gamma", "phi"), (True, form.trend, form.seasonal, form.trend)
        weights = {n: (w, float("nan")) for n, w, there in zip(names, form.weights, present, strict=True) if there}
        return Explanation(one.id, f"{', '.join(parts)}{' of the logarithm' * form.log}", weights)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
        yield cls(trend="never", log="never", season=7)

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        return cls(**{name: trial.suggest_categorical(name, _MODES) for name in ("trend", "seasonal", "log")})


def _wanted(mode: str, on: Any, off: Any, *, possible: bool) -> list[Any]:
    """The values to try, `on` first."""
    if not possible or mode == "never":
        return [off]
    return [on] if mode == "always" else [on, off]


def _fitted(one: Series, form: _Form) -> tuple[float, _Form]:
    """AICc and the form with its weights and first states: in turn the one given the other."""
    values = form.scaled(one.y)
    whole = filled(values, form.season)
    form, errors = _first_states(form, values)
    for _ in range(_ROUNDS):
        form = replace(form, weights=_weights(whole, form))
        form, errors = _first_states(form, values)
    jacobian = float(np.nansum(values)) if form.log else 0.0  # for the likelihood of demand, not of its logarithm
    n, k = len(errors), form.states + 1 + form.trend * 2 + form.seasonal + 1
    variance = max(float(np.mean(errors**2)), 1e-24)
    cost = n * (np.log(2 * np.pi * variance) + 1) + 2 * jacobian + 2 * k + 2 * k * (k + 1) / max(n - k - 1, 1e-3)
    sigma = float(np.sqrt(variance * n / max(n - 1 - 2 * form.trend - form.seasonal, 1)))
    return (float(cost) if np.isfinite(cost) else np.inf), replace(form, sigma=sigma)


def _weights(whole: Floats, form: _Form) -> tuple[float, float, float, float]:
    """Maximum likelihood weights by statsmodels, given the first states."""
    level, slope, seasons = form.parts(form.first)
    known = {"initial_level": level, "initialization_method": "known"}
    if form.trend:
        known |= {"trend": "add", "damped_trend": True, "initial_trend": slope}
    if form.seasonal:
        turned = np.roll(seasons, -(form.origin % form.season))  # of the first period first
        known |= {"seasonal": "add", "seasonal_periods": form.season, "initial_seasonal": turned}
    model = ETSModel(whole, error="add", **known)
    present = [True, form.trend, form.seasonal, form.trend]
    # The likelihood has a hill at slow learning and often another at fast: the search begins on the higher.
    starts = [np.array(weights)[present] for weights in (form.weights, *_STARTS)]
    start = max(starts, key=model.loglike)
    weights = np.array(form.weights)
    weights[present] = model.fit(start_params=start, disp=0, return_params=True)
    alpha, beta, gamma, phi = weights.tolist()
    return alpha, beta, gamma, phi


def _first_states(form: _Form, values: Floats) -> tuple[_Form, Floats]:
    """The least squares first states given the weights, and the one-step errors [T'] that remain.

    The errors are linear in the first states: one pass of the recursion over unit vectors tells how.
    """
    columns = np.zeros((form.states, 1 + form.states))
    columns[:, 1:] = np.eye(form.states)
    rows = np.zeros((len(values), 1 + form.states))
    rows[:, 0] = values
    seen = ~np.isnan(values)
    errors, *_ = _smoothed(rows, seen, form, form.parts(columns))
    effect = np.array(errors)  # [T', 1 + S]
    first = np.linalg.lstsq(effect[:, 1:], -effect[:, 0], rcond=1e-10)[0]
    return replace(form, first=first), effect[:, 0] + effect[:, 1:] @ first


def _smoothed(
    values: Sequence[Any] | Floats, seen: Any, form: _Form, parts: tuple[Any, Any, list[Any]]
) -> tuple[list[Any], Any, Any, list[Any]]:
    """One-step errors of the observed values, and level, slope and seasonal values after the last.

    The error correction form of additive smoothing (Hyndman et al. 2008, table 2.2); a value and a state may be numbers
    or vectors of them.
    """
    alpha, beta, gamma, phi = form.used
    (level, slope, seasons), errors, period = parts, [], form.season
    place = form.origin % period
    for value, there in zip(values, seen, strict=True):
        slope = phi * slope
        level = level + slope
        if there:
            error = value - level - seasons[place]
            errors.append(error)
            level = level + alpha * error
            slope = slope + beta * error
            seasons[place] = seasons[place] + gamma * error
        place = place + 1 if place + 1 < period else 0
    return errors, level, slope, seasons


def _ahead(one: Series, form: _Form, horizon: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each step ahead on the form's own scale, [H], [H].

    The variance is sigma^2 (1 + sum of c_j^2) with c_j what an error does j steps later (Hyndman et al. 2008, eq. 6.1).
    """
    values = form.scaled(one.y[max(0, form.origin - one.start) :])
    late = replace(form, origin=max(form.origin, one.start))  # a history that begins later takes up the same season
    seen = ~np.isnan(values)
    _, level, slope, seasons = _smoothed(values.tolist(), seen.tolist(), late, form.parts(form.first.tolist()))
    alpha, beta, gamma, phi = form.used
    damped = np.cumsum(phi ** np.arange(1, horizon + 1))  # [H]
    mean = level + damped * slope + np.array(seasons)[one.steps(horizon) % form.season]
    steps = np.arange(1, horizon)
    later = alpha + beta * damped[:-1] + gamma * (steps % form.season == 0)
    return mean, form.sigma * np.sqrt(np.cumsum(np.concatenate([[1.0], later**2])))
