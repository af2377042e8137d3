"""A saved model in the form in which MLflow loads and serves it: our folder, and a script that knows how to read it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from numpy.typing import NDArray

from forecastkit import models, store
from forecastkit.data.panel import Panel
from forecastkit.errors import DataError
from forecastkit.forecaster import Fitted
from forecastkit.tracking.place import Place, answering

if TYPE_CHECKING:
    import pandas as pd

_LEVELS = (0.1, 0.5, 0.9)
_AVAILABLE = "available"  # what that column is called here, as it is in `Panel.to_frame`


def write(folder: Path, target: Path, horizon: int) -> None:
    """Write the model in `folder` to `target` as MLflow wants it; `horizon` is what it forecasts unless asked."""
    fitted = models.restore(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of type hints that only MLflow knows, and of SQLAlchemy's plans
        mlflow.pyfunc.save_model(
            path=str(target),
            python_model=str(Path(__file__).with_name("script.py")),
            artifacts={"bundle": str(folder)},
            signature=signature(fitted, horizon),
            pip_requirements=_requirements(),
        )


def _requirements() -> list[str]:
    """What loading needs; given, because MLflow would else find it out by loading the model in a fresh process."""
    return [f"{name}=={found}" for name, found in {**store.versions(), "mlflow": mlflow.__version__}.items()]


def signature(fitted: Fitted, horizon: int) -> ModelSignature:
    """Columns of the table that goes in, of the one that comes out, and the parameters with their defaults."""
    history = fitted.history
    inputs = [_column("unique_id", DataType.string), _column("ds", DataType.datetime), _column("y", DataType.double)]
    for block in (history.known, history.past, history.static):
        kinds = {name: DataType.string if name in block.categories else DataType.double for name in block.names}
        inputs += [_column(name, kind, required=False) for name, kind in kinds.items()]
    if history.available is not None:
        inputs.append(_column(_AVAILABLE, DataType.double, required=False))
    levels = list(_LEVELS) if fitted.recipe.probabilistic else []
    outputs = [*inputs[:2], _column("mean", DataType.double)]
    outputs += [_column(f"q{level:g}", DataType.double, required=False) for level in levels]
    asked = [ParamSpec("horizon", DataType.long, horizon), ParamSpec("levels", DataType.double, levels, (-1,))]
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema(asked))


def _column(name: str, kind: DataType, *, required: bool = True) -> ColSpec | TensorSpec:
    return ColSpec(kind, name, required=required)


def answer(fitted: Fitted, table: pd.DataFrame, horizon: int, levels: Sequence[float] = ()) -> pd.DataFrame:
    """Forecast after `table`: newer demand, and below it, without `y`, the plan of known covariates.

    An empty table is answered from what the model was fitted on. Raises `DataError` like `update` and `predict`.
    """
    known = fitted.history.known.names
    planned = _planned(table) if known else np.zeros(len(table), bool)
    plan, newer = table[planned], table[~planned]
    if len(newer):
        fitted = fitted.update(_panel(fitted.history, newer))
    asked = tuple(levels) if fitted.recipe.probabilistic else ()
    future = plan[["unique_id", "ds", *known]] if len(plan) else None
    return fitted.predict(int(horizon), levels=asked, future=future).to_frame()


def _planned(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows come after the last demand of their series, [rows]; one without demand before it is a gap."""
    table = table.reset_index(drop=True)  # two tables put together have labels twice
    last = table["ds"].where(table["y"].notna()).groupby(table["unique_id"]).transform("max")
    return np.asarray(table["y"].isna() & ~(table["ds"] <= last), bool)


def _panel(history: Panel, table: pd.DataFrame) -> Panel:
    roles: dict[str, Any] = {role: getattr(history, role).names for role in ("known", "past", "static")}
    needed = [name for names in roles.values() for name in names]
    if history.available is not None:
        roles["available"] = _AVAILABLE
        needed.append(_AVAILABLE)
    if missing := [name for name in needed if name not in table]:
        raise DataError(f"newer demand needs the columns that the model was fitted with: {', '.join(missing)}")
    return Panel.from_frame(table, freq=history.freq, **roles)


def fetch(place: Place, source: str, target: Path) -> Path:
    """Our folder of the model that a version points at, copied to `target`."""
    with answering(place.uri):
        mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(target), tracking_uri=place.uri)
    (head,) = target.rglob("model.json")
    return head.parent
