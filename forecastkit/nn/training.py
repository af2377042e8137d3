"""The training loop: windows drawn where the history stands, and the best weights by the newest windows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from forecastkit import execution
from forecastkit.errors import FitError
from forecastkit.nn import checkpoint
from forecastkit.nn.capture import WARM_UP, Capturer, cuda_capture
from forecastkit.nn.checkpoint import Checkpoints
from forecastkit.nn.decoding import trained
from forecastkit.nn.inputs import Inputs
from forecastkit.nn.network import LEVELS, Network, Output
from forecastkit.nn.options import Training
from forecastkit.nn.plan import Plan
from forecastkit.nn.stretch import RISE, Stretch
from forecastkit.nn.windows import Windows

logger = logging.getLogger(__name__)

_MOST_CHECKED = 2048  # series whose validation windows are scored
_CHUNK = 512  # validation windows scored at once
_WORTH_CAPTURING = 50  # steps; fewer are made one by one
_WARM_RATE = 0.3  # of the learning rate, where weights are good already
_PASSES = 4  # over all windows, where none can be held back
_FAIR = 0.25  # of the checks, before which nobody is behind
_BRIEF = 3  # checks without a better score that end a trial against another network
_HUBER = 4.0  # spreads beyond which the mean's squared error becomes linear
_MEDIAN, _MEAN = 6.0, 0.1  # weights of the median's loss, where another quantile's has 1, and of the mean's beside all


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
        least = torch.from_numpy(plan.first(inputs.lengths))
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

    Koenker & Bassett (1978), Regression quantiles; Huber (1964). Half of the first is the median's, from which the
    other quantiles are told apart (decision 101). A window without spread has nothing to teach.
    """
    size = torch.where(output.size > 0, output.size, 1.0)
    levels, shares = _levels(target.device)
    short = (target[..., None] - output.quantiles) / size[..., None]  # [B, H, Q]
    pinball = 2 * torch.maximum(levels * short, (levels - 1) * short) @ shares
    mean = functional.huber_loss(output.mean / size, target / size, reduction="none", delta=_HUBER)
    return masked(pinball + _MEAN * mean, seen & (output.size > 0))


def masked(loss: Tensor, seen: Tensor) -> Tensor:
    """The mean loss [B, H] of what was seen."""
    weight = seen.float()
    return (loss * weight).sum() / weight.sum().clamp(min=1)


class Best(NamedTuple):
    """After how many steps a network was best, and its loss then on windows held back: without end where none were."""

    steps: int
    loss: float = math.inf
    scores: tuple[float, ...] = ()  # at each check
    likelihood: bool = False  # the loss is minus the logarithm of one


class Rival(NamedTuple):
    """A network that was tried before, and by which share another one must be `better`, or else may be worse.

    The other is given up as in races (Maron & Moore 1994), where it is not good enough yet and gets no better, or is
    behind where the rival was by then, if that was nearly at its best. What is good enough is trained on: for how many
    steps is still to be found out.
    """

    best: Best
    share: float
    better: bool

    def takes(self, loss: float) -> bool:
        """Whether such a loss is good enough."""
        own = self.best.loss
        return own > self._raised(loss) if self.better else loss <= self._raised(own)

    def ahead(self, scores: list[float], waited: int, checks: int) -> bool:
        """Whether the other one is given up after these of its checks, the newest `waited` of them no better."""
        best = min(scores, default=math.inf)
        if self.takes(best):
            return False
        pace = min(self.best.scores[: len(scores)], default=math.inf)
        behind = best >= (pace if self.better else self._raised(pace))
        fair = len(scores) >= _FAIR * checks and pace <= self._raised(self.best.loss)
        return waited >= _BRIEF or (behind and fair)

    def _raised(self, loss: float) -> float:
        """A loss that is worse by the share: where it is a likelihood's, periods are less likely by so much."""
        return loss + math.log1p(self.share) if self.best.likelihood else loss * (1 + self.share)


