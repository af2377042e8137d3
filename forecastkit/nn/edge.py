"""Forecast with numpy and onnxruntime alone: python predict.py < request.json > forecast.json

A request is {"y": [[...], ...], "start": "2024-06-01"}: demand of each series up to its end, null where it is not
known, and the first period to be forecast, one for all or a list. Where manifest.json names columns: "known" with a
row for each given period and the horizon after it, "past" with one for each given period, "static" with one a series.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


class Bundle:
    """The network in a folder; `predict` takes what a request holds."""

    def __init__(self, folder: Path) -> None:
        self.manifest = json.loads((folder / "manifest.json").read_text())
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        with np.load(folder / "calendar.npz") as calendar:
            self.times, self.features = calendar["times"], calendar["features"]

    def predict(self, y: Any, start: Any, known: Any = None, past: Any = None, static: Any = None) -> Any:
        """Mean [B, H] and quantiles [B, H, Q] at the manifest's levels."""
        history, horizon, count = self.manifest["history"], self.manifest["horizon"], len(y)
        first = self._first(np.broadcast_to(np.array(start, "M8[s]"), count), horizon)
        given = {
            "y": newest(y, history),
            "known": self._rows(known, "known", history + horizon, count),
            "past": self._rows(past, "past", history, count),
            "static": self._coded(static, "static", count),
            "calendar": self.features[first[:, None] + np.arange(horizon)],
        }
        return self.session.run(None, {entry.name: given[entry.name] for entry in self.session.get_inputs()})

    def _first(self, start: Any, horizon: int) -> Any:
        """Where each first period stands in the calendar."""
        first = np.searchsorted(self.times, start).clip(max=len(self.times) - horizon)
        if (self.times[first] != start).any():
            sys.exit(f"start must be a period from {self.times[0]} to {self.times[-horizon]}, not {start.tolist()}")
        return first

    def _rows(self, rows: Any, role: str, periods: int, count: int) -> Any:
        if not self.manifest["columns"][role]:
            return np.empty((count, periods, 0))
        return newest([self._coded(series, role, 0) for series in rows or [None]], periods)

    def _coded(self, rows: Any, role: str, count: int) -> Any:
        """Numbers as they are, texts as their codes, -1 for a text that the model has never seen."""
        columns = self.manifest["columns"][role]
        if columns and (rows is None or np.shape(rows)[-1] != len(columns)):
            sys.exit(f"{role} must have the columns {[column['name'] for column in columns]}")
        table = [{text: k for k, text in enumerate(column["texts"] or ())} for column in columns]
        coded = [[t.get(v, -1) if t else v for t, v in zip(table, row, strict=True)] for row in rows or ()]
        return np.array(coded, float).reshape(-1 if columns else count, len(columns))


def newest(series: Any, periods: int) -> Any:
    """The last periods of each series, NaN before its first."""
    rows = [np.array(one, float)[-periods:] for one in series]
    out = np.full((len(rows), periods, *rows[0].shape[1:]), np.nan)
    for k, row in enumerate(rows):
        out[k, periods - len(row) :] = row
    return out


if __name__ == "__main__":
    bundle = Bundle(Path(__file__).parent)
    mean, quantiles = bundle.predict(**json.load(sys.stdin))
    found = {"mean": mean.tolist(), "levels": bundle.manifest["levels"], "quantiles": quantiles.tolist()}
    json.dump(found, sys.stdout)
