"""A GRU as a CPU trains it: each step is one product of matrices and one pass over the gates.

PyTorch makes the passes of its `nn.GRU` there of dozens of small operations a step, and adds up the gradients of the
weights step by step. Here the gates are one compiled loop, and the gradients of the weights one product over all steps.
The weights and, but for rounding, the numbers are those of `nn.GRU`, which everything but training on a CPU goes
through (decision 127).
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from numba import float32, uint32
from numpy.polynomial import Polynomial
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from forecastkit.compiled import kernel


def _lambert(depth: int) -> tuple[Any, Any]:
    """p and q of tanh(x) = x p(x²) / q(x²), lowest powers first: Lambert's continued fraction (1768), cut off."""
    over, under, square = Polynomial([1.0]), Polynomial([2.0 * depth - 1]), Polynomial([0.0, 1.0])
    for odd in range(2 * depth - 3, 0, -2):
        over, under = under, odd * under + square * over
    return over.coef / under.coef[0], under.coef / under.coef[0]


_P, _Q = (tuple(map(float32, part)) for part in _lambert(13))  # to 4e-7 up to the end
_END = float32(9.0)  # in single precision tanh is one beyond
_HALF, _ONE = float32(0.5), float32(1.0)
_SIXTEEN, _BIT, _BELOW_HALF = uint32(16), uint32(1), uint32(0x7FFF)


@kernel
def _tanh(x: Any) -> Any:
    """In sums and products alone, so that a loop can do many at once."""
    x = _END if x > _END else x
    x = -_END if x < -_END else x
    y = x * x
    p, q = _P[6], _Q[6]
    for k in range(5, -1, -1):
        p, q = p * y + _P[k], q * y + _Q[k]
    return x * p / q


@kernel
def _sigmoid(x: Any) -> Any:
    return _HALF * _tanh(_HALF * x) + _HALF


@kernel
def _step(t: int, gates: Any, own: Any, bias: Any, states: Any, row: Any) -> None:
    """The state after step `t` in `states` [1 + T, B, D] from that before it, whose products with weights are `own`.

    `gates[t]` [B, 4D] has the input's share of the reset, update and new gate, and becomes those gates and, in its last
    quarter, what the reset gate let through of. Cho et al. (2014), in the form that resets after the product.
    """
    gate, before, after = gates[t], states[t], states[t + 1]
    width = before.shape[1]
    for i in range(len(before)):
        for j in range(2 * width):
            row[j] = _sigmoid(gate[i, j] + own[i, j] + bias[j])
        for j in range(width):
            row[3 * width + j] = own[i, 2 * width + j] + bias[3 * width + j]
        for j in range(width):
            new = gate[i, 2 * width + j] + bias[2 * width + j]
            row[2 * width + j] = _tanh(new + row[j] * row[3 * width + j])
        for j in range(width):
            new = row[2 * width + j]
            after[i, j] = new + row[width + j] * (before[i, j] - new)
        for j in range(4 * width):
            gate[i, j] = row[j]


@kernel
def _step_back(t: int, gates: Any, states: Any, slope: Any, above: Any, later: Any, row: Any, total: Any) -> None:
    """From the slope of the loss by the state after step `t` to that by what went into its gates, in their place.

    The slope is the sum of three, [B, D] each: what went past the later step's gates, `slope`, which becomes this
    step's, what came from the layer `above` (one for all steps, or each its own), and what went through the `later`
    gates. The third quarter of the gates becomes the slope by the product with the state, the last by that with the
    input. `total` [4D] adds all up.
    """
    gate = gates[t]
    for i in range(len(slope)):
        _row_back(i, gate, states[t], slope, above[t % len(above)], later, row, total)
        for j in range(len(row)):
            gate[i, j] = row[j]


@kernel
def _step_back_low(
    t: int, low: Any, bits: Any, gates: Any, states: Any, slope: Any, above: Any, later: Any, row: Any, total: Any
) -> None:
    """The same where `low[t]` [B, 4D] gets the slopes as bfloat16: the upper half of the `bits` of `row`, rounded."""
    half = low[t]
    for i in range(len(slope)):
        _row_back(i, gates[t], states[t], slope, above[t % len(above)], later, row, total)
        for j in range(len(row)):
            odd = (bits[j] >> _SIXTEEN) & _BIT  # a tie goes to the even one
            half[i, j] = (bits[j] + _BELOW_HALF + odd) >> _SIXTEEN


@kernel
def _row_back(i: int, gate: Any, before: Any, slope: Any, above: Any, later: Any, row: Any, total: Any) -> None:
    """`_step_back` of one window into `row` [4D]: a place of its own, so that loops over it become vector code."""
    width = before.shape[1]
    for j in range(len(row)):
        row[j] = gate[i, j]
    for j in range(width):
        reset, update, new, through = row[j], row[width + j], row[2 * width + j], row[3 * width + j]
        whole = slope[i, j] + above[i, j] + later[i, j]
        by_new = whole * (_ONE - update) * (_ONE - new * new)
        row[j] = by_new * through * reset * (_ONE - reset)
        row[width + j] = whole * (before[i, j] - new) * update * (_ONE - update)
        row[2 * width + j] = by_new * reset
        row[3 * width + j] = by_new
        slope[i, j] = whole * update
    for j in range(len(row)):
        total[j] += row[j]


