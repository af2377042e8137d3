"""What a window remembers of times like those ahead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from forecastkit.data.panel import Panel
from forecastkit.models.gru import GRU
from forecastkit.nn.options import Training
from forecastkit.nn.recall import WAYS, Recall

PERIODS, STEPS = 20, 3


@pytest.fixture
def recall():
    """Tells covariates apart sharply, and thinks nothing of season and age."""
    made = Recall(features=2, periods=PERIODS, steps=STEPS, season=7)
    with torch.no_grad():
        made.near.fill_(5.0)
        made.recent.fill_(-30.0)
        made.seasonal.zero_()
    return made


def window():
    """Two flags that come together now and then, and what demand was when they did."""
    generator = torch.Generator().manual_seed(0)
    known = torch.randint(2, (4, PERIODS + STEPS, 2), generator=generator).float()
    values = torch.randn(4, PERIODS, generator=generator)
    seen = torch.rand(4, PERIODS, generator=generator) < 0.8
    return torch.where(seen, values, 0.0), seen, known


def test_only_periods_with_the_same_covariates_count(recall):
    values, seen, known = window()
    found = recall(values, seen, known)
    assert found.shape == (4, STEPS, WAYS)
    for b in range(4):
        for h in range(STEPS):
            alike = seen[b] & (known[b, :PERIODS] == known[b, PERIODS + h]).all(-1)
            assert alike.any()
            np.testing.assert_allclose(found[b, h].detach(), values[b][alike].mean().expand(WAYS), atol=1e-5)


def test_a_shorter_horizon_is_the_beginning_of_a_longer_one(recall):
    values, seen, known = window()
    whole, first = recall(values, seen, known), recall(values, seen, known[:, : PERIODS + 1])
    torch.testing.assert_close(first, whole[:, :1])


def test_what_was_not_seen_does_not_count(recall):
    values, seen, known = window()
    other = known.clone()
    other[:, :PERIODS][~seen] = 1 - other[:, :PERIODS][~seen]
    assert torch.equal(recall(values, seen, known), recall(values, seen, other))
    assert (recall(torch.zeros_like(values), torch.zeros_like(seen), known) == 0).all()


def test_it_stays_in_single_precision_where_the_cells_need_not(recall):
    values, seen, known = window()
    with torch.autocast("cpu", torch.bfloat16):
        rough = recall(values, seen, known)
    assert torch.equal(rough, recall(values, seen, known))


@pytest.mark.parametrize("season", [1, 2, 3])
def test_a_short_season_has_as_many_waves_as_it_can_tell_apart(season):
    made = Recall(features=2, periods=PERIODS, steps=STEPS, season=season)
    assert made.seasonal.shape == (WAYS, {1: 0, 2: 1, 3: 1}[season])
    assert made(*window()).shape == (4, STEPS, WAYS)


def test_the_same_place_in_the_season_counts_more(recall):
    with torch.no_grad():
        recall.seasonal.fill_(20.0)
    values = torch.zeros(1, PERIODS)
    values[0, [PERIODS - 14, PERIODS - 7]] = 1.0  # a week and two before the first step
    found = recall(values, torch.ones(1, PERIODS, dtype=torch.bool), torch.zeros(1, PERIODS + STEPS, 2))
    np.testing.assert_allclose(found[0].detach(), [[1.0] * WAYS, [0.0] * WAYS, [0.0] * WAYS], atol=1e-3)


def test_the_newest_periods_count_more(recall):
    with torch.no_grad():
        recall.recent.fill_(6.0)
    values = torch.zeros(1, PERIODS)
    values[0, -1] = 1.0
    found = recall(values, torch.ones(1, PERIODS, dtype=torch.bool), torch.zeros(1, PERIODS + STEPS, 2))
    np.testing.assert_allclose(found.detach(), np.ones((1, STEPS, WAYS)), atol=1e-3)


@pytest.fixture(scope="module")
def fitted():
    """Reads 10 days as a whole, and looks through 14."""
    training = Training(steps=60, batch=32, checks=2, refit=False)
    return GRU(hidden=8, lookback=10, patch=5, seeds=1, scaling="linear", training=training).fit(
        conspiring(), horizon=7
    )


def forecast_after(fitted, change):
    """From the days of a panel that has 4 older ones than what is read as a whole, whose demand is changed."""
    rows = conspiring().tail(14).to_frame()
    older = rows.groupby("unique_id").cumcount() < 4
    rows.loc[older, "y"] = change(rows.loc[older, "y"])
    panel = Panel.from_frame(rows, known=("first", "second"))
    return fitted.update(panel).predict(7, future=np.ones((len(panel), 7, 2))).mean


def test_periods_before_those_that_are_read_as_a_whole_are_remembered(fitted):
    as_it_was = forecast_after(fitted, lambda y: y)
    assert np.abs(forecast_after(fitted, lambda y: y.to_numpy()[::-1]) - as_it_was).max() > 1e-3


def test_a_level_that_was_left_behind_changes_nothing(fitted):
    as_it_was = forecast_after(fitted, lambda y: y)
    np.testing.assert_allclose(forecast_after(fitted, lambda y: y + 500), as_it_was, rtol=1e-4)


def conspiring(series=12, days=140):
    """Demand of series that answer to two flags at once, in a way of their own and in none that slopes could have."""
    rng, ds, frames = np.random.default_rng(1), pd.date_range("2024-01-01", periods=days), []
    for k in range(series):
        first, second = rng.random((2, days)) < 0.5
        y = 20 + 15 * (-1) ** k * (first ^ second) + rng.normal(0, 1, days)
        columns = {"unique_id": f"s{k}", "ds": ds, "y": y, "first": 1.0 * first, "second": 1.0 * second}
        frames.append(pd.DataFrame(columns))
    return Panel.from_frame(pd.concat(frames), known=("first", "second"))


def test_a_series_is_known_by_what_it_did_at_such_times():
    panel = conspiring()
    past = panel.cut(panel.lengths - 14)
    recipe = GRU(hidden=16, lookback=56, seeds=1, scaling="linear", training=Training(steps=200, batch=64, refit=False))
    fitted = recipe.fit(past, horizon=14)
    found = fitted.predict(14, future=panel.known_after(past.lengths, 14)).mean
    actual = np.stack([panel.series(i)[-14:] for i in range(len(panel))])
    assert np.abs(found - actual).mean() < 3  # slopes can only say 20 + 7.5 or so: 7.5 off
