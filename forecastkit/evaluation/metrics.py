"""Forecast accuracy as pure functions on arrays, each with its formula and source.

Everywhere error = forecast - actual: positive means that too much was forecast.

Arrays have any shape and are scored along `axis`, by default the last one, the periods: [H] gives one number, [N, H]
one a series; `axis=None` pools everything. A period whose actual is NaN is ignored, in numerator and denominator; a
forecast that is NaN where the actual is not makes the score NaN, as an answer that is missing is not a good one.
Where nothing is left to score, or a denominator is zero, the score is NaN; sMAPE alone defines 0/0, as 0.

`METRICS` lists them with what each scores and what is best; `evaluate` walks it for one forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecastkit.errors import ConfigError

if TYPE_CHECKING:
    from forecastkit.data.panel import Floats, Ints, Panel
    from forecastkit.forecaster import Forecast

Axis = int | tuple[int, ...] | None


def mae(actual: ArrayLike, forecast: ArrayLike, *, axis: Axis = -1) -> Any:
    """Mean absolute error, mean |f - y|, in units of demand.

    Minimal for the median. Hyndman and Athanasopoulos, "Forecasting: Principles and Practice" (3rd ed.), section 5.8.

    >>> float(mae([1.0, 2.0, np.nan], [2.0, 4.0, 9.0]))
    1.5
    """
    y, error = _errors(actual, forecast)
    return _mean(np.abs(error), ~np.isnan(y), axis)


def rmse(actual: ArrayLike, forecast: ArrayLike, *, axis: Axis = -1) -> Any:
    """Root mean squared error, sqrt(mean (f - y)^2), in units of demand; minimal for the mean. Source: as `mae`."""
    y, error = _errors(actual, forecast)
    return np.sqrt(_mean(error**2, ~np.isnan(y), axis))


def wape(actual: ArrayLike, forecast: ArrayLike, *, axis: Axis = -1) -> Any:
    """Weighted absolute percentage error, sum |f - y| / sum |y|: the share of the volume that was misplaced.

    Also known as MAD/mean. Kolassa and Schütz (2007), "Advantages of the MAD/mean ratio over the MAPE", Foresight 6.
    NaN where all actuals are zero.
    """
    y, error = _errors(actual, forecast)
    return _ratio(np.abs(error).sum(axis), _volume(y, axis))


def smape(actual: ArrayLike, forecast: ArrayLike, *, axis: Axis = -1) -> Any:
    """Symmetric mean absolute percentage error of M4, mean 200 |f - y| / (|y| + |f|), between 0 and 200.

    A period with y = f = 0 counts as 0, and one with y = 0 and any other forecast as 200, so that it says little of
    intermittent demand. Makridakis, Spiliotis and Assimakopoulos (2020), "The M4 Competition", IJF 36.

    >>> float(smape([100.0, 0.0], [60.0, 0.0]))
    25.0
    """
    y, error = _errors(actual, forecast)
    size = np.abs(np.nan_to_num(y)) + np.abs(np.where(np.isnan(y), 0.0, forecast))
    return _mean(np.where(size == 0, 0.0, 200 * np.abs(error) / np.where(size == 0, 1.0, size)), ~np.isnan(y), axis)


def mase(actual: ArrayLike, forecast: ArrayLike, scale: ArrayLike, *, axis: Axis = -1) -> Any:
    """Mean absolute scaled error, MAE / scale: below 1 is better than seasonal naive was on its training data.

    `scale` is `absolute_scale` of each series' training part and must broadcast to the result. A scale of zero (the
    training part repeats itself exactly) gives NaN, and the series is left out of a mean over series. Hyndman and
    Koehler (2006), "Another look at measures of forecast accuracy", IJF 22.
    """
    return _ratio(mae(actual, forecast, axis=axis), np.asarray(scale, float))


def rmsse(actual: ArrayLike, forecast: ArrayLike, scale: ArrayLike, *, axis: Axis = -1) -> Any:
    """Root mean squared scaled error, sqrt(MSE / scale), `scale` being `squared_scale` of the training part.

    NaN where the scale is zero, like `mase`. Makridakis, Spiliotis and Assimakopoulos (2022), "M5 accuracy
    competition", IJF 38; theirs is the case of season 1, counted from the first sale on.
    """
    y, error = _errors(actual, forecast)
    return np.sqrt(_ratio(_mean(error**2, ~np.isnan(y), axis), np.asarray(scale, float)))


def bias(actual: ArrayLike, forecast: ArrayLike, *, axis: Axis = -1) -> Any:
    """Signed relative error, sum (f - y) / sum |y|: +0.05 means 5 % of the volume too much, 0 is best.

    The mean error over the mean demand of Hyndman and Athanasopoulos, section 5.8, made free of units. NaN where all
    actuals are zero.

    >>> float(bias([10.0, 10.0], [12.0, 11.0]))
    0.15
    """
    y, error = _errors(actual, forecast)
    return _ratio(error.sum(axis), _volume(y, axis))


def pinball(actual: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> Floats:
    """Quantile loss of each period and level, max(q (y - f), (q - 1) (y - f)), in units of demand.

    quantiles: [..., Q] for actuals [...]; the result is [..., Q], NaN where the actual is. Koenker and Bassett (1978),
    "Regression quantiles", Econometrica 46.
    """
    missing = np.asarray(actual, float)[..., None] - np.asarray(quantiles, float)  # [..., Q]
    q = _checked(levels, missing.shape[-1])
    return np.maximum(q * missing, (q - 1) * missing)


def wql(actual: ArrayLike, quantiles: ArrayLike, levels: Sequence[float], *, axis: Axis = -1) -> Any:
    """Weighted quantile loss, 2 sum pinball / sum |y| of each level, averaged over the levels.

    At the level 0.5 alone it equals `wape`. `quantiles` are [..., Q] and `axis` speaks of the actuals. Salinas et al.
    (2020), "DeepAR", IJF 36, call it the normalised quantile loss, or rho-risk. NaN where all actuals are zero.
    """
    y = np.asarray(actual, float)
    loss = pinball(y, quantiles, levels).mean(axis=-1)
    return _ratio(2 * np.where(np.isnan(y), 0.0, loss).sum(axis), _volume(y, axis))


def coverage(actual: ArrayLike, lower: ArrayLike, upper: ArrayLike, *, axis: Axis = -1) -> Any:
    """Share of the periods with lower <= y <= upper; best is what the interval promises (0.8 from level 0.1 to 0.9).

    Christoffersen (1998), "Evaluating interval forecasts", International Economic Review 39. Counts have lumps of
    probability, so that an interval with both its ends covers more than it promises on slow sellers. A bound that is
    NaN makes it NaN.
    """
    y, low, high = (np.asarray(a, float) for a in (actual, lower, upper))
    inside = np.where(np.isnan(low) | np.isnan(high), np.nan, (y >= low) & (y <= high))
    seen = np.broadcast_to(~np.isnan(y), inside.shape)
    return _mean(np.where(seen, inside, 0.0), seen, axis)


def owa(smape: float, mase: float, naive2_smape: float, naive2_mase: float) -> float:
    """Overall weighted average, the mean of sMAPE and MASE relative to those of `naive2`; below 1 is better than it.

    The means over all series are divided, not those of one series. Makridakis et al. (2020), "The M4 Competition",
    IJF 36. NaN where a score of naive2 is zero.
    """
    return float(np.mean(_ratio(np.array([smape, mase]), np.array([naive2_smape, naive2_mase]))))


# --------------------------------------------------------------------------------------------------------- scales


def absolute_scale(train: ArrayLike, season: int) -> float:
    """What seasonal naive misses by in the training part, mean |y_t - y_{t-m}|; the denominator of `mase`.

    Pairs of which a value is NaN are ignored. Where no pair m periods apart is observed, as in a series that is not
    longer than the season, lag 1 is used; NaN where that has none either. Source: as `mase`.

    >>> absolute_scale([1.0, 5.0, 3.0, 5.0], season=2)
    1.0
    """
    return float(_one(train, season)[0, 0])


def squared_scale(train: ArrayLike, season: int) -> float:
    """mean (y_t - y_{t-m})^2 of the training part, the denominator of `rmsse`; gaps and short series as above."""
    return float(_one(train, season)[0, 1])


def scales(panel: Panel, season: int) -> Floats:
    """`absolute_scale` and `squared_scale` of every series, [N, 2]; periods that were not available are gaps."""
    return _scales(np.where(panel.observed, panel.values, np.nan), panel.offsets, season)


def _one(train: ArrayLike, season: int) -> Floats:
    values = np.asarray(train, float)  # [T]
    return _scales(values, np.array([0, len(values)]), season)


def _scales(values: Floats, offsets: Ints, season: int) -> Floats:
    if season < 1:
        raise ConfigError(f"season must be at least 1, not {season}")
    out = _lagged(values, offsets, season)
    short = np.isnan(out[:, 0])
    return np.where(short[:, None], _lagged(values, offsets, 1), out) if season > 1 and short.any() else out


def _lagged(values: Floats, offsets: Ints, lag: int) -> Floats:
    """Mean absolute and mean squared difference to `lag` periods before, by series; [N, 2]."""
    n = len(offsets) - 1
    owner = np.repeat(np.arange(n), np.diff(offsets))
    difference = values[lag:] - values[:-lag]
    pairs = (owner[lag:] == owner[:-lag]) & ~np.isnan(difference)
    owner, difference = owner[lag:][pairs], difference[pairs]
    count = np.bincount(owner, minlength=n)
    sums = [np.bincount(owner, weights=w, minlength=n) for w in (np.abs(difference), difference**2)]
    return np.stack([_ratio(total, count) for total in sums], axis=-1)


# --------------------------------------------------------------------------------------------------------- naive2


def naive2(train: ArrayLike, horizon: int, season: int) -> Floats:
    """M4's benchmark Naive 2, [T] -> [H]: the last value, seasonally adjusted where the series is seasonal.

    It is seasonal when its autocorrelation at the season is significant at 90 % and it has three seasons; then it is
    adjusted by classical multiplicative decomposition. Makridakis et al. (2020), "The M4 Competition", IJF 36;
    Assimakopoulos and Nikolopoulos (2000), "The theta model", IJF 16, for the test; Hyndman and Athanasopoulos,
    section 3.4, for the decomposition. Gaps are interpolated. Where an index is not positive (an item never sold on
    Sundays, negative demand) the decomposition is undefined and the last value stands. The competition's R code looks
    at 10 log10(n) lags only and calls no longer season seasonal; here the season may be of any length.
    """
    y = _interpolated(np.asarray(train, float))
    indices = _indices(y, season) if _is_seasonal(y, season) else np.ones(1)
    if not (np.isfinite(indices) & (indices > 0)).all():
        indices = np.ones(1)
    phases = (len(y) - 1 + np.arange(horizon + 1)) % len(indices)  # of the last period and the horizon
    return y[-1] / indices[phases[0]] * indices[phases[1:]]


def _interpolated(y: Floats) -> Floats:
    seen = ~np.isnan(y)
    if not seen.any():
        raise ConfigError("naive2 needs at least one observed value")
    places = np.arange(len(y))
    return y if seen.all() else np.interp(places, places[seen], y[seen])


def _is_seasonal(y: Floats, season: int) -> bool:
    """M4's test: |r_m| > 1.645 sqrt((1 + 2 (r_1^2 + ... + r_{m-1}^2)) / n), Bartlett's standard error."""
    n = len(y)
    centred = y - y.mean()
    power = centred @ centred
    if season < 2 or n < 3 * season or power == 0:
        return False
    r = np.array([centred[k:] @ centred[:-k] for k in range(1, season + 1)]) / power
    return bool(abs(r[-1]) > 1.645 * np.sqrt((1 + 2 * (r[:-1] ** 2).sum()) / n))


def _indices(y: Floats, season: int) -> Floats:
    """Multiplicative seasonal indices with mean 1, the first for the phase of the first period; [m]."""
    weights = np.ones(season) if season % 2 else np.concatenate([[0.5], np.ones(season - 1), [0.5]])
    trend = np.convolve(y, weights / season, mode="valid")  # the centred moving average, [T - 2 (m // 2)]
    half = season // 2
    ratio = _ratio(y[half : len(y) - half], trend)
    phase = (half + np.arange(len(ratio))) % season
    means = np.bincount(phase, weights=ratio, minlength=season) / np.bincount(phase, minlength=season)
    return means / means.mean()


# -------------------------------------------------------------------------------------------------------- registry


@dataclass(frozen=True, eq=False)
class Case:
    """What there is to score: N series over H periods, and the scales of their training parts."""

    actual: Floats  # [N, H]
    mean: Floats  # [N, H]
    median: Floats  # [N, H]
    quantiles: Floats  # [N, H, Q]
    levels: tuple[float, ...]
    scales: Floats  # [N, 2]


@dataclass(frozen=True)
class Metric:
    """A metric's facts, and how it is computed for a `Case`.

    scores: the forecast that it looks at · best: "low", "zero" (a signed metric) or "nominal" (the outermost levels'
    distance) · pooled: one ratio over all periods of all series; else the mean over the series that have a score.
    """

    name: str
    title: str
    scores: Literal["median", "mean", "quantiles"]
    pooled: bool
    of: Callable[[Case], Any]
    best: Literal["low", "zero", "nominal"] = "low"

    @property
    def lower_is_better(self) -> bool:
        return self.best == "low"


def _wql(case: Case) -> float:
    return float(wql(case.actual, case.quantiles, case.levels, axis=None)) if case.levels else np.nan


def _coverage(case: Case) -> float:
    if len(case.levels) < 2:
        return np.nan
    return float(coverage(case.actual, case.quantiles[..., 0], case.quantiles[..., -1], axis=None))


_ALL = (
    Metric("mase", "MASE", "median", False, lambda c: mase(c.actual, c.median, c.scales[:, 0])),
    Metric("rmsse", "RMSSE", "mean", False, lambda c: rmsse(c.actual, c.mean, c.scales[:, 1])),
    Metric("wape", "WAPE", "median", True, lambda c: wape(c.actual, c.median, axis=None)),
    Metric("smape", "sMAPE", "median", False, lambda c: smape(c.actual, c.median)),
    Metric("bias", "bias", "mean", True, lambda c: bias(c.actual, c.mean, axis=None), "zero"),
    Metric("wql", "WQL", "quantiles", True, _wql),
    Metric("coverage", "coverage", "quantiles", True, _coverage, "nominal"),
    Metric("mae", "MAE", "median", True, lambda c: mae(c.actual, c.median, axis=None)),
    Metric("rmse", "RMSE", "mean", True, lambda c: rmse(c.actual, c.mean, axis=None)),
)
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})


def evaluate(actual: Floats, forecast: Forecast, scales: Floats) -> dict[str, float]:
    """Every metric of one forecast of N series against what came, actual [N, H]; scales [N, 2] as `scales` gives them.

    The quantile metrics are NaN for a forecast without levels.
    """
    case = Case(actual, forecast.mean, forecast.median(), forecast.quantiles, forecast.levels, scales)
    if case.actual.shape != case.mean.shape or case.scales.shape != (len(case.actual), 2):
        raise ConfigError(
            f"actual {case.actual.shape} and forecast {case.mean.shape} must both be [N, H], scales "
            f"{case.scales.shape} must be [N, 2]"
        )
    return {name: over_series(metric.of(case)) for name, metric in METRICS.items()}


def over_series(scores: ArrayLike) -> float:
    """The mean of per-series scores; those that are NaN are left out, NaN when all are."""
    values = np.asarray(scores, float)
    seen = ~np.isnan(values)
    return float(_mean(np.where(seen, values, 0.0), seen, None))


# ------------------------------------------------------------------------------------------------------- arithmetic


def _errors(actual: ArrayLike, forecast: ArrayLike) -> tuple[Floats, Floats]:
    """The actuals, and forecast - actual with 0 where the actual is NaN; both of one shape."""
    y, f = np.broadcast_arrays(np.asarray(actual, float), np.asarray(forecast, float))
    return y, np.where(np.isnan(y), 0.0, f - y)


def _volume(y: Floats, axis: Axis) -> Any:
    return np.abs(np.nan_to_num(y)).sum(axis)


def _mean(values: Floats, seen: NDArray[np.bool_], axis: Axis) -> Any:
    return _ratio(values.sum(axis), seen.sum(axis))


def _ratio(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator, NaN where the denominator is zero or NaN."""
    good = np.asarray(denominator) > 0
    return np.where(good, numerator / np.where(good, denominator, 1.0), np.nan)


def _checked(levels: Sequence[float], count: int) -> Floats:
    q = np.asarray(levels, float)
    if q.shape != (count,) or not ((q > 0) & (q < 1)).all():
        raise ConfigError(f"{count} quantiles need as many levels between 0 and 1, not {tuple(levels)}")
    return q
