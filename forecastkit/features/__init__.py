"""Arrays from panels: windows, lags and rolling statistics, dates, scaling, and all of them as one table.

Each feature is a small frozen value with `apply` and, where it makes sense, `invert`.
"""

from __future__ import annotations

from forecastkit.features.dates import Calendar, Fourier
from forecastkit.features.lags import Ewm, Lag, Rolling, Segments
from forecastkit.features.scaling import Log1p, MeanAbsolute, Scale, Standard, measure_panel
from forecastkit.features.table import Table, TableSpec, ahead, table
from forecastkit.features.windows import PanelWindows, Windows

__all__ = [
    "Calendar",
    "Ewm",
    "Fourier",
    "Lag",
    "Log1p",
    "MeanAbsolute",
    "PanelWindows",
    "Rolling",
    "Scale",
    "Segments",
    "Standard",
    "Table",
    "TableSpec",
    "Windows",
    "ahead",
    "measure_panel",
    "table",
]
