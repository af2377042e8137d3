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

ROUNDING = 1e-9  # of a series' largest value, by which whole numbers may be missed
UP = 0.499  # added before a fraction is dropped: a half goes down, also one that rounding has moved a little


def check_season(season: int | None) -> None:
    """`ConfigError` unless `season` is a positive whole number or None."""
    if season is not None and season < 1:
        raise ConfigError(f"season must be at least 1 period, or none for the panel's, not {season}")


def demand(history: Panel) -> Floats:
    """The values of a panel, NaN also where the item could not be sold; [R]."""
    return history.values if history.available is None else np.where(history.available, history.values, np.nan)


def unseen(history: Panel) -> dict[str, str]:
    """The series without a single observed value, with the reason why nothing can be estimated."""
    values = demand(history)
    if history.lengths.all() and not np.isnan(values).any():
        return {}
    _, seen = compact(values, history.offsets)
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
    first = np.repeat(offsets[:-1], season)
    source = (offsets[1:, None] - season + np.arange(season)).ravel()  # [N * m] rows of the last season
    table = np.repeat(last_value(y, offsets), season)
    open_ = np.flatnonzero(source >= first)
    while len(open_):
        found = y[source[open_]]
        seen = ~np.isnan(found)
        table[open_[seen]] = found[seen]
        source[open_] -= season  # what is still open looks a season further back
        open_ = open_[~seen & (source[open_] >= first[open_])]
    return table.reshape(-1, season)[:, np.arange(horizon) % season]


def spread(y: Floats, offsets: Ints, lag: int) -> Floats:
    """Standard deviation of `y[t] - y[t - lag]` in each series, 0 where there is no such pair; [N].

    FPP3, section 5.5: the root of the mean square of the residuals of the naive methods.
    """
    return _spread(y, offsets, lag)[0]


def _spread(y: Floats, offsets: Ints, lag: int) -> tuple[Floats, Ints]:
    """The spread and how many pairs are behind it; [N], [N]."""
    steps = np.full(len(y), np.nan)
    steps[lag:] = y[lag:] - y[: max(len(y) - lag, 0)]
    starts = np.minimum(offsets[:-1] + lag, offsets[1:])
    steps[ranges(offsets[:-1], starts - offsets[:-1])] = np.nan  # these reach back into another series
    errors, seen = compact(steps, offsets)
    return root_mean_square(errors, seen), np.diff(seen)


def seasonal_spread(y: Floats, offsets: Ints, season: int, horizon: int) -> Floats:
    """Standard deviation of the seasonal naive forecast at each step, [N, H]: it grows once a season.

    FPP3, table 5.2: sigma * sqrt(k + 1) with k full seasons before the step. A series that has no two values a season
    apart takes the naive method's sigma * sqrt(h).
    """
    steps = np.arange(horizon)
    sigma, pairs = _spread(y, offsets, season)  # [N]
    deviation = sigma[:, None] * np.sqrt(steps // season + 1)  # [N, H]
    if season > 1 and (pairs == 0).any():
        deviation = np.where(pairs[:, None] > 0, deviation, spread(y, offsets, 1)[:, None] * np.sqrt(steps + 1))
    return deviation


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
    floor = np.zeros(len(offsets) - 1)
    floor[np.searchsorted(offsets, np.flatnonzero(y < 0), side="right") - 1] = -np.inf
    return floor


def counts(y: Floats, offsets: Ints) -> NDArray[np.bool_]:
    """Which series are counts: what was observed are whole numbers, but for rounding, and not all zero; [N]."""
    room = np.rint(y)  # for one intermediate after the other, as y may be most of the memory
    apart = _reduced(np.fmax, np.abs(np.subtract(room, y, out=room), out=room), offsets)
    return np.asarray(apart < ROUNDING * _reduced(np.fmax, np.abs(y, out=room), offsets))


def counted(quantiles: Floats, counts: NDArray[np.bool_]) -> Floats:
    """Quantiles [N, H, Q] in which those of `counts` [N] are whole numbers too (decision 141)."""
    return np.where(counts[:, None, None], np.floor(quantiles + UP), quantiles)


def compact(y: Floats, offsets: Ints) -> tuple[Floats, Ints]:
    """The observed values alone, and where each series begins among them."""
    seen = ~np.isnan(y)
    count = np.where(np.diff(offsets) > 0, np.add.reduceat(np.append(seen, False), offsets[:-1], dtype=np.int64), 0)
    return y[seen], np.concatenate([[0], np.cumsum(count)])


def root_mean_square(errors: Floats, offsets: Ints) -> Floats:
    """Root mean square of the errors of each series, 0 for one without any; [E], [N + 1] -> [N].

    Scaled first, so that the square of a small number can't vanish.
    """
    unit = _reduced(np.maximum, np.abs(errors), offsets)
    unit[unit == 0] = 1.0
    squares = _reduced(np.add, (errors / np.repeat(unit, np.diff(offsets))) ** 2, offsets)
    return unit * np.sqrt(squares / np.maximum(np.diff(offsets), 1))


def _reduced(ufunc: np.ufunc, values: Floats, offsets: Ints) -> Floats:
    """`ufunc` over the values of each series, 0 for one without any."""
    return np.where(np.diff(offsets) > 0, ufunc.reduceat(np.append(values, 0.0), offsets[:-1]), 0.0)
