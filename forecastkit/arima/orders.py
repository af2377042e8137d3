"""Orders of a model, and the layout of its coefficients.

Coefficients stand in one vector [phi_1..phi_p, theta_1..theta_q, Phi_1..Phi_P, Theta_1..Theta_Q], the order in which
statsmodels has them.
"""

from __future__ import annotations

from typing import NamedTuple

from forecastkit.arima.polynomials import free, stable
from forecastkit.compiled import kernel

LARGEST = 5  # terms of one polynomial


class Order(NamedTuple):
    """(p, d, q)(P, D, Q)m. A model without a season has P = D = Q = 0 and m = 1."""

    p: int
    d: int
    q: int
    P: int
    D: int
    Q: int
    m: int


@kernel
def count(order):
    """Coefficients of a model, k."""
    return order.p + order.q + order.P + order.Q


@kernel
def lost(order):
    """Periods that differencing takes."""
    return order.d + order.m * order.D


@kernel
def reach(order):
    """The longest lag of the multiplied polynomials, r: periods on which the unknown past acts directly."""
    return max(order.p + order.m * order.P, order.q + order.m * order.Q)


@kernel
def split(order, c):
    """phi, theta, Phi, Theta: views of a coefficient vector."""
    i, j = order.p, order.p + order.q
    return c[:i], c[i:j], c[j : j + order.P], c[j + order.P : j + order.P + order.Q]


@kernel
def coefficients(order, x, c, slope, bend):
    """Coefficients of a stationary and invertible model from free numbers; `slope` [k, k] is their derivative.

    `bend` [k] is what `polynomials.stable` makes it.
    """
    slope[:] = 0.0
    first = 0
    for block in range(4):
        terms = (order.p, order.q, order.P, order.Q)[block]
        last = first + terms
        stable(x[first:last], c[first:last], slope[first:last, first:last], bend[first:last])
        if block % 2:  # theta = 1 + ..., so the signs turn
            for i in range(first, last):
                c[i] = -c[i]
                for j in range(first, last):
                    slope[i, j] = -slope[i, j]
        first = last


@kernel
def free_numbers(order, c, x):
    """The way back from coefficients, which are overwritten."""
    first = 0
    for block in range(4):
        last = first + (order.p, order.q, order.P, order.Q)[block]
        if block % 2:
            for i in range(first, last):
                c[i] = -c[i]
        free(c[first:last], x[first:last])
        first = last


@kernel
def multiplied(short, seasonal, m, sign, lags, values):
    """Lags and coefficients of the product of two polynomials after the 1 in front; returns how many.

    `sign` is -1 for 1 - phi B (whose product is written as 1 - ...) and 1 for 1 + theta B.
    """
    found = 0
    for i in range(len(short)):
        lags[found], values[found] = i + 1, short[i]
        found += 1
    for j in range(len(seasonal)):
        lags[found], values[found] = (j + 1) * m, seasonal[j]
        found += 1
        for i in range(len(short)):
            lags[found], values[found] = (j + 1) * m + i + 1, sign * short[i] * seasonal[j]
            found += 1
    return found


@kernel
def factored(short, seasonal, m, sign, bar, short_bar, seasonal_bar):
    """Adjoint of `multiplied`: adds to the factors' derivatives those by the product's coefficients, `bar[lag]`."""
    for i in range(len(short)):
        short_bar[i] += bar[i + 1]
    for j in range(len(seasonal)):
        seasonal_bar[j] += bar[(j + 1) * m]
        for i in range(len(short)):
            both = sign * bar[(j + 1) * m + i + 1]
            short_bar[i] += both * seasonal[j]
            seasonal_bar[j] += both * short[i]
