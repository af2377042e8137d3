"""The networks beside neuralforecast and darts: how quick a forecast is and how quick training, and what they hold.

python benchmarks/networks.py predict --rivals PYTHON    from a table and from memory, 1 and 1,000 series
python benchmarks/networks.py training --rivals PYTHON   windows a second at the same architecture and precision
python benchmarks/networks.py history --rivals PYTHON    a step of training with long histories beside short ones
python benchmarks/networks.py memory                     the peak of a fit on 30,490 series of 1,941 days

How accurate they are: benchmarks/leaderboard.py. PYTHON (or the variable FORECASTKIT_NETWORK_RIVALS) is that of a
virtual environment with the rivals in it, made by `python -m venv rivals` and `rivals/bin/python -m pip install
torch==2.13.0 neuralforecast "darts[torch]"`. All demand is synthetic. With --device cuda everything runs on the GPU;
wall-clock counts there. With --quick few calls and steps are timed, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from beside import ONE_THREAD, Worker, finish, one_thread, the_worker, unnamed

import forecastkit as fk
from forecastkit import Fitted, Panel
from forecastkit.data import synthetic
from forecastkit.data.calendar import Frequency
from forecastkit.execution import measured

WORKER = "networks_rivals.py"
HORIZON = 28
SERIES, DAYS = 1000, 400
SAME = {"hidden": 128, "layers": 2, "context": 56, "batch": 128}
# The same of ours: one value a step, one network, and no dropout, which theirs have none of.
SAME_TEXT = "hidden=128,layers=2,lookback=56,patch=1,seeds=1,training.dropout=0"
DEFAULT, ONE, EQUAL = "three of the next (default)", "64, patches of 7, context 98", "128 x 2, context 56"
RIVALS = ("neuralforecast", "darts")
ROUNDS = 5  # of each way in turn
CALLS = {1: 20, SERIES: 1}  # of one way in a round
SHORT, LONG = 4, 16  # steps of two fits, whose difference is free of what beginning costs
STORE, YEARS = 30_490, 1_941  # series and days of the memory row
HISTORIES = (400, 20_000)
READING = (
    "one thread; all take turns in one run, and medians count; calls are warm, and networks are fitted in a few steps, "
    "as speed does not ask how good weights are",
)
MAKE_RIVALS = (
    "rivals left out: make an environment by `python -m venv rivals` and `rivals/bin/python -m pip install "
    'torch==2.13.0 neuralforecast "darts[torch]"`, and give its Python by --rivals'
)
Costs = dict[str, list[float]]  # cpu_s and wall_s of each call


def timed(call: Callable[[], Any], calls: int) -> Costs:
    costs: Costs = {"cpu_s": [], "wall_s": []}
    for _ in range(calls):
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        costs["cpu_s"].append(time.process_time() - cpu)
        costs["wall_s"].append(time.perf_counter() - wall)
    return costs


@dataclass(frozen=True)
class Entry:
    """One who takes part: `run(n)` does the work n times, or for n steps, and says what it cost."""

    library: str
    network: str
    call: str
    run: Callable[[int], Costs]


def in_turn(entries: Sequence[Entry], rounds: int, calls: int, what: str) -> list[Costs]:
    """`calls` of each entry, one after the other, `rounds` times over."""
    found: list[Costs] = [{"cpu_s": [], "wall_s": []} for _ in entries]
    for k in range(rounds):
        for entry, costs in zip(entries, found, strict=True):
            for name, seconds in entry.run(calls).items():
                costs[name] += seconds
        print(f"{what}: round {k + 1} of {rounds}", file=sys.stderr)
    return found


def middle(costs: Costs, name: str) -> float:
    return statistics.median(costs[name])


# Forecasts


@dataclass(frozen=True)
class Case:
    """So many series, from a table to a table, or from arrays or the library's own form in memory."""

    series: int
    way: str


@dataclass(frozen=True)
class Model:
    """One of ours; a network is compiled once for all cases."""

    network: str
    fitted: Fitted

    @cached_property
    def predictor(self) -> Any:
        return self.fitted.compile() if self.fitted.recipe.pooled else None

    def from_table(self, frame: Any) -> Any:
        return self.fitted.update(Panel.from_frame(frame)).predict(HORIZON).to_frame()

    def compiled_from_table(self, frame: Any) -> Any:
        return self.predictor.predict(Panel.from_frame(frame)).to_frame()


