"""Why the models of a backtest forecast what they do, found for its last window and kept in its folder.

A backtest keeps forecasts and no models, so a model that is to be explained is fitted once more at the last cutoff. Its
inputs are then made meaningless one by one (`forecastkit.evaluation.importance`), and it is asked what it has to say of
one series itself (`Fitted.explain`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, FitError, closest
from forecastkit.evaluation import records
from forecastkit.evaluation.attempts import fit_what_can_be
from forecastkit.evaluation.importance import Yardstick, importance
from forecastkit.evaluation.report import Report
from forecastkit.evaluation.splits import Plan, windows
from forecastkit.forecaster import Explanation, Fitted, Forecaster

if TYPE_CHECKING:
    import pandas as pd

BEST = "best"
_MOST = 300  # series that are asked: enough for bounds, and few enough for models that are fitted one by one


@dataclass(frozen=True, eq=False)
class _Scene:
    """A fitted model, and the series with the window that it is asked about at their end."""

    fitted: Fitted
    panel: Panel
    steps: int
    gap: int
    yardstick: Yardstick

    def importance(self) -> pd.DataFrame:
        return importance(self.fitted, self.panel, horizon=self.steps, gap=self.gap, yardstick=self.yardstick)

    def explanation(self, series: str) -> Explanation:
        """What the model says of a series itself, and of its forecast in the window."""
        known = len(self.panel.known) and "known" in self.fitted.recipe.uses
        lengths = self.panel.lengths - self.steps
        fitted = self.fitted.update(self.panel.cut(lengths))
        return fitted.explain(series, self.steps, future=self.panel.known_after(lengths, self.steps) if known else None)


def explain(report: Report, panel: Panel, recipes: Mapping[str, Forecaster], wanted: Iterable[str] = (BEST,)) -> None:
    """Find out why the models `wanted` forecast what they do in the last window, and keep it in the report's folder.

    `panel` and `recipes` are those of the backtest; "best" stands for the first of the leaderboard. Then
    `report.importance()` and `report.explanations()` tell it, and the page has it. Of more than 300 series that many
    are asked. Raises `ConfigError` for a model that is not there, `FitError` for one that can't be fitted.
    """
    best = str(report.leaderboard()["model"].iloc[0])
    for label in dict.fromkeys(best if name == BEST else name for name in wanted):
        if label not in recipes:
            raise ConfigError(f"no model {label!r} in this backtest{closest(label, recipes)}: {', '.join(recipes)}")
        scene = _scene(panel, label, recipes[label], Plan(**report.head["plan"]))
        told = scene.explanation(_typical(report, label, scene.panel.ids))
        records.write_why(report.folder, label, scene.importance(), told)


def _scene(panel: Panel, label: str, recipe: Forecaster, plan: Plan) -> _Scene:
    """The model fitted at the last cutoff, on all series where it is one for all."""
    cut, steps = windows(panel, plan)[-1], plan.gap + plan.horizon
    whole = panel.lengths[cut.series] >= cut.lengths + steps
    series, lengths = cut.series[whole], cut.lengths[whole]
    few = np.unique(np.linspace(0, len(series) - 1, min(_MOST, len(series))).astype(np.int64))
    trained = np.arange(len(series)) if recipe.pooled else few
    train = panel.until(series[trained], lengths[trained])
    if plan.history is not None:
        train = train.tail(plan.history)
    attempt = fit_what_can_be(recipe, train, plan)
    if attempt.fitted is None:
        raise FitError("it can't be explained, as it failed on every series of the last window", model=label)
    asked = np.intersect1d(few, trained[attempt.kept])
    until = panel.until(series[asked], lengths[asked] + steps)
    yardstick = Yardstick.of(panel.until(series[asked], lengths[asked]), plan.season)  # of all the past, as records has
    return _Scene(
        attempt.fitted, until if plan.history is None else until.tail(plan.history + steps), steps, plan.gap, yardstick
    )


def _typical(report: Report, label: str, ids: tuple[str, ...]) -> str:
    """The series in the middle of the model's errors, of those with these ids."""
    ranked = report.worst(label, count=None)
    there = ranked.loc[ranked["series"].isin(ids) & ranked["mase"].notna(), "series"]
    return str(there.iloc[len(there) // 2]) if len(there) else ids[0]
