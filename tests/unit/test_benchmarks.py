"""What benchmarks beside other libraries make of what they measured. No test looks at how long anything takes."""

from __future__ import annotations

import dataclasses
import importlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import forecastkit as fk

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def entry(networks, library, network, seconds):
    """One whose n steps cost `seconds(n)`."""
    return networks.Entry(library, network, "fp32", lambda n: {"cpu_s": [seconds(n)], "wall_s": [2 * seconds(n)]})


def test_windows_a_second_leave_out_what_beginning_costs(script):
    networks = script("networks")
    entries = [entry(networks, "forecastkit", networks.EQUAL, lambda n: 5 + 0.1 * n)]
    entries += [entry(networks, "darts", networks.EQUAL, lambda n: 50 + 0.2 * n)]
    ours, theirs = networks.windows_a_second(entries, 3)
    assert ours["cpu_s"] == pytest.approx(128 / 0.1)
    assert theirs["cpu_s"] == pytest.approx(128 / 0.2)
    assert theirs["wall_s"] == pytest.approx(128 / 0.4)
    rows = networks.training_rows(entries, [ours, theirs])
    assert [row["ours_over_this"] for row in rows] == [1, 2]


def test_a_call_is_compared_with_our_default_and_with_our_own_of_the_same_size(script):
    networks = script("networks")
    costs = {
        ("forecastkit", networks.DEFAULT): 1.0,
        ("forecastkit", networks.EQUAL): 2.0,
        ("darts", networks.EQUAL): 8.0,
    }
    entries = [entry(networks, *names, lambda n, s=seconds: s) for names, seconds in costs.items()]
    case = networks.Case(4, "table")
    rows = networks.case_rows(case, entries, networks.in_turn(entries, 3, 1, "calls"))
    assert [row["times_default"] for row in rows] == [1, 2, 8]
    assert [row["times_same"] for row in rows] == [None, 1, 4]
    assert [row["times_compiled"] for row in rows] == [1, 1, 4]
    assert [row["series_per_cpu_s"] for row in rows] == [4, 2, 0]


class Knowing:
    """A worker that answers with the last value of a series, one to each side."""

    def ask(self, **question):
        self.asked = question
        last = np.array([y[-1] for y in question["series"]])[:, None].repeat(question["horizon"], axis=1)
        return {"cpu_s": 0.5, "mean": last.tolist(), "quantiles": np.stack([last - 1, last + 1], axis=-1).tolist()}


def test_a_rival_is_scored_as_our_own_models_are(script):
    accuracy = script("accuracy")
    days = pd.date_range("2024-01-01", periods=40)
    rng = np.random.default_rng(0)
    frames = [pd.DataFrame({"unique_id": f"s{k}", "ds": days, "y": rng.random(40)}) for k in range(3)]
    worker = Knowing()
    rival = accuracy.Statsforecast(model="AutoETS", season=7, worker=worker)
    models = {"naive": fk.create("naive"), "rival": rival}
    report = fk.backtest(fk.Panel.from_frame(pd.concat(frames)), models, horizon=5, windows=2, season=7)
    own, theirs = (report.forecasts[report.forecasts["model"] == name] for name in models)
    np.testing.assert_allclose(theirs["mean"].to_numpy(), own["mean"].to_numpy())
    np.testing.assert_allclose(theirs["q0.9"] - theirs["q0.1"], 2)
    assert (worker.asked["season"], worker.asked["level"], sum(rival.spent)) == (7, 80, 1.0)
    work = accuracy.Work("title", "file", 5, 7, 2, ("naive",))
    found = {row["model"]: row for row in accuracy.rows(report, work, models)}
    assert found["rival"]["mase"] == found["naive"]["mase"]
    assert found["rival"]["cpu_s"] == 1.0


def test_a_run_that_goes_on_does_not_know_what_a_rival_cost(script):
    accuracy = script("accuracy")
    rival = accuracy.Statsforecast(model="AutoETS", season=7, worker=Knowing(), spent=[0.5])
    assert accuracy.spent(rival, accuracy.Work("title", "file", 5, 7, 2, ())) is None


