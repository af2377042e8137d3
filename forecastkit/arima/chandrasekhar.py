"""The likelihood for long lags, where matrices of r rows are too dear: the Chandrasekhar recursions.

For a stationary process the covariance of the Kalman filter's state changes by a matrix of rank one a step, so that
gains follow from two vectors instead of a matrix: O(n r) (Morf, Sidhu & Kailath 1974, IEEE Transactions 19; for ARMA
models Pearlman 1980, Biometrika 67, and Melard 1984, Applied Statistics 33, algorithm AS 197). With T the companion
matrix, K the gain times F, F the variance of a one-step error and L M L' what the covariance changes by,

    f = L_0, c = M f:   K' = K + c T L,  F' = F + c f,  L' = T L - (f / F') K',  M' = M + c^2 / F

from K = T P Z', F = g_0, L = K, M = -1 / F. The gradient is the reverse mode of these lines; it keeps every L.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecastkit.arima import linear
from forecastkit.arima.initial import BOTH, KAPPA, KAPPA_BAR, PHI, PHI_BAR, Past, first_moments_adjoint
from forecastkit.arima.orders import reach
from forecastkit.arima.polynomials import dot
from forecastkit.compiled import kernel

LONG = 60  # lags from which this is cheaper than matrices


class Steps(NamedTuple):
    """What the recursions are given and what they leave behind, step by step."""

    past: Past
    table: np.ndarray  # [rows_for, r + 1 or more] L of every step in its first n rows, then scratch
    errors: np.ndarray  # [C, n or more] one-step errors of each column
    variances: np.ndarray  # [2, n or more] theirs, and M


@kernel
def rows_for(r, n, columns):
    """Rows of the work table: every L, the state of every column, and scratch."""
    return n + 1 + columns + 4 if r > LONG else 1


@kernel
def whitened(r, columns, steps):
    """One-step errors of each column and their variances into `steps`; log det."""
    past, table, errors, variances = steps
    size, n, total = r + 1, columns.shape[1], len(columns)
    gain, forward = table[n], table[n + 1]
    _start(size, past, gain, table[0])
    variance, change, log_det = past.by_lag[BOTH, 0], -1.0 / past.by_lag[BOTH, 0], 0.0
    for k in range(total):
        for i in range(size):
            table[n + 2 + k, i] = 0.0
    for t in range(n):
        variances[0, t], variances[1, t] = variance, change
        if not variance > 0.0:
            return np.nan
        log_det += np.log(variance)
        for k in range(total):
            state = table[n + 2 + k]
            error = columns[k, t] - state[0]
            errors[k, t] = error
            _moved(size, past, state, state)
            for i in range(size):
                state[i] += gain[i] * (error / variance)
        if t == n - 1:
            break
        first = table[t, 0]
        step = change * first
        _moved(size, past, table[t], forward)
        following = variance + step * first
        for i in range(size):
            gain[i] += step * forward[i]
            table[t + 1, i] = forward[i] - first / following * gain[i]
        change += step * step / variance
        variance = following
    return log_det


@kernel
def _start(size, past, gain, change):
    for i in range(size - 1):
        gain[i] = past.by_lag[PHI, i + 1] * past.by_lag[BOTH, 0] + past.by_lag[KAPPA, i + 1]
        change[i] = gain[i]
    gain[size - 1], change[size - 1] = 0.0, 0.0


@kernel
def _moved(size, past, x, out):
    """out = T x; out may be x."""
    first = x[0]
    for i in range(size - 1):
        out[i] = x[i + 1]
    out[size - 1] = 0.0
    for term in range(past.sizes[0]):
        out[past.lags[0, term] - 1] += past.terms[0, term] * first


@kernel
def _moved_back(size, past, bar, out):
    """out = T'bar; out is not bar."""
    for i in range(size - 1):
        out[i + 1] = bar[i]
    first = 0.0
    for term in range(past.sizes[0]):
        first += past.terms[0, term] * bar[past.lags[0, term] - 1]
    out[0] = first


