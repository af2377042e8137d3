"""How accurate the networks are beside the other models and statsforecast: real demand, defaults, one panel a table.

python benchmarks/accuracy.py PANEL [PANEL...] [--rivals PYTHON] [-m MODEL] [--device cpu|cuda] [--data FOLDER]

PYTHON (or the variable FORECASTKIT_RIVALS) is that of a virtual environment with statsforecast in it. -m adds models to
those of the panel, gru:hidden=128 for instance, and --rival one of statsforecast, MSTL for instance. With --folder
the backtests are kept there, and what was computed before an interruption is not computed again. Without PYTHON the
rows of statsforecast stay as they were, with a note that says so. With --quick 20 series are taken, and nothing is
written.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from beside import Worker, finish, one_thread, the_worker, unnamed
from networks import WORKER
from record import RESULTS, shared_data

import forecastkit as fk
from forecastkit import Fitted, Forecaster, Panel, Run

LEVELS = (0.1, 0.5, 0.9)
MIDDLE = 80  # per cent between the outer levels
NAIVE2 = {"smape": 18.383, "mase": 2.395}  # published for M4 Hourly; their mean ratio to it is OWA
METRICS = ("mase", "wape", "smape", "rmsse", "bias", "wql", "coverage")
SIMPLE = ("seasonal_naive", "window_average", "theta", "ets")
PROMOTIONS = ("price", "feature", "display")
BEER = (
    *("price_regular", "price_actual", "discount", "discount_in_percent", "easter_day", "good_friday", "new_year"),
    *("christmas", "labor_day", "independence_day", "revolution_day_memorial", "regional_games"),
    *("fifa_u_17_world_cup", "football_gold_cup", "beer_capital", "music_fest"),
)


@dataclass(frozen=True)
class Work:
    """A panel, its backtest, and who takes part; known, static and available are columns, rivals of statsforecast."""

    title: str
    file: str
    horizon: int
    season: int
    windows: int
    models: tuple[str, ...]
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    available: str | None = None
    rivals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


GROCERY, BREAKFAST = "m5_foods_ca_top500_daily", "breakfast_core_dev_weekly"
WORKS = {
    "m4_hourly": Work(
        "M4 Hourly, the official test part",
        "m4_hourly",
        48,
        24,
        1,
        ("gru", "lstm", "gru:seeds=1", "lstm:seeds=1", "sarima", "seasonal_naive"),
        notes=(
            "bounds: OWA 0.44 for one network, 0.425 for several",
            "published OWA: the winner ES-RNN 0.440, Pawlikowski 0.444, FFORMA 0.484, seasonal naive 0.627",
        ),
    ),
    "grocery_windows": Work(
        "500 grocery items, the last 112 days in 4 windows",
        GROCERY,
        28,
        7,
        4,
        ("gru", "lstm", "boosted", "sarima", "auto_arima", "seasonal_naive", "window_average", "theta"),
        rivals=("AutoARIMA", "AutoETS", "DynamicOptimizedTheta"),
        notes=("the networks are to have the best MASE and wql of all",),
    ),
    "grocery_events": Work(
        "500 grocery items, the last 28 days, with events and food stamp days known",
        GROCERY,
        28,
        7,
        1,
        ("gru", "lstm", "boosted", "seasonal_naive"),
        known=("snap", "event_name", "event_type"),
        static=("store_id", "dept_id"),
        notes=("bounds of the networks: MASE 0.785, WAPE 0.42, without any covariates",),
    ),
    "breakfast_windows": Work(
        "990 store-product pairs, weekly, price and promotions known, 4 windows of 13 weeks",
        BREAKFAST,
        13,
        52,
        4,
        ("gru", "lstm", "boosted", "sarima", "seasonal_naive", "window_average"),
        known=PROMOTIONS,
        notes=("bounds of the networks: mean MASE 0.558, WAPE 0.283",),
    ),
    "breakfast_full": Work(
        "990 store-product pairs, weekly, the last 13 weeks, all promotions, products, stores and gaps told",
        BREAKFAST,
        13,
        52,
        1,
        ("gru", "lstm", "boosted", "seasonal_naive"),
        known=(*PROMOTIONS, "base_price", "tpr_only"),
        static=("store_id", "upc_id", "category", "sub_category", "manufacturer", "store_segment", "state"),
        available="observed",
        notes=("bounds of the networks: MASE 0.545, WAPE 0.28; weeks without a record are not scored here",),
    ),
    "breakfast_gaps": Work(
        "990 store-product pairs, weekly, price, promotions and gaps known, the last 13 weeks, five seeds",
        BREAKFAST,
        13,
        52,
        1,
        ("gru", *(f"gru:seed={i}00" for i in range(1, 5)), "lstm", "boosted", "seasonal_naive"),
        known=PROMOTIONS,
        available="observed",
        notes=("bounds of the networks: MASE 0.545, WAPE 0.28; weeks without a record are not scored here",),
    ),
    "stallion": Work(
        "Beer by agency and product, monthly, prices and events known, 4 windows of 6 months",
        "stallion_monthly",
        6,
        12,
        4,
        ("gru", "lstm", "boosted", "sarima", "auto_arima", *SIMPLE),
        known=BEER,
        static=("agency", "sku"),
    ),
    "carparts": Work(
        "Spare parts, monthly, three quarters of the values zero, the last 12 months",
        "carparts_monthly",
        12,
        12,
        1,
        ("gru", "lstm", "boosted", "sarima", "auto_arima", "historic_mean", *SIMPLE),
        notes=("most medians are 0 here: MASE scores a forecast of nothing well, RMSSE and bias score the mean",),
    ),
}
WORKS["breakfast_three"] = replace(
    WORKS["breakfast_windows"],
    title="990 store-product pairs, weekly, price and promotions known, 3 windows of 13 weeks",
    windows=3,
    notes=(),
)


@dataclass(frozen=True, kw_only=True)
class Statsforecast(Forecaster):
    """A model of statsforecast on each series, in its own process; `spent` adds up its seconds of CPU."""

    name: ClassVar[str] = "statsforecast"
    pooled: ClassVar[bool] = True  # all series in one question

    model: str
    season: int
    worker: Worker = field(repr=False, compare=False)
    spent: list[float] = field(default_factory=list, repr=False, compare=False)

    def _fit(self, train: Panel, horizon: int) -> Fitted:
        series = [train.series(i).tolist() for i in range(len(train))]
        asked = {"model": self.model, "season": self.season, "horizon": horizon, "level": MIDDLE, "series": series}
        answer = self.worker.ask(do="forecast", **asked)
        self.spent.append(answer["cpu_s"])
        mean, outer = np.array(answer["mean"]), np.array(answer["quantiles"])  # [N, H], [N, H, 2]
        return Answered(recipe=self, history=train, mean=mean, outer=outer)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        """None: it needs a process of its own."""
        return iter(())


@dataclass(frozen=True, eq=False, kw_only=True)
class Answered(Fitted):
    """What statsforecast said; its median is its mean."""

    mean: Any
    outer: Any

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Any) -> tuple[Any, Any]:
        low, high = self.outer[:, :horizon, 0], self.outer[:, :horizon, 1]
        mean = self.mean[:, :horizon]
        return mean, np.stack([{0.1: low, 0.5: mean, 0.9: high}[level] for level in levels], axis=-1)


def run(name: str, options: argparse.Namespace, worker: Worker | None) -> None:
    work = WORKS[name]
    panel = fk.read(
        str(shared_data() / f"{work.file}.parquet"),
        known=work.known,
        static=work.static,
        available=work.available,
    )
    panel = panel.take(range(20)) if options.quick else panel
    models = entries(work, options, worker)
    folder = options.folder and Path(options.folder) / name
    going = Run(folder=folder, resume=folder is not None, progress=told, name=work.file)
    plan = {"horizon": work.horizon, "season": work.season, "windows": work.windows}
    report = fk.backtest(panel, models, levels=LEVELS, run=going, **plan)
    notes = [command(work), *work.notes]
    notes += [READING] if any(isinstance(recipe, Statsforecast) for recipe in models.values()) else []
    earlier, said = ([], []) if worker or options.quick else kept(f"accuracy_{name}")
    found = sorted([*rows(report, work, models), *earlier], key=lambda row: row["mase"])
    notes += said
    device = "" if options.device == "cpu" else f"_{options.device}"
    notes += [*reading(found, models), *newest(report, work)]
    finish(f"accuracy_{name}{device}", work.title, found, notes, options.quick)


def kept(name: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of statsforecast that the record has already, which no change of ours moves, and a note of them."""
    place = RESULTS / f"{name}.json"
    record = json.loads(place.read_text()) if place.exists() else {"rows": []}
    found = [row for row in record["rows"] if row["model"].startswith("statsforecast")]
    if not found:
        return [], []
    older = [note for note in record["notes"] if note.startswith(KEPT)]  # kept before: of a run earlier still
    return found, [READING, *(older or [f"{KEPT} {record['when'][:10]}, commit {record['commit']}"])]


