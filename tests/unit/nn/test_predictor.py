"""The compiled predictor: the same numbers as the model, whatever runs them."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, FitError
from forecastkit.models.gru import GRU
from forecastkit.models.lstm import LSTM
from forecastkit.nn import predictor
from forecastkit.nn.capture import Captured
from forecastkit.nn.graph import Graph
from forecastkit.nn.inputs import placed
from forecastkit.nn.options import Training

pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.xdist_group("predictor")  # what takes long here is made once for all

H = 9
LEVELS = (0.05, 0.3, 0.5, 0.97)
QUICK = Training(steps=20, batch=16, checks=2, refit=False)


def table(days=130, seed=0):
    """Four stores of unlike size and length with every role of covariates, gaps and a day that sells nothing."""
    rng = np.random.default_rng(seed)
    frames = []
    for k, size in enumerate((1.0, 40.0, 3e5, 7.0)):
        ds = pd.date_range("2024-01-01", periods=days - 11 * k)
        promo = (rng.random(len(ds)) < 0.2).astype(float)
        y = size * (5 + ds.day_of_week.to_numpy() + 4 * promo + rng.random(len(ds)))
        y[rng.random(len(ds)) < 0.05] = np.nan
        frames.append(
            pd.DataFrame({
                "unique_id": f"s{k}", "ds": ds, "y": y, "promo": promo, "price": 2 + rng.random(len(ds)),
                "event": np.where(rng.random(len(ds)) < 0.1, "fair", "none"), "footfall": 100 * rng.random(len(ds)),
                "kind": "large" if k % 2 else "small", "open": rng.random(len(ds)) > 0.05,
                "holiday": 1.0 * (ds.day == 11),
            })
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def panel():
    known = ("promo", "price", "event", "holiday")
    roles = {"known": known, "past": ("footfall",), "static": ("kind",), "available": "open"}
    return Panel.from_frame(table(), **roles)


@pytest.fixture(scope="module")
def fitted(panel):
    """Less is read as a whole than is looked through for times alike; nothing says that a role is not needed."""
    training = replace(QUICK, validation=0)
    return GRU(hidden=12, seeds=2, lookback=10, patch=5, scaling="ensemble", training=training).fit(panel, horizon=H)


@pytest.fixture(scope="module")
def future(panel):
    rng = np.random.default_rng(5)
    flags = [rng.integers(0, 2, (4, H)).astype(float) for _ in range(3)]
    return np.stack([flags[0], 2 + rng.random((4, H)), *flags[1:]], -1)


@pytest.fixture(scope="module")
def compiled(fitted):
    return fitted.compile("onnx", levels=LEVELS)


def assert_same(one, other):
    np.testing.assert_allclose(one.mean, other.mean, rtol=2e-5)
    np.testing.assert_allclose(one.quantiles, other.quantiles, rtol=2e-5, atol=1e-4)
    assert (one.times == other.times).all()
    assert one.series == other.series


def test_a_series_shorter_than_the_lookback_is_read_alike(fitted, panel, future):
    short = panel.tail(12)
    plain = fitted.update(short).predict(H, levels=LEVELS, future=future)
    assert_same(fitted.compile("eager", levels=LEVELS).predict(short, future=future), plain)


def test_the_plain_graph_gives_what_the_model_gives(fitted, future):
    assert_same(
        fitted.compile("eager", levels=LEVELS).predict(future=future), fitted.predict(H, levels=LEVELS, future=future)
    )


def test_onnx_gives_what_the_model_gives(fitted, compiled, future):
    assert_same(compiled.predict(future=future), fitted.predict(H, levels=LEVELS, future=future))
    assert compiled.parity.largest < 1e-5


def test_a_graph_asks_for_nothing_that_it_does_not_read(panel, compiled):
    bare = GRU(hidden=12, seeds=1, training=QUICK).fit(panel.bare(), horizon=H).compile("onnx")
    assert set(compiled.run._names) == {"y", "known", "past", "static", "calendar", "usual"}
    assert set(bare.run._names) == {"y", "calendar", "usual"}


def test_newer_observations_change_the_forecast_without_a_new_compilation(fitted, compiled, panel, future):
    shorter = panel.cut(panel.lengths - 2)
    new = compiled.predict(shorter, future=future)
    assert_same(new, fitted.update(shorter).predict(H, levels=LEVELS, future=future))
    assert (new.mean != compiled.predict(future=future).mean).any()


def test_one_series_is_its_row_among_many(compiled, future):
    arrays = compiled.arrays(future=future)
    many = type(arrays)(*(np.repeat(array, 300, axis=0) for array in arrays))  # above the largest batch
    for one, all_of_them in zip(compiled(arrays.rows(slice(2, 3))), compiled(many), strict=True):
        np.testing.assert_allclose(all_of_them[600:900], np.repeat(one, 300, axis=0), rtol=1e-5)


@pytest.mark.parametrize("width", [3, 5, 8])
def test_one_series_is_placed_as_it_is_among_many(width):
    rows = np.arange(9.0)
    among = placed(rows, np.array([5, 4]), width)
    np.testing.assert_array_equal(placed(rows[:5], np.array([5]), width), among[:1])
    np.testing.assert_array_equal(placed(rows[5:], np.array([4]), width), among[1:])


def test_threads_get_the_numbers_that_one_after_the_other_gets(compiled, future):
    arrays = compiled.arrays(future=future)
    parts = [arrays.rows(slice(k, k + 1)) for k in range(4)] * 25
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(compiled, parts))
    for part, (mean, quantiles) in zip(parts, together, strict=True):
        alone = compiled(part)
        np.testing.assert_array_equal(mean, alone[0])
        np.testing.assert_array_equal(quantiles, alone[1])


def test_bfloat16_is_near_and_says_how_near(fitted, future):
    small = fitted.compile("bf16")
    assert 0 < small.parity.largest < 0.05
    assert abs(small.parity.error) <= predictor.BOUND
    assert fitted.networks[0].recurrent.weight_ih_l0.dtype.itemsize == 4  # the model itself is left alone


def test_an_lstm_can_have_8_bit_weights(panel):
    fitted = LSTM(hidden=12, seeds=1, training=QUICK).fit(panel, horizon=H)
    assert b"DynamicQuantizeLSTM" in fitted.compile("onnx-int8").run.model


def test_a_gru_has_no_8_bit_weights(fitted):
    with pytest.raises(ConfigError, match="is for lstm"):
        fitted.compile("onnx-int8")


def test_a_variant_that_moves_the_error_is_refused(fitted, monkeypatch):
    class Wrong(predictor.Eager):
        def __call__(self, arrays):
            mean, quantiles = super().__call__(arrays)
            return mean * 1.3, quantiles

    real = predictor._run
    monkeypatch.setattr(predictor, "_run", lambda *a: Wrong(real(*a).graph))
    with pytest.raises(FitError, match="changes the forecasts by"):
        fitted.compile("bf16")


def test_wrong_quantiles_are_refused_and_so_is_what_cannot_be_held_out(panel, monkeypatch):
    class Wrong(predictor.Eager):
        def __call__(self, arrays):
            mean, quantiles = super().__call__(arrays)
            return mean, quantiles - 0.3 * np.abs(quantiles)

    real = predictor._run
    monkeypatch.setattr(predictor, "_run", lambda *a: Wrong(real(*a).graph))
    whole = GRU(hidden=8, seeds=1, lookback=14, training=Training(steps=0)).fit(
        panel, horizon=60
    )  # beyond what is kept
    for fitted in (whole, GRU(hidden=8, seeds=1, training=Training(steps=0)).fit(panel, horizon=H)):
        with pytest.raises(FitError, match="changes the forecasts by"):
            fitted.compile("eager")


@pytest.mark.parametrize("closed", [15, 21, 40])
@pytest.mark.parametrize("scaling", ["linear", "log"])
def test_after_a_long_stock_out_both_believe_in_what_was_usual(panel, closed, scaling):
    out = panel.available.copy()
    for end in panel.offsets[1:]:
        out[end - closed : end] = False
    shut = replace(panel, available=out)
    fitted = GRU(hidden=8, seeds=1, lookback=21, scaling=scaling, training=QUICK).fit(shut, horizon=H)
    future = np.zeros((4, H, 4))
    assert_same(
        fitted.compile("eager").predict(future=future), fitted.predict(H, levels=(0.1, 0.5, 0.9), future=future)
    )
    assert (fitted.predict(H, future=future).mean > 0).all()


def test_all_of_a_graph_is_on_the_device_of_the_network(fitted):
    away = replace(fitted, networks=tuple(copy.deepcopy(n).to("meta") for n in fitted.networks))
    graph = predictor.graph_of(away, (0.5,))
    assert {t.device.type for t in (*graph.parameters(), *graph.buffers())} == {"meta"}


def test_rounding_never_crosses_quantiles():
    ds = pd.date_range("2024-01-01", periods=60)
    flat = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": ds, "y": 7.3}))
    compiled = (
        GRU(hidden=8, seeds=1, training=QUICK).fit(flat, horizon=H).compile("eager", levels=np.linspace(0.01, 0.99, 60))
    )
    assert (np.diff(compiled.predict().quantiles, axis=-1) >= 0).all()


def test_unknown_variants_and_sizes_are_refused(fitted):
    with pytest.raises(ConfigError, match="did you mean 'onnx'"):
        fitted.compile("onxx")
    with pytest.raises(ConfigError, match="at least 1"):
        fitted.compile("eager", batch=(0, 8))
    with pytest.raises(ConfigError, match="needs a network on a CUDA device"):
        fitted.compile("cudagraph")


class Recorded:
    """A capturer for machines without a GPU: what is captured is run, and counted."""

    def __init__(self):
        self.captured = 0

    def __call__(self, work):
        self.captured += 1
        return work


def test_captured_graphs_are_kept_for_each_size_and_padded(fitted, future):
    plain, capture = fitted.compile("eager"), Recorded()
    captured = Captured(Graph(fitted.networks, (0.1, 0.5, 0.9)).eval(), (1, 3, 8), capture)
    arrays = plain.arrays(future=future)
    for count in (1, 2, 3, 4, 2, 1):
        part = arrays.rows(slice(0, count))
        for one, other in zip(captured(part), plain(part), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)
    assert capture.captured == 3
    with pytest.raises(ConfigError, match="at most 8 are prepared for"):
        captured(type(arrays)(*(np.repeat(array, 3, axis=0) for array in arrays)))


def test_weights_that_change_in_place_need_no_new_capture(panel, future):
    fitted, capture = GRU(hidden=8, seeds=1, training=QUICK).fit(panel, horizon=H), Recorded()
    captured = Captured(Graph(fitted.networks, (0.5,)).eval(), (4,), capture)
    arrays = fitted.compile("eager").arrays(future=future)
    before = captured(arrays)[0]
    fitted.networks[0].out.bias.data += 0.3
    assert (captured(arrays)[0] != before).all()
    assert capture.captured == 1


@pytest.mark.parametrize(
    ("variant", "scaling", "known"),
    [
        *(("eager", scaling, known) for scaling in ("linear", "log", "ensemble") for known in (False, True)),
        ("onnx", "linear", False),  # an export takes ten times as long as all of these
    ],
)
def test_heads_side_by_side_forecast_the_average_of_the_networks(panel, variant, scaling, known):
    train = panel if known else panel.bare()
    fitted = GRU(hidden=12, seeds=3, scaling=scaling, training=QUICK).fit(train, horizon=H)
    future = np.repeat(predictor._newest_known(train)[:, None], H, axis=1) if known else None
    expected = fitted.predict(H, levels=LEVELS, future=future)
    found = fitted.compile(variant, levels=LEVELS, batch=(1, 8)).predict(future=future)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=2e-5)
    np.testing.assert_allclose(found.quantiles, expected.quantiles, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("variant", ["eager", "onnx"])
def test_quantiles_of_counts_are_compiled_to_counts(variant):
    """Beside counts a series of kilos, one that sold nothing, and one of which nothing is known."""
    rng = np.random.default_rng(0)
    demand = rng.poisson(1.5, (4, 60)).astype(float)
    demand[1] *= 0.25
    demand[2] = 0.0
    days = pd.date_range("2024-01-01", periods=60)
    rows = [pd.DataFrame({"unique_id": f"s{k}", "ds": days, "y": y, "open": k < 3}) for k, y in enumerate(demand)]
    panel = Panel.from_frame(pd.concat(rows), available="open")
    fitted = GRU(hidden=8, seeds=1, training=QUICK).fit(panel, horizon=H)
    plain, found = fitted.predict(H, levels=LEVELS), fitted.compile(variant, levels=LEVELS).predict()
    assert_same(plain, found)
    assert (found.quantiles[0] % 1 == 0).all()
    assert (found.quantiles[1] % 1 != 0).any()


@pytest.mark.parametrize(("mean", "quantile", "good"), [(0.0, 1.0, True), (0.5, 0.0, False), (np.nan, 0.0, False)])
def test_parity_of_counts_is_that_of_means(mean, quantile, good):
    days = pd.date_range("2024-01-01", periods=60)
    rows = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.random.default_rng(0).poisson(3, 60)})
    fitted = GRU(hidden=8, seeds=1, training=QUICK).fit(Panel.from_frame(rows), horizon=H)
    plain = predictor.Eager(predictor.graph_of(fitted, LEVELS))

    def moved(arrays):
        found, quantiles = plain(arrays)
        return found + mean, quantiles + quantile

    assert predictor.parity_of(fitted, moved, LEVELS).good is good
