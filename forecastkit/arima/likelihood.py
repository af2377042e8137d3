"""The exact Gaussian likelihood of a differenced series, scale and regression concentrated out, with its gradient.

The model is phi(B) Phi(B^m) (w - X b) = theta(B) Theta(B^m) e. With s what the first r periods owe to the unknown past
(`initial`), Z = [psi, B psi, ...] the response of the filtered series to it, y = phi* w / theta* started from zeros and
h = Z'y, G = Z'Z,

    Cov(y) = I + Z V Z',   W = (I + GV)^-1 G,   A = V - VWV = Cov(s | w),   S = y'y - h'Ah,
    -2 log L = N log(2 pi S / N) + N + log |I + GV|

(Ljung & Box 1979, Biometrika 66; Otto, Bell & Burman 1987). V may be singular, so it is never factored: G = R'R gives
the symmetric M = I + RVR', with W = R'M^-1 R. For a moving average alone V = UU' is known, U made of its coefficients,
and M = I + U'GU. h and the first row of G are the first r values of a filter run backwards, so that a value costs a few
filter passes, O(n terms), and O(r^3).

Regression coefficients are generalised least squares in the same inner product. A missing value is a regression
coefficient too, of a column that is 1 in its period, and integrated out, which adds log |X'Cov^-1 X| and takes one from
N: Gomez, Maravall & Pena 1999 (Journal of Econometrics 88) show that this is the likelihood of the observed values that
a Kalman filter with exact diffuse start gives, at the price of a column a gap.

The gradient is the reverse mode of all this: its cost does not grow with the number of coefficients. The Gauss-Newton
matrix comes with it, as the derivatives of the residuals are shifted copies of a few filtered series.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from forecastkit.arima import chandrasekhar, lanes, linear
from forecastkit.arima.initial import Past, covariance, covariance_adjoint, first_moments, past_room
from forecastkit.arima.linking import by_name, driver
from forecastkit.arima.orders import Order, count, reach, split
from forecastkit.arima.polynomials import (
    apply,
    backward,
    backward_seasonal,
    dot,
    forward,
    forward_seasonal,
    lagged_dot,
    put,
)
from forecastkit.compiled import kernel

_LOG_2PI = 1.8378770664093453


class Room(NamedTuple):
    """Work space and results of one evaluation, for series up to n long, columns up to C and lags up to r.

    Few arrays of many rows, as each array costs compiling time in every kernel; the rows are named below.
    """

    past: Past
    recursion: np.ndarray  # of `chandrasekhar`, for long lags
    tables: np.ndarray  # [6, C, n or r]
    grams: np.ndarray  # [3, C, C]
    kept: np.ndarray  # [2, C] independent columns, and those of missing values
    betas: np.ndarray  # [2, C] regression coefficients (0 for the data), and scratch
    rows: np.ndarray  # [14, n]
    shorts: np.ndarray  # [6, r]
    squares: np.ndarray  # [8, r, r]
    gradients: (
        np.ndarray
    )  # [2, k] of -log L by the coefficients; and what of -2 log L comes through the determinant and V
    information: np.ndarray  # [k, k] Gauss-Newton
    sums: np.ndarray  # S, N, log |M|, missing values that count, and how often all this was evaluated


# Of each column: y, h and A h; of the columns of missing values made orthonormal: w, y and h.
Y, H, AH, ROTATED_W, ROTATED_Y, ROTATED_H = range(6)
GRAM, ROOT, GAP_ROOT = range(3)
# The series less its regression; psi, and psi filtered backwards; E[e | w], and what is put aside of it; scratch; and
# the derivatives of the residual by the first coefficient of each polynomial, but for sign and shift.
SERIES, PSI, ECHO, RESIDUAL, ASIDE, ONE, TWO, THREE = range(8)
SLOPES = 8
VARIANCES = 12  # two rows, of the recursions for long lags
STATE, PULL, SCRATCH, STATE_ASIDE, TAIL, SUMS = range(6)  # E[s | w], V^-1 times that; the last psi, backwards
# The matrices of the text; S_U is R where the model has autoregressive terms, S_X scratch.
S_V, S_G, S_U, S_B, S_M, S_X, S_A, S_W = range(8)  # S_B is U'G, or R V
SUM, DEGREES, LOG_DET, MISSING, EVALUATIONS = range(5)


@driver
def room_for(n, columns, r, k):
    """Work space."""
    width, side = max(n, lanes.padded(r)), lanes.padded(r)
    return Room(
        past_room(r),
        np.zeros((chandrasekhar.rows_for(r, n, columns), lanes.padded(r))),
        np.zeros((6, columns, width)),
        np.zeros((3, columns, columns)),
        np.zeros((2, columns), np.int64),
        np.zeros((2, columns)),
        np.zeros((14, width)),
        np.zeros((6, side)),
        np.zeros((8, side, side)),
        np.zeros((2, max(k, 1))),
        np.zeros((max(k, 1), max(k, 1))),
        np.zeros(5),
    )


VECTOR, TABLE, CUBE = (types.Array(types.float64, d, "C") for d in (1, 2, 3))
INTS = types.Array(types.int64, 2, "C")
PAST_TYPE = types.NamedTuple((types.Array(types.int64, 1, "C"), INTS, TABLE, TABLE, CUBE), Past)
ROOM_TYPE = types.NamedTuple(
    (PAST_TYPE, TABLE, CUBE, CUBE, INTS, TABLE, TABLE, TABLE, CUBE, TABLE, TABLE, VECTOR), Room
)
BOOL, WHOLE, REAL = types.boolean, types.int64, types.float64
ORDER_TYPE = types.NamedUniTuple(types.int64, 7, Order)


@by_name(types.float64, ORDER_TYPE, VECTOR, TABLE, types.int64, ROOM_TYPE, types.boolean)
def log_likelihood(order, c, columns, regressors, room, derive):
    """log L of the first row of `columns` [C, n], given the next `regressors` rows; the others mark missing values.

    Results stand in `room`, gradient and information of -log L only where `derive` is set. Minus infinity where the
    model is not stationary in double precision or the series not longer than its longest lag.
    """
    total, n = columns.shape
    room.sums[EVALUATIONS] += 1.0
    r, gaps = reach(order), total - 1 - regressors
    if n <= r or not first_moments(order, c, room.past):
        return -np.inf
    if derive and r > chandrasekhar.LONG and gaps == 0:
        return _of_long_lags(order, c, columns, room)
    phi, theta, seasonal_phi, seasonal_theta = split(order, c)
    m, one, two = order.m, room.rows[ONE, :n], room.rows[TWO, :n]
    for k in range(total):
        applied, y = room.rows[THREE, :n], room.tables[Y, k, :n]
        apply(columns[k], phi, 1, one)
        apply(one, seasonal_phi, m, applied)
        forward(applied, theta, one)
        forward_seasonal(one, seasonal_theta, m, y)
        _echo(y, theta, seasonal_theta, m, one, two)
        put(two[:r], room.tables[H, k, :r])
    log_det = _determinant(order, c, n, room)
    if not np.isfinite(log_det):
        return -np.inf
    posterior(order, room)
    lost_log = _regression(room, columns, gaps, n, r)
    project(order, c, room, Y, 0, n)
    square = dot(room.rows[RESIDUAL, :n], room.rows[RESIDUAL, :n]) + dot(room.shorts[STATE, :r], room.shorts[PULL, :r])
    degrees = n - lost_log[1]
    room.sums[SUM], room.sums[DEGREES], room.sums[LOG_DET] = square, degrees, log_det
    room.sums[MISSING] = lost_log[1]
    if not (square > 0.0 and degrees > 0.0):
        return -np.inf
    if derive:
        _derive(order, c, columns, gaps, int(lost_log[1]), room)
    return -0.5 * (degrees * (_LOG_2PI + 1.0 + np.log(square / degrees)) + log_det + lost_log[0])


@kernel
def _of_long_lags(order, c, columns, room):
    """log L with its derivatives by the Chandrasekhar recursions; nothing else of the room is filled."""
    total, n = columns.shape
    errors, variances = room.tables[Y], room.rows[VARIANCES:]
    steps = chandrasekhar.Steps(room.past, room.recursion, errors, variances)
    w, gradient = room.rows[SERIES, :n], room.gradients[0, : count(order)]
    log_det = chandrasekhar.whitened(reach(order), columns, steps)
    if not np.isfinite(log_det):
        return -np.inf
    put(columns[0], w)
    if total > 1:
        chandrasekhar.regression(errors[:, :n], variances, room.grams, room.kept[0], room.betas, total)
        for k in range(1, total):
            _subtract(w, room.betas[0, k], columns[k])
    square = 0.0
    for t in range(n):
        square += errors[0, t] * errors[0, t] / variances[0, t]
        room.rows[RESIDUAL, t] = errors[0, t]
    if not square > 0.0:
        return -np.inf
    room.sums[SUM], room.sums[DEGREES], room.sums[LOG_DET], room.sums[MISSING] = square, n, log_det, 0.0
    gradient[:] = 0.0
    chandrasekhar.adjoint(order, c, w, steps, n / square, gradient)
    _slopes(order, c, room, w, n)
    _gauss_newton(order, room, n / square, room.information, n)
    return -0.5 * (n * (_LOG_2PI + 1.0 + np.log(square / n)) + log_det)


@driver
def evaluate(order, c, columns, regressors):
    """log L with its gradient [k] and Gauss-Newton matrix [k, k], both of -log L, and the regression; from Python."""
    room = room_for(columns.shape[1], len(columns), reach(order), count(order))
    value = log_likelihood(order, c, columns, regressors, room, True)
    k = count(order)
    return value, room.gradients[0, :k].copy(), room.information[:k, :k].copy(), room.betas[0, 1:].copy()


@kernel
def _echo(x, theta, seasonal_theta, m, scratch, out):
    """The filter run backwards; its first values are Z'x."""
    backward(x, theta, scratch)
    backward_seasonal(scratch, seasonal_theta, m, out)


