"""Lag polynomials: the filters that apply and invert them, and the coordinates in which they stay stable.

Signs follow Box & Jenkins as most software does: phi(B) = 1 - phi_1 B - ..., theta(B) = 1 + theta_1 B + .... A seasonal
polynomial has the same coefficients at the lags m, 2m, .... Products are never multiplied out: a filter of each factor
is run after the other. All filters start from zeros, forward ones at the first period, backward ones at the last.
"""

from __future__ import annotations

import numpy as np

from forecastkit.compiled import kernel, reduction

LIMIT = 0.999999  # of a partial autocorrelation
_PULLED = 0.9995  # to begin with: on the circle itself the sine has no slope to leave it by


@reduction
def dot(x, y):
    """Inner product of two vectors."""
    total = 0.0
    for t in range(len(x)):
        total += x[t] * y[t]
    return total


@reduction
def lagged_dot(x, y, lag):
    """Sum of x[t + lag] * y[t]."""
    total = 0.0
    for t in range(len(x) - lag):
        total += x[t + lag] * y[t]
    return total


@kernel
def put(x, out):
    """out = x."""
    for t in range(len(x)):
        out[t] = x[t]


@kernel
def forward(x, theta, out):
    """out = x / theta(B); [n] -> [n]. Highest lag first, so that only one multiplication waits for the last value."""
    n, q = len(x), len(theta)
    if q == 0:
        for t in range(n):
            out[t] = x[t]
    elif q == 1:
        a, one = theta[0], 0.0
        for t in range(n):
            one = x[t] - a * one
            out[t] = one
    elif q == 2:
        a, b, one, two = theta[0], theta[1], 0.0, 0.0
        for t in range(n):
            new = (x[t] - b * two) - a * one
            two = one
            one = new
            out[t] = new
    else:
        for t in range(n):
            value = x[t]
            for j in range(min(q, t) - 1, -1, -1):
                value -= theta[j] * out[t - 1 - j]
            out[t] = value


@kernel
def backward(x, theta, out):
    """out = x / theta(F), F = 1/B, from the last value to the first."""
    n, q = len(x), len(theta)
    if q == 0:
        for t in range(n):
            out[t] = x[t]
    elif q == 1:
        a, one = theta[0], 0.0
        for t in range(n - 1, -1, -1):
            one = x[t] - a * one
            out[t] = one
    elif q == 2:
        a, b, one, two = theta[0], theta[1], 0.0, 0.0
        for t in range(n - 1, -1, -1):
            new = (x[t] - b * two) - a * one
            two = one
            one = new
            out[t] = new
    else:
        for t in range(n - 1, -1, -1):
            value = x[t]
            for j in range(min(q, n - 1 - t) - 1, -1, -1):
                value -= theta[j] * out[t + 1 + j]
            out[t] = value


@kernel
def forward_seasonal(x, theta, m, out):
    """out = x / Theta(B^m), season by season, so that the periods of one run side by side."""
    n, terms = len(x), len(theta)
    if terms == 0:
        for t in range(n):
            out[t] = x[t]
        return
    a = theta[0]
    for t in range(min(m, n)):
        out[t] = x[t]
    for start in range(m, n, m):
        stop = min(start + m, n)
        for t in range(start, stop):
            out[t] = x[t] - a * out[t - m]
        for j in range(1, min(terms, start // m)):
            b, lag = theta[j], (j + 1) * m
            for t in range(start, stop):
                out[t] -= b * out[t - lag]


@kernel
def backward_seasonal(x, theta, m, out):
    """out = x / Theta(F^m)."""
    n, terms = len(x), len(theta)
    if terms == 0:
        for t in range(n):
            out[t] = x[t]
        return
    a = theta[0]
    for t in range(max(n - m, 0), n):
        out[t] = x[t]
    stop, seasons = n - m, 1
    while stop > 0:
        start = max(stop - m, 0)
        for t in range(start, stop):
            out[t] = x[t] - a * out[t + m]
        for j in range(1, min(terms, seasons)):
            b, lag = theta[j], (j + 1) * m
            for t in range(start, stop):
                out[t] -= b * out[t + lag]
        stop = start
        seasons += 1


@kernel
def apply(x, phi, step, out):
    """out = phi(B^step) x with zeros before the first value; out is not x."""
    n = len(x)
    for t in range(n):
        out[t] = x[t]
    for i in range(len(phi)):
        a, lag = phi[i], (i + 1) * step
        for t in range(lag, n):
            out[t] -= a * x[t - lag]


@kernel
def stable(x, out, slope, bend):
    """A polynomial 1 - a_1 B - ... with its roots outside the unit circle from free numbers; [p] -> [p], [p, p], [p].

    sin(x) are partial autocorrelations, from which the Durbin-Levinson recursion makes coefficients (Monahan 1984,
    Biometrika 71; Jones 1980, Technometrics 22). Their sine reaches the circle at a finite x and turns there, so that a
    maximum on the circle is a maximum like any other. `slope[i, j]` becomes the derivative of a_i by x_j, and `bend[j]`
    the second derivative of the partial autocorrelation over the first, -tan(x_j).
    """
    p = len(x)
    for j in range(p):
        r = LIMIT * np.sin(x[j])
        for i in range((j + 1) // 2):
            k = j - 1 - i
            for c in range(j):
                low, high = slope[i, c], slope[k, c]
                slope[i, c] = low - r * high
                slope[k, c] = high - r * low
            low, high = out[i], out[k]
            slope[i, j] = -high
            slope[k, j] = -low
            out[i] = low - r * high
            out[k] = high - r * low
        for c in range(j):
            slope[j, c] = 0.0
        slope[j, j] = 1.0
        out[j] = r
    for j in range(p):
        cosine = np.cos(x[j])
        if abs(cosine) < 1e-8:
            cosine = 1e-8
        bend[j] = -np.sin(x[j]) / cosine
        for i in range(p):
            slope[i, j] *= LIMIT * cosine


@kernel
def free(work, out):
    """The way back: free numbers of a polynomial, roots on or inside the circle pulled out; `work` is overwritten."""
    p = len(work)
    for j in range(p - 1, -1, -1):
        r = min(max(work[j], -_PULLED), _PULLED)
        out[j] = np.arcsin(r / LIMIT)
        for i in range((j + 1) // 2):
            k = j - 1 - i
            low, high = work[i], work[k]
            work[i] = (low + r * high) / (1.0 - r * r)
            work[k] = (high + r * low) / (1.0 - r * r)
