"""Where work runs, and what it costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from forecastkit import execution
from forecastkit.errors import FitError


def square(number: int) -> int:
    return number * number


def own_process(number: int) -> int:
    return os.getpid()


def number_of_worker(number: int) -> int:
    return execution.worker()


def die(number: int) -> int:
    os._exit(9)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_SOON", 0.0)


def test_processes_and_in_line_work_give_the_same() -> None:
    assert sorted(execution.run(square, range(5), jobs=2)) == list(execution.run(square, range(5)))


def test_what_is_done_soon_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_SOON", 60.0)
    assert set(execution.run(own_process, range(3), jobs=2)) == {os.getpid()}


def test_worker_processes_are_numbered_one_after_the_other() -> None:
    numbers = set(execution.run(number_of_worker, range(8), jobs=2))
    assert execution.worker() == 0
    assert len(numbers) <= 2
    assert max(numbers) - min(numbers) <= 1


def test_a_killed_worker_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(FitError, match="--jobs"):
        list(execution.run(die, range(4), jobs=2))


def test_work_beside_goes_on_in_one_process_and_hands_back_its_errors() -> None:
    with execution.beside() as pool:
        first, second = pool.submit(os.getpid), pool.submit(os.getpid)
        assert first.result() == second.result() != os.getpid()
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()


def hold(folder: str, number: int) -> None:
    """Be at work in a temporary folder; the second does not listen."""
    with tempfile.TemporaryDirectory(dir=folder):
        if number:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)


def test_a_crew_that_is_interrupted_leaves_no_folders_and_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_PATIENCE_S", 1.0)
    begun = time.monotonic()

    def interrupted() -> None:
        if len(list(tmp_path.iterdir())) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execution.crew(partial(hold, str(tmp_path)), 2, interrupted)
    assert time.monotonic() - begun < 50
    assert len(list(tmp_path.iterdir())) == 1  # of the one that had to be killed


def test_the_peak_is_what_the_block_added_and_not_what_came_before() -> None:
    before = np.ones(30_000_000)  # 240 MB that are not the block's
    with execution.measured() as first:
        block = np.ones(12_500_000)  # 100 MB
        del block
    with execution.measured() as second:
        pass
    assert before.sum() > 0
    assert 90 < first.peak_mb < 130
    assert second.peak_mb < 20


def test_the_machine_is_described() -> None:
    facts = execution.machine()
    assert facts["cores"] >= 1
    assert facts["processor"]


def test_the_cpu_of_processes_that_a_piece_of_work_started_counts_as_its_own() -> None:
    own = time.process_time()
    with execution.measured() as usage:
        subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert usage.cpu_s > time.process_time() - own


def test_processes_are_started_only_for_who_asked() -> None:
    assert execution.processes() == 1
    with execution.use_threads(3):
        assert execution.processes() == 3
