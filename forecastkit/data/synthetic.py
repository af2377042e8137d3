"""Seeded retail demand with known truth: to test against, and to measure on at any size.

Daily demand of an item in a store is a product of a level, a trend, weekly and yearly seasons, holidays, and the
response to price and promotion; sales are drawn from it and cut off where the shelf was empty.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Covariates, Floats, Panel
from forecastkit.errors import ConfigError

CATEGORIES = ("bakery", "dairy", "frozen", "household", "produce")
_CHUNK = 2000  # series made at a time, which bounds the memory beside the result
_HOLIDAYS = ((1, 1), (5, 1), (7, 4), (10, 31), (11, 25), (12, 24), (12, 31))  # month and day of busy days
_CLOSED = (12, 25)


@dataclass(frozen=True, kw_only=True)
class Retail:
    """The recipe of a shop.

    series: items in stores · periods: days · start: first day · stores: how many · intermittent: share of items that
    sell now and then only · promotion_rate: share of weeks on promotion · stockout_rate: chance a day that a stock-out of
    one to five days begins · dispersion: variance of sales over their mean, less one, per unit of demand (0 is Poisson).
    """

    series: int = 100
    periods: int = 730
    start: str = "2023-01-02"
    stores: int = 5
    intermittent: float = 0.2
    promotion_rate: float = 0.1
    stockout_rate: float = 0.003
    dispersion: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("series", "periods", "stores"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("intermittent", "promotion_rate", "stockout_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a share between 0 and 1, not {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class Truth:
    """What no table of sales shows; all [R], in the order of the panel's values.

    expected: mean of the demand · base: the same without promotion and price · uplift: their ratio · demand: what
    customers wanted, of which an empty shelf hides a part.
    """

    expected: Floats
    base: Floats
    uplift: Floats
    demand: Floats


@dataclass(frozen=True, eq=False)
class Demand:
    panel: Panel
    truth: Truth


def retail(**options: Any) -> Demand:
    """Daily sales of a synthetic retailer and the truth behind them; `options` are the fields of `Retail`.

    known: price, promotion, holiday · static: store, category · available: the item was on the shelf and the shop open.

    >>> retail(series=3, periods=30).panel
    Panel(3 series, 90 periods of 'D', 2023-01-02 to 2023-01-31, 0 gaps)
    """
    unknown = set(options) - {f.name for f in fields(Retail)}
    if unknown:
        raise ConfigError(f"a synthetic shop has no option {sorted(unknown)[0]!r}")
    recipe = Retail(**options)
    days = np.datetime64(recipe.start, "D") + np.arange(recipe.periods)
    columns = _columns(recipe, days)
    return Demand(_panel(recipe, days, columns), Truth(**{f.name: columns[f.name] for f in fields(Truth)}))


def _columns(recipe: Retail, days: NDArray[np.datetime64]) -> dict[str, NDArray[Any]]:
    """Flat columns, filled a few series at a time, each chunk from a seed of its own."""
    columns: dict[str, NDArray[Any]] = {}
    seeds = np.random.SeedSequence(recipe.seed).spawn(-(-recipe.series // _CHUNK))
    for k, seed in enumerate(seeds):
        first = k * _CHUNK
        count = min(_CHUNK, recipe.series - first)
        for name, part in _shop(recipe, days, count, np.random.default_rng(seed)).items():
            each = len(part) // count  # rows of a series: the days, or one for its traits
            whole = columns.setdefault(name, np.empty((recipe.series * each, *part.shape[1:]), part.dtype))
            whole[first * each : (first + count) * each] = part
    return columns


def _shop(
    recipe: Retail, days: NDArray[np.datetime64], count: int, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    category = rng.integers(len(CATEGORIES), size=count)  # [n]
    store = rng.integers(recipe.stores, size=count)
    sometimes = rng.random(count) < recipe.intermittent
    base = _base(days, category, store, sometimes, rng)  # [n, T]
    promotion = _promotions(recipe, base.shape, rng)
    price, uplift = _response(promotion, rng)
    expected = base * uplift
    demand = _drawn(recipe, expected, sometimes, rng)
    available = _on_shelf(recipe, base.shape, rng) & ~_is_day(days, _CLOSED)
    return {
        "expected": expected.ravel(),
        "base": base.ravel(),
        "uplift": uplift.ravel(),
        "demand": demand.ravel(),
        "y": np.where(available, demand, 0.0).ravel(),
        "available": available.ravel(),
        "known": np.stack([price, promotion, np.broadcast_to(_holiday(days), price.shape)], axis=-1).reshape(-1, 3),
        "static": np.stack([store, category], axis=-1).astype(float),
    }


def _base(
    days: NDArray[np.datetime64], category: Any, store: Any, sometimes: Any, rng: np.random.Generator
) -> Floats:
    """Expected demand without promotions: level x trend x week x year x holidays, [n, T]."""
    count, year = len(category), (days - days.astype("M8[Y]")).astype(int) / 365.25  # [T]
    weekday = (days.astype("M8[D]").astype(int) + 3) % 7
    level = np.where(sometimes, rng.uniform(0.05, 0.8, count), rng.lognormal(2.5, 0.8, count))  # [n]
    level *= 1 + 0.1 * (store % 3)
    growth = rng.normal(0, 0.1, count)[:, None] * np.arange(len(days)) / 365.25
    week = np.exp(rng.normal(0, 0.1, (count, 7)) + np.array([0, -0.05, -0.05, 0, 0.15, 0.35, 0.1]))
    phase = category[:, None] / len(CATEGORIES) + rng.normal(0, 0.03, (count, 1))
    season = rng.uniform(0.05, 0.35, (count, 1)) * np.cos(2 * np.pi * (year - phase))
    busy = _holiday(days) * rng.uniform(0.1, 0.6, (count, 1))
    return level[:, None] * np.exp(growth + season + busy) * (week / week.mean(axis=1, keepdims=True))[:, weekday]


def _promotions(recipe: Retail, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whole weeks on promotion, [n, T]."""
    count, days = shape
    weeks = rng.random((count, -(-days // 7))) < recipe.promotion_rate
    return np.repeat(weeks, 7, axis=1)[:, :days]


def _response(promotion: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Price and uplift, [n, T]: a constant price elasticity and the effect of being on display."""
    count = len(promotion)
    usual, elasticity = rng.uniform(0.8, 12, (count, 1)), rng.uniform(1.2, 3.0, (count, 1))
    discount = np.where(promotion, rng.choice([0.1, 0.2, 0.3], (count, 1)), 0.0)
    display = np.where(promotion, rng.uniform(1.0, 1.5, (count, 1)), 1.0)
    return usual * (1 - discount), (1 - discount) ** -elasticity * display


def _drawn(recipe: Retail, expected: Floats, sometimes: Any, rng: np.random.Generator) -> Floats:
    """Counts around the mean: negative binomial; intermittent items come in parcels of two or three."""
    parcel = np.where(sometimes, rng.integers(2, 4, len(expected)), 1)[:, None]
    mean = expected / parcel
    if recipe.dispersion > 0:
        mean = rng.gamma(1 / recipe.dispersion, recipe.dispersion, expected.shape) * mean
    return rng.poisson(mean) * parcel.astype(float)


def _on_shelf(recipe: Retail, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    begins = rng.random(shape) < recipe.stockout_rate
    lasts = rng.integers(1, 6, shape)
    gone = begins.copy()
    for day in range(1, 5):
        gone[:, day:] |= (begins & (lasts > day))[:, :-day]
    return ~gone


def _holiday(days: NDArray[np.datetime64]) -> Floats:
    return np.any([_is_day(days, day) for day in _HOLIDAYS], axis=0).astype(float)


def _is_day(days: NDArray[np.datetime64], day: tuple[int, int]) -> NDArray[np.bool_]:
    month = days.astype("M8[M]").astype(int) % 12 + 1
    number = (days - days.astype("M8[M]")).astype(int) + 1
    return (month == day[0]) & (number == day[1])


def _panel(recipe: Retail, days: NDArray[np.datetime64], columns: dict[str, NDArray[Any]]) -> Panel:
    calendar = Frequency.parse("D")
    first = calendar.ordinals(days[:1].astype("M8[us]"))
    width = len(str(recipe.series))
    stores = tuple(f"store {k + 1}" for k in range(recipe.stores))
    return Panel(
        ids=tuple(f"item {k:0{width}d}" for k in range(recipe.series)),
        values=columns["y"],
        offsets=np.arange(recipe.series + 1) * recipe.periods,
        starts=np.repeat(first, recipe.series),
        calendar=calendar,
        known=Covariates(("price", "promotion", "holiday"), columns["known"]),
        static=Covariates(
            ("store", "category"),
            columns["static"],
            {"store": stores, "category": CATEGORIES},
        ),
        available=columns["available"],
    )
