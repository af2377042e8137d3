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

from forecastkit.arima.compiled import driver, kernel
from forecastkit.arima.differences import plain_differences, seasonal_differences
from forecastkit.arima.estimation import (
    CONSTANT,
    GOOD,
    LOG_LIKELIHOOD,
    NEWEST_PART,
    REASON,
    STEADY,
    TOO_SHORT,
    TRIED,
    any_missing,
    blank_row,
    estimate,
    note_fit,
    note_regression,
    order_of,
    read_coefficients,
    room_for_series,
    seen,
    usable_hint,
)
from forecastkit.arima.likelihood import DEGREES, SERIES
from forecastkit.arima.optimiser import fit, ordinary, refit
from forecastkit.arima.orders import LARGEST, Order, count, lost, reach, split
from forecastkit.arima.polynomials import put
from forecastkit.arima.preparation import Terms, lay_columns, newest_part, width

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
    best: np.ndarray  # [7] order of the best, and [7] 1 with a constant
    coefficients: np.ndarray  # [k] of it
    hint: np.ndarray  # [k] scratch
    scores: np.ndarray  # [criterion of the best, models tried]


@driver
def search_rows(limits, values, offsets, starts, known, season, warm, rows):
    """Choose and fit a model for each series; arguments as of `estimation.fit_rows`."""
    r = max(limits.p + limits.m * limits.P, limits.q + limits.m * limits.Q, 1)
    regressors = 2 + 2 * limits.pairs + limits.known
    # `_pairs` compares ARMA(1, 1) errors whatever the limits are.
    room = room_for_series(values, offsets, regressors, r, max(limits.p + limits.q + limits.P + limits.Q, 2))
    plain = room_for_series(values, offsets, regressors, 0, 1)  # the same columns without a constant
    longest = len(room.level)
    scratch = np.zeros((6, longest + 2 * max(limits.m, season) + 128))
    sizes = (_SIZE, _SIZE, _SIZE, _SIZE, 2)
    trail = Trail(
        np.zeros(sizes, np.bool_), np.zeros(8, np.int64), np.zeros(4 * LARGEST), np.zeros(4 * LARGEST), np.zeros(2)
    )
    for i in range(len(offsets) - 1):
        first = offsets[i] + newest_part(values[offsets[i] : offsets[i + 1]])
        last, start = offsets[i + 1], starts[i] + first - offsets[i]
        hint = warm[i] if len(warm) else rows[i, :0]
        search_one(
            limits, values[first:last], start, known[first:last], season, room, plain, scratch, trail, hint, rows[i]
        )
        if rows[i, REASON] == GOOD and any_missing(values[offsets[i] : first]):
            rows[i, REASON] = NEWEST_PART


@kernel
def search_one(limits, y, start, known, season, room, plain, scratch, trail, hint, row):
    """Choose and fit a model for one series."""
    observed, differ = seen(y)
    blank_row(row, start)
    asked = Terms(1, 0, limits.pairs, limits.known)
    if not differ or observed < 4 + limits.known:
        row[REASON] = TOO_SHORT if differ or observed == 0 else STEADY
        return
    pairs = _pairs(limits, y, start, known, season, room, scratch, observed)
    d, D = _differences(limits, y, start, known, season, pairs, room, scratch, observed)
    seasonal = D > 0 or (limits.m > 1 and observed >= 2 * limits.m + 5)
    m = limits.m if seasonal else 1
    allowed = limits.constant and d + D < 2
    base = Order(0, d, 0, 0, D, 0, m)
    with_constant = Terms(1, 0, pairs, limits.known)
    without = Terms(0, 0, pairs, limits.known)
    n, gaps = len(y) - lost(base), len(y) - observed
    wide, narrow = 1 + width(with_constant) + gaps, 1 + width(without) + gaps
    columns = room.flat[: wide * n].reshape((wide, n))
    others = plain.flat[: narrow * n].reshape((narrow, n))
    lay_columns(y, base, with_constant, season, start, known, columns, room.level, room.units)
    lay_columns(y, base, without, season, start, known, others, room.level, plain.units)
    if _nothing_left(columns, width(with_constant), room, n):
        estimate(base, with_constant, columns, room, 1, hint[:0], row)
        note_regression(with_constant, asked, room, row)
        row[TRIED] = 1.0
        return
    _begin(trail, base)
    tools = (columns, others, with_constant, without, observed - lost(base))
    if limits.stepwise:
        _first_models(limits, base, seasonal, allowed, tools, room, trail, hint)
        _climb(limits, base, seasonal, allowed, tools, room, trail)
    else:
        _all_models(limits, base, seasonal, allowed, tools, room, trail)
    order = Order(trail.best[0], d, trail.best[2], trail.best[3], D, trail.best[5], m)
    constant = trail.best[7] == 1
    terms = with_constant if constant else without
    _finish(order, terms, columns if constant else others, room, plain, trail, row)
    note_regression(terms, asked, room, row)
    row[TRIED] = trail.scores[1]


