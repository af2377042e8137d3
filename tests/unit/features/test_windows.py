"""Windows are views, and none crosses the border of a series."""

from __future__ import annotations

import numpy as np
import pytest

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.features import Windows


def test_windows_of_a_series_share_its_memory() -> None:
    values = np.arange(20.0)
    past, future = Windows(5, 2).apply(values)
    assert past.shape == (14, 5)
    assert future.shape == (14, 2)
    assert np.shares_memory(past, values)
    assert np.shares_memory(future, values)


def test_a_stride_counts_back_so_that_the_newest_window_is_in() -> None:
    past, future = Windows(3, 1, stride=4).apply(np.arange(10.0))
    assert future[:, 0].tolist() == [5, 9]
    assert past[-1].tolist() == [6, 7, 8]


def test_a_series_that_is_too_short_has_no_windows() -> None:
    past, future = Windows(5, 2).apply(np.arange(6.0))
    assert past.shape == (0, 5)
    assert future.shape == (0, 2)


@pytest.mark.parametrize("stride", [1, 3])
def test_windows_of_a_panel_are_those_of_its_series(weekly_shop: Panel, stride: int) -> None:
    shape = Windows(14, 7, stride)
    windows = shape.of(weekly_shop)
    past, future = windows[:]
    for i in range(len(weekly_shop)):
        own_past, own_future = shape.apply(weekly_shop.series(i))
        np.testing.assert_array_equal(past[windows.series == i], own_past)
        np.testing.assert_array_equal(future[windows.series == i], own_future)


def test_the_position_is_the_cutoff_within_the_series(weekly_shop: Panel) -> None:
    windows = Windows(14, 7).of(weekly_shop)
    past, future = windows[37]
    series = weekly_shop.series(int(windows.series[37]))
    cutoff = int(windows.position[37])
    np.testing.assert_array_equal(past, series[cutoff - 14 : cutoff])
    np.testing.assert_array_equal(future, series[cutoff : cutoff + 7])


def test_series_shorter_than_a_window_take_no_part(weekly_shop: Panel) -> None:
    windows = Windows(125, 1).of(weekly_shop)
    assert set(windows.series.tolist()) == {1, 2}
    assert not len(Windows(500).of(weekly_shop))


@pytest.mark.parametrize("wrong", [{"lookback": 0}, {"lookback": 3, "horizon": -1}, {"lookback": 3, "stride": 0}])
def test_a_window_without_length_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be at least"):
        Windows(**wrong)
