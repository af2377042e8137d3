"""Choosing the orders: the stepwise search of Hyndman & Khandakar 2008 (Journal of Statistical Software 27).

Differences come from tests. Then the search begins with four models, goes to the best neighbour of the best so far
until none is better, and compares by an information criterion. Here every candidate is estimated by exact maximum
likelihood, beginning from the coefficients of the best so far, and the winner again from several places. A candidate
with a root close to the unit circle is passed over; roots of a seasonal factor are looked at in B^m, as in B the same
bound would refuse a seasonal moving average of 0.79 at m = 24.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from forecastkit.arima.differences import plain_differences, seasonal_differences
from forecastkit.arima.estimation import (
    CONSTANT,
    FEWER_TERMS,
    GOOD,
    LOG_LIKELIHOOD,
    REASON,
    SERIES_ROOM_TYPE,
    STEADY,
    TOO_SHORT,
    TRIED,
    SeriesRoom,
    blank_row,
    estimate,
    note_fit,
    note_part,
    note_regression,
    order_of,
    read_coefficients,
    room_for_series,
    seen,
    usable_hint,
)
from forecastkit.arima.likelihood import BOOL, DEGREES, SERIES, TABLE, VECTOR, WHOLE
from forecastkit.arima.linking import by_name, driver
from forecastkit.arima.optimiser import fit, ordinary, refit
from forecastkit.arima.orders import LARGEST, Order, count, lost, reach, split
from forecastkit.arima.polynomials import put
from forecastkit.arima.preparation import SERIES_TYPE, Terms, lay_columns, newest, width
from forecastkit.compiled import kernel

AICC, AIC, BIC = range(3)
_CLEAR, _SEASONAL_CLEAR = 1.01, 1.001  # how far outside the unit circle a root must lie
_MOST_MODELS = 94
_SIZE = LARGEST + 1


class Limits(NamedTuple):
    """What a search may choose from. d and D are -1 where a test decides."""

    p: int
    q: int
    P: int
    Q: int
    d: int
    D: int
    m: int
    most_d: int
    most_D: int
    total: int  # p + q + P + Q of a search through all models
    stepwise: bool
    constant: bool  # may there be one?
    criterion: int
    test: int
    pairs: int  # most Fourier terms
    known: int


class Trail(NamedTuple):
    """Where a search stands: what was tried, and the best models so far."""

    tried: np.ndarray  # [p, q, P, Q, constant] bool
    best: np.ndarray  # [8] order of the best, and 1 with a constant
    coefficients: np.ndarray  # [k] of it
    hint: np.ndarray  # [k] scratch
    scores: np.ndarray  # [criterion of the best, models tried]


class Desk(NamedTuple):
    """Work space of a search."""

    room: SeriesRoom
    plain: np.ndarray  # of the columns without a constant
    plain_units: np.ndarray  # [C]
    scratch: np.ndarray  # [6, T + 2m + 128] of the tests for differences
    trail: Trail


LIMITS_TYPE = types.NamedTuple((*[WHOLE] * 10, BOOL, BOOL, *[WHOLE] * 4), Limits)
TRAIL_TYPE = types.NamedTuple(
    (types.Array(types.boolean, 5, "C"), types.Array(types.int64, 1, "C"), VECTOR, VECTOR, VECTOR), Trail
)
DESK_TYPE = types.NamedTuple((SERIES_ROOM_TYPE, VECTOR, VECTOR, TABLE, TRAIL_TYPE), Desk)


class Data(NamedTuple):
    """One series laid out for all candidates, as they all have the same differences."""

    terms: Terms  # with a constant
    columns: np.ndarray
    plain_terms: Terms  # and without
    plain_columns: np.ndarray
    n: int  # values that count


@driver
def search_rows(limits, history, warm, rows):
    """Choose and fit a model for each series; arguments as of `estimation.fit_rows`."""
    r = max(limits.p + limits.m * limits.P, limits.q + limits.m * limits.Q, 1)
    # `_pairs` compares ARMA(1, 1) errors whatever the limits are.
    k = max(limits.p + limits.q + limits.P + limits.Q, 2)
    room = room_for_series(history, 2 + 2 * limits.pairs + limits.known, r, k)
    scratch = np.zeros((6, len(room.level) + 2 * max(limits.m, history.season) + 128))
    sizes = (_SIZE, _SIZE, _SIZE, _SIZE, 2)
    trail = Trail(
        np.zeros(sizes, np.bool_), np.zeros(8, np.int64), np.zeros(4 * LARGEST), np.zeros(4 * LARGEST), np.zeros(2)
    )
    desk = Desk(room, np.zeros(len(room.flat)), np.zeros(len(room.units)), scratch, trail)
    for i in range(len(rows)):
        series, first = newest(history, i)
        hint = warm[i] if len(warm) else rows[i, :0]
        search_one(limits, series, desk, hint, rows[i])
        note_part(history, i, first, rows[i])


@by_name(types.void, LIMITS_TYPE, SERIES_TYPE, DESK_TYPE, VECTOR, VECTOR)
def search_one(limits, series, desk, hint, row):
    """Choose and fit a model for one series."""
    room, trail = desk.room, desk.trail
    observed, differ = seen(series.y)
    blank_row(row, series.start)
    asked = Terms(1, 0, limits.pairs, limits.known)
    if not differ or observed < 4 + limits.known:
        row[REASON] = TOO_SHORT if differ or observed == 0 else STEADY
        return
    pairs = _pairs(limits, series, room, desk.scratch, observed)
    d, D = _differences(limits, series, pairs, room, desk.scratch)
    seasonal = D > 0 or (limits.m > 1 and observed >= 2 * limits.m + 5)
    base = Order(0, d, 0, 0, D, 0, limits.m if seasonal else 1)
    terms, plain_terms = Terms(1, 0, pairs, limits.known), Terms(0, 0, pairs, limits.known)
    n, gaps = len(series.y) - lost(base), len(series.y) - observed
    wide, narrow = 1 + width(terms) + gaps, 1 + width(plain_terms) + gaps
    columns = room.flat[: wide * n].reshape((wide, n))
    plain_columns = desk.plain[: narrow * n].reshape((narrow, n))
    lay_columns(series, base, terms, columns, room.level, room.units)
    lay_columns(series, base, plain_terms, plain_columns, room.level, desk.plain_units)
    if _nothing_left(columns, width(terms), room):
        estimate(base, terms, columns, room, 1, hint[:0], row)
        note_regression(terms, asked, room, row)
        row[TRIED] = 1.0
        return
    data = Data(terms, columns, plain_terms, plain_columns, observed - lost(base))
    # Of a level without a constant the covariates would have to be the cause.
    most = limits.constant and d + D < 2
    constants = (most and d + D == 0 and limits.known + pairs > 0, most)
    _begin(trail, base, constants[0])
    if limits.stepwise:
        _first_models(limits, base, constants, data, desk, hint)
        _climb(limits, base, constants, data, desk)
    else:
        _all_models(limits, base, constants, data, desk)
    _finish(data, desk, row)
    note_regression(terms if trail.best[7] == 1 else plain_terms, asked, room, row)
    row[TRIED] = trail.scores[1]
    if row[REASON] == GOOD and limits.P + limits.Q > 0 and not seasonal:
        row[REASON] = FEWER_TERMS


@kernel
def _nothing_left(columns, regressors, room):
    """Whether the regression explains the series exactly."""
    rest = room.bench.room.rows[SERIES, : columns.shape[1]]
    ordinary(columns, regressors, room.bench, rest)
    largest = 0.0
    for t in range(len(rest)):
        largest = max(largest, abs(rest[t]))
    return largest < 1e-9


@kernel
def _differences(limits, series, pairs, room, scratch):
    """Differences of the series less an ordinary regression on its covariates and Fourier terms."""
    n, m, observed = len(series.y), limits.m, seen(series.y)[0]
    terms, level = Terms(1, 0, pairs, limits.known), Order(0, 0, 0, 0, 0, 0, 1)
    wide = 1 + width(terms) + n - observed
    columns = room.flat[: wide * n].reshape((wide, n))
    lay_columns(series, level, terms, columns, room.level, room.units)
    rest = room.bench.room.rows[SERIES, :n]
    ordinary(columns, width(terms), room.bench, rest)
    D = limits.D
    if D < 0:
        enough = observed >= 2 * m + 5
        D = seasonal_differences(rest, m, min(limits.most_D, 1), limits.test, scratch) if enough else 0
    while D > 0 and n - m * D < 5:
        D -= 1
    for _ in range(D):
        for t in range(n - m):
            rest[t] = rest[t + m] - rest[t]
        n -= m
    d = limits.d if limits.d >= 0 else plain_differences(rest[:n], limits.most_d)
    return min(d, max(observed - m * D - 3, 0)), D


@kernel
def _pairs(limits, series, room, scratch, observed):
    """Fourier terms by AICc, with ARMA(1, 1) errors of the first difference or of the level, as a test says."""
    periods = len(series.y)
    if limits.pairs == 0 or 2 * periods < 3 * series.season:
        return 0
    d, _ = _differences(limits, series, min(2, limits.pairs), room, scratch)
    order, best, chosen, worse = Order(1, min(d, 1), 1, 0, 0, 0, 1), np.inf, 0, 0
    n, gaps = periods - lost(order), periods - observed
    for pairs in range(limits.pairs + 1):
        terms = Terms(1, 0, pairs, limits.known)
        size = count(order) + width(terms) + 1
        if observed - lost(order) - size < 3:
            break
        wide = 1 + width(terms) + gaps
        columns = room.flat[: wide * n].reshape((wide, n))
        lay_columns(series, order, terms, columns, room.level, room.units)
        if _nothing_left(columns, width(terms), room):
            return pairs
        value = fit(order, columns, width(terms), room.bench, 1)
        score = _criterion(AICC, value, size, observed - lost(order))
        if score < best:
            best, chosen, worse = score, pairs, 0
        else:
            worse += 1
            if worse == 3:
                break
    return chosen


@kernel
def _criterion(which, value, size, n):
    """AICc, AIC or BIC of a model with `size` parameters, the scale among them."""
    if not np.isfinite(value):
        return np.inf
    if which == BIC:
        return -2.0 * value + size * np.log(n)
    if which == AIC:
        return -2.0 * value + 2.0 * size
    if n - size - 1 <= 0:
        return np.inf
    return -2.0 * value + 2.0 * size + 2.0 * size * (size + 1.0) / (n - size - 1.0)


@kernel
def _needed(which, score, size, n):
    """The log L with which a model of `size` parameters would have that criterion."""
    return -0.5 * (score - _criterion(which, 0.0, size, n)) if np.isfinite(score) else -np.inf


@kernel
def _begin(trail, base, constant):
    trail.tried[:] = False
    for i in range(7):
        trail.best[i] = base[i]
    trail.best[7] = 1 if constant else 0
    trail.coefficients[:] = 0.0
    trail.scores[0], trail.scores[1] = np.inf, 0.0


@kernel
def _first_models(limits, base, constants, data, desk, hint):
    """The four models to begin with, or the model of an earlier window alone."""
    trail, (least, most) = desk.trail, constants
    if usable_hint(hint):
        found, own = order_of(hint), (hint[CONSTANT] > 0.0 or least) and most
        if _within(limits, found) and found.d == base.d and found.D == base.D and found.m == base.m:
            read_coefficients(found, hint, trail.coefficients)
            for i in range(7):
                trail.best[i] = found[i]
            trail.best[7] = 1 if own else 0
            if _try(limits, found, own, data, desk, True):
                return
            _begin(trail, base, least)
    P, Q = (min(1, limits.P), min(1, limits.Q)) if base.m > 1 else (0, 0)
    _try(limits, _with(base, min(2, limits.p), min(2, limits.q), P, Q), most, data, desk, False)
    _try(limits, base, most, data, desk, False)
    _try(limits, _with(base, min(1, limits.p), 0, P, 0), most, data, desk, False)
    _try(limits, _with(base, 0, min(1, limits.q), 0, Q), most, data, desk, False)
    if most and not least:
        _try(limits, base, False, data, desk, False)


@kernel
def _with(base, p, q, P, Q):
    """The candidate of so many terms."""
    return Order(p, base.d, q, P, base.D, Q, base.m)


@kernel
def _within(limits, order):
    """Whether no polynomial has more terms than allowed, or fewer than none."""
    p, _, q, P, _, Q, _ = order
    return 0 <= p <= limits.p and 0 <= q <= limits.q and 0 <= P <= limits.P and 0 <= Q <= limits.Q


# Steps to a neighbour: of p, q, P, Q; the season first, as it is what moves the criterion most.
_STEPS = np.array(
    [
        [0, 0, -1, 0], [0, 0, 0, -1], [0, 0, 1, 0], [0, 0, 0, 1],
        [0, 0, -1, -1], [0, 0, -1, 1], [0, 0, 1, -1], [0, 0, 1, 1],
        [-1, 0, 0, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0],
        [-1, -1, 0, 0], [-1, 1, 0, 0], [1, -1, 0, 0], [1, 1, 0, 0],
    ]
)  # fmt: skip


@kernel
def _climb(limits, base, constants, data, desk):
    """To a better neighbour, as soon as one is found, until there is none."""
    trail, better = desk.trail, True
    while better and trail.scores[1] < _MOST_MODELS:
        better = False
        p, q, P, Q = trail.best[0], trail.best[2], trail.best[3], trail.best[5]
        constant = trail.best[7] == 1
        for step in range(len(_STEPS)):
            dp, dq, dP, dQ = _STEPS[step]
            if base.m == 1 and (dP != 0 or dQ != 0):
                continue
            if _try(limits, _with(base, p + dp, q + dq, P + dP, Q + dQ), constant, data, desk, True):
                better = True
                break
        if not better and constants[1] and not constants[0]:
            better = _try(limits, _with(base, p, q, P, Q), not constant, data, desk, True)


@kernel
def _all_models(limits, base, constants, data, desk):
    seasonal = base.m > 1
    for p in range(limits.p + 1):
        for q in range(limits.q + 1):
            for P in range(limits.P * seasonal + 1):
                for Q in range(limits.Q * seasonal + 1):
                    if p + q + P + Q <= limits.total:
                        for constant in range(int(constants[0]), int(constants[1]) + 1):
                            _try(limits, _with(base, p, q, P, Q), constant == 1, data, desk, False)


@kernel
def _try(limits, order, constant, data, desk, near):
    """Fit a candidate unless it was; `near` begins from the best so far. Is it better than that?"""
    trail, bench, own = desk.trail, desk.room.bench, int(constant)
    if not _within(limits, order) or trail.tried[order.p, order.q, order.P, order.Q, own]:
        return False
    trail.tried[order.p, order.q, order.P, order.Q, own] = True
    terms, columns = _side(data, constant)
    k, size = count(order), count(order) + width(terms) + 1
    if data.n - size < 2 or columns.shape[1] <= reach(order):
        return False
    trail.scores[1] += 1.0
    if near and k > 0:
        _embedded(order, trail)
        target = _needed(limits.criterion, trail.scores[0], size, data.n)
        value = refit(order, columns, width(terms), bench, trail.hint[:k], target)
    else:
        value = fit(order, columns, width(terms), bench, 1)
    score = _criterion(limits.criterion, value, size, data.n)
    if not score < trail.scores[0] or not clear_of_circle(order, bench.best[1, :k], trail.hint):
        return False
    trail.scores[0] = score
    for i in range(7):
        trail.best[i] = order[i]
    trail.best[7] = own
    put(bench.best[1, :k], trail.coefficients[:k])
    return True


@kernel
def _side(data, constant):
    """Terms and columns of candidates with a constant, or of those without."""
    if constant:
        return data.terms, data.columns
    return data.plain_terms, data.plain_columns


@kernel
def _embedded(order, trail):
    """The coefficients of the best so far in the places of another model, into trail.hint."""
    best = trail.best
    old, new = 0, 0
    for block in range(4):
        had = best[(0, 2, 3, 5)[block]]
        has = (order.p, order.q, order.P, order.Q)[block]
        for i in range(has):
            trail.hint[new + i] = trail.coefficients[old + i] if i < had else 0.0
        old += had
        new += has


@kernel
def clear_of_circle(order, c, scratch):
    """Whether all roots lie outside the unit circle by a margin, of each factor in its own lag."""
    for block in range(4):
        part = split(order, c)[block]
        margin = _CLEAR if block < 2 else _SEASONAL_CLEAR
        sign = -1.0 if block % 2 else 1.0
        power = sign
        for i in range(len(part)):
            power *= margin
            scratch[i] = part[i] * power
        for j in range(len(part) - 1, -1, -1):  # step down: partial autocorrelations of 1 - a_1 B - ...
            r = scratch[j]
            if not abs(r) < 1.0:
                return False
            for i in range((j + 1) // 2):
                other = j - 1 - i
                low, high = scratch[i], scratch[other]
                scratch[i] = (low + r * high) / (1.0 - r * r)
                scratch[other] = (high + r * low) / (1.0 - r * r)
    return True


@kernel
def _finish(data, desk, row):
    """Fit the chosen model once more from several places, and from where the search left it; keep the better."""
    room, trail = desk.room, desk.trail
    best = trail.best
    order = Order(best[0], best[1], best[2], best[3], best[4], best[5], best[6])
    terms, columns = _side(data, best[7] == 1)
    k, bench, inner = count(order), room.bench, room.bench.room
    put(trail.coefficients[:k], trail.hint[:k])
    value = refit(order, columns, width(terms), bench, trail.hint[:k], -np.inf)
    put(bench.best[1, :k], trail.coefficients[:k])
    if not terms.constant:  # `units` are those of the columns in use
        put(desk.plain_units[: 1 + width(terms)], room.units[: 1 + width(terms)])
    estimate(order, terms, columns, room, 0, row[:0], row)
    observed = inner.sums[DEGREES]
    here = row[LOG_LIKELIHOOD] + observed * np.log(room.units[0])
    if here > value + 1e-9 and clear_of_circle(order, bench.best[1, :k], trail.hint):
        return
    put(trail.coefficients[:k], trail.hint[:k])
    value = refit(order, columns, width(terms), bench, trail.hint[:k], -np.inf)
    note_fit(order, value, room, row)
