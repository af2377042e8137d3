"""Results go to the server whole, once, and are never lost."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("mlflow")

from forecastkit import backtest, create, models
from forecastkit.data.panel import Panel
from forecastkit.errors import StoreError
from forecastkit.evaluation.backtesting import Run
from forecastkit.tracking import records, sending
from forecastkit.tracking.place import Place
from forecastkit.tracking.records import Challenger, Entry, Record
from forecastkit.tracking.registry import Registry

LOST = "http://127.0.0.1:9"  # the discard port: nobody answers


@pytest.fixture
def place(home: Path) -> Place:
    return Place.at(home=home)


@pytest.fixture
def folder(weekly_shop: Panel, tmp_path: Path) -> Path:
    """A backtest of two models over three windows, and its record."""
    recipes = {"sn": create("seasonal_naive"), "wide": create("window_average:window=14")}
    place = tmp_path / "results"
    backtest(weekly_shop, recipes, horizon=7, windows=3, run=Run(folder=place))
    entries = tuple(Entry(label, records.params_of(recipe)) for label, recipe in recipes.items())
    Record("shop", "backtest", entries, {"forecastkit.horizon": 7}, ("backtest.json",)).write(place)
    return place


def runs_of(place: Place) -> list:
    experiment = place.client.get_experiment_by_name("shop")
    return place.client.search_runs([experiment.experiment_id])


def test_there_is_a_run_for_each_model_below_one_for_the_command(place: Place, folder: Path) -> None:
    sent = sending.send(folder, place)
    parent = place.client.get_run(sent.run)
    children = [run for run in runs_of(place) if run.data.tags.get("mlflow.parentRunId") == sent.run]
    assert sorted(run.info.run_name for run in children) == ["sn", "wide"]
    assert parent.data.tags["forecastkit.kind"] == "backtest"
    assert parent.info.run_name.startswith("backtest")
    experiment = place.client.get_experiment_by_name("shop")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert {run.info.status for run in (*children, parent)} == {"FINISHED"}
    assert [file.path for file in place.client.list_artifacts(sent.run)] == ["backtest.json"]


def test_runs_are_found_by_what_they_are_about(place: Place, folder: Path) -> None:
    sending.send(folder, place)
    experiment = place.experiment("shop")
    (run,) = place.client.search_runs([experiment], "tags.`forecastkit.model` = 'wide' and params.window = '14'")
    assert run.data.tags["forecastkit.horizon"] == "7"
    assert run.data.metrics["wape"] > 0


def test_metrics_of_windows_are_steps_and_agree_with_the_report(place: Place, folder: Path) -> None:
    sending.send(folder, place)
    (run,) = [run for run in runs_of(place) if run.info.run_name == "sn"]
    history = place.client.get_metric_history(run.info.run_id, "window.wape")
    expected = sending.Report.read(folder).scores(by=["model", "window"])
    expected = expected[expected["model"] == "sn"]["wape"].tolist()
    assert [m.value for m in sorted(history, key=lambda m: m.step)] == pytest.approx(expected)


def test_all_metrics_of_a_run_go_in_one_call(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = place.client.log_batch
    monkeypatch.setattr(place.client, "log_batch", lambda run, metrics=(), *rest: (calls.append(len(metrics)), real(
        run, metrics, *rest)))  # fmt: skip
    sending.send(folder, place)
    assert len(calls) == 2
    assert min(calls) > 3 * 8


def test_forecasts_are_one_table(place: Place, folder: Path) -> None:
    sending.send(folder, place)
    (run,) = [run for run in runs_of(place) if run.info.run_name == "sn"]
    table = pd.read_parquet(place.client.download_artifacts(run.info.run_id, "forecasts.parquet", str(folder)))
    own = sending.Report.read(folder).forecasts
    own = own[own["model"] == "sn"].reset_index(drop=True)
    assert table["series"].tolist() == own["series"].tolist()
    assert table["mean"].tolist() == own["mean"].tolist()


def test_artifacts_go_where_the_place_says_and_not_into_the_present_folder(
    place: Place, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sending.send(folder, place)
    assert list(Path.cwd().iterdir()) == []
    assert len(list(place.folder.rglob("forecasts.parquet"))) == 2


def test_sending_again_replaces_what_was_sent(place: Place, folder: Path) -> None:
    first = sending.send(folder, place)
    second = sending.send(folder, place)
    assert first.run != second.run
    assert len(runs_of(place)) == 3


def test_a_file_that_is_gone_is_said_before_what_was_sent_is_replaced(place: Place, folder: Path) -> None:
    sent = sending.send(folder, place)
    record = replace(Record.read(folder), files=("backtest.json", "report.html"))
    with pytest.raises(StoreError, match=r"report\.html is not there any more: nothing was sent"):
        sending.send(folder, place, record)
    assert place.client.get_run(sent.run).info.status == "FINISHED"
    assert sent.run in {run.info.run_id for run in runs_of(place)}


def test_a_lost_server_is_an_error_that_leaves_the_results(
    place: Place, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = sorted(folder.rglob("*"))
    with pytest.raises(StoreError, match=LOST):
        sending.send(folder, Place(LOST, tmp_path))
    assert sorted(folder.rglob("*")) == before
    assert sending.send(folder, place).run


def test_a_record_comes_back_as_it_was_written(folder: Path) -> None:
    read = Record.read(folder)
    read.write(folder)
    assert Record.read(folder) == read


def test_a_damaged_record_is_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / "tracking.json").write_text('{"experiment": "shop"}')
    with pytest.raises(StoreError, match="damaged"):
        Record.read(folder)
    with pytest.raises(StoreError, match="no results to send"):
        Record.read(tmp_path)


@pytest.mark.slow
def test_a_saved_model_becomes_challenger_and_only_once(place: Place, folder: Path, weekly_shop: Panel) -> None:
    create("seasonal_naive").fit(weekly_shop).save(folder / "model")
    record = replace(Record.read(folder), challenger=Challenger("demo", "model", 7, {"forecastkit.model": "sn"}))
    record.write(folder)
    assert sending.send(folder, place).version == 1
    registry = Registry(place)
    assert registry.aliases("demo") == {"challenger": 1}
    assert registry.version("demo", "1").tags["forecastkit.model"] == "sn"


@pytest.mark.slow
def test_options_of_a_recipe_are_parameters_by_dotted_names() -> None:
    pytest.importorskip("torch")
    recipe = models.create("gru:training.lr=0.01,hidden=32")
    found = records.params_of(recipe)
    assert (found["training.lr"], found["hidden"]) == (0.01, 32)
    assert len(found) == len(asdict(recipe)) - 1 + len(asdict(recipe.training))