@kernel
def _nothing_left(columns, regressors, room, n):
    rest = room.bench.room.rows[SERIES, :n]
    ordinary(columns, regressors, room.bench, rest)
    largest = 0.0
    for t in range(n):
        largest = max(largest, abs(rest[t]))
    return largest < 1e-9


@kernel
def _differences(limits, y, start, known, season, pairs, room, scratch, observed):
    """Differences of the series less an ordinary regression on its covariates and Fourier terms."""
    n, m = len(y), limits.m
    terms, level = Terms(1, 0, pairs, limits.known), Order(0, 0, 0, 0, 0, 0, 1)
    wide = 1 + width(terms) + n - observed
    columns = room.flat[: wide * n].reshape((wide, n))
    lay_columns(y, level, terms, season, start, known, columns, room.level, room.units)
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
def _pairs(limits, y, start, known, season, room, scratch, observed):
    """Fourier terms by AICc, with ARMA(1, 1) errors of the first difference or of the level, as a test says."""
    if limits.pairs == 0 or 2 * len(y) < 3 * season:
        return 0
    d, _ = _differences(limits, y, start, known, season, min(2, limits.pairs), room, scratch, observed)
    order, best, chosen, worse = Order(1, min(d, 1), 1, 0, 0, 0, 1), np.inf, 0, 0
    n, gaps = len(y) - lost(order), len(y) - observed
    for pairs in range(limits.pairs + 1):
        terms = Terms(1, 0, pairs, limits.known)
        size = count(order) + width(terms) + 1
        if observed - lost(order) - size < 3:
            break
        wide = 1 + width(terms) + gaps
        columns = room.flat[: wide * n].reshape((wide, n))
        lay_columns(y, order, terms, season, start, known, columns, room.level, room.units)
        if _nothing_left(columns, width(terms), room, n):
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
def _begin(trail, base):
    trail.tried[:] = False
    for i in range(7):
        trail.best[i] = base[i]
    trail.best[7] = 0
    trail.coefficients[:] = 0.0
    trail.scores[0], trail.scores[1] = np.inf, 0.0


