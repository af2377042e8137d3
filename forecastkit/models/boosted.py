"""`boosted`: gradient boosted trees on lags, dates and covariates, one model for all series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import numpy as np

from forecastkit import baseline, learners
from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import ConfigError, SeriesTooShortError
from forecastkit.features.lags import Segments
from forecastkit.features.origins import Design, Examples, Origins, Path
from forecastkit.features.table import observed_values
from forecastkit.forecaster import Fitted, Forecaster, State, Trial
from forecastkit.learners import Growth, Learner, boost, regress

_GRID = np.linspace(0, 1, 201)  # probabilities at which the residuals' distribution is kept
_LEAST = 20  # targets to learn from
_FLOOR = 0.01  # of the level: a spread is not believed to be smaller


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class BoostedFitted(Fitted):
    """The models of the mean, the median and the spread, and the distribution of residuals.

    origins: the features · horizon: steps that the residuals were seen at · learners: by name, the median only of trees
    · quantiles: [201] of residuals in spreads
    """

    origins: Origins
    horizon: int
    learners: dict[str, Learner]
    quantiles: Floats

    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        many = max(1, 500_000 // self._block)  # series at a time, to bound the memory
        parts = []
        for first in range(0, len(self.history), many):
            index = np.arange(first, min(first + many, len(self.history)))
            plan = None if future is None else future[index]
            parts.append(self._some(self.history.take(index), horizon, levels, plan))
        mean, quantiles = (np.concatenate(part) for part in zip(*parts, strict=True))
        return mean, quantiles

    @property
    def _block(self) -> int:
        return self.horizon if self.recipe.strategy == "direct" else 1

    def _some(
        self, history: Panel, horizon: int, levels: tuple[float, ...], future: Floats | None
    ) -> tuple[Floats, Floats]:
        """Forecasts of a part of the series: mean [n, H], quantiles [n, H, Q]."""
        floor = baseline.lowest(history.values, history.offsets)[:, None]  # [n, 1]
        path = Path(history, horizon, self._block, future)
        means, quantiles = [], []
        for start, design in path.blocks(self.origins):
            mean = np.maximum(path.shaped(self.learners["mean"].predict(design) * design.level), floor)
            path.write(start, mean)
            means.append(mean)
            quantiles.append(self._quantiles(path, start, design, levels) if levels else mean[..., :0, None])
        if not levels:
            return np.concatenate(means, axis=1)[:, :horizon], np.empty((len(history), horizon, 0))
        whole = np.maximum(np.concatenate(quantiles, axis=1), floor[..., None])
        return np.concatenate(means, axis=1)[:, :horizon], whole[:, :horizon]

    def _quantiles(self, path: Path, start: int, design: Design, levels: tuple[float, ...]) -> Floats:
        """The median's forecast and around it the residuals' quantiles, as wide as the spread says; [n, B, Q]."""
        z = np.interp(levels, _GRID, self.quantiles)  # [Q]
        if "median" in self.learners:
            centre = path.shaped(self.learners["median"].predict(design) * design.level)
            z = z - self.quantiles[len(_GRID) // 2]
        else:
            centre = path.read(start)
        ahead = start + design.step
        spread = np.maximum(
            self.learners["spread"].predict(design.beside("ahead", np.minimum(ahead, self.horizon))), _FLOOR
        )
        # Beyond the steps at which residuals were seen the spread grows as a random walk's.
        spread = spread * np.sqrt(np.maximum(ahead / self.horizon, 1.0)) * design.level
        return centre[..., None] + path.shaped(spread)[..., None] * z

    def _updated(self, history: Panel) -> Self:
        return replace(self, history=history.tail(self.origins.reach))

    def state(self) -> State:
        arrays: dict[str, Any] = {"quantiles": self.quantiles}
        values: dict[str, Any] = {"horizon": self.horizon, "learners": {}}
        values["origins"] = {
            "season": self.origins.season,
            "fields": list(self.origins.fields or ()),
            "flags": list(self.origins.flags),
        }
        for name, learner in self.learners.items():
            own = learner.state()
            arrays |= {f"{name}.{key}": array for key, array in own.arrays.items()}
            values["learners"][name] = dict(own.values)
        return State(arrays, values)

    @classmethod
    def from_state(cls, state: State, **common: Any) -> Self:
        about = state.values["origins"]
        found = {}
        for name, kind in state.values["learners"].items():
            arrays = {k.removeprefix(f"{name}."): v for k, v in state.arrays.items() if k.startswith(f"{name}.")}
            found[name] = learners.restored(arrays, kind, common["recipe"].threads)
        return cls(
            origins=Origins(about["season"], tuple(about["fields"]), tuple(about["flags"])),
            learners=found,
            quantiles=state.arrays["quantiles"],
            **common | {"horizon": state.values["horizon"]},
        )


@final
@dataclass(frozen=True, kw_only=True)
class Boosted(Forecaster):
    """One model for all series, LightGBM by default: the rival to beat where items share promotions, prices and dates.

    Targets and lags are divided by each series' recent level, so that volumes from 1 to 1e12 learn from each other. The
    median has a model of its own, since skewed demand's lies below the mean. Around it stand quantiles of the residuals
    of held-out windows, scaled by their predicted size (locally weighted split conformal: Lei et al. 2018,
    "Distribution-free predictive inference for regression", section 5.2). Periods that were unavailable or have no
    record are no targets.

    season: periods in a season; None takes the panel's.
    strategy: "direct" forecasts every step from the last observation with the step as a feature, "recursive" one step
        at a time from its own forecasts. Beyond the horizon of `fit`, direct forecasts are rolled on from themselves.
    regressor: "lightgbm", or any regressor of scikit-learn by name ("Ridge", "sklearn.ensemble.ExtraTreesRegressor"),
        at its defaults. Those other than linear ones can't be saved.
    trees, learning_rate, leaves: of LightGBM.
    rows: training examples at most, drawn at random where there are more.
    median: train a model for the median too (LightGBM only); without, the mean's serves.
    seed: of the draws and of LightGBM's bagging.
    threads: of LightGBM, 0 for all; results don't depend on it.

    >>> Boosted(strategy="recursive", trees=100).leaves
    31
    """

    name: ClassVar[str] = "boosted"
    fitted_type: ClassVar[type[Fitted]] = BoostedFitted
    uses: ClassVar[frozenset[str]] = frozenset({"known", "past", "static", "available"})
    pooled: ClassVar[bool] = True

    season: int | None = None
    strategy: str = "direct"
    regressor: str = "lightgbm"
    trees: int = 300
    learning_rate: float = 0.05
    leaves: int = 31
    rows: int = 250_000
    median: bool = True
    seed: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        least = {"season": 1, "trees": 1, "leaves": 2, "rows": 100, "seed": 0, "threads": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ConfigError(f"boosted: {name} must be at least {low}, not {value}")
        if not 0 < self.learning_rate <= 1:
            raise ConfigError(f"boosted: learning_rate must be above 0 and at most 1, not {self.learning_rate}")
        if self.strategy not in ("direct", "recursive"):
            raise ConfigError(f"boosted: strategy is direct or recursive, not {self.strategy!r}")
        if self.regressor != "lightgbm":
            learners.regressor(self.regressor, self.seed)

    @property
    def _growth(self) -> Growth:
        return Growth(
            trees=self.trees, rate=self.learning_rate, leaves=self.leaves, seed=self.seed, threads=self.threads
        )

    def _check(self, train: Panel) -> None:
        super()._check(train)
        if _targets(train) < _LEAST:
            longest = int(np.argmax(train.lengths))
            what = f"boosted learns from {_LEAST} observations of all series together (each but its first) and"
            raise SeriesTooShortError(
                train.ids[longest], needed=_LEAST + 1, found=int(train.lengths[longest]), what=what
            )

    def _fit(self, train: Panel, horizon: int) -> BoostedFitted:
        order = np.argsort(np.array(train.ids))  # draws must not depend on the order of the series
        panel = train.take(order)
        origins = Origins.of(panel, self.season or train.season)
        mean, examples = self._learn(panel, origins, horizon)
        found = {"mean": mean}
        if self.median and self.regressor == "lightgbm":
            found["median"] = boost(examples.design, examples.y, "quantile", self._growth)
        residuals = self._residuals(panel, origins, horizon) or _in_sample(mean, examples)
        found["spread"], quantiles = self._spread(residuals)
        return BoostedFitted(
            recipe=self,
            history=train.tail(origins.reach),
            failures=baseline.unseen(train),
            trained_on=train.fingerprint,
            origins=origins,
            horizon=horizon,
            learners=found,
            quantiles=quantiles,
        )

    def _learn(self, panel: Panel, origins: Origins, horizon: int) -> tuple[Learner, Examples]:
        """The model of the mean, and what it was trained on."""
        examples = Examples.drawn(
            panel, origins, horizon if self.strategy == "direct" else 1, most=self.rows, seed=self.seed
        )
        if self.regressor != "lightgbm":
            return regress(examples.design, examples.y, self.regressor, self.seed), examples
        counts = (examples.y >= 0).all() and examples.y.any()
        # As with demand, its variance grows with the mean and zeros have room: Yang, Qian & Zou (2018), JBES 36.
        return boost(examples.design, examples.y, "tweedie" if counts else "regression", self._growth), examples

    def _residuals(self, panel: Panel, origins: Origins, horizon: int) -> Examples | None:
        """Features and residuals of two windows held out at the end; None where the series are too short for that."""
        held = min(horizon, int(panel.lengths.max()) // 6)
        long = np.flatnonzero(panel.lengths >= 2 * held + 2)
        if held < 1 or not len(long):
            return None
        panel = panel.take(long)
        early = panel.cut(panel.lengths - 2 * held)
        if _targets(early) < _LEAST:
            return None
        learner, _ = self._learn(early, origins, horizon)
        block = min(horizon, held) if self.strategy == "direct" else 1
        parts = [_window(panel, back, (held, block), origins, learner) for back in (2 * held, held)]
        together = Examples.joined(parts)
        return together if len(together.y) >= _LEAST else None

    def _spread(self, residuals: Examples) -> tuple[Learner, Floats]:
        """The model of the residuals' size, and their quantiles when divided by it, [201]."""
        sizes = np.abs(residuals.y)
        if self.regressor == "lightgbm":
            small = replace(self._growth, trees=min(self.trees, 60), leaves=min(self.leaves, 15), least=200)
            learner: Learner = boost(residuals.design, sizes, "regression", small)
        else:
            learner = regress(residuals.design, sizes, self.regressor, self.seed)
        spread = np.maximum(learner.predict(residuals.design), _FLOOR)
        return learner, np.quantile(residuals.y / spread, _GRID)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls(trees=60, threads=1)
        yield cls(trees=60, threads=1, strategy="recursive")
        yield cls(regressor="Ridge")

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        return cls(
            strategy=trial.suggest_categorical("strategy", ["direct", "recursive"]),
            trees=trial.suggest_int("trees", 100, 800, log=True),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            leaves=trial.suggest_int("leaves", 8, 128, log=True),
        )


