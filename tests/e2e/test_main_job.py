"""The main job: one command, all families, a leaderboard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("prophet")
pytest.importorskip("lightgbm")

ROOT = Path(__file__).parents[2]
# As in a terminal: what a shell has put into the background is deaf to Ctrl-C, and so are the commands that it starts.
HEARS_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from forecastkit.cli import main
main()
"""
FAMILIES = {"naive", "seasonal_naive", "arima", "sarima", "auto_arima", "prophet", "boosted", "lstm", "gru"}


@pytest.mark.slow
def test_one_command_compares_all_families_without_a_failed_series(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "forecastkit", "backtest", ROOT / "data" / "demo.csv", "--horizon", "14"]
    roles = ["--known", "price", "--known", "promotion", "--static", "category", "--available", "available"]
    done = subprocess.run([*command, *roles, "--json"], capture_output=True, text=True, cwd=tmp_path, check=True)
    result = json.loads(done.stdout)
    board = {row["model"]: row for row in result["leaderboard"]}
    assert board.keys() == FAMILIES
    assert [row["failed"] for row in board.values()] == [0] * len(FAMILIES)
    assert list(board)[-1] in ("naive", "seasonal_naive", "arima")
    for name in ("sarima", "boosted", "lstm", "gru", "prophet"):
        assert board[name]["mase"] < board["naive"]["mase"]
        assert board[name]["fit_s"] > 0


@pytest.mark.slow
def test_a_run_killed_by_ctrl_c_goes_on_where_it_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HEARS_CTRL_C, "backtest", str(ROOT / "data" / "demo.csv"), "-h", "7", "-w", "5"]
    command += ["-m", "naive", "-m", "ets", "--jobs", "2", "--json"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(tmp_path.rglob("parts/ets-*/*.parquet")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "--resume" in err
    before = {p: os.stat(p).st_mtime_ns for p in tmp_path.rglob("*.parquet")}
    assert any(p.parent.name.startswith("ets-") for p in before)
    done = subprocess.run(
        [*command, "--resume", "-o", str(_run_folder(tmp_path))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {row["model"] for row in json.loads(done.stdout)["leaderboard"]} == {"naive", "ets"}
    for path, written in before.items():
        assert os.stat(path).st_mtime_ns == written


def _run_folder(folder: Path) -> Path:
    (head,) = folder.rglob("backtest.json")
    return head.parent
