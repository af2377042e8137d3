"""Features for any panel: nothing leaks, borders hold, scalers come back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Panel
from forecastkit.features import Ewm, Lag, Log1p, MeanAbsolute, Rolling, Segments, Standard, Windows
from forecastkit.features.origins import Origins

LENGTHS = st.lists(st.integers(0, 25), min_size=1, max_size=5).filter(sum)
SHIFTS = st.integers(1, 6)
FEATURES = st.one_of(
    st.builds(Lag, SHIFTS),
    st.builds(
        Rolling,
        st.sampled_from(["mean", "std", "min", "max", "quantile"]),
        st.integers(1, 12),
        SHIFTS,
        st.integers(1, 4),
        st.floats(0, 1),
    ),
    st.builds(Ewm, st.floats(0.5, 5), SHIFTS),
)


def offsets_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])


def demand(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.gamma(1.0, 10.0, rows)
    values[rng.random(rows) < 0.15] = np.nan
    return values


@settings(max_examples=75, deadline=None)
@given(FEATURES, LENGTHS, st.integers(0, 10**6), st.data())
def test_no_feature_reads_after_its_shift(feature, lengths, seed, data) -> None:  # type: ignore[no-untyped-def]
    offsets = offsets_of(lengths)
    values = demand(offsets[-1], seed)
    row = data.draw(st.integers(0, len(values) - 1))
    changed = values.copy()
    changed[max(0, row - feature.shift + 1) :] = 1e6
    segments = Segments(offsets)
    before, after = feature.apply(values, segments)[row], feature.apply(changed, segments)[row]
    np.testing.assert_array_equal(before, after)


@settings(max_examples=75, deadline=None)
@given(FEATURES, LENGTHS, st.integers(0, 10**6))
def test_no_feature_reads_another_series(feature, lengths, seed) -> None:  # type: ignore[no-untyped-def]
    offsets = offsets_of(lengths)
    values = demand(offsets[-1], seed)
    together = feature.apply(values, Segments(offsets))
    for first, last in pairwise(offsets):
        alone = feature.apply(values[first:last], Segments(np.array([0, last - first])))
        np.testing.assert_allclose(together[first:last], alone, rtol=1e-9, atol=1e-9)


@settings(max_examples=75, deadline=None)
@given(FEATURES, LENGTHS, st.integers(0, 10**6))
def test_reading_rows_is_applying_to_all(feature, lengths, seed) -> None:  # type: ignore[no-untyped-def]
    offsets = offsets_of(lengths)
    values, segments = demand(offsets[-1], seed), Segments(offsets)
    found = feature.read(values, segments, np.arange(len(values)))
    np.testing.assert_allclose(found, feature.apply(values, segments), rtol=1e-9, atol=1e-6)


@settings(max_examples=75, deadline=None)
@given(st.integers(1, 8), st.integers(0, 5), st.integers(1, 4), LENGTHS.filter(lambda n: min(n) > 0))
def test_windows_stay_within_their_series(lookback, horizon, stride, lengths) -> None:  # type: ignore[no-untyped-def]
    offsets = offsets_of(lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths).astype(float)
    panel = Panel(
        ids=tuple(map(str, range(len(lengths)))),
        values=owner,
        offsets=offsets,
        starts=np.zeros(len(lengths), np.int64),
        calendar=Frequency.parse("D"),
    )
    windows = Windows(lookback, horizon, stride).of(panel)
    past, future = windows[:]
    assert (past == windows.series[:, None]).all()
    assert (future == windows.series[:, None]).all()
    assert len(windows) == sum(max(0, (n - lookback - horizon) // stride + 1) for n in lengths)


@settings(max_examples=75, deadline=None)
@given(
    st.sampled_from([Standard(), MeanAbsolute(), Log1p()]),
    st.sampled_from([1e-12, 1.0, 1e12]),
    arrays.arrays(float, (3, 8), elements=st.floats(-1000, 1000)),
)
def test_scaling_comes_back_to_rounding(scaler, unit, windows) -> None:  # type: ignore[no-untyped-def]
    windows = windows * unit
    scale = scaler.measure(windows)
    back = scale.invert(scale.apply(windows))
    largest = np.abs(windows).max(axis=1, keepdims=True)
    assert (np.abs(back - windows) <= 64 * np.finfo(float).eps * largest + 1e-300).all()


@settings(max_examples=75, deadline=None)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 1000))
def test_the_design_of_a_target_reads_nothing_after_its_origin(season, step, seed) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    values = rng.gamma(2.0, 5.0, 300)
    row = int(rng.integers(step, 300))
    first = row - step + 1
    changed = values.copy()
    changed[first:] = rng.gamma(2.0, 500.0, 300 - first)
    designs = []
    for version in (values, changed):
        panel = Panel(("a",), version.copy(), np.array([0, 300]), np.array([18000]), Frequency.parse("D"))
        for given_values in (None, version):
            designs.append(Origins(season).design(panel, np.array([row]), np.array([step]), values=given_values))
    np.testing.assert_array_equal(designs[0].X, designs[2].X)
    np.testing.assert_array_equal(designs[1].X, designs[3].X)
    np.testing.assert_allclose(designs[0].X, designs[1].X, rtol=1e-9, atol=1e-9)
    assert designs[0].level == designs[2].level
