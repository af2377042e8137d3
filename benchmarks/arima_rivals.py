"""The worker of benchmarks/arima.py, which runs in the rivals' environment and imports nothing of forecastkit.

Its first line on stdout holds the rivals' versions. Then each line on stdin is a series to fit and forecast, {"model",
"order", "seasonal", "season", "horizon", "y"}, and is answered by {"cpu_s", "wall_s", "mean"}, with "error" in place of
a mean where the rival fails. Each model is fitted once before its first timing.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np

LEVEL = 80  # per cent, the interval that all give
LIBRARIES = ("statsforecast", "statsmodels", "pmdarima")
FOREIGN = (ValueError, RuntimeError, ArithmeticError, IndexError)  # what numeric libraries raise


def arima(y: Any, asked: dict[str, Any]) -> Any:
    from statsforecast.models import ARIMA

    model = ARIMA(tuple(asked["order"]), season_length=asked["season"], seasonal_order=tuple(asked["seasonal"]))
    return model.forecast(y=y, h=asked["horizon"], level=[LEVEL])["mean"]


def auto_arima(y: Any, asked: dict[str, Any], **options: Any) -> Any:
    from statsforecast.models import AutoARIMA

    model = AutoARIMA(season_length=asked["season"], **options)
    return model.forecast(y=y, h=asked["horizon"], level=[LEVEL])["mean"]


def auto_arima_approximate(y: Any, asked: dict[str, Any]) -> Any:
    """The search compares models by conditional sums of squares, only the last is fitted by maximum likelihood."""
    return auto_arima(y, asked, approximation=True)


def sarimax(y: Any, asked: dict[str, Any], **options: Any) -> Any:
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    model = SARIMAX(y, order=tuple(asked["order"]), seasonal_order=(*asked["seasonal"], asked["season"]), **options)
    forecast = model.fit(disp=False).get_forecast(asked["horizon"])
    forecast.conf_int(alpha=1 - LEVEL / 100)
    return forecast.predicted_mean


def sarimax_tuned(y: Any, asked: dict[str, Any]) -> Any:
    """On the differences, which makes the state much smaller; the forecast is then summed up by hand."""
    ahead = sarimax(y, asked, simple_differencing=True, concentrate_scale=True)
    return summed(ahead, y, asked["order"][1], asked["seasonal"][1], asked["season"])


def summed(ahead: Any, y: Any, d: int, seasonal: int, season: int) -> Any:
    """Forecasts of y from those of its differences; [H] -> [H]."""
    weights = np.ones(1)  # of y at lags 0, 1 and so on in a difference
    for lag in [1] * d + [season] * seasonal:
        weights = np.convolve(weights, np.r_[1.0, np.zeros(lag - 1), -1.0])
    path = list(y)
    for change in ahead:
        path.append(change - weights[:0:-1] @ path[len(path) - len(weights) + 1 :])
    return np.array(path[len(y) :])


def pmdarima_auto(y: Any, asked: dict[str, Any]) -> Any:
    import pmdarima

    model = pmdarima.auto_arima(y, m=asked["season"], stepwise=True, suppress_warnings=True, error_action="ignore")
    return model.predict(asked["horizon"], return_conf_int=True, alpha=1 - LEVEL / 100)[0]


MODELS = {
    "statsforecast ARIMA": arima,
    "statsforecast AutoARIMA": auto_arima,
    "statsforecast AutoARIMA, approximation=True": auto_arima_approximate,
    "statsmodels SARIMAX": sarimax,
    "statsmodels SARIMAX, tuned": sarimax_tuned,
    "pmdarima auto_arima": pmdarima_auto,
}


def answer(asked: dict[str, Any], warm: set[str]) -> dict[str, Any]:
    model, y = MODELS[asked["model"]], np.array(asked["y"])
    if asked["model"] not in warm:
        warm.add(asked["model"])
        timed(model, y[-5 * asked["season"] :], asked)
    return timed(model, y, asked)


def timed(model: Any, y: Any, asked: dict[str, Any]) -> dict[str, Any]:
    cpu, wall, result = time.process_time(), time.perf_counter(), {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # here, as statsmodels turns its own on when it is imported
            result["mean"] = np.asarray(model(y, asked), float).tolist()
    except FOREIGN as error:
        result["error"] = f"{type(error).__name__}: {error}"
    return result | {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}


def main() -> None:
    # Answers go out by a descriptor of their own, so that what a library prints can't come between them.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({name: version(name) for name in LIBRARIES}), file=out, flush=True)
    warm: set[str] = set()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), warm)), file=out, flush=True)


if __name__ == "__main__":
    main()
