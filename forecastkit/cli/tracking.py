"""Flags of tracking, and how a command's results get there without ever being lost on the way."""

from __future__ import annotations

import getpass
import json
import logging
import os
import shlex
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forecastkit.cli import console, options
from forecastkit.errors import StoreError

if TYPE_CHECKING:
    from forecastkit.cli.options import Table
    from forecastkit.data.panel import Panel
    from forecastkit.evaluation.splits import Plan
    from forecastkit.tracking.place import Place
    from forecastkit.tracking.records import Record, Sent

# What a command needs of MLflow, unless the person says otherwise.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}

tracking_option = click.option(
    "--tracking", metavar="URI", envvar="MLFLOW_TRACKING_URI", show_envvar=True,
    help="MLflow server or database; a file under ./.forecastkit when left out.",
)  # fmt: skip


@dataclass(frozen=True)
class Tracking:
    """Whether and where results are recorded."""

    track: str | None
    tracking: str | None


tracking_options = options.packed(
    Tracking,
    "tracking",
    click.option("--track", metavar="NAME", help="Record runs in MLflow as the experiment NAME."),
    tracking_option,
)


def place_at(uri: str | None) -> Place:
    """The store of runs and models; MLflow is imported here, and quiet unless -v."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from forecastkit.tracking.place import Place

    if logging.getLogger().level > logging.INFO:
        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
    return Place.at(uri)


def delivered(folder: Path, record: Record, uri: str | None) -> Sent | None:
    """Send what stands in `folder`; None when the server is lost, which is said and costs nothing."""
    from forecastkit.tracking import records

    record.write(folder)
    try:
        sent = records.send(folder, place_at(uri))
    except StoreError as error:
        where = f" --tracking {uri}" if uri else ""
        console.say(f"not recorded: {error}\nresults are in {folder}; later: forecastkit registry push {folder}{where}")
        return None
    console.say(f"recorded as run {sent.run} in {record.experiment!r}")
    if sent.version is not None and record.challenger is not None:
        console.say(f"version {sent.version} of {record.challenger.name!r} is challenger")
    return sent


def about(panel: Panel, plan: Plan, data: str, seed: int) -> dict[str, Any]:
    """Tags by which a run is found again: what was asked, of what data, by whom, with which code."""
    from forecastkit.execution import machine
    from forecastkit.store import versions

    return {
        "mlflow.user": user(),
        "mlflow.source.name": "forecastkit",
        "mlflow.source.git.commit": _git("rev-parse", "HEAD"),
        "forecastkit.uncommitted": bool(_git("status", "--porcelain")) or None,
        "forecastkit.command": shlex.join(["forecastkit", *(click.get_current_context().obj or ())]),
        "forecastkit.data": data,
        "forecastkit.fingerprint": panel.fingerprint,
        "forecastkit.series": len(panel),
        "forecastkit.freq": panel.freq,
        "forecastkit.horizon": plan.horizon,
        "forecastkit.seed": seed,
        "forecastkit.machine": json.dumps(machine()),
        "forecastkit.versions": json.dumps(versions()),
    }


def origin(data: str, table: Table, sample: int | None, seed: int) -> dict[str, Any]:
    """Tags that let `promote` read the data of a model again."""
    named = data.startswith("dataset:") or data == "-"
    return {
        "forecastkit.source": data if named else str(Path(data).absolute()),
        "forecastkit.columns": json.dumps(asdict(table)),
        "forecastkit.sample": json.dumps([sample, seed]),
    }


def user() -> str:
    """Who asks."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may have users without names
        return "unknown"


def _git(*arguments: str) -> str:
    """What git says of the present folder; nothing where it isn't under git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
