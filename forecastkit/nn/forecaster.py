"""The forecaster over the network: what `gru` and `lstm` have in common, which is everything but the cell."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from forecastkit import baseline
from forecastkit.data.panel import Floats, Panel, ranges
from forecastkit.errors import ConfigError, StoreError, closest
from forecastkit.forecaster import ROLES, Fitted, Forecaster, State, Trial
from forecastkit.nn.decoding import DECODERS, ahead, paths, quantiles_of
from forecastkit.nn.devices import DEVICES, device_of, devices
from forecastkit.nn.distributions import DISTRIBUTIONS, HEADS, Distribution
from forecastkit.nn.inputs import Inputs, calendar_features, lay_out
from forecastkit.nn.kinds import Kind, Trials, Tried
from forecastkit.nn.network import LEVELS, Network, Output, Shape, at_levels
from forecastkit.nn.options import Training
from forecastkit.nn.plan import Plan, resolve
from forecastkit.nn.training import Best, Origins, Rival, train, train_on
from forecastkit.nn.windows import Windows

if TYPE_CHECKING:
    from forecastkit.nn.predictor import Predictor

BUCKETS = (1, 8, 64, 512)  # series of one call of a compiled predictor
SERVED = (0.1, 0.5, 0.9)  # levels that it gives
SCALINGS = ("auto", "linear", "log", "ensemble")
_LEAST = 4  # periods that the longest series must have for anything to be learned
_CHUNK = 1024  # series forecast at once
_CHUNK_OF_PATHS = 64
_BUILDING = Lock()  # torch draws first weights from the one global generator of the process


@dataclass(frozen=True, eq=False, kw_only=True)
class RecurrentFitted(Fitted):
    """Trained networks, whose forecasts are averaged, and the newest history, as much of it as a forecast reads."""

    networks: tuple[Network, ...]

    @property
    def device(self) -> str:
        """Of the weights."""
        return str(next(self.networks[0].parameters()).device)

    @property
    def reads(self) -> frozenset[str]:
        """All that there are but static ones without which held-back windows were forecast about as well."""
        static = any(network.plan.static.sizes for network in self.networks)
        return super().reads if static else super().reads - {"static"}

    def refit(self, panel: Panel, *, horizon: int | None = None) -> Fitted:
        """Train on from the present weights, on all of `panel`, in the share of the steps that `training.warm` says.

        A panel that asks for another network (covariates, season, horizon) is fitted afresh, and so is one with
        three quarters as many windows again to learn from: short histories mislead (decision 156).
        """
        settled = self.recipe._settled(panel, self._kept(horizon))
        networks = self.networks if self.goes_on(panel, settled) else ()
        found: Fitted = self.recipe.fitted_from(panel, settled, networks)
        return found

    def goes_on(self, panel: Panel, horizon: int) -> bool:
        same = panel.static.names == self.history.static.names  # a network without any says nothing of new ones
        return self.recipe.warm and same and self.networks[0].plan.like(self.recipe.plan(panel, horizon))

    def _updated(self, history: Panel) -> Self:
        return replace(self, history=_newest(history, self.networks[0].plan), failures=baseline.unseen(history))

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        plans = dict.fromkeys(network.plan for network in self.networks)
        inputs = {plan: lay_out(self.history, plan, horizon, future) for plan in plans}
        found = [_forecast(network, inputs[network.plan], horizon, levels) for network in self.networks]
        mean, quantiles = (sum(part) / len(found) for part in zip(*found, strict=True))
        lowest = baseline.lowest(baseline.demand(self.history), self.history.offsets)[:, None]
        ordered = np.maximum.accumulate(quantiles, axis=-1)  # against rounding only
        return np.maximum(mean, lowest), np.maximum(ordered, lowest[..., None])

    def compile(
        self,
        variant: str = "auto",
        *,
        batch: Sequence[int] = BUCKETS,
        threads: int = 1,
        levels: Sequence[float] = SERVED,
    ) -> Predictor:
        """A predictor of the trained horizon that takes arrays: see `nn.predictor`.

        variant: eager, bf16 (cells in bfloat16), onnx, onnx-int8 (lstm alone), cudagraph; auto is cudagraph on a GPU,
        else onnx. batch: sizes of call to prepare for. threads: of ONNX Runtime in one call. Raises `FitError` where
        the variant moves the error of the forecasts, `MissingExtraError` without ONNX.
        """
        from forecastkit.nn.predictor import Predictor

        return Predictor.of(self, variant, batch, threads, levels)

    def state(self) -> State:
        arrays = {
            f"{i}.{name}": value.cpu().numpy()
            for i, network in enumerate(self.networks)
            for name, value in network.state_dict().items()
        }
        plans = [asdict(network.plan) for network in self.networks]
        return State(arrays, {"plans": plans, "shapes": [asdict(network.shape) for network in self.networks]})

    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        wanted = common["recipe"].device
        # A network that was trained on a GPU is served where there is none.
        device = torch.device("cpu") if wanted not in ("auto", *devices()) else device_of(wanted)
        plans, networks = state.values["plans"], []
        shapes = state.values.get("shapes") or [state.values["shape"]] * len(plans)  # one for all in older models
        for i, (values, shape) in enumerate(zip(plans, shapes, strict=True)):
            network = build(Plan.from_values(values), Shape(**shape), common["history"], seed=0)
            own = {k.removeprefix(f"{i}."): a for k, a in state.arrays.items() if k.startswith(f"{i}.")}
            try:
                network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in own.items()})
            except RuntimeError as error:  # names or shapes of weights
                reason = str(error).splitlines()[0].rstrip(":")
                raise StoreError(
                    f"the weights are not of this version's network, fit the model again: {reason}"
                ) from error
            networks.append(network.to(device))
        return cls(networks=tuple(networks), **common | {"horizon": networks[0].plan.horizon})


def _forecast(network: Network, inputs: Inputs, horizon: int, levels: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Mean [N, H] and quantiles [N, H, Q] of one network, in units of demand."""
    device = next(network.parameters()).device
    windows = Windows.of(inputs, network.plan, device)
    way, most = (_on_paths, _CHUNK_OF_PATHS) if network.plan.decoder == "rolled" else (_on_means, _CHUNK)
    chunks = torch.arange(len(inputs.y), device=windows.home).split(most)
    with torch.inference_mode():
        parts = [way(network, windows.rows(rows), horizon, levels) for rows in chunks]
    mean, quantiles = (np.concatenate(part) for part in zip(*parts, strict=True))
    shift, units = inputs.shift[:, None], inputs.units[:, None]
    return mean * units + shift, quantiles * units[..., None] + shift[..., None]


