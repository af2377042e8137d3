"""`prophet`: trend with changepoints, Fourier seasons, holidays and regressors, each series alone."""

from __future__ import annotations

import logging
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError, MissingExtraError, closest
from forecastkit.forecaster import Explanation, Trial
from forecastkit.local import LocalForecaster, Series

_LOGGERS = ("prophet", "prophet.models", "prophet.plot", "cmdstanpy", "stanio")
_CYCLES = {"yearly": 365.25, "weekly": 7.0, "daily": 1.0}  # days
_DAY = 86_400_000_000  # microseconds
_HEAD = 13


@contextmanager
def _quiet() -> Iterator[None]:
    """Prophet and CmdStan say nothing inside, and their loggers are afterwards as they were."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


with _quiet():
    try:
        import holidays as holiday_calendars
        import pandas as pd
        import prophet
    except ImportError as error:
        raise MissingExtraError("prophet", "prophet") from error


@dataclass(frozen=True, eq=False)
class _Curve:
    """All that a forecast needs of a fit: the trend's last piece, and the coefficients of what is added to it.

    Times are microseconds since 1970 on the wall clock, the trend runs in `span`s from `start`, and demand in `unit`s.
    jumps, rate: mean size of a change of slope, and changes a span. orders: Fourier pairs of year, week and day. beta:
    Fourier, covariates; keys, effects: the holidays by a checksum of their name.
    """

    start: float
    span: float
    unit: float
    slope: float
    level: float
    sigma: float
    jumps: float
    rate: float
    orders: tuple[int, int, int]
    centre: float  # what the covariates add at zero
    beta: Floats
    keys: Floats
    effects: Floats

    def pack(self) -> Floats:
        head = (self.start, self.span, self.unit, self.slope, self.level, self.sigma, self.jumps, self.rate)
        sizes = (*self.orders, self.centre, len(self.keys))
        return np.concatenate([head, sizes, self.keys, self.effects, self.beta])

    @classmethod
    def unpack(cls, parameters: Floats, covariates: int) -> _Curve:
        *head, yearly, weekly, daily, centre, holidays = parameters[:_HEAD].tolist()
        orders, count = (int(yearly), int(weekly), int(daily)), int(holidays)
        keys, effects = parameters[_HEAD:][:count], parameters[_HEAD + count :][:count]
        beta = parameters[_HEAD + 2 * count :][: 2 * sum(orders) + covariates]
        tail: dict[str, Any] = {"orders": orders, "centre": centre, "beta": beta, "keys": keys, "effects": effects}
        return cls(*head, **tail)


@final
@dataclass(frozen=True, kw_only=True)
class Prophet(LocalForecaster):
    """Meta's Prophet, fitted by its own Stan program: a curve through the calendar, without memory of the last days.

    For long daily series with yearly seasons, holidays and breaks of trend. Taylor & Letham (2018), Forecasting at
    scale. Known covariates are regressors. Newer observations move the start of the forecast, the curve stays.

    Quantiles follow Prophet's own simulation, future changes of trend like the past ones and normal noise, with seeded
    draws that all series share; they are not below 0 where demand never was.

    growth: 'linear' with changepoints, or 'flat'. (A logistic trend needs a capacity a series; demand has none.)
    seasonality_mode: 'additive' or 'multiplicative', also for holidays and regressors.
    yearly, weekly, daily: 'auto' by the length and step of the series (no more waves a year than half its periods),
        true, false, or a number of Fourier pairs.
    holidays: a country code such as 'US'; every period with a public holiday in it gets that holiday's effect.
    n_changepoints, changepoint_range: how many may be in the trend, in which first part of the history.
    changepoint_prior_scale, seasonality_prior_scale, holidays_prior_scale: how freely each part moves.
    samples: simulated paths behind the quantiles.
    season: periods in a season, for the fallback only; None takes the panel's.
    seed: of the optimiser and of the paths.

    >>> Prophet(holidays="US", weekly=3).holidays
    'US'
    """

    name: ClassVar[str] = "prophet"
    uses: ClassVar[frozenset[str]] = frozenset({"known", "available"})
    parted: ClassVar[bool] = True

    growth: str = "linear"
    seasonality_mode: str = "additive"
    yearly: bool | int | str = "auto"
    weekly: bool | int | str = "auto"
    daily: bool | int | str = "auto"
    holidays: str | None = None
    n_changepoints: int = 25
    changepoint_range: float = 0.8
    changepoint_prior_scale: float = 0.05
    seasonality_prior_scale: float = 10.0
    holidays_prior_scale: float = 10.0
    samples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("growth", self.growth, ("linear", "flat"))
        _one_of("seasonality_mode", self.seasonality_mode, ("additive", "multiplicative"))
        for cycle in _CYCLES:
            _pairs(cycle, getattr(self, cycle))
        _country(self.holidays)
        if self.n_changepoints < 0 or self.samples < 1 or not 0 < self.changepoint_range <= 1:
            raise ConfigError(
                "n_changepoints must be at least 0, samples at least 1, changepoint_range in (0, 1], not "
                f"{self.n_changepoints}, {self.samples}, {self.changepoint_range}"
            )
        for option in ("changepoint_prior_scale", "seasonality_prior_scale", "holidays_prior_scale"):
            if not getattr(self, option) > 0:
                raise ConfigError(f"{option} must be above 0, not {getattr(self, option)}")

    def shortest(self, season: int) -> int:
        return 10

    def estimate(self, one: Series) -> Floats:
        times = _clock(one, np.arange(len(one)))
        days = _holiday_columns(self.holidays, one, np.arange(len(one)))
        spread, mean = one.known.std(axis=0), one.known.mean(axis=0)
        moving = spread > 1e-9 * np.abs(mean)
        known = (one.known[:, moving] - mean[moving]) / spread[moving]
        model = self._model(_yearly(self.yearly, times), known.shape[1], len(days))
        frame = pd.DataFrame({"ds": times, "y": one.y} | _named(known.T, "known") | _named(days.values(), "holiday"))
        with _quiet(), tempfile.TemporaryDirectory() as folder:
            model.fit(frame, seed=self.seed, output_dir=folder)
        beta = np.asarray(model.params["beta"])[0]
        orders = [int(model.seasonalities.get(cycle, {}).get("fourier_order", 0)) for cycle in _CYCLES]
        waves = 2 * sum(orders)
        covariates = np.zeros(one.known.shape[1])
        covariates[moving] = beta[waves : waves + known.shape[1]] / spread[moving]
        effects = beta[waves + known.shape[1] :][: len(days)]
        parts: dict[str, Any] = {
            "beta": np.concatenate([beta[:waves], covariates]),
            "centre": -float(mean @ covariates),
        }
        parts |= {"orders": tuple(orders), "keys": np.array(list(days)), "effects": effects}
        return _Curve(**_trend(model), **parts).pack()

    def _model(self, yearly: bool | int | str, covariates: int, days: int) -> Any:
        options: dict[str, Any] = {
            "growth": self.growth,
            "n_changepoints": self.n_changepoints,
            "changepoint_range": self.changepoint_range,
            "yearly_seasonality": yearly,
            "weekly_seasonality": self.weekly,
            "daily_seasonality": self.daily,
            "seasonality_mode": self.seasonality_mode,
            "seasonality_prior_scale": self.seasonality_prior_scale,
            "changepoint_prior_scale": self.changepoint_prior_scale,
            "uncertainty_samples": 0,
        }
        with _quiet():
            model = prophet.Prophet(**options)
        for k in range(covariates):
            model.add_regressor(f"known_{k}", prior_scale=self.holidays_prior_scale, standardize=False)
        for k in range(days):
            model.add_regressor(f"holiday_{k}", prior_scale=self.holidays_prior_scale, standardize=False)
        return model

    def extrapolate(
        self, one: Series, parameters: Floats, horizon: int, levels: tuple[float, ...]
    ) -> tuple[Floats, Floats]:
        curve = _Curve.unpack(parameters, one.known.shape[1])
        times = _clock(one, len(one) + np.arange(-1, horizon))  # with the last one seen
        micros = times.astype(np.int64).astype(np.float64)
        spans = (micros - curve.start) / curve.span
        trend = curve.slope * spans[1:] + curve.level  # [H]
        added = sum(self._parts(one, curve, times[1:]).values(), np.zeros(horizon))
        mean = curve.unit * self._joined(trend, added)
        if not levels:
            return mean, np.empty((horizon, 0))
        draws = _draws(self.seed, horizon, self.samples)
        paths = trend[:, None] + _drift(np.diff(spans), curve, draws)  # [H, S]
        paths = self._joined(paths, added[:, None]) + curve.sigma * draws[2]
        quantiles = curve.unit * np.quantile(paths, levels, axis=1).T  # [H, Q]
        return mean, np.maximum(quantiles, one.floor)

    def _joined(self, trend: Floats, added: Floats) -> Floats:
        return trend * (1 + added) if self.seasonality_mode == "multiplicative" else trend + added

    def _parts(self, one: Series, curve: _Curve, times: NDArray[np.datetime64]) -> dict[str, Floats]:
        """Seasons, holidays and all covariates of the future, [H] each."""
        days = times.astype(np.int64) / _DAY
        beta, parts = curve.beta, {}
        for (cycle, period), order in zip(_CYCLES.items(), curve.orders, strict=True):
            if order:
                parts[cycle] = _waves(days, period, order) @ beta[: 2 * order]
            beta = beta[2 * order :]
        if self.holidays:
            columns = _holiday_columns(self.holidays, one, len(one) + np.arange(len(times)))
            effects = dict(zip(curve.keys.tolist(), curve.effects.tolist(), strict=True))
            fallen = (effects.get(key, 0.0) * column for key, column in columns.items())
            parts["holidays"] = sum(fallen, np.zeros(len(times)))
        return parts | ({"covariates": one.future @ beta + curve.centre} if len(beta) else {})

    def explained(self, one: Series, parameters: Floats, horizon: int, known: Sequence[str]) -> Explanation:
        """The trend and what is added to it; of each covariate what one more of it adds, as a share if multiplied."""
        curve = _Curve.unpack(parameters, one.known.shape[1])
        share = self.seasonality_mode == "multiplicative"
        effects = (1.0 if share else curve.unit) * curve.beta[2 * sum(curve.orders) :]
        coefficients = {name: (float(effect), float("nan")) for name, effect in zip(known, effects, strict=True)}
        form = f"{self.growth} trend, the parts {'multiplied' if share else 'added'}"
        if not horizon:
            return Explanation(one.id, form, coefficients)
        times = _clock(one, len(one) + np.arange(horizon))
        spans = (times.astype(np.int64).astype(np.float64) - curve.start) / curve.span
        trend = curve.unit * (curve.slope * spans + curve.level)  # [H]
        unit = trend if share else curve.unit
        parts = {name: unit * part for name, part in self._parts(one, curve, times).items()}
        return Explanation(one.id, form, coefficients, components={"trend": trend} | parts)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()
        yield cls(growth="flat", holidays="US", weekly=2, samples=200)

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        return cls(
            seasonality_mode=trial.suggest_categorical("seasonality_mode", ["additive", "multiplicative"]),
            changepoint_prior_scale=trial.suggest_float("changepoint_prior_scale", 0.001, 0.5, log=True),
            seasonality_prior_scale=trial.suggest_float("seasonality_prior_scale", 0.01, 10.0, log=True),
            holidays_prior_scale=trial.suggest_float("holidays_prior_scale", 0.01, 10.0, log=True),
            growth=trial.suggest_categorical("growth", ["linear", "flat"]),
        )


def _yearly(wanted: bool | int | str, times: NDArray[np.datetime64]) -> bool | int | str:
    """'auto' with fewer than Prophet's 10 Fourier pairs where a year has too few periods to tell them apart."""
    span = (times[-1] - times[0]) / np.timedelta64(1, "D")
    pairs = int(_CYCLES["yearly"] / 2 / (span / (len(times) - 1)))
    return min(10, pairs) if wanted == "auto" and pairs < 10 and span >= 730 else wanted


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{option} must be one of {', '.join(allowed)}, not {value!r}{closest(value, allowed)}")


