"""`ensemble`: several models whose forecasts are averaged, with weights that past windows have earned."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, final

import numpy as np

from forecastkit import baseline, models
from forecastkit.data.panel import Floats, Ints, Panel
from forecastkit.errors import ConfigError, DataError, FitError, closest, counted
from forecastkit.forecaster import Fitted, Forecaster, State
from forecastkit.models import _members as of
from forecastkit.models._weights import among, before, common_end, equal, going_on, inverse, past_errors, room, stacked

logger = logging.getLogger(__name__)

PLAIN = ("mean", "median")  # they look at no past
_KEPT = ("taught", "learned", "seen")  # on disk
COMBINATIONS = (*PLAIN, "inverse_error", "stacking")


class Lessons(NamedTuple):
    """Weights [K], how many past windows they are the mean of, and the number of the period where these end."""

    weights: Floats
    taught: int
    learned: int


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class EnsembleFitted(of.MembersFitted):
    """The fitted members and the weight of each, in the mean and in every quantile.

    taught: past windows whose weights these are the mean of · learned: number of the period where the last of them
    ends · seen: of the last period that members were fitted on.
    """

    taught: int = 0
    learned: int = 0
    seen: int = 0

    @property
    def choice(self) -> str:
        if self.recipe.combination in PLAIN:
            return f"the {self.recipe.combination} of {', '.join(self.texts)}"
        return f"{self.weighed()}: weights of {counted(self.taught, 'past window')}"

    def _combined(self, parts: Floats, weights: Floats) -> Floats:
        if self.recipe.combination != "median" or not len(parts):
            return super()._combined(parts, weights)
        nobody = np.isnan(parts).all(axis=0)
        return np.nanmedian(np.where(nobody, 0.0, parts), axis=0)

    def refit(self, panel: Panel, *, horizon: int | None = None) -> Fitted:
        """Members go on from what they have, if they can, and weights learn from what came since, which none has seen.

        `panel` is all that members learn from, older periods too: unlike `update`, nothing is joined to it.
        """
        if self.texts != self.recipe.members:  # who was left out may fit now, and has no weight to go on from
            return super().refit(panel, horizon=horizon)
        settled = self.recipe._settled(panel, self._kept(horizon))
        found: Fitted = self.recipe.fitted_from(panel, settled, self.members, self._lessons(panel, settled))
        return found

    def _lessons(self, panel: Panel, horizon: int) -> Lessons:
        """What this has learned, and each whole window after that, the newest ones if there are many.

        A window may begin in what members were fitted on, where refits are less than a horizon apart; only what came
        since counts in it.
        """
        had = Lessons(self.weights, self.taught, self.learned)
        common = self._known_to_all(panel)
        if self.recipe.combination in PLAIN or not len(common):
            return had
        try:
            part = panel.take(common).recoded(self.history)  # the members' codes, for the covariates of past windows
        except DataError as error:
            logger.info("%s: newer periods teach no weights: %s", self.recipe.name, error)
            return had
        part = part.take(going_on(part, horizon))
        end = common_end(part, horizon)
        most = min(self.recipe.windows, int(part.lengths.min() - 1) // horizon)
        windows = min(max((end - self.learned) // horizon, 0), most)
        newer = self.recipe.weights_on(self.members, part, horizon, windows, self.seen)
        if not newer:
            return had
        taught = self.taught + len(newer)
        return Lessons((self.taught * self.weights + np.sum(newer, axis=0)) / taught, taught, end)

    def _known_to_all(self, panel: Panel) -> Ints:
        """The series of `panel` that every member was fitted on."""
        known = set(self.history.ids).intersection(*(member.history.ids for member in self.members))
        return np.array([i for i, name in enumerate(panel.ids) if name in known], np.int64)

    def state(self) -> State:
        state = super().state()
        return State(state.arrays, {**state.values, **{name: getattr(self, name) for name in _KEPT}})

    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        return super().from_state(state, **{name: state.values[name] for name in _KEPT}, **common)


@final
@dataclass(frozen=True, kw_only=True)
class Ensemble(of.MembersForecaster):
    """Different models err differently, so that their average is usually better than the best of them.

    `stacking` finds the weights with which the absolute error on past windows is least, none below 0, leaning a little
    to equal ones; `inverse_error` weighs by one over the mean absolute error; `mean` and `median` look at no past.
    Errors are those of the medians, in spreads of the series. Quantiles are averaged level by level.

    Members are fitted once before the past windows, move through them with newer demand and nothing estimated again,
    and are then fitted on everything, those that can from what they have. So the ensemble costs at most two fits of
    each. A refit, as from window to window of a backtest, learns weights from what came since. A series that is too
    short for a member is forecast by the others, and a member that can't be fitted at all is left out.

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

    members: tuple[str, ...] = ("gru", "boosted", "sarima")
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
        of.check(self.members)

    def members_recipes(self) -> list[Forecaster]:
        """The recipes of the members."""
        return [models.create(m, season=self.season, seed=self.seed, device=self.device) for m in self.members]

    @property
    def warm(self) -> bool:
        """Whether a member is."""
        return any(recipe.warm for recipe in self.members_recipes())

    def _fit(self, train: Panel, horizon: int) -> EnsembleFitted:
        begun, found = self._begun(train, horizon) if self.combination not in PLAIN else ((), [])
        if self.combination not in PLAIN and not found:
            logger.info("%s: no past window says anything of the weights, they are equal", self.name)
        weights = np.mean(found, axis=0) if found else equal(len(self.members))
        return self.fitted_from(train, horizon, begun, Lessons(weights, len(found), common_end(train, horizon)))

    def _begun(self, train: Panel, horizon: int) -> tuple[tuple[Fitted, ...], list[Floats]]:
        """Members fitted once, before the past windows, and the weights that each of these windows finds."""
        own = self.members_recipes()
        windows, kept = room(train, horizon, self.windows, max(recipe.needs(train) for recipe in own))
        if not len(kept):
            return (), []
        try:
            earlier = before(train, kept, windows * horizon)
            begun = tuple(of.fit_where_long_enough(recipe, earlier, horizon) for recipe in own)
        except (FitError, DataError) as error:
            logger.info("%s: a member can't be fitted on the past: %s", self.name, error)
            return (), []
        return begun, self.weights_on(begun, train.take(kept), horizon, windows)

    def weights_on(
        self, begun: tuple[Fitted, ...], panel: Panel, horizon: int, windows: int, seen: int | None = None
    ) -> list[Floats]:
        """The weights that each of the last `windows` of `panel` finds, [K] each, by what members have not `seen`."""
        found = stacked if self.combination == "stacking" else inverse
        try:
            return [found(errors) for errors in past_errors(begun, panel, horizon, windows, seen)]
        except (FitError, DataError) as error:
            logger.info("%s: past windows teach no weights: %s", self.name, error)
            return []

    def fitted_from(self, train: Panel, horizon: int, begun: tuple[Fitted, ...], lessons: Lessons) -> EnsembleFitted:
        """Members fitted on all of `train`, from those `begun` where that is quicker, and what weights have learned."""
        own = dict(zip(self.members, self.members_recipes(), strict=True))
        starts = {text: old for text, old in zip(self.members, begun, strict=False) if own[text].warm}
        found = of.fit_those_that_can(own, train, horizon, starts)
        members = tuple(found.values())
        return EnsembleFitted(
            recipe=self,
            history=train,
            failures=of.uncovered(members, train),
            horizon=horizon,
            texts=tuple(found),
            members=members,
            weights=among(lessons.weights, [k for k, text in enumerate(self.members) if text in found]),
            taught=lessons.taught,
            learned=lessons.learned,
            seen=int(train.ends.max()),
        )

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls(members=("seasonal_naive", "window_average"), windows=1)
        yield cls(members=("theta", "historic_mean", "seasonal_naive"), combination="median")
