"""Loading: a million rows of Parquet into a Panel, against pandas reading and sorting the same file.

python benchmarks/panel.py [--rows 1000000]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from record import medians, record

from forecastkit import read

LENGTH = 1000


def table(rows: int) -> pd.DataFrame:
    series = rows // LENGTH
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"item_{i:06d}" for i in range(series)], LENGTH),
            "ds": np.tile(pd.date_range("2020-01-01", periods=LENGTH), series),
            "y": rng.poisson(5, series * LENGTH).astype(float),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    rows, notes = [], []
    whole = table(options.rows)
    for order, frame in (("sorted", whole), ("shuffled", whole.sample(frac=1, random_state=0))):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "demand.parquet"
            frame.to_parquet(file, index=False)
            measured = medians(
                {
                    "forecastkit.read": lambda file=file: read(file),
                    "pandas read_parquet + sort_values": lambda file=file: pd.read_parquet(file).sort_values(
                        ["unique_id", "ds"]
                    ),
                },
                options.repeats,
            )
        rows += [{"rows": len(frame), "order": order, "what": name, **times} for name, times in measured.items()]
        ours, theirs = measured.values()
        notes.append(
            f"{order}: {ours['wall_ms'] / theirs['wall_ms']:.2f}x pandas' wall time, "
            f"{ours['cpu_ms'] / theirs['cpu_ms']:.2f}x its CPU time (bound: 1.5x)"
        )
    record("panel", f"Loading Parquet into a panel, medians of {options.repeats}, interleaved", rows, notes)


if __name__ == "__main__":
    main()
