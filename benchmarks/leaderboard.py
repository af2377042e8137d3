"""The main job on real panels: all families, and what covariates gain.

python benchmarks/leaderboard.py grocery      500 grocery items, daily, horizon 28
python benchmarks/leaderboard.py covariates   990 store-product pairs, weekly, with and without price and promotions
python benchmarks/leaderboard.py hourly       M4 Hourly, 414 series, horizon 48
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from record import record, shared_data

FAMILIES = (
    "naive",
    "seasonal_naive",
    "ets",
    "theta",
    "arima",
    "sarima",
    "auto_arima",
    "prophet",
    "boosted",
    "lstm",
    "gru",
)
METRICS = ("mase", "rmsse", "wape", "smape", "bias", "wql", "coverage")
SHOWN = ("model", *METRICS, "fit_s", "predict_s", "peak_mb", "series", "failed")
READING = (
    "naive and arima have no season: they carry the hour of the cutoff on, arima(1, 1, 1) with its momentum",
    "theta and ets hold one season of 24 hours and no week; the official Theta has OWA 1.006 on this set too",
    "published, single numbers of the whole competition: the winner ES-RNN has sMAPE 9.328 and MASE 0.893",
)
KNOWN = ("price", "feature", "display")


def backtest(file: str, *flags: str) -> dict[str, Any]:
    """What `forecastkit backtest FILE FLAGS --json` prints."""
    command = [sys.executable, "-m", "forecastkit", "backtest", str(shared_data() / file), *flags, "--json"]
    # One thread each, so that seconds mean the same for every model and a busy machine disturbs least.
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    digits = {"fit_s": 1, "predict_s": 2, "peak_mb": 0}
    return {k: round(row[k], digits.get(k, 4)) if isinstance(row[k], float) else row[k] for k in SHOWN}


def models(names: tuple[str, ...]) -> list[str]:
    return [word for name in names for word in ("-m", name)]


def shell(file: str, *flags: str) -> str:
    return f"`forecastkit backtest $FORECASTKIT_DATA/{file} {' '.join(flags)}`"


def grocery() -> None:
    file, flags = "m5_foods_ca_top500_daily.parquet", ("--horizon", "28", "--season", "7", "--windows", "1")
    result = backtest(file, *flags, *models(FAMILIES))
    notes = [shell(file, *flags, "-m …")]
    record("grocery", "500 grocery items (M5, California), daily, the last 28 days", _rows(result), notes)


def hourly() -> None:
    file, flags = "m4_hourly.parquet", ("--horizon", "48", "--season", "24", "--windows", "1")
    names = tuple(name for name in FAMILIES if name != "prophet")
    result = backtest(file, *flags, *models(names))
    notes = [shell(file, *flags, "-m …"), *READING]
    record("hourly", "M4 Hourly, 414 series, the official test part", _rows(result), notes)


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [rounded(row) for row in result["leaderboard"]]


def covariates() -> None:
    file, names = "breakfast_core_dev_weekly.parquet", ("seasonal_naive", "sarima", "prophet", "boosted", "lstm", "gru")
    flags = ("--horizon", "13", "--season", "52", "--windows", "1")
    known = [word for name in KNOWN for word in ("--known", name)]
    without = {r["model"]: r for r in backtest(file, *flags, *models(names))["leaderboard"]}
    with_ = {r["model"]: r for r in backtest(file, *flags, *known, *models(names))["leaderboard"]}
    rows = [
        {"model": name, "covariates": word, **{k: v for k, v in rounded(found[name]).items() if k != "model"}}
        for name in names
        for word, found in (("none", without), (", ".join(KNOWN), with_))
    ]
    notes = [shell(file, *flags, *known, "-m …")] + [
        f"{name}: MASE {without[name]['mase']:.3f} without, {with_[name]['mase']:.3f} with covariates "
        f"({100 * (with_[name]['mase'] / without[name]['mase'] - 1):+.1f} %)"
        for name in names[1:]
    ]
    title = "990 store-product pairs, weekly, the last 13 weeks, without and with price and promotions known"
    record("covariates", title, rows, notes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panel", choices=("grocery", "covariates", "hourly"))
    {"grocery": grocery, "covariates": covariates, "hourly": hourly}[parser.parse_args().panel]()


if __name__ == "__main__":
    main()
