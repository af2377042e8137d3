"""The package as a whole: what it says of itself, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import forecastkit

HEAVY = ("torch", "prophet", "statsmodels", "mlflow", "optuna", "pandas", "lightgbm", "sklearn", "numpy", "numba")


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('MODULES ' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import forecastkit",
        "from forecastkit.cli import run\ntry: run(['--help'])\nexcept SystemExit: pass",
        "from forecastkit.cli import run\ntry: run(['backtest', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    assert not modules_after(code).intersection(HEAVY)


def test_listing_models_imports_none_of_them() -> None:
    loaded = modules_after("import forecastkit; forecastkit.models.available()")
    assert not loaded.intersection({"torch", "prophet", "lightgbm", "sklearn", "statsmodels", "numba"})


def test_every_public_name_is_there_and_documented() -> None:
    for name in forecastkit.__all__:
        assert getattr(forecastkit, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'panel'"):
        forecastkit.panel  # noqa: B018


def test_dir_lists_the_public_names() -> None:
    assert set(forecastkit.__all__) <= set(dir(forecastkit))
