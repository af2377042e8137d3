"""Regression with seasonal ARIMA errors on one series by statsmodels: the second engine of `arima` and `sarima`.

The model is y = c + s (X b + n): X are the trend, Fourier terms and known covariates, n a SARIMA process without a
mean (Box, Jenkins, Reinsel & Ljung 2015, ch. 9; FPP3, section 10.1). Two things make it quick:

* The ARMA coefficients are estimated on the differenced series with the scale concentrated out of the likelihood, on a
  stationary state of half the size. Gaps can't be differenced; a series that has some is estimated as it stands.
* The regression is never part of the numerical search. Given the ARMA coefficients, b is generalised least squares on
  what the Kalman filter makes of y and of X alike; the two steps alternate, from ordinary least squares. Dozens of
  promotion and holiday columns then cost one filter run, and columns that are constant or depend on each other get
  the shortest solution instead of a singular one.

Forecasts filter the whole history with these parameters, so that adding observations needs nothing else: the
differenced series, whose forecasts and their joint covariance are summed up again, or with gaps the series as it
stands with an exact diffuse start (Durbin & Koopman 2012, ch. 5). Without gaps both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import numpy as np
from scipy.linalg import toeplitz

from forecastkit.data.panel import Floats, Ints
from forecastkit.errors import ConfigError, FitError
from forecastkit.local import LocalForecaster, Series

_ROUNDS = 2  # of coefficients, then regression; on food items a third moved a forecast by 1 % of its spread at most
_HEAD = 4  # centre, scale, sigma and origin stand before the coefficients
_LARGE = 20  # states from which the Chandrasekhar recursions beat the Kalman filter
_MAX_ITERATIONS = 50
_ROUNDING = 1e-9  # relative size below which numbers are what arithmetic leaves behind


@dataclass(frozen=True)
class Design:
    """The orders of one model. trend is 'n', 'c' (constant), 't' (linear) or 'ct'; it acts on the differenced series.

    fourier: pairs of sine and cosine with the period `season`.
    """

    order: tuple[int, int, int]
    seasonal: tuple[int, int, int]
    season: int
    trend: str
    fourier: int

    @property
    def coefficients(self) -> int:
        return self.order[0] + self.order[2] + self.seasonal[0] + self.seasonal[2]

    @property
    def lost(self) -> int:
        """Periods that differencing takes."""
        return self.order[1] + self.season * self.seasonal[1]

    @property
    def states(self) -> int:
        """Length of the state of the differenced form."""
        (p, _, q), (big_p, _, big_q) = self.order, self.seasonal
        return max(p + self.season * big_p, q + self.season * big_q + 1)

    @property
    def shortest(self) -> int:
        """Observed values that an estimate needs: two seasons where it has a seasonal part, and three a coefficient."""
        seasons = 2 * self.season if any(self.seasonal) else 0
        return max(self.lost + 3 * (self.coefficients + 1), seasons + self.order[1] + 1)


@final
@dataclass(frozen=True, kw_only=True)
class Reference(LocalForecaster):
    """`design` on each series alone, as a recipe of its own that `arima` and `sarima` hand their work to."""

    name: ClassVar[str] = "sarimax"
    uses: ClassVar[frozenset[str]] = frozenset({"known", "available"})

    design: Design

    def shortest(self, season: int) -> int:
        return self.design.shortest

    def estimate(self, one: Series) -> Floats:
        return estimate(one, self.design)

    def extrapolate(
        self, one: Series, parameters: Floats, horizon: int, levels: tuple[float, ...]
    ) -> tuple[Floats, Floats]:
        mean, deviation = extrapolate(one, self.design, parameters, horizon)
        return mean, one.quantiles(mean, deviation, levels)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls(design=Design((1, 1, 1), (0, 0, 0), 1, "n", 0))


def estimate(one: Series, design: Design) -> Floats:
    """Parameters [4 + coefficients + columns]: centre, scale, sigma, origin, ARMA coefficients, b.

    Raises `FitError` when the likelihood has no finite value, and numpy's and statsmodels' own errors.
    """
    seen = one.y[~np.isnan(one.y)]
    moves = difference(one.y, design)
    scale = _scale(moves[~np.isnan(moves)], seen)
    centre = float(seen[0]) if design.lost else float(seen.mean())
    z = (one.y - centre) / scale
    columns, means, spreads = _standardised(_columns(one, design, one.start, len(one)), design, len(one))
    b = _least_squares(moves / scale, difference(columns, design))
    coefficients: Floats | None = None
    for _ in range(_ROUNDS if b.any() else 1):
        coefficients = _coefficients(z - columns @ b, design, coefficients)
        b, sigma = _generalised(z, columns, design, coefficients)
    b = b / spreads
    head = np.array([centre - scale * float(means @ b), scale, sigma, float(one.start)])
    parameters = np.concatenate([head, coefficients, b])
    if not np.isfinite(parameters).all():
        raise FitError("the likelihood has no finite value")
    return parameters


def _standardised(columns: Floats, design: Design, periods: int) -> tuple[Floats, Floats, Floats]:
    """The regressors with the covariates in their own spread about their mean; and those means and spreads, [K].

    A covariate that never moved in the history says nothing about the future and becomes 0; so do the Fourier terms
    of a season that the history doesn't hold one and a half times.
    """
    own = len(design.trend.strip("n"))
    means, spreads = columns.mean(axis=0), columns.std(axis=0)
    still = spreads <= 1e-9 * np.abs(means)
    means[: own + 2 * design.fourier], spreads[: own + 2 * design.fourier] = 0.0, 1.0
    still[:own] = False
    still[own : own + 2 * design.fourier] = 2 * periods < 3 * design.season
    spreads[still] = 1.0
    return np.where(still, 0.0, (columns - means) / spreads), means, spreads


def extrapolate(one: Series, design: Design, parameters: Floats, horizon: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the next `horizon` periods, [H], [H], in units of demand."""
    head, coefficients = parameters[:_HEAD], parameters[_HEAD : _HEAD + design.coefficients]
    columns = _columns(one, design, head[3], len(one) + horizon)  # [T + H, K]
    effect = columns @ parameters[_HEAD + design.coefficients :]  # [T + H]
    z = (one.y - head[0]) / head[1] - effect[: len(one)]
    differenced = not np.isnan(z).any()
    model = _model(z, design, differenced=differenced, use_exact_diffuse=not differenced)
    model.update(np.append(coefficients, 1.0))  # with a unit of noise; sigma comes in at the end
    mean, cov = _ahead(model.ssm, horizon)
    if differenced:
        mean, cov = _summed(mean, cov, z, design)
    deviation = head[2] * np.sqrt(np.maximum(np.diag(cov), 0.0))
    return head[0] + head[1] * (mean + effect[len(one) :]), head[1] * deviation


