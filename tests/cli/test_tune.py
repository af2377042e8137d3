"""forecastkit tune, as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forecastkit.tuning import studies

SMALL = ("-m", "window_average", "--horizon", "7", "--windows", "2", "--holdout", "1")


def test_the_json_of_tune_has_the_promised_shape(command, demand: Path) -> None:
    done = command("tune", demand, *SMALL, "--trials", "2", "--json")
    assert done.code == 0
    found = json.loads(done.out)["window_average"]
    assert found.keys() == {"recipe", "by", "search", "untouched", "kept_budget", "verdict", "trials"}
    assert found["untouched"]["cutoffs"] == ["2024-03-23"]
    assert {row["model"] for row in found["untouched"]["leaderboard"]} == {"defaults", "tuned"}
    assert found["trials"][0]["params"] == {"window": None, "seasonal": False}
    assert found["verdict"] in done.err


def test_the_same_command_with_resume_goes_on_and_without_begins_anew(command, demand: Path) -> None:
    first = json.loads(command("tune", demand, *SMALL, "--trials", "2", "--json").out)["window_average"]
    more = json.loads(command("tune", demand, *SMALL, "--trials", "3", "--resume", "--json").out)["window_average"]
    assert more["trials"][:2] == first["trials"]
    assert len(more["trials"]) == 3
    again = json.loads(command("tune", demand, *SMALL, "--trials", "2", "--json").out)["window_average"]
    assert [t["params"] for t in again["trials"]] == [t["params"] for t in first["trials"]]


def test_what_resume_does_not_do_is_said(command, demand: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "begun anew" in command("tune", demand, *SMALL, "--trials", "2", "--resume").err
    fewer = command("tune", demand, *SMALL, "--trials", "1", "--resume")
    assert "begun anew" not in fewer.err
    assert "2 trials are on the list of this search: all are done, not 1" in caplog.text
    assert "begun anew" in command("backtest", demand, "-m", "naive", "--horizon", "7", "--resume").err


def test_a_search_on_a_full_disk_is_a_store_error(command, demand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.storages.journal import JournalFileBackend

    def full(*_: object) -> None:
        raise OSError(27, "File too large")

    command("tune", demand, *SMALL, "--trials", "1")
    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    done = command("tune", demand, *SMALL, "--trials", "1")
    assert (done.code, "File too large" in done.err) == (6, True)


def test_the_tuned_recipe_can_be_typed(command, demand: Path) -> None:
    done = command("tune", demand, *SMALL, "--trials", "3")
    recipe = done.out.splitlines()[-1].split()[-1]
    assert command("backtest", demand, "-m", recipe, "--horizon", "7").code == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--budget", "p95_ms"), "no budget such as p95_ms=2"),
        (("--budget", "speed=1"), "no budget of 'speed'"),
        (("--timeout", "soon"), "no time such as 90s"),
        (("--by", "mape"), "did you mean"),
        (("--storage", "nowhere://db"), "database"),
    ],
)
def test_flags_that_make_no_sense_are_refused(command, demand: Path, flags: tuple[str, ...], said: str) -> None:
    done = command("tune", demand, *SMALL, *flags)
    assert done.code in (2, 6)
    assert said in done.err


def test_a_model_without_a_search_space_is_refused(command, demand: Path) -> None:
    done = command("tune", demand, "-m", "naive", "--horizon", "7")
    assert (done.code, "nothing to search" in done.err) == (2, True)


def test_all_models_are_looked_at_before_the_first_is_searched(command, demand: Path) -> None:
    done = command("tune", demand, *SMALL, "-m", "naive")
    assert (done.code, "naive has nothing to search" in done.err) == (2, True)
    assert not Path(".forecastkit").exists()


def test_a_search_that_runs_is_not_begun_anew_by_the_same_command(command, demand: Path) -> None:
    once = command("tune", demand, *SMALL, "--trials", "2", "--json")
    (file,) = Path(".forecastkit/tuning").glob("*.log")
    with studies.kept(str(file), file.stem, anew=False):
        refused = command("tune", demand, *SMALL, "--trials", "2")
        helped = command("tune", demand, *SMALL, "--trials", "2", "--resume", "--json")
    assert refused.code == 6
    assert "another process is searching here" in refused.err
    assert "--resume" in refused.err
    trials = [json.loads(done.out)["window_average"]["trials"] for done in (once, helped)]
    assert trials[0] == trials[1]
    assert command("tune", demand, *SMALL, "--trials", "2").code == 0
