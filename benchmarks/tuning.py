"""What tuning gains over the defaults on windows that the search never saw: gru and ets on real panels.

python benchmarks/tuning.py [grocery beer medicines] [-m ets -m gru] [--trials 12] [--minutes M] [--storage FOLDER]

The search sees the windows before the last two, which only judge. Its defaults are the first trial, so it can end where
it began; the interval is a bootstrap over series. What is found is written after each search, and rows of searches that
are not asked for stay. With a storage an interrupted search goes on; --minutes begins no trial after that.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from beside import unnamed
from record import RESULTS, record, shared_data

from forecastkit import Panel, read
from forecastkit.data import datasets
from forecastkit.evaluation.gain import Gain, gain
from forecastkit.tuning import Search, Tuned, tune
from forecastkit.tuning.search import DEFAULTS, TUNED

MODELS = ("ets", "gru")
WINDOWS, HOLDOUT = 3, 2
BY = "wape"


@dataclass(frozen=True)
class Case:
    """A panel, what is asked of it, and how many of its series."""

    title: str
    source: str
    horizon: int
    series: int | None = None

    def panel(self) -> Panel:
        if self.source == "pbs":
            return datasets.load("pbs")
        panel = read(shared_data() / self.source)
        if self.series is None:
            return panel
        return panel.take(np.sort(np.random.default_rng(0).choice(len(panel), self.series, replace=False)))


CASES = {
    "beer": Case("beer, monthly, 350 series", "stallion_monthly.parquet", 6),
    "grocery": Case("grocery items, daily, 200 of 500", "m5_foods_ca_top500_daily.parquet", 28, 200),
    "medicines": Case("medicines (pbs), monthly, 336 series", "pbs", 12),
}


def row(case: Case, model: str, tuned: Tuned, seconds: float) -> dict[str, Any]:
    scores = tuned.report.scores().set_index("model")[BY]
    by_mase = gain(tuned.report, "mase", DEFAULTS, TUNED)
    return {
        "panel": f"{case.title}, horizon {case.horizon}",
        "model": model,
        "trials": len(tuned.trials),
        "search: defaults": round(tuned.scores[DEFAULTS], 4),
        "search: tuned": round(tuned.scores[TUNED], 4),
        "untouched: defaults": round(float(scores[DEFAULTS]), 4),
        "untouched: tuned": round(float(scores[TUNED]), 4),
        "gain": between(tuned.gain),
        "gain in MASE": between(by_mase),
        "verdict": verdict(tuned),
        "search_s": round(seconds),
    }


def between(found: Gain) -> str:
    return f"{100 * found.value:+.1f} % ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def verdict(tuned: Tuned) -> str:
    """What the interval allows to say."""
    if tuned.recipe == tuned.base:
        return "the defaults stay"
    if tuned.gain.low > 0:
        return "gains"
    return "loses" if tuned.gain.high < 0 else "may be chance"


def notes(found: list[dict[str, Any]]) -> list[str]:
    counts = {word: sum(row["verdict"] == word for row in found) for word in ("gains", "may be chance", "loses")}
    stay = sum(row["verdict"] == "the defaults stay" for row in found)
    return [
        f"WAPE on {WINDOWS} windows of the search and, pooled, on the {HOLDOUT} after them that it never saw; the gain "
        "is the share by which WAPE there is lower, with its 95 % interval over series",
        f"of {len(found)} searches {counts['gains']} gained, {counts['loses']} lost, {stay} kept the defaults; in "
        f"{counts['may be chance']} the difference may be chance",
        "small searches, sized for one busy core; search_s is wall-clock, of the last part where one was gone on with",
        "rows are made search by search, the command above is that of the last one; with fewer trials it was cut short",
    ]


def others(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of earlier searches that were not made again."""
    file = RESULTS / "tuning.json"
    before = json.loads(file.read_text("utf-8"))["rows"] if file.exists() else []
    again = {(row["panel"], row["model"]) for row in found}
    return [row for row in before if (row["panel"], row["model"]) not in again]


def search_of(name: str, model: str, options: argparse.Namespace) -> Search:
    storage = None if options.storage is None else str(Path(options.storage) / f"{name}-{model}.log")
    resume = storage is not None and Path(storage).exists()
    timeout = None if options.minutes is None else 60 * options.minutes
    kept = {"storage": storage, "resume": resume, "timeout_s": timeout}
    return Search(trials=options.trials, holdout=HOLDOUT, by=BY, **kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=[], metavar="CASE", help=", ".join(CASES))
    parser.add_argument("-m", "--model", action="append", choices=MODELS)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--storage", metavar="FOLDER")
    options = parser.parse_args()
    unnamed(FOLDER=options.storage)
    found: list[dict[str, Any]] = []
    for name in options.cases or CASES:
        case = CASES[name]
        panel = case.panel()
        for model in options.model or MODELS:
            begun = time.perf_counter()
            search = search_of(name, model, options)
            tuned = tune(panel, model, horizon=case.horizon, windows=WINDOWS, search=search)
            found.append(row(case, model, tuned, time.perf_counter() - begun))
            rows = others(found) + found
            record("tuning", "What tuning gains on untouched windows", rows, notes(rows))


if __name__ == "__main__":
    main()
