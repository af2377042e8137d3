"""What the options of the networks do on real panels: the last window of each, which no option was chosen on.

python benchmarks/recurrent.py memory      what the recurrent state adds: the network with and without it
python benchmarks/recurrent.py heads       quantiles against distributions, from fast movers to spare parts
python benchmarks/recurrent.py decoders    all steps at once against a patch at a time, in the same steps and seconds
python benchmarks/recurrent.py seeds       how much of a figure is the luck of a seed

One network each and not the three of the defaults, which are what `seeds` tries.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from leaderboard import KNOWN, backtest, rounded, shell
from record import record


@dataclass(frozen=True)
class Task:
    """A panel and the flags that its window needs."""

    name: str
    file: str
    flags: tuple[str, ...]


GROCERY = Task("500 grocery items", "m5_foods_ca_top500_daily.parquet", ("--horizon", "28", "--season", "7"))
STORE = Task("a store's items", "m5_ca_1_item_daily.parquet", ("--horizon", "28", "--season", "7", "--sample", "1000"))
HOURLY = Task("M4 Hourly", "m4_hourly.parquet", ("--horizon", "48", "--season", "24"))
PARTS = Task("car parts", "carparts_monthly.parquet", ("--horizon", "12", "--season", "12"))
WEEKLY = Task(
    "breakfast, price and promotions known",
    "breakfast_core_dev_weekly.parquet",
    ("--horizon", "13", "--season", "52", *(word for name in KNOWN for word in ("--known", name))),
)


def rows(panel: Task, models: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row a model, in the order asked for."""
    words = [word for model in models for word in ("-m", model)]
    found = {row["model"]: row for row in backtest(panel.file, *panel.flags, "--jobs", "1", *words)["leaderboard"]}
    return [{"panel": panel.name, **rounded(found[model])} for model in models]


def share(now: dict[str, Any], before: dict[str, Any], metric: str) -> str:
    """The change of a metric in words."""
    return f"{metric.upper()} {100 * (now[metric] / before[metric] - 1):+.1f} %"


def memory() -> None:
    panels, found, notes = (HOURLY, GROCERY, WEEKLY), [], []
    for panel in panels:
        control, model = rows(panel, ("gru:seeds=1,memory=False", "gru:seeds=1"))
        found += [control, model]
        adds = ", ".join(share(model, control, metric) for metric in ("mase", "wape", "wql"))
        notes.append(f"{panel.name}: the state changes {adds}")
    title = "What the recurrent state adds: the network, and the same one with its state zeroed"
    record("memory", title, found, [shell(panel.file, *panel.flags, "-m …") for panel in panels] + notes)


def heads() -> None:
    panels = (GROCERY, STORE, PARTS)
    models = ("gru:seeds=1", "gru:seeds=1,head=negative_binomial", "gru:seeds=1,head=tweedie")
    found = [row for panel in panels for row in rows(panel, models)]
    title = "Heads: quantiles, negative binomial and Tweedie, from fast movers to spare parts"
    record("heads", title, found, [shell(panel.file, *panel.flags, "-m …") for panel in panels])


def decoders() -> None:
    """A step of a rolled network costs as much as horizon / patch steps: shown with as much work, and as many steps."""
    panels = ((GROCERY, 200, ("gru:seeds=1,decoder=rolled,head=negative_binomial",)), (HOURLY, 400, ()))
    found = []
    for panel, steps, more in panels:
        found += rows(
            panel,
            ("gru:seeds=1", f"gru:seeds=1,decoder=rolled,training.steps={steps}", "gru:seeds=1,decoder=rolled", *more),
        )
    title = "Decoders: all steps at once, and a patch at a time on demand drawn from its own forecasts"
    record("decoders", title, found, [shell(panel.file, *panel.flags, "-m …") for panel, _, _ in panels])


def seeds() -> None:
    """Seeds lie far apart, as the networks of a team take the ones after its own."""
    panels, tries = (HOURLY, GROCERY, WEEKLY), 5
    found, each = zip(*(spread(panel, model, tries) for panel in panels for model in ("gru", "boosted")), strict=True)
    notes = []
    for ours, trees in zip(found[::2], found[1::2], strict=True):
        beside = ", ".join(share(ours, trees, metric) for metric in ("mase", "wape", "wql"))
        notes.append(f"{ours['panel']}: gru beside boosted {beside}")
    title = f"The luck of a seed: mean and standard deviation over {tries}, each the seed of a model with all defaults"
    commands = [shell(panel.file, *panel.flags, "-m …") for panel in panels]
    record("seeds", title, list(found), [*commands, *notes, *each])


def spread(panel: Task, model: str, tries: int) -> tuple[dict[str, Any], str]:
    """Errors over seeds: a row of means and standard deviations, and each of them in words; the first is seed 0."""
    tried = rows(panel, (model, *(f"{model}:seed={100 * i}" for i in range(1, tries))))
    errors = {metric: [row[metric] for row in tried] for metric in ("mase", "wape", "wql")}
    found = {
        name: round(value, 5)
        for metric, values in errors.items()
        for name, value in ((metric, mean(values)), (f"{metric}_sd", stdev(values)))
    }
    each = "; ".join(f"{metric} {', '.join(f'{v:.4f}' for v in values)}" for metric, values in errors.items())
    return {"panel": panel.name, "model": model, "seeds": tries, **found}, f"{panel.name}, {model}: {each}"


TABLES = {"memory": memory, "heads": heads, "decoders": decoders, "seeds": seeds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    TABLES[parser.parse_args().table]()


if __name__ == "__main__":
    main()
