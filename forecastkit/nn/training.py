"""The training loop: windows drawn on the device, one-cycle AdamW, best weights by the newest windows."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from forecastkit import execution
from forecastkit.errors import FitError
from forecastkit.nn.decoding import trained
from forecastkit.nn.inputs import Inputs
from forecastkit.nn.network import LEVELS, Network, Output
from forecastkit.nn.options import Training
from forecastkit.nn.plan import Plan
from forecastkit.nn.windows import Windows

logger = logging.getLogger(__name__)

_MOST_CHECKED = 2048  # series whose validation windows are scored
_CHUNK = 512  # validation windows scored at once
_WARM_RATE = 0.3  # of the learning rate, where weights are good already
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
        checked = length >= least + spare + horizon if windows else torch.zeros_like(length, dtype=torch.bool)
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
    size = torch.where(output.size > 0, output.size, 1.0)
    levels = torch.tensor(LEVELS, device=target.device)
    short = (target[..., None] - output.quantiles) / size[..., None]  # [B, H, Q]
    pinball = 2 * torch.maximum(levels * short, (levels - 1) * short).mean(-1)
    mean = functional.huber_loss(output.mean / size, target / size, reduction="none", delta=_HUBER)
    return masked(pinball + 0.25 * mean, seen & (output.size > 0))


def masked(loss: Tensor, seen: Tensor) -> Tensor:
    """The mean loss [B, H] of what was seen."""
    weight = seen.float()
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def train(
    network: Network, windows: Windows, inputs: Inputs, options: Training, seed: int, steps: int | None = None
) -> int:
    """Train `network` in place; returns after how many steps it was best.

    First on all but the newest windows, which tell after how many steps to stop; then again from the start for as many
    steps on everything, so that the newest demand is learned from too. With `steps` of an earlier network of the same
    kind only that.
    """
    everything = Origins.split(inputs, network.plan, 0).to(windows.device)
    course = _Course(network, windows, options, torch.Generator(windows.device).manual_seed(seed))
    held = Origins.split(inputs, network.plan, options.validation).to(windows.device)
    if not options.steps or not len(held.series):
        return options.steps
    if steps is None or not options.refit:
        fresh = {name: value.clone() for name, value in network.state_dict().items()}
        best = course.run(held, options.steps)
        steps = best if len(held.check_series) else options.steps
        if not len(held.check_series) or not options.refit:
            return steps
        network.load_state_dict(fresh)
    if steps:
        course.run(everything, steps)
    return steps


def train_on(network: Network, windows: Windows, inputs: Inputs, options: Training, seed: int) -> None:
    """Train `network` in place from the weights that it has, in the share of the steps that `options.warm` says."""
    everything = Origins.split(inputs, network.plan, 0).to(windows.device)
    steps = round(options.warm * options.steps)
    if steps and len(everything.series):
        calmer = replace(options, lr=options.lr * _WARM_RATE)
        _Course(network, windows, calmer, torch.Generator(windows.device).manual_seed(seed)).run(everything, steps)


@dataclass(frozen=True, eq=False)
class _Course:
    """What stays the same from one stretch of training to the next."""

    network: Network
    windows: Windows
    options: Training
    generator: torch.Generator

    def run(self, origins: Origins, steps: int) -> int:
        """`_run` with as many windows a step as the device has memory for."""
        begun = {name: value.clone() for name, value in self.network.state_dict().items()}
        course = self
        while True:
            try:
                return course._run(origins, steps)
            except torch.OutOfMemoryError as error:
                batch = course.options.batch // 2
                if not batch:
                    raise FitError("the device has no memory for one window: take a shorter lookback") from error
                logger.warning("out of memory with %d windows a step: from the start with %d", 2 * batch, batch)
                self.network.load_state_dict(begun)
                course = replace(course, options=replace(course.options, batch=batch))

    def _run(self, origins: Origins, steps: int) -> int:
        """One cycle of `steps`; where there are windows to check, the best weights are kept. The step they are of."""
        optimiser = torch.optim.AdamW(_groups(self.network, self.options), lr=self.options.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _one_cycle(step / steps))
        average = _Average(self.network, self.options)
        every = max(steps // self.options.checks, 1)
        for step in range(1, steps + 1):
            self._step(origins, optimiser)
            schedule.step()
            average.take()
            if step % every == 0:
                execution.report(step, steps, f"training {self.network.shape.cell}")
            if step % every == 0 and len(origins.check_series) and average.stop(self._score(average, origins)):
                logger.debug("no better score for %d checks, stopped at step %d", self.options.patience, step)
                break
        average.finish()
        return average.best_step

    def _step(self, origins: Origins, optimiser: torch.optim.Optimizer) -> None:
        series, start = origins.draw(self.options.batch, self.generator)
        loss = self._loss(series, start, self.generator, self._keep(len(series)))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        optimiser.step()

    @torch.inference_mode()
    def _score(self, average: _Average, origins: Origins) -> float:
        """The loss of the averaged weights on the validation windows."""
        total, count = 0.0, len(origins.check_series)
        generator = torch.Generator(self.windows.device).manual_seed(0)  # every check on the same draws
        with average.in_place():
            for rows in torch.arange(count, device=self.windows.device).split(_CHUNK):
                loss = self._loss(origins.check_series[rows], origins.check_start[rows], generator)
                total += float(loss) * len(rows)
        return total / count

    def _keep(self, count: int) -> Tensor | None:
        """Dropout for `count` states, from the generator of this training and no other."""
        rate = self.options.dropout
        if not rate:
            return None
        shape, device = (count, self.network.shape.hidden), self.windows.device
        kept = torch.rand(shape, generator=self.generator, device=device) >= rate
        return kept.float() / (1 - rate)

    def _loss(self, series: Tensor, start: Tensor, generator: torch.Generator, keep: Tensor | None = None) -> Tensor:
        with torch.autocast(self.windows.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"):
            output = trained(self.network, self.windows, (series, start), generator, keep)
        target, seen = self.windows.targets(series, start, self.network.plan.horizon)
        if (distribution := self.network.plan.distribution) is None:
            return loss_of(output, target, seen)
        surprise = distribution.surprise(target, output.mean, output.quantiles[..., 0])
        return masked(surprise, seen & (output.size > 0))


def _groups(network: Network, options: Training) -> list[dict[str, Any]]:
    matrices = [p for p in network.parameters() if p.dim() > 1]
    vectors = [p for p in network.parameters() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": options.weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _one_cycle(share: float, warm: float = 0.1) -> float:
    """The learning rate's share of its peak: a linear rise, then half a cosine (Smith & Topin 2018)."""
    if share < warm:
        return max(share / warm, 0.02)
    return max(0.5 * (1 + math.cos(math.pi * (share - warm) / (1 - warm))), 1e-3)


