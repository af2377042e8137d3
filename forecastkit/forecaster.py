"""The interface that every model keeps: a recipe is fitted on a panel, what is fitted predicts.

A `Forecaster` is a recipe, a frozen dataclass of hyperparameters. `fit` returns a new `Fitted` and changes nothing::

    fitted = SeasonalNaive(season=7).fit(panel)
    forecast = fitted.predict(28, levels=(0.1, 0.5, 0.9))

A model's author writes `_fit` and `_predict` on arrays; the checks that all models share stand here.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from forecastkit import baseline
from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import ConfigError, DataError, FitError, SeriesTooShortError, closest, counted, such

if TYPE_CHECKING:
    import pandas as pd

ROLES = frozenset({"known", "past", "static", "available"})


class Trial(Protocol):
    """What `suggest` asks of a tuner; Optuna's trial has these methods, and so can any other."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Forecast:
    """Forecasts of N series over H periods; `to_frame` makes the long table.

    series: N ids · times: [N, H] period starts · mean: [N, H] units per period · quantiles: [N, H, Q], never
    decreasing along Q, whole numbers where demand is · levels: Q probabilities, increasing · zone: of sub-daily
    `times`, which are then in UTC.
    """

    series: tuple[str, ...]
    times: NDArray[np.datetime64]
    mean: Floats
    quantiles: Floats
    levels: tuple[float, ...] = ()
    zone: str | None = None

    def __repr__(self) -> str:
        """Short: the arrays are for `to_frame`."""
        n, h = self.mean.shape
        return f"Forecast({n:,} series, {counted(h, 'period')}, levels {self.levels})"

    def median(self) -> Floats:
        """The 0.5 quantile where it was asked for, else the mean; [N, H]."""
        return self.quantiles[..., self.levels.index(0.5)] if 0.5 in self.levels else self.mean

    def to_frame(self) -> pd.DataFrame:
        """Columns unique_id, ds, mean and one `q0.1` a level; N x H rows."""
        import pandas as pd

        steps = self.times.shape[1]
        times: Any = self.times.flatten()
        if self.zone is not None:
            times = pd.DatetimeIndex(times).tz_localize("UTC").tz_convert(self.zone)
        names, text = _header(self.levels)
        ids = pd.array(np.repeat(np.array(self.series, object), steps), dtype=text)
        numbers = (self.quantiles[..., k].flatten() for k in range(len(self.levels)))
        # Every column is a copy already. What type a column of texts has, and the one of names, pandas guesses anew
        # each time, which costs a short table half its making: here it is told.
        columns = dict(enumerate((ids, times, self.mean.flatten(), *numbers)))
        frame = pd.DataFrame(columns, index=pd.RangeIndex(len(ids)), copy=False)
        frame.columns = names.view()
        return frame


@lru_cache(maxsize=64)
def _header(levels: tuple[float, ...]) -> tuple[pd.Index, Any]:
    """The column names of a table of forecasts, and the type that this pandas has for texts."""
    import pandas as pd

    names = pd.Index(["unique_id", "ds", "mean", *(f"q{level:g}" for level in levels)])
    return names, names.dtype


