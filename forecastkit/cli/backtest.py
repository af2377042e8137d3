"""forecastkit backtest: every model on every window, and the leaderboard."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forecastkit.cli import console, options, report
from forecastkit.cli.options import Making, Table
from forecastkit.cli.tracking import Outbox, Tracking, about, outbox, tracking_options
from forecastkit.errors import ConfigError, ForecastkitError, MissingExtraError, StoreError, closest

if TYPE_CHECKING:
    from forecastkit.data.panel import Panel
    from forecastkit.evaluation.backtesting import Run
    from forecastkit.evaluation.conformal import Conformal
    from forecastkit.evaluation.report import Report
    from forecastkit.evaluation.splits import Plan
    from forecastkit.forecaster import Forecaster
    from forecastkit.tracking.records import Record

FAMILIES = ("naive", "seasonal_naive", "arima", "sarima", "auto_arima", "prophet", "boosted", "lstm", "gru")


@dataclass(frozen=True)
class Rolling:
    """The flags of a plan, all but the season."""

    horizon: int
    windows: int
    step: int | None
    gap: int
    align: str
    refit: int
    cold: int
    history: int | None
    calibrate: int = 0

    def plan(self, season: int | None) -> Plan:
        from forecastkit.evaluation.splits import Plan

        return Plan(**{f.name: getattr(self, f.name) for f in fields(self)}, season=season)


@dataclass(frozen=True)
class Keeping:
    """Where results go, and how the work is done."""

    output: str | None
    resume: bool
    strict: bool
    jobs: int


@dataclass(frozen=True)
class Measuring:
    """What is found out beside forecasts and their errors."""

    latency: bool
    importance: tuple[str, ...]


def rolling_options(windows: int, *more: options.Decorator) -> options.Decorator:
    """The flags of a plan, with so many windows by default, and what a command has besides."""
    return options.packed(
        Rolling,
        "rolling",
        click.option("-h", "--horizon", type=click.IntRange(1), required=True, help="Periods to forecast and score."),
        click.option("-w", "--windows", type=click.IntRange(1), default=windows, show_default=True,
                     help="Cutoffs to try."),
        click.option("--step", type=click.IntRange(1), help="Periods between cutoffs; the horizon when left out."),
        click.option("--gap", type=click.IntRange(0), default=0, show_default=True, help="Lead time before scoring."),
        click.option("--align", type=click.Choice(["auto", "series", "calendar"]), default="auto", show_default=True,
                     help="One cutoff for all (calendar), or counted back from each series' own end."),
        click.option("--refit", type=options.Refit(), default="always", show_default=True,
                     help="How often to fit anew."),
        click.option("--cold", type=click.IntRange(1), default=4, show_default=True,
                     help="Every so many fits begin afresh, those between from the last window (ARIMA; networks, "
                          "unless the history grew a lot)."),
        click.option("--history", type=click.IntRange(1), help="Periods of training data; all when left out."),
        *more,
    )  # fmt: skip


calibrate_option = click.option(
    "--calibrate",
    type=click.IntRange(0),
    default=0,
    metavar="K",
    show_default=True,
    help="Windows before those, from whose errors intervals are made (also for models without); see --conformal.",
)

keeping_options = options.packed(
    Keeping,
    "keeping",
    click.option("-o", "--output", metavar="FOLDER", help="Keep forecasts, timings and failures here as Parquet."),
    click.option("--resume", is_flag=True, help="Go on with the run that was interrupted."),
    options.strict_option,
    options.jobs_option,
)


measuring_options = options.packed(
    Measuring,
    "measuring",
    click.option("--latency", is_flag=True, help="Time calls for one series too (bench latency has more of that)."),
    click.option(
        "--importance",
        multiple=True,
        metavar="MODEL",
        help='What each input is worth to MODEL, or to "best": one more fit. Repeatable.',
    ),
)


@click.command("backtest", context_settings={"help_option_names": ["--help"]})
@click.argument("data")
@click.option("-m", "--model", "wanted", multiple=True, metavar="MODEL", help="gru or gru:hidden=64; repeatable.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Only N series, drawn with --seed: a quick look.")
@rolling_options(1, calibrate_option)
@options.table_options
@options.making_options
@options.levels_option
@keeping_options
@measuring_options
@tracking_options
@report.showing_options
@options.config_option
def command(data: str, wanted: tuple[str, ...], sample: int | None, **packs: Any) -> None:
    """Forecast the past of DATA with each model: the leaderboard.

    The best MASE comes first. DATA is a CSV or Parquet file, "-" for standard input, or dataset:NAME. Without -m all
    families compete: naive, seasonal naive, ARIMA, SARIMA, automatic ARIMA, Prophet, boosted trees, LSTM and GRU.

    \b
    Example: forecastkit backtest dataset:demo --horizon 28 --windows 2 -m naive -m seasonal_naive
    """
    from forecastkit.data.screening import negatives
    from forecastkit.evaluation import explaining, records

    table: Table = packs["table"]
    making: Making = packs["making"]
    levels: tuple[float, ...] = packs["levels"]
    panel = sampled(table.read(data), sample, making.seed)
    plan = packs["rolling"].plan(making.season)
    entries = _recipes(wanted, making, panel)
    keeping: Keeping = packs["keeping"]
    folder = Path(keeping.output) if keeping.output else _scratch(panel, entries, plan, levels)
    measuring: Measuring = packs["measuring"]
    showing: report.Showing = packs["showing"]
    _check_known(measuring.importance, entries)
    _check_intervals(showing.conformal, plan, entries, panel)
    report.check_page(showing)
    if below := negatives(panel):
        console.say(below)
    if keeping.resume and not records.there(folder):
        console.say("there is nothing to go on with for this very command: begun anew")
    if not keeping.output and not keeping.resume:
        records.discard(folder)  # what an interrupted run left and nobody wants to go on with
    work = _work(replace(keeping, output=str(folder)), measuring, data)
    tracking: Tracking = packs["tracking"]
    with outbox(tracking) as box:
        found = report.seen(_run(panel, entries, plan, levels, work), showing)
        unexplained = unrecorded = unwritten = None
        if measuring.importance:
            unexplained = _attempted(lambda: explaining.explain(found, panel, entries, measuring.importance), folder)
        if tracking.track:  # sent while the rest is made
            tags = about(panel, plan, data, making.seed)
            record = partial(_record, found, entries, tracking.track, tags, keeping.resume)
            unrecorded = _attempted(lambda: box.put(folder, record()), folder)
        report.show(found, showing)
        if showing.html is not None or tracking.track:
            unwritten = _attempted(lambda: _write_page(found, showing, box), folder)
        recorded = box.delivered()
        failed = [error for error in (unexplained, unwritten, unrecorded) if error is not None]
        _raise_first(failed, folder, report.again(folder, showing))
    if recorded and not keeping.output:
        shutil.rmtree(folder, ignore_errors=True)


def sampled(panel: Panel, count: int | None, seed: int) -> Panel:
    if count is None or count >= len(panel):
        return panel
    import numpy as np

    return panel.take(np.sort(np.random.default_rng(seed).choice(len(panel), count, replace=False)))


def _recipes(wanted: tuple[str, ...], making: Making, panel: Panel) -> dict[str, Forecaster]:
    if wanted:
        return {text: making.recipe(text, panel) for text in wanted}
    recipes = {}
    for text in FAMILIES:
        try:
            recipes[text] = making.recipe(text, panel)
        except MissingExtraError as error:
            console.say(f"left out: {error}")
    return recipes


def _check_known(wanted: tuple[str, ...], entries: dict[str, Forecaster]) -> None:
    """Refuse a model that isn't there before anything is computed."""
    for name in wanted:
        if name != "best" and name not in entries:
            raise ConfigError(f"--importance {name!r}{closest(name, entries)} is not among: best, {', '.join(entries)}")


