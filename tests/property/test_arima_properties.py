"""What holds of every ARIMA fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import coefficients_of, demand, fit, forecast, simulated

from forecastkit.arima import estimation as est
from forecastkit.arima import panel as core
from forecastkit.arima.orders import Order
from forecastkit.arima.preparation import Terms

ORDERS = st.builds(
    Order, st.integers(0, 2), st.integers(0, 1), st.integers(0, 2), st.integers(0, 1), st.integers(0, 1),
    st.integers(0, 1), st.sampled_from([4, 7]),
)  # fmt: skip
SEEDS = st.integers(0, 2**31)


def noise(seed: int, n: int = 90) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n) + 0.3 * rng.normal(size=n).cumsum()


@settings(max_examples=40, deadline=None)
@given(ORDERS, SEEDS, st.sampled_from([1e-9, 1e-3, 7.0, 1e6]))
def test_a_forecast_scales_with_the_series(order: Order, seed: int, unit: float) -> None:
    y = noise(seed)
    rows = fit(order, y, unit * y)
    mean, deviation = forecast(order, rows, y, unit * y)
    size = np.abs(mean[0]).max() + deviation[0].max()
    np.testing.assert_allclose(mean[1] / unit, mean[0], atol=2e-3 * size)
    np.testing.assert_allclose(deviation[1] / unit, deviation[0], rtol=2e-2)


@settings(max_examples=30, deadline=None)
@given(ORDERS, SEEDS, st.floats(-1e3, 1e3))
def test_a_constant_takes_up_a_shift(order: Order, seed: int, shift: float) -> None:
    y = noise(seed)
    data, model = demand(y, y + shift, season=order.m), est.Model(order, Terms(1, 0, 0, 0), 0)
    rows = core.fit(data, model)
    mean, _ = core.forecast(data, np.empty((2, 12, 0)), rows, spread=False)
    np.testing.assert_allclose(mean[1] - shift, mean[0], atol=0.02 * np.ptp(y) + 1e-6 * abs(shift))


@settings(max_examples=40, deadline=None)
@given(ORDERS, SEEDS)
def test_every_estimate_is_stationary_and_invertible(order: Order, seed: int) -> None:
    c = coefficients_of(order, fit(order, noise(seed))[0])
    i, j = order.p, order.p + order.q
    k = j + order.P
    for signed in (-c[:i], c[i:j], -c[j:k], c[k:]):
        roots = np.roots(np.concatenate([[1.0], signed]))
        assert (np.abs(roots) < 1).all()


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_what_made_a_long_series_is_found_again(seed: int) -> None:
    order, truth = Order(1, 0, 1, 0, 1, 1, 7), np.array([0.6, 0.3, -0.5])
    y = simulated(order, truth, 2500, seed)
    row = fit(order, y)[0]
    np.testing.assert_allclose(coefficients_of(order, row), truth, atol=0.12)
    assert row[est.SIGMA] == pytest.approx(1, abs=0.08)


@settings(max_examples=25, deadline=None)
@given(ORDERS, SEEDS, st.integers(1, 12))
def test_gaps_never_make_a_spread_smaller(order: Order, seed: int, gaps: int) -> None:
    y = noise(seed)
    rows = fit(order, y)
    less = y.copy()
    less[np.random.default_rng(seed).choice(np.arange(1, len(y)), gaps, replace=False)] = np.nan
    _, deviation = forecast(order, np.concatenate([rows, rows]), y, less)
    assert (deviation[1] >= deviation[0] * (1 - 1e-7)).all()
