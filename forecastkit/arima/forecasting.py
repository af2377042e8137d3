"""What comes after the last period: means, spreads and joint covariances, from a row of `estimation` and the history.

The history is filtered again with the estimated coefficients, so that newer observations need nothing else. With e =
E[noise | history] the differences go on by their own recursion, and are summed up again to the level (Box, Jenkins,
Reinsel & Ljung 2015, chapter 5). Without gaps and with n > r this is what an exact diffuse Kalman filter gives.

The error of a forecast has three parts, all in units of the noise: the noise to come, through the weights psi of the
model with its differences; what isn't known of the past before the first period, Cov(s | history) = A, through the last
residuals, which matters where a moving average is close to 1; and what isn't known of missing values.
"""

from __future__ import annotations

import numpy as np
from numba import types

from forecastkit.arima.compiled import by_name, driver, kernel
from forecastkit.arima.estimation import (
    CONSTANT,
    EXACT,
    FAILED,
    LINE,
    ORIGIN,
    PAIRS,
    REASON,
    REGRESSION,
    SERIES_ROOM_TYPE,
    SIGMA,
    order_of,
    read_coefficients,
    room_for_series,
    seen,
)
from forecastkit.arima.likelihood import (
    BOOL,
    GAP_ROOT,
    MISSING,
    PSI,
    RESIDUAL,
    S_A,
    SERIES,
    TABLE,
    VECTOR,
    WHOLE,
    Y,
    log_likelihood,
    project,
)
from forecastkit.arima.orders import count, lost, reach
from forecastkit.arima.polynomials import put
from forecastkit.arima.preparation import Terms, difference, filled, impulse, newest_part, regressor, scale_of

_NOTHING = 1e-7  # a response of the last residuals to the unknown past that is not worth following


@driver
def forecast_rows(values, offsets, starts, known, ahead, season, pairs, rows, spread, mean, deviation):
    """Fill mean [N, H] and, where `spread`, deviation [N, H] of each series; NaN where its row has no estimate.

    values, offsets, starts, known: as in `fit_rows` · ahead: [N, H, F] covariates to come · pairs: Fourier terms that
    the rows have room for.
    """
    room, work = _room(values, offsets, rows, mean.shape[1])
    for i in range(len(offsets) - 1):
        first = offsets[i] + newest_part(values[offsets[i] : offsets[i + 1]])
        last, start = offsets[i + 1], starts[i] + first - offsets[i]
        forecast_one(
            values[first:last], start, known[first:last], ahead[i], season, pairs, rows[i], room, work,
            spread, False, mean[i], deviation[i],
        )  # fmt: skip


@driver
def joint_covariance(values, start, known, ahead, season, pairs, row, mean, covariance):
    """Fill mean [H] and covariance [H, H] of the forecasts of one series."""
    offsets = np.array([0, len(values)])
    room, work = _room(values, offsets, row.reshape((1, -1)), len(mean))
    deviation = np.zeros(len(mean))
    first = newest_part(values)
    forecast_one(
        values[first:], start + first, known[first:], ahead, season, pairs, row, room, work,
        True, True, mean, deviation,
    )  # fmt: skip
    for h in range(len(mean)):
        for k in range(len(mean)):
            covariance[h, k] = work[1 + h, k]


@driver
def filter_rows(values, offsets, starts, known, season, pairs, rows, residual):
    """Fill residual [R] with E[noise | history]; NaN where differencing took a period or there is no estimate."""
    room, work = _room(values, offsets, rows, 1)
    blank = np.zeros((1, known.shape[1]))
    for i in range(len(offsets) - 1):
        residual[offsets[i] : offsets[i + 1]] = np.nan
        first = offsets[i] + newest_part(values[offsets[i] : offsets[i + 1]])
        last, start = offsets[i + 1], starts[i] + first - offsets[i]
        mean, deviation = np.zeros(1), np.zeros(1)
        forecast_one(
            values[first:last], start, known[first:last], blank, season, pairs, rows[i], room, work,
            False, False, mean, deviation,
        )  # fmt: skip
        if not np.isnan(mean[0]) and rows[i, REASON] != EXACT:
            n = last - first - lost(order_of(rows[i]))
            for t in range(n):
                residual[last - n + t] = room.units[0] * room.bench.room.rows[RESIDUAL, t]


