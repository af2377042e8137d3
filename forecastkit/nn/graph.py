"""The whole way from demand to forecasts as one graph of tensors: what is compiled, exported and served.

Everything that `inputs` and `forecaster` do around a network stands here once more in tensor operations, whose shapes
are fixed but for the batch: sizes of the series, standardised covariates, the average of the networks, quantiles at any
levels, whole ones of counts, and the floor of demand. Demand comes in double precision, as single precision does not
hold every level.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forecastkit import baseline
from forecastkit.data.panel import Panel
from forecastkit.nn import heads
from forecastkit.nn.inputs import features_from, means, placed
from forecastkit.nn.network import LEVELS, Network, at_levels
from forecastkit.nn.plan import Block, Plan
from forecastkit.nn.windows import Batch

Doubles = NDArray[np.float64]


class Arrays(NamedTuple):
    """What a forecast is made from; B series that end at their cutoffs, T periods of history, H ahead.

    y: [B, T] demand, NaN where nothing is known and before a series begins · known: [B, T + H, K] · past: [B, T, P] ·
    static: [B, S]; numbers as they are and codes of texts · calendar: [B, H, C] of `calendar_features`, float32 ·
    usual: [B] mean of all that was ever seen, believed after T periods of nothing. A role that the model has no columns
    of is empty: [B, T + H, 0] and so on.
    """

    y: NDArray[np.float64]
    known: NDArray[np.float64]
    past: NDArray[np.float64]
    static: NDArray[np.float64]
    calendar: NDArray[np.float32]
    usual: NDArray[np.float64]

    def rows(self, part: slice) -> Arrays:
        """Some of the series."""
        y, known, past, static = self.y[part], self.known[part], self.past[part], self.static[part]
        return Arrays(y, known, past, static, self.calendar[part], self.usual[part])


def arrays_of(panel: Panel, plan: Plan, demand: Doubles, future: Doubles | None) -> Arrays:
    """The newest periods of a panel of any length; `demand` [R] are its values, `future` [N, H, K]."""
    T, H, n = plan.context, plan.horizon, len(panel)
    known = np.full((n, T + H, len(plan.known.sizes)), np.nan)
    if plan.known.sizes:
        known[:, :T] = placed(panel.known_filled, panel.lengths, T)
        known[:, T:] = future if future is not None else np.nan
    past = placed(panel.past_filled, panel.lengths, T) if plan.past.sizes else np.empty((n, T, 0))
    ahead = panel.ends[:, None] + 1 + np.arange(H)  # [N, H]
    first = int(ahead.min())
    calendar = features_from(panel.calendar, first, int(ahead.max()) + 1 - first, plan.yearly)[ahead - first]
    seen = ~np.isnan(demand)
    usual = means(np.where(seen, demand, 0.0), seen, panel.offsets)
    static = panel.static.values if plan.static.sizes else np.empty((n, 0))
    return Arrays(placed(demand, panel.lengths, T), known, past, np.array(static, float), calendar, usual)


class Standardise(nn.Module):
    """`Block.standardised` in tensors."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, values: Tensor) -> Tensor:
        parts = []
        for k, size in enumerate(self.block.sizes):
            column = values[..., k : k + 1]
            if size:
                parts.append(torch.where(torch.isnan(column), -1.0, column).float())
                continue
            if self.block.logs[k]:
                column = torch.log(column.clamp(min=float(np.exp(self.block.centers[k] - 10))))
            column = (column - self.block.centers[k]) / self.block.scales[k]
            parts.append(torch.where(torch.isnan(column), 0.0, column).float())
        return torch.cat(parts, -1) if parts else values.float()


