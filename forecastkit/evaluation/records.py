"""A backtest on disk: one head, and one Parquet file for each model, window and chunk of series.

Every file is written beside its place and renamed, and carries its own costs and failures in its metadata: what is
there is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forecastkit.data.io import write_atomic, writing
from forecastkit.data.panel import Ints, Panel
from forecastkit.errors import ConfigError, StoreError, counted
from forecastkit.evaluation import metrics
from forecastkit.evaluation.splits import Plan, Window
from forecastkit.execution import Usage
from forecastkit.forecaster import Explanation, Forecast
from forecastkit.store import lock, store_errors

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
PANEL = "panel"
_HEAD = "backtest.json"
_PARTS = "parts"
_SEGMENTS = "series.parquet"
_HISTORY = "history.parquet"
_WHY = "why.json"
_ABOUT = b"forecastkit"
_SAME = ("data", "plan", "levels")  # what a run that goes on must have in common with its beginning


@dataclass(frozen=True)
class Cost:
    """Seconds and memory of one part: work summed over processes, the peak of the heaviest of them."""

    fit_s: float
    predict_s: float
    cpu_s: float
    peak_mb: float
    size_mb: float = 0.0  # of what was learned, beside recipe and history
    p95_ms: float = float("nan")  # of a call for one series, where that was measured

    @classmethod
    def of(cls, fitting: Usage, predicting: Usage, size_mb: float) -> Cost:
        return cls(
            fit_s=fitting.seconds,
            predict_s=predicting.seconds,
            cpu_s=fitting.cpu_s + predicting.cpu_s,
            peak_mb=max(fitting.peak_mb, predicting.peak_mb),
            size_mb=size_mb,
        )


@dataclass(frozen=True)
class Part:
    """What a part file says about itself."""

    model: str
    window: int
    chunk: int
    cost: Cost
    failures: Mapping[str, str] = field(default_factory=dict)


def there(folder: Path) -> bool:
    """Whether a run stands in `folder`."""
    return (folder / _HEAD).exists()


def begin(folder: Path, head: dict[str, Any], *, resume: bool) -> None:
    """Write the head of a new run, or check that the run in `folder` is the same and may go on."""
    if there(folder):
        before = read_head(folder)
        if not resume:
            raise ConfigError(f"{folder} holds a backtest already: resume it (--resume), or choose another folder")
        _same_run(before, head, folder)
        head = before | {"recipes": before["recipes"] | head["recipes"], "finished": None}
    elif folder.exists() and any(p.name != _LOCK for p in folder.iterdir()):
        raise StoreError(f"{folder} is not empty and holds no backtest: choose another folder")
    else:
        head = {"format": FORMAT, "started": datetime.now(UTC).isoformat(), "finished": None} | head
    _write_head(folder, head)


def _same_run(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    different = [text for name in _SAME for text in _apart(name, _plain(before[name]), _plain(now[name]))]
    for label in sorted(before["recipes"].keys() & now["recipes"].keys()):
        different += _apart(label, before["recipes"][label], now["recipes"][label])
    if different:
        raise ConfigError(f"{folder} holds another backtest: choose another folder, or ask for {', '.join(different)}")


def _apart(name: str, before: Any, now: Any) -> list[str]:
    """What differs, as text: each entry of a mapping, or the whole."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return [f"{name} {key} {before.get(key)} (not {now.get(key)})" for key in keys]
    return [] if before == now else [f"{name} {before} (not {now})"]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def finish(folder: Path) -> None:
    """Mark the run as complete and drop the copy of the panel that only the workers needed."""
    _write_head(folder, read_head(folder) | {"finished": datetime.now(UTC).isoformat()})
    shutil.rmtree(folder / PANEL, ignore_errors=True)


def _write_head(folder: Path, head: Mapping[str, Any]) -> None:
    write_atomic(folder / _HEAD, lambda out: out.write(json.dumps(head, indent=1).encode()))


def read_head(folder: Path) -> dict[str, Any]:
    """The head of a run; `StoreError` when there is none, or it is damaged or of another version."""
    file = folder / _HEAD
    if not file.is_file():
        raise StoreError(f"{folder}: no backtest here ({_HEAD} is missing)")
    try:
        with store_errors(file):
            head: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{file}: damaged, it is not the head of a backtest") from error
    if head.get("format") != FORMAT:
        raise StoreError(f"{file}: format {head.get('format')}, this forecastkit reads {FORMAT}")
    return head


_LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of the folder; the lock goes with the process, however that ends."""
    with writing(folder, folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR)
    try:
        if not lock(handle):
            raise StoreError(f"{folder}: another process is working here: wait for it, or choose another folder")
        yield
    finally:
        os.close(handle)


def discard(folder: Path) -> None:
    """Remove the run in `folder`; `StoreError` while another process works on it."""
    if folder.is_dir():
        with locked(folder):
            shutil.rmtree(folder, ignore_errors=True)


def write_segments(folder: Path, table: pa.Table) -> None:
    write_atomic(folder / _SEGMENTS, lambda out: pq.write_table(table, out))


def read_segments(folder: Path) -> pa.Table:
    """Traits of the series, one row each; `StoreError` where a run of an older version has none."""
    return _read(folder / _SEGMENTS, pq.read_table)


def described(folder: Path) -> bool:
    """Whether segments and history stand there already."""
    return (folder / _SEGMENTS).exists() and (folder / _HISTORY).exists()


def write_history(folder: Path, panel: Panel) -> None:
    """Keep the demand of `panel` as it is, for charts: series, time, y."""
    owner = np.repeat(np.arange(len(panel), dtype=np.int32), panel.lengths)
    series = pa.DictionaryArray.from_arrays(owner, list(panel.ids))
    table = pa.table({"series": series, "time": _zoned(panel.times(), panel), "y": panel.values})
    write_atomic(folder / _HISTORY, lambda out: pq.write_table(table, out))


def read_history(folder: Path, series: Sequence[str]) -> pa.Table:
    return _read(folder / _HISTORY, lambda file: pq.read_table(file, filters=[("series", "in", list(series))]))


def write_why(folder: Path, model: str, importance: pd.DataFrame, told: Explanation) -> None:
    """Keep why a model forecasts what it does beside what is kept of others."""
    own = asdict(told) | {"times": np.datetime_as_string(told.times).tolist()}
    own["coefficients"] = {name: list(map(plain, pair)) for name, pair in told.coefficients.items()}
    own["components"] = {name: list(map(plain, part.tolist())) for name, part in told.components.items()}
    table = {name: list(map(plain, column)) for name, column in importance.to_dict("list").items()}
    found = {"importance": table, "told": own}
    content = json.dumps(read_why(folder) | {model: found}, allow_nan=False).encode()
    write_atomic(folder / _WHY, lambda out: out.write(content))


def read_why(folder: Path) -> dict[str, dict[str, Any]]:
    """What `write_why` kept, by model; empty where nobody asked."""
    file = folder / _WHY
    if not file.is_file():
        return {}
    try:
        with store_errors(file):
            found: dict[str, dict[str, Any]] = json.loads(file.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{file}: damaged ({error})") from error
    return found


def plain(value: Any) -> Any:
    """The value as JSON has it: None for a number that is not finite."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def part_file(folder: Path, model: str, window: int, chunk: int) -> Path:
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", model)[:40]
    digest = hashlib.sha256(model.encode()).hexdigest()[:8]
    return folder / _PARTS / f"{readable}-{digest}" / f"{window:04d}-{chunk:05d}.parquet"


def write(folder: Path, part: Part, table: pa.Table) -> None:
    cost = {name: plain(value) for name, value in asdict(part.cost).items()}
    about = {_ABOUT: json.dumps(asdict(part) | {"cost": cost}, allow_nan=False).encode()}
    file = part_file(folder, part.model, part.window, part.chunk)
    write_atomic(file, lambda out: pq.write_table(table.replace_schema_metadata(about), out))


def part(folder: Path, model: str, window: int, chunk: int) -> Part | None:
    """What one part says about itself; None where it is not there yet."""
    file = part_file(folder, model, window, chunk)
    return _about(file, _read(file, pq.read_schema)) if file.exists() else None


def parts(folder: Path, model: str) -> Iterator[Part]:
    """What the parts of a model say about themselves, in the order of windows and series; no forecast is read."""
    for file in _files(folder, model):
        yield _about(file, _read(file, pq.read_schema))


