"""From a series as it is sold to the columns that the likelihood works on.

Missing values are filled so that everything can be differenced; each fill then has a column of its own, in which the
likelihood finds what the value must have been. The regression has a mean and a line in the differenced series (the
`trend`), Fourier terms and covariates, all but the first two differenced like the series.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from forecastkit.arima.likelihood import ORDER_TYPE, TABLE, VECTOR, WHOLE
from forecastkit.arima.linking import by_name, driver
from forecastkit.arima.orders import lost
from forecastkit.arima.polynomials import put
from forecastkit.compiled import kernel

MOST_GAPS = 120  # of one series; with more of them only its newest part is looked at
ROUNDING = 1e-9  # relative size below which numbers are what arithmetic leaves behind


class Terms(NamedTuple):
    """The regression: constant and line in the differenced series (0 or 1), pairs of Fourier terms, covariates."""

    constant: int
    line: int
    pairs: int
    known: int


TERMS_TYPE = types.NamedUniTuple(types.int64, 4, Terms)


class History(NamedTuple):
    """A panel as the kernels take it, its series one after another."""

    values: np.ndarray  # [R] NaN where nothing is known
    offsets: np.ndarray  # [N + 1] where each begins
    starts: np.ndarray  # [N] numbers of the first periods
    known: np.ndarray  # [R, F] covariates
    season: int  # periods in a season, of Fourier terms and for filling


class Series(NamedTuple):
    """One of them, or its usable part."""

    y: np.ndarray  # [T]
    start: int  # number of the first period
    known: np.ndarray  # [T, F]
    season: int


SERIES_TYPE = types.NamedTuple((VECTOR, WHOLE, TABLE, WHOLE), Series)


@kernel
def width(terms):
    """Columns of the regression."""
    return terms.constant + terms.line + 2 * terms.pairs + terms.known


@kernel
def difference(x, order, out):
    """(1 - B)^d (1 - B^m)^D x; [T] -> the first T - lost values of out, which may be x."""
    n = len(x)
    for t in range(n):
        out[t] = x[t]
    for _ in range(order.D):
        n -= order.m
        for t in range(n):
            out[t] = out[t + order.m] - out[t]
    for _ in range(order.d):
        n -= 1
        for t in range(n):
            out[t] = out[t + 1] - out[t]
    return n


@kernel
def filled(y, season, out):
    """NaN on the line between the nearest values at its place in the season, else between the nearest values at all.

    Returns how many were filled. Before the first value and after the last stands that value.
    """
    gaps = 0
    for t in range(len(y)):
        out[t] = y[t]
        gaps += np.isnan(y[t])
    if gaps:
        for place in range(min(season, len(y))):
            _bridge(out[: len(y)], place, season)
        _bridge(out[: len(y)], 0, 1)
    return gaps


@kernel
def _bridge(x, first, step):
    """Fill NaN at first, first + step, ... by linear interpolation, unless there is nothing else."""
    last = -1
    for t in range(first, len(x), step):
        if np.isnan(x[t]):
            continue
        for gap in range(first if last < 0 else last + step, t, step):
            share = 0.0 if last < 0 else (gap - last) / (t - last)
            x[gap] = x[t] if last < 0 else x[last] + share * (x[t] - x[last])
        last = t
    if last >= 0:
        for gap in range(last + step, len(x), step):
            x[gap] = x[last]


@kernel
def newest_part(y):
    """Where the part of the series begins that has at most `MOST_GAPS` gaps and starts with a value."""
    gaps, first = 0, len(y)
    for t in range(len(y) - 1, -1, -1):
        if np.isnan(y[t]):
            gaps += 1
            if gaps > MOST_GAPS:
                break
        else:
            first = t
    return first


@driver  # a kernel would not count those who hold what it returns
def newest(history, i):
    """The newest usable part of series i, and where it begins among the values of the panel."""
    begin, end = history.offsets[i], history.offsets[i + 1]
    first = begin + newest_part(history.values[begin:end])
    start = history.starts[i] + first - begin
    return Series(history.values[first:end], start, history.known[first:end], history.season), first


@kernel
def wave(number, season, pair, out_of_two):
    """Sine (0) and cosine (1) of the harmonic `pair` = 1, 2, ... at a period number."""
    angle = 2.0 * np.pi * (number % season) / season * pair
    return np.sin(angle) if out_of_two == 0 else np.cos(angle)


@kernel
def regressor(series, terms, column, t):
    """Level of a Fourier term or covariate, `column` counting from 0, in period t of the series."""
    if column < 2 * terms.pairs:
        return wave(series.start + t, series.season, 1 + column // 2, column % 2)
    return series.known[t, column - 2 * terms.pairs]


@by_name(types.void, SERIES_TYPE, ORDER_TYPE, TERMS_TYPE, TABLE, VECTOR, VECTOR)
def lay_columns(series, order, terms, columns, level, units):
    """Fill `columns` [1 + width + gaps, n]: the differenced series, its regressors, a column a gap.

    `level` [T] is scratch. units[0] is what the series was divided by, units[1:] the same of the regressors, 0 for one
    that can't be learned from and becomes 0.
    """
    y, season = series.y, series.season
    periods, n, row, size = len(y), columns.shape[1], 1, 0.0
    filled(y, season, level)
    for t in range(periods):
        size = max(size, abs(level[t]))
    difference(level[:periods], order, level)
    units[0] = scale_of(level[:n], size)
    for t in range(n):
        columns[0, t] = level[t] / units[0]
    for power in range(2):
        if (terms.constant, terms.line)[power]:
            units[row] = 1.0
            for t in range(n):
                columns[row, t] = 1.0 if power == 0 else (t + lost(order)) / 100.0
            row += 1
    for column in range(2 * terms.pairs + terms.known):
        for t in range(periods):
            level[t] = regressor(series, terms, column, t)
        enough = column >= 2 * terms.pairs or 2 * periods >= 3 * season
        units[row] = _lay(level[:periods], order, enough, columns[row])
        row += 1
    for t in range(periods):
        if np.isnan(y[t]):
            impulse(t, order, level[:periods], columns[row])
            row += 1


@kernel
def impulse(t, order, level, out):
    """The differences of a series that is 1 in period t and else 0."""
    for i in range(len(level)):
        level[i] = 0.0
    level[t] = 1.0
    difference(level, order, level)
    put(level[: len(out)], out)


@kernel
def _lay(level, order, enough, out):
    """One regressor, differenced and divided by its spread, which is returned."""
    periods, total, largest, square = len(level), 0.0, 0.0, 0.0
    for t in range(periods):
        total += level[t]
        largest = max(largest, abs(level[t]))
    for t in range(periods):
        square += (level[t] - total / periods) ** 2
    spread, left = np.sqrt(square / periods), 0.0
    difference(level, order, level)
    for t in range(len(out)):
        left = max(left, abs(level[t]))
    # A column that never moves, or a line where lines are differenced away, says nothing.
    if not (enough and spread > ROUNDING * largest and left > ROUNDING * largest):
        for t in range(len(out)):
            out[t] = 0.0
        return 0.0
    for t in range(len(out)):
        out[t] = level[t] / spread
    return spread


@kernel
def scale_of(w, size):
    """Root mean square of the differenced series, or 1 times the size of the series where that is only rounding."""
    largest = 0.0
    for t in range(len(w)):
        largest = max(largest, abs(w[t]))
    if not largest > ROUNDING * size:
        return size if size > 0.0 else 1.0
    total = 0.0
    for t in range(len(w)):
        total += (w[t] / largest) ** 2
    return largest * np.sqrt(total / len(w))