class Graph(nn.Module):
    """Networks with everything around them: `Arrays` in, mean [B, H] and quantiles [B, H, Q] out, in doubles."""

    weights: Tensor  # [1 + T, 1 + Q] of the mean and the trained levels in the mean and each level that is asked for
    before: Tensor  # [H, J] the periods of the lags

    def __init__(self, networks: tuple[Network, ...], levels: tuple[float, ...]) -> None:
        super().__init__()
        self.networks, self.plan = nn.ModuleList(networks), networks[0].plan
        plan, self.calendar = self.plan, networks[0].calendar
        self.known, self.past, self.static = (Standardise(b) for b in (plan.known, plan.past, plan.static))
        weights = np.zeros((1 + len(LEVELS), 1 + len(levels)))  # the mean stays as it is
        weights[0, 0], weights[1:, 1:] = 1.0, at_levels(np.eye(len(LEVELS)), levels)
        self.register_buffer("weights", torch.from_numpy(weights).float(), persistent=False)
        steps = torch.arange(plan.horizon)[:, None]  # [H, 1]
        lags = torch.tensor(plan.lags, dtype=torch.long)
        before = plan.context + steps - lags * (steps // lags + 1) if len(lags) else steps[:, :0]
        self.register_buffer("before", before, persistent=False)  # [H, J]

    def forward(
        self, y: Tensor, known: Tensor, past: Tensor, static: Tensor, calendar: Tensor, usual: Tensor
    ) -> tuple[Tensor, Tensor]:
        seen = ~torch.isnan(y)
        demand = torch.where(seen, y, 0.0)
        blocks = self.known(known), self.past(past), self.static(static)
        lines = []
        for networks in self._alike():
            own = _sized(demand, seen, centred=not networks[0].plan.log)
            batch = self._batch(own, seen, usual[:, None], blocks, calendar)
            found = heads.lines(networks, batch, self.weights).double() * own.units + own.shift
            lines.append(found * (len(networks) / len(self.networks)) if len(networks) < len(self.networks) else found)
        # Flat up to here, so that what a series has one of needs no third dimension.
        lowest = torch.where(demand.amin(-1, keepdim=True) < 0, -torch.inf, demand.new_zeros(()))
        everything = torch.maximum(functools.reduce(torch.add, lines), lowest).unflatten(
            1, (self.plan.horizon, -1)
        )  # [B, H, 1 + Q]
        mean, *quantiles = everything.split(1, -1)
        for k in range(1, len(quantiles)):
            quantiles[k] = torch.maximum(quantiles[k - 1], quantiles[k])  # against rounding only
        if not quantiles:
            return mean.squeeze(-1), everything[..., 1:]
        found, counts = torch.cat(quantiles, -1), _counts(demand)[..., None]
        return mean.squeeze(-1), torch.where(counts, torch.floor(found + baseline.UP), found)

    def _alike(self) -> list[list[Network]]:
        """The networks by plan: they differ by their scale where that takes turns."""
        groups: dict[Plan, list[Network]] = {}
        for network in cast(Iterable[Network], self.networks):
            groups.setdefault(network.plan, []).append(network)
        return list(groups.values())

    def _batch(self, own: Sized, seen: Tensor, usual: Tensor, blocks: tuple[Tensor, ...], calendar: Tensor) -> Batch:
        plan, (known, past, static) = self.plan, blocks
        first = plan.context - plan.recall
        return Batch(
            y=own.y[:, first:],
            seen=seen[:, first:],
            known=known[:, first:],
            past=past[:, plan.context - plan.lookback :],
            static=static,
            calendar=calendar,
            prior=((usual - own.shift) / own.units).float(),
            base=(own.shift / own.units).float(),
            lags=own.y[:, self.before],
            lags_seen=seen[:, self.before],
            known_lags=known[:, self.before],
        )


class Sized(NamedTuple):
    """y: [B, T] demand as `(demand - shift) / units`, 0 where not seen · shift, units: [B, 1] in doubles."""

    y: Tensor
    shift: Tensor
    units: Tensor


def _counts(demand: Tensor) -> Tensor:
    """`baseline.counts` in tensors; [B, T] -> [B, 1]."""
    apart = (demand.round() - demand).abs().amax(-1, keepdim=True)
    return apart < baseline.ROUNDING * demand.abs().amax(-1, keepdim=True)


def _sized(demand: Tensor, seen: Tensor, centred: bool) -> Sized:
    """Demand in its own size, as `inputs` has it: where each series lies, and how far it spreads."""
    count = seen.float().sum(-1, keepdim=True).clamp(min=1.0).double()
    largest = demand.abs().amax(-1, keepdim=True)
    largest = torch.where(largest > 0, largest, 1.0)
    shares = demand / largest
    mean = shares.sum(-1, keepdim=True) / count if centred else shares.new_zeros((1, 1))
    apart = torch.where(seen, shares - mean, 0.0)
    distance = torch.linalg.vector_norm(apart, ord=1, dim=-1, keepdim=True) / count
    distance = torch.where(distance > 1e-14, distance, 1.0)
    return Sized((apart / distance).float(), mean * largest, distance * largest)
