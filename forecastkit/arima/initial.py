"""The unknown past: what the first observations owe to it, and how that varies.

With s_i the part of phi*(B) w_i that stems from before the first period (i = 1..r, r the longest lag),

    s_i = sum over k >= 0 of phi*_{i+k} w_{-k} + theta*_{i+k} e_{-k},

V = Cov(s) in units of the noise follows from the autocovariances g of the process by

    V_ij = V_{i+1,j+1} + theta_i theta_j + g_0 phi_i phi_j + phi_i kappa_j + kappa_i phi_j,   kappa_i = theta_i +
    V_{1,i+1}

(stationarity: the state moved on by one period has the same covariance). g is that of the autoregression alone, by the
Levinson recursion down and up again (Brockwell & Davis 1991, sections 5.2 and 8.7), summed with the autocovariances of
the moving average. Lags are sparse, so this costs O(p*^2 + r * terms), V itself O(r^2).

`covariance_adjoint` is the same in reverse: from derivatives by V to those by the coefficients, exact up to rounding
also beside the unit circle, where differences are not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecastkit.arima import lanes
from forecastkit.arima.linking import driver
from forecastkit.arima.orders import LARGEST, factored, multiplied, reach, split
from forecastkit.compiled import kernel

_TERMS = (LARGEST + 1) * (LARGEST + 1)
_ROUNDING = 1e-13


class Past(NamedTuple):
    """Room for one model's past and the way back. Few arrays, as each costs compiling time in every kernel."""

    sizes: np.ndarray  # terms of phi*, of theta*, of the moving average's autocovariance after lag 0
    lags: np.ndarray  # [3, terms] where these stand
    terms: np.ndarray  # [2, terms] coefficients of phi* and theta*
    by_lag: np.ndarray  # [16, 2r + 28] the vectors below
    levels: np.ndarray  # [2, p*, p*] the autoregressions of lower order, and derivatives by them


# Rows of `by_lag`, from lag 0: the polynomials, autocovariances of the autoregression (PLAIN), the moving average
# (MOVING) and the process (BOTH), its weights, kappa, the variances of the Levinson recursion; then derivatives by
# them.
PHI, THETA, PLAIN, MOVING, BOTH, WEIGHTS, KAPPA, DROPS = range(8)
PHI_BAR, THETA_BAR, PLAIN_BAR, MOVING_BAR, BOTH_BAR, WEIGHTS_BAR, KAPPA_BAR, PARTIAL_BAR = range(8, 16)


@driver
def past_room(r):
    """Room for models whose longest lag is at most `r`."""
    return Past(
        np.zeros(3, np.int64),
        np.zeros((3, max(r + 2, _TERMS)), np.int64),
        np.zeros((2, _TERMS)),
        np.zeros((16, 2 * r + 28)),
        np.zeros((2, r + 1, r + 1)),
    )


