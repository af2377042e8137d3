"""What `arima`, `sarima` and `auto_arima` have in common: the recipe's options, and the fitted model over a panel."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, final

import numpy as np

from forecastkit import baseline, sarimax
from forecastkit.arima import boxcox
from forecastkit.arima import estimation as est
from forecastkit.arima import panel as core
from forecastkit.arima.orders import LARGEST, Order
from forecastkit.arima.panel import Demand
from forecastkit.arima.preparation import Terms
from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import ConfigError, DataError, StoreError, counted
from forecastkit.forecaster import Explanation, Fitted, Forecaster, State, as_panel
from forecastkit.local import LocalFitted, reach

if TYPE_CHECKING:
    from forecastkit.arima.summary import Summary

logger = logging.getLogger(__name__)

LONGEST = 24  # periods of a season that is modelled by seasonal lags unless asked otherwise
PAIRS = 2  # Fourier terms that stand for a longer one


@final
@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class ArimaFitted(Fitted):
    """ARIMA models of all series of a panel.

    parameters: [N, L], a row of `forecastkit.arima.estimation` a series; or, fitted by statsmodels, of
    `forecastkit.sarimax`, which has forecasts only.
    """

    parameters: Floats

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        if not self.recipe.compiled:
            return self._reference()._predict(horizon, levels, future)
        demand, powers = _demand(self.recipe, self.history), self.parameters[:, est.LAMBDA]
        ahead = _ahead(self.history, horizon, future)
        curved = bool((powers != 1).any())
        mean, deviation = core.forecast(
            core.curved(demand, powers), ahead, self.parameters, spread=bool(levels) or curved
        )
        lowest = baseline.lowest(demand.values, demand.offsets)  # [N]
        quantiles = baseline.normal_quantiles(mean, deviation, levels, np.full(len(demand), -np.inf))
        if curved:
            mean, quantiles = boxcox.unbiased(mean, deviation, powers), boxcox.back(quantiles, powers)
        low, high = reach(demand.values, demand.offsets)
        # Step by step, so that a short forecast stays the beginning of a long one.
        sound = (mean >= low[:, None]) & (mean <= high[:, None])  # [N, H]
        # Above the range of a transform with a negative lambda there is no number: the highest that is believed.
        quantiles = np.where(np.isnan(quantiles), high[:, None, None], quantiles)
        mean = np.maximum(mean, lowest[:, None])
        quantiles = np.maximum(quantiles, lowest[:, None, None])
        bad = np.flatnonzero(~sound.all(axis=1))
        if len(bad):
            rest = self.history.take(bad)
            plain, spread = baseline.seasonal_naive(baseline.demand(rest), rest.offsets, demand.season, horizon, levels)
            mean[bad] = np.where(sound[bad], mean[bad], plain)
            quantiles[bad] = np.where(sound[bad][..., None], quantiles[bad], spread)
        return mean, quantiles

    def _reference(self) -> LocalFitted:
        recipe = self.recipe.reference(self.recipe.season or self.history.season)
        return LocalFitted(recipe=recipe, history=self.history, failures=self.failures, parameters=self.parameters)

    def _updated(self, history: Panel) -> Self:
        rows = self._rows_of(history)
        failures = {name: self.failures[name] for name in history.ids if name in self.failures}
        if self.recipe.compiled:
            values, powers = baseline.demand(history), rows[:, est.LAMBDA]
            for i in np.flatnonzero(boxcox.usable(powers, values, history.offsets) != powers):
                failures[history.ids[i]] = (
                    f"a Box-Cox transform with lambda {powers[i]:.3g} can't take its newer values"
                )
                rows[i, est.REASON] = est.NO_LIKELIHOOD
        return replace(self, history=history, parameters=rows, failures=failures)

    def _rows_of(self, history: Panel) -> Floats:
        place = {name: i for i, name in enumerate(self.history.ids)}
        return self.parameters[[place[name] for name in history.ids]]

    def state(self) -> State:
        return State(arrays={"parameters": self.parameters})

    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        rows = state.arrays["parameters"]
        if common["recipe"].compiled:
            pairs = 0 if rows.ndim != 2 else rows.shape[1] - core.row_length(0, len(common["history"].known.features))
            if rows.ndim != 2 or len(rows) != len(common["history"]) or pairs < 0 or pairs % 2 or not est.sound(rows):
                raise StoreError("the rows of parameters are not of this model: fit again")
        return cls(parameters=rows, **common)

    def refit(self, panel: Panel, *, horizon: int | None = None) -> Fitted:
        """Estimate again on `panel`, each series from its present coefficients: quicker, and nearly always the same.

        `panel` is all that is to be learned from, older periods too: unlike `update`, nothing is joined to it.

        `auto_arima` searches on from the orders it has. With series that are new, all begin afresh.
        """
        if not self.recipe.compiled or set(as_panel(panel).ids) - set(self.history.ids):
            return super().refit(panel, horizon=horizon)
        return self.recipe.fitted(panel, self.recipe._settled(panel, self._kept(horizon)), self._rows_of(panel))

    def diagnostics(self) -> dict[str, Any]:
        """How the estimation of each series went, as columns: `pandas.DataFrame(fitted.diagnostics())`.

        order and seasonal_order that were fitted; fourier, pairs of waves that stand for the season; constant, whether
        there is one; boxcox, lambda of the transform, on whose scale llf, aicc and sigma are (1 for none); converged;
        starts, the climbs begun; tried, the models compared; llf, log L of the differenced series; aicc; sigma, of the
        noise; reason, empty where all is usual.
        """
        self._only_compiled("diagnostics")
        rows = self.parameters
        orders = rows[:, est.ORDER : est.ORDER + 7].astype(int)
        reasons = [est.REASONS[code] for code in rows[:, est.REASON].astype(int)]
        return {
            "unique_id": list(self.history.ids),
            "order": [tuple(o) for o in orders[:, :3].tolist()],
            "seasonal_order": [tuple(o) for o in orders[:, 3:].tolist()],
            "fourier": rows[:, est.PAIRS].astype(int),
            "constant": rows[:, est.CONSTANT] > 0,
            "boxcox": rows[:, est.LAMBDA],
            "converged": rows[:, est.CONVERGED] > 0,
            "starts": rows[:, est.STARTS].astype(int),
            "tried": rows[:, est.TRIED].astype(int),
            "llf": rows[:, est.LOG_LIKELIHOOD],
            "aicc": est.criteria(rows)[1],
            "sigma": rows[:, est.SIGMA],
            "reason": [self.failures.get(name, why) for name, why in zip(self.history.ids, reasons, strict=True)],
        }

    def residuals(self) -> Floats:
        """E[noise | history] of each period of the history, [R] in the order of its values.

        NaN where differencing leaves nothing, and in series without a model; of the Box-Cox transform where there is
        one.
        """
        self._only_compiled("residuals")
        return core.residuals(self._space(), self.parameters)

    def summary(self, series: str) -> Summary:
        """Coefficients of one series with standard errors, information criteria and tests of its residuals."""
        from forecastkit.arima.summary import Summary  # it loads scipy's statistics

        self._only_compiled("summary")
        if series not in self.history.ids:
            raise DataError(f"there is no series {series!r} in this model", series=series)
        i = self.history.ids.index(series)
        return Summary.of(series, self._space(), i, self.parameters[i], self.history.known.features)

    def _explain(self, i: int, horizon: int, future: Floats | None) -> Explanation:
        name = self.history.ids[i]
        if name in self.failures:
            return Explanation(name, f"seasonal naive stands in: {self.failures[name]}")
        if not self.recipe.compiled:
            return Explanation(name, "coefficients come with engine='compiled', this model was fitted by statsmodels")
        if (code := int(self.parameters[i, est.REASON])) in est.FAILED:
            return Explanation(name, f"seasonal naive stands in: {est.REASONS[code]}")
        found = self.summary(name)
        pairs = zip(found.estimates.tolist(), found.errors.tolist(), strict=True)
        return Explanation(name, found.model, dict(zip(found.names, pairs, strict=True)))

    def simulate(self, paths: int, horizon: int, seed: int, *, future: Any = None) -> Floats:
        """Paths that demand may take after the history, [N, paths, H], with all the uncertainty that quantiles have.

        `future`: known covariates to come, as in `predict`. Normal noise; not below 0 where demand never was. A series
        without a model repeats its last season with the baseline's spread.
        """
        self._only_compiled("simulate")
        if paths < 1 or horizon < 1:
            raise ConfigError(f"paths and horizon must be at least 1, not {paths} and {horizon}")
        known = self._future(horizon, future)
        demand, ahead = self._space(), _ahead(self.history, horizon, known)
        plain = _demand(self.recipe, self.history)
        lowest, powers = baseline.lowest(plain.values, plain.offsets), self.parameters[:, est.LAMBDA]
        fallback, _ = self._predict(horizon, (), known)
        low, high = reach(plain.values, plain.offsets)
        out = np.empty((len(demand), paths, horizon))
        for i, generator in enumerate(np.random.default_rng(seed).spawn(len(demand))):
            draws = generator.standard_normal((paths, horizon))
            mean, covariance = core.joint(demand, i, ahead[i], self.parameters[i])
            found = boxcox.back(mean[None] + (draws @ _root(covariance).T)[None], powers[i : i + 1])[0]
            found = np.where(np.isnan(found) & np.isfinite(mean), high[i], found)
            middle = np.median(found, axis=0)
            if not ((middle >= low[i]) & (middle <= high[i])).all():
                one = self.history.take([i])
                spread = baseline.seasonal_spread(baseline.demand(one), one.offsets, demand.season, horizon)
                found = fallback[i] + draws * spread
            out[i] = np.maximum(found, lowest[i])
        return out

    def _space(self) -> Demand:
        """The history on the scale of the models."""
        return core.curved(_demand(self.recipe, self.history), self.parameters[:, est.LAMBDA])

    def _only_compiled(self, what: str) -> None:
        if not self.recipe.compiled:
            raise ConfigError(f"{what} comes with engine='compiled', this model was fitted by statsmodels")


def _root(covariance: Floats) -> Floats:
    """L with LL' = a covariance that may be singular; [H, H]."""
    if not np.isfinite(covariance).all():
        return np.full_like(covariance, np.nan)
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


