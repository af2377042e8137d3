"""Rolling-origin backtests: every model on every window, streamed to disk, resumable.

The unit of work is a model, a chunk of series (all of them for one that needs them at once) and the windows from one
fit to the next. What it forecasts goes to one Parquet file a window, written whole or not at all; a run that goes on
finds these files and computes only what is missing. Chunks never depend on the number of processes, so neither do the
numbers.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from forecastkit import execution, models, recipes, store
from forecastkit.data.io import write_atomic
from forecastkit.data.panel import Floats, Ints, Panel
from forecastkit.data.screening import screen
from forecastkit.errors import ConfigError, DataError, FitError, StoreError
from forecastkit.evaluation import latency, records, segments
from forecastkit.evaluation.records import Cost, Part
from forecastkit.evaluation.report import Report
from forecastkit.evaluation.splits import Plan, Window, left_out, windows
from forecastkit.forecaster import Fitted, Forecast, Forecaster, as_panel

logger = logging.getLogger(__name__)

BASELINE = "seasonal_naive"
_CHUNKS = 16  # a panel is worked on in about so many pieces ...
_MOST_SERIES = 512  # ... none larger than this
_SHOWN = 3  # horizons of demand before the last cutoff that a run keeps for charts
_RETRIES = 20  # series that a model may name as bad before it has failed on all


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a backtest is carried out; nothing here changes its numbers.

    jobs: processes for the local models, threads for compiled ones · folder: where results are streamed to (None: a
    temporary one that lives as long as the report) · resume: go on with the run that stands in `folder` · strict: raise
    `FitError` at the first series that fails instead of falling back · progress: called with (done, total, what) ·
    executor: any `concurrent.futures.Executor` that takes the local models' work instead of own processes · latency:
    time calls for one series too, at the last cutoff · name: of the data · command: the line that a person typed, for
    the report.
    """

    jobs: int = 1
    folder: str | Path | None = None
    resume: bool = False
    strict: bool = False
    progress: Callable[[int, int, str], None] | None = None
    executor: Executor | None = None
    latency: bool = False
    name: str = "data"
    command: str | None = None


@dataclass(frozen=True)
class _Task:
    """One model on one chunk of series over the windows from one fit to the next; `cuts` are cut to the chunk."""

    label: str
    recipe: Forecaster
    chunk: int
    cuts: tuple[Window, ...]


@dataclass(frozen=True)
class _How:
    """What of a `Run` the work on one task depends on."""

    strict: bool
    latency: bool


@dataclass(frozen=True)
class _Scene:
    """What all tasks share, opened once a process; the arrays are mapped from disk, not copied."""

    folder: Path
    panel: Panel
    plan: Plan
    levels: tuple[float, ...]
    fallback: Forecaster


def backtest(
    panel: Panel,
    models: Iterable[str | Forecaster] | Mapping[str, Forecaster],
    plan: Plan | None = None,
    *,
    levels: Sequence[float] = (0.1, 0.5, 0.9),
    run: Run | None = None,
    seed: int = 0,
    **options: Any,
) -> Report:
    """Forecast the past with every model and score it.

    `models` are recipes, texts such as "gru:hidden=64", or recipes by a name of one's own; `options` are the fields of
    `Plan` where no plan is given: `backtest(panel, ["seasonal_naive", "sarima"], horizon=28, windows=3)`.
    A series on which a model fails is forecast by seasonal naive, counted and listed with its reason in the report.
    Raises `ConfigError` for a plan or model that makes no sense, `SeriesTooShortError` when no series is long enough.
    """
    as_panel(panel)
    run = run or Run()
    plan = _settled(panel, plan, options)
    entries = _entries(models, plan, seed)
    cuts = windows(panel, plan)
    levels = tuple(sorted({*map(float, levels), 0.5}))
    folder, keep_alive = _folder(run)
    head = _head(panel, plan, entries, levels, run.name)
    scored = cuts[plan.calibrate :]
    head["left_out"] = [panel.ids[i] for i in left_out(panel, scored)]
    head |= {"cutoffs": _cutoffs(panel, scored), "command": run.command}
    with records.locked(folder):
        records.begin(folder, head, resume=run.resume)
        if not (run.resume and records.described(folder)):
            shown = panel.bare().until(cuts[-1].series, cuts[-1].lengths).tail(_SHOWN * plan.horizon)
            records.write_segments(folder, segments.describe(panel, cuts))
            records.write_history(folder, shown)
        _stage(folder, panel)
        _work_off(folder, _tasks(entries, plan, cuts, len(panel)), run)
        records.finish(folder)
    return Report.read(folder, keep_alive=keep_alive)


