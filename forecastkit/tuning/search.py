"""Tuning: a search over backtests, and what it gained on windows that it never saw."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from forecastkit import execution, models, recipes
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.evaluation.backtesting import Run, backtest
from forecastkit.evaluation.gain import Gain, gain
from forecastkit.evaluation.report import Report
from forecastkit.evaluation.splits import Plan, windows
from forecastkit.forecaster import Forecaster, as_panel
from forecastkit.tuning import studies
from forecastkit.tuning.objective import Objective
from forecastkit.tuning.space import Space

logger = logging.getLogger(__name__)

DEFAULTS, TUNED = "defaults", "tuned"


@dataclass(frozen=True, kw_only=True)
class Search:
    """How to search.

    trials: recipes to try, the defaults first · timeout_s: begin no trial after so many seconds · by: the metric ·
    budget: the most that a recipe may cost, of fit_s and predict_s (a window), peak_mb, p95_ms (one series, one call) ·
    holdout: last windows that the search never sees; they say what it gained · jobs: processes; with one the search
    repeats exactly · storage: a file, or the URL of a database that several machines share (None: gone afterwards) ·
    name: of the study in it · resume: go on with that study · progress: called with (done, total, what).
    """

    trials: int = 50
    timeout_s: float | None = None
    by: str = "wape"
    budget: Mapping[str, float] = field(default_factory=dict)
    holdout: int = 2
    jobs: int = 1
    seed: int = 0
    storage: str | None = None
    name: str = "search"
    resume: bool = False
    progress: Callable[[int, int, str], None] | None = None

    def __post_init__(self) -> None:
        for name in ("trials", "holdout", "jobs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    recipe: the best on the windows of the search, which may be the defaults · scores: of both there · gain: on the
    untouched windows · report: the backtest of both on those · trials: every one that was finished, with the score of
    its draft where there is no budget (`Forecaster.draft`).
    """

    base: Forecaster
    recipe: Forecaster
    by: str
    scores: dict[str, float]
    gain: Gain
    report: Report = field(repr=False)
    trials: tuple[dict[str, Any], ...] = field(repr=False)
    kept_budget: bool = True

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        label, share = recipes.label(self.recipe), f"{100 * self.gain.value:+.1f} %"
        between = self.gain.between(lambda end: f"{100 * end:+.1f} %")
        if not self.kept_budget:
            return f"{self.base.name}: no recipe keeps the budget, the defaults stay"
        if self.recipe == self.base:
            return f"{self.base.name}: nothing was found that beats the defaults, they stay"
        if self.gain.low > 0:
            return f"{label} gains {share} in {self.by} on the untouched windows ({between})"
        if self.gain.high < 0:
            return f"{label} loses {share} in {self.by} on the untouched windows ({between}): keep the defaults"
        what = (
            "gains nothing that can be told from chance" if self.gain.value >= 0 else "does worse, perhaps by chance,"
        )
        return f"{label} {what} on the untouched windows: {share} in {self.by} ({between})"


def tune(
    panel: Panel,
    model: str | Forecaster,
    plan: Plan | None = None,
    *,
    search: Search | None = None,
    **options: Any,
) -> Tuned:
    """Search the hyperparameters of a model by backtests, and say what that gained on windows it never saw.

    `model` is a text or a recipe: what differs from the model's defaults stays as it is, the rest is searched. The
    `plan` (or `options`, its fields) is that of the search; its windows lie before the `search.holdout` last ones.
    Raises `ConfigError` for a model without a search space, `SeriesTooShortError` when no series is long enough.

        tune(panel, "gru", horizon=28, windows=4, search=Search(trials=30)).recipe
    """
    as_panel(panel)
    search = search or Search()
    if search.resume and search.storage is None:
        raise ConfigError("to resume a search, the storage that holds it is needed")
    plan = (plan or recipes.build(Plan, options, where="tune")).settled(panel)
    base = models.create(model, season=plan.season, seed=search.seed) if isinstance(model, str) else model
    objective = _objective(panel, base, plan, search)
    with TemporaryDirectory(prefix="forecastkit-") as scratch:
        place = search.storage or str(Path(scratch) / "study.log")
        study = studies.begin(place, search.name, _task(panel, base, plan, search), resume=search.resume)
        _work_off(study, objective, replace(search, storage=place))
        return _outcome(study, objective, panel, replace(plan, windows=search.holdout))


def space_of(base: Forecaster) -> Space:
    """What there is to search around a recipe; `ConfigError` where that is nothing."""
    space = Space(base)
    if not space.defaults:
        raise ConfigError(f"{recipes.label(base)} has nothing to search: no hyperparameters are left open")
    return space


