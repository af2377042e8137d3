"""The compiled ARIMA family beside statsforecast, statsmodels and pmdarima: how fast, how accurate, how large on disk.

python benchmarks/arima.py speed --rivals PYTHON   one thread, side by side in turn
python benchmarks/arima.py threads                 two threads beside one
python benchmarks/arima.py accuracy                four panels of real demand, through the command
python benchmarks/arima.py store                   bytes of a saved model

PYTHON (or the variable FORECASTKIT_RIVALS) is that of a virtual environment with the rivals in it, which is made by
`python -m venv rivals` and `rivals/bin/python -m pip install statsforecast statsmodels pmdarima`. With --quick a few
series are taken, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from beside import ONE_THREAD, Worker, finish, one_thread, the_worker, unnamed
from leaderboard import models, rounded
from record import shared_data

import forecastkit as fk
from forecastkit import Fitted, Forecast, Panel
from forecastkit.data import datasets
from forecastkit.evaluation.metrics import mase, scales
from forecastkit.execution import use_threads

WORKER = "arima_rivals.py"
ORDER, SEASONAL = (1, 1, 1), (0, 1, 1)
FIXED = "sarima:order=(1,1,1),seasonal_order=(0,1,1)"
LEVELS = (0.1, 0.9)
BLOCKS = 6  # of a rival's series, with a run of ours before and after each
REPEATS = 5
THREADS = 1.8  # times that two threads are meant to be quicker
QUICK = 2  # blocks, repeats and series of a rival in a quick look
FEW = 8  # series that are enough to have everything compiled


@dataclass(frozen=True)
class Rival:
    """model: its name in the worker · series: those it is timed on · target: times that we mean to be quicker."""

    model: str
    series: int
    target: float | None = None


@dataclass(frozen=True)
class Work:
    """A model of ours on a panel without its last `horizon` periods, and who does the same."""

    title: str
    data: str
    season: int
    horizon: int
    model: str
    rivals: tuple[Rival, ...]


WORKS = (
    Work(
        "SARIMA(1,1,1)(0,1,1)12, M3 monthly",
        "m3_monthly",
        12,
        18,
        FIXED,
        (
            Rival("statsforecast ARIMA", 60, 80),
            Rival("statsmodels SARIMAX", 60, 600),
            Rival("statsmodels SARIMAX, tuned", 60),
        ),
    ),
    Work(
        "SARIMA(1,1,1)(0,1,1)24, M4 hourly",
        "m4_hourly",
        24,
        48,
        FIXED,
        (Rival("statsforecast ARIMA", 42, 400), Rival("statsmodels SARIMAX", 12, 2000)),
    ),
    Work(
        "stepwise automatic, M3 monthly",
        "m3_monthly",
        12,
        18,
        "auto_arima",
        (
            Rival("statsforecast AutoARIMA", 60, 100),
            Rival("statsforecast AutoARIMA, approximation=True", 60),
            Rival("pmdarima auto_arima", 24, 600),
        ),
    ),
    Work(
        "stepwise automatic, M4 hourly",
        "m4_hourly",
        24,
        48,
        "auto_arima",
        (Rival("statsforecast AutoARIMA", 48, 400), Rival("statsforecast AutoARIMA, approximation=True", 12)),
    ),
)
IN_THREADS = (WORKS[0], WORKS[2])
READING = (
    "milliseconds are of CPU, a series; ours of the whole job, from a table to a table of means and the 0.1 and 0.9 "
    "quantiles, on all series; the rivals' of fit and forecast with the same interval, on arrays, without any table",
    f"our whole panel runs before and after each of {BLOCKS} blocks of the rivals' series, and the median counts; the "
    "rivals' mean counts in ratio, their median in ratio_median; their series are drawn at random",
    "SARIMAX by default maximises an approximately diffuse likelihood of the series, ours is the exact one of its "
    "differences; tuned (simple_differencing, concentrate_scale) it has ours, and an interval of the differences only",
    "MASE of both on the rival's series; ours are not below 0 where demand never was",
)
READING_THREADS = f"milliseconds a series are of wall-clock, from a table to a table; medians of {REPEATS} runs in turn"
MAKE_RIVALS = (
    "rivals left out: make an environment by `python -m venv rivals` and `rivals/bin/python -m pip install "
    "statsforecast statsmodels pmdarima`, and give its Python by --rivals"
)

FAMILIES = ("auto_arima", "sarima", "ets", "theta", "seasonal_naive")
PANELS = {  # horizon, season, windows
    "m3_monthly": (18, 12, 1),
    "m4_hourly": (48, 24, 1),
    "m5_foods_ca_top500_daily": (28, 7, 3),
    "stallion_monthly": (6, 12, 3),
}
READING_SECONDS = "one job, one thread; the fit_s of auto_arima, the first, also pays for loading the compiled code"
PUBLISHED = (
    "published for M3 monthly, sMAPE / MASE: Theta 13.89 / 0.858, ForecastPro 13.90 / 0.848, B-J automatic "
    "14.80 / 0.914",
    "published for M4 Hourly: the winner ES-RNN 9.328 / 0.893, seasonal naive 13.912 / 1.193",
)


def rival_fit(worker: Worker, rival: Rival, work: Work, y: Sequence[float]) -> dict[str, Any]:
    asked = {"model": rival.model, "order": ORDER, "seasonal": SEASONAL, "season": work.season}
    return worker.ask(**asked, horizon=work.horizon, y=list(y))


@dataclass(frozen=True)
class Cost:
    """Seconds of a job on a panel, and of the fit in it."""

    cpu_s: float
    wall_s: float
    fit_cpu_s: float
    fit_wall_s: float


def job(frame: pd.DataFrame, work: Work, threads: int = 1) -> tuple[Cost, Forecast]:
    """A table in, a table out."""
    cpu, wall = time.process_time(), time.perf_counter()
    with use_threads(threads):
        panel = Panel.from_frame(frame)
        fit_cpu, fit_wall = time.process_time(), time.perf_counter()
        fitted = fk.create(work.model, season=work.season).fit(panel)
        fit = time.process_time() - fit_cpu, time.perf_counter() - fit_wall
        forecast = fitted.predict(work.horizon, levels=LEVELS)
        forecast.to_frame()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall, *fit), forecast


def median(costs: Sequence[Cost], field: str) -> float:
    return statistics.median(getattr(cost, field) for cost in costs)


def panels(work: Work, quick: bool) -> tuple[Panel, Panel]:
    """All periods, and those before the test part."""
    panel = datasets.load(work.data).bare()
    panel = panel.take(range(60)) if quick else panel
    return panel, panel.cut(panel.lengths - work.horizon)


def speed(python: str | None, quick: bool) -> None:
    notes = [*READING, f"load {os.getloadavg()[0]:.2f} at the start", *([] if quick else first_calls())]
    rows: list[dict[str, Any]] = []
    with the_worker(python, WORKER) as worker, one_thread():
        for work in WORKS:
            found = race(work, worker, quick)
            rows += found.rows(worker)
            notes += found.remarks()
    notes += [] if python else [MAKE_RIVALS]
    unnamed(RIVALS=python)
    finish("arima_speed", "ARIMA: fit and forecast side by side, one thread", rows, notes, quick)


def threads(quick: bool) -> None:
    with one_thread():
        inside()  # compiles, or loads what was compiled
        found = [in_threads(work, quick) for work in IN_THREADS]
    rows = [row for more, _ in found for row in more]
    finish("arima_threads", "ARIMA in two threads", rows, [READING_THREADS, *(note for _, note in found)], quick)


@dataclass
class Race:
    """What a work cost us, run by run on the whole panel, and each rival, series by series."""

    work: Work
    panel: Panel
    train: Panel
    samples: dict[Rival, list[int]]
    ours: list[Cost]
    theirs: dict[Rival, list[dict[str, Any]]]
    forecast: Forecast

    def rows(self, worker: Worker | None) -> list[dict[str, Any]]:
        n = len(self.train)
        alone = self.work.title, n, 1e3 * median(self.ours, "cpu_s") / n
        if worker is None:
            return [row(*alone)]
        return [
            row(*alone, rival=rival, version=worker.versions[rival.model.split()[0]], **self._beside(rival))
            for rival in self.theirs
        ]

    def _beside(self, rival: Rival) -> dict[str, Any]:
        """A rival's own figures."""
        answers, places = self.theirs[rival], np.array(self.samples[rival])
        own = dict(zip(self.forecast.series, self.forecast.mean, strict=True))
        good = [k for k, answer in enumerate(answers) if "mean" in answer]
        return {
            "costs": [1e3 * answers[k]["cpu_s"] for k in good],
            "mase_ours": self._mase(places[good], [own[self.train.ids[i]] for i in places[good]]),
            "mase_rival": self._mase(places[good], [answers[k]["mean"] for k in good]),
        }

    def _mase(self, places: Any, forecasts: list[Any]) -> float | None:
        if not forecasts:
            return None
        actual = [self.panel.series(i)[-self.work.horizon :] for i in places]
        scale = scales(self.train, self.work.season)[places, 0]
        return round(float(np.nanmean(mase(actual, forecasts, scale))), 4)

    def remarks(self) -> list[str]:
        """What the rows leave out: wall-clock, how hard the sample is for us, and failures."""
        return [f"{self.work.title}, {rival.model}: {'; '.join(self._remarks(rival))}" for rival in self.theirs]

    def _remarks(self, rival: Rival) -> Iterator[str]:
        n, answers = len(self.train), self.theirs[rival]
        walls = [answer["wall_s"] for answer in answers if "mean" in answer]
        if walls:
            yield f"{statistics.mean(walls) / median(self.ours, 'wall_s') * n:.0f} times by wall-clock"
        frame = self.train.take(self.samples[rival]).to_frame()
        same = median([job(frame, self.work)[0] for _ in range(3)], "fit_cpu_s") / len(answers)
        yield f"our fit alone takes {1e3 * same:.2f} ms a series on the rival's series"
        yield f"{1e3 * median(self.ours, 'fit_cpu_s') / n:.2f} ms on all"
        errors = [answer["error"] for answer in answers if "error" in answer]
        if errors:
            yield f"it failed on {len(errors)} series, such as by {errors[0]}"


