"""Scores as sums over cells (a series in a window), which add up from part to part of a backtest.

`cells` reads a part, `sums` adds cells up by group, `ratios` turns sums into metrics. Because a metric is a ratio of
sums, drawing series again for a confidence interval is a product of counts and sums, too (`confidence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from forecastkit.data.panel import Floats
from forecastkit.evaluation import metrics
from forecastkit.evaluation.comparison import FEW, resampled

SCORES = tuple(metrics.METRICS)
COLUMNS = frozenset({*SCORES, "cells"})  # of what `ratios` makes
_POOLED = [
    *("rows", "y", "absolute", "signed", "absolute_mean", "squared"),
    *("pinball", "wis", "crps", "inside", "width"),
]
_MEANS = ["mase", "scaled", "rmsse", "smape", "cells"]
_CONFIDENCE = ["model", "metric", "value", "low", "high"]
# What each metric that can be averaged over series is the ratio of.
LOSSES = {
    "mase": ("mase", "scaled"),
    "rmsse": ("rmsse", "scaled"),
    "smape": ("smape", "cells"),
    "wape": ("absolute", "y"),
    "wql": ("pinball", "y"),
    "mae": ("absolute", "rows"),
}


def cells(table: pa.Table, model: str, keys: Sequence[str]) -> pd.DataFrame:
    """Sums over each cell of a part: one row for each series, window and group of `keys`."""
    frame = table.to_pandas()
    frame = frame[frame["y"].notna()]
    names = [name for name in frame.columns if name[:1] == "q" and name[1:2].isdigit()]
    y, mean = frame["y"], frame["mean"]
    median = frame["q0.5"] if "q0.5" in names else mean
    terms: dict[str, Any] = {
        "rows": 1.0,
        "y": y.abs(),
        "absolute": (median - y).abs(),
        "signed": mean - y,
        "absolute_mean": (mean - y).abs(),
        "squared": (mean - y) ** 2,
        "relative": metrics.relative_error(y, median),
        "absolute_scale": frame["absolute_scale"],
        "squared_scale": frame["squared_scale"],
        **_of_quantiles(y.to_numpy(), frame[names].to_numpy(), [float(name[1:]) for name in names]),
    }
    groups = frame[["series", "window", *(k for k in keys if k not in ("model", "series", "window"))]]
    groups = groups.assign(model=model)
    by = list(groups.columns)
    totals = groups.assign(**terms).groupby(by, sort=False, observed=True)[list(terms)].sum(min_count=1).reset_index()
    return totals.assign(series=totals["series"].astype(str))


def _of_quantiles(y: Floats, quantiles: Floats, levels: Sequence[float]) -> dict[str, Any]:
    """The terms that look at quantiles [R, Q], NaN without any."""
    names = ("pinball", "wis", "crps", "inside", "width")
    if not levels:
        return dict.fromkeys(names, np.nan)
    weights = (np.full(len(levels), 1 / len(levels)), metrics.interval_weights(levels), metrics.crps_weights(levels))
    losses = [metrics.pinball_sum(y, quantiles, levels, w) for w in weights]
    low, high = quantiles[:, 0], quantiles[:, -1]
    outer = [(y >= low) & (y <= high), high - low] if len(levels) > 1 else [np.nan, np.nan]
    return dict(zip(names, [*losses, *outer], strict=True))


def reached(table: pa.Table, model: str) -> pd.DataFrame:
    """Counts of actuals below and at most at each quantile, level 1 included: model, level, below, at_most, rows."""
    y = table["y"].to_numpy()
    names = [name for name in table.column_names if name[:1] == "q" and name[1:2].isdigit()]
    rows = int(np.isfinite(y).sum())
    counts = [(float(n[1:]), (y < table[n].to_numpy()).sum(), (y <= table[n].to_numpy()).sum(), rows) for n in names]
    counts += [(1.0, rows, rows, rows)] if names else []
    return pd.DataFrame(counts, columns=["level", "below", "at_most", "rows"]).assign(model=model)


def sums(cells: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """What groups add up from their cells. A scale is constant in a cell, so its sum there is rows x scale."""
    mase = cells["absolute"] / cells["absolute_scale"].where(cells["absolute_scale"] > 0)
    rmsse = (cells["squared"] / cells["squared_scale"].where(cells["squared_scale"] > 0)) ** 0.5
    means: dict[str, Any] = {
        "mase": mase.fillna(0.0),
        "scaled": mase.notna().astype(float),
        "rmsse": rmsse.fillna(0.0),
        "smape": cells["relative"] / cells["rows"],
        "cells": 1.0,
    }
    return cells.assign(**means).groupby(list(keys), sort=False)[[*_POOLED, *_MEANS]].sum(min_count=1)


def none(keys: Sequence[str]) -> pd.DataFrame:
    """The sums of nothing."""
    index = pd.MultiIndex.from_tuples([], names=list(keys)) if len(keys) > 1 else pd.Index([], name=keys[0])
    return pd.DataFrame(columns=[*_POOLED, *_MEANS], index=index, dtype=float)


def ratios(total: pd.DataFrame) -> pd.DataFrame:
    """Metrics from sums; NaN where the denominator is zero."""
    if total.empty:
        return pd.DataFrame(columns=[*SCORES, "cells"], index=total.index)
    volume, scaled = total["y"].where(total["y"] > 0), total["scaled"].where(total["scaled"] > 0)
    columns = {
        "mase": total["mase"] / scaled,
        "rmsse": total["rmsse"] / scaled,
        "wape": total["absolute"] / volume,
        "smape": total["smape"] / total["cells"],
        "bias": total["signed"] / volume,
        "wql": 2 * total["pinball"] / volume,
        "coverage": total["inside"] / total["rows"],
        "mae": total["absolute"] / total["rows"],
        "rmse": np.sqrt(total["squared"] / total["rows"]),
        "width": total["width"] / total["rows"],
        "wis": total["wis"] / total["rows"],
        "crps": total["crps"] / total["rows"],
        "cells": total["cells"].astype(int),
    }
    return pd.DataFrame(columns)


def losses(total: pd.DataFrame, metric: str, models: Sequence[str]) -> Floats:
    """What each block adds to a metric, from sums by model and block: [N, M], its mean over blocks is the metric.

    Blocks in which the metric is undefined are left out.
    """
    if not len(models):
        return np.empty((0, 0))
    tables = [total[name].unstack("model").reindex(columns=list(models)) for name in LOSSES[metric]]
    top, bottom = (table.to_numpy(float) for table in tables)  # [N, M]
    defined = np.isfinite(top).all(axis=1) & (bottom > 0).all(axis=1)
    top, bottom = top[defined], bottom[defined]
    return top / bottom.mean(axis=0) if len(top) else top


def drawn(total: pd.DataFrame, draws: int, seed: int = 0) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Metrics of each model from sums by model and series: a row of all series, and one a draw of series.

    Series are drawn whole, with all their windows and steps, the same ones for every model.
    """
    wide = total.unstack("model")  # [N, C * M]
    values, models, columns = wide.to_numpy(float), list(total.index.unique("model")), list(total.columns)
    tables = (pd.DataFrame(t, columns=wide.columns) for t in (values.sum(axis=0)[None], resampled(values, draws, seed)))
    value, spread = ({m: ratios(pd.DataFrame({c: t[c, m] for c in columns})) for m in models} for t in tables)
    return value, spread


