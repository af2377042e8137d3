"""ets and theta against statsmodels itself; their gaps, intervals and choices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.forecasting.theta import ThetaModel

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.models.ets import ETS, _Form
from forecastkit.models.theta import Theta

LEVELS = (0.1, 0.5, 0.9)
BOTH = [ETS(), Theta()]

pytestmark = pytest.mark.filterwarnings("ignore::Warning:statsmodels")


def wave(periods: int = 210, season: int = 7, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    level = 50 + 0.3 * rng.normal(size=periods).cumsum()
    return level + 5 * np.sin(2 * np.pi * np.arange(periods) / season) + rng.normal(size=periods)


def panel(y: np.ndarray) -> Panel:
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2023-01-03", periods=len(y)), "y": y})
    return Panel.from_frame(frame, freq="D")


@pytest.mark.parametrize(("trend", "seasonal"), [(False, False), (False, True), (True, True)])
def test_ets_has_the_likelihood_and_forecast_of_statsmodels_model(trend: bool, seasonal: bool) -> None:
    y = wave()
    modes = {True: "always", False: "never"}
    fitted = ETS(trend=modes[trend], seasonal=modes[seasonal], log="never").fit(panel(y))
    form = _Form.unpack(fitted.parameters[0])
    assert (form.trend, form.seasonal) == (trend, seasonal)
    model = ETSModel(
        pd.Series(y / form.scale), error="add", trend="add" if trend else None, damped_trend=trend,
        seasonal="add" if seasonal else None, seasonal_periods=7 if seasonal else None,
    )  # fmt: skip
    alpha, beta, gamma, phi = form.weights
    head = form.first[: 1 + trend]
    places = np.roll(form.first[1 + trend :], -(form.origin % form.season))[::-1]  # the newest first
    values = [alpha, *([beta] * trend), *([gamma] * seasonal), *([phi] * trend), *head, *places]
    same = model.smooth(np.array(values))
    expected = same.get_prediction(start=len(y), end=len(y) + 19)
    forecast = fitted.predict(20, levels=(0.5, 0.8413447460685429))
    np.testing.assert_allclose(forecast.mean[0], form.scale * expected.predicted_mean, rtol=1e-9)
    deviation = forecast.quantiles[0, :, 1] - forecast.quantiles[0, :, 0]
    variance = np.asarray(expected.forecast_variance)
    growth = np.sqrt(variance / variance[0])
    np.testing.assert_allclose(deviation / deviation[0], growth, rtol=1e-6)
    assert same.llf > model.fit(disp=0).llf - 0.5


def test_ets_takes_a_season_only_where_there_is_one() -> None:
    rng = np.random.default_rng(0)
    flat = ETS().fit(panel(rng.normal(50, 5, 150)))
    wavy = ETS().fit(panel(wave()))
    assert not _Form.unpack(flat.parameters[0]).seasonal
    assert _Form.unpack(wavy.parameters[0]).seasonal


def test_ets_takes_the_logarithm_where_the_season_grows_with_the_level() -> None:
    t = np.arange(140)
    rng = np.random.default_rng(0)
    y = 20 * np.exp(0.008 * t + 0.2 * np.sin(2 * np.pi * t / 7) + 0.03 * rng.normal(size=140))
    fitted = ETS().fit(panel(y))
    assert _Form.unpack(fitted.parameters[0]).log
    forecast = fitted.predict(14, levels=LEVELS)
    up, down = (
        forecast.quantiles[0, :, 2] - forecast.quantiles[0, :, 1],
        forecast.quantiles[0, :, 1] - forecast.quantiles[0, :, 0],
    )
    assert (up > down).all()
    assert not _Form.unpack(ETS(log="never").fit(panel(y)).parameters[0]).log


def test_ets_of_one_form_is_that_form() -> None:
    always = ETS(trend="always", seasonal="always", log="always").fit(panel(wave() + 20))
    form = _Form.unpack(always.parameters[0])
    assert (form.log, form.trend, form.seasonal) == (True, True, True)


@pytest.mark.parametrize(("season", "shift"), [(1, 0.0), (7, 0.0), (7, -60.0)])
def test_theta_forecasts_as_statsmodels_does(season: int, shift: float) -> None:
    y = wave(season=season) + shift
    expected = ThetaModel(pd.Series(y), period=max(season, 2), deseasonalize=season > 1).fit().forecast(20)
    found = Theta(season=season).fit(panel(y)).predict(20).mean[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_theta_without_a_line_is_exponential_smoothing() -> None:
    forecast = Theta(theta=1.0, season=1).fit(panel(wave(season=1))).predict(9).mean[0]
    assert np.ptp(forecast) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("recipe", BOTH)
def test_gaps_cost_little(recipe: ETS | Theta) -> None:
    y = wave()
    holes = y.copy()
    holes[[10, 50, 51, 120, 190, 191, 208]] = np.nan
    whole, part = recipe.fit(panel(y)), recipe.fit(panel(holes))
    assert part.failures == {}
    np.testing.assert_allclose(part.predict(14).mean, whole.predict(14).mean, atol=2.0)


@pytest.mark.parametrize("recipe", BOTH)
def test_an_update_smooths_on_with_the_same_parameters(recipe: ETS | Theta) -> None:
    y = wave()
    fitted = recipe.fit(panel(y[:200]))
    moved = fitted.update(panel(y))
    assert moved.parameters.tolist() == fitted.parameters.tolist()
    raised = fitted.update(panel(np.append(y[:-1], y[-1] + 10)))
    assert (raised.predict(7).mean > moved.predict(7).mean).all()
    again = fitted.update(panel(y[:200]))
    assert again.predict(9).mean.tolist() == fitted.predict(9).mean.tolist()


@pytest.mark.parametrize("recipe", BOTH)
@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_demand_is_only_a_unit(recipe: ETS | Theta, unit: float) -> None:
    plain = recipe.fit(panel(wave())).predict(14, levels=LEVELS)
    scaled = recipe.fit(panel(unit * wave())).predict(14, levels=LEVELS)
    np.testing.assert_allclose(scaled.quantiles / unit, plain.quantiles, rtol=1e-4)


@pytest.mark.parametrize("recipe", BOTH)
def test_odd_series_still_forecast(recipe: ETS | Theta) -> None:
    cycle = np.tile([1.0, 5.0, 2.0, 8.0, 3.0, 3.0, 9.0], 20)
    sparse = np.where(np.arange(100) % 9 == 0, 4.0, 0.0)
    for y in (np.arange(100.0), cycle, np.zeros(50), -wave(), sparse, np.arange(8.0)):
        forecast = recipe.fit(panel(y)).predict(7, levels=LEVELS)
        assert np.isfinite(forecast.quantiles).all()
    np.testing.assert_allclose(recipe.fit(panel(cycle)).predict(7).mean[0], cycle[:7], rtol=0.02)


@pytest.mark.parametrize("recipe", BOTH)
def test_a_short_forecast_is_the_beginning_of_a_long_one(recipe: ETS | Theta) -> None:
    fitted = recipe.fit(panel(wave()))
    short, long = fitted.predict(7, levels=LEVELS), fitted.predict(28, levels=LEVELS)
    np.testing.assert_allclose(short.quantiles, long.quantiles[:, :7], rtol=1e-12)


def test_an_option_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="trend must be one of auto, always, never"):
        ETS(trend="damped")
    with pytest.raises(ConfigError, match="theta must be at least 1"):
        Theta(theta=0.5)
    with pytest.raises(ConfigError, match="method must be one of"):
        Theta(method="mult")