@driver
def _room(values, offsets, rows, horizon):
    """Work space for these rows: that of a fit, and one for what goes on."""
    r, k = 1, 1
    for i in range(len(rows)):
        order = order_of(rows[i])
        r, k = max(r, reach(order)), max(k, count(order))
    room = room_for_series(values, offsets, 0, r, k)
    return room, np.zeros((4 + horizon + max(r, len(room.units)), max(horizon, r) + 1))


@by_name(
    types.void, VECTOR, WHOLE, TABLE, TABLE, WHOLE, WHOLE, VECTOR, SERIES_ROOM_TYPE, TABLE, BOOL, BOOL, VECTOR, VECTOR
)
def forecast_one(y, start, known, ahead, season, pairs, row, room, work, spread, joint, mean, deviation):
    """Forecast one series; with `joint` the covariance of its steps stands in work[1:1 + H, :H]."""
    horizon, order, reason = len(mean), order_of(row), int(row[REASON])
    observed, _ = seen(y)
    n, gaps = len(y) - lost(order), len(y) - observed
    if reason in FAILED or n <= reach(order) or observed < lost(order) + 1:
        mean[:] = np.nan
        deviation[:] = np.nan
        return
    inner, c = room.bench.room, room.bench.best[1, : count(order)]
    columns = room.flat[: (1 + gaps) * n].reshape((1 + gaps, n))
    read_coefficients(order, row, c)
    unit = _clean(y, order, start, known, season, pairs, row, room.level, columns)
    room.units[0] = unit
    value = log_likelihood(order, c, columns, 0, inner, False)
    level = room.level[: len(y)]
    filled(y, season, level)
    for t in range(len(y)):
        level[t] = (level[t] - effect(season, pairs, row, start, known, t)) / unit
    column = 1
    if not np.isfinite(value):  # nothing is left of the series
        put(columns[0], inner.rows[SERIES, :n])
        inner.rows[RESIDUAL, :n] = 0.0
    else:
        for t in range(len(y)):
            if np.isnan(y[t]):
                level[t] -= inner.betas[0, column]
                column += 1
    drift = work[0]
    for h in range(horizon):
        drift[h] = trend(row, start, len(y) + h) / unit
    go_on(order, c, inner.rows[SERIES, :n], inner.rows[RESIDUAL, :n], level, drift, work[-1], mean)
    for h in range(horizon):
        mean[h] = unit * mean[h] + effect(season, pairs, row, start + len(y), ahead, h)
    if not spread:
        return
    for h in range(horizon):
        deviation[h] = 0.0
    if not np.isfinite(value) or row[SIGMA] == 0.0:
        for h in range(horizon):
            for k in range(horizon):
                work[1 + h, k] = 0.0
        return
    _covariance(order, c, y, gaps, n, room, work, joint, horizon)
    for h in range(horizon):
        deviation[h] = row[SIGMA] * np.sqrt(max(work[1 + h, h], 0.0))
        for k in range(horizon if joint else 0):
            work[1 + h, k] *= row[SIGMA] * row[SIGMA]


@kernel
def effect(season, pairs, row, start, known, t):
    """What Fourier terms and covariates add to period t."""
    total, own = 0.0, int(row[PAIRS])
    terms = Terms(0, 0, own, known.shape[1])
    for column in range(2 * own + known.shape[1]):
        place = column if column < 2 * own else column + 2 * (pairs - own)
        b = row[REGRESSION + 2 + place]
        if b != 0.0:
            total += b * regressor(terms, season, column, start, known, t)
    return total


