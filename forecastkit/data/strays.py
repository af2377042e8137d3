"""A few dates off the pace of all others: a week that begins on a wrong day, a month on its 15th.

With them a table seems to have no frequency, or one of far shorter periods and mostly gaps. The frequency of the others
is the one to name them by.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecastkit.data import calendar
from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Ints
from forecastkit.errors import FrequencyError

_FEW = 0.1  # of the rows may be off
_MOST = 0.75  # of the steps are alike where there is a pace to be off of


def usual(owner: Ints, stamps: Ints) -> Frequency | None:
    """The frequency of nearly all rows, by series and time; None where all keep it, or too few do to tell.

    owner, stamps: [rows] the series and microseconds of each, ascending.
    """
    keeps = _keeping(owner, stamps)
    if keeps.all() or keeps.mean() < 1 - _FEW:
        return None
    stamps, together = stamps[keeps], _together(owner[keeps])
    try:
        return calendar.infer(np.unique(stamps), np.diff(stamps)[together])
    except FrequencyError:
        return None


def _keeping(owner: Ints, stamps: Ints) -> NDArray[np.bool_]:
    """Whether each row is a whole number of the most usual steps from most others, [rows]."""
    numbers, keeps = _counted(stamps)
    steps, together = np.diff(numbers), _together(owner)
    if not together.any():
        return keeps
    middle = int(together.sum()) // 2
    pace = int(np.partition(steps[together], middle)[middle])
    if pace < 1 or (steps[together] == pace).mean() < _MOST:
        return np.ones(len(stamps), bool)
    _, which, count = np.unique(numbers % pace, return_inverse=True, return_counts=True)
    keeps &= which == count.argmax()
    # Series that are off because they are of another, shorter frequency have no stray dates.
    theirs = together & np.isin(owner, owner[~keeps])[1:]
    faster = theirs.any() and (steps[theirs] < pace).mean() > 1 - _MOST
    return np.ones(len(stamps), bool) if faster else keeps


def _counted(stamps: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Months since the epoch where nearly all rows are a first or last of one, and which are; else the stamps."""
    times = stamps.astype("M8[us]")
    days = times.astype("M8[D]")
    months = days.astype("M8[M]")
    begins = (times == days) & (days == months.astype("M8[D]"))
    ends = (times == days) & ((days + np.timedelta64(1, "D")).astype("M8[M]") != months)
    keeps = begins if begins.sum() >= ends.sum() else ends
    if keeps.mean() < 1 - _FEW:
        return stamps, np.ones(len(stamps), bool)
    return months.astype(np.int64), keeps


def _together(owner: Ints) -> NDArray[np.bool_]:
    """Whether a row is of the same series as the one before, [rows - 1]."""
    return owner[1:] == owner[:-1]
