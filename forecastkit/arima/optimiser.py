"""Climbing to the maximum of the likelihood: where to begin, and how to go on.

The coordinates are free numbers in which every point is stationary and invertible (`polynomials.stable`). A step solves
(B + damping * diag B) step = -gradient, B the Gauss-Newton matrix at the point, corrected once by the last step (BFGS,
Nocedal & Wright 2006, section 6.1); the damping is Levenberg's and Marquardt's. It ends when the step promises less
than `TOLERANCE` in log L, whatever the gradient: a seasonal moving average near 1 makes flat directions in which
gradients stay.

Local maxima are the true difficulty. A grid on the conditional sum of squares finds where to begin, a rich model begins
at several places, and a climb is given up once it comes to where another has been or can't reach it any more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from forecastkit.arima import lanes, linear
from forecastkit.arima.likelihood import (
    CUBE,
    ONE,
    ORDER_TYPE,
    RESIDUAL,
    ROOM_TYPE,
    SERIES,
    TABLE,
    THREE,
    TWO,
    VECTOR,
    Room,
    log_likelihood,
    room_for,
)
from forecastkit.arima.linking import by_name, driver
from forecastkit.arima.orders import coefficients, count, free_numbers
from forecastkit.arima.polynomials import apply, dot, forward_seasonal, put
from forecastkit.compiled import kernel

TOLERANCE = 3e-4
MOST_STARTS = 8
_ITERATIONS = 60
_LONGEST_STEP = 1.0  # radians
_TRIAL_STEPS = 2  # of each start, before the best of them is followed
_MERGED = 0.03  # of every partial autocorrelation
_PATIENCE = 1.0  # log L a coefficient beyond three that a climb may be behind and is still followed: ridges bend
_MARGIN, _TRUST = 0.1, 1.5  # log L, and multiple of what is promised, that a climb may still make up

# Partial autocorrelations to begin with, of 1 - a B - ...; a moving average takes them with the sign turned.
_SHORT = np.array([[-0.5, 0.0], [0.2, 0.2], [0.8, 0.0], [0.6, 0.35], [0.85, -0.5]])
_SHORT_COUNT = np.array([0, 3, 5, 5, 5, 5])
_LONG = np.array([[0.0, 0.0], [0.5, 0.0], [0.93, 0.0], [-0.4, 0.0], [0.4, 0.4]])
_LONG_COUNT = np.array([0, 4, 5, 5, 5, 5])
_LONG_MOVING = np.array([[0.8, 0.0], [0.3, 0.0], [-0.3, 0.0], [0.4, 0.4]])
_LONG_MOVING_COUNT = np.array([0, 3, 4, 4, 4, 4])


class Bench(NamedTuple):
    """Work space of a fit: the likelihood's, and vectors and matrices of the size of the coefficients."""

    room: Room
    vectors: np.ndarray  # [9, k]
    matrices: np.ndarray  # [5, k, k]
    starts: np.ndarray  # [MOST_STARTS, k + 1] the best points of the grid, with their sum of squares last
    aside: np.ndarray  # [MOST_STARTS, 5 (k + 1) + k^2] climbs that wait to be gone on with
    best: np.ndarray  # [2, k] free numbers and coefficients of the best maximum so far
    outcome: np.ndarray  # the fields below, of the climb that stands here


X, C, GRADIENT, OLD_X, OLD_GRADIENT, STEP, TRIAL, MOVED, BEND = range(9)
SLOPE, INFORMATION, CURVATURE, DAMPED, OLD_INFORMATION = range(5)
# REACHED: log L at X · KNOWN: whether OLD_X is the point before it · STANDS: the evaluation that it was, of so many
CONVERGED, REACHED, DAMPING, KNOWN, STANDS, EVALUATIONS, BEGUN = range(7)
_OF_A_CLIMB = 5  # fields, and as many vectors, that are laid aside with it


