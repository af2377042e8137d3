"""Runs and models in MLflow; the only place that knows it.

From bottom to top: `place` (which server or file, and its errors), `bundle` (a saved model as MLflow loads it),
`registry` (versions of a model and who is champion), `records` (what a command found, on disk and then sent).
"""

from __future__ import annotations

from forecastkit.errors import MissingExtraError

try:
    import mlflow as mlflow
except ImportError as error:
    raise MissingExtraError("tracking", "tracking") from error
