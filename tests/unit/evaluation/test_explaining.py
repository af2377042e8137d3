"""Why a model of a backtest forecasts what it does: found for the last window, kept, and told again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import forecastkit as fk
from forecastkit import Panel, Report, Run
from forecastkit.errors import ConfigError, FitError
from forecastkit.evaluation.explaining import explain
from forecastkit.forecaster import Explanation


@pytest.fixture
def run(weekly_shop: Panel, tmp_path: Path) -> tuple[Report, dict[str, fk.Forecaster]]:
    recipes = {name: fk.create(name, season=7) for name in ("seasonal_naive", "ets")}
    return fk.backtest(weekly_shop, recipes, horizon=7, windows=2, gap=1, run=Run(folder=tmp_path / "run")), recipes


def test_nothing_is_told_where_nobody_asked(run) -> None:
    report, _ = run
    assert report.importance().empty
    assert report.explanations() == {}


def test_what_was_found_is_read_again_from_the_folder(run, weekly_shop: Panel) -> None:
    report, recipes = run
    explain(report, weekly_shop, recipes, ["seasonal_naive", "ets"])
    again = Report.read(report.folder)
    found = again.importance()
    pd.testing.assert_frame_equal(found, report.importance())
    assert list(found["model"].unique()) == ["seasonal_naive", "ets"]
    worth = found[found["model"] == "seasonal_naive"].set_index("input")["increase"]
    assert worth.idxmax() == "demand 2 to 7 back"
    told = again.explanations()["ets"]
    assert told.series in weekly_shop.ids
    assert 0 < told.coefficients["alpha"][0] < 1
    assert np.isnan(told.coefficients["alpha"][1])


def test_best_is_the_first_of_the_leaderboard(run, weekly_shop: Panel) -> None:
    report, recipes = run
    explain(report, weekly_shop, recipes)
    assert set(report.importance()["model"]) == {report.leaderboard()["model"][0]}


def test_a_model_that_is_not_there_is_refused_with_the_closest(run, weekly_shop: Panel) -> None:
    report, recipes = run
    with pytest.raises(ConfigError, match="'seasonal_naive'"):
        explain(report, weekly_shop, recipes, ["seasonal_nave"])


def test_a_model_that_failed_on_every_series_says_so(run, weekly_shop: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    report, recipes = run
    monkeypatch.setattr(type(recipes["ets"]), "needs", lambda recipe, train: 1000)
    with pytest.raises(FitError, match="every series"):
        explain(report, weekly_shop, recipes, ["ets"])


def test_a_series_that_ends_before_the_last_window_is_left_out(weekly_shop: Panel, tmp_path: Path) -> None:
    lengths = weekly_shop.lengths.copy()
    lengths[0] -= 10
    ragged, recipes = weekly_shop.cut(lengths), {"seasonal_naive": fk.create("seasonal_naive", season=7)}
    report = fk.backtest(ragged, recipes, horizon=7, align="calendar", run=Run(folder=tmp_path / "run"))
    explain(report, ragged, recipes)
    assert len(report.importance()) > 3
    assert report.explanations()["seasonal_naive"].series != weekly_shop.ids[0]


@pytest.mark.parametrize("options", [{}, {"season": 14}, {"history": 30}, {"gap": 2}])
def test_the_worth_of_inputs_begins_from_the_mase_of_the_leaderboard(weekly_shop: Panel, options: dict) -> None:
    recipes = {"seasonal_naive": fk.create("seasonal_naive", season=7)}
    report = fk.backtest(weekly_shop, recipes, horizon=7, **options)
    explain(report, weekly_shop, recipes)
    found = report.importance()
    np.testing.assert_allclose(found["mase"] - found["increase"], report.leaderboard()["mase"].iloc[0], rtol=1e-12)


def test_a_constant_series_has_inputs_of_no_known_worth(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=60)
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": days, "y": 5.0}))
    recipes = {"arima": fk.create("arima")}
    report = fk.backtest(panel, recipes, horizon=7)
    explain(report, panel, recipes)
    assert report.importance()["increase"].isna().all()
    assert report.explanations()["arima"].form == "seasonal naive stands in: constant"
    (why,) = report.folder.glob("why.json")
    assert "NaN" not in why.read_text("utf-8")


def test_what_is_told_can_be_looked_for_in_a_list() -> None:
    first, second = (Explanation("a", times=np.arange(2).astype("M8[us]")) for _ in range(2))
    assert first in [second, first]
