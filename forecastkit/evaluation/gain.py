"""How much better one model of a backtest is than another, with the interval that chance leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forecastkit.data.panel import Floats
from forecastkit.evaluation.metrics import METRICS
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
    above, below = _sums(report, by, (base, other))  # [N, 2] each
    count, rng = len(above), np.random.default_rng(seed)
    even = np.full(count, 1 / count)
    drawn = [_share(by, rng.multinomial(count, even), above, below) for _ in range(_DRAWS)]
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return Gain(_share(by, np.ones(count), above, below), float(low), float(high))


def _share(by: str, weights: Any, above: Floats, below: Floats) -> float:
    total = weights @ below  # [2]
    mean = np.divide(weights @ above, total, out=np.full(2, np.nan), where=total > 0)
    scores = np.sqrt(mean) if by == "rmse" else np.abs(mean)
    return float(1 - scores[1] / scores[0]) if scores[0] > 0 else 0.0


def _sums(report: Report, by: str, pair: tuple[str, str]) -> tuple[Floats, Floats]:
    """What the metric is the ratio of, a row for each series and a column for each model."""
    table = report.scores(by=["model", "series"]).set_index(["series", "model"])

    def column(values: pd.Series) -> Floats:
        return np.array(values.unstack("model")[list(pair)], np.float64)

    cells, value, mae = column(table["cells"]), column(table[by]), column(table["mae"])
    if not METRICS[by].pooled:
        return np.nan_to_num(value) * cells, np.isfinite(value) * cells
    if by in ("mae", "rmse"):
        return cells * (value if by == "mae" else value**2), cells
    volume = _volume(mae, column(table["wape"]))
    above = mae if by == "wape" else np.nan_to_num(value) * volume
    return above * cells, volume * cells


def _volume(mae: Floats, wape: Floats) -> Floats:
    """Demand per period, [N, 2], from WAPE = MAE / demand: 0 where a series had none."""
    known = np.divide(mae, wape, out=np.zeros_like(mae), where=wape > 0)
    return np.broadcast_to(known.max(axis=1, keepdims=True), mae.shape)
