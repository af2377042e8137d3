"""docs/results.md, and the README's table, from benchmarks/results/*.json; no figure there is written by hand.

python benchmarks/results.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ORDER = (
    "grocery",
    "covariates",
    "hourly",
    "accuracy_m4_hourly",
    "accuracy_grocery_windows",
    "accuracy_grocery_events",
    "accuracy_breakfast_windows",
    "accuracy_breakfast_three",
    "accuracy_breakfast_gaps",
    "accuracy_breakfast_full",
    "accuracy_stallion",
    "accuracy_carparts",
    *("ensembles_grocery", "ensembles_breakfast", "ensembles_stallion"),
    *("ensembles_m4_hourly", "ensembles_carparts", "auto"),
    "networks_predict",
    "networks_training",
    "networks_history",
    "networks_memory",
    "memory",
    "decoders",
    "heads",
    "seeds",
    "intervals",
    "tuning",
    "arima_speed",
    "arima_threads",
    "arima_fits",
    "arima_accuracy",
    "arima_store",
    "latency",
    "latency_cuda",
    "backtest",
    "tracking",
    "tracking_server",
    "panel",
    "startup",
)
BEGIN, END = "<!-- grocery -->", "<!-- end -->"
HEAD = """# Results

Made by `python benchmarks/results.py` from `benchmarks/results/*.json`; each table says what was measured, where, and
with which command. Seconds of a backtest are summed over processes. `peak_mb` is memory above what the process held
before (the first network of a run also pays for what torch loads when it first trains). MASE, sMAPE and WAPE score the
median, bias and RMSSE the mean. The machine is shared with other work: read ratios within a table, not milliseconds
across tables. How clean the networks' defaults are of these test windows: decision 26 in
[decisions.md](decisions.md).
"""


def main() -> None:
    folder = ROOT / "benchmarks" / "results"
    names = sorted((f.stem for f in folder.glob("*.json")), key=lambda n: (ORDER.index(n) if n in ORDER else 99, n))
    sections = [section(json.loads((folder / f"{name}.json").read_text("utf-8"))) for name in names]
    (ROOT / "docs" / "results.md").write_text("\n".join([HEAD, *sections]), "utf-8")
    readme()


def readme() -> None:
    """Put the grocery table between its two marks on the README's first screen."""
    rows = json.loads((ROOT / "benchmarks" / "results" / "grocery.json").read_text("utf-8"))["rows"]
    lines = ["", "| model | MASE | WAPE | bias | fit s | predict s |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for r in rows:
        accuracy = f"{r['mase']:.3f} | {r['wape']:.3f} | {r['bias']:+.3f}"
        lines.append(f"| {r['model']} | {accuracy} | {r['fit_s']:.1f} | {r['predict_s']:.2f} |")
    first, mark, rest = (ROOT / "README.md").read_text("utf-8").partition(BEGIN)
    _, end, rest = rest.partition(END)
    (ROOT / "README.md").write_text("\n".join([first + mark, *lines, "", end + rest]), "utf-8")


def section(result: dict[str, Any]) -> str:
    machine, versions = result["machine"], result["versions"]
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    facts = [
        f"Command: `{result['command']}`, commit {result['commit']}, {result['when'][:10]}.",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"load {result['load'][0]} at the end; Python {machine['python']}, {libraries}.",
    ]
    notes = "\n".join(f"- {note}" for note in result["notes"])
    return "\n".join([f"## {result['title']}\n", *facts, "", table(result["rows"]), "", notes, ""])


def table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    names = list(rows[0])
    right = {n for n in names if all(isinstance(r[n], (int, float, type(None))) for r in rows)}
    cells = ([cell(r[n], 4 if n.endswith("_sd") else 3) for n in names] for r in rows)
    lines = [names, ["---:" if n in right else "---" for n in names], *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: Any, digits: int = 3) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        f"{value:,.{digits}f}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,}"
        if isinstance(value, (int, float))
        else str(value)
    )


if __name__ == "__main__":
    main()
