"""The heads of several networks as one: at a batch of one a node of a compiled graph takes longer than its sums.

They read the same window and differ in their weights alone, which stand side by side in one product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from forecastkit.nn.network import Head, Network
from forecastkit.nn.windows import Batch


def lines(networks: Sequence[Network], batch: Batch, weights: Tensor) -> Tensor:
    """The average of what `Network.lines` gives of each; all have one plan; [B, H * P]."""
    if len(networks) == 1:
        return networks[0].lines(batch, weights)
    plan, heads = networks[0].plan, Heads(networks)
    read = [network.read(batch) for network in networks]
    scale = read[0].scale  # the window's, whoever reads it
    alike = not plan.known.sizes  # covariates are worth something else to each network
    inputs, bases = (
        (parts[0] if alike else torch.stack(parts)).flatten(-3, -2)  # [B * H, .] or [K, B * H, .]
        for parts in ([r.inputs for r in read], [r.bases for r in read])
    )
    state = torch.stack([r.state for r in read])[:, :, None]  # [K, B, 1, D]
    head = heads.answer((state + heads.step).flatten(1, 2), inputs)  # [K, B * H, .]
    if not plan.log:
        found = heads.found(head, bases, heads.from_gaps @ weights).mean(0)  # [B * H, P]
        return scale.center + scale.spread * found.unflatten(0, (-1, plan.horizon)).flatten(1)
    found = heads.found(head, bases, heads.from_gaps).unflatten(1, (-1, plan.horizon))
    center, spread, unit = (part[..., None] for part in (scale.center, scale.spread, scale.unit))
    return (unit * torch.sinh(center + spread * found)).mean(0).matmul(weights).flatten(1)


class Heads(Head):
    """K heads: [K, R, .] for R rows, each a step of a window."""

    def __init__(self, networks: Sequence[Network]) -> None:
        first = networks[0]
        self.own, self.from_gaps = first.own, first.from_gaps
        self.step = torch.stack([network.step for network in networks])[:, None]  # [K, 1, H, D]
        self.from_step, self.deepen, self.out = (
            _Layers([getattr(network, name) for network in networks]) for name in ("from_step", "deepen", "out")
        )


class _Layers:
    """Linear layers side by side: [R, F] or [K, R, F] -> [K, R, D]."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self.weight = torch.stack([layer.weight.mT for layer in layers])  # [K, F, D]
        biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
        self.bias = torch.stack(biases)[:, None] if biases else None  # [K, 1, D]

    def __call__(self, values: Tensor) -> Tensor:
        found = values @ self.weight
        return found if self.bias is None else found + self.bias
