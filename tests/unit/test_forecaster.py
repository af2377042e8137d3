"""A forecast as a long table, and what it can be asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecastkit import backtest
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.forecaster import Forecast
from forecastkit.models.ensemble import Ensemble
from forecastkit.models.historic_mean import HistoricMean
from forecastkit.models.naive import Naive
from forecastkit.models.sarima import SARIMA


def forecast(zone: str | None = None) -> Forecast:
    """Two series, three hours, two levels."""
    times = np.array(["2024-10-27T00", "2024-10-27T01", "2024-10-27T02"], "M8[us]")
    mean = np.arange(6.0).reshape(2, 3)
    quantiles = mean[..., None] + np.array([-1.0, 1.0])
    return Forecast(("milk", "rye"), np.stack([times, times]), mean, quantiles, (0.1, 0.95), zone)


def test_a_forecast_becomes_one_row_a_series_and_period() -> None:
    frame = forecast().to_frame()
    assert list(frame.columns) == ["unique_id", "ds", "mean", "q0.1", "q0.95"]
    assert list(frame["unique_id"]) == ["milk"] * 3 + ["rye"] * 3
    assert list(frame["mean"]) == [0, 1, 2, 3, 4, 5]
    assert list(frame["q0.95"] - frame["q0.1"]) == [2] * 6
    assert frame["ds"].iloc[3] == pd.Timestamp("2024-10-27 00:00")


@pytest.mark.parametrize("recipe", [Naive(), SARIMA(order=(0, 1, 1)), Ensemble(members=("naive", "historic_mean"))])
def test_a_refit_is_for_the_horizon_of_the_fit_unless_told(weekly_shop: Panel, recipe: Any) -> None:
    fitted = recipe.fit(weekly_shop, horizon=5)
    assert (fitted.refit(weekly_shop).horizon, fitted.refit(weekly_shop, horizon=3).horizon) == (5, 3)


def test_hours_of_a_zone_get_it_back() -> None:
    times = forecast("Europe/Berlin").to_frame()["ds"]
    assert [str(time) for time in times[:3]] == [
        "2024-10-27 02:00:00+02:00", "2024-10-27 02:00:00+01:00", "2024-10-27 03:00:00+01:00"
    ]  # fmt: skip


def test_what_is_done_to_the_table_leaves_the_forecast_alone() -> None:
    one = forecast()
    frame = one.to_frame()
    frame.loc[0, "mean"] = 99.0
    frame.loc[0, "q0.1"] = 99.0
    frame.loc[0, "ds"] = pd.Timestamp("2030-01-01")
    same = forecast()
    np.testing.assert_array_equal(one.mean, same.mean)
    np.testing.assert_array_equal(one.quantiles, same.quantiles)
    np.testing.assert_array_equal(one.times, same.times)


def test_what_is_done_to_one_table_is_not_seen_in_the_next() -> None:
    first = forecast().to_frame()
    first.columns.name = "mine"
    first.loc[0, ["unique_id", "mean"]] = ["oats", -1.0]
    second = forecast().to_frame()
    assert second.columns.name is None
    assert second["unique_id"].iloc[0] == "milk"
    assert second["unique_id"].dtype == pd.Series(["milk"]).dtype


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        (0.9, "not 0.9"),
        ("high", "not 'high'"),
        ([0.1, None], "None"),
        ((10, 90), "write 0.9 for 90 %"),
        ((1.0,), "1.0"),
    ],
)
def test_levels_that_are_no_probabilities_are_refused(weekly_shop: Panel, levels: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Naive().fit(weekly_shop).predict(3, levels=levels)
    with pytest.raises(ConfigError, match=said):
        backtest(weekly_shop, ["naive"], horizon=3, levels=levels)


def test_quantiles_of_counts_are_counts_and_means_are_not() -> None:
    days = pd.date_range("2024-01-01", periods=6)
    demand = {"counts": [0, 1, 3, 1, 0, 2], "kilos": [0, 1.5, 3, 1, 0, 2], "returns": [0, 1, -3, 1, 0, 2]}
    table = pd.concat(pd.DataFrame({"unique_id": name, "ds": days, "y": y}) for name, y in demand.items())
    fitted = HistoricMean().fit(Panel.from_frame(table))
    mean, quantiles = fitted.unrounded(2, levels=(0.05, 0.5, 0.8))
    found = fitted.predict(2, levels=(0.8, 0.05, 0.5))
    np.testing.assert_array_equal(found.mean, mean)
    np.testing.assert_array_equal(found.quantiles[1], quantiles[1])
    assert (found.quantiles[[0, 2]] != quantiles[[0, 2]]).any()
    assert np.abs(found.quantiles - quantiles)[[0, 2]].max() <= 0.501
    assert (found.quantiles[[0, 2]] % 1 == 0).all()
    assert not np.signbit(found.quantiles[0]).any()  # no -0.0 in a table


def test_levels_may_come_one_by_one(weekly_shop: Panel) -> None:
    found = Naive().fit(weekly_shop).predict(2, levels=(level for level in (0.9, 0.1)))  # type: ignore[arg-type]
    assert found.levels == (0.1, 0.9)
    assert found.quantiles.shape[-1] == 2


def test_the_half_between_two_counts_goes_down() -> None:
    table = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=4), "y": [3, 4, 3, 4]})
    assert HistoricMean().fit(Panel.from_frame(table)).predict(1, levels=(0.5,)).quantiles.tolist() == [
        [[3.0]]
    ]  # half to even is 4
