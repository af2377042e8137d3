"""What a command found, written to disk before it is sent to the tracking server; nothing here needs MLflow.

A record is a folder with reports of backtests, perhaps a saved model, and `tracking.json`, which says what to send.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from forecastkit import recipes
from forecastkit.data.io import write_atomic
from forecastkit.errors import ConfigError, StoreError
from forecastkit.evaluation.conformal import Conformal
from forecastkit.store import store_errors

_FILE = "tracking.json"


@dataclass(frozen=True)
class Entry:
    """One run: the model `label` of the report in `report` (a folder inside the record).

    params: the recipe's · metrics: beside those of the report · series: a metric by step, such as the trials' scores ·
    files: inside the record.
    """

    label: str
    params: Mapping[str, Any]
    report: str = "."
    name: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, list[float]] = field(default_factory=dict)
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Challenger:
    """A saved model of the record that becomes a version of `name`."""

    name: str
    folder: str
    horizon: int
    tags: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """What is to be sent: a parent run of `kind` with one run below it for each entry.

    conformal: how intervals of its reports are made where they aren't those of `Report.read`.
    """

    experiment: str
    kind: str
    entries: tuple[Entry, ...]
    tags: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    challenger: Challenger | None = None
    conformal: Conformal | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def write(self, folder: Path) -> None:
        content = json.dumps(asdict(self), indent=1).encode()
        write_atomic(folder / _FILE, lambda out: out.write(content))

    @classmethod
    def there(cls, folder: Path) -> Record | None:
        """The record in `folder`, if there is one."""
        return cls.read(folder) if (folder / _FILE).is_file() else None

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Raises `StoreError` where there is none or it is damaged."""
        if not (folder / _FILE).is_file():
            raise StoreError(f"{folder}: no results to send here ({_FILE} is missing)")
        try:
            with store_errors(folder):
                content = json.loads((folder / _FILE).read_text("utf-8"))
            entries = tuple(Entry(**e | {"files": tuple(e["files"])}) for e in content["entries"])
            challenger = Challenger(**content["challenger"]) if content["challenger"] else None
            files = tuple(content["files"])
            how = content.get("conformal")
            conformal = None if how is None else recipes.build(Conformal, how)
            own = {"entries": entries, "challenger": challenger, "files": files, "conformal": conformal}
            return cls(**content | own)
        except (json.JSONDecodeError, KeyError, TypeError, ConfigError) as error:
            raise StoreError(f"{folder / _FILE}: damaged ({error})") from error


@dataclass(frozen=True)
class Sent:
    """Where a record stands now."""

    run: str
    version: int | None = None


def params_of(recipe: Any) -> dict[str, Any]:
    """A recipe's options by their dotted names."""
    found: dict[str, Any] = {}
    for f in fields(recipe):
        value = getattr(recipe, f.name)
        found |= {f"{f.name}.{k}": v for k, v in params_of(value).items()} if is_dataclass(value) else {f.name: value}
    return found
