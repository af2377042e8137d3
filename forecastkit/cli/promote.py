"""forecastkit promote: the challenger becomes champion if it passes the gate."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forecastkit.cli import console, options
from forecastkit.cli.backtest import sampled
from forecastkit.cli.options import Table
from forecastkit.cli.registry import fetched, name_option, registry_at
from forecastkit.cli.tracking import tracking_option, user
from forecastkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from forecastkit.data.panel import Panel
    from forecastkit.evaluation.backtesting import Seeing
    from forecastkit.evaluation.gate import Criterion, Gate
    from forecastkit.evaluation.report import Report
    from forecastkit.evaluation.splits import Plan
    from forecastkit.forecaster import Fitted
    from forecastkit.tracking.registry import Registry, Version

MISSED = 1
_ROLES = ("known", "past", "static")
_WINDOWS = 2  # to judge on, where neither the gate nor the model says how many


@dataclass(frozen=True)
class Contender:
    """A version and its model, which says which columns it was fitted with; `table` what else they were called."""

    version: Version
    fitted: Fitted

    @property
    def table(self) -> dict[str, Any]:
        return options.DEFAULTS | json.loads(self.version.tags.get("forecastkit.columns", "{}"))

    @property
    def columns(self) -> dict[str, str]:
        """The role of each covariate."""
        return {name: role for role in _ROLES for name in getattr(self.fitted.history, role).names}

    @property
    def needed(self) -> dict[str, str]:
        """Those without which the model can't be fitted again."""
        return {name: role for name, role in self.columns.items() if role in self.fitted.recipe.uses}

    @property
    def available(self) -> str | None:
        """The column that says what could be sold, where the model was fitted with one."""
        return self.table.get("available") if self.fitted.history.available is not None else None

    def entry(self, panel: Panel, source: str) -> Seeing:
        """The recipe as it was tuned, with its own columns and no other's."""
        from forecastkit.evaluation.backtesting import Seeing

        lacking = [name for name, role in self.needed.items() if name not in getattr(panel, role).names]
        if lacking:
            raise ConfigError(
                f"version {self.version.number} was fitted with {', '.join(lacking)}, which {source} does not have: "
                "give demand that has it with --data"
            )
        return Seeing(self.fitted.recipe, tuple(self.columns), self.fitted.history.available is not None)


@dataclass(frozen=True)
class Case:
    """What is judged: two versions on the same data, and what the gate found."""

    challenger: Version
    champion: Version | None
    panel: Panel
    criteria: list[Criterion]

    @property
    def passed(self) -> bool:
        return all(criterion.passed for criterion in self.criteria)


@click.command("promote", context_settings={"help_option_names": ["--help"]})
@name_option
@click.option("--gate", "file", required=True, metavar="FILE.toml", help="What it must reach.")
@click.option(
    "--data", metavar="DATA", help="Demand with newer periods to judge on, all history; else what it was tuned on."
)
@click.option("--version", "which", default="challenger", show_default=True, help="The version that asks.")
@click.option("--dry-run", is_flag=True, help="Judge, and change nothing.")
@options.jobs_option
@tracking_option
@options.json_option
def command(name: str, file: str, data: str | None, which: str, dry_run: bool, **flags: Any) -> int:
    """Promote the challenger if it passes the gate.

    Challenger and champion are backtested on the same windows, and held against the gate. Exit code 1 when it fails.
    The decision, its evidence and who asked are written to the registry as tags.

    \b
    Example: forecastkit promote --name demo --gate gate.toml --dry-run
    """
    from forecastkit.evaluation.gate import Gate

    gate = Gate.read(file)
    registry = registry_at(flags["tracking"])
    case = _case(registry, name, which, gate, data, flags["jobs"])
    if not dry_run:
        registry.tag(name, case.challenger.number, _evidence(case, file))
        if case.passed:
            instead_of = case.champion.number if case.champion else None
            registry.promote(name, case.challenger.number, instead_of=instead_of)
    _show(case, name, dry_run, flags["as_json"])
    return 0 if case.passed else MISSED


def _case(registry: Registry, name: str, which: str, gate: Gate, data: str | None, jobs: int) -> Case:
    from forecastkit.evaluation.gate import judge

    challenger = registry.version(name, which)
    champion = registry.version(name, "champion") if "champion" in registry.aliases(name) else None
    if champion is not None and champion.number == challenger.number:
        raise ConfigError(f"version {challenger.number} of {name!r} is champion already")
    sides = {"challenger": Contender(challenger, fetched(registry, challenger))}
    if champion is not None:
        sides["champion"] = Contender(champion, fetched(registry, champion))
    source = data or _source(challenger)
    panel = _panel([*sides.values()], source, again=data is None)
    _check_newer(panel, sides["challenger"], source)
    gate.check(sides, panel.static.names)
    plan = _plan(gate, challenger)
    entries = {side: who.entry(panel, source) for side, who in sides.items()}
    report = _report(panel, entries, plan, gate.levels, jobs)
    return Case(challenger, champion, panel, judge(gate, report, _p95_ms(gate, sides["challenger"].fitted, plan)))


def _source(version: Version) -> str:
    source = version.tags.get("forecastkit.source")
    if source is None or source == "-":
        raise ConfigError(f"what version {version.number} was made from can't be read again: give demand with --data")
    return source


