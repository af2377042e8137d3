"""Make arima.json: log-likelihoods that statsmodels finds in every fourth series of M3 monthly, null where it fails.

python tests/golden/make_arima.py
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
from statsmodels.tsa.statespace.sarimax import SARIMAX

from forecastkit.arima.orders import Order
from forecastkit.data import datasets
from forecastkit.data.panel import Floats
from forecastkit.store import versions

FILE = Path(__file__).with_name("arima.json")
EVERY, HORIZON = 4, 18
ORDERS = (
    Order(0, 1, 1, 0, 1, 1, 12),
    Order(1, 1, 1, 0, 1, 1, 12),
    Order(2, 1, 1, 1, 0, 1, 12),
    Order(2, 1, 2, 1, 1, 1, 12),
)


def m3_monthly(every: int) -> list[Floats]:
    """Series of M3 monthly without their test part."""
    panel = datasets.load("m3_monthly")
    return [np.array(panel.series(i)[:-HORIZON]) for i in range(0, len(panel), every)]


def reference(order: Order, y: Floats) -> float:
    """The best that statsmodels finds, on the scale of the differenced series; NaN where it breaks off."""
    w = y
    for lag in [1] * order.d + [order.m] * order.D:
        w = w[lag:] - w[:-lag]
    scale = w.std()
    season = (order.P, 0, order.Q, order.m) if order.m > 1 else (0, 0, 0, 0)
    model = SARIMAX(w / scale, order=(order.p, 0, order.q), seasonal_order=season, concentrate_scale=True)
    try:
        return float(model.fit(disp=0, maxiter=200).llf - len(w) * np.log(scale))
    except np.linalg.LinAlgError:  # beside the unit circle its stationary variance has no solution
        return np.nan


def main() -> None:
    warnings.simplefilter("ignore")
    series = m3_monthly(EVERY)
    found = {str(order): [_short(reference(order, y)) for y in series] for order in ORDERS}
    made_by = {"made_by": "python tests/golden/make_arima.py", "statsmodels": versions()["statsmodels"]}
    FILE.write_text(json.dumps({**made_by, "tolerance": 0.1, "log_likelihood": found}) + "\n")


def _short(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 3)


if __name__ == "__main__":
    main()