@dataclass(frozen=True, eq=False)  # equality of arrays is none of one answer
class Explanation:
    """What a fitted model itself says of one series; empty where it has nothing to say.

    form: what was fitted, or why nothing was · coefficients: estimate and standard error by name, NaN where the model
    has no error of it · times: [H] period starts · components: by name, [H] units of demand, that add up to the mean
    forecast (before it is kept from falling below zero).
    """

    series: str
    form: str = ""
    coefficients: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    times: NDArray[np.datetime64] = field(default_factory=lambda: np.empty(0, "M8[us]"))
    components: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Forecaster(ABC):
    """A recipe: hyperparameters and how to fit them. Concrete ones are frozen, keyword-only dataclasses and final."""

    name: ClassVar[str]  # the file's name is the model's name
    fitted_type: ClassVar[type[Fitted]]
    uses: ClassVar[frozenset[str]] = frozenset()  # of ROLES
    probabilistic: ClassVar[bool] = True  # quantiles of its own?
    pooled: ClassVar[bool] = False  # one model for all series?
    parted: ClassVar[bool] = False  # does `explain` take its forecasts to pieces?
    handles_gaps: ClassVar[bool] = True

    @property
    def warm(self) -> bool:
        """Whether `Fitted.refit` may begin from what it has: see `Fitted.goes_on`."""
        return False

    @property
    def threaded(self) -> bool:
        """Whether fitting uses `execution.threads()` threads by itself, and so needs no processes."""
        return False

    @property
    def compiled(self) -> bool:
        """Whether it runs code that is compiled on its first use on a machine."""
        return False

    def warm_up(self, train: Panel, horizon: int) -> None:
        """Fit the longest series first: what is compiled once on a machine is not what a fit costs."""
        longest = train.take([int(train.lengths.argmax())])
        with suppress(FitError, DataError):  # said where all of them are fitted
            self.fit(longest, horizon=horizon)

    @property
    def whole(self) -> bool:
        """Whether a fit needs all series at once, because what it learns of one depends on the others."""
        return self.pooled

    @property
    def draft(self) -> Self:
        """A cheaper recipe that tells as well which hyperparameters are better: what a search tries in its place."""
        return self

    def fit(self, train: Panel, *, horizon: int | None = None) -> Fitted:
        """Estimate on every series of `train`.

        `horizon` is the one the model should be best at (default two seasons); every fitted model predicts any.
        Raises `SeriesTooShortError`, `DataError` for gaps that the model can't handle, `FitError`.
        """
        settled = self._settled(train, horizon)
        return replace(self._fit(train, settled), horizon=settled)

    def _settled(self, train: Panel, horizon: int | None) -> int:
        """The horizon to be best at; raises where this recipe can't be fitted on `train`."""
        as_panel(train)
        if not len(train):
            raise DataError("the panel has no series")
        if horizon is not None and horizon < 1:
            raise ConfigError(f"horizon must be at least 1, not {horizon}")
        self._check(train)
        return horizon or default_horizon(train)

    def _check(self, train: Panel) -> None:
        """Refuse a panel that this recipe can't be fitted on."""
        short = int(np.argmin(train.lengths))
        needed = self.needs(train)
        if train.lengths[short] < needed:
            found = int(train.lengths[short])
            raise SeriesTooShortError(train.ids[short], needed=needed, found=found, what=self.name)
        if not self.handles_gaps and train.gaps:
            bad = train.holding(np.isnan(train.values))
            what = f"series {bad[0]!r} has some{such(len(bad))}"
            raise DataError(f"{self.name} can't handle gaps, {what}: fill them first", series=bad[0], every=bad)

    def needs(self, train: Panel) -> int:
        """Periods that each series must have."""
        return 1

    def predict(self, *_: Any, **__: Any) -> Forecast:
        """Always an error: a recipe has learned nothing."""
        raise TypeError(f"{type(self).__name__} is a recipe: fit returns the fitted model, call predict on that")

    @abstractmethod
    def _fit(self, train: Panel, horizon: int) -> Fitted: ...

    @classmethod
    @abstractmethod
    def examples(cls) -> Iterator[Self]:
        """Small and quick recipes, to be put through the contract."""

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        """A recipe from the search space of a tuner; the default space has one point, the defaults.

        A parameter is called as the option is written (`training.lr`, `order.0` for the first of a tuple), and the
        space holds the defaults: so a search can begin with them.
        """
        return cls()


def default_horizon(train: Panel) -> int:
    """Periods ahead that a model is to be best at where nobody says: two seasons of the data."""
    return 2 * max(train.season, 2)


def as_panel(value: Any) -> Panel:
    """`value` itself; `DataError` saying how to make a panel of anything else."""
    if not isinstance(value, Panel):
        raise DataError(
            f"a Panel is needed, not a {type(value).__name__}: make one with Panel.from_frame(table) or read(file)"
        )
    return value


def increasing(levels: Iterable[float]) -> tuple[float, ...]:
    """Levels of quantiles in the order of a `Forecast`; raises `ConfigError` for what is no probability."""
    try:
        ordered = tuple(sorted({float(level) for level in levels}))
    except (TypeError, ValueError):
        raise ConfigError(f"levels are several probabilities such as (0.1, 0.9), not {levels!r}") from None
    if ordered and not 0 < ordered[0] <= ordered[-1] < 1:
        raise ConfigError(f"levels are probabilities between 0 and 1, not {ordered}; write 0.9 for 90 %")
    return ordered


