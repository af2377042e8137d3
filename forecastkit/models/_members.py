"""What `ensemble` and `auto` share: fitted members whose forecasts are combined."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from forecastkit import baseline, execution, models, recipes
from forecastkit.data.panel import Floats, Ints, Panel
from forecastkit.errors import ConfigError, DataError, FitError
from forecastkit.forecaster import ROLES, Fitted, Forecaster, State
from forecastkit.local import fit_spread

logger = logging.getLogger(__name__)

LEAST = 0.03  # weight below which a member is not heard beside others


@dataclass(frozen=True, eq=False, kw_only=True)
class MembersFitted(Fitted):
    """Fitted members, each on the series that are long enough for it, and their weights, which add up to 1.

    A series that no member was fitted on has the seasonal naive forecast and stands among the failures.
    """

    texts: tuple[str, ...]  # of the members' recipes
    members: tuple[Fitted, ...]
    weights: Floats  # [K]

    @property
    def shares(self) -> dict[str, float]:
        """The weight of each member by its text."""
        return dict(zip(self.texts, self.weights.tolist(), strict=True))

    def weighed(self) -> str:
        """The members and their weights, the largest first."""
        ordered = sorted(self.shares.items(), key=lambda item: -item[1])
        return ", ".join(f"{text} {weight:.2f}" for text, weight in ordered)

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        heard = [k for k, weight in enumerate(self.weights) if weight > 0 and len(self.members[k].history)]
        shape = len(self.history), horizon
        mean = np.full((len(heard), *shape), np.nan)  # [K, N, H]
        quantiles = np.full((len(heard), *shape, len(levels)), np.nan)
        for place, k in enumerate(heard):
            rows = places(self.members[k].history, self.history)
            mean[place, rows], quantiles[place, rows] = told(self.members[k], horizon, levels, future, rows)
        rest = np.flatnonzero(np.isnan(mean).all(axis=(0, 2)))
        found = [self._combined(part, self.weights[heard]) for part in (mean, quantiles)]
        if len(rest):
            part = self.history.take(rest)
            plain = baseline.seasonal_naive(baseline.demand(part), part.offsets, part.season, horizon, levels)
            found[0][rest], found[1][rest] = plain
        return found[0], found[1]

    def _combined(self, parts: Floats, weights: Floats) -> Floats:
        """The weighted mean of those members that have a forecast, 0 where none has; [K, N, ...] -> [N, ...].

        One with less than `LEAST` is heard where no other is: a trace of it would lift each quantile that is zero.
        """
        weights = weights.reshape(-1, *(1,) * (parts.ndim - 1))
        seen = ~np.isnan(parts)
        loud = seen & (weights >= LEAST)
        shares = np.where(np.where(loud.any(axis=0), loud, seen), weights, 0.0)
        total = shares.sum(axis=0)
        return (shares * np.where(seen, parts, 0.0)).sum(axis=0) / np.where(total > 0, total, 1.0)

    def _updated(self, history: Panel) -> Self:
        members = tuple(moved(member, history) for member in self.members)
        return replace(self, history=history, members=members, failures=uncovered(members, history))

    @property
    def size_mb(self) -> float:
        """Of the members and their weights; the histories that stand among their arrays on disk are not learned."""
        return self.weights.nbytes / 1e6 + sum(member.size_mb for member in self.members)

    def state(self) -> State:
        arrays, values = {"weights": self.weights}, []
        for k, member in enumerate(self.members):
            own, (history, about) = member.state(), member.history.arrays()
            arrays |= {f"{k}.state.{name}": array for name, array in own.arrays.items()}
            arrays |= {f"{k}.history.{name}": array for name, array in history.items()}
            common = {"failures": dict(member.failures), "trained_on": member.trained_on}
            kind = {"model": member.recipe.name, "recipe": asdict(member.recipe)}
            values.append(kind | {"values": own.values, "history": about} | common)
        return State(arrays, {"texts": list(self.texts), "members": values})

    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        members = [_restored(_under(f"{k}.", state.arrays), own) for k, own in enumerate(state.values["members"])]
        texts = tuple(state.values["texts"])
        return cls(texts=texts, members=tuple(members), weights=state.arrays["weights"], **common)


def _under(prefix: str, arrays: Any) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _restored(arrays: dict[str, Any], values: dict[str, Any]) -> Fitted:
    kind = models.load(values["model"])
    return kind.fitted_type.from_state(
        State(_under("state.", arrays), values["values"]),
        recipe=recipes.build(kind, values["recipe"]),
        history=Panel.from_arrays(_under("history.", arrays), values["history"]),
        failures=values["failures"],
        trained_on=values["trained_on"],
    )


def places(part: Panel, whole: Panel) -> Ints:
    """Where the series of `part` stand in `whole`."""
    if part.ids == whole.ids:
        return np.arange(len(whole))
    place = {name: i for i, name in enumerate(whole.ids)}
    return np.array([place[name] for name in part.ids], np.int64)


def moved(member: Fitted, history: Panel) -> Fitted:
    """The member on newer periods of the series it knows; a pooled one takes new series too."""
    if member.recipe.pooled:
        return member.update(history)
    known = set(member.history.ids)
    return member.update(history.take(np.array([i for i, name in enumerate(history.ids) if name in known], np.int64)))


def check(texts: Sequence[str]) -> None:
    """`ConfigError` unless each is a model that can be a member: any but those that have members themselves."""
    for text in texts:
        name = recipes.parse(text)[0]
        if name not in models.available() or name in ("ensemble", "auto"):
            raise ConfigError(f"{text!r} can't be a member; `forecastkit models` lists the models")


def told(
    member: Fitted, horizon: int, levels: tuple[float, ...], future: Floats | None, rows: Ints
) -> tuple[Floats, Floats]:
    """Mean and quantiles of a member, which hears of the covariates [N, H, K] of its `rows` if it knows any."""
    own = future[rows] if future is not None and "known" in member.recipe.uses else None
    return member.unrounded(horizon, levels=levels, future=own)


def uncovered(members: Sequence[Fitted], history: Panel) -> dict[str, str]:
    """Series that no member was fitted on, and those without a single observed value."""
    covered = {name for member in members for name in member.history.ids}
    alone = {name: "too short for every member" for name in history.ids if name not in covered}
    return baseline.unseen(history) | alone


def fit_where_long_enough(recipe: Forecaster, train: Panel, horizon: int, begun: Fitted | None = None) -> Fitted:
    """`recipe` on those series of `train` that are long enough for it; the error of the first one where none is.

    What is `begun` is gone on with. A model that goes series by series is spread over the processes that there are.
    """
    kept = np.flatnonzero(train.lengths >= recipe.needs(train))
    part = train.take(kept) if 0 < len(kept) < len(train) else train
    if begun is not None:
        return begun.refit(part, horizon=horizon)
    return fit_spread(recipe, part, execution.processes(), horizon=horizon, progress=execution.report)


def fit_those_that_can(
    recipes: Mapping[str, Forecaster], train: Panel, horizon: int, begun: Mapping[str, Fitted]
) -> dict[str, Fitted]:
    """Each of the `recipes` that can be fitted, by its text; the error of the first one where none can."""
    found: dict[str, Fitted] = {}
    errors = []
    for text, recipe in recipes.items():
        try:
            found[text] = fit_where_long_enough(recipe, train, horizon, begun.get(text))
        except (FitError, DataError) as error:
            errors.append(error)
            logger.warning("%s can't be fitted and is left out: %s", text, error)
    if not found:
        raise errors[0]
    return found


@dataclass(frozen=True)
class OfMembers:
    """A trait that a recipe has from its members; of the class itself it is `most`."""

    most: Any
    of: Callable[[list[Forecaster]], Any]

    def __get__(self, recipe: Any, owner: type) -> Any:
        return self.most if recipe is None else self.of(recipe.members_recipes())


@dataclass(frozen=True, kw_only=True)
class MembersForecaster(Forecaster):
    """A recipe whose traits are those of its members."""

    uses: ClassVar[Any] = OfMembers(ROLES, lambda own: frozenset[str]().union(*(m.uses for m in own)))
    probabilistic: ClassVar[Any] = OfMembers(True, lambda own: all(m.probabilistic for m in own))
    pooled: ClassVar[Any] = OfMembers(False, lambda own: all(m.pooled for m in own))
    handles_gaps: ClassVar[Any] = OfMembers(True, lambda own: all(m.handles_gaps for m in own))

    @abstractmethod
    def members_recipes(self) -> list[Forecaster]:
        """The recipes of the members."""

    @property
    def compiled(self) -> bool:
        return any(recipe.compiled for recipe in self.members_recipes())

    def warm_up(self, train: Panel, horizon: int) -> None:
        for recipe in self.members_recipes():
            if recipe.compiled:
                recipe.warm_up(train, horizon)

    @property
    def whole(self) -> bool:
        """Weights, choice and pooled members are for all series; fitted in pieces, they would be paid for in each."""
        return True

    def needs(self, train: Panel) -> int:
        return min(recipe.needs(train) for recipe in self.members_recipes())