def _objective(panel: Panel, base: Forecaster, plan: Plan, search: Search) -> Objective:
    space = space_of(base)
    first = windows(panel, replace(plan, windows=search.holdout))[plan.calibrate]
    early = panel.until(first.series, first.lengths)  # nothing in it is later than the first untouched cutoff
    windows(early, plan)  # raises here, before anything is begun, where series are too short
    order = np.random.default_rng(search.seed).permutation(plan.windows)
    return Objective(space, early, plan, search.by, dict(search.budget), tuple(order.tolist()))


def _task(panel: Panel, base: Forecaster, plan: Plan, search: Search) -> dict[str, Any]:
    """What a search that goes on must have in common with its beginning."""
    return {
        "data": panel.fingerprint,
        "model": repr(base),
        "plan": asdict(plan),
        "by": search.by,
        "budget": dict(search.budget),
        "holdout": search.holdout,
        "seed": search.seed,
    }


def _work_off(study: Study, objective: Objective, search: Search) -> None:
    """In line, or in processes; what those left undone is done here."""
    listed = studies.fill(study, search.trials, objective.space.defaults)
    if listed > search.trials:
        logger.warning("%d trials are on the list of this search: all are done, not %d", listed, search.trials)
    until = time.time() + (search.timeout_s if search.timeout_s is not None else float("inf"))
    begun = len(study.get_trials(deepcopy=False)) + studies.taken(study)
    share = partial(_share, search, objective, begun, until)
    name = objective.space.base.name

    def tick() -> None:
        if search.progress is not None:
            search.progress(len(studies.finished(study)), search.trials, name)

    if search.jobs > 1:
        execution.crew(share, search.jobs, tick)
    share(search.jobs, tick)


def _share(
    search: Search,
    objective: Objective,
    begun: int,
    until: float,
    number: int,
    tick: Callable[[], None] | None = None,
) -> None:
    """One process's share of the work."""
    seed = studies.seed_of(search.seed, begun, number, *studies.place_of(str(search.storage)))
    study = studies.reopened(str(search.storage), search.name, seed=seed)
    studies.work(study, objective, until, tick)


def _outcome(study: Study, objective: Objective, panel: Panel, untouched: Plan) -> Tuned:
    done = studies.finished(study)
    if not done:
        raise ConfigError("no trial was finished: give the search more time")
    kept = [trial for trial in done if studies.feasible(trial) and np.isfinite(trial.value or 0.0)]
    base, plain = objective.space.base, _of_defaults(done, objective)
    recipe, score = _winner(kept, objective) if kept else (base, plain)
    recipe, scores = _judged(recipe, {DEFAULTS: plain, TUNED: score}, objective)
    report = backtest(panel, {DEFAULTS: base, TUNED: recipe}, untouched, run=Run(name="untouched windows"))
    return Tuned(
        base=base,
        recipe=recipe,
        by=objective.by,
        scores=scores,
        gain=gain(report, objective.by, DEFAULTS, TUNED),
        report=report,
        trials=tuple(_row(trial) for trial in done),
        kept_budget=bool(kept) or not objective.budget,
    )


def _judged(recipe: Forecaster, scores: dict[str, float], objective: Objective) -> tuple[Forecaster, dict[str, float]]:
    """The winner with the scores of whole recipes; where it is better as a draft alone the defaults stay."""
    base = objective.space.base
    if objective.tried(base) == base:
        return recipe, scores
    plain = objective.score(base)
    score = plain if recipe == base else objective.score(recipe)
    if score > plain:
        recipe, score = base, plain
    return recipe, {DEFAULTS: plain, TUNED: score}


def _of_defaults(done: list[FrozenTrial], objective: Objective) -> float:
    """The defaults' score, measured here where the process that tried them was lost and time is up."""
    for trial in done:
        if trial.user_attrs[studies.SLOT] == 0:
            return _whole(trial, objective)
    return objective.score(objective.tried(objective.space.base))


def _winner(candidates: list[FrozenTrial], objective: Objective) -> tuple[Forecaster, float]:
    """The best recipe and its score on all windows: one that was given up early is scored on the rest first."""
    whole: dict[int, float] = {}

    def score(trial: FrozenTrial) -> float:
        return whole.get(trial.number, float(trial.value or 0.0))

    while (best := min(candidates, key=score)).number not in whole:
        whole[best.number] = _whole(best, objective)
    return objective.space.recipe(best), score(best)


def _whole(trial: FrozenTrial, objective: Objective) -> float:
    """The score on all windows, those before it was given up and the rest."""
    missing = [k for k in objective.order if k not in trial.intermediate_values]
    value = float(trial.value or 0.0)
    if not missing or not np.isfinite(value):
        return value
    tried = objective.tried(objective.space.recipe(trial))
    rest = [objective.window(tried, k)[0] for k in missing]
    return float(np.mean([*trial.intermediate_values.values(), *rest]))


def _row(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "trial": trial.user_attrs[studies.SLOT],
        "recipe": trial.user_attrs["recipe"],
        "score": trial.value,
        "windows": len(trial.intermediate_values),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "feasible": studies.feasible(trial),
        "params": dict(trial.params),
    }
