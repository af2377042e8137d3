"""Invariances that hold for any actuals and forecasts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forecastkit.evaluation import metrics

LEVELS = (0.1, 0.5, 0.9)
ordinary = st.floats(-1e6, 1e6).map(lambda v: round(v, 3))
demand = st.floats(0.01, 1e6).map(lambda v: round(v, 3))
factors = st.sampled_from([1e-12, 1e-3, 0.5, 7.0, 1e12])


def pairs(elements=demand):
    return hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=12).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(float, shape, elements=elements), hnp.arrays(float, shape, elements=elements)
        )
    )


@given(pairs(), factors)
def test_relative_metrics_do_not_know_the_unit(arrays, factor) -> None:
    y, f = arrays
    quantiles = np.stack([f * 0.8, f, f * 1.2], axis=-1)
    loss = metrics.weighted_quantile_loss
    for function in (metrics.wape, metrics.smape, metrics.bias):
        np.testing.assert_allclose(function(factor * y, factor * f), function(y, f), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        loss(factor * y, factor * quantiles, LEVELS), loss(y, quantiles, LEVELS), rtol=1e-6, atol=1e-9
    )


@given(pairs(), hnp.arrays(float, st.integers(9, 40), elements=demand), factors)
def test_scaled_errors_do_not_know_the_unit(arrays, train, factor) -> None:
    y, f = arrays
    for function, scale in ((metrics.mase, metrics.absolute_scale), (metrics.rmsse, metrics.squared_scale)):
        here, there = scale(train, 7), scale(factor * train, 7)
        if here > 1e-3:  # differences of rounding size have no invariance to show
            np.testing.assert_allclose(
                function(factor * y, factor * f, there), function(y, f, here), rtol=1e-6, atol=1e-9
            )


@given(pairs(), factors)
def test_absolute_metrics_carry_the_unit(arrays, factor) -> None:
    y, f = arrays
    for function in (metrics.mae, metrics.rmse):
        np.testing.assert_allclose(function(factor * y, factor * f), factor * function(y, f), rtol=1e-6)


@given(pairs(ordinary), st.integers(-1000, 1000))
def test_errors_do_not_change_when_both_are_shifted(arrays, shift) -> None:
    y, f = arrays
    for function in (metrics.mae, metrics.rmse):
        np.testing.assert_allclose(function(y + shift, f + shift), function(y, f), rtol=1e-6, atol=1e-6)


@given(hnp.arrays(float, st.integers(2, 40), elements=ordinary), st.integers(1, 10), st.integers(-1000, 1000))
def test_a_scale_does_not_change_when_the_training_part_is_shifted(train, season, shift) -> None:
    for scale in (metrics.absolute_scale, metrics.squared_scale):
        np.testing.assert_allclose(scale(train + shift, season), scale(train, season), rtol=1e-6, atol=1e-3)


@given(pairs(), st.floats(0.1, 100))
def test_bias_is_positive_when_too_much_is_forecast_and_turns_with_the_error(arrays, extra) -> None:
    y, _ = arrays
    assert (metrics.bias(y, y + extra) > 0).all()
    np.testing.assert_allclose(metrics.bias(y, y + extra), -metrics.bias(y, y - extra), rtol=1e-6)


@given(pairs(ordinary))
def test_smape_is_symmetric_and_between_nought_and_two_hundred(arrays) -> None:
    y, f = arrays
    scores = metrics.smape(y, f)
    np.testing.assert_allclose(scores, metrics.smape(f, y))
    assert ((scores >= 0) & (scores <= 200 * (1 + 1e-9))).all()


@given(pairs(ordinary))
def test_bias_never_exceeds_wape_and_mae_never_exceeds_rmse(arrays) -> None:
    y, f = arrays
    signed, absolute = np.abs(metrics.bias(y, f)), metrics.wape(y, f)
    assert (np.isnan(signed) | (signed <= absolute * (1 + 1e-9))).all()
    assert (metrics.mae(y, f) <= metrics.rmse(y, f) * (1 + 1e-9)).all()


@given(pairs(), st.randoms(use_true_random=False))
def test_the_order_of_periods_does_not_matter(arrays, random) -> None:
    y, f = (np.atleast_2d(a) for a in arrays)
    order = list(range(y.shape[1]))
    random.shuffle(order)
    for function in (metrics.mae, metrics.rmse, metrics.wape, metrics.smape, metrics.bias):
        np.testing.assert_allclose(function(y[:, order], f[:, order]), function(y, f), rtol=1e-9, atol=1e-12)


@given(hnp.arrays(float, st.integers(1, 60), elements=demand), st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]))
def test_no_constant_has_less_pinball_loss_than_the_empirical_quantile(y, level) -> None:
    best = np.quantile(y, level, method="inverted_cdf")
    losses = [metrics.pinball(y, np.full(len(y), c), level) for c in (best, *y)]
    assert losses[0] <= min(losses[1:]) * (1 + 1e-9) + 1e-9


@given(hnp.arrays(float, st.integers(30, 90), elements=demand), st.integers(1, 30), st.integers(1, 14), factors)
def test_naive2_scales_with_its_series_and_agrees_on_shorter_horizons(y, horizon, season, factor) -> None:
    whole = metrics.naive2(y, season, horizon)
    np.testing.assert_array_equal(metrics.naive2(y, season, 1), whole[:1])
    np.testing.assert_allclose(metrics.naive2(y * factor, season, horizon), whole * factor, rtol=1e-6)
