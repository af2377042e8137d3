"""Intervals that cover what they promise: quantiles made from how far past windows missed.

A score is how far an actual lay from the median, in widths of the model's own interval there, or in units of the
series' scale where a model has none. The quantiles of past scores, put around the next median, are the interval: split
conformal prediction with past windows as the split, locally weighted (Lei et al. 2018,
"Distribution-free predictive inference for regression", Journal of the American Statistical Association 113). The
median stays as it is: intervals are calibrated, not the forecast.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from forecastkit.data.panel import Floats, Ints
from forecastkit.errors import ConfigError

_LEAST, _MOST = 0.001, 0.999  # where levels that are adapted stay


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """What past errors a level is corrected by.

    by_step: every step of the horizon has its own errors · group: errors are kept apart by this segment of the series
    (`Report.segments`), or by "series" · decay: what the errors of a window count against those of the window after it;
    below 1 the past is forgotten, for demand that drifts (Barber, Candès, Ramdas & Tibshirani 2023, "Conformal
    prediction beyond exchangeability", Annals of Statistics 51) · rate: how far a level is moved by a window in which
    it covered too much or too little (Gibbs & Candès 2021, "Adaptive conformal inference under distribution shift",
    NeurIPS 34) · models: only these; None for all.

    Where a group or a step has fewer errors than a level needs (nine for 0.9), those of all its steps are taken, then
    those of all series. Only what had come by a window's cutoff counts: where windows lie closer together than the
    horizon, or there is a gap, a past window gives its first steps alone.
    """

    name: ClassVar[str] = "conformal"  # what its text begins with, as a model's does
    by_step: bool = True
    group: str | None = None
    decay: float = 1.0
    rate: float = 0.0
    models: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise ConfigError(f"decay is above 0 and at most 1, not {self.decay}")
        if not 0 <= self.rate <= 1:
            raise ConfigError(f"rate lies between 0 and 1, not {self.rate}")


@dataclass(frozen=True)
class _Window:
    """A window of one model as arrays: n series, H steps."""

    index: int
    first: int  # periods from the cutoff to the first step
    y: Floats  # [n, H]
    median: Floats  # [n, H]
    unit: Floats  # [n, H] what errors are measured in; 0 where there is nothing to measure by
    groups: Ints  # [n]
    quantiles: Floats | None = None  # [n, H, Q] that were made for it
    share: float = 1.0  # of its steps that have come

    def until(self, steps: int) -> _Window:
        """The same when only its first steps had come."""
        horizon = self.y.shape[1]
        if steps >= horizon:
            return self
        return replace(self, y=np.where(np.arange(horizon) < steps, self.y, np.nan), share=steps / horizon)

    @property
    def scores(self) -> Floats:
        """NaN where nothing came, or there is no unit; [n, H]."""
        return (self.y - self.median) / np.where(self.unit > 0, self.unit, np.nan)


def calibrated(
    tables: Iterable[pa.Table],
    levels: Sequence[float],
    how: Conformal,
    step: int,
    groups: Mapping[str, int] | None = None,
    lowest: float = -np.inf,
    made: dict[int, Floats] | None = None,
) -> Iterator[pa.Table]:
    """The windows of a model, oldest first, each with quantiles made from what it could know of those before it.

    A window that could know nothing stays as it is, as the first does. `levels` have 0.5 among them; `step` is that of
    the plan; `groups` numbers the series' groups from 0; `lowest` is what demand never falls below; `made` keeps what
    was found for the windows, so that going through them again sorts no errors again.
    """
    past: list[_Window] = []
    made = {} if made is None else made
    aims = np.tile(np.array(levels), (1 + max((groups or {"": 0}).values()), 1))  # [G, Q]
    for table in tables:
        window = _window(table, levels, groups)
        known = list(_known(past, window.index, step))
        if known:
            if window.index not in made:
                made[window.index] = _shifts(known, window.index, _adapted(aims, known, levels, how.rate), how)
            quantiles = _around(window, made[window.index][window.groups], levels, lowest)
            window = replace(window, quantiles=quantiles)
            yield _replaced(table, quantiles, levels)
        else:
            yield table
        past.append(window)


def _known(past: Sequence[_Window], index: int, step: int) -> Iterator[_Window]:
    """The past windows as they stood at the cutoff of this one; each series counts from its own cutoffs."""
    for window in past:
        steps = (index - window.index) * step - window.first + 1
        if steps > 0:
            yield window.until(steps)


def _window(table: pa.Table, levels: Sequence[float], groups: Mapping[str, int] | None) -> _Window:
    steps = table["step"].to_numpy()
    horizon = int(steps.max() - steps.min() + 1)
    names = [name for name in (f"q{level:g}" for level in levels) if name in table.column_names]
    wanted = ("y", "q0.5" if names else "mean", "absolute_scale", *(names[:: len(names) - 1] if len(names) > 1 else ()))
    y, median, scale, *outer = (table[name].to_numpy().reshape(-1, horizon) for name in wanted)  # [n, H]
    width = outer[1] - outer[0] if outer else np.zeros_like(y)
    members = np.zeros(len(y), np.int64)
    if groups is not None:
        series = table["series"].combine_chunks()
        numbers = np.array([groups[text] for text in series.dictionary.to_pylist()], np.int64)
        members = numbers[series.indices.to_numpy()[::horizon]]
    unit = np.where(width > 0, width, np.nan_to_num(scale))
    return _Window(table["window"][0].as_py(), int(steps.min()), y, median, unit, members)


def _shifts(past: Sequence[_Window], index: int, aims: Floats, how: Conformal) -> Floats:
    """Where each level lies from the median in the window of this index, in units: [G, H, Q]."""
    scores = np.concatenate([w.scores for w in past])  # [P, H], every series of every window
    group = np.concatenate([w.groups for w in past])  # [P]
    age = np.repeat([index - 1 - w.index for w in past], [len(w.y) for w in past])
    weights = np.repeat((how.decay**age)[:, None], scores.shape[1], axis=1)  # [P, H]
    out = np.empty((len(aims), scores.shape[1], aims.shape[1]))
    for q, aim in enumerate(aims.T):
        # A low level is a high one looked at from below.
        side = 1.0 if aim.mean() >= 0.5 else -1.0
        out[..., q] = side * _pooled(side * scores, weights, group, 0.5 + side * (aim - 0.5), by_step=how.by_step)
    return out


def _pooled(scores: Floats, weights: Floats, group: Ints, aims: Floats, *, by_step: bool) -> Floats:
    """Quantiles of the errors of a group and step, of a group, or of all, the first that are enough: [G, H]."""
    horizon = scores.shape[1]
    found = np.full((len(aims), horizon), np.nan)
    groups = np.repeat(group[:, None], horizon, axis=1)  # [P, H]
    if by_step:
        cells = groups * horizon + np.arange(horizon)
        found = upper_quantiles(scores, weights, cells, np.repeat(aims, horizon)).reshape(found.shape)
    if np.isnan(found).any():
        found = np.where(np.isnan(found), upper_quantiles(scores, weights, groups, aims)[:, None], found)
    if np.isnan(found).any():
        everyone = upper_quantiles(scores, weights, np.zeros_like(groups), aims.mean(keepdims=True), bounded=True)
        found = np.where(np.isnan(found), np.nan_to_num(everyone), found)
    return found


def upper_quantiles(scores: Floats, weights: Floats, cells: Ints, levels: Floats, *, bounded: bool = False) -> Floats:
    """The weighted quantile of the scores in each of K cells at its level, [K]; arrays of one shape, NaN passed over.

    The error that is yet to come counts as one more score above all others, which is what makes the promise hold for
    few of them. NaN where the quantile would be that one; `bounded` takes the largest score there.
    """
    seen = ~np.isnan(scores)
    order = np.lexsort((scores[seen], cells[seen]))
    s, w, c = scores[seen][order], weights[seen][order], cells[seen][order]
    sizes = np.bincount(c, minlength=len(levels))
    ends = np.cumsum(sizes)
    running = np.concatenate([[0.0], np.cumsum(w)])  # over all cells, one after another
    before, total = running[ends - sizes], running[ends] - running[ends - sizes]
    target = levels * (total + 1)
    enough = (target <= total + 1e-9) | bounded
    at = np.searchsorted(running[1:], before + np.minimum(target, total) - 1e-9)
    value = s[np.minimum(at, ends - 1)] if len(s) else np.zeros(len(levels))
    return np.where(enough & (sizes > 0), value, np.nan)


def _around(window: _Window, shifts: Floats, levels: Sequence[float], lowest: float) -> Floats:
    """Quantiles around a median that stays, never decreasing along the levels; [n, H, Q]."""
    median, chances = window.median[..., None], np.array(levels)
    found = np.maximum(median + window.unit[..., None] * shifts, lowest)
    found = np.where(
        chances < 0.5, np.minimum(found, median), np.where(chances > 0.5, np.maximum(found, median), median)
    )
    return np.sort(found, axis=-1)


def _adapted(aims: Floats, past: Sequence[_Window], levels: Sequence[float], rate: float) -> Floats:
    """The levels of each group, moved against what one window after another showed; [G, Q]."""
    for window in past if rate else ():
        if window.quantiles is not None:
            # A window of which little has come moves them little.
            aims = np.clip(aims + rate * window.share * _missed(window, levels, len(aims)), _LEAST, _MOST)
    return aims


def _missed(window: _Window, levels: Sequence[float], groups: int) -> Floats:
    """What each level lacked of its share in each group; [G, Q]."""
    assert window.quantiles is not None  # asked for by `_adapted` only
    seen, y = ~np.isnan(window.y), window.y[..., None]
    # Where zeros lie on a bound, both of its sides count them as inside, as coverage does.
    under = np.where(np.array(levels) < 0.5, y < window.quantiles, y <= window.quantiles)
    below = (under & seen[..., None]).sum(axis=1)  # [n, Q]
    count = np.bincount(window.groups, seen.sum(axis=1), minlength=groups)[:, None]
    hits = np.stack([np.bincount(window.groups, b, minlength=groups) for b in below.T], axis=-1)  # [G, Q]
    return np.where(count > 0, np.array(levels) - hits / np.maximum(count, 1), 0.0)


def _replaced(table: pa.Table, quantiles: Floats, levels: Sequence[float]) -> pa.Table:
    """The table with these quantiles [n, H, Q] in the columns of the levels, before the scales."""
    names = [f"q{level:g}" for level in levels]
    table = table.drop_columns([name for name in names if name in table.column_names])
    place = table.column_names.index("mean") + 1
    for k, name in enumerate(names):
        table = table.add_column(place + k, name, pa.array(quantiles[..., k].ravel()))
    return table
