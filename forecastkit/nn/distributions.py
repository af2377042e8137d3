"""What demand is distributed like where the head gives no quantiles of its own: a mean and a dispersion for each step.

Both distributions have a part of their own at zero and none below it. The network starts at the moments of its window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from scipy import special
from torch import Tensor
from torch.nn import functional

from forecastkit import baseline
from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import DataError, such

_WIDTH = 0.1  # spreads of the window within which a mean is bent away from zero
_MOST = 5.0  # how far the logarithm of a dispersion may go from that of the window


class Distribution(ABC):
    """A family with `variance = f(mean, dispersion)`; shapes are the caller's, all the same."""

    whole: ClassVar[bool]  # numbers only
    limits: ClassVar[tuple[float, float]]  # of the dispersion

    def check(self, train: Panel) -> None:
        """`DataError` naming a series whose demand can't be distributed like this."""
        demand = baseline.demand(train)
        wrong = demand < 0
        if self.whole:
            wrong |= (demand != np.round(demand)) & ~np.isnan(demand)
        if wrong.any():
            bad = train.holding(wrong)
            kind = "whole numbers from 0" if self.whole else "demand that is never negative"
            what = f"series {bad[0]!r} has {demand[np.argmax(wrong)]:g}{such(len(bad))}"
            raise DataError(f"this head is for {kind}, {what}: take another", series=bad[0], every=bad)

    def dispersion(self, own: Tensor, level: Tensor, spread: Tensor) -> Tensor:
        """From what the network says [B, H] and the moments of its window [B, 1]; [B, H]."""
        usual = self.dispersed(level, spread**2)
        return (usual * torch.exp(own.clamp(-_MOST, _MOST))).clamp(*self.limits)

    @abstractmethod
    def dispersed(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The dispersion of a mean and a variance, within the limits."""

    @abstractmethod
    def variance(self, mean: Tensor, dispersion: Tensor) -> Tensor: ...

    @abstractmethod
    def surprise(self, y: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
        """Minus the logarithm of the likelihood of `y`."""

    @abstractmethod
    def draw(self, mean: Tensor, dispersion: Tensor, generator: torch.Generator) -> Tensor: ...

    @abstractmethod
    def quantile(self, mean: Floats, dispersion: Floats, level: Floats) -> Floats:
        """The least number that is not exceeded with the probability `level`; arrays that broadcast."""

    def quantiles(self, mean: Floats, dispersion: Floats, levels: tuple[float, ...]) -> Floats:
        """[N, H], [N, H] -> [N, H, Q]."""
        return self.quantile(mean[..., None], dispersion[..., None], np.array(levels, np.float64))


class NegativeBinomial(Distribution):
    """Counts: `variance = mean + dispersion * mean ** 2`.

    Hilbe (2011), Negative binomial regression, where this is NB2; for networks Salinas et al. (2020), DeepAR.
    """

    whole = True
    limits = (1e-3, 1e2)

    def dispersed(self, mean: Tensor, variance: Tensor) -> Tensor:
        return ((variance - mean) / mean.clamp(min=1e-6) ** 2).clamp(*self.limits)

    def variance(self, mean: Tensor, dispersion: Tensor) -> Tensor:
        return mean + dispersion * mean**2

    def surprise(self, y: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
        size, odds = 1 / dispersion, dispersion * mean
        chosen = torch.lgamma(y + size) - torch.lgamma(size) - torch.lgamma(y + 1)
        return (y + size) * torch.log1p(odds) - y * torch.log(odds) - chosen

    def draw(self, mean: Tensor, dispersion: Tensor, generator: torch.Generator) -> Tensor:
        rate = torch._standard_gamma(1 / dispersion, generator=generator) * dispersion * mean
        return torch.poisson(rate, generator=generator)

    def quantile(self, mean: Floats, dispersion: Floats, level: Floats) -> Floats:
        size, share, level = np.broadcast_arrays(1 / dispersion, 1 / (1 + dispersion * mean), level)
        found = np.maximum(np.ceil(special.nbdtrik(level, size, share)), 0.0)
        found = np.nan_to_num(found)  # less is asked for than lies at zero
        # It is sought in floating point: a step up or down makes it exact.
        found = found + (special.betainc(size, found + 1, share) < level)
        below = np.where(found > 0, special.betainc(size, np.maximum(found, 1), share), -1.0)
        return found - (below >= level)


class Tweedie(Distribution):
    """Demand that is zero or anything above: `variance = dispersion * mean ** 1.5`.

    With the power 1.5 it is a Poisson number of exponential amounts, whose density is a Bessel function and whose
    distribution function is that of the non-central chi-square. Jørgensen (1997), The theory of dispersion models,
    chapter 4; Johnson, Kotz & Balakrishnan (1995), Continuous univariate distributions 2, chapter 29.
    """

    whole = False
    limits = (1e-2, 1e2)

    def dispersed(self, mean: Tensor, variance: Tensor) -> Tensor:
        return (variance / mean.clamp(min=1e-6) ** 1.5).clamp(*self.limits)

    def variance(self, mean: Tensor, dispersion: Tensor) -> Tensor:
        return dispersion * mean**1.5

    def surprise(self, y: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
        root = torch.sqrt(mean)
        rate, amount = 2 * root / dispersion, dispersion * root / 2
        sold = torch.where(y > 0, y, 1.0)
        times, many = sold / amount, torch.sqrt(rate * sold / amount)
        apart = torch.sqrt(rate) - torch.sqrt(times)
        density = 0.5 * torch.log(rate / (amount * sold)) + torch.log(torch.special.i1e(2 * many)) - apart**2
        return torch.where(y > 0, -density, rate)

    def draw(self, mean: Tensor, dispersion: Tensor, generator: torch.Generator) -> Tensor:
        root = torch.sqrt(mean)
        times = torch.poisson(2 * root / dispersion, generator=generator)
        sold = torch._standard_gamma(times.clamp(min=1), generator=generator) * dispersion * root / 2
        return torch.where(times > 0, sold, 0.0)

    def quantile(self, mean: Floats, dispersion: Floats, level: Floats) -> Floats:
        root = np.sqrt(mean)
        rate, amount, level = np.broadcast_arrays(2 * root / dispersion, dispersion * root / 2, level)
        out, some = np.zeros(rate.shape), level > np.exp(-rate)
        out[some] = amount[some] * _times(rate[some], level[some])
        return out


def _times(rate: Floats, level: Floats) -> Floats:
    """The quantile of a Poisson number of unit exponentials; [R].

    `P(Y <= b) = P(N <= K)` for Poisson numbers N and K with the means `rate` and `b`.
    """
    b = special.chndtrinc(2 * rate, 2, 1 - level) / 2
    for _ in range(3):  # Newton's steps: what was found is good to three digits
        density = (
            np.exp(-((np.sqrt(rate) - np.sqrt(b)) ** 2)) * np.sqrt(rate / b) * special.ive(1, 2 * np.sqrt(rate * b))
        )
        off = 1 - special.chndtr(2 * rate, 2, 2 * b) - level
        b = np.maximum(b - off / density, b / 4)
    return b


def positive(values: Tensor, spread: Tensor) -> Tensor:
    """`values` where they are well above zero, and something small and positive elsewhere; in `spread`s of the window.

    A window without spread keeps its level.
    """
    width = (_WIDTH * spread).clamp(min=1e-6)
    return width * functional.softplus(values / width).clamp(min=1e-6)


DISTRIBUTIONS: dict[str, Distribution] = {"tweedie": Tweedie(), "negative_binomial": NegativeBinomial()}
HEADS = ("quantiles", *DISTRIBUTIONS)