def _panel(sides: list[Contender], source: str, *, again: bool) -> Panel:
    """Demand with the columns of all sides; `again` what the first was tuned on, with its sample of series."""
    panel = _table(sides, source).read(source)
    sample, seed = json.loads(sides[0].version.tags.get("forecastkit.sample", "[null, 0]"))
    return sampled(panel, sample, seed) if again else panel


def _check_newer(panel: Panel, challenger: Contender, source: str) -> None:
    """Refuse data that ends before what the challenger was tuned on: its search has seen the windows."""
    import numpy as np

    history = challenger.fitted.history
    if panel.calendar == history.calendar and panel.ends.max() < history.ends.max():
        last, known = history.calendar.texts(np.array([panel.ends.max(), history.ends.max()]))
        raise DataError(
            f"{source} ends at {last}, version {challenger.version.number} was made from demand up to {known}: its own "
            "search may have seen those windows; give newer demand"
        )


def _table(sides: list[Contender], source: str) -> Table:
    """The columns of all sides, called as those of the first; a packaged data set knows its own."""
    from forecastkit.data import datasets

    if source.startswith("dataset:") and datasets.file(source.removeprefix("dataset:")) is None:
        return Table(**options.DEFAULTS)
    names = {name: sides[0].table[name] for name in ("id", "time", "target", "freq")}
    played = {names[role]: role for role in ("id", "time", "target")}
    # All that the first was tuned with, as the gate may ask for a segment that its model ignores.
    for roles in (sides[0].columns, *(side.needed for side in sides[1:])):
        for name, role in roles.items():
            if played.setdefault(name, role) != role:
                raise _no_common(sides, f"{name!r} is {played[name]} to the first and {role} to the second")
    found: dict[str, Any] = {role: tuple(name for name, other in played.items() if other == role) for role in _ROLES}
    return Table(**names, **found, available=_available(sides))


def _available(sides: list[Contender]) -> str | None:
    flags = [*dict.fromkeys(side.available for side in sides if side.available)]
    if len(flags) > 1:
        raise _no_common(sides, f"{flags[0]!r} says what could be sold to the first and {flags[1]!r} to the second")
    return flags[0] if flags else None


def _no_common(sides: list[Contender], why: str) -> ConfigError:
    both = " and ".join(str(side.version.number) for side in sides)
    return ConfigError(f"no table suits versions {both}, column {why}: tune one of them on the columns of the other")


def _plan(gate: Gate, version: Version) -> Plan:
    """The gate's windows, else those that the search of the challenger never saw."""
    from forecastkit.evaluation.splits import Plan

    made_for = json.loads(version.tags.get("forecastkit.plan", "{}"))
    asked = {k: v for k, v in vars(gate.backtest).items() if v is not None}
    if "horizon" not in asked | made_for:
        raise ConfigError("for how many periods? Write `horizon = 28` under [backtest] into the gate")
    if gate.backtest.horizon is not None:
        made_for.pop("step", None)  # that of windows of the other horizon would leave holes, or overlap
    return Plan(**{"windows": _WINDOWS, **made_for, **asked})


def _report(panel: Panel, sides: dict[str, Seeing], plan: Plan, levels: tuple[float, ...], jobs: int) -> Report:
    from forecastkit.evaluation.backtesting import BASELINE, Run, backtest
    from forecastkit.models import create

    season = plan.season or panel.season
    entries = {**sides, "baseline": create(BASELINE, season=season)}
    with console.progress() as progress:
        return backtest(panel, entries, plan, levels=levels, run=Run(jobs=jobs, progress=progress, name="gate"))


def _p95_ms(gate: Gate, fitted: Fitted, plan: Plan) -> float | None:
    if gate.p95_ms is None:
        return None
    from forecastkit.evaluation.latency import p95_ms

    return p95_ms(fitted, plan.horizon)


def _evidence(case: Case, file: str) -> dict[str, str]:
    """Tags: the decision, who asked and when, on what, and every criterion."""
    found = {
        "forecastkit.decision": "passed the gate" if case.passed else "refused",
        "forecastkit.judged_by": user(),
        "forecastkit.judged_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "forecastkit.judged_on": case.panel.fingerprint,
        "forecastkit.judged_against": str(case.champion.number) if case.champion else "the baseline",
        "forecastkit.gate": Path(file).read_text("utf-8"),
    }
    # MLflow takes few characters in the name of a tag.
    return found | {f"gate.{re.sub(r'[^A-Za-z0-9_. -]', '_', c.name)}": str(c) for c in case.criteria}


def _show(case: Case, name: str, dry_run: bool, as_json: bool) -> None:
    against = f"version {case.champion.number}" if case.champion else "no champion, the baseline alone"
    outcome = "passes" if case.passed else "fails"
    if as_json:
        from forecastkit.evaluation.records import plain

        rows = [{k: plain(v) for k, v in vars(criterion).items()} for criterion in case.criteria]
        facts = {"name": name, "version": case.challenger.number, "passed": case.passed, "dry_run": dry_run}
        console.print_json(facts | {"champion": case.champion and case.champion.number, "criteria": rows})
    else:
        rows_ = [[c.name, c.value, c.bound, "pass" if c.passed else "fail"] for c in case.criteria]
        title = f"{name}: version {case.challenger.number} against {against}"
        console.print_table(("criterion", "number", "bound", "answer"), rows_, title=title)
    changed = "nothing is changed" if dry_run or not case.passed else "it is champion now"
    console.say(f"version {case.challenger.number} of {name!r} {outcome} the gate: {changed}")
