"""The edge bundle: a folder with the network as ONNX, what its columns mean, and a script that runs it.

model.onnx      the graph, from demand to forecasts
calendar.npz    `times` [O] and `features` [O, C] of the periods that can be forecast
manifest.json   columns, categories, levels, horizon, versions, parity, and a checksum of each other file
predict.py      needs numpy and onnxruntime, nothing of forecastkit
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecastkit.data.panel import Covariates, Panel
from forecastkit.errors import ConfigError, StoreError
from forecastkit.nn.inputs import calendar_features
from forecastkit.nn.onnx import Session
from forecastkit.store import replacing, versions, write_bytes

if TYPE_CHECKING:
    from forecastkit.nn.predictor import Predictor

FORMAT = 1
_MANIFEST = "manifest.json"
_YEARS, _MOST = 3, 50_000  # of the calendar, and periods of it


def write(predictor: Predictor, place: Path) -> None:
    """Write `place`, replacing a bundle that stands there; any other folder is left alone."""
    if not isinstance(predictor.run, Session):
        raise ConfigError(f"only an onnx variant can be exported, this is {predictor.variant}: compile('onnx') first")
    check_place(place)
    script = resources.files("forecastkit.nn").joinpath("edge.py").read_bytes()
    files = {"model.onnx": predictor.run.model, "calendar.npz": _calendar(predictor), "predict.py": script}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = json.dumps(_manifest(predictor) | {"files": sums}, indent=1, allow_nan=False)
    with replacing(place) as fresh:
        for name, content in (files | {_MANIFEST: manifest.encode()}).items():
            write_bytes(fresh / name, content)


def check_place(place: Path) -> None:
    """`StoreError` where something else than a bundle stands."""
    if place.exists() and not _ours(place):
        raise StoreError(f"{place} exists and is no bundle: choose another folder")


def _ours(place: Path) -> bool:
    """Whether a folder is empty, or holds a bundle and nothing else."""
    if not place.is_dir():
        return False
    names = {entry.name for entry in place.iterdir()}
    try:
        manifest = json.loads((place / _MANIFEST).read_text()) if names else {"files": []}
        return names <= {_MANIFEST, *manifest["files"]} and (not names or "model.onnx" in manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _manifest(predictor: Predictor) -> dict[str, Any]:
    fitted, history = predictor.fitted, predictor.fitted.history
    plan = fitted.networks[0].plan
    static = history.static if plan.static.sizes else Covariates()
    roles = {"known": history.known, "past": history.past, "static": static}
    return {
        "format": FORMAT,
        "model": fitted.recipe.name,
        "recipe": asdict(fitted.recipe),
        "variant": predictor.variant,
        "history": plan.context,
        "horizon": predictor.horizon,
        "levels": list(predictor.levels),
        "freq": history.freq,
        "zone": history.calendar.zone,
        "columns": {role: _columns(columns) for role, columns in roles.items()},
        "parity": asdict(predictor.parity),
        "trained_on": fitted.trained_on or history.fingerprint,
        "versions": versions(),
    }


def _columns(columns: Covariates) -> list[dict[str, Any]]:
    """Names in their order, with the texts that a code stands for."""
    texts = columns.categories
    return [{"name": name, "texts": list(texts[name]) if name in texts else None} for name in columns.names]


def _calendar(predictor: Predictor) -> bytes:
    history: Panel = predictor.fitted.history
    plan, first = predictor.fitted.networks[0].plan, int(history.ends.min()) + 1
    span = history.calendar.times(np.array([first, first + 1000])).astype("M8[s]").astype(np.int64)
    wanted = int(1000 * 365.25 * 86400 * _YEARS / (span[1] - span[0]))
    periods = first + np.arange(min(max(wanted, 4 * plan.horizon), _MOST) + int(np.ptp(history.ends)))
    buffer = io.BytesIO()
    times = history.calendar.times(periods).astype("M8[s]")
    np.savez_compressed(buffer, times=times, features=calendar_features(history.calendar, periods, plan.yearly))
    return buffer.getvalue()
