"""How fast a fitted model answers, in the scenarios of MLPerf's LoadGen (LoadGen-style, not an MLPerf result).

    single   one item a call, the next when the last is done; the 90th percentile counts
    multi    a store's items a call, 8 and 64; the 99th
    server   items arrive at random (Poisson) and are answered in small batches; the highest rate whose 99th percentile
             stays within the budget
    offline  all items, a night's run; forecasts a second

Each way to ask a model is a `Subject` (`evaluation.subjects`). All are measured in turn in one process, so that a busy
machine disturbs all alike; `contended` marks a row whose median is far above its quickest call. CPU time is the
steadier figure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from forecastkit.evaluation.subjects import COMPILED, Call, Load, Subject, subjects
from forecastkit.execution import peak_mb, use_threads
from forecastkit.forecaster import Fitted

_FOR_P99 = 1000  # samples, below which there is no 99th percentile
_BUSY = 1.5  # times the quickest call at which the median speaks of a busy machine
_WARM = 5  # calls before the first that counts
_TURN_S = 0.05  # of one subject before the next has its turn
_WAIT_S = 0.002  # that an item waits for company in a batch of the server scenario
_RATES = 12  # tried rates of a server
_RATE_S, _BUDGETS = 1.0, 20  # at each of them, seconds and budgets at least: a backlog must have time to show


@dataclass(frozen=True)
class Row:
    """One measurement; milliseconds and seconds of wall-clock unless it says CPU.

    n: calls measured · per_s: series forecast in a second · peak_mb: most that the process has held so far · parity:
    largest difference from the plain network, as a share of a forecast's size · error: WAPE of the median where it is
    known what came · cost_per_million: forecasts, of CPU time at the price given.
    """

    model: str
    variant: str
    scenario: str
    horizon: int
    batch: int
    threads: int
    device: str
    n: int
    import_s: float | None
    load_s: float
    first_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float | None
    cpu_ms: float
    per_s: float
    peak_mb: float
    parity: float | None
    error: float | None
    cost_per_million: float
    contended: bool

    def as_dict(self) -> dict[str, Any]:
        """Rounded for people and JSON."""
        return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in asdict(self).items()}


Progress = Callable[[int, int, str], None]


def measure(chosen: Sequence[Subject], load: Load, items: int, progress: Progress | None = None) -> Iterator[Row]:
    """A row for each subject and size, as soon as it is there.

    Cut short by Ctrl-C it gives a row of the calls that there are of each subject, and then raises `KeyboardInterrupt`;
    a server's highest rate is known only when the search for it is through. `progress` is told seconds measured, the
    places done of a server.
    """
    sizes = load.sizes(items)
    groups = [(size, [subject]) for size in sizes for subject in chosen]
    if load.scenario != "server":
        groups = [(size, list(chosen)) for size in sizes]
    for k, (size, group) in enumerate(groups):
        tell = partial(_tell, progress, k, len(groups), f"{', '.join(s.variant for s in group)}: {size:,} a call")
        tell(0.0, load.seconds * len(group) if load.scenario != "server" else 1.0)
        rows: list[Row] = []
        stopped = None
        # Threads of the libraries below that wait for work burn the time that is measured.
        with threadpool_limits(group[0].threads), use_threads(group[0].threads):
            try:
                rows += [_served(group[0], load, size)] if load.scenario == "server" else []
                rows.extend(_in_turn(group, load, size, tell) if load.scenario != "server" else ())
            except KeyboardInterrupt as error:
                stopped = error
        yield from rows
        if stopped is not None:
            raise stopped


def _tell(progress: Progress | None, group: int, groups: int, what: str, done: float, whole: float) -> None:
    """`done` of the `whole` of one group, all of which are alike."""
    if progress is not None:
        progress(int(group * whole + done), max(round(groups * whole), 1), what)


@dataclass
class _Timings:
    """Calls of one subject."""

    call: Call
    first_s: float
    wall: list[float]
    cpu_s: float = 0.0

    @classmethod
    def of(cls, subject: Subject, size: int) -> _Timings:
        call = subject.prepare(size)
        begun = time.perf_counter()
        call()
        first = time.perf_counter() - begun
        for _ in range(_WARM if first < 1 else 0):
            call()
        return cls(call, first, [])

    def turn(self, seconds: float) -> None:
        """At least one call; a turn that is cut short does not count, as its time of CPU holds half a call."""
        wall: list[float] = []
        cpu, until = time.process_time(), time.perf_counter() + seconds
        while True:
            begun = time.perf_counter()
            self.call()
            now = time.perf_counter()
            wall.append(now - begun)
            if now >= until:
                break
        self.cpu_s += time.process_time() - cpu
        self.wall += wall


def _in_turn(chosen: Sequence[Subject], load: Load, size: int, tell: Callable[[float, float], None]) -> Iterator[Row]:
    """Rows of all at the end, or of what there is when Ctrl-C comes, which then goes on."""
    timings: list[_Timings] = []
    stopped = None
    try:
        timings += [_Timings.of(subject, size) for subject in chosen]
        _take_turns(timings, load, tell)
    except KeyboardInterrupt as error:
        stopped = error
    for subject, timing in zip(chosen, timings, strict=False):
        if timing.wall:
            per_s = size * len(timing.wall) / sum(timing.wall)
            yield _row(subject, load, size, timing, np.array(timing.wall), timing.cpu_s / len(timing.wall), per_s)
    if stopped is not None:
        raise stopped


def _take_turns(timings: list[_Timings], load: Load, tell: Callable[[float, float], None]) -> None:
    wanting = list(timings)
    while wanting:
        for timing in wanting:
            timing.turn(_TURN_S)
        seconds = [sum(t.wall) for t in timings]
        tell(sum(min(s, load.seconds) for s in seconds), load.seconds * len(timings))
        wanting = [t for t, s in zip(timings, seconds, strict=True) if s < load.seconds or len(t.wall) < load.calls]


def _row(
    subject: Subject, load: Load, size: int, timing: _Timings, wall: NDArray[Any], cpu_s: float, per_s: float
) -> Row:
    """`cpu_s` is that of one call, of one item of a server."""
    items = 1 if load.scenario == "server" else size
    p50, p90, p95, p99 = 1e3 * np.percentile(wall, [50, 90, 95, 99])
    return Row(
        model=subject.model,
        variant=subject.variant,
        scenario=load.scenario,
        horizon=subject.horizon,
        batch=size,
        threads=subject.threads,
        device=subject.device,
        n=len(wall),
        import_s=subject.import_s,
        load_s=subject.load_s,
        first_ms=1e3 * timing.first_s,
        p50_ms=float(p50),
        p90_ms=float(p90),
        p95_ms=float(p95),
        p99_ms=float(p99) if len(wall) >= _FOR_P99 else None,
        cpu_ms=1e3 * cpu_s,
        per_s=per_s,
        peak_mb=peak_mb(),
        parity=subject.parity,
        error=subject.error,
        cost_per_million=cpu_s / items * 1e6 / 3600 * load.price,
        contended=bool(p50 > _BUSY * 1e3 * wall.min()),
    )


def _served(subject: Subject, load: Load, most: int) -> Row:
    """The highest rate that keeps the budget, by halving between one that does and one that doesn't."""
    ready = {size: _Timings.of(subject, size) for size in _powers(most)}
    lonely, full = (min(_timed(ready[size].call) for _ in range(5)) for size in (1, most))
    low, high, best = 0.0, most / full, None
    least = high / 100 if 1e3 * lonely < load.budget_ms else high  # below is no server
    seconds = max(_RATE_S, _BUDGETS * load.budget_ms / 1e3)
    for _ in range(_RATES if high > least else 0):
        rate = (low + high) / 2 if low else high / 2
        waits, cpu_s = _arrivals({size: t.call for size, t in ready.items()}, rate, seconds)
        if 1e3 * np.percentile(waits, 99, method="higher") <= load.budget_ms:
            low, best = rate, (rate, waits, cpu_s)
        else:
            high = rate
        if low > 0.9 * high or high < least:
            break
    if best is None:  # not even a lonely item is answered in time
        cpu, waits = time.process_time(), np.array([_timed(ready[1].call) for _ in range(20)])
        best = (0.0, waits, (time.process_time() - cpu) / len(waits))
    return replace(_row(subject, load, most, ready[1], best[1], best[2], best[0]), contended=False)


