"""The gate before a model serves: does it create more value than it costs?

A `Gate` says what is asked, `judge` holds a backtest against it. A criterion that is not written in the gate is not
asked. Three models stand in the report: the challenger, the champion where there is one, and the baseline.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forecastkit import recipes
from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError, closest
from forecastkit.evaluation.gain import Gain, gain
from forecastkit.evaluation.metrics import COMPARABLE
from forecastkit.evaluation.report import Report
from forecastkit.evaluation.segments import THIRD

CHALLENGER, CHAMPION, BASELINE = "challenger", "champion", "baseline"
VOLUME = "volume"
_ASKING = (
    *("skill", "loss", "coverage", "bias", "segment_bias"),
    *("p95_ms", "peak_mb", "fit_s", "predict_s", "costs"),
)
_SENSIBLE = {
    "skill": (-np.inf, 1.0),
    "loss": (-np.inf, np.inf),
    "coverage": (0.0, 1.0),
    **dict.fromkeys(("bias", "segment_bias", "p95_ms", "peak_mb", "fit_s", "predict_s"), (0.0, np.inf)),
}
_TRAITS = (VOLUME, "demand_class", "volume_decile")  # that every series has


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """The windows on which a gate judges; None is what the challenger was tuned for."""

    horizon: int | None = None
    windows: int | None = None
    step: int | None = None
    gap: int | None = None


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Money for a unit forecast too much or too little, and the least that must be saved against the champion."""

    over: float
    under: float
    saved: float = 0.0

    @property
    def sensible(self) -> bool:
        """Whether all are finite, and errors cost something."""
        finite = np.isfinite((self.over, self.under, self.saved)).all()
        return bool(finite and self.over >= 0 and self.under >= 0 and self.over + self.under > 0)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a challenger must reach.

    by: the metric · skill: share by which it must be below the baseline's, at least · loss: share that the champion may
    be better by; it fails where the 95 % interval of the loss lies above that · coverage: share of periods between the
    two `levels`, lowest and highest · bias: at most, as a share of demand, either way · segment_bias: the same in each
    segment · segment: a static column, demand_class, or volume (thirds of the series, by demand before the first
    cutoff) · p95_ms, peak_mb, fit_s, predict_s: at most ·
    costs: money.
    """

    by: str = "wape"
    skill: float | None = None
    loss: float | None = 0.0
    coverage: tuple[float, float] | None = None
    levels: tuple[float, float] = (0.1, 0.9)
    bias: float | None = None
    segment_bias: float | None = None
    segment: str = VOLUME
    p95_ms: float | None = None
    peak_mb: float | None = None
    fit_s: float | None = None
    predict_s: float | None = None
    costs: Costs | None = None
    backtest: Backtest = field(default_factory=Backtest)

    def __post_init__(self) -> None:
        if self.by not in COMPARABLE:
            raise ConfigError(f"a gate can't be by {self.by!r}{closest(self.by, COMPARABLE)}: {', '.join(COMPARABLE)}")
        low, high = self.levels
        if not 0 < low < high < 1:
            raise ConfigError(f"levels are two probabilities, the lower first, such as [0.1, 0.9], not {self.levels}")
        self._check_bounds()
        if not self.asked:
            raise ConfigError(f"the gate asks nothing: write one of {', '.join(_ASKING)} into it")

    def _check_bounds(self) -> None:
        """Refuse what no model could reach, or every one."""
        for name, (least, most) in _SENSIBLE.items():
            ends = getattr(self, name)
            for value in ends if isinstance(ends, tuple) else () if ends is None else (ends,):
                if not least <= value <= most or (np.isinf(value) and name != "loss"):
                    raise ConfigError(f"the gate's {name} lies between {least:g} and {most:g}, it can't be {value:g}")
        if self.coverage is not None and not self.coverage[0] < self.coverage[1]:
            raise ConfigError(f"coverage is a share from and to, such as [0.7, 0.9], not {list(self.coverage)}")
        if self.costs is not None and not self.costs.sensible:
            raise ConfigError(f"costs are money for a unit, from 0 on and not both 0, and what is saved: {self.costs}")

    @property
    def asked(self) -> list[str]:
        """The fields that ask something."""
        return [name for name in _ASKING if getattr(self, name) is not None]

    def check(self, models: Collection[str], traits: Collection[str]) -> None:
        """Refuse what can't be judged of these models, and series with these traits, ahead of the backtest."""
        if self.asked == ["loss"] and CHAMPION not in models:
            raise ConfigError(
                "there is no champion yet, and without one the gate asks nothing: write skill = 0.0 into it, say"
            )
        if self.segment_bias is not None and self.segment not in (*_TRAITS, *traits):
            raise ConfigError(
                f"the gate's segment {self.segment!r} is neither {', '.join(_TRAITS)} nor a static column of the "
                f"version: one that was tuned with --static {self.segment} has it"
            )

    @classmethod
    def read(cls, file: str | Path) -> Gate:
        """From a TOML file; `ConfigError` for one that can't be read or asks for what there is not."""
        try:
            content = tomllib.loads(Path(file).read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"{file} can't be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} is no TOML file: {error}") from error
        return recipes.build(cls, content, where=str(file))


