"""Fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.panel import Panel

ROOT = Path(__file__).parent.parent
# Before torch is imported, which reads it then: the workers of a run share the cores, as `make test` says too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before MLflow is imported, which reads them then: nothing is sent anywhere, and no bars.
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


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


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of an MLflow store without runs; made once, as its migrations take seconds."""
    pytest.importorskip("mlflow")
    from forecastkit.tracking.place import Place

    home = tmp_path_factory.mktemp("mlflow")
    assert Place.at(home=home).client is not None
    return home / "mlflow.db"


@pytest.fixture
def home(empty_store: Path, tmp_path: Path) -> Path:
    """The folder .forecastkit with an empty store."""
    folder = tmp_path / ".forecastkit"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder
