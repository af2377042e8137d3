"""Runs and models in MLflow; the only place that knows it.

From bottom to top: `records` (what a command found, on disk; it needs no MLflow), `place` (which server or file, and
its errors), `bundle` (a saved model as MLflow loads it), `registry` (versions of a model and who is champion),
`sending` (from the disk to the server).
"""

from __future__ import annotations

import importlib.util
import sys

from forecastkit.errors import MissingExtraError

# Looked for and not imported, which takes seconds that only the process which sends should spend. A run has its page.
for _name in ("mlflow", "matplotlib", "jinja2"):
    if sys.modules.get(_name, ...) is None or importlib.util.find_spec(_name) is None:
        raise MissingExtraError("tracking", "tracking")

# What MLflow should be told by the environment, unless a person says otherwise.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
