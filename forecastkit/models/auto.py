"""`auto`: tries models on past windows within a time that you give, and takes the best one or their ensemble."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any, ClassVar, Self, final

import numpy as np

from forecastkit import baseline, execution, models
from forecastkit.data.panel import Floats, Ints, Panel
from forecastkit.errors import ConfigError, DataError, FitError, MissingExtraError
from forecastkit.forecaster import Fitted, Forecaster
from forecastkit.models import _members as of
from forecastkit.models import _weights as past

logger = logging.getLogger(__name__)

_SMALLEST_SAMPLE = 64  # series of the first round
_GROWTH = 4  # times as many in the next one, with half of the candidates
_TEAM = 4  # candidates of the last round, from which the ensemble is made
_WORTH = 0.995  # of the best single error, which the ensemble must beat to be taken
_GONE_ON = 0.3  # of a fit, about which one takes that goes on from what was fitted before the windows
_LATE = "no time for more"
_INTERMITTENT = 0.5  # share of zeros


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class AutoFitted(of.MembersFitted):
    """What was chosen: one member, or several with their weights.

    reason: why, in a sentence · tried: a row for each candidate, its error in spreads of the series, seconds, and how
    far it came.
    """

    reason: str = ""
    tried: tuple[dict[str, Any], ...] = ()

    @property
    def choice(self) -> str:
        return self.reason

    def state(self) -> Any:
        state = super().state()
        return type(state)(state.arrays, {**state.values, "reason": self.reason, "tried": list(self.tried)})

    @classmethod
    def from_state(cls, state: Any, **common: Any) -> Self:
        return super().from_state(state, reason=state.values["reason"], tried=tuple(state.values["tried"]), **common)


@final
@dataclass(frozen=True, kw_only=True)
class Auto(of.MembersForecaster):
    """For whoever wants a good model and has no time to compare: a backtest inside the fit, with a time limit.

    Candidates are fitted before the past windows of `horizon` periods, move through them, and are scored by their
    absolute errors in spreads of the series: first on a sample of series, then the better half on four times as many
    (successive halving, Jamieson & Talwalkar 2016), until all series are in. The best single one competes with the
    ensemble of the last four, whose weights are found on one half of the errors and scored on the other. A model of all
    series is fitted on all of them at once and scored on the sample.

    minutes: that all of it may take. Nothing is begun that would leave no time to fit the best so far on everything,
        and where there is no time for the whole ensemble, the best part of it is taken. What a candidate takes is known
        once it has been fitted, so that its first fit can go beyond.
    candidates: texts as of `-m`; none lets the panel decide.
    windows: past windows that count.
    season: periods in a season of all candidates; None takes the panel's.
    seed: of the sample, and of the candidates that have one.
    device: of the candidates that have one.

    >>> Auto(minutes=2).candidates
    ()
    """

    name: ClassVar[str] = "auto"
    fitted_type: ClassVar[type[Fitted]] = AutoFitted

    minutes: float = 5.0
    candidates: tuple[str, ...] = ()
    windows: int = 2
    season: int | None = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        baseline.check_season(self.season)
        if not self.minutes > 0:
            raise ConfigError(f"minutes must be above 0, not {self.minutes}")
        if self.windows < 1:
            raise ConfigError(f"windows must be at least 1, not {self.windows}")
        if len(set(self.candidates)) < len(self.candidates):
            raise ConfigError(f"candidates must be different, not {self.candidates}")
        of.check(self.candidates)

    def members_recipes(self) -> list[Forecaster]:
        """The recipes of those candidates that are installed here."""
        return [recipe for text in self.candidates or _ALL if (recipe := self._recipe(text)) is not None]

    def _recipe(self, text: str) -> Forecaster | None:
        try:
            return models.create(text, season=self.season, seed=self.seed, device=self.device)
        except MissingExtraError as error:
            if self.candidates:
                raise
            logger.info("%s is not tried: %s", text, error)
            return None

    def _fit(self, train: Panel, horizon: int) -> AutoFitted:
        texts = self.candidates or fitting(train, self.season or train.season)
        found = {text: recipe for text in texts if (recipe := self._recipe(text)) is not None}
        needed = min((recipe.needs(train) for recipe in found.values()), default=1)
        windows, kept = past.room(train, horizon, self.windows, needed)
        contest = _Contest(train, kept, horizon, windows, _Clock.of(60 * self.minutes))
        runners = [_Runner.of(text, recipe, contest) for text, recipe in found.items()]
        team, reason = _chosen(contest.run(runners, self.seed), contest)
        chosen, weights = team.runners, team.weights
        fits = _first_fits([chosen, *([r] for r in _by_error(runners) if r not in chosen)], train, horizon)
        stayed = [k for k, runner in enumerate(chosen) if runner.text in fits]
        if len(stayed) < len(chosen):
            reason = f"{', '.join(fits)}, as others could not be fitted on everything; chosen was {reason}"
        logger.info("%s: %s", self.name, reason)
        members = tuple(fits.values())
        return AutoFitted(
            recipe=self,
            history=train,
            failures=of.uncovered(members, train),
            texts=tuple(fits),
            members=members,
            weights=past.among(weights, stayed) if stayed else past.equal(len(members)),
            reason=reason,
            tried=tuple(runner.row() for runner in runners),
        )

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls(minutes=5.0, candidates=("seasonal_naive", "window_average", "historic_mean"), windows=1)


# In the order in which they are tried, the quickest first.
_ALL = ("seasonal_naive", "sarima", "auto_arima", "theta", "boosted", "gru", "ets")
_OF_INTERMITTENT = ("historic_mean", "window_average", "theta", "boosted", "gru", "ets")


def fitting(train: Panel, season: int) -> tuple[str, ...]:
    """The candidates for a panel, without what mostly zeros, or the want of a season, make pointless."""
    values = baseline.demand(train)
    if np.nanmean(np.where(np.isnan(values), np.nan, values == 0)) > _INTERMITTENT:
        return _OF_INTERMITTENT
    if season == 1:
        return tuple("arima" if text == "sarima" else "naive" if text == "seasonal_naive" else text for text in _ALL)
    return _ALL


@dataclass(frozen=True)
class _Clock:
    """The time for all of it, and when that began, in seconds."""

    begun: float
    seconds: float

    @classmethod
    def of(cls, seconds: float) -> Self:
        return cls(time.perf_counter(), seconds)

    def left(self) -> float:
        return self.begun + self.seconds - time.perf_counter()


@dataclass(eq=False)
class _Runner:
    """A candidate in the contest.

    errors: [W, N, H] on the past windows, NaN where not known · seconds: spent on `fitted` series · error: mean
    absolute one in the last round that it was in · out: why it went · begun: fitted before the windows on all series
    there, where that makes the last fit quicker.
    """

    text: str
    recipe: Forecaster
    errors: Floats
    seconds: float = 0.0
    fitted: int = 0
    error: float = float("inf")
    out: str = ""
    begun: Fitted | None = None

    @classmethod
    def of(cls, text: str, recipe: Forecaster, contest: _Contest) -> Self:
        return cls(text, recipe, np.full((contest.windows, len(contest.train), contest.horizon), np.nan))

    def known(self) -> Ints:
        """The series that it was scored on."""
        return np.flatnonzero(~np.isnan(self.errors).all(axis=(0, 2)))

    def expected(self, count: int) -> float:
        """Seconds for so many series, by what it took so far; 0 where nothing is known."""
        return self.seconds / max(self.fitted, 1) * count

    def last(self, count: int) -> float:
        """Seconds of the fit on everything."""
        return (_GONE_ON if self.begun is not None else 1.0) * self.expected(count)

    def row(self) -> dict[str, Any]:
        error = round(self.error, 4) if np.isfinite(self.error) else None
        series, seconds = len(self.known()), round(self.seconds, 2)
        return {"model": self.text, "error": error, "series": series, "seconds": seconds, "out": self.out}


@dataclass(frozen=True, eq=False)
class _Contest:
    """Past windows of those series that are `kept`, and the time that there is."""

    train: Panel
    kept: Ints
    horizon: int
    windows: int
    clock: _Clock

    def run(self, runners: list[_Runner], seed: int) -> list[_Runner]:
        """Those of the last round that was finished, the best first."""
        order = np.random.default_rng(seed).permutation(len(self.train))
        left, size = list(runners), _SMALLEST_SAMPLE
        while True:
            sample = np.sort(order[:size])
            for runner in left:
                execution.report(runners.index(runner), len(runners), f"trying {runner.text}")
                self._extend(runner, np.intersect1d(self.kept, sample), left)
            here = [runner for runner in left if not runner.out]
            if not here or (size > _SMALLEST_SAMPLE and any(runner.out == _LATE for runner in left)):
                return left[:_TEAM]  # as the last round left them, there was no time for this one
            ranked = self._ranked(here, sample)
            left = ranked[: max(_TEAM, -(-len(ranked) // 2))]
            for runner in ranked[len(left) :]:
                runner.out = f"behind on {len(sample)} series"
            if size >= len(self.train):
                return left[:_TEAM]
            size *= _GROWTH

    def _ranked(self, runners: list[_Runner], sample: Ints) -> list[_Runner]:
        """By the errors that all of them have on the sample."""
        together = past.in_all(np.stack([runner.errors[:, sample] for runner in runners]))  # [K, E]
        for runner, errors in zip(runners, together, strict=True):
            runner.error = float(np.abs(errors).mean()) if len(errors) else float("inf")
        return _by_error(runners)

    def _extend(self, runner: _Runner, sample: Ints, beside: list[_Runner]) -> None:
        """Score a candidate on what it was not scored on of a sample, while there is time."""
        fresh = np.setdiff1d(sample, runner.known())
        if runner.out or not len(fresh) or (runner.recipe.pooled and runner.fitted):
            return
        # A model of all series learns from all of them, however few are looked at.
        wanted = self.kept if runner.recipe.pooled else fresh
        if runner.expected(len(wanted)) + self._reserve(beside) > self.clock.left():
            runner.out = _LATE
        else:
            self._score(runner, wanted)

    def _reserve(self, runners: list[_Runner]) -> float:
        """Seconds in which the best so far can be fitted on everything."""
        scored = sorted((runner for runner in runners if runner.fitted), key=lambda runner: runner.error)
        return sum(runner.last(len(self.train)) for runner in scored[:_TEAM])

    def _score(self, runner: _Runner, wanted: Ints) -> None:
        earlier = past.before(self.train, wanted, self.windows * self.horizon)
        if not runner.recipe.pooled and not runner.fitted:
            runner.recipe.warm_up(earlier, self.horizon)
        begun = time.perf_counter()
        try:
            member = of.fit_where_long_enough(runner.recipe, earlier, self.horizon)
            rows = wanted[of.places(member.history, earlier)]
            found = past.moving_errors(member, self.train.take(rows), self.horizon, self.windows, alone=True)
        except (FitError, DataError) as error:
            runner.out = str(error)
        else:
            runner.errors[:, rows] = found
            runner.error = float(np.nanmean(np.abs(found))) if not np.isnan(found).all() else float("inf")
            again = runner.recipe.pooled and member.goes_on(self.train.take(wanted), self.horizon)
            runner.begun = member if again else None
        runner.seconds += time.perf_counter() - begun
        runner.fitted += len(wanted)

    def affords(self, team: Sequence[_Runner]) -> bool:
        """Whether there is time to fit them on everything."""
        return sum(runner.last(len(self.train)) for runner in team) <= self.clock.left()

    def in_time(self, scored: list[_Runner]) -> _Runner:
        """The best that there is time for, or else the quickest."""
        afforded = [runner for runner in scored if self.affords([runner])]
        return afforded[0] if afforded else min(scored, key=lambda runner: runner.last(len(self.train)))


def _by_error(runners: list[_Runner]) -> list[_Runner]:
    return sorted(runners, key=lambda runner: runner.error)


def _first_fits(teams: list[list[_Runner]], train: Panel, horizon: int) -> dict[str, Fitted]:
    """Those that can be fitted of the first team in which one can, by their texts."""
    errors = []
    for team in teams:
        begun = {runner.text: runner.begun for runner in team if runner.begun is not None}
        try:
            return of.fit_those_that_can({runner.text: runner.recipe for runner in team}, train, horizon, begun)
        except (FitError, DataError) as error:
            errors.append(error)
    raise errors[0]


@dataclass(frozen=True, eq=False)
class _Team:
    """Runners whose ensemble has an error; those without a say are left out, as they cost as much as the others."""

    runners: list[_Runner]
    weights: Floats
    error: float

    @classmethod
    def of(cls, scored: list[_Runner], together: Floats, members: Sequence[int]) -> Self:
        errors = together[list(members)]  # [K, E]
        heard = np.flatnonzero(past.stacked(errors) >= of.LEAST)
        return cls([scored[k] for k in np.array(members)[heard]], past.stacked(errors[heard]), _crossed(errors))

    @classmethod
    def alone(cls, runner: _Runner) -> Self:
        return cls([runner], np.ones(1), runner.error)

    def __str__(self) -> str:
        shares = zip(self.runners, self.weights, strict=True)
        return "the ensemble of " + ", ".join(f"{runner.text} {weight:.2f}" for runner, weight in shares)


def _chosen(scored: list[_Runner], contest: _Contest) -> tuple[_Team, str]:
    """Who is taken, with which weights, and why."""
    best = scored[0]
    if not np.isfinite(best.error):
        why = "nothing could be scored in time" if len(contest.kept) else "no series is long enough for a past window"
        return _Team.alone(best), f"{best.text}: {why}"
    together = past.in_all(np.stack([runner.errors for runner in scored]))  # [K, E]
    if len(scored) < 2 or not together.shape[1]:
        return _Team.alone(best), f"{best.text}: nothing else was scored"
    return _together_or_alone(scored, together, contest)


def _together_or_alone(scored: list[_Runner], together: Floats, contest: _Contest) -> tuple[_Team, str]:
    """The ensemble where it is worth it, or the best part of it that there is time for; [K, E]."""
    best, singly = scored[0], np.abs(together).mean(axis=1)
    whole, least = _Team.of(scored, together, range(len(scored))), _WORTH * singly.min()
    said = f"mean absolute error {singly[0]:.4f} spreads, the ensemble of {len(scored)} {whole.error:.4f}"
    if whole.error >= least:
        return _Team.alone(best), f"{best.text}: {said}"
    if len(whole.runners) < 2:
        return whole, f"{whole.runners[0].text}: {said}, which adds nothing"
    if contest.affords(whole.runners):
        return whole, f"{whole}: {said}, {best.text} alone"
    said += ", which there was no time to fit"
    parts = (combinations(range(len(whole.runners)), size) for size in range(2, len(whole.runners)))
    known = np.stack([together[scored.index(runner)] for runner in whole.runners])
    smaller = [
        _Team.of(whole.runners, known, members)
        for members in chain.from_iterable(parts)
        if contest.affords([whole.runners[k] for k in members])
    ]
    team = min(smaller, key=lambda team: team.error, default=None)
    if team is None or team.error >= least or len(team.runners) < 2:
        taken = contest.in_time(scored)
        own = f"mean absolute error {singly[scored.index(taken)]:.4f} spreads, alone {best.text}: "
        return _Team.alone(taken), f"{taken.text}: {own if taken is not best else ''}{said}"
    return team, f"{team}: {said}, that of these {team.error:.4f}, {best.text} alone"


def _crossed(errors: Floats) -> float:
    """The mean absolute error of stacking, whose weights come from one half of the errors for the other; [K, E]."""
    halves = np.array_split(np.arange(errors.shape[1]), 2)
    if not len(halves[1]):
        return float("inf")
    own = [np.abs(past.stacked(errors[:, a]) @ errors[:, b]) for a, b in (halves, halves[::-1])]
    return float(np.concatenate(own).mean())
