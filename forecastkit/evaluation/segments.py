"""What kinds of series there are: their traits, how demand comes, how much of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forecastkit.data.panel import Floats, Ints, Panel
from forecastkit.evaluation.splits import Window

CLASSES = ("smooth", "erratic", "intermittent", "lumpy", "none")
THIRD, THIRDS = "volume_third", ("low", "middle", "high")
_OWN = ("series", "demand_class", "volume_decile", THIRD)
_INTERVAL, _VARIATION = 1.32, 0.49


def names(panel: Panel) -> tuple[str, ...]:
    """The columns that `describe` gives."""
    return (*_OWN, *(name for name in panel.static.names if name not in _OWN))


def describe(panel: Panel, cuts: Sequence[Window]) -> pa.Table:
    """A row a series: `series`, `demand_class`, `volume_decile`, `volume_third`, and its static columns as text.

    Class and volume are those before the first cutoff, so that no error is explained by what it missed. Decile 10 sells
    most, as does the third "high".
    """
    seen = panel.lengths.copy()
    for cut in reversed(cuts):
        seen[cut.series] = cut.lengths
    past = panel.bare().cut(seen)
    volume = _mean(past)
    own = (
        list(panel.ids),
        [CLASSES[k] for k in demand_classes(past)],
        pa.array(parts(volume, 10), pa.int8()),
        [THIRDS[k - 1] for k in parts(volume, len(THIRDS))],
    )
    columns = names(panel)
    static = [_column(panel, name) for name in columns[len(own) :]]
    return pa.table(dict(zip(columns, (*own, *static), strict=True)))


def demand_classes(panel: Panel) -> Ints:
    """Which of `CLASSES` each series is, [N]: by periods between demands, and by how its sizes vary.

    Syntetos, Boylan & Croston (2005), "On the categorization of demand patterns", Journal of the Operational Research
    Society 56: smooth below 1.32 periods and a squared coefficient of variation of 0.49, erratic above the second,
    intermittent above the first, lumpy above both; none where there is no demand at all.
    """
    owner = np.repeat(np.arange(len(panel)), panel.lengths)[panel.observed]
    y = panel.values[panel.observed]
    sold = y != 0
    periods, times = np.bincount(owner, minlength=len(panel)), np.bincount(owner[sold], minlength=len(panel))
    first, second = (np.bincount(owner[sold], y[sold] ** k, len(panel)) / np.maximum(times, 1) for k in (1, 2))
    rare = periods >= _INTERVAL * times
    uneven = second - first**2 >= _VARIATION * first**2
    return np.where(times == 0, CLASSES.index("none"), 2 * rare + uneven).astype(np.int64)


def parts(values: Floats, count: int) -> NDArray[np.int64]:
    """1 to `count` by rank, [N]: parts of equal size, the largest values in the last."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return 1 + count * ranks // max(len(values), 1)


def _mean(panel: Panel) -> Floats:
    owner = np.repeat(np.arange(len(panel)), panel.lengths)[panel.observed]
    count = np.bincount(owner, minlength=len(panel))
    return np.bincount(owner, panel.values[panel.observed], len(panel)) / np.maximum(count, 1)


def _column(panel: Panel, name: str) -> list[str]:
    """A static column as text; a number as a person would write it."""
    codes, texts = panel.static.values[:, panel.static.names.index(name)], panel.static.categories.get(name)
    if texts is None:
        return [f"{code:g}" for code in codes]
    return ["" if np.isnan(code) else texts[int(code)] for code in codes]
