"""The search space of a recipe: what its model suggests, around what the person has written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from forecastkit import recipes
from forecastkit.errors import ConfigError
from forecastkit.forecaster import Forecaster, Trial


@dataclass(frozen=True)
class Space:
    """Recipes like `base`: options that differ from the model's defaults stay as they are, the others are searched.

    >>> from forecastkit.models import create
    >>> Space(create("theta:method=additive")).defaults
    {'theta': 2.0}
    """

    base: Forecaster

    @cached_property
    def _asked(self) -> dict[str, Any]:
        """Every parameter that the model asks for, and the base's value of it."""
        listener = _Answers(self.base, None, ())
        type(self.base).suggest(listener)
        return listener.given

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The parameters that are searched, at the base's values; none for a model without a search space."""
        plain = type(self.base)()
        return {name: value for name, value in self._asked.items() if value == recipes.option(plain, name)}

    def recipe(self, trial: Trial) -> Forecaster:
        """The recipe of a trial."""
        answers = _Answers(self.base, trial, self.defaults)
        found: Forecaster = _over(self.base, type(self.base).suggest(answers), type(self.base)())
        return found


class _Answers:
    """A trial that asks another one for the `free` parameters alone, and answers the rest from a recipe."""

    def __init__(self, base: Forecaster, trial: Trial | None, free: Sequence[str] | dict[str, Any]) -> None:
        self.base, self.trial, self.free = base, trial, free
        self.given: dict[str, Any] = {}

    def _own(self, name: str) -> Any:
        try:
            self.given[name] = recipes.option(self.base, name)
        except (AttributeError, IndexError, TypeError) as error:
            raise ConfigError(
                f"the search space of {self.base.name} names {name!r}, which is no option of it"
            ) from error
        return self.given[name]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Any:
        if self.trial is None or name not in self.free:
            return self._own(name)
        return self.trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        if self.trial is None or name not in self.free:
            return self._own(name)
        return float(f"{self.trial.suggest_float(name, low, high, log=log):.4g}")  # to be read and typed again

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if self.trial is None or name not in self.free:
            return self._own(name)
        return self.trial.suggest_categorical(name, choices)


def _over(base: Any, suggested: Any, plain: Any) -> Any:
    """What is suggested where it differs from the plain defaults, else what stands in the base."""
    chosen = {}
    for field in (f.name for f in dataclasses.fields(base) if f.init):
        own, new, default = (getattr(value, field) for value in (base, suggested, plain))
        if dataclasses.is_dataclass(new):
            chosen[field] = _over(own, new, default)
        elif new != default:
            chosen[field] = new
    return dataclasses.replace(base, **chosen)
