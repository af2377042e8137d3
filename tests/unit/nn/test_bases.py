"""The simple forecasts that a network mixes: means over seasons and over the newest periods, whatever was seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from forecastkit.data.panel import Panel
from forecastkit.models.gru import GRU
from forecastkit.nn.network import LEVELS, Network, Shape
from forecastkit.nn.options import Training
from forecastkit.nn.plan import Plan

M, L, H = 4, 18, 7


@pytest.fixture(scope="module")
def network():
    plan = Plan(horizon=H, season=M, lookback=L, patch=4, lags=(), yearly=False)
    return Network(plan, Shape("gru", 4, 1), calendar=3)


def demand(seen):
    values = np.random.default_rng(1).normal(size=L).astype(np.float32) * seen
    return torch.from_numpy(values)[None], torch.from_numpy(seen)[None]


def means_by_hand(values, seen, step):
    """As the text has it: the last 1, 2 and all 4 seasons at the place of the step, then 1, 4, 16 and 18 periods."""
    level = values[seen].mean() if seen.any() else 0.0
    whole = np.arange(L - L // M * M, L)
    here = whole[(whole - L - step) % M == 0]
    places = here[seen[here]]
    longest = values[places].mean() if len(places) else level
    found = []
    for n in (1, 2, 4):
        newest = here[-n:][seen[here[-n:]]]
        found.append(values[newest].mean() if len(newest) else longest)
    for n in (1, 4, 16, 18):
        newest = np.arange(L - n, L)[seen[L - n :]]
        found.append(values[newest].mean() if len(newest) else level)
    return found


@pytest.mark.parametrize("hidden_part", [slice(0, 0), slice(14, 18), slice(0, 17), slice(2, None, 4), slice(0, None)])
def test_means_are_of_what_was_seen_and_fall_back_to_what_lies_further_off(network, hidden_part):
    seen = np.ones(L, bool)
    seen[hidden_part] = False
    z, mask = demand(seen)
    found = network._means(z, mask, H)[0].numpy()
    expected = [means_by_hand(z[0].numpy(), seen, step) for step in range(H)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("hidden_part", [slice(0, 1), slice(0, 17), slice(2, 16, 3)])  # leave no ties
def test_quantiles_are_of_what_was_seen_in_the_window(network, hidden_part):
    seen = np.ones(L, bool)
    seen[hidden_part] = False
    z, mask = demand(seen)
    found = network._quantiles(z, mask)[0].numpy()
    np.testing.assert_allclose(found, np.quantile(z[0].numpy()[seen], LEVELS, method="nearest"))


def test_quantiles_of_nothing_are_at_the_centre(network):
    z, mask = demand(np.zeros(L, bool))
    assert not network._quantiles(z, mask).any()


def test_means_of_fewer_steps_are_the_first_ones(network):
    z, seen = demand(np.ones(L, bool))
    assert torch.equal(network._means(z, seen, 3), network._means(z, seen, H)[:, :3])


def test_means_stay_in_single_precision_where_the_cells_need_not(network):
    z, seen = demand(np.ones(L, bool))
    with torch.autocast("cpu", torch.bfloat16):
        rough = network._means(z, seen, H)
    assert torch.equal(rough, network._means(z, seen, H))


def test_a_year_is_looked_up_where_there_is_no_season():
    ds = pd.date_range("2022-01-01", periods=600)
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(600.0)}))
    fitted = GRU(hidden=4, season=1, training=Training(steps=2)).fit(panel, horizon=5)
    assert fitted.networks[0].plan.lags == (364,)
    assert np.isfinite(fitted.predict(5).mean).all()