def confidence(total: pd.DataFrame, baseline: str | None, level: float, draws: int) -> pd.DataFrame:
    """Bootstrap confidence intervals from sums by model and series: model, metric, value, low, high.

    Series are drawn as `drawn` says; the interval is the percentile one. Efron & Tibshirani (1993), "An introduction to
    the bootstrap", chapter 13; Davison & Hinkley (1997), "Bootstrap methods and their application", section 3.8, for
    drawing clusters. Skill is 1 - MASE / the baseline's. Fewer than ten series have no interval (NaN): it would be far
    too narrow.
    """
    models = list(total.index.unique("model"))
    if not models:
        return pd.DataFrame(columns=_CONFIDENCE)
    value, spread = drawn(total, draws)
    rows = []
    for model in models:
        for scores in (value, spread):
            reference = np.nan if baseline is None else scores[baseline]["mase"]
            scores[model]["skill"] = 1 - scores[model]["mase"] / reference
        bounds = spread[model].quantile([(1 - level) / 2, (1 + level) / 2])
        bounds = bounds if len(total.index.unique("series")) >= FEW else bounds * np.nan
        for metric in (*SCORES, "skill"):
            low, high = bounds[metric]
            row = {"model": model, "metric": metric, "value": value[model][metric].iloc[0], "low": low, "high": high}
            rows.append(row)
    return pd.DataFrame(rows, columns=_CONFIDENCE)
