"""Fitting one series after another: a row of numbers each, from which everything else is made again.

A row is [head, coefficients, regression]: the fields below, then phi, theta, Phi, Theta in their places, then constant
and line per period of the differenced series, Fourier terms and covariates, per unit of the covariate. All in the units
of the series, or of its Box-Cox transform.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from forecastkit.arima.likelihood import DEGREES, ORDER_TYPE, SERIES, SUM, TABLE, VECTOR, WHOLE
from forecastkit.arima.linking import by_name, driver
from forecastkit.arima.optimiser import BEGUN, BENCH_TYPE, MOST_STARTS, Bench, bench_for, fit, ordinary, refit
from forecastkit.arima.optimiser import CONVERGED as SETTLED
from forecastkit.arima.orders import LARGEST, Order, count, lost, reach
from forecastkit.arima.polynomials import dot
from forecastkit.arima.preparation import (
    MOST_GAPS,
    ROUNDING,
    TERMS_TYPE,
    Terms,
    lay_columns,
    newest,
    width,
)
from forecastkit.compiled import kernel

# Fields of a row. LAMBDA is that of Box and Cox, 1 for none; ORIGIN the period number from which a line is counted.
REASON, CONVERGED, STARTS, TRIED, LOG_LIKELIHOOD, SIGMA, OBSERVED = range(7)
ORDER = 7  # p, d, q, P, D, Q, m
CONSTANT, LINE, PAIRS, LAMBDA, ORIGIN = range(14, 19)
COEFFICIENTS = 19  # room for LARGEST of each kind
REGRESSION = COEFFICIENTS + 4 * LARGEST

# Values of REASON.
GOOD, FEWER_TERMS, EXACT, UNSETTLED, NEWEST_PART, TOO_SHORT, STEADY, NO_LIKELIHOOD, RUNS_OFF = range(9)
REASONS = (
    "",
    "too short for all terms: some were left out",
    "the model explains it exactly",
    "the search did not converge",
    f"more than {MOST_GAPS} gaps: estimated on its newest part",
    "too short",
    "constant",
    "the likelihood has no finite value",
    "the forecast runs off",
)
MOST_LAGS = 1000  # seasonal lags beyond are refused
FAILED = (TOO_SHORT, STEADY, NO_LIKELIHOOD, RUNS_OFF)  # rows without an estimate


class Model(NamedTuple):
    """What is fitted to every series of a panel: orders, regression, and how many climbs to begin (0: by the order)."""

    order: Order
    terms: Terms
    starts: int


@kernel
def starts_for(order, asked):
    """Climbs to begin: where a model has few terms there is one maximum, where it has many there are several."""
    if asked > 0:
        return min(asked, MOST_STARTS)
    k = count(order)
    if k <= 1 or (order.p + order.P == 0 and order.q <= 1):
        return 1
    if k <= 3:
        return k
    return 6 if k == 4 else 8


@kernel
def feasible(order, terms, observed):
    """The model with as many terms as so many values can tell apart, and whether that is all of them.

    First goes the season, then Fourier terms and line, then the terms of the longer polynomial, then a difference.
    Where none is left of the differences there is a constant instead, as a level must come from somewhere.
    """
    p, d, q, P, D, Q, m = order
    constant, line, pairs, known = terms
    whole = True
    while True:
        if d + D == 0 and order.d + order.D > 0:
            constant = 1
        left, size = observed - d - m * D, constant + line + 2 * pairs + known
        longest = max(p + m * P, q + m * Q)
        seasons = 2 * m if P + D + Q > 0 else 0
        if left > longest and left >= 2 * (p + q + P + Q) + size + 2 and observed > seasons + d:
            break
        whole = False
        if P + D + Q > 0:
            P, D, Q = 0, 0, 0
        elif pairs > 0:
            pairs -= 1
        elif line > 0:
            line = 0
        elif p + q > 0:
            p, q = (p - 1, q) if p >= q else (p, q - 1)
        elif d > 0:
            d -= 1
        else:
            break
    return Order(p, d, q, P, D, Q, m), Terms(constant, line, pairs, known), whole


@driver
def fit_rows(model, history, warm, rows):
    """Fit each series into `rows` [N, L]; `warm` [N, L] are rows of an earlier fit to begin from, or [0, L]."""
    # A constant may come in the place of differences.
    room = room_for_series(history, width(model.terms) + 1, reach(model.order), count(model.order))
    for i in range(len(rows)):
        series, first = newest(history, i)
        hint = warm[i] if len(warm) else rows[i, :0]
        fit_one(model, series, room, hint, rows[i])
        note_part(history, i, first, rows[i])


class SeriesRoom(NamedTuple):
    """Work space for one series after another."""

    flat: np.ndarray  # of the columns [C, n]
    level: np.ndarray  # [T]
    units: np.ndarray  # [C]
    bench: Bench


SERIES_ROOM_TYPE = types.NamedTuple((VECTOR, VECTOR, VECTOR, BENCH_TYPE), SeriesRoom)


@driver
def room_for_series(history, regressors, r, k):
    """Work space for the longest and the most gappy of these series."""
    offsets, longest, gaps = history.offsets, 1, 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
        missing = 0
        for t in range(offsets[i], offsets[i + 1]):
            missing += np.isnan(history.values[t])
        gaps = max(gaps, min(missing, MOST_GAPS))
    columns = 1 + regressors + gaps
    return SeriesRoom(
        np.zeros(columns * longest), np.zeros(longest), np.zeros(columns), bench_for(longest, columns, r, k)
    )


@kernel
def note_part(history, i, first, row):
    """Say so where gaps before period `first` of the panel's values were left out of series i."""
    for t in range(history.offsets[i], first):
        if row[REASON] == GOOD and np.isnan(history.values[t]):
            row[REASON] = NEWEST_PART