@dataclass(frozen=True, kw_only=True)
class ArimaForecaster(Forecaster):
    """A recipe for the compiled core.

    season: periods in a season, for the model and for the seasonal naive fallback; None takes the panel's.
    """

    fitted_type: ClassVar[type[Fitted]] = ArimaFitted
    uses: ClassVar[frozenset[str]] = frozenset({"known", "available"})

    season: int | None = None

    def __post_init__(self) -> None:
        baseline.check_season(self.season)

    @property
    def compiled(self) -> bool:
        """Does the compiled core fit it?"""
        return True

    @property
    def threaded(self) -> bool:
        return self.compiled

    @property
    def warm(self) -> bool:
        return self.compiled

    @abstractmethod
    def rows(self, demand: Demand, warm: Floats | None) -> Floats:
        """One row of `forecastkit.arima.estimation` a series, [N, L], begun from the rows `warm` if there are any."""

    def _fit(self, train: Panel, horizon: int) -> ArimaFitted:
        return self.fitted(train, horizon, None)

    def fitted(self, train: Panel, horizon: int, warm: Floats | None) -> ArimaFitted:
        """The model of `train`, estimated from the rows `warm` of an earlier one if there are any."""
        demand = _demand(self, train)
        rows = self.rows(demand, warm)
        failures = _failures(demand, train, rows, horizon)
        if failures:
            logger.info("%s: %d of %d series fall back to seasonal naive", self.name, len(failures), len(train))
        return ArimaFitted(recipe=self, history=train, failures=failures, horizon=horizon, parameters=rows)