def _timed(call: Call) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _powers(most: int) -> list[int]:
    sizes = [1]
    while sizes[-1] * 2 <= most:
        sizes.append(sizes[-1] * 2)
    return sizes if sizes[-1] == most else [*sizes, most]


def _arrivals(calls: dict[int, Call], rate: float, seconds: float) -> tuple[NDArray[np.float64], float]:
    """Seconds from arrival to answer of each item at a rate, and seconds of CPU an item.

    An item waits for others for `_WAIT_S` at most, or until the largest batch is full.
    """
    rng = np.random.default_rng(0)
    due = np.cumsum(rng.exponential(1 / rate, max(int(rate * seconds), 50)))
    waits, at, most = np.empty(len(due)), 0, max(calls)
    begun, cpu = time.perf_counter(), time.process_time()
    while at < len(due):
        now = time.perf_counter() - begun
        full = at + most - 1
        until = min(due[at] + _WAIT_S, due[full] if full < len(due) else np.inf)
        if now < until:
            time.sleep(until - now)
            now = time.perf_counter() - begun
        count = min(int(np.searchsorted(due, now, side="right")) - at, most)
        size = next(s for s in sorted(calls) if s >= max(count, 1))
        calls[size]()
        done = time.perf_counter() - begun
        waits[at : at + count] = done - due[at : at + count]
        at += count
        if done > seconds + due[-1]:  # far behind
            waits[at:] = np.inf
            break
    return waits, (time.process_time() - cpu) / max(at, 1)


