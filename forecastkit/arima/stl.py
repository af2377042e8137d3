"""Seasonal decomposition by loess: Cleveland, Cleveland, McRae & Terpenning 1990 (Journal of Official Statistics 6).

Not robust, two inner rounds, and with the windows that R's `mstl` takes, whose seasonal strength `auto_arima` uses.
"""

from __future__ import annotations

import numpy as np

from forecastkit.arima.polynomials import put
from forecastkit.compiled import kernel

SEASONAL_WINDOW = 11
_ROUNDS = 2


@kernel
def stl(y, m, season, trend, scratch):
    """Fill `season` and `trend` [n] of a series with n >= 2m; scratch is [4, n + 2m]."""
    n = len(y)
    trend_window = _odd(np.ceil(1.5 * m / (1.0 - 1.5 / SEASONAL_WINDOW)))
    low_window = _odd(m)
    trend[:] = 0.0
    for _ in range(_ROUNDS):
        cycle, low, other = scratch[0, : n + 2 * m], scratch[1], scratch[2]
        _cycles(y, trend, m, cycle, scratch[2], scratch[3])
        _average(cycle, m, low[: n + m + 1])
        _average(low[: n + m + 1], m, other[: n + 2])
        _average(other[: n + 2], 3, low[:n])
        loess(low[:n], low_window, 1, _jump(low_window), other[:n])
        for t in range(n):
            season[t] = cycle[m + t] - other[t]
            low[t] = y[t] - season[t]
        loess(low[:n], trend_window, 1, _jump(trend_window), trend)


@kernel
def strength(y, m, scratch):
    """Seasonal strength, 1 - Var(remainder) / Var(season + remainder), not below 0 (FPP3, section 4.3).

    scratch is [6, n + 2m].
    """
    n = len(y)
    season, trend = scratch[4, :n], scratch[5, :n]
    stl(y, m, season, trend, scratch[:4])
    for t in range(n):
        trend[t] = y[t] - trend[t]  # season and remainder
        season[t] = trend[t] - season[t]  # remainder
    both = _variance(trend)
    return max(0.0, 1.0 - _variance(season) / both) if both > 0.0 else 0.0


@kernel
def _variance(x):
    mean, total = 0.0, 0.0
    for t in range(len(x)):
        mean += x[t]
    mean /= len(x)
    for t in range(len(x)):
        total += (x[t] - mean) ** 2
    return total / len(x)


@kernel
def _odd(value):
    whole = int(value)
    return whole if whole % 2 else whole + 1


@kernel
def _jump(window):
    return (window + 9) // 10


@kernel
def _average(x, window, out):
    """Moving average; len(out) = len(x) - window + 1."""
    total = 0.0
    for t in range(window):
        total += x[t]
    out[0] = total / window
    for t in range(1, len(out)):
        total += x[t + window - 1] - x[t - 1]
        out[t] = total / window


@kernel
def _cycles(y, trend, m, out, part, smooth):
    """Each place of the season smoothed by itself, a season beyond both ends; out is [n + 2m]."""
    n = len(y)
    for place in range(m):
        size = (n - place - 1) // m + 1
        for k in range(size):
            part[k] = y[place + k * m] - trend[place + k * m]
        loess(part[:size], SEASONAL_WINDOW, 0, _jump(SEASONAL_WINDOW), smooth[:size])
        for k in range(size):
            out[place + (k + 1) * m] = smooth[k]
        right = min(SEASONAL_WINDOW, size)
        out[place] = _local(part[:size], -1, 0, right - 1, SEASONAL_WINDOW, 0, smooth[0])
        out[place + (size + 1) * m] = _local(
            part[:size], size, max(size - SEASONAL_WINDOW, 0), size - 1, SEASONAL_WINDOW, 0, smooth[size - 1]
        )


@kernel
def loess(y, window, degree, jump, out):
    """Local regression of degree 0 or 1 at every `jump`-th place, with straight lines between; [n] -> [n]."""
    n = len(y)
    if n < 2:
        put(y, out)
        return
    step = min(jump, n - 1)
    half = (window + 1) // 2
    t = 0
    while True:
        if window >= n:
            left, right = 0, n - 1
        elif t < half - 1:
            left, right = 0, window - 1
        elif t >= n - half:
            left, right = n - window, n - 1
        else:
            left = t - half + 1
            right = left + window - 1
        out[t] = _local(y, t, left, right, window, degree, y[min(max(t, 0), n - 1)])
        if t == n - 1:
            break
        t = min(t + step, n - 1)
    if step == 1:
        return
    last = 0
    while last < n - 1:
        following = min(last + step, n - 1)
        slope = (out[following] - out[last]) / (following - last)
        for k in range(last + 1, following):
            out[k] = out[last] + slope * (k - last)
        last = following


@kernel
def _local(y, at, left, right, window, degree, otherwise):
    """The local fit at place `at` from y[left..right], by tricube weights."""
    n = len(y)
    reach = float(max(at - left, right - at))
    if window > n:
        reach += (window - n) // 2
    far, near = 0.999 * reach, 0.001 * reach
    total, mean_place, mean, square = 0.0, 0.0, 0.0, 0.0
    for k in range(left, right + 1):
        distance = abs(k - at)
        if distance <= far:
            weight = 1.0 if distance <= near else (1.0 - (distance / reach) ** 3) ** 3
            total += weight
            mean_place += weight * k
            mean += weight * y[k]
    if total <= 0.0:
        return otherwise
    mean_place /= total
    mean /= total
    if degree == 0 or reach <= 0.0:
        return mean
    slope = 0.0
    for k in range(left, right + 1):
        distance = abs(k - at)
        if distance <= far:
            weight = 1.0 if distance <= near else (1.0 - (distance / reach) ** 3) ** 3
            square += weight * (k - mean_place) ** 2
            slope += weight * (k - mean_place) * y[k]
    if np.sqrt(square / total) <= 0.001 * (n - 1):
        return mean
    return mean + slope / square * (at - mean_place)
