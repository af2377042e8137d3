"""Latency of `predict` for each model and batch of series, the fitted model being warm.

python benchmarks/latency.py [--models gru sarima] [--batch 1 64 1024] [--device cpu|cuda]

A model is fitted once on as many series as the largest batch that its fit is quick enough for, then moved to each
batch by `update`, which estimates nothing.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from record import record

from forecastkit import Fitted, Panel, models
from forecastkit.data import synthetic
from forecastkit.errors import MissingExtraError

HORIZON = 28
PILOT = 4
SAMPLES_FOR_P99 = 1000


def fit(name: str, panel: Panel, options: argparse.Namespace) -> tuple[Fitted, float]:
    """The model on as many series as can be fitted in `--fit-seconds`, judged by a few."""
    recipe = models.create(name, device=options.device, seed=0)
    start = time.perf_counter()
    fitted = recipe.fit(panel.take(range(PILOT)), horizon=HORIZON)
    pilot_s = time.perf_counter() - start
    if recipe.pooled or name in ("naive", "seasonal_naive", "historic_mean", "window_average"):
        count = len(panel)
    else:
        count = min(len(panel), int(PILOT * options.fit_seconds / pilot_s))
    start = time.perf_counter()
    fitted = recipe.fit(panel.take(range(max(count, PILOT))), horizon=HORIZON)
    return fitted, time.perf_counter() - start


def measure(fitted: Fitted, seconds: float) -> dict[str, Any]:
    """Wall and CPU milliseconds of warm calls: at least five, at most as many as p99 needs."""
    start = time.perf_counter()
    fitted.predict(HORIZON)
    first = 1e3 * (time.perf_counter() - start)
    wall, cpu = [], time.process_time()
    until = time.perf_counter() + seconds
    while len(wall) < 5 or (time.perf_counter() < until and len(wall) < SAMPLES_FOR_P99):
        start = time.perf_counter()
        fitted.predict(HORIZON)
        wall.append(1e3 * (time.perf_counter() - start))
    cpu_ms = 1e3 * (time.process_time() - cpu) / len(wall)
    p50, p95, p99 = np.percentile(wall, [50, 95, 99])
    return {
        "n": len(wall),
        "first_ms": round(first, 3),
        "p50_ms": round(p50, 3),
        "p95_ms": round(p95, 3),
        "p99_ms": round(p99, 3) if len(wall) >= SAMPLES_FOR_P99 else None,
        "cpu_ms": round(cpu_ms, 3),
        "contended": bool(p50 > 1.5 * min(wall)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(models.available()))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64, 1024])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each row")
    parser.add_argument("--fit-seconds", type=float, default=20.0, help="for the fit of a local model")
    options = parser.parse_args()
    panel = synthetic.retail(series=max(options.batch), periods=400).panel
    panel = Panel(panel.ids, panel.values, panel.offsets, panel.starts, panel.calendar)  # without covariates
    rows, notes = [], []
    for name in options.models:
        try:
            fitted, fit_s = fit(name, panel, options)
        except MissingExtraError as error:
            notes.append(f"{name} left out: {error}")
            continue
        for batch in options.batch:
            if batch > len(fitted.history):
                notes.append(f"{name} at batch {batch} left out: fitting so many series would take too long")
                continue
            ready = fitted.update(panel.take(range(batch)))
            row = {"model": name, "batch": batch, "device": options.device, "fit_s": round(fit_s, 2)}
            rows.append(row | measure(ready, options.seconds))
    title = f"Latency of predict({HORIZON}), 400 days of history, milliseconds; p99 from {SAMPLES_FOR_P99} samples on"
    record("latency" if options.device == "cpu" else f"latency_{options.device}", title, rows, notes)


if __name__ == "__main__":
    main()
