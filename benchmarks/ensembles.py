"""Is the default ensemble better than the best of its members, and what does `auto` take?

python benchmarks/ensembles.py members [PANEL...]    ensemble beside each of its members
python benchmarks/ensembles.py auto [PANEL...] [--minutes M]    auto on the newest window, its time and what it chose

PANEL is grocery, breakfast, stallion, m4_hourly or carparts; all when left out. Weights and choices come from windows
before each cutoff; how weights are found was settled on windows before all of these (decision 82). With --quick 20
series are taken, and nothing is written.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import accuracy
from beside import finish, one_thread, unnamed
from record import shared_data

import forecastkit as fk
from forecastkit import Panel, Run
from forecastkit.models.ensemble import Ensemble

WORKS = {
    "grocery": replace(
        accuracy.WORKS["grocery_windows"], windows=2, title="500 grocery items, the last 56 days in 2 windows"
    ),
    "breakfast": replace(
        accuracy.WORKS["breakfast_windows"],
        windows=2,
        title="990 store-product pairs, weekly, price and promotions known, 2 windows of 13 weeks",
    ),
    **{name: accuracy.WORKS[name] for name in ("stallion", "m4_hourly", "carparts")},
}
METRICS = ("mase", "wape", "wql", "coverage")


def read(work: accuracy.Work, quick: bool) -> Panel:
    file = str(shared_data() / f"{work.file}.parquet")
    panel = fk.read(file, known=work.known, static=work.static, available=work.available)
    return panel.take(range(20)) if quick else panel


def plan(work: accuracy.Work, windows: int) -> dict[str, int]:
    return {"horizon": work.horizon, "season": work.season, "windows": windows}


def members(name: str, options: argparse.Namespace) -> None:
    work = WORKS[name]
    models = {text: fk.create(text, season=work.season) for text in ("ensemble", *Ensemble().members)}
    going = Run(progress=accuracy.told, name=work.file)
    report = fk.backtest(
        read(work, options.quick), models, levels=accuracy.LEVELS, run=going, **plan(work, work.windows)
    )
    rows = list(table(report))
    notes = [accuracy.command(work), *reading(rows)]
    finish(f"ensembles_{name}", f"The default ensemble and its members: {work.title}", rows, notes, options.quick)


def table(report: fk.Report) -> Iterator[dict[str, Any]]:
    cpu = report.timings.groupby("model")["cpu_s"].sum()
    for found in report.leaderboard().to_dict("records"):
        scores = {metric: round(found[metric], 4) for metric in METRICS}
        yield {
            "model": found["model"],
            **scores,
            "cpu_s": round(float(cpu[found["model"]]), 1),
            "failed": found["failed"],
        }


def reading(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The ensemble beside the best member of each metric, and its cost beside theirs."""
    ours = next(row for row in rows if row["model"] == "ensemble")
    others = [row for row in rows if row is not ours]
    for metric in METRICS[:3]:
        best = min(others, key=lambda row: row[metric])
        change = 100 * (ours[metric] / best[metric] - 1)
        yield (
            f"{metric}: ensemble {ours[metric]:.4f}, the best member, {best['model']}, {best[metric]:.4f} "
            f"({change:+.1f} %: the ensemble {'loses' if change > 0 else 'wins'})"
        )
    together = sum(row["cpu_s"] for row in others)
    yield f"the ensemble takes {ours['cpu_s'] / together:.2f} of the CPU seconds of its members one by one"


def auto(options: argparse.Namespace) -> None:
    rows = [row_of_auto(name, options) for name in options.panel or WORKS]
    title = f"auto:minutes={options.minutes:g} on the newest window"
    notes = [
        "fit_s: wall-clock of the fit, all that auto tried included, beside the minutes it was given",
        "the ensemble and the best single model of the same panels over more windows stand in the tables above",
    ]
    finish("auto", title, rows, notes, options.quick)


def row_of_auto(name: str, options: argparse.Namespace) -> dict[str, Any]:
    work = WORKS[name]
    recipe = fk.create("auto", minutes=options.minutes, season=work.season)
    with heard("forecastkit.models.auto") as said:
        report = fk.backtest(read(work, options.quick), {"auto": recipe}, levels=accuracy.LEVELS, **plan(work, 1))
    scores, cost = report.leaderboard().to_dict("records")[0], report.timings.iloc[0]
    return {
        "panel": name,
        **{metric: round(scores[metric], 4) for metric in METRICS},
        "fit_s": round(float(cost["fit_s"]), 1),
        "cpu_s": round(float(cost["cpu_s"]), 1),
        "choice": said[-1].removeprefix("auto: "),
    }


@contextmanager
def heard(name: str) -> Iterator[list[str]]:
    """What a logger says in the block: why a model was chosen is no part of a report."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger, level = logging.getLogger(name), logging.getLogger(name).level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("members", "auto"))
    parser.add_argument("panel", nargs="*", metavar="PANEL", help=", ".join(WORKS))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--data", metavar="FOLDER", help="of the panels; $FORECASTKIT_DATA when left out")
    parser.add_argument("--quick", action="store_true", help="20 series, nothing is written")
    options = parser.parse_args()
    if unknown := set(options.panel) - set(WORKS):
        parser.error(f"there is no panel {', '.join(sorted(unknown))}: choose from {', '.join(WORKS)}")
    os.environ["FORECASTKIT_DATA"] = options.data or str(shared_data())
    unnamed(DATA=options.data)
    with one_thread():
        if options.part == "auto":
            auto(options)
        for name in options.panel or WORKS if options.part == "members" else ():
            members(name, options)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