@driver
def bench_for(n, columns, r, k):
    """Work space for series up to n long with up to `columns` columns, longest lag r and k coefficients."""
    k, side = max(k, 1), lanes.padded(max(k, 1))
    return Bench(
        room_for(n, columns, r, k),
        np.zeros((9, k)),
        np.zeros((5, side, side)),
        np.zeros((MOST_STARTS, k + 1)),
        np.zeros((MOST_STARTS, _OF_A_CLIMB * (k + 1) + k * k)),
        np.zeros((2, k)),
        np.zeros(7),
    )


BENCH_TYPE = types.NamedTuple((ROOM_TYPE, TABLE, CUBE, TABLE, TABLE, TABLE, VECTOR), Bench)


@by_name(types.void, ORDER_TYPE, TABLE, types.int64, BENCH_TYPE, types.float64, types.int64)
def climb(order, columns, regressors, bench, target, most):
    """Go on with the climb that stands in `bench`, `most` steps at most, until it can't reach `target` any more."""
    k, vectors, matrices, outcome = count(order), bench.vectors, bench.matrices, bench.outcome
    if outcome[CONVERGED] or outcome[REACHED] == -np.inf:
        return
    for _ in range(most):
        value, damping = outcome[REACHED], outcome[DAMPING]
        _bend(k, vectors, matrices, outcome[KNOWN] == 1.0)
        promise = _step(k, vectors, matrices, damping)
        if promise < TOLERANCE:
            outcome[CONVERGED] = 1.0
            return
        if value + _MARGIN + _TRUST * promise < target:
            return
        for i in range(k):
            vectors[TRIAL, i] = vectors[X, i]
            vectors[OLD_GRADIENT, i] = vectors[GRADIENT, i]
            vectors[X, i] = vectors[X, i] + vectors[STEP, i]
            for j in range(k):
                matrices[OLD_INFORMATION, i, j] = matrices[INFORMATION, i, j]
        new = _evaluate(order, columns, regressors, bench)
        close = promise < 100 * TOLERANCE
        if new >= value - 1e-9:
            gain = (new - value) / promise
            outcome[DAMPING] = max(damping * (0.1 if gain > 0.7 else (1.0 if gain > 0.2 else 4.0)), 1e-7)
            put(vectors[TRIAL, :k], vectors[OLD_X, :k])
            outcome[REACHED], outcome[KNOWN], outcome[STANDS] = new, 1.0, outcome[EVALUATIONS]
            if new - value < 1e-9 and close:
                outcome[CONVERGED] = 1.0
                return
        else:  # back, and with a shorter step
            _turn_back(order, vectors, matrices)
            outcome[KNOWN], outcome[DAMPING] = 0.0, max(damping * 10.0, 1e-2)
            if outcome[DAMPING] > 1e7:
                outcome[CONVERGED] = 1.0 if close else 0.0
                return


@kernel
def _turn_back(order, vectors, matrices):
    k = count(order)
    for i in range(k):
        vectors[X, i] = vectors[TRIAL, i]
        vectors[GRADIENT, i] = vectors[OLD_GRADIENT, i]
        for j in range(k):
            matrices[INFORMATION, i, j] = matrices[OLD_INFORMATION, i, j]
    coefficients(order, vectors[X, :k], vectors[C, :k], matrices[SLOPE], vectors[BEND])


@by_name(types.void, ORDER_TYPE, TABLE, types.int64, BENCH_TYPE)
def begin(order, columns, regressors, bench):
    """A climb from `bench.vectors[X]`."""
    outcome = bench.outcome
    outcome[CONVERGED], outcome[DAMPING], outcome[KNOWN] = 0.0, 1e-3, 0.0
    outcome[REACHED] = _evaluate(order, columns, regressors, bench)
    outcome[STANDS] = outcome[EVALUATIONS]


@kernel
def _lay_aside(k, bench, row):
    _exchange(k, bench, bench.aside[row], True)


@kernel
def _take_up(k, bench, row):
    _exchange(k, bench, bench.aside[row], False)


