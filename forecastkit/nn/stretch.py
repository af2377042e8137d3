"""One cycle of training under way: everything that changes from step to step, each thing in a place that it keeps.

So a step can be captured as a CUDA graph and replayed, with no word from the host in between, and a training that was
killed can be gone on with from what was last written down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from forecastkit.nn.network import Network
from forecastkit.nn.options import Training

RISE = 0.1  # of a cycle, in which the learning rate rises
_FORGET = 9  # steps whose weights the moving average forgets quickly


class Stretch:
    """The weights on their way through the steps of a cycle of AdamW, or the first of them, and their moving average.

    Averages forecast better than the weights of any one step (Polyak & Juditsky 1992) and make checks comparable.
    AdamW: Loshchilov & Hutter (2019), Decoupled weight decay regularization.
    """

    def __init__(self, network: Network, options: Training, cycle: int, generator: torch.Generator) -> None:
        self.network = network
        self.own: list[Tensor] = list(network.parameters())
        self.mean = [p.detach().clone() for p in self.own]
        self.options, self.generator, device = options, generator, self.own[0].device
        self.rates, self.fresh = (values.to(device) for values in _schedule(options, cycle))  # [cycle]
        self.clock = torch.zeros(1, dtype=torch.long, device=device)
        self.rate = torch.zeros((), device=device)
        fused = device.type in ("cpu", "cuda")
        self.optimiser = torch.optim.AdamW(
            _groups(network, options), lr=self.rate, fused=fused, foreach=False, capturable=device.type == "cuda"
        )
        self.taken, self.best, self.best_step = 0, self.mean, 0
        self.scores: list[float] = []  # at each check

    def step(self, loss: Callable[[], Tensor]) -> None:
        """One step down the gradient of `loss`; the caller counts it in `taken`."""
        self.rate.copy_(self.rates.index_select(0, self.clock).squeeze(0))
        self.optimiser.zero_grad(set_to_none=True)
        loss().backward()
        nn.utils.clip_grad_norm_(self.own, self.options.clip)
        self.optimiser.step()
        with torch.no_grad():
            away = torch._foreach_sub(self.own, self.mean)
            torch._foreach_mul_(away, self.fresh.index_select(0, self.clock).squeeze(0))
            torch._foreach_add_(self.mean, away)
            self.clock += 1

    @property
    def score(self) -> float:
        """The best so far."""
        return min(self.scores, default=math.inf)

    @property
    def waited(self) -> int:
        """Checks since then."""
        best = self.scores.index(self.score) if math.isfinite(self.score) else -1
        return len(self.scores) - 1 - best

    def note(self, score: float) -> None:
        """Of the average, whose weights are kept where it is the best."""
        score = math.inf if math.isnan(score) else score
        if score < self.score:
            self.best, self.best_step = [p.clone() for p in self.mean], self.taken
        self.scores.append(score)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with the averaged weights."""
        kept = [p.detach().clone() for p in self.own]
        self._set(self.mean)
        yield
        self._set(kept)

    @torch.no_grad()
    def _set(self, weights: list[Tensor]) -> None:
        torch._foreach_copy_(self.own, weights)

    def finish(self) -> None:
        """The network with the best of the averaged weights, or the last where nothing was checked."""
        self._set(self.best if math.isfinite(self.score) else self.mean)
        self.network.spare.clear()

    def written(self) -> dict[str, Tensor]:
        """All of it, for `read`."""
        numbers = [self.taken, self.best_step, *self.scores]
        out = {"course": torch.tensor(numbers, dtype=torch.float64), "generator": self.generator.get_state()}
        for i, weight in enumerate(self.own):
            out |= {f"{i}.own": weight.detach(), f"{i}.mean": self.mean[i], f"{i}.best": self.best[i]}
            out |= {f"{i}.adam.{name}": value for name, value in self.optimiser.state[weight].items()}
        return out

    def read(self, kept: dict[str, Tensor]) -> None:
        """Go on from what was `written`."""
        taken, best_step, *self.scores = kept["course"].tolist()
        self.taken, self.best_step = int(taken), int(best_step)
        self.generator.set_state(kept["generator"])
        self.clock.fill_(self.taken)
        self._set([kept[f"{i}.own"] for i in range(len(self.own))])
        self.mean, self.best = (
            [kept[f"{i}.{name}"].to(weight.device) for i, weight in enumerate(self.own)] for name in ("mean", "best")
        )
        for i, weight in enumerate(self.own):
            prefix = f"{i}.adam."
            own = {k.removeprefix(prefix): v.to(weight.device) for k, v in kept.items() if k.startswith(prefix)}
            self.optimiser.state[weight] = own


def _schedule(options: Training, cycle: int) -> tuple[Tensor, Tensor]:
    """The learning rate of each step of a cycle, and the share of its weights in their average."""
    rates = torch.tensor([options.lr * _one_cycle(step / cycle) for step in range(cycle)])
    kept = [min(options.averaging, step / (step + _FORGET)) for step in range(1, cycle + 1)]
    return rates, 1 - torch.tensor(kept)


def _one_cycle(share: float) -> float:
    """The learning rate's share of its peak: a linear rise, then half a cosine (Smith & Topin 2018)."""
    if share < RISE:
        return max(share / RISE, 0.02)
    return max(0.5 * (1 + math.cos(math.pi * (share - RISE) / (1 - RISE))), 1e-3)


def _groups(network: Network, options: Training) -> list[dict[str, Any]]:
    matrices = [p for p in network.parameters() if p.dim() > 1]
    vectors = [p for p in network.parameters() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": options.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
