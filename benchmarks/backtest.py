"""A backtest's wall time and memory by number of series and processes, on synthetic retail demand.

python benchmarks/backtest.py [--series 100 1000] [--jobs 1 2] [--models naive seasonal_naive theta]
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time

from record import record


def once(series: int, jobs: int, models: list[str], days: int) -> dict[str, float]:
    """One backtest in a process of its own, so that its memory is its own."""
    start = time.perf_counter()
    arguments = [
        sys.executable,
        __file__,
        "--inside",
        "--series",
        str(series),
        "--jobs",
        str(jobs),
        "--days",
        str(days),
    ]
    done = subprocess.run([*arguments, "--models", *models], capture_output=True, text=True, check=True)
    return {"process_s": round(time.perf_counter() - start, 2), **json.loads(done.stdout)}


def inside(series: int, jobs: int, models: list[str], days: int) -> dict[str, float]:
    import resource

    from forecastkit import Run, backtest
    from forecastkit.data import synthetic

    panel = synthetic.retail(series=series, periods=days).panel
    start = time.perf_counter()
    backtest(panel, models, horizon=28, windows=3, run=Run(jobs=jobs))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "backtest_s": round(time.perf_counter() - start, 2),
        "parent_peak_mb": round(own / 1024),
        "largest_worker_mb": round(workers / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--models", nargs="+", default=["naive", "seasonal_naive", "window_average"])
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(inside(options.series[0], options.jobs[0], options.models, options.days)))
        return
    rows = [
        {"series": n, "jobs": j, "models": " ".join(options.models), **once(n, j, options.models, options.days)}
        for n, j in itertools.product(options.series, options.jobs)
    ]
    record("backtest", f"Backtests of {options.days} days, horizon 28, 3 windows, synthetic retail demand", rows)


if __name__ == "__main__":
    main()