@kernel
def _first_models(limits, base, seasonal, allowed, tools, room, trail, hint):
    """The four models to begin with, or the model of an earlier window alone."""
    constant = allowed
    if usable_hint(hint):
        found = order_of(hint)
        own = hint[CONSTANT] > 0.0 and allowed
        inside = found.p <= limits.p and found.q <= limits.q and found.P <= limits.P and found.Q <= limits.Q
        if found.d == base.d and found.D == base.D and found.m == base.m and inside:
            read_coefficients(found, hint, trail.coefficients)
            for i in range(7):
                trail.best[i] = found[i]
            trail.best[7] = 1 if own else 0
            if _try(limits, base, found.p, found.q, found.P, found.Q, own, tools, room, trail, True):
                return
            _begin(trail, base)
    long_auto, long_moving = min(1, limits.P) * seasonal, min(1, limits.Q) * seasonal
    _try(limits, base, min(2, limits.p), min(2, limits.q), long_auto, long_moving, constant, tools, room, trail, False)
    _try(limits, base, 0, 0, 0, 0, constant, tools, room, trail, False)
    _try(limits, base, min(1, limits.p), 0, long_auto, 0, constant, tools, room, trail, False)
    _try(limits, base, 0, min(1, limits.q), 0, long_moving, constant, tools, room, trail, False)
    if allowed:
        _try(limits, base, 0, 0, 0, 0, False, tools, room, trail, False)


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
def _climb(limits, base, seasonal, allowed, tools, room, trail):
    """To a better neighbour, as soon as one is found, until there is none."""
    better = True
    while better and trail.scores[1] < _MOST_MODELS:
        better = False
        p, q, P, Q = trail.best[0], trail.best[2], trail.best[3], trail.best[5]
        constant = trail.best[7] == 1
        for step in range(len(_STEPS)):
            dp, dq, dP, dQ = _STEPS[step]
            if not seasonal and (dP != 0 or dQ != 0):
                continue
            if _try(limits, base, p + dp, q + dq, P + dP, Q + dQ, constant, tools, room, trail, True):
                better = True
                break
        if not better and allowed:
            better = _try(limits, base, p, q, P, Q, not constant, tools, room, trail, True)


@kernel
def _all_models(limits, base, seasonal, allowed, tools, room, trail):
    for p in range(limits.p + 1):
        for q in range(limits.q + 1):
            for P in range(limits.P * seasonal + 1):
                for Q in range(limits.Q * seasonal + 1):
                    if p + q + P + Q <= limits.total:
                        for constant in range(1 + allowed):
                            _try(limits, base, p, q, P, Q, constant == 1, tools, room, trail, False)


@kernel
def _try(limits, base, p, q, P, Q, constant, tools, room, trail, near):
    """Fit a candidate unless it was; `near` begins from the best so far. Is it better than that?"""
    columns, others, with_constant, without, n = tools
    if p < 0 or q < 0 or P < 0 or Q < 0 or p > limits.p or q > limits.q or P > limits.P or Q > limits.Q:
        return False
    if trail.tried[p, q, P, Q, int(constant)]:
        return False
    trail.tried[p, q, P, Q, int(constant)] = True
    order = Order(p, base.d, q, P, base.D, Q, base.m)
    terms = with_constant if constant else without
    data = columns if constant else others
    k, size = count(order), count(order) + width(terms) + 1
    if n - size < 2 or data.shape[1] <= reach(order):
        return False
    trail.scores[1] += 1.0
    bench = room.bench
    if near and k > 0:
        _embedded(order, trail)
        target = _needed(limits.criterion, trail.scores[0], size, n)
        value = refit(order, data, width(terms), bench, trail.hint[:k], target)
    else:
        value = fit(order, data, width(terms), bench, 1)
    score = _criterion(limits.criterion, value, size, n)
    if not score < trail.scores[0] or not clear_of_circle(order, bench.best[1, :k], trail.hint):
        return False
    trail.scores[0] = score
    for i in range(7):
        trail.best[i] = order[i]
    trail.best[7] = 1 if constant else 0
    put(bench.best[1, :k], trail.coefficients[:k])
    return True


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
def _finish(order, terms, columns, room, plain, trail, row):
    """Fit the chosen model once more from several places, and from where the search left it; keep the better."""
    k, bench, inner = count(order), room.bench, room.bench.room
    put(trail.coefficients[:k], trail.hint[:k])
    value = refit(order, columns, width(terms), bench, trail.hint[:k], -np.inf)
    put(bench.best[1, :k], trail.coefficients[:k])
    if not terms.constant:  # `units` are those of the columns in use
        put(plain.units[: 1 + width(terms)], room.units[: 1 + width(terms)])
    estimate(order, terms, columns, room, 0, row[:0], row)
    observed = inner.sums[DEGREES]
    here = row[LOG_LIKELIHOOD] + observed * np.log(room.units[0])
    if here > value + 1e-9 and clear_of_circle(order, bench.best[1, :k], trail.hint):
        return
    put(trail.coefficients[:k], trail.hint[:k])
    value = refit(order, columns, width(terms), bench, trail.hint[:k], -np.inf)
    note_fit(order, value, room, row)