@kernel
def _exchange(k, bench, kept, out):
    """The climb that stands in `bench` to a row of numbers, or back."""
    at = 0
    for i in range(_OF_A_CLIMB):
        at = _exchange_row(bench.vectors[i, :k], kept, at, out)
    for i in range(k):
        at = _exchange_row(bench.matrices[INFORMATION, i, :k], kept, at, out)
    _exchange_row(bench.outcome[:_OF_A_CLIMB], kept, at, out)


@kernel
def _exchange_row(x, kept, at, out):
    for i in range(len(x)):
        if out:
            kept[at + i] = x[i]
        else:
            x[i] = kept[at + i]
    return at + len(x)


@by_name(types.float64, ORDER_TYPE, TABLE, types.int64, BENCH_TYPE, types.int64)
def fit(order, columns, regressors, bench, starts):
    """log L at the maximum for the model on `columns`, from `starts` places of a grid.

    Coefficients stand in `bench.best`, and the likelihood's room holds the maximum.
    """
    k, outcome, waiting = count(order), bench.outcome, bench.starts
    outcome[CONVERGED], outcome[BEGUN] = 1.0, 0.0
    if k == 0:
        return log_likelihood(order, bench.best[1, :0], columns, regressors, bench.room, False)
    found = _grid(order, columns, regressors, bench, starts)
    for start in range(found):
        put(waiting[start, :k], bench.vectors[X, :k])
        begin(order, columns, regressors, bench)
        climb(order, columns, regressors, bench, -np.inf, _TRIAL_STEPS)
        _lay_aside(k, bench, start)
        waiting[start, k] = bench.outcome[REACHED]
    best, settled, stands = -np.inf, 0.0, 0.0
    for _ in range(found):
        start = 0
        for other in range(found):
            if waiting[other, k] > waiting[start, k]:
                start = other
        waiting[start, k] = -np.inf
        _take_up(k, bench, start)
        if best > -np.inf and _merged(bench.vectors[X], bench.best[0], k):
            continue
        climb(order, columns, regressors, bench, best - _PATIENCE * max(k - 3, 0), _ITERATIONS)
        if outcome[REACHED] > best:
            best, settled, stands = outcome[REACHED], outcome[CONVERGED], outcome[STANDS]
            _note_best(k, bench)
    if stands != outcome[EVALUATIONS]:
        log_likelihood(order, bench.best[1, :k], columns, regressors, bench.room, False)
    outcome[CONVERGED], outcome[BEGUN] = settled, found
    return best


@kernel
def _note_best(k, bench):
    put(bench.vectors[X, :k], bench.best[0, :k])
    put(bench.vectors[C, :k], bench.best[1, :k])


@kernel
def refit(order, columns, regressors, bench, c, target):
    """The same from the coefficients `c` (overwritten), such as those of an earlier window or a smaller model."""
    k, outcome = count(order), bench.outcome
    outcome[CONVERGED], outcome[BEGUN] = 1.0, 1.0
    if k == 0:
        return log_likelihood(order, bench.best[1, :0], columns, regressors, bench.room, False)
    free_numbers(order, c, bench.vectors[X, :k])
    begin(order, columns, regressors, bench)
    climb(order, columns, regressors, bench, target, _ITERATIONS)
    _note_best(k, bench)
    if outcome[STANDS] != outcome[EVALUATIONS]:
        log_likelihood(order, bench.best[1, :k], columns, regressors, bench.room, False)
    return outcome[REACHED]