def difference(values: Floats, design: Design) -> Floats:
    """(1 - B)^d (1 - B^m)^D of the rows, [T, ...] -> [T - lost, ...]."""
    for lag in [1] * design.order[1] + [design.season] * design.seasonal[1]:
        values = values[lag:] - values[:-lag]
    return values


def _scale(moves: Floats, seen: Floats) -> float:
    """What the series is divided by: the size of its differences, or of itself where these are nothing but rounding."""
    size = float(np.abs(seen).max())
    typical = float(np.sqrt(np.mean((moves / size) ** 2))) * size if len(moves) else 0.0
    return typical if typical > _ROUNDING * size else float(np.std(seen))


def _model(z: Floats, design: Design, *, differenced: bool, **options: Any) -> Any:
    from statsmodels.tsa.statespace.sarimax import SARIMAX  # a second that the compiled engine can do without

    season = (*design.seasonal, design.season) if any(design.seasonal) else (0, 0, 0, 0)
    model = SARIMAX(z, order=design.order, seasonal_order=season, simple_differencing=differenced, **options)
    model.ssm.filter_chandrasekhar = differenced and design.states >= _LARGE
    return model


def _coefficients(residual: Floats, design: Design, start: Floats | None) -> Floats:
    """Maximum likelihood ARMA coefficients; a search that stops early still gives the best it has seen.

    They are 0 where the regression and the differences leave nothing: a line, a season that repeats itself.
    """
    if not design.coefficients or np.nanmax(np.abs(difference(residual, design)), initial=0.0) < _ROUNDING:
        return np.zeros(design.coefficients)
    model = _model(residual, design, differenced=not np.isnan(residual).any(), concentrate_scale=True)
    options = {"disp": 0, "maxiter": _MAX_ITERATIONS, "optim_complex_step": False, "low_memory": True}
    return np.asarray(model.fit(start_params=start, return_params=True, **options), np.float64)


def _generalised(z: Floats, columns: Floats, design: Design, coefficients: Floats) -> tuple[Floats, float]:
    """b by generalised least squares, and sigma of the standardised innovations that remain."""
    both = np.column_stack([z, columns])
    differenced = not np.isnan(z).any()
    model = _model(z, design, differenced=differenced)
    model.ssm.filter_chandrasekhar = False  # it keeps no gain
    model.update(np.append(coefficients, 1.0))
    white = _whitened(model.ssm.filter(), difference(both, design) if differenced else both)  # [T, 1 + K]
    b = _least_squares(white[:, 0], white[:, 1:])
    rest = white[:, 0] - white[:, 1:] @ b
    return b, float(np.sqrt(np.mean(rest**2))) if len(rest) else 0.0


def _whitened(result: Any, columns: Floats) -> Floats:
    """What the filter of `result` makes of each column: its innovations over their standard deviation.

    The gain doesn't depend on the data, so that one pass serves all columns. Gaps and the diffuse start are left out.
    """
    design, transition = result.design[0, :, 0], result.transition[..., 0]
    gain, variance = result.kalman_gain[:, 0, :], result.forecasts_error_cov[0, 0]
    seen = ~np.isnan(columns[:, 0])
    state = np.zeros((len(transition), columns.shape[1]))
    innovations = np.zeros_like(columns)
    for t, row in enumerate(columns):
        state_ahead = transition @ state
        if seen[t]:
            innovations[t] = row - design @ state
            state_ahead += np.outer(gain[:, t], innovations[t])
        state = state_ahead
    first = result.loglikelihood_burn
    keep = np.flatnonzero(seen & (np.arange(len(columns)) >= first))
    return innovations[keep] / np.sqrt(variance[keep, None])


