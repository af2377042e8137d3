"""The network: scale the window, mix simple forecasts, correct the mix with what a GRU or LSTM read.

    window [B, L] -> scaled x -> patches -> GRU/LSTM -> last state ─┐
                        └──> bases [B, H, M] (last values, seasons, ┼─> head, one for all steps -> mix, correction,
                             times alike)                           │                              spreads, mean
    covariates, calendar, lags of each step [B, H, .] ──────────────┘

The output layer starts at zero, so that an untrained network forecasts the even mix of the bases. Everything between
scaling and its inverse is in units of the window's own spread: a constant window is forecast as that constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor, nn
from torch.nn import functional

from forecastkit.data.panel import Floats
from forecastkit.nn.covariates import Embed, Expand, Response, chosen, joined, masked_mean_columns, product
from forecastkit.nn.distributions import Distribution, positive
from forecastkit.nn.plan import Plan
from forecastkit.nn.recall import WAYS, Recall
from forecastkit.nn.windows import Batch

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)  # trained; others are interpolated
_MIDDLE = LEVELS.index(0.5)
_NORMAL = (-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645)  # the same levels of a standard normal
_LITTLE = -4.0  # logarithm of the weight that bases have at first beside those of the season, or beside levels
_FAR = 20.0  # spreads that a forecast may be away from the mix of bases

Cells = {"gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class Shape:
    """What a recipe says of a network's size; without `memory` the head reads zeros for the recurrent state."""

    cell: str
    hidden: int
    layers: int
    memory: bool = True


class Output(NamedTuple):
    """mean: [B, H] and quantiles: [B, H, Q] in the units of `Batch.y` · size: [B, 1] spread of the window's y.

    A distribution has a dispersion [B, H, 1] in the place of quantiles.
    """

    mean: Tensor
    quantiles: Tensor
    size: Tensor


class Scale(NamedTuple):
    """`x = asinh(y / unit)` or `y / unit`, centred at `center` with the spread `spread`; all [B, 1]."""

    unit: Tensor
    center: Tensor
    spread: Tensor


def masked_mean(values: Tensor, seen: Tensor, otherwise: Tensor) -> Tensor:
    """Mean of `values` [B, L], which are 0 where not `seen`, and `otherwise` where nothing is; [B, 1]."""
    count = seen.float().sum(-1, keepdim=True)
    return torch.where(count > 0, values.sum(-1, keepdim=True) / count.clamp(min=1.0), otherwise)


