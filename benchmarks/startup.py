"""Start-up: importing forecastkit against bare Python, and the help of the command.

python benchmarks/startup.py
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

from record import record

REPEATS = 21
COMMANDS = {
    "bare Python": ["-c", "pass"],
    "import forecastkit": ["-c", "import forecastkit"],
    "forecastkit --help": ["-m", "forecastkit", "--help"],
    "forecastkit backtest --help": ["-m", "forecastkit", "backtest", "--help"],
}


def once(arguments: list[str]) -> tuple[float, float]:
    """Wall and CPU milliseconds of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * wall, 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(REPEATS):
        for name, arguments in COMMANDS.items():
            samples[name].append(once(arguments))
    rows = [
        {
            "what": name,
            "wall_ms": round(statistics.median(w for w, _ in values), 1),
            "cpu_ms": round(statistics.median(c for _, c in values), 1),
        }
        for name, values in samples.items()
    ]
    over = rows[1]["wall_ms"] - rows[0]["wall_ms"]
    notes = [
        f"import forecastkit costs {over:.1f} ms over bare Python (bound: 60 ms)",
        f"forecastkit --help takes {rows[2]['wall_ms']:.1f} ms (bound: 250 ms)",
    ]
    record("startup", f"Start-up, medians of {REPEATS} processes, interleaved", rows, notes)


if __name__ == "__main__":
    main()
