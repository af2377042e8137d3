"""forecastkit models: the forecasters there are, and what each can be told."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import click

from forecastkit.cli import console, options


@click.command("models", context_settings={"help_option_names": ["--help"]})
@click.argument("name", required=False)
@options.json_option
def command(name: str | None, as_json: bool) -> None:
    """List the models, or the options of the one called NAME.

    \b
    Example: forecastkit models seasonal_naive
    """
    from forecastkit import models

    if name is None:
        rows = [{"model": model, "what": models.summary(model)} for model in models.available()]
        _print(rows, as_json)
        return
    cls = models.load(name)
    rows = list(_options(cls))
    if as_json:
        traits = {"uses": sorted(cls.uses), "probabilistic": cls.probabilistic, "pooled": cls.pooled}
        console.print_json({"model": name, "what": models.summary(name), **traits, "options": rows})
        return
    console.say(f"{name}: {models.summary(name)}")
    kind = "one pooled model" if cls.pooled else "one model a series"
    console.say(f"covariates: {', '.join(sorted(cls.uses)) or 'none'}; {kind}")
    _print(rows, as_json)


def _options(cls: Any, prefix: str = "") -> Any:
    """Name, default and type of each field, nested ones with a dot."""
    instance = cls()
    for field in fields(cls):
        value = getattr(instance, field.name)
        if is_dataclass(value):
            yield from _options(type(value), f"{prefix}{field.name}.")
        else:
            yield {"option": prefix + field.name, "default": _shown(value), "type": str(field.type)}


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _print(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        console.print_json(rows)
    elif rows:
        console.print_table(list(rows[0]), [[_word(v) for v in row.values()] for row in rows])


def _word(value: Any) -> str:
    return "none" if value is None else str(value)
