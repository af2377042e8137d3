"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.panel import Panel

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real demand data; a test that needs it is skipped where it isn't."""
    folder = Path(os.environ.get("FORECASTKIT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the folder of shared data sets is not here; set FORECASTKIT_DATA")
    return folder


@pytest.fixture
def weekly_shop() -> Panel:
    """Three series of daily demand with a weekly season, noise, and different lengths; 120 to 140 days."""
    rng = np.random.default_rng(7)
    frames = []
    for k, length in enumerate((120, 130, 140)):
        days = pd.date_range("2024-01-01", periods=length)
        y = (k + 1) * (20 + 6 * np.sin(2 * np.pi * days.day_of_week / 7)) + rng.normal(0, 1.5, length)
        frames.append(pd.DataFrame({"unique_id": f"shop {k}", "ds": days, "y": y}))
    return Panel.from_frame(pd.concat(frames))
