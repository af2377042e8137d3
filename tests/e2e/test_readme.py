"""What the README shows is what happens."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def beside_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    shutil.copy(ROOT / "data" / "demo.csv", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_on_the_first_screen_prints_what_stands_below_it(beside_data: Path) -> None:
    code, shown = blocks("python")[0], blocks("text")[0]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert out.getvalue().split() == shown.split()


def test_the_shell_lines_run(beside_data: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    ours = [line for line in lines if line.startswith("forecastkit ")]
    assert len(ours) >= 4
    for line in ours:
        words, _, target = line.partition(" > ")
        command = [sys.executable, "-m", *shlex.split(words, comments=True)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout
        if target:
            Path(target.strip()).write_text(done.stdout)


def test_a_model_in_fifteen_lines_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(block for block in blocks("python") if "class Drift" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    (tmp_path / "drift.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import drift  # type: ignore[import-not-found]

    forecast = drift.Drift().fit(_line()).predict(2)
    assert forecast.mean.round(6).tolist() == [[11.0, 12.0]]
    code = "import drift; from forecastkit.testing import check_forecaster; check_forecaster(drift.Drift())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _line() -> object:
    import pandas as pd

    import forecastkit as fk

    days = pd.date_range("2024-01-01", periods=10)
    return fk.Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": days, "y": range(1, 11)}))


def test_the_table_is_the_one_that_the_benchmark_wrote() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "grocery.json").read_text("utf-8"))
    best = result["rows"][0]
    assert f"| {best['model']} | {best['mase']:.3f} |" in README
    for row in result["rows"]:
        assert f"| {row['model']} | {row['mase']:.3f} | {row['wape']:.3f} | {row['bias']:+.3f} |" in README


def test_results_are_generated_from_the_files_beside_the_benchmarks() -> None:
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    for file in (ROOT / "benchmarks" / "results").glob("*.json"):
        assert json.loads(file.read_text("utf-8"))["title"] in page