@kernel
def _determinant(order, c, n, room):
    """psi, G, V, its root U and the factor of M; returns log |M|."""
    _, theta, _, seasonal_theta = split(order, c)
    m, r, psi, G, U, B, M = (
        order.m,
        reach(order),
        room.rows[PSI, :n],
        room.squares[S_G],
        room.squares[S_U],
        room.squares[S_B],
        room.squares[S_M],
    )
    room.rows[ONE, :n] = 0.0
    room.rows[ONE, 0] = 1.0
    forward(room.rows[ONE, :n], theta, room.rows[TWO, :n])
    forward_seasonal(room.rows[TWO, :n], seasonal_theta, m, psi)
    _echo(psi, theta, seasonal_theta, m, room.rows[ONE, :n], room.rows[ECHO, :n])
    tail = room.shorts[TAIL]
    for i in range(r):
        tail[i] = psi[n - 1 - i]
        G[0, i] = room.rows[ECHO, i]
    for i in range(1, r):
        lanes.copy_shifted(G, i, 1, G, i - 1, 0, r - 1)
        lanes.add_shifted(G, i, 1, -tail[i - 1], room.shorts, TAIL, 0, r - 1)
        G[i, 0] = G[0, i]
    for i in range(r):
        lanes.clear(B, i, r)
        lanes.clear(M, i, r)
        M[i, i] = 1.0
    if order.p + order.P == 0:
        _sparse_products(room.past, r, U, G, B, M)
    else:
        covariance(order, room.past, room.squares[S_V])
        for i in range(r):
            lanes.copy_shifted(U, i, 0, G, i, 0, r)
        if np.isnan(linear.cholesky(U, r)):
            return np.nan
        _dense_products(r, U, room.squares[S_V], room.squares[S_X], B, M)
    return linear.cholesky(M, r)