def _window(panel: Panel, back: int, steps: tuple[int, int], origins: Origins, learner: Learner) -> Examples:
    """Residuals of forecasts of some periods that begin `back` before the end, with their features.

    `steps` are how many periods are forecast, and how many at once.
    """
    held, block = steps
    seen = panel.lengths - back
    future = panel.known_after(seen, held) if len(panel.known) else None
    path = Path(panel.cut(seen), held, block, future)
    rows = (panel.offsets[:-1] + seen)[:, None] + np.arange(held)
    actual = observed_values(panel)[rows]  # [N, held]
    parts = []
    for start, design in path.blocks(origins):
        mean = path.shaped(learner.predict(design) * design.level)
        path.write(start, mean)
        error = (actual[:, start : start + block] - mean).ravel()
        parts.append(Examples.of(design.beside("ahead", start + design.step), error))
    return Examples.joined(parts)


def _targets(panel: Panel) -> int:
    """Observed periods that have one before them."""
    return int((panel.observed & (Segments(panel.offsets).position > 0)).sum())


def _in_sample(learner: Learner, examples: Examples) -> Examples:
    """Residuals of the training examples, where nothing can be held out: too small, but better than none."""
    design = examples.design
    return Examples(design.beside("ahead", design.step), examples.y - learner.predict(design))