def test_the_reading_says_who_loses(script):
    accuracy = script("accuracy")
    rows = [
        {"model": name, "mase": m, "wape": m, "wql": 1 - m} for name, m in (("gru", 0.6), ("lstm", 0.5), ("theta", 0.4))
    ]
    models = {"gru": fk.create("gru"), "lstm": fk.create("lstm"), "theta": fk.create("theta")}
    first, _, last = accuracy.reading(rows, models)
    assert first == "mase: lstm 0.5000, the best of the others theta 0.4000 (+25.0 %: the networks lose)"
    assert last == "wql: gru 0.4000, the best of the others theta 0.6000 (-33.3 %: the networks win)"


def test_a_record_names_no_place_of_this_machine(script, monkeypatch):
    monkeypatch.setattr("sys.argv", ["script.py", "predict", "--rivals", "/somewhere/python"])
    script("beside").unnamed(RIVALS="/somewhere/python", FOLDER=None)
    assert script("sys").argv == ["script.py", "predict", "--rivals", "RIVALS"]


def test_an_ensemble_is_read_beside_the_best_member_of_each_metric(script):
    ensembles = script("ensembles")
    rows = [
        {"model": "ensemble", "mase": 0.9, "wape": 0.55, "wql": 0.3, "cpu_s": 6.0},
        {"model": "gru", "mase": 1.0, "wape": 0.5, "wql": 0.4, "cpu_s": 3.0},
        {"model": "theta", "mase": 1.2, "wape": 0.6, "wql": 0.3, "cpu_s": 1.0},
    ]
    mase, wape, wql, cost = ensembles.reading(rows)
    assert "gru, 1.0000 (-10.0 %: the ensemble wins)" in mase
    assert "gru, 0.5000 (+10.0 %: the ensemble loses)" in wape
    assert "theta" in wql
    assert "1.50 of the CPU seconds" in cost


def test_what_a_logger_says_is_heard_in_the_block_alone(script):
    logger = logging.getLogger("forecastkit.models.auto")
    with script("ensembles").heard(logger.name) as said:
        logger.info("auto: %s", "because")
    logger.info("no more")
    assert said == ["auto: because"]


def test_tracking_is_within_its_bound_by_the_seconds_beside_the_models(script):
    tracking = script("tracking")
    plain = [tracking.Spent(100.0, 90.0, 5.0), tracking.Spent(120.0, 90.0, 6.0), tracking.Spent(110.0, 91.0, 5.0)]
    tracked = [
        tracking.Spent(a.wall_s + 20, a.cpu_s + 6, a.beside_s + added)
        for a, added in zip(plain, (2, 9, 3), strict=True)
    ]
    first, second, _ = tracking.reading(plain, tracked)
    assert first.startswith("tracking adds +3.0 s beside the models (in turn +2.0, +9.0, +3.0), within the 4.3 s")
    assert "+20.0, +20.0, +20.0 s of wall-clock and +6.0, +6.0, +6.0 s of CPU" in second
    assert "above the" in tracking.reading(plain, [tracking.Spent(a.wall_s, 0, a.beside_s + 9) for a in plain])[0]


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.01, 0.2, "gains"), (-0.1, 0.2, "may be chance"), (-0.2, -0.01, "loses")]
)
def test_what_tuning_did_is_told_by_the_interval(script, low, high, word):
    pytest.importorskip("optuna")
    tuning = script("tuning")
    base, other = fk.create("naive"), fk.create("seasonal_naive")
    found = tuning.Gain((low + high) / 2, low, high)
    tuned = tuning.Tuned(base=base, recipe=other, by="wape", scores={}, gain=found, report=None, trials=())
    assert tuning.verdict(tuned) == word
    assert tuning.verdict(dataclasses.replace(tuned, recipe=base)) == "the defaults stay"