@kernel
def _sparse_products(past, r, U, G, B, M):
    """U of a pure moving average, U[i, i + q* - lag] = theta_lag; B = U'G and M = I + BU along its few diagonals."""
    for i in range(r):
        lanes.clear(U, i, r)
    for term in range(past.sizes[1]):
        lag, value = past.lags[1, term], past.terms[1, term]
        right = r - lag
        for j in range(lag):
            U[j, j + right] += value
            lanes.add(B, j + right, value, G, j, 0, r)
    for term in range(past.sizes[1]):
        lag, value = past.lags[1, term], past.terms[1, term]
        for i in range(r):
            lanes.add_shifted(M, i, r - lag, value, B, i, 0, lag)


@kernel
def _dense_products(r, R, V, X, B, M):
    """B = R V and M = I + R V R' for an upper triangular R."""
    for i in range(r):
        lanes.combine_rows(B, i, 1.0, R, i, V, i, r, 0, r)
    for i in range(r):
        for j in range(r):
            X[j, i] = B[i, j]
    for i in range(r):
        lanes.combine_rows(M, i, 1.0, R, i, X, i, r, i, r)


@kernel
def _regression(room, columns, gaps, n, r):
    """Generalised least squares: takes the regression out of row 0 of y and h, and out of w.

    Returns log |X'Cov^-1 X| of the columns of missing values and how many of them count.
    """
    total, beta = len(columns), room.betas[0]
    for t in range(n):
        room.rows[SERIES, t] = columns[0, t]
    beta[:total] = 0.0
    if total == 1:
        return 0.0, 0.0
    gram, size = room.grams[GRAM], total - 1
    for i in range(total):
        lanes.clear(room.tables[AH], i, r)
        lanes.combine_rows(room.tables[AH], i, 1.0, room.tables[H], i, room.squares[S_A], 0, r, 0, r)
        for j in range(i + 1):
            gram[i, j] = dot(room.tables[Y, i, :n], room.tables[Y, j, :n]) - dot(
                room.tables[H, j, :r], room.tables[AH, i, :r]
            )
            gram[j, i] = gram[i, j]
    inner, kept, root = gram[1:total, 1:total], room.kept[0], room.grams[ROOT]
    found = linear.independent(inner, size, root, kept)
    linear.regress(gram[0, 1:], root, kept, found, size, beta[1:])
    for k in range(1, total):
        b = beta[k]
        if b != 0.0:
            _subtract(room.tables[Y, 0, :n], b, room.tables[Y, k, :n])
            _subtract(room.tables[H, 0, :r], b, room.tables[H, k, :r])
            _subtract(room.rows[SERIES, :n], b, columns[k])
    if gaps == 0:
        return 0.0, 0.0
    missing = linear.independent(
        gram[total - gaps : total, total - gaps : total], gaps, room.grams[GAP_ROOT], room.kept[1]
    )
    log_gap = 0.0
    for i in range(missing):
        log_gap += 2.0 * np.log(room.grams[GAP_ROOT, i, i])
    return log_gap, float(missing)


