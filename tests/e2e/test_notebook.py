"""The notebooks run from top to bottom, and are built from their Python files."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))

jupytext = pytest.importorskip("jupytext")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")


def test_there_is_a_notebook_to_test() -> None:
    assert "01_quickstart" in {source.stem for source in SOURCES}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_notebook_runs_from_top_to_bottom(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the notebook machinery deprecates is not ours to mend
        notebook = runpy.run_path(str(FOLDER / "build.py"))["executed"](source)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not [out for cell in code for out in cell.outputs if out.output_type == "stream" and out.name == "stderr"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_notebook_has_the_cells_of_its_python_file(source: Path) -> None:
    pages = [jupytext.read(file) for file in (source, source.with_suffix(".ipynb"))]
    cells = [[(cell.cell_type, cell.source) for cell in page.cells] for page in pages]
    assert cells[0] == cells[1], "run python notebooks/build.py"
    assert all(
        cell.outputs for cell in pages[1].cells if cell.cell_type == "code" and "import numpy" not in cell.source
    )
