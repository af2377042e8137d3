"""One file a model; the file's name is the model's name, and nothing else need be edited to add one.

`available()` lists the names and imports nothing; `load(name)` imports that one file. Packages outside join through
the entry-point group `forecastkit.models`, whose entries point at a `Forecaster` class.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from forecastkit import recipes
from forecastkit.errors import StoreError, UnknownModelError
from forecastkit.forecaster import Fitted, Forecaster

_GROUP = "forecastkit.models"
_SHARED = ("season", "seed", "device")


def available() -> tuple[str, ...]:
    """Names of all models, in alphabetical order; imports none of them."""
    return tuple(sorted({*_own(), *_foreign()}))


def load(name: str) -> type[Forecaster]:
    """The recipe class of a model. Raises `UnknownModelError`, or `MissingExtraError` naming what to install."""
    if name in _own():
        module = importlib.import_module(f"{__name__}.{name}")
        return next(cls for _, cls in inspect.getmembers(module, _is_recipe) if cls.name == name)
    if name in _foreign():
        cls: type[Forecaster] = _foreign()[name].load()
        return cls
    raise UnknownModelError(name, available())


def create(text: str, **options: Any) -> Forecaster:
    """A recipe from its text, `create("gru:hidden=64,layers=1")`, or from options, `create("gru", hidden=64)`.

    season, seed and device are for many models at once: those that have no such field pass over them, and what the
    text says counts more.
    """
    name, written = recipes.parse(text)
    cls = load(name)
    own = {f.name for f in fields(cls)}
    shared = {key for key in _SHARED if key not in own or options.get(key) is None}
    return recipes.build(cls, {key: value for key, value in options.items() if key not in shared} | written)


def restore(folder: Any) -> Fitted:
    """A fitted model from the folder that `Fitted.save` wrote. Raises `StoreError` naming the file that is damaged."""
    from forecastkit import store

    saved = store.read(folder)
    cls = load(saved.model)
    try:
        recipe = recipes.build(cls, saved.recipe)
        return cls.fitted_type.from_state(saved.state, recipe=recipe, **saved.common)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{folder}: the parts of this {saved.model} don't fit together: {error}") from error


def summary(name: str) -> str:
    """The first line of what a model says of itself, read without importing it."""
    if name in _own():
        source = (Path(__path__[0]) / f"{name}.py").read_text("utf-8")
        first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        return first.removeprefix(f"`{name}`: ")
    return (load(name).__doc__ or "").partition("\n")[0]


@lru_cache(maxsize=1)
def _own() -> frozenset[str]:
    return frozenset(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


@lru_cache(maxsize=1)
def _foreign() -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_GROUP)}


def _is_recipe(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Forecaster) and not inspect.isabstract(value)
