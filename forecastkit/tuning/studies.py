"""A search as an Optuna study: a list of trials that several processes work off, and that survives all of them.

The trials stand in the storage from the beginning, waiting, each with the number of its slot; a process takes the next
that waits. What a process left unfinished (killed, interrupted) is put back with the same parameters, so that every
slot is done once, by whomever.
"""

from __future__ import annotations

import json
import os
import platform
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from forecastkit.errors import ConfigError, StoreError
from forecastkit.store import lock, store_errors

SLOT, WORKER = "slot", "worker"
_BEAT_S = 30  # between signs of life in a database; a process that gives none for four of them is lost
_LOST_S = 4 * _BEAT_S
_POLL_S = 0.2
_TRIES = 5  # at opening a database, in which another process may be making the tables
_CHANCE = 0.15  # that a trial which is no worse is given up: three windows out of three worse than the best's


class _Surplus(Exception):
    """A trial that nobody planned, as two processes asked for the last one, or of a slot that stands there twice."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Heartbeats and the Wilcoxon test are marked experimental; that is known here."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def storage(place: str) -> BaseStorage:
    """A database where `place` is a URL, else a journal in that file."""
    with _quiet():
        if "://" in place:
            return _database(place, _TRIES)
        with store_errors(place):
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(place))


def _database(url: str, tries: int) -> BaseStorage:
    try:
        return RDBStorage(
            url,
            engine_kwargs={"poolclass": NullPool},  # no connection is kept open between two questions
            heartbeat_interval=_BEAT_S,
            grace_period=_LOST_S,
            heartbeat_stale_trial_callback=_again,
        )
    except ImportError as error:
        raise ConfigError(f"the database of the search needs a driver: {error}") from error
    except (RuntimeError, SQLAlchemyError, StorageInternalError) as error:
        if tries > 1:
            time.sleep(_POLL_S)
            return _database(url, tries - 1)
        if not isinstance(error, RuntimeError):
            raise StoreError(f"the database of the search can't be used: {error}") from error
        # MLflow and Optuna both note the version of their tables in one called alembic_version.
        raise StoreError(
            "the database of the search is of another version of Optuna, or MLflow's: give it one of its own"
        ) from error


@contextmanager
def _answering() -> Iterator[None]:
    """Turn what goes wrong with the storage into `StoreError`, without its URL, as that may hold a password."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"the file of the search can't be read or written: {error.strerror or error}") from error
    except (SQLAlchemyError, StorageInternalError) as error:
        raise StoreError(f"the database of the search failed: {str(error).partition(chr(10))[0]}") from error


@_answering()
def begin(place: str, name: str, task: Mapping[str, Any], *, resume: bool) -> Study:
    """A new study of that name, or the one that stands there; `ConfigError` when that is another search."""
    found = storage(place)
    there = any(study.study_name == name for study in found.get_all_studies())
    if there and not resume:
        raise ConfigError(f"{place} holds the search {name!r} already: --resume goes on with it")
    with _quiet():
        study = optuna.create_study(storage=found, study_name=name, load_if_exists=True)
    plain = json.loads(json.dumps(dict(task)))
    before = study.user_attrs.get("task", plain)  # none where it is begun elsewhere at this moment
    if there and (different := [k for k in plain if before.get(k) != plain[k]]):
        raise ConfigError(f"the search {name!r} in {place} is another one ({', '.join(different)} differ)")
    study.set_user_attr("task", plain)
    study.set_user_attr("optuna", optuna.__version__)
    return study


@_answering()
def delete(place: str, name: str) -> None:
    """Forget a study, if it is there."""
    if "://" in place or Path(place).exists():
        found = storage(place)
        for study in found.get_all_studies():
            if study.study_name == name:
                found.delete_study(study._study_id)


@contextmanager
def kept(file: str, name: str, *, anew: bool) -> Iterator[None]:
    """Nobody forgets the study in that file while the block lasts; one that begins `anew` forgets an old one first.

    Processes that go on with one study share its lock. Raises `StoreError` where somebody works on it, or begins.
    """
    with store_errors(file):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(f"{file}.at-work", os.O_CREAT | os.O_RDWR)
    try:
        if anew and lock(handle):
            delete(file, name)
        elif anew:
            raise _at_work(file)
        if not lock(handle, shared=True):
            raise _at_work(file)
        yield
    finally:
        os.close(handle)


def _at_work(file: str) -> StoreError:
    return StoreError(
        f"{file}: another process is searching here: wait for it, or help it by the same command with --resume"
    )


def reopened(place: str, name: str, *, seed: int) -> Study:
    """The study as one process works on it, with draws of its own."""
    with _quiet():
        try:
            return optuna.load_study(
                storage=storage(place),
                study_name=name,
                sampler=optuna.samplers.TPESampler(seed=seed),
                pruner=optuna.pruners.WilcoxonPruner(p_threshold=_CHANCE, n_startup_steps=2),
            )
        except KeyError as error:
            raise StoreError(f"{place}: no search {name!r} here") from error


def seed_of(seed: int, *parts: int) -> int:
    """A seed for each process and beginning, so that none draws what another has drawn."""
    return int(np.random.SeedSequence((seed, *parts)).generate_state(1)[0])


def place_of(storage: str) -> tuple[int, ...]:
    """What tells the draws of machines apart that share a database; nothing of a file, whose search repeats exactly."""
    return (zlib.crc32(platform.node().encode()),) if "://" in storage else ()


