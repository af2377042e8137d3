"""Box-Cox transforms of whole panels, lambda chosen by Guerrero's method, and the way back without bias."""

from __future__ import annotations

import numpy as np

from forecastkit.arima.linking import driver
from forecastkit.compiled import kernel
from forecastkit.data.panel import Floats, Ints

LOW, HIGH = -1.0, 2.0  # of lambda
_GOLDEN = 0.6180339887498949
_ROUNDS = 40


@driver
def guerrero(values, offsets, season):
    """Lambda of each series, [N]: where the spread of the seasons grows least with their level.

    The coefficient of variation of sd / mean^(1 - lambda) over seasons (or pairs, without one) is least; Guerrero 1993,
    Journal of Forecasting 12. 1, no transform, for a series that has values of 0 or below or is shorter than two
    seasons.
    """
    size = max(season, 2)
    out = np.ones(len(offsets) - 1)
    means, spreads = np.zeros(len(values) // size + 1), np.zeros(len(values) // size + 1)
    for i in range(len(out)):
        y = values[offsets[i] : offsets[i + 1]]
        count = _seasons(y, size, means, spreads)
        if count >= 2:
            out[i] = _least(means[:count], spreads[:count])
    return out


@kernel
def _seasons(y, size, means, spreads):
    """Mean and spread of each whole season, the last ones; 0 where a value isn't positive."""
    for t in range(len(y)):
        if y[t] <= 0.0:
            return 0
    count = 0
    for k in range(len(y) // size):
        first, seen, mean, square = len(y) - (k + 1) * size, 0, 0.0, 0.0
        for t in range(first, first + size):
            if not np.isnan(y[t]):
                seen += 1
                mean += y[t]
        if seen < 2:
            continue
        mean /= seen
        for t in range(first, first + size):
            if not np.isnan(y[t]):
                square += (y[t] - mean) ** 2
        means[count], spreads[count] = mean, np.sqrt(square / (seen - 1))
        count += 1
    return count


@kernel
def _least(means, spreads):
    """Golden section search."""
    low, high = LOW, HIGH
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = _variation(left, means, spreads), _variation(right, means, spreads)
    for _ in range(_ROUNDS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = _variation(left, means, spreads)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = _variation(right, means, spreads)
    return 0.5 * (low + high)


@kernel
def _variation(power, means, spreads):
    """Coefficient of variation of the ratios; the level is taken out first, so that no power overflows."""
    total, square, level = 0.0, 0.0, 0.0
    for k in range(len(means)):
        level += means[k] / len(means)
    for k in range(len(means)):
        ratio = spreads[k] / (means[k] / level) ** (1.0 - power)
        total += ratio
        square += ratio * ratio
    mean = total / len(means)
    return np.sqrt(max(square / len(means) - mean * mean, 0.0)) / mean if mean > 0.0 else 0.0


def usable(power: float | Floats, values: Floats, offsets: Ints) -> Floats:
    """`power` for each series that it can be applied to, [N]; 1 where a value forbids it."""
    least = np.fmin.reduceat(values, offsets[:-1])
    return np.where((least > 0) | ((least == 0) & (np.asarray(power) > 0)), power, 1.0)


def transformed(values: Floats, powers: Floats, offsets: Ints) -> Floats:
    """(y^lambda - 1) / lambda, log y for 0, y itself for 1; [R], [N], [N + 1] -> [R]."""
    power = np.repeat(powers, np.diff(offsets))
    with np.errstate(all="ignore"):
        curved = np.where(power == 0, np.log(values), (values**power - 1) / np.where(power == 0, 1.0, power))
    return np.where(power == 1, values, curved)


def back(x: Floats, powers: Floats) -> Floats:
    """The inverse, [N, ...]; 0 below the range of the transform, NaN above it."""
    power = powers.reshape(-1, *[1] * (x.ndim - 1))
    with np.errstate(all="ignore"):
        base = np.where(power == 0, 1.0, power * x + 1)
        inside = np.where(base > 0, base, np.where(power > 0, 0.0, np.nan))
        straight = np.where(power == 0, np.exp(x), inside ** (1 / np.where(power == 0, 1.0, power)))
    return np.where(power == 1, x, straight)


def unbiased(mean: Floats, deviation: Floats, powers: Floats) -> Floats:
    """The mean on the scale of demand from that of the transform, [N, H]: FPP3, section 5.6, to second order."""
    power = powers[:, None]
    with np.errstate(all="ignore"):
        base = np.where(power == 0, 1.0, power * mean + 1)
        lift = 1 + deviation**2 * (1 - power) / (2 * base**2)
    return np.where(power == 1, mean, back(mean, powers) * lift)
