"""Models that are fitted one series at a time: the loop, the fallback of a series that fails, and what is stored.

A model's author writes two functions of one series, `estimate` (a vector of parameters) and `extrapolate` (the
forecast from that vector and the history), and inherits the rest. What is kept of a fit is the history and one row of
numbers a series: no library's objects, so that saving is small and exact, and newer observations go through the same
parameters.

A series that can't be estimated (too short, a library's error, a forecast that runs off) falls back to the seasonal
naive method and is listed in `failures` with its reason; the others are not touched by it.
"""

from __future__ import annotations

import logging
import threading
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from forecastkit import baseline, execution
from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import FitError, ForecastkitError, counted
from forecastkit.forecaster import Explanation, Fitted, Forecaster, State

logger = logging.getLogger(__name__)

_ABSURD = 1e3  # times the range of the history: no demand goes there, a model that diverged does
_FOREIGN = (ValueError, RuntimeError, ArithmeticError, IndexError)  # what numeric libraries raise; LinAlgError too


class _OneThread:
    """A context in which the linear algebra runs on one thread.

    Threads that share out matrices of a dozen rows spend their time waiting: a SARIMA takes up to ten times as long.
    The setting belongs to the process, so the first to enter sets it and the last to leave puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._libraries: ThreadpoolController | None = None  # looking for them takes 10 ms
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._libraries = self._libraries or ThreadpoolController()
                self._limit = self._libraries.limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limit.restore_original_limits()


one_thread = _OneThread()


@dataclass(frozen=True, eq=False)
class Series:
    """One series as a local model sees it.

    y: [T], NaN where nothing was observed · known: [T, F] encoded covariates without holes · future: [H, F], those of
    the steps to forecast · start: number of the first period · season: periods in a season.
    """

    id: str
    y: Floats
    known: Floats
    future: Floats
    start: int
    season: int
    calendar: Frequency

    def __len__(self) -> int:
        return len(self.y)

    @property
    def floor(self) -> float:
        """What a forecast can't fall below: 0 where no value was ever negative."""
        return -np.inf if (self.y < 0).any() else 0.0

    def steps(self, horizon: int) -> NDArray[np.int64]:
        """Numbers of the periods to forecast, [H]."""
        return self.start + len(self.y) + np.arange(horizon)

    def quantiles(self, mean: Floats, deviation: Floats, levels: tuple[float, ...]) -> Floats:
        """Normal quantiles not below the floor, [H] -> [H, Q]."""
        return baseline.normal_quantiles(mean[None], deviation[None], levels, np.array([self.floor]))[0]


@final
@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LocalFitted(Fitted):
    """parameters: [N, P], one row a series in the recipe's own order; a row of NaN is forecast by the baseline."""

    parameters: Floats

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        season = self.recipe.season or self.history.season
        values, offsets = baseline.demand(self.history), self.history.offsets
        mean, quantiles = baseline.seasonal_naive(values, offsets, season, horizon, levels)
        low, high = reach(values, offsets)  # [N]
        for i, one in enumerate(each(self.recipe, self.history, horizon, future)):
            if np.isnan(self.parameters[i]).all():
                continue
            with np.errstate(all="ignore"), one_thread:
                own, spread = self.recipe.extrapolate(one, self.parameters[i], horizon, levels)
            # Step by step, so that a short forecast stays the beginning of a long one.
            sound = (own >= low[i]) & (own <= high[i]) & np.isfinite(spread).all(axis=-1)  # [H]
            mean[i] = np.where(sound, np.maximum(own, one.floor), mean[i])
            quantiles[i] = np.where(sound[:, None], spread, quantiles[i])
        return mean, quantiles

    def _explain(self, i: int, horizon: int, future: Floats | None) -> Explanation:
        name = self.history.ids[i]
        if np.isnan(self.parameters[i]).all():
            return Explanation(name, f"seasonal naive stands in: {self.failures.get(name, 'the series is constant')}")
        (one,) = each(self.recipe, self.history.take([i]), horizon, future)
        known = self.history.known.features if one.known.size else ()
        found: Explanation = self.recipe.explained(one, self.parameters[i], horizon, known)
        return found

    def _updated(self, history: Panel) -> Self:
        place = {name: i for i, name in enumerate(self.history.ids)}
        rows = [place[name] for name in history.ids]
        failures = {name: self.failures[name] for name in history.ids if name in self.failures}
        return replace(self, history=history, parameters=self.parameters[rows], failures=failures)

    def state(self) -> State:
        return State(arrays={"parameters": self.parameters})

    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        return cls(parameters=state.arrays["parameters"], **common)