CASES = (Case(1, "table"), Case(1, "memory"), Case(SERIES, "table"), Case(SERIES, "memory"))


def predict(options: argparse.Namespace) -> None:
    panel = plain(synthetic.retail(series=SERIES, periods=DAYS).panel.values.reshape(SERIES, DAYS), "D")
    models = our_models(panel, options.device)
    rows, rounds = [], 2 if options.quick else ROUNDS
    with the_worker(options.rivals, WORKER) as worker, one_thread():
        theirs = opened(worker, panel, options.device) if worker else {}
        for case in CASES:
            entries = [*ours(models, panel, case), *rivals(worker, theirs, case)]
            for entry in entries:
                entry.run(3)
            calls = 2 if options.quick else CALLS[case.series]
            rows += case_rows(case, entries, in_turn(entries, rounds, calls, f"{case.series} series, {case.way}"))
        notes = [*READING, *spoken(worker), *predict_notes(rows)]
    unnamed(RIVALS=options.rivals)
    title = (
        f"A forecast of {HORIZON} days from {DAYS} days of history, ours beside other libraries, milliseconds a call"
    )
    finish(record_name("networks_predict", options), title, rows, notes, options.quick)


def our_models(panel: Panel, device: str) -> list[Model]:
    quick = f"device={device},training.steps=20,training.validation=0"
    texts = {
        DEFAULT: f"gru:{quick}",
        ONE: f"gru:seeds=1,{quick}",
        EQUAL: f"gru:{SAME_TEXT},{quick}",
        "seasonal_naive": "seasonal_naive",
    }
    return [Model(name, fk.create(text).fit(panel, horizon=HORIZON)) for name, text in texts.items()]


def ours(models: Sequence[Model], panel: Panel, case: Case) -> Iterator[Entry]:
    part = panel.take(range(case.series))
    frame = part.to_frame()
    for model in models:
        if case.way == "table":
            yield entry(model, "predict", partial(model.from_table, frame))
        if model.predictor and case.way == "table":
            yield entry(model, "compiled", partial(model.compiled_from_table, frame))
        elif model.predictor:
            yield entry(model, "compiled", partial(model.predictor, model.predictor.arrays(part)))


def entry(model: Model, call: str, function: Callable[[], Any]) -> Entry:
    how = f"compiled, {model.predictor.variant}" if call == "compiled" else call
    return Entry("forecastkit", model.network, how, lambda n: timed(function, n))


def opened(worker: Worker, panel: Panel, device: str) -> dict[tuple[str, str], str]:
    """The rivals' networks by library and architecture, with the names that the worker knows them by."""
    values = panel.values.reshape(SERIES, DAYS).tolist()
    names = {}
    for library in RIVALS:
        for network, sizes in (("its own sizes", None), (EQUAL, SAME)):
            name = names[library, network] = f"{library} {network}"
            asked = {"library": library, "sizes": sizes, "horizon": HORIZON, "freq": "D", "device": device}
            worker.ask(do="open", name=name, y=values, **asked)
    return names


def rivals(worker: Worker | None, names: dict[tuple[str, str], str], case: Case) -> Iterator[Entry]:
    for (library, network), name in names.items():
        if library == "neuralforecast" and case == Case(1, "memory"):
            continue  # it forecasts all that it keeps
        asked = {"name": name, "series": case.series, "way": case.way}
        yield Entry(library, network, "predict", lambda n, a=asked: worker.ask(do="predict", calls=n, **a))


def case_rows(case: Case, entries: Sequence[Entry], costs: Sequence[Costs]) -> list[dict[str, Any]]:
    """Each beside our default network and beside ours of the same architecture, called as simply as there is a way."""
    own, quick = first_and_last_ways(entries, costs)
    rows = []
    for who, c in zip(entries, costs, strict=True):
        cpu, wall = middle(c, "cpu_s"), middle(c, "wall_s")
        rows.append(
            {
                "series": case.series,
                "from": case.way,
                "library": who.library,
                "network": who.network,
                "call": who.call,
                "cpu_ms": round(1e3 * cpu, 4),
                "wall_ms": round(1e3 * wall, 4),
                "series_per_cpu_s": round(case.series / cpu),
                "times_default": round(cpu / own[DEFAULT], 2),
                "times_same": None if who.network != EQUAL else round(cpu / own[EQUAL], 2),
                "times_compiled": round(cpu / quick[EQUAL if who.network == EQUAL else DEFAULT], 2),
            }
        )
    return rows


