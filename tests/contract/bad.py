"""A tiny forecaster that keeps the contract, and for each check one that breaks just that promise.

The good one repeats the last season, goes on with the average growth and multiplies by what a promotion did.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Self, final

import numpy as np

from forecastkit import baseline
from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import SeriesTooShortError
from forecastkit.forecaster import Explanation, Fitted, Forecast, Forecaster, State
from forecastkit.testing import panels

SEASON = 7
BAD: dict[str, type[Tiny]] = {}  # by the check that each must fail


def breaks(check: str) -> Callable[[type[Tiny]], type[Tiny]]:
    """Name a forecaster, and enter it for its check."""

    def enter(cls: type[Tiny]) -> type[Tiny]:
        cls.name = getattr(cls, "own_name", cls.__name__.lower())
        BAD[check] = final(cls)
        return cls

    return enter


def growth_of(history: Panel) -> Floats:
    """Units per period from the first to the last observed season, [N]."""
    values, seen = baseline.compact(baseline.demand(history), history.offsets)
    slopes = []
    for first, end in pairwise(seen):
        y = values[first:end]
        slopes.append((y[-SEASON:].mean() - y[:SEASON].mean()) / (len(y) - SEASON) if len(y) > 2 * SEASON else 0.0)
    return np.array(slopes)


def effect_of(history: Panel) -> Floats:
    """What a promotion adds, as a share, [N]; 0 without a known column."""
    if not len(history.known):
        return np.zeros(len(history))
    flags = history.known_filled[:, 0] > 0
    owner = np.repeat(np.arange(len(history)), history.lengths)
    on, off = (_mean(history.values[rows], owner[rows], len(history)) for rows in (flags, ~flags))
    return on / off - 1


def _mean(values: Floats, owner: Any, count: int) -> Floats:
    return np.bincount(owner, values, minlength=count) / np.bincount(owner, minlength=count)


def swing(history: Panel) -> Floats:
    """The range of each series, as a column, [N, 1]: what is added in parts of it leaves a constant alone."""
    return np.array([[np.nanmax(history.series(i)) - np.nanmin(history.series(i))] for i in range(len(history))])


@dataclass(frozen=True, eq=False, kw_only=True)
class TinyFitted(Fitted):
    """growth, effect: [N]"""

    growth: Floats
    effect: Floats

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        y, offsets = self.demand(), self.history.offsets
        if future is not None:
            owner = np.repeat(np.arange(len(self.history)), self.history.lengths)
            y = y / (1 + self.effect[owner] * self.history.known_filled[:, 0])
        mean, quantiles = baseline.seasonal_naive(y, offsets, SEASON, horizon, levels)
        drift = self.growth[:, None] * (np.arange(horizon) // SEASON + 1) * SEASON  # [N, H]
        lift = 1.0 if future is None else 1 + self.effect[:, None] * self.ahead(future)
        return (mean + drift) * lift, quantiles + drift[..., None]

    def demand(self) -> Floats:
        return baseline.demand(self.history)

    def ahead(self, future: Floats) -> Floats:
        """Promotions of each step, [N, H]."""
        return future[..., 0]

    def _updated(self, history: Panel) -> Self:
        place = {name: i for i, name in enumerate(self.history.ids)}
        rows = [place.get(name, len(place)) for name in history.ids]
        growth, effect = (np.append(values, 0.0)[rows] for values in (self.growth, self.effect))
        return replace(self, history=history, growth=growth, effect=effect)

    def state(self) -> State:
        return State({"growth": self.growth, "effect": self.effect})

    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        return cls(growth=state.arrays["growth"], effect=state.arrays["effect"], **common)


@dataclass(frozen=True, kw_only=True)
class Tiny(Forecaster):
    """note: a word without meaning, so that there is a field."""

    name: ClassVar[str] = "tiny"
    fitted_type: ClassVar[type[Fitted]] = TinyFitted
    uses: ClassVar[frozenset[str]] = frozenset({"known", "available"})

    note: str = "plain"

    def _fit(self, train: Panel, horizon: int) -> TinyFitted:
        return self.fitted_type(recipe=self, history=train, growth=growth_of(train), effect=effect_of(train))

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()


# Good ones, of each kind


@final
class Good(Tiny):
    """Local, with quantiles, known covariates and availability."""

    name = "good"


@final
class GoodPooled(Tiny):
    """Pooled, without quantiles or covariates."""

    name, pooled, probabilistic, uses = "goodpooled", True, False, frozenset()


@final
class GoodWithoutGaps(Tiny):
    """Local, refuses gaps."""

    name, handles_gaps = "goodwithoutgaps", False


GOOD = (Good, GoodPooled, GoodWithoutGaps)


# Bad recipes


@breaks("check_recipe_is_frozen")
class Settable(Tiny):
    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


@breaks("check_recipe_equals_its_copy")
class HashedByIdentity(Tiny):
    def __hash__(self) -> int:
        return id(self)


@breaks("check_repr_evaluates_back")
class Unspeakable(Tiny):
    def __repr__(self) -> str:
        return "<a forecaster>"


@breaks("check_recipe_can_be_written_down")
class Untypable(Tiny):
    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls(note="a,b")


@breaks("check_name_can_be_typed")
class Spaced(Tiny):
    own_name = "Two Words"


@breaks("check_suggest_gives_recipes")
class SuggestsOptions(Tiny):
    @classmethod
    def suggest(cls, trial: Any) -> Any:
        return {"note": trial.suggest_categorical("note", ["plain", "other"])}


@breaks("check_search_begins_with_the_defaults")
class SuggestsAnotherName(Tiny):
    @classmethod
    def suggest(cls, trial: Any) -> Any:
        return cls(note=trial.suggest_categorical("remark", ["plain", "other"]))


@breaks("check_recipe_does_not_predict")
class PredictsUnfitted(Tiny):
    def predict(self, *_: Any, **__: Any) -> Any:
        return None


@breaks("check_class_is_declared")
class UsesTheWeather(Tiny):
    uses = frozenset({"known", "available", "weather"})


# Bad fits


@breaks("check_fit_leaves_the_panel_untouched")
class Mutating(Tiny):
    def _fit(self, train: Panel, horizon: int) -> TinyFitted:
        fitted = super()._fit(train, horizon)
        train.values.flags.writeable = True
        train.values[0] *= 1.5
        return fitted


@breaks("check_fit_twice_gives_the_same")
class Unseeded(Tiny):
    first: ClassVar[list[bool]] = [True]

    def _fit(self, train: Panel, horizon: int) -> TinyFitted:
        fitted = super()._fit(train, horizon)
        if not (train.fingerprint == panels.shop().fingerprint and self.first):
            return fitted
        self.first.pop()
        return replace(fitted, growth=fitted.growth * 1.01)


@breaks("check_global_generators_are_left_alone")
class Seeding(Tiny):
    def _fit(self, train: Panel, horizon: int) -> TinyFitted:
        np.random.random()  # noqa: NPY002 - that is what is bad about it
        return super()._fit(train, horizon)


@breaks("check_no_series_fails")
class GivesUp(Tiny):
    def _fit(self, train: Panel, horizon: int) -> TinyFitted:
        return replace(super()._fit(train, horizon), failures={train.ids[0]: "no luck"})


@breaks("check_nothing_after_the_cutoff_counts")
class Leaky(Tiny):
    def _fit(self, train: Panel, horizon: int) -> TinyFitted:
        fitted, memory = super()._fit(train, horizon), train.values.base
        if memory is None or len(memory) == len(train.values):
            return fitted
        return replace(fitted, growth=fitted.growth + memory[-1])


@breaks("check_short_series")
class BlamesAnother(Tiny):
    def _fit(self, train: Panel, horizon: int) -> TinyFitted:
        if train.lengths.min() < SEASON:
            raise SeriesTooShortError(train.ids[-1], needed=SEASON, found=1, what="it")
        return super()._fit(train, horizon)


# Bad forecasts: each of these changes what a good model says


class Twisted(TinyFitted):
    """A good forecast, changed by `twist`."""

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        mean, quantiles = super()._predict(horizon, levels, future)
        return self.twist(mean), quantiles

    def twist(self, mean: Floats) -> Floats:
        raise NotImplementedError


def twisted(check: str, name: str, twist: Callable[[Any, Floats], Floats]) -> None:
    """Enter a forecaster whose mean is changed."""
    fitted = type(f"{name}Fitted", (Twisted,), {"twist": twist, "__module__": __name__})
    globals()[name] = breaks(check)(type(name, (Tiny,), {"fitted_type": fitted, "__module__": __name__}))


def _hugs_gaps(self: Any, mean: Floats) -> Floats:
    return mean + 1e6 * np.array([[np.isnan(self.history.series(i)).any()] for i in range(len(self.history))])


twisted(
    "check_short_forecast_begins_the_long_one",
    "DependsOnHorizon",
    lambda self, mean: mean + 1e-3 * swing(self.history) * mean.shape[1],
)
twisted(
    "check_order_of_series_does_not_matter",
    "DependsOnPlace",
    lambda self, mean: mean + 1e-3 * swing(self.history) * np.arange(len(mean))[:, None],
)
twisted("check_constant_stays_constant", "SlightlyHigh", lambda self, mean: mean * 1.00001)
twisted("check_zeros_stay_zero", "NeverZero", lambda self, mean: np.where((mean == 0).all(), 1.0, mean))
twisted("check_any_scale", "Rounds", lambda self, mean: np.round(mean, 6))
twisted("check_negative_demand", "NeverNegative", lambda self, mean: np.maximum(mean, 0.0))
twisted("check_gaps", "TripsOverGaps", _hugs_gaps)
twisted(
    "check_unused_known_columns_change_nothing",
    "CountsColumns",
    lambda self, mean: mean * (1 + 0.01 * len(self.history.known)),
)
BAD["check_unused_known_columns_change_nothing"].uses = frozenset({"available"})


class PeekedFitted(TinyFitted):
    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        mean, quantiles = super()._predict(horizon, levels, future)
        oldest = np.stack([self._first(i, horizon) for i in range(len(self.history))])
        return oldest + 0.01 * (mean - oldest), quantiles

    def _first(self, i: int, horizon: int) -> Floats:
        return np.resize(self.history.series(i)[:SEASON], horizon)


@breaks("check_beats_the_historic_mean")
class Backwards(Tiny):
    """The first season of the history, hardly touched by the last."""

    fitted_type = PeekedFitted
    uses = frozenset({"available"})


class StaleFitted(TinyFitted):
    def demand(self) -> Floats:
        y = super().demand().copy()
        y[self.history.offsets[1:] - 1] = np.nan
        return y


@breaks("check_newest_observation_counts")
class Stale(Tiny):
    """Reads all but the newest observation."""

    fitted_type = StaleFitted

    def _fit(self, train: Panel, horizon: int) -> TinyFitted:
        past = growth_of(train.cut(np.maximum(train.lengths - 1, 1)))
        return replace(super()._fit(train, horizon), growth=past)


class BlindFitted(TinyFitted):
    def demand(self) -> Floats:
        return self.history.values


@breaks("check_unavailable_is_not_zero_demand")
class Blind(Tiny):
    """Says that it knows what could be sold, and doesn't look."""

    fitted_type = BlindFitted


