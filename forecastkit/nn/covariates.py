"""What covariates bring into the network: their features, and what each period's are worth in demand."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from forecastkit.nn.plan import Block

_STATIC = 8  # widest embedding of a category
_STEPS = 6  # of the solution of a window's own regression, which up to so many features is exact
_FARTHEST = 3.0  # spreads that a period may lie away in that regression, so that one wild week does not decide
_NOTHING = 1e-12  # so that what is solved already divides by something
_STRENGTH = -1.5  # logarithm of what a slope is held back by at first, in variances of its covariate


def product(values: Tensor, weights: Tensor) -> Tensor:
    """`values @ weights` in single precision, under autocast too."""
    if not torch.is_autocast_enabled(values.device.type):
        return values @ weights
    with torch.autocast(values.device.type, enabled=False):
        return values.float() @ weights


def joined(*parts: Tensor) -> Tensor:
    """Those of `parts` [..., F] that have any columns, side by side: an empty one costs a compiled graph a node."""
    full = [part for part in parts if part.shape[-1]]
    return torch.cat(full, -1) if full else parts[0]


def chosen(values: Tensor, places: Tensor) -> Tensor:
    """The features of [..., F] at some `places`, which where it is all of them costs nothing."""
    return values if places.shape[0] == values.shape[-1] else values.index_select(-1, places)


def masked_mean_columns(columns: Tensor, seen: Tensor) -> Tensor:
    """Mean of [B, L, K] over the periods that were seen; [B, 1, K]."""
    if not columns.shape[-1]:
        return columns[:, :1]
    weight = seen.float()[..., None]
    return (columns * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)


class Expand(nn.Module):
    """A covariate block [..., K] as features [..., F]: codes one-hot, numbers as they are and relative to usual."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def variances(self) -> list[float]:
        """About that of each feature: numbers are standardised, and a code is one of so many; F of them."""
        found = []
        for size, within in zip(self.block.sizes, self.block.within, strict=True):
            found += [(1 - 1 / size) / size if size > 1 else 1.0] * size if size else [1.0] * (1 + (within > 0))
        return found

    def forward(self, values: Tensor, usual: Tensor) -> Tensor:
        """`usual` [B, ..., K] is each column's mean in the window."""
        parts = []
        for k, size in enumerate(self.block.sizes):
            column = values[..., k : k + 1]
            if size:
                parts.append((column == torch.arange(size, device=column.device)).float())
                continue
            parts.append(column.clamp(-10.0, 10.0))
            if self.block.within[k]:
                parts.append(((column - usual[..., k : k + 1]) / self.block.within[k]).clamp(-10.0, 10.0))
        return torch.cat(parts, dim=-1) if parts else values


