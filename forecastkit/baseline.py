"""The baselines as array functions: last value and last season of many series at once, and their residual spread.

They are the models `naive` and `seasonal_naive`, and what a local model falls back to on a series that it can't
estimate. All take demand as one long array of series that stand one after another, NaN where nothing was observed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from forecastkit.data.panel import Floats, Ints, Panel, ranges
from forecastkit.errors import ConfigError


def check_season(season: int | None) -> None:
    """`ConfigError` unless `season` is a positive whole number or None."""
    if season is not None and season < 1:
        raise ConfigError(f"season must be at least 1 period, or none for the panel's, not {season}")


def demand(history: Panel) -> Floats:
    """The values of a panel, NaN also where the item could not be sold; [R]."""
    return history.values if history.available is None else np.where(history.available, history.values, np.nan)


def unseen(history: Panel) -> dict[str, str]:
    """The series without a single observed value, with the reason why nothing can be estimated."""
    _, seen = compact(demand(history), history.offsets)
    return {history.ids[i]: "no observed value, forecast as 0" for i in np.flatnonzero(np.diff(seen) == 0)}


def last_value(y: Floats, offsets: Ints) -> Floats:
    """The last observed value of each series, 0 where there is none; [R], [N + 1] -> [N]."""
    values, seen = compact(y, offsets)
    padded = np.append(values, 0.0)
    return padded[np.where(np.diff(seen) > 0, seen[1:] - 1, len(values))]


def last_season(y: Floats, offsets: Ints, season: int, horizon: int) -> Floats:
    """Each step repeats the newest observed value at its place in the season; [R], [N + 1] -> [N, H].

    A gap in the last season takes the season before, and so on; a place of the season that was never observed (a
    series shorter than a season has such) takes the last value. Hyndman & Athanasopoulos, FPP3, section 5.2.
    """
    lengths = np.diff(offsets)
    table = np.repeat(last_value(y, offsets)[:, None], season, axis=1)  # [N, m]
    owner = np.repeat(np.arange(len(lengths)), lengths)
    place = (ranges(np.zeros_like(lengths), lengths) - lengths[owner]) % season
    seen = ~np.isnan(y)
    table[owner[seen], place[seen]] = y[seen]  # in order of time, so that the newest stays
    return table[:, np.arange(horizon) % season]


def spread(y: Floats, offsets: Ints, lag: int) -> Floats:
    """Standard deviation of `y[t] - y[t - lag]` in each series, 0 where there is no such pair; [N].

    FPP3, section 5.5: the root of the mean square of the residuals of the naive methods.
    """
    lengths = np.diff(offsets)
    later = ranges(offsets[:-1] + np.minimum(lag, lengths), np.maximum(lengths - lag, 0))
    owner = np.repeat(np.arange(len(lengths)), np.maximum(lengths - lag, 0))
    steps = y[later] - y[later - lag]
    pairs = ~np.isnan(steps)
    return root_mean_square(steps[pairs], owner[pairs], len(lengths))


def seasonal_spread(y: Floats, offsets: Ints, season: int, horizon: int) -> Floats:
    """Standard deviation of the seasonal naive forecast at each step, [N, H]: it grows once a season.

    FPP3, table 5.2: sigma * sqrt(k + 1) with k full seasons before the step. A series that has no two values a season
    apart takes the naive method's sigma * sqrt(h).
    """
    steps = np.arange(horizon)
    sigma = spread(y, offsets, season)  # [N]
    seasonal = sigma[:, None] * np.sqrt(steps // season + 1)  # [N, H]
    if season == 1:
        return seasonal
    short = ~_has_pairs(y, offsets, season)
    return np.where(short[:, None], spread(y, offsets, 1)[:, None] * np.sqrt(steps + 1), seasonal)


def _has_pairs(y: Floats, offsets: Ints, lag: int) -> NDArray[np.bool_]:
    lengths = np.maximum(np.diff(offsets) - lag, 0)
    later = ranges(offsets[:-1] + lag, lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    pairs = ~np.isnan(y[later]) & ~np.isnan(y[later - lag])
    return np.bincount(owner[pairs], minlength=len(lengths)) > 0


def seasonal_naive(
    y: Floats, offsets: Ints, season: int, horizon: int, levels: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """Mean [N, H] and quantiles [N, H, Q] of the seasonal naive method; what the other models fall back to."""
    mean = last_season(y, offsets, season, horizon)
    deviation = seasonal_spread(y, offsets, season, horizon)
    return mean, normal_quantiles(mean, deviation, levels, lowest(y, offsets))


def normal_quantiles(mean: Floats, deviation: Floats, levels: tuple[float, ...], floor: Floats) -> Floats:
    """Quantiles of normal distributions, [N, H] -> [N, H, Q], none below `floor` [N]."""
    z = ndtri(np.array(levels, np.float64))
    return np.maximum(mean[..., None] + deviation[..., None] * z, floor[:, None, None])


def lowest(y: Floats, offsets: Ints) -> Floats:
    """What a forecast can't fall below: 0 where no value was ever negative, else minus infinity; [N]."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    negative = np.bincount(owner[y < 0], minlength=len(offsets) - 1) > 0
    return np.where(negative, -np.inf, 0.0)


def compact(y: Floats, offsets: Ints) -> tuple[Floats, Ints]:
    """The observed values alone, and where each series begins among them."""
    seen = ~np.isnan(y)
    return y[seen], np.concatenate([[0], np.cumsum(seen)])[offsets]


def root_mean_square(errors: Floats, owner: Ints, series: int) -> Floats:
    """Root mean square of `errors` by their series, 0 for one without any.

    Scaled first, so that the square of a small number can't vanish.
    """
    top = np.zeros(series)
    np.maximum.at(top, owner, np.abs(errors))
    unit = np.where(top > 0, top, 1.0)
    squares = np.bincount(owner, (errors / unit[owner]) ** 2, minlength=series)
    return unit * np.sqrt(squares / np.maximum(np.bincount(owner, minlength=series), 1))
