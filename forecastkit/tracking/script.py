"""MLflow keeps this file beside a saved model and runs it to load that: models from code, no pickle."""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class ForecastModel(PythonModel):
    """A fitted forecaster behind MLflow's interface; `forecastkit.tracking.bundle.answer` says what it takes."""

    def load_context(self, context: PythonModelContext) -> None:
        from forecastkit.models import restore

        self.fitted = restore(context.artifacts["bundle"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        from forecastkit.tracking.bundle import answer

        return answer(self.fitted, model_input, **(params or {}))


set_model(ForecastModel())
