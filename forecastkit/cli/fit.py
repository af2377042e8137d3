"""forecastkit fit: estimate a model on a table and keep it in a folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forecastkit.cli import console, options
from forecastkit.cli.options import Making, Table

if TYPE_CHECKING:
    from forecastkit.data.panel import Panel
    from forecastkit.forecaster import Fitted, Forecaster


@click.command("fit", context_settings={"help_option_names": ["--help"]})
@click.argument("data")
@click.option(
    "-m", "--model", "wanted", required=True, multiple=True, metavar="MODEL", help="gru or gru:hidden=64,layers=1."
)
@click.option(
    "-o", "--output", required=True, metavar="FOLDER", help="Where the model goes; a model there is replaced."
)
@click.option(
    "-h",
    "--horizon",
    type=click.IntRange(1),
    help="Periods ahead that the model should be best at; default two seasons of the data.",
)
@options.table_options
@options.making_options
@options.strict_option
@options.jobs_option
@options.json_option
@options.config_option
def command(data: str, wanted: tuple[str, ...], output: str, horizon: int | None, **packs: Any) -> None:
    """Fit MODEL on all of DATA and write it to a folder.

    From there `forecast`, `explain`, `bench`, `export` and `registry register` go on. A training that was interrupted
    is gone on with by the same command.

    \b
    Example: forecastkit fit dataset:demo -m seasonal_naive -o models/naive
    """
    from forecastkit.errors import ConfigError, FitError, counted
    from forecastkit.forecaster import default_horizon
    from forecastkit.store import check_saveable, save

    if len(wanted) > 1:
        raise ConfigError(f"one folder holds one model, not {', '.join(wanted)}: fit each into its own")
    (model,) = wanted
    table: Table = packs["table"]
    making: Making = packs["making"]
    panel = table.read(data)
    recipe = making.recipe(model, panel)
    check_saveable(Path(output))
    for role in ("known", "past", "static"):
        if role not in recipe.uses and (names := getattr(table, role)):
            console.say(f"{recipe.name} does not use {role} columns: {', '.join(names)} ignored")
    if horizon is None:
        horizon = default_horizon(panel)
        console.say(f"fitting for {counted(horizon, 'period')} ahead: --horizon sets how many")
    start = time.perf_counter()
    with _resumable(Path(output)):
        fitted = _fit(recipe, panel, horizon, packs["jobs"])
    seconds = time.perf_counter() - start
    for series, reason in list(fitted.failures.items())[:5]:
        if packs["strict"]:
            raise FitError(reason, model=model, series=series)
        console.say(f"{model} failed on {series!r}: {reason} (seasonal naive stands in)")
    for role in recipe.uses & {"known", "past", "static"} - fitted.reads:
        if names := getattr(table, role):
            console.say(f"{recipe.name} is no better with {', '.join(names)} on held-back demand: left out")
    if fitted.choice:
        console.say(f"{model} chose {fitted.choice}")
    save(fitted, output, notes={"columns": table.names()})
    if packs["as_json"]:
        console.print_json(
            {
                "model": model,
                "recipe": repr(recipe),
                "folder": output,
                "horizon": fitted.horizon,
                "series": len(panel),
                "failed": len(fitted.failures),
                "choice": fitted.choice,
                "fit_s": round(seconds, 3),
                "fingerprint": panel.fingerprint,
            }
        )
    else:
        console.say(_summary(model, len(panel), len(fitted.failures), seconds))
        click.echo(output)


def _summary(model: str, series: int, failed: int, seconds: float) -> str:
    """How many series have the model, and how many the one that stands in for it."""
    if failed == series:
        return f"{model} could be fitted on none of {series:,} series: every forecast is seasonal naive's"
    rest = f"; on {failed:,} seasonal naive stands in" if failed else ""
    return f"{model} fitted on {series - failed:,} series in {seconds:.1f} s{rest}"


def _fit(recipe: Forecaster, panel: Panel, horizon: int | None, jobs: int) -> Fitted:
    """Local models series by series in processes, pooled ones as a whole."""
    from forecastkit.execution import use_progress, use_threads
    from forecastkit.local import fit_spread

    with console.progress() as progress, use_threads(jobs), use_progress(progress):
        return fit_spread(recipe, panel, jobs, horizon=horizon, progress=progress)


@contextmanager
def _resumable(output: Path) -> Iterator[None]:
    """A folder beside `output` where a long training writes down how far it is; gone once it is through."""
    from forecastkit.execution import use_checkpoints

    folder = output.parent / f".{output.name}.training"
    try:
        with use_checkpoints(folder):
            yield
    except KeyboardInterrupt:
        if folder.exists():
            console.say(f"how far training is stands in {folder}: the same command goes on from there")
        raise
    shutil.rmtree(folder, ignore_errors=True)