@kernel
def _evaluate(order, columns, regressors, bench):
    """log L at `vectors[X]`, with gradient and Gauss-Newton matrix of -log L by the free numbers."""
    k, room, vectors, matrices = count(order), bench.room, bench.vectors, bench.matrices
    c, slope = vectors[C, :k], matrices[SLOPE]
    coefficients(order, vectors[X, :k], c, slope, vectors[BEND])
    bench.outcome[EVALUATIONS] += 1.0
    value = log_likelihood(order, c, columns, regressors, room, True)
    if not np.isfinite(value):
        return -np.inf
    for i in range(k):
        total = 0.0
        for j in range(k):
            total += slope[j, i] * room.gradients[0, j]
        vectors[GRADIENT, i] = total
    for i in range(k):  # DAMPED is scratch here
        for j in range(k):
            total = 0.0
            for a in range(k):
                total += room.information[i, a] * slope[a, j]
            matrices[DAMPED, i, j] = total
    for i in range(k):
        for j in range(i + 1):
            total = 0.0
            for a in range(k):
                total += slope[a, i] * matrices[DAMPED, a, j]
            matrices[INFORMATION, i, j] = total
            matrices[INFORMATION, j, i] = total
        # What the sine's own curvature adds, where it adds: close to the circle there is nothing else.
        matrices[INFORMATION, i, i] += max(0.0, vectors[BEND, i] * vectors[GRADIENT, i])
    return value


@kernel
def _bend(k, vectors, matrices, known):
    """CURVATURE from INFORMATION, made to agree with the change of the gradient over the last step."""
    for i in range(k):
        for j in range(k):
            matrices[CURVATURE, i, j] = matrices[INFORMATION, i, j]
    if not known:
        return
    moved, bent, along, across, size = vectors[MOVED], vectors[STEP], 0.0, 0.0, 0.0
    for i in range(k):
        moved[i] = vectors[X, i] - vectors[OLD_X, i]
        size += moved[i] * moved[i]
    for i in range(k):
        total = 0.0
        for j in range(k):
            total += matrices[INFORMATION, i, j] * moved[j]
        bent[i] = total
        across += total * moved[i]
        along += (vectors[GRADIENT, i] - vectors[OLD_GRADIENT, i]) * moved[i]
    if along < 1e-8 * size or across < 1e-12 * size or size == 0.0:
        return
    for i in range(k):
        change = vectors[GRADIENT, i] - vectors[OLD_GRADIENT, i]
        for j in range(k):
            other = vectors[GRADIENT, j] - vectors[OLD_GRADIENT, j]
            matrices[CURVATURE, i, j] += change * other / along - bent[i] * bent[j] / across


@kernel
def _step(k, vectors, matrices, damping):
    """STEP of the damped model, not longer than `_LONGEST_STEP`; returns what it promises in log L."""
    step, damped = vectors[STEP], matrices[DAMPED]
    most = 0.0
    for i in range(k):
        most = max(most, matrices[CURVATURE, i, i])
    for _ in range(12):
        for i in range(k):
            for j in range(k):
                damped[i, j] = matrices[CURVATURE, i, j]
            damped[i, i] += damping * max(damped[i, i], 1e-6 * most) + 1e-9 * most + 1e-12
            step[i] = -vectors[GRADIENT, i]
        if not np.isnan(linear.cholesky(damped, k)):
            break
        damping = max(10.0 * damping, 1e-3)
    linear.solve(damped, k, step)
    linear.solve_back(damped, k, step)
    longest = 0.0
    for i in range(k):
        longest = max(longest, abs(step[i]))
    if longest > _LONGEST_STEP:
        for i in range(k):
            step[i] *= _LONGEST_STEP / longest
    promise = 0.0
    for i in range(k):
        total = 0.0
        for j in range(k):
            total += matrices[CURVATURE, i, j] * step[j]
        promise -= step[i] * (vectors[GRADIENT, i] + 0.5 * total)
    return promise


@kernel
def _merged(one, other, k):
    """Whether two points are as good as the same, as partial autocorrelations."""
    for i in range(k):
        if abs(np.sin(one[i]) - np.sin(other[i])) > _MERGED:
            return False
    return True