class Embed(nn.Module):
    """Static covariates [B, S] as one vector: categories embedded, numbers as they are."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.sizes = block.sizes
        widths = [min(_STATIC, size) for size in block.sizes if size]
        self.tables = nn.ModuleList(
            nn.Embedding(s + 1, w) for s, w in zip(filter(None, self.sizes), widths, strict=True)
        )
        self.width = sum(widths) + sum(size == 0 for size in self.sizes)
        for table in self.tables.parameters():
            nn.init.normal_(table, std=0.1)

    def forward(self, static: Tensor) -> Tensor:
        tables = iter(self.tables)
        parts = [static[:, :0]]
        for k, size in enumerate(self.sizes):
            column = static[:, k]
            parts.append(
                next(tables)((column + 1).clamp(0, size).long()) if size else column[:, None].clamp(-10.0, 10.0)
            )
        return torch.cat(parts, dim=-1)


class Worth(NamedTuple):
    """What covariates add to demand, in spreads of the window.

    history: [B, R] · ahead: [B, H] · lags: [B, H, J] · own: [B, H, 1] what this window's regression says alone.
    """

    history: Tensor
    ahead: Tensor
    lags: Tensor
    own: Tensor


class Response(nn.Module):
    """What known covariates add to demand: what they do everywhere, and how this window alone answers to them.

    The second is a ridge regression of what the first leaves: how strongly each slope is held back is learned, and so
    is how much of it is believed. Nothing is added at first.
    """

    def __init__(self, variances: list[float], static: int, hidden: int = 16) -> None:
        super().__init__()
        self.from_known = nn.Linear(len(variances), hidden)
        self.from_static = nn.Linear(static, hidden, bias=False) if static else None
        self.out = nn.Linear(hidden, 1, bias=False)
        self.strength = nn.Parameter(_STRENGTH + torch.tensor(variances).log())
        self.trust = nn.Parameter(torch.zeros(1))
        nn.init.zeros_(self.out.weight)

    def forward(self, z: Tensor, seen: Tensor, known: Tensor, static: Tensor, known_lags: Tensor) -> Worth:
        """z: [B, R] the window · known: [B, R + H, F] · static: [B, S] · known_lags: [B, H, J, F]."""
        span = z.shape[1]
        shared = self._shared(known, static)  # [B, R + H]
        slopes, usual = self._regression(z - shared[:, :span], seen, known[:, :span])
        own = _at(known, slopes, usual)
        worth = shared + self.trust * own
        lags = self._shared(known_lags, static) + self.trust * _at(known_lags, slopes, usual)
        return Worth(worth[:, :span], worth[:, span:], lags, own[:, span:, None])

    def _shared(self, known: Tensor, static: Tensor) -> Tensor:
        """known [B, ..., F], static [B, S] -> [B, ...]."""
        inner = self.from_known(known)
        if self.from_static is not None:
            series = self.from_static(static)  # [B, D]
            inner = inner + series.view(series.shape[0], *(1,) * (known.dim() - 2), -1)
        return self.out(torch.tanh(inner))[..., 0].float()

    def _regression(self, left: Tensor, seen: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes [B, 1, F] of what is left [B, R] on the covariates [B, R, F] around their usual values [B, 1, F]."""
        here = seen.float()
        count = here.sum(1, keepdim=True).clamp(min=1.0)  # [B, 1]
        usual = masked_mean_columns(known, seen)
        apart = (known - usual) * here[..., None]
        left = ((left - (left * here).sum(1, keepdim=True) / count) * here).clamp(-_FARTHEST, _FARTHEST)
        against = product(apart.transpose(1, 2), left[..., None]) / count[..., None]  # [B, F, 1]
        alike = product(apart.transpose(1, 2), apart) / count[..., None]  # [B, F, F]
        # The fewer periods were seen, the less they say.
        back = torch.diag(self.strength.exp()) * (left.shape[1] / count)[..., None]
        return solved(alike + back, against).transpose(1, 2), usual


def _at(known: Tensor, slopes: Tensor, usual: Tensor) -> Tensor:
    """The regression's answer to covariates [B, ..., F]; [B, ...]."""
    shape = (known.shape[0], *(1,) * (known.dim() - 2), -1)
    return ((known - usual.view(shape)) * slopes.view(shape)).sum(-1).clamp(-10.0, 10.0)


def solved(matrix: Tensor, right: Tensor) -> Tensor:
    """x [B, F, 1] of `matrix @ x = right`, symmetric and positive, by a few steps of conjugate gradients.

    As a handful of products it can be a part of any compiled graph. Golub and Van Loan, Matrix Computations, 11.3.
    """
    found, left, way = torch.zeros_like(right), right, right
    size = left.square().sum(1, keepdim=True)
    for _ in range(min(_STEPS, right.shape[1])):
        pushed = product(matrix, way)
        step = size / ((way * pushed).sum(1, keepdim=True) + _NOTHING)
        found, left = found + step * way, left - step * pushed
        before, size = size, left.square().sum(1, keepdim=True)
        way = left + size / (before + _NOTHING) * way
    return found
