"""forecastkit explain: why a fitted model forecasts what it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from forecastkit.cli import console, options
from forecastkit.cli.forecast import lay_out_future, read_after
from forecastkit.cli.report import MEANING, show_importance
from forecastkit.errors import DataError, counted

if TYPE_CHECKING:
    from forecastkit.data.panel import Panel
    from forecastkit.forecaster import Explanation, Fitted

_COEFFICIENTS = ("coefficient", "estimate", "std_error", "z", "low", "high")
_Z = 1.96  # standard errors to either side that hold 95 %


@click.command("explain", context_settings={"help_option_names": ["--help"]})
@click.argument("model")
@click.option("--series", multiple=True, metavar="ID", help="Which series; the first when left out. Repeatable.")
@click.option(
    "-h",
    "--horizon",
    type=click.IntRange(1),
    help="Periods whose forecast is taken to pieces: one season; with --actual the fitted horizon.",
)
@click.option("--future", metavar="FILE", help="Known covariates of the periods to come: id, time and the columns.")
@click.option("--actual", metavar="DATA", help="What came after the fit: the worth of each input on its last periods.")
@options.json_option
@options.config_option
def command(model: str, series: tuple[str, ...], horizon: int | None, as_json: bool, **flags: Any) -> None:
    """Say why the fitted MODEL forecasts what it does.

    MODEL is a folder that `fit` wrote. Of the ARIMA family the coefficients with standard errors, of ETS form and
    weights, of Prophet the parts of the forecast. With --actual, for any model, how much worse it gets when an input is
    made meaningless.

    \b
    Example: forecastkit explain models/ets --horizon 7
    """
    from forecastkit.evaluation.importance import importance
    from forecastkit.models import restore

    fitted = restore(model)
    usual = (fitted.horizon or 0) if flags["actual"] else 0
    steps = horizon or usual or max(fitted.history.season, 2)
    future = lay_out_future(model, fitted, steps, flags["future"])
    blind = future is None and "known" in fitted.recipe.uses and len(fitted.history.known) > 0
    told = [fitted.explain(s, None if blind else steps, future=future) for s in series or fitted.history.ids[:1]]
    worth = None
    if flags["actual"]:
        newer = read_after(model, fitted, flags["actual"])
        _check_came_after(fitted, newer, steps, flags["actual"])
        worth = importance(fitted, fitted.history.extended(newer), horizon=steps)
    silent = worth is None and not any(one.form or one.components for one in told)
    if silent:
        console.say(
            f"{fitted.recipe.name} has nothing to say of itself, as the ARIMA family, ETS and Prophet have; what its "
            "inputs are worth is told from what came after the fit: --actual DATA"
        )
    if as_json:
        inputs = {"importance": console.plain(worth)} if worth is not None else {}
        console.print_json({"model": fitted.recipe.name, "series": [_plain(one) for one in told]} | inputs)
        return
    for one in told if not silent else ():
        _show(fitted.recipe.name, one)
    if worth is not None:
        last = f"the last {counted(steps, 'period')}"
        show_importance(f"{fitted.recipe.name}: what its inputs are worth in {last}", worth)
        console.say(MEANING)
    if blind and fitted.recipe.parted:
        console.say("the parts of its forecast need the covariates of the periods to come: --future FILE")


def _check_came_after(fitted: Fitted, newer: Panel, steps: int, source: str) -> None:
    """A model is scored on what it was not fitted on: `steps` periods of each series that it knows."""
    import numpy as np

    ends = dict(zip(fitted.history.ids, fitted.history.ends.tolist(), strict=True))
    for name, end in zip(newer.ids, newer.ends.tolist(), strict=True):
        there = max(end - ends.get(name, end - steps), 0)
        if there < steps:
            until = newer.calendar.texts(np.array([ends[name]]))[0]
            ask = f"--horizon {there}, or " if there else ""
            raise DataError(
                f"{source}: series {name!r} has {there} of {counted(steps, 'period')} after {until}, where the model's "
                f"history ends; what it was fitted on tells no worth: {ask}newer data, or leave the series out",
                series=name,
            )


def _show(model: str, one: Explanation) -> None:
    title = f"{model} on {one.series!r}: {one.form or 'it has nothing to say of itself'}"
    if one.coefficients:
        rows = [[name, *_line(*pair)] for name, pair in one.coefficients.items()]
        console.print_table(_COEFFICIENTS, rows, title=title, spare=("z",))
    elif not one.components:
        console.say(title)
    if one.components:
        rows = [
            [str(time)[:16].removesuffix("T00:00"), *values, sum(values)]
            for time, *values in zip(one.times, *(part.tolist() for part in one.components.values()), strict=True)
        ]
        console.print_table(["period", *one.components, "sum"], rows, title=None if one.coefficients else title)


def _line(estimate: float, error: float) -> list[float]:
    z = estimate / error if error > 0 else float("nan")
    return [estimate, error, z, estimate - _Z * error, estimate + _Z * error]


def _plain(one: Explanation) -> Mapping[str, Any]:
    """The same as JSON has it."""
    from forecastkit.evaluation.records import plain

    pairs = {
        name: dict(zip(("estimate", "std_error"), map(plain, pair), strict=True))
        for name, pair in one.coefficients.items()
    }
    parts = {name: part.tolist() for name, part in one.components.items()}
    times = [str(time)[:19] for time in one.times]
    return {"series": one.series, "form": one.form, "coefficients": pairs, "times": times, "components": parts}
