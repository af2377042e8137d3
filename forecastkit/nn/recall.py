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

    age: Tensor  # [1, R] of the periods of the window, in windows
    waves: Tensor  # [K, H, R] closeness of each step and period in the season

    def __init__(self, features: int, periods: int, horizon: int, season: int) -> None:
        super().__init__()
        waves = _WAVES if season > 2 else 0
        self.near = nn.Parameter(torch.full((HEADS, features), _NEAR))
        self.recent = nn.Parameter(torch.linspace(-_RECENT, _RECENT, HEADS))
        self.season = nn.Parameter(torch.full((HEADS, waves), _SEASON))
        back = torch.arange(periods, 0, -1)
        apart = (torch.arange(horizon)[:, None] + back) * (2 * math.pi / season)  # [H, R]
        cosines = [torch.cos(wave * apart) for wave in range(1, 1 + waves)]
        self.register_buffer("age", (back[None] - 1) / periods, persistent=False)
        waves_of = torch.stack(cosines) if waves else torch.zeros(0, horizon, periods)
        self.register_buffer("waves", waves_of, persistent=False)

    def forward(self, values: Tensor, seen: Tensor, known: Tensor) -> Tensor:
        """values: [B, R], 0 where not seen · known: [B, R + H, F] -> [B, H, M], one column a way of being alike."""
        span, near = values.shape[1], self.near.exp()  # [M, F]
        have, ask = known[:, :span], known[:, span:]
        steps = ask.shape[1]
        # The squares of what is asked for are the same for all periods, and a softmax does not see them.
        sought = (2 * ask[:, None] * near[:, None]).flatten(1, 2)  # [B, M * H, F]
        alike = product(sought, have.mT).unflatten(1, (HEADS, steps))  # [B, M, H, R]
        apart = product(have.square(), near.mT).mT + _UNSEEN * (~seen[:, None]).float()  # [B, M, R]
        score = alike - apart[:, :, None] + self._always(steps)
        found = product(torch.softmax(score, -1).flatten(1, 2), values.clamp(-_WILD, _WILD)[..., None])  # [B, M * H, 1]
        return found.unflatten(1, (HEADS, steps)).squeeze(-1).mT

    def _always(self, steps: int) -> Tensor:
        """What is the same for every window: season and age; [M, H, R]."""
        season = (self.season @ self.waves[:, :steps].flatten(1)).unflatten(1, (steps, -1))
        return season - (self.recent.exp()[:, None] * self.age)[:, None]
