"""Who is champion, whatever happens at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("mlflow")

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST

from forecastkit.errors import ConfigError, StoreError
from forecastkit.tracking import registry as module
from forecastkit.tracking.place import Place
from forecastkit.tracking.registry import Registry


@pytest.fixture
def registry(home: Path) -> Registry:
    """Three versions of `demo`, none of them champion."""
    found = Registry(Place.at(home=home))
    experiment = found.place.experiment("demo")
    for k in range(3):
        run = found.place.client.create_run(experiment).info
        assert found.register("demo", f"{run.artifact_uri}/model", run.run_id, {"k": k}) == k + 1
    return found


def test_a_new_version_is_challenger(registry: Registry) -> None:
    assert registry.aliases("demo") == {"challenger": 3}
    assert registry.version("demo", "challenger").tags["k"] == "2"
    assert [version.number for version in registry.versions("demo")] == [3, 2, 1]


def test_promotion_remembers_the_former_champion(registry: Registry) -> None:
    registry.promote("demo", 1, instead_of=None)
    registry.promote("demo", 3, instead_of=1)
    assert registry.aliases("demo") == {"champion": 3, "previous": 1}


def test_rollback_goes_back_step_by_step(registry: Registry) -> None:
    for number, former in ((1, None), (2, 1), (3, 2)):
        registry.promote("demo", number, instead_of=former)
    assert registry.rollback("demo") == (3, 2)
    assert registry.aliases("demo") == {"champion": 2, "previous": 1}
    assert registry.rollback("demo") == (2, 1)
    assert registry.aliases("demo") == {"champion": 1}
    with pytest.raises(ConfigError, match="nothing to roll back to"):
        registry.rollback("demo")


def test_rollback_goes_as_far_back_as_there_are_versions(registry: Registry) -> None:
    for number, former in ((1, None), (2, 1), (3, 2)):
        registry.promote("demo", number, instead_of=former)
    registry.delete("demo", 1)
    assert registry.rollback("demo") == (3, 2)
    assert registry.aliases("demo") == {"champion": 2}
    with pytest.raises(ConfigError, match="nothing to roll back to"):
        registry.rollback("demo")


def test_of_two_promotions_at_once_one_is_told_that_the_champion_changed(registry: Registry) -> None:
    registry.promote("demo", 1, instead_of=None)

    def promote(number: int) -> str:
        try:
            Registry(Place(registry.place.uri, registry.place.folder)).promote("demo", number, instead_of=1)
        except StoreError as error:
            return str(error)
        return "promoted"

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(promote, (2, 3)))
    winner, loser = (2, 3) if answers[0] == "promoted" else (3, 2)
    assert answers[loser - 2].startswith(f"demo: version {winner} became champion meanwhile")
    assert registry.aliases("demo")["champion"] == winner
    assert registry.aliases("demo")["previous"] == 1


def crashing(registry: Registry) -> Callable[[str, str, str], None]:
    """How aliases are set by a process that is killed before it names the champion."""
    real = registry.place.client.set_registered_model_alias

    def crash(name: str, alias: str, version: str) -> None:
        if alias == "champion":
            raise KeyboardInterrupt
        real(name, alias, version)

    return crash


def test_a_crash_between_the_two_aliases_leaves_the_old_champion(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.promote("demo", 1, instead_of=None)
    with monkeypatch.context() as patch:
        patch.setattr(registry.place.client, "set_registered_model_alias", crashing(registry))
        with pytest.raises(KeyboardInterrupt):
            registry.promote("demo", 3, instead_of=1)
    assert registry.aliases("demo") == {"champion": 1, "previous": 1, "challenger": 3}
    with pytest.raises(ConfigError, match="nothing to roll back to"):
        registry.rollback("demo")
    registry.promote("demo", 3, instead_of=1)
    assert registry.aliases("demo") == {"champion": 3, "previous": 1}


def test_the_lock_of_a_process_that_died_is_broken(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.place.client.create_registered_model("demo" + module._LOCK)
    monkeypatch.setattr(module, "_STALE_S", 0.3)
    begun = time.monotonic()
    registry.promote("demo", 1, instead_of=None)
    assert time.monotonic() - begun >= 0.3  # however old the lock is by the clock of another machine
    assert registry.names() == ["demo"]


def test_a_version_that_comes_while_another_is_promoted_stays_challenger(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Registry(Place(registry.place.uri, registry.place.folder))
    run = registry.place.client.create_run(registry.place.experiment("demo")).info
    real, pool = registry.place.client.set_registered_model_alias, ThreadPoolExecutor(1)
    later = []

    def meanwhile(name: str, alias: str, version: str) -> None:
        if alias == "champion":
            later.append(pool.submit(other.register, "demo", f"{run.artifact_uri}/model", run.run_id, {}))
            time.sleep(0.5)  # it waits
        real(name, alias, version)

    monkeypatch.setattr(registry.place.client, "set_registered_model_alias", meanwhile)
    registry.promote("demo", 3, instead_of=None)
    assert later[0].result() == 4
    assert registry.aliases("demo") == {"champion": 3, "challenger": 4}


def test_after_a_crash_the_champion_before_the_present_one_is_not_lost(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.promote("demo", 1, instead_of=None)
    registry.promote("demo", 2, instead_of=1)
    with monkeypatch.context() as patch:
        patch.setattr(registry.place.client, "set_registered_model_alias", crashing(registry))
        with pytest.raises(KeyboardInterrupt):
            registry.promote("demo", 3, instead_of=2)
    assert registry.aliases("demo") == {"champion": 2, "previous": 2, "challenger": 3}
    assert registry.rollback("demo") == (2, 1)
    assert registry.aliases("demo") == {"champion": 1, "challenger": 3}


def test_a_name_may_have_an_apostrophe(registry: Registry) -> None:
    run = registry.place.client.create_run(registry.place.experiment("demo")).info
    registry.register("o'brien", f"{run.artifact_uri}/model", run.run_id, {})
    registry.promote("o'brien", 1, instead_of=None)
    assert [version.aliases for version in registry.versions("o'brien")] == [("champion",)]
    registry.delete("o'brien")


def test_a_lock_that_goes_while_the_store_looks_it_up_is_waited_for(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = registry.place.client.create_registered_model, []

    def gone_meanwhile(name: str, **rest: object) -> object:
        calls.append(name)
        if len(calls) == 1:
            raise MlflowException("not found", RESOURCE_DOES_NOT_EXIST)
        return real(name, **rest)

    monkeypatch.setattr(registry.place.client, "create_registered_model", gone_meanwhile)
    registry.promote("demo", 1, instead_of=None)
    assert registry.aliases("demo")["champion"] == 1
    assert len(calls) == 2


def lost(*_: object, **__: object) -> None:
    raise MlflowException("the server is lost", INTERNAL_ERROR)


def test_a_server_that_is_lost_while_one_locks_is_an_error_of_the_store(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(registry.place.client, "create_registered_model", lost)
        with pytest.raises(StoreError, match="the server is lost"):
            registry.promote("demo", 1, instead_of=None)
    assert registry.aliases("demo") == {"challenger": 3}


def test_a_server_that_is_lost_while_one_unlocks_undoes_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(registry.place.client, "delete_registered_model", lost)
        registry.promote("demo", 1, instead_of=None)
    assert registry.aliases("demo")["champion"] == 1
    assert "left for others to break in a minute: tracking at" in caplog.text


def test_a_lock_that_somebody_else_took_over_is_left_to_them(registry: Registry) -> None:
    client, lock = registry.place.client, "demo" + module._LOCK
    with registry._alone("demo"):
        client.delete_registered_model(lock)  # broken as stale, and taken
        client.create_registered_model(lock, tags={module._OWNER: "somebody else"})
    assert client.get_registered_model(lock).tags[module._OWNER] == "somebody else"
    client.delete_registered_model(lock)
    with registry._alone("demo"):
        client.delete_registered_model(lock)  # gone already
    assert registry.names() == ["demo"]


def test_the_champion_is_not_deleted_alone(registry: Registry) -> None:
    registry.promote("demo", 1, instead_of=None)
    with pytest.raises(ConfigError, match="is champion"):
        registry.delete("demo", 1)
    registry.delete("demo", 3)
    assert [version.number for version in registry.versions("demo")] == [2, 1]
    registry.delete("demo")
    assert registry.names() == []


def test_an_unknown_name_or_version_is_an_error_with_the_closest(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="did you mean 'demo'"):
        registry.versions("dmo")
    with pytest.raises(ConfigError, match="no version 'champion'"):
        registry.version("demo", "champion")


def test_a_missing_alias_is_told_with_those_that_are_there(registry: Registry) -> None:
    registry.promote("demo", 3, instead_of=None)
    with pytest.raises(ConfigError, match="no version 'challenger'; champion is version 3: "):
        registry.version("demo", "challenger")
