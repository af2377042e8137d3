"""What a window remembers of times like those ahead: the way to read how one series answers to its covariates."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

WAYS = 4  # of being alike, side by side
_WAVES = 2  # of the season, in which periods lie near or far from each other
_NEAR = -1.0  # logarithm of the first weight of a covariate's squared difference
_RECENT = 2.0  # the first weights of age, one a way: logarithms from minus this to this
_SEASON = 1.0  # first weight of a wave of the season
_WILD = 10.0  # spreads beyond which demand counts as that
_UNSEEN = 1e9


class Recall(nn.Module):
    """Weighted means of the window, for each step by how much its periods were like that step.

    Alike are periods with the same covariates, at the same place in the season, and new ones; how much of each is
    learned, in several ways at once. The demand that is averaged is without what a regression of the covariates
    explains, so this adds what is not a sum of slopes, each series its own. Regression by kernels of learned width:
    Nadaraya (1964), On estimating regression; as attention: Vaswani et al. (2017), Attention is all you need.
    """

    place: Tensor  # [R, 1 + 2K] of a period: its age in windows, and where it stands in the season
    phase: Tensor  # [H, 2K] where a step stands in the season

    def __init__(self, features: int, periods: int, steps: int, season: int) -> None:
        super().__init__()
        waves = torch.arange(1, 1 + min(_WAVES, season // 2))
        self.near = nn.Parameter(torch.full((WAYS, features), _NEAR))
        self.recent = nn.Parameter(torch.linspace(-_RECENT, _RECENT, WAYS))
        self.seasonal = nn.Parameter(torch.full((WAYS, len(waves)), _SEASON))
        turns = torch.arange(-periods, steps)[:, None] * waves * (2 * math.pi / season)  # [R + H, K]
        circle = torch.cat([turns.cos(), turns.sin()], -1)  # whose products are cosines of differences
        age = torch.arange(periods - 1, -1, -1)[:, None] / periods
        self.register_buffer("place", torch.cat([age, circle[:periods]], -1), persistent=False)
        self.register_buffer("phase", circle[periods:], persistent=False)

    def forward(self, values: Tensor, seen: Tensor, known: Tensor) -> Tensor:
        """values: [B, R], 0 where not seen · known: [B, R + H, F] -> [B, H, M], one column a way of being alike."""
        span, near = values.shape[1], self.near.exp()  # [M, F]
        have, ask, unseen = known[:, :span], known[:, None, span:], (~seen).float()[..., None]
        # How alike is minus a distance, but for the squares of what is asked for: a softmax does not see what all
        # periods share. So one product of what a period is and what a step looks for says it all.
        period = torch.cat([have, have.square(), unseen, self.place.expand(have.shape[0], -1, -1)], -1)  # [B, R, D]
        always = self._always(near, ask.shape[2])  # [M, H, D - F]
        sought = torch.cat([2 * ask * near[:, None], always.expand(have.shape[0], -1, -1, -1)], -1)  # [B, M, H, D]
        found = attended(sought.flatten(1, 2), period, values.clamp(-_WILD, _WILD))
        return found.unflatten(1, (WAYS, -1)).mT

    def _always(self, near: Tensor, steps: int) -> Tensor:
        """What a step looks for whatever its covariates: few of others, what was seen, what is new, its season."""
        plain = torch.cat([-near, near.new_full((WAYS, 1), -_UNSEEN), -self.recent.exp()[:, None]], -1)  # [M, F + 2]
        season = self.seasonal.repeat(1, 2)[:, None] * self.phase[:steps]  # [M, H, 2K]
        return torch.cat([plain[:, None].expand(-1, steps, -1), season], -1)


def attended(sought: Tensor, period: Tensor, values: Tensor) -> Tensor:
    """Means of `values` [B, R], weighed by the softmax of `sought` [B, S, D] times `period` [B, R, D]; [B, S].

    In single precision always, and without keeping a weight for each pair of step and period.
    """
    wide = functional.pad(values.float()[..., None], (0, period.shape[-1] - 1))  # torch's kernels want all as wide
    triple = sought.float()[:, None], period.float()[:, None], wide[:, None]
    with torch.autocast(values.device.type, enabled=False):
        return functional.scaled_dot_product_attention(*triple, scale=1.0)[:, 0, :, 0]
