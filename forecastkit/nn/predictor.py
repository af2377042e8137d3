"""The compiled predictor: arrays in, arrays out, no table, no Python loop over series.

    predictor = fitted.compile("onnx")
    mean, quantiles = predictor(arrays)          # or predictor.predict(panel) with a panel

Each variant runs the same `graph` in another way and is compared with the plain one before it is handed out: one that
moves the forecasts' error by more than `BOUND` is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch

from forecastkit import baseline
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, DataError, FitError, closest
from forecastkit.forecaster import Forecast
from forecastkit.nn.graph import Arrays, Doubles, Graph, arrays_of
from forecastkit.nn.inputs import placed
from forecastkit.nn.plan import Plan

if TYPE_CHECKING:
    from forecastkit.nn.forecaster import RecurrentFitted

VARIANTS = ("eager", "bf16", "onnx", "onnx-int8", "cudagraph")
BOUND = 0.005  # of the average difference, and of the change of the error
_CHECKED = 256  # series of a parity check


class Run(Protocol):
    """A graph that is ready to be run."""

    def __call__(self, arrays: Arrays) -> tuple[Doubles, Doubles]: ...


@dataclass(frozen=True)
class Parity:
    """How far a variant is from the plain graph.

    largest, median, average: of the differences of means and quantiles, as shares of the size of a series' forecast; of
    counts those of means alone, as rounded quantiles say nothing or jump by one ·
    error: change of the mean absolute error on the newest periods that could be held out, each series in its own size,
    as a share of it; 0 where none could.
    """

    largest: float
    median: float
    average: float
    error: float

    @property
    def good(self) -> bool:
        """Both bounds: where nothing could be held out, the first alone speaks."""
        return self.average <= BOUND and abs(self.error) <= BOUND  # not where one is NaN


@dataclass(frozen=True, eq=False)
class Predictor:
    """A fitted network for one horizon and fixed levels; several threads may call it at once.

    batch: the sizes of call that it is prepared for; larger ones are cut into the largest.
    """

    variant: str
    fitted: RecurrentFitted
    levels: tuple[float, ...]
    batch: tuple[int, ...]
    run: Run
    parity: Parity

    def __repr__(self) -> str:
        return f"Predictor({self.variant!r}, horizon {self.horizon}, levels {self.levels})"

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(getattr(self.run, "device", "cpu"))

    @property
    def horizon(self) -> int:
        """Periods ahead, H."""
        return self.fitted.networks[0].plan.horizon

    def __call__(self, arrays: Arrays) -> tuple[Doubles, Doubles]:
        """Mean [B, H] and quantiles [B, H, Q] of `arrays`, in units of demand."""
        count, most = len(arrays.y), self.batch[-1]
        if count <= most:
            return self.run(arrays)
        parts = [self.run(arrays.rows(slice(k, k + most))) for k in range(0, count, most)]
        mean, quantiles = map(np.concatenate, zip(*parts, strict=True))
        return mean, quantiles

    def arrays(self, panel: Panel | None = None, future: Any = None) -> Arrays:
        """What a call reads, from newer observations, or from the history that the model has."""
        fitted = self.fitted if panel is None else self.fitted.update(panel)
        return _arrays(fitted, future)

    def predict(self, panel: Panel | None = None, *, future: Any = None) -> Forecast:
        """The forecast of the trained horizon, as `Fitted.predict` gives it."""
        fitted = self.fitted if panel is None else self.fitted.update(panel)
        mean, quantiles = self(_arrays(fitted, future))
        history = fitted.history
        if not np.isfinite(mean).all():
            name = history.ids[int(np.flatnonzero(~np.isfinite(mean).all(axis=1))[0])]
            raise FitError("the forecast is not finite", model=fitted.recipe.name, series=name)
        times = history.calendar.times(history.future_ordinals(self.horizon))
        return Forecast(history.ids, times, mean, quantiles, self.levels, history.calendar.zone)

    def export(self, folder: str | Path) -> None:
        """Write an edge bundle, which numpy and ONNX Runtime alone can run: see `nn.bundle`."""
        from forecastkit.nn.bundle import write

        write(self, Path(folder))

    @classmethod
    def of(
        cls, fitted: RecurrentFitted, variant: str, batch: Sequence[int], threads: int, levels: Sequence[float]
    ) -> Self:
        """See `RecurrentFitted.compile`."""
        if variant not in (*VARIANTS, "auto"):
            raise ConfigError(
                f"variant must be one of {', '.join(VARIANTS)}, not {variant!r}{closest(variant, VARIANTS)}"
            )
        sizes = tuple(sorted(set(batch)))
        if not sizes or sizes[0] < 1:
            raise ConfigError(f"batch must name sizes of at least 1, not {tuple(batch)}")
        if (plan := fitted.networks[0].plan).head != "quantiles" or plan.decoder != "direct":
            raise ConfigError(
                f"only networks with head=quantiles and decoder=direct can be compiled and exported, this one has "
                f"head={plan.head}, decoder={plan.decoder}: forecast with the model itself, or fit one of those"
            )
        ordered = fitted._levels(levels)
        on_gpu = next(fitted.networks[0].parameters()).is_cuda
        variant = variant if variant != "auto" else ("cudagraph" if on_gpu else "onnx")
        made = cls(variant, fitted, ordered, sizes, _run(fitted, variant, sizes, threads, ordered), Parity(0, 0, 0, 0))
        made = replace(made, parity=parity_of(fitted, made.run, ordered))
        if not made.parity.good:
            raise FitError(
                f"the variant {variant} changes the forecasts by {made.parity.average:.2%} on average and their "
                f"error by {made.parity.error:.2%}, at most {BOUND:.1%} is allowed: take another",
                model=fitted.recipe.name,
            )
        return made


def _arrays(fitted: RecurrentFitted, future: Any) -> Arrays:
    plan, history = fitted.networks[0].plan, fitted.history
    return arrays_of(history, plan, baseline.demand(history), fitted._future(plan.horizon, future))


def graph_of(fitted: RecurrentFitted, levels: tuple[float, ...]) -> Graph:
    """The plain graph."""
    return Graph(fitted.networks, levels).eval().to(next(fitted.networks[0].parameters()).device)


def _run(fitted: RecurrentFitted, variant: str, sizes: tuple[int, ...], threads: int, levels: tuple[float, ...]) -> Run:
    graph = graph_of(fitted, levels)
    if variant == "eager":
        return Eager(graph)
    if variant == "bf16":
        return Eager(halved(graph))
    if variant == "cudagraph":
        from forecastkit.nn.capture import Captured

        return Captured(graph, sizes)
    from forecastkit.nn import onnx

    if variant == "onnx-int8" and fitted.recipe.cell != "lstm":
        raise ConfigError("onnx-int8 is for lstm: ONNX Runtime leaves a GRU in single precision; take onnx or bf16")
    exported = onnx.exported(graph)
    return onnx.Session(onnx.quantised(exported) if variant == "onnx-int8" else exported, threads)


def halved(graph: Graph) -> Graph:
    """The same with the weights of the cells stored in bfloat16; everything else stays in single precision."""
    small = copy.deepcopy(graph)
    for network in small.networks:
        network.recurrent.to(torch.bfloat16)
    return small


class Eager:
    """torch as it is."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.device = graph, graph.weights.device

    def __call__(self, arrays: Arrays) -> tuple[Doubles, Doubles]:
        with torch.inference_mode():
            tensors = [torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays]
            mean, quantiles = self.graph(*tensors)
            return mean.cpu().numpy(), quantiles.cpu().numpy()


