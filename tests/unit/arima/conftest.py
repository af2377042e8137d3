"""The M3 monthly series, where the data sets extra is installed."""

from __future__ import annotations

import make_arima
import pytest

from forecastkit.data.panel import Floats
from forecastkit.errors import MissingExtraError


@pytest.fixture(scope="session")
def m3_monthly() -> list[Floats]:
    """Every 20th series."""
    return _every(20)


@pytest.fixture(scope="session")
def m3_monthly_widely() -> list[Floats]:
    """Every fourth series, 357 of them."""
    return _every(make_arima.EVERY)


def _every(step: int) -> list[Floats]:
    try:
        return make_arima.m3_monthly(step)
    except MissingExtraError as error:
        pytest.skip(str(error))