def _pairs(option: str, value: bool | int | str) -> None:
    if value != "auto" and (isinstance(value, str) or value < 0):
        raise ConfigError(f"{option} must be auto, true, false or a number of Fourier pairs, not {value!r}")


def _country(code: str | None) -> None:
    if code is not None and code not in (supported := holiday_calendars.list_supported_countries()):
        raise ConfigError(f"holidays knows no country {code!r}{closest(code, supported)}; give its two letters, as US")


def _named(columns: Any, stem: str) -> dict[str, Floats]:
    return {f"{stem}_{k}": column for k, column in enumerate(columns)}


def _clock(one: Series, steps: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """Period starts on the wall clock, at `steps` from the first of the history."""
    return one.calendar.local(one.calendar.times(one.start + steps)).astype("M8[us]")


def _trend(model: Any) -> dict[str, Any]:
    """The last piece of a fitted trend as one line, and how its slope has changed (Taylor & Letham, section 3.1)."""
    delta = np.asarray(model.params["delta"]).ravel()
    at = np.asarray(model.changepoints_t, np.float64)
    return {
        "start": float(model.start.value // 1000),
        "span": model.t_scale / pd.Timedelta(microseconds=1),
        "unit": float(model.y_scale),
        "slope": float(np.ravel(model.params["k"])[0] + delta.sum()),
        "level": float(np.ravel(model.params["m"])[0] - at @ delta),
        "sigma": float(np.ravel(model.params["sigma_obs"])[0]),
        "jumps": float(np.abs(delta).mean()),
        "rate": float(len(at)) if delta.any() else 0.0,
    }


def _waves(days: Floats, period: float, order: int) -> Floats:
    """Prophet's Fourier columns sin, cos, sin, cos, ...; [H] -> [H, 2 order]."""
    angles = 2 * np.pi * days[:, None] / period * np.arange(1, order + 1)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(days), -1)


def _drift(steps: Floats, curve: _Curve, draws: tuple[Floats, Floats, Floats]) -> Floats:
    """How far the trend leaves its line when its slope goes on changing as it did, [H, S].

    In each step the slope changes with probability rate * step, by a Laplace draw of the past mean size.
    """
    when, size, _ = draws
    slopes = np.cumsum(np.where(when < curve.rate * steps[:, None], curve.jumps * size, 0.0), axis=0)
    return np.cumsum(slopes * steps[:, None], axis=0)


@lru_cache(maxsize=4)
def _draws(seed: int, horizon: int, samples: int) -> tuple[Floats, Floats, Floats]:
    """Uniform, Laplace and normal draws, [H, S] each; a longer horizon begins with those of a shorter one.

    The normal ones are the same evenly spread quantiles in each step, shuffled: no step has more noise than another.
    """
    streams = np.random.default_rng(seed).spawn(3)
    shape = (horizon, samples)
    scores = np.tile(ndtri((np.arange(samples) + 0.5) / samples), (horizon, 1))
    draws = streams[0].random(shape), streams[1].laplace(size=shape), streams[2].permuted(scores, axis=1)
    for array in draws:
        array.flags.writeable = False
    return draws


def _holiday_columns(code: str | None, one: Series, steps: NDArray[np.int64]) -> dict[float, Floats]:
    """For each holiday in the periods at `steps`, by the checksum of its name, 1 in the periods that hold it; [T]."""
    if code is None:
        return {}
    first = _clock(one, steps).astype("M8[D]")
    end = np.maximum(
        _clock(one, steps + 1).astype("M8[D]"), first + np.timedelta64(1, "D")
    )  # an hour lies in its whole day
    years = (int(day.astype("M8[Y]").astype(int)) + 1970 for day in (first.min(), end.max()))
    columns: dict[float, Floats] = {}
    for key, day in _public_holidays(code, *years):
        held = (first <= day) & (day < end)
        if held.any():
            columns[key] = np.maximum(columns.get(key, 0.0), held.astype(np.float64))
    return columns


@lru_cache(maxsize=16)
def _public_holidays(code: str, first: int, last: int) -> tuple[tuple[float, np.datetime64], ...]:
    """Checksum of the name and day of each public holiday of these years, in order of time."""
    days = holiday_calendars.country_holidays(code, years=range(first, last + 1))
    named = ((day, name) for day, names in sorted(days.items()) for name in names.split("; "))
    return tuple((float(zlib.crc32(name.encode())), np.datetime64(day, "D")) for day, name in named)
