"""What comes after the last period: means, spreads and joint covariances, from a row of `estimation` and the history.

The history is filtered again with the estimated coefficients, so that newer observations need nothing else. With e =
E[noise | history] the differences go on by their own recursion, and are summed up again to the level (Box, Jenkins,
Reinsel & Ljung 2015, chapter 5). Without gaps and with n > r this is what an exact diffuse Kalman filter gives.

The error of a forecast has three parts, all in units of the noise: the noise to come, through the weights psi of the
model with its differences; what isn't known of the past before the first period, Cov(s | history) = A, through the last
residuals, which matters where a moving average is close to 1; and what isn't known of missing values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

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
    SeriesRoom,
    order_of,
    pairs_of,
    read_coefficients,
    room_for_series,
    seen,
)
from forecastkit.arima.likelihood import (
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
from forecastkit.arima.linking import by_name, driver
from forecastkit.arima.orders import count, lost, reach
from forecastkit.arima.polynomials import put
from forecastkit.arima.preparation import (
    SERIES_TYPE,
    Series,
    Terms,
    difference,
    filled,
    impulse,
    newest,
    regressor,
    scale_of,
)
from forecastkit.compiled import kernel

_NOTHING = 1e-7  # a response of the last residuals to the unknown past that is not worth following
MEAN, SPREAD, JOINT = range(3)  # how much of a forecast is asked for


class Outlook(NamedTuple):
    """Work space of a forecast: that of a fit, and what the steps to come need."""

    room: SeriesRoom
    weights: np.ndarray  # [H] psi weights
    covariance: np.ndarray  # [H, H] of the errors
    effects: np.ndarray  # [max(r, C), H] what each step owes to what isn't known
    scratch: np.ndarray  # [max(r, H)]


OUTLOOK_TYPE = types.NamedTuple((SERIES_ROOM_TYPE, VECTOR, TABLE, TABLE, VECTOR), Outlook)


@driver
def forecast_rows(history, ahead, rows, detail, mean, deviation):
    """Fill mean [N, H] and, with a `detail` of `SPREAD`, deviation [N, H] of each series; NaN without an estimate.

    ahead: [N, H, F] covariates to come.
    """
    outlook = _outlook(history, rows, mean.shape[1])
    for i in range(len(rows)):
        series, _ = newest(history, i)
        forecast_one(series, ahead[i], rows[i], outlook, detail, mean[i], deviation[i])


@driver
def joint_covariance(history, ahead, row, mean, covariance):
    """Fill mean [H] and covariance [H, H] of the forecasts of a panel's only series."""
    outlook, deviation = _outlook(history, row.reshape((1, -1)), len(mean)), np.zeros(len(mean))
    series, _ = newest(history, 0)
    forecast_one(series, ahead, row, outlook, JOINT, mean, deviation)
    for h in range(len(mean)):
        for k in range(len(mean)):
            covariance[h, k] = outlook.covariance[h, k]


@driver
def filter_rows(history, rows, residual):
    """Fill residual [R] with E[noise | history]; NaN where differencing took a period or there is no estimate."""
    outlook = _outlook(history, rows, 1)
    blank = np.zeros((1, history.known.shape[1]))
    for i in range(len(rows)):
        last = history.offsets[i + 1]
        residual[history.offsets[i] : last] = np.nan
        series, _ = newest(history, i)
        mean, deviation = np.zeros(1), np.zeros(1)
        forecast_one(series, blank, rows[i], outlook, MEAN, mean, deviation)
        if not np.isnan(mean[0]) and rows[i, REASON] != EXACT:
            room, n = outlook.room, len(series.y) - lost(order_of(rows[i]))
            for t in range(n):
                residual[last - n + t] = room.units[0] * room.bench.room.rows[RESIDUAL, t]


@driver
def _outlook(history, rows, horizon):
    """Work space for these rows."""
    r, k = 1, 1
    for i in range(len(rows)):
        order = order_of(rows[i])
        r, k = max(r, reach(order)), max(k, count(order))
    room = room_for_series(history, 0, r, k)
    effects, scratch = np.zeros((max(r, len(room.units)), horizon)), np.zeros(max(r, horizon))
    return Outlook(room, np.zeros(horizon), np.zeros((horizon, horizon)), effects, scratch)


