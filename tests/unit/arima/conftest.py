"""The M3 monthly series, where the data sets extra is installed."""

from __future__ import annotations

import numpy as np
import pytest

from forecastkit.data import datasets
from forecastkit.data.panel import Floats
from forecastkit.errors import MissingExtraError


@pytest.fixture(scope="session")
def m3_monthly() -> list[Floats]:
    """Every 20th series."""
    return _every(20)


@pytest.fixture(scope="session")
def m3_monthly_widely() -> list[Floats]:
    """Every fourth series, 357 of them."""
    return _every(4)


def _every(step: int) -> list[Floats]:
    """M3 monthly series without their test part."""
    try:
        panel = datasets.load("m3_monthly")
    except MissingExtraError as error:
        pytest.skip(str(error))
    return [np.array(panel.series(i)[:-18]) for i in range(0, len(panel), step)]