class MisnamedFitted(TinyFitted):
    def predict(self, horizon: int, *, levels: Sequence[float] = (), future: Any = None) -> Forecast:
        forecast = super().predict(horizon, levels=levels, future=future)
        return replace(forecast, series=forecast.series[::-1])


@breaks("check_shape_and_times")
class Misnamed(Tiny):
    fitted_type = MisnamedFitted


class CrossedFitted(TinyFitted):
    def predict(self, horizon: int, *, levels: Sequence[float] = (), future: Any = None) -> Forecast:
        forecast = super().predict(horizon, levels=levels, future=future)
        return replace(forecast, quantiles=forecast.quantiles[..., ::-1])


@breaks("check_quantiles_never_decrease")
class Crossed(Tiny):
    fitted_type = CrossedFitted


class MixedUpFitted(TinyFitted):
    def predict(self, horizon: int, *, levels: Sequence[float] = (), future: Any = None) -> Forecast:
        forecast = super().predict(horizon, levels=levels, future=future)
        up = list(levels) == sorted(levels)
        return forecast if up else replace(forecast, quantiles=forecast.quantiles * 1.01)


@breaks("check_order_of_levels_does_not_matter")
class MixedUp(Tiny):
    fitted_type = MixedUpFitted


class SureFitted(TinyFitted):
    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        mean, quantiles = super()._predict(horizon, levels, future)
        return mean, np.broadcast_to(mean[..., None], quantiles.shape)


