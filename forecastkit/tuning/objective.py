"""What a trial is worth: its backtest on the windows of the search, and what it costs where there is a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from forecastkit import recipes
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, DataError, FitError, closest
from forecastkit.evaluation import latency
from forecastkit.evaluation.backtesting import Run, backtest
from forecastkit.evaluation.metrics import COMPARABLE
from forecastkit.evaluation.splits import Plan, Window, windows
from forecastkit.forecaster import Forecaster
from forecastkit.tuning import studies
from forecastkit.tuning.space import Space

WORST = float("inf")  # of a recipe that can't be fitted
COSTS = ("fit_s", "predict_s", "peak_mb", "p95_ms")
_TIMED = 64  # series at most that a model is fitted on to measure how fast it answers


@dataclass(frozen=True)
class Objective:
    """Mean over windows of the metric `by`, the less the better; `budget` are the most that a recipe may cost.

    `order` is the one in which windows are tried: those of one season in a row would all speak for the same recipe.
    """

    space: Space
    panel: Panel
    plan: Plan
    by: str
    budget: Mapping[str, float]
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.by not in COMPARABLE:
            raise ConfigError(
                f"a search can't be by {self.by!r}{closest(self.by, COMPARABLE)}: {', '.join(COMPARABLE)}"
            )
        for name in self.budget:
            if name not in COSTS:
                raise ConfigError(f"there is no budget of {name!r}{closest(name, COSTS)}: {', '.join(COSTS)}")

    def __call__(self, trial: Any) -> float:
        """The score of a trial of Optuna's, which is told of every window; given up when it is surely no winner."""
        recipe = self.space.recipe(trial)
        trial.set_user_attr("recipe", recipes.label(recipe))
        tried, before, scores, costs = self.tried(recipe), self._before(trial), {}, []
        for k in self.order:
            scores[k], cost = (before[k], {}) if k in before else self.window(tried, k)
            costs.append(cost)
            if not np.isfinite(scores[k]):
                break
            trial.report(scores[k], step=k)
            if trial.number > 0 and trial.should_prune():
                break
        self._constrain(trial, recipe, costs)
        # The mean of what was seen instead of "pruned": the sampler learns from it.
        return float(np.mean(list(scores.values())))

    def _before(self, trial: Any) -> Mapping[int, float]:
        """Scores that the same recipe had in an earlier trial, by window; what it costs is always measured anew."""
        label = trial.user_attrs["recipe"]
        same = (t for t in studies.finished(trial.study) if t.user_attrs["recipe"] == label)
        return {} if self.budget else next((t.intermediate_values for t in same), {})

    def tried(self, recipe: Forecaster) -> Forecaster:
        """What is tried of a recipe: a draft, but itself where there is a budget for it."""
        return recipe if self.budget else recipe.draft

    def score(self, recipe: Forecaster) -> float:
        """Of the recipe itself on all windows."""
        return float(np.mean([self.window(recipe, k)[0] for k in self.order]))

    def window(self, recipe: Forecaster, index: int) -> tuple[float, dict[str, float]]:
        """Score and costs in one window."""
        cut = self._cut(index)
        reach = np.minimum(cut.lengths + self.plan.gap + self.plan.horizon, self.panel.lengths[cut.series])
        seen = self.panel.until(cut.series, reach)
        report = backtest(seen, {"tuned": recipe}, replace(self.plan, windows=1), run=Run(name="search"))
        row = report.scores().iloc[0]
        # Where a model fails the baseline stands in: one that failed everywhere would be scored as that.
        failed = len(report.failures) >= row["cells"]
        costs = dict(report.timings.iloc[0]) if self.budget else {}
        score = abs(float(row[self.by]))
        return (score if np.isfinite(score) and not failed else WORST), {
            k: float(costs[k]) for k in COSTS if k in costs
        }

    def _cut(self, index: int) -> Window:
        """A window that is scored; those to calibrate on stand before them."""
        return windows(self.panel, self.plan)[self.plan.calibrate + index]

    def _constrain(self, trial: Any, recipe: Forecaster, costs: list[dict[str, float]]) -> None:
        for name, bound in self.budget.items():
            measured = self.p95_ms(recipe) if name == "p95_ms" else max(cost[name] for cost in costs)
            trial.set_user_attr(name, measured)
            trial.set_constraint(name, measured - bound)

    def p95_ms(self, recipe: Forecaster) -> float:
        """How quickly the recipe's model answers, fitted on a few series of the first window."""
        cut = self._cut(0)
        few = np.linspace(0, len(cut.series) - 1, min(_TIMED, len(cut.series))).astype(int)
        train = self.panel.until(cut.series[few], cut.lengths[few])
        try:
            fitted = recipe.fit(train, horizon=self.plan.horizon)
        except (FitError, DataError):
            return WORST
        return latency.p95_ms(fitted, self.plan.horizon)
