"""`ensemble`: several models whose forecasts are averaged, with weights that past windows have earned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self, final

import numpy as np
from scipy.optimize import nnls

from forecastkit import baseline, models, recipes
from forecastkit.data.panel import Floats, Ints, Panel, ranges
from forecastkit.errors import ConfigError, DataError, FitError, closest
from forecastkit.forecaster import ROLES, Fitted, Forecaster, State

logger = logging.getLogger(__name__)

COMBINATIONS = ("mean", "median", "inverse_error", "stacking")
_FAR = 10.0  # spreads of a series beyond which an error counts as this
_RIDGE = 0.1  # of the mean variance of errors: weights lean to equal ones


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class EnsembleFitted(Fitted):
    """The fitted members, and the weight of each in the mean and in every quantile; they add up to 1."""

    members: tuple[Fitted, ...]
    weights: Floats  # [K]

    @property
    def shares(self) -> dict[str, float]:
        """The weight of each member by its text."""
        return dict(zip(self.recipe.members, self.weights.tolist(), strict=True))

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        heard = [k for k, weight in enumerate(self.weights) if weight > 0]
        found = [_forecast(self.members[k], horizon, levels, future) for k in heard]
        mean, quantiles = (np.stack(parts) for parts in zip(*found, strict=True))  # [K, N, H], [K, N, H, Q]
        if self.recipe.combination == "median":
            return np.median(mean, axis=0), np.median(quantiles, axis=0)
        own = self.weights[heard]
        return np.tensordot(own, mean, 1), np.tensordot(own, quantiles, 1)

    def _updated(self, history: Panel) -> Self:
        # A member may keep less history than the others, so each joins the newest periods to its own.
        return replace(
            self, history=history, members=tuple(m.update(history) for m in self.members), failures=_failures(history)
        )

    def state(self) -> State:
        arrays, values = {"weights": self.weights}, []
        for k, member in enumerate(self.members):
            own, (history, about) = member.state(), member.history.arrays()
            arrays |= {f"{k}.state.{name}": array for name, array in own.arrays.items()}
            arrays |= {f"{k}.history.{name}": array for name, array in history.items()}
            common = {"failures": dict(member.failures), "trained_on": member.trained_on}
            values.append({"recipe": asdict(member.recipe), "values": own.values, "history": about} | common)
        return State(arrays, {"members": values})

    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        members = [
            _restored(text, {n.removeprefix(f"{k}."): a for n, a in state.arrays.items() if n.startswith(f"{k}.")}, own)
            for k, (text, own) in enumerate(zip(common["recipe"].members, state.values["members"], strict=True))
        ]
        return cls(members=tuple(members), weights=state.arrays["weights"], **common)


def _restored(text: str, arrays: dict[str, Any], values: dict[str, Any]) -> Fitted:
    kind = models.load(recipes.parse(text)[0])
    parts = {
        part: {name.removeprefix(f"{part}."): array for name, array in arrays.items() if name.startswith(f"{part}.")}
        for part in ("state", "history")
    }
    return kind.fitted_type.from_state(
        State(parts["state"], values["values"]),
        recipe=recipes.build(kind, values["recipe"]),
        history=Panel.from_arrays(parts["history"], values["history"]),
        failures=values["failures"],
        trained_on=values["trained_on"],
    )


def _forecast(member: Fitted, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
    """Mean [N, H] and quantiles [N, H, Q] of one member, which is told of the covariates if it knows any."""
    forecast = member.predict(horizon, levels=levels, future=future if "known" in member.recipe.uses else None)
    return forecast.mean, forecast.quantiles


def _failures(history: Panel) -> dict[str, str]:
    """A series that a single member fails on is still forecast by the others, and by that one's baseline."""
    return baseline.unseen(history)


@dataclass(frozen=True)
class _OfMembers:
    """A trait that a recipe has from its members; of the class itself it is `most`."""

    most: Any
    of: Callable[[list[Forecaster]], Any]

    def __get__(self, recipe: Ensemble | None, owner: type) -> Any:
        return self.most if recipe is None else self.of(recipe._recipes())


@final
@dataclass(frozen=True, kw_only=True)
class Ensemble(Forecaster):
    """Different models err differently, so that their average is usually better than the best of them.

    `stacking` (Breiman 1996; the weights of Bates & Granger 1969, not below 0) finds the weights with which the squared
    error on past windows is least, leaning to equal ones; `inverse_error` weighs by one over the mean absolute error;
    `mean` and `median` look at no past. Quantiles are averaged level by level. Errors are those of the 0.5 quantile, in
    spreads of the series, and only windows before the end of training are looked at. A series that a member can't
    estimate has that member's baseline in the average.

    members: texts as of `-m`, such as "gru:hidden=32".
    combination: mean, median, inverse_error or stacking.
    windows: past windows of `horizon` periods that the weights are found on; series too short for one teach nothing.
    season: periods in a season of all members; None takes the panel's.
    seed: of the members that have one.
    device: of the members that have one.

    >>> Ensemble(members=("theta", "seasonal_naive"), combination="mean").windows
    2
    """

    name: ClassVar[str] = "ensemble"
    fitted_type: ClassVar[type[Fitted]] = EnsembleFitted
    uses: ClassVar[Any] = _OfMembers(ROLES, lambda own: frozenset[str]().union(*(m.uses for m in own)))
    probabilistic: ClassVar[Any] = _OfMembers(True, lambda own: all(m.probabilistic for m in own))
    pooled: ClassVar[Any] = _OfMembers(False, lambda own: all(m.pooled for m in own))
    handles_gaps: ClassVar[Any] = _OfMembers(True, lambda own: all(m.handles_gaps for m in own))

    members: tuple[str, ...] = ("gru", "boosted", "sarima", "theta")
    combination: str = "stacking"
    windows: int = 2
    season: int | None = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        baseline.check_season(self.season)
        if len(self.members) < 2 or len(set(self.members)) < len(self.members):
            raise ConfigError(f"an ensemble has two or more different members, not {self.members}")
        if self.combination not in COMBINATIONS:
            found = closest(self.combination, COMBINATIONS)
            raise ConfigError(f"combination must be one of {', '.join(COMBINATIONS)}, not {self.combination!r}{found}")
        if self.windows < 1:
            raise ConfigError(f"windows must be at least 1, not {self.windows}")
        for member in self.members:
            name = recipes.parse(member)[0]
            if name not in models.available() or name == self.name:
                raise ConfigError(f"{member!r} can't be a member; those that can are listed by: forecastkit models")

    def _recipes(self) -> list[Forecaster]:
        return [models.create(m, season=self.season, seed=self.seed, device=self.device) for m in self.members]

    @property
    def threaded(self) -> bool:
        """The weights are those of the whole panel, so that it is never fitted in pieces."""
        return True

    def needs(self, train: Panel) -> int:
        return max(recipe.needs(train) for recipe in self._recipes())

    def _fit(self, train: Panel, horizon: int) -> EnsembleFitted:
        own = self._recipes()
        return EnsembleFitted(
            recipe=self,
            history=train,
            failures=_failures(train),
            members=tuple(recipe.fit(train, horizon=horizon) for recipe in own),
            weights=self._weights(own, train, horizon),
        )

    def _weights(self, own: list[Forecaster], train: Panel, horizon: int) -> Floats:
        equal = np.full(len(own), 1 / len(own))
        if self.combination in ("mean", "median"):
            return equal
        errors = past_errors(own, train, horizon, self.windows)  # [K, E]
        if not errors.shape[1]:
            logger.info("%s: no series is long enough to find weights on, they are equal", self.name)
            return equal
        return stacked(errors) if self.combination == "stacking" else inverse(errors)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls(members=("seasonal_naive", "window_average"), windows=1)
        yield cls(members=("theta", "historic_mean", "seasonal_naive"), combination="median")


def past_errors(own: list[Forecaster], train: Panel, horizon: int, windows: int) -> Floats:
    """Errors of the medians on the last windows of `train`, in spreads of the series; [K, E]."""
    scale = baseline.spread(baseline.demand(train), train.offsets, min(train.season, int(train.lengths.min())))  # [N]
    found, fitted = [np.empty((len(own), 0))], list[Fitted]()
    for window in range(windows, 0, -1):
        kept = np.flatnonzero((train.lengths - window * horizon >= _least(own, train)) & (scale > 0))
        if not len(kept):
            continue
        part = train.take(kept)
        ends = part.lengths - window * horizon
        try:
            fitted = _fitted(own, part.cut(ends), horizon, fitted)
            future = part.known_after(ends, horizon) if len(part.known) else None
            medians = [_medians(member, horizon, future) for member in fitted]  # of [n, H]
        except (FitError, DataError) as error:
            logger.info("a past window teaches no weights: %s", error)
            continue
        actual = _actual(part, ends, horizon)
        seen = ~np.isnan(actual)
        off = [((median - actual) / scale[kept][:, None])[seen] for median in medians]
        found.append(np.clip(np.stack(off), -_FAR, _FAR))
    return np.concatenate(found, axis=1)


def _least(own: list[Forecaster], train: Panel) -> int:
    """Periods before a past window: what every member needs, and a season to know one by."""
    return max(*(recipe.needs(train) for recipe in own), train.season + 1)


def _fitted(own: list[Forecaster], train: Panel, horizon: int, before: list[Fitted]) -> list[Fitted]:
    """The members on a past window, those that are quicker so from the window before it."""
    if not before:
        return [recipe.fit(train, horizon=horizon) for recipe in own]
    pairs = zip(own, before, strict=True)
    return [old.refit(train, horizon=horizon) if r.warm else r.fit(train, horizon=horizon) for r, old in pairs]


def _medians(member: Fitted, horizon: int, future: Floats | None) -> Floats:
    levels = (0.5,) if member.recipe.probabilistic else ()
    mean, quantiles = _forecast(member, horizon, levels, future)
    return quantiles[..., 0] if levels else mean


def _actual(panel: Panel, ends: Ints, horizon: int) -> Floats:
    """Demand of the `horizon` periods after the first `ends` of each series, NaN where none was seen; [N, H]."""
    rows = ranges(panel.offsets[:-1] + ends, np.full(len(ends), horizon))
    return baseline.demand(panel)[rows].reshape(-1, horizon)


def stacked(errors: Floats) -> Floats:
    """The weights from 0 that add up to 1 and make the squared error least, leaning to equal ones; [K, E] -> [K]."""
    covariance = errors @ errors.T / errors.shape[1]
    size = np.trace(covariance) / len(errors)
    if not size > 0:
        return np.full(len(errors), 1 / len(errors))
    root = np.linalg.cholesky(covariance / size + (_RIDGE + 1e-9) * np.eye(len(errors)))
    heavy = 1e4  # so that they add up
    weights, _ = nnls(np.vstack([root.T, np.full(len(errors), heavy)]), np.append(np.zeros(len(errors)), heavy))
    return weights / weights.sum()


def inverse(errors: Floats) -> Floats:
    """Weights by one over the mean absolute error; [K, E] -> [K]."""
    size = np.abs(errors).mean(axis=1)
    if not size.max() > 0:
        return np.full(len(errors), 1 / len(errors))
    shares = size.max() / np.maximum(size, 1e-9 * size.max())
    return shares / shares.sum()
