"""One likelihood and one fit of the ARIMA core beside those of statsmodels, and how often its maximum is as high.

python benchmarks/arima_fits.py [--series 300] [--quick]

With --quick a few series are taken, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from record import record
from statsmodels.tsa.statespace.sarimax import SARIMAX

import forecastkit as fk
from forecastkit import Panel
from forecastkit.arima.likelihood import evaluate
from forecastkit.arima.orders import Order
from forecastkit.data import datasets
from forecastkit.execution import use_threads

ORDERS = (
    Order(0, 1, 1, 0, 1, 1, 12),
    Order(1, 1, 1, 0, 1, 1, 12),
    Order(2, 1, 1, 1, 0, 1, 12),
    Order(2, 1, 2, 1, 1, 1, 12),
)
HORIZON, REPEATS = 18, 5
QUICK = 6  # series of a quick look
BEHIND = 0.1  # log L that counts as lower
READING = (
    "milliseconds and microseconds of CPU, one thread; our fits of all series at once, those of statsmodels one by one",
    "statsmodels: SARIMAX(simple_differencing=True, concentrate_scale=True), which maximises the same likelihood; "
    "it is given the series in units of their differences, as it does worse without",
    "a likelihood of ours has its gradient and Gauss-Newton matrix with it, the call from Python and work space too",
    f"as_high: share of the series in which our log L is at least theirs - {BEHIND}; higher: above theirs + {BEHIND}; "
    "of those that statsmodels ends, which it does not where its variance of the first state has no solution",
)


def model_of(order: Order, y: Any) -> Any:
    return SARIMAX(
        y,
        order=(order.p, order.d, order.q),
        seasonal_order=(order.P, order.D, order.Q, order.m),
        simple_differencing=True,
        concentrate_scale=True,
    )


def cpu(work: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """Seconds of one call, and what the last gave."""
    begun = time.process_time()
    for _ in range(times):
        found = work()
    return (time.process_time() - begun) / times, found


def best_of(order: Order, y: Any) -> float:
    """The maximum that statsmodels finds, on the scale of the series; NaN where it breaks off."""
    plain = differenced(order, y)
    unit = np.sqrt((plain**2).mean())
    try:
        return float(model_of(order, y / unit).fit(disp=False, maxiter=200).llf - len(plain) * np.log(unit))
    except np.linalg.LinAlgError:
        return float("nan")


def differenced(order: Order, y: Any) -> Any:
    for lag in [1] * order.d + [order.m] * order.D:
        y = y[lag:] - y[:-lag]
    return y


def likelihoods(order: Order, y: Any) -> tuple[float, float]:
    """Seconds of one, ours and theirs, at the same coefficients."""
    w = differenced(order, y)
    w = w / np.sqrt((w**2).mean())
    c = np.full(order.p + order.q + order.P + order.Q, 0.2)
    theirs = model_of(order, y)
    evaluate(order, c, w[None], 0)
    ours = statistics.median(cpu(lambda: evaluate(order, c, w[None], 0), 2000)[0] for _ in range(REPEATS))
    return ours, statistics.median(cpu(lambda: theirs.loglike(c), 50)[0] for _ in range(REPEATS))


def row(order: Order, train: Panel) -> dict[str, Any]:
    recipe = fk.create(
        f"sarima:order=({order.p},{order.d},{order.q}),seasonal_order=({order.P},{order.D},{order.Q})", season=order.m
    )
    recipe.fit(train.take(range(2)))
    with use_threads(1):
        fits = [cpu(lambda: recipe.fit(train)) for _ in range(REPEATS)]
    llf = np.asarray(fits[-1][1].diagnostics()["llf"])
    theirs = [cpu(partial(best_of, order, np.array(train.series(i)))) for i in range(len(train))]
    ahead = llf - np.array([value for _, value in theirs])
    ended = ahead[~np.isnan(ahead)]
    usual = train.series(int(np.argsort(train.lengths)[len(train) // 2]))
    one, other = likelihoods(order, usual)
    return {
        "order": f"({order.p},{order.d},{order.q})({order.P},{order.D},{order.Q})[{order.m}]",
        "series": len(train),
        "likelihood_us": round(1e6 * one, 1),
        "statsmodels_likelihood_us": round(1e6 * other, 1),
        "fit_ms": round(1e3 * statistics.median(seconds for seconds, _ in fits) / len(train), 3),
        "statsmodels_fit_ms": round(1e3 * statistics.mean(seconds for seconds, _ in theirs), 2),
        "as_high": round(float(np.mean(ended >= -BEHIND)), 4),
        "higher": round(float(np.mean(ended > BEHIND)), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="a few series, nothing is written")
    options = parser.parse_args()
    panel = datasets.load("m3_monthly").bare()
    chosen = np.random.default_rng(0).permutation(len(panel))[: QUICK if options.quick else options.series]
    train = panel.cut(panel.lengths - HORIZON).take(np.sort(chosen))
    warnings.simplefilter("ignore")
    rows = [row(order, train) for order in ORDERS]
    if options.quick:
        print(json.dumps(rows, indent=1))
    else:
        record("arima_fits", f"One likelihood and one fit, {len(train)} series of M3 monthly", rows, list(READING))


if __name__ == "__main__":
    main()
