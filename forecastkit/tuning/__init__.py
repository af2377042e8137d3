"""Searching a model's hyperparameters; the only place that knows Optuna."""

from __future__ import annotations

from forecastkit.errors import MissingExtraError

try:
    import optuna as optuna
except ImportError as error:
    raise MissingExtraError("tune", "tuning") from error

from forecastkit.tuning.search import Search, Tuned, space_of, tune

__all__ = ["Search", "Tuned", "space_of", "tune"]