@kernel
def _scaled(x, factor):
    for t in range(len(x)):
        x[t] *= factor


@kernel
def _subtract(x, factor, y):
    for t in range(len(x)):
        x[t] -= factor * y[t]


@kernel
def project(order, c, room, table, k, n):
    """E[s | w] of column k of y (`table`) and h (the next table), and what is left of it: state, pull and residual.

    Needs A (`posterior`).
    """
    _, theta, _, seasonal_theta = split(order, c)
    r, state, one = reach(order), room.shorts[STATE], room.rows[ONE, :n]
    y, h = room.tables[table, k, :n], room.tables[table + 1]
    lanes.clear(room.shorts, STATE, r)
    lanes.clear(room.shorts, PULL, r)
    lanes.combine_rows(room.shorts, STATE, 1.0, h, k, room.squares[S_A], 0, r, 0, r)
    for i in range(r):
        room.shorts[PULL, i] = h[k, i]
    lanes.combine_rows(room.shorts, PULL, -1.0, room.shorts, STATE, room.squares[S_G], 0, r, 0, r)
    one[:] = 0.0
    put(state[:r], one[:r])
    forward(one, theta, room.rows[TWO, :n])
    forward_seasonal(room.rows[TWO, :n], seasonal_theta, order.m, one)
    for t in range(n):
        room.rows[RESIDUAL, t] = y[t] - one[t]


