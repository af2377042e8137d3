"""The forecaster over the network: what `gru` and `lstm` have in common, which is everything but the cell."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from threading import Lock
from typing import Any, ClassVar, Self

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from forecastkit import baseline
from forecastkit.data.panel import Floats, Panel, ranges
from forecastkit.errors import ConfigError, StoreError, closest
from forecastkit.forecaster import ROLES, Fitted, Forecaster, State, Trial
from forecastkit.nn.inputs import Inputs, calendar_features, lay_out
from forecastkit.nn.network import LEVELS, Network, Shape
from forecastkit.nn.options import Training
from forecastkit.nn.plan import Plan, resolve
from forecastkit.nn.training import train
from forecastkit.nn.windows import Windows

DEVICES = ("auto", "cpu", "cuda", "mps")
SCALINGS = ("auto", "linear", "log")
_LEAST = 4  # periods that the longest series must have for anything to be learned
_CHUNK = 1024  # series forecast at once
_BUILDING = Lock()  # torch draws first weights from the one global generator of the process


@dataclass(frozen=True, eq=False, kw_only=True)
class RecurrentFitted(Fitted):
    """A trained network and the newest history, as much of it as a forecast reads."""

    network: Network

    def _updated(self, history: Panel) -> Self:
        return replace(self, history=_newest(history, self.network.plan), failures=baseline.unseen(history))

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        plan = self.network.plan
        inputs = lay_out(self.history, plan, horizon, future)
        device = next(self.network.parameters()).device
        windows = Windows.of(inputs, plan, device)
        chunks = torch.arange(len(self.history), device=device).split(_CHUNK)
        with torch.inference_mode():
            parts = [_rolled(self.network, windows.rows(rows), horizon) for rows in chunks]
        mean, grid = (torch.cat(part).cpu().numpy().astype(np.float64) for part in zip(*parts, strict=True))
        shift, units = inputs.shift[:, None], inputs.units[:, None]
        lowest = baseline.lowest(baseline.demand(self.history), self.history.offsets)[:, None]
        quantiles = at_levels(grid * units[..., None] + shift[..., None], levels)
        return np.maximum(mean * units + shift, lowest), np.maximum(quantiles, lowest[..., None])

    def state(self) -> State:
        arrays = {name: value.cpu().numpy() for name, value in self.network.state_dict().items()}
        return State(arrays, {"plan": asdict(self.network.plan), "shape": asdict(self.network.shape)})

    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        plan, shape = Plan.from_values(state.values["plan"]), Shape(**state.values["shape"])
        network = build(plan, shape, common["history"], seed=0)
        try:
            network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.arrays.items()})
        except RuntimeError as error:  # names or shapes of weights
            raise StoreError(f"the weights are not of this network: {error}") from error
        wanted = common["recipe"].device
        # A network that was trained on a GPU is served where there is none.
        device = torch.device("cpu") if wanted not in ("auto", *devices()) else device_of(wanted)
        return cls(network=network.to(device), **common)


def _rolled(network: Network, windows: Windows, horizon: int) -> tuple[Tensor, Tensor]:
    """Mean [N, H] and quantiles [N, H, Q]; beyond the trained horizon on the network's own means.

    There the spreads of a block, on average over its steps, are added to the next one's in squares.
    """
    series = torch.arange(len(windows.y), device=windows.device)
    trained, means, grids, carried = network.plan.horizon, [], [], None
    for done in range(0, horizon, trained):
        start = torch.full_like(series, windows.end + done)
        output = network(windows.batch(series, start, min(trained, horizon - done)))
        grid = output.quantiles if carried is None else _widened(output.quantiles, carried)
        middle = grid[..., len(LEVELS) // 2 : len(LEVELS) // 2 + 1]
        carried = (grid - middle).mean(1, keepdim=True)  # [N, 1, Q]
        windows = windows.continued(windows.end + done, output.mean)
        means.append(output.mean)
        grids.append(grid)
    return torch.cat(means, 1), torch.cat(grids, 1)


def _widened(grid: Tensor, carried: Tensor) -> Tensor:
    middle = grid[..., len(LEVELS) // 2 : len(LEVELS) // 2 + 1]
    return middle + carried.sign() * torch.hypot(grid - middle, carried)


def at_levels(grid: Floats, levels: tuple[float, ...]) -> Floats:
    """Quantiles at any `levels` from those at the trained ones, [N, H, T] -> [N, H, Q].

    Straight lines over the normal quantile function, also beyond both ends, so that more extreme levels lie further
    out and none cross.
    """
    known, wanted = ndtri(np.array(LEVELS)), ndtri(np.array(levels))
    left = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(known) - 2)
    share = (wanted - known[left]) / (known[left + 1] - known[left])
    return grid[..., left] + share * (grid[..., left + 1] - grid[..., left])


def build(plan: Plan, shape: Shape, panel: Panel, seed: int) -> Network:
    """A fresh network for the covariates and calendar of `panel`; the global generator is left as it was."""
    calendar = calendar_features(panel.calendar, panel.ends[:1], plan.yearly).shape[1]
    with _BUILDING, torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        return Network(plan, shape, calendar).eval()


def devices() -> list[str]:
    """The devices that are here."""
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [name for name, here in found.items() if here]


def device_of(name: str) -> torch.device:
    """The device of a recipe; `auto` is CUDA where there is one, else the CPU: such networks gain nothing from mps."""
    if name == "auto":
        name = "cuda" if "cuda" in devices() else "cpu"
    if name not in devices():
        raise ConfigError(f"device {name!r} is not here; found: {', '.join(devices())}")
    return torch.device(name)


@dataclass(frozen=True, kw_only=True)
class RecurrentForecaster(Forecaster):
    """See the model files; `cell` is what they differ in."""

    cell: ClassVar[str]
    fitted_type: ClassVar[type[Fitted]] = RecurrentFitted
    uses: ClassVar[frozenset[str]] = ROLES
    pooled: ClassVar[bool] = True

    hidden: int = 64
    layers: int = 1
    lookback: int | None = None
    patch: int | None = None
    season: int | None = None
    scaling: str = "auto"
    training: Training = field(default_factory=Training)
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        baseline.check_season(self.season)
        for name in ("hidden", "layers", "lookback", "patch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, not {value}")
        for name, allowed in (("scaling", SCALINGS), ("device", DEVICES)):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}, not {value!r}{closest(value, allowed)}")

    def needs(self, train: Panel) -> int:
        return 1 if train.lengths.max() >= _LEAST else _LEAST

    def _fit(self, train: Panel, horizon: int) -> RecurrentFitted:
        device = device_of(self.device)
        # In the order of their ids, so that the order of the table decides nothing.
        ordered = train.take(np.argsort(np.array(train.ids, object), kind="stable"))
        sizes = resolve(ordered, horizon, self.season, self.lookback, self.patch)
        plan = replace(sizes, log=self.scaling == "log" or (self.scaling == "auto" and _multiplicative(ordered)))
        network = build(plan, Shape(self.cell, self.hidden, self.layers), ordered, self.seed).to(device)
        inputs = lay_out(ordered, plan, horizon)
        _train(network, inputs, self.training, self.seed)
        return RecurrentFitted(
            recipe=self,
            history=_newest(train, plan),
            failures=baseline.unseen(train),
            trained_on=train.fingerprint,
            network=network,
        )

    @classmethod
    @abstractmethod
    def examples(cls) -> Iterator[Self]: ...

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        return cls(
            hidden=trial.suggest_categorical("hidden", [32, 64, 128]),
            layers=trial.suggest_int("layers", 1, 2),
            scaling=trial.suggest_categorical("scaling", ["linear", "log"]),
            training=Training(
                steps=trial.suggest_int("steps", 200, 2000, log=True),
                lr=trial.suggest_float("lr", 5e-4, 1e-2, log=True),
                weight_decay=trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
            ),
        )


def _newest(panel: Panel, plan: Plan) -> Panel:
    """As much history as a forecast reads, counted from the last value that was seen."""
    place = ranges(np.ones_like(panel.lengths), panel.lengths)  # [R], 1 is the first period of a series
    last = np.maximum.reduceat(np.where(panel.observed, place, 0), panel.offsets[:-1])
    return panel.tail(plan.context + np.where(last > 0, panel.lengths - last, 0))


def _multiplicative(train: Panel) -> bool:
    """Whether covariates known ahead, such as promotions and prices, are likely to multiply demand."""
    return len(train.known) > 0 and not (train.values < 0).any()


def _train(network: Network, inputs: Inputs, options: Training, seed: int) -> None:
    device = next(network.parameters()).device
    windows = Windows.of(inputs, network.plan, device)
    network.train()
    train(network, windows, inputs, options, seed)
    network.eval()
