"""A model on the series of one window: fitted on those that it can be fitted on, the baseline in place of the rest."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from forecastkit.data.panel import Floats, Ints, Panel
from forecastkit.errors import DataError, FitError, counted
from forecastkit.evaluation import latency
from forecastkit.evaluation.splits import Plan, Window
from forecastkit.forecaster import Fitted, Forecast, Forecaster

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scene:
    """What all tasks share, opened once a process; the arrays are mapped from disk, not copied."""

    folder: Path
    panel: Panel
    plan: Plan
    levels: tuple[float, ...]
    fallback: Forecaster


@dataclass(frozen=True)
class Attempt:
    """A model fitted on those series that it can be fitted on, and the reasons of the others."""

    recipe: Forecaster
    fitted: Fitted | None
    kept: Ints  # indices into the training panel
    reasons: dict[str, str]

    @property
    def size_mb(self) -> float:
        """Of what was estimated, without recipe and history; 0 where nothing could be."""
        return self.fitted.size_mb if self.fitted is not None else 0.0

    def p95_ms(self, steps: int) -> float:
        """Of a call for one series, by the harness of `bench latency`; NaN where no model is."""
        return latency.p95_ms(self.fitted, steps) if self.fitted is not None else float("nan")

    def moved_to(self, train: Panel, history: int | None) -> Attempt:
        """The same parameters on newer periods, `history` of them at most; a pooled model takes new series too."""
        if self.fitted is None:
            return self
        known = set(train.ids) if self.recipe.pooled else set(self.fitted.history.ids)
        kept = np.array([i for i, name in enumerate(train.ids) if name in known], np.int64)
        absent = {name: "it had no history when the model was fitted" for name in train.ids if name not in known}
        fitted = self.fitted.update(train.take(kept))
        if history is not None:
            fitted = replace(fitted, history=fitted.history.tail(history))
        return replace(self, fitted=fitted, kept=kept, reasons=self.reasons | absent)

    def forecast(self, scene: Scene, cut: Window, train: Panel) -> tuple[Forecast, dict[str, str]]:
        """Forecasts of all series of the window, the baseline's where this model failed, and the reasons."""
        attempt = self
        while attempt.fitted is not None:
            try:
                return attempt._forecast(scene, cut, train)
            except (FitError, DataError) as error:
                attempt = attempt._without(error, train)
        levels = scene.levels if self.recipe.probabilistic else ()
        steps = scene.plan.gap + scene.plan.horizon
        last = next(reversed(attempt.reasons.values()), "")
        reasons = dict.fromkeys(train.ids, last) | attempt.reasons
        return scene.fallback.fit(train).predict(steps, levels=levels), reasons

    def _forecast(self, scene: Scene, cut: Window, train: Panel) -> tuple[Forecast, dict[str, str]]:
        assert self.fitted is not None  # asked for by `forecast` only
        steps = scene.plan.gap + scene.plan.horizon
        levels = scene.levels if self.recipe.probabilistic else ()
        future = _future(scene.panel, cut, self.kept, steps) if "known" in self.recipe.uses else None
        own = self.fitted.predict(steps, levels=levels, future=future)
        reasons = self.reasons | dict(self.fitted.failures)
        if len(self.kept) == len(train):
            return own, reasons
        rest = scene.fallback.fit(train).predict(steps, levels=levels)
        rest.mean[self.kept], rest.quantiles[self.kept] = own.mean, own.quantiles
        return rest, reasons

    def _without(self, error: FitError | DataError, train: Panel) -> Attempt:
        """The same without the series that the error names, or without any where it names none."""
        kept, reasons = _parted(error, self.kept, train)
        fitted = self.fitted.update(train.take(kept)) if self.fitted is not None and len(kept) else None
        return replace(self, fitted=fitted, kept=kept, reasons=self.reasons | reasons)


def fit_what_can_be(recipe: Forecaster, train: Panel, plan: Plan, before: Fitted | None = None) -> Attempt:
    """Fit on the series that are long enough, leaving out those that the model says are bad until it says none is.

    `before` is the model of the last window, to begin from.
    """
    fit = recipe.fit if before is None else before.refit
    reasons: dict[str, str] = {}
    needed = recipe.needs(train)
    kept = np.flatnonzero(train.lengths >= needed)
    for i in np.flatnonzero(train.lengths < needed):
        reasons[train.ids[i]] = f"{counted(int(train.lengths[i]), 'period')}, {recipe.name} needs {needed}"
    while len(kept):
        try:
            fitted = fit(train.take(kept), horizon=plan.gap + plan.horizon)
            return Attempt(recipe, fitted, kept, reasons)
        except (FitError, DataError) as error:
            kept, bad = _parted(error, kept, train)
            reasons |= bad
    logger.warning("%s failed on every series of a chunk: %s", recipe.name, next(iter(reasons.values()), ""))
    last = next(reversed(reasons.values()), "")
    return Attempt(recipe, None, kept, dict.fromkeys(train.ids, last) | reasons)


def _parted(error: FitError | DataError, kept: Ints, train: Panel) -> tuple[Ints, dict[str, str]]:
    """The series that are left of those kept, always fewer, and the reason of the others.

    Those go that the error names; all go where it names none of them.
    """
    named = set(error.every)
    bad = np.array([train.ids[i] in named for i in kept], bool)
    if not bad.any():
        bad[:] = True
    return kept[~bad], {train.ids[i]: str(error) for i in kept[bad]}


def _future(panel: Panel, cut: Window, kept: Ints, steps: int) -> Floats | None:
    """The known covariates after the cutoff [n, H, K], as they came true; None without any."""
    if not len(panel.known):
        return None
    members = panel.take(cut.series[kept])
    values = members.known_after(cut.lengths[kept], steps)
    for step in range(1, steps):  # beyond a series' end nothing is scored: any number will do, a hole will not
        hole = np.isnan(values[:, step])
        values[:, step] = np.where(hole, values[:, step - 1], values[:, step])
    return values