@kernel
def _derive(order, c, columns, gaps, missing, room):
    """Gradient and Gauss-Newton matrix of -log L, of the evaluation that stands in `room`."""
    n, r, k = columns.shape[1], reach(order), count(order)
    gradient, information = room.gradients[0], room.information
    gradient[:k] = 0.0
    weight = room.sums[DEGREES] / room.sums[SUM]
    _slopes(order, c, room, room.rows[SERIES, :n], n)
    _residual_gradient(order, room, weight, n)
    _gauss_newton(order, room, weight, information, n)
    for i in range(r):  # W becomes the derivative by V
        for j in range(r):
            room.squares[S_W, i, j] -= weight * room.shorts[PULL, i] * room.shorts[PULL, j]
    if missing:
        put(room.shorts[STATE, :r], room.shorts[STATE_ASIDE, :r])
        put(room.rows[RESIDUAL, :n], room.rows[ASIDE, :n])
        _gap_gradient(order, c, columns, gaps, missing, room)
        put(room.shorts[STATE_ASIDE, :r], room.shorts[STATE, :r])
        put(room.rows[ASIDE, :n], room.rows[RESIDUAL, :n])
    halves = room.gradients[1, :k]
    halves[:] = 0.0
    _filter_gradient(order, c, room, halves, n)
    covariance_adjoint(order, c, room.past, room.squares[S_W], halves)
    for i in range(k):
        gradient[i] += 0.5 * halves[i]


@kernel
def _slopes(order, c, room, w, n):
    """Derivatives of the residual by the first coefficient of each polynomial, but for sign and shift."""
    phi, theta, seasonal_phi, seasonal_theta = split(order, c)
    m, e, one, two = order.m, room.rows[RESIDUAL, :n], room.rows[ONE, :n], room.rows[TWO, :n]
    if order.p:
        apply(w, seasonal_phi, m, one)
        forward(one, theta, two)
        forward_seasonal(two, seasonal_theta, m, room.rows[SLOPES, :n])
    if order.q:
        forward(e, theta, room.rows[SLOPES + 1, :n])
    if order.P:
        apply(w, phi, 1, one)
        forward(one, theta, two)
        forward_seasonal(two, seasonal_theta, m, room.rows[SLOPES + 2, :n])
    if order.Q:
        forward_seasonal(e, seasonal_theta, m, room.rows[SLOPES + 3, :n])


@kernel
def _residual_gradient(order, room, weight, n):
    """Adds weight * e'de."""
    at, e = 0, room.rows[RESIDUAL, :n]
    for block in range(4):
        step = 1 if block < 2 else order.m
        for i in range((order.p, order.q, order.P, order.Q)[block]):
            room.gradients[0, at] -= weight * lagged_dot(e, room.rows[SLOPES + block, :n], (i + 1) * step)
            at += 1


@kernel
def _gauss_newton(order, room, weight, information, n):
    terms = (order.p, order.q, order.P, order.Q)
    row = 0
    for block in range(4):
        for i in range(terms[block]):
            lag, column = (i + 1) * (1 if block < 2 else order.m), 0
            for other in range(block + 1):
                for j in range(terms[other]):
                    if column > row:
                        break
                    back = (j + 1) * (1 if other < 2 else order.m)
                    a, b = room.rows[SLOPES + block, : max(n - lag, 0)], room.rows[SLOPES + other, : max(n - back, 0)]
                    value = lagged_dot(b, a, lag - back) if lag >= back else lagged_dot(a, b, back - lag)
                    information[row, column] = weight * value
                    information[column, row] = weight * value
                    column += 1
            row += 1


@kernel
def posterior(order, room):
    """A = Cov(s | w) / sigma^2 and W = (I + G V)^-1 G."""
    r, U, X, A, W = reach(order), room.squares[S_U], room.squares[S_X], room.squares[S_A], room.squares[S_W]
    moving_only = order.p + order.P == 0
    # A = U M^-1 U', W = G - (G U) M^-1 (G U)' for a moving average; W = R'M^-1 R, A = V - (R V)'M^-1 (R V) else
    plain, reduced = (A, W) if moving_only else (W, A)
    for i in range(r):
        lanes.clear(plain, i, r)
        lanes.copy_shifted(reduced, i, 0, room.squares[S_G if moving_only else S_V], i, 0, r)
        lanes.clear(X, i, r)
    if moving_only:
        for term in range(room.past.sizes[1]):
            lag, value = room.past.lags[1, term], room.past.terms[1, term]
            for j in range(lag):
                X[j + r - lag, j] += value
    else:
        for i in range(r):
            for j in range(i, r):
                X[i, j] = U[i, j]
    linear.solve_all(room.squares[S_M], r, X, r)
    _add_square(X, r, 1.0, plain)
    for i in range(r):
        lanes.copy_shifted(X, i, 0, room.squares[S_B], i, 0, r)
    linear.solve_all(room.squares[S_M], r, X, r)
    _add_square(X, r, -1.0, reduced)


