"""Frequencies: period numbers and back, season lengths, and finding the frequency of a table.

Inside forecastkit a time is a whole number, the count of periods since a fixed origin, so that a regular series is
one start and a length, and "the next 28 periods" is an addition. `Frequency` translates at the edges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forecastkit.errors import FrequencyError, closest

DAY = 86_400_000_000  # microseconds
_STEPS = {"W": 7 * DAY, "D": DAY, "h": 3_600_000_000, "min": 60_000_000, "s": 1_000_000}
_SEASONS = {"W": 52, "D": 7, "h": 24, "min": 1440, "s": 3600, "B": 5, "MS": 12, "ME": 12, "QS": 4, "QE": 4}
_RENAMED = {"H": "h", "T": "min", "S": "s", "M": "ME", "Q": "QE", "A": "YE", "Y": "YE", "AS": "YS"}
_RENAMED |= {"BM": "BME", "BQ": "BQE", "BA": "BYE", "BY": "BYE", "d": "D", "w": "W", "b": "B"}
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_USUAL = ("min", "h", "D", "B", "W", "W-MON", "MS", "ME", "QS", "QE", "YS", "YE")
_GRID = ("1900-01-01", "2150-12-31")  # the years that calendar frequencies (months, business days) cover
_APART = 6  # a grid on which no two rows are this near is a coincidence of dates, not a frequency


@dataclass(frozen=True)
class Frequency:
    """A pandas frequency alias with what it takes to count its periods.

    `phase` is where the grid starts: for periods of fixed length the microseconds from the epoch (hourly readings at
    half past have 30 minutes), for every n-th month, quarter or year which of the n; `zone` is the time zone of
    sub-daily data, whose times are then counted in UTC.

    >>> Frequency.parse("MS").season
    12
    >>> f = Frequency.parse("D"); f.times(f.ordinals(np.array(["2024-02-29"], "M8[us]")) + 1)
    array(['2024-03-01T00:00:00.000000'], dtype='datetime64[us]')
    """

    alias: str
    phase: int = 0
    zone: str | None = None

    @classmethod
    def parse(cls, alias: str) -> Frequency:
        """The frequency of a pandas alias, of any version's; `FrequencyError` names the closest that pandas knows."""
        return cls(_canonical(str(alias)))

    @property
    def _offset(self) -> pd.offsets.BaseOffset:
        return _offset(self.alias)

    @property
    def _unit(self) -> str:
        return _unit(self.alias)

    @property
    def step(self) -> int | None:
        """Microseconds of a period where all are alike, None for months, business days and the like."""
        return _step(self.alias)

    @property
    def longest(self) -> int:
        """Microseconds of the longest period."""
        return _step(self.alias) or _longest(self.alias, self.phase)

    @property
    def daily_or_longer(self) -> bool:
        return self.step is None or self.step >= DAY

    @property
    def words(self) -> str:
        """The frequency for a message, with all that two equal ones share."""
        zone = f" in the time zone {self.zone}" if self.zone else ""
        start = (
            f" shifted by {self.phase if self.step is None else pd.Timedelta(self.phase, 'us')}" if self.phase else ""
        )
        return f"the frequency {self.alias!r}{start}{zone}"

    @property
    def _anchor(self) -> int:
        return self.phase + _anchor(self.alias)

    @cached_property
    def season(self) -> int:
        """Periods in the shortest usual season: 24 for hours, 7 for days, 52 for weeks, 12 for months; at least 1."""
        n, periods = self._offset.n, _SEASONS.get(self._unit, 1)
        if self._unit == "D" and n % 7 == 0:
            periods = 364  # 7D is a week by another name
        return 1 if periods % n else periods // n

    def ordinals(self, times: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Period numbers of `times`, any shape, as int64; `FrequencyError` at the first that is off the grid."""
        stamps = times.astype("M8[us]", copy=False).view(np.int64)
        numbers, off = self._located(stamps)
        if off.any():
            raise self._off_grid(int(stamps[off].flat[0]))
        return numbers

    def off_grid(self, times: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Which of `times`, any shape, are the start of no period."""
        return self._located(times.astype("M8[us]", copy=False).view(np.int64))[1]

    def _located(self, stamps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The period that begins at each of `stamps`, or is near where none does; and where none does."""
        if self.step is not None:
            numbers, rest = np.divmod(stamps - self._anchor, self.step)
            return numbers, rest != 0
        grid = _grid(self.alias, self.phase)
        numbers = np.clip(np.searchsorted(grid, stamps), 0, len(grid) - 1)
        return numbers, grid[numbers] != stamps

    def _off_grid(self, stamp: int) -> FrequencyError:
        if self.step is None and not np.datetime64(_GRID[0]) <= np.datetime64(stamp, "us") <= np.datetime64(_GRID[1]):
            return _beyond(self.alias, f"{shown(stamp)} is too far: ")
        what, *around = (shown(time, self.zone) for time in (stamp, *self._around(stamp)))
        return FrequencyError(
            f"{what} is not on the grid of {self.alias!r}, which has {' and '.join(around)}", expected=self.alias
        )

    def _around(self, stamp: int) -> NDArray[np.int64]:
        """The starts of the periods before and after a time on no grid, microseconds; one where no other is known."""
        if self.step is not None:
            before = stamp - (stamp - self._anchor) % self.step
            return np.array([before, before + self.step])
        grid = _grid(self.alias, self.phase)
        after = int(np.searchsorted(grid, stamp))
        return grid[max(after - 1, 0) : after + 1]

    def times(self, ordinals: NDArray[np.int64]) -> NDArray[np.datetime64]:
        """Period starts of `ordinals`, any shape, as datetime64[us]."""
        ordinals = np.asarray(ordinals, np.int64)
        if self.step is not None:
            return (ordinals * self.step + self._anchor).astype("M8[us]")
        grid = _grid(self.alias, self.phase)
        if ordinals.size and (ordinals.min() < 0 or ordinals.max() >= len(grid)):
            raise _beyond(self.alias)
        return grid[ordinals].astype("M8[us]")

    def local(self, times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """`times` on the wall clock of `zone`; unchanged without one."""
        if self.zone is None:
            return times
        index = pd.DatetimeIndex(times.ravel()).tz_localize("UTC").tz_convert(self.zone).tz_localize(None)
        return index.to_numpy().astype("M8[us]").reshape(times.shape)

    def anchored(self, time: int) -> Frequency:
        """This frequency with the weekday or month of `time` (microseconds) where its alias has one: W, Q and Y."""
        day = np.datetime64(time, "us").astype("M8[D]")
        if self._unit == "W":
            part = _WEEKDAYS[int((day.astype(np.int64) + 3) % 7)]
        elif self._unit in ("QS", "QE", "YS", "YE"):
            part = _MONTHS[int(day.astype("M8[M]").astype(np.int64) % 12)]
        else:
            return self
        return Frequency.parse(f"{self._offset.n}{self._unit}-{part}")

    def texts(self, ordinals: NDArray[np.int64]) -> list[str]:
        """Period starts as a person writes them, days without a clock; one text an ordinal."""
        times = self.local(self.times(ordinals)).ravel().astype("M8[D]" if self.daily_or_longer else "M8[m]")
        return [str(time) for time in times]

    def fitted_to(self, time: int) -> Frequency:
        """This frequency with the phase at which `time` (microseconds since the epoch) is on the grid."""
        if self.step is None:
            phase = int(np.searchsorted(_grid(self._offset.base.freqstr, 0), time)) % self._offset.n
        else:
            phase = (time - _anchor(self.alias)) % self.step
            if self._unit == "W" and phase % (7 * DAY) >= DAY:
                phase = 0  # a weekday in the alias is a promise about the day; weeks and the time of day may shift
        return self if phase == self.phase else replace(self, phase=phase)

    def within(self, zone: str | None) -> Frequency:
        """This frequency with the time zone of sub-daily data."""
        return self if zone == self.zone else replace(self, zone=zone)


@lru_cache(maxsize=256)
def _offset(alias: str) -> pd.offsets.BaseOffset:
    return pd.tseries.frequencies.to_offset(alias)


@lru_cache(maxsize=256)
def _unit(alias: str) -> str:
    return str(_offset(alias).rule_code).split("-")[0]


@lru_cache(maxsize=256)
def _anchor(alias: str) -> int:
    """Where a period of fixed length begins that has no phase, microseconds after the epoch."""
    weekday = getattr(_offset(alias), "weekday", None)
    if _unit(alias) == "W" and weekday is not None:
        return int((weekday - 3) % 7) * DAY  # 1970-01-01 was a Thursday
    return 0


@lru_cache(maxsize=256)
def _step(alias: str) -> int | None:
    base = _STEPS.get(_unit(alias))
    return None if base is None else base * _offset(alias).n


@lru_cache(maxsize=256)
def _canonical(alias: str) -> str:
    try:
        offset = pd.tseries.frequencies.to_offset(_modern(alias))
    except ValueError as error:
        hint = closest(alias, _USUAL) or f": the usual ones are {', '.join(_USUAL)}"
        raise FrequencyError(f"{alias!r} is no pandas frequency{hint}", expected=alias) from error
    if offset.n < 1:
        raise FrequencyError(f"the frequency {alias!r} must step forward", expected=alias)
    if offset.rule_code in ("ms", "us", "ns"):
        raise FrequencyError(f"the frequency {alias!r} is below a second; sum up to 's' or longer", expected=alias)
    return str(_one_name(offset).freqstr)


def _modern(alias: str) -> str:
    """An alias in today's spelling: 2H is 2h, M is ME."""
    parts = re.fullmatch(r"([-+.\d]*)([A-Za-z]+)(-.*)?", alias.strip())
    if parts is None:
        return alias
    count, unit, anchor = parts.groups(default="")
    return f"{count}{_RENAMED.get(unit, unit)}{anchor}"


def _one_name(offset: pd.offsets.BaseOffset) -> pd.offsets.BaseOffset:
    """Quarters from January, April, July and October are one grid; it gets one name, the usual one."""
    unit, _, month = offset.rule_code.partition("-")
    if unit == "QS":
        return pd.offsets.QuarterBegin(offset.n, startingMonth=_MONTHS.index(month) % 3 + 1)
    if unit == "QE":
        return pd.offsets.QuarterEnd(offset.n, startingMonth=_MONTHS.index(month) % 3 + 10)
    return offset


def _beyond(alias: str, what: str = "") -> FrequencyError:
    years = f"{_GRID[0][:4]} to {_GRID[1][:4]}"
    return FrequencyError(f"{what}{alias!r} periods are known from {years} only", expected=alias)


@lru_cache(maxsize=16)
def _grid(alias: str, phase: int) -> NDArray[np.int64]:
    """The starts of all periods in the years that are known, at least one."""
    offset = pd.tseries.frequencies.to_offset(alias)
    every = pd.date_range(*_GRID, freq=offset.base).to_numpy().astype("M8[us]").astype(np.int64)
    grid = every[phase :: offset.n]
    if not len(grid):
        raise _beyond(alias)
    return grid


@lru_cache(maxsize=16)
def _longest(alias: str, phase: int) -> int:
    grid = _grid(alias, phase)
    if len(grid) < 2:  # a step of centuries, from a mistyped year
        raise _beyond(alias)
    return int(np.diff(grid).max())


def infer(stamps: NDArray[np.int64], steps: NDArray[np.int64]) -> Frequency:
    """The frequency of a table from its distinct `stamps` and the positive `steps` between neighbours, microseconds.

    The grid is the coarsest that holds all stamps: the steps' greatest common divisor for fixed lengths, whole
    months, quarters or years where every stamp is a first or a last of a month.
    """
    if not len(steps):
        raise FrequencyError("every series has one row, so no frequency can be inferred; give freq (--freq)")
    times, shortest = stamps.astype("M8[us]"), int(steps.min())
    found = _monthly(times, shortest) or _fixed(times, steps, shortest)
    if found is None:
        low, high = pd.Timedelta(shortest, "us"), pd.Timedelta(int(steps.max()), "us")
        raise FrequencyError(
            f"no regular frequency fits the times, whose steps run from {low} to {high}; round them to their "
            "period's start, or give freq (--freq)"
        )
    return found


def _monthly(times: NDArray[np.datetime64], shortest: int) -> Frequency | None:
    if shortest < 28 * DAY:
        return None
    days = times.astype("M8[D]")
    if (days != times).any():
        return None
    months = days.astype("M8[M]")
    first = (days == months.astype("M8[D]")).all()
    last = ((days + np.timedelta64(1, "D")).astype("M8[M]") != months).all()
    if not (first or last):
        return None
    every = int(np.gcd.reduce(np.diff(np.unique(months.astype(np.int64)))))
    unit, size = next((u, n) for u, n in (("Y", 12), ("Q", 3), ("M", 1)) if every % n == 0)
    start = int(times[0].astype(np.int64))
    return Frequency.parse(f"{every // size}{unit}{'S' if first else 'E'}").anchored(start).fitted_to(start)


def _fixed(times: NDArray[np.datetime64], steps: NDArray[np.int64], shortest: int) -> Frequency | None:
    step = shortest if (steps == shortest).all() else int(np.gcd.reduce(steps))
    if shortest > _APART * step:
        return None
    if step == DAY and _no_weekends(times, steps):
        return Frequency.parse("B")
    start = int(times[0].astype(np.int64))
    if step == 7 * DAY:
        return Frequency.parse("W").anchored(start).fitted_to(start)
    unit = next((u for u in ("D", "h", "min", "s") if step % _STEPS[u] == 0), None)
    if unit is None or (unit != "D" and DAY % step):
        return None
    return Frequency.parse(f"{step // _STEPS[unit]}{unit}").fitted_to(start)


def _no_weekends(times: NDArray[np.datetime64], steps: NDArray[np.int64]) -> bool:
    if not (steps == 3 * DAY).any():
        return False
    days = times.astype("M8[D]")
    return bool((days == times).all() and np.is_busday(days).all())


def shown(stamp: int | np.int64, zone: str | None = None) -> str:
    """Microseconds since the epoch as a person writes them: the day, with the time of day where it isn't midnight.

    In a time zone it is what the clock on the wall shows, always with the time of day and the distance from UTC.
    """
    if zone is not None:
        seconds = pa.scalar(int(stamp) // 1_000_000, pa.timestamp("s", zone))  # pandas knows no zones in the year 9999
        return str(pc.strftime(seconds, "%Y-%m-%d %H:%M:%S%Ez"))
    return str(np.datetime64(int(stamp), "us").astype("M8[s]")).replace("T", " ").removesuffix(" 00:00:00")
