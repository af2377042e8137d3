"""forecastkit report: look again at a backtest that was kept, without computing again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forecastkit.cli import console, options
from forecastkit.errors import counted

if TYPE_CHECKING:
    import pandas as pd

    from forecastkit.evaluation.conformal import Conformal
    from forecastkit.evaluation.report import Report

_SHOWN = (
    "best",
    "mase",
    "95 %",
    "skill",
    "rmsse",
    "wape",
    "smape",
    "bias",
    "wql",
    "coverage",
    "fit_s",
    "predict_s",
    "cpu_s",
    "peak_mb",
    "size_mb",
    "p95_ms",
    "series",
    "failed",
)
_SPARE = ("rmsse", "95 %", "size_mb", "series", "cpu_s", "peak_mb", "predict_s", "smape", "coverage", "wql", "p95_ms")
_GROUPED = ("mase", "rmsse", "wape", "smape", "bias", "wql", "coverage", "width", "wis", "crps", "cells")
_GROUPED_SPARE = ("rmsse", "crps", "wis", "width", "smape", "cells", "coverage", "wql")
_INPUTS = ("input", "kind", "mase", "increase", "low", "high")
INTERVALS = "by_step=true,decay=1,rate=0"  # what `Conformal` makes them with where nothing is asked for
MEANING = "mase is that with the input made meaningless, increase what it costs, low to high at 95 % over series"


@dataclass(frozen=True)
class Showing:
    """What of a report is shown, and how."""

    by: tuple[str, ...]
    conformal: Conformal | None
    html: str | None
    as_json: bool


showing_options = options.packed(
    Showing,
    "showing",
    click.option(
        "--by",
        multiple=True,
        metavar="NAME",
        help="Scores by step, cutoff, series, demand_class, volume_decile or _third, a static column, or a,b for both.",
    ),
    click.option(
        "--conformal",
        type=options.Intervals(),
        metavar="TEXT",
        show_default=INTERVALS,
        help="How --calibrate makes intervals: group=demand_class,decay=0.9,rate=0.05, or by_step=false.",
    ),
    click.option("--html", metavar="FILE", help="Write the whole report as one page (extra report)."),
    options.json_option,
)


@click.command("report", context_settings={"help_option_names": ["--help"]})
@click.argument("folder")
@showing_options
@options.config_option
def command(folder: str, showing: Showing) -> None:
    """Show the backtest kept in FOLDER (backtest -o FOLDER).

    It shows the leaderboard, scores by group, or makes a page for others.

    \b
    Example: forecastkit report runs/demo --by step
    """
    from forecastkit.evaluation.report import Report

    found = seen(Report.read(folder), showing)
    show(found, showing)
    write_page(found, showing)


def seen(report: Report, showing: Showing) -> Report:
    """The report with the intervals that were asked for."""
    return report if showing.conformal is None else report.calibrated(showing.conformal)


def again(folder: Path, showing: Showing) -> str:
    """The command that shows the same numbers of the folder later."""
    from forecastkit import recipes

    how = [] if showing.conformal is None else ["--conformal", recipes.label(showing.conformal).partition(":")[2]]
    return shlex.join(["forecastkit", "report", str(folder), *how])


def show(report: Report, showing: Showing) -> None:
    """The leaderboard and what else was asked for, as tables or JSON."""
    tables = {name: report.scores(["model", *(k for k in name.split(",") if k != "model")]) for name in showing.by}
    why = report.importance()
    if showing.as_json:
        groups = {name: console.plain(table) for name, table in tables.items()}
        told = {"importance": console.plain(why)} if len(why) else {}
        console.print_json(report.summary() | ({"by": groups} if groups else {}) | told)
    else:
        _show(report)
        for name, table in tables.items():
            _show_groups(name, table)
        for model, inputs in why.groupby("model", sort=False):
            show_importance(f"{model}: what its inputs are worth in the last window", inputs)
        if len(why):
            console.say(MEANING)


def check_page(showing: Showing) -> None:
    """Raise before anything is computed what `write_page` would raise after it."""
    if showing.html is not None:
        from forecastkit.evaluation.report import Report

        Report.check_html(showing.html)


def write_page(report: Report, showing: Showing) -> None:
    """The whole report as one page, where it was asked for."""
    if showing.html is not None:
        save_page(report.to_html(), showing.html)


def save_page(page: str, file: str) -> None:
    """A page that was drawn, where it was asked for."""
    from forecastkit.data.io import write_atomic

    write_atomic(Path(file), lambda out: out.write(page.encode()))
    console.say(f"the report is in {file}")


def _show(report: Report) -> None:
    data, plan = report.head["data"], report.head["plan"]
    board = report.leaderboard()
    timed = board["p95_ms"].notna().any()
    shown = [name for name in _SHOWN if timed or name != "p95_ms"]
    rows = [[row["model"], *(row[name] for name in shown)] for row in _marked(board)]
    title = (
        f"{data['name']}: {data['series']:,} series, freq {data['freq']}, horizon {plan['horizon']}, "
        f"{counted(plan['windows'], 'window')}, season {plan['season']}"
    )
    console.print_table(["model", *shown], rows, title=title, spare=[name for name in _SPARE if name in shown])
    console.say(
        "MASE, sMAPE (percent) and WAPE score the median, bias and RMSSE the mean; seconds are of all processes"
    )
    front = [row["model"] for row in board.to_dict("records") if row["front"]]
    if 1 < len(front) < len(board):
        console.say(f"none is both better and quicker than {', '.join(front)}")
    baseline = report.head["baseline"]
    if board["skill"].isna().all() and not any(model.partition(":")[0] == baseline for model in report.models):
        console.say(f"skill is against {baseline}, which is not among the models: add -m {baseline}")
    if board["with_best"].sum() > 1:
        console.say(f"≈: the difference from the best may be chance (95 %, all pairs taken together{_blocks(report)})")
    if report.conformal is not None:
        from forecastkit.recipes import label

        how = label(report.conformal)
        usual = "" if ":" in how else f" ({INTERVALS})"
        console.say(f"intervals are made from {counted(plan['calibrate'], 'window')} before: {how}{usual}")
    for model, there in report.unfinished.items():
        console.say(f"{model} is left out, as it is not finished ({there}): backtest with --resume goes on")
    failures = report.failures
    for row in failures.drop_duplicates(["model", "reason"]).head(5).to_dict("records"):
        console.say(f"{row['model']} failed on {row['series']!r}: {row['reason']} (seasonal naive stood in)")
    if report.head["left_out"]:
        names = report.head["left_out"]
        miss = counted(len(names), "series misses", "series miss")
        which = f": {names[0]!r}" if len(names) == 1 else f", such as {names[0]!r}"
        console.say(f"{miss} a window, too short or ended before it{which}")
    if short := report.head.get("under_a_season"):
        console.say(
            f"MASE of {short:,} series without a whole season before a cutoff is scaled by change from period to period"
        )


def _blocks(report: Report) -> str:
    """What the models were compared over where series are too few for it."""
    from forecastkit.evaluation.comparison import FEW

    windows = report.head["plan"]["windows"]
    if report.head["data"]["series"] >= FEW:
        return ""
    few = f"with fewer than {FEW} series"
    return f"; {few} one window can't tell" if windows == 1 else f"; {few} judged by {windows} windows"


def show_importance(title: str, table: pd.DataFrame) -> None:
    """What each input is worth, the most first."""
    rows = [[row[name] for name in _INPUTS] for row in table.to_dict("records")]
    console.print_table(_INPUTS, rows, title=title)


def _marked(board: pd.DataFrame) -> Iterator[dict[Any, Any]]:
    """The rows of a leaderboard with what a person reads: who can't be told from the best, MASE from and to."""
    for place, row in enumerate(board.to_dict("records")):
        mark = ("best" if place == 0 else "≈") if row["with_best"] else ""
        bounds = "-" if row["mase_low"] != row["mase_low"] else f"{row['mase_low']:.3f}-{row['mase_high']:.3f}"
        yield {**row, "best": mark, "95 %": bounds}


def _show_groups(name: str, table: pd.DataFrame) -> None:
    keys = [column for column in table.columns if column not in _GROUPED and column not in ("mae", "rmse")]
    order = table.sort_values([*keys[1:], "mase"])
    rows = [[*(_word(row[k]) for k in keys), *(row[k] for k in _GROUPED)] for row in order.to_dict("records")]
    console.print_table([*keys, *_GROUPED], rows, title=f"by {name.replace(',', ' and ')}", spare=_GROUPED_SPARE)


def _word(value: Any) -> Any:
    return value.isoformat(sep=" ").removesuffix(" 00:00:00") if hasattr(value, "isoformat") else value