@breaks("check_levels_differ_on_noisy_data")
class Sure(Tiny):
    fitted_type = SureFitted


class SharedFitted(TinyFitted):
    asked: ClassVar[list[int]] = [0]

    def predict(self, horizon: int, *, levels: Sequence[float] = (), future: Any = None) -> Forecast:
        self.asked[0] = horizon
        time.sleep(0.005)
        return super().predict(self.asked[0], levels=levels, future=future)


@breaks("check_threads_do_not_disturb_each_other")
class Shared(Tiny):
    fitted_type = SharedFitted


class ForgetfulFitted(TinyFitted):
    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        zeros = np.zeros_like(state.arrays["growth"])
        return cls(growth=zeros, effect=zeros, **common)


@breaks("check_saved_and_loaded_elsewhere")
class Forgetful(Tiny):
    fitted_type = ForgetfulFitted


# Bad updates


class ImpatientFitted(TinyFitted):
    def update(self, panel: Panel) -> Self:
        known_already = panel.fingerprint == self.history.fingerprint
        updated = super().update(panel)
        return replace(updated, growth=updated.growth * 1.01) if known_already else updated


@breaks("check_update_with_the_same_panel_changes_nothing")
class Impatient(Tiny):
    fitted_type = ImpatientFitted


class AimlessFitted(TinyFitted):
    def _updated(self, history: Panel) -> Self:
        return replace(super()._updated(history), horizon=None)


