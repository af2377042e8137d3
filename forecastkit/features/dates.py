"""Calendar fields and Fourier terms: what a date says about demand before anything is known of the series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastkit.data.calendar import DAY, Frequency
from forecastkit.data.panel import Floats, Ints
from forecastkit.errors import ConfigError, closest

Times = NDArray[np.datetime64]
_HOUR = DAY // 24


def _day(times: Times) -> Times:
    return times.astype("M8[D]")


def _day_of_week(times: Times) -> Any:
    return (_day(times).astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0


def _month_first(times: Times) -> Times:
    return times.astype("M8[M]").astype("M8[D]")


def _days_in_month(times: Times) -> Any:
    months = times.astype("M8[M]")
    following = months + np.timedelta64(1, "M")
    return (following.astype("M8[D]") - months.astype("M8[D]")).astype(np.int64)


def _day_of_month(times: Times) -> Any:
    return (_day(times) - _month_first(times)).astype(np.int64) + 1


def _week(times: Times) -> Any:
    """The week's number by ISO 8601: week 1 holds the year's first Thursday."""
    thursday = _day(times) + (3 - _day_of_week(times)).astype("m8[D]")
    return (thursday - thursday.astype("M8[Y]").astype("M8[D]")).astype(np.int64) // 7 + 1


def _month(times: Times) -> Any:
    return times.astype("M8[M]").astype(np.int64) % 12 + 1


FIELDS: dict[str, Callable[[Times], Any]] = {
    "minute": lambda times: times.astype("M8[m]").astype(np.int64) % 60,
    "hour": lambda times: times.astype("M8[h]").astype(np.int64) % 24,
    "day_of_week": _day_of_week,
    "weekend": lambda times: _day_of_week(times) >= 5,
    "day_of_month": _day_of_month,
    "day_of_year": lambda times: (_day(times) - times.astype("M8[Y]").astype("M8[D]")).astype(np.int64) + 1,
    "week": _week,
    "month": _month,
    "quarter": lambda times: (_month(times) - 1) // 3 + 1,
    "month_start": lambda times: _day_of_month(times) == 1,
    "month_end": lambda times: _day_of_month(times) == _days_in_month(times),
    "days_in_month": _days_in_month,
}


@dataclass(frozen=True)
class Calendar:
    """Fields of the date as numbers; the default are those that vary at the frequency.

    fields: any of minute, hour, day_of_week (Monday is 0), weekend, day_of_month, day_of_year, week (ISO 8601),
    month, quarter, month_start, month_end, days_in_month. They are read on the wall clock of the panel's time zone.

    >>> Calendar().names(Frequency.parse("MS"))
    ('month', 'quarter', 'days_in_month')
    """

    fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.fields is not None:
            object.__setattr__(self, "fields", tuple(self.fields))
        for name in self.fields or ():
            if name not in FIELDS:
                raise ConfigError(f"no calendar field {name!r}{closest(name, FIELDS)}. Fields: {', '.join(FIELDS)}")

    def names(self, calendar: Frequency) -> tuple[str, ...]:
        return varying(calendar) if self.fields is None else self.fields

    def apply(self, ordinals: Ints, calendar: Frequency) -> Floats:
        """Period numbers [...] -> [..., F]."""
        names = self.names(calendar)
        # Every series shares the dates of a panel, so each date is looked up once.
        low = int(ordinals.min()) if ordinals.size else 0
        span = int(ordinals.max()) - low + 1 if ordinals.size else 0
        times = calendar.local(calendar.times(low + np.arange(span)))
        lookup = np.stack([FIELDS[name](times).astype(float) for name in names], -1) if names else np.empty((span, 0))
        return lookup[ordinals - low]


def varying(calendar: Frequency) -> tuple[str, ...]:
    """The calendar fields that tell the periods of a frequency apart."""
    step = calendar.step
    if step is not None and step < DAY:
        finest = ("minute", "hour") if step % _HOUR else ("hour",)
        return (*finest, "day_of_week", "weekend", "day_of_month", "month")
    return _varying(calendar.alias)


@lru_cache(maxsize=32)
def _varying(alias: str) -> tuple[str, ...]:
    # A dozen years of dates show what a frequency can vary in; which day a month or quarter begins on says nothing.
    times = pd.date_range("2000-01-01", "2012-12-31", freq=alias).to_numpy().astype("M8[us]")
    longest = np.diff(times.astype(np.int64)).max(initial=0)
    names = ("month", "quarter", "days_in_month") if longest > 20 * DAY else tuple(FIELDS)[2:]
    return tuple(name for name in names if len(np.unique(FIELDS[name](times))) > 1)


@dataclass(frozen=True)
class Fourier:
    """Sine and cosine pairs of a season: a smooth yearly pattern from little history.

    season: periods, fractions allowed (365.25 days) · order: pairs, of the frequencies 1, 2, ... order a season; those
    above half the season's length would repeat lower ones and are refused. Hyndman & Athanasopoulos, Forecasting:
    Principles and Practice (3rd ed.), section 7.4.

    >>> Fourier(4, 1).apply(np.array([0, 1, 2])).round(6) + 0
    array([[ 0.,  1.],
           [ 1.,  0.],
           [ 0., -1.]])
    """

    season: float
    order: int = 1

    def __post_init__(self) -> None:
        if not self.season > 1:
            raise ConfigError(f"season must be more than 1 period, not {self.season}")
        if not 1 <= self.order <= self.season / 2:
            raise ConfigError(f"order must be 1 to {int(self.season / 2)} (half of the season), not {self.order}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{wave}{k}_{self.season:g}" for k, wave in self._terms())

    def apply(self, ordinals: Ints) -> Floats:
        """Period numbers [...] -> [..., 2 x order], one less where the last sine is zero everywhere."""
        turns = {k: 2 * np.pi * np.mod(k * ordinals, self.season) / self.season for k in range(1, self.order + 1)}
        waves = {"sin": np.sin, "cos": np.cos}
        return np.stack([waves[wave](turns[k]) for k, wave in self._terms()], axis=-1)

    def _terms(self) -> list[tuple[int, str]]:
        pairs = [(k, wave) for k in range(1, self.order + 1) for wave in ("sin", "cos")]
        return [(k, wave) for k, wave in pairs if not (wave == "sin" and 2 * k == self.season)]