def parity_of(fitted: RecurrentFitted, run: Run, levels: tuple[float, ...]) -> Parity:
    """Both ways from the newest periods, and from a horizon earlier to see what becomes of the error."""
    history, plan = fitted.history.take(range(min(len(fitted.history), _CHECKED))), fitted.networks[0].plan
    plain = Eager(graph_of(fitted, levels))
    newest = np.repeat(_newest_known(history)[:, None], plan.horizon, axis=1)
    arrays = arrays_of(history, plan, baseline.demand(history), newest)
    (mean, quantiles), (other, others) = plain(arrays), run(arrays)
    if (mean.shape, quantiles.shape) != (other.shape, others.shape):
        raise DataError(f"the compiled network gives {other.shape} and not {mean.shape}")
    size = np.maximum(np.abs(mean).mean(-1, keepdims=True), 1e-9 * np.abs(mean).max())  # [N, 1]
    counts = baseline.counts(arrays.y.ravel(), np.arange(len(mean) + 1) * arrays.y.shape[1])
    asked = np.repeat(~counts[:, None], quantiles[0].size, axis=1)  # [N, H * Q] the quantiles that are compared
    apart = np.concatenate([mean - other, (quantiles - others).reshape(len(mean), -1)], axis=-1)
    apart = (np.abs(apart) / np.where(size > 0, size, 1.0))[np.concatenate([np.ones(mean.shape, bool), asked], axis=-1)]
    error = _change_of_error(history, plan, plain, run)
    return Parity(float(apart.max()), float(np.median(apart)), float(apart.mean()), error)


def _newest_known(history: Panel) -> Doubles:
    return np.nan_to_num(history.known_filled[history.offsets[1:] - 1])  # [N, K]


def _change_of_error(history: Panel, plan: Plan, plain: Run, run: Run) -> float:
    """By the last horizon of the series that are long enough to spare it; the covariates were known then."""
    spare = history.take(np.flatnonzero(history.lengths >= plan.horizon + max(plan.horizon, 2)))
    if not len(spare):
        return 0.0
    cut = spare.cut(spare.lengths - plan.horizon)
    arrays = arrays_of(cut, plan, baseline.demand(cut), spare.known_after(cut.lengths, plan.horizon))
    actual = placed(baseline.demand(spare), spare.lengths, plan.horizon)
    size = np.nanmean(np.abs(baseline.demand(spare))) or 1.0
    own = np.maximum(np.abs(np.nan_to_num(actual)).mean(-1, keepdims=True), 1e-9 * size)
    before, after = (np.abs(np.nan_to_num((way(arrays)[0] - actual) / own)).mean() for way in (plain, run))
    return float((after - before) / before) if before > 0 else 0.0
