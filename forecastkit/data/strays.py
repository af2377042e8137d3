"""A few dates off the pace of all others: a week that begins on a wrong day, a month on its 15th.

With them a table seems to have no frequency, or one of far shorter periods and mostly gaps. The frequency of the others
is the one to name them by.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forecastkit.data import calendar
from forecastkit.data.calendar import DAY, Frequency
from forecastkit.data.panel import Ints
from forecastkit.data.rows import Rows
from forecastkit.errors import FrequencyError

_FEW = 0.1  # of the rows may be off
_ONE = 8  # rows at least of which one may be; with five, 3 % of intermittent series have such dates by chance
_MOST = 0.75  # of the steps are alike where there is a pace to be off of


def few(off: NDArray[np.bool_]) -> bool:
    """Whether the rows that are off are few enough to be mistakes."""
    return bool(off.mean() <= _FEW or (len(off) >= _ONE and off.sum() == 1))


def usual(rows: Rows) -> Frequency | None:
    """The frequency of nearly all rows; None where all keep it, or too few do to tell."""
    moments, which = rows.moments
    numbers, on = _counted(rows)
    steps = rows.steps if numbers is moments else np.diff(numbers[which])[rows.together]
    pace = _pace(steps)
    if pace is None:
        return None
    places = numbers % pace
    on &= places == _commonest(places[which])[0]
    if on.all():
        return None
    off = ~on[which]  # [rows]
    if not few(off) or _quicker(rows, off, steps < pace):
        return None
    owner = rows.owner[~off]
    steps = np.diff(rows.stamps[~off])[owner[1:] == owner[:-1]]
    try:
        return calendar.infer(moments[on], steps)
    except FrequencyError:
        return None


def _counted(rows: Rows) -> tuple[Ints, NDArray[np.bool_]]:
    """Months since the epoch where nearly all rows are a first or last of one, and which are; else the stamps.

    Of the distinct moments, both [moments].
    """
    moments, which = rows.moments
    if np.count_nonzero(rows.steps >= 28 * DAY) >= _MOST * len(rows.steps):
        times = moments.astype("M8[us]")
        days = times.astype("M8[D]")
        months = days.astype("M8[M]")
        begins = (times == days) & (days == months.astype("M8[D]"))
        ends = (times == days) & ((days + np.timedelta64(1, "D")).astype("M8[M]") != months)
        on = begins if begins[which].sum() >= ends[which].sum() else ends
        if few(~on[which]):
            return months.astype(np.int64), on
    return moments, np.ones(len(moments), bool)


def _pace(steps: Ints) -> int | None:
    """The step that most are; None where there is none."""
    if not len(steps):
        return None
    pace, count = _commonest(steps)
    return pace if pace > 0 and count >= _MOST * len(steps) else None


def _commonest(values: Ints) -> tuple[int, int]:
    """The value that comes most often, and how often; by hashing, as a sort costs three times as much."""
    whole = pa.array(values).dictionary_encode()
    count = np.bincount(whole.indices.to_numpy())
    return int(whole.dictionary[int(count.argmax())].as_py()), int(count.max())


def _quicker(rows: Rows, off: NDArray[np.bool_], short: NDArray[np.bool_]) -> bool:
    """Whether the series with rows off the pace have many `short` steps [steps]: another frequency, no stray dates."""
    theirs = np.zeros(len(rows.ids), bool)
    theirs[rows.owner[off]] = True
    of_theirs = theirs[rows.owner[1:][rows.together]]  # [steps]
    return bool(of_theirs.any() and short[of_theirs].mean() > 1 - _MOST)