@dataclass(frozen=True)
class Criterion:
    """One question and its answer; `bound` in words."""

    name: str
    value: float
    bound: str
    passed: bool

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.bound}): {'pass' if self.passed else 'fail'}"


def judge(gate: Gate, report: Report, p95_ms: float | None = None) -> list[Criterion]:
    """Every criterion of the gate. `p95_ms` is the challenger's, measured where the gate asks for it."""
    gate.check(report.models, report.segments.columns)
    found = [*_accuracy(gate, report), *_honesty(gate, report), *_by_segment(gate, report)]
    return [*found, *_running(gate, report, p95_ms), *_money(gate, report)]


def _most(name: str, value: float, bound: float) -> Criterion:
    return Criterion(name, value, f"at most {bound:g}", bool(value <= bound))


def _within(name: str, value: float, bound: float) -> Criterion:
    return Criterion(name, value, f"at most {bound:g} either way", bool(abs(value) <= bound))


def _least(name: str, value: float, bound: float) -> Criterion:
    return Criterion(name, value, f"at least {bound:g}", bool(value >= bound))


def _accuracy(gate: Gate, report: Report) -> Iterator[Criterion]:
    if gate.skill is not None:
        yield _least(f"skill in {gate.by}", gain(report, gate.by, BASELINE, CHALLENGER).value, gate.skill)
    if gate.loss is not None and CHAMPION in report.models:
        against = gain(report, gate.by, CHAMPION, CHALLENGER)
        lost = Gain(-against.value, -against.high, -against.low)
        bound = f"not surely more than {gate.loss:g}; {lost.between('{:.4g}'.format)}"
        yield Criterion(f"loss in {gate.by}", lost.value, bound, bool(lost.low <= gate.loss))


def _honesty(gate: Gate, report: Report) -> Iterator[Criterion]:
    own: Any = report.scores().set_index("model").loc[CHALLENGER]
    if gate.coverage is not None:
        low, high = gate.coverage
        value = float(own["coverage"])
        yield Criterion("coverage", value, f"{low:g} to {high:g}", bool(low <= value <= high))
    if gate.bias is not None:
        yield _within("bias", float(own["bias"]), gate.bias)


def _by_segment(gate: Gate, report: Report) -> Iterator[Criterion]:
    if gate.segment_bias is None:
        return
    column = THIRD if gate.segment == VOLUME else gate.segment
    found = report.scores(["model", column]).set_index("model").loc[[CHALLENGER]]
    for segment, bias in zip(found[column], found["bias"], strict=True):
        if np.isfinite(bias):  # a segment without demand has none
            what = f"{segment} volume" if column == THIRD else f"{column} {'none' if segment == '' else segment}"
            yield _within(f"bias in {what}", float(bias), gate.segment_bias)


def _running(gate: Gate, report: Report, p95_ms: float | None) -> Iterator[Criterion]:
    if gate.p95_ms is not None and p95_ms is not None:
        yield _most("p95_ms", p95_ms, gate.p95_ms)
    timings = report.timings
    mine = timings[timings["model"] == CHALLENGER]
    for name, bound in (("fit_s", gate.fit_s), ("predict_s", gate.predict_s), ("peak_mb", gate.peak_mb)):
        if bound is not None:
            yield _most(name, float(mine[name].max()), bound)


def _money(gate: Gate, report: Report) -> Iterator[Criterion]:
    if gate.costs is None:
        return
    against = CHAMPION if CHAMPION in report.models else BASELINE
    saved = _cost(gate.costs, report, against) - _cost(gate.costs, report, CHALLENGER)
    yield _least(f"money saved against the {against}", saved, gate.costs.saved)


def _cost(costs: Costs, report: Report, model: str) -> float:
    return float(sum(np.where(e > 0, costs.over * e, -costs.under * e).sum() for e in _errors(report, model)))


def _errors(report: Report, model: str) -> Iterator[Floats]:
    """Mean forecast less demand of every scored period, part by part."""
    for table in report.tables(model):
        error = np.asarray(table["mean"]) - np.asarray(table["y"])
        yield error[np.isfinite(error)]