def _check_intervals(how: Conformal | None, plan: Plan, entries: dict[str, Forecaster], panel: Panel) -> None:
    """The same for how intervals are made."""
    if how is not None:
        from forecastkit.evaluation import segments
        from forecastkit.evaluation.report import Report

        Report.check_intervals(how, plan.calibrate, entries, segments.names(panel))


def _work(keeping: Keeping, measuring: Measuring, data: str) -> Run:
    from forecastkit.evaluation.backtesting import Run

    return Run(
        jobs=keeping.jobs,
        folder=keeping.output,
        resume=keeping.resume,
        strict=keeping.strict,
        latency=measuring.latency,
        name=Path(data).name,
        command=console.typed(),
    )


def _run(panel: Panel, entries: dict[str, Forecaster], plan: Plan, levels: tuple[float, ...], work: Run) -> Report:
    from forecastkit.evaluation.backtesting import backtest

    with console.progress() as progress:
        try:
            return backtest(panel, entries, plan, levels=levels, run=replace(work, progress=progress))
        except KeyboardInterrupt:
            _say_kept(Path(str(work.folder)))
            raise


def _say_kept(folder: Path) -> None:
    console.say(f"what was finished is kept in {folder}: the same command with --resume goes on")


def _attempted(step: Callable[[], None], folder: Path) -> ForecastkitError | None:
    """Do what stands beside the results; what goes wrong waits until these are shown and sent."""
    try:
        step()
    except ForecastkitError as error:
        return error
    except KeyboardInterrupt:
        _say_kept(folder)
        raise
    return None


def _raise_first(failed: list[ForecastkitError], folder: Path, again: str) -> None:
    if failed:
        for error in failed[1:]:
            console.say(f"error: {error}")
        console.say(f"results are in {folder}; again: {again}")
        raise failed[0]


def _record(found: Report, entries: dict[str, Forecaster], name: str, tags: dict[str, Any], resumed: bool) -> Record:
    """What is sent of a backtest: a run a model. One that is gone on with takes the place of what was sent of it."""
    from forecastkit.tracking.records import Entry, Record, params_of

    runs = tuple(Entry(label, params_of(recipe)) for label, recipe in entries.items())
    record = Record(name, "backtest", runs, tags, ("backtest.json",), conformal=found.conformal)
    earlier = _earlier(found.folder) if resumed else None
    return record if earlier is None or earlier.experiment != name else replace(record, id=earlier.id)


def _earlier(folder: Path) -> Record | None:
    """What was recorded of a run that is gone on with; one that can't be read costs no new record."""
    from forecastkit.tracking.records import Record

    try:
        return Record.there(folder)
    except StoreError as error:
        console.say(f"{error}: what was sent of it is not replaced")
        return None


def _write_page(found: Report, showing: report.Showing, box: Outbox) -> None:
    """The page among what is recorded, and where it was asked for."""
    page = found.to_html()
    box.add("report.html", page.encode())
    if showing.html is not None:
        report.save_page(page, showing.html)


def _scratch(panel: Panel, entries: dict[str, Forecaster], plan: Plan, levels: tuple[float, ...]) -> Path:
    """A folder for this very backtest, found again by the same command with --resume."""
    key = hashlib.sha256(repr((panel.fingerprint, entries, plan, levels)).encode()).hexdigest()[:12]
    here = Path.cwd() if os.access(Path.cwd(), os.W_OK) else Path(tempfile.gettempdir())
    return here / ".forecastkit" / "backtests" / key
