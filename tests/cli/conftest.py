"""Running the command as a person does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastkit.cli import run


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """`command("check", "x.csv")` in an empty folder, which is left empty of anything not asked for."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Done:
        capfd.readouterr()
        code = run([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return call


@pytest.fixture
def demand(tmp_path: Path) -> Path:
    """A CSV of three series with a weekly season, a price, and a store."""
    rng = np.random.default_rng(1)
    days = pd.date_range("2024-01-01", periods=90)
    frames = []
    for name in ("milk", "bread, rye", "🧀"):
        price = np.where(rng.random(90) < 0.2, 0.8, 1.0)
        y = np.round(20 + 8 * (days.day_of_week >= 5) + 15 * (price < 1) + rng.normal(0, 1, 90), 2)
        frames.append(pd.DataFrame({"unique_id": name, "ds": days, "y": y, "price": price, "store": "A"}))
    file = tmp_path / "demand.csv"
    pd.concat(frames).to_csv(file, index=False)
    return file
