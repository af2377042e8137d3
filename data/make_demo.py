"""Make demo.csv: 20 synthetic items over 400 days, the data set `demo` as a table.

python data/make_demo.py
"""

from __future__ import annotations

from pathlib import Path

from forecastkit.data import datasets


def table() -> str:
    frame = datasets.load("demo").to_frame()
    frame["ds"] = frame["ds"].dt.strftime("%Y-%m-%d")
    frame["price"] = frame["price"].round(2)
    whole = dict.fromkeys(("y", "promotion", "holiday", "available"), int)
    return str(frame.astype(whole).to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    (Path(__file__).parent / "demo.csv").write_text(table(), "utf-8")
