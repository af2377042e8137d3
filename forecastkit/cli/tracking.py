"""Flags of tracking, and how a command's results get there without ever being lost on the way."""

from __future__ import annotations

import getpass
import json
import logging
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from forecastkit.cli import console, options
from forecastkit.errors import StoreError

if TYPE_CHECKING:
    from forecastkit.cli.options import Table
    from forecastkit.data.panel import Panel
    from forecastkit.evaluation.splits import Plan
    from forecastkit.tracking.place import Place
    from forecastkit.tracking.records import Record, Sent

logger = logging.getLogger(__name__)

T = TypeVar("T")

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
    from forecastkit.tracking import SETTINGS

    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from forecastkit.tracking.place import Place

    if logging.getLogger().level > logging.INFO:
        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
    return Place.at(uri)


class Outbox:
    """Where results wait on disk until a process beside this one has sent them; it opens the store meanwhile."""

    def __init__(self, tracking: Tracking, pool: Executor | None) -> None:
        self._tracking, self._pool = tracking, pool
        self._sending: Future[Sent] | None = None
        self._late: list[str] = []
        self._missing = "not recorded"

    def put(self, folder: Path, record: Record) -> None:
        """Write the record of what stands in `folder` down, then begin to send it."""
        record.write(folder)
        self._record, self._folder = record, folder
        assert self._pool is not None  # nothing is put where nothing is tracked
        try:
            self._sending = self._pool.submit(_sent, folder, record, self._tracking.tracking)
        except BrokenProcessPool as error:  # it was killed while models ran, for memory as a rule
            self._sending = Future()
            self._sending.set_exception(error)

    def add(self, name: str, content: bytes) -> None:
        """One more file of the record, which is made while the rest is sent; nothing where nothing was put."""
        from forecastkit.data.io import write_atomic

        if self._sending is not None:
            write_atomic(self._folder / name, lambda out: out.write(content))
            self._record = replace(self._record, files=(*self._record.files, name))
            self._record.write(self._folder)
            self._late.append(name)

    def delivered(self) -> bool:
        """Wait until everything is sent; False when the server is lost, which is said and costs nothing."""
        done = self._sending is None or self._delivered(self._sending)
        self._sending = None
        return done

    def _delivered(self, sending: Future[Sent]) -> bool:
        sent = self._outcome(sending.result)
        if sent is None:
            return False
        console.say(f"recorded as run {sent.run} in {self._record.experiment!r}")
        if sent.version is not None and self._record.challenger is not None:
            console.say(f"version {sent.version} of {self._record.challenger.name!r} is challenger")
        if not self._late:
            return True
        self._missing = f"recorded without {', '.join(self._late)}"
        return self._outcome(lambda: self._send_late(sent.run)) is not None

    def _send_late(self, run: str) -> int:
        assert self._pool is not None  # something was put
        uri = self._tracking.tracking
        return self._pool.submit(_added, self._folder, self._late, run, uri).result()

    def _outcome(self, wait: Callable[[], T]) -> T | None:
        """What was sent, or None where that failed, which is said: nothing beside the results costs results."""
        try:
            return wait()
        except BrokenProcessPool:
            self._say_later("the process that sends them has ended")
        except Exception as error:
            logger.info("sending failed", exc_info=error)
            self._say_later(str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}")
        return None

    def left(self) -> None:
        """Say where what was put is, where the command ends before it is sent."""
        if self._sending is not None:
            self._say_later("interrupted before all was sent")

    def _say_later(self, why: str) -> None:
        """Why not everything is recorded yet, where the results are, and the line that sends them."""
        uri, folder = self._tracking.tracking, self._folder
        later = shlex.join(["forecastkit", "registry", "push", str(folder), *(["--tracking", uri] if uri else [])])
        console.say(f"{self._missing}: {why}\nresults are in {folder}; later: {later}")


@contextmanager
def outbox(tracking: Tracking) -> Iterator[Outbox]:
    """MLflow takes seconds to import and to open a store: a process beside this one does so while models run."""
    if not tracking.track:
        yield Outbox(tracking, None)
        return
    from forecastkit import execution
    from forecastkit.tracking import SETTINGS  # or what is missing, before anything runs

    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)  # for the process to inherit
    with execution.beside() as pool:
        with suppress(BrokenProcessPool):  # said when there is something to send
            pool.submit(_opened, tracking.tracking, logging.getLogger().level)
        box = Outbox(tracking, pool)
        try:
            yield box
        except BaseException:
            box.left()
            raise


def _opened(uri: str | None, level: int) -> None:
    """What sending would else begin with."""
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s")
    place = place_at(uri)
    from forecastkit.tracking import sending

    sending.ready(place)


def _sent(folder: Path, record: Record, uri: str | None) -> Sent:
    from forecastkit.tracking import sending

    return sending.send(folder, place_at(uri), record)


def _added(folder: Path, names: list[str], run: str, uri: str | None) -> int:
    from forecastkit.tracking import sending

    sending.add(folder, names, run, place_at(uri))
    return len(names)


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
