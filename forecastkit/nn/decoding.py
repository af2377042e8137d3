"""Further than the head reaches: block after block, each on the demand that the one before it gave.

A direct network has a step of its head for each period and goes on with its own means only beyond them. A rolled one
forecasts a patch at a time and goes on with demand drawn from its own forecast: so it is trained, and so it forecasts,
on many paths at once. Jeon & Seong (2022), Robust recurrent network model for intermittent time-series forecasting.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from forecastkit.data.panel import Floats
from forecastkit.nn.network import LEVELS, Network, Output, at_levels
from forecastkit.nn.windows import Windows

DECODERS = ("direct", "rolled")
PATHS = 100


def ahead(network: Network, windows: Windows, done: int, horizon: int, keep: Tensor | None = None) -> Output:
    """The block of the head that begins `done` periods after the end of the history, up to `horizon`."""
    series = torch.arange(len(windows.y), device=windows.device)
    steps = min(network.plan.block, horizon - done)
    output: Output = network(windows.batch(series, torch.full_like(series, windows.end + done), steps), keep)
    return output


def trained(
    network: Network, windows: Windows, origins: tuple[Tensor, Tensor], generator: torch.Generator, keep: Tensor | None
) -> Output:
    """Forecasts of the whole horizon from `origins` (series [B], start [B]), as they are trained."""
    horizon = network.plan.horizon
    if network.plan.decoder == "direct":
        output: Output = network(windows.batch(*origins, horizon), keep)
        return output

    windows, found = windows.from_starts(*origins, horizon), []
    for done in range(0, horizon, network.plan.block):
        found.append(ahead(network, windows, done, horizon, keep))
        with torch.no_grad():
            windows = windows.continued(windows.end + done, _drawn(network, found[-1], generator))
    mean, rest, _ = zip(*found, strict=True)
    return Output(torch.cat(mean, 1), torch.cat(rest, 1), found[0].size)


def _drawn(network: Network, output: Output, generator: torch.Generator) -> Tensor:
    """Demand at random; [B, H]."""
    mean, rest = (part.to(generator.device) for part in (output.mean, output.quantiles))
    if (distribution := network.plan.distribution) is not None:
        return distribution.draw(mean, rest[..., 0], generator)
    return _between(rest, torch.randn(mean.shape, generator=generator, device=generator.device))


def paths(network: Network, windows: Windows, horizon: int) -> tuple[Floats, Floats]:
    """Mean [N, H], which is that of the forecasts on the paths, and demand on each path [N, S, H]."""
    series = torch.arange(len(windows.y), device=windows.device)
    each, chances = series.repeat_interleave(PATHS), _chances(horizon)  # [N * S], [S, H]
    windows = windows.from_starts(series, torch.full_like(series, windows.end), horizon)
    means, demand = [], []
    for done in range(0, horizon, network.plan.block):
        output = ahead(network, windows, done, horizon)
        if not done:  # the paths part after the first block
            windows, output = windows.rows(each), Output(*(part[each] for part in output))
        own = np.tile(chances[:, done : done + output.mean.shape[1]], (len(series), 1))  # [N * S, H]
        means.append(output.mean)
        demand.append(_at(network, output, own))
        windows = windows.continued(windows.end + done, demand[-1])
    shape = (len(series), PATHS, horizon)
    mean, drawn = (torch.cat(parts, 1).cpu().numpy().astype(np.float64).reshape(shape) for parts in (means, demand))
    return mean.mean(1), drawn


def _chances(horizon: int) -> Floats:
    """For each path and period the share of demand that is below it, the same for every series and call; [S, H].

    Each period has one path in each hundredth (McKay et al. 1979, Latin hypercubes), so that a hundred are enough.
    """
    generator = np.random.default_rng(0)
    return np.stack([(generator.permutation(PATHS) + 0.5) / PATHS for _ in range(horizon)], axis=1)


def _at(network: Network, output: Output, chances: Floats) -> Tensor:
    """Demand that is exceeded with the chance that is left; [B, H], [B, H] -> [B, H]."""
    mean = output.mean
    if (distribution := network.plan.distribution) is None:
        return _between(output.quantiles, torch.from_numpy(ndtri(chances)).to(mean))
    known, dispersion = (part.cpu().numpy().astype(np.float64) for part in (mean, output.quantiles[..., 0]))
    return torch.from_numpy(distribution.quantile(known, dispersion, chances)).to(mean)


def _between(grid: Tensor, normal: Tensor) -> Tensor:
    """`at_levels` where each step has a level of its own, given as a normal quantile; [B, H, T], [B, H] -> [B, H]."""
    known = _normal_levels(normal.device)
    left = (torch.searchsorted(known, normal.contiguous(), right=True) - 1).clamp(0, len(LEVELS) - 2)
    share = (normal - known[left]) / (known[left + 1] - known[left])
    low, high = (grid.gather(-1, place[..., None])[..., 0] for place in (left, left + 1))
    return low + share * (high - low)


@lru_cache
def _normal_levels(device: torch.device) -> Tensor:
    """`LEVELS` as normal quantiles; made once, as nothing may come from the host while a step is captured."""
    return torch.from_numpy(ndtri(np.array(LEVELS))).float().to(device)


def quantiles_of(demand: Floats, levels: tuple[float, ...], whole: bool) -> Floats:
    """Of the paths [N, S, H] at any levels; [N, H, Q]. Counts stay counts."""
    if whole:
        return np.moveaxis(np.quantile(demand, levels, axis=1, method="inverted_cdf"), 0, -1)
    return at_levels(np.moveaxis(np.quantile(demand, LEVELS, axis=1, method="hazen"), 0, -1), levels)
