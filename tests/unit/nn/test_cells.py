"""The GRU of training: the same numbers and slopes as `nn.GRU`."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import forecastkit as fk  # noqa: E402
from forecastkit.data import synthetic  # noqa: E402
from forecastkit.nn.cells import _sigmoid, _step_back, _step_back_low, _tanh, last_state  # noqa: E402
from forecastkit.nn.network import Network  # noqa: E402

BATCH, STEPS, FEATURES, WIDTH = 5, 7, 3, 20
LOW = torch.bfloat16


def cells(layers: int):
    torch.manual_seed(0)
    return torch.nn.GRU(FEATURES, WIDTH, layers, batch_first=True)


def demand(batch: int = BATCH):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, STEPS, FEATURES, generator=generator).requires_grad_()


def slopes(state, gru, inputs):
    """Of a loss that is no symmetric one, by all weights and the inputs."""
    loss = (state * torch.linspace(-1, 2, WIDTH)).square().sum()
    return torch.autograd.grad(loss, [*gru.parameters(), inputs])


def theirs(gru, inputs):
    return gru(inputs)[1][-1]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_state_and_all_slopes_are_those_of_nn_gru(layers):
    gru, inputs = cells(layers), demand()
    own, other = last_state(gru, inputs, torch.float32, []), theirs(gru, inputs)
    torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)
    for mine, expected in zip(slopes(own, gru, inputs), slopes(other, gru, inputs), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


def test_products_in_half_the_precision_come_close():
    gru, inputs = cells(2), demand()
    own, other = last_state(gru, inputs, LOW, []), theirs(gru, inputs)
    assert own.dtype == torch.float32
    assert not torch.equal(own, last_state(gru, inputs, torch.float32, []))
    torch.testing.assert_close(own, other, rtol=0.0, atol=0.01)
    for mine, expected in zip(slopes(own, gru, inputs), slopes(other, gru, inputs), strict=True):
        torch.testing.assert_close(mine, expected, rtol=0.0, atol=0.02 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, LOW])
def test_room_that_a_step_leaves_serves_the_next_and_changes_no_number(dtype):
    gru, spare = cells(2), []
    for batch in (BATCH, BATCH, 2, BATCH):
        inputs = demand(batch)
        before = {place.data_ptr() for place in spare if place.shape[1] == batch}
        with_room = slopes(last_state(gru, inputs, dtype, spare), gru, inputs)
        assert len(spare) == 2
        assert before <= {place.data_ptr() for place in spare}
        alone = slopes(last_state(gru, inputs, dtype, []), gru, inputs)
        assert all(torch.equal(a, b) for a, b in zip(with_room, alone, strict=True))


def test_steps_that_overlap_as_in_a_rolled_forecast_keep_apart():
    gru, spare = cells(1), []
    first, second = demand(), (2 * demand().detach()).requires_grad_()
    both = last_state(gru, first, torch.float32, spare) + last_state(gru, second, torch.float32, spare)
    expected = theirs(gru, first) + theirs(gru, second)
    for mine, other in zip(slopes(both, gru, first), slopes(expected, gru, first), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_slopes_asked_for_twice_are_refused_rather_than_wrong():
    gru, inputs = cells(1), demand()
    loss = last_state(gru, inputs, torch.float32, []).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError):
        loss.backward()


def test_a_weight_that_changes_before_its_slope_is_asked_for_is_noticed():
    gru, inputs = cells(1), demand()
    loss = last_state(gru, inputs, torch.float32, []).sum()
    with torch.no_grad():
        gru.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_weights_get_slopes_where_the_window_needs_none():
    gru = cells(1)
    last_state(gru, demand().detach(), torch.float32, []).sum().backward()
    assert all(weight.grad is not None for weight in gru.parameters())


def test_slopes_are_rounded_to_the_nearest_half_and_ties_to_even():
    generator = np.random.default_rng(0)
    gates = generator.normal(size=(1, 6, 4 * WIDTH)).astype(np.float32)
    slope = generator.normal(size=(6, WIDTH)).astype(np.float32)
    gates[0, 0], slope[0] = 0.0, 1 + np.arange(1, 2 * WIDTH, 2) / 256  # as it is in the new gate, halfway each
    states, nothing = np.zeros((2, 6, WIDTH), np.float32), np.zeros((1, 6, WIDTH), np.float32)
    row, low = np.empty(4 * WIDTH, np.float32), np.empty(gates.shape, np.uint16)
    rest = (states, slope.copy(), nothing, nothing[0], row, np.zeros(4 * WIDTH))
    _step_back_low(0, low, row.view(np.uint32), gates, *rest)
    _step_back(0, gates, states, slope, *rest[2:])
    assert torch.equal(torch.from_numpy(low).view(LOW), torch.from_numpy(gates).bfloat16())


@pytest.mark.parametrize("text", ["gru:patch=7", "gru:layers=2,hidden=9,training.precision=bf16", "gru:decoder=rolled"])
def test_a_network_that_is_trained_by_them_is_the_one_that_pytorch_trains(text, monkeypatch):
    panel = synthetic.retail(series=6, periods=120).panel.bare()
    recipe = fk.create(f"{text},seeds=1,season=7,lookback=28,training.steps=15,training.validation=0")
    own = recipe.fit(panel, horizon=7)
    assert [network.spare for network in own.networks] == [[]]
    calls = []

    def pytorch(network, patches):
        calls.append(len(patches))
        return network.recurrent(patches)[1][-1]

    monkeypatch.setattr(Network, "_trained", pytorch)
    other = recipe.fit(panel, horizon=7)
    assert calls
    close = 0.01 if "bf16" in text else 1e-4
    np.testing.assert_allclose(own.predict(7).mean, other.predict(7).mean, rtol=close)


def test_tanh_and_sigmoid_are_right_everywhere():
    x = np.concatenate([np.linspace(-12, 12, 4801), [-1e30, 1e30, -np.inf, np.inf]]).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose([_tanh(v) for v in x], np.tanh(x.astype(np.float64)), rtol=0, atol=5e-7)
    np.testing.assert_allclose([_sigmoid(v) for v in x], expected, rtol=0, atol=3e-7)


def test_a_missing_number_is_not_hidden():
    assert np.isnan(_tanh(np.float32(np.nan)))