def train(
    network: Network,
    windows: Windows,
    inputs: Inputs,
    options: Training,
    seed: int,
    steps: int | None = None,
    rival: Rival | None = None,
) -> Best:
    """Train `network` in place; returns when it was best.

    First on all but the newest windows, which tell after how many steps to stop; then again from the start for as many
    steps of the same cycle on everything, so that the newest demand is learned from too (decision 151). With `steps`
    of an earlier network of the same kind only that. Against a `rival` the first ends early where it is lost. Where no
    window can be held back it is trained on everything in a few passes.
    """
    everything = Origins.split(inputs, network.plan, 0).to(windows.home)
    course = _Course.of(network, windows, inputs, options, seed, rival)
    held = Origins.split(inputs, network.plan, options.validation).to(windows.home)
    if not options.steps or not len(held.series):
        return Best(options.steps)
    best = Best(steps or 0)
    if not len(held.check_series):
        best = Best(_unchecked(everything, options))
    elif steps is None or not options.refit:
        fresh = {name: value.clone() for name, value in network.state_dict().items()}
        best = course.run(held, options.steps, "held")
        if not options.refit:
            return best
        network.load_state_dict(fresh)
    if best.steps:
        course.run(everything, best.steps, "everything", _cycle(best.steps, options.steps))
    return best


