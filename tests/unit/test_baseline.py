"""The array functions behind the naive models, against the same rules written one series at a time."""

from __future__ import annotations

import numpy as np
import pytest

from forecastkit import baseline
from forecastkit.errors import ConfigError

NAN = np.nan


def laid(*series: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([np.array(s, float) for s in series]), np.cumsum([0, *map(len, series)])


def slow_season(y: np.ndarray, season: int, horizon: int) -> list[float]:
    seen = y[~np.isnan(y)]
    out = []
    for h in range(horizon):
        at = len(y) + h % season - season
        while at >= 0 and np.isnan(y[at]):
            at -= season
        out.append(y[at] if at >= 0 else (seen[-1] if len(seen) else 0.0))
    return out


@pytest.mark.parametrize("season", [1, 2, 5, 7])
def test_the_last_season_of_many_series_is_that_of_each_alone(season: int) -> None:
    rng = np.random.default_rng(season)
    series = [rng.normal(size=n) for n in (1, 3, 6, 7, 20, 41)]
    for y in series[2:]:
        y[rng.random(len(y)) < 0.4] = NAN
    y, offsets = laid(*series)
    found = baseline.last_season(y, offsets, season, 17)
    assert found.tolist() == [slow_season(s, season, 17) for s in series]


def test_a_gap_in_the_last_season_takes_the_season_before() -> None:
    y, offsets = laid([1, 2, 3, 4, NAN, 6])
    assert baseline.last_season(y, offsets, 3, 4).tolist() == [[4, 2, 6, 4]]


def test_a_place_never_seen_takes_the_last_value() -> None:
    y, offsets = laid([5, 8])
    assert baseline.last_season(y, offsets, 3, 3).tolist() == [[8, 5, 8]]


def test_the_last_value_skips_gaps_and_is_zero_where_nothing_was_seen() -> None:
    y, offsets = laid([1, 2, NAN], [NAN, NAN], [7])
    assert baseline.last_value(y, offsets).tolist() == [2, 0, 7]


def test_spread_is_the_root_mean_square_of_the_changes_that_have_both_ends() -> None:
    y, offsets = laid([0, 3, NAN, 1, 5], [2], [1, 1, 1])
    assert baseline.spread(y, offsets, 1) == pytest.approx([np.sqrt((9 + 16) / 2), 0, 0])


def test_a_lag_longer_than_everything_has_no_pairs() -> None:
    y, offsets = laid([1, 2], [3])
    assert baseline.spread(y, offsets, 5).tolist() == [0, 0]


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_spread_keeps_its_digits_at_any_scale(unit: float) -> None:
    y, offsets = laid([0, 3, 1, 5])
    assert baseline.spread(y * unit, offsets, 1) == pytest.approx(unit * baseline.spread(y, offsets, 1), rel=1e-12)


def test_seasonal_spread_grows_once_a_season() -> None:
    rng = np.random.default_rng(0)
    y, offsets = laid(list(rng.normal(size=40)))
    sigma = baseline.spread(y, offsets, 4)[0]
    grown = baseline.seasonal_spread(y, offsets, 4, 9)[0]
    assert grown == pytest.approx(sigma * np.sqrt([1, 1, 1, 1, 2, 2, 2, 2, 3]))


def test_a_series_without_two_seasons_takes_the_spread_of_the_naive_method() -> None:
    y, offsets = laid([1, 4, 2])
    sigma = np.sqrt((9 + 4) / 2)
    assert baseline.seasonal_spread(y, offsets, 7, 3)[0] == pytest.approx(sigma * np.sqrt([1, 2, 3]))


def test_quantiles_are_normal_and_stop_at_zero_where_demand_never_was_negative() -> None:
    mean, deviation = np.array([[10.0], [10.0]]), np.array([[10.0], [10.0]])
    y, offsets = laid([0, 1], [0, -1])
    quantiles = baseline.normal_quantiles(mean, deviation, (0.025, 0.5, 0.975), baseline.lowest(y, offsets))
    assert quantiles[0, 0] == pytest.approx([0, 10, 10 + 19.59964], abs=1e-5)
    assert quantiles[1, 0] == pytest.approx([10 - 19.59964, 10, 10 + 19.59964], abs=1e-5)


@pytest.mark.parametrize("season", [0, -7])
def test_a_season_below_one_period_is_refused(season: int) -> None:
    with pytest.raises(ConfigError, match="season must be at least 1"):
        baseline.check_season(season)


def test_counts_are_whole_numbers_of_which_one_is_not_zero() -> None:
    near = 0.1 + 0.2 + 0.7  # one, but for rounding
    y, offsets = laid([0, 3, NAN, 2], [0, 0.5, 2], [0, 0], [NAN, NAN], [-4, near], [], [1e12, 0.25], [7])
    assert baseline.counts(y, offsets).tolist() == [True, False, False, False, True, False, True, True]