@kernel
def _grid(order, columns, regressors, bench, starts):
    """The best `starts` points, well apart, by the conditional sum of squares; how many there are."""
    n, k, room, vectors = columns.shape[1], count(order), bench.room, bench.vectors
    w, found = room.rows[SERIES, :n], 0
    ordinary(columns, regressors, bench, w)
    lost = order.p + order.m * order.P
    point, c, slope = vectors[TRIAL], vectors[C], bench.matrices[SLOPE]
    i, j = order.p, order.p + order.q
    last = j + order.P
    for i_phi in range(max(1, _SHORT_COUNT[order.p])):
        _place(_SHORT, i_phi, order.p, point[:i])
        for i_long in range(max(1, _LONG_COUNT[order.P])):
            _place(_LONG, i_long, order.P, point[j:last])
            for i_moving in range(max(1, _LONG_MOVING_COUNT[order.Q])):
                _place(_LONG_MOVING, i_moving, order.Q, point[last:k])
                _place(_SHORT, 0, order.q, point[i:j])
                coefficients(order, point[:k], c[:k], slope, vectors[BEND])
                apply(w, c[:i], 1, room.rows[ONE, :n])
                apply(room.rows[ONE, :n], c[j:last], order.m, room.rows[TWO, :n])
                for t in range(min(lost, n)):
                    room.rows[TWO, t] = 0.0
                forward_seasonal(room.rows[TWO, :n], c[last:k], order.m, room.rows[THREE, :n])
                for i_theta in range(max(1, _SHORT_COUNT[order.q])):
                    _place(_SHORT, i_theta, order.q, point[i:j])
                    coefficients(order, point[:k], c[:k], slope, vectors[BEND])
                    square = _filtered_square(room.rows[THREE, :n], c[i:j], room.rows[RESIDUAL, :n])
                    found = _keep(bench.starts, found, starts, point[:k], square)
    return found


@kernel
def _filtered_square(x, theta, scratch):
    """Sum of squares of x / theta(B)."""
    q, total = len(theta), 0.0
    for t in range(len(x)):
        value = x[t]
        for j in range(min(q, t)):
            value -= theta[j] * scratch[t - 1 - j]
        scratch[t] = value
        total += value * value
    return total


@kernel
def _place(table, row, terms, point):
    """Free numbers of the partial autocorrelations in a row of a table, 0 beyond its columns."""
    for i in range(terms):
        r = table[row, i] if i < 2 else 0.0
        point[i] = np.arcsin(r)


@kernel
def _keep(table, found, most, point, square):
    """Put a point into the sorted table unless a better one is near; a worse one near is replaced."""
    k = len(point)
    for i in range(found):
        apart = 0.0
        for j in range(k):
            apart = max(apart, abs(table[i, j] - point[j]))
        if apart < 0.6:
            if table[i, k] <= square or table[i, k] != table[i, k]:
                return found
            for a in range(i, found - 1):
                put(table[a + 1], table[a])
            found -= 1
            break
    at = found
    while at > 0 and table[at - 1, k] > square:
        at -= 1
    if at >= most:
        return found
    for a in range(min(found, most - 1), at, -1):
        put(table[a - 1], table[a])
    put(point, table[at, :k])
    table[at, k] = square
    return min(found + 1, most)


@kernel
def ordinary(columns, regressors, bench, w):
    """w becomes the series less its ordinary least squares regression, whose coefficients stand in `betas[1]`."""
    put(columns[0], w)
    if regressors == 0:
        return
    room, size = bench.room, regressors
    gram, root, kept, solution = room.grams[0], room.grams[1], room.kept[0], room.betas[1]
    for i in range(size + 1):
        for j in range(i + 1):
            gram[i, j] = dot(columns[i], columns[j])
            gram[j, i] = gram[i, j]
    found = linear.independent(gram[1:, 1:], size, root, kept)
    linear.regress(gram[0, 1:], root, kept, found, size, solution)
    for i in range(size):
        b, column = solution[i], columns[1 + i]
        for t in range(len(w)):
            w[t] -= b * column[t]