@dataclass(frozen=True)
class Choice:
    """What `select_variant` chose; `variant` is None where none keeps the budget, and `nearest` is the closest."""

    variant: str | None
    nearest: str
    rows: tuple[Row, ...]
    refused: dict[str, str]


def select_variant(fitted: Fitted, *, p99_ms: float, batch: int = 1, seconds: float = 3.0) -> Choice:
    """The cheapest variant for a million forecasts whose 99th percentile at `batch` series is within `p99_ms`.

    All that can be compiled here are measured, for so many `seconds` and until there are calls enough for a 99th
    percentile; `refused` says of each other why not. Where none is quick enough it says what would help next.
    """
    load = Load("single" if batch == 1 else "multi", (batch,), seconds=seconds, calls=_FOR_P99)
    chosen, refused = subjects(fitted, load, COMPILED)
    rows = tuple(measure(chosen, load, batch))
    tail = {row.variant: row.p99_ms or row.p95_ms for row in rows}
    good = [row for row in rows if tail[row.variant] <= p99_ms]
    nearest = min(tail, key=lambda variant: tail[variant])
    for row in rows:
        if row not in good:
            lever = "" if good else ": a larger patch, one layer or a narrower state make it quicker"
            refused[row.variant] = f"{tail[row.variant]:.3g} ms is above {p99_ms:g} ms{lever}"
    best = min(good, key=lambda row: row.cost_per_million).variant if good else None
    return Choice(best, best or nearest, rows, refused)


def p95_ms(fitted: Fitted, horizon: int) -> float:
    """Milliseconds within which 95 of 100 calls for one series are answered, from memory to arrays."""
    load = Load(seconds=0.3, horizon=horizon, calls=40)
    chosen, _ = subjects(fitted, load, ("panel",), 1)
    (row,) = measure(chosen, load, len(fitted.history))
    return row.p95_ms


def import_seconds(model: str) -> float:
    """Seconds that a fresh Python needs to import a model and what is under it."""
    import subprocess
    import sys

    code = (
        "import time; t = time.perf_counter(); from forecastkit import models; "
        f"models.load({model!r}); print(time.perf_counter() - t)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return float(done.stdout.split()[-1])
