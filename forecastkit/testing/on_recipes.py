"""Checks of a recipe: that it is a value, and can be written down."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

from forecastkit import recipes
from forecastkit.errors import ConfigError
from forecastkit.forecaster import ROLES, Forecaster
from forecastkit.testing.bench import ContractError, keep


def check_recipe_is_frozen(recipe: Forecaster) -> None:
    """No field of a recipe can be set."""
    for name in [f.name for f in dataclasses.fields(recipe)] or ["anything"]:
        try:
            setattr(recipe, name, getattr(recipe, name, None))
        except dataclasses.FrozenInstanceError:
            continue
        keep(recipe, "a recipe is frozen: @dataclass(frozen=True, kw_only=True)", False, f"{name} could be set")


def check_recipe_equals_its_copy(recipe: Forecaster) -> None:
    """A copy, however made, is equal and has the same hash."""
    copies = {
        "copy": copy.deepcopy(recipe),
        "dataclasses.replace": dataclasses.replace(recipe),
        "pickle": pickle.loads(pickle.dumps(recipe)),
    }
    for how, other in copies.items():
        keep(recipe, "a recipe equals its copies", other == recipe, f"{other!r} by {how}")
        keep(recipe, "equal recipes have one hash", _hash(other) == _hash(recipe) is not None, f"{how}'s hash differs")


def _hash(recipe: Forecaster) -> int | None:
    return hash(recipe) if type(recipe).__hash__ is not None else None


def check_repr_evaluates_back(recipe: Forecaster) -> None:
    """`eval(repr(recipe)) == recipe`, with the names of the model's module."""
    scope = vars(sys.modules[type(recipe).__module__]) | _classes(recipe)
    try:
        again = eval(repr(recipe), dict(scope))
    except (SyntaxError, NameError, TypeError, ValueError) as error:
        again = error
    keep(recipe, "a recipe's repr evaluates back to it", again == recipe, repr(again))


def _classes(value: Any) -> dict[str, type]:
    """The dataclasses that a recipe is made of, by name."""
    own = {type(value).__name__: type(value)}
    nested = [getattr(value, f.name) for f in dataclasses.fields(value)]
    return own | {name: cls for v in nested if dataclasses.is_dataclass(v) for name, cls in _classes(v).items()}


def check_recipe_can_be_written_down(recipe: Forecaster) -> None:
    """A recipe survives the command line's spelling and JSON; a model's file and `-m` depend on it."""
    promise = "a recipe's fields are plain, so that it can be typed and stored"
    label = recipes.label(recipe)
    try:
        typed = recipes.build(type(recipe), recipes.parse(label)[1])
        stored = recipes.build(type(recipe), json.loads(json.dumps(dataclasses.asdict(recipe))))
    except (ConfigError, TypeError) as error:
        raise ContractError(recipe, promise, f"{label!r}: {error}") from error
    keep(recipe, promise, typed == recipe, f"{label!r} gives {typed!r}")
    keep(recipe, promise, stored == recipe, f"its JSON gives {stored!r}")


def check_name_can_be_typed(recipe: Forecaster) -> None:
    """The name is one lower-case word, and that of the file for a model of this package."""
    name, module = recipe.name, type(recipe).__module__
    keep(recipe, "a model's name is one lower-case word", name.isidentifier() and name.islower(), repr(name))
    own = module.startswith("forecastkit.models.")
    keep(recipe, "a model is named after its file", not own or module.endswith(f".{name}"), f"{name} in {module}")


class _Corner:
    """A trial at one corner of the search space: the first or the last of everything."""

    def __init__(self, last: bool) -> None:
        self.last = last

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return low + (high - low) // step * step if self.last else low

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return high if self.last else low

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[-1 if self.last else 0]


def check_suggest_gives_recipes(recipe: Forecaster) -> None:
    """A tuner gets recipes of this model from all over the search space."""
    for last in (False, True):
        found = type(recipe).suggest(_Corner(last))
        keep(recipe, "suggest gives recipes of its model", type(found) is type(recipe), repr(found))


class _Defaults(_Corner):
    """A trial that answers each question with the recipe's own option of that name."""

    def __init__(self, recipe: Forecaster) -> None:
        self.recipe = recipe

    def _own(self, name: str, allowed: Callable[[Any], bool]) -> Any:
        promise = "a parameter of suggest is called as the option is written"
        try:
            value = recipes.option(self.recipe, name)
        except (AttributeError, IndexError, TypeError) as error:
            raise ContractError(self.recipe, promise, f"{name!r} is none") from error
        keep(self.recipe, "the search space holds the defaults", allowed(value), f"{name}={value!r} is outside")
        return value

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._own(name, lambda v: v is not None and low <= v <= high and (v - low) % step == 0))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self._own(name, lambda v: v is not None and low <= v <= high))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._own(name, lambda v: v in list(choices))


def check_search_begins_with_the_defaults(recipe: Forecaster) -> None:
    """A tuner's first trial is the recipe without options: every parameter names an option and allows its default."""
    default = type(recipe)()
    found = type(recipe).suggest(_Defaults(default))
    if type(found) is not type(recipe):
        return  # the check before says so
    keep(recipe, "suggest with every option at its default gives the defaults", found == default, repr(found))


def check_recipe_does_not_predict(recipe: Forecaster) -> None:
    """`predict` on a recipe says that `fit` returns the fitted model."""
    try:
        seen = repr(recipe.predict(1))
    except TypeError as error:
        seen = str(error)
        if "fit" in seen:
            return
    keep(recipe, "predict on a recipe is a TypeError that speaks of fit", False, seen)


def check_class_is_declared(recipe: Forecaster) -> None:
    """A model's class is final, and says in known words which covariates it uses."""
    cls = type(recipe)
    keep(recipe, "a model's class is marked @final", getattr(cls, "__final__", False), "it is not")
    keep(recipe, f"uses names roles of {sorted(ROLES)}", cls.uses <= ROLES, f"{sorted(cls.uses)}")
