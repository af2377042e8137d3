"""The worker of benchmarks/networks.py and leaderboard.py, which runs in the rivals' environment without forecastkit.

Its first line on stdout holds the versions of the rivals that are there. Then each line on stdin asks for one thing
(`do`) and is answered by one:

    open      a network of `library` by a `name`, of `sizes` or of the library's own, and the data that it is for
    predict   so many `calls` of it on its first `series`, from a table or from what the library keeps in memory
    train     a fresh one for so many `steps` in a `precision`
    forecast  a model of statsforecast on each of `series`

Answers hold seconds of CPU and of wall-clock, one for each call; nothing is estimated well, as speed does not ask how
good the weights are.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd

LIBRARIES = ("neuralforecast", "darts", "statsforecast", "torch")
FEW = 3  # steps that are enough for a network whose speed alone is asked for
SERIES = 32  # of a step of neuralforecast's, its default, which draws the windows from them
QUIET = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


class Network(ABC):
    """A network and its data: `frame` is the long table of all series, `sizes` hidden, layers and context or None."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.horizon, self.freq, self.sizes = asked["horizon"], asked["freq"], asked["sizes"]
        self.trainer = QUIET | {"accelerator": {"cpu": "cpu", "cuda": "gpu"}[asked["device"]], "devices": 1}
        values = np.array(asked["y"])  # [N, T]
        names = [f"item_{i:05d}" for i in range(len(values))]
        times = pd.date_range("2022-01-01", periods=values.shape[1], freq=self.freq)
        self.frame = pd.DataFrame(
            {"unique_id": np.repeat(names, len(times)), "ds": np.tile(times, len(names)), "y": values.ravel()}
        )
        self.length = len(times)

    @abstractmethod
    def train(self, steps: int, precision: str = "fp32") -> None: ...

    @abstractmethod
    def from_table(self, series: int) -> Callable[[], pd.DataFrame]:
        """The call from a table of the first `series` to a table."""

    @abstractmethod
    def from_memory(self, series: int) -> Callable[[], Any]:
        """The call from the library's own form of data to its own form of a forecast."""


class Neuralforecast(Network):
    def _new(self, steps: int, precision: str) -> Any:
        from neuralforecast import NeuralForecast
        from neuralforecast.models import GRU

        own: dict[str, Any] = {}
        if self.sizes:
            own = {
                "input_size": self.sizes["context"],
                "encoder_hidden_size": self.sizes["hidden"],
                "encoder_n_layers": self.sizes["layers"],
                "batch_size": SERIES,
                "windows_batch_size": self.sizes["batch"],
            }
        options = self.trainer | {"precision": PRECISIONS[precision]}
        return NeuralForecast([GRU(self.horizon, max_steps=steps, **own, **options)], freq=self.freq)

    def train(self, steps: int, precision: str = "fp32") -> None:
        self.model = self._new(steps, precision)
        self.model.fit(self.frame)

    def from_table(self, series: int) -> Callable[[], pd.DataFrame]:
        part = self.frame[: series * self.length]
        return lambda: self.model.predict(part)

    def from_memory(self, series: int) -> Callable[[], Any]:
        if series * self.length != len(self.frame):
            raise ValueError("neuralforecast predicts all the series that it was fitted on")
        return self.model.predict


