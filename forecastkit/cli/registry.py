"""forecastkit registry: the versions of a model, and which of them serves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from forecastkit.cli import console, options
from forecastkit.cli.tracking import place_at, tracking_option

if TYPE_CHECKING:
    from forecastkit.forecaster import Fitted
    from forecastkit.tracking.registry import Registry, Version

_COLUMNS = ("name", "version", "aliases", "made", "model", "decision")
name_option = click.option("--name", required=True, metavar="NAME", help="Of the registered model.")


def registry_at(uri: str | None) -> Registry:
    place = place_at(uri)
    from forecastkit.tracking.registry import Registry

    return Registry(place)


@click.group("registry", context_settings={"help_option_names": ["--help"]})
def command() -> None:
    """Look at registered models, add one, go back to an earlier one.

    `push` sends results that could not be sent when they were made.

    \b
    Example: forecastkit registry list
    """


def _command(name: str) -> Callable[..., Any]:
    return command.command(name, context_settings={"help_option_names": ["--help"]})


@_command("list")
@tracking_option
@options.json_option
def list_(tracking: str | None, as_json: bool) -> None:
    """Every registered model with its champion and challenger."""
    registry = registry_at(tracking)
    rows = [{"name": name, **registry.aliases(name)} for name in registry.names()]
    if as_json:
        console.print_json(rows)
    elif not rows:
        console.say("no registered models: tune with --track, or register a saved one")
    else:
        columns = ("name", "champion", "challenger", "previous")
        console.print_table(columns, [[row.get(c) for c in columns] for row in rows])


@_command("show")
@name_option
@tracking_option
@options.json_option
def show(name: str, tracking: str | None, as_json: bool) -> None:
    """The versions of a model and decisions on them, newest first."""
    versions = registry_at(tracking).versions(name)
    if as_json:
        console.print_json([vars(version) | {"tags": dict(version.tags)} for version in versions])
    else:
        console.print_table(_COLUMNS, [_line(version) for version in versions], spare=("made",))


def _line(version: Version) -> list[Any]:
    made = datetime.fromtimestamp(version.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    tags = version.tags
    facts = (tags.get("forecastkit.model"), tags.get("forecastkit.decision"))
    return [version.name, version.number, ", ".join(version.aliases), made, *facts]


@_command("register")
@click.argument("folder")
@name_option
@click.option(
    "-h", "--horizon", type=click.IntRange(1), help="Periods it forecasts unless asked; default what it was fitted for."
)
@tracking_option
def register(folder: str, name: str, horizon: int | None, tracking: str | None) -> None:
    """Make a saved model a version of NAME and its challenger.

    FOLDER is what `fit` wrote.
    """
    from forecastkit.cli.forecast import own_horizon
    from forecastkit.models import restore

    fitted = restore(folder)
    horizon = horizon or own_horizon(fitted, folder)
    registry = registry_at(tracking)
    from forecastkit.tracking.sending import register_folder

    version = register_folder(registry.place, Path(folder), name, horizon, _tags(folder, fitted, horizon))
    console.say(f"version {version} of {name!r} is challenger")
    click.echo(version)


def _tags(folder: str, fitted: Fitted, horizon: int) -> dict[str, Any]:
    """What `promote` must know of the saved model in `folder`."""
    from forecastkit import recipes
    from forecastkit.store import read_notes

    history = fitted.history
    columns = {
        **{"id": "unique_id", "time": "ds", "target": "y", "available": None},
        **read_notes(folder).get("columns", {}),
        **{"freq": history.freq, "known": history.known.names, "past": history.past.names},
        "static": history.static.names,
    }
    return {
        "forecastkit.model": recipes.label(fitted.recipe),
        "forecastkit.fingerprint": fitted.trained_on or history.fingerprint,
        "forecastkit.columns": json.dumps(columns),
        "forecastkit.plan": json.dumps({"horizon": horizon}),
    }


@_command("rollback")
@name_option
@tracking_option
def rollback(name: str, tracking: str | None) -> None:
    """Make the champion that was before champion again."""
    former, present = registry_at(tracking).rollback(name)
    console.say(f"version {present} of {name!r} is champion again, instead of {former}")
    click.echo(present)


@_command("delete")
@name_option
@click.option("--version", type=click.IntRange(1), help="Only this one; the model with all versions when left out.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@tracking_option
def delete(name: str, version: int | None, yes: bool, tracking: str | None) -> None:
    """Forget a version, or a model with all its versions."""
    what = f"version {version} of {name!r}" if version else f"{name!r} with all versions"
    registry = registry_at(tracking)
    registry.aliases(name)  # what isn't there is said before anything is asked
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"nobody can be asked here whether to delete {what}: say --yes")
        click.confirm(f"delete {what}?", abort=True, err=True)
    registry.delete(name, version)
    console.say(f"{what} is deleted")


@_command("push")
@click.argument("run")
@tracking_option
def push(run: str, tracking: str | None) -> None:
    """Send the results that could not be sent when they were made.

    RUN is their folder.
    """
    place = place_at(tracking)
    from forecastkit.tracking import sending

    sent = sending.send(Path(run), place)
    console.say(f"recorded as run {sent.run}")
    click.echo(sent.run)


def fetched(registry: Registry, version: Version) -> Any:
    """The fitted model of a version."""
    from forecastkit.models import restore
    from forecastkit.tracking.bundle import fetch

    with TemporaryDirectory() as scratch:
        return restore(fetch(registry.place, version.source, Path(scratch)))