@kernel
def trend(row, start, t):
    """What constant and line add to the difference in period t of the series."""
    return row[CONSTANT] * row[REGRESSION] + row[LINE] * row[REGRESSION + 1] * (start + t - row[ORIGIN]) / 100.0


@kernel
def _clean(y, order, start, known, season, pairs, row, level, columns):
    """The differenced series less its regression, and a column a gap; returns what it was divided by."""
    periods, n = len(y), columns.shape[1]
    filled(y, season, level)
    size = 0.0
    for t in range(periods):
        size = max(size, abs(level[t]))
        level[t] -= effect(season, pairs, row, start, known, t)
    difference(level[:periods], order, level)
    for t in range(n):
        level[t] -= trend(row, start, t + lost(order))
    unit = row[SIGMA] if row[SIGMA] > 0.0 else scale_of(level[:n], size)
    for t in range(n):
        columns[0, t] = level[t] / unit
    column = 1
    for t in range(periods):
        if np.isnan(y[t]):
            impulse(t, order, level[:periods], columns[column])
            column += 1
    return unit


@kernel
def go_on(order, c, w, e, level, drift, scratch, out):
    """The next values of a series from its differences w [n] (without `drift`), their noise e [n] and its level [T].

    `drift` [H] is added to each difference to come; `scratch` has room for H values.
    """
    i, j = order.p, order.p + order.q
    k = j + order.P
    n, m, horizon = len(w), order.m, len(out)
    for h in range(horizon):
        total = 0.0
        for a in range(order.P + 1):
            for b in range(order.p + 1):
                lag = a * m + b
                if lag == 0:
                    continue
                weight = -(c[j + a - 1] if a else -1.0) * (c[b - 1] if b else -1.0)
                back = h - lag
                total += weight * (scratch[back] if back >= 0 else (w[n + back] if n + back >= 0 else 0.0))
        for a in range(order.Q + 1):
            for b in range(order.q + 1):
                lag = a * m + b
                back = h - lag
                if lag == 0 or back >= 0 or n + back < 0:
                    continue
                total += (c[k + a - 1] if a else 1.0) * (c[i + b - 1] if b else 1.0) * e[n + back]
        scratch[h] = total
    for h in range(horizon):
        out[h] = scratch[h] + drift[h]
    sum_up(order, level, out)


@kernel
def sum_up(order, level, out):
    """Differences to come become values to come, in place."""
    periods = len(level)
    for h in range(len(out)):
        total = out[h]
        for a in range(order.D + 1):
            for b in range(order.d + 1):
                lag = a * order.m + b
                if lag == 0:
                    continue
                # (1 - B)^d (1 - B^m)^D with d, D of at most 2
                weight = _binomial(order.D, a) * _binomial(order.d, b)
                back = h - lag
                before = out[back] if back >= 0 else (level[periods + back] if periods + back >= 0 else 0.0)
                total -= weight * before
        out[h] = total


@kernel
def _binomial(power, k):
    """Coefficient of B^k in (1 - B)^power."""
    if k == 0:
        return 1.0
    if k == power:
        return -1.0 if power == 1 else 1.0
    return -2.0


@kernel
def _covariance(order, c, y, gaps, n, room, work, joint, horizon):
    """Covariance of the errors in units of the noise into work[1:1 + H, :H]; its diagonal alone unless `joint`."""
    inner, weights = room.bench.room, work[0, :horizon]
    _weights(order, c, weights)
    for h in range(horizon):
        for k in range(0 if joint else h, h + 1):
            total = 0.0
            for i in range(k + 1):
                total += weights[i] * weights[i + h - k]
            work[1 + h, k] = total
            work[1 + k, h] = total
    if order.q + order.Q:
        _add_past(order, c, n, inner, work, joint, horizon)
    if gaps:
        _add_gaps(order, c, y, n, room, work, joint, horizon)


