"""What `ensemble` and `auto` share: fitted members whose forecasts are combined, and weights from past windows."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from forecastkit import baseline, models, recipes
from forecastkit.data.panel import Floats, Ints, Panel, ranges
from forecastkit.errors import ConfigError
from forecastkit.forecaster import ROLES, Fitted, Forecaster, State

logger = logging.getLogger(__name__)

_FAR = 10.0  # spreads of a series beyond which an error counts as this
_RIDGE = 0.1  # of the mean variance of errors: weights lean to equal ones


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
        """The weighted mean of those members that have a forecast, 0 where none has; [K, N, ...] -> [N, ...]."""
        seen = ~np.isnan(parts)
        shares = np.where(seen, weights.reshape(-1, *(1,) * (parts.ndim - 1)), 0.0)
        total = shares.sum(axis=0)
        return (shares * np.where(seen, parts, 0.0)).sum(axis=0) / np.where(total > 0, total, 1.0)

    def _updated(self, history: Panel) -> Self:
        members = tuple(_moved(member, history) for member in self.members)
        return replace(self, history=history, members=members, failures=uncovered(members, history))

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


def _moved(member: Fitted, history: Panel) -> Fitted:
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
    forecast = member.predict(horizon, levels=levels, future=own)
    return forecast.mean, forecast.quantiles


def uncovered(members: Sequence[Fitted], history: Panel) -> dict[str, str]:
    """Series that no member was fitted on, and those without a single observed value."""
    covered = {name for member in members for name in member.history.ids}
    alone = {name: "too short for every member" for name in history.ids if name not in covered}
    return baseline.unseen(history) | alone


def fit_where_long_enough(recipe: Forecaster, train: Panel, horizon: int) -> Fitted:
    """`recipe` on those series of `train` that are long enough for it; the error of the first one where none is."""
    kept = np.flatnonzero(train.lengths >= recipe.needs(train))
    return recipe.fit(train.take(kept) if 0 < len(kept) < len(train) else train, horizon=horizon)


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
    def threaded(self) -> bool:
        """What is chosen for the whole panel needs it whole: it is never fitted in pieces."""
        return True

    def needs(self, train: Panel) -> int:
        return min(recipe.needs(train) for recipe in self.members_recipes())


def errors_after(member: Fitted, panel: Panel, horizon: int) -> Floats:
    """Errors of the medians for the periods that follow the member's history in `panel`, in spreads; [n, H].

    NaN where nothing was seen and in series without a spread. The rows are the member's series.
    """
    part = panel.take(places(member.history, panel))
    ends = member.history.ends - part.starts + 1
    future = part.known_after(ends, horizon) if len(part.known) else None
    levels = (0.5,) if member.recipe.probabilistic else ()
    mean, quantiles = told(member, horizon, levels, future, np.arange(len(part)))
    scale = baseline.spread(baseline.demand(part), part.offsets, min(part.season, int(part.lengths.min())))[:, None]
    error = (quantiles[..., 0] if levels else mean) - _actual(part, ends, horizon)
    return np.clip(error / np.where(scale > 0, scale, np.nan), -_FAR, _FAR)


def _actual(panel: Panel, ends: Ints, horizon: int) -> Floats:
    """Demand of the `horizon` periods after the first `ends` of each series, NaN where none was seen; [N, H]."""
    rows = ranges(panel.offsets[:-1] + ends, np.full(len(ends), horizon))
    return baseline.demand(panel)[rows].reshape(-1, horizon)


def long_enough(train: Panel, horizon: int, window: int) -> Ints:
    """Series with a season or more of history before the `window`-th last window."""
    return np.flatnonzero(train.lengths - window * horizon > train.season)


def before(train: Panel, kept: Ints, periods: int) -> Panel:
    """The series `kept` without their last `periods`."""
    part = train.take(kept)
    return part.cut(part.lengths - periods)


def stacked(errors: Floats) -> Floats:
    """The weights from 0 that add up to 1 and make the squared error least, leaning to equal ones; [K, E] -> [K].

    Bates & Granger (1969), The combination of forecasts; not below zero: Breiman (1996), Stacked regressions.
    """
    covariance = errors @ errors.T / max(errors.shape[1], 1)
    size = np.trace(covariance) / len(errors)
    if not size > 0:
        return equal(len(errors))
    root = np.linalg.cholesky(covariance / size + (_RIDGE + 1e-9) * np.eye(len(errors)))
    heavy = 1e4  # so that they add up
    weights, _ = nnls(np.vstack([root.T, np.full(len(errors), heavy)]), np.append(np.zeros(len(errors)), heavy))
    total: Floats = weights / weights.sum()
    return total


def inverse(errors: Floats) -> Floats:
    """Weights by one over the mean absolute error; [K, E] -> [K]."""
    size = np.abs(errors).mean(axis=1) if errors.shape[1] else np.zeros(len(errors))
    if not size.max() > 0:
        return equal(len(errors))
    shares = size.max() / np.maximum(size, 1e-9 * size.max())
    return shares / shares.sum()


def equal(count: int) -> Floats:
    return np.full(count, 1 / count)


def in_all(errors: NDArray[Any]) -> Floats:
    """Those errors that every member has; [K, ...] -> [K, E]."""
    flat = errors.reshape(len(errors), -1)
    return flat[:, ~np.isnan(flat).any(axis=0)]
