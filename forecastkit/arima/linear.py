"""Small dense linear algebra on the first r rows and columns of a work array, whose rows are padded (`lanes`).

Inner loops run along rows; numpy's own calls would each cost more than a likelihood.
"""

from __future__ import annotations

import numpy as np

from forecastkit.arima import lanes
from forecastkit.compiled import kernel

_NOTHING = 1e-12  # share of a pivot below which a column depends on those before it


@kernel
def cholesky(a, r):
    """Upper R with R'R = a in place, of which the upper half is read. Returns log |a|, NaN unless it is positive."""
    log_det = 0.0
    for j in range(r):
        lanes.combine_columns(a, j, -1.0, a, j, a, 0, j, j, r)
        pivot = a[j, j]
        if not pivot > 0.0:
            return np.nan
        log_det += np.log(pivot)
        lanes.scale(a, j, 1.0 / np.sqrt(pivot), j, r)
    return log_det


@kernel
def solve_all(a, r, x, columns):
    """x = R'^-1 x for the upper R of `cholesky` and all `columns` of x [r, columns], in place."""
    for i in range(r):
        lanes.combine_columns(x, i, -1.0, a, i, x, 0, i, 0, columns)
        lanes.scale(x, i, 1.0 / a[i, i], 0, columns)


@kernel
def solve(a, r, x):
    """x = R'^-1 x for one vector."""
    for i in range(r):
        x[i] /= a[i, i]
        value = x[i]
        for k in range(i + 1, r):
            x[k] -= a[i, k] * value


@kernel
def solve_back(a, r, x):
    """x = R^-1 x."""
    for i in range(r - 1, -1, -1):
        total = x[i]
        for k in range(i + 1, r):
            total -= a[i, k] * x[k]
        x[i] = total / a[i, i]


@kernel
def independent(gram, size, root, kept):
    """Cholesky with pivots of a Gram matrix: `kept` [size] lists columns that don't depend on others; how many.

    root[i, :i + 1] is the row of the factor of kept[i]. A column of which less than 1e-12 is new is left out.
    """
    for i in range(size):
        kept[i] = i
    for j in range(size):
        best, at = -1.0, j
        for i in range(j, size):
            own = gram[kept[i], kept[i]]
            new = own
            for k in range(j):
                new -= root[i, k] * root[i, k]
            share = new / own if own > 0.0 else 0.0
            if share > best:
                best, at = share, i
        if not best > _NOTHING:
            return j
        kept[j], kept[at] = kept[at], kept[j]
        for k in range(j):
            root[j, k], root[at, k] = root[at, k], root[j, k]
        pivot = gram[kept[j], kept[j]]
        for k in range(j):
            pivot -= root[j, k] * root[j, k]
        root[j, j] = np.sqrt(pivot)
        for i in range(j + 1, size):
            total = gram[kept[i], kept[j]]
            for k in range(j):
                total -= root[i, k] * root[j, k]
            root[i, j] = total / root[j, j]
    return size


@kernel
def regress(target, root, kept, found, size, out):
    """Coefficients [size] from products with the target and what `independent` left; 0 for columns that it left out."""
    for i in range(size):
        out[i] = 0.0
    for i in range(found):
        value = target[kept[i]]
        for k in range(i):
            value -= root[i, k] * out[kept[k]]
        out[kept[i]] = value / root[i, i]
    for i in range(found - 1, -1, -1):
        value = out[kept[i]]
        for k in range(i + 1, found):
            value -= root[k, i] * out[kept[k]]
        out[kept[i]] = value / root[i, i]