@dataclass(frozen=True, kw_only=True)
class FixedOrder(ArimaForecaster):
    """A recipe of given orders, which statsmodels can fit too.

    engine: 'compiled' for whole panels at a time, in threads; 'statsmodels' for that library, one series at a time, the
        reference that the first is tested against.
    """

    engine: Literal["compiled", "statsmodels"] = "compiled"

    @property
    def compiled(self) -> bool:
        return self.engine == "compiled"

    @abstractmethod
    def design(self, season: int) -> sarimax.Design:
        """The orders for a panel with that season."""

    def reference(self, season: int) -> sarimax.Reference:
        """The recipe by which statsmodels does it."""
        return sarimax.Reference(design=self.design(season), season=season)

    def rows(self, demand: Demand, warm: Floats | None) -> Floats:
        return core.fit(demand, _model(self.design(demand.season), demand.known.shape[1]), warm)

    def fitted(self, train: Panel, horizon: int, warm: Floats | None) -> ArimaFitted:
        if self.compiled:
            return super().fitted(train, horizon, warm)
        found = self.reference(self.season or train.season).fit(train, horizon=horizon)
        assert isinstance(found, LocalFitted)  # what that recipe makes
        return ArimaFitted(recipe=self, history=train, failures=found.failures, parameters=found.parameters)


