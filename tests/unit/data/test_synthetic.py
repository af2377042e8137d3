"""Synthetic retail demand, and the truth behind it."""

from __future__ import annotations

import numpy as np
import pytest

from forecastkit.data.synthetic import Demand, retail
from forecastkit.errors import ConfigError


@pytest.fixture(scope="module")
def shop() -> Demand:
    return retail(series=200, periods=730, stockout_rate=0.02, seed=3)


def test_the_same_seed_makes_the_same_shop_and_another_does_not() -> None:
    one, two, other = (retail(series=5, periods=50, seed=s).panel.fingerprint for s in (1, 1, 2))
    assert one == two != other


def test_sales_scatter_around_the_expected_demand(shop: Demand) -> None:
    ratio = shop.truth.demand.sum() / shop.truth.expected.sum()
    assert ratio == pytest.approx(1, abs=0.01)


def test_what_an_empty_shelf_hides_is_zero_in_the_panel_and_whole_in_the_truth(shop: Demand) -> None:
    on = shop.panel.available
    assert on is not None
    assert 0.85 < on.mean() < 0.97
    assert (shop.panel.values[~on] == 0).all()
    assert shop.truth.demand[~on].sum() > 0
    np.testing.assert_array_equal(shop.panel.values[on], shop.truth.demand[on])


def test_promotions_lower_the_price_and_lift_demand_by_the_stated_uplift(shop: Demand) -> None:
    price, promotion, _ = shop.panel.known.values.T
    np.testing.assert_allclose(shop.truth.expected, shop.truth.base * shop.truth.uplift)
    assert (shop.truth.uplift[promotion == 0] == 1).all()
    assert (shop.truth.uplift[promotion == 1] > 1.1).all()
    first = price[:730]
    assert first[promotion[:730] == 1].max() < first[promotion[:730] == 0].min()


def test_there_is_a_week_and_a_year_in_it(shop: Demand) -> None:
    base = shop.truth.base.reshape(200, 730).sum(axis=0)
    by_weekday = np.array([base[d::7].mean() for d in range(7)])
    assert by_weekday.argmax() == 5  # the first day is a Monday
    assert by_weekday.max() / by_weekday.min() > 1.3


def test_some_items_sell_now_and_then_only() -> None:
    steady, sometimes = (retail(series=100, periods=200, intermittent=share).panel for share in (0.0, 1.0))
    assert (steady.values == 0).mean() < 0.15
    assert (sometimes.values == 0).mean() > 0.6


def test_a_share_that_is_none_and_an_unknown_option_are_refused() -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        retail(promotion_rate=10)
    with pytest.raises(ConfigError, match="no option 'serie'"):
        retail(serie=10)
