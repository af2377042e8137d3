"""naive, seasonal_naive, historic_mean and window_average on whole panels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.models.historic_mean import HistoricMean
from forecastkit.models.naive import Naive
from forecastkit.models.seasonal_naive import SeasonalNaive
from forecastkit.models.window_average import WindowAverage

ALL = [Naive(), SeasonalNaive(season=7), HistoricMean(), WindowAverage(), WindowAverage(seasonal=True, window=3)]


def panel(*series: list[float], **columns: list[bool]) -> Panel:
    frames = [
        pd.DataFrame({"unique_id": f"s{k}", "ds": pd.date_range("2024-01-01", periods=len(y)), "y": y})
        for k, y in enumerate(series)
    ]
    frame = pd.concat(frames).assign(**columns)
    return Panel.from_frame(frame, freq="D", available="available" if "available" in columns else None)


@pytest.mark.parametrize("recipe", ALL)
@pytest.mark.parametrize("constant", [0.0, 7.3, 1e12, 1e-12, -4.0])
def test_a_constant_comes_out_to_the_last_digit(recipe: object, constant: float) -> None:
    forecast = recipe.fit(panel([constant] * 30)).predict(10, levels=(0.1, 0.9))  # type: ignore[attr-defined]
    assert (forecast.mean == constant).all()
    assert (forecast.quantiles == constant).all()


@pytest.mark.parametrize("recipe", ALL)
def test_a_series_of_length_one_repeats_its_value(recipe: object) -> None:
    assert recipe.fit(panel([3.0], [1, 2, 3, 4.0])).predict(5).mean[0].tolist() == [3.0] * 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("recipe", ALL)
def test_neighbours_of_other_scales_change_nothing(recipe: object) -> None:
    rng = np.random.default_rng(0)
    series = [list(unit * rng.gamma(2, size=50)) for unit in (1e12, 1.0, 1e-12)]
    together = recipe.fit(panel(*series)).predict(9, levels=(0.2, 0.8))  # type: ignore[attr-defined]
    for k, y in enumerate(series):
        alone = recipe.fit(panel(y)).predict(9, levels=(0.2, 0.8))  # type: ignore[attr-defined]
        np.testing.assert_allclose(together.mean[k], alone.mean[0], rtol=1e-12)
        np.testing.assert_allclose(together.quantiles[k], alone.quantiles[0], rtol=1e-9)


@pytest.mark.parametrize("recipe", ALL)
def test_a_value_of_an_unavailable_period_is_not_seen(recipe: object) -> None:
    y = list(np.random.default_rng(1).uniform(5, 9, 27))

    def forecast(last: float, sold: bool) -> list[list[float]]:
        history = panel([*y, last, last, last], available=[True] * 27 + [sold] * 3)
        return recipe.fit(history).predict(7, levels=(0.9,)).quantiles.tolist()  # type: ignore[attr-defined]

    assert forecast(0.0, False) == forecast(99.0, False)
    assert forecast(0.0, True) != forecast(99.0, True)


@pytest.mark.parametrize("recipe", ALL)
def test_a_series_never_on_sale_is_zero_and_listed(recipe: object) -> None:
    fitted = recipe.fit(panel([4.0, 5.0], available=[False, False]))  # type: ignore[attr-defined]
    assert fitted.failures == {"s0": "no observed value, forecast as 0"}
    assert fitted.predict(2).mean.tolist() == [[0.0, 0.0]]


def test_naive_quantiles_widen_with_the_root_of_the_step() -> None:
    forecast = Naive().fit(panel([10.5, 12, 9, 14, 11.0])).predict(4, levels=(0.5, 0.9))
    width = forecast.quantiles[0, :, 1] - forecast.quantiles[0, :, 0]
    assert width / width[0] == pytest.approx(np.sqrt([1, 2, 3, 4]))


def test_the_historic_mean_has_the_textbook_spread() -> None:
    y = [2.5, 4.0, 8.5]
    forecast = HistoricMean().fit(panel(y)).predict(1, levels=(0.8413447460685429,))
    assert forecast.mean[0, 0] == pytest.approx(5)
    assert forecast.quantiles[0, 0, 0] - 5 == pytest.approx(np.std(y, ddof=1) * np.sqrt(1 + 1 / 3))


def test_a_window_averages_the_last_observed_values() -> None:
    forecast = WindowAverage(window=3).fit(panel([9, 1, 2, np.nan, 3.0])).predict(2)
    assert forecast.mean[0] == pytest.approx([2, 2])


def test_a_seasonal_window_averages_each_place_of_the_season() -> None:
    forecast = WindowAverage(window=2, season=2, seasonal=True).fit(panel([100, 1, 2, 3, 4, 5.0])).predict(3)
    assert forecast.mean[0] == pytest.approx([3, 4, 3])


def test_the_spread_of_a_window_is_that_of_its_one_step_errors() -> None:
    y = np.random.default_rng(0).normal(50, 5, 60)
    errors = [y[t] - y[max(0, t - 4) : t].mean() for t in range(1, 60)]
    forecast = WindowAverage(window=4).fit(panel(list(y))).predict(1, levels=(0.5, 0.8413447460685429))
    assert forecast.quantiles[0, 0, 1] - forecast.quantiles[0, 0, 0] == pytest.approx(
        np.sqrt(np.mean(np.square(errors)))
    )


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="window must be at least 1"):
        WindowAverage(window=0)


@pytest.mark.parametrize(
    ("file", "horizon", "season", "expected"),
    [("m5_foods_ca_top500_daily", 28, 7, 0.981), ("m4_hourly", 48, 24, 1.193), ("stallion_monthly", 6, 12, 1.931)],
)
def test_seasonal_naive_has_the_published_mase(
    shared_data: Path, file: str, horizon: int, season: int, expected: float
) -> None:
    whole = Panel.from_frame(pd.read_parquet(shared_data / f"{file}.parquet"))
    train = whole.cut(whole.lengths - horizon)
    mean = SeasonalNaive(season=season).fit(train).predict(horizon).mean
    scores = []
    for i in range(len(whole)):
        y, actual = train.series(i), whole.series(i)[-horizon:]
        scores.append(np.abs(actual - mean[i]).mean() / np.abs(y[season:] - y[:-season]).mean())
    assert np.mean(scores) == pytest.approx(expected, abs=5e-4)
