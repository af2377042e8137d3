"""How much better one model of a backtest is than another, with the interval that chance leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from forecastkit.evaluation import scores
from forecastkit.evaluation.comparison import FEW
from forecastkit.evaluation.report import Report

if TYPE_CHECKING:
    import pandas as pd

_DRAWS = 2000
_LEVEL = 0.95
_AGREE = 6  # windows without any difference between them: fewer do so by chance (two-sided sign test at 5 %)


@dataclass(frozen=True)
class Gain:
    """The share by which a metric is lower than the other model's, and the ends of its 95 % interval.

    They are infinite where series and windows are too few to tell anything.
    """

    value: float
    low: float
    high: float

    def between(self, share: Callable[[float], str]) -> str:
        """The interval in words, its ends as `share` writes them."""
        if np.isinf([self.low, self.high]).any():
            return "no interval: series and windows are too few"
        return f"95 % interval {share(self.low)} to {share(self.high)}"


def gain(report: Report, by: str, base: str, other: str, *, seed: int = 0) -> Gain:
    """What `other` gains over `base` in the metric `by`: a percentile bootstrap over series.

    Series are drawn whole, with all their windows, and the same for both models, as errors of one series go together.
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13. Of fewer than ten series the windows are
    the blocks, and the interval is the jackknife's.
    """
    total = report.sums(["model", "series"]).loc[list(dict.fromkeys([base, other]))]
    if len(total.index.unique("series")) < FEW:
        return _over_windows(report, by, base, other)
    whole, drawn = (_share(found[base][by], found[other][by]) for found in scores.drawn(total, _DRAWS, seed))
    return Gain(float(whole.iloc[0]), float(drawn.quantile((1 - _LEVEL) / 2)), float(drawn.quantile((1 + _LEVEL) / 2)))


def _over_windows(report: Report, by: str, base: str, other: str) -> Gain:
    """Student's interval around the jackknife of windows; those that overlap count as one.

    Tukey (1958), as in Efron & Tibshirani (1993), chapter 11.
    """
    total = report.sums(["model", "window"]).loc[list(dict.fromkeys([base, other]))]
    windows, plan = list(total.index.unique("window")), report.head["plan"]

    def value(*left_out: int) -> float:
        kept = total[~total.index.get_level_values("window").isin(left_out)]
        found = scores.ratios(kept.groupby(level="model").sum(min_count=1))[by]
        return float(_share(found.loc[[base]].set_axis([0]), found.loc[[other]].set_axis([0])).iloc[0])

    whole, n = value(), len(windows)
    if not whole:  # the same forecasts
        return Gain(0.0, 0.0, 0.0)
    blocks = n // -(-plan["horizon"] // plan["step"])
    unknown = Gain(whole, *((-np.inf, np.inf) if np.isfinite(whole) else (np.nan, np.nan)))
    if blocks < 2:
        return unknown
    pseudo = n * whole - (n - 1) * np.array([value(window) for window in windows])
    error = float(np.sqrt(pseudo.var(ddof=1) / blocks))  # NaN where all demand is in one window
    if not np.isfinite(error) or (blocks < _AGREE and error < 1e-12 * abs(whole)):
        return unknown
    half = error * float(stats.t.ppf((1 + _LEVEL) / 2, blocks - 1))
    return Gain(whole, whole - half, whole + half)


def _share(before: pd.Series, after: pd.Series) -> pd.Series:
    """NaN where a model has no such score; nothing is gained over a score of zero."""
    return (1 - after.abs() / before.abs().where(before != 0)).where(before != 0, 0.0)
