"""`auto`: what it tries, and what it takes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import forecastkit as fk
from forecastkit.data.panel import Panel
from forecastkit.data.synthetic import retail
from forecastkit.errors import ConfigError, FitError, MissingExtraError
from forecastkit.models import _members as of
from forecastkit.models import auto
from forecastkit.models.auto import Auto, fitting
from forecastkit.models.historic_mean import HistoricMean

H = 7
WEEKLY = "window_average:seasonal=true,window=8"


@pytest.fixture(scope="module")
def panel():
    return replace(retail(series=12, periods=140, seed=1).panel.bare(), available=None)


def rows_of(fitted):
    return {row["model"]: row for row in fitted.tried}


def test_the_best_candidate_or_its_ensemble_is_taken_and_the_reason_told(panel):
    fitted = Auto(candidates=("naive", WEEKLY, "historic_mean")).fit(panel, horizon=H)
    assert max(fitted.shares, key=fitted.shares.get) == WEEKLY
    assert WEEKLY in fitted.reason
    errors = {name: row["error"] for name, row in rows_of(fitted).items()}
    assert errors[WEEKLY] < errors["naive"]
    assert rows_of(fitted)["naive"]["series"] == len(panel)


def test_where_one_is_clearly_best_it_stands_alone():
    ds = np.datetime64("2024-01-01") + np.arange(140)
    import pandas as pd

    weekly = np.tile([1.0, 2.0, 3.0, 4.0, 50.0, 60.0, 7.0], 20) + np.random.default_rng(0).normal(0, 0.01, 140)
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": ds, "y": weekly}))
    fitted = Auto(candidates=("naive", "seasonal_naive")).fit(panel, horizon=H)
    assert fitted.shares == {"seasonal_naive": 1.0}
    np.testing.assert_array_equal(fitted.predict(H).mean, fk.create("seasonal_naive").fit(panel).predict(H).mean)


def test_half_of_the_candidates_go_on_to_more_series(panel, monkeypatch):
    monkeypatch.setattr(auto, "_SMALLEST_SAMPLE", 3)
    monkeypatch.setattr(auto, "_TEAM", 1)
    tried = rows_of(Auto(candidates=("naive", WEEKLY, "historic_mean", "seasonal_naive")).fit(panel, horizon=H))
    assert sorted(row["series"] for row in tried.values()) == [3, 3, 12, 12]
    assert [row["out"] for row in tried.values() if row["series"] == 3] == ["behind on 3 series"] * 2


def test_without_time_the_first_candidate_is_taken(panel):
    fitted = Auto(minutes=1e-9, candidates=("seasonal_naive", "naive")).fit(panel, horizon=H)
    assert list(fitted.shares) == ["seasonal_naive"]
    assert {row["out"] for row in fitted.tried} == {"no time for more"}


def test_when_time_runs_out_the_last_whole_round_decides(panel, monkeypatch):
    monkeypatch.setattr(auto, "_SMALLEST_SAMPLE", 3)
    whole = auto._Runner.expected

    def slow(self, count):
        return 1e9 if self.fitted and self.text == "seasonal_naive" and count < 12 else whole(self, count)

    monkeypatch.setattr(auto._Runner, "expected", slow)
    fitted = Auto(candidates=("seasonal_naive", WEEKLY), windows=1).fit(panel, horizon=H)
    tried = rows_of(fitted)
    assert tried["seasonal_naive"]["out"] == "no time for more"
    better = min(tried, key=lambda name: tried[name]["error"])  # on the three series of the first round
    assert max(fitted.shares, key=fitted.shares.get) == better


def test_what_is_compiled_once_is_not_what_a_series_costs(panel, monkeypatch):
    calls, clock, whole = [], [0.0], HistoricMean._fit

    def compiling(self, train, horizon):
        clock[0] += 1.0 if calls else 1000.0
        calls.append(len(train))
        return whole(self, train, horizon)

    monkeypatch.setattr(HistoricMean, "_fit", compiling)
    monkeypatch.setattr(auto, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    fitted = Auto(minutes=60, candidates=("historic_mean", WEEKLY)).fit(panel, horizon=H)
    assert calls[0] == 1
    assert 0 < rows_of(fitted)["historic_mean"]["seconds"] <= len(calls)


def test_nothing_is_begun_that_leaves_no_time_to_fit_the_best_so_far(panel, monkeypatch):
    monkeypatch.setattr(auto._Runner, "last", lambda self, count: 200.0 if self.text == WEEKLY else 0.0)
    fitted = Auto(minutes=3, candidates=(WEEKLY, "naive", "historic_mean")).fit(panel, horizon=H)
    assert {name: row["out"] for name, row in rows_of(fitted).items()} == {
        WEEKLY: "",
        "naive": "no time for more",
        "historic_mean": "no time for more",
    }
    assert fitted.shares == {WEEKLY: 1.0}


def test_an_ensemble_that_takes_too_long_gives_way_to_its_best_member(panel, monkeypatch):
    recipe = Auto(candidates=(WEEKLY, "historic_mean", "seasonal_naive"))
    monkeypatch.setattr(auto, "_WORTH", 2.0)  # any ensemble is worth it
    assert len(recipe.fit(panel, horizon=H).shares) > 1
    monkeypatch.setattr(auto._Contest, "affords", lambda self, team: False)
    fitted = recipe.fit(panel, horizon=H)
    assert len(fitted.shares) == 1
    assert "no time to fit" in fitted.reason


def test_a_model_that_is_taken_as_the_best_one_takes_too_long_is_told_with_its_own_error(panel, monkeypatch):
    monkeypatch.setattr(auto, "_WORTH", 2.0)  # any ensemble is worth it
    monkeypatch.setattr(auto._Contest, "affords", lambda self, team: False)
    monkeypatch.setattr(auto._Runner, "last", lambda self, count: float(self.text == WEEKLY))
    fitted = Auto(candidates=(WEEKLY, "historic_mean", "seasonal_naive")).fit(panel, horizon=H)
    assert next(iter(fitted.shares)) != WEEKLY
    errors = {name: row["error"] for name, row in rows_of(fitted).items()}
    assert f"{errors[next(iter(fitted.shares))]:.4f} spreads, alone {WEEKLY}: " in fitted.reason


def test_the_part_of_an_ensemble_that_there_is_time_for_is_taken(panel, monkeypatch):
    recipe = Auto(candidates=(WEEKLY, "historic_mean", "seasonal_naive"))
    monkeypatch.setattr(auto, "_WORTH", 2.0)  # any ensemble is worth it
    whole = recipe.fit(panel, horizon=H)
    assert len(whole.shares) == 3
    last = auto._Runner.last
    monkeypatch.setattr(
        auto._Runner, "last", lambda self, count: 1e9 if self.text == "historic_mean" else last(self, count)
    )
    monkeypatch.setattr(auto._Contest, "_reserve", lambda self, runners: 0.0)
    fitted = recipe.fit(panel, horizon=H)
    assert set(fitted.shares) == {WEEKLY, "seasonal_naive"}
    assert "no time to fit, that of these" in fitted.reason
    assert sum(fitted.shares.values()) == pytest.approx(1)


def test_time_is_enough_where_all_fits_of_the_ensemble_find_room(panel):
    contest = auto._Contest(panel, np.arange(12), H, 1, auto._Clock.of(100.0))
    team = [auto._Runner.of(text, fk.create(text), contest) for text in ("naive", "historic_mean", "seasonal_naive")]
    for runner, seconds in zip(team, (60.0, 30.0, 5.0), strict=True):
        runner.seconds, runner.fitted = seconds, 12
    assert contest.affords(team)
    team[1].seconds = 36.0
    assert not contest.affords(team)


def test_who_is_hardly_heard_in_the_ensemble_is_left_out(panel, monkeypatch):
    monkeypatch.setattr(auto, "_WORTH", 2.0)
    recipe = Auto(candidates=(WEEKLY, "historic_mean", "seasonal_naive", "naive"))
    monkeypatch.setattr(of, "LEAST", 0.0)
    everyone = recipe.fit(panel, horizon=H).shares
    assert len(everyone) == 4
    assert max(everyone.values()) > 0.6
    monkeypatch.setattr(of, "LEAST", 0.6)
    alone = recipe.fit(panel, horizon=H)
    assert alone.shares == {WEEKLY: 1.0}
    assert "adds nothing" in alone.reason


def test_a_network_goes_on_from_the_past_windows(panel, monkeypatch):
    begun = []
    whole = of.fit_where_long_enough

    def telling(recipe, train, horizon, old=None):
        begun.append((recipe.name, old is not None))
        return whole(recipe, train, horizon, old)

    monkeypatch.setattr(of, "fit_where_long_enough", telling)
    text = "gru:hidden=8,layers=1,lookback=14,patch=7,training.steps=20"
    Auto(candidates=(text, "naive"), windows=1).fit(panel, horizon=H)
    assert begun[0] == ("gru", False)
    assert ("gru", True) in begun
    begun.clear()
    short = panel.tail(2 * H + 7 + H // 2)  # of which the past windows leave too little to go on from
    Auto(candidates=(text,), windows=1).fit(short, horizon=H)
    assert begun == [("gru", False), ("gru", False)]


def test_a_candidate_that_fails_leaves_the_choice_to_the_others(panel, monkeypatch):
    def failing(self, train, horizon):
        raise FitError("not today", model="historic_mean")

    monkeypatch.setattr(HistoricMean, "_fit", failing)
    fitted = Auto(candidates=("historic_mean", WEEKLY, "naive")).fit(panel, horizon=H)
    assert "not today" in rows_of(fitted)["historic_mean"]["out"]
    assert "historic_mean" not in fitted.shares


def test_who_cant_be_fitted_on_everything_gives_way_to_the_others(panel, monkeypatch):
    whole, longest = HistoricMean._fit, int(panel.lengths.max())

    def failing(self, train, horizon):
        if train.lengths.max() == longest:
            raise FitError("not today", model="historic_mean")
        return whole(self, train, horizon)

    monkeypatch.setattr(HistoricMean, "_fit", failing)
    alone = Auto(candidates=("historic_mean", "naive")).fit(panel, horizon=H)
    assert alone.shares == {"naive": 1.0}
    assert "could not be fitted" in alone.reason
    monkeypatch.setattr(auto, "_WORTH", 2.0)
    team = Auto(candidates=(WEEKLY, "historic_mean", "seasonal_naive")).fit(panel, horizon=H)
    assert set(team.shares) == {WEEKLY, "seasonal_naive"}
    assert sum(team.shares.values()) == pytest.approx(1)


def test_series_too_short_for_a_past_window_are_forecast_all_the_same(panel):
    fitted = Auto(candidates=("seasonal_naive", "naive")).fit(panel.tail(8), horizon=H)
    assert "no series is long enough" in fitted.reason
    assert np.isfinite(fitted.predict(H).mean).all()


def test_the_panel_decides_the_candidates(panel):
    assert "seasonal_naive" in fitting(panel, 7)
    assert {"naive", "arima"} <= set(fitting(panel, 1))
    rare = replace(panel, values=np.where(np.arange(len(panel.values)) % 10 == 0, panel.values, 0.0))
    assert "sarima" not in fitting(rare, 7)


def test_a_candidate_that_is_not_installed_is_passed_over_unless_asked_for(panel, monkeypatch):
    whole = auto.models.create

    def create(text, **options):
        if text == "gru":
            raise MissingExtraError("gru", "torch")
        return whole(text, **options)

    monkeypatch.setattr(auto.models, "create", create)
    assert "gru" not in {recipe.name for recipe in Auto().members_recipes()}
    with pytest.raises(MissingExtraError):
        Auto(candidates=("gru", "naive")).fit(panel)


def test_what_was_saved_remembers_the_reason(panel, tmp_path):
    fitted = Auto(candidates=("naive", WEEKLY)).fit(panel, horizon=H)
    fitted.save(tmp_path / "m")
    again = fk.load(tmp_path / "m")
    assert (again.reason, again.tried, again.shares) == (fitted.reason, fitted.tried, fitted.shares)
    np.testing.assert_array_equal(again.predict(H).mean, fitted.predict(H).mean)


@pytest.mark.parametrize(
    ("options", "what"),
    [({"minutes": 0}, "minutes"), ({"windows": 0}, "windows"), ({"candidates": ("auto",)}, "can't be a member")],
)
def test_options_that_make_no_sense_are_refused(options, what):
    with pytest.raises(ConfigError, match=what):
        Auto(**options)