def _on_paths(network: Network, windows: Windows, horizon: int, levels: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Mean [N, H] and quantiles [N, H, Q] of a rolled network."""
    mean, demand = paths(network, windows, horizon)
    return mean, quantiles_of(demand, levels, network.plan.whole)


def _on_means(network: Network, windows: Windows, horizon: int, levels: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Mean [N, H] and quantiles [N, H, Q]; beyond the trained horizon on the network's own means.

    There the spreads of a block, on average over its steps, are added to the next one's in squares.
    """
    distribution, means, grids, carried = network.plan.distribution, [], [], None
    for done in range(0, horizon, network.plan.block):
        output = ahead(network, windows, done, horizon)
        windows = windows.continued(windows.end + done, output.mean)
        wider, carried = _widened(distribution, output, carried)
        means.append(output.mean)
        grids.append(wider)
    mean, grid = (torch.cat(parts, 1).cpu().numpy().astype(np.float64) for parts in (means, grids))
    if distribution is None:
        return mean, at_levels(grid, levels)
    return mean, distribution.quantiles(mean, grid[..., 0], levels)


def _widened(distribution: Distribution | None, output: Output, carried: Tensor | None) -> tuple[Tensor, Tensor]:
    """The quantiles or the dispersion with the spread of the block before, and what this block passes on."""
    grid = output.quantiles
    if distribution is not None:
        variance = distribution.variance(output.mean, grid[..., 0])  # [N, H]
        if carried is not None:
            variance = variance + carried
            grid = distribution.dispersed(output.mean, variance)[..., None]
        return grid, variance.mean(1, keepdim=True)  # [N, 1]
    middle = grid[..., len(LEVELS) // 2 : len(LEVELS) // 2 + 1]
    if carried is not None:
        grid = middle + carried.sign() * torch.hypot(grid - middle, carried)
    return grid, (grid - middle).mean(1, keepdim=True)  # [N, 1, T]


def build(plan: Plan, shape: Shape, panel: Panel, seed: int) -> Network:
    """A fresh network for the covariates and calendar of `panel`; the global generator is left as it was."""
    calendar = calendar_features(panel.calendar, panel.ends[:1], plan.yearly).shape[1]
    with _BUILDING, torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        return Network(plan, shape, calendar).eval()


@dataclass(frozen=True, kw_only=True)
class RecurrentForecaster(Forecaster):
    """See the model files; `cell` is what they differ in."""

    cell: ClassVar[str]
    fitted_type: ClassVar[type[Fitted]] = RecurrentFitted
    uses: ClassVar[frozenset[str]] = ROLES
    pooled: ClassVar[bool] = True

    hidden: int = 64
    layers: int = 1
    memory: bool = True
    head: str = "quantiles"
    decoder: str = "direct"
    lookback: int | None = None
    patch: int | None = None
    season: int | None = None
    scaling: str = "auto"
    training: Training = field(default_factory=Training)
    seeds: int = 3
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        baseline.check_season(self.season)
        for name in ("hidden", "layers", "lookback", "patch", "seeds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, not {value}")
        choices = {"head": HEADS, "decoder": DECODERS, "scaling": SCALINGS, "device": DEVICES}
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}, not {value!r}{closest(value, allowed)}")
        if self.scaling == "ensemble" and self.seeds < 2:
            raise ConfigError("scaling='ensemble' takes turns from network to network: give it seeds=2 or more")

    def needs(self, train: Panel) -> int:
        return 1 if train.lengths.max() >= _LEAST else _LEAST

    def _check(self, train: Panel) -> None:
        super()._check(train)
        if (distribution := DISTRIBUTIONS.get(self.head)) is not None:
            distribution.check(train)

    @property
    def warm(self) -> bool:
        """Whether later windows of a backtest are trained on from the weights of the one before."""
        return self.training.warm > 0

    @property
    def draft(self) -> Self:
        """One network of those whose forecasts are averaged, trained once, without the newest periods."""
        alone = self if self.scaling == "ensemble" else replace(self, seeds=1)  # there they take turns in something
        return replace(alone, training=replace(self.training, refit=False))

    def _fit(self, train: Panel, horizon: int) -> RecurrentFitted:
        return self.fitted_from(train, horizon, ())

    def fitted_from(self, train: Panel, horizon: int, networks: tuple[Network, ...]) -> RecurrentFitted:
        """Fitted from the weights of `networks`, or afresh where there are none."""
        # In the order of their ids, so that the order of the table decides nothing.
        ordered = train.take(np.argsort(np.array(train.ids, object), kind="stable"))
        trained = tuple(self._continued(ordered, networks) if networks else self._trained(ordered, horizon))
        return RecurrentFitted(
            recipe=self,
            history=_newest(train, trained[0].plan),
            failures=baseline.unseen(train),
            trained_on=train.fingerprint,
            horizon=horizon,
            networks=trained,
        )

    def plan(self, train: Panel, horizon: int) -> Plan:
        """The sizes of a network for `train`."""
        return resolve(train, horizon, self.season, self.lookback, self.patch)

    def _continued(self, train: Panel, networks: tuple[Network, ...]) -> Iterator[Network]:
        for i, old in enumerate(networks):
            network = copy.deepcopy(old)
            inputs = lay_out(train, network.plan, network.plan.horizon)
            windows = Windows.of(inputs, network.plan, next(network.parameters()).device)
            network.train()
            train_on(network, windows, inputs, self.training, self.seed + i)
            yield network.eval()

    def _trained(self, train: Panel, horizon: int) -> Iterator[Network]:
        """One network a seed; the first with a state, or without, finds out for how many steps such are trained."""
        plan = replace(self.plan(train, horizon), head=self.head, decoder=self.decoder)
        trials = Trials(lambda kind, rival: self._tried(kind, train, plan, rival))
        first = trials.first(train, plan, self.scaling, self.memory)
        kinds = trials.team(first, train, plan, self.scaling, self.seeds)
        tried = trials.found.get(first)
        steps = {kind.memory: trials.found[kind].best.steps for kind in reversed(kinds) if kind in trials.found}
        for own in dict.fromkeys(kind.planned(plan) for kind in kinds):
            inputs = lay_out(train, own, plan.horizon)
            for i, kind in ((i, kind) for i, kind in enumerate(kinds) if kind.planned(plan) == own):
                if i == 0 and tried and tried.held and not self.training.refit:
                    yield tried.network
                    continue
                network = self._fresh(own, train, i, kind)
                known = steps.get(kind.memory)
                steps[kind.memory] = _train(network, inputs, self.training, self.seed + i, known).steps
                yield network

    def _tried(self, kind: Kind, train: Panel, plan: Plan, rival: Rival | None) -> Tried:
        """The first network, and how it does on the newest windows if any can be held back."""
        own, options = kind.planned(plan), replace(self.training, refit=False)
        network, inputs = self._fresh(own, train, 0, kind), lay_out(train, own, plan.horizon)
        if not len(Origins.split(inputs, own, options.validation).check_series):
            return Tried(network, Best(options.steps))
        return Tried(network, _train(network, inputs, options, self.seed, rival=rival))

    def _fresh(self, plan: Plan, train: Panel, i: int, kind: Kind) -> Network:
        """The i-th network before it is trained."""
        shape = Shape(self.cell, self.hidden, self.layers, kind.memory)
        return build(plan, shape, train, self.seed + i).to(device_of(self.device))

    @classmethod
    @abstractmethod
    def examples(cls) -> Iterator[Self]: ...

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        return cls(
            hidden=trial.suggest_categorical("hidden", [32, 64, 128]),
            layers=trial.suggest_int("layers", 1, 2),
            scaling=trial.suggest_categorical("scaling", ["auto", "linear", "log"]),
            training=Training(
                steps=trial.suggest_int("training.steps", 200, 2000, log=True),
                lr=trial.suggest_float("training.lr", 5e-4, 1e-2, log=True),
                weight_decay=trial.suggest_float("training.weight_decay", 1e-4, 1e-1, log=True),
                dropout=trial.suggest_float("training.dropout", 0.0, 0.5),
            ),
        )


def _newest(panel: Panel, plan: Plan) -> Panel:
    """As much history as a forecast reads, counted from the last value that was seen."""
    if panel.lengths.all() and not np.isnan(baseline.demand(panel)[panel.offsets[1:] - 1]).any():
        return panel.tail(plan.context)
    place = ranges(np.ones_like(panel.lengths), panel.lengths)  # [R], 1 is the first period of a series
    last = np.maximum.reduceat(np.where(panel.observed, place, 0), panel.offsets[:-1])
    return panel.tail(plan.context + np.where(last > 0, panel.lengths - last, 0))


def _train(
    network: Network,
    inputs: Inputs,
    options: Training,
    seed: int,
    steps: int | None = None,
    rival: Rival | None = None,
) -> Best:
    windows = Windows.of(inputs, network.plan, next(network.parameters()).device)
    network.train()
    best = train(network, windows, inputs, options, seed, steps, rival)
    network.eval()
    return best
