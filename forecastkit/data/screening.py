"""A first look at a panel: what a person should know before forecasting it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from forecastkit.data.panel import Panel
from forecastkit.errors import counted


def screen(panel: Panel) -> dict[str, Any]:
    """Facts of a panel as plain values: shape, frequency, span, gaps, lengths, zeros, negatives, odd series, columns.

    text_categories: how many texts each column of text has · missing_cells: how many each column has that has any,
    periods without a row included, and one a series in a static column.
    """
    lengths, season = panel.lengths, panel.season
    seen = ~np.isnan(panel.values)
    first, last = panel.calendar.texts(np.array([panel.starts.min(), panel.ends.max()]))
    low, high = (reduce(panel.values, panel.offsets[:-1]) for reduce in (np.fmin.reduceat, np.fmax.reduceat))  # [N]
    blocks = (panel.known, panel.past, panel.static)
    missing = {name: int(n) for b in blocks for name, n in zip(b.names, np.isnan(b.values).sum(axis=0), strict=True)}
    holes = np.add.reduceat(~seen, panel.offsets[:-1])
    return {
        "series": len(panel),
        "periods": len(panel.values),
        "freq": panel.freq,
        "season": season,
        "first": first,
        "last": last,
        "shortest": int(lengths.min()),
        "median_length": float(np.median(lengths)),
        "longest": int(lengths.max()),
        "under_two_seasons": int((lengths < 2 * season).sum()),
        "ends_apart": bool((panel.ends != panel.ends[0]).any()),
        "gaps": int((~seen).sum()),
        "series_with_gaps": int((holes > 0).sum()),
        "zeros": int((panel.values == 0).sum()),
        "zero_share": round(float((panel.values[seen] == 0).mean()), 4),
        "negatives": int((panel.values < 0).sum()),
        "series_with_negatives": int((low < 0).sum()),
        "all_zero_series": int(((low == 0) & (high == 0)).sum()),
        "constant_series": int((low == high).sum()),
        "unavailable": 0 if panel.available is None else int((~panel.available).sum()),
        "known": list(panel.known.names),
        "past": list(panel.past.names),
        "static": list(panel.static.names),
        "text_categories": {name: len(texts) for b in blocks for name, texts in b.categories.items()},
        "missing_cells": {name: n for name, n in missing.items() if n},
        "fingerprint": panel.fingerprint,
    }


def negatives(panel: Panel) -> str:
    """What to say of demand below zero, or nothing."""
    below = panel.values < 0
    if not below.any():
        return ""
    where = f"{counted(int(below.sum()), 'period')} of {len(panel.holding(below)):,} series"
    return f"negatives: {where}; they count as they are, and forecasts may fall below zero too"


def in_words(found: Mapping[str, Any]) -> list[list[str]]:
    """What `screen` found, as a person reads it: what, and its value."""
    return [[name.replace("_", " "), _words(value)] for name, value in found.items()]


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return _words([f"{name} ({count:,})" for name, count in value.items()])
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)
