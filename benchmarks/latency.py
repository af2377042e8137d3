"""How fast every model answers, by every way there is to ask it, and how good the answer is.

python benchmarks/latency.py [--scenario single|multi|server|offline] [-m MODEL] [--device cpu|cuda] [--plot FILE]

The harness is that of `forecastkit bench latency`; docs/serving.md explains scenarios, variants and columns. Models
are fitted on all but the last 28 days of a synthetic shop, or of the panel in --data, so that the error is one of
unseen demand. Ctrl-C ends the run and keeps what was measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from beside import finish, one_thread, unnamed

import forecastkit as fk
from forecastkit import Panel, models
from forecastkit.data import synthetic
from forecastkit.errors import MissingExtraError
from forecastkit.evaluation import latency
from forecastkit.evaluation.latency import Row
from forecastkit.evaluation.plots import Point, plot
from forecastkit.evaluation.subjects import SCENARIOS, Load, Subject, subjects

HORIZON = 28
SERIES, DAYS = 256, 400
CONSTANT = ("horizon", "threads", "device")  # columns that are the same in all rows


def measured(text: str, panel: Panel, options: argparse.Namespace) -> Iterator[Row]:
    """The rows of one model, in all scenarios."""
    begun = time.perf_counter()
    fitted = fk.create(text, device=options.device).fit(panel.cut(panel.lengths - HORIZON), horizon=HORIZON)
    print(f"{text}: fitted in {time.perf_counter() - begun:.1f} s", file=sys.stderr)
    found, refused = subjects(fitted, Load(horizon=HORIZON), actual=panel)
    for variant, reason in refused.items() if len(found) > 2 else ():
        print(f"{text}, {variant} left out: {reason}", file=sys.stderr)
    import_s = latency.import_seconds(fitted.recipe.name)
    chosen = [replace(subject, model=text, import_s=import_s) for subject in found]
    yield from in_scenarios(chosen, len(panel), options)


def in_scenarios(chosen: Sequence[Subject], items: int, options: argparse.Namespace) -> Iterator[Row]:
    for scenario in options.scenario or SCENARIOS:
        load = Load(scenario, seconds=options.seconds, horizon=HORIZON)
        yield from latency.measure(chosen, load, items, progress)


def progress(done: int, total: int, what: str) -> None:
    print(f"  {done + 1} of {total}: {what}", file=sys.stderr)


def drawn(rows: Sequence[Row], scenario: str, options: argparse.Namespace) -> list[str]:
    """The plot of one scenario; the note that shows it."""
    if not options.plot:
        return []
    shown = [row for row in rows if row.scenario == scenario and row.error is not None]
    points = [Point(row.model, row.variant, row.cpu_ms, row.error) for row in shown]
    plot(points, options.plot, title=scenario, ms="CPU milliseconds a call", error="WAPE of the median")
    return [f"![Latency against error, {scenario}]({options.plot.removeprefix('docs/')})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", action="append", help="repeatable; all when left out")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="repeatable; all when left out")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--data", metavar="FILE", help="a panel of one's own")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row")
    parser.add_argument("--plot", metavar="FILE", help="latency against error of the first scenario")
    parser.add_argument("--quick", action="store_true", help="16 series, nothing is written but the plot")
    options = parser.parse_args()
    panel = fk.read(options.data) if options.data else synthetic.retail(series=SERIES, periods=DAYS).panel.bare()
    panel = panel.take(range(16)) if options.quick else panel
    rows: list[Row] = []
    notes = [
        "LoadGen-style scenarios, not an MLPerf result; one thread; error is the WAPE of the median on unseen demand"
    ]
    try:
        with one_thread():
            for text in options.model or models.available():
                try:
                    rows += measured(text, panel, options)
                except MissingExtraError as error:
                    notes.append(f"{text} left out: {error}")
    except KeyboardInterrupt:
        notes.append("cut short")
    unnamed(FILE=options.data)
    notes += drawn(rows, (options.scenario or SCENARIOS)[0], options)
    name = "latency" if options.device == "cpu" else f"latency_{options.device}"
    title = (
        f"Latency of {HORIZON} days from {len(panel)} series, {options.device}, milliseconds; p99 from 1,000 calls on"
    )
    shown = [{k: v for k, v in row.as_dict().items() if k not in CONSTANT} for row in rows]
    finish(name, title, shown, notes, options.quick)


if __name__ == "__main__":
    main()
