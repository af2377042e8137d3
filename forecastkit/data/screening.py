"""A first look at a panel: what a person should know before forecasting it."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecastkit.data.panel import Panel


def screen(panel: Panel) -> dict[str, Any]:
    """Facts of a panel as plain values: shape, frequency, span, gaps, lengths, zeros, negatives, odd series."""
    lengths, season = panel.lengths, panel.season
    seen = ~np.isnan(panel.values)
    first, last = panel.calendar.texts(np.array([panel.starts.min(), panel.ends.max()]))
    low, high = (reduce(panel.values, panel.offsets[:-1]) for reduce in (np.fmin.reduceat, np.fmax.reduceat))  # [N]
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
        "all_zero_series": int(((low == 0) & (high == 0)).sum()),
        "constant_series": int((low == high).sum()),
        "unavailable": 0 if panel.available is None else int((~panel.available).sum()),
        "known": list(panel.known.names),
        "past": list(panel.past.names),
        "static": list(panel.static.names),
        "fingerprint": panel.fingerprint,
    }
