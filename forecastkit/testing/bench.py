"""What the checks share: how a broken promise is reported, fits that several checks look at, and a fresh process."""

from __future__ import annotations

import atexit
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from forecastkit import models, recipes, store
from forecastkit.data.panel import Floats, Panel
from forecastkit.forecaster import Fitted, Forecaster
from forecastkit.testing import panels

HORIZON = 28  # what is asked for
TRAINED = 14  # what `fit` is told, so that longer forecasts are checked too
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


class ContractError(AssertionError):
    """A forecaster broke a promise; carries `model`, the `promise` and what was `seen`."""

    def __init__(self, recipe: Forecaster, promise: str, seen: str) -> None:
        super().__init__(f"{recipe!r} breaks the contract: {promise}. Seen: {seen}")
        self.model, self.promise, self.seen = type(recipe).__name__, promise, seen


def keep(recipe: Forecaster, promise: str, kept: bool | np.bool_, seen: str) -> None:
    """`ContractError` unless the promise was kept."""
    if not kept:
        raise ContractError(recipe, promise, seen)


def tolerance(recipe: Forecaster) -> float:
    """Relative: one model for all series may be a network in single precision, whose sums depend on their order."""
    return 1e-5 if recipe.pooled else 1e-9


def keep_same(recipe: Forecaster, promise: str, one: NDArray[Any], other: NDArray[Any]) -> None:
    """`ContractError` unless two forecasts [N, H] or [N, H, Q] are equal up to rounding, series by series."""
    keep(recipe, promise, one.shape == other.shape, f"shapes {one.shape} and {other.shape}")
    size = np.maximum(np.abs(one), np.abs(other)).reshape(len(one), -1).max(axis=1, initial=0.0)  # [N]
    apart = np.abs(one - other).reshape(len(one), -1).max(axis=1, initial=0.0)
    worst = int(np.argmax(apart - tolerance(recipe) * size))
    seen = f"forecasts of {size[worst]:.6g} that differ by {apart[worst]:.3g}"
    keep(recipe, promise, (apart <= tolerance(recipe) * size).all(), seen)


def keep_sensible(recipe: Forecaster, promise: str, mean: Floats, history: Panel) -> None:
    """`ContractError` unless each forecast is in the range of its history, widened on both sides.

    By that range, or by the level of a history that has none.
    """
    for i, name in enumerate(history.ids):
        low, high = np.nanmin(history.series(i)), np.nanmax(history.series(i))
        reach = (high - low) or abs(high)
        inside = (mean[i] >= low - reach) & (mean[i] <= high + reach)
        seen = f"series {name!r} of {low:.4g} to {high:.4g} is forecast as {mean[i].min():.4g} to {mean[i].max():.4g}"
        keep(recipe, promise, inside.all(), seen)


@dataclass(frozen=True)
class _Fit:
    """One fit; two recipes are the same when they are written alike, whatever their own idea of equality."""

    cls: type[Forecaster]
    text: str
    kind: str
    recipe: Forecaster = field(compare=False)


def fitted(recipe: Forecaster, kind: str = "shop") -> Fitted:
    """The recipe fitted on one of `panels.KINDS`; done once, for all checks."""
    return _fitted(_Fit(type(recipe), repr(recipe), kind, recipe))


@dataclass(frozen=True)
class Second:
    """What a second fit on the shop gave, and left behind."""

    mean: Floats  # [N, H]
    panel: Panel
    moved: tuple[str, ...]  # global random generators whose state has changed


def second(recipe: Forecaster) -> Second:
    """Fitted on the shop and asked for a forecast once more, watched; done once, for all checks."""
    return _second(_Fit(type(recipe), repr(recipe), "shop", recipe))


@lru_cache(maxsize=4)
def _second(fit: _Fit) -> Second:
    panel, before = panels.shop(), _generators()
    mean = fit.recipe.fit(panel, horizon=TRAINED).predict(HORIZON, levels=levels_of(fit.recipe)).mean
    moved = tuple(name for name, state in _generators().items() if name in before and state != before[name])
    return Second(mean, panel, moved)


def _generators() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - only looked at
    states: dict[str, Any] = {"random": random.getstate(), "numpy": (kind, np.asarray(keys).tobytes(), *rest)}
    if torch := sys.modules.get("torch"):
        states["torch"] = torch.get_rng_state().numpy().tobytes()
    return states


@lru_cache(maxsize=32)
def _fitted(fit: _Fit) -> Fitted:
    return fit.recipe.fit(panels.KINDS[fit.kind](), horizon=TRAINED)


def means(recipe: Forecaster, panel: Panel, horizon: int = HORIZON) -> Floats:
    """Fit and forecast; [N, H]."""
    return recipe.fit(panel, horizon=TRAINED).predict(horizon).mean


def levels_of(recipe: Forecaster) -> tuple[float, ...]:
    return LEVELS if recipe.probabilistic else ()


def from_elsewhere(fitted: Fitted, folder: Path, levels: Sequence[float]) -> tuple[Floats, Floats]:
    """Save, load in a process that has fitted nothing, forecast there; mean and quantiles."""
    store.save(fitted, folder / "model")
    cls, answer = type(fitted.recipe), folder / "answer.npz"
    question = [str(folder / "model"), cls.__module__, cls.__qualname__, str(answer), list(levels)]
    if (reply := _ask(json.dumps(question))) != "done":
        raise ContractError(fitted.recipe, "a saved model can be loaded in another process", reply or "it ended")
    with np.load(answer) as arrays:
        return arrays["mean"], arrays["quantiles"]


def _ask(question: str) -> str:
    if _elsewhere().poll() is not None:  # the last model took it down
        _elsewhere.cache_clear()
    process = _elsewhere()
    to, back = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
    to.write(question + "\n")
    to.flush()
    return back.readline().strip()


@lru_cache(maxsize=1)
def _elsewhere() -> subprocess.Popen[str]:
    """One process for all models, since importing their libraries takes longer than the checks."""
    code = (
        "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from forecastkit.testing import bench; bench.serve()"
    )
    command = [sys.executable, "-c", code, json.dumps([str(Path(entry).absolute()) for entry in sys.path])]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
    atexit.register(process.communicate)  # closes its input, which ends it
    return process


def serve() -> None:
    """Answer the questions of `from_elsewhere`, a line each, until the input ends."""
    replies, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not answer
    for line in sys.stdin:
        folder, module, name, answer, levels = json.loads(line)
        try:
            forecast = loaded(folder, getattr(import_module(module), name)).predict(HORIZON, levels=levels)
            np.savez(answer, mean=forecast.mean, quantiles=forecast.quantiles)
            replies.write("done\n")
        except (AttributeError, ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            replies.write(f"{type(error).__name__}: {error}".replace("\n", " ") + "\n")
        replies.flush()


def loaded(folder: str | Path, cls: type[Forecaster]) -> Fitted:
    """By the model's name where it has one here, by its class for one that is not registered."""
    if cls.name in models.available() and models.load(cls.name) is cls:
        return models.restore(folder)
    saved = store.read(folder)
    return cls.fitted_type.from_state(saved.state, recipe=recipes.build(cls, saved.recipe), **saved.common)