def _settled(panel: Panel, plan: Plan | None, options: dict[str, Any]) -> Plan:
    if plan is not None and options:
        raise ConfigError(f"{', '.join(options)} stands beside a plan: write it into the plan")
    asked = plan or recipes.build(Plan, options, where="backtest")
    settled = asked.settled(panel)
    if asked.align == "auto" and settled.align == "series":
        logger.warning(
            "series end at different times, so cutoffs count back from each one's own end and a pooled model sees "
            "other series' later periods; align calendar (--align calendar) puts one cutoff for all"
        )
    return settled


def _entries(
    wanted: Iterable[str | Forecaster] | Mapping[str, Forecaster], plan: Plan, seed: int
) -> dict[str, Forecaster]:
    if isinstance(wanted, Mapping):
        return dict(wanted)
    entries: dict[str, Forecaster] = {}
    for item in [wanted] if isinstance(wanted, (str, Forecaster)) else wanted:
        recipe = models.create(item, season=plan.season, seed=seed) if isinstance(item, str) else item
        label = item if isinstance(item, str) else recipes.label(item)
        if label in entries:
            raise ConfigError(f"the model {label!r} is listed twice")
        entries[label] = recipe
    if not entries:
        raise ConfigError("no models to compare: name at least one")
    return entries


def _folder(run: Run) -> tuple[Path, Any]:
    """The run's folder, and what must live as long as the report does."""
    if run.folder is not None:
        return Path(run.folder), None
    if run.resume:
        raise ConfigError("to resume, the folder of the run is needed")
    temporary = _Temporary()
    return temporary.folder, temporary


class _Temporary:
    """A folder that goes when nobody needs it any more, at the latest with the program."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="forecastkit-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def _head(
    panel: Panel, plan: Plan, entries: dict[str, Forecaster], levels: tuple[float, ...], name: str
) -> dict[str, Any]:
    return {
        "data": {
            "name": name,
            "series": len(panel),
            "rows": len(panel.values),
            "freq": panel.freq,
            "fingerprint": panel.fingerprint,
        },
        "screening": screen(panel),
        "plan": dataclasses.asdict(plan),
        "levels": list(levels),
        "baseline": BASELINE,
        "recipes": {label: repr(recipe) for label, recipe in entries.items()},
        "machine": execution.machine(),
        "versions": store.versions(),
    }


def _cutoffs(panel: Panel, cuts: list[Window]) -> list[str]:
    """The last period seen in each window; where series end apart, the latest of them."""
    last = np.array([(panel.starts[c.series] + c.lengths - 1).max() for c in cuts])
    return panel.calendar.texts(last)


def _tasks(entries: dict[str, Forecaster], plan: Plan, cuts: list[Window], series: int) -> list[_Task]:
    size = max(1, min(_MOST_SERIES, -(-series // _CHUNKS)))
    tasks = []
    for label, recipe in entries.items():
        bounds = [(0, series)] if recipe.whole else [(k, k + size) for k in range(0, series, size)]
        for chunk, (first, last) in enumerate(bounds):
            mine = [c for c in (_within(c, first, last) for c in cuts) if len(c.series)]
            begins = plan.afresh_at if recipe.warm else plan.fits_at
            tasks += [_Task(label, recipe, chunk, group) for group in _groups(mine, begins)]
    return tasks


def _within(cut: Window, first: int, last: int) -> Window:
    mine = (cut.series >= first) & (cut.series < last)
    return replace(cut, series=cut.series[mine], lengths=cut.lengths[mine])


def _groups(cuts: list[Window], begins: Callable[[int], bool]) -> Iterator[tuple[Window, ...]]:
    """Runs of windows that share one fit, or whose fits begin where the last one ended."""
    group: list[Window] = []
    for cut in cuts:
        if group and begins(cut.index):
            yield tuple(group)
            group = []
        group.append(cut)
    if group:
        yield tuple(group)


def _stage(folder: Path, panel: Panel) -> None:
    """Lay the panel's arrays beside the results, where every process maps them instead of getting a copy sent."""
    arrays, about = panel.arrays()
    place = folder / records.PANEL
    try:
        for name, array in arrays.items():
            write_atomic(place / f"{name}.npy", partial(np.save, arr=array))
        write_atomic(place / "about.json", partial(_put, json.dumps(about).encode()))
    except StoreError:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _put(content: bytes, out: IO[bytes]) -> None:
    out.write(content)


