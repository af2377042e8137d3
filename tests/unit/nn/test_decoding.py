"""The rolled decoder: trained and asked on demand of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import ndtri

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.models import restore
from forecastkit.models.gru import GRU
from forecastkit.models.lstm import LSTM
from forecastkit.nn.decoding import PATHS, _between, _chances, trained
from forecastkit.nn.inputs import lay_out
from forecastkit.nn.network import LEVELS, at_levels
from forecastkit.nn.options import Training
from forecastkit.nn.windows import Windows

QUICK = Training(steps=40, batch=32, checks=4, refit=False)
SHOWN = (0.1, 0.5, 0.9)


def small(model=GRU, **options):
    return model(**{"hidden": 16, "seeds": 1, "decoder": "rolled", "training": QUICK, **options})


def table(series=5, days=120, whole=False):
    rng = np.random.default_rng(3)
    ds = pd.date_range("2024-01-01", periods=days)
    week = 20 + 8 * np.sin(2 * np.pi * ds.day_of_week.to_numpy() / 7)
    frames = []
    for k in range(series):
        y = rng.poisson((k + 1) * week / 10).astype(float) if whole else (k + 1) * (week + rng.normal(0, 2, days))
        frames.append(pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "y": y, "visits": 2 * y + rng.normal(0, 1, days)}))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def panel():
    return Panel.from_frame(table())


@pytest.fixture(scope="module")
def fitted(panel):
    return small().fit(panel, horizon=21)


def test_the_head_of_a_rolled_network_is_one_patch_and_its_horizon_is_the_asked_one(fitted):
    assert fitted.networks[0].step.shape[0] == 7
    assert fitted.horizon == 21


def windows_and_origins(rows, **roles):
    panel = Panel.from_frame(rows, **roles)
    fitted = small(lookback=28).fit(panel, horizon=21)
    network = fitted.networks[0]
    inputs = lay_out(panel, network.plan, 21)
    origins = torch.arange(2), torch.full((2,), inputs.end - 30)
    return network, Windows.of(inputs, network.plan, torch.device("cpu")), origins


def seeded():
    return torch.Generator().manual_seed(1)


def test_nothing_after_the_start_of_a_window_is_read_in_training():
    network, windows, origins = windows_and_origins(table(), past=("visits",))
    first = trained(network, windows, origins, seeded(), None)
    later = int(origins[1][0])
    y, past = windows.y.clone(), windows.past.clone()
    y[:, later:], past[:, later:] = 50.0, 50.0
    other = trained(network, replace(windows, y=y, past=past), origins, seeded(), None)
    torch.testing.assert_close(first.mean, other.mean)
    torch.testing.assert_close(first.quantiles, other.quantiles)


def test_training_goes_on_from_draws_of_its_own_forecast():
    network, windows, origins = windows_and_origins(table())
    first, again = (trained(network, windows, origins, seeded(), None) for _ in range(2))
    other = trained(network, windows, origins, torch.Generator().manual_seed(2), None)
    torch.testing.assert_close(first.mean, again.mean)
    torch.testing.assert_close(first.mean[:, :7], other.mean[:, :7])
    assert (first.mean[:, 7:] != other.mean[:, 7:]).all()


def test_draws_lie_between_the_quantiles_as_asked_levels_do():
    grid = torch.linspace(1, 9, len(LEVELS)).expand(1, 3, -1) ** 1.5
    levels = (0.02, 0.4, 0.97)
    found = _between(grid, torch.from_numpy(ndtri(np.array(levels)))[None].float())
    expected = at_levels(grid.numpy().astype(float), levels)
    np.testing.assert_allclose(found[0], [expected[0, k, k] for k in range(3)], rtol=1e-5)


def test_every_period_has_one_path_in_each_hundredth_and_a_longer_horizon_begins_alike():
    chances = _chances(9)
    np.testing.assert_allclose(np.sort(chances, axis=0)[:, 4], (np.arange(PATHS) + 0.5) / PATHS)
    np.testing.assert_array_equal(_chances(30)[:, :9], chances)
    assert abs(np.corrcoef(chances[:, 0], chances[:, 1])[0, 1]) < 0.3


def test_the_first_patch_has_the_quantiles_of_the_head(fitted):
    forecast = fitted.predict(28, levels=SHOWN)
    inputs = lay_out(fitted.history, fitted.networks[0].plan, 7)
    windows = Windows.of(inputs, fitted.networks[0].plan, torch.device("cpu"))
    with torch.inference_mode():
        series = torch.arange(5)
        output = fitted.networks[0](windows.batch(series, torch.full_like(series, windows.end), 7))
    exact = at_levels(output.quantiles.double().numpy(), SHOWN) * inputs.units[:, None, None]
    np.testing.assert_allclose(forecast.quantiles[:, :7], exact + inputs.shift[:, None, None], rtol=0.02)


def test_the_further_ahead_a_random_walk_the_less_certain():
    rows = table()
    rows["y"] = 500 + np.random.default_rng(4).normal(0, 5, (5, 120)).cumsum(axis=1).ravel()
    quantiles = (
        small().fit(Panel.from_frame(rows[["unique_id", "ds", "y"]]), horizon=21).predict(28, levels=SHOWN).quantiles
    )
    width = quantiles[..., 2] - quantiles[..., 0]
    assert np.median(width[:, 21:].mean(axis=1) / width[:, :7].mean(axis=1)) > 1.1


def test_a_forecast_is_the_same_each_time_alone_and_in_any_order(panel, fitted):
    together = fitted.predict(21, levels=SHOWN)
    np.testing.assert_array_equal(fitted.predict(21, levels=SHOWN).quantiles, together.quantiles)
    alone = fitted.update(panel.take([3])).predict(21, levels=SHOWN)
    turned = fitted.update(panel.take([4, 3, 2, 1, 0])).predict(21, levels=SHOWN)
    np.testing.assert_allclose(alone.quantiles[0], together.quantiles[3], rtol=1e-4)
    np.testing.assert_allclose(turned.mean, together.mean[::-1], rtol=1e-4)


def test_more_series_than_a_chunk_holds_are_forecast_alike():
    many = Panel.from_frame(table(series=70))
    fitted = small(training=Training(steps=2)).fit(many, horizon=14)
    alone = fitted.update(many.take([69])).predict(14)
    np.testing.assert_allclose(alone.mean[0], fitted.predict(14).mean[69], rtol=1e-4)


def test_a_rolled_forecast_keeps_the_season(fitted):
    mean = fitted.predict(42).mean
    assert np.corrcoef(mean[0, 35:], mean[0, :7])[0, 1] > 0.9


def test_a_rolled_lstm_of_counts_gives_whole_quantiles():
    counts = Panel.from_frame(table(whole=True))
    fitted = small(LSTM, head="negative_binomial").fit(counts, horizon=14)
    forecast = fitted.predict(21, levels=SHOWN)
    np.testing.assert_array_equal(forecast.quantiles, np.round(forecast.quantiles))
    actual = np.stack([counts.series(i)[-70:].mean() for i in range(len(counts))])
    np.testing.assert_allclose(forecast.mean.mean(axis=1), actual, rtol=0.25)


def test_what_was_saved_forecasts_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    loaded = restore(tmp_path / "m")
    np.testing.assert_array_equal(
        loaded.predict(28, levels=SHOWN).quantiles, fitted.predict(28, levels=SHOWN).quantiles
    )


def test_a_rolled_network_is_not_compiled(fitted):
    with pytest.raises(ConfigError, match="this one has head=quantiles, decoder=rolled: forecast with the model"):
        fitted.compile("eager")


def test_a_decoder_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="decoder must be one of direct, rolled, not 'recursive'"):
        small(decoder="recursive")