@breaks("check_the_horizon_of_the_fit_is_known")
class Aimless(Tiny):
    fitted_type = AimlessFitted


class StubbornFitted(TinyFitted):
    def update(self, panel: Panel) -> Self:
        super().update(panel)
        return self


@breaks("check_update_moves_the_forecast_on")
class Stubborn(Tiny):
    fitted_type = StubbornFitted


class ResentfulFitted(TinyFitted):
    def update(self, panel: Panel) -> Self:
        updated = super().update(panel)
        return replace(updated, growth=np.maximum(updated.growth, growth_of(updated.history)))


@breaks("check_observations_taken_back_do_not_count")
class Resentful(Tiny):
    fitted_type = ResentfulFitted


class CredulousFitted(TinyFitted):
    def update(self, panel: Panel) -> Self:
        return self._updated(self.history.extended(panel))


@breaks("check_unseen_series")
class Credulous(Tiny):
    fitted_type = CredulousFitted


# Bad uses of known covariates


class CarelessFitted(TinyFitted):
    def _future(self, horizon: int, future: Any) -> Floats | None:
        shape = (len(self.history), horizon, len(self.history.known))
        return super()._future(horizon, np.zeros(shape) if future is None else future)


@breaks("check_known_future_is_asked_for")
class Careless(Tiny):
    fitted_type = CarelessFitted


class UnmovedFitted(TinyFitted):
    def ahead(self, future: Floats) -> Floats:
        return np.zeros(future.shape[:2])


@breaks("check_known_future_counts")
class Unmoved(Tiny):
    fitted_type = UnmovedFitted


class ForesightFitted(TinyFitted):
    def ahead(self, future: Floats) -> Floats:
        return np.repeat(future[..., 0].mean(axis=1, keepdims=True), future.shape[1], axis=1)


@breaks("check_later_known_values_do_not_count")
class Foresight(Tiny):
    fitted_type = ForesightFitted


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class LeavesOutGrowthFitted(TinyFitted):
    def _explain(self, i: int, horizon: int, future: Floats | None) -> Explanation:
        mean, _ = baseline.seasonal_naive(self.demand(), self.history.offsets, SEASON, horizon, ())
        return Explanation(self.history.ids[i], components={"last season": mean[i]})


@breaks("check_the_parts_of_a_forecast_add_up_to_it")
class LeavesOutGrowth(Tiny):
    """Says that its forecast is the last season, and keeps quiet about the growth."""

    parted: ClassVar[bool] = True
    fitted_type = LeavesOutGrowthFitted
