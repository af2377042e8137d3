"""Fitted models on disk: a folder of JSON and plain arrays, never a pickle.

`model.json` names the model, its recipe, the format's version, the library versions, the fingerprint of the training
data, and a checksum of each file. A folder is written beside its place and renamed, so that a crash or a full disk
leaves the old one whole. Loading runs no code from the folder. Checksums find damage, not malice.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from forecastkit.data.io import writing
from forecastkit.data.panel import Panel
from forecastkit.errors import DataError, StoreError
from forecastkit.forecaster import Fitted, State

FORMAT = 1
_HEAD = "model.json"
_LIBRARIES = (
    *("forecastkit", "numpy", "pandas", "scipy", "numba", "statsmodels"),
    *("torch", "prophet", "lightgbm", "scikit-learn"),
)


@dataclass(frozen=True)
class Saved:
    """What a folder holds, checked but not yet turned into a model."""

    model: str
    recipe: Mapping[str, Any]
    state: State
    common: Mapping[str, Any]  # the fields of Fitted itself


def versions() -> dict[str, str]:
    """Versions of forecastkit and of the libraries under it that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def save(fitted: Fitted, folder: str | Path, *, notes: Mapping[str, Any] | None = None) -> None:
    """Write `fitted` to `folder`, replacing a model that stands there; any other folder is left alone.

    `notes` are JSON values kept beside the model for whoever saved it; `read_notes` gives them back.
    """
    place = Path(folder)
    _check_ours(place)
    state = fitted.state()
    arrays, about = fitted.history.arrays()
    files = {"history.npz": _packed(arrays), "state.npz": _packed(state.arrays)}
    head = {
        "format": FORMAT,
        "model": fitted.recipe.name,
        "recipe": asdict(fitted.recipe),
        "values": state.values,
        "history": about,
        "failures": dict(fitted.failures),
        "trained_on": fitted.trained_on or fitted.history.fingerprint,
        "horizon": fitted.horizon,
        "notes": dict(notes or {}),
        "versions": versions(),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files[_HEAD] = _sealed(head)
    with replacing(place) as fresh:
        for name, content in files.items():
            write_bytes(fresh / name, content)


def check_saveable(place: Path) -> None:
    """Raise `StoreError` now where `save` to `place` would, ahead of long work; what stands there stays."""
    _check_ours(place)
    check_writable(place)


def _check_ours(place: Path) -> None:
    if place.exists() and not (place / _HEAD).is_file() and (not place.is_dir() or any(place.iterdir())):
        raise StoreError(f"{place} exists and is no saved model: choose another folder")


def _sealed(head: dict[str, Any]) -> bytes:
    """The head as JSON with a checksum over itself, so that a flipped byte in a recipe is found too."""
    body = json.dumps(head, indent=1, allow_nan=False)
    return (
        json.dumps({"sha256": hashlib.sha256(_canonical(head)).hexdigest()})[:-1].encode() + b", " + body[1:].encode()
    )


def _canonical(head: Mapping[str, Any]) -> bytes:
    return json.dumps(json.loads(json.dumps(head)), sort_keys=True).encode()


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


@contextmanager
def replacing(place: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of `place` when all went well, and is removed when not."""
    with writing(place, place.parent):
        fresh = _beside(place)
        try:
            yield fresh
            fresh.chmod(0o755)  # mkdtemp makes it private
            _swap(fresh, place)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def check_writable(place: Path) -> None:
    """Raise `StoreError` now where `replacing` could make no folder; what stands at `place` stays."""
    with writing(place, place.parent):
        _beside(place).rmdir()


def _beside(place: Path) -> Path:
    """An empty folder of a name of its own, in the folder of `place`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))


def _swap(fresh: Path, place: Path) -> None:
    if not place.exists():
        fresh.rename(place)
        return
    old = fresh.with_name(fresh.name + ".old")
    place.rename(old)
    try:
        fresh.rename(place)
    except OSError:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_bytes(file: Path, content: bytes) -> None:
    """Write and sync, so that a rename afterwards can't leave an empty file behind."""
    with file.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def lock(handle: int, *, shared: bool = False) -> bool:
    """Lock an open file, alone or with others who share it; False where another process is in the way.

    The lock goes with the process, however that ends.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows, where two processes in one place are not caught
        return True
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def store_errors(place: Path | str) -> Iterator[None]:
    """Turn what the system says of reading and writing `place` into `StoreError`."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{error.filename or place}: {error.strerror or error}") from error


def read(folder: str | Path) -> Saved:
    """Read and check a folder; `StoreError` names the file that is missing, damaged or of another version."""
    place = Path(folder)
    head = _head(place)
    arrays = {name: _unpacked(place / name, digest) for name, digest in head["files"].items()}
    try:
        history = Panel.from_arrays(arrays["history.npz"], head["history"])
        state = State(arrays["state.npz"], head["values"])
        common = {name: head[name] for name in ("failures", "trained_on")}
        common |= {"history": history, "horizon": head.get("horizon")}
        return Saved(head["model"], head["recipe"], state, common)
    except (KeyError, TypeError, DataError) as error:
        raise StoreError(f"{place / _HEAD}: incomplete or damaged ({error})") from error


def read_notes(folder: str | Path) -> dict[str, Any]:
    """What `save` was told to remember. Raises `StoreError`."""
    return dict(_head(Path(folder)).get("notes", {}))


def _head(place: Path) -> dict[str, Any]:
    file = place / _HEAD
    if not file.is_file():
        raise StoreError(f"{place}: no saved model here ({_HEAD} is missing); `forecastkit fit` makes one")
    try:
        with store_errors(file):
            head = json.loads(file.read_text("utf-8"))
        seal = head.pop("sha256")
        found = head["format"]
        names = list(head["files"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(f"{file}: damaged, it is not the JSON of a model") from error
    if found != FORMAT:
        raise StoreError(f"{file}: format {found}, this forecastkit reads {FORMAT}: fit again, or use another version")
    if seal != hashlib.sha256(_canonical(head)).hexdigest():
        raise StoreError(f"{file}: damaged, its checksum does not match")
    if bad := [name for name in names if Path(name).name != name or name.startswith(".")]:
        raise StoreError(f"{file}: names the file {bad[0]!r} outside its folder")
    return head


def _unpacked(file: Path, digest: str) -> dict[str, NDArray[Any]]:
    if not file.is_file():
        raise StoreError(f"{file}: missing")
    with store_errors(file):
        content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise StoreError(f"{file}: damaged, its checksum does not match")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    except (BadZipFile, ValueError, EOFError) as error:
        raise StoreError(f"{file}: damaged, {error}") from error