def _least_squares(target: Floats, columns: Floats) -> Floats:
    """Shortest least squares solution, 0 for columns that are nothing but rounding; [T], [T, K] -> [K]."""
    rows = ~np.isnan(target) & ~np.isnan(columns).any(axis=1)
    columns, target = columns[rows], target[rows]
    size = np.sqrt((columns**2).sum(axis=0))
    use = size > 1e-8 * max(1.0, len(target))
    b = np.zeros(columns.shape[1])
    if use.any() and len(target):
        b[use] = np.linalg.lstsq(columns[:, use] / size[use], target, rcond=1e-7)[0] / size[use]
    return b


def _columns(one: Series, design: Design, origin: float, periods: int) -> Floats:
    """The regressors of the first `periods` of history and future, [periods, K]: trend, Fourier terms, covariates."""
    time = one.start + np.arange(periods)
    known = np.concatenate([one.known, one.future])[:periods]
    return np.column_stack(
        [_trend((time - origin).astype(np.float64), design), fourier(time, design.season, design.fourier), known]
    )


def _trend(time: Floats, design: Design) -> Floats:
    """Polynomials that differencing turns into a constant and a line; [T] -> [T, 0 to 2]."""
    power = design.order[1] + design.seasonal[1]
    powers = [power + k for k, letter in enumerate("ct") if letter in design.trend]
    return (time[:, None] / 100.0) ** np.array(powers, np.float64)


def fourier(time: Ints, season: int, pairs: int) -> Floats:
    """Sine and cosine of the first `pairs` harmonics of `season` at period numbers `time`; [T] -> [T, 2 pairs]."""
    angle = 2 * np.pi * (time % season)[:, None] / season * np.arange(1, pairs + 1)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


def _ahead(ssm: Any, horizon: int) -> tuple[Floats, Floats]:
    """Mean [H] and covariance [H, H] of the observations after the last, by the state's own recursion."""
    result = ssm.filter()
    if result.nobs_diffuse >= result.nobs:
        raise FitError("the gaps leave too little history to begin with")
    design, transition, selection = (getattr(result, part)[..., 0] for part in ("design", "transition", "selection"))
    noise = selection @ result.state_cov[..., 0] @ selection.T
    state, cov, row = result.predicted_state[:, -1], result.predicted_state_cov[..., -1], design[0]
    means, loads, rows = np.empty(horizon), np.empty((horizon, len(state))), np.empty((horizon, len(state)))
    for h in range(horizon):
        means[h], loads[h], rows[h] = design[0] @ state, cov @ design[0], row
        state, cov, row = transition @ state, transition @ cov @ transition.T + noise, row @ transition
    across = loads @ rows.T  # [H, H], [i, k]: covariance of steps i and i + k
    early, late = np.triu_indices(horizon)
    joint = np.zeros((horizon, horizon))
    joint[early, late] = joint[late, early] = across[early, late - early]
    return means, joint


def _summed(mean: Floats, cov: Floats, z: Floats, design: Design) -> tuple[Floats, Floats]:
    """Mean and covariance of the differences ahead, [H] and [H, H], summed up to those of the series itself."""
    horizon = len(mean)
    impulse = difference(np.eye(1, 1 + 2 * design.lost, design.lost)[0], design)  # 1, -1 at the differences' lags
    path = np.concatenate([z[len(z) - design.lost :], np.zeros(horizon)])
    weights = np.zeros(horizon)  # of a difference in the values after it
    for h in range(horizon):
        path[design.lost + h] = mean[h] - impulse[1:] @ path[h : h + design.lost][::-1]
        back = min(h, design.lost)
        weights[h] = float(h == 0) - impulse[1 : back + 1] @ weights[h - back : h][::-1]
    sums = toeplitz(weights, np.zeros(horizon))  # [H, H]
    return path[design.lost :], sums @ cov @ sums.T


def check_order(field: str, order: tuple[int, int, int]) -> tuple[int, int, int]:
    """`order` as a tuple; `ConfigError` naming the `field` unless it is three whole numbers from 0."""
    found = tuple(order) if isinstance(order, (tuple, list)) else ()
    if len(found) != 3 or not all(isinstance(k, int) and k >= 0 for k in found) or found[1] > 2:
        raise ConfigError(f"{field} must be three whole numbers from 0, at most 2 differences, not {order!r}")
    return found


def check_trend(trend: str | None) -> None:
    if trend not in (None, "n", "c", "t", "ct"):
        raise ConfigError(f"trend must be one of n, c, t, ct, or none for automatic, not {trend!r}")


def usual_trend(differences: int) -> str:
    """A constant where nothing is differenced, else none: a drift of demand is seldom meant to go on for ever."""
    return "n" if differences else "c"
