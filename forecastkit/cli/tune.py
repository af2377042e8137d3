"""forecastkit tune: search a model's hyperparameters, and say what that gained."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from forecastkit.cli import console, options
from forecastkit.cli.backtest import rolling_options, sampled
from forecastkit.cli.options import Making, Table
from forecastkit.cli.tracking import Outbox, Tracking, about, origin, outbox, tracking_options
from forecastkit.errors import ForecastkitError, counted

if TYPE_CHECKING:
    from forecastkit.data.panel import Panel
    from forecastkit.evaluation.splits import Plan
    from forecastkit.forecaster import Forecaster
    from forecastkit.tracking.records import Challenger, Entry
    from forecastkit.tuning import Search, Tuned

MISSED = 1
_COLUMNS = (
    "model",
    "trials",
    "by",
    "search: defaults",
    "search: tuned",
    "untouched: gain_%",
    "low_%",
    "high_%",
    "recipe",
)


@dataclass(frozen=True)
class Searching:
    """The flags of a search."""

    trials: int
    timeout: float | None
    by: str
    budget: dict[str, float]
    holdout: int
    storage: str | None
    resume: bool
    jobs: int

    def search(self, seed: int) -> Search:
        from forecastkit.tuning import Search

        own = {k: v for k, v in vars(self).items() if k != "timeout"}
        return Search(**own, timeout_s=self.timeout, seed=seed)


class Duration(click.ParamType):
    """90s, 10m or 2h; a bare number is seconds."""

    name = "duration"
    _units: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3600}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        number, unit = (text[:-1], self._units[text[-1]]) if text[-1:] in self._units else (text, 1)
        try:
            seconds = float(number) * unit
        except ValueError:
            seconds = 0.0
        return seconds if seconds > 0 else self.fail(f"{value!r} is no time such as 90s, 10m or 2h", param, ctx)


def _budget(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for value in values:
        name, _, number = value.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise click.BadParameter(f"{value!r} is no budget such as p95_ms=2", ctx, param) from None
    return found


searching_options = options.packed(
    Searching,
    "searching",
    click.option("--trials", type=click.IntRange(1), default=50, show_default=True, help="To try, defaults first."),
    click.option("--timeout", type=Duration(), metavar="TIME", help="Begin no trial after 90s, 10m, 2h."),
    click.option("--by", default="wape", show_default=True, metavar="METRIC", help="What to make small."),
    click.option("--budget", multiple=True, callback=_budget, metavar="COST=MOST",
                 help="p95_ms (one call), fit_s, predict_s (a window), peak_mb. Repeatable."),
    click.option("--holdout", type=click.IntRange(1), default=2, show_default=True,
                 help="Last windows, which the search never sees and which say what it gained."),
    click.option("--storage", metavar="FILE|URL", help="Where trials stand: a file, or a database for many machines."),
    click.option("--resume", is_flag=True, help="Go on with the search of this very command, also on another machine."),
    click.option("-j", "--jobs", type=click.IntRange(1), default=1, show_default=True,
                 help="Processes; with one the search repeats exactly."),
)  # fmt: skip


@click.command("tune", context_settings={"help_option_names": ["--help"]})
@click.argument("data")
@click.option("-m", "--model", "wanted", multiple=True, required=True, metavar="MODEL",
              help="gru, or gru:hidden=64 to search the rest; repeatable.")  # fmt: skip
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Only N series, drawn with --seed.")
@rolling_options(windows=4)
@options.table_options
@options.making_options
@searching_options
@tracking_options
@options.json_option
@options.config_option
def command(data: str, wanted: tuple[str, ...], sample: int | None, as_json: bool, **packs: Any) -> int:
    """Search the hyperparameters of each model by backtests.

    What was best is printed. The gain over the defaults is measured on the last windows (--holdout), which the search
    never sees; its interval covers 95 %. Without a --budget a network is searched alone and judged with those it is
    averaged with; exit code 1 when no model keeps the budget. Ctrl-C keeps what was done, and the same command with
    --resume goes on. With --track NAME the best model, fitted on all of DATA, becomes challenger of the registered
    model NAME.

    \b
    Example: forecastkit tune dataset:demo -m theta --horizon 7 --windows 2 --trials 3 --sample 5
    """
    table: Table = packs["table"]
    making: Making = packs["making"]
    searching: Searching = packs["searching"]
    panel = sampled(table.read(data), sample, making.seed)
    plan = packs["rolling"].plan(making.season)
    entries = _recipes(wanted, making, panel)
    found = {}
    tracking: Tracking = packs["tracking"]
    with outbox(tracking) as box:
        for text, recipe in entries.items():
            found[text] = _tuned(panel, recipe, plan, searching.search(making.seed))
            console.say(found[text].verdict)
        _show(found, data, searching, as_json)  # ahead of what may go wrong while it is recorded
        if tracking.track:
            tags = about(panel, plan, data, making.seed)
            _record(panel, found, (box, tracking.track), tags, origin(data, table, sample, making.seed))
    return 0 if any(tuned.kept_budget for tuned in found.values()) else MISSED


def _recipes(wanted: tuple[str, ...], making: Making, panel: Panel) -> dict[str, Forecaster]:
    """Every recipe, all of which have something to search: said before the first takes its hours."""
    from forecastkit import tuning

    entries = {text: making.recipe(text, panel) for text in wanted}
    for recipe in entries.values():
        tuning.space_of(recipe)
    return entries


def _show(found: dict[str, Tuned], data: str, searching: Searching, as_json: bool) -> None:
    if as_json:
        console.print_json({text: summary(tuned) for text, tuned in found.items()})
        return
    untouched = counted(searching.holdout, "untouched one")
    title = f"{data}: error on the windows of the search, and the gain on {untouched}"
    console.print_table(_COLUMNS, [_line(text, tuned) for text, tuned in found.items()], title=title)


def _tuned(panel: Panel, recipe: Forecaster, plan: Plan, search: Search) -> Tuned:
    from forecastkit import tuning

    own, search = search.storage is None, _placed(search, panel, recipe, plan)
    if own and search.resume and not Path(str(search.storage)).exists():
        console.say(f"{recipe.name}: there is no search of this very command to go on with: begun anew")
    with _kept(search) if own else nullcontext(), console.progress() as progress:
        try:
            return tuning.tune(panel, recipe, plan, search=replace(search, progress=progress))
        except KeyboardInterrupt:
            console.say(f"what was done is kept in {search.storage}: the same command with --resume goes on")
            raise


def _kept(search: Search) -> AbstractContextManager[None]:
    """Without --resume a search in a file of its own begins anew, but not while another process is at it."""
    from forecastkit.tuning import studies

    return studies.kept(str(search.storage), search.name, anew=not search.resume)


def _placed(search: Search, panel: Panel, recipe: Forecaster, plan: Plan) -> Search:
    """The search under a name that the same command finds again; in a file of its own where no storage is given."""
    what = (panel.fingerprint, recipe, plan.settled(panel), search.by, search.budget, search.holdout, search.seed)
    name = f"{recipe.name}-{hashlib.sha256(repr(what).encode()).hexdigest()[:12]}"
    own = str(Path(".forecastkit") / "tuning" / f"{name}.log")
    return replace(search, name=name, storage=search.storage or own)


def _record(
    panel: Panel, found: dict[str, Tuned], to: tuple[Outbox, str], tags: dict[str, Any], source: dict[str, Any]
) -> None:
    """Lay everything down in a folder, then send it: a run a model, and the best one as a version."""
    from forecastkit.tracking.records import Record

    folder = Path(".forecastkit") / "runs" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    box, name = to
    failed = challenger = None
    with _begun(folder):
        runs = tuple(_entry(folder, str(k), text, tuned) for k, (text, tuned) in enumerate(found.items()))
        try:
            challenger = _challenger(panel, found, folder, name, source)
        except ForecastkitError as error:  # of the last fit: what was found is recorded all the same
            failed = error
    box.put(folder, Record(name, "tune", runs, tags, (), challenger))
    for k, tuned in enumerate(found.values()):
        page = "report.html" if len(found) == 1 else f"report-{k}-{tuned.recipe.name}.html"
        try:
            box.add(page, tuned.report.to_html().encode())
        except ForecastkitError as error:
            failed = failed or error
    if box.delivered():
        shutil.rmtree(folder, ignore_errors=True)
    if failed is not None:
        raise failed


@contextmanager
def _begun(folder: Path) -> Iterator[None]:
    """A folder that goes where it was left unfinished, which is said: the search itself is not lost."""
    try:
        yield
    except (KeyboardInterrupt, ForecastkitError):
        shutil.rmtree(folder, ignore_errors=True)
        console.say("nothing is recorded, but the trials are kept: the same command with --resume tries none again")
        raise


def _challenger(
    panel: Panel, found: dict[str, Tuned], folder: Path, name: str, source: dict[str, Any]
) -> Challenger | None:
    """The best model that keeps the budget, fitted on all of the data and saved in the folder; None where none does."""
    from forecastkit import recipes
    from forecastkit.store import save
    from forecastkit.tracking.records import Challenger

    candidates = [tuned for tuned in found.values() if tuned.kept_budget]
    if not candidates:
        console.say("no model keeps the budget: none is challenger")
        return None
    # The one with the least error on the windows of the search: the untouched ones judge, they don't choose.
    best = min(candidates, key=lambda tuned: tuned.scores["tuned"])
    plan = best.report.head["plan"]
    console.say(f"fitting {recipes.label(best.recipe)} on all of the data")
    fitted = best.recipe.fit(panel, horizon=plan["gap"] + plan["horizon"])
    save(fitted, folder / "model", notes={"columns": Table(**json.loads(source["forecastkit.columns"])).names()})
    known = {"forecastkit.model": recipes.label(best.recipe), "forecastkit.fingerprint": panel.fingerprint, **source}
    known["forecastkit.plan"] = json.dumps(plan)
    return Challenger(name, "model", plan["horizon"], known)


def _entry(folder: Path, place: str, text: str, tuned: Tuned) -> Entry:
    from forecastkit.data.io import write_atomic
    from forecastkit.store import store_errors
    from forecastkit.tracking.records import Entry, params_of

    with store_errors(folder):
        shutil.copytree(tuned.report.folder, folder / place / "report")
    write_atomic(folder / place / "tune.json", lambda out: out.write(json.dumps(summary(tuned), indent=1).encode()))
    metrics = {f"search.{name}": score for name, score in tuned.scores.items()}
    metrics |= {"gain": tuned.gain.value, "gain.low": tuned.gain.low, "gain.high": tuned.gain.high}
    trials = {"trial": [float(row["score"]) for row in tuned.trials]}
    files = (f"{place}/tune.json",)
    return Entry("tuned", params_of(tuned.recipe), f"{place}/report", text, metrics, trials, files)


def _line(text: str, tuned: Tuned) -> list[Any]:
    from forecastkit import recipes

    gain = [100 * value for value in (tuned.gain.value, tuned.gain.low, tuned.gain.high)]
    return [text, len(tuned.trials), tuned.by, *tuned.scores.values(), *gain, recipes.label(tuned.recipe)]


def summary(tuned: Tuned) -> dict[str, Any]:
    """What --json prints of one model; what has no number (a recipe that can't be fitted) is None."""
    from forecastkit import recipes
    from forecastkit.evaluation.records import plain

    return {
        "recipe": recipes.label(tuned.recipe),
        "by": tuned.by,
        "search": {name: plain(score) for name, score in tuned.scores.items()},
        "untouched": {
            "windows": tuned.report.head["plan"]["windows"],
            "cutoffs": tuned.report.head["cutoffs"],
            "gain": {name: plain(value) for name, value in vars(tuned.gain).items()},
            "leaderboard": tuned.report.summary()["leaderboard"],
        },
        "kept_budget": tuned.kept_budget,
        "verdict": tuned.verdict,
        "trials": [{k: plain(v) for k, v in row.items()} for row in tuned.trials],
    }
