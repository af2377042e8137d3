"""The recurrent forecasters: what they promise beyond the contract."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, FitError, SeriesTooShortError, StoreError
from forecastkit.execution import use_progress
from forecastkit.forecaster import State
from forecastkit.models import restore
from forecastkit.models.gru import GRU
from forecastkit.models.lstm import LSTM
from forecastkit.nn import forecaster
from forecastkit.nn.network import LEVELS, at_levels
from forecastkit.nn.options import Training
from forecastkit.nn.training import Best, _Course

QUICK = Training(steps=40, batch=32, checks=4, refit=False)
UNTRAINED = Training(steps=0)


def small(model=GRU, **options):
    return model(**{"hidden": 16, "training": QUICK, "seeds": 1, **options})


def table(series=4, days=120, seed=3, **columns):
    rng = np.random.default_rng(seed)
    ds = pd.date_range("2024-01-01", periods=days)
    week = 20 + 8 * np.sin(2 * np.pi * ds.day_of_week.to_numpy() / 7)
    frames = [
        pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "y": (k + 1) * (week + rng.normal(0, 2, days))} | columns)
        for k in range(series)
    ]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def panel():
    return Panel.from_frame(table())


@pytest.fixture(scope="module")
def fitted(panel):
    return small().fit(panel, horizon=14)


def constant(value, days=90):
    ds = pd.date_range("2024-01-01", periods=days)
    return Panel.from_frame(pd.DataFrame({"unique_id": "flat", "ds": ds, "y": float(value)}))


@pytest.mark.parametrize(("days", "horizon"), [(10, 14), (40, 39), (40, 60)])
def test_a_horizon_about_as_long_as_the_history_is_forecast_with_a_width(days, horizon):
    panel = Panel.from_frame(table(days=days))
    found = small(season=1).fit(panel, horizon=horizon).predict(horizon, levels=(0.1, 0.5, 0.9))
    assert (found.quantiles[..., 2] > found.quantiles[..., 0]).all()
    assert (np.diff(found.quantiles, axis=-1) >= 0).all()
    largest = np.array([panel.series(i).max() for i in range(len(panel))])
    assert (found.quantiles[..., 2].max(axis=1) < 2 * largest).all()


def test_an_untrained_network_forecasts_like_a_seasonal_naive():
    ds = pd.date_range("2024-01-01", periods=140)
    y = np.tile([5.0, 9.0, 2.0, 7.0, 30.0, 41.0, 1.0], 20)
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "weekly", "ds": ds, "y": y}))
    mean = small(training=UNTRAINED).fit(panel, horizon=14).predict(14).mean[0]
    weekly, level = np.tile(y[:7], 2), y.mean()
    weight = (mean - level) / (weekly - level)  # of the seasonal bases; the rest is on levels
    assert np.abs(weight - weight.mean()).max() < 0.15
    assert weight.min() > 0.8


def test_training_improves_on_the_untrained_network(panel):
    train = panel.cut(panel.lengths - 14)
    actual = np.stack([panel.series(i)[-14:] for i in range(len(panel))])
    errors = [
        np.abs(small(training=t).fit(train, horizon=14).predict(14).mean - actual).mean()
        for t in (UNTRAINED, Training(steps=100, batch=32, lr=1e-2, validation=0))
    ]
    assert errors[1] < errors[0]


def test_the_two_cells_give_different_forecasts(panel, fitted):
    other = small(LSTM).fit(panel, horizon=14)
    assert not np.allclose(other.predict(7).mean, fitted.predict(7).mean)


def test_the_newest_windows_decide_when_to_stop_and_are_then_trained_on(panel):
    endless = Training(steps=80, batch=16, checks=16, patience=2, lr=1e-2)
    held, refitted = (
        small(training=replace(endless, refit=refit)).fit(panel, horizon=14).state().arrays for refit in (False, True)
    )
    newest = panel.values.copy()
    newest[panel.offsets[1:] - 1] *= 1.5
    other = replace(panel, values=newest)
    again = small(training=replace(endless, refit=True)).fit(other, horizon=14).state().arrays
    assert not np.allclose(held["0.out.weight"], refitted["0.out.weight"])
    assert not np.allclose(again["0.out.weight"], refitted["0.out.weight"])


def test_several_networks_forecast_their_average(panel, fitted):
    other = small(seed=1).fit(panel, horizon=14)
    both = small(seeds=2, scaling="linear").fit(panel, horizon=14).predict(20, levels=(0.1, 0.9))
    alone = [model.predict(20, levels=(0.1, 0.9)) for model in (fitted, other)]
    np.testing.assert_allclose(both.mean, np.mean([f.mean for f in alone], axis=0), rtol=1e-6)
    np.testing.assert_allclose(both.quantiles, np.mean([f.quantiles for f in alone], axis=0), rtol=1e-6)


def test_an_ensemble_scales_its_networks_in_turn_where_it_is_asked_to(panel):
    fitted = small(scaling="ensemble", seeds=3, training=UNTRAINED).fit(panel, horizon=7)
    assert sorted(network.plan.log for network in fitted.networks) == [False, False, True]
    fitted = small(seeds=3, training=UNTRAINED).fit(panel, horizon=7)
    assert [network.plan.log for network in fitted.networks] == [False, False, False]


@pytest.mark.parametrize("multiply", [True, False])
def test_the_newest_windows_say_whether_promotions_multiply_or_add(multiply):
    fitted = small(seeds=2, training=Training(steps=120, batch=32, checks=6)).fit(promoted(multiply), horizon=14)
    assert [network.plan.log for network in fitted.networks] == [multiply, multiply]


def promoted(multiply: bool) -> Panel:
    """Series of one shape whose promotions multiply demand by four and a half, or add 60 to 10 of it."""
    rng, days = np.random.default_rng(0), np.arange(120)
    week, frames = np.sin(2 * np.pi * days / 7), []
    for k in range(12):
        promotion = (rng.random(120) < 0.2).astype(float)
        noise = rng.normal(size=120)
        if multiply:
            y = 20 * rng.lognormal() * np.exp(1.5 * promotion + 0.3 * week + 0.2 * noise)
        else:
            y = np.maximum(10 + 60 * promotion + 10 * week + 3 * noise, 0)
        dates = pd.date_range("2024-01-01", periods=120)
        frames.append(pd.DataFrame({"unique_id": f"s{k}", "ds": dates, "y": y, "promotion": promotion}))
    return Panel.from_frame(pd.concat(frames), known=("promotion",))


def test_where_nothing_is_held_back_known_covariates_are_thought_to_multiply():
    fitted = small(seeds=3, training=UNTRAINED).fit(promoted(multiply=False), horizon=7)
    assert [network.plan.log for network in fitted.networks] == [True, True, True]


def test_an_ensemble_of_one_is_refused():
    with pytest.raises(ConfigError, match="give it seeds=2 or more"):
        small(scaling="ensemble")


def test_later_networks_are_trained_where_nothing_can_be_held_back(panel):
    short = panel.tail(18)
    options = Training(steps=30, batch=16)
    second = small(seeds=2, scaling="linear", training=options).fit(short, horizon=14).networks[1]
    untrained = small(seed=1, training=UNTRAINED).fit(short, horizon=14).networks[0]
    assert (second.out.weight != untrained.out.weight).any()


def test_dropout_comes_from_the_seed_of_the_recipe(panel, fitted):
    recipe = small(training=replace(QUICK, dropout=0.5))
    first, second = (recipe.fit(panel, horizon=14).predict(14).mean for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, fitted.predict(14).mean)


@pytest.mark.parametrize("cell", [GRU, LSTM])
def test_the_state_between_layers_is_as_wide_as_hidden(panel, cell):
    network = small(cell, hidden=24, layers=2, training=UNTRAINED).fit(panel, horizon=7).networks[0]
    assert network.recurrent.weight_ih_l1.shape[1] == 24
    assert network.recurrent.weight_hh_l0.shape[1] == 24


def disturbed(fitted):
    """The same model with other weights in its cells."""
    network = copy.deepcopy(fitted.networks[0])
    with torch.no_grad():
        for weight in network.recurrent.parameters():
            weight.add_(0.5)
    return replace(fitted, networks=(network,))


def test_without_memory_the_cells_add_nothing_and_all_else_is_the_same(panel, fitted):
    control = small(memory=False).fit(panel, horizon=14)
    np.testing.assert_array_equal(disturbed(control).predict(14).mean, control.predict(14).mean)
    assert not np.allclose(disturbed(fitted).predict(14).mean, fitted.predict(14).mean)
    untrained = [small(memory=m, training=UNTRAINED).fit(panel, horizon=14).state().arrays for m in (True, False)]
    for name, array in untrained[0].items():
        np.testing.assert_array_equal(untrained[1][name], array)
    assert (control.state().arrays["0.out.weight"] != untrained[1]["0.out.weight"]).any()


def test_a_control_without_memory_survives_the_disk_and_compiling(panel, tmp_path):
    control = small(memory=False).fit(panel, horizon=14)
    control.save(tmp_path / "m")
    loaded = restore(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(14).mean, control.predict(14).mean)
    np.testing.assert_allclose(loaded.compile("eager").predict().mean, control.predict(14).mean, rtol=1e-5)


def test_a_model_saved_before_an_option_was_there_still_loads(fitted):
    state = fitted.state()
    shape = {name: state.values["shapes"][0][name] for name in ("cell", "hidden", "layers")}
    older = State(state.arrays, {"plans": state.values["plans"], "shape": shape})
    loaded = type(fitted).from_state(older, recipe=fitted.recipe, history=fitted.history)
    np.testing.assert_array_equal(loaded.predict(7).mean, fitted.predict(7).mean)


def test_the_newest_observation_changes_the_first_step(panel, fitted):
    values = panel.values.copy()
    values[panel.offsets[1] - 1] += 10
    changed = fitted.update(replace(panel, values=values)).predict(1)
    assert abs(changed.mean[0, 0] - fitted.predict(1).mean[0, 0]) > 1e-3
    np.testing.assert_allclose(changed.mean[1:], fitted.predict(1).mean[1:])


def test_a_short_forecast_is_the_beginning_of_a_rolled_one(fitted):
    levels = (0.1, 0.5, 0.9)
    long = fitted.predict(40, levels=levels)
    for horizon in (1, 7, 14, 20):
        short = fitted.predict(horizon, levels=levels)
        np.testing.assert_allclose(short.mean, long.mean[:, :horizon], rtol=1e-5)
        np.testing.assert_allclose(short.quantiles, long.quantiles[:, :horizon], rtol=1e-5)


def test_a_rolled_forecast_becomes_less_certain_and_keeps_the_season(fitted):
    forecast = fitted.predict(42, levels=(0.1, 0.9))
    width = np.diff(forecast.quantiles, axis=-1)[..., 0]
    assert (width[:, 28:].mean(axis=1) > width[:, :14].mean(axis=1)).all()
    assert np.corrcoef(forecast.mean[0, 28:], forecast.mean[0, :14])[0, 1] > 0.9


def test_forecasts_scale_with_demand(panel):
    large = replace(panel, values=panel.values * 1000)
    for scaling in ("linear", "log"):
        recipe = small(scaling=scaling)
        mean = recipe.fit(panel, horizon=14).predict(14).mean
        np.testing.assert_allclose(recipe.fit(large, horizon=14).predict(14).mean, 1000 * mean, rtol=1e-3)


@pytest.mark.parametrize("size", [1e12, 1e-12])
def test_a_fitted_network_forecasts_any_scale(panel, fitted, size):
    scaled = fitted.update(replace(panel, values=panel.values * size)).predict(14, levels=(0.1, 0.9))
    known = fitted.predict(14, levels=(0.1, 0.9))
    np.testing.assert_allclose(scaled.mean, size * known.mean, rtol=1e-4)
    np.testing.assert_allclose(scaled.quantiles, size * known.quantiles, rtol=1e-4)


def test_a_high_level_costs_no_precision(panel, fitted):
    raised = fitted.update(replace(panel, values=panel.values + 1e9)).predict(14, levels=(0.1, 0.9))
    spread = np.diff(raised.quantiles, axis=-1)
    np.testing.assert_allclose(spread, np.diff(fitted.predict(14, levels=(0.1, 0.9)).quantiles, axis=-1), rtol=0.3)


@pytest.mark.parametrize("scaling", ["linear", "log"])
@pytest.mark.parametrize("value", [7.3, 0.0, -4.0, 1e12, 1e-12])
def test_a_constant_series_is_forecast_as_that_constant(value, scaling):
    forecast = small(scaling=scaling).fit(constant(value), horizon=14).predict(30, levels=(0.1, 0.9))
    np.testing.assert_allclose(forecast.mean, value, rtol=1e-5)
    np.testing.assert_allclose(forecast.quantiles, value, rtol=1e-3)


def test_constant_and_noisy_series_train_together(panel):
    flat = constant(7.3, 120).to_frame()
    both = Panel.from_frame(pd.concat([panel.to_frame(), flat]))
    forecast = small().fit(both, horizon=14).predict(14)
    np.testing.assert_allclose(forecast.mean[forecast.series.index("flat")], 7.3, rtol=1e-5)


def test_demand_that_was_never_negative_is_not_forecast_below_zero():
    rng = np.random.default_rng(0)
    ds = pd.date_range("2024-01-01", periods=120)
    y = rng.poisson(0.3, 120).astype(float)
    rare = pd.DataFrame({"unique_id": "rare", "ds": ds, "y": y})
    mixed = pd.concat([rare, rare.assign(unique_id="signed", y=y - 3)])
    forecast = small().fit(Panel.from_frame(mixed), horizon=14).predict(14, levels=(0.01, 0.5, 0.99))
    assert forecast.quantiles[0].min() == 0
    assert forecast.quantiles[1].min() < 0


def test_any_levels_are_ordered_and_differ_from_their_neighbours(fitted):
    levels = (0.001, 0.02, 0.1, 0.33, 0.5, 0.66, 0.9, 0.99, 0.999)
    quantiles = fitted.predict(30, levels=levels).quantiles
    assert (np.diff(quantiles, axis=-1) > 0).all()


def test_levels_between_the_trained_ones_follow_the_normal_distribution():
    from scipy.special import ndtri

    wanted = (0.01, 0.05, 0.4, 0.5, 0.97)
    grid = 3 + 2 * ndtri(np.array(LEVELS))
    np.testing.assert_allclose(at_levels(grid[None, None], wanted)[0, 0], 3 + 2 * ndtri(np.array(wanted)))


def test_a_batch_of_one_is_its_row_in_a_large_batch():
    many = Panel.from_frame(table(series=60))
    fitted = small().fit(many, horizon=14)
    together = fitted.predict(14, levels=(0.1, 0.9))
    for i in (0, 17, 59):
        alone = fitted.update(many.take([i])).predict(14, levels=(0.1, 0.9))
        np.testing.assert_allclose(alone.mean[0], together.mean[i], rtol=1e-5)
        np.testing.assert_allclose(alone.quantiles[0], together.quantiles[i], rtol=1e-5)


def test_training_twice_gives_the_same_weights_and_leaves_the_global_generator_alone(panel, fitted):
    before = torch.get_rng_state()
    again = small().fit(panel, horizon=14)
    assert torch.equal(before, torch.get_rng_state())
    for name, array in fitted.state().arrays.items():
        np.testing.assert_array_equal(again.state().arrays[name], array)
    other = small(seed=1).fit(panel, horizon=14)
    assert not np.allclose(other.predict(14).mean, fitted.predict(14).mean)


def test_the_order_of_the_series_decides_nothing(panel, fitted):
    order = [2, 0, 3, 1]
    turned = small().fit(panel.take(order), horizon=14).predict(14)
    np.testing.assert_allclose(turned.mean, fitted.predict(14).mean[order], rtol=1e-5)


def test_two_threads_predict_what_one_does(fitted):
    alone = fitted.predict(30).mean
    with ThreadPoolExecutor(2) as pool:
        for mean in pool.map(lambda _: fitted.predict(30).mean, range(8)):
            np.testing.assert_array_equal(mean, alone)


def test_a_series_unseen_in_training_gets_a_sensible_forecast(fitted):
    new = table(series=1, seed=11)
    new["unique_id"] = "new"
    forecast = fitted.update(Panel.from_frame(new.iloc[:-14])).predict(14)
    actual = new["y"].to_numpy()[-14:]
    assert forecast.series == ("new",)
    assert np.abs(forecast.mean[0] - actual).mean() < np.abs(actual - actual.mean()).mean()


def test_update_with_the_training_panel_changes_nothing(panel, fitted):
    np.testing.assert_array_equal(fitted.update(panel).predict(30).mean, fitted.predict(30).mean)


def test_history_is_cut_to_what_a_forecast_reads():
    long = Panel.from_frame(table(days=900))
    fitted = small().fit(long, horizon=14)
    assert fitted.history.lengths.max() == fitted.networks[0].plan.context < 400
    assert fitted.trained_on == long.fingerprint


def test_what_was_saved_forecasts_the_same(panel, tmp_path):
    for recipe in (small(), small(LSTM, layers=2, scaling="log")):
        fitted = recipe.fit(panel, horizon=14)
        fitted.save(tmp_path / recipe.name)
        loaded = restore(tmp_path / recipe.name)
        assert loaded.recipe == recipe
        levels = (0.05, 0.5, 0.97)
        np.testing.assert_array_equal(
            loaded.predict(30, levels=levels).quantiles, fitted.predict(30, levels=levels).quantiles
        )


def test_weights_of_another_network_are_refused(panel, fitted):
    other = small(hidden=8).fit(panel, horizon=14).state().arrays
    common = {"recipe": fitted.recipe, "history": fitted.history}
    with pytest.raises(StoreError, match="not of this version's network, fit the model again"):
        type(fitted).from_state(State(other, fitted.state().values), **common)


def test_a_gap_and_what_fills_it_never_reach_the_forecast():
    rows = table(days=140)
    hole = (rows["unique_id"] == "s1") & rows["ds"].between("2024-02-10", "2024-03-05")
    low, high = (
        Panel.from_frame(rows.assign(y=rows["y"].where(~hole, v), sold=~hole), available="sold") for v in (0, 9e5)
    )
    missing = Panel.from_frame(rows[~hole])
    means = [small().fit(p, horizon=14).predict(14).mean for p in (low, high, missing)]
    assert np.isfinite(means[0]).all()
    np.testing.assert_allclose(means[0], means[1], rtol=1e-6)
    np.testing.assert_allclose(means[0], means[2], rtol=1e-6)


def test_an_item_off_sale_for_longer_than_the_lookback_is_forecast_at_its_former_level():
    rows = table(days=140)
    gone = (rows["unique_id"] == "s1") & (rows["ds"] >= "2024-03-01")
    panel = Panel.from_frame(rows.assign(y=rows["y"].where(~gone, 0.0), sold=~gone), available="sold")
    fitted = small(lookback=28).fit(panel, horizon=14)
    assert fitted.predict(14).mean[1].mean() == pytest.approx(40, rel=0.1)
    np.testing.assert_array_equal(fitted.update(panel).predict(14).mean, fitted.predict(14).mean)


def test_series_of_very_different_lengths_train_together():
    rows = table(series=5)
    keep = {"s0": 120, "s1": 60, "s2": 20, "s3": 3, "s4": 1}
    panel = Panel.from_frame(pd.concat([rows[rows["unique_id"] == name].tail(n) for name, n in keep.items()]))
    forecast = small().fit(panel, horizon=28).predict(28, levels=(0.1, 0.9))
    assert np.isfinite(forecast.quantiles).all()
    assert forecast.mean[4].mean() == pytest.approx(panel.series(4)[0], rel=1e-3)


def test_a_panel_of_too_short_series_is_refused_by_name():
    with pytest.raises(SeriesTooShortError, match="'s0' has 3 periods, gru needs at least 4"):
        small().fit(Panel.from_frame(table(series=1, days=3)))


def test_a_single_series_shorter_than_a_season_is_forecast():
    forecast = small().fit(Panel.from_frame(table(series=1, days=6)), horizon=28).predict(28)
    assert np.isfinite(forecast.mean).all()


def test_bf16_training_is_close_to_fp32(panel, fitted):
    mixed = small(training=replace(QUICK, precision="bf16")).fit(panel, horizon=14)
    error = np.abs(mixed.predict(14).mean - fitted.predict(14).mean) / np.abs(fitted.predict(14).mean)
    assert 0 < error.mean() < 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": 0}, "hidden must be at least 1, not 0"),
        ({"patch": 0}, "patch must be at least 1"),
        ({"season": 0}, "season must be at least 1"),
        ({"scaling": "logs"}, "one of auto, linear, log, ensemble, not 'logs', did you mean 'log'"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, mps"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        GRU(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": -1}, "training.steps must be at least 0, not -1"),
        ({"lr": 0.0}, "training.lr must be above 0"),
        ({"weight_decay": -1.0}, "training.weight_decay"),
        ({"averaging": 1.0}, "training.averaging must be at least 0 and below 1"),
        ({"precision": "fp16"}, "training.precision must be one of fp32, bf16, not 'fp16'"),
    ],
)
def test_training_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Training(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_here_is_refused_when_fitting_and_replaced_when_loading(panel, fitted):
    with pytest.raises(ConfigError, match="device 'cuda' is not here; found: cpu"):
        small(device="cuda").fit(panel)
    common = {"recipe": small(device="cuda"), "history": fitted.history}
    served = type(fitted).from_state(fitted.state(), **common)
    np.testing.assert_array_equal(served.predict(7).mean, fitted.predict(7).mean)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_forecasts_what_the_cpu_does(panel, fitted):
    common = {"recipe": small(device="cuda"), "history": fitted.history}
    served = type(fitted).from_state(fitted.state(), **common)
    np.testing.assert_allclose(served.predict(30).mean, fitted.predict(30).mean, rtol=1e-2)
    assert np.isfinite(small(device="cuda").fit(panel, horizon=14).predict(14).mean).all()


def test_a_refit_trains_on_from_the_weights_it_has(panel):
    recipe = small(training=replace(QUICK, warm=0.5))
    first = recipe.fit(panel.cut(panel.lengths - 14), horizon=7)
    again = first.refit(panel, horizon=7)
    assert again.horizon == 7
    before, after, cold = (m.networks[0].out.weight for m in (first, again, recipe.fit(panel, horizon=7)))
    assert (after != before).any()
    assert (after != cold).any()
    assert (again.history.ends == panel.ends).all()
    assert again.networks[0] is not first.networks[0]


def test_a_refit_for_another_network_begins_afresh(panel):
    recipe = small(training=replace(QUICK, warm=0.5))
    first = recipe.fit(panel, horizon=7)
    np.testing.assert_array_equal(
        first.refit(panel, horizon=9).predict(9).mean, recipe.fit(panel, horizon=9).predict(9).mean
    )
    never = small(training=replace(QUICK, warm=0.0))
    assert not never.warm
    np.testing.assert_array_equal(
        never.fit(panel, horizon=7).refit(panel, horizon=7).predict(7).mean, never.fit(panel, horizon=7).predict(7).mean
    )


def test_a_refit_on_a_much_longer_history_begins_afresh_and_then_trains_on(panel):
    recipe = small(training=replace(QUICK, warm=0.5))
    half = recipe.fit(panel.cut(panel.lengths // 2), horizon=7).refit(panel, horizon=7)
    whole = recipe.fit(panel, horizon=7)
    np.testing.assert_array_equal(half.predict(7).mean, whole.predict(7).mean)
    assert half.goes_on(panel, 7)
    on = half.refit(panel)  # for the horizon of the fit
    assert on.horizon == 7
    np.testing.assert_array_equal(on.predict(7).mean, whole.refit(panel, horizon=7).predict(7).mean)
    assert (on.predict(7).mean != whole.predict(7).mean).any()


def test_a_device_without_memory_for_a_batch_gets_half_of_it(panel, monkeypatch, caplog):
    real, asked = _Course._step, []

    def limited(self, origins, stretch):
        asked.append(self.options.batch)
        if self.options.batch > 8:
            raise torch.OutOfMemoryError("out of memory")
        real(self, origins, stretch)

    monkeypatch.setattr(_Course, "_step", limited)
    tight = small(training=replace(QUICK, batch=33)).fit(panel, horizon=7)
    assert asked[:3] == [33, 16, 8]
    assert "out of memory with 16 windows a step: from the start with 8" in caplog.text
    monkeypatch.setattr(_Course, "_step", real)
    same = small(training=replace(QUICK, batch=8)).fit(panel, horizon=7)
    assert np.isfinite(tight.predict(7).mean).all()
    assert tight.predict(7).mean.shape == same.predict(7).mean.shape


def test_a_device_without_memory_for_one_window_says_so(panel, monkeypatch):
    def none(*_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(_Course, "_step", none)
    with pytest.raises(FitError, match="no memory for one window"):
        small().fit(panel, horizon=7)


def test_training_says_how_far_it_is(panel):
    heard = []
    with use_progress(lambda *what: heard.append(what)):
        small().fit(panel, horizon=7)
    assert heard == [(10 * k, 40, "training gru") for k in range(1, 5)]


@pytest.mark.parametrize(
    ("unit", "options", "logs"),
    [
        (1.0, {"seeds": 3}, [False, False, True]),
        (1.0, {"seeds": 4}, [False, False, False, True]),
        (1.0, {"seeds": 2}, [False, False]),
        (1.0, {"seeds": 3, "scaling": "linear"}, [False] * 3),
        (0.25, {"seeds": 3}, [False] * 3),
    ],
)
def test_of_counts_one_network_of_three_reads_logarithms(unit, options, logs):
    rows = table()
    rows["y"] = unit * rows["y"].round().where(rows["unique_id"] != "s3", 0)  # one never sold anything
    fitted = small(**options, training=UNTRAINED).fit(Panel.from_frame(rows), horizon=14)
    assert [network.plan.log for network in fitted.networks] == logs


def test_known_covariates_leave_all_networks_of_counts_on_the_scale_that_was_found_better(monkeypatch):
    monkeypatch.setattr(
        forecaster, "_train", lambda network, *_, **__: Best(*((99, 0.6) if network.plan.log else (7, 0.5)))
    )
    rows = table()
    rows = rows.assign(y=rows["y"].round(), fair=1.0 * (rows["ds"].dt.day == 3))
    fitted = small(seeds=3).fit(Panel.from_frame(rows, known=("fair",)), horizon=14)
    assert [network.plan.log for network in fitted.networks] == [False] * 3


def test_networks_on_other_scales_are_trained_for_as_many_steps_as_the_first(monkeypatch):
    asked = []

    def trained(network, inputs, options, seed, steps=None, rival=None):
        asked.append((network.plan.log, steps))
        return Best(7, 0.5)

    monkeypatch.setattr(forecaster, "_train", trained)
    rows = table()
    rows["y"] = rows["y"].round()
    small(seeds=3).fit(Panel.from_frame(rows), horizon=14)
    assert asked == [(False, None), (False, 7), (True, 7)]


@pytest.mark.parametrize("better", [False, True])
def test_networks_are_trained_for_as_many_steps_as_was_found_for_their_own_scale(monkeypatch, better):
    asked = []

    def trained(network, inputs, options, seed, steps=None, rival=None):
        asked.append((network.plan.log, steps))
        return Best(*((99, 0.5 if better else 0.6) if network.plan.log else (7, 0.55)))

    monkeypatch.setattr(forecaster, "_train", trained)
    rows = table()
    rows = rows.assign(y=rows["y"].round(), fair=1.0 * (rows["ds"].dt.day == 3))
    again = replace(QUICK, refit=True)
    small(seeds=3, training=again).fit(Panel.from_frame(rows, known=("fair",)), horizon=14)
    assert asked[-3:] == [(better, 99 if better else 7)] * 3