def race(work: Work, worker: Worker | None, quick: bool) -> Race:
    """Our whole panel, then a block of each rival's series, and so on in turn."""
    panel, train = panels(work, quick)
    frame = train.to_frame()
    job(train.take(range(FEW)).to_frame(), work)  # compiles, or loads what was compiled
    order = np.random.default_rng(0).permutation(len(train)).tolist()
    samples = {rival: order[: QUICK if quick else rival.series] for rival in work.rivals if worker}
    cost, forecast = job(frame, work)
    ours, theirs = [cost], {rival: list[dict[str, Any]]() for rival in samples}
    blocks = QUICK if quick else BLOCKS
    for block in range(blocks):
        for rival, places in samples.items():
            part = places[block * len(places) // blocks : (block + 1) * len(places) // blocks]
            theirs[rival] += [rival_fit(worker, rival, work, train.series(i).tolist()) for i in part]
        ours.append(job(frame, work)[0])
        print(f"{work.title}: block {block + 1} of {blocks}", file=sys.stderr)
    return Race(work, panel, train, samples, ours, theirs, forecast)


def row(
    work: str,
    series: int,
    ours: float,
    *,
    rival: Rival | None = None,
    version: str | None = None,
    costs: Sequence[float] = (),
    **scores: float | None,
) -> dict[str, Any]:
    """ours: milliseconds a series · costs: those of each series of the rival's."""
    mean, middle = (f(costs) if costs else None for f in (statistics.mean, statistics.median))
    return {
        "work": work,
        "rival": rival and rival.model,
        "version": version,
        "series_ours": series,
        "series_rival": len(costs),
        "ours_ms": round(ours, 3),
        "rival_ms": mean and round(mean, 3),
        "ratio": mean and round(mean / ours, 2),
        "ratio_median": middle and round(middle / ours, 2),
        "target": rival and rival.target,
        "mase_ours": scores.get("mase_ours"),
        "mase_rival": scores.get("mase_rival"),
    }


def in_threads(work: Work, quick: bool) -> tuple[list[dict[str, Any]], str]:
    """Two threads beside one, by wall-clock, in turn."""
    frame = panels(work, quick)[1].to_frame()
    n = frame["unique_id"].nunique()
    costs: dict[int, list[Cost]] = {1: [], 2: []}
    for _ in range(QUICK if quick else REPEATS):
        for threads, found in costs.items():
            found.append(job(frame, work, threads)[0])
    rows = []
    for name, part in (("fit", "fit_wall_s"), ("whole job", "wall_s")):
        one, two = (1e3 * median(costs[threads], part) / n for threads in (1, 2))
        row = {"work": f"{name}: {work.title}", "series": n, "one_thread_ms": round(one, 4)}
        rows.append(row | {"two_threads_ms": round(two, 4), "ratio": round(one / two, 2), "target": THREADS})
    note = f"{work.title}: two processes that know nothing of each other do {at_most(work, quick):.2f} times"
    return rows, f"{note} the work of one here; load {os.getloadavg()[0]:.2f} afterwards"


def at_most(work: Work, quick: bool) -> float:
    """How many times the work of one process two get done on this machine, each fitting the whole panel by itself."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for repeat in range(1 + (QUICK if quick else REPEATS)):
            for processes, found in seconds.items():
                both = [pool.submit(fit_seconds, work, quick) for _ in range(processes)]
                if repeat:  # the first ones load
                    found.append(statistics.mean(one.result() for one in both))
    return 2 * statistics.median(seconds[1]) / statistics.median(seconds[2])


@lru_cache
def fit_seconds_of(work: Work, quick: bool) -> Callable[[], float]:
    """Loads the panel once a process; a call fits it, in one thread."""
    frame = panels(work, quick)[1].to_frame()
    return lambda: job(frame, work)[0].fit_wall_s


def fit_seconds(work: Work, quick: bool) -> float:
    """What a worker process is asked for: the median of a few fits."""
    return statistics.median(fit_seconds_of(work, quick)() for _ in range(REPEATS))


def first_calls() -> list[str]:
    """What compiling costs once, and what loading it costs every process, in processes with a cache of their own."""
    command = [sys.executable, __file__, "speed", "--inside"]
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | ONE_THREAD | {"NUMBA_CACHE_DIR": folder}
        cold, kept = (
            json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=env).stdout) for _ in range(2)
        )
    return [
        f"one-off compilation, seconds of CPU of the first call on {FEW} series with an empty cache: {spoken(cold)}; "
        f"in the next process, with the cache: {spoken(kept)}; it is in no row"
    ]


def spoken(seconds: dict[str, float]) -> str:
    return ", then ".join(f"{name} {s:.1f}" for name, s in seconds.items())


def inside() -> dict[str, float]:
    """Seconds of CPU of the first call of each model in this process."""
    seconds = {}
    for work in IN_THREADS:
        frame = panels(work, True)[1].take(range(FEW)).to_frame()
        seconds[work.model.partition(":")[0]] = job(frame, work)[0].cpu_s
    return seconds


def accuracy(quick: bool) -> None:
    inside()  # keeps what it compiles, so that no fit_s pays for that
    rows, notes = [], []
    for name, (horizon, season, windows) in PANELS.items():
        flags = ["--horizon", str(horizon), "--season", str(season), "--windows", str(windows)]
        flags += ["--sample", "20"] if quick else []
        notes.append(f"`forecastkit backtest dataset:{name} {' '.join(flags)} -m …`")
        for found in backtest(name, *flags, *models(FAMILIES)):
            rows.append({"data": name} | rounded(found) | {"fit_s": round(found["fit_s"], 3)})
    notes += ["the folder $FORECASTKIT_DATA holds all but M3", READING_SECONDS, *PUBLISHED]
    finish("arima_accuracy", "ARIMA beside ETS and Theta, the last periods of four panels", rows, notes, quick)


def backtest(name: str, *flags: str) -> list[dict[str, Any]]:
    """The leaderboard that `forecastkit backtest` prints; on one core, so that seconds mean the same for all models."""
    command = [sys.executable, "-m", "forecastkit", "backtest", f"dataset:{name}", *flags, "--jobs", "1", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | ONE_THREAD)
    return json.loads(done.stdout)["leaderboard"]


def store(quick: bool) -> None:
    work = WORKS[0]
    _, train = panels(work, quick)
    files, difference = saved(fk.create(work.model, season=work.season).fit(train), work.horizon)
    y = train.series(int(np.argsort(train.lengths)[len(train) // 2]))
    pickled, bare, drift = pickles(y, work)
    ours = sum(files.values()) / len(train)
    rows = [
        {"what": what, "series": n, "bytes_a_series": round(size), "times_ours": round(size / ours, 1), "difference": d}
        for what, n, size, d in (
            ("forecastkit, saved folder", len(train), ours, difference),
            ("statsmodels SARIMAX results, pickle", 1, pickled, drift),
            ("statsmodels SARIMAX results, pickle after remove_data", 1, bare, None),
        )
    ]
    notes = [
        ", ".join(f"{name} {size / len(train):,.0f} bytes a series" for name, size in files.items()),
        "difference: the largest one, in units of demand, between forecasts before and after loading",
        f"ours holds the whole history; the pickle is that of the series of median length, {len(y)} months",
    ]
    finish("arima_store", f"A saved model on disk: {work.title}", rows, notes, quick)


def saved(fitted: Fitted, horizon: int) -> tuple[dict[str, int], float]:
    """Bytes of each file of a saved model, and the largest difference of forecasts after loading."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        fitted.save(place)
        sizes = {file.name: file.stat().st_size for file in sorted(place.iterdir())}
        before, after = (model.predict(horizon, levels=LEVELS) for model in (fitted, fk.load(place)))
    pairs = ((before.mean, after.mean), (before.quantiles, after.quantiles))
    return sizes, max(float(np.abs(a - b).max()) for a, b in pairs)


def pickles(y: Any, work: Work) -> tuple[int, int, float]:
    """Bytes of the results of statsmodels, whole and without data, and the largest difference after loading."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = SARIMAX(y, order=ORDER, seasonal_order=(*SEASONAL, work.season)).fit(disp=False)
    whole = pickle.dumps(results)
    again = pickle.loads(whole)
    difference = float(np.abs(again.forecast(work.horizon) - results.forecast(work.horizon)).max())
    results.remove_data()
    return len(whole), len(pickle.dumps(results)), difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "threads", "accuracy", "store"))
    parser.add_argument("--rivals", metavar="PYTHON", default=os.environ.get("FORECASTKIT_RIVALS"))
    parser.add_argument("--quick", action="store_true", help="a few series, nothing is written")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["FORECASTKIT_DATA"] = str(shared_data())
    if options.inside:
        print(json.dumps(inside()))
    elif options.what == "speed":
        speed(options.rivals, options.quick)
    else:
        {"threads": threads, "accuracy": accuracy, "store": store}[options.what](options.quick)


if __name__ == "__main__":
    main()