@_answering()
def taken(study: Study) -> int:
    """How many trials are begun or done."""
    return sum(t.state != TrialState.WAITING for t in study.get_trials(deepcopy=False))


@_answering()
def fill(study: Study, slots: int, first: Mapping[str, Any]) -> int:
    """Put every slot on the list that is not done and that nobody works on: new ones, lost ones, failed ones.

    Returns how many slots the list has, which is more where it once was filled with more.
    """
    _requeue_lost(study)
    trials = study.get_trials(deepcopy=False)
    busy = {t.user_attrs.get(SLOT) for t in trials if t.state != TrialState.FAIL}
    failed = {t.user_attrs[SLOT]: t for t in trials if SLOT in t.user_attrs and t.state == TrialState.FAIL}
    for slot in (slot for slot in range(slots) if slot not in busy):
        params = dict(first) if slot == 0 else _params(failed[slot]) if slot in failed else {}
        study.enqueue_trial(params, user_attrs={SLOT: slot})
    return max(slots, 1 + max((slot for slot in busy if slot is not None), default=0))


def work(
    study: Study, objective: Callable[[optuna.Trial], float], until: float, tick: Callable[[], None] | None = None
) -> None:
    """Take one trial after another until every slot is done, or time is up; wait for what others may yet lose."""
    while time.time() < until:
        if tick is not None:
            tick()
        with _answering():
            _requeue_lost(study)
            states = {t.state for t in study.get_trials(deepcopy=False)}
            if TrialState.RUNNING in states and TrialState.WAITING not in states:
                time.sleep(_POLL_S)
                _fail_stale(study)
            done = not states & {TrialState.WAITING, TrialState.RUNNING} and not _requeue_forgotten(study)
        if done:
            return
        if TrialState.WAITING in states:
            _take(study, objective)


def _take(study: Study, objective: Callable[[optuna.Trial], float]) -> None:
    """One trial; where this process seemed lost meanwhile, as a laptop that slept does, others have it again."""
    ours: list[BaseException | None] = []  # what came of the trial that was taken: nothing, or what was raised

    def tried(trial: optuna.Trial) -> float:
        ours.append(None)
        try:
            return objective(_planned(trial))
        except BaseException as error:
            ours[0] = error
            raise

    with _quiet(), suppress(_Surplus):
        try:
            with _answering():
                study.optimize(tried, n_trials=1, catch=(_Surplus,))
        except (Exception, KeyboardInterrupt) as error:
            if ours and ours[0] is not None and not isinstance(ours[0], UpdateFinishedTrialError):
                raise ours[0] from None
            # Optuna refuses to end what others have ended.
            if not ours or not isinstance(error, (ValueError, AssertionError, UpdateFinishedTrialError)):
                raise


def _planned(trial: optuna.Trial) -> optuna.Trial:
    """The trial with the name of this process on it, if it is the first of its slot."""
    trial.set_user_attr(WORKER, _me())
    slot = trial.user_attrs.get(SLOT)
    others = (t for t in trial.study.get_trials(deepcopy=False) if t.number < trial.number)
    if slot is None or any(t.user_attrs.get(SLOT) == slot and t.state != TrialState.FAIL for t in others):
        raise _Surplus  # two processes that began at once have put the same slot on the list
    return trial


def _me() -> list[Any]:
    return [platform.node(), os.getpid()]


def _requeue_lost(study: Study) -> None:
    """Put back what a process of this machine was at when it ended, or what one took and never put its name on."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        node, pid = trial.user_attrs.get(WORKER, (None, 0))
        if (node == platform.node() and not _alive(pid)) or (node is None and _age_s(trial) > _LOST_S):
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, UpdateFinishedTrialError):
                continue  # another process was quicker
            _again(study, trial)


def _age_s(trial: FrozenTrial) -> float:
    begun = trial.datetime_start
    return 0.0 if begun is None else (datetime.now(begun.tzinfo) - begun).total_seconds()


def _requeue_forgotten(study: Study) -> bool:
    """Put back slots whose trials have all failed: who found them lost was lost before putting them back."""
    trials = study.get_trials(deepcopy=False)
    known = {t.user_attrs[SLOT]: t for t in trials if SLOT in t.user_attrs}
    done = {t.user_attrs.get(SLOT) for t in trials if t.state != TrialState.FAIL}
    forgotten = [trial for slot, trial in known.items() if slot not in done]
    for trial in forgotten:
        _again(study, trial)
    return bool(forgotten)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _zombie(pid)


def _zombie(pid: int) -> bool:
    """Dead, but not yet fetched by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def _fail_stale(study: Study) -> None:
    """Put back what a process of another machine was at that gives no more signs of life (databases only)."""
    with _quiet():
        optuna.storages.fail_stale_trials(study)


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial was to try, also where it was lost before it asked for all of that."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def _again(study: Study, trial: FrozenTrial) -> None:
    if SLOT not in trial.user_attrs:  # nobody planned it
        return
    study.enqueue_trial(_params(trial), user_attrs={SLOT: trial.user_attrs[SLOT]})


def finished(study: Study) -> list[FrozenTrial]:
    """The trials that are done, in the order of their slots."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted((t for t in done if SLOT in t.user_attrs), key=lambda t: t.user_attrs[SLOT])


def feasible(trial: FrozenTrial) -> bool:
    """Does it keep the budget?"""
    return all(excess <= 0 for excess in trial.constraints.values())