class Darts(Network):
    def __init__(self, asked: dict[str, Any]) -> None:
        super().__init__(asked)
        self.kept = self._series(self.frame)

    def _series(self, frame: pd.DataFrame) -> list[Any]:
        from darts import TimeSeries

        one = len(frame) == self.length
        if one:
            return [TimeSeries.from_dataframe(frame, time_col="ds", value_cols="y", freq=self.freq).astype(np.float32)]
        found = TimeSeries.from_group_dataframe(frame, "unique_id", time_col="ds", value_cols="y", freq=self.freq)
        return [series.astype(np.float32) for series in found]

    def _new(self, steps: int, precision: str) -> Any:
        from darts.models import BlockRNNModel

        context, own = 3 * self.horizon, {"use_static_covariates": False}  # without a default: neuralforecast's
        if self.sizes:
            context = self.sizes["context"]
            own |= {"hidden_dim": self.sizes["hidden"], "n_rnn_layers": self.sizes["layers"]}
            own |= {"batch_size": self.sizes["batch"]}
        options = self.trainer | {"max_steps": steps, "precision": PRECISIONS[precision]}
        return BlockRNNModel(
            context, self.horizon, model="GRU", n_epochs=steps, pl_trainer_kwargs=options, random_state=0, **own
        )

    def train(self, steps: int, precision: str = "fp32") -> None:
        self.model = self._new(steps, precision)
        self.model.fit(self.kept, verbose=False)

    def from_table(self, series: int) -> Callable[[], pd.DataFrame]:
        part = self.frame[: series * self.length]
        return lambda: pd.concat([s.to_dataframe() for s in self._predict(self._series(part))])

    def from_memory(self, series: int) -> Callable[[], Any]:
        part = self.kept[:series]
        return lambda: self._predict(part)

    def _predict(self, series: list[Any]) -> list[Any]:
        # One large batch, the fairest: by default it takes 32 series at a time.
        size = min(len(series), 1024)
        return list(self.model.predict(self.horizon, series=series, batch_size=size, verbose=False))


NETWORKS: dict[str, type[Network]] = {"neuralforecast": Neuralforecast, "darts": Darts}


def opened(asked: dict[str, Any], kept: dict[str, Network]) -> dict[str, Any]:
    network = kept[asked["name"]] = NETWORKS[asked["library"]](asked)
    network.train(FEW)
    return {}


def predicted(asked: dict[str, Any], kept: dict[str, Network]) -> dict[str, Any]:
    network = kept[asked["name"]]
    call = network.from_table(asked["series"]) if asked["way"] == "table" else network.from_memory(asked["series"])
    call()
    return timed(call, asked["calls"])


def trained(asked: dict[str, Any], kept: dict[str, Network]) -> dict[str, Any]:
    return timed(lambda: kept[asked["name"]].train(asked["steps"], asked["precision"]), 1)


def forecast(asked: dict[str, Any], _: dict[str, Network]) -> dict[str, Any]:
    """Mean [N, H] and quantiles [N, H, 2], the ends of the `level` per cent in the middle."""
    from statsforecast import models

    name, _, options = asked["model"].partition(":")
    own = {word: True for word in options.split(",") if word}
    level, found = asked["level"], []
    cpu = time.process_time()
    for k, y in enumerate(asked["series"]):
        model = getattr(models, name)(season_length=asked["season"], **own)
        found.append(model.forecast(y=np.array(y), h=asked["horizon"], level=[level]))
        if (k + 1) % 100 == 0:
            print(f"{asked['model']}: {k + 1} of {len(asked['series'])} series", file=sys.stderr)
    quantiles = [np.stack([one[f"lo-{level}"], one[f"hi-{level}"]], axis=-1).tolist() for one in found]
    mean = [one["mean"].tolist() for one in found]
    return {"cpu_s": time.process_time() - cpu, "mean": mean, "quantiles": quantiles}


def timed(call: Callable[[], Any], calls: int) -> dict[str, Any]:
    costs: dict[str, list[float]] = {"cpu_s": [], "wall_s": []}
    for _ in range(calls):
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        costs["cpu_s"].append(time.process_time() - cpu)
        costs["wall_s"].append(time.perf_counter() - wall)
    return costs


DO = {"open": opened, "predict": predicted, "train": trained, "forecast": forecast}


def versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    # Answers go out by a descriptor of their own, so that what a library prints can't come between them.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(json.dumps(versions()), file=out, flush=True)
    kept: dict[str, Network] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(DO[asked["do"]](asked, kept)), file=out, flush=True)


if __name__ == "__main__":
    main()
