"""The exact likelihood against statsmodels' own, its gradient against differences."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.tsa.statespace.sarimax import SARIMAX

from forecastkit.arima.likelihood import evaluate, log_likelihood, room_for
from forecastkit.arima.linking import driver
from forecastkit.arima.orders import Order, coefficients, count, free_numbers, reach
from forecastkit.arima.preparation import impulse


@driver
def value_by_matrices(order, c, columns, regressors):  # type: ignore[no-untyped-def]
    room = room_for(columns.shape[1], len(columns), reach(order), count(order))
    return log_likelihood(order, c, columns, regressors, room, False), room.betas[0, 1:].copy()


pytestmark = pytest.mark.filterwarnings("ignore::Warning:statsmodels", "ignore::UserWarning")

ORDERS = [
    Order(p, 0, q, P, 0, Q, m)
    for m, orders in {
        1: [
            (1, 0, 0, 0),
            (0, 1, 0, 0),
            (1, 1, 0, 0),
            (2, 1, 0, 0),
            (3, 2, 0, 0),
            (5, 0, 0, 0),
            (0, 5, 0, 0),
            (2, 2, 0, 0),
        ],
        4: [(1, 1, 1, 1), (2, 0, 1, 0), (0, 2, 0, 1), (3, 3, 2, 2), (1, 0, 0, 2)],
        7: [(1, 1, 0, 1), (0, 1, 1, 1), (5, 5, 2, 2), (2, 2, 1, 0), (0, 0, 1, 1)],
        12: [(0, 1, 0, 1), (1, 1, 0, 1), (2, 1, 1, 1), (0, 0, 2, 0), (2, 2, 1, 1), (1, 2, 0, 2), (3, 0, 1, 1)],
        24: [(1, 1, 0, 1), (0, 1, 0, 1), (1, 0, 1, 0), (2, 2, 1, 1)],
        52: [(1, 1, 0, 1), (0, 1, 1, 0), (1, 0, 1, 1)],
        80: [(1, 1, 0, 1), (2, 0, 1, 1), (0, 2, 0, 1), (1, 0, 1, 0)],  # by the recursions for long lags
    }.items()
    for p, q, P, Q in orders
]


def name(order: Order) -> str:
    return f"({order.p},{order.q})({order.P},{order.Q}){order.m}"


def at(order: Order, partials: np.ndarray) -> np.ndarray:
    """Coefficients with these partial autocorrelations."""
    k = count(order)
    c = np.zeros(k)
    coefficients(order, np.arcsin(partials), c, np.zeros((k, k)), np.zeros(k))
    return c


def series(order: Order, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n = 3 * order.m + 60
    return rng.normal(size=n) + 0.5 * np.sin(np.arange(n)) + 0.1 * rng.normal(size=n).cumsum()


def reference(order: Order, y: np.ndarray, **options: object) -> SARIMAX:
    season = (order.P, order.D, order.Q, order.m) if order.m > 1 else (0, 0, 0, 0)
    return SARIMAX(y, order=(order.p, order.d, order.q), seasonal_order=season, **options)


@pytest.mark.parametrize("order", ORDERS, ids=name)
def test_the_likelihood_is_that_of_statsmodels(order: Order) -> None:
    w = series(order, 1)
    model = reference(order, w, simple_differencing=True, concentrate_scale=True)
    for seed in range(4):
        c = at(order, np.random.default_rng(seed).uniform(-0.9, 0.9, count(order)))
        value = evaluate(order, c, w[None].copy(), 0)[0]
        assert value == pytest.approx(model.loglike(c), rel=1e-9)


@pytest.mark.parametrize("order", ORDERS, ids=name)
def test_the_likelihood_holds_beside_the_unit_circle(order: Order) -> None:
    w = series(order, 2)
    model = reference(order, w, simple_differencing=True, concentrate_scale=True)
    rng = np.random.default_rng(3)
    partials = rng.uniform(-0.5, 0.5, count(order))
    edge = rng.integers(count(order))
    partials[edge] = (1 - 5e-4) * rng.choice([-1.0, 1.0])
    c = at(order, partials)
    assert evaluate(order, c, w[None].copy(), 0)[0] == pytest.approx(model.loglike(c), rel=1e-6)


@pytest.mark.parametrize("order", ORDERS, ids=name)
def test_the_gradient_is_that_of_differences(order: Order) -> None:
    w = series(order, 4)[None].copy()
    c = at(order, np.random.default_rng(5).uniform(-0.6, 0.6, count(order)))
    gradient = evaluate(order, c, w, 0)[1]
    step, found = 1e-5, np.empty(count(order))
    for i in range(len(c)):
        # Five points, so that what is left of the truncation is below the rounding.
        values = [evaluate(order, c + k * step * np.eye(len(c))[i], w, 0)[0] for k in (-2, -1, 1, 2)]
        found[i] = -(values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    np.testing.assert_allclose(gradient, found, rtol=1e-5, atol=1e-4)


def test_the_gradient_of_an_autoregression_is_exact_beside_the_unit_circle() -> None:
    order, w = Order(3, 0, 0, 0, 0, 0, 1), series(Order(3, 0, 0, 0, 0, 0, 1), 6)[None].copy()
    c = at(order, np.array([0.2, -0.3, 1 - 1e-3]))
    gradient, step = evaluate(order, c, w, 0)[1], 1e-7
    for i in range(3):
        move = step * np.eye(3)[i]
        difference = -(evaluate(order, c + move, w, 0)[0] - evaluate(order, c - move, w, 0)[0]) / (2 * step)
        assert gradient[i] == pytest.approx(difference, rel=1e-4, abs=1e-3)


def test_coefficients_that_are_zero_have_a_gradient() -> None:
    order, w = Order(1, 0, 2, 1, 0, 1, 4), series(Order(1, 0, 2, 1, 0, 1, 4), 7)[None].copy()
    gradient, step = evaluate(order, np.zeros(5), w, 0)[1], 1e-5
    for i in range(5):
        move = step * np.eye(5)[i]
        difference = -(evaluate(order, move, w, 0)[0] - evaluate(order, -move, w, 0)[0]) / (2 * step)
        assert gradient[i] == pytest.approx(difference, rel=1e-5, abs=1e-5)


def test_a_value_depends_on_nothing_that_was_asked_before() -> None:
    rng = np.random.default_rng(8)
    asked = [
        (order, at(order, rng.uniform(-0.8, 0.8, count(order))), series(order, 9)[None].copy()) for order in ORDERS
    ]
    forwards = [evaluate(*one, 0)[0] for one in asked]
    backwards = [evaluate(*one, 0)[0] for one in reversed(asked)]
    assert forwards == backwards[::-1]


@pytest.mark.parametrize("order", [ORDERS[2], ORDERS[8], ORDERS[19], ORDERS[25]], ids=name)
def test_a_regression_is_the_best_there_is(order: Order) -> None:
    rng = np.random.default_rng(10)
    w = series(order, 11)
    x = np.stack([np.ones_like(w), rng.normal(size=len(w)), rng.normal(size=len(w)).cumsum()])
    c = at(order, rng.uniform(-0.7, 0.7, count(order)))
    value, gradient, _, beta = evaluate(order, c, np.vstack([w, x]), 3)
    model = reference(order, w, concentrate_scale=True)
    for move in (np.zeros(3), 1e-3 * np.eye(3)[0], -1e-3 * np.eye(3)[1], 1e-3 * np.eye(3)[2]):
        model = reference(order, w - (beta + move) @ x, concentrate_scale=True)
        assert model.loglike(c) <= value + 1e-6
    assert reference(order, w - beta @ x, concentrate_scale=True).loglike(c) == pytest.approx(value, rel=1e-9)
    for i in range(len(c)):
        step = 1e-5 * np.eye(len(c))[i]
        data = np.vstack([w, x])
        difference = -(evaluate(order, c + step, data, 3)[0] - evaluate(order, c - step, data, 3)[0]) / 2e-5
        assert gradient[i] == pytest.approx(difference, rel=1e-5, abs=1e-4)


def test_the_recursions_for_long_lags_give_what_the_matrices_give() -> None:
    """`derive` decides between them, as only a search needs the quicker."""
    rng = np.random.default_rng(18)
    for order in (Order(1, 0, 1, 0, 0, 1, 168), Order(2, 0, 1, 1, 0, 1, 70), Order(0, 0, 2, 0, 0, 1, 100)):
        columns = rng.normal(size=(3, 3 * order.m))
        c = at(order, rng.uniform(-0.9, 0.9, count(order)))
        quick, slow = evaluate(order, c, columns, 2), value_by_matrices(order, c, columns, 2)
        assert quick[0] == pytest.approx(slow[0], rel=1e-12)
        np.testing.assert_allclose(quick[3], slow[1], rtol=1e-7)


@driver
def gradients_in_one_room(orders, coefficients, columns, out):  # type: ignore[no-untyped-def]
    r, k = 1, 1
    for order in orders:
        r, k = max(r, reach(order)), max(k, count(order))
    room = room_for(columns.shape[1], len(columns), r, k)
    for i in range(len(orders)):
        size = count(orders[i])
        log_likelihood(orders[i], coefficients[i, :size].copy(), columns, 0, room, True)
        out[i, :size] = room.gradients[0, :size]


@pytest.mark.parametrize("m", [7, 8, 15, 16, 23])
def test_what_a_longer_model_left_in_the_room_changes_nothing(m: int) -> None:
    """Rows are handled in groups of eight, so that r = 8, 16, 24 fill theirs."""
    orders = (
        Order(2, 0, 2, 1, 0, 1, m),
        Order(0, 0, 1, 0, 0, 1, m),
        Order(0, 0, 2, 0, 0, 1, m),
        Order(0, 0, 0, 1, 0, 1, m),
    )
    columns = series(orders[0], 19)[None].copy()
    c, together = np.full((len(orders), 6), 0.0), np.zeros((len(orders), 6))
    for row, order in zip(c, orders, strict=True):
        row[: count(order)] = at(order, np.random.default_rng(20).choice([-0.97, 0.95], count(order)))
    gradients_in_one_room(orders, c, columns, together)
    for row, found, order in zip(c, together, orders, strict=True):
        alone = evaluate(order, row[: count(order)].copy(), columns, 0)[1]
        np.testing.assert_allclose(found[: count(order)], alone, rtol=1e-9)


def test_columns_that_depend_on_others_change_nothing() -> None:
    order = Order(1, 0, 1, 0, 0, 1, 12)
    w, c = series(order, 12), np.array([0.5, 0.3, -0.4])
    x = np.random.default_rng(13).normal(size=len(w))
    once = evaluate(order, c, np.vstack([w, x]), 1)
    twice = evaluate(order, c, np.vstack([w, x, 3 * x, np.zeros_like(x)]), 3)
    assert twice[0] == pytest.approx(once[0], rel=1e-12)
    np.testing.assert_allclose(twice[1], once[1], rtol=1e-6)


@pytest.mark.parametrize("order", [ORDERS[3], ORDERS[8], ORDERS[13], ORDERS[19], ORDERS[20]], ids=name)
def test_missing_values_give_the_likelihood_of_what_is_there(order: Order) -> None:
    w = series(order, 14)
    gaps = np.sort(np.random.default_rng(15).choice(len(w), len(w) // 8, replace=False))
    seen = w.copy()
    seen[gaps] = np.nan
    columns = np.vstack([np.where(np.isnan(seen), 0.0, seen), np.eye(len(w))[gaps]])
    c = at(order, np.random.default_rng(16).uniform(-0.7, 0.7, count(order)))
    value, gradient, *_ = evaluate(order, c, columns, 0)
    assert value == pytest.approx(reference(order, seen, concentrate_scale=True).loglike(c), rel=1e-8)
    for i in range(len(c)):
        step = 1e-5 * np.eye(len(c))[i]
        difference = -(evaluate(order, c + step, columns, 0)[0] - evaluate(order, c - step, columns, 0)[0]) / 2e-5
        assert gradient[i] == pytest.approx(difference, rel=1e-5, abs=1e-4)


def test_an_impulse_is_differenced_like_the_series() -> None:
    order, out = Order(0, 1, 0, 0, 1, 0, 4), np.empty(15)
    impulse(7, order, np.zeros(20), out)
    y = np.eye(20)[7]
    expected = np.diff(y[4:] - y[:-4])
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("order", ORDERS, ids=name)
def test_free_numbers_and_coefficients_are_each_others_inverse(order: Order) -> None:
    k = count(order)
    x = np.random.default_rng(17).uniform(-1.4, 1.4, k)
    c, slope, back = np.zeros(k), np.zeros((k, k)), np.zeros(k)
    coefficients(order, x, c, slope, np.zeros(k))
    free_numbers(order, c.copy(), back)
    np.testing.assert_allclose(back, x, rtol=1e-7, atol=1e-9)
    for j in range(k):
        up, down = np.zeros(k), np.zeros(k)
        for out, side in ((up, 1), (down, -1)):
            coefficients(order, x + side * 1e-6 * np.eye(k)[j], out, np.zeros((k, k)), np.zeros(k))
        np.testing.assert_allclose(slope[:, j], (up - down) / 2e-6, rtol=1e-6, atol=1e-7)
