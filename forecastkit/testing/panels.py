"""The demand that the contract is checked on: made, small, and without chance in it.

Three series of daily demand that grow, have a strong weekly season and a little noise, and what becomes of them when
something is odd about them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Covariates, Floats, Panel

SEASON = 7
NOW = 112  # periods that are known
LATER = 28  # periods after them
LENGTHS = (91, 105, NOW)
CONSTANTS = (5.0, 1200.0, 0.37)
SCALES = (1e12, 1e-12)
PROMOTION = 0.6  # what a promotion adds, as a share
_LEVELS = np.array([20.0, 60.0, 200.0])
_WEEK = np.array([-0.8, -0.5, -0.2, 0.0, 0.3, 0.9, 0.3])
_START = 19_723  # 2024-01-01 in days since the epoch


def truth() -> Floats:
    """Demand of three series over all periods, the later ones too; [3, NOW + LATER]."""
    t = np.arange(NOW + LATER)
    shape = (1 + 0.006 * t) * (1 + 0.3 * _WEEK[t % SEASON])
    noise = np.random.default_rng(11).normal(0, 0.03, (len(_LEVELS), len(t)))
    return _LEVELS[:, None] * (shape + noise)


def of(*demand: Floats, end: int = NOW, names: str = "abcdef") -> Panel:
    """A panel of these series, which all end with period `end`."""
    lengths = np.array([len(y) for y in demand])
    return Panel(
        ids=tuple(names[: len(demand)]),
        values=np.concatenate(demand),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        starts=_START + end - lengths,
        calendar=Frequency("D"),
    )


def shop(end: int = NOW) -> Panel:
    """Ordinary demand up to period `end`; the series began at different times."""
    return of(*(y[NOW - length : end] for y, length in zip(truth(), LENGTHS, strict=True)), end=end)


def before(poison: float) -> Panel:
    """The shop in arrays that go on behind its end, where demand is multiplied by `poison`."""
    panel = shop()
    whole = np.concatenate([panel.values, truth()[2, NOW:] * poison])
    return replace(panel, values=whole[: len(panel.values)])


def changed(panel: Panel, where: slice | int, factor: float) -> Panel:
    """The same panel with the periods `where` of each series multiplied."""
    values = panel.values.copy()
    for i in range(len(panel)):
        values[panel.rows_of(i)][where] *= factor
    return replace(panel, values=values)


def constant() -> Panel:
    return of(*(np.full(NOW, level) for level in CONSTANTS))


def zeros() -> Panel:
    return of(np.zeros(NOW), np.zeros(NOW - SEASON))


def odd() -> Panel:
    """One series in very large and in very small units, below zero (returns), and on both sides of it."""
    y = shop().series(2)
    return of(*(y * scale for scale in SCALES), -y, y - y.mean())


def gaps() -> Panel:
    """The shop with single periods and a run of ten missing, the newest observation among what is there."""
    panel = shop()
    values = panel.values.copy()
    for i in range(len(panel)):
        values[panel.rows_of(i)][[20, 33, 71, -9, -2]] = np.nan
        values[panel.rows_of(i)][50:60] = np.nan
    return replace(panel, values=values)


def stub() -> Panel:
    """A series of one period among ordinary ones; its name is "b"."""
    y = truth()[:, :NOW]
    return of(y[0], y[1][-1:], y[2])


def lone_stub() -> Panel:
    return of(truth()[0, NOW - 1 : NOW])


def promoted() -> Panel:
    """The shop with a known column `promo`, 0 or 1, that adds a share to demand, and the promotions of LATER."""
    flags = np.random.default_rng(5).random((len(LENGTHS), NOW)) < 0.25
    demand = truth()[:, :NOW] * (1 + PROMOTION * flags)
    panel = of(*demand)
    return replace(panel, known=Covariates(("promo",), flags.astype(float).reshape(-1, 1)))


def without_known(panel: Panel) -> Panel:
    return replace(panel, known=Covariates())


def sold_out() -> Panel:
    """The shop, with nothing to sell and so nothing sold in the last nine periods and in some before."""
    panel = shop()
    available = np.ones(len(panel.values), bool)
    for i in range(len(panel)):
        available[panel.rows_of(i)][-9:] = False
        available[panel.rows_of(i)][40:52] = False
    return replace(panel, values=np.where(available, panel.values, 0.0), available=available)


KINDS: Mapping[str, Callable[[], Panel]] = {
    "shop": shop,
    "constant": constant,
    "zeros": zeros,
    "odd": odd,
    "gaps": gaps,
    "promoted": promoted,
    "sold out": sold_out,
}