def spread_out(values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """How far `values` [B, L], which are 0 where not `seen`, lie from their mean, 0 there too; its spread, [B, 1]."""
    here = seen.float()
    count = here.sum(-1, keepdim=True).clamp(min=1.0)
    apart = values - here * (values.sum(-1, keepdim=True) / count)
    return apart, torch.linalg.vector_norm(apart, dim=-1, keepdim=True) / count.sqrt()


class Read(NamedTuple):
    """What a network makes of windows before its head: state [B, D], inputs of each step [B, H, F], bases [B, H, M]."""

    state: Tensor
    inputs: Tensor
    bases: Tensor
    scale: Scale


class Head:
    """The way from what is known of each step to what is forecast; any dimensions before the last."""

    from_step: Callable[[Tensor], Tensor]
    deepen: Callable[[Tensor], Tensor]
    out: Callable[[Tensor], Tensor]
    own: int  # entries beside the weights of the bases
    from_gaps: Tensor  # [1 + Q, 1 + Q] from mean, median and gaps between quantiles to mean and quantiles

    def answer(self, place: Tensor, inputs: Tensor, keep: Tensor | None = None) -> Tensor:
        """`place` [.., D] is what the window and the step are to the head; `keep` weighs its entries."""
        mixed = functional.gelu(place + self.from_step(inputs))
        mixed = mixed if keep is None else mixed * keep
        return self.out(mixed + functional.gelu(self.deepen(mixed)))

    def mix(self, head: Tensor, bases: Tensor) -> Tensor:
        """The bases as the head weighs them; [.., 1]."""
        return (torch.softmax(head[..., self.own :], -1) * bases).sum(-1, keepdim=True)

    def found(self, head: Tensor, bases: Tensor, from_gaps: Tensor) -> Tensor:
        """Mean and quantiles, or what else `from_gaps` [1 + Q, P] makes, in spreads from the centre; [.., P]."""
        parts = [head[..., :2].clamp(-_FAR, _FAR), functional.softplus(head[..., 2 : self.own])]
        return self.mix(head, bases) + product(torch.cat(parts, -1), from_gaps)


class Network(nn.Module, Head):
    """One network for every series; `cell` is all that tells GRU and LSTM apart."""

    from_step: nn.Linear
    deepen: nn.Linear
    out: nn.Linear
    averages: Tensor  # [L, A] weights of the periods in each of the means that bases are
    bases: Tensor  # [H * M] the mean that each step and base takes
    levels: Tensor  # [T] `LEVELS`
    told: Tensor  # features of known covariates that tell periods of the past apart

    def __init__(self, plan: Plan, shape: Shape, calendar: int) -> None:
        super().__init__()
        self.plan, self.shape, self.calendar = plan, shape, calendar  # the width of the calendar's features
        self.spare: list[Tensor] = []  # room that one step of training leaves to the next
        self.own = 2 if plan.distribution else 1 + len(LEVELS)  # entries of the head beside the weights of the bases
        known, hidden = plan.known.width, shape.hidden
        self.expand_known, self.expand_past, self.embed = Expand(plan.known), Expand(plan.past), Embed(plan.static)
        self.steps = -(-plan.lookback // plan.patch)
        told = plan.told
        features = 2 + len(told) + plan.past.width
        self.recurrent = Cells[shape.cell](plan.patch * features, hidden, shape.layers, batch_first=True)
        self.from_state = nn.Linear(hidden + self.embed.width + 2 + len(LEVELS), hidden)
        self.step = nn.Parameter(torch.zeros(plan.block, hidden))
        bases = len(_seasons(plan)) + len(_levels(plan)) + len(plan.lags) + WAYS * bool(told)
        self.from_step = nn.Linear(bases + len(plan.lags) + known + bool(known) + calendar, hidden, bias=False)
        self.deepen = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, self.own + bases)
        self.response = Response(self.expand_known.variances(), self.embed.width) if known else None
        self.recall = Recall(len(told), plan.recall, plan.block, plan.season) if told else None
        constants = {"averages": _averages(plan), "bases": _bases(plan), "from_gaps": _from_gaps()}
        constants["levels"] = torch.tensor(LEVELS)
        for name, constant in (constants | {"told": torch.tensor(told, dtype=torch.long)}).items():
            self.register_buffer(name, constant, persistent=False)
        self._start_at_the_bases(bases)

    def _start_at_the_bases(self, bases: int) -> None:
        nn.init.zeros_(self.out.weight)
        gaps = 0.6 * (torch.tensor(_NORMAL[1:]) - torch.tensor(_NORMAL[:-1]))
        with torch.no_grad():
            self.out.bias.zero_()
            if self.plan.distribution is None:
                self.out.bias[2 : self.own] = torch.log(torch.expm1(gaps))  # softplus gives the gaps back
            if seasons := len(_seasons(self.plan)):  # levels weigh little at first where there is a season
                first = self.own + seasons
                self.out.bias[first : first + len(_levels(self.plan))] = _LITTLE
            if self.recall is not None:  # its widths are to be learned yet
                self.out.bias[-WAYS:] = _LITTLE

    def forward(self, batch: Batch, keep: Tensor | None = None) -> Output:
        """Forecasts of a batch; `keep` [B, H, D] weighs the entries of the head's state in training (dropout)."""
        head, bases, scale = self._answer(batch, keep)
        return self._output(head, bases, batch.newest(self.plan.lookback), scale)

    def lines(self, batch: Batch, weights: Tensor) -> Tensor:
        """Means of the mean and the quantiles, weighed by the columns of `weights` [1 + Q, P]; [B, H * P].

        Each column adds up to 1. Without a logarithm the scale may follow, so that one product does for both.
        """
        head, bases, scale = self._answer(batch, None)
        if not self.plan.log:
            return scale.center + scale.spread * self.found(head, bases, self.from_gaps @ weights).flatten(1)
        found = self.found(head, bases, self.from_gaps).flatten(1)
        found = self._stretch(scale.center + scale.spread * found, scale.unit)
        return (found.unflatten(1, (-1, len(weights))) @ weights).flatten(1)

    def _answer(self, batch: Batch, keep: Tensor | None) -> tuple[Tensor, Tensor, Scale]:
        """What the head says [B, H, .], the bases that it weighs [B, H, M], and the scale of both."""
        read = self.read(batch)
        steps = read.bases.shape[1]
        place = read.state[:, None] + self.step[:steps]
        head = self.answer(place, read.inputs, keep if keep is None else keep[:, :steps])
        return head.float(), read.bases, read.scale

    def read(self, batch: Batch) -> Read:
        """Everything up to the head."""
        newest, older = batch.newest(self.plan.lookback), self.plan.older
        scale, apart = self._scaled(newest)
        z = apart / scale.spread.clamp(min=1e-6)
        usual = masked_mean_columns(newest.known[:, : self.plan.lookback], newest.seen)  # [B, 1, K]
        known = self.expand_known(batch.known, usual)  # [B, R + H, F]
        lags = self.expand_known(batch.known_lags, usual[:, None])  # [B, H, J, F]
        static = self.embed(batch.static)
        bases, own = self._bases(batch, self._with_older(z, batch, scale), scale, known, lags, static)
        state = self._state(newest, z, known[:, older:], static)
        features = joined(own, known[:, self.plan.recall :], batch.calendar)
        return Read(state, joined(bases.clamp(-10.0, 10.0), batch.lags_seen.float(), features), bases, scale)

    def _scaled(self, batch: Batch) -> tuple[Scale, Tensor]:
        unit = torch.ones_like(batch.prior)
        if self.plan.log:
            unit = masked_mean(batch.y.abs(), batch.seen, batch.prior.abs())
            unit = torch.where(unit > 0, unit, 1.0)
        x = self._squeeze(batch.y, unit)
        center = masked_mean(x, batch.seen, self._squeeze(batch.prior, unit))
        apart, spread = spread_out(x, batch.seen)
        return Scale(unit, center, self._least(spread, center)), apart

    def _least(self, spread: Tensor, level: Tensor) -> Tensor:
        """The spread of a window; where there is a least unit one in which none was sold is read as if one had been."""
        if not self.plan.whole:
            return spread
        return torch.where((spread == 0) & (level == 0), self.plan.lookback**-0.5, spread)

    def _squeeze(self, y: Tensor, unit: Tensor) -> Tensor:
        return torch.asinh(y / unit) if self.plan.log else y

    def _stretch(self, x: Tensor, unit: Tensor) -> Tensor:
        return unit * torch.sinh(x) if self.plan.log else x

    def _with_older(self, z: Tensor, batch: Batch, scale: Scale) -> Tensor:
        """The window z [B, L] and what lies before it, around a mean of its own as levels change; [B, R]."""
        if not (older := self.plan.older):
            return z
        apart, _ = spread_out(self._squeeze(batch.y[:, :older], scale.unit), batch.seen[:, :older])
        return torch.cat([apart / scale.spread.clamp(min=1e-6), z], 1)

    def _bases(
        self, batch: Batch, z: Tensor, scale: Scale, known: Tensor, lags: Tensor, static: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Simple forecasts in spreads from the centre [B, H, M] and the series' own response [B, H, .].

        What the covariates are worth is taken out of the history z [B, R] first and put back for the periods ahead.
        """
        steps, older, seen = batch.calendar.shape[1], self.plan.older, batch.seen
        if self.response is None:
            return self._with_lags(self._means(z, seen, steps), batch, scale, None), known[:, -steps:, :0]
        worth = self.response(z, seen, known, static, lags)
        left = torch.where(seen, z - worth.history, 0.0)
        means = self._with_lags(self._means(left[:, older:], seen[:, older:], steps), batch, scale, worth.lags)
        alike = () if self.recall is None else (self.recall(left, seen, chosen(known, self.told)),)
        return joined(means, *alike) + worth.ahead[..., None], worth.own

    def _with_lags(self, means: Tensor, batch: Batch, scale: Scale, worth: Tensor | None) -> Tensor:
        """The bases [B, H, M] and those that look further back than the window, without what covariates added there."""
        if not self.plan.lags:
            return means
        spread = scale.spread.clamp(min=1e-6)[..., None]
        lags = (self._squeeze(batch.lags, scale.unit[..., None]) - scale.center[..., None]) / spread
        lags = lags if worth is None else lags - worth
        return torch.cat([means, torch.where(batch.lags_seen, lags, means[..., :1])], -1)

    def _means(self, z: Tensor, seen: Tensor, steps: int) -> Tensor:
        """Of z, 0 where not seen: over seasons at each step's place in one, then over the newest periods; [B, H, M]."""
        total, count = product(z, self.averages), product(seen.float(), self.averages)  # [B, A]
        means = total / count.clamp(min=1e-30)
        return means.index_select(1, self.bases).unflatten(1, (self.plan.horizon, -1))[:, :steps]

    def _state(self, batch: Batch, z: Tensor, known: Tensor, static: Tensor) -> Tensor:
        """The last state with the static covariates and the window's character; [B, D]."""
        if self.shape.memory:
            last = self._read(batch, z, known).to(static.dtype)
        else:
            last = static.new_zeros(static.shape[0], self.shape.hidden)
        share = batch.seen.float().mean(-1, keepdim=True)
        return self.from_state(joined(last, static, _variation(batch), share, self._quantiles(z, batch.seen)))

    def _quantiles(self, z: Tensor, seen: Tensor) -> Tensor:
        """Of what was seen of the window z [B, L], at `LEVELS`, the nearest values; 0 where nothing was; [B, T]."""
        ascending = torch.where(seen, z, math.inf).sort(-1).values
        last = seen.sum(-1, keepdim=True) - 1
        found = ascending.gather(-1, (self.levels * last.clamp(min=0) + 0.5).long())
        return torch.where(last < 0, 0.0, found).clamp(-10.0, 10.0)

    def _read(self, batch: Batch, z: Tensor, known: Tensor) -> Tensor:
        """What the cells remember of the window when they have read it patch by patch; [B, D]."""
        span, patch = self.plan.lookback, self.plan.patch
        usual = masked_mean_columns(batch.past, batch.seen)
        columns = z.clamp(-10.0, 10.0)[..., None], batch.seen.float()[..., None], chosen(known[:, :span], self.told)
        features = joined(*columns, self.expand_past(batch.past, usual))  # [B, L, F]
        if before := self.steps * patch - span:
            features = functional.pad(features, (0, 0, before, 0))
        patches = features.reshape(features.shape[0], self.steps, -1)  # [B, L / P, P * F]
        if self.training and torch.is_grad_enabled() and self.shape.cell == "gru" and patches.device.type == "cpu":
            return self._trained(patches)
        _, last = self.recurrent(patches.to(self.recurrent.weight_ih_l0.dtype))  # bf16 where that is stored
        newest: Tensor = (last[0] if self.shape.cell == "lstm" else last)[-1]  # of [layers, B, D]
        return newest

    def _trained(self, patches: Tensor) -> Tensor:
        """The newest state as a CPU reads it in training; [B, D]."""
        from forecastkit.nn.cells import last_state  # numba is for training alone

        dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        return last_state(self.recurrent, patches, dtype, self.spare)

    def _output(self, head: Tensor, bases: Tensor, batch: Batch, scale: Scale) -> Output:
        if (distribution := self.plan.distribution) is not None:
            return self._distributed(distribution, head, self.mix(head, bases)[..., 0], batch, scale)
        unit, center, spread = (part[..., None] for part in scale)
        found = self._stretch(center + spread * self.found(head, bases, self.from_gaps), unit)
        return Output(found[..., 0], found[..., 1:], deviation(batch.y, batch.seen))

    def _distributed(self, distribution: Distribution, head: Tensor, mix: Tensor, batch: Batch, scale: Scale) -> Output:
        level = masked_mean(batch.y, batch.seen, batch.prior)
        size = self._least(deviation(batch.y, batch.seen), level)
        values = scale.center + scale.spread * (mix + head[..., 0].clamp(-_FAR, _FAR))
        mean = positive(self._stretch(values, scale.unit), size)
        level = level.clamp(min=1 / self.plan.lookback) if self.plan.whole else level
        dispersion = distribution.dispersion(head[..., 1], level, size)
        return Output(mean, dispersion[..., None], size)


def deviation(y: Tensor, seen: Tensor) -> Tensor:
    """Standard deviation [B, 1] of what was seen of y [B, L]; exactly 0 for a constant, whatever its rounding."""
    _, spread = spread_out(y, seen)
    return torch.where(spread > 1e-6, spread, 0.0)


def _variation(batch: Batch) -> Tensor:
    """The logarithm of one and the coefficient of variation, at most of 100; [B, 1]."""
    level = (masked_mean(batch.y, batch.seen, batch.prior) + batch.base).abs()
    return torch.log1p((deviation(batch.y, batch.seen) / level.clamp(min=1e-6)).clamp(max=100))


def _seasons(plan: Plan) -> list[int]:
    """How many seasons the seasonal bases average."""
    whole = plan.lookback // plan.season
    return sorted({n for n in (1, 2, 4, whole) if n <= whole}) if plan.season > 1 else []


def _levels(plan: Plan) -> list[int]:
    """How many periods the level bases average, the last value first."""
    geometric = {4**k for k in range(8) if 4**k <= plan.lookback}
    return sorted(geometric | {min(plan.season, plan.lookback), plan.lookback})


def _averages(plan: Plan) -> Tensor:
    """Weights of the periods in the means over seasons, one a place, and over the newest periods; [L, A].

    Where none of its periods was seen a mean takes what lies further off, whose weights are too small to count else:
    the same place in any season, then the whole window.
    """
    back = torch.arange(plan.lookback - 1, -1, -1)  # periods before the last
    whole = plan.lookback // plan.season * plan.season
    columns = []
    for place in range(plan.season):
        here = (back % plan.season == plan.season - 1 - place) & (back < whole)
        columns += [(here & (back < n * plan.season)) + 1e-9 * here for n in _seasons(plan)]
    columns += [(back < n).float() for n in _levels(plan)]
    return torch.stack(columns, -1) + 1e-18


def _bases(plan: Plan) -> Tensor:
    """The column of `_averages` for each step and base, [H * M]."""
    seasons, levels = len(_seasons(plan)), len(_levels(plan))
    place = torch.arange(plan.horizon)[:, None] % plan.season
    everywhere = (plan.season * seasons + torch.arange(levels)).expand(plan.horizon, -1)
    return torch.cat([place * seasons + torch.arange(seasons), everywhere], -1).flatten()


def _from_gaps() -> Tensor:
    """What mean, median and the gaps between quantiles add to the mean and to each quantile; [1 + Q, 1 + Q]."""
    quantile = torch.arange(len(LEVELS))
    gap = torch.arange(len(LEVELS) - 1)[:, None]  # between quantiles `gap` and `gap + 1`
    above, below = (gap >= _MIDDLE) & (quantile > gap), (gap < _MIDDLE) & (quantile <= gap)
    weights = torch.zeros(1 + len(LEVELS), 1 + len(LEVELS))
    weights[0, 0], weights[1, 1:] = 1.0, 1.0
    weights[2:, 1:] = above.float() - below.float()
    return weights


def at_levels(grid: Floats, levels: tuple[float, ...]) -> Floats:
    """Quantiles at any `levels` from those at the trained ones, [N, H, T] -> [N, H, Q].

    Straight lines over the normal quantile function, also beyond both ends, so that more extreme levels lie further
    out and none cross.
    """
    known, wanted = ndtri(np.array(LEVELS)), ndtri(np.array(levels))
    left = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(known) - 2)
    share = (wanted - known[left]) / (known[left + 1] - known[left])
    return grid[..., left] + share * (grid[..., left + 1] - grid[..., left])
