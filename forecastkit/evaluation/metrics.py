"""Error metrics as pure functions on arrays.

**error = forecast - actual: positive means over-forecast**, here and everywhere.

All functions reduce the last axis, the forecast steps, and pass over steps whose actual is NaN. A forecast that is NaN
where the actual is not makes the score NaN: a missing answer is no good one. A denominator that is zero gives NaN,
which means "undefined, left out of a mean", except where a function says otherwise.

`METRICS` lists what each metric of a leaderboard scores, how it is pooled, and what is best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import ConfigError

_CRITICAL = 1.645  # of the seasonality test in M4, a one-sided 5 %


@dataclass(frozen=True)
class Metric:
    """Facts of a metric.

    scores: the forecast that it looks at · pooled: one ratio over all steps of all series and windows, else the mean
    over series and windows of those that are defined · best: "low", "zero" (signed), or "nominal" (what the levels
    promise).
    """

    name: str
    title: str
    scores: Literal["median", "mean", "quantiles"]
    pooled: bool
    best: Literal["low", "zero", "nominal"] = "low"

    @property
    def lower_is_better(self) -> bool:
        return self.best == "low"


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("mase", "MASE", "median", pooled=False),
            Metric("rmsse", "RMSSE", "mean", pooled=False),
            Metric("wape", "WAPE", "median", pooled=True),
            Metric("smape", "sMAPE", "median", pooled=False),
            Metric("bias", "bias", "mean", pooled=True, best="zero"),
            Metric("wql", "WQL", "quantiles", pooled=True),
            Metric("coverage", "coverage", "quantiles", pooled=True, best="nominal"),
            Metric("mae", "MAE", "median", pooled=True),
            Metric("rmse", "RMSE", "mean", pooled=True),
            Metric("width", "interval width", "quantiles", pooled=True),
            Metric("wis", "WIS", "quantiles", pooled=True),
            Metric("crps", "CRPS", "quantiles", pooled=True),
        )
    }
)

# What two models can be compared by: of these less is better, either way where they have a sign.
COMPARABLE = tuple(name for name, metric in METRICS.items() if metric.best != "nominal")


def error(y: ArrayLike, forecast: ArrayLike) -> Floats:
    """forecast - actual, elementwise."""
    return np.asarray(forecast, float) - np.asarray(y, float)


def mae(y: ArrayLike, forecast: ArrayLike) -> Floats:
    """Mean absolute error, in units of demand: mean |f - y|. [..., H] -> [...]"""
    return _mean(np.abs(error(y, forecast)), y)


def rmse(y: ArrayLike, forecast: ArrayLike) -> Floats:
    """Root mean squared error, in units of demand: sqrt(mean (f - y)^2). [..., H] -> [...]"""
    return np.sqrt(_mean(error(y, forecast) ** 2, y))


def wape(y: ArrayLike, forecast: ArrayLike) -> Floats:
    """Weighted absolute percentage error as a fraction: sum |f - y| / sum |y|; NaN where no demand came.

    Kolassa & Schuetz (2007), "Advantages of the MAD/Mean ratio over the MAPE", Foresight 6. [..., H] -> [...]
    """
    return _ratio(_sum(np.abs(error(y, forecast)), y), _volume(y))


def smape(y: ArrayLike, forecast: ArrayLike) -> Floats:
    """Symmetric MAPE in percent, 0 to 200: mean of 200 |f - y| / (|f| + |y|); a step with both 0 counts 0.

    Makridakis, Spiliotis & Assimakopoulos (2020), "The M4 competition", International Journal of Forecasting 36,
    section 3. [..., H] -> [...]
    """
    return _mean(relative_error(y, forecast), y)


def relative_error(y: ArrayLike, forecast: ArrayLike) -> Floats:
    """The terms of sMAPE, elementwise."""
    size = np.abs(np.asarray(y, float)) + np.abs(np.asarray(forecast, float))
    return np.where(size == 0, 0.0, 200 * np.abs(error(y, forecast)) / np.where(size == 0, 1.0, size))


def mase(y: ArrayLike, forecast: ArrayLike, scale: ArrayLike) -> Floats:
    """Mean absolute scaled error: MAE over the in-sample MAE of seasonal naive (`absolute_scale`).

    Hyndman & Koehler (2006), "Another look at measures of forecast accuracy", International Journal of Forecasting 22.
    NaN where the scale is zero: the training part never changed. [..., H], [...] -> [...]
    """
    return _ratio(mae(y, forecast), scale)


def rmsse(y: ArrayLike, forecast: ArrayLike, scale: ArrayLike) -> Floats:
    """Root mean squared scaled error: sqrt(mean (f - y)^2 / `squared_scale`); NaN where the scale is zero.

    Hyndman & Koehler (2006); with lag 1 the measure of M5 (Makridakis et al. 2022, International Journal of
    Forecasting 38). [..., H], [...] -> [...]
    """
    return np.sqrt(_ratio(_mean(error(y, forecast) ** 2, y), scale))


def bias(y: ArrayLike, forecast: ArrayLike) -> Floats:
    """Signed relative bias: sum (f - y) / sum |y|; +0.1 is ten percent too much. NaN where no demand came."""
    return _ratio(_sum(error(y, forecast), y), _volume(y))


def pinball(y: ArrayLike, quantile: ArrayLike, level: float) -> Floats:
    """Mean pinball loss of a quantile forecast: mean max(a (y - q), (a - 1) (y - q)) at level a.

    Koenker & Bassett (1978), "Regression quantiles", Econometrica 46. [..., H] -> [...]
    """
    return _mean(pinball_terms(y, quantile, level), y)


def pinball_terms(y: ArrayLike, quantile: ArrayLike, level: float) -> Floats:
    """The terms of the pinball loss, elementwise."""
    short = -error(y, quantile)
    return np.maximum(level * short, (level - 1) * short)


def weighted_quantile_loss(y: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> Floats:
    """2 sum of pinball losses / sum |y|, averaged over levels; with the median alone it is WAPE.

    Salinas et al. (2020), "DeepAR", International Journal of Forecasting 36, section 4: the normalised quantile loss,
    or rho-risk. NaN where no demand came. Quantiles stand along the last axis: [..., H], [..., H, Q] -> [...]
    """
    values = np.asarray(quantiles, float)
    losses = [_sum(pinball_terms(y, values[..., k], level), y) for k, level in enumerate(levels)]
    return _ratio(2 * np.mean(losses, axis=0), _volume(y))


def coverage(y: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Share of actuals within [low, high], bounds included; best is what the levels of the bounds promise.

    Christoffersen (1998), "Evaluating interval forecasts", International Economic Review 39. Counts have lumps of
    probability, so that an interval with both its ends covers more than it promises on slow sellers. [..., H] -> [...]
    """
    actual, below, above = (np.asarray(a, float) for a in (y, low, high))
    inside = np.where(np.isnan(below + above), np.nan, (actual >= below) & (actual <= above))
    return _mean(inside, actual)


