"""A team's way of working, on real servers: MLflow over PostgreSQL, and one search by several processes."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("mlflow")
pytest.importorskip("optuna")

import optuna
from optuna.trial import TrialState

from forecastkit import Panel, backtest, create, execution
from forecastkit.errors import StoreError
from forecastkit.evaluation.backtesting import Run
from forecastkit.tracking import bundle, records, sending
from forecastkit.tracking.place import Place
from forecastkit.tracking.records import Challenger, Entry, Record
from forecastkit.tracking.registry import Registry
from forecastkit.tuning import Search, studies, tune

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("servers")]


@pytest.fixture
def place(mlflow_server: str, tmp_path: Path) -> Place:
    return Place.at(mlflow_server, tmp_path)


def test_a_backtest_and_its_model_arrive_on_the_server_and_come_back(
    place: Place, weekly_shop: Panel, tmp_path: Path
) -> None:
    folder, recipe = tmp_path / "results", create("seasonal_naive")
    report = backtest(weekly_shop, {"sn": recipe}, horizon=7, windows=2, run=Run(folder=folder))
    fitted = recipe.fit(weekly_shop)
    fitted.save(folder / "model")
    entry = Entry("sn", records.params_of(recipe))
    Record("shop", "backtest", (entry,), challenger=Challenger("shop", "model", 7, {})).write(folder)
    sent = sending.send(folder, place)
    (run,) = place.client.search_runs([place.experiment("shop")], "tags.`forecastkit.model` = 'sn'")
    assert run.data.metrics["wape"] == pytest.approx(report.leaderboard()["wape"][0])
    assert len(place.client.get_metric_history(run.info.run_id, "window.wape")) == 2
    version = Registry(place).version("shop", "challenger")
    assert version.number == sent.version
    assert create("seasonal_naive").fit(weekly_shop).predict(3).mean.tolist() == (
        _restored(bundle.fetch(place, version.source, tmp_path / "back")).predict(3).mean.tolist()
    )


def test_a_registered_model_answers_over_http(
    home: Path, weekly_shop: Panel, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    fitted = create("seasonal_naive").fit(weekly_shop)
    fitted.save(tmp_path / "model")
    sending.register_folder(Place.at(home=home), tmp_path / "model", "demo", 7, {})
    url = request.getfixturevalue("model_server")
    asked = {
        "params": {"horizon": 2, "levels": [0.9]},
        "dataframe_split": {"columns": ["unique_id", "ds", "y"], "data": []},
    }
    question = urllib.request.Request(
        f"{url}/invocations", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(question, timeout=60) as answer:
        rows = json.load(answer)["predictions"]
    expected = fitted.predict(2, levels=(0.9,)).to_frame()
    assert [row["unique_id"] for row in rows] == expected["unique_id"].tolist()
    assert [row["q0.9"] for row in rows] == pytest.approx(expected["q0.9"].tolist())


def _restored(folder: Path):
    from forecastkit import load

    return load(folder)


def test_promotions_at_once_from_four_clients_lose_no_update(place: Place) -> None:
    registry, experiment = Registry(place), place.experiment("race")
    for _ in range(5):
        run = place.client.create_run(experiment).info
        registry.register("race", f"{run.artifact_uri}/model", run.run_id, {})
    registry.promote("race", 1, instead_of=None)

    def promote(number: int) -> int | None:
        own = Registry(Place(place.uri, place.folder))
        while True:  # judged again against whoever is champion by now
            try:
                champion = own.aliases("race")["champion"]
                own.promote("race", number, instead_of=champion)
                return champion
            except StoreError as error:
                if "became champion meanwhile" not in str(error):
                    raise

    with ThreadPoolExecutor(4) as pool:
        replaced = list(pool.map(promote, (2, 3, 4, 5)))
    assert Counter(replaced).most_common(1)[0][1] == 1  # nobody replaced a champion that another one had replaced
    line = [registry.aliases("race")["champion"]]
    while "previous" in registry.aliases("race"):
        line.append(registry.rollback("race")[1])
    assert sorted(line) == [1, 2, 3, 4, 5]
    assert line[-1] == 1


def slowly(trial: optuna.Trial) -> float:
    time.sleep(0.3)
    return trial.suggest_float("x", 0.0, 4.0) ** 2


def member(url: str, number: int) -> None:
    study = studies.reopened(url, "race", seed=number)
    studies.work(study, slowly, time.time() + 120)


def kill_one_at_work(study: optuna.Study, killed: list[int]) -> None:
    workers = [t.user_attrs[studies.WORKER][1] for t in study.get_trials(states=(TrialState.RUNNING,))
               if studies.WORKER in t.user_attrs]  # fmt: skip
    if not killed and workers and studies.finished(study):
        killed.append(workers[0])
        os.kill(workers[0], signal.SIGKILL)


@pytest.fixture
def searches(postgres: str) -> str:
    return f"{postgres}/searches"


def test_four_workers_on_one_study_lose_no_trial_when_one_is_killed(searches: str) -> None:
    study, killed = studies.begin(searches, "race", {}, resume=False), []
    studies.fill(study, 24, {"x": 2.0})
    codes = execution.crew(partial(member, searches), 4, partial(kill_one_at_work, study, killed))
    assert sorted(codes) == [-signal.SIGKILL, 0, 0, 0]
    done = studies.finished(study)
    assert Counter(trial.user_attrs[studies.SLOT] for trial in done) == Counter(range(24))
    assert len({trial.user_attrs[studies.WORKER][1] for trial in done}) >= 3
    states = Counter(trial.state for trial in study.get_trials())
    assert states[TrialState.RUNNING] == states[TrialState.WAITING] == 0


def test_a_search_in_a_database_is_gone_on_with_by_two_processes(searches: str, weekly_shop: Panel) -> None:
    few = Search(trials=2, holdout=1, storage=searches, name="shop")
    tune(weekly_shop, "window_average", horizon=7, windows=2, search=few)
    more = Search(trials=6, holdout=1, storage=searches, name="shop", jobs=2, resume=True)
    found = tune(weekly_shop, "window_average", horizon=7, windows=2, search=more)
    assert [trial["trial"] for trial in found.trials] == list(range(6))


def test_a_database_of_mlflows_is_refused_with_what_to_do(postgres: str, mlflow_server: str) -> None:
    with pytest.raises(StoreError, match="give it one of its own"):
        studies.storage(f"{postgres}/runs")
