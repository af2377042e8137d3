"""Panels and rows for the tests of the compiled ARIMA core."""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecastkit.arima import panel as core
from forecastkit.arima.estimation import COEFFICIENTS, Model
from forecastkit.arima.orders import LARGEST, Order
from forecastkit.arima.panel import Demand
from forecastkit.arima.preparation import Terms
from forecastkit.data.panel import Floats, Panel

NO_TERMS = Terms(0, 0, 0, 0)

AIR = np.array(
    [
        112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118,
        115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140,
        145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166,
        171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194,
        196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201,
        204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229,
        242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278,
        284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306,
        315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336,
        340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337,
        360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405,
        417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432,
    ],
    np.float64,
)  # fmt: skip


def demand(*series: Floats, season: int = 12, known: Floats | None = None, start: int = 0) -> Demand:
    lengths = np.array([len(y) for y in series])
    values = np.concatenate(series).astype(float)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    known = np.empty((len(values), 0)) if known is None else known
    return Demand(values, offsets, np.full(len(series), start), known, season)


def fit(order: Order, *series: Floats, terms: Terms = NO_TERMS, starts: int = 0, season: int | None = None) -> Floats:
    return core.fit(demand(*series, season=season or max(order.m, 1)), Model(order, terms, starts))


def forecast(order: Order, rows: Floats, *series: Floats, horizon: int = 18) -> tuple[Floats, Floats]:
    ahead = np.empty((len(series), horizon, 0))
    return core.forecast(demand(*series, season=max(order.m, 1)), ahead, rows, spread=True)


def coefficients_of(order: Order, row: Floats) -> Floats:
    """In the order of statsmodels."""
    blocks = (order.p, order.q, order.P, order.Q)
    return np.concatenate([row[COEFFICIENTS + k * LARGEST :][:size] for k, size in enumerate(blocks)])


def simulated(order: Order, c: Floats, n: int, seed: int) -> Floats:
    """A path of the process with unit noise, begun long before."""
    rng = np.random.default_rng(seed)
    i, j = order.p, order.p + order.q
    k = j + order.P
    auto = np.concatenate([[1.0], -c[:i]])
    long_auto = np.zeros(order.m * order.P + 1)
    long_auto[0], long_auto[order.m :: order.m] = 1.0, -c[j:k]
    moving = np.concatenate([[1.0], c[i:j]])
    long_moving = np.zeros(order.m * order.Q + 1)
    long_moving[0], long_moving[order.m :: order.m] = 1.0, c[k:]
    from scipy.signal import lfilter

    noise = rng.normal(size=n + 500)
    y = lfilter(np.convolve(moving, long_moving), np.convolve(auto, long_auto), noise)[500:]
    for _ in range(order.D):
        for t in range(order.m, len(y)):
            y[t] += y[t - order.m]
    for _ in range(order.d):
        y = np.cumsum(y)
    return y


def panel(y: Floats, freq: str = "MS", **columns: Floats) -> Panel:
    times = pd.date_range("2010-01-01", periods=len(y), freq=freq)
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": y} | columns)
    return Panel.from_frame(frame, freq=freq, known=tuple(columns))