@kernel
def _add_square(X, r, sign, out):
    """out += sign * X'X."""
    for i in range(r):
        lanes.combine_columns(out, i, sign, X, i, X, 0, r, 0, r)


@kernel
def _filter_gradient(order, c, room, halves, n):
    """Adds tr(A dG), which the coefficients of the moving average move through psi; A is left as it is."""
    _, theta, _, seasonal_theta = split(order, c)
    m, r, psi, echo, bar = order.m, reach(order), room.rows[PSI, :n], room.rows[ECHO, :n], room.squares[S_X]
    if r == 0 or order.q + order.Q == 0:
        return
    one, two, three, psi_bar = room.rows[ONE, :n], room.rows[TWO, :n], room.rows[THREE, :n], room.rows[SLOPES + 0, :n]
    for i in range(r):
        lanes.copy_shifted(bar, i, 0, room.squares[S_A], i, 0, r)
        bar[i, r] = 0.0  # the shift below takes it in where r fills its groups
    two[:] = 0.0
    for i in range(r - 1, 0, -1):  # down the diagonals; the first row and column are products with the first psi
        lanes.add_shifted(bar, i - 1, 0, 1.0, bar, i, 1, r - 1)
    lanes.clear(room.shorts, SUMS, r)
    for j in range(1, r):
        lanes.add(room.shorts, SUMS, room.shorts[TAIL, j - 1], bar, j, 0, r)
    for i in range(1, r):
        two[n - i] -= 2.0 * room.shorts[SUMS, i]
    one[:] = 0.0
    for i in range(r):
        one[i] = (2.0 if i else 1.0) * bar[i, 0]
    _, to_theta, _, to_seasonal = split(order, halves)
    forward(one, theta, three)
    for j in range(order.q):
        to_theta[j] -= lagged_dot(echo, three, j + 1)
    forward_seasonal(three, seasonal_theta, m, psi_bar)
    if order.Q:
        forward_seasonal(one, seasonal_theta, m, three)
        for j in range(order.Q):
            to_seasonal[j] -= lagged_dot(echo, three, (j + 1) * m)
    for t in range(n):
        psi_bar[t] += two[t]
    if order.q:
        backward(psi_bar, theta, one)
        for j in range(order.q):
            to_theta[j] -= lagged_dot(one, psi, j + 1)
    if order.Q:
        backward_seasonal(psi_bar, seasonal_theta, m, one)
        for j in range(order.Q):
            to_seasonal[j] -= lagged_dot(one, psi, (j + 1) * m)


@kernel
def _gap_gradient(order, c, columns, gaps, missing, room):
    """Adds half the derivative of log |X'Cov^-1 X| of the missing values: that of each column made orthonormal."""
    total, n, r = len(columns), columns.shape[1], reach(order)
    first, root = total - gaps, room.grams[GAP_ROOT]
    for i in range(missing):
        source = first + room.kept[1, i]
        w, y, h = room.tables[ROTATED_W, i, :n], room.tables[ROTATED_Y, i, :n], room.tables[ROTATED_H, i, :r]
        put(columns[source], w)
        put(room.tables[Y, source, :n], y)
        put(room.tables[H, source, :r], h)
        for k in range(i):
            _subtract(w, root[i, k], room.tables[ROTATED_W, k, :n])
            _subtract(y, root[i, k], room.tables[ROTATED_Y, k, :n])
            _subtract(h, root[i, k], room.tables[ROTATED_H, k, :r])
        scale = 1.0 / root[i, i]
        _scaled(w, scale)
        _scaled(y, scale)
        _scaled(h, scale)
        project(order, c, room, ROTATED_Y, i, n)
        _slopes(order, c, room, w, n)
        _residual_gradient(order, room, 1.0, n)
        for a in range(r):
            for b in range(r):
                room.squares[S_W, a, b] -= room.shorts[PULL, a] * room.shorts[PULL, b]
