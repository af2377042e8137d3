"""Scalers measure windows or series, and invert exactly."""

from __future__ import annotations

import numpy as np
import pytest

from forecastkit.data.panel import Panel
from forecastkit.features import Log1p, MeanAbsolute, Scale, Standard, measure_panel

SCALERS = [Standard(), MeanAbsolute(), Log1p()]


def test_standard_windows_have_mean_zero_and_deviation_one() -> None:
    windows = np.random.default_rng(0).normal(50, 7, (5, 30))
    scaled = Standard().measure(windows).apply(windows)
    np.testing.assert_allclose(scaled.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=1), 1)


def test_missing_values_are_left_out() -> None:
    windows = np.array([[2.0, np.nan, 4.0]])
    assert Standard().measure(windows).shift.tolist() == [3.0]
    assert MeanAbsolute().measure(windows).size.tolist() == [3.0]


@pytest.mark.parametrize("scaler", SCALERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("window", [[0.0, 0.0], [0.1, 0.1, 0.1], [np.nan, np.nan], [1e300, -1e300], [5e-324, 0.0]])
def test_a_scale_is_never_zero_or_infinite(scaler: Standard, window: list[float]) -> None:
    windows = np.array([window])
    scale = scaler.measure(windows)
    assert scale.size[0] > 0
    assert np.isfinite([scale.size[0], scale.shift[0]]).all()


def test_a_constant_is_scaled_to_zero_by_standard() -> None:
    windows = np.full((1, 3), 0.1)
    np.testing.assert_allclose(Standard().measure(windows).apply(windows), 0, atol=1e-15)


def test_one_scale_serves_the_future_of_its_window() -> None:
    scale = MeanAbsolute().measure(np.array([[2.0], [10.0]]))
    np.testing.assert_array_equal(scale.apply(np.array([[4.0, 6.0], [10.0, 5.0]])), [[2, 3], [1, 0.5]])
    assert scale.rows(np.array([1])).size.tolist() == [10.0]


def test_signs_survive_the_logarithm() -> None:
    scale = Log1p().measure(np.zeros((1, 3)))
    scaled = scale.apply(np.array([[-9.0, 0.0, 9.0]]))
    np.testing.assert_allclose(scaled, [[-np.log(10), 0, np.log(10)]])


@pytest.mark.parametrize("scaler", SCALERS, ids=lambda s: type(s).__name__)
def test_a_panel_is_measured_series_by_series(weekly_shop: Panel, scaler: Standard) -> None:
    whole, recent = measure_panel(scaler, weekly_shop), measure_panel(scaler, weekly_shop, periods=10)
    for i in range(len(weekly_shop)):
        for found, window in ((whole, weekly_shop.series(i)), (recent, weekly_shop.series(i)[-10:])):
            expected: Scale = scaler.measure(window[None])
            np.testing.assert_allclose(found.size[i], expected.size[0])
            np.testing.assert_allclose(found.shift[i], expected.shift[0])