@by_name(types.void, SERIES_TYPE, TABLE, VECTOR, OUTLOOK_TYPE, WHOLE, VECTOR, VECTOR)
def forecast_one(series, ahead, row, outlook, detail, mean, deviation):
    """Forecast one series; from a `detail` of `SPREAD` on with deviations, with `JOINT` also outlook.covariance."""
    horizon, order, room = len(mean), order_of(row), outlook.room
    periods, observed = len(series.y), seen(series.y)[0]
    if int(row[REASON]) in FAILED or periods - lost(order) <= reach(order) or observed < lost(order) + 1:
        mean[:] = np.nan
        deviation[:] = np.nan
        return
    noise = _filter(series, order, row, room)
    unit, coming = room.units[0], Series(mean, series.start + periods, ahead, series.season)
    for h in range(horizon):
        mean[h] = trend(row, series.start, periods + h) / unit
    n, inner, c = periods - lost(order), room.bench.room, room.bench.best[1, : count(order)]
    go_on(order, c, inner.rows[SERIES, :n], inner.rows[RESIDUAL, :n], room.level[:periods], outlook.scratch, mean)
    for h in range(horizon):
        mean[h] = unit * mean[h] + effect(coming, row, h)
    if detail == MEAN:
        return
    outlook.covariance[:] = 0.0
    if noise and row[SIGMA] != 0.0:
        _covariance(order, c, series.y, outlook, detail == JOINT)
    for h in range(horizon):
        deviation[h] = row[SIGMA] * np.sqrt(max(outlook.covariance[h, h], 0.0))
        for k in range(horizon if detail == JOINT else 0):
            outlook.covariance[h, k] *= row[SIGMA] * row[SIGMA]


@kernel
def _filter(series, order, row, room):
    """The history in units of `room.units[0]`: differences and their noise into the likelihood's room, the level.

    All less the regression, gaps at their estimates. False where no noise is left of the series.
    """
    y, c, inner = series.y, room.bench.best[1, : count(order)], room.bench.room
    n, gaps = len(y) - lost(order), len(y) - seen(y)[0]
    columns, level = room.flat[: (1 + gaps) * n].reshape((1 + gaps, n)), room.level[: len(y)]
    read_coefficients(order, row, c)
    unit = _clean(series, order, row, level, columns)
    room.units[0] = unit
    noise = np.isfinite(log_likelihood(order, c, columns, 0, inner, False))
    filled(y, series.season, level)
    for t in range(len(y)):
        level[t] = (level[t] - effect(series, row, t)) / unit
    if not noise:
        put(columns[0], inner.rows[SERIES, :n])
        inner.rows[RESIDUAL, :n] = 0.0
        return False
    column = 1
    for t in range(len(y)):
        if np.isnan(y[t]):
            level[t] -= inner.betas[0, column]
            column += 1
    return True


@kernel
def effect(series, row, t):
    """What Fourier terms and covariates add to period t."""
    total, own, features = 0.0, int(row[PAIRS]), series.known.shape[1]
    terms, spare = Terms(0, 0, own, features), pairs_of(row, features) - own
    for column in range(2 * own + features):
        place = column if column < 2 * own else column + 2 * spare
        b = row[REGRESSION + 2 + place]
        if b != 0.0:
            total += b * regressor(series, terms, column, t)
    return total


@kernel
def trend(row, start, t):
    """What constant and line add to the difference in period t of the series."""
    return row[CONSTANT] * row[REGRESSION] + row[LINE] * row[REGRESSION + 1] * (start + t - row[ORIGIN]) / 100.0


@kernel
def _clean(series, order, row, level, columns):
    """The differenced series less its regression, and a column a gap; returns what it was divided by."""
    y, n, size = series.y, columns.shape[1], 0.0
    filled(y, series.season, level)
    for t in range(len(y)):
        size = max(size, abs(level[t]))
        level[t] -= effect(series, row, t)
    difference(level, order, level)
    for t in range(n):
        level[t] -= trend(row, series.start, t + lost(order))
    unit = row[SIGMA] if row[SIGMA] > 0.0 else scale_of(level[:n], size)
    for t in range(n):
        columns[0, t] = level[t] / unit
    column = 1
    for t in range(len(y)):
        if np.isnan(y[t]):
            impulse(t, order, level, columns[column])
            column += 1
    return unit