class _Layer(NamedTuple):
    """What one layer's forward pass leaves for the way back; `low` are the same in the precision of the products."""

    of_input: Tensor  # low [3D, I]
    of_state: Tensor  # low [3D, D]
    inputs: Tensor  # low [T, B, I]
    gates: Tensor  # [T, B, 4D]
    states: Tensor  # [1 + T, B, D]
    low: Tensor  # [1 + T, B, D]


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, dtype: torch.dtype, spare: list[Tensor], *weights: Tensor) -> Tensor:
        ctx.save_for_backward(*weights)  # so that one which is changed in between is noticed
        ctx.layers, ctx.spare, below = [], spare, inputs.transpose(0, 1).to(dtype).contiguous()
        for first in range(0, len(weights), 4):
            of_input, of_state, *biases = weights[first : first + 4]
            products = of_input.to(dtype), of_state.to(dtype)
            ctx.layers.append(_read(below, products, _together(*biases), spare))
            below = ctx.layers[-1].low[1:]
        return ctx.layers[-1].states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors  # raises where a weight was changed, or the slopes were asked for before
        found: list[Tensor] = []
        state, above = slope.clone(), torch.zeros(1, *slope.shape)
        while ctx.layers:
            layer = ctx.layers.pop()
            slopes, total = _back(layer, state, above)
            found = [*_by_weights(layer, slopes, total), *found]
            if ctx.layers or ctx.needs_input_grad[0]:
                above = _by_inputs(slopes, layer.of_input)
            state = torch.zeros_like(slope)
            ctx.spare.append(layer.gates)
        return above.transpose(0, 1) if ctx.needs_input_grad[0] else None, None, None, *found


def _together(of_input: Tensor, of_state: Tensor) -> Tensor:
    """Biases of the reset and update gate, of the new gate, and of what the reset gate lets through; [4D]."""
    width = len(of_input) // 3
    return torch.cat([of_input[: 2 * width] + of_state[: 2 * width], of_input[2 * width :], of_state[2 * width :]])


def _read(inputs: Tensor, products: tuple[Tensor, Tensor], bias: Tensor, spare: list[Tensor]) -> _Layer:
    (of_input, of_state), (steps, batch, _) = products, inputs.shape
    width = of_state.shape[1]
    gates = _room(spare, (steps, batch, 4 * width))
    _product(inputs.flatten(0, 1), of_input.t(), gates.flatten(0, 1)[:, : 3 * width])
    states = torch.zeros(1 + steps, batch, width)
    low = states if inputs.dtype == states.dtype else states.to(inputs.dtype)
    own, by_state = torch.empty(batch, 3 * width), of_state.t()
    arrays = [part.numpy() for part in (gates, own, bias, states, torch.empty(4 * width))]
    for t in range(steps):
        _product(low[t], by_state, own)
        _step(t, *arrays)
        if low is not states:
            low[t + 1] = states[t + 1]
    return _Layer(*products, inputs, gates, states, low)


def _room(spare: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """What an earlier step of training is done with: asking the system for as much again is an eighth of a step."""
    found = spare.pop() if spare else torch.empty(0)
    return found if found.shape == shape else torch.empty(shape)


def _back(layer: _Layer, slope: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """The slopes of the loss by what went into the gates, [T, B, 4D] and in single precision their sum, [4D]."""
    gates, width = layer.gates, slope.shape[1]
    later, row = torch.zeros_like(slope), torch.empty(4 * width)
    total = torch.zeros(4 * width, dtype=torch.float64)
    slopes, back = gates, cast("Any", _step_back)
    arrays = [part.numpy() for part in (gates, layer.states, slope, above, later, row, total)]
    if layer.low is not layer.states:
        slopes, back = torch.empty_like(gates, dtype=layer.low.dtype), _step_back_low
        arrays = [slopes.view(torch.uint16).numpy(), row.view(torch.uint32).numpy(), *arrays]
    for t in range(len(gates) - 1, -1, -1):
        back(t, *arrays)
        if t:
            _product(slopes[t, :, : 3 * width], layer.of_state, later)
    return slopes, total.float()


def _by_weights(layer: _Layer, slopes: Tensor, total: Tensor) -> tuple[Tensor, ...]:
    """The slopes by the weights and biases, in the order of `nn.GRU`."""
    width, inputs, flat = layer.states.shape[2], layer.inputs.flatten(0, 1), slopes.flatten(0, 1)
    of_input = torch.cat([flat[:, : 2 * width].t() @ inputs, flat[:, 3 * width :].t() @ inputs])
    of_state = flat[:, : 3 * width].t() @ layer.low[:-1].flatten(0, 1)
    return of_input.float(), of_state.float(), torch.cat([total[: 2 * width], total[3 * width :]]), total[: 3 * width]


def _by_inputs(slopes: Tensor, of_input: Tensor) -> Tensor:
    """The slopes by a layer's inputs; [T, B, I]."""
    width, flat = slopes.shape[2] // 4, slopes.flatten(0, 1)
    found = flat[:, : 2 * width] @ of_input[: 2 * width]
    found.addmm_(flat[:, 3 * width :], of_input[2 * width :])
    return found.float().view(*slopes.shape[:2], -1)


def _product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """`left @ right` into `out`, which is of single precision."""
    if left.dtype == out.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)


def last_state(cells: nn.GRU, inputs: Tensor, dtype: torch.dtype, spare: list[Tensor]) -> Tensor:
    """The state of the last layer after all steps, with products in `dtype`; [B, T, I] -> [B, D].

    Slopes can be asked for once. `spare` is room that one step of training leaves to the next.
    """
    weights = [weight for layer in cells.all_weights for weight in layer]
    with torch.autocast("cpu", enabled=False):
        found: Tensor = _Stack.apply(inputs, dtype, spare, *weights)
    return found