@kernel
def first_moments(order, c, past):
    """Fill `past` up to kappa; False where the model is not stationary in double precision."""
    phi, theta, seasonal_phi, seasonal_theta = split(order, c)
    m, r = order.m, reach(order)
    p_star, q_star = order.p + m * order.P, order.q + m * order.Q
    past.sizes[0] = multiplied(phi, seasonal_phi, m, -1.0, past.lags[0], past.terms[0])
    past.sizes[1] = multiplied(theta, seasonal_theta, m, 1.0, past.lags[1], past.terms[1])
    n_phi, n_theta = past.sizes[0], past.sizes[1]
    past.by_lag[PHI, : r + 2] = 0.0
    past.by_lag[THETA, : r + 2] = 0.0
    for i in range(n_phi):
        past.by_lag[PHI, past.lags[0, i]] += past.terms[0, i]
    for i in range(n_theta):
        past.by_lag[THETA, past.lags[1, i]] += past.terms[1, i]
    if not _autoregression(past, p_star, r + q_star):
        return False
    _moving_average(past, q_star)
    plain, moving, both, weights = past.by_lag[PLAIN], past.by_lag[MOVING], past.by_lag[BOTH], past.by_lag[WEIGHTS]
    for k in range(r + 1):
        total = moving[0] * plain[k]
        for i in range(past.sizes[2]):
            d = past.lags[2, i]
            total += moving[d] * (plain[abs(k - d)] + plain[k + d])
        both[k] = total
    weights[0] = 1.0
    for k in range(1, r + 1):
        total = past.by_lag[THETA, k]
        for i in range(n_phi):
            if past.lags[0, i] <= k:
                total += past.terms[0, i] * weights[k - past.lags[0, i]]
        weights[k] = total
    kappa = past.by_lag[KAPPA]
    for j in range(1, r + 1):
        kappa[j] = past.by_lag[THETA, j]
    for i in range(n_phi):  # V_{1,j+1} to kappa_j
        for j in range(2, past.lags[0, i] + 1):
            kappa[j - 1] += past.terms[0, i] * both[past.lags[0, i] - j + 1]
    for i in range(n_theta):
        for j in range(2, past.lags[1, i] + 1):
            kappa[j - 1] += past.terms[1, i] * weights[past.lags[1, i] - j + 1]
    return True


@kernel
def _autoregression(past, p_star, upto):
    """Autocovariances 0..upto of the autoregression with noise of variance 1."""
    levels, drops, plain = past.levels[0], past.by_lag[DROPS], past.by_lag[PLAIN]
    for i in range(p_star):
        levels[p_star - 1, i] = past.by_lag[PHI, i + 1]
    variance = 1.0
    for j in range(p_star - 1, -1, -1):
        k = levels[j, j]
        rest = (1.0 - k) * (1.0 + k)
        if not rest > _ROUNDING:
            return False
        variance /= rest
        for i in range(j):
            levels[j - 1, i] = (levels[j, i] + k * levels[j, j - 1 - i]) / rest
    plain[0] = variance
    for j in range(p_star):
        k = levels[j, j]
        total = k * variance
        for i in range(j):
            total += levels[j - 1, i] * plain[j - i]
        plain[j + 1] = total
        drops[j] = variance
        variance *= (1.0 - k) * (1.0 + k)
    for k in range(p_star + 1, upto + 1):
        total = 0.0
        for i in range(past.sizes[0]):
            total += past.terms[0, i] * plain[k - past.lags[0, i]]
        plain[k] = total
    return True


@kernel
def _moving_average(past, q_star):
    """Autocovariances of the moving average, from its few terms; two terms may share a lag."""
    moving, lags, n = past.by_lag[MOVING], past.lags[1], past.sizes[1]
    moving[: q_star + 1] = 0.0
    moving[0] = 1.0
    found = 0
    for i in range(n):
        moving[lags[i]] += past.terms[1, i]
        moving[0] += past.terms[1, i] * past.terms[1, i]
        found = _noted(past.lags[2], found, lags[i])
        for j in range(i):
            d = abs(lags[i] - lags[j])
            if d == 0:
                moving[0] += 2.0 * past.terms[1, i] * past.terms[1, j]
            else:
                moving[d] += past.terms[1, i] * past.terms[1, j]
                found = _noted(past.lags[2], found, d)
    past.sizes[2] = found


@kernel
def _noted(lags, found, lag):
    """Put `lag` into the list unless it stands there; returns how many do."""
    for i in range(found):
        if lags[i] == lag:
            return found
    lags[found] = lag
    return found + 1