def _unchecked(origins: Origins, options: Training) -> int:
    """Steps where no window is held back that would say when to stop: few, or a short history is learned by heart."""
    if not options.validation:
        return options.steps
    windows = int((origins.high - origins.low + 1).sum())
    return min(options.steps, max(_PASSES * windows // options.batch, 1))


def _cycle(best: int, steps: int) -> int:
    """How long the cycle is whose first `best` steps are taken: as it was, unless they are fewer than its rise."""
    return max(steps, best) if best / steps >= RISE else best


def train_on(network: Network, windows: Windows, inputs: Inputs, options: Training, seed: int) -> None:
    """Train `network` in place from the weights that it has, in the share of the steps that `options.warm` says."""
    everything = Origins.split(inputs, network.plan, 0).to(windows.home)
    steps = round(options.warm * options.steps)
    if steps and len(everything.series):
        calmer = replace(options, lr=options.lr * _WARM_RATE)
        _Course.of(network, windows, inputs, calmer, seed).run(everything, steps, "warm")


@dataclass(frozen=True, eq=False)
class _Course:
    """What stays the same from one stretch of training to the next."""

    network: Network
    windows: Windows
    options: Training
    generator: torch.Generator
    checkpoints: Checkpoints | None
    capture: Capturer | None  # for a device whose steps are captured
    rival: Rival | None = None

    @classmethod
    def of(
        cls,
        network: Network,
        windows: Windows,
        inputs: Inputs,
        options: Training,
        seed: int,
        rival: Rival | None = None,
    ) -> _Course:
        generator = torch.Generator(windows.home).manual_seed(seed)
        captured = windows.home.type == "cuda"
        checkpoints = Checkpoints.of(network, inputs, seed)
        return cls(network, windows, options, generator, checkpoints, cuda_capture if captured else None, rival)

    def run(self, origins: Origins, steps: int, stage: str, cycle: int | None = None) -> Best:
        """`_run` with as many windows a step as the device has memory for."""
        begun = {name: value.clone() for name, value in self.network.state_dict().items()}
        course = self
        while True:
            try:
                return course._run(origins, steps, stage, cycle or steps)
            except torch.OutOfMemoryError as error:
                batch = course.options.batch // 2
                if not batch:
                    raise FitError(
                        "the device has no memory for one window: take a shorter lookback, season or horizon"
                    ) from error
                logger.warning("out of memory with %d windows a step: from the start with %d", 2 * batch, batch)
                self.network.load_state_dict(begun)
                course = replace(course, options=replace(course.options, batch=batch))

    def _run(self, origins: Origins, steps: int, stage: str, cycle: int) -> Best:
        """The first `steps` of a cycle; where there are windows to check, the best weights are kept."""
        stretch = Stretch(self.network, self.options, cycle, self.generator)
        place = self.checkpoints.place(self.options, steps, cycle, stage, self.rival) if self.checkpoints else None
        if place:
            checkpoint.read(stretch, place)
        every = max(steps // self.options.checks, 1)
        advance = self._advance(origins, stretch, steps)
        while stretch.taken < steps and not self._settled(stretch):
            advance()
            stretch.taken += 1
            if stretch.taken % every == 0:
                self._check(origins, stretch, steps)
                if place:
                    checkpoint.write(stretch, place)
        stretch.finish()
        logger.debug("%s: best at step %d of %d taken", stage, stretch.best_step, stretch.taken)
        likelihood = self.network.plan.distribution is not None
        return Best(stretch.best_step, stretch.score, tuple(stretch.scores), likelihood)

    def _settled(self, stretch: Stretch) -> bool:
        """Whether no more steps are worth their while."""
        scores, waited = stretch.scores, stretch.waited
        beaten = self.rival is not None and self.rival.ahead(scores, waited, self.options.checks)
        return beaten or waited >= self.options.patience

    def _check(self, origins: Origins, stretch: Stretch, steps: int) -> None:
        execution.report(stretch.taken, steps, f"training {self.network.shape.cell}")
        if len(origins.check_series):
            stretch.note(self._score(stretch, origins))

    def _advance(self, origins: Origins, stretch: Stretch, steps: int) -> Callable[[], None]:
        """What makes a step: itself, or the replay of one that was captured after a few were made."""

        def step() -> None:
            self._step(origins, stretch)

        if self.capture is None or steps - stretch.taken < _WORTH_CAPTURING:
            return step
        advance: Callable[[], None]
        try:
            advance = self.capture(step, self.generator)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # what CUDA can't capture it can still run
            logger.warning("steps of training are made one by one, they can't be captured: %s", error)
            advance = step
        stretch.taken += WARM_UP
        return advance

    def _step(self, origins: Origins, stretch: Stretch) -> None:
        series, start = origins.draw(self.options.batch, self.generator)
        keep = self._keep(len(series))
        stretch.step(lambda: self._loss(series, start, self.generator, keep))

    @torch.inference_mode()
    def _score(self, stretch: Stretch, origins: Origins) -> float:
        """The loss of the averaged weights on the validation windows."""
        total, count = 0.0, len(origins.check_series)
        generator = torch.Generator(self.windows.home).manual_seed(0)  # every check on the same draws
        with stretch.averaged():
            for rows in torch.arange(count, device=self.windows.home).split(_CHUNK):
                loss = self._loss(origins.check_series[rows], origins.check_start[rows], generator)
                total += float(loss) * len(rows)
        return total / count

    def _keep(self, count: int) -> Tensor | None:
        """Dropout for a block of `count` windows, from the generator of this training and no other; [B, H, D]."""
        rate = self.options.dropout
        if not rate:
            return None
        shape = (count, self.network.plan.block, self.network.shape.hidden)
        kept = torch.rand(shape, generator=self.generator, device=self.windows.home) >= rate
        return (kept.float() / (1 - rate)).to(self.windows.device)

    def _loss(self, series: Tensor, start: Tensor, generator: torch.Generator, keep: Tensor | None = None) -> Tensor:
        with torch.autocast(self.windows.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"):
            output = trained(self.network, self.windows, (series, start), generator, keep)
        target, seen = self.windows.targets(series, start, self.network.plan.horizon)
        if (distribution := self.network.plan.distribution) is None:
            return loss_of(output, target, seen)
        surprise = distribution.surprise(target, output.mean, output.quantiles[..., 0])
        return masked(surprise, seen & (output.size > 0))


@lru_cache
def _levels(device: torch.device) -> tuple[Tensor, Tensor]:
    """`LEVELS` there and their shares of the loss; made once, as nothing may come from the host during a capture."""
    weights = torch.tensor([_MEDIAN if level == 0.5 else 1.0 for level in LEVELS], device=device)
    return torch.tensor(LEVELS, device=device), weights / weights.sum()