def weighted_interval_score(y: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> Floats:
    """Mean weighted interval score, in units of demand: width and misses of all central intervals, and of the median.

    Bracher, Ray, Gneiting & Reich (2021), "Evaluating epidemic forecasts in an interval format", PLOS Computational
    Biology 17. Quantiles stand along the last axis: [..., H], [..., H, Q] -> [...]
    """
    return _mean(pinball_sum(y, quantiles, levels, interval_weights(levels)), y)


def crps(y: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> Floats:
    """Mean continuous ranked probability score from quantiles, in units of demand; the more levels, the nearer.

    It is twice the integral of the pinball loss over all levels (Gneiting & Ranjan 2011, "Comparing density forecasts",
    Journal of Business & Economic Statistics 29); each level stands for those nearest to it. [..., H], [..., H, Q] ->
    [...]
    """
    return _mean(pinball_sum(y, quantiles, levels, crps_weights(levels)), y)


def interval_weights(levels: Sequence[float]) -> Floats:
    """What the pinball loss of each level counts in the weighted interval score; 0 for one that is in no pair. [Q]"""
    chances = np.array(levels)
    paired = np.isclose(chances[:, None], 1 - chances).any(axis=1)
    return paired / max(paired.sum() / 2, 0.5)


def crps_weights(levels: Sequence[float]) -> Floats:
    """What the pinball loss of each level counts in the CRPS; levels increase. [Q]"""
    chances = np.array(levels)
    return 2 * np.diff(np.concatenate([[0.0], (chances[1:] + chances[:-1]) / 2, [1.0]]))


def pinball_sum(y: ArrayLike, quantiles: ArrayLike, levels: Sequence[float], weights: Floats) -> Floats:
    """Pinball losses of all levels, weighted; elementwise, [..., H, Q] -> [..., H]."""
    values = np.asarray(quantiles, float)
    losses = [
        w * pinball_terms(y, values[..., k], level) for k, (level, w) in enumerate(zip(levels, weights, strict=True))
    ]
    return np.sum(losses, axis=0)


def owa(smape_: ArrayLike, mase_: ArrayLike, naive2_smape: ArrayLike, naive2_mase: ArrayLike) -> Floats:
    """Overall weighted average of M4: the mean of sMAPE and MASE, each relative to Naive2's.

    All four are means over the whole panel. Makridakis, Spiliotis & Assimakopoulos (2020), section 3.
    """
    return (_ratio(smape_, naive2_smape) + _ratio(mase_, naive2_mase)) / 2


def absolute_scale(train: ArrayLike, season: int) -> float:
    """MASE's denominator: mean |y[t] - y[t - season]| of one training part [T], gaps passed over.

    A series no longer than a season is compared with its value one period before; NaN for a single period.
    """
    return float(_scales(*_differences(np.asarray(train, float), season))[0, 0])


def squared_scale(train: ArrayLike, season: int) -> float:
    """RMSSE's denominator: mean (y[t] - y[t - season])^2 of one training part [T]; like `absolute_scale`."""
    return float(_scales(*_differences(np.asarray(train, float), season))[0, 1])


def scales(train: Panel, season: int) -> Floats:
    """`absolute_scale` and `squared_scale` of each series of a training panel, [N, 2].

    Periods in which an item could not be sold are passed over like gaps.
    """
    y = np.where(train.observed, train.values, np.nan)
    lag = np.where(train.lengths > season, season, 1)  # [N]
    owner = np.repeat(np.arange(len(train)), train.lengths)
    place = np.arange(len(y)) - train.offsets[owner]
    later = np.flatnonzero(place >= lag[owner])
    return _scales(y[later] - y[later - lag[owner[later]]], owner[later], len(train))


def _differences(y: Floats, season: int) -> tuple[Floats, NDArray[np.int64], int]:
    lag = season if len(y) > season else 1
    differences = y[lag:] - y[:-lag]
    return differences, np.zeros(len(differences), np.int64), 1


def _scales(differences: Floats, owner: NDArray[np.int64], series: int) -> Floats:
    seen = ~np.isnan(differences)
    found, owner = differences[seen], owner[seen]
    count = np.bincount(owner, minlength=series)
    sums = [np.bincount(owner, terms, minlength=series) for terms in (np.abs(found), found**2)]
    return np.stack([_ratio(s, count) for s in sums], axis=-1)  # [N, 2]


def naive2(train: ArrayLike, season: int, horizon: int) -> Floats:
    """Naive2 of the M competitions: the last value, seasonally adjusted where a 90 % test finds a season; [T] -> [H].

    The test compares the autocorrelation at the season with Bartlett's limit, the adjustment is a multiplicative
    classical decomposition. Makridakis & Hibon (2000), "The M3-competition", International Journal of Forecasting 16.
    Gaps are interpolated. Where a factor is not positive (an item never sold on Sundays, demand on both sides of zero)
    there is nothing to divide by, and the last value stands.
    """
    y = _interpolated(np.asarray(train, float))
    factors = seasonal_factors(y, season) if is_seasonal(y, season) else np.ones(season)
    if not (factors > 0).all():
        factors = np.ones(season)
    future = (len(y) + np.arange(horizon)) % season
    return y[-1] / factors[(len(y) - 1) % season] * factors[future]


def _interpolated(y: Floats) -> Floats:
    seen = ~np.isnan(y)
    if not seen.any():
        raise ConfigError("naive2 needs a training part with at least one value")
    places = np.arange(len(y))
    return y if seen.all() else np.interp(places, places[seen], y[seen])


def is_seasonal(y: Floats, season: int) -> bool:
    """Does the autocorrelation at the season pass Bartlett's limit? Never for fewer than three seasons."""
    n = len(y)
    if season < 2 or n < 3 * season:
        return False
    centred = y - y.mean()
    variance = float(centred @ centred)
    if variance == 0:
        return False
    acf = np.array([centred[k:] @ centred[:-k] for k in range(1, season + 1)]) / variance
    limit = _CRITICAL * np.sqrt((1 + 2 * (acf[:-1] ** 2).sum()) / n)
    return bool(abs(acf[-1]) > limit)


def seasonal_factors(y: Floats, season: int) -> Floats:
    """Multiplicative factors of the places in the season, mean 1, by classical decomposition; [T] -> [m].

    Hyndman & Athanasopoulos, FPP3, section 3.4: ratios to a centred moving average of one season, averaged by place.
    NaN where the moving average of a place is zero somewhere.
    """
    weights = np.ones(season) if season % 2 else np.array([0.5, *np.ones(season - 1), 0.5])
    half = len(weights) // 2
    trend = np.convolve(y, weights / season, mode="valid")  # [T - 2 half]
    ratios = _ratio(y[half : len(y) - half], trend)
    place = (half + np.arange(len(ratios))) % season
    factors = np.bincount(place, ratios, minlength=season) / np.bincount(place, minlength=season)
    return factors / factors.mean()


def _mean(terms: ArrayLike, y: ArrayLike) -> Floats:
    return _ratio(_sum(terms, y), (~np.isnan(np.asarray(y, float))).sum(axis=-1))


def _sum(terms: ArrayLike, y: ArrayLike) -> Floats:
    """Sum of the terms whose actual is there."""
    return np.where(np.isnan(np.asarray(y, float)), 0.0, terms).sum(axis=-1)


def _volume(y: ArrayLike) -> Floats:
    return _sum(np.abs(np.asarray(y, float)), y)


def _ratio(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """top / bottom, NaN where bottom is zero."""
    below = np.asarray(bottom, float)
    return np.asarray(top, float) / np.where(below == 0, np.nan, below)
