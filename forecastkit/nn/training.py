"""The training loop: windows drawn on the device, one-cycle AdamW, best weights by the newest windows."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from forecastkit.nn.inputs import Inputs
from forecastkit.nn.network import LEVELS, Network, Output
from forecastkit.nn.options import Training
from forecastkit.nn.plan import Plan
from forecastkit.nn.windows import Windows

logger = logging.getLogger(__name__)

_MOST_CHECKED = 2048  # series whose validation windows are scored
_HUBER = 4.0  # spreads beyond which the mean's squared error becomes linear


@dataclass(frozen=True, eq=False)
class Origins:
    """Which windows train and which validate: columns `low` to `high` of `series` train, `check` pairs validate."""

    series: Tensor  # [S]
    low: Tensor  # [S]
    high: Tensor  # [S]
    check_series: Tensor  # [V]
    check_start: Tensor  # [V]

    @classmethod
    def split(cls, inputs: Inputs, plan: Plan, windows: int) -> Origins:
        """The last `windows` horizons of a series validate where enough history is left before them."""
        length = torch.from_numpy(inputs.lengths)
        horizon = plan.horizon
        least = torch.clamp(length // 2, 1, max(2 * plan.season, plan.lookback // 2))  # history of the first window
        spare = horizon * windows
        checked = length >= least + spare + horizon + plan.season if windows else torch.zeros_like(length, dtype=torch.bool)
        last = torch.where(checked, length - spare - horizon, torch.maximum(length - horizon, least))
        trained = (last >= least) & (least < length)
        start = inputs.end - length
        chosen = torch.nonzero(checked).flatten()
        chosen = chosen[torch.linspace(0, len(chosen) - 1, min(len(chosen), _MOST_CHECKED)).long()]
        back = horizon * torch.arange(1, windows + 1)
        return cls(
            torch.nonzero(trained).flatten(),
            (start + least)[trained],
            (start + last)[trained],
            chosen.repeat_interleave(windows),
            (inputs.end - back).repeat(len(chosen)),
        )

    def to(self, device: torch.device) -> Origins:
        names = ("series", "low", "high", "check_series", "check_start")
        return Origins(*(getattr(self, name).to(device) for name in names))

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` windows: a series evenly, then one of its starts evenly; [B], [B]."""
        device = self.series.device
        pick = torch.randint(len(self.series), (count,), generator=generator, device=device)
        share = torch.rand(count, generator=generator, device=device)
        low, high = self.low[pick], self.high[pick]
        return self.series[pick], low + (share * (high - low + 1)).long().clamp(max=high - low)


def loss_of(output: Output, target: Tensor, seen: Tensor) -> Tensor:
    """Pinball loss of the quantiles and Huber's of the mean, in spreads of the window, over what was seen.

    Koenker & Bassett (1978), Regression quantiles; Huber (1964). A window without spread has nothing to teach.
    """
    size = output.size
    weight = (seen & (size > 0)).float()  # [B, H]
    size = torch.where(size > 0, size, 1.0)
    levels = torch.tensor(LEVELS, device=target.device)
    short = (target[..., None] - output.quantiles) / size[..., None]  # [B, H, Q]
    pinball = 2 * torch.maximum(levels * short, (levels - 1) * short).mean(-1)
    mean = functional.huber_loss(output.mean / size, target / size, reduction="none", delta=_HUBER)
    return ((pinball + 0.25 * mean) * weight).sum() / weight.sum().clamp(min=1)


def train(network: Network, windows: Windows, origins: Origins, options: Training, seed: int) -> None:
    """Train `network` in place."""
    if not options.steps or not len(origins.series):
        return
    generator = torch.Generator(windows.device).manual_seed(seed)
    optimiser = torch.optim.AdamW(_groups(network, options), lr=options.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _one_cycle(step / options.steps))
    best = _Best(network, options.patience)
    every = max(options.steps // options.checks, 1)
    for step in range(1, options.steps + 1):
        series, start = origins.draw(options.batch, generator)
        loss = _loss(network, windows, series, start, options)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), options.clip)
        optimiser.step()
        schedule.step()
        if len(origins.check_series) and step % every == 0 and best.stop(_score(network, windows, origins)):
            logger.debug("no better score for %d checks, stopped at step %d", options.patience, step)
            break
    best.restore()


def _groups(network: Network, options: Training) -> list[dict]:
    matrices = [p for p in network.parameters() if p.dim() > 1]
    vectors = [p for p in network.parameters() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": options.weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _one_cycle(share: float, warm: float = 0.1) -> float:
    """The learning rate's share of its peak: a linear rise, then half a cosine (Smith & Topin 2018)."""
    if share < warm:
        return max(share / warm, 0.02)
    return max(0.5 * (1 + math.cos(math.pi * (share - warm) / (1 - warm))), 1e-3)


def _loss(network: Network, windows: Windows, series: Tensor, start: Tensor, options: Training) -> Tensor:
    steps = network.plan.horizon
    target, seen = windows.targets(series, start, steps)
    batch = windows.batch(series, start, steps)
    with torch.autocast(windows.device.type, torch.bfloat16, enabled=options.precision == "bf16"):
        output = network(batch)
    return loss_of(output, target, seen)


@torch.inference_mode()
def _score(network: Network, windows: Windows, origins: Origins) -> float:
    """The loss on the validation windows."""
    total, chunk = 0.0, 512
    series, start = origins.check_series, origins.check_start
    for k in range(0, len(series), chunk):
        part, at = series[k : k + chunk], start[k : k + chunk]
        output = network(windows.batch(part, at, network.plan.horizon))
        target, seen = windows.targets(part, at, network.plan.horizon)
        total += float(loss_of(output, target, seen)) * len(part)
    return total / max(len(series), 1)


class _Best:
    """Keeps the weights of the best check."""

    def __init__(self, network: Network, patience: int) -> None:
        self.network, self.patience, self.left = network, patience, patience
        self.score, self.weights = math.inf, None

    def stop(self, score: float) -> bool:
        """Whether patience has run out."""
        if score < self.score:
            self.score, self.left = score, self.patience
            self.weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        else:
            self.left -= 1
        return self.left == 0

    def restore(self) -> None:
        if self.weights is not None:
            self.network.load_state_dict(self.weights)