@kernel
def seen(y):
    """How many values a series has, and whether they differ."""
    found, first, differ = 0, np.nan, False
    for t in range(len(y)):
        if not np.isnan(y[t]):
            if found == 0:
                first = y[t]
            elif y[t] != first:
                differ = True
            found += 1
    return found, differ


@kernel
def fit_one(model, series, room, hint, row):
    """Fit one series; `hint` is a row to begin from, or empty."""
    observed, differ = seen(series.y)
    blank_row(row, series.start)
    order, terms, whole = feasible(model.order, model.terms, observed)
    if not differ or observed - lost(order) < width(terms) + 2:
        row[REASON] = TOO_SHORT if differ or observed == 0 else STEADY
        return
    gaps, n = len(series.y) - observed, len(series.y) - lost(order)
    columns = room.flat[: (1 + width(terms) + gaps) * n].reshape((1 + width(terms) + gaps, n))
    lay_columns(series, order, terms, columns, room.level, room.units)
    estimate(order, terms, columns, room, model.starts, hint, row)
    note_regression(terms, model.terms, room, row)
    if row[REASON] == GOOD and not whole:
        row[REASON] = FEWER_TERMS


@kernel
def blank_row(row, start):
    row[:] = 0.0
    row[LAMBDA] = 1.0
    row[ORIGIN] = start


@by_name(types.void, ORDER_TYPE, TERMS_TYPE, TABLE, SERIES_ROOM_TYPE, WHOLE, VECTOR, VECTOR)
def estimate(order, terms, columns, room, starts, hint, row):
    """Coefficients of the laid-out columns into `row`; the regression stays in the likelihood's room."""
    bench, k, regressors, n = room.bench, count(order), width(terms), columns.shape[1]
    inner = bench.room
    ordinary(columns, regressors, bench, inner.rows[SERIES, :n])
    if np.sqrt(dot(inner.rows[SERIES, :n], inner.rows[SERIES, :n]) / n) < ROUNDING:
        note_order(order, terms, row)
        row[REASON], row[CONVERGED], row[LOG_LIKELIHOOD], row[OBSERVED] = EXACT, 1.0, np.inf, n
        for i in range(regressors):
            inner.betas[0, 1 + i] = inner.betas[1, i]
        return
    value = -np.inf
    if same_order(order, hint):
        read_coefficients(order, hint, bench.best[1, :k])
        value = refit(order, columns, regressors, bench, bench.best[1, :k], -np.inf)
    if not np.isfinite(value):
        value = fit(order, columns, regressors, bench, starts_for(order, starts))
    note_order(order, terms, row)
    row[STARTS], row[TRIED] = bench.outcome[BEGUN], 1.0
    if not np.isfinite(value):
        row[REASON] = NO_LIKELIHOOD
        return
    note_fit(order, value, room, row)