@kernel
def covariance(order, past, V):
    """V [r, r] from `past`; rows below the last are 0 meanwhile."""
    r, by_lag = reach(order), past.by_lag
    lanes.clear(V, r, r + 1)
    for i in range(r - 1, -1, -1):
        lanes.copy_shifted(V, i, 0, V, i + 1, 1, r)
        V[i, r - 1] = 0.0
        lanes.add_shifted(V, i, 0, by_lag[THETA, i + 1], by_lag, THETA, 1, r)
        if past.sizes[0]:
            phi = by_lag[PHI, i + 1]
            lanes.add_shifted(V, i, 0, by_lag[BOTH, 0] * phi + by_lag[KAPPA, i + 1], by_lag, PHI, 1, r)
            lanes.add_shifted(V, i, 0, phi, by_lag, KAPPA, 1, r)


@kernel
def covariance_adjoint(order, c, past, bar, gradient):
    """Add to `gradient` [k] what tr(bar dV) is by each coefficient; `bar` [r, r] is symmetric and is overwritten."""
    r, by_lag, variance_bar = reach(order), past.by_lag, 0.0
    for i in range(1, r):  # every entry of V is a sum along its diagonal
        lanes.add_shifted(bar, i, 1, 1.0, bar, i - 1, 0, r - 1)
    by_lag[PHI_BAR:] = 0.0
    for i in range(past.sizes[1]):
        lanes.add_shifted(by_lag, THETA_BAR, 1, 2.0 * past.terms[1, i], bar, past.lags[1, i] - 1, 0, r)
    if past.sizes[0]:
        for i in range(past.sizes[0]):
            lag, phi = past.lags[0, i], past.terms[0, i]
            lanes.add_shifted(by_lag, PHI_BAR, 1, 2.0 * by_lag[BOTH, 0] * phi, bar, lag - 1, 0, r)
            lanes.add_shifted(by_lag, KAPPA_BAR, 1, 2.0 * phi, bar, lag - 1, 0, r)
        for j in range(1, r + 1):
            lanes.add_shifted(by_lag, PHI_BAR, 1, 2.0 * by_lag[KAPPA, j], bar, j - 1, 0, r)
        for i in range(past.sizes[0]):
            variance_bar += 0.5 * past.terms[0, i] * by_lag[KAPPA_BAR, past.lags[0, i]]
    by_lag[PHI_BAR:, r + 1 : r + 17] = 0.0  # what the last group of eight left beyond
    first_moments_adjoint(order, c, past, variance_bar, gradient)


@kernel
def first_moments_adjoint(order, c, past, variance_bar, gradient):
    """From derivatives by g_0, phi*, theta* and kappa (in `past.by_lag`, by lag) to those by the coefficients."""
    m, r, n_phi = order.m, reach(order), past.sizes[0]
    p_star, q_star = order.p + m * order.P, order.q + m * order.Q
    phi_bar, theta_bar, kappa_bar, both_bar = (
        past.by_lag[PHI_BAR],
        past.by_lag[THETA_BAR],
        past.by_lag[KAPPA_BAR],
        past.by_lag[BOTH_BAR],
    )
    for j in range(1, r + 1):
        theta_bar[j] += kappa_bar[j]
    both_bar[0] += variance_bar
    _kappa_adjoint(past, r, phi_bar, theta_bar, kappa_bar, both_bar)
    _both_adjoint(past, r, theta_bar, both_bar)
    if n_phi:
        _autoregression_adjoint(past, p_star, r + q_star, phi_bar)
    phi, theta, seasonal_phi, seasonal_theta = split(order, c)
    to_phi, to_theta, to_seasonal_phi, to_seasonal_theta = split(order, gradient)
    factored(phi, seasonal_phi, m, -1.0, phi_bar, to_phi, to_seasonal_phi)
    factored(theta, seasonal_theta, m, 1.0, theta_bar, to_theta, to_seasonal_theta)


