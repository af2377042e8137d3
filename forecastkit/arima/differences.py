"""How often to difference: tests for unit roots, of the level and of the season."""

from __future__ import annotations

import numpy as np

from forecastkit.arima import linear
from forecastkit.arima.likelihood import TABLE, VECTOR, WHOLE
from forecastkit.arima.linking import by_name
from forecastkit.arima.stl import strength
from forecastkit.compiled import kernel

_KPSS_5_PERCENT = 0.463  # Kwiatkowski, Phillips, Schmidt & Shin 1992, table 1, level stationarity
_STRONG = 0.64  # seasonal strength from which a season is differenced: Hyndman & Athanasopoulos, FPP3, section 9.1
_MOST_LAGS = 3
STRENGTH, OCSB = range(2)


@kernel
def kpss(x):
    """The KPSS statistic of level stationarity with 3 sqrt(n) / 13 lags; large where there is a unit root.

    Kwiatkowski, Phillips, Schmidt & Shin 1992, Journal of Econometrics 54.
    """
    n, mean, sums, total, square = len(x), 0.0, 0.0, 0.0, 0.0
    for t in range(n):
        mean += x[t] / n
    for t in range(n):
        total += x[t] - mean
        sums += total * total
        square += (x[t] - mean) ** 2
    lags = int(3.0 * np.sqrt(n) / 13.0)
    long_run = square
    for lag in range(1, lags + 1):
        together = 0.0
        for t in range(lag, n):
            together += (x[t] - mean) * (x[t - lag] - mean)
        long_run += 2.0 * (1.0 - lag / (lags + 1.0)) * together
    return sums / (n * long_run) if long_run > 0.0 else 0.0


@by_name(WHOLE, VECTOR, WHOLE, WHOLE, WHOLE, TABLE)
def seasonal_differences(y, m, most, test, scratch):
    """0 or 1, by the strength of the season (STL) or the test of Osborn, Chui, Smith & Birchenhall."""
    if most < 1 or m < 2 or len(y) < 2 * m + 5 or _constant(y):
        return 0
    if test == OCSB:
        statistic = ocsb(y, m, scratch)
        return 1 if statistic > ocsb_critical(m) else 0
    return 1 if strength(y, m, scratch) > _STRONG else 0


@kernel
def plain_differences(x, most):
    """0 to `most`, by KPSS at 5 %, on x in place; what differencing made constant is not differenced further."""
    n = len(x)
    for d in range(most):
        if n - d < 5 or _constant(x[: n - d]) or not kpss(x[: n - d]) > _KPSS_5_PERCENT:
            return d
        for t in range(n - d - 1):
            x[t] = x[t + 1] - x[t]
    return most


@kernel
def _constant(x):
    low, high = np.inf, -np.inf
    for t in range(len(x)):
        low, high = min(low, x[t]), max(high, x[t])
    return not high - low > 1e-12 * max(abs(low), abs(high))


@kernel
def ocsb_critical(m):
    """Critical value at 5 %, the curve through the simulated ones that R's `forecast` uses."""
    log = np.log(m) - 0.7656451
    return -0.2937411 * np.exp(-0.2850853 * log - 0.05983644 * log * log) - 1.652202


@kernel
def ocsb(y, m, scratch):
    """t statistic of the seasonal level in the test of Osborn et al. 1988 (Oxford Bulletin 50), lags by AICc.

    Both differences of y are regressed on lags of themselves, on the seasonal difference a period ago and on the plain
    difference a season ago, the latter two less the autoregression. scratch is [6, n or more].
    """
    best, statistic = np.inf, 0.0
    for lags in range(1, _MOST_LAGS + 1):
        criterion, value = _ocsb(y, m, lags, scratch)
        if criterion < best:
            best, statistic = criterion, value
    return statistic


@kernel
def _ocsb(y, m, lags, scratch):
    """AICc and t statistic with so many lags; infinite where they can't be told apart."""
    n, size = len(y) - m - 1, lags + 2
    if n - lags < size + 3:
        return np.inf, 0.0
    gram, root, solution = scratch[4, :36].reshape((6, 6)), scratch[4, 36:72].reshape((6, 6)), scratch[4, 72:78]
    work, kept = scratch[5, :6], scratch[5, 8:14].view(np.int64)
    _autoregression(y, m, lags, scratch)
    for i in range(size + 1):  # both differences, their lags, what is tested
        for j in range(i + 1):
            total = 0.0
            for t in range(lags, n):
                total += _term(i, t, lags, scratch) * _term(j, t, lags, scratch)
            gram[i, j] = total
            gram[j, i] = total
    found = linear.independent(gram[1:, 1:], size, root, kept)
    if found < size:
        return np.inf, 0.0
    linear.regress(gram[0, 1:], root, kept, found, size, solution)
    rest, rows = gram[0, 0], n - lags
    for i in range(size):
        rest -= solution[i] * gram[0, 1 + i]
    if not rest > 0.0:
        return np.inf, 0.0
    k, inverse = size + 1, _last_of_inverse(root, kept, size, work)
    aicc = rows * np.log(rest / rows) + 2.0 * k + 2.0 * k * (k + 1) / max(rows - k - 1, 1)
    return aicc, solution[size - 1] / np.sqrt(rest / (rows - size) * inverse)


@kernel
def _autoregression(y, m, lags, scratch):
    """Both, the seasonal and the plain differences into scratch[:3]; the first's autoregression, constant last, [3]."""
    n, both, seasonal, plain = len(y) - m - 1, scratch[0], scratch[1], scratch[2]
    for t in range(len(y) - m):
        seasonal[t] = y[t + m] - y[t]
    for t in range(len(y) - 1):
        plain[t] = y[t + 1] - y[t]
    for t in range(n):
        both[t] = seasonal[t + 1] - seasonal[t]
    gram, root, solution = scratch[4, :36].reshape((6, 6)), scratch[4, 36:72].reshape((6, 6)), scratch[4, 72:78]
    kept = scratch[5, 8:14].view(np.int64)
    for i in range(lags + 2):  # target, lags, constant
        for j in range(i + 1):
            total = 0.0
            for t in range(lags, n):
                total += (both[t - i] if i <= lags else 1.0) * (both[t - j] if j <= lags else 1.0)
            gram[i, j] = total
            gram[j, i] = total
    found = linear.independent(gram[1:, 1:], lags + 1, root, kept)
    linear.regress(gram[0, 1:], root, kept, found, lags + 1, solution)
    for i in range(lags):
        scratch[3, i] = solution[i]
    scratch[3, _MOST_LAGS] = solution[lags]


@kernel
def _last_of_inverse(root, kept, size, work):
    """Last element on the diagonal of (R'R)^-1, for wherever the pivots have put it."""
    place, total = 0, 0.0
    while kept[place] != size - 1:
        place += 1
    for i in range(size):
        work[i] = 1.0 if i == place else 0.0
        for k in range(i):
            work[i] -= root[i, k] * work[k]
        work[i] /= root[i, i]
        total += work[i] * work[i]
    return total


@kernel
def _term(which, t, lags, scratch):
    """A column of the second regression in period t: target, its lags, and the two levels less the autoregression."""
    if which <= lags:
        return scratch[0, t - which]
    source = which - lags  # the seasonal difference before this period, or the plain one a season ago
    total = scratch[source, t] - scratch[3, _MOST_LAGS]
    for i in range(lags):
        total -= scratch[3, i] * scratch[source, t - 1 - i]
    return total
