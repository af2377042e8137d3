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
from forecastkit.data.panel import Panel
from forecastkit.data.screening import screen
from forecastkit.errors import ConfigError, FitError, StoreError
from forecastkit.evaluation import records, segments
from forecastkit.evaluation.attempts import Attempt, Scene, fit_what_can_be
from forecastkit.evaluation.records import Cost, Part
from forecastkit.evaluation.report import Report
from forecastkit.evaluation.splits import Plan, Window, left_out, under_a_season, windows
from forecastkit.forecaster import Forecaster, as_panel, increasing

logger = logging.getLogger(__name__)

BASELINE = "seasonal_naive"
_CHUNKS = 16  # a panel is worked on in about so many pieces ...
_MOST_SERIES = 512  # ... none larger than this
_SHOWN = 3  # horizons of demand before the last cutoff that a run keeps for charts


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
class Seeing:
    """A recipe that is shown some of the panel's columns only; what is scored is the same for all models."""

    recipe: Forecaster
    columns: tuple[str, ...]
    available: bool = False  # whether it may know when nothing could be sold


@dataclass(frozen=True)
class _Task:
    """One model on one chunk of series over the windows from one fit to the next; `cuts` are cut to the chunk."""

    label: str
    entry: Forecaster | Seeing
    chunk: int
    cuts: tuple[Window, ...]

    @property
    def recipe(self) -> Forecaster:
        return _recipe(self.entry)

    def shown(self, scene: Scene) -> Scene:
        """What the model may know of the scene."""
        if not isinstance(self.entry, Seeing):
            return scene
        return replace(scene, panel=scene.panel.only(self.entry.columns, available=self.entry.available))


@dataclass(frozen=True)
class _How:
    """What of a `Run` the work on one task depends on."""

    strict: bool
    latency: bool


def backtest(
    panel: Panel,
    models: Iterable[str | Forecaster] | Mapping[str, Forecaster | Seeing],
    plan: Plan | None = None,
    *,
    levels: Sequence[float] = (0.1, 0.5, 0.9),
    run: Run | None = None,
    seed: int = 0,
    **options: Any,
) -> Report:
    """Forecast the past with every model and score it.

    `models` are recipes, texts such as "gru:hidden=64", or recipes by a name of one's own, there also as `Seeing` some
    columns alone; `options` are the fields of `Plan` where no plan is given:
    `backtest(panel, ["seasonal_naive", "sarima"], horizon=28, windows=3)`.
    A series on which a model fails is forecast by seasonal naive, counted and listed with its reason in the report.
    Raises `ConfigError` for a plan or model that makes no sense, `SeriesTooShortError` when no series is long enough.
    """
    as_panel(panel)
    run = run or Run()
    plan = _settled(panel, plan, options)
    entries = _entries(models, plan, seed)
    cuts = windows(panel, plan)
    levels = increasing({*increasing(levels), 0.5})
    folder, keep_alive = _folder(run)
    head = _head(panel, plan, entries, levels, run.name)
    scored = cuts[plan.calibrate :]
    head["left_out"] = [panel.ids[i] for i in left_out(panel, scored)]
    head["under_a_season"] = under_a_season(plan, scored)
    head |= {"cutoffs": _cutoffs(panel, scored), "command": run.command}
    head["taking_part"] = [len(cut.series) for cut in cuts]
    with records.locked(folder):
        records.begin(folder, head, resume=run.resume)
        if not (run.resume and records.described(folder)):
            shown = panel.bare().until(cuts[-1].series, cuts[-1].lengths).tail(_SHOWN * plan.horizon)
            records.write_segments(folder, segments.describe(panel, cuts))
            records.write_history(folder, shown)
        _stage(folder, panel)
        tasks = _tasks(entries, plan, cuts, len(panel))
        if run.latency:
            _warn_of_untimed(folder, tasks, cuts[-1].index)
        _work_off(folder, tasks, run)
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
    if 0 < settled.calibrate < settled.to_calibrate_all:
        logger.warning(
            "errors of the last steps are not known yet at the first cutoff, so that intervals there are made from "
            "those of earlier steps and may be too narrow; calibrate=%d (--calibrate %d) shows all steps",
            settled.to_calibrate_all,
            settled.to_calibrate_all,
        )
    return settled


