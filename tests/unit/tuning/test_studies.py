"""A study outlives the processes that work on it."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from forecastkit import execution
from forecastkit.errors import ConfigError, StoreError
from forecastkit.tuning import studies


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "study.log")


def begun(place: str, slots: int, **task: object) -> optuna.Study:
    study = studies.begin(place, "s", task, resume=False)
    studies.fill(study, slots, {"x": 2.0})
    return study


def square(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0.0, 4.0) ** 2


def slots_done(study: optuna.Study) -> list[int]:
    return [trial.user_attrs[studies.SLOT] for trial in studies.finished(study)]


def test_every_slot_is_done_once_and_the_first_with_the_given_parameters(place: str) -> None:
    begun(place, 5)
    study = studies.reopened(place, "s", seed=0)
    studies.work(study, square, time.time() + 60)
    assert slots_done(study) == [0, 1, 2, 3, 4]
    assert studies.finished(study)[0].params == {"x": 2.0}


def test_two_searches_with_one_seed_try_the_same(tmp_path: Path) -> None:
    tried = []
    for name in "ab":
        begun(str(tmp_path / name), 14)
        study = studies.reopened(str(tmp_path / name), "s", seed=3)
        studies.work(study, square, time.time() + 60)
        tried.append([trial.params for trial in studies.finished(study)])
    assert tried[0] == tried[1]
    assert len({str(params) for params in tried[0]}) == 14


def test_a_search_of_another_task_is_not_gone_on_with(place: str) -> None:
    begun(place, 2, by="wape")
    with pytest.raises(ConfigError, match="--resume goes on"):
        studies.begin(place, "s", {"by": "wape"}, resume=False)
    with pytest.raises(ConfigError, match=r"another one \(by differ\)"):
        studies.begin(place, "s", {"by": "mase"}, resume=True)
    assert studies.begin(place, "s", {"by": "wape"}, resume=True).study_name == "s"


def test_a_deleted_search_is_gone(place: str) -> None:
    begun(place, 1)
    studies.delete(place, "s")
    with pytest.raises(StoreError, match="no search 's'"):
        studies.reopened(place, "s", seed=0)


def test_a_search_is_forgotten_only_while_nobody_works_on_it(place: str) -> None:
    begun(place, 1)
    with studies.kept(place, "s", anew=False), studies.kept(place, "s", anew=False):
        with pytest.raises(StoreError, match="--resume"), studies.kept(place, "s", anew=True):
            pass
        assert studies.reopened(place, "s", seed=0).study_name == "s"
    with studies.kept(place, "s", anew=True), pytest.raises(StoreError, match="no search 's'"):
        studies.reopened(place, "s", seed=0)


def test_an_interrupted_trial_is_done_again_with_its_parameters(place: str) -> None:
    begun(place, 3)
    study = studies.reopened(place, "s", seed=0)
    seen = []

    def interrupted(trial: optuna.Trial) -> float:
        seen.append(square(trial))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return seen[-1]

    with pytest.raises(KeyboardInterrupt):
        studies.work(study, interrupted, time.time() + 60)
    studies.fill(study, 4, {})
    studies.work(study, square, time.time() + 60)
    assert slots_done(study) == [0, 1, 2, 3]
    assert studies.finished(study)[1].value == seen[1]


@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_a_trial_that_is_lost_before_it_asks_anything_is_done_again_with_the_defaults(place: str, how: str) -> None:
    begun(place, 2)
    study = studies.reopened(place, "s", seed=0)

    def interrupted(trial: optuna.Trial) -> float:
        raise KeyboardInterrupt

    if how == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            studies.work(study, interrupted, time.time() + 60)
        studies.fill(study, 2, {"x": 2.0})
    else:
        process = multiprocessing.get_context("spawn").Process(target=os.getpid)
        process.start()
        process.join()
        study.ask().set_user_attr(studies.WORKER, [platform.node(), process.pid])
    studies.work(study, square, time.time() + 60)
    assert slots_done(study) == [0, 1]
    assert studies.finished(study)[0].params == {"x": 2.0}


def test_a_slot_that_two_beginnings_have_put_on_the_list_is_done_once(place: str) -> None:
    study = begun(place, 3)
    for slot in range(4):  # as another process would that read the list before it was filled
        study.enqueue_trial({}, user_attrs={studies.SLOT: slot})
    studies.work(studies.reopened(place, "s", seed=0), square, time.time() + 60)
    assert slots_done(study) == [0, 1, 2, 3]
    assert studies.finished(study)[0].params == {"x": 2.0}


def test_a_trial_that_was_taken_and_never_named_is_done_again(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = begun(place, 2)
    studies.reopened(place, "s", seed=0).ask()  # killed here
    studies.work(study, square, time.time() + 1)
    assert slots_done(study) == [1]
    monkeypatch.setattr(studies, "_LOST_S", 0.5)
    studies.work(study, square, time.time() + 60)
    assert slots_done(study) == [0, 1]
    assert studies.finished(study)[0].params == {"x": 2.0}


def test_a_lost_trial_that_nobody_put_back_is_done_again(place: str) -> None:
    study = begun(place, 2)
    study.tell(study.ask().number, state=TrialState.FAIL)  # killed before it put the trial back
    studies.work(study, square, time.time() + 60)
    assert slots_done(study) == [0, 1]


def test_a_process_that_seemed_lost_goes_on_with_another_trial(place: str) -> None:
    study = begun(place, 2)
    seen = []

    def asleep(trial: optuna.Trial) -> float:
        seen.append(trial.user_attrs[studies.SLOT])
        if len(seen) == 1:
            others = studies.reopened(place, "s", seed=1)
            others.tell(trial.number, state=TrialState.FAIL)
            studies._again(others, others.trials[trial.number])
        return square(trial) if len(seen) > 2 else 1.0

    studies.work(study, asleep, time.time() + 60)
    assert slots_done(study) == [0, 1]
    assert sorted(seen) == [0, 0, 1]


def test_an_error_of_the_objective_is_not_taken_for_one_of_the_list(place: str) -> None:
    def broken(trial: optuna.Trial) -> float:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        studies.work(begun(place, 2), broken, time.time() + 60)


def test_ctrl_c_ends_the_work_on_a_trial_that_others_have_ended_too(place: str) -> None:
    study = begun(place, 2)

    def interrupted(trial: optuna.Trial) -> float:
        studies.reopened(place, "s", seed=1).tell(trial.number, state=TrialState.FAIL)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        studies.work(study, interrupted, time.time() + 60)


def test_a_full_disk_is_no_error_of_the_model_and_the_other_way_round(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(trial: optuna.Trial) -> float:
        raise OSError(2, "libgomp.so.1")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    study = begun(place, 2)
    with pytest.raises(OSError, match="libgomp") as found:
        studies.work(study, broken, time.time() + 60)
    assert not isinstance(found.value, StoreError)
    monkeypatch.setattr(optuna.storages.journal.JournalFileBackend, "append_logs", full)
    with pytest.raises(StoreError, match="No space left"):
        studies.work(study, square, time.time() + 60)
    with pytest.raises(StoreError, match="No space left"):
        studies.fill(study, 5, {})


def test_what_goes_wrong_before_a_trial_is_taken_is_not_swallowed(place: str) -> None:
    study = begun(place, 2)

    class Broken(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            raise ValueError("no such sampler")

    study.sampler = Broken()
    with pytest.raises(ValueError, match="no such sampler"):
        studies.work(study, square, time.time() + 60)


def test_a_search_that_is_begun_elsewhere_at_this_moment_is_joined(place: str) -> None:
    optuna.create_study(storage=studies.storage(place), study_name="s")
    assert studies.begin(place, "s", {"by": "wape"}, resume=True).user_attrs["task"] == {"by": "wape"}


def test_who_comes_later_draws_otherwise(place: str) -> None:
    study = begun(place, 3)
    before = studies.taken(study)
    studies.work(study, square, time.time() + 60)
    assert (before, studies.taken(study)) == (0, 3)
    assert studies.place_of(place) == ()
    assert studies.place_of("postgresql://kit@db/searches") != ()


def _open(barrier, url: str) -> None:
    barrier.wait()
    studies.storage(url)


@pytest.mark.slow
def test_several_processes_may_be_the_first_in_a_database(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, url = context.Barrier(3), f"sqlite:///{tmp_path / 'new.db'}"
    members = [context.Process(target=_open, args=(barrier, url)) for _ in range(3)]
    for member in members:
        member.start()
    for member in members:
        member.join()
    assert [member.exitcode for member in members] == [0, 0, 0]


def test_time_that_is_up_leaves_the_rest_waiting(place: str) -> None:
    study = begun(place, 2)
    studies.work(study, square, time.time() - 1)
    assert [t.state for t in study.get_trials()] == [TrialState.WAITING] * 2


def slowly(trial: optuna.Trial) -> float:
    time.sleep(0.2)
    return square(trial)


def killed(trial: optuna.Trial) -> float:
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def member(place: str, number: int) -> None:
    """The first is killed at its first trial, and the others begin when it is at work, however slowly it started."""
    study = studies.reopened(place, "s", seed=number)
    until = time.time() + 60
    while number and not study.get_trials(states=(TrialState.RUNNING,)) and time.time() < until:
        time.sleep(0.02)
    studies.work(study, slowly if number else killed, until)


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_no_trial_and_none_is_done_twice(place: str) -> None:
    study = begun(place, 12)
    codes = execution.crew(partial(member, place), 3)
    assert sorted(codes) == [-signal.SIGKILL, 0, 0]
    assert Counter(slots_done(study)) == Counter(range(12))
    states = Counter(t.state for t in study.get_trials())
    assert states[TrialState.FAIL] >= 1
    assert states[TrialState.RUNNING] == states[TrialState.WAITING] == 0


def test_a_process_is_alive_until_it_ends() -> None:
    process = multiprocessing.get_context("spawn").Process(target=os.getpid)
    process.start()
    pid = process.pid
    assert pid is not None
    while studies._alive(pid):
        time.sleep(0.01)
    assert process.is_alive() is False