@kernel
def _kappa_adjoint(past, r, phi_bar, theta_bar, kappa_bar, both_bar):
    n_phi, n_theta, weights_bar = past.sizes[0], past.sizes[1], past.by_lag[WEIGHTS_BAR]
    both, weights = past.by_lag[BOTH], past.by_lag[WEIGHTS]
    for i in range(n_phi):
        lag = past.lags[0, i]
        for j in range(2, lag + 1):
            phi_bar[lag] += kappa_bar[j - 1] * both[lag - j + 1]
            both_bar[lag - j + 1] += kappa_bar[j - 1] * past.terms[0, i]
    for i in range(n_theta):
        lag = past.lags[1, i]
        for j in range(2, lag + 1):
            theta_bar[lag] += kappa_bar[j - 1] * weights[lag - j + 1]
            weights_bar[lag - j + 1] += kappa_bar[j - 1] * past.terms[1, i]
    for k in range(r, 0, -1):
        bar = weights_bar[k]
        theta_bar[k] += bar
        for i in range(n_phi):
            lag = past.lags[0, i]
            if lag <= k:
                phi_bar[lag] += bar * weights[k - lag]
                weights_bar[k - lag] += bar * past.terms[0, i]


@kernel
def _both_adjoint(past, r, theta_bar, both_bar):
    n, plain, moving, plain_bar, moving_bar = (
        past.sizes[1],
        past.by_lag[PLAIN],
        past.by_lag[MOVING],
        past.by_lag[PLAIN_BAR],
        past.by_lag[MOVING_BAR],
    )
    for k in range(r + 1):
        bar = both_bar[k]
        plain_bar[k] += bar * moving[0]
        moving_bar[0] += bar * plain[k]
        for i in range(past.sizes[2]):
            d = past.lags[2, i]
            moving_bar[d] += bar * (plain[abs(k - d)] + plain[k + d])
            plain_bar[abs(k - d)] += bar * moving[d]
            plain_bar[k + d] += bar * moving[d]
    for i in range(n):
        one = past.lags[1, i]
        theta_bar[one] += moving_bar[one] + 2.0 * past.terms[1, i] * moving_bar[0]
        for j in range(i):
            other = past.lags[1, j]
            bar = moving_bar[abs(one - other)] * (2.0 if one == other else 1.0)
            theta_bar[one] += bar * past.terms[1, j]
            theta_bar[other] += bar * past.terms[1, i]


@kernel
def _autoregression_adjoint(past, p_star, upto, phi_bar):
    plain, plain_bar, levels, bars, k_bar = (
        past.by_lag[PLAIN],
        past.by_lag[PLAIN_BAR],
        past.levels[0],
        past.levels[1],
        past.by_lag[PARTIAL_BAR],
    )
    for k in range(upto, p_star, -1):
        for i in range(past.sizes[0]):
            lag = past.lags[0, i]
            phi_bar[lag] += plain_bar[k] * plain[k - lag]
            plain_bar[k - lag] += plain_bar[k] * past.terms[0, i]
    bars[:p_star, :p_star] = 0.0
    variance_bar = 0.0
    for j in range(p_star - 1, -1, -1):  # up the recursion, backwards
        k, bar = levels[j, j], plain_bar[j + 1]
        k_bar[j] += bar * past.by_lag[DROPS, j] - 2.0 * k * variance_bar * past.by_lag[DROPS, j]
        variance_bar = variance_bar * (1.0 - k) * (1.0 + k) + bar * k
        for i in range(j):
            bars[j - 1, i] += bar * plain[j - i]
            plain_bar[j - i] += bar * levels[j - 1, i]
    variance_bar += plain_bar[0]
    for j in range(p_star):  # down the recursion, backwards
        k = levels[j, j]
        rest = (1.0 - k) * (1.0 + k)
        k_bar[j] += variance_bar * plain[0] * 2.0 * k / rest
        for i in range(j):
            bar = bars[j - 1, i] / rest
            bars[j, i] += bar
            bars[j, j - 1 - i] += bar * k
            k_bar[j] += bar * (levels[j, j - 1 - i] + 2.0 * k * levels[j - 1, i])
        bars[j, j] += k_bar[j]
    for i in range(p_star):
        phi_bar[i + 1] += bars[p_star - 1, i]