def _entries(
    wanted: Iterable[str | Forecaster] | Mapping[str, Forecaster | Seeing], plan: Plan, seed: int
) -> dict[str, Forecaster | Seeing]:
    if isinstance(wanted, Mapping):
        return dict(wanted)
    entries: dict[str, Forecaster | Seeing] = {}
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
    panel: Panel, plan: Plan, entries: dict[str, Forecaster | Seeing], levels: tuple[float, ...], name: str
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
        "recipes": {label: repr(entry) for label, entry in entries.items()},
        "machine": execution.machine(),
        "versions": store.versions(),
    }


def _cutoffs(panel: Panel, cuts: list[Window]) -> list[str]:
    """The last period seen in each window; where series end apart, the latest of them."""
    last = np.array([(panel.starts[c.series] + c.lengths - 1).max() for c in cuts])
    return panel.calendar.texts(last)


def _recipe(entry: Forecaster | Seeing) -> Forecaster:
    return entry.recipe if isinstance(entry, Seeing) else entry


def _tasks(entries: dict[str, Forecaster | Seeing], plan: Plan, cuts: list[Window], series: int) -> list[_Task]:
    size = max(1, min(_MOST_SERIES, -(-series // _CHUNKS)))
    tasks = []
    for label, entry in entries.items():
        recipe = _recipe(entry)
        bounds = [(0, series)] if recipe.whole else [(k, k + size) for k in range(0, series, size)]
        for chunk, (first, last) in enumerate(bounds):
            mine = [c for c in (_within(c, first, last) for c in cuts) if len(c.series)]
            begins = plan.afresh_at if recipe.warm else plan.fits_at
            tasks += [_Task(label, entry, chunk, group) for group in _groups(mine, begins)]
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
def _scene(folder: Path, _started: str) -> Scene:
    place = folder / records.PANEL
    # As plain arrays: indexing a memmap itself costs twice the time.
    arrays = {file.stem: np.load(file, mmap_mode="r").view(np.ndarray) for file in place.glob("*.npy")}
    panel = Panel.from_arrays(arrays, json.loads((place / "about.json").read_text("utf-8")))
    head = records.read_head(folder)
    plan = Plan(**head["plan"])
    return Scene(folder, panel, plan, tuple(head["levels"]), models.create(BASELINE, season=plan.season))


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


def _warn_of_untimed(folder: Path, tasks: list[_Task], last: int) -> None:
    """A call is timed while the model of the last window is at hand, which isn't where its forecasts stand already."""
    untimed = [
        task.label
        for task in tasks
        if task.chunk == 0
        and task.cuts[-1].index == last
        and (part := records.part(folder, task.label, last, 0)) is not None
        and np.isnan(part.cost.p95_ms)
    ]
    if untimed:
        logger.warning(
            "no call is timed of %s: forecasts of the last window stand in %s already, from a run that timed none; "
            "time them by `forecastkit bench latency`, or by a backtest in another folder",
            ", ".join(untimed),
            folder,
        )


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


_warm: set[str] = set()  # recipes whose code this process has compiled or loaded


def _warm_up(recipe: Forecaster, train: Panel, horizon: int) -> None:
    if recipe.compiled and repr(recipe) not in _warm:
        recipe.warm_up(train, horizon)
        _warm.add(repr(recipe))


def _forecast_windows(scene: Scene, task: _Task, missing: set[int], how: _How) -> None:
    attempt: Attempt | None = None
    shown = task.shown(scene)
    for cut in (cut for cut in task.cuts if cut.index <= max(missing)):
        train = shown.panel.until(cut.series, cut.lengths)
        if scene.plan.history is not None:
            train = train.tail(scene.plan.history)
        _warm_up(task.recipe, train, scene.plan.gap + scene.plan.horizon)
        with execution.measured() as fitting:
            if attempt is None or scene.plan.fits_at(cut.index):
                attempt = fit_what_can_be(task.recipe, train, scene.plan, attempt.fitted if attempt else None)
            else:
                attempt = attempt.moved_to(train, scene.plan.history)
        if cut.index not in missing:
            continue
        with execution.measured() as predicting:
            forecast, failures = attempt.forecast(shown, cut, train)
        if how.strict and failures:
            series, reason = next(iter(failures.items()))
            raise FitError(reason, model=task.label, series=series)
        cost = Cost.of(fitting, predicting, attempt.size_mb)
        if how.latency and task.chunk == 0 and cut.index == scene.plan.calibrate + scene.plan.windows - 1:
            cost = replace(cost, p95_ms=attempt.p95_ms(scene.plan.gap + scene.plan.horizon))
        part = Part(task.label, cut.index, task.chunk, cost, failures)
        records.write(scene.folder, part, records.table(scene.panel, scene.plan, cut, forecast))
