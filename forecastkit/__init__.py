"""forecastkit: demand forecasting from a long table to an honest leaderboard.

The package is a house with floors, and imports only go down::

    errors                                      every error
    data         Panel, read                    a panel in good shape
    features                                    arrays from panels: windows, lags, dates, scaling
    forecaster   Forecaster, Fitted, Forecast   the interface that every model keeps
    recipes, store, execution, baseline         recipes as text, models on disk, where work runs
    compiled                                    numeric loops, compiled once a machine
    arima, nn, local, sarimax, learners         numeric cores: ARIMA panels, networks, series by series, regressors
    models       models, create, load, save     one file a model
    evaluation   backtest, Report               how good, and how fast
    testing                                     the contract, for models of your own
    tuning       tune                           hyperparameters, by backtests (Optuna)
    cli                                         the command `forecastkit`

    >>> import forecastkit as fk
    >>> panel = fk.read("dataset:demo")
    >>> report = fk.backtest(panel, ["naive", "seasonal_naive"], horizon=28)
    >>> report.leaderboard()["model"].tolist()
    ['seasonal_naive', 'naive']

Names are resolved on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forecastkit import errors, models
    from forecastkit.data.io import read
    from forecastkit.data.panel import Panel
    from forecastkit.evaluation.backtesting import Run, backtest
    from forecastkit.evaluation.report import Report
    from forecastkit.evaluation.splits import Plan
    from forecastkit.forecaster import Fitted, Forecast, Forecaster
    from forecastkit.models import create
    from forecastkit.models import restore as load
    from forecastkit.store import save
    from forecastkit.tuning.search import tune

__version__ = "0.1.0"
__all__ = [
    "Fitted",
    "Forecast",
    "Forecaster",
    "Panel",
    "Plan",
    "Report",
    "Run",
    "backtest",
    "create",
    "errors",
    "load",
    "models",
    "read",
    "save",
    "tune",
]

_HOMES = {
    "Fitted": ("forecaster", "Fitted"),
    "Forecast": ("forecaster", "Forecast"),
    "Forecaster": ("forecaster", "Forecaster"),
    "Panel": ("data.panel", "Panel"),
    "Plan": ("evaluation.splits", "Plan"),
    "Report": ("evaluation.report", "Report"),
    "Run": ("evaluation.backtesting", "Run"),
    "backtest": ("evaluation.backtesting", "backtest"),
    "create": ("models", "create"),
    "errors": ("errors", ""),
    "load": ("models", "restore"),
    "models": ("models", ""),
    "read": ("data.io", "read"),
    "save": ("store", "save"),
    "tune": ("tuning.search", "tune"),
}

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    home = importlib.import_module(f"{__name__}.{module}")
    value = getattr(home, attribute) if attribute else home
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
