"""Is the difference real? Tests of models against each other, and series drawn again for confidence.

Losses are [N, M]: a row is a block (a series with all its windows, or a window with all its series), a column a model,
lower is better. Blocks are taken as independent of each other; what happens inside one may hang together as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from forecastkit.data.panel import Floats

Flags = NDArray[np.bool_]
DRAWS = 1000
LEVEL = 0.95
FEW = 10  # series: below this, drawing them again says little, and windows are the blocks
_WITHOUT_VARIANCE = 1e9  # a statistic that is so large is one of differences that are alike but for rounding
_AT_ONCE = 4_000_000  # counts held in memory while series are drawn


@dataclass(frozen=True)
class Difference:
    """Of two loss series: positive `statistic` means that the first is worse; `p` is two-sided."""

    statistic: Floats
    p: Floats


@dataclass(frozen=True)
class Ranks:
    """Friedman's test of M models on N blocks, and the distance at which two mean ranks differ.

    ranks: [M] mean ranks, 1 is best · statistic, p: of the hypothesis that all models are alike · distance: Nemenyi's
    critical distance · blocks: N.
    """

    ranks: Floats
    statistic: float
    p: float
    distance: float
    blocks: int

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """Half a critical distance to either side: models whose bounds overlap can't be told apart."""
        return self.ranks - self.distance / 2, self.ranks + self.distance / 2

    @property
    def with_best(self) -> Flags:
        """Multiple comparisons with the best: does a model's interval reach that of the best one? [M]

        Koning, Franses, Hibon & Stekler (2005), "The M3 competition: statistical tests of the results", International
        Journal of Forecasting 21.
        """
        return self.ranks - self.ranks.min() <= self.distance


