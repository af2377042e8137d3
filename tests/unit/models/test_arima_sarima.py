"""arima and sarima against statsmodels itself, on real shapes of demand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.statespace.sarimax import SARIMAX

import forecastkit.store
from forecastkit import models, sarimax
from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.local import Series
from forecastkit.models.arima import ARIMA
from forecastkit.models.sarima import SARIMA

LEVELS = (0.05, 0.5, 0.95)

# Where a test calls statsmodels itself or `estimate` outside the loop that silences it.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:statsmodels", "ignore::UserWarning")


def wave(periods: int = 200, season: int = 7, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    level = 50 + 0.3 * rng.normal(size=periods).cumsum()
    return level + 5 * np.sin(2 * np.pi * np.arange(periods) / season) + rng.normal(size=periods)


def one(y: np.ndarray, season: int = 7, known: np.ndarray | None = None, future: np.ndarray | None = None) -> Series:
    known = np.empty((len(y), 0)) if known is None else known
    future = np.empty((20, known.shape[1])) if future is None else future
    return Series("a", y, known, future, 1003, season, Frequency.parse("D"))


def panel(**columns: np.ndarray) -> Panel:
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2023-01-01", periods=len(columns["y"]))} | columns)
    return Panel.from_frame(frame, freq="D", known=tuple(c for c in columns if c != "y"))


DESIGNS = [
    sarimax.Design((1, 0, 1), (0, 1, 1), 7, "n", 0),
    sarimax.Design((1, 1, 1), (0, 1, 1), 12, "n", 0),
    sarimax.Design((1, 1, 0), (1, 0, 1), 4, "n", 0),
    sarimax.Design((0, 2, 1), (0, 0, 0), 1, "n", 0),
    sarimax.Design((2, 0, 1), (0, 0, 0), 1, "n", 0),
]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda d: f"{d.order}{d.seasonal}{d.season}")
@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
def test_mean_and_spread_are_those_of_the_exact_diffuse_filter(design: sarimax.Design, gaps: bool) -> None:
    y = wave(season=design.season)
    if gaps:
        y[[40, 41, 90, 150, 197]] = np.nan
    series = one(y, design.season)
    parameters = sarimax.estimate(series, design)
    mean, deviation = sarimax.extrapolate(series, design, parameters, 20)
    centre, scale, sigma = parameters[:3]
    season = (*design.seasonal, design.season) if any(design.seasonal) else (0, 0, 0, 0)
    model = SARIMAX(y - centre, order=design.order, seasonal_order=season, use_exact_diffuse=design.lost > 0)
    result = model.filter(np.append(parameters[4:], (scale * sigma) ** 2), cov_type="none")
    expected = result.get_forecast(20)
    np.testing.assert_allclose(mean, expected.predicted_mean + centre, rtol=1e-9)
    np.testing.assert_allclose(deviation, expected.se_mean, rtol=1e-7)


@pytest.mark.parametrize("design", DESIGNS[:2], ids=lambda d: f"{d.order}{d.seasonal}{d.season}")
def test_the_likelihood_is_as_high_as_that_of_statsmodels_own_fit(design: sarimax.Design) -> None:
    y = wave(season=design.season)
    parameters = sarimax.estimate(one(y, design.season), design)
    model = SARIMAX(
        y, order=design.order, seasonal_order=(*design.seasonal, design.season), simple_differencing=True,
        concentrate_scale=True,
    )  # fmt: skip
    best = model.fit(disp=0, maxiter=500).llf
    assert model.loglike(parameters[4 : 4 + design.coefficients]) > best - 0.05


def test_a_regressor_has_the_effect_that_made_the_data() -> None:
    rng = np.random.default_rng(3)
    price, promotion = rng.uniform(2, 4, 220), (rng.random(220) < 0.2).astype(float)
    y = wave(220) - 6 * price + 9 * promotion
    history, future = panel(y=y[:200], price=price[:200], promotion=promotion[:200]), np.zeros((1, 20, 2))
    future[0, :, 0], future[0, :, 1] = 3.0, 0.0
    fitted = SARIMA().fit(history)
    plain = fitted.predict(20, future=future).mean[0]
    future[0, :, 1] = 1.0
    future[0, :, 0] = 2.0
    moved = fitted.predict(20, future=future).mean[0]
    assert moved - plain == pytest.approx(15, abs=0.6)


def test_regression_and_errors_agree_with_statsmodels_joint_likelihood() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 2)).cumsum(axis=0)
    y = wave(300) + x @ np.array([2.0, -1.0])
    design = sarimax.Design((1, 0, 1), (0, 1, 1), 7, "n", 0)
    parameters = sarimax.estimate(one(y, known=x), design)
    joint = SARIMAX(y, x, order=(1, 0, 1), seasonal_order=(0, 1, 1, 7), simple_differencing=True)
    exact = joint.fit(disp=0, maxiter=500)
    np.testing.assert_allclose(parameters[1] * parameters[7:], exact.params[:2], atol=0.2 * exact.bse[:2].min())


def test_columns_that_are_constant_or_depend_on_each_other_do_no_harm() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=200)
    y = wave() + 4 * x
    clean = panel(y=y, x=x)
    messy = panel(y=y, x=x, twin=2 * x, still=np.full(200, 7.0))
    future = rng.normal(size=10)
    expected = SARIMA().fit(clean).predict(10, future=future[None, :, None], levels=LEVELS)
    both = np.stack([future, 2 * future, np.full(10, 7.0)], axis=-1)[None]
    found = SARIMA().fit(messy).predict(10, future=both, levels=LEVELS)
    np.testing.assert_allclose(found.quantiles, expected.quantiles, rtol=1e-5)


@pytest.mark.parametrize("unit", [1e-12, 1e12])
@pytest.mark.parametrize(
    "recipe", [ARIMA(), SARIMA(), SARIMA(season=52), ARIMA(order=(2, 0, 0)), SARIMA(engine="statsmodels")]
)
def test_the_unit_of_demand_is_only_a_unit(recipe: ARIMA | SARIMA, unit: float) -> None:
    y = wave()
    plain = recipe.fit(panel(y=y)).predict(14, levels=LEVELS)
    scaled = recipe.fit(panel(y=unit * y)).predict(14, levels=LEVELS)
    np.testing.assert_allclose(scaled.quantiles / unit, plain.quantiles, rtol=1e-4)


@pytest.mark.parametrize("recipe", [ARIMA(), SARIMA(), SARIMA(season=60), SARIMA(engine="statsmodels")])
def test_series_that_leave_nothing_to_estimate_still_forecast(recipe: ARIMA | SARIMA) -> None:
    line, cycle = np.arange(100.0), np.tile([1.0, 5.0, 2.0, 8.0, 3.0, 3.0, 9.0], 20)
    for y in (line, cycle, np.zeros(50), -wave()):
        forecast = recipe.fit(panel(y=y)).predict(7, levels=LEVELS)
        assert np.isfinite(forecast.quantiles).all()
    repeated = SARIMA().fit(panel(y=cycle))
    assert repeated.failures == {}
    np.testing.assert_allclose(repeated.predict(7).mean[0], cycle[:7], rtol=1e-6)


def test_a_straight_line_goes_on_with_a_trend() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 100)
    forecast = ARIMA(order=(0, 1, 1), trend="c").fit(panel(y=2.0 * np.arange(100) + noise)).predict(5)
    np.testing.assert_allclose(forecast.mean[0], 2.0 * np.arange(100, 105), atol=0.3)


def test_a_long_season_is_made_of_waves() -> None:
    t = np.arange(260)
    y = 100 + 30 * np.sin(2 * np.pi * t / 52) + np.random.default_rng(0).normal(size=260)
    fitted = SARIMA(season=52).fit(panel(y=y[:234]))
    assert fitted.failures == {}
    np.testing.assert_allclose(fitted.predict(26).mean[0], y[234:], atol=5)


def test_an_update_filters_on_with_the_same_parameters() -> None:
    y = wave()
    recipe = SARIMA(engine="statsmodels")
    fitted = recipe.fit(panel(y=y[:180]))
    moved = fitted.update(panel(y=y))
    assert moved.parameters.tolist() == fitted.parameters.tolist()
    series = one(y)
    expected, _ = sarimax.extrapolate(series, recipe.design(7), fitted.parameters[0], 20)
    np.testing.assert_allclose(moved.predict(20).mean[0], expected, rtol=1e-9)
    assert moved.predict(3).times[0, 0] > fitted.predict(3).times[0, 0]


def test_a_saved_model_is_small_and_forecasts_the_same(tmp_path: Path) -> None:
    y = wave(120)
    frames = [
        pd.DataFrame(
            {"unique_id": f"s{k:02}", "ds": pd.date_range("2023-01-01", periods=120), "y": y + k * wave(120, 7, k)}
        )
        for k in range(20)
    ]
    history = Panel.from_frame(pd.concat(frames))
    fitted = SARIMA().fit(history)
    forecastkit.store.save(fitted, tmp_path / "model")
    back = models.restore(tmp_path / "model")
    before, after = fitted.predict(14, levels=LEVELS), back.predict(14, levels=LEVELS)
    np.testing.assert_allclose(after.quantiles, before.quantiles, rtol=1e-10)
    size = sum(f.stat().st_size for f in (tmp_path / "model").iterdir())
    assert size <= history.values.nbytes + 20 * 1024


def test_a_short_forecast_is_the_beginning_of_a_long_one() -> None:
    fitted = SARIMA().fit(panel(y=wave()))
    short, long = fitted.predict(7, levels=LEVELS), fitted.predict(28, levels=LEVELS)
    np.testing.assert_allclose(short.quantiles, long.quantiles[:, :7], rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"order": (1, 1)}, "order must be three whole numbers"),
        ({"order": (1, 3, 1)}, "at most 2 differences"),
        ({"seasonal_order": (1, -1, 1)}, "seasonal_order must be"),
        ({"trend": "x"}, "trend must be one of"),
        ({"fourier": -1}, "fourier must be at least 0"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        SARIMA(**options)  # type: ignore[arg-type]
