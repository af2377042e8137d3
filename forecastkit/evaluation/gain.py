"""How much better one model of a backtest is than another, with the interval that chance leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forecastkit.evaluation import scores
from forecastkit.evaluation.report import Report

if TYPE_CHECKING:
    import pandas as pd

_DRAWS = 2000


@dataclass(frozen=True)
class Gain:
    """The share by which a metric is lower than the other model's, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def gain(report: Report, by: str, base: str, other: str, *, seed: int = 0) -> Gain:
    """What `other` gains over `base` in the metric `by`: a percentile bootstrap over series.

    Series are drawn whole, with all their windows, and the same for both models, as errors of one series go together.
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    total = report.sums(["model", "series"]).loc[list(dict.fromkeys([base, other]))]
    whole, drawn = (_share(found[base][by], found[other][by]) for found in scores.drawn(total, _DRAWS, seed))
    return Gain(float(whole.iloc[0]), float(drawn.quantile(0.025)), float(drawn.quantile(0.975)))


def _share(before: pd.Series, after: pd.Series) -> pd.Series:
    """NaN where a model has no such score; nothing is gained over a score of zero."""
    return (1 - after.abs() / before.abs().where(before != 0)).where(before != 0, 0.0)