def diebold_mariano(first: ArrayLike, second: ArrayLike, horizon: int = 1) -> Difference:
    """Have two series of losses [..., T] the same mean? With the correction for few forecasts.

    `horizon` is how far the forecasts reach: errors that many periods apart are taken as unrelated. Diebold & Mariano
    (1995), "Comparing predictive accuracy", Journal of Business & Economic Statistics 13; Harvey, Leybourne & Newbold
    (1997), "Testing the equality of prediction mean squared errors", International Journal of Forecasting 13. Where
    their estimate of the variance is negative, Bartlett's weights make it positive (Newey & West 1987). Equal losses
    have p = 1, and so has a comparison that is too short for its horizon; losses that always differ by the same have
    that of the sign test.
    """
    d = np.asarray(first, float) - np.asarray(second, float)  # [..., T]
    n = d.shape[-1]
    lags = min(horizon, n) - 1
    centred = d - d.mean(axis=-1, keepdims=True)
    gamma = np.stack([(centred[..., k:] * centred[..., : n - k]).sum(axis=-1) / n for k in range(lags + 1)], axis=-1)
    plain = gamma[..., 0] + 2 * gamma[..., 1:].sum(axis=-1)
    weights = 1 - np.arange(1, lags + 1) / (lags + 1)
    variance = np.where(plain > 0, plain, gamma[..., 0] + 2 * gamma[..., 1:] @ weights) / n
    factor = np.sqrt(max(n + 1 - 2 * horizon + horizon * (horizon - 1) / n, 0) / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = factor * d.mean(axis=-1) / np.sqrt(np.maximum(variance, 0))
    statistic = np.where(np.isnan(statistic), 0.0, statistic)  # no difference at all
    p = 2 * stats.t.sf(np.abs(statistic), n - 1) if n > 1 else np.ones(d.shape[:-1])
    by_sign = min(1.0, 2.0 ** (1 - n // horizon))
    return Difference(statistic, np.where(np.abs(statistic) > _WITHOUT_VARIANCE, by_sign, p))


def holm(p: ArrayLike) -> Floats:
    """p values made larger for how many there are. Holm (1979), Scandinavian Journal of Statistics 6; [K] -> [K]"""
    values = np.asarray(p, float)
    order = np.argsort(values)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    return adjusted


def friedman(losses: ArrayLike, level: float = LEVEL) -> Ranks:
    """Rank the models in every block and test whether mean ranks differ, ties counted as such.

    Friedman (1937); Nemenyi (1963); both as in Demšar (2006), "Statistical comparisons of classifiers over multiple
    data sets", Journal of Machine Learning Research 7. [N, M], M at least 2.
    """
    table = np.asarray(losses, float)
    n, m = table.shape
    each = stats.rankdata(table, axis=1)  # [N, M]
    ranks = each.mean(axis=0)
    spread = ((each - (m + 1) / 2) ** 2).sum() / (n * (m - 1))  # m (m + 1) / 12 without ties
    statistic = float(n * ((ranks - (m + 1) / 2) ** 2).sum() / spread) if spread > 0 else 0.0
    distance = float(stats.studentized_range.ppf(level, m, np.inf) * np.sqrt(m * (m + 1) / (12 * n)))
    return Ranks(ranks, statistic, float(stats.chi2.sf(statistic, m - 1)), distance, n)


def all_pairs(losses: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """p values of the difference of mean loss of every pair of models, valid together; [N, M] -> [M, M].

    If two models are alike, the sign of their difference in a block is a toss of a coin: blocks' signs are tossed, and
    each difference is held against the largest of any pair, all in units of their root sum of squares. So a model may
    be called the best after looking, which testing the winner alone would not allow. Efron (1969), "Student's t-test
    under symmetry conditions", Journal of the American Statistical Association 64; Westfall & Young (1993),
    "Resampling-based multiple testing", section 2.3, the single-step form.
    """
    table = np.asarray(losses, float)
    n, m = table.shape
    first, second = np.triu_indices(m, 1)
    d = table[:, first] - table[:, second]  # [N, K] a column a pair
    size = np.sqrt((d**2).sum(axis=0))
    d = np.divide(d, size, out=np.zeros_like(d), where=size > 0)
    rng, step = np.random.default_rng(seed), max(1, _AT_ONCE // n)
    largest = [
        np.abs(rng.choice([-1.0, 1.0], (min(step, draws - k), n)) @ d).max(axis=1) for k in range(0, draws, step)
    ]
    reached = np.concatenate(largest)[:, None] >= np.abs(d.sum(axis=0)) * (1 - 1e-9)  # [draws, K]
    p = np.ones((m, m))
    p[first, second] = p[second, first] = (1 + reached.sum(axis=0)) / (draws + 1)
    return p


def pareto(costs: ArrayLike) -> Flags:
    """Rows that no other row is as good as in every column and better in one; low is good. [M, K] -> [M]"""
    table = np.asarray(costs, float)
    no_worse = (table[:, None] <= table).all(axis=-1)  # [M, M] row against column
    better = (table[:, None] < table).any(axis=-1)
    beaten: Flags = np.any(no_worse & better, axis=0)
    return ~beaten


def resampled(values: Floats, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Sums over N rows drawn with replacement, [N, C] -> [draws, C]; one N and seed always draw the same rows."""
    n, rng = len(values), np.random.default_rng(seed)
    out = np.empty((draws, values.shape[1]))
    step = max(1, _AT_ONCE // max(n, 1))
    for first in range(0, draws, step):
        size = min(step, draws - first)
        picked = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(picked.ravel(), minlength=size * n).reshape(size, n)
        out[first : first + size] = counts @ values
    return out


@dataclass(frozen=True)
class Comparison:
    """Models of a backtest against each other in one metric.

    models: M, best first · metric, scores: [M] · p: [M, M] of the difference of each pair, valid together · ranks:
    Friedman's, over the same blocks; None for fewer than two · blocks: what was taken as independent, "series" or
    "windows".
    """

    models: tuple[str, ...]
    metric: str
    scores: Floats
    p: Floats
    ranks: Ranks | None
    blocks: str
    level: float = LEVEL

    @property
    def with_best(self) -> Flags:
        """Models whose difference from the first one may be chance, itself included; [M]."""
        return self.p[0] > 1 - self.level if len(self.p) else np.zeros(0, bool)


def compare(losses: Floats, models: tuple[str, ...], metric: str, apart: int | None = None) -> Comparison:
    """All models on the same blocks [N, M]. `apart` is how many windows overlap where windows are the blocks."""
    scores = losses.mean(axis=0) if len(losses) else np.full(len(models), np.nan)
    order = np.argsort(scores, kind="stable")
    losses, names = losses[:, order], tuple(models[k] for k in order)
    n, m = losses.shape
    ranks = friedman(losses) if n > 1 and m > 1 else None
    p = np.ones((m, m))
    if n > 1 and m > 1:
        p = all_pairs(losses) if apart is None else _over_windows(losses, apart)
    return Comparison(names, metric, scores[order], p, ranks, "series" if apart is None else "windows")


def _over_windows(losses: Floats, apart: int) -> Floats:
    m = losses.shape[1]
    first, second = np.triu_indices(m, 1)
    found = holm(diebold_mariano(losses[:, first].T, losses[:, second].T, apart).p)
    p = np.ones((m, m))
    p[first, second] = p[second, first] = found
    return p
