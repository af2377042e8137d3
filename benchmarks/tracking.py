"""What --track adds to a backtest: the same command with and without it, in turn.

python benchmarks/tracking.py [--repeats 3] [--sample 100] [--tracking URI]

Four windows and five models on medicines (pbs). The first run makes the store and is told apart. CPU seconds are those
of all processes of a command. On a busy machine the models' own seconds differ more from run to run than tracking adds,
so `beside_s` tells those before the first and after the last model, to which alone tracking adds where a core is free.
URI is that of an MLflow server to record on, in a table of its own; without it the store is a file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beside import unnamed
from record import record

MODELS = ("gru", "ets", "sarima", "boosted", "seasonal_naive")
SHARE, EXTRA_S = 0.03, 1.0  # that tracking may add to the wall-clock


def flags(sample: int) -> list[str]:
    models = [word for name in MODELS for word in ("-m", name)]
    return ["dataset:pbs", "--horizon", "12", "--windows", "4", "--sample", str(sample), "--jobs", "1", *models]


@dataclass(frozen=True)
class Spent:
    """Seconds of one command: from start to end, of CPU, and of wall-clock without those in which models run."""

    wall_s: float
    cpu_s: float
    beside_s: float


def once(folder: Path, arguments: list[str]) -> Spent:
    """`forecastkit backtest` in `folder`."""
    run = folder / uuid.uuid4().hex
    begun, clock = datetime.now(UTC), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "forecastkit", "backtest", *arguments, "-o", str(run)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the backtest ended with {process.returncode}")
    wall, ended = time.perf_counter() - clock, datetime.now(UTC)
    head = json.loads((run / "backtest.json").read_text("utf-8"))
    before, after = datetime.fromisoformat(head["started"]) - begun, ended - datetime.fromisoformat(head["finished"])
    return Spent(wall, usage.ru_utime + usage.ru_stime, (before + after).total_seconds())


def row(what: str, runs: list[Spent]) -> dict[str, Any]:
    names = [f.name for f in fields(Spent)]
    return {
        "command": what,
        "runs": len(runs),
        **{n: round(statistics.median(getattr(r, n) for r in runs), 1) for n in names},
    }


def reading(plain: list[Spent], tracked: list[Spent]) -> list[str]:
    """The seconds added, as medians of the differences of runs side by side, and whether they keep the bound."""
    pairs = list(zip(plain, tracked, strict=True))
    added = {f.name: [getattr(b, f.name) - getattr(a, f.name) for a, b in pairs] for f in fields(Spent)}
    beside, length = statistics.median(added["beside_s"]), statistics.median(a.wall_s for a in plain)
    bound = SHARE * length + EXTRA_S
    each = {name: ", ".join(f"{seconds:+.1f}" for seconds in values) for name, values in added.items()}
    return [
        f"tracking adds {beside:+.1f} s beside the models (in turn {each['beside_s']}), "
        f"{'within' if beside <= bound else 'above'} the {bound:.1f} s that are 3 % of {length:.0f} s and one second",
        f"the whole commands differ by {each['wall_s']} s of wall-clock and {each['cpu_s']} s of CPU",
        "a process of its own imports MLflow and opens the store while the models run, for which it needs a core; "
        "the page of charts is drawn while it sends",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--tracking", metavar="URI")
    options = parser.parse_args()
    unnamed(URI=options.tracking)
    asked = flags(options.sample)
    kept = ["--track", "bench", *(["--tracking", options.tracking] if options.tracking else [])]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        once(folder, [*asked, "--windows", "1", "--sample", "2"])  # the ARIMA core is compiled once on a machine
        first = once(folder, [*asked, *kept])
        runs = [(once(folder, asked), once(folder, [*asked, *kept])) for _ in range(options.repeats)]
    plain, tracked = (list(side) for side in zip(*runs, strict=True))
    rows = [row("backtest", plain), row("backtest --track", tracked), row("backtest --track, new store", [first])]
    notes = [f"`forecastkit backtest {' '.join(asked)}`", *reading(plain, tracked)]
    once_more = first.beside_s - statistics.median(run.beside_s for run in plain)
    notes.append(f"the first time, in a store whose tables MLflow makes then, it adds {once_more:+.1f} s")
    name, where = ("tracking_server", ", on an MLflow server") if options.tracking else ("tracking", "")
    record(name, f"What tracking adds to a backtest of {len(MODELS)} models and 4 windows{where}", rows, notes)


if __name__ == "__main__":
    main()
