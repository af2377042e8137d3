"""Lags and rolling statistics agree with pandas and with themselves read row by row."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from forecastkit.errors import ConfigError
from forecastkit.features import Ewm, Lag, Rolling, Segments

OFFSETS = np.array([0, 1, 60, 60, 200])  # a series of one period, and one of none


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(3)
    values = rng.gamma(2.0, 5.0, OFFSETS[-1])
    values[rng.random(len(values)) < 0.2] = np.nan
    return values


def by_pandas(values: np.ndarray, work) -> np.ndarray:  # type: ignore[no-untyped-def]
    pieces = [pd.Series(values[a:b]) for a, b in pairwise(OFFSETS)]
    return np.concatenate([work(piece).to_numpy() for piece in pieces])


@pytest.mark.parametrize("shift", [1, 3])
@pytest.mark.parametrize("window", [1, 2, 7, 13, 64, 1000])
@pytest.mark.parametrize("stat", ["mean", "std", "min", "max"])
def test_rolling_statistics_are_those_of_pandas(values: np.ndarray, stat: str, window: int, shift: int) -> None:
    found = Rolling(stat, window, shift=shift).apply(values, Segments(OFFSETS))
    expected = by_pandas(values, lambda s: getattr(s.shift(shift).rolling(window, min_periods=1), stat)())
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-6 if stat == "std" else 0)


@pytest.mark.parametrize("q", [0.0, 0.3, 0.5, 1.0])
def test_rolling_quantiles_are_those_of_pandas(values: np.ndarray, q: float) -> None:
    found = Rolling("quantile", 9, q=q).apply(values, Segments(OFFSETS))
    expected = by_pandas(values, lambda s: s.shift(1).rolling(9, min_periods=1).quantile(q))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_weighted_mean_is_that_of_pandas(values: np.ndarray) -> None:
    found = Ewm(5).apply(values, Segments(OFFSETS))
    expected = by_pandas(values, lambda s: s.ewm(halflife=5, ignore_na=False).mean().shift(1))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_seasonal_window_takes_the_same_weekday_of_past_weeks() -> None:
    values = np.arange(40.0)
    found = Rolling("mean", 3, shift=7, every=7).apply(values, Segments(np.array([0, 40])))
    assert found[35] == np.mean([28, 21, 14])
    assert np.isnan(found[6])


@pytest.mark.parametrize(
    "feature",
    [Lag(1), Lag(9), *(Rolling(s, 5, shift=2, every=3) for s in ("mean", "std", "min", "max", "quantile")), Ewm(2)],
    ids=lambda f: f.name,
)
def test_a_feature_read_at_some_rows_is_the_one_of_all_rows(values: np.ndarray, feature) -> None:  # type: ignore[no-untyped-def]
    rows = np.array([199, 0, 1, 5, 59, 60, 61, 150])
    segments = Segments(OFFSETS)
    np.testing.assert_allclose(feature.read(values, segments, rows), feature.apply(values, segments)[rows], rtol=1e-9)


def test_a_huge_value_leaves_the_window_without_a_trace() -> None:
    values = np.full(100, 1e-3)
    values[10] = 1e12
    segments = Segments(np.array([0, 100]))
    assert Rolling("mean", 7).apply(values, segments)[30] == pytest.approx(1e-3, rel=1e-12)
    assert Rolling("std", 7).apply(values, segments)[30] == 0


def test_the_spread_of_large_numbers_close_together_is_exact() -> None:
    values = 1e12 + np.arange(50.0)
    found = Rolling("std", 8).apply(values, Segments(np.array([0, 50])))
    assert found[20] == pytest.approx(np.std(np.arange(8.0), ddof=1), rel=1e-6)


def test_a_feature_that_would_read_its_target_is_refused() -> None:
    for make in (lambda: Lag(0), lambda: Rolling("mean", 3, shift=0), lambda: Ewm(3, shift=0)):
        with pytest.raises(ConfigError, match="shift must be a whole number from 1 on"):
            make()


def test_an_unknown_statistic_is_answered_with_the_closest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        Rolling("meen", 3)


@pytest.mark.parametrize("wrong", [{"q": 1.5}, {"window": 0}, {"every": 0}])
def test_windows_and_quantiles_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Rolling(**{"stat": "quantile", "window": 3} | wrong)  # type: ignore[arg-type]


def test_a_half_life_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="halflife"):
        Ewm(0)
