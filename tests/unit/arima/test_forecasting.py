"""Means, spreads and paths against the exact diffuse Kalman filter of statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import AIR, coefficients_of, demand, fit, forecast, panel
from statsmodels.stats.diagnostic import acorr_ljungbox
from statsmodels.tsa.statespace.sarimax import SARIMAX

from forecastkit.arima import estimation as est
from forecastkit.arima import panel as core
from forecastkit.arima.orders import Order
from forecastkit.data.panel import Floats
from forecastkit.errors import DataError, StoreError
from forecastkit.forecaster import State
from forecastkit.models.arima import ARIMA
from forecastkit.models.auto_arima import AutoARIMA
from forecastkit.models.sarima import SARIMA

pytestmark = pytest.mark.filterwarnings("ignore::Warning:statsmodels", "ignore::UserWarning")

ORDERS = [
    Order(1, 1, 1, 0, 1, 1, 12),
    Order(2, 0, 1, 1, 0, 0, 12),
    Order(0, 2, 1, 0, 0, 0, 1),
    Order(0, 1, 1, 1, 1, 1, 12),
    Order(1, 0, 0, 0, 1, 1, 4),
    Order(3, 1, 2, 0, 0, 0, 1),
]


def holes(y: Floats, seed: int) -> Floats:
    """A tenth of the values taken away, the last two among them."""
    out = y.copy()
    out[np.random.default_rng(seed).choice(np.arange(1, len(y)), len(y) // 10, replace=False)] = np.nan
    out[-2:] = np.nan
    return out


def exact(order: Order, row: Floats, y: Floats, horizon: int) -> tuple[Floats, Floats]:
    season = (order.P, order.D, order.Q, order.m) if order.m > 1 else (0, 0, 0, 0)
    model = SARIMAX(y, order=(order.p, order.d, order.q), seasonal_order=season, use_exact_diffuse=True)
    parameters = np.append(coefficients_of(order, row), row[est.SIGMA] ** 2)
    found = model.filter(parameters, cov_type="none").get_forecast(horizon)
    return found.predicted_mean, found.se_mean


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_forecasts_are_those_of_the_exact_diffuse_filter(order: Order, gaps: bool) -> None:
    y = holes(AIR, 1) if gaps else AIR
    rows = fit(order, y)
    mean, deviation = forecast(order, rows, y)
    expected, spread = exact(order, rows[0], y, 18)
    np.testing.assert_allclose(mean[0], expected, rtol=1e-8)
    np.testing.assert_allclose(deviation[0], spread, rtol=1e-7)


def test_the_joint_covariance_has_the_spreads_on_its_diagonal() -> None:
    for y in (AIR, holes(AIR, 2)):
        rows = fit(ORDERS[0], y)
        _, deviation = forecast(ORDERS[0], rows, y)
        _, covariance = core.joint(demand(y), 0, np.empty((18, 0)), rows[0])
        np.testing.assert_allclose(np.sqrt(np.diag(covariance)), deviation[0], rtol=1e-10)
        np.testing.assert_allclose(covariance, covariance.T)
        assert np.linalg.eigvalsh(covariance).min() > -1e-9 * covariance.max()


@pytest.mark.parametrize("y", [AIR, holes(AIR, 3)], ids=["whole", "gaps"])
def test_simulated_paths_have_the_quantiles_and_the_seed_decides(y: Floats) -> None:
    fitted = SARIMA(order=(1, 1, 1)).fit(panel(y[:-2] if np.isnan(y[-1]) else y))
    paths = fitted.simulate(4000, 12, seed=7)
    wanted = fitted.predict(12, levels=(0.1, 0.5, 0.9)).quantiles[0]
    found = np.quantile(paths[0], (0.1, 0.5, 0.9), axis=0).T
    spread = (wanted[:, 2] - wanted[:, 0])[:, None]
    assert (np.abs(found - wanted) < 0.06 * spread).all()
    np.testing.assert_array_equal(paths, fitted.simulate(4000, 12, seed=7))
    assert (paths != fitted.simulate(4000, 12, seed=8)).any()


def test_residuals_are_those_of_statsmodels_after_the_beginning() -> None:
    fitted = SARIMA(order=(0, 1, 1), seasonal_order=(0, 1, 1)).fit(panel(AIR))
    row = fitted.parameters[0]
    model = SARIMAX(AIR, order=(0, 1, 1), seasonal_order=(0, 1, 1, 12), simple_differencing=True)
    result = model.filter(np.append(coefficients_of(Order(0, 1, 1, 0, 1, 1, 12), row), row[est.SIGMA] ** 2))
    own = fitted.residuals()
    assert np.isnan(own[:13]).all()
    np.testing.assert_allclose(own[-60:], result.resid[-60:], atol=0.02 * row[est.SIGMA])


def test_a_summary_has_the_standard_errors_of_statsmodels() -> None:
    x = np.random.default_rng(4).normal(size=len(AIR))
    y = np.log(AIR) + 0.05 * x
    summary = SARIMA(order=(1, 1, 1)).fit(panel(y, price=x)).summary("a")
    assert summary.names == ("price", "ar.L1", "ma.L1", "ma.S.L12", "sigma2")
    model = SARIMAX(y, x, order=(1, 1, 1), seasonal_order=(0, 1, 1, 12), simple_differencing=True)
    # At our estimates: the likelihood is so flat that errors at statsmodels' own optimum differ by a tenth. Its
    # derivatives by a complex step ("approx") are exact to rounding; its "oim" is another, asymptotic information.
    result = model.smooth(summary.estimates, cov_type="approx")
    np.testing.assert_allclose(summary.errors[1:4], result.bse[1:4], rtol=1e-6)
    # Ours of the regression and of sigma2 are given the coefficients, so without the other rows of the information.
    alone = 1 / np.sqrt(np.diag(np.linalg.inv(result.cov_params())))
    np.testing.assert_allclose(summary.errors[[0, 4]], alone[[0, 4]], rtol=1e-6)
    assert summary.llf == pytest.approx(result.llf, abs=1e-8)
    assert (summary.aic, summary.bic) == pytest.approx((result.aic, result.bic), abs=1e-8)
    best = model.fit(summary.estimates, disp=0, maxiter=500)
    np.testing.assert_allclose(summary.estimates, best.params, atol=0.02)
    assert summary.llf == pytest.approx(best.llf, abs=1e-3)


def test_the_text_of_a_summary_has_the_model_and_the_tests() -> None:
    text = str(SARIMA(order=(1, 1, 1)).fit(panel(np.log(AIR))).summary("a"))
    assert "SARIMA(1, 1, 1)(0, 1, 1)[12]" in text
    assert "Ljung-Box" in text


NOISE = np.random.default_rng(5).normal(size=300)


@pytest.mark.parametrize(
    ("recipe", "y", "lags", "coefficients"),
    [
        (ARIMA(order=(0, 0, 1)), NOISE, 10, 1),
        (ARIMA(order=(0, 0, 0)), NOISE + np.roll(NOISE, 1), 10, 0),
        (SARIMA(order=(1, 1, 1)), np.log(AIR), 24, 3),
    ],
    ids=["noise", "what is left over", "season"],
)
def test_ljung_box_is_that_of_statsmodels(recipe: ARIMA | SARIMA, y: Floats, lags: int, coefficients: int) -> None:
    fitted = recipe.fit(panel(y))
    residual = fitted.residuals()
    expected = acorr_ljungbox(residual[~np.isnan(residual)], lags=[lags], model_df=coefficients)
    assert fitted.summary("a").ljung_box == pytest.approx((lags, *expected.iloc[0]), rel=1e-8)


def test_an_update_filters_on_and_a_refit_estimates_again() -> None:
    fitted = SARIMA(order=(1, 1, 1)).fit(panel(AIR[:-24]))
    updated, again, cold = (
        fitted.update(panel(AIR)),
        fitted.refit(panel(AIR), horizon=6),
        SARIMA(order=(1, 1, 1)).fit(panel(AIR)),
    )
    np.testing.assert_array_equal(updated.parameters, fitted.parameters)
    assert (again.parameters != fitted.parameters).any()
    assert again.horizon == 6
    np.testing.assert_allclose(again.predict(6).mean, cold.predict(6).mean, rtol=1e-2)
    expected, _ = exact(Order(1, 1, 1, 0, 1, 1, 12), fitted.parameters[0], AIR, 6)
    np.testing.assert_allclose(updated.predict(6).mean[0], expected, rtol=1e-8)


@pytest.mark.parametrize("power", ["auto", 0.0, 0.5, -0.3])
def test_a_box_cox_transform_keeps_the_growing_season_and_the_mean_above_the_median(power: float | str) -> None:
    fitted = AutoARIMA(boxcox=power).fit(panel(AIR[:-12] * 1.01))  # no whole numbers, nor are the quantiles
    forecast = fitted.predict(12, levels=(0.1, 0.5, 0.9))
    assert np.abs(forecast.mean[0] / 1.01 / AIR[-12:] - 1).mean() < 0.06
    assert (forecast.mean[0] > forecast.quantiles[0, :, 1]).all()
    low, middle, high = (np.log(forecast.quantiles[0, :, k]) for k in range(3))
    if power == 0.0:
        np.testing.assert_allclose(high - middle, middle - low, rtol=1e-9)


def test_the_mean_of_a_transformed_model_does_not_depend_on_the_levels() -> None:
    fitted = AutoARIMA(boxcox=-1.0).fit(panel(np.random.default_rng(8).lognormal(0, 0.8, 80)))
    plain, wide = fitted.predict(24), fitted.predict(24, levels=(0.001, 0.999))
    np.testing.assert_array_equal(plain.mean, wide.mean)
    assert np.isfinite(wide.quantiles).all()


def test_newer_values_that_a_transform_can_not_take_are_said() -> None:
    fitted = AutoARIMA(boxcox=0.0).fit(panel(AIR[:-12]))
    less = AIR.copy()
    less[-1] = 0.0
    moved = fitted.update(panel(less))
    assert "can't take its newer values" in moved.failures["a"]
    assert np.isfinite(moved.predict(6).mean).all()


@pytest.mark.parametrize("damage", ["order", "shape", "nan"])
def test_rows_that_are_not_of_the_model_are_refused(damage: str) -> None:
    fitted = SARIMA().fit(panel(AIR))
    rows = fitted.parameters.copy()
    if damage == "shape":
        rows = rows[:, :-3]
    else:
        rows[0, est.ORDER] = 1000.0 if damage == "order" else np.nan
    with pytest.raises(StoreError, match="not of this model"):
        type(fitted).from_state(State({"parameters": rows}), recipe=fitted.recipe, history=fitted.history)


def test_both_engines_give_the_same_forecast() -> None:
    x = np.random.default_rng(6).normal(size=len(AIR))
    history, plan = panel(np.log(AIR) + 0.1 * x, price=x), np.random.default_rng(7).normal(size=(1, 12, 1))
    for recipe in (SARIMA(order=(0, 1, 1)), ARIMA(order=(1, 1, 0))):
        options = {"order": recipe.order}
        own = recipe.fit(history).predict(12, levels=(0.1, 0.9), future=plan)
        other = type(recipe)(**options, engine="statsmodels").fit(history).predict(12, levels=(0.1, 0.9), future=plan)
        np.testing.assert_allclose(own.mean, other.mean, atol=0.01)
        np.testing.assert_allclose(own.quantiles, other.quantiles, atol=0.02)


def test_a_fitted_model_explains_itself_by_coefficients_with_standard_errors() -> None:
    rng = np.random.default_rng(0)
    price = rng.random(120)
    fitted = SARIMA(order=(1, 0, 0), seasonal_order=(0, 0, 0)).fit(
        panel(20 - 5 * price + rng.normal(size=120), price=price)
    )
    told, summary = fitted.explain("a"), fitted.summary("a")
    estimate, error = told.coefficients["price"]
    assert abs(estimate + 5) < 3 * error
    assert list(told.coefficients) == list(summary.names)
    assert told.form == summary.model
    with pytest.raises(DataError, match="no series 'zz' in this model"):
        fitted.explain("zz")


def test_a_series_that_failed_is_explained_by_its_reason() -> None:
    told = SARIMA().fit(panel(np.array([1.0, 2.0]))).explain("a")
    assert "seasonal naive stands in" in told.form
    assert not told.coefficients