@kernel
def _weights(order, c, out):
    """psi weights of the model with its differences, from theta* / (phi* differences)."""
    i, j = order.p, order.p + order.q
    last = j + order.P
    out[:] = 0.0
    for a in range(order.Q + 1):
        for b in range(order.q + 1):
            lag = a * order.m + b
            if lag < len(out):
                out[lag] += (c[last + a - 1] if a else 1.0) * (c[i + b - 1] if b else 1.0)
    summed(order, c, out)


@kernel
def summed(order, c, x):
    """x / (phi* differences) from zeros, in place."""
    j = order.p + order.q
    for h in range(len(x)):
        total = x[h]
        for b in range(1, min(order.p, h) + 1):
            total += c[b - 1] * x[h - b]
        x[h] = total
    for h in range(len(x)):
        total = x[h]
        for a in range(1, order.P + 1):
            if a * order.m <= h:
                total += c[j + a - 1] * x[h - a * order.m]
        x[h] = total
    for _ in range(order.d):
        for h in range(1, len(x)):
            x[h] += x[h - 1]
    for _ in range(order.D):
        for h in range(order.m, len(x)):
            x[h] += x[h - order.m]


@kernel
def _add_past(order, c, n, inner, work, joint, horizon):
    """Adds E A E', E [H, r] how forecasts depend on what is not known of the past before the first period."""
    r, psi = reach(order), inner.rows[PSI]
    q_star = order.q + order.m * order.Q
    most = 0.0
    for t in range(max(0, n - r - q_star), n):
        most = max(most, abs(psi[t]))
    if most < _NOTHING:
        return
    first, scratch = 1 + horizon, work[-1]
    for i in range(r):  # row i: the effect of s_i, whose residuals are -psi, i periods later
        effects = work[first + i, :horizon]
        effects[:] = 0.0
        for a in range(order.Q + 1):
            for b in range(order.q + 1):
                lag = a * order.m + b
                weight = (c[order.p + order.q + order.P + a - 1] if a else 1.0) * (c[order.p + b - 1] if b else 1.0)
                for h in range(min(lag, horizon)):
                    at = n + h - lag - i
                    if at >= 0:
                        effects[h] -= weight * psi[at]
        summed(order, c, effects)
    for h in range(horizon):
        for i in range(r):
            total = 0.0
            for j in range(r):
                total += inner.squares[S_A, i, j] * work[first + j, h]
            scratch[i] = total
        for k in range(0 if joint else h, h + 1):
            total = 0.0
            for i in range(r):
                total += scratch[i] * work[first + i, k]
            work[1 + h, k] += total
            if k < h:
                work[1 + k, h] += total


@kernel
def _add_gaps(order, c, y, n, room, work, joint, horizon):
    """Adds what the missing values' own uncertainty makes: F C^-1 F', F [H, gaps] the forecasts of their columns."""
    inner, first = room.bench.room, 1 + horizon
    root, kept = inner.grams[GAP_ROOT], inner.kept[1]
    level, nothing = room.level[: len(y)], work[-2, :horizon]
    for rank in range(int(inner.sums[MISSING])):
        column, t = 1 + kept[rank], _gap(y, kept[rank])
        impulse(t, order, level, inner.rows[SERIES, :n])
        level[:] = 0.0
        level[t] = 1.0
        nothing[:] = 0.0
        project(order, c, inner, Y, column, n)
        own = work[first + rank, :horizon]
        go_on(order, c, inner.rows[SERIES, :n], inner.rows[RESIDUAL, :n], level, nothing, work[-1], own)
        for k in range(rank):
            for h in range(horizon):
                own[h] -= root[rank, k] * work[first + k, h]
        for h in range(horizon):
            own[h] /= root[rank, rank]
        for h in range(horizon):
            for k in range(0 if joint else h, h + 1):
                work[1 + h, k] += own[h] * own[k]
                if k < h:
                    work[1 + k, h] += own[h] * own[k]


@kernel
def _gap(y, which):
    """Where the gap of that number is."""
    found = -1
    for t in range(len(y)):
        found += np.isnan(y[t])
        if np.isnan(y[t]) and found == which:
            return t
    return len(y) - 1
