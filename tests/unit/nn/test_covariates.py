"""Covariates reach the network in every role, and only where they may."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from forecastkit.data.panel import Panel
from forecastkit.models import restore
from forecastkit.models.gru import GRU
from forecastkit.models.lstm import LSTM
from forecastkit.nn import forecaster, kinds
from forecastkit.nn.covariates import Expand, Response, solved
from forecastkit.nn.forecaster import build
from forecastkit.nn.inputs import lay_out
from forecastkit.nn.network import Shape
from forecastkit.nn.options import Training
from forecastkit.nn.plan import Block, resolve
from forecastkit.nn.training import Best
from forecastkit.nn.windows import Windows

H = 7
QUICK = Training(steps=30, batch=32, checks=2, refit=False)
LONGER = Training(steps=100, batch=32, lr=1e-2, validation=0, dropout=0.0)


def small(model=GRU, training=LONGER, **options):
    return model(**{"hidden": 16, "lookback": 28, "seeds": 1, "training": training, **options})


def promotions(kind="number", days=120, series=6):
    """Demand that doubles on promotion days, which come at random."""
    rng = np.random.default_rng(5)
    ds = pd.date_range("2024-01-01", periods=days)
    frames = []
    for k in range(series):
        on = rng.random(days) < 0.2
        y = (k + 1) * (20 + 20 * on + rng.normal(0, 1, days))
        promo = on.astype(float) if kind == "number" else np.where(on, "promotion", "none")
        frames.append(pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "y": y, "promo": promo}))
    return pd.concat(frames, ignore_index=True)


def split(rows, **roles):
    panel = Panel.from_frame(rows, **roles)
    train = panel.cut(panel.lengths - H)
    actual = np.stack([panel.series(i)[-H:] for i in range(len(panel))])
    return train, panel.known_after(train.lengths, H), actual


@pytest.mark.parametrize("model", [GRU, LSTM])
@pytest.mark.parametrize("kind", ["number", "text"])
def test_a_known_promotion_is_forecast(model, kind):
    train, future, actual = split(promotions(kind), known=("promo",))
    recipe = small(model)
    error = np.abs(recipe.fit(train, horizon=H).predict(H, future=future).mean - actual).mean()
    blind = replace(train, known=type(train.known)())
    assert error < 0.5 * np.abs(recipe.fit(blind, horizon=H).predict(H).mean - actual).mean()


def test_only_the_step_whose_covariate_changes_is_forecast_differently():
    train, future, _ = split(promotions(), known=("promo",))
    fitted = small(training=QUICK).fit(train, horizon=H)
    other = future.copy()
    other[0, 5] = 1 - other[0, 5]
    apart = fitted.predict(H, future=other).mean - fitted.predict(H, future=future).mean
    assert abs(apart[0, 5]) > 1e-3
    apart[0, 5] = 0
    np.testing.assert_allclose(apart, 0, atol=1e-5)


def test_the_cells_are_not_told_which_day_it_is():
    rows = promotions().assign(holiday=lambda rows: 1.0 * (rows["ds"].dt.day == 3))
    panel = Panel.from_frame(rows, known=("promo", "holiday"))
    plan = resolve(panel, H, None, 28, None)
    network = build(plan, Shape("gru", 16, 1), panel, seed=0)
    windows = Windows.of(lay_out(panel, plan, H), plan, torch.device("cpu"))
    batch = windows.batch(torch.arange(6), torch.full((6,), windows.end), H)

    def apart(column):
        known = batch.known.clone()
        known[:, :-H, column] += 1.0
        return (network.read(batch._replace(known=known)).state - network.read(batch).state).abs().max()

    assert apart(0) > 1e-3
    assert apart(1) == 0


def test_a_price_matters_relative_to_its_usual_value():
    rng = np.random.default_rng(2)
    ds = pd.date_range("2024-01-01", periods=120)
    frames = []
    for k in range(6):
        cut = np.where(rng.random(120) < 0.2, 0.7, 1.0)
        y = 50 * cut**-3 + rng.normal(0, 1, 120)
        frames.append(pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "y": y, "price": cut * 10.0**k}))
    train, future, actual = split(pd.concat(frames), known=("price",))
    fitted = small().fit(train, horizon=H)
    error = np.abs(fitted.predict(H, future=future).mean - actual).mean(axis=1)
    assert (error < 6).all()  # the noise is 0.8 of it, a price cut is worth 96


def test_each_series_answers_to_a_promotion_in_its_own_way():
    rows = promotions(series=12)
    up = rows["unique_id"].str[1:].astype(int) % 2 == 0  # the others lose by it what these gain
    size = rows["unique_id"].str[1:].astype(int) + 1
    rows["y"] = np.where(up, rows["y"], rows["y"] - 40 * size * rows["promo"]) / size + 30
    train, future, actual = split(rows, known=("promo",))
    fitted = small().fit(train, horizon=H)
    apart = fitted.predict(H, future=1 - 0 * future).mean - fitted.predict(H, future=0 * future).mean
    ups = up.groupby(rows["unique_id"]).first()[list(train.ids)].to_numpy()
    assert (apart[ups] > 15).all()  # of 20
    assert (apart[~ups] < -15).all()
    assert np.abs(fitted.predict(H, future=future).mean - actual).mean() < 3


def test_the_regression_is_solved_as_linear_algebra_does_it():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 30, 5))
    matrix = rows.transpose(0, 2, 1) @ rows / 30 + 0.2 * np.eye(5)
    right = rng.normal(size=(50, 5, 1))
    found = solved(torch.from_numpy(matrix), torch.from_numpy(right))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right), atol=1e-5)
    nothing = torch.zeros(50, 5, 1, dtype=torch.float64)
    assert not solved(torch.from_numpy(matrix), nothing).any()


def test_the_fewer_periods_were_seen_the_less_they_say_of_covariates():
    generator = torch.Generator().manual_seed(0)
    z, known = torch.randn(500, 80, generator=generator), torch.randn(500, 80, 4, generator=generator)
    response = Response([1.0] * 4, static=0)
    size = []
    for count in (80, 20, 5, 2, 0):
        seen = (torch.arange(80) >= 80 - count).expand(500, -1)
        with torch.no_grad():
            own = response(
                torch.where(seen, z, 0.0), seen, torch.cat([known, known[:, :7]], 1), z[:, :0], known[:, :7, None]
            ).own
        size.append(own.square().mean().sqrt().item())
    assert max(size) < 0.5  # of noise of 1
    assert size[-1] == 0


def test_an_unseen_period_says_nothing_of_covariates():
    generator = torch.Generator().manual_seed(0)
    z, known = torch.randn(3, 40, generator=generator), torch.randn(3, 47, 2, generator=generator)
    seen = torch.rand(3, 40, generator=generator) < 0.5
    wild = torch.where(torch.cat([seen, torch.ones(3, 7, dtype=torch.bool)], 1)[..., None], known, 100.0)
    response = Response([1.0] * 2, static=0)
    with torch.no_grad():
        one, other = (
            response(torch.where(seen, z, 0.0), seen, k, z[:, :0], known[:, :7, None]).own for k in (known, wild)
        )
    torch.testing.assert_close(one, other)


def test_a_category_is_held_back_by_how_rare_it_is():
    often, rarely = (Expand(Block((size,), (False,), (0.0,), (1.0,), (0.0,))).variances() for size in (2, 50))
    assert often == [0.25, 0.25]
    assert max(rarely) < 0.02


@pytest.mark.parametrize(("linear", "log", "takes"), [(0.5, 0.505, True), (0.5, 0.52, False)])
def test_the_logarithm_is_left_where_it_is_clearly_worse(monkeypatch, linear, log, takes):
    monkeypatch.setattr(forecaster, "_train", lambda network, *_, **__: Best(1, log if network.plan.log else linear))
    train, _, _ = split(promotions(), known=("promo",))
    assert small(training=QUICK).fit(train, horizon=H).networks[0].plan.log is takes


@pytest.mark.parametrize(
    ("recipe", "without", "reads"),
    [
        ({"seeds": 3}, 0.519, [True, True, False]),
        ({"seeds": 7}, 0.519, [True, True, False, True, True, False, True]),
        ({"seeds": 3}, 0.521, [True, True, True]),
        ({"seeds": 3, "scaling": "linear"}, 0.49, [True, True, False]),
        ({"seeds": 3, "scaling": "ensemble"}, 0.49, [True, True, True]),
        ({"seeds": 2}, 0.49, [True, True]),
        ({"seeds": 3, "memory": False}, 0.49, [False, False, False]),
    ],
)
def test_one_of_three_networks_reads_no_state_unless_that_is_clearly_worse(monkeypatch, recipe, without, reads):
    monkeypatch.setattr(
        forecaster, "_train", lambda network, *_, **__: Best(1, 0.5 if network.shape.memory else without)
    )
    train, _, _ = split(promotions(), known=("promo",))
    fitted = small(training=QUICK, **recipe).fit(train, horizon=H)
    assert sorted(network.shape.memory for network in fitted.networks) == sorted(reads)
    if recipe.get("scaling") != "ensemble":
        assert [network.shape.memory for network in fitted.networks] == reads


def test_all_networks_read_the_state_where_no_covariates_are_known_or_nothing_was_held_back(monkeypatch):
    monkeypatch.setattr(forecaster, "_train", lambda network, *_, **__: Best(1, 0.5))
    train, _, _ = split(promotions(), known=())
    assert all(network.shape.memory for network in small(seeds=3, training=QUICK).fit(train, horizon=H).networks)
    monkeypatch.setattr(forecaster, "_train", lambda network, *_, **__: Best(1))
    train, _, _ = split(promotions(), known=("promo",))
    assert all(network.shape.memory for network in small(seeds=3, training=QUICK).fit(train, horizon=H).networks)


@pytest.mark.parametrize(("dated", "takes"), [(0.491, False), (0.489, True)])
def test_the_past_is_dated_by_what_all_share_where_that_is_clearly_better(monkeypatch, dated, takes):
    rows = promotions().assign(warm=lambda rows: np.sin(rows["ds"].dt.day_of_year / 9))
    monkeypatch.setattr(forecaster, "_train", lambda network, *_, **__: Best(1, dated if network.plan.dated else 0.5))
    train, _, _ = split(rows, known=("promo", "warm"))
    assert {n.plan.dated for n in small(seeds=3, training=QUICK).fit(train, horizon=H).networks} == {takes}
    monkeypatch.setattr(forecaster, "_train", lambda network, *_, **__: Best(1))
    assert not small(training=QUICK).fit(train, horizon=H).networks[0].plan.dated


def test_networks_of_both_kinds_survive_the_disk_and_compiling(monkeypatch, tmp_path):
    monkeypatch.setattr(kinds, "_MAY_ADD", 1e9)
    train, future, _ = split(promotions(), known=("promo",))
    fitted = small(seeds=3, training=QUICK).fit(train, horizon=H)
    assert [network.shape.memory for network in fitted.networks] == [True, True, False]
    fitted.save(tmp_path / "m")
    forecast = fitted.predict(H, future=future, levels=(0.1, 0.9))
    loaded = restore(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(H, future=future).mean, forecast.mean)
    compiled = loaded.compile("eager", levels=(0.1, 0.9)).predict(future=future)
    np.testing.assert_allclose(compiled.mean, forecast.mean, rtol=1e-4)
    np.testing.assert_allclose(compiled.quantiles, forecast.quantiles, rtol=1e-4)
    again = fitted.refit(train, horizon=H)
    assert [network.shape.memory for network in again.networks] == [True, True, False]


def test_a_past_covariate_of_the_newest_periods_is_read():
    rows = promotions(kind="number")
    train = Panel.from_frame(rows, past=("promo",))
    fitted = small(training=QUICK).fit(train, horizon=H)
    flipped = train.past.values.copy()
    flipped[train.offsets[1] - 1] = 1 - flipped[train.offsets[1] - 1]
    changed = fitted.update(replace(train, past=replace(train.past, values=flipped)))
    apart = np.abs(changed.predict(H).mean - fitted.predict(H).mean).max(axis=1)
    assert apart[0] > 1e-4
    np.testing.assert_allclose(apart[1:], 0, atol=1e-6)


def levels_by_store():
    """Two stores that open in opposite weeks; nothing but the store tells them apart at the cutoff."""
    rng = np.random.default_rng(1)
    frames = []
    for k in range(12):
        ds = pd.date_range("2024-01-01", periods=130)
        later = np.arange(130) % 20 >= 10
        y = np.where(later == (k % 2 == 0), 30.0, 10.0) + rng.normal(0, 0.5, 130)
        frames.append(
            pd.DataFrame({"unique_id": f"s{k:02}", "ds": ds, "y": y, "store": "ab"[k % 2], "area": 1.0 + k % 2})
        )
    return pd.concat(frames)


@pytest.mark.parametrize("static", ["store", "area"])
def test_a_static_covariate_tells_series_apart(static):
    panel = Panel.from_frame(levels_by_store(), static=(static,))
    fitted = small(training=replace(QUICK, validation=0)).fit(panel, horizon=H)
    other = replace(panel, static=replace(panel.static, values=panel.static.values[::-1].copy()))
    assert np.abs(fitted.update(other).predict(H).mean - fitted.predict(H).mean).max() > 1e-3


@pytest.mark.parametrize(("beside", "takes"), [(0.491, False), (0.489, True)])
def test_static_covariates_are_read_where_that_is_clearly_better(monkeypatch, beside, takes):
    monkeypatch.setattr(
        forecaster, "_train", lambda network, *_, **__: Best(1, beside if network.plan.static.sizes else 0.5)
    )
    panel = Panel.from_frame(levels_by_store(), static=("store", "area"))
    networks = small(seeds=3, training=QUICK).fit(panel, horizon=H).networks
    assert [len(network.plan.static.sizes) for network in networks] == [2 * takes] * 3


def test_static_covariates_are_read_where_nothing_could_be_held_back(monkeypatch):
    monkeypatch.setattr(forecaster, "_train", lambda network, *_, **__: Best(1))
    panel = Panel.from_frame(levels_by_store(), static=("store",))
    assert small(training=QUICK).fit(panel, horizon=H).networks[0].plan.static.sizes == (2,)


def test_static_covariates_that_were_left_out_change_no_forecast(monkeypatch, tmp_path):
    monkeypatch.setattr(kinds, "_MAY_LOSE", 1e9)
    panel = Panel.from_frame(levels_by_store(), static=("store",))
    fitted = small(training=QUICK).fit(panel, horizon=H)
    assert not fitted.networks[0].plan.static.sizes
    fitted.save(tmp_path / "m")
    loaded, mean = restore(tmp_path / "m"), fitted.predict(H).mean
    other = replace(panel, static=replace(panel.static, values=panel.static.values[::-1].copy()))
    np.testing.assert_array_equal(loaded.update(other).predict(H).mean, mean)
    np.testing.assert_allclose(loaded.compile("eager").predict(other).mean, mean, rtol=1e-4)
    again = loaded.refit(panel, horizon=H)
    assert fitted.networks[0].plan.like(again.networks[0].plan)
    apart = (again.networks[0].out.bias - fitted.networks[0].out.bias).detach()
    assert 0 < float(apart.abs().max()) < 0.1  # trained on from the weights that it had


def test_a_refit_looks_at_static_covariates_that_are_new(monkeypatch):
    monkeypatch.setattr(
        forecaster, "_train", lambda network, *_, **__: Best(1, 0.4 if network.plan.static.sizes else 0.5)
    )
    rows = levels_by_store()
    fitted = small(training=QUICK).fit(Panel.from_frame(rows), horizon=H)
    again = fitted.refit(Panel.from_frame(rows, static=("store",)), horizon=H)
    assert again.networks[0].plan.static.sizes == (2,)


@pytest.mark.parametrize(
    ("recipe", "static", "validation", "trainings"),
    [
        ({"seeds": 1}, (), 1, 1),
        ({"seeds": 1}, ("store",), 1, 2),  # the better of two that were tried is the network
        ({"seeds": 1}, ("store",), 0, 1),  # nothing would be found out
        ({"seeds": 2}, ("store",), 1, 3),
    ],
)
def test_no_network_is_trained_for_nothing(monkeypatch, recipe, static, validation, trainings):
    count, original = [], forecaster._train
    monkeypatch.setattr(forecaster, "_train", lambda *given, **named: count.append(1) or original(*given, **named))
    training = replace(QUICK, steps=4, validation=validation)
    fitted = small(training=training, **recipe).fit(Panel.from_frame(levels_by_store(), static=static), horizon=H)
    assert len(count) == trainings
    assert all(network.out.weight.any() for network in fitted.networks)


def test_an_unknown_category_is_forecast_too():
    rows = promotions("text").assign(store="a")
    fitted = small(training=QUICK).fit(Panel.from_frame(rows, known=("promo",), static=("store",)), horizon=H)
    new = Panel.from_frame(rows.assign(store="z", promo="flash"), known=("promo",), static=("store",))
    ahead = fitted.update(new)
    assert np.isfinite(ahead.predict(H, future=np.full((6, H, 1), np.nan)).mean).all()


def test_covariates_survive_the_disk(tmp_path):
    rows = promotions("text").assign(size=1.0, store="a", visits=promotions()["y"])
    train, future, _ = split(rows, known=("promo",), static=("size", "store"), past=("visits",))
    fitted = small(training=QUICK).fit(train, horizon=H)
    fitted.save(tmp_path / "m")
    before, after = (f.predict(H, future=future, levels=(0.2, 0.8)) for f in (fitted, restore(tmp_path / "m")))
    np.testing.assert_array_equal(before.quantiles, after.quantiles)


def test_known_covariates_reach_the_rolled_part_of_a_long_forecast():
    train, future, _ = split(promotions(), known=("promo",))
    fitted = small().fit(train, horizon=3)
    mean = fitted.predict(H, future=future).mean
    on = future[..., 0] == 1
    late = np.arange(H) >= 3
    for i in range(len(train)):
        if (on[i] & late).any() and (~on[i] & late).any():
            assert mean[i, on[i] & late].min() > mean[i, ~on[i] & late].max()
    assert (on[:, late].any(axis=1)).sum() >= 2