def first_and_last_ways(entries: Sequence[Entry], costs: Sequence[Costs]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of CPU of each of our networks: called as simply as there is a way, and compiled."""
    found = [(e.network, middle(c, "cpu_s")) for e, c in zip(entries, costs, strict=True) if e.library == "forecastkit"]
    return dict(reversed(found)), dict(found)


def predict_notes(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The bounds that we set ourselves, and what came of them."""
    yield (
        "from a table: to a table again, for ours by `fitted.update(Panel.from_frame(table)).predict(28).to_frame()`; "
        "from memory: the library's own form of data in and out, arrays, TimeSeries, or what it kept of the fit; "
        "times_default and times_same: CPU time over that of our default network and over that of ours with the same "
        "recurrent layers, by predict from a table and compiled from memory; times_compiled: over that of ours "
        "compiled, of the same recurrent layers where the row has those, else of our default; darts forecasts all "
        "series in one batch (its default is 32 at a time) and takes 3 x 28 days where it is given no context, as "
        "neuralforecast does"
    )
    first = {(r["series"], r["from"]): r for r in reversed(rows) if r["library"] == "forecastkit"}
    table, memory = first[1, "table"], first[1, "memory"]
    compiled = next(r for r in rows if r["from"] == "table" and r["network"] == DEFAULT and r["call"] != "predict")
    naive = next(r["cpu_ms"] for r in rows if r["network"] == "seasonal_naive")
    yield (
        f"one series from a table, our default: {table['cpu_ms']:.2f} ms of CPU by predict, {compiled['cpu_ms']:.2f} "
        f"compiled (bound: 1.0); {naive:.2f} are the table in and out, which seasonal_naive needs as well"
    )
    one = next(r for r in rows if r["from"] == "memory" and r["network"] == ONE)
    yield (
        f"one series from arrays, compiled: {one['cpu_ms']:.3f} ms of CPU for one network of the default size (bound: "
        f"0.1), {memory['cpu_ms']:.3f} for our default, which averages three"
    )
    theirs = [r for r in rows if r["library"] in RIVALS]
    for case, bound in ((Case(1, "table"), 5), (Case(SERIES, "table"), 5), (Case(SERIES, "memory"), 5)):
        found = [r for r in theirs if (r["series"], r["from"]) == (case.series, case.way)]
        if found:
            equal = min(r["times_same"] for r in found if r["network"] == EQUAL)
            own = min(r["times_default"] for r in found)
            compiled_equal = min(r["times_compiled"] for r in found if r["network"] == EQUAL)
            compiled_own = min(r["times_compiled"] for r in found if r["network"] != EQUAL)
            yield (
                f"{case.series:,} series from {case.way}: the quicker rival takes {own:.1f} times the CPU of our "
                f"default, and at the same recurrent layers {equal:.1f} times that of ours; with ours compiled "
                f"{compiled_own:.1f} at its own sizes and {compiled_equal:.1f} at the same layers (bound: {bound})"
            )
    yield (
        "from memory and at the same recurrent layers 1,000 series cost nearly the same everywhere, as the layers are "
        "nearly all of it; our default gains there by patches: 14 recurrent steps of a week for 56 of a day"
    )


# Training


def training(options: argparse.Namespace) -> None:
    panel = plain(synthetic.retail(series=SERIES, periods=DAYS).panel.values.reshape(SERIES, DAYS), "D")
    with the_worker(options.rivals, WORKER) as worker, one_thread():
        entries = list(trainers(worker, panel, options.device))
        rates = windows_a_second(entries, 2 if options.quick else ROUNDS)
        rows = training_rows(entries, rates)
        notes = [*READING, *spoken(worker), *training_notes(rows)]
    unnamed(RIVALS=options.rivals)
    title = f"Training: windows a second, {SAME['batch']} a step, horizon {HORIZON}, ours beside other libraries"
    finish(record_name("networks_training", options), title, rows, notes, options.quick)


def trainers(worker: Worker | None, panel: Panel, device: str) -> Iterator[Entry]:
    if worker:
        names = opened(worker, panel, device)
    for precision in ("fp32", "bf16"):
        yield trainer(panel, EQUAL, f"gru:{SAME_TEXT},device={device}", precision)
        yield trainer(panel, ONE, f"gru:seeds=1,device={device}", precision)
        for library in RIVALS if worker else ():
            asked = {"do": "train", "name": names[library, EQUAL], "precision": precision}
            yield Entry(library, EQUAL, precision, lambda n, a=asked: worker.ask(steps=n, **a))


def trainer(panel: Panel, network: str, text: str, precision: str) -> Entry:
    def run(steps: int) -> Costs:
        quick = f"training.steps={steps},training.validation=0,training.precision={precision}"
        recipe = fk.create(f"{text},{quick}")
        # The weights are read at the end, so that a GPU has done what it was told.
        return timed(lambda: recipe.fit(panel, horizon=HORIZON).state(), 1)

    return Entry("forecastkit", network, precision, run)


def windows_a_second(entries: Sequence[Entry], rounds: int) -> list[dict[str, float]]:
    """By the difference of a long and a short fit, in seconds of CPU and of wall-clock."""
    for entry in entries:
        entry.run(SHORT)
    short, long = (in_turn(entries, 1, SHORT, "short fits"), in_turn(entries, 1, LONG, "long fits"))
    for k in range(1, rounds):  # in blocks, so that a busy minute hits both
        for steps, found in ((SHORT, short), (LONG, long)):
            for costs, more in zip(found, in_turn(entries, 1, steps, f"block {k + 1} of {rounds}"), strict=True):
                for name in costs:
                    costs[name] += more[name]
    windows = SAME["batch"] * (LONG - SHORT)
    return [
        {name: windows / (middle(after, name) - middle(before, name)) for name in after}
        for before, after in zip(short, long, strict=True)
    ]


def training_rows(entries: Sequence[Entry], rates: Sequence[dict[str, float]]) -> list[dict[str, Any]]:
    own = {
        e.call: r["cpu_s"]
        for e, r in zip(entries, rates, strict=True)
        if (e.library, e.network) == ("forecastkit", EQUAL)
    }
    return [
        {
            "library": entry.library,
            "network": entry.network,
            "precision": entry.call,
            "windows_per_cpu_s": round(rate["cpu_s"]),
            "windows_per_s": round(rate["wall_s"]),
            "ours_over_this": round(own[entry.call] / rate["cpu_s"], 2),
        }
        for entry, rate in zip(entries, rates, strict=True)
    ]


def training_notes(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        f"the difference of fits of {LONG} and of {SHORT} steps, so that setting up is not counted; ours_over_this: "
        "our windows a CPU second at the same precision over those of the row; the recurrent layers are the same, what "
        "reads their state is each library's own: ours gives a mean and seven quantiles, theirs one line"
    )
    equal = {(r["library"], r["precision"]): r["windows_per_cpu_s"] for r in rows if r["network"] == EQUAL}
    own, *others = [(library, rate) for (library, precision), rate in equal.items() if precision == "fp32"]
    bf16 = equal["forecastkit", "bf16"]
    beside = " and ".join(f"{bf16 / rate:.2f} times those of {library}" for library, rate in others)
    yield (
        f"windows a CPU second of ours in bf16 are {beside} in fp32 (bound: 1.6, which may also be read as against our "
        f"own fp32: {bf16 / own[1]:.2f})"
    )


# Long histories, and memory


def history(options: argparse.Namespace) -> None:
    """Hours, as days of 20,000 periods would bring a yearly lag that 400 have not, and so another network."""
    rows = []
    with the_worker(options.rivals, WORKER) as worker, one_thread():
        entries = list(readers(worker, options.device))
        rates = windows_a_second(entries, 2 if options.quick else ROUNDS)
        step = [1e3 * SAME["batch"] / rate["cpu_s"] for rate in rates]
        wall = [1e3 * SAME["batch"] / rate["wall_s"] for rate in rates]
        for k in range(0, len(entries), 2):
            rows.append(
                {
                    "library": entries[k].library,
                    "network": entries[k].network,
                    "step_ms_400": round(step[k], 2),
                    "step_ms_20000": round(step[k + 1], 2),
                    "ratio_cpu": round(step[k + 1] / step[k], 2),
                    "ratio_wall": round(wall[k + 1] / wall[k], 2),
                }
            )
        notes = [*READING, *spoken(worker), "32 series of hours, 128 windows a step; bound of ours: 1.2"]
    unnamed(RIVALS=options.rivals)
    title = "A step of training with histories of 20,000 periods beside 400, milliseconds of CPU"
    finish(record_name("networks_history", options), title, rows, notes, options.quick)


def readers(worker: Worker | None, device: str) -> Iterator[Entry]:
    """Each twice, with short histories and with long ones."""
    panels = [hours(length) for length in HISTORIES]
    for network, text in ((EQUAL, f"gru:{SAME_TEXT}"), ("64, patches of 24, context 336", "gru:seeds=1")):
        for panel in panels:
            yield trainer(panel, network, f"{text},device={device}", "fp32")
    for library in RIVALS if worker else ():
        for panel in panels:
            values = panel.values.reshape(len(panel), -1).tolist()
            name = f"{library} {len(values[0])}"
            asked = {"library": library, "sizes": SAME, "horizon": HORIZON, "freq": "h", "device": device}
            worker.ask(do="open", name=name, y=values, **asked)
            train = {"do": "train", "name": name, "precision": "fp32"}
            yield Entry(library, EQUAL, "fp32", lambda n, a=train: worker.ask(steps=n, **a))


def hours(length: int, series: int = 32) -> Panel:
    rng = np.random.default_rng(0)
    day = 5 + 3 * np.sin(2 * np.pi * np.arange(length) / 24)
    return plain(rng.poisson(day, (series, length)).astype(float), "h")


def plain(values: Any, freq: str) -> Panel:
    """A panel of `values` [N, T] without covariates."""
    n, length = values.shape
    ids = tuple(f"item_{i:05d}" for i in range(n))
    calendar = Frequency.parse(freq)
    return Panel(ids, values.ravel(), np.arange(n + 1) * length, np.full(n, 0), calendar)


def memory(options: argparse.Namespace) -> None:
    """In processes of their own, so that nothing that was freed before is used again without being counted."""
    unnamed(RIVALS=options.rivals)
    rows = []
    for text in ("gru", "lstm", f"gru:{SAME_TEXT}"):
        command = [sys.executable, __file__, "memory", "--device", options.device, "--inside", text]
        command += ["--quick"] if options.quick else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | ONE_THREAD)
        rows.append(json.loads(done.stdout))
        print(f"memory of {text}: done", file=sys.stderr)
    notes = [
        "peak_mb: the kernel's high-water mark during fit and one forecast of all series, less what the process held "
        "before, which is data_mb and the libraries; bound: 2,000 MB",
        "the memory does not depend on the number of steps, of which only a few are made",
    ]
    title = f"Memory of training on {STORE:,} synthetic series of {YEARS:,} days, beside the data"
    finish(record_name("networks_memory", options), title, rows, notes, options.quick)


