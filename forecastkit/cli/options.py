"""Flags that mean the same thing in every command, packed into one value for the function behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forecastkit.errors import ConfigError, closest

if TYPE_CHECKING:
    from forecastkit.data.panel import Panel
    from forecastkit.evaluation.conformal import Conformal
    from forecastkit.forecaster import Forecaster

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Table:
    """Which columns of the table play which role."""

    id: str
    time: str
    target: str
    freq: str | None
    known: tuple[str, ...]
    past: tuple[str, ...]
    static: tuple[str, ...]
    available: str | None

    def names(self) -> dict[str, str | None]:
        """What the columns are called, for a later command to find them again."""
        return {"id": self.id, "time": self.time, "target": self.target, "available": self.available}

    def read(self, source: str) -> Panel:
        from forecastkit.data import datasets
        from forecastkit.data.io import read

        own = datasets.file(source.removeprefix("dataset:")) if source.startswith("dataset:") else None
        panel = read(own or source, **vars(self))
        if own is not None or not source.startswith("dataset:"):
            return panel
        asked = [f.name for f in fields(self) if getattr(self, f.name) != DEFAULTS[f.name]]
        if asked:
            raise ConfigError(f"a named data set has its columns and frequency already: leave out --{asked[0]}")
        return panel


DEFAULTS: dict[str, Any] = {
    "id": "unique_id",
    "time": "ds",
    "target": "y",
    "freq": None,
    "known": (),
    "past": (),
    "static": (),
    "available": None,
}


@dataclass(frozen=True)
class Making:
    """What all models are made with."""

    season: int | None
    seed: int
    device: str | None

    def recipe(self, text: str, panel: Panel) -> Forecaster:
        from forecastkit import models

        return models.create(text, season=self.season or panel.season, seed=self.seed, device=self.device)


def packed(into: type[Any], name: str, *options: Any) -> Decorator:
    """A decorator that adds `options` to a command and hands them over as one `into` value under `name`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(**values: Any) -> Any:
            values[name] = into(**{f.name: values.pop(f.name) for f in fields(into) if f.name in values})
            return function(**values)

        for option in reversed(options):
            call = option(call)
        return call

    return decorate


def _multiple(flag: str, text: str) -> Any:
    return click.option(flag, multiple=True, metavar="NAME", help=text + " Repeatable.")


def _one_id(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> str:
    if len(values) > 1:
        raise ConfigError(
            f"one column names the series, not {len(values)}: join {' and '.join(values)} into one column first"
        )
    return values[0] if values else DEFAULTS["id"]


table_options = packed(
    Table,
    "table",
    click.option(
        "--id",
        multiple=True,
        callback=_one_id,
        show_default="unique_id",
        metavar="NAME",
        help="Column that names the series.",
    ),
    click.option("--time", default="ds", show_default=True, metavar="NAME", help="Column of period starts."),
    click.option("--target", default="y", show_default=True, metavar="NAME", help="Column of demand."),
    click.option("--freq", metavar="ALIAS", help="pandas frequency (h, D, W, MS …); inferred when left out."),
    _multiple("--known", "Covariate that is known ahead (price plan, promotion)."),
    _multiple("--past", "Covariate that is seen only afterwards (footfall)."),
    _multiple("--static", "Trait of a series (brand, store type)."),
    click.option("--available", metavar="NAME", help="Column that is 0 where the item could not be sold."),
)

making_options = packed(
    Making,
    "making",
    click.option("--season", type=click.IntRange(1), help="Season length in periods; the frequency's when left out."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of models that draw numbers."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where networks run."),
)


class Levels(click.ParamType):
    """Probabilities in one word: 0.1,0.5,0.9."""

    name = "levels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, (tuple, list)):
            return tuple(map(float, value))
        try:
            levels = tuple(float(part) for part in str(value).split(",") if part)
        except ValueError:
            self.fail(f"{value!r} is no list of probabilities such as 0.1,0.5,0.9", param, ctx)
        if not all(0 < level < 1 for level in levels):
            self.fail(f"levels lie between 0 and 1, {value!r} does not: write 0.9 for 90 %", param, ctx)
        return levels


class Intervals(click.ParamType):
    """How intervals are made, in the form of a model's options: group=demand_class,decay=0.9."""

    name = "conformal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Conformal:
        from forecastkit import recipes
        from forecastkit.evaluation.conformal import Conformal

        return recipes.build(Conformal, recipes.parse(f"{self.name}:{value}")[1])


class Refit(click.ParamType):
    """always, never, or every so many windows."""

    name = "always|never|K"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        words = {"always": 1, "never": 0}
        if str(value) in words:
            return words[str(value)]
        if str(value).isdigit() and int(value) > 0:
            return int(value)
        return self.fail(f"{value!r} is not always, never, or a number of windows", param, ctx)


def _load_config(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """Take the command's flags from a TOML file; what stands on the command line wins."""
    if value is None:
        return None
    import tomllib

    try:
        content = tomllib.loads(Path(value).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{value} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{value} is no TOML file: {error}") from error
    command = ctx.command
    assert ctx.parent is not None  # a command always hangs below the program
    family = getattr(ctx.parent.command, "commands", {}).values()
    section = content.get(str(command.name), {})
    if not isinstance(section, dict):
        raise ConfigError(f"{value}: {command.name} is a command, write its flags under [{command.name}]")
    chosen = {**{k: v for k, v in content.items() if not isinstance(v, dict)}, **section}
    known = {flag.lstrip("-"): str(p.name) for p in command.params for flag in p.opts}
    others = {flag.lstrip("-") for member in family for p in member.params for flag in p.opts}
    for key in chosen:
        if key.replace("_", "-") not in others:
            raise ConfigError(f"{value}: {command.name} has no option {key!r}{closest(key, known)}")
    # One file may serve several commands: a flag of another one is passed over.
    names = {key: known.get(key.replace("_", "-")) for key in chosen}
    many = {str(p.name) for p in command.params if getattr(p, "multiple", False)}
    values = {name: chosen[key] for key, name in names.items() if name is not None}
    ctx.default_map = {n: [v] if n in many and not isinstance(v, list) else v for n, v in values.items()}
    return value


config_option = click.option(
    "--config", metavar="FILE.toml", is_eager=True, expose_value=False, callback=_load_config,
    help="Take flags from a file: `horizon = 28`, `model = [\"gru\"]`, or under the command's name.",
)  # fmt: skip


def _cores() -> int:
    from forecastkit.execution import cores

    return cores()


json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable result on stdout.")
levels_option = click.option(
    "--levels", type=Levels(), default="0.1,0.5,0.9", show_default=True, help="Quantiles, as probabilities."
)
jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    default=_cores,
    show_default="all cores",
    help="Processes, or threads of compiled models.",
)
strict_option = click.option("--strict", is_flag=True, help="Make a series that fails an error (exit 5).")
