"""What every benchmark writes beside its figures: machine, versions, commit, command."""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forecastkit.execution import machine
from forecastkit.store import versions

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def record(name: str, title: str, rows: list[dict[str, Any]], notes: list[str] | None = None) -> None:
    """Write benchmarks/results/NAME.json, and the rows to stdout."""
    content = {
        "title": title,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "command": command(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "machine": machine(),
        "versions": versions(),
        "notes": notes or [],
        "rows": rows,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps({"rows": rows, "notes": notes or []}, indent=1, ensure_ascii=False))


def commit() -> str:
    """The commit that was measured, with a mark when the tree had changes."""
    git = ["git", "-C", str(ROOT)]
    done = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "forecastkit"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() + ("+" if changed.stdout.strip() else "")


def command() -> str:
    """The command line as a person types it in the project's folder, without this machine's paths."""
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    return shlex.join(["python", str(script), *sys.argv[1:]])


def shared_data() -> Path:
    """The folder of real demand, or an end that says where it is looked for."""
    folder = Path(os.environ.get("FORECASTKIT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        sys.exit("this benchmark needs the folder of shared data sets: set FORECASTKIT_DATA")
    return folder


def medians(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Median wall and CPU milliseconds of each function, interleaved so that a busy moment hits all alike."""
    wall: dict[str, list[float]] = {name: [] for name in functions}
    cpu: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            w, c = time.perf_counter(), time.process_time()
            function()
            wall[name].append(1e3 * (time.perf_counter() - w))
            cpu[name].append(1e3 * (time.process_time() - c))
    return {
        name: {"wall_ms": round(statistics.median(wall[name]), 2), "cpu_ms": round(statistics.median(cpu[name]), 2)}
        for name in functions
    }
