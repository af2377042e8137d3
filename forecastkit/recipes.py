"""Recipes as text: from `gru:hidden=64,training.steps=500` or JSON to a dataclass, and back.

Values are read by the fields' types, so that a misspelt name or a word where a number is needed is refused here, with
the closest name, before anything is fitted.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from forecastkit.errors import ConfigError, counted, nearest

T = TypeVar("T")

_COMMA = re.compile(r",(?![^(\[]*[)\]])")  # a comma outside brackets


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """A model's name and its options as raw values, dotted names nested.

    >>> parse("sarima:order=(1,0,1),season=12")
    ('sarima', {'order': (1, 0, 1), 'season': 12})
    """
    name, _, rest = text.strip().partition(":")
    options: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in _COMMA.split(rest))):
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"{item!r} in {text!r} is no option: write it as name=value")
        *path, last = key.strip().split(".")
        place = options
        for step in path:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{step!r} has a value and options in {text!r}: give it one or the other")
        place[last] = _literal(value.strip())
    return name.strip(), options


def _literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # a plain word


def build(cls: type[T], options: Mapping[str, Any], *, where: str = "") -> T:
    """An instance of the dataclass `cls` from raw options; `ConfigError` for a name or value that doesn't fit."""
    where = where or str(getattr(cls, "name", cls.__name__))
    known = _options(cls)
    for name in options:
        if name not in known:
            raise ConfigError(
                f"{where} has no option {name!r}{_meant(name, known) or '.'} Options: {', '.join(known) or 'none'}"
            )
    if missing := [n for n in known if n not in options and _required(cls, n)]:
        raise ConfigError(f"{where} needs {', '.join(missing)}")
    return cls(**{name: _fit(value, known[name], f"{where}: {name}") for name, value in options.items()})


def _types(cls: Any) -> Mapping[str, Any]:
    """The types of what the dataclass `cls` is made from."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


_options: Callable[[Any], Mapping[str, Any]] = lru_cache(_types)  # reading them takes a millisecond


def _meant(name: str, hints: Mapping[str, Any]) -> str:
    """The words for the closest option, also of those that stand in a field which is a dataclass itself."""
    paths = _paths(hints)
    found = nearest(name, paths)
    return "" if found is None else f", did you mean {paths[found]!r}?"


def _paths(hints: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Each option's own name and how it is written; where two have one name the outer one counts."""
    found = {name: prefix + name for name in hints}
    for name, hint in hints.items():
        if dataclasses.is_dataclass(hint):
            found = _paths(_options(hint), f"{prefix}{name}.") | found
    return found


def _required(cls: type[Any], name: str) -> bool:
    field = cls.__dataclass_fields__[name]
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _fit(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type that a field declares."""
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(typing.cast(type[Any], hint), value, where=where)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _one_of(value, typing.get_args(hint), where)
    if typing.get_origin(hint) is tuple:
        return _tuple(value, typing.get_args(hint), where)
    if typing.get_origin(hint) is typing.Literal:
        if value in typing.get_args(hint):
            return value
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif hint is Any or (isinstance(value, hint) and not (hint in (int, float) and isinstance(value, bool))):
        return value
    raise ConfigError(f"{where} takes {_words(hint)}, not {value!r}")


def _one_of(value: Any, hints: tuple[Any, ...], where: str) -> Any:
    for hint in sorted(hints, key=lambda h: h is float):  # a whole number stays whole where both are allowed
        try:
            return _fit(value, hint, where)
        except ConfigError:
            continue
    raise ConfigError(f"{where} takes {' or '.join(_words(h) for h in hints)}, not {value!r}")


def _tuple(value: Any, hints: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if hints[-1:] == (Ellipsis,):
        return tuple(_fit(v, hints[0], where) for v in values)
    if len(values) != len(hints):
        raise ConfigError(f"{where} takes {counted(len(hints), 'value')}, not {len(values)}: {value!r}")
    return tuple(_fit(v, h, where) for v, h in zip(values, hints, strict=True))


def _words(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", type(None): "none"}
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(str, typing.get_args(hint)))
    return names.get(hint, str(hint).replace("typing.", ""))


def option(recipe: Any, path: str) -> Any:
    """The value of an option by its dotted name: `training.lr`, or `order.0` for the first of a tuple."""
    value = recipe
    for step in path.split("."):
        value = value[int(step)] if step.isdigit() else getattr(value, step)
    return value


def label(recipe: Any) -> str:
    """The shortest text that `parse` and `build` turn into `recipe` again: only what differs from the defaults."""
    parts = list(_differences(recipe))
    return recipe.name + (":" + ",".join(parts) if parts else "")


def _differences(value: Any, prefix: str = "") -> typing.Iterator[str]:
    for f in dataclasses.fields(value):
        if not f.init:
            continue
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        own = getattr(value, f.name)
        if dataclasses.is_dataclass(own):
            yield from _differences(own, f"{prefix}{f.name}.")
        elif own != default:
            text = str(own).replace(" ", "") if isinstance(own, tuple) else own
            yield f"{prefix}{f.name}={text}"
