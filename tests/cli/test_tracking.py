"""Tracking, the registry and the gate, as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("mlflow")

from mlflow import MlflowClient

from forecastkit import Panel, backtest, load
from forecastkit.cli import tracking
from forecastkit.cli.options import Table
from forecastkit.cli.promote import _plan
from forecastkit.cli.tracking import origin, place_at
from forecastkit.cli.tune import _challenger
from forecastkit.errors import FitError, StoreError
from forecastkit.evaluation.gate import Backtest, Gate
from forecastkit.models import create
from forecastkit.store import read_notes
from forecastkit.tracking.records import Sent
from forecastkit.tracking.registry import Version
from forecastkit.tuning import Search, tune

SEARCH = ("-m", "window_average", "--horizon", "7", "--windows", "2", "--holdout", "1", "--trials", "1")
LOST = "http://127.0.0.1:9"  # the discard port: nobody answers


def client(home: Path) -> MlflowClient:
    uri = f"sqlite:///{home / 'mlflow.db'}"
    return MlflowClient(uri, uri)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    file = tmp_path / "gate.toml"
    file.write_text("skill = -1.0\ncoverage = [0.0, 1.0]\n")
    return file


@pytest.fixture
def tuned(command, home: Path, demand: Path) -> Path:
    """The home of a store in which `demo` has one version, the challenger."""
    done = command("tune", demand, *SEARCH, "--track", "demo")
    assert done.code == 0
    assert "version 1 of 'demo' is challenger" in done.err
    return home


def test_nothing_is_recorded_unless_asked(command, demand: Path) -> None:
    assert command("backtest", demand, "-m", "naive", "--horizon", "7").code == 0
    assert not Path(".forecastkit/mlflow.db").exists()


def test_a_backtest_is_recorded_with_its_command(command, home: Path, demand: Path) -> None:
    done = command("backtest", demand, "-m", "naive", "-m", "seasonal_naive", "--horizon", "7", "--track", "shop")
    assert done.code == 0
    assert "recorded as run" in done.err
    found = client(home).search_runs([client(home).get_experiment_by_name("shop").experiment_id])
    assert len(found) == 3
    tags = found[0].data.tags
    assert tags["forecastkit.command"] == f"forecastkit backtest {demand} -m naive -m seasonal_naive " + (
        "--horizon 7 --track shop"
    )
    assert {"forecastkit.fingerprint", "forecastkit.machine", "forecastkit.versions", "mlflow.user"} <= tags.keys()
    assert list(Path(".forecastkit").glob("backtests/*")) == []


def test_a_backtest_is_recorded_with_the_intervals_that_were_asked_for(command, home: Path, demand: Path) -> None:
    plan = ("-m", "naive", "--horizon", "7", "--windows", "2", "--calibrate", "3", "-o", "run")
    done = command("backtest", demand, *plan, "--conformal", "by_step=false,decay=0.3", "--track", "shop", "--json")
    (row,) = json.loads(done.out)["leaderboard"]
    found = client(home).search_runs([client(home).get_experiment_by_name("shop").experiment_id])
    (run,) = [run for run in found if run.info.run_name == "naive"]
    assert run.data.metrics["wql"] == row["wql"]
    assert row["wql"] != json.loads(command("report", "run", "--json").out)["leaderboard"][0]["wql"]
    sent = command("registry", "push", "run").out.strip()
    (pushed,) = client(home).search_runs(
        [client(home).get_experiment_by_name("shop").experiment_id], f"tags.`mlflow.parentRunId` = '{sent}'"
    )
    assert pushed.data.metrics["wql"] == row["wql"]


def test_the_command_itself_never_imports_mlflow(home: Path, demand: Path) -> None:
    code = f"import sys; from forecastkit.cli import run; done = run(['backtest', {str(demand)!r}, '-m', 'naive', "
    code += "'--horizon', '7', '--track', 'shop']); print(done, 'mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=home.parent)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert "recorded as run" in done.stderr
    found = client(home).search_runs([client(home).get_experiment_by_name("shop").experiment_id])
    (parent,) = [run for run in found if run.info.run_name.startswith("backtest")]
    files = [file.path for file in client(home).list_artifacts(parent.info.run_id)]
    assert files == ["backtest.json", "report.html"]


def test_the_page_that_was_asked_for_is_the_one_that_is_recorded(command, home: Path, demand: Path) -> None:
    plan = ("-m", "naive", "--horizon", "7", "-o", "run")
    assert command("backtest", demand, *plan, "--html", "page.html", "--track", "shop").code == 0
    assert Path("run/report.html").read_text() == Path("page.html").read_text()
    sent = command("registry", "push", "run").out.strip()
    files = client(home).list_artifacts(sent)
    assert [file.path for file in files] == ["backtest.json", "report.html"]
    assert {file.path: file.file_size for file in files}["report.html"] == Path("page.html").stat().st_size


def test_a_lost_server_costs_no_backtest_and_the_results_are_sent_later(
    command, home: Path, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    lost = ("--track", "shop", "--tracking", LOST)
    done = command("backtest", demand, "-m", "naive", "--horizon", "7", *lost)
    assert done.code == 0
    assert "naive" in done.out
    assert "not recorded" in done.err
    (folder,) = Path(".forecastkit/backtests").iterdir()
    assert f"forecastkit registry push {folder.absolute()}" in done.err
    assert command("registry", "push", folder, "--tracking", LOST).code == 6
    sent = command("registry", "push", folder)
    assert sent.code == 0
    assert client(home).get_run(sent.out.strip()).data.tags["forecastkit.kind"] == "backtest"


def test_a_page_that_fails_is_said_after_the_record_is_sent(
    command, home: Path, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr("forecastkit.evaluation.report.Report.to_html", full)
    done = command("backtest", demand, "-m", "naive", "--horizon", "7", "--html", "page.html", "--track", "shop")
    assert done.code == 6
    assert done.err.index("recorded as run") < done.err.index("results are in") < done.err.index("the disk is full")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (ValueError("no such font"), 70)])
def test_what_is_not_sent_as_its_page_could_not_be_drawn_is_sent_later_in_place_of_what_was_begun(
    command, home: Path, demand: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def broken(*_: object) -> None:
        raise error

    asked = ("backtest", demand, "-m", "naive", "--horizon", "7", "--track", "shop", "-o", "run")
    with monkeypatch.context() as patch:
        patch.setattr("forecastkit.evaluation.report.Report.to_html", broken)
        done = command(*asked)
    assert done.code == code
    assert "results are in run; later: forecastkit registry push run" in done.err
    assert command(*asked, "--resume").code == 0
    found = client(home).search_runs([client(home).get_experiment_by_name("shop").experiment_id])
    assert sorted(run.info.run_name.split()[0] for run in found) == ["backtest", "naive"]
    assert {run.info.status for run in found} == {"FINISHED"}


def test_a_record_that_can_not_be_written_is_said_after_the_results(
    command, home: Path, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr("forecastkit.tracking.records.Record.write", full)
    done = command("backtest", demand, "-m", "naive", "--horizon", "7", "--track", "shop")
    assert done.code == 6
    assert "naive" in done.out
    assert done.err.index("results are in") < done.err.index("the disk is full")


@pytest.mark.parametrize(
    ("place", "error", "code", "said"),
    [
        ("_challenger", FitError("no optimum"), 5, "recorded as run"),
        ("_challenger", KeyboardInterrupt(), 130, "--resume tries none again"),
        ("shutil.copytree", OSError(28, "No space left on device"), 6, "--resume tries none again"),
    ],
)
def test_what_a_search_found_is_shown_whatever_happens_while_it_is_recorded(
    command, home: Path, demand: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException, code: int,
    said: str,
) -> None:  # fmt: skip
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(f"forecastkit.cli.tune.{place}", broken)
    done = command("tune", demand, *SEARCH, "--track", "demo", "--json")
    assert done.code == code
    trials = json.loads(done.out)["window_average"]["trials"]
    assert said in done.err
    kept = command("tune", demand, *SEARCH, "--resume", "--json")
    assert json.loads(kept.out)["window_average"]["trials"] == trials


class Beside(Executor):
    """Stands for the process beside the command: what it is given fails so, now or later."""

    def __init__(self, error: BaseException, at_once: bool = False) -> None:
        self.error, self.at_once = error, at_once

    def submit(self, task, /, *arguments, **_):
        if self.at_once:
            raise self.error
        found: Future = Future()
        found.result = self._broken
        return found

    def _broken(self, timeout: float | None = None) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("pool", "code", "said"),
    [
        (Beside(BrokenProcessPool("terminated abruptly"), at_once=True), 0, "the process that sends them has ended"),
        (Beside(BrokenProcessPool("terminated abruptly")), 0, "the process that sends them has ended"),
        (Beside(ImportError("no module named 'sqlalchemy'")), 0, "ImportError: no module named 'sqlalchemy'"),
        (Beside(KeyboardInterrupt()), 130, "interrupted before all was sent"),
    ],
)
def test_whatever_happens_while_results_are_sent_the_line_that_sends_them_later_is_said(
    command, home: Path, demand: Path, monkeypatch: pytest.MonkeyPatch, pool: Beside, code: int, said: str
) -> None:
    monkeypatch.setattr("forecastkit.execution.beside", lambda: nullcontext(pool))
    place = "my runs/naive"
    done = command("backtest", demand, "-m", "naive", "--horizon", "7", "--track", "shop", "-o", place)
    assert (done.code, "naive" in done.out) == (code, True)
    assert f"not recorded: {said}" in done.err
    assert f"results are in {place}; later: forecastkit registry push '{place}'" in done.err
    assert command("registry", "push", place).code == 0


class BesideUntilThePage(Beside):
    """The process that sends everything but the page, for which it is lost."""

    def submit(self, task, /, *arguments, **_):
        found: Future = Future()
        found.set_result(Sent("1f"))
        return super().submit(task, *arguments) if task is tracking._added else found


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (BrokenProcessPool("killed"), 0)])
def test_what_is_recorded_without_its_page_is_called_so(
    command, home: Path, demand: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    monkeypatch.setattr("forecastkit.execution.beside", lambda: nullcontext(BesideUntilThePage(error)))
    done = command("backtest", demand, "-m", "naive", "--horizon", "7", "--track", "shop")
    assert done.code == code
    assert "recorded as run 1f" in done.err
    assert "recorded without report.html: " in done.err
    assert "not recorded" not in done.err


def test_a_record_that_was_damaged_keeps_a_run_that_is_gone_on_with_from_nothing(
    command, home: Path, demand: Path
) -> None:
    asked = ("backtest", demand, "-m", "naive", "--horizon", "7", "--track", "shop", "-o", "run")
    command(*asked)
    Path("run/tracking.json").write_text('{"id": ')
    done = command(*asked, "--resume")
    assert done.code == 0
    assert "damaged" in done.err
    assert "recorded as run" in done.err


def test_a_server_that_runs_are_sent_to_puts_nothing_on_stdout(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking._tracking_service import client as service

    monkeypatch.delenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", raising=False)
    place_at(None)
    place = client(home)
    run = place.create_run(place.create_experiment("shop", artifact_location=home.as_uri())).info.run_id
    monkeypatch.setattr(service, "RestStore", object)  # as if it were a server
    monkeypatch.setattr(service, "get_workspace_url", lambda: "http://server")
    place.set_terminated(run)
    assert capsys.readouterr().out == ""


def test_a_search_is_recorded_with_its_trials_and_its_gain(command, tuned: Path) -> None:
    found = client(tuned).search_runs([client(tuned).get_experiment_by_name("demo").experiment_id])
    (run,) = [run for run in found if run.info.run_name == "window_average"]
    assert {r.info.run_name.split()[0] for r in found} == {"tune", "window_average"}
    assert {"gain", "gain.low", "gain.high", "search.defaults", "trial", "wape"} <= run.data.metrics.keys()
    assert run.data.params["seasonal"] == "False"
    assert "tune.json" in [file.path for file in client(tuned).list_artifacts(run.info.run_id)]
    (parent,) = [run for run in found if run.info.run_name.startswith("tune")]
    assert "report.html" in [file.path for file in client(tuned).list_artifacts(parent.info.run_id)]
    assert not Path(".forecastkit/runs").exists() or list(Path(".forecastkit/runs").iterdir()) == []


def test_what_breaks_the_budget_is_no_challenger(command, home: Path, demand: Path) -> None:
    done = command("tune", demand, *SEARCH, "--budget", "p95_ms=0.000001", "--track", "demo")
    assert done.code == 1
    assert "no model keeps the budget: none is challenger" in done.err
    assert "recorded as run" in done.err
    assert json.loads(command("registry", "list", "--json").out) == []


def test_the_best_of_those_that_keep_the_budget_is_challenger(weekly_shop: Panel, tmp_path: Path) -> None:
    found = tune(weekly_shop, "window_average", horizon=7, windows=1, search=Search(trials=1, holdout=1))
    better = replace(found, recipe=create("naive"), scores={"tuned": 0.0}, kept_budget=False)
    table = Table("item", "day", "sold", None, (), (), (), None)
    made = _challenger(weekly_shop, {"a": better, "b": found}, tmp_path, "demo", origin("sold.csv", table, None, 0))
    assert made is not None
    assert made.tags["forecastkit.model"].startswith("window_average")
    assert load(tmp_path / "model").horizon == 7
    assert read_notes(tmp_path / "model") == {"columns": table.names()}


@pytest.mark.parametrize(("asked", "step"), [({"horizon": 28}, None), ({"horizon": 28, "step": 4}, 4), ({}, 7)])
def test_a_gate_with_a_horizon_of_its_own_has_windows_that_far_apart(asked: dict[str, int], step: int | None) -> None:
    tags = {"forecastkit.plan": json.dumps({"horizon": 7, "windows": 3, "step": 7})}
    plan = _plan(Gate(backtest=Backtest(**asked)), Version("demo", 1, (), tags, "", 0))
    assert (plan.horizon, plan.step) == (asked.get("horizon", 7), step)


def test_a_challenger_that_passes_becomes_champion(command, tuned: Path, gate: Path) -> None:
    dry = command("promote", "--name", "demo", "--gate", gate, "--dry-run", "--json")
    assert (dry.code, json.loads(dry.out)["passed"]) == (0, True)
    assert json.loads(command("registry", "list", "--json").out) == [{"name": "demo", "challenger": 1}]
    done = command("promote", "--name", "demo", "--gate", gate)
    assert done.code == 0
    assert "skill in wape" in done.out
    assert json.loads(command("registry", "list", "--json").out) == [{"name": "demo", "champion": 1}]
    (version,) = json.loads(command("registry", "show", "--name", "demo", "--json").out)
    assert version["tags"]["forecastkit.decision"] == "passed the gate"
    assert version["tags"]["gate.skill in wape"].endswith("pass")
    assert version["tags"]["forecastkit.judged_by"]


def test_a_challenger_that_fails_changes_nothing_and_ends_with_1(command, tuned: Path, gate: Path) -> None:
    gate.write_text("skill = 0.99")
    done = command("promote", "--name", "demo", "--gate", gate)
    assert done.code == 1
    assert "fail" in done.out
    (version,) = json.loads(command("registry", "show", "--name", "demo", "--json").out)
    assert version["aliases"] == ["challenger"]
    assert version["tags"]["forecastkit.decision"] == "refused"


def test_a_second_champion_is_judged_against_the_first_and_rolled_back(
    command, tuned: Path, gate: Path, demand: Path
) -> None:
    gate.write_text("skill = -9.0\nloss = 9.0\n")
    command("promote", "--name", "demo", "--gate", gate)
    command("fit", demand, "-m", "seasonal_naive", "--horizon", "7", "-o", "model")
    assert command("registry", "register", "model", "--name", "demo").out == "2\n"
    newest = json.loads(command("registry", "show", "--name", "demo", "--json").out)[0]
    assert json.loads(newest["tags"]["forecastkit.plan"]) == {"horizon": 7}
    done = command("promote", "--name", "demo", "--gate", gate, "--data", demand, "--json")
    found = json.loads(done.out)
    assert (found["version"], found["champion"]) == (2, 1)
    assert [row["name"] for row in found["criteria"]] == ["skill in wape", "loss in wape"]
    assert json.loads(command("registry", "list", "--json").out) == [{"name": "demo", "champion": 2, "previous": 1}]
    assert command("registry", "rollback", "--name", "demo").out == "1\n"
    assert command("registry", "rollback", "--name", "demo").code == 2


def test_a_model_whose_data_cannot_be_read_again_asks_for_it(command, home: Path, gate: Path, demand: Path) -> None:
    command("fit", demand, "-m", "seasonal_naive", "-o", "model")
    command("registry", "register", "model", "--name", "demo", "--horizon", "7")
    done = command("promote", "--name", "demo", "--gate", gate)
    assert (done.code, "--data" in done.err) == (2, True)


def test_newer_demand_is_judged_with_the_columns_of_the_fit(command, home: Path, gate: Path, demand: Path) -> None:
    table = pd.read_csv(demand).rename(columns={"y": "sold"})
    table.to_csv("sold.csv", index=False)
    named = ("--target", "sold", "--known", "price")
    assert command("tune", "sold.csv", *SEARCH, *named, "--track", "demo").code == 0
    assert command("promote", "--name", "demo", "--gate", gate, "--data", "sold.csv", "--dry-run").code == 0


def registered(command, demand: Path, model: str, *flags: str) -> None:
    assert command("fit", demand, "-m", model, *flags, "-o", "model").code == 0
    assert command("registry", "register", "model", "--name", "demo", "--horizon", "7").code == 0


def loss(command, gate: Path, demand: Path) -> float:
    """How much worse the challenger is than the champion, as the gate finds it; the first champion passes unasked."""
    gate.write_text("skill = -9.0\nloss = 9.0\n[backtest]\nwindows = 3\n")
    done = command("promote", "--name", "demo", "--gate", gate, "--data", demand, "--json")
    assert done.code == 0, done.err
    return {row["name"]: row["value"] for row in json.loads(done.out)["criteria"]}.get("loss in wape", 0.0)


@pytest.mark.parametrize("with_price", ["champion", "challenger"])
def test_each_version_is_judged_with_its_own_columns_and_no_others(
    command, home: Path, gate: Path, demand: Path, with_price: str
) -> None:
    model, price = "arima:order=(1,0,0),engine=statsmodels", ("--known", "price")
    registered(command, demand, model, *(price if with_price == "champion" else ()))
    assert loss(command, gate, demand) == 0.0
    registered(command, demand, model, *(price if with_price == "challenger" else ()))
    found = loss(command, gate, demand)
    told, untold = (
        backtest(panel, [model], horizon=7, windows=3).scores()["wape"][0]
        for panel in (Panel.from_frame(pd.read_csv(demand), known=known) for known in (["price"], []))
    )
    worse = untold / told if with_price == "champion" else told / untold
    assert found == pytest.approx(worse - 1)
    assert abs(found) > 0.1


def test_versions_whose_columns_contradict_each_other_are_not_judged(
    command, home: Path, gate: Path, demand: Path
) -> None:
    pytest.importorskip("lightgbm")
    registered(command, demand, "boosted", "--past", "price")
    loss(command, gate, demand)
    registered(command, demand, "seasonal_naive", "--known", "price")
    done = command("promote", "--name", "demo", "--gate", gate, "--data", demand)
    assert (done.code, "'price' is known to the first and past to the second" in done.err) == (2, True)


def test_what_a_champion_was_fitted_with_must_be_in_a_named_data_set(
    command, home: Path, gate: Path, demand: Path
) -> None:
    table = pd.read_csv(demand).rename(columns={"price": "leaflet"})
    table.to_csv("leaflet.csv", index=False)
    registered(command, "leaflet.csv", "arima:order=(1,0,0),engine=statsmodels", "--known", "leaflet")
    loss(command, gate, "leaflet.csv")
    registered(command, "dataset:demo", "seasonal_naive")
    done = command("promote", "--name", "demo", "--gate", gate, "--data", "dataset:demo")
    assert done.code == 2
    assert "version 1 was fitted with leaflet, which dataset:demo does not have" in done.err


def test_a_challenger_is_judged_by_the_whole_plan_that_it_was_tuned_for(
    command, home: Path, gate: Path, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = []

    def noted(panel, entries, plan, **rest):
        judged.append(plan)
        return backtest(panel, entries, plan, **rest)

    monkeypatch.setattr("forecastkit.evaluation.backtesting.backtest", noted)
    rolling = ("--align", "calendar", "--history", "40", "--gap", "1", "--refit", "never")
    assert command("tune", demand, *SEARCH, *rolling, "--track", "demo").code == 0
    judged.clear()
    assert command("promote", "--name", "demo", "--gate", gate, "--dry-run").code == 0
    gate.write_text("skill = -1.0\n[backtest]\ngap = 0\n")
    assert command("promote", "--name", "demo", "--gate", gate, "--dry-run").code == 0
    assert [plan.gap for plan in judged] == [1, 0]
    assert {(plan.align, plan.history, plan.refit, plan.windows) for plan in judged} == {("calendar", 40, 0, 1)}


def test_a_saved_model_of_a_named_data_set_is_judged_on_it(command, home: Path, gate: Path) -> None:
    command("fit", "dataset:demo", "-m", "seasonal_naive", "-o", "model")
    command("registry", "register", "model", "--name", "demo", "--horizon", "7")
    done = command("promote", "--name", "demo", "--gate", gate, "--data", "dataset:demo", "--json")
    assert (done.code, json.loads(done.out)["criteria"][0]["value"]) == (0, 0.0)


def test_coverage_is_asked_of_the_levels_in_the_gate(command, tuned: Path, gate: Path) -> None:
    found = []
    for levels in ("", "levels = [0.45, 0.55]\n"):
        gate.write_text(f"coverage = [0.0, 1.0]\n{levels}")
        done = command("promote", "--name", "demo", "--gate", gate, "--dry-run", "--json")
        found += [row["value"] for row in json.loads(done.out)["criteria"] if row["name"] == "coverage"]
    assert found[1] < found[0]


def test_a_gate_that_asks_nothing_of_a_first_champion_is_refused(command, tuned: Path, gate: Path) -> None:
    gate.write_text("")
    done = command("promote", "--name", "demo", "--gate", gate)
    assert (done.code, "there is no champion yet" in done.err) == (2, True)


def test_a_deletion_is_asked_about(command, tuned: Path) -> None:
    assert command("registry", "delete", "--name", "demo", "--version", "1", "--yes").code == 0
    assert command("registry", "show", "--name", "demo").code == 0
    assert command("registry", "delete", "--name", "demo", "--yes").code == 0
    assert command("registry", "show", "--name", "demo").code == 2


def test_nobody_is_asked_where_nobody_is(command, tuned: Path) -> None:
    done = command("registry", "delete", "--name", "demo")
    assert (done.code, "say --yes" in done.err) == (2, True)
    assert "did you mean 'demo'" in command("registry", "delete", "--name", "dmo").err
    assert command("registry", "show", "--name", "demo").code == 0


def test_a_search_that_is_sent_twice_has_one_version(command, home: Path, demand: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    command("tune", demand, *SEARCH, "--track", "demo", "--tracking", LOST)
    (folder,) = Path(".forecastkit/runs").iterdir()
    for _ in range(2):
        assert command("registry", "push", folder).code == 0
    versions = json.loads(command("registry", "show", "--name", "demo", "--json").out)
    assert [version["aliases"] for version in versions] == [["challenger"]]


def test_demand_that_ends_before_what_a_version_was_made_from_judges_nothing(
    command, tuned: Path, gate: Path, demand: Path
) -> None:
    table = pd.read_csv(demand)
    table[table["ds"] < "2024-03-15"].to_csv("old.csv", index=False)
    done = command("promote", "--name", "demo", "--gate", gate, "--data", "old.csv")
    assert done.code == 3
    assert "old.csv ends at 2024-03-14, version 1 was made from demand up to 2024-03-30" in done.err


def test_a_store_on_a_full_disk_is_a_store_error(command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def full(*_: object, **__: object) -> None:
        raise OperationalError("SELECT 1", {}, OSError("disk I/O error"))

    monkeypatch.setattr(MlflowClient, "search_experiments", full)
    done = command("registry", "list")
    assert (done.code, "disk I/O error" in done.err, "Traceback" in done.err) == (6, True, False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("skil = 0.1", "did you mean 'skill'"),
        ("skill = ", "no TOML"),
        ("bias = -0.1", "can't be -0.1"),
        ("skill = nan", "can't be nan"),
        ("coverage = [70, 90]", "between 0 and 1"),
        ("coverage = [0.9, 0.7]", "from and to"),
        ("[costs]\nover = -1\nunder = 2", "from 0 on"),
        ("bias = inf", "can't be inf"),
        ("[costs]\nover = 0\nunder = 0", "not both 0"),
        ('skill = "much"', "takes"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(command, home: Path, content: str, said: str) -> None:
    Path("gate.toml").write_text(content)
    done = command("promote", "--name", "demo", "--gate", "gate.toml")
    assert done.code == 2
    assert said in done.err
