"""Compiled code on disk: who compiles it, and who finds it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

KERNELS = """
from numba import types
from forecastkit.arima import linking

@linking.by_name(types.float64, types.float64)
def double(x):
    return 2.0 * x

@linking.by_name(types.float64, types.float64)
def double_and_one(x):
    return double(x) + 1.0

@linking.driver
def ask(x):
    return double_and_one(x)
"""
BACKWARDS = "import kernels; from forecastkit.arima import linking; linking.compile_backwards()"
HITS = "[sum(c.cache_hits for c in linking._linked)]"


@pytest.fixture
def python(tmp_path):
    """Runs a line in a fresh process that keeps compiled code in a folder of its own."""
    (tmp_path / "kernels.py").write_text(KERNELS)
    places = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": places}

    def run(line: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", line], env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_kernels_that_another_process_compiled_backwards_are_found_and_call_each_other(python):
    python(BACKWARDS)
    asked = f"import kernels; from forecastkit.arima import linking; print(kernels.ask(3.0), {HITS})"
    assert python(asked) == "7.0 [2]"


def test_a_second_process_is_only_started_where_nothing_is_on_disk(python):
    starts = (
        "import kernels, subprocess; from forecastkit.arima import linking; began = []; whole = subprocess.Popen\n"
        "linking.subprocess.Popen = lambda *a, **k: began.append(a) or whole(*a, **k)\n"
        "linking.cores = lambda: 2\n"
        "print(kernels.ask(3.0), len(began))"
    )
    assert [python(starts), python(starts)] == ["7.0 1", "7.0 0"]


def test_a_second_process_that_fails_costs_nothing_but_time(python):
    broken = (
        "import kernels; from forecastkit.arima import linking; linking.cores = lambda: 2\n"
        "linking.sys.executable = '/bin/false'\n"
        "print(kernels.ask(3.0))"
    )
    assert python(broken) == "7.0"


CONSTANT = """
from forecastkit.arima import linking
STEP = {step}

@linking.driver
def ask(x):
    return x + STEP
"""


def test_a_constant_that_changed_is_compiled_anew_and_one_that_did_not_is_found(python, tmp_path):
    asked = "import steps; print(steps.ask(0.0), sum(steps.ask.stats.cache_hits.values()))"
    answers = []
    for k, step in enumerate((1.0, 2.0, 2.0)):
        file = tmp_path / "steps.py"
        file.write_text(CONSTANT.format(step=step))
        os.utime(file, (k, k))  # or Python keeps what it read within the same second
        answers.append(python(asked))
    assert answers == ["1.0 0", "2.0 0", "2.0 1"]