KEPT = "statsforecast: rows of another run, of"
READING = "statsforecast: seconds are those of its own process, and its median is its mean"


def entries(work: Work, options: argparse.Namespace, worker: Worker | None) -> dict[str, Forecaster]:
    """Recipes by what they are called in the table."""
    found: dict[str, Forecaster] = {}
    for text in dict.fromkeys([*work.models, *options.model]):
        recipe = fk.create(text, season=work.season, device=options.device)
        found[text] = recipe
    for model in dict.fromkeys([*work.rivals, *options.rival]) if worker else ():
        title = f"statsforecast {model.replace(':', ', ')}"
        found[title] = Statsforecast(model=model, season=work.season, worker=worker)
    return found


def told(done: int, total: int, what: str) -> None:
    print(f"{what}: {done} of {total}", file=sys.stderr)


def command(work: Work) -> str:
    """The same by the command."""
    columns = {"--known": work.known, "--static": work.static}
    flags = [f"{flag} {name}" for flag, names in columns.items() for name in names]
    flags += [f"--available {work.available}"] if work.available else []
    plan = f"--horizon {work.horizon} --season {work.season} --windows {work.windows}"
    return f"`forecastkit backtest $FORECASTKIT_DATA/{work.file}.parquet {' '.join([plan, *flags])} -m …`"