@lru_cache(maxsize=1)
def _scene(folder: Path, _started: str) -> _Scene:
    place = folder / records.PANEL
    # As plain arrays: indexing a memmap itself costs twice the time.
    arrays = {file.stem: np.load(file, mmap_mode="r").view(np.ndarray) for file in place.glob("*.npy")}
    panel = Panel.from_arrays(arrays, json.loads((place / "about.json").read_text("utf-8")))
    head = records.read_head(folder)
    plan = Plan(**head["plan"])
    return _Scene(folder, panel, plan, tuple(head["levels"]), models.create(BASELINE, season=plan.season))


def _work_off(folder: Path, tasks: list[_Task], run: Run) -> None:
    """Local models first, spread over processes; then those that share out their work themselves, one by one."""
    started = records.read_head(folder)["started"]
    work = partial(_work, folder, started, _How(run.strict, run.latency))
    whole = [t.recipe.whole or (t.recipe.threaded and run.executor is None) for t in tasks]
    shared = [task for task, alone in zip(tasks, whole, strict=True) if alone]
    local = [task for task, alone in zip(tasks, whole, strict=True) if not alone]
    done = 0
    for label in execution.run(work, local, jobs=run.jobs, executor=run.executor):
        done += 1
        _tell(run, done, len(tasks), label)
    for task in shared:
        _tell(run, done, len(tasks), task.label)
        with execution.use_threads(run.jobs):
            work(task)
        done += 1
        _tell(run, done, len(tasks), task.label)


def _tell(run: Run, done: int, total: int, what: str) -> None:
    if run.progress is not None:
        run.progress(done, total, what)


def _work(folder: Path, started: str, how: _How, task: _Task) -> str:
    """Do one task; what stands on disk already is not done again."""
    scene = _scene(folder, started)
    missing = [c for c in task.cuts if not records.part_file(folder, task.label, c.index, task.chunk).exists()]
    if missing:
        _forecast_windows(scene, task, {c.index for c in missing}, how)
    return task.label


def _forecast_windows(scene: _Scene, task: _Task, missing: set[int], how: _How) -> None:
    attempt: _Attempt | None = None
    for cut in (cut for cut in task.cuts if cut.index <= max(missing)):
        train = scene.panel.until(cut.series, cut.lengths)
        if scene.plan.history is not None:
            train = train.tail(scene.plan.history)
        with execution.measured() as fitting:
            if attempt is None or scene.plan.fits_at(cut.index):
                attempt = _attempt(task.recipe, train, scene.plan, attempt.fitted if attempt else None)
            else:
                attempt = attempt.moved_to(train, scene.plan.history)
        if cut.index not in missing:
            continue
        with execution.measured() as predicting:
            forecast, failures = attempt.forecast(scene, cut, train)
        if how.strict and failures:
            series, reason = next(iter(failures.items()))
            raise FitError(reason, model=task.label, series=series)
        cost = Cost.of(fitting, predicting, attempt.size_mb)
        if how.latency and task.chunk == 0 and cut.index == scene.plan.calibrate + scene.plan.windows - 1:
            cost = replace(cost, p95_ms=attempt.p95_ms(scene.plan.gap + scene.plan.horizon))
        part = Part(task.label, cut.index, task.chunk, cost, failures)
        records.write(scene.folder, part, records.table(scene.panel, scene.plan, cut, forecast))