@kernel
def go_on(order, c, w, e, level, scratch, out):
    """The next values of a series from its differences w [n] less their trend, their noise e [n] and its level [T].

    `out` [H] holds the trend of the differences to come and becomes the values; `scratch` has room for H values.
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
        out[h] = scratch[h] + out[h]
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
def _covariance(order, c, y, outlook, joint):
    """Covariance of the errors in units of the noise into outlook.covariance; its diagonal alone unless `joint`."""
    weights, covariance, horizon = outlook.weights, outlook.covariance, len(outlook.weights)
    _weights(order, c, weights)
    for h in range(horizon):
        for k in range(0 if joint else h, h + 1):
            total = 0.0
            for i in range(k + 1):
                total += weights[i] * weights[i + h - k]
            covariance[h, k] = total
            covariance[k, h] = total
    if order.q + order.Q:
        _add_past(order, c, len(y) - lost(order), outlook, joint)
    if seen(y)[0] < len(y):
        _add_gaps(order, c, y, outlook, joint)


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
def _add_past(order, c, n, outlook, joint):
    """Adds E A E', E [H, r] how forecasts depend on what is not known of the past before the first period."""
    inner, horizon, covariance = outlook.room.bench.room, len(outlook.weights), outlook.covariance
    r, psi = reach(order), inner.rows[PSI]
    q_star = order.q + order.m * order.Q
    most = 0.0
    for t in range(max(0, n - r - q_star), n):
        most = max(most, abs(psi[t]))
    if most < _NOTHING:
        return
    effects, scratch = outlook.effects, outlook.scratch
    for i in range(r):  # row i: the effect of s_i, whose residuals are -psi, i periods later
        effects[i] = 0.0
        for a in range(order.Q + 1):
            for b in range(order.q + 1):
                lag = a * order.m + b
                weight = (c[order.p + order.q + order.P + a - 1] if a else 1.0) * (c[order.p + b - 1] if b else 1.0)
                for h in range(min(lag, horizon)):
                    at = n + h - lag - i
                    if at >= 0:
                        effects[i, h] -= weight * psi[at]
        summed(order, c, effects[i])
    for h in range(horizon):
        for i in range(r):
            total = 0.0
            for j in range(r):
                total += inner.squares[S_A, i, j] * effects[j, h]
            scratch[i] = total
        for k in range(0 if joint else h, h + 1):
            total = 0.0
            for i in range(r):
                total += scratch[i] * effects[i, k]
            covariance[h, k] += total
            if k < h:
                covariance[k, h] += total


@kernel
def _add_gaps(order, c, y, outlook, joint):
    """Adds what the missing values' own uncertainty makes: F C^-1 F', F [H, gaps] the forecasts of their columns."""
    inner, level, n = outlook.room.bench.room, outlook.room.level[: len(y)], len(y) - lost(order)
    horizon, covariance, effects = len(outlook.weights), outlook.covariance, outlook.effects
    root, kept = inner.grams[GAP_ROOT], inner.kept[1]
    for rank in range(int(inner.sums[MISSING])):
        column, t = 1 + kept[rank], _gap(y, kept[rank])
        impulse(t, order, level, inner.rows[SERIES, :n])
        level[:] = 0.0
        level[t] = 1.0
        project(order, c, inner, Y, column, n)
        own = effects[rank]
        own[:] = 0.0
        go_on(order, c, inner.rows[SERIES, :n], inner.rows[RESIDUAL, :n], level, outlook.scratch, own)
        for k in range(rank):
            for h in range(horizon):
                own[h] -= root[rank, k] * effects[k, h]
        for h in range(horizon):
            own[h] /= root[rank, rank]
        for h in range(horizon):
            for k in range(0 if joint else h, h + 1):
                covariance[h, k] += own[h] * own[k]
                if k < h:
                    covariance[k, h] += own[h] * own[k]


@kernel
def _gap(y, which):
    """Where the gap of that number is."""
    found = -1
    for t in range(len(y)):
        found += np.isnan(y[t])
        if np.isnan(y[t]) and found == which:
            return t
    return len(y) - 1
