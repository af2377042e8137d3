"""`ensemble`: several models whose forecasts are averaged, with weights that past windows have earned."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from forecastkit import baseline, models
from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import ConfigError, DataError, FitError, closest
from forecastkit.forecaster import Fitted, Forecaster
from forecastkit.models import _members as of

logger = logging.getLogger(__name__)

COMBINATIONS = ("mean", "median", "inverse_error", "stacking")


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class EnsembleFitted(of.MembersFitted):
    """The fitted members, and the weight of each in the mean and in every quantile."""

    def _combined(self, parts: Floats, weights: Floats) -> Floats:
        if self.recipe.combination != "median" or not len(parts):
            return super()._combined(parts, weights)
        nobody = np.isnan(parts).all(axis=0)
        return np.nanmedian(np.where(nobody, 0.0, parts), axis=0)


@final
@dataclass(frozen=True, kw_only=True)
class Ensemble(of.MembersForecaster):
    """Different models err differently, so that their average is usually better than the best of them.

    `stacking` finds the weights with which the squared error on past windows is least, none below 0, leaning to equal
    ones (Bates & Granger 1969; Breiman 1996); `inverse_error` weighs by one over the mean absolute error; `mean` and
    `median` look at no past. Quantiles are averaged level by level. Errors are those of the 0.5 quantile, in spreads of
    the series, and only windows before the end of training are looked at. A series that is too short for a member is
    forecast by the others.

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
        of.check(self.members)

    def members_recipes(self) -> list[Forecaster]:
        """The recipes of the members."""
        return [models.create(m, season=self.season, seed=self.seed, device=self.device) for m in self.members]

    def _fit(self, train: Panel, horizon: int) -> EnsembleFitted:
        own = self.members_recipes()
        members = tuple(of.fit_where_long_enough(recipe, train, horizon) for recipe in own)
        return EnsembleFitted(
            recipe=self,
            history=train,
            failures=of.uncovered(members, train),
            texts=self.members,
            members=members,
            weights=self._weights(own, train, horizon),
        )

    def _weights(self, own: list[Forecaster], train: Panel, horizon: int) -> Floats:
        if self.combination in ("mean", "median"):
            return of.equal(len(own))
        errors = past_errors(own, train, horizon, self.windows)
        if not errors.shape[1]:
            logger.info("%s: no past window says anything of the weights, they are equal", self.name)
            return of.equal(len(own))
        return of.stacked(errors) if self.combination == "stacking" else of.inverse(errors)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls(members=("seasonal_naive", "window_average"), windows=1)
        yield cls(members=("theta", "historic_mean", "seasonal_naive"), combination="median")


def past_errors(own: list[Forecaster], train: Panel, horizon: int, windows: int) -> Floats:
    """Errors of the members' medians on the last windows of `train`, in spreads of the series; [K, E]."""
    found, fitted = [np.empty((len(own), 0))], list[Fitted]()
    for window in range(windows, 0, -1):
        kept = of.long_enough(train, horizon, window)
        kept = kept[train.lengths[kept] - window * horizon >= max(recipe.needs(train) for recipe in own)]
        if not len(kept):
            continue
        past = of.before(train, kept, window * horizon)
        try:
            fitted = _fitted(own, past, horizon, fitted)
            found.append(of.in_all(np.stack([of.errors_after(member, train, horizon) for member in fitted])))
        except (FitError, DataError) as error:
            logger.info("a past window teaches no weights: %s", error)
    return np.concatenate(found, axis=1)


def _fitted(own: list[Forecaster], train: Panel, horizon: int, before: list[Fitted]) -> list[Fitted]:
    """The members on a past window, those that are quicker so from the window before it."""
    if not before:
        return [recipe.fit(train, horizon=horizon) for recipe in own]
    pairs = zip(own, before, strict=True)
    return [old.refit(train, horizon=horizon) if r.warm else r.fit(train, horizon=horizon) for r, old in pairs]
