"""What a window remembers of times like those ahead: the way to read how one series answers to its covariates."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from forecastkit.nn.covariates import product

HEADS = 4
_WAVES = 2  # of the season, in which periods lie near or far from each other
_NEAR, _SEASON, _RECENT = -1.0, 1.0, 2.0  # first weights: of covariates (logarithm), of the season, of age (logarithm)
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

    def __init__(self, features: int, periods: int, horizon: int, season: int) -> None:
        super().__init__()
        waves = torch.arange(1, 1 + (_WAVES if season > 2 else 0))
        self.near = nn.Parameter(torch.full((HEADS, features), _NEAR))
        self.recent = nn.Parameter(torch.linspace(-_RECENT, _RECENT, HEADS))
        self.season = nn.Parameter(torch.full((HEADS, len(waves)), _SEASON))
        turns = torch.arange(-periods, horizon)[:, None] * waves * (2 * math.pi / season)  # [R + H, K]
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
        period = torch.cat([have, have.square(), unseen, self.place.expand(len(have), -1, -1)], -1)  # [B, R, D]
        always = self._always(near, ask.shape[2])  # [M, H, D - F]
        sought = torch.cat([2 * ask * near[:, None], always.expand(len(have), -1, -1, -1)], -1)  # [B, M, H, D]
        share = torch.softmax(product(sought.flatten(1, 2), period.mT), -1)  # [B, M * H, R]
        found = product(share, values.clamp(-_WILD, _WILD)[..., None])
        return found.unflatten(1, (HEADS, -1)).squeeze(-1).mT

    def _always(self, near: Tensor, steps: int) -> Tensor:
        """What a step looks for whatever its covariates: few of others, what was seen, what is new, its season."""
        plain = torch.cat([-near, near.new_full((HEADS, 1), -_UNSEEN), -self.recent.exp()[:, None]], -1)  # [M, F + 2]
        season = self.season.repeat(1, 2)[:, None] * self.phase[:steps]  # [M, H, 2K]
        return torch.cat([plain[:, None].expand(-1, steps, -1), season], -1)
