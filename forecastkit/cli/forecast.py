"""forecastkit forecast: what a fitted model says of the periods to come."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from forecastkit.cli import console, options
from forecastkit.errors import ColumnError, ConfigError, counted

if TYPE_CHECKING:
    from forecastkit.data.panel import Floats, Panel
    from forecastkit.forecaster import Fitted


_FEW = 3  # series that are named where more are meant
_NAMES = ("id", "time", "target", "available")


@click.command("forecast", context_settings={"help_option_names": ["--help"]})
@click.argument("model")
@click.option("-h", "--horizon", type=click.IntRange(1), help="Periods to forecast; default what it was fitted for.")
@click.option("--data", metavar="FILE", help="Newer observations to go on from; nothing is estimated again.")
@click.option("--future", metavar="FILE", help="Known covariates of the periods to come: id, time and the columns.")
@click.option("-o", "--output", default="-", metavar="FILE", help="CSV or Parquet file; stdout when left out.")
@click.option("--id", metavar="NAME", help="Column that names the series, if not called as in the fit.")
@click.option("--time", metavar="NAME", help="Column of period starts, likewise.")
@click.option("--target", metavar="NAME", help="Column of demand in --data, likewise.")
@click.option("--available", metavar="NAME", help="Column of --data that is 0 where the item could not be sold.")
@options.levels_option
@options.json_option
@options.config_option
def command(model: str, horizon: int | None, **flags: Any) -> None:
    """Forecast with the fitted MODEL, a folder that `fit` wrote.

    The result is the long table: as CSV on stdout, in a CSV or Parquet file (-o), or as JSON (--json).

    \b
    Example: forecastkit forecast models/naive --horizon 28 --levels 0.1,0.9
    """
    from forecastkit.data.io import write_table
    from forecastkit.models import restore
    from forecastkit.store import read_notes

    fitted = restore(model)
    if horizon is None:
        horizon = own_horizon(fitted, model)
        console.say(f"{counted(horizon, 'period')} ahead, as the model was fitted for: --horizon asks for others")
    named = read_notes(model).get("columns", {}) | {k: flags[k] for k in _NAMES if flags[k] is not None}
    flags |= {"id": "unique_id", "time": "ds", "target": "y"} | named
    flags["known_ids"] = fitted.history.ids
    fitted = _updated(fitted, flags)
    levels = flags["levels"] if fitted.recipe.probabilistic else ()
    forecast = fitted.predict(horizon, levels=levels, future=_future(fitted, horizon, flags))
    frame = forecast.to_frame().rename(columns={"unique_id": flags["id"], "ds": flags["time"]})
    if flags["as_json"]:
        frame[flags["time"]] = frame[flags["time"]].map(lambda t: t.isoformat())
        result = {"model": fitted.recipe.name, "horizon": horizon, "forecast": frame.to_dict("records")}
        console.print_json(result, flags["output"])
    else:
        write_table(frame, flags["output"])


def own_horizon(fitted: Fitted, model: str) -> int:
    """What the saved `model` was fitted for: it is forecast unless asked."""
    if fitted.horizon is None:
        raise ConfigError(f"{model} was saved before models kept what they were fitted for: say it with --horizon")
    return fitted.horizon


def _updated(fitted: Fitted, flags: dict[str, Any]) -> Fitted:
    if flags["data"] is None:
        return fitted
    fitted = _lean(fitted)
    newer = read_newer(fitted, flags["data"], flags)
    _say_left_out(fitted.history.ids, newer.ids, flags["data"])
    if newer.ends.max() < (known := fitted.history.ends.max(keepdims=True)):
        (last,) = fitted.history.calendar.texts(known)
        console.say(f"{flags['data']} ends before {last}, where the model's demand does: forecasts begin where it ends")
    return fitted.update(newer)


def _lean(fitted: Fitted) -> Fitted:
    """Without the covariates that the model was given and does not read: newer data need not have them."""
    history = fitted.history
    read = [name for role in fitted.reads - {"available"} for name in getattr(history, role).names]
    return replace(fitted, history=history.only(read, available=True))


def read_newer(fitted: Fitted, source: str, named: dict[str, Any]) -> Panel:
    """Newer data of the model's kind; `named` says what its columns id, time, target and available are called."""
    from forecastkit.data.io import read

    history = fitted.history
    roles = {role: getattr(history, role).names for role in ("known", "past", "static")}
    try:
        return read(source, freq=history.freq, **roles, **{name: named[name] for name in _NAMES})
    except ColumnError as error:
        role = next((role for role, names in roles.items() if error.column in names), None)
        if role is None:
            raise
        remedy = "the model was fitted with it, so newer data must have it by this name"
        raise ColumnError(error.column, error.found, role=f"{role} role", remedy=remedy).of(source) from error


def read_after(model: str, fitted: Fitted, source: str) -> Panel:
    """What came after the history of the saved `model`, its columns called as they were when it was fitted."""
    from forecastkit.store import read_notes

    usual = {"id": "unique_id", "time": "ds", "target": "y", "available": None}
    return read_newer(fitted, source, usual | read_notes(model).get("columns", {}))


def lay_out_future(model: str, fitted: Fitted, horizon: int, source: str | None) -> Floats | None:
    """The plan of known covariates [N, H, K], its columns called as they were when the saved `model` was fitted."""
    from forecastkit.store import read_notes

    named = {"id": "unique_id", "time": "ds"} | read_notes(model).get("columns", {})
    return _future(fitted, horizon, named | {"future": source})


def _say_left_out(fitted: Sequence[str], newer: Sequence[str], source: str) -> None:
    """Forecasts are of the series in the newer data: say which of the model's have none."""
    there = set(newer)
    absent = [name for name in fitted if name not in there]
    if absent:
        are, get = ("is", "gets") if len(absent) == 1 else ("are", "get")
        console.say(
            f"{len(absent):,} of {len(fitted):,} series {are} not in {source} and {get} no forecast: {_named(absent)}"
        )


def _say_strangers(known: Collection[str], plan: Any, columns: Any, source: str) -> None:
    """Series of the plan that get no forecast: new products, or ids written otherwise."""
    from forecastkit.data.columns import id_texts, to_arrow

    table = to_arrow(plan, columns)
    if columns.id not in table.column_names:
        return
    strange = sorted(set(id_texts(table.column(columns.id), columns.id)[1]) - set(known))
    if strange:
        what = counted(len(strange), "series of the plan gets", "series of the plan get")
        console.say(f"{source}: {what} no forecast, as the model has none of them: {_named(strange)}")


def _named(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_FEW])) + (" and so on" if len(names) > _FEW else "")


def _future(fitted: Fitted, horizon: int, flags: dict[str, Any]) -> Floats | None:
    """The plan as an array [N, H, K]; what is wrong with it is said of the file and of its own columns."""
    source, history = flags["future"], fitted.history
    if source is None:
        return None
    if "known" not in fitted.recipe.uses:
        console.say(f"{source} is ignored: {fitted.recipe.name} does not use known columns")
        return None
    if not history.known.names:
        console.say(f"{source} is ignored: the model was fitted without known columns (--known)")
        return None
    from forecastkit.data.columns import Columns
    from forecastkit.data.future import check_complete, lay_out
    from forecastkit.data.io import read_table, said_of

    columns = Columns(id=flags["id"], time=flags["time"], known=history.known.names)
    table = read_table(source, columns)
    with said_of(source):
        values = lay_out(history, horizon, table, columns)
        _say_strangers({*history.ids, *flags.get("known_ids", ())}, table, columns, source)
        check_complete(fitted.recipe.name, history, values, table, columns)
    return values