def _model(design: sarimax.Design, known: int) -> est.Model:
    """The compiled core's model of a design."""
    (p, d, q), (P, D, Q) = design.order, design.seasonal
    if max(p, q, P, Q) > LARGEST:
        raise ConfigError(
            f"a model has at most {LARGEST} terms of a kind, not {max(p, q, P, Q)}; or engine=statsmodels"
        )
    m = design.season if any(design.seasonal) else 1
    longest = max(p + m * P, q + m * Q)
    if longest > est.MOST_LAGS:
        raise ConfigError(f"lags up to {longest} periods are too many: let fourier terms stand for the season")
    terms = Terms(int("c" in design.trend), int("t" in design.trend), design.fourier, known)
    return est.Model(Order(p, d, q, P, D, Q, m), terms, 0)


def _failures(demand: Demand, train: Panel, rows: Floats, horizon: int) -> dict[str, str]:
    """Series without a model or with a forecast that runs off, whose rows are marked; and why."""
    codes, powers = rows[:, est.REASON].astype(int), rows[:, est.LAMBDA]
    observed = np.add.reduceat(~np.isnan(demand.values), demand.offsets[:-1], dtype=np.int64)
    failures = {}
    for i in np.flatnonzero(np.isin(codes, (est.TOO_SHORT, est.NO_LIKELIHOOD))):
        count = f"{counted(int(observed[i]), 'observed value')}, " if codes[i] == est.TOO_SHORT else ""
        failures[train.ids[i]] = count + est.REASONS[codes[i]]
    again = demand.offsets[:-1, None] + np.arange(horizon) % np.diff(demand.offsets)[:, None]  # [N, H]
    mean, _ = core.forecast(core.curved(demand, powers), demand.known[again], rows, spread=False)
    mean = boxcox.back(mean, powers)
    low, high = reach(demand.values, demand.offsets)
    inside = (mean >= low[:, None]) & (mean <= high[:, None])
    for i in np.flatnonzero(~inside.all(axis=1) & ~np.isin(codes, est.FAILED)):
        failures[train.ids[i]] = f"the forecast runs off to {mean[i, np.argmax(np.abs(mean[i]))]:.3g}"
        rows[i, est.REASON] = est.RUNS_OFF
    return failures


def _demand(recipe: Any, history: Panel) -> Demand:
    known = history.known.encode(history.known_filled) if len(history.known) else np.empty((len(history.values), 0))
    season = recipe.season or history.season
    return Demand(baseline.demand(history), history.offsets, history.starts, known, season)


def _ahead(history: Panel, horizon: int, future: Floats | None) -> Floats:
    """Covariates to come, encoded; [N, H, F]."""
    return np.empty((len(history), horizon, 0)) if future is None else history.known.encode(future)
