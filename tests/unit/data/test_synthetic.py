"""Synthetic retail demand, and the truth behind it."""

from __future__ import annotations

import numpy as np
import pytest

from forecastkit.data.synthetic import PATTERNS, Demand, retail
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
    week = price.reshape(200, 730)[:, :728].reshape(200, 104, 7)
    on = promotion.reshape(200, 730)[:, :728].reshape(200, 104, 7)
    assert (week == week[..., :1]).all()  # prices and promotions change with the week
    assert (on == on[..., :1]).all()
    begins = (on[:, 1:, 0] == 1) & (on[:, :-1, 0] == 0)
    assert (week[:, 1:, 0] < week[:, :-1, 0])[begins].mean() > 0.95  # the regular price may rise that week


def test_demand_follows_the_regular_price_by_the_stated_elasticity() -> None:
    shop = retail(series=60, periods=1400, promotion_rate=0.0, seed=5)
    price = np.log(shop.panel.known.values[:, 0].reshape(60, 200, 7)[..., 0])  # one price a week
    base = np.log(shop.truth.base.reshape(60, 200, 7).sum(axis=-1))
    rise, change = np.diff(price, axis=1), np.diff(base, axis=1)
    found = -(rise * change).sum(axis=1) / (rise**2).sum(axis=1)
    # Seasons and holidays move from week to week too, so single items are off by some tenths.
    assert np.mean(found - shop.truth.elasticity) == pytest.approx(0, abs=0.1)
    assert np.corrcoef(found, shop.truth.elasticity)[0, 1] > 0.8
    np.testing.assert_array_equal(shop.truth.expected, shop.truth.base)


def test_items_are_of_the_pattern_that_their_sales_show() -> None:
    shop = retail(series=300, periods=730, promotion_rate=0.03, erratic=0.4, intermittent=0.4, seed=2)
    demand = shop.truth.demand.reshape(300, 730)
    assert set(shop.truth.pattern) == set(PATTERNS)
    right = 0
    for sales, pattern in zip(demand, shop.truth.pattern, strict=True):
        sold = sales[sales > 0]
        # The cutoffs of Syntetos, Boylan and Croston (2005).
        seen = (sold.var() / sold.mean() ** 2 >= 0.49) + 2 * (len(sales) / len(sold) >= 1.32)
        right += PATTERNS[seen] == pattern
    assert right / 300 > 0.85


def test_a_chunk_of_series_does_not_depend_on_those_after_it() -> None:
    few, many = (retail(series=count, periods=10, seed=4).panel for count in (500, 700))
    np.testing.assert_array_equal(few.values, many.values[: 500 * 10])


@pytest.mark.parametrize("dispersion", [0.0, 0.5])
def test_sales_scatter_as_the_dispersion_says(dispersion: float) -> None:
    truth = retail(series=200, periods=400, intermittent=0, erratic=0, dispersion=dispersion, seed=1).truth
    error = truth.demand - truth.expected
    ratio = (error**2).sum() / (truth.expected + dispersion * truth.expected**2).sum()
    assert ratio == pytest.approx(1, abs=0.05)


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
    with pytest.raises(ConfigError, match="dispersion must not be negative"):
        retail(dispersion=-0.1)
    with pytest.raises(ConfigError, match="a day like 2023-01-02, not 'soon'"):
        retail(start="soon")
    with pytest.raises(ConfigError, match="no option 'serie'"):
        retail(serie=10)
