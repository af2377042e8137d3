"""Sending a record to the tracking server, at once or later; again it replaces what an interrupted sending left."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.entities import Metric, Param

from forecastkit.errors import StoreError
from forecastkit.evaluation.metrics import METRICS
from forecastkit.evaluation.report import Report
from forecastkit.tracking import bundle
from forecastkit.tracking.place import Place, answering
from forecastkit.tracking.records import Challenger, Entry, Record, Sent
from forecastkit.tracking.registry import CHAMPION, PREVIOUS, Registry

if TYPE_CHECKING:
    import pandas as pd

_ID = "forecastkit.record"
_BATCH = 900  # metrics in one call; servers take 1,000
_COSTS = ("fit_s", "predict_s", "cpu_s", "peak_mb", "size_mb", "p95_ms")


@dataclass(frozen=True, eq=False)
class Figures:
    """What is computed once of a report, for all its models."""

    report: Report
    overall: pd.DataFrame
    windows: pd.DataFrame

    @classmethod
    def of(cls, report: Report) -> Figures:
        return cls(report, report.leaderboard().set_index("model"), report.scores(by=["model", "window"]))


def ready(place: Place) -> None:
    """Open the store ahead of sending; one that is lost now may be there later."""
    with suppress(StoreError):
        _ = place.client


def send(folder: Path, place: Place, record: Record | None = None) -> Sent:
    """Send the record in `folder`, or what it was. Raises `StoreError`; what is on disk stays, to be sent again."""
    record = record or Record.read(folder)
    if gone := [file for file in record.files if not (folder / file).is_file()]:
        raise StoreError(f"{folder / gone[0]} is not there any more: nothing was sent")
    with answering(place.uri):
        experiment = place.experiment(record.experiment)
        _forget(place, experiment, record)
        common = {_ID: record.id, "forecastkit.kind": record.kind, **record.tags}
        named = f"{record.kind} {record.tags.get('forecastkit.data', '')}".strip()
        parent = _run(place, experiment, named, common)
        figures = {name: Figures.of(_report(folder / name, record)) for name in {e.report for e in record.entries}}
        below = {**common, "mlflow.parentRunId": parent}
        runs = [_send_entry(place, _run_of(place, experiment, entry, figures[entry.report], below), folder, entry,
                            figures[entry.report]) for entry in record.entries]  # fmt: skip
        _send_files(place, folder, record.files, parent)
        version = None
        if (challenger := record.challenger) is not None:
            known = replace(challenger, tags={_ID: record.id, **challenger.tags})
            version = _send_model(place, folder / challenger.folder, known, parent)
        for run in (*runs, parent):
            place.client.set_terminated(run)
    return Sent(parent, version)


def add(folder: Path, files: Sequence[str], run: str, place: Place) -> None:
    """Send more files of a record whose parent run is `run`. Raises `StoreError`."""
    with answering(place.uri):
        _send_files(place, folder, files, run)


def _send_files(place: Place, folder: Path, files: Sequence[str], run: str) -> None:
    for file in files:
        place.client.log_artifact(run, str(folder / file))


def _report(folder: Path, record: Record) -> Report:
    """The report as the command that made the record showed it."""
    found = Report.read(folder)
    return found if record.conformal is None else found.calibrated(record.conformal)


def _forget(place: Place, experiment: str, record: Record) -> None:
    """Remove what an earlier sending of this record left."""
    for run in place.client.search_runs([experiment], f"tags.`{_ID}` = '{record.id}'"):
        place.client.delete_run(run.info.run_id)
    if record.challenger is not None:
        registry = Registry(place)
        if record.challenger.name in registry.names():
            for version in registry.versions(record.challenger.name):
                if version.tags.get(_ID) == record.id and not {CHAMPION, PREVIOUS} & {*version.aliases}:
                    registry.delete(record.challenger.name, version.number)


def _run(place: Place, experiment: str, name: str, tags: Mapping[str, Any]) -> str:
    plain = {key: str(value) for key, value in tags.items() if value not in (None, "")}
    return str(place.client.create_run(experiment, run_name=name, tags=plain).info.run_id)


def _run_of(place: Place, experiment: str, entry: Entry, figures: Figures, tags: Mapping[str, Any]) -> str:
    name, head = entry.name or entry.label, figures.report.head
    about = {"model": name, "recipe": head["recipes"][entry.label], "windows": head["plan"]["windows"]}
    return _run(place, experiment, name, {**tags, **{f"forecastkit.{key}": value for key, value in about.items()}})


def _send_entry(place: Place, run: str, folder: Path, entry: Entry, figures: Figures) -> str:
    metrics = [*_metrics(figures, entry)]
    place.client.log_batch(run, metrics[:_BATCH], [Param(key, str(value)) for key, value in entry.params.items()])
    for first in range(_BATCH, len(metrics), _BATCH):
        place.client.log_batch(run, metrics[first : first + _BATCH])
    with tempfile.TemporaryDirectory() as scratch:
        place.client.log_artifact(run, str(_forecasts(figures.report, entry.label, Path(scratch))))
    _send_files(place, folder, entry.files, run)
    return run


def _metrics(figures: Figures, entry: Entry) -> Iterator[Metric]:
    """Overall figures, those of each window as steps of `window.…`, and what the entry adds."""
    now = int(time.time() * 1000)

    def metric(name: str, value: Any, step: int = 0) -> Iterator[Metric]:
        if math.isfinite(value):
            yield Metric(name, float(value), now, step)

    overall = figures.overall.loc[entry.label]
    for name in (*METRICS, *_COSTS, "series", "failed"):
        if name in overall:
            yield from metric(name, overall[name])
    for row in figures.windows[figures.windows["model"] == entry.label].to_dict("records"):
        for name in METRICS:
            yield from metric(f"window.{name}", row[name], int(row["window"]))
    for name, value in entry.metrics.items():
        yield from metric(name, value)
    for name, values in entry.series.items():
        for step, value in enumerate(values):
            yield from metric(name, value, step)


def _forecasts(report: Report, label: str, folder: Path) -> Path:
    """All forecasts of a model as one Parquet file, written part by part."""
    file = folder / "forecasts.parquet"
    writer: pq.ParquetWriter | None = None
    try:
        for table in report.tables(label):
            plain = table.set_column(0, "series", table["series"].cast(pa.string())).replace_schema_metadata()
            writer = writer or pq.ParquetWriter(file, plain.schema)
            writer.write_table(plain)
    finally:
        if writer is not None:
            writer.close()
    return file


def _send_model(place: Place, folder: Path, challenger: Challenger, run: str) -> int:
    """The saved model in `folder` as artifacts of a run and a version of the challenger's name."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "model"
        bundle.write(folder, target, challenger.horizon)
        place.client.log_artifacts(run, str(target), "model")
    source = f"{place.client.get_run(run).info.artifact_uri}/model"
    return Registry(place).register(challenger.name, source, run, challenger.tags)


def register_folder(place: Place, folder: Path, name: str, horizon: int, tags: Mapping[str, Any]) -> int:
    """A saved model as a new version of `name`, with a run of its own; the number. Raises `StoreError`."""
    with answering(place.uri):
        run = _run(place, place.experiment(name), "register", {"forecastkit.kind": "register", **tags})
        version = _send_model(place, folder, Challenger(name, str(folder), horizon, tags), run)
        place.client.set_terminated(run)
        return version
