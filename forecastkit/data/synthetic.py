"""Seeded retail demand with known truth: to test against, and to measure on at any size.

Daily demand of an item in a store is a product of a level, a trend, weekly and yearly seasons, holidays, and the
response to price and promotion; sales are drawn from it and cut off where the shelf was empty. Items are of the four
patterns of Syntetos, Boylan and Croston (2005), "On the categorization of demand patterns", Journal of the Operational
Research Society 56: quantities alike or very different (smooth, erratic), and the same of items that sell only now and
then (intermittent, lumpy).
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
PATTERNS = ("smooth", "erratic", "intermittent", "lumpy")
_CHUNK = 500  # series made at a time, which bounds the memory beside the result
_HOLIDAYS = ((1, 1), (5, 1), (7, 4), (10, 31), (11, 25), (12, 24), (12, 31))  # month and day of busy days
_CLOSED = (12, 25)


@dataclass(frozen=True, kw_only=True)
class Retail:
    """The recipe of a shop.

    series: items in stores · periods: days · start: first day · stores: how many · intermittent: share of items that
    sell now and then only · erratic: share of either kind that sells very different quantities · promotion_rate: share
    of weeks on promotion · stockout_rate: chance a day that a stock-out of one to five days begins · dispersion:
    variance of sales over their mean, less one, per unit of demand (0 is Poisson), of items that are not erratic.
    """

    series: int = 100
    periods: int = 730
    start: str = "2023-01-02"
    stores: int = 5
    intermittent: float = 0.2
    erratic: float = 0.2
    promotion_rate: float = 0.1
    stockout_rate: float = 0.003
    dispersion: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("series", "periods", "stores"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("intermittent", "erratic", "promotion_rate", "stockout_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a share between 0 and 1, not {getattr(self, name)}")
        if self.dispersion < 0:
            raise ConfigError(f"dispersion must not be negative, as {self.dispersion} is")
        try:
            np.datetime64(self.start, "D")
        except ValueError as error:
            raise ConfigError(f"start is a day like 2023-01-02, not {self.start!r}") from error

    @property
    def days(self) -> NDArray[np.datetime64]:
        return np.datetime64(self.start, "D") + np.arange(self.periods)  # [T]


@dataclass(frozen=True, eq=False)
class Truth:
    """What no table of sales shows: [R] in the order of the panel's values, or [N].

    expected: [R] mean of the demand · base: [R] the same at the regular price and without promotion · demand: [R] what
    customers wanted, of which an empty shelf hides a part · elasticity: [N] of demand to price, as a positive number:
    demand is proportional to price to the power of -elasticity · pattern: [N] one of `PATTERNS`.
    """

    expected: Floats
    base: Floats
    demand: Floats
    elasticity: Floats
    pattern: tuple[str, ...]

    @property
    def uplift(self) -> Floats:
        """What promotions multiply demand by, discount and display together; [R]."""
        return self.expected / self.base


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
    columns = _columns(recipe)
    return Demand(_panel(recipe, columns), _truth(columns))


def _columns(recipe: Retail) -> dict[str, NDArray[Any]]:
    """Flat columns, filled a few series at a time, each chunk from a seed of its own."""
    columns: dict[str, NDArray[Any]] = {}
    seeds = np.random.SeedSequence(recipe.seed).spawn(-(-recipe.series // _CHUNK))
    for k, seed in enumerate(seeds):
        first = k * _CHUNK
        count = min(_CHUNK, recipe.series - first)
        for name, part in _shop(recipe, count, np.random.default_rng(seed)).items():
            each = len(part) // count  # rows of a series: the days, or one for its traits
            whole = columns.setdefault(name, np.empty((recipe.series * each, *part.shape[1:]), part.dtype))
            whole[first * each : (first + count) * each] = part
    return columns


@dataclass(frozen=True, eq=False)
class _Items:
    """The traits of some series, [n] each."""

    category: Any
    store: Any
    sporadic: Any  # sells now and then
    erratic: Any  # sells very different quantities
    elasticity: Any
    chance: Any  # of a day with a sale, 1 for those that sell every day

    @classmethod
    def draw(cls, recipe: Retail, count: int, rng: np.random.Generator) -> _Items:
        sporadic = rng.random(count) < recipe.intermittent
        return cls(
            category=rng.integers(len(CATEGORIES), size=count),
            store=rng.integers(recipe.stores, size=count),
            sporadic=sporadic,
            erratic=rng.random(count) < recipe.erratic,
            elasticity=rng.uniform(1.2, 3.0, count),
            chance=np.where(sporadic, rng.uniform(0.1, 0.5, count), 1.0),
        )

    def level(self, rng: np.random.Generator) -> Floats:
        """Units a day; a sporadic item sells a few at a time, a lumpy one more."""
        count = len(self.chance)
        parcel = np.where(self.erratic, rng.uniform(4, 10, count), rng.uniform(1.5, 4, count))
        daily = np.maximum(rng.lognormal(2.5, 0.8, count), 4)
        return np.where(self.sporadic, parcel * self.chance, daily) * (1 + 0.1 * (self.store % 3))


def _shop(recipe: Retail, count: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    items = _Items.draw(recipe, count, rng)
    days = recipe.days
    regular = _regular_prices(count, len(days), rng)  # [n, T]
    discount, display = _promotions(recipe, regular.shape, rng)
    price = np.round(regular * (1 - discount), 2)
    elasticity = items.elasticity[:, None]
    base = _base(items, days, rng) * (regular / regular[:, :1]) ** -elasticity
    expected = base * (price / regular) ** -elasticity * display
    demand = _drawn(recipe, items, expected, rng)
    available = _on_shelf(recipe, base.shape, rng) & ~_is_day(days, _CLOSED)
    known = (price, discount > 0, np.broadcast_to(_holiday(days), price.shape))
    return {
        "expected": expected.ravel(),
        "base": base.ravel(),
        "demand": demand.ravel(),
        "y": np.where(available, demand, 0.0).ravel(),
        "available": available.ravel(),
        "known": np.stack(known, axis=-1).reshape(-1, 3),
        "static": np.stack([items.store, items.category], axis=-1).astype(float),
        "elasticity": items.elasticity,
        "pattern": items.erratic + 2 * items.sporadic,
    }


def _base(items: _Items, days: NDArray[np.datetime64], rng: np.random.Generator) -> Floats:
    """Expected demand at the first price: level x trend x week x year x holidays, [n, T]."""
    count, year = len(items.chance), (days - days.astype("M8[Y]")).astype(int) / 365.25  # [T]
    weekday = (days.astype("M8[D]").astype(int) + 3) % 7
    growth = rng.normal(0, 0.1, count)[:, None] * np.arange(len(days)) / 365.25
    week = np.exp(rng.normal(0, 0.1, (count, 7)) + np.array([0, -0.05, -0.05, 0, 0.15, 0.35, 0.1]))
    phase = items.category[:, None] / len(CATEGORIES) + rng.normal(0, 0.03, (count, 1))
    season = rng.uniform(0.05, 0.35, (count, 1)) * np.cos(2 * np.pi * (year - phase))
    busy = _holiday(days) * rng.uniform(0.1, 0.6, (count, 1))
    weekly = (week / week.mean(axis=1, keepdims=True))[:, weekday]
    return items.level(rng)[:, None] * np.exp(growth + season + busy) * weekly


def _regular_prices(count: int, days: int, rng: np.random.Generator) -> Floats:
    """Prices that change by some percent, up more often than down, in one week of twenty; [n, T]."""
    shape = (count, -(-days // 7))
    changes = np.where(rng.random(shape) < 0.05, rng.normal(0.01, 0.06, shape), 0.0)
    prices = rng.uniform(0.8, 12, (count, 1)) * np.exp(np.cumsum(changes, axis=1))
    return np.repeat(np.round(prices, 2), 7, axis=1)[:, :days]


def _promotions(recipe: Retail, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Discount (0 without promotion) and what being on display multiplies demand by, [n, T]; whole weeks."""
    count, days = shape
    weeks = (count, -(-days // 7))
    on = rng.random(weeks) < recipe.promotion_rate
    discount = np.where(on, rng.choice([0.1, 0.2, 0.3], weeks), 0.0)
    display = np.where(on, rng.uniform(1.0, 1.5, (count, 1)), 1.0)
    return np.repeat(discount, 7, axis=1)[:, :days], np.repeat(display, 7, axis=1)[:, :days]


def _drawn(recipe: Retail, items: _Items, expected: Floats, rng: np.random.Generator) -> Floats:
    """Counts with mean `expected`: negative binomial, of sporadic items one and more on the days that have a sale."""
    sporadic = items.sporadic[:, None]
    parcel = np.where(sporadic, np.maximum(expected / items.chance[:, None], 1), expected)
    sells = ~sporadic | (rng.random(expected.shape) * parcel < expected)
    dispersion = np.where(items.erratic, np.where(items.sporadic, 2.0, 1.2), max(recipe.dispersion, 1e-9))[:, None]
    spread = rng.standard_gamma(1 / dispersion, expected.shape) * dispersion  # mean 1
    return sells * (sporadic + rng.poisson((parcel - sporadic) * spread)).astype(float)


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


def _truth(columns: dict[str, NDArray[Any]]) -> Truth:
    pattern = tuple(PATTERNS[k] for k in columns["pattern"])
    rest = {name: columns[name] for name in ("expected", "base", "demand", "elasticity")}
    return Truth(pattern=pattern, **rest)


def _panel(recipe: Retail, columns: dict[str, NDArray[Any]]) -> Panel:
    calendar = Frequency.parse("D")
    first = calendar.ordinals(recipe.days[:1].astype("M8[us]"))
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