def reach(values: Floats, offsets: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The lowest and highest forecast that is still believed, from the range of each history; [N], [N]."""
    low = np.fmin.reduceat(values, offsets[:-1])
    high = np.fmax.reduceat(values, offsets[:-1])
    far = _ABSURD * (high - low)
    return low - far, high + far


@dataclass(frozen=True, kw_only=True)
class LocalForecaster(Forecaster):
    """A recipe that is estimated on each series alone.

    season: periods in a season, for the model and for the seasonal naive fallback; None takes the panel's.
    """

    fitted_type: ClassVar[type[Fitted]] = LocalFitted
    uses: ClassVar[frozenset[str]] = frozenset({"available"})

    season: int | None = None

    def __post_init__(self) -> None:
        baseline.check_season(self.season)

    @abstractmethod
    def estimate(self, one: Series) -> Floats:
        """Parameters [P] of one series that isn't constant; raises `FitError` or what its library raises."""

    @abstractmethod
    def extrapolate(
        self, one: Series, parameters: Floats, horizon: int, levels: tuple[float, ...]
    ) -> tuple[Floats, Floats]:
        """Mean [H] and quantiles [H, Q] of one series from its `parameters`, which may end in NaN as padding."""

    def explained(self, one: Series, parameters: Floats, horizon: int, known: Sequence[str]) -> Explanation:
        """What the parameters of one series say; `known` names its encoded covariates."""
        return Explanation(one.id)

    @abstractmethod
    def shortest(self, season: int) -> int:
        """Observed values that a series must have, a shorter one falls back."""

    def _fit(self, train: Panel, horizon: int) -> LocalFitted:
        failures: dict[str, str] = {}
        rows = []
        with warnings.catch_warnings(), one_thread:
            warnings.simplefilter("ignore")  # statsmodels speaks of every start value; what matters is in `failures`
            for one in each(self, train):
                try:
                    rows.append(self._one(one, horizon))
                except (FitError, *_FOREIGN) as error:
                    if isinstance(error, ForecastkitError) and not isinstance(error, FitError):
                        raise  # a recipe or a table that is wrong for every series
                    failures[one.id] = getattr(error, "reason", None) or f"{type(error).__name__}: {error}"
                    rows.append(np.empty(0))
        if failures:
            logger.info("%s: %d of %d series fall back to seasonal naive", self.name, len(failures), len(train))
        return LocalFitted(recipe=self, history=train, failures=failures, parameters=stacked(rows))

    def _one(self, one: Series, horizon: int) -> Floats:
        """Parameters of one series, none for a constant one: the baseline gives its constant exactly."""
        seen = one.y[~np.isnan(one.y)]
        if len(seen) < (needed := self.shortest(one.season)):
            raise FitError(f"{counted(len(seen), 'observed value')}, {self.name} needs at least {needed}")
        if (seen == seen[0]).all():
            return np.empty(0)
        with np.errstate(all="ignore"):
            parameters = self.estimate(one)
            self._check_sound(one, parameters, horizon)
        return parameters

    def _check_sound(self, one: Series, parameters: Floats, horizon: int) -> None:
        """`FitError` when the first forecast is not finite or far outside the history."""
        again = np.resize(one.known, (horizon, one.known.shape[1])) if one.known.size else np.empty((horizon, 0))
        mean, _ = self.extrapolate(replace(one, future=again), parameters, horizon, ())
        low, high = reach(one.y, np.array([0, len(one)]))
        if not np.isfinite(mean).all():
            raise FitError("the forecast is not finite")
        if (mean < low).any() or (mean > high).any():
            raise FitError(f"the forecast runs off to {mean[np.argmax(np.abs(mean))]:.3g}")


def fit_spread(
    recipe: Forecaster,
    train: Panel,
    jobs: int,
    *,
    horizon: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Fitted:
    """`recipe.fit(train, horizon=horizon)`, in `jobs` processes where it goes series by series and has no threads."""
    if isinstance(recipe, LocalForecaster) and jobs > 1 and not recipe.threaded:
        return fit_in_processes(recipe, train, jobs, horizon=horizon, progress=progress)
    return recipe.fit(train, horizon=horizon)


def fit_in_processes(
    recipe: LocalForecaster,
    train: Panel,
    jobs: int,
    *,
    horizon: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> LocalFitted:
    """`recipe.fit(train, horizon=horizon)` with the series spread over `jobs` processes; the numbers are the same.

    `progress` is called with (done, total, what) as pieces of the panel are finished.
    """
    size = max(1, -(-len(train) // (8 * jobs)))
    pieces = [(k, train.take(np.arange(k, min(k + size, len(train))))) for k in range(0, len(train), size)]
    fits: dict[int, LocalFitted] = {}
    for first, fitted in execution.run(partial(_fit_piece, recipe, horizon), pieces, jobs=jobs):
        fits[first] = fitted
        if progress is not None:
            progress(len(fits), len(pieces), recipe.name)
    rows = [_unpadded(row) for first in sorted(fits) for row in fits[first].parameters]
    failures = {name: reason for first in sorted(fits) for name, reason in fits[first].failures.items()}
    settled = next(iter(fits.values())).horizon
    return LocalFitted(recipe=recipe, history=train, failures=failures, horizon=settled, parameters=stacked(rows))


def _unpadded(row: Floats) -> Floats:
    """A row without the NaN that `stacked` put after its end; one of a failed series is nothing but NaN."""
    return row[: np.flatnonzero(~np.isnan(row)).max(initial=-1) + 1]


def _fit_piece(recipe: LocalForecaster, horizon: int | None, piece: tuple[int, Panel]) -> tuple[int, LocalFitted]:
    first, panel = piece
    fitted = recipe.fit(panel, horizon=horizon)
    assert isinstance(fitted, LocalFitted)  # what local recipes make
    return first, fitted


def each(recipe: Any, history: Panel, horizon: int = 0, future: Floats | None = None) -> Iterator[Series]:
    """The series of `history` one by one; `future` are raw known covariates [N, H, K] where the recipe uses them."""
    values = baseline.demand(history)
    covariates = "known" in recipe.uses and len(history.known) > 0
    known = history.known.encode(history.known_filled) if covariates else np.empty((len(values), 0))  # [R, F]
    ahead = np.empty((len(history), horizon, known.shape[1])) if future is None else history.known.encode(future)
    season = recipe.season or history.season
    for i, name in enumerate(history.ids):
        rows = history.rows_of(i)
        yield Series(name, values[rows], known[rows], ahead[i], int(history.starts[i]), season, history.calendar)


def stacked(rows: list[Floats]) -> Floats:
    """Vectors of different lengths as rows of one array, NaN after their ends; [N, P]."""
    table = np.full((len(rows), max(1, *map(len, rows))), np.nan)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return table


def filled(y: Floats, season: int) -> Floats:
    """`y` with each gap on the straight line between the nearest values at its place in the season; [T].

    For models that can't step over a gap when they are estimated. A place never seen takes the line through all
    values, and before the first and after the last value stands that value.
    """
    if not np.isnan(y).any():
        return y
    whole = y.copy()
    for place in range(min(season, len(y))):
        _bridge(whole[place::season])
    _bridge(whole)
    return whole


def _bridge(values: Floats) -> None:
    """Fill NaN in place by linear interpolation, unless there is nothing else."""
    gaps = np.isnan(values)
    if gaps.any() and not gaps.all():
        at = np.arange(len(values))
        values[gaps] = np.interp(at[gaps], at[~gaps], values[~gaps])
