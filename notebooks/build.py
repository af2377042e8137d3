"""Build the notebooks from their Python files: the same cells, run from top to bottom, with their output.

python notebooks/build.py
"""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def executed(source: Path) -> nbformat.NotebookNode:
    """The notebook of a file in percent format, run; raises `CellExecutionError` where a cell fails."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same at each build
    NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False).execute(cwd=str(FOLDER))
    return notebook


def main() -> None:
    for source in sorted(FOLDER.glob("[0-9]*.py")):
        nbformat.write(executed(source), source.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