def unfinished(folder: Path, head: Mapping[str, Any]) -> dict[str, str]:
    """The models that are not whole yet and what there is of them: a whole one has all series in all windows.

    A run of an older version doesn't say how many series take part in a window: there the model that has most does.
    """
    plan = head["plan"]
    windows, horizon = plan.get("calibrate", 0) + plan["windows"], plan["horizon"]
    found = {model: _series(folder, model, windows, horizon) for model in head["recipes"]}
    most = np.max([np.ones(windows, np.int64), *found.values()], axis=0)
    needed = np.array(head.get("taking_part") or most)  # [W]
    whole = {model: int((counts >= needed).sum()) for model, counts in found.items()}
    return {
        model: f"{n} of {counted(windows, 'window')} {'is' if 1 in (n, windows) else 'are'} whole"
        for model, n in whole.items()
        if n < windows
    }


def _series(folder: Path, model: str, windows: int, horizon: int) -> Ints:
    """How many series have forecasts in each window, [W]."""
    counts = np.zeros(windows, np.int64)
    for file in _files(folder, model):
        counts[int(file.stem.partition("-")[0])] += _read(file, pq.read_metadata).num_rows // horizon
    return counts


def tables(folder: Path, model: str) -> Iterator[pa.Table]:
    """The forecasts of a model, one table a window, the oldest first."""
    for _, files in groupby(_files(folder, model), key=lambda file: file.stem.partition("-")[0]):
        yield pa.concat_tables([_read(file, _plainly) for file in files]).unify_dictionaries()


def _plainly(file: Path) -> pa.Table:
    with pq.ParquetFile(file) as parquet:  # a third of the time of read_table, which first looks for a data set
        return parquet.read(use_threads=False)


def _files(folder: Path, model: str) -> list[Path]:
    return sorted(part_file(folder, model, 0, 0).parent.glob("*.parquet"))


def _read(file: Path, how: Callable[[Path], Any]) -> Any:
    with store_errors(file):
        try:
            return how(file)
        except pa.ArrowInvalid as error:
            raise StoreError(f"{file}: damaged ({error})") from error


def _about(file: Path, schema: pa.Schema) -> Part:
    try:
        about = json.loads(schema.metadata[_ABOUT])
    except (TypeError, KeyError, json.JSONDecodeError) as error:
        raise StoreError(f"{file}: damaged ({error})") from error
    cost = {name: float("nan") if value is None else value for name, value in about["cost"].items()}
    return Part(**about | {"cost": Cost(**cost)})


def table(panel: Panel, plan: Plan, cut: Window, forecast: Forecast) -> pa.Table:
    """The long table of a part: what was forecast beside what came, and the scale of each series' errors.

    A period that came without a value, or in which the item could not be sold, has y NaN and is not scored.
    """
    panel = panel.bare()
    horizon = plan.horizon
    steps = plan.gap + np.arange(horizon)  # [H]
    scales = metrics.scales(panel.until(cut.series, cut.lengths), plan.season or panel.season)  # [n, 2]
    cutoffs = panel.calendar.times(panel.starts[cut.series] + cut.lengths - 1)
    n = len(cut.series)
    columns: dict[str, Any] = {
        "series": pa.DictionaryArray.from_arrays(
            np.repeat(np.arange(n, dtype=np.int32), horizon), [panel.ids[i] for i in cut.series]
        ),
        "window": np.full(n * horizon, cut.index, np.int16),
        "cutoff": _zoned(np.repeat(cutoffs, horizon), panel),
        "time": _zoned(forecast.times[:, steps].ravel(), panel),
        "step": np.tile((steps + 1).astype(np.int32), n),  # counted from the cutoff, lead time included
        "y": _came(panel, cut, steps).ravel(),
        "mean": forecast.mean[:, steps].ravel(),
    }
    for k, level in enumerate(forecast.levels):
        columns[f"q{level:g}"] = forecast.quantiles[:, steps, k].ravel()
    columns["absolute_scale"], columns["squared_scale"] = np.repeat(scales, horizon, axis=0).T
    return pa.table(columns)


def _zoned(times: Any, panel: Panel) -> pa.Array:
    """Times with the zone of sub-daily data, so that they can be matched with the person's own table."""
    return pa.array(times.astype("M8[us]").astype(np.int64)).cast(pa.timestamp("us", panel.calendar.zone))


def _came(panel: Panel, cut: Window, steps: Any) -> Any:
    """What came at the scored steps, [n, H]; NaN after the end, in gaps and where the item was not on offer."""
    positions = cut.lengths[:, None] + steps
    inside = positions < panel.lengths[cut.series, None]
    rows = np.where(inside, panel.offsets[cut.series, None] + positions, 0)
    on_offer = True if panel.available is None else panel.available[rows]
    return np.where(inside & on_offer, panel.values[rows], np.nan)