class _Average:
    """A moving average of the weights, and the best one by the newest windows.

    Averages forecast better than the weights of any one step (Polyak & Juditsky 1992) and make checks comparable.
    """

    def __init__(self, network: Network, options: Training) -> None:
        self.own: list[Tensor] = list(network.parameters())
        self.mean = [p.detach().clone() for p in self.own]
        self.options, self.taken, self.waited = options, 0, 0
        self.score, self.best, self.best_step = math.inf, self.mean, 0

    @torch.no_grad()
    def take(self) -> None:
        """Weigh in the weights of this step; the first ones are forgotten quickly."""
        self.taken += 1
        decay = min(self.options.averaging, self.taken / (self.taken + 9))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.own], 1 - decay)

    def stop(self, score: float) -> bool:
        """Note the average's `score`; whether patience has run out."""
        if score < self.score:
            self.score, self.waited = score, 0
            self.best, self.best_step = [p.clone() for p in self.mean], self.taken
        else:
            self.waited += 1
        return self.waited >= self.options.patience

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network with the averaged weights."""
        kept = [p.detach().clone() for p in self.own]
        self._set(self.mean)
        yield
        self._set(kept)

    @torch.no_grad()
    def _set(self, weights: list[Tensor]) -> None:
        torch._foreach_copy_(self.own, weights)

    def finish(self) -> None:
        self._set(self.best if math.isfinite(self.score) else self.mean)
