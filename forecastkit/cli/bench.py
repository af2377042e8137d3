"""forecastkit bench: how fast a fitted model answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from forecastkit.cli import console, options
from forecastkit.errors import counted

if TYPE_CHECKING:
    from forecastkit.evaluation.latency import Row

_SHOWN = ("variant", "horizon", "batch", "n", "load_s", "first_ms", "p50_ms", "p90_ms", "p99_ms", "cpu_ms", "per_s",
          "peak_mb", "parity", "error", "cost_per_million", "contended")  # fmt: skip
_SPARE = ("peak_mb", "cost_per_million", "first_ms", "load_s", "n", "parity", "error", "p99_ms")


@click.group("bench", context_settings={"help_option_names": ["--help"]})
def command() -> None:
    """Measure a fitted model on this machine.

    \b
    Example: forecastkit bench latency models/gru --seconds 0.2
    """


@command.command("latency", context_settings={"help_option_names": ["--help"]})
@click.argument("model")
@click.option(
    "--scenario",
    type=click.Choice(["single", "multi", "server", "offline"]),
    default="single",
    show_default=True,
    help="One item a call, a store's, arrivals at random, or a night's run.",
)
@click.option("--batch", type=click.IntRange(1), multiple=True, help="Series a call; repeatable.")
@click.option(
    "--variant", multiple=True, help="frame, panel, eager, bf16, onnx, onnx-int8, cudagraph; all if left out."
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of a compiled call.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=3.0, show_default=True, help="Measured for each row."
)
@click.option(
    "--budget-ms",
    type=click.FloatRange(0, min_open=True),
    default=50.0,
    show_default=True,
    help="Of the 99th percentile, in server.",
)
@click.option("--price", type=click.FloatRange(0), default=0.05, show_default=True, help="Of an hour of one core.")
@click.option(
    "-h", "--horizon", type=click.IntRange(1), help="Periods of frame and panel; default what it was fitted for."
)
@click.option("--actual", metavar="DATA", help="What came after the model's history, for the error (WAPE) of each.")
@click.option("--plot", metavar="FILE", help="Draw latency against error, as .svg, .png or .pdf; needs --actual.")
@click.option("-o", "--output", default="-", metavar="FILE", help="JSON file; stdout when left out.")
@options.json_option
def latency(model: str, output: str, as_json: bool, **flags: Any) -> None:
    """Time the fitted MODEL, a row for each way to ask it.

    MODEL is a folder that `fit` wrote. frame is from a table to a table, panel from memory to arrays; the others are
    compiled predictors. Ctrl-C keeps what was measured so far, of each its own number of calls n, and ends with exit
    code 130.

    \b
    Example: forecastkit bench latency models/gru --scenario single --json
    """
    import time
    from contextlib import suppress
    from dataclasses import replace

    from forecastkit.cli.forecast import read_after
    from forecastkit.evaluation import latency as harness
    from forecastkit.evaluation.subjects import Load, subjects
    from forecastkit.execution import load_average, machine
    from forecastkit.models import restore
    from forecastkit.store import versions

    if flags["plot"] and not flags["actual"]:
        raise click.UsageError("--plot needs --actual, newer data that the forecasts are compared with")
    begun = time.perf_counter()
    fitted = restore(model)
    load_s = time.perf_counter() - begun
    actual = read_after(model, fitted, flags["actual"]) if flags["actual"] else None
    asked = {name: flags[name] for name in ("scenario", "batch", "seconds", "budget_ms", "price")}
    load = Load(**asked, horizon=flags["horizon"])
    chosen, refused = subjects(fitted, load, flags["variant"], flags["threads"], actual)
    import_s = harness.import_seconds(fitted.recipe.name)
    chosen = [replace(subject, load_s=subject.load_s + load_s, import_s=import_s) for subject in chosen]
    rows: list[harness.Row] = []
    busy, stopped = [load_average()], True
    with suppress(KeyboardInterrupt), console.progress() as progress:
        for row in harness.measure(chosen, load, len(fitted.history), progress):
            rows.append(row)
        stopped = False
    busy.append(load_average())
    if len({subject.horizon for subject in chosen}) > 1:
        each = ", ".join(f"{subject.variant} {subject.horizon}" for subject in chosen)
        console.say(f"rows of unlike horizons, whose times and errors are not of one thing: {each}")
    for variant, reason in refused.items():
        console.say(f"{variant} left out: {reason}")
    if as_json or output != "-":
        found = [row.as_dict() for row in rows]
        about = {"price": load.price, "machine": machine(), "load": busy, "versions": versions()}
        console.print_json({"rows": found, "left_out": refused, "interrupted": stopped} | about, output)
    else:
        title = f"{fitted.recipe.name}, {load.scenario}; milliseconds of wall-clock and of CPU"
        cells = [[row.as_dict()[name] for name in _SHOWN] for row in rows]
        console.print_table(_SHOWN, cells, title=title, spare=_SPARE)
    if flags["plot"]:
        _draw(rows, flags["plot"])
    if stopped:
        console.say(f"what was measured so far, {counted(len(rows), 'row')}")
        raise KeyboardInterrupt


def _draw(rows: Sequence[Row], file: str) -> None:
    from forecastkit.evaluation.plots import Point, plot

    points = [Point(r.model, r.variant, r.cpu_ms, r.error) for r in rows if r.error is not None]
    plot(points, file, title=rows[0].scenario if rows else "", ms="CPU milliseconds a call", error="WAPE of the median")