def inside(text: str, device: str, quick: bool) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    panel = plain(rng.poisson(2.0, (300 if quick else STORE, YEARS)).astype(float), "D")
    recipe = fk.create(text + ("," if ":" in text else ":") + f"device={device},training.steps=40")
    with measured() as fitting:
        fitted = recipe.fit(panel, horizon=HORIZON)
    with measured() as predicting:
        fitted.predict(HORIZON, levels=(0.1, 0.5, 0.9))
    return {
        "model": text,
        "series": len(panel),
        "data_mb": round(panel.values.nbytes / 2**20),
        "fit_peak_mb": round(fitting.peak_mb),
        "predict_peak_mb": round(predicting.peak_mb),
        "gpu_peak_mb": gpu_peak_mb(device),
    }


def gpu_peak_mb(device: str) -> int | None:
    if device != "cuda":
        return None
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**20)


def spoken(worker: Worker | None) -> list[str]:
    if worker is None:
        return [MAKE_RIVALS]
    return ["beside " + ", ".join(f"{name} {number}" for name, number in worker.versions.items())]


def record_name(name: str, options: argparse.Namespace) -> str:
    return name if options.device == "cpu" else f"{name}_{options.device}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = {"predict": predict, "training": training, "history": history, "memory": memory}
    parser.add_argument("what", choices=jobs)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rivals", metavar="PYTHON", default=os.environ.get("FORECASTKIT_NETWORK_RIVALS"))
    parser.add_argument("--quick", action="store_true", help="few calls and steps, nothing is written")
    parser.add_argument("--inside", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(inside(options.inside, options.device, options.quick)))
    else:
        jobs[options.what](options)


if __name__ == "__main__":
    main()
