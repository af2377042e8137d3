"""The table for people who bring their own regression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, DataError
from forecastkit.features import Calendar, Ewm, Fourier, Rolling, TableSpec, ahead, table


@pytest.fixture
def shop() -> Panel:
    """Two series with a known price, a known event, a static kind and days that were not on offer."""
    rng = np.random.default_rng(1)
    days = pd.date_range("2024-01-01", periods=60)
    frames = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": days,
                "y": rng.poisson(9, 60),
                "price": rng.uniform(1, 2, 60),
                "event": rng.choice(["none", "fair"], 60),
                "kind": kind,
                "offered": np.arange(60) % 13 > 0,
                "visitors": np.arange(60.0),
            }
        )
        for name, kind in (("a", "milk"), ("b", "bread"))
    ]
    roles = {"known": ("price", "event"), "static": ("kind",), "past": ("visitors",), "available": "offered"}
    return Panel.from_frame(pd.concat(frames), **roles)


def test_a_row_stands_for_one_series_and_period(shop: Panel) -> None:
    rows = table(shop, TableSpec(lags=(1, 7)), complete=False)
    where = shop.offsets[rows.series] + rows.period - shop.starts[rows.series]
    np.testing.assert_array_equal(rows.y, shop.values[where])
    assert rows.X.shape == (len(rows), len(rows.names))
    price = rows.X[:, rows.names.index("price")]
    np.testing.assert_array_equal(price, shop.known.values[where, 0])


def test_unavailable_periods_are_no_targets_and_missing_as_lags(shop: Panel) -> None:
    rows = table(shop, TableSpec(lags=(1,)), complete=False)
    position = rows.period - shop.starts[rows.series]
    assert not (position % 13 == 0).any()
    lag = rows.X[:, 0]
    np.testing.assert_array_equal(np.isnan(lag), position % 13 == 1)


def test_complete_rows_have_no_missing_feature(shop: Panel) -> None:
    spec = TableSpec(lags=(1, 7), rolling=(Rolling("mean", 7),), past_lags=(7,))
    assert not np.isnan(table(shop, spec).X).any()
    assert len(table(shop, spec)) < len(table(shop, spec, complete=False))


def test_categories_become_columns_of_zeros_and_ones_or_codes(shop: Panel) -> None:
    wide = table(shop, TableSpec())
    assert {"event=fair", "event=none", "kind=bread", "kind=milk"} <= set(wide.names)
    coded = table(shop, TableSpec(onehot=False))
    assert [coded.names[k] for k in coded.categorical] == ["event", "kind"]


def test_every_part_of_a_spec_has_its_columns(shop: Panel) -> None:
    spec = TableSpec(
        lags=(2,), ewm=(Ewm(3),), calendar=Calendar(("weekend",)), fourier=(Fourier(7, 1),), known=False, static=False
    )
    assert table(shop, spec).names == ("lag_2", "ewm_3", "weekend", "sin1_7", "cos1_7")


def test_rows_ahead_are_those_that_the_longer_panel_would_have(shop: Panel) -> None:
    spec = TableSpec(lags=(7, 14), rolling=(Rolling("max", 5, shift=7),), past_lags=(8,))
    early = shop.cut(50)
    future = shop.known_after(early.lengths, 7)
    found, truth = ahead(early, spec, 7, future), table(shop, spec, complete=False)
    for k in range(len(found)):
        same = (truth.series == found.series[k]) & (truth.period == found.period[k])
        if same.any():
            np.testing.assert_array_equal(found.X[k], truth.X[same][0])
    assert len(found) == 14


def test_the_past_alone_decides_what_lies_ahead(shop: Panel) -> None:
    spec = TableSpec(lags=(7,), rolling=(Rolling("mean", 7, shift=7),), known=False)
    rows = ahead(shop.cut(50), spec, 7)
    changed = shop.values.copy()
    changed[50:60] += 100
    after = ahead(replace(shop, values=changed).cut(50), spec, 7)
    np.testing.assert_array_equal(rows.X, after.X)


def test_lags_shorter_than_the_horizon_are_refused_ahead(shop: Panel) -> None:
    with pytest.raises(ConfigError, match="use lags from 8 on"):
        ahead(shop, TableSpec(lags=(7,), known=False), 8)


def test_known_columns_must_be_given_for_the_periods_ahead(shop: Panel) -> None:
    with pytest.raises(DataError, match="price, event"):
        ahead(shop, TableSpec(lags=(7,)), 7)


def test_the_same_feature_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="lag_3"):
        TableSpec(lags=(3, 3))


def test_someones_own_ridge_beats_the_mean(weekly_shop: Panel) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    spec = TableSpec(lags=(14, 21), rolling=(Rolling("mean", 28, shift=14),), fourier=(Fourier(7, 3),))
    train = weekly_shop.cut(weekly_shop.lengths - 14)
    rows = table(train, spec)
    model = linear_model.Ridge().fit(rows.X, rows.y)
    forecast = model.predict(ahead(train, spec, 14).X).reshape(3, 14)
    actual = weekly_shop.tail(14).values.reshape(3, 14)
    means = np.array([train.series(i).mean() for i in range(3)])[:, None]
    assert np.abs(forecast - actual).mean() < 0.6 * np.abs(means - actual).mean()
