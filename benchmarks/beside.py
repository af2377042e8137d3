"""What the benchmarks share that run other libraries beside ours: their process, one thread for all, the record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
from record import record
from threadpoolctl import threadpool_limits

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


class Worker:
    """The process in which the rivals run: a line of JSON is asked, a line is answered. See the scripts *_rivals.py."""

    def __init__(self, python: str, script: str) -> None:
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name(script))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ONE_THREAD,
        )
        self.versions: dict[str, str] = self._answer()

    def ask(self, **question: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else sys.exit("the rivals' process ended, what it said stands above")


@contextmanager
def the_worker(python: str | None, script: str) -> Iterator[Worker | None]:
    worker = Worker(python, script) if python else None
    try:
        yield worker
    finally:
        if worker:
            worker.close()


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra and tables too, so that CPU and wall-clock mean the same."""
    os.environ.update(ONE_THREAD)
    pyarrow.set_cpu_count(1)
    with threadpool_limits(1):
        yield


def finish(name: str, title: str, rows: list[dict[str, Any]], notes: list[str], quick: bool) -> None:
    """Write the record; of a quick look only show it."""
    if quick:
        print(json.dumps({"title": title, "rows": rows, "notes": notes}, indent=1, ensure_ascii=False))
    else:
        record(name, title, rows, notes)


def unnamed(**paths: str | None) -> None:
    """Where things are is this machine's matter: the command goes into the record with names for them."""
    names = {path: name for name, path in paths.items() if path}
    sys.argv[1:] = [names.get(word, word) for word in sys.argv[1:]]
