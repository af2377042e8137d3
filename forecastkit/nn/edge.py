"""Forecast with numpy and onnxruntime alone: python predict.py < request.json > forecast.json

A request is {"y": [[...], ...], "start": "2024-06-01"}: demand of each series up to its end, null where it is not
known, and the first period to be forecast, one for all or a list, with Z at the end where manifest.json has a zone, as
times are in UTC then. Where it names columns: "known", [series][period][column], with a row for each given period and
the horizon after it, "past" with one for each given period, "static", [series][column], with one a series. A number of
the past that is null is as it was before, else as it is after. A bad request ends with one sentence on stderr and exit
code 2.
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
        history, horizon = self.manifest["history"], self.manifest["horizon"]
        lengths = [len(one) for one in y] if isinstance(y, list) and all(isinstance(one, list) for one in y) else []
        need(
            lengths and min(lengths), "y must be a list of series, each a list of numbers with null where none is known"
        )
        rows = [numbers(one, "y", 1) for one in y]
        empty = [k for k, one in enumerate(rows) if np.isnan(one).all()]
        need(not empty, f"y has no number at all in series {empty}, counted from 0: leave out what has none")
        usual = [float(np.nanmean(one)) for one in rows]
        ahead = self._rows(known, "known", [n + horizon for n in lengths])
        for name, column in zip(
            self._names("known"), np.stack([a[-horizon:] for a in ahead], -1).swapaxes(0, 1), strict=True
        ):
            need(not np.isnan(column).any(), f"known has no {name} for some period of the horizon")
        given = {
            "y": newest(rows, history),
            "known": newest([carried(own[-history - horizon :], -horizon) for own in ahead], history + horizon),
            "past": newest([carried(own[-history:], None) for own in self._rows(past, "past", lengths)], history),
            "static": self._table(static, "static", len(lengths)),
            "calendar": self.features[self._first(start, len(lengths))[:, None] + np.arange(horizon)],
            "usual": np.array(usual),
        }
        found = self.session.run(None, {entry.name: given[entry.name] for entry in self.session.get_inputs()})
        return found[0], found[1]

    def _first(self, start: Any, count: int) -> Any:
        """Where each first period stands in the calendar."""
        texts = [start] * count if isinstance(start, str) else start
        good = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        need(good, f"start must be one text such as 2024-06-01 or a list of one a series, not {start!r}")
        need(len(texts) == count, f"start must be one text or one a series, {count}, not {len(texts)}")
        if self.manifest["zone"]:
            need(all(text.endswith("Z") for text in texts), "start must be in UTC and say so with a Z at its end")
        horizon = self.manifest["horizon"]
        try:
            begun = np.array([text.removesuffix("Z") for text in texts], "M8[s]")
        except ValueError as error:
            need(False, f"start must be a time such as 2024-06-01 or 2024-06-01T05:00:00: {error}")
        first = np.searchsorted(self.times, begun).clip(max=len(self.times) - horizon)
        wrong = [text for text, right in zip(texts, self.times[first] == begun, strict=True) if not right]
        grid = f"{self.times[0]}, {self.times[1]} and so on to {self.times[-horizon]}"
        need(not wrong, f"start must be a period of {grid}, not {', '.join(wrong[:1])}")
        return first

    def _names(self, role: str) -> list[str]:
        return [column["name"] for column in self.manifest["columns"][role]]

    def _rows(self, rows: Any, role: str, lengths: list[int]) -> list[Any]:
        """A table of the role for each series, as long as it must be."""
        if not self._names(role):
            return [np.empty((n, 0)) for n in lengths]
        ahead = f" and then the {self.manifest['horizon']} to be forecast" if role == "known" else ""
        shape = f"{role} must be {role}[series][period][column]: {len(lengths)} series, each with one row of"
        need(listed(rows, len(lengths)), f"{shape} {self._names(role)} for each period of its y{ahead}")
        return [self._table(own, role, n) for own, n in zip(rows, lengths, strict=True)]

    def _table(self, rows: Any, role: str, count: int) -> Any:
        """Numbers as they are, texts as their codes, -1 for a text that the model has never seen."""
        columns, names = self.manifest["columns"][role], self._names(role)
        if not columns:
            return np.empty((count, 0))
        need(isinstance(rows, list), f"{role} must have {count} rows of {names}, not {rows!r}")
        need(all(listed(row, len(columns)) for row in rows), f"each row of {role} must be a list of {names}")
        need(len(rows) == count, f"{role} must have {count} rows of {names}, not {len(rows)}")
        table = [{text: k for k, text in enumerate(column["texts"] or ())} for column in columns]
        plain = all(not isinstance(v, (list, dict)) for row in rows for v in row)
        need(plain, f"each row of {role} must be a list of {names}, without lists in it")
        coded = [[t.get(v, -1) if t else v for t, v in zip(table, row, strict=True)] for row in rows]
        return numbers(coded, f"{role} {[column['name'] for column in columns if not column['texts']]}", 2)


def need(good: Any, what: str) -> None:
    """End with one sentence where a request is not good."""
    if not good:
        sys.stderr.write(f"{what}\n")
        sys.exit(2)


def listed(value: Any, count: int) -> bool:
    """Whether it is a list of so many."""
    return isinstance(value, list) and len(value) == count


def numbers(values: Any, what: str, axes: int) -> Any:
    """An array, NaN where there is null."""
    try:
        out = np.array(values, float)
    except (TypeError, ValueError, OverflowError) as error:
        need(False, f"{what} must hold numbers, and null where none is known: {error}")
    need(out.ndim == axes and not np.isinf(out).any(), f"{what} must hold finite numbers, and null where none is known")
    return out


def asked(text: Any) -> Any:
    """What a request holds, its keys checked."""
    try:
        request = json.load(text)
    except (ValueError, RecursionError) as error:
        need(False, f"the request is no JSON: {error}")
    keys = ("y", "start", "known", "past", "static")
    need(isinstance(request, dict), f"the request must be one JSON object with the keys {', '.join(keys)}")
    need({"y", "start"} <= set(request), "the request must have y and start")
    unknown = sorted(set(request) - set(keys))
    need(not unknown, f"a request has no {', '.join(map(repr, unknown))}; its keys are {', '.join(keys)}")
    return request


def carried(rows: Any, end: int | None) -> Any:
    """Rows that up to `end` have no missing number: it is the one before, else the one after, 0 where none is."""
    for column in rows[:end].T:
        there = np.flatnonzero(~np.isnan(column))
        before = np.searchsorted(there, np.arange(len(column)), side="right") - 1
        column[:] = column[there[before.clip(min=0)]] if len(there) else 0.0
    return rows


def newest(series: Any, periods: int) -> Any:
    """The last periods of each series, NaN before its first."""
    rows = [np.array(one, float)[-periods:] for one in series]
    out = np.full((len(rows), periods, *rows[0].shape[1:]), np.nan)
    for k, row in enumerate(rows):
        out[k, periods - len(row) :] = row
    return out


if __name__ == "__main__":
    bundle = Bundle(Path(__file__).parent)
    mean, quantiles = bundle.predict(**asked(sys.stdin))
    found = {"mean": mean.tolist(), "levels": bundle.manifest["levels"], "quantiles": quantiles.tolist()}
    json.dump(found, sys.stdout)