@kernel
def regression(errors, variances, grams, kept, betas, total):
    """Generalised least squares on one-step errors: coefficients into betas[0, 1:], row 0 of `errors` less them."""
    n = errors.shape[1]
    gram = grams[0]
    betas[0, :total] = 0.0
    for i in range(total):
        for j in range(i + 1):
            value = 0.0
            for t in range(n):
                value += errors[i, t] * errors[j, t] / variances[0, t]
            gram[i, j], gram[j, i] = value, value
    found = linear.independent(gram[1:total, 1:total], total - 1, grams[1], kept)
    linear.regress(gram[0, 1:], grams[1], kept, found, total - 1, betas[0, 1:])
    for k in range(1, total):
        b = betas[0, k]
        for t in range(n):
            errors[0, t] -= b * errors[k, t]


@kernel
def adjoint(order, c, w, steps, weight, gradient):
    """Add to `gradient` [k] the derivative of half of -2 log L, `weight` being N / S; errors[0] are those of w."""
    past, table, errors, variances = steps
    size, n, by_lag = reach(order) + 1, len(w), past.by_lag
    gain, forward = table[n], table[n + 1]
    gain_bar, change_bar, state_bar, scratch = table[n + 2], table[n + 3], table[n + 4], table[n + 5]
    for i in range(size):
        gain_bar[i], change_bar[i], state_bar[i] = 0.0, 0.0, 0.0
    by_lag[PHI_BAR:] = 0.0
    phi_bar = by_lag[PHI_BAR]
    variance_bar, rank_bar = 0.0, 0.0
    for t in range(n - 1, -1, -1):
        variance, change, error = variances[0, t], variances[1, t], errors[0, t]
        own_bar = 0.0  # of this step's variance
        if t < n - 1:  # back through K', F', L', M', whose derivatives stand in the bars
            first, following = table[t, 0], variances[0, t + 1]
            step, share = change * first, first / following
            _moved(size, past, table[t], forward)
            share_bar = -dot(change_bar[:size], gain[:size])
            for i in range(size):
                gain_bar[i] -= share * change_bar[i]
            first_bar = share_bar / following
            variance_bar -= share_bar * first / (following * following)
            step_bar = rank_bar * 2.0 * step / variance + variance_bar * first + dot(gain_bar[:size], forward[:size])
            own_bar = variance_bar - rank_bar * step * step / (variance * variance)
            first_bar += variance_bar * step + step_bar * change
            rank_bar += step_bar * first
            for i in range(size):
                change_bar[i] += step * gain_bar[i]
                gain[i] -= step * forward[i]
            for term in range(past.sizes[0]):
                phi_bar[past.lags[0, term]] += change_bar[past.lags[0, term] - 1] * first
            _moved_back(size, past, change_bar, scratch)
            for i in range(size):
                change_bar[i] = scratch[i]
            change_bar[0] += first_bar
        scaled = error / variance
        inner = dot(state_bar[:size], gain[:size])
        for i in range(size):
            gain_bar[i] += state_bar[i] * scaled
        error_bar = weight * scaled + inner / variance
        variance_bar = own_bar + 0.5 / variance - 0.5 * weight * scaled * scaled - inner * scaled / variance
        for term in range(past.sizes[0]):
            phi_bar[past.lags[0, term]] += state_bar[past.lags[0, term] - 1] * (w[t] - error)
        _moved_back(size, past, state_bar, scratch)
        for i in range(size):
            state_bar[i] = scratch[i]
        state_bar[0] -= error_bar
    first = by_lag[BOTH, 0]
    variance_bar += rank_bar / (first * first)
    for i in range(size - 1):
        bar = gain_bar[i] + change_bar[i]
        phi_bar[i + 1] += bar * first
        variance_bar += bar * by_lag[PHI, i + 1]
        by_lag[KAPPA_BAR, i + 1] += bar
    first_moments_adjoint(order, c, past, variance_bar, gradient)
