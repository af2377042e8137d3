"""Standard errors from the observed information: the second derivative of log L at the estimate."""

from __future__ import annotations

import numpy as np

from forecastkit.arima.estimation import (
    CONSTANT,
    LINE,
    PAIRS,
    REGRESSION,
    order_of,
    pairs_of,
    read_coefficients,
    room_for_series,
    seen,
)
from forecastkit.arima.likelihood import DEGREES, GRAM, SUM, log_likelihood
from forecastkit.arima.linking import driver
from forecastkit.arima.orders import count, lost, reach
from forecastkit.arima.panel import Demand
from forecastkit.arima.preparation import Terms, lay_columns, newest, width
from forecastkit.data.panel import Floats

_STEP = 1e-5  # of a coefficient; the gradient is exact, so that one difference of it is good to eight digits


def standard_errors(demand: Demand, i: int, row: Floats) -> tuple[Floats, Floats]:
    """Of the coefficients [k] and of the regression in its places [2 + 2 pairs + F]; NaN where log L is flat."""
    row = np.ascontiguousarray(row)
    order, pairs = order_of(row), pairs_of(row, demand.known.shape[1])
    size, regressors = count(order), len(row) - REGRESSION
    hessian, gram = np.zeros((size, size)), np.zeros((regressors, regressors))
    units, found = np.zeros(1 + regressors), np.zeros(2)
    terms = Terms(int(row[CONSTANT]), int(row[LINE]), int(row[PAIRS]), demand.known.shape[1])
    if size or width(terms):
        _curvature(demand.piece(i, i + 1), terms, row, hessian, gram, units, found)
    errors, spread = np.full(size, np.nan), np.full(regressors, np.nan)
    if size and np.isfinite(hessian).all() and (np.linalg.eigvalsh(hessian) > 1e-8 * np.abs(hessian).max()).all():
        errors = np.sqrt(np.diag(np.linalg.inv(hessian)))
    return errors, _spread_of_regression(terms, pairs, gram, units, found, spread)


def _spread_of_regression(
    terms: Terms, pairs: int, gram: Floats, units: Floats, found: Floats, spread: Floats
) -> Floats:
    """sigma^2 (X'Cov^-1 X)^-1 per unit of each column that can be told apart, put into its place."""
    used = width(terms)
    places = [k for k, on in enumerate((terms.constant, terms.line)) if on]
    places += [*range(2, 2 + 2 * terms.pairs), *range(2 + 2 * pairs, 2 + 2 * pairs + terms.known)]
    live = np.flatnonzero(np.diag(gram)[:used] > 0)
    inner = gram[np.ix_(live, live)]
    if len(live) and np.linalg.cond(inner) < 1e10:
        sigma = units[0] * np.sqrt(found[0] / found[1])
        spread[np.array(places)[live]] = sigma * np.sqrt(np.diag(np.linalg.inv(inner))) / units[1 + live]
    return spread


@driver
def _curvature(history, terms, row, hessian, gram, units, found):
    """Fill the second derivative of -log L [k, k], and of the regression products, units and S, N."""
    order, (series, _) = order_of(row), newest(history, 0)
    k, regressors, n = count(order), width(terms), len(series.y) - lost(order)
    gaps = len(series.y) - seen(series.y)[0]
    room = room_for_series(history, regressors, reach(order), k)
    columns = room.flat[: (1 + regressors + gaps) * n].reshape((1 + regressors + gaps, n))
    lay_columns(series, order, terms, columns, room.level, room.units)
    inner, c, centre = room.bench.room, np.zeros(k), np.zeros(k)
    read_coefficients(order, row, centre)
    for i in range(k):
        for side in (-1.0, 1.0):
            c[:] = centre
            c[i] += side * _STEP
            log_likelihood(order, c, columns, regressors, inner, True)
            for j in range(k):
                hessian[i, j] += side * inner.gradients[0, j] / (2.0 * _STEP)
    c[:] = centre
    log_likelihood(order, c, columns, regressors, inner, False)
    for i in range(k):
        for j in range(i):
            hessian[i, j] = 0.5 * (hessian[i, j] + hessian[j, i])
            hessian[j, i] = hessian[i, j]
    for i in range(regressors):
        for j in range(regressors):
            gram[i, j] = inner.grams[GRAM, 1 + i, 1 + j]
    for i in range(1 + regressors):
        units[i] = room.units[i]
    found[0], found[1] = inner.sums[SUM], inner.sums[DEGREES]