def rows(report: fk.Report, work: Work, models: dict[str, Forecaster]) -> Iterator[dict[str, Any]]:
    cpu = report.timings.groupby("model")["cpu_s"].sum()
    owa = work.file == "m4_hourly"
    for found in report.leaderboard().to_dict("records"):
        recipe = models[found["model"]]
        yield {
            "model": found["model"],
            **{name: round(found[name], 4) for name in METRICS},
            **({"owa": round(float(np.mean([found[m] / NAIVE2[m] for m in NAIVE2])), 4)} if owa else {}),
            "cpu_s": spent(recipe, work) if isinstance(recipe, Statsforecast) else round(float(cpu[found["model"]]), 1),
            "series": found["series"],
            "failed": found["failed"],
        }


def spent(recipe: Statsforecast, work: Work) -> float | None:
    """Seconds of CPU; None where some windows were there from an earlier run."""
    return round(sum(recipe.spent), 1) if len(recipe.spent) == work.windows else None


def reading(found: list[dict[str, Any]], models: dict[str, Forecaster]) -> Iterator[str]:
    """The best network beside the best of the others."""
    networks = [row for row in found if row["model"] in models and models[row["model"]].name in ("gru", "lstm")]
    others = [row for row in found if row not in networks]
    for metric in ("mase", "wape", "wql") if others else ():
        ours, best = (min(rows, key=lambda row: row[metric]) for rows in (networks, others))
        change = 100 * (ours[metric] / best[metric] - 1)
        yield (
            f"{metric}: {ours['model']} {ours[metric]:.4f}, the best of the others {best['model']} {best[metric]:.4f} "
            f"({change:+.1f} %: the networks {'lose' if change > 0 else 'win'})"
        )


def newest(report: fk.Report, work: Work) -> Iterator[str]:
    """The three best models of this run in the last window, where networks may go on from earlier windows."""
    if work.windows == 1:
        return
    scores = report.scores(["model", "window"])
    last = scores[scores["window"] == work.windows - 1].nsmallest(3, "mase")
    for row in last.to_dict("records"):
        errors = ", ".join(f"{metric} {row[metric]:.4f}" for metric in ("mase", "wape", "wql"))
        yield f"among the best three of this run in the last of the {work.windows} windows, {row['model']}: {errors}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panel", nargs="+", choices=WORKS)
    parser.add_argument("-m", "--model", action="append", default=[], help="one more, repeatable")
    parser.add_argument("--rival", action="append", default=[], help="a model of statsforecast, repeatable")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data", metavar="FOLDER", help="of the panels; $FORECASTKIT_DATA when left out")
    parser.add_argument("--folder", help="where the backtests are kept, to go on with them")
    parser.add_argument("--rivals", metavar="PYTHON", default=os.environ.get("FORECASTKIT_RIVALS"))
    parser.add_argument("--quick", action="store_true", help="20 series, nothing is written")
    options = parser.parse_args()
    os.environ["FORECASTKIT_DATA"] = options.data or str(shared_data())
    unnamed(RIVALS=options.rivals, DATA=options.data, FOLDER=options.folder)
    with the_worker(options.rivals, WORKER) as worker, one_thread():
        for name in options.panel:
            run(name, options, worker)


if __name__ == "__main__":
    main()