@dataclass(frozen=True)
class State:
    """What a fitted model is made of besides its recipe and history: plain arrays and JSON values, no objects."""

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted(ABC):
    """A recipe, the history that forecasts go on from, and what was estimated (the fields of the subclass).

    `failures` maps the series that could not be estimated to the reason; their forecasts are the baseline's.
    `trained_on` is the fingerprint of the training data where that is no longer the history. `horizon` is the one that
    the model was fitted for; None in one that was saved before that was kept.
    """

    recipe: Any
    history: Panel
    failures: Mapping[str, str] = field(default_factory=dict)
    trained_on: str = ""
    horizon: int | None = None

    @property
    def device(self) -> str:
        """Where forecasts are computed."""
        return "cpu"

    @property
    def reads(self) -> frozenset[str]:
        """Which roles of covariates a forecast reads, of those that the recipe `uses`."""
        uses: frozenset[str] = self.recipe.uses
        return uses

    @property
    def choice(self) -> str:
        """What was chosen and why, where the recipe leaves that open."""
        return ""

    def __repr__(self) -> str:
        """Short: the recipe and what it was fitted on."""
        return f"{type(self).__name__}({self.recipe!r} on {self.history!r})"

    def predict(self, horizon: int, *, levels: Sequence[float] = (), future: Any = None) -> Forecast:
        """Forecast `horizon` periods after the end of each series.

        `levels` are probabilities in (0, 1) in any order; where all demand that the model keeps of a series are whole
        numbers, so are its quantiles. `future` holds the known covariates of those periods: a long table like the
        training one without the target, its ids and times called unique_id and ds, or an array [N, H, K] in the order
        of `history.known.names`. Raises `ConfigError` for levels that the model doesn't give, `DataError` naming the
        columns and dates of `future` that are missing.
        """
        ordered = self._levels(levels)
        mean, quantiles = self.unrounded(horizon, levels=ordered, future=future)
        if ordered:
            counts = baseline.counts(baseline.demand(self.history), self.history.offsets)
            quantiles = baseline.counted(quantiles, counts)
        times = self.history.calendar.times(self.history.future_ordinals(horizon))
        return Forecast(self.history.ids, times, mean, quantiles, ordered, self.history.calendar.zone)

    def unrounded(self, horizon: int, *, levels: Sequence[float] = (), future: Any = None) -> tuple[Floats, Floats]:
        """Mean [N, H] and quantiles [N, H, Q] as the model has them, to be averaged with others; as in `predict`."""
        if not isinstance(horizon, (int, np.integer)) or horizon < 1:
            raise ConfigError(f"horizon must be a whole number of periods from 1, not {horizon!r}")
        mean, quantiles = self._predict(horizon, self._levels(levels), self._future(horizon, future))
        if not np.isfinite(mean).all():
            bad = [self.history.ids[i] for i in np.flatnonzero(~np.isfinite(mean).all(axis=1))]
            reason = f"the forecast is not finite{such(len(bad))}"
            raise FitError(reason, model=self.recipe.name, series=bad[0], every=bad)
        return mean, np.maximum.accumulate(quantiles, axis=-1)  # against rounding errors only

    def _levels(self, levels: Sequence[float]) -> tuple[float, ...]:
        ordered = increasing(levels)
        if ordered and not self.recipe.probabilistic:
            raise ConfigError(f"{self.recipe.name} has no quantiles; ask it for none")
        return ordered

    def _future(self, horizon: int, future: Any) -> Floats | None:
        """Known covariates as [N, H, K] where the model uses them, checked."""
        known = self.history.known
        if "known" not in self.recipe.uses or not len(known):
            return None
        from forecastkit.data.future import check_complete, lay_out, marked

        if isinstance(future, np.ndarray):
            expected = (len(self.history), horizon, len(known))
            if future.shape != expected:
                raise DataError(f"future has the shape {future.shape}, needed is [N, H, K] = {expected}")
            values = marked(future, known)
        else:
            values = lay_out(self.history, horizon, future)
        check_complete(self.recipe.name, self.history, values, future)
        return np.where(values == -1, self._blanks(), values)

    def _blanks(self) -> Floats:
        """What -1 stands for in each known column: an empty text, or the number itself; [K]."""
        known = self.history.known
        return np.array([np.nan if name in known.categories else -1.0 for name in known.names])

    def update(self, panel: Panel) -> Self:
        """The same parameters with newer observations; nothing is estimated again.

        Forecasts then start after the end of `panel` and are made for its series. What this model knew of a series
        before `panel` begins is kept. A pooled model takes series that it has never seen, a local one raises
        `DataError` naming them.
        """
        as_panel(panel)
        if not self.recipe.pooled and (unseen := set(panel.ids) - set(self.history.ids)):
            name = min(unseen)
            raise DataError(
                f"{self.recipe.name} was not fitted on series {name!r}{such(len(unseen))}: fit again, or use a pooled "
                "model",
                series=name,
            )
        known = self if self.trained_on else replace(self, trained_on=self.history.fingerprint)
        return known._updated(self.history.extended(panel))

    def refit(self, panel: Panel, *, horizon: int | None = None) -> Fitted:
        """The recipe estimated again on `panel`, for the same horizon unless another is given.

        A `warm` one begins from what it has, where that is still of use: see `goes_on`.
        """
        fitted: Fitted = self.recipe.fit(panel, horizon=self._kept(horizon))
        return fitted

    def goes_on(self, panel: Panel, horizon: int) -> bool:
        """Whether `refit` begins from what was estimated, and so is quicker than `fit`."""
        warm: bool = self.recipe.warm
        return warm

    def _kept(self, horizon: int | None) -> int | None:
        """The horizon that is asked for, or else that of the fit."""
        return self.horizon if horizon is None else horizon

    def compile(
        self, variant: str = "auto", *, batch: Sequence[int] = (1,), threads: int = 1, levels: Sequence[float] = ()
    ) -> Any:
        """A predictor that takes arrays and no tables, where the model has one."""
        raise ConfigError(f"{self.recipe.name} has no compiled predictor; gru and lstm have one")

    def explain(self, series: str, horizon: int | None = None, *, future: Any = None) -> Explanation:
        """What the model itself says of one series: its coefficients and, with a `horizon`, the parts of its forecast.

        Of Prophet the trend, seasons, holidays and regressors, of the ARIMA family coefficients with standard errors;
        what any model makes of its inputs is told by `forecastkit.evaluation.importance`. `future` as in `predict`.
        """
        if series not in self.history.ids:
            raise DataError(
                f"there is no series {series!r} in this model{closest(series, self.history.ids)}", series=series
            )
        i = self.history.ids.index(series)
        known = self._future(horizon, future) if horizon else None
        found = self._explain(i, horizon or 0, None if known is None else known[i : i + 1])
        if not found.components:
            return found
        times = self.history.calendar.times(self.history.future_ordinals(horizon or 0)[i : i + 1])[0]
        return replace(found, times=times)

    def _explain(self, i: int, horizon: int, future: Floats | None) -> Explanation:
        """The same of series i, without times; `future` is [1, H, K] or None."""
        return Explanation(self.history.ids[i])

    def _updated(self, history: Panel) -> Self:
        """This model on another history; a subclass with one entry a series picks its own along."""
        return replace(self, history=history)

    @abstractmethod
    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        """Mean [N, H] and quantiles [N, H, Q] at increasing `levels`; `future` is [N, H, K] or None."""

    def state(self) -> State:
        """What must be kept on disk besides recipe and history."""
        return State()

    @property
    def size_mb(self) -> float:
        """Of what was estimated, without recipe and history."""
        state = self.state()
        return (sum(array.nbytes for array in state.arrays.values()) + len(json.dumps(state.values))) / 1e6

    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        """The way back; `common` are the fields of `Fitted` itself."""
        return cls(**common)

    def save(self, folder: Any) -> None:
        """Write a folder that `forecastkit.load` reads; see `forecastkit.store`."""
        from forecastkit.store import save

        save(self, folder)
