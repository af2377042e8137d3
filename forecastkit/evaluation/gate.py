"""The gate before a model serves: does it create more value than it costs?

A `Gate` says what is asked, `judge` holds a backtest against it. A criterion that is not written in the gate is not
asked. Three models stand in the report: the challenger, the champion where there is one, and the baseline.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forecastkit import recipes
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.evaluation.gain import Gain, gain
from forecastkit.evaluation.report import Report

CHALLENGER, CHAMPION, BASELINE = "challenger", "champion", "baseline"
VOLUME = "volume"
_CLASSES = ("low volume", "middle volume", "high volume")


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


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a challenger must reach.

    by: the metric · skill: share by which it must be below the baseline's, at least · loss: share that the champion may
    be better by; it fails where the 95 % interval of the loss lies above that · coverage: share of periods between the
    outer levels, lowest and highest · bias: at most, as a share of demand, either way · segment_bias: the same in each
    segment · segment: a static column, or volume (thirds of the series) · p95_ms, peak_mb, fit_s, predict_s: at most ·
    costs: money.
    """

    by: str = "wape"
    skill: float | None = None
    loss: float | None = 0.0
    coverage: tuple[float, float] | None = None
    bias: float | None = None
    segment_bias: float | None = None
    segment: str = VOLUME
    p95_ms: float | None = None
    peak_mb: float | None = None
    fit_s: float | None = None
    predict_s: float | None = None
    costs: Costs | None = None
    backtest: Backtest = field(default_factory=Backtest)

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


def judge(gate: Gate, report: Report, panel: Panel, p95_ms: float | None = None) -> list[Criterion]:
    """Every criterion of the gate. `p95_ms` is the challenger's, measured where the gate asks for it."""
    found = [*_accuracy(gate, report), *_honesty(gate, report), *_by_segment(gate, report, panel)]
    return [*found, *_running(gate, report, p95_ms), *_money(gate, report)]


def _most(name: str, value: float, bound: float) -> Criterion:
    return Criterion(name, value, f"at most {bound:g}", bool(value <= bound))


def _least(name: str, value: float, bound: float) -> Criterion:
    return Criterion(name, value, f"at least {bound:g}", bool(value >= bound))


def _accuracy(gate: Gate, report: Report) -> Iterator[Criterion]:
    if gate.skill is not None:
        yield _least(f"skill in {gate.by}", gain(report, gate.by, BASELINE, CHALLENGER).value, gate.skill)
    if gate.loss is not None and CHAMPION in report.models:
        against: Gain = gain(report, gate.by, CHAMPION, CHALLENGER)
        bound = f"not surely more than {gate.loss:g}; 95 % interval {-against.high:.4g} to {-against.low:.4g}"
        yield Criterion(f"loss in {gate.by}", -against.value, bound, bool(-against.high <= gate.loss))


def _honesty(gate: Gate, report: Report) -> Iterator[Criterion]:
    own: Any = report.scores().set_index("model").loc[CHALLENGER]
    if gate.coverage is not None:
        low, high = gate.coverage
        value = float(own["coverage"])
        yield Criterion("coverage", value, f"{low:g} to {high:g}", bool(low <= value <= high))
    if gate.bias is not None:
        yield _most("bias", abs(float(own["bias"])), gate.bias)


def _by_segment(gate: Gate, report: Report, panel: Panel) -> Iterator[Criterion]:
    if gate.segment_bias is None:
        return
    places = dict(zip(panel.ids, _segments(panel, gate.segment), strict=True))
    names = sorted(set(places.values()))
    signed, volume = np.zeros(len(names)), np.zeros(len(names))
    for y, mean, series in _scored(report, CHALLENGER):
        ids, position = np.unique(series, return_inverse=True)
        code = np.array([names.index(places[name]) for name in ids], np.int64)[position]
        signed += np.bincount(code, mean - y, len(names))
        volume += np.bincount(code, np.abs(y), len(names))
    for name, error, demand in zip(names, signed, volume, strict=True):
        if demand > 0:
            yield _most(f"bias in {name}", float(abs(error) / demand), gate.segment_bias)


def _segments(panel: Panel, column: str) -> list[str]:
    """The segment of each series, [N]."""
    if column == VOLUME:
        mean = np.add.reduceat(np.nan_to_num(panel.values), panel.offsets[:-1]) / panel.lengths
        rank = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
        return [_CLASSES[k] for k in 3 * rank // len(panel)]
    if column not in panel.static.names:
        raise ConfigError(f"the gate's segment {column!r} is no static column: read it with --static {column}")
    texts = panel.static.categories.get(column)
    codes = panel.static.values[:, panel.static.names.index(column)]
    return [f"{column} {'none' if np.isnan(c) else texts[int(c)] if texts else f'{c:g}'}" for c in codes]


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
    errors = [mean - y for y, mean, _ in _scored(report, model)]
    return float(sum(np.where(e > 0, costs.over * e, -costs.under * e).sum() for e in errors))


def _scored(report: Report, model: str) -> Iterator[tuple[Any, Any, Any]]:
    """Actual, mean forecast and series of every scored period, part by part."""
    for table in report.tables(model):
        y, mean = (np.asarray(table[name]) for name in ("y", "mean"))
        seen = np.isfinite(y)
        series = np.array(table["series"].to_pylist(), str)
        yield y[seen], mean[seen], series[seen]


def evidence(criteria: list[Criterion]) -> Mapping[str, str]:
    """Each criterion with its number, bound and answer, as text."""
    return {criterion.name: str(criterion) for criterion in criteria}