@kernel
def note_fit(order, value, room, row):
    """The maximum that stands in the likelihood's room into `row`, in the units of the series."""
    inner, converged = room.bench.room, room.bench.outcome[SETTLED]
    observed = inner.sums[DEGREES]
    row[CONVERGED], row[OBSERVED] = converged, observed
    row[REASON] = GOOD if converged else UNSETTLED
    row[LOG_LIKELIHOOD] = value - observed * np.log(room.units[0])
    row[SIGMA] = room.units[0] * np.sqrt(inner.sums[SUM] / observed)
    write_coefficients(order, room.bench.best[1, : count(order)], row)


@kernel
def note_order(order, terms, row):
    for i in range(7):
        row[ORDER + i] = order[i]
    row[CONSTANT], row[LINE], row[PAIRS] = terms.constant, terms.line, terms.pairs


@kernel
def order_of(row):
    """Orders of the model in a row."""
    o = ORDER
    return Order(
        int(row[o]),
        int(row[o + 1]),
        int(row[o + 2]),
        int(row[o + 3]),
        int(row[o + 4]),
        int(row[o + 5]),
        int(row[o + 6]),
    )


@kernel
def pairs_of(row, features):
    """Fourier terms that a row has room for beside so many covariates."""
    return (len(row) - REGRESSION - 2 - features) // 2


@kernel
def usable_hint(row):
    """Whether there is a row, and a maximum in it that is worth beginning from."""
    if len(row) == 0 or row[CONVERGED] == 0.0:
        return False
    return row[REASON] != EXACT and row[REASON] < TOO_SHORT


@kernel
def same_order(order, row):
    """Whether a row has a converged model of this order."""
    if not usable_hint(row):
        return False
    for i in range(7):
        if row[ORDER + i] != order[i]:
            return False
    return True


@kernel
def write_coefficients(order, c, row):
    at = 0
    for block in range(4):
        for i in range((order.p, order.q, order.P, order.Q)[block]):
            row[COEFFICIENTS + block * LARGEST + i] = c[at]
            at += 1


@kernel
def read_coefficients(order, row, c):
    at = 0
    for block in range(4):
        for i in range((order.p, order.q, order.P, order.Q)[block]):
            c[at] = row[COEFFICIENTS + block * LARGEST + i]
            at += 1


@kernel
def note_regression(terms, asked, room, row):
    """The regression of the likelihood's room into `row`, per unit of each covariate."""
    at = 1
    for column in range(terms.constant + terms.line + 2 * terms.pairs + terms.known):
        if column < terms.constant:
            place = 0
        elif column < terms.constant + terms.line:
            place = 1
        elif column < terms.constant + terms.line + 2 * terms.pairs:
            place = 2 + column - terms.constant - terms.line
        else:
            place = 2 + 2 * asked.pairs + column - terms.constant - terms.line - 2 * terms.pairs
        unit = room.units[at]
        row[REGRESSION + place] = room.bench.room.betas[0, at] * room.units[0] / unit if unit > 0.0 else 0.0
        at += 1


def sound(rows: np.ndarray) -> bool:
    """Whether rows read from a file can be given to the kernels, which look at no bounds."""
    orders = rows[:, ORDER : ORDER + 7]
    whole = rows[:, [REASON, CONSTANT, LINE, PAIRS, *range(ORDER, ORDER + 7)]]
    if not (np.isfinite(whole).all() and (whole == whole.round()).all() and (whole >= 0).all()):
        return False
    small = (orders[:, [0, 2, 3, 5]] <= LARGEST).all() and (orders[:, [1, 4]] <= 2).all()
    terms = (rows[:, PAIRS] <= (rows.shape[1] - REGRESSION - 2) // 2).all() and (rows[:, REASON] < len(REASONS)).all()
    return bool(small and terms and (orders[:, 6] * orders[:, 3:6].max(axis=1) <= MOST_LAGS).all())


def criteria(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AIC, AICc and BIC of each row, of the differenced series; the scale counts as a parameter (FPP3, section 9.6)."""
    orders = rows[:, ORDER : ORDER + 7]
    coefficients = orders[:, [0, 2, 3, 5]].sum(axis=1)
    regression = rows[:, CONSTANT] + rows[:, LINE] + (rows[:, REGRESSION + 2 :] != 0).sum(axis=1)
    k, n = coefficients + regression + 1, rows[:, OBSERVED]
    with np.errstate(all="ignore"):
        aic = 2 * k - 2 * rows[:, LOG_LIKELIHOOD]
        return aic, aic + 2 * k * (k + 1) / np.where(n - k - 1 > 0, n - k - 1, np.nan), aic + k * (np.log(n) - 2)
