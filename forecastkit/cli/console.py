"""What a person sees: tables on stdout, progress and remarks on stderr."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd


def say(text: str) -> None:
    """A remark to the person, never part of the result."""
    click.echo(text, err=True)


def typed() -> str | None:
    """The command line as a person typed it."""
    arguments = click.get_current_context().find_root().obj
    return shlex.join(["forecastkit", *arguments]) if arguments else None


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as JSON values: a time is text, what has no value is None."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", date_format="iso", double_precision=15))
    return rows


def print_json(value: Any, target: str = "-") -> None:
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    if target == "-":
        click.echo(text)
        return
    from forecastkit.data.io import write_atomic

    write_atomic(Path(target), lambda out: out.write(text.encode()))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None, spare: Sequence[str] = ()
) -> None:
    """A table that is as wide as it must be when it isn't read on a terminal.

    On a narrow one the `spare` columns are left out, the first first, until the others fit: half a number says nothing.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, soft_wrap=False)
    columns, cells, left_out = _fitting(
        columns, [[_cell(value) for value in row] for row in rows], spare, console.width
    )
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for k, name in enumerate(columns):
        numeric = all(_is_number(row[k]) for row in cells) and bool(cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold" if not numeric else "ellipsis")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))  # Text: an id in square brackets is no markup
    console.print(table)
    if left_out:
        say(f"not shown, as the terminal is narrow: {', '.join(left_out)} (--json has all)")


def _fitting(
    columns: Sequence[str], rows: list[list[str]], spare: Sequence[str], width: int
) -> tuple[Sequence[str], list[list[str]], list[str]]:
    """Columns and rows without as many of the `spare` columns as the width asks for, and which these are."""
    keep = list(range(len(columns)))
    widths = [max(len(columns[k]), *(len(row[k]) for row in rows), 0) for k in keep]
    for name in spare:
        if sum(widths[k] + 2 for k in keep) <= width:
            break
        keep.remove(list(columns).index(name))
    left_out = [name for k, name in enumerate(columns) if k not in keep]
    return [columns[k] for k in keep], [[row[k] for k in keep] for row in rows], left_out


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "", 1).lstrip("-").isdigit()


@contextmanager
def progress() -> Iterator[Callable[[int, int, str], None] | None]:
    """A bar on stderr to be called with (done, total, what); None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task("starting", total=None)
        yield lambda done, total, what: bar.update(job, completed=done, total=total, description=what)
