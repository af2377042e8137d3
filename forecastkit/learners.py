"""Learners behind the model `boosted`: features to numbers, kept on disk without a pickle.

LightGBM is stored as its own text, a linear model of scikit-learn as its coefficients; other regressors of scikit-learn
work in memory only.
"""

from __future__ import annotations

import inspect
import logging
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, final

import numpy as np

from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError, FitError, MissingExtraError, StoreError, closest
from forecastkit.features.origins import Design
from forecastkit.forecaster import State

try:
    import lightgbm
except ImportError as error:
    raise MissingExtraError("lightgbm", "boost") from error

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True, kw_only=True)
class Growth:
    """How trees grow; results don't depend on `threads` (0: all, where there is enough to do)."""

    trees: int
    rate: float
    leaves: int
    least: int = 50  # examples in a leaf
    seed: int = 0
    threads: int = 0


class Learner(Protocol):
    """Features to numbers."""

    def predict(self, design: Design) -> Floats: ...

    def state(self) -> State: ...


@final
@dataclass(frozen=True, eq=False)
class Trees:
    """A LightGBM model."""

    booster: lightgbm.Booster
    threads: int

    def predict(self, design: Design) -> Floats:
        return np.asarray(self.booster.predict(design.X, num_threads=_threads(self.threads, len(design.X))))

    def state(self) -> State:
        text = zlib.compress(self.booster.model_to_string().encode())
        return State({"text": np.frombuffer(text, np.uint8)}, {"kind": "trees"})


@final
@dataclass(frozen=True, eq=False)
class Linear:
    """A linear model on standardised one-hot columns; `fill` stands for what is missing."""

    fill: Floats  # [F]
    size: Floats  # [F]
    coef: Floats  # [F]
    intercept: float

    def predict(self, design: Design) -> Floats:
        # Row by row, so that the rounding of one doesn't depend on the others.
        return (_prepared(design, self.fill, self.size) * self.coef).sum(axis=1) + self.intercept

    def state(self) -> State:
        return State(
            {"fill": self.fill, "size": self.size, "coef": self.coef}, {"kind": "linear", "intercept": self.intercept}
        )


@final
@dataclass(frozen=True, eq=False)
class Estimator:
    """Any other regressor of scikit-learn, in memory only."""

    fill: Floats
    size: Floats
    model: Any

    def predict(self, design: Design) -> Floats:
        return np.asarray(self.model.predict(_prepared(design, self.fill, self.size)), float).reshape(len(design.X))

    def state(self) -> State:
        name = type(self.model).__name__
        raise StoreError(
            f"a fitted {name} of scikit-learn can only be stored as a pickle, which forecastkit doesn't write: use "
            "regressor='lightgbm' or a linear one (Ridge, Lasso, ElasticNet, HuberRegressor), or fit again where needed"
        )


def boost(design: Design, y: Floats, objective: str, growth: Growth) -> Trees:
    """Trees that predict the mean ("regression", "tweedie" for y >= 0) or the median ("quantile") of `y` [B]."""
    options = {
        "objective": objective,
        "alpha": 0.5,
        "learning_rate": growth.rate,
        "num_leaves": growth.leaves,
        "min_data_in_leaf": min(growth.least, 1 + len(y) // 40),
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "seed": growth.seed,
        "num_threads": _threads(growth.threads, len(y)),
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(design.X, y, categorical_feature=list(design.categorical), params={"verbosity": -1})
    try:
        return Trees(lightgbm.train(options, data, growth.trees), growth.threads)
    except lightgbm.basic.LightGBMError as error:
        raise FitError(str(error), model="boosted") from error


def _threads(wanted: int, rows: int) -> int:
    """Below some tens of thousands of rows, threads wait for each other longer than they work."""
    return wanted or (1 if rows < 20_000 else 0)


def regress(design: Design, y: Floats, name: str, seed: int) -> Learner:
    """A scikit-learn regressor, at its defaults, on standardised columns."""
    X = design.onehot()
    seen = ~np.isnan(X)
    count = np.maximum(seen.sum(axis=0), 1)
    fill = np.where(seen, X, 0.0).sum(axis=0) / count
    size = np.sqrt(np.where(seen, (X - fill) ** 2, 0.0).sum(axis=0) / count)
    size = np.where(size > 1e-9 * np.abs(fill), size, 1.0)
    X = _prepared(design, fill, size)
    try:
        model = _quietly(regressor(name, seed).fit, X, y)
        found = np.asarray(model.predict(X), float).reshape(len(X))
    except (ValueError, TypeError) as error:
        raise FitError(f"{name} of scikit-learn refused: {error}", model="boosted") from error
    coef, intercept = np.ravel(getattr(model, "coef_", np.empty(0))), np.ravel(getattr(model, "intercept_", 0.0))
    if coef.shape == fill.shape and np.allclose(X @ coef + intercept[0], found, rtol=1e-6, atol=1e-9):
        return Linear(fill, size, coef, float(intercept[0]))
    return Estimator(fill, size, model)


def _quietly(work: Callable[..., Any], *data: Floats) -> Any:
    """What `work` returns; its warnings (no convergence, mostly) go to the log."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        done = work(*data)
    for message in sorted({str(warning.message) for warning in heard}):
        logger.warning("%s", message)
    return done


def _prepared(design: Design, fill: Floats, size: Floats) -> Floats:
    """Standardised columns [B, F]; what is missing is average, and what is far out no more than ten deviations."""
    X = (design.onehot() - fill) / size
    return np.clip(np.where(np.isnan(X), 0.0, X), -10, 10)


def restored(arrays: Mapping[str, Any], about: Mapping[str, Any], threads: int) -> Learner:
    """A learner from the arrays and values of its `state`. Raises `StoreError` where they are damaged."""
    if about["kind"] == "linear":
        return Linear(arrays["fill"], arrays["size"], arrays["coef"], about["intercept"])
    try:
        text = zlib.decompress(arrays["text"].tobytes()).decode()
        return Trees(lightgbm.Booster(model_str=text), threads)
    except (zlib.error, UnicodeDecodeError, lightgbm.basic.LightGBMError) as error:
        raise StoreError(f"the trees of this boosted model are damaged: {error}") from error


@lru_cache(maxsize=1)
def _regressors() -> dict[str, Callable[..., Any]]:
    try:
        from sklearn.utils import all_estimators
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "boost") from error
    return dict(all_estimators(type_filter="regressor"))


def regressor(name: str, seed: int) -> Any:
    """A fresh regressor of scikit-learn; `ConfigError` with the closest name where there is none."""
    known = _regressors()
    short = name.rsplit(".", 1)[-1]
    if short not in known or (short != name and not name.startswith("sklearn.")):
        near = closest(short, ["lightgbm", *known])
        raise ConfigError(f"boosted: no regressor {name!r}{near}. It is lightgbm or one of {', '.join(known)}")
    needed = [p for p in inspect.signature(known[short]).parameters.values() if p.default is p.empty and p.kind < 2]
    if needed:
        raise ConfigError(f"boosted: {short} needs {needed[0].name!r} and can't be made from its name alone")
    model = known[short]()
    return model.set_params(random_state=seed) if "random_state" in model.get_params() else model