@dataclass(frozen=True)
class _Attempt:
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

    def moved_to(self, train: Panel, history: int | None) -> _Attempt:
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

    def forecast(self, scene: _Scene, cut: Window, train: Panel) -> tuple[Forecast, dict[str, str]]:
        """Forecasts of all series of the window, the baseline's where this model failed, and the reasons."""
        attempt = self
        for _ in range(_RETRIES):
            if attempt.fitted is None:
                break
            try:
                return attempt._forecast(scene, cut, train)
            except (FitError, DataError) as error:
                attempt = attempt._without(error, train)
        levels = scene.levels if self.recipe.probabilistic else ()
        steps = scene.plan.gap + scene.plan.horizon
        last = next(reversed(attempt.reasons.values()), "")
        reasons = dict.fromkeys(train.ids, last) | attempt.reasons
        return scene.fallback.fit(train).predict(steps, levels=levels), reasons

    def _forecast(self, scene: _Scene, cut: Window, train: Panel) -> tuple[Forecast, dict[str, str]]:
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

    def _without(self, error: FitError | DataError, train: Panel) -> _Attempt:
        """The same without the series that the error names, or without any where it names none."""
        bad = {error.series} if error.series in train.ids else {train.ids[i] for i in self.kept}
        kept = np.array([i for i in self.kept if train.ids[i] not in bad], np.int64)
        fitted = self.fitted.update(train.take(kept)) if self.fitted is not None and len(kept) else None
        return replace(self, fitted=fitted, kept=kept, reasons=self.reasons | dict.fromkeys(sorted(bad), str(error)))


def _attempt(recipe: Forecaster, train: Panel, plan: Plan, before: Fitted | None) -> _Attempt:
    """Fit on the series that are long enough, leaving out one after another that the model says is bad.

    `before` is the model of the last window, to begin from.
    """
    fit = recipe.fit if before is None else before.refit
    reasons: dict[str, str] = {}
    needed = recipe.needs(train)
    kept = np.flatnonzero(train.lengths >= needed)
    for i in np.flatnonzero(train.lengths < needed):
        reasons[train.ids[i]] = f"{train.lengths[i]} periods, {recipe.name} needs {needed}"
    for _ in range(_RETRIES):
        if not len(kept):
            break
        try:
            fitted = fit(train.take(kept), horizon=plan.gap + plan.horizon)
            return _Attempt(recipe, fitted, kept, reasons)
        except (FitError, DataError) as error:
            bad = [error.series] if error.series in train.ids else [train.ids[i] for i in kept]
            reasons |= dict.fromkeys(bad, str(error))
            kept = np.array([i for i in kept if train.ids[i] not in reasons], np.int64)
    logger.warning("%s failed on every series of a chunk: %s", recipe.name, next(iter(reasons.values()), ""))
    last = next(reversed(reasons.values()), "")
    return _Attempt(recipe, None, kept, dict.fromkeys(train.ids, last) | reasons)


def fit_what_can_be(recipe: Forecaster, train: Panel, plan: Plan) -> tuple[Fitted | None, Ints]:
    """The model of those series that it can be fitted on, as a backtest does, and which those are; None for none."""
    attempt = _attempt(recipe, train, plan, None)
    return attempt.fitted, attempt.kept


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
