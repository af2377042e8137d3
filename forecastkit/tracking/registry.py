"""Versions of a model under one name, and which of them is champion.

Aliases say it: `challenger` waits to be judged, `champion` serves, `previous` is what it replaced. Each champion
remembers in a tag whom it replaced, so that rollback can go on step by step. Changes of aliases are made by one process
at a time, whatever the store: a registered model that only one can create is the lock.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode

from forecastkit.errors import ConfigError, StoreError, closest
from forecastkit.tracking.place import Place, answering

logger = logging.getLogger(__name__)

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
_REPLACED = "forecastkit.replaced"
_LOCK = "--being-changed"
_OWNER = "forecastkit.owner"
_STALE_S = 60  # of one holder, after which that is a process which died: the work under a lock takes a second
_WAIT_S = 0.1


@dataclass(frozen=True)
class Version:
    """One version of a registered model; `source` is what MLflow loads."""

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    source: str
    created_ms: int


@dataclass(frozen=True)
class Registry:
    """The registered models of a place."""

    place: Place

    def names(self) -> list[str]:
        with answering(self.place.uri):
            found = self.place.client.search_registered_models(max_results=1000)
            return sorted(str(model.name) for model in found if not str(model.name).endswith(_LOCK))

    def versions(self, name: str) -> list[Version]:
        """Every version, the newest first; `ConfigError` with the closest name where there is no such model."""
        aliases = self.aliases(name)
        with answering(self.place.uri):
            quote = '"' if "'" in name else "'"
            found = self.place.client.search_model_versions(f"name = {quote}{name}{quote}", max_results=1000)
        held = {int(v.version): tuple(a for a, number in aliases.items() if number == int(v.version)) for v in found}
        rows = [
            Version(name, int(v.version), held[int(v.version)], dict(v.tags), str(v.source), int(v.creation_timestamp))
            for v in found
        ]
        return sorted(rows, key=lambda v: -v.number)

    def version(self, name: str, which: str) -> Version:
        """The version of an alias, or of a number as text."""
        for found in self.versions(name):
            if which in found.aliases or which == str(found.number):
                return found
        held = ", ".join(f"{alias} is version {number}" for alias, number in sorted(self.aliases(name).items()))
        raise ConfigError(
            f"{name!r} has no version {which!r}{f'; {held}' if held else ''}: "
            f"`forecastkit registry show --name {name}` lists all, and a new version is challenger"
        )

    def aliases(self, name: str) -> dict[str, int]:
        with answering(self.place.uri):
            try:
                model = self.place.client.get_registered_model(name)
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                    raise
                names = self.names()
                raise ConfigError(
                    f"no registered model {name!r}{closest(name, names) or '.'} There are: {', '.join(names) or 'none'}"
                ) from error
            return {str(alias): int(number) for alias, number in model.aliases.items()}

    def register(self, name: str, source: str, run: str, tags: Mapping[str, Any]) -> int:
        """A new version, which is challenger from now on."""
        client = self.place.client
        with answering(self.place.uri):
            _created(lambda: client.create_registered_model(name))
            plain = {k: str(v) for k, v in tags.items()}
            what = plain.get("forecastkit.model")
            version = client.create_model_version(name, source, run, tags=plain, description=what)
            with self._alone(name):
                client.set_registered_model_alias(name, CHALLENGER, version.version)
            return int(version.version)

    def tag(self, name: str, number: int, tags: Mapping[str, Any]) -> None:
        with answering(self.place.uri):
            for key, value in tags.items():
                self.place.client.set_model_version_tag(name, str(number), key, str(value))

    def promote(self, name: str, number: int, *, instead_of: int | None) -> None:
        """Make a version champion. `StoreError` when `instead_of` is champion no more: another one was quicker.

        `previous` is written first: a crash between the two leaves the old champion, which is also its own previous.
        """
        client = self.place.client
        with self._alone(name), answering(self.place.uri):
            aliases = self.aliases(name)
            champion = aliases.get(CHAMPION)
            if champion != instead_of:
                raise StoreError(
                    f"{name}: version {champion} became champion meanwhile, against which version {number} was not "
                    "judged: promote again"
                )
            if champion is not None:
                client.set_registered_model_alias(name, PREVIOUS, str(champion))
                client.set_model_version_tag(name, str(number), _REPLACED, str(champion))
            client.set_registered_model_alias(name, CHAMPION, str(number))
            if aliases.get(CHALLENGER) == number:
                client.delete_registered_model_alias(name, CHALLENGER)

    def rollback(self, name: str) -> tuple[int, int]:
        """Make the champion's predecessor champion again; both numbers, the former and the present champion's."""
        client = self.place.client
        with self._alone(name), answering(self.place.uri):
            aliases = self.aliases(name)
            champion, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
            held = {version.number: version for version in self.versions(name)}
            if champion is not None and previous == champion:  # a change broke off between the two aliases
                previous = int(held[champion].tags.get(_REPLACED, 0))
            if champion is None or previous not in held:
                raise ConfigError(f"{name!r} has nothing to roll back to")
            before = int(held[previous].tags.get(_REPLACED, 0))
            client.set_registered_model_alias(name, CHAMPION, str(previous))
            if before in held:
                client.set_registered_model_alias(name, PREVIOUS, str(before))
            else:  # it was the first, or the one before it is deleted
                client.delete_registered_model_alias(name, PREVIOUS)
            return champion, previous

    def delete(self, name: str, number: int | None = None) -> None:
        """Forget a version, or the model with all of them; a champion only with its model."""
        with self._alone(name), answering(self.place.uri):
            if number is None:
                self.place.client.delete_registered_model(name)
                return
            found = self.version(name, str(number))
            if CHAMPION in found.aliases:
                raise ConfigError(
                    f"version {number} of {name!r} is champion: promote or roll back to another one first"
                )
            for alias in found.aliases:
                self.place.client.delete_registered_model_alias(name, alias)
            self.place.client.delete_model_version(name, str(number))

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Nobody else changes the aliases of `name` in the block, on any machine."""
        self.aliases(name)  # an unknown name is an error before anything is locked
        client, lock, own = self.place.client, name + _LOCK, uuid.uuid4().hex
        seen: tuple[str | None, float] = ("", 0.0)  # who holds it, and since when that is known
        with answering(self.place.uri):
            while not _created(lambda: client.create_registered_model(lock, tags={_OWNER: own})):
                holder, now = self._held(lock).get(_OWNER), time.monotonic()
                seen = seen if seen[0] == holder else (holder, now)
                if now - seen[1] > _STALE_S:
                    _there(lambda: client.delete_registered_model(lock))
                time.sleep(_WAIT_S)
        try:
            yield
        finally:
            self._release(lock, own)

    def _release(self, lock: str, own: str) -> None:
        """Take away one's own lock, not one that somebody made after breaking it as stale."""
        try:
            with answering(self.place.uri):
                if self._held(lock).get(_OWNER) == own:
                    _there(lambda: self.place.client.delete_registered_model(lock))
        except StoreError as error:  # what was done under it is done
            logger.warning("the lock %r is left for others to break in a minute: %s", lock, error)

    def _held(self, lock: str) -> dict[str, str]:
        """The tags of a lock; none where it is gone."""
        found: list[Any] = []
        _there(lambda: found.append(self.place.client.get_registered_model(lock)))
        return {str(k): str(v) for k, v in found[0].tags.items()} if found else {}


def _there(use: Callable[[], Any]) -> None:
    """Do something with what may be gone meanwhile."""
    try:
        use()
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise


def _created(create: Any) -> bool:
    """False where it was there already."""
    try:
        create()
    except MlflowException as error:
        # A store that finds the name taken looks it up to say so; gone by then, it was there a moment ago.
        if error.error_code not in map(ErrorCode.Name, (RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST)):
            raise
        return False
    return True
