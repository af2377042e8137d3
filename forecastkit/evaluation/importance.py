"""Why a model forecasts what it does: how much worse it gets when one of its inputs is made meaningless.

For any model: nothing is fitted again, and nothing inside is looked at. Each input is destroyed for all series at once,
the fitted model is moved onto that history and forecasts again. A covariate gets the values of other series at other
times, which keeps how its values are spread and nothing else (Breiman 2001, "Random forests", Machine Learning 45;
Fisher, Rudin & Dominici 2019, "All models are wrong, but many are useful", Journal of Machine Learning Research 20).
Demand of some past periods is put to the series' mean (occlusion: Zeiler & Fergus 2014, ECCV). The calendar is pushed
on by part of a season, so that every weekday or month is called another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastkit import baseline
from forecastkit.data.panel import Covariates, Floats, Ints, Panel
from forecastkit.errors import DataError
from forecastkit.evaluation import comparison, metrics
from forecastkit.evaluation.report import IMPORTANCE
from forecastkit.forecaster import Fitted


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What errors are measured by: the season, and for each series the error of seasonal naive in its past, [N]."""

    season: int
    scale: Floats

    @classmethod
    def of(cls, past: Panel, season: int | None = None) -> Yardstick:
        """That of the series up to the cutoff; the panel's own season where none is given."""
        season = season or past.season
        return cls(season, metrics.scales(past.bare(), season)[:, 0])


def importance(
    fitted: Fitted,
    panel: Panel,
    *,
    horizon: int,
    gap: int = 0,
    yardstick: Yardstick | None = None,
    repeats: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """What each input is worth to `fitted` on the last `horizon` periods of `panel`, the most important first.

    The first `gap` of them, a lead time, are forecast too and not scored. `yardstick` is for a `panel` that is not all
    of the past, or has a season of its own.

    A row an input: `mase` without it, its `increase` over the MASE with everything, and `low` to `high`, bounds of the
    increase at 95 % over series. Inputs are the columns of the roles that the model uses, demand of recent and older
    periods, and the calendar. Columns that say the same thing stand in for each other: each alone then looks
    unimportant.

    Raises `DataError` where no series is longer than the horizon.
    """
    probe = _Probe.of(fitted, panel, horizon, gap, yardstick)
    whole = probe.losses(panel)  # [N]
    rows = []
    for name, kind, destroyed in _inputs(probe, panel, (repeats, seed)):
        worse = np.mean([probe.losses(version) - whole for version in destroyed], axis=0)  # [N]
        rows.append({"input": name, "kind": kind, "mase": _mean(whole + worse), **_increase(worse)})
    return pd.DataFrame(rows, columns=list(IMPORTANCE)).sort_values("increase", ascending=False, ignore_index=True)


@dataclass(frozen=True)
class _Probe:
    """A model, and what came in the periods that it is asked about."""

    fitted: Fitted
    lengths: Ints  # [N] periods that the model may see
    y: Floats  # [N, H]
    counts: NDArray[np.bool_]  # [N] as demand is, whatever is done to it
    yardstick: Yardstick

    @classmethod
    def of(cls, fitted: Fitted, panel: Panel, horizon: int, gap: int, yardstick: Yardstick | None) -> _Probe:
        lengths = panel.lengths - horizon
        if (lengths < 1).any():
            name = panel.ids[int(np.argmin(lengths))]
            raise DataError(f"series {name!r} has no period before the last {horizon}: leave it out", series=name)
        rows = panel.offsets[:-1, None] + lengths[:, None] + np.arange(horizon)
        y = np.where(panel.observed[rows], panel.values[rows], np.nan)
        y[:, :gap] = np.nan
        seen = panel.cut(lengths)
        counts = baseline.counts(baseline.demand(seen), seen.offsets)
        return cls(fitted, lengths, y, counts, yardstick or Yardstick.of(seen))

    def losses(self, panel: Panel) -> Floats:
        """MASE of each series with the inputs of `panel`, [N]; NaN where it is undefined."""
        recipe, horizon = self.fitted.recipe, self.y.shape[1]
        known = len(panel.known) and "known" in recipe.uses
        future = panel.known_after(self.lengths, horizon) if known else None
        levels = (0.5,) if recipe.probabilistic else ()
        moved = self.fitted.update(panel.cut(self.lengths))
        mean, quantiles = moved.unrounded(horizon, levels=levels, future=future)
        median = baseline.counted(quantiles, self.counts)[..., 0] if levels else mean
        return metrics.mase(self.y, median, self.yardstick.scale)


def _mean(losses: Floats) -> float:
    own = losses[~np.isnan(losses)]
    return float(own.mean()) if len(own) else float("nan")


def _increase(differences: Floats) -> dict[str, float]:
    own = differences[~np.isnan(differences)]
    if not len(own):  # constant series alone, whose errors nothing scales
        return dict.fromkeys(("increase", "low", "high"), float("nan"))
    low, high = np.quantile(comparison.resampled(own[:, None])[:, 0] / len(own), [0.025, 0.975])
    return {"increase": own.mean(), "low": low, "high": high}


def _inputs(probe: _Probe, panel: Panel, drawing: tuple[int, int]) -> Iterator[tuple[str, str, Iterator[Panel]]]:
    """Each input's name and kind, and the panels in which it means nothing."""
    repeats, seed = drawing
    rng = np.random.default_rng(seed)
    for role in ("known", "past", "static"):
        if role in probe.fitted.recipe.uses:
            for k, name in enumerate(getattr(panel, role).names):
                yield name, role, (_shuffled(panel, role, k, rng) for _ in range(repeats))
    season, horizon = max(probe.yardstick.season, 2), probe.y.shape[1]
    for name, newest, oldest in _stretches(season, int(panel.lengths.max()) - horizon):
        yield name, "demand", iter([_flattened(panel, horizon, newest, oldest)])
    shifts = np.unique(np.linspace(1, season - 1, repeats).round().astype(int))
    yield "calendar", "calendar", (replace(panel, starts=panel.starts + k) for k in shifts)


def _stretches(season: int, longest: int) -> Iterator[tuple[str, int, int]]:
    """Parts of the past by periods back from the cutoff, each with its name."""
    bounds = [1, 2, season + 1, 2 * season + 1, 4 * season + 1, longest + 1]
    for newest, after in pairwise(bounds):
        oldest = min(after - 1, longest)
        if newest <= oldest:
            yield f"demand {newest} to {oldest} back" if newest < oldest else f"demand {newest} back", newest, oldest


def _shuffled(panel: Panel, role: str, k: int, rng: np.random.Generator) -> Panel:
    block: Covariates = getattr(panel, role)
    values = block.values.copy()
    values[:, k] = values[rng.permutation(len(panel)) if role == "static" else _elsewhere(panel, rng), k]
    changed: dict[str, Any] = {role: replace(block, values=values)}
    return replace(panel, **changed)


def _elsewhere(panel: Panel, rng: np.random.Generator) -> Ints:
    """For every row one of another series at another time, neighbours staying neighbours; [R]"""
    donor = rng.permutation(len(panel))
    lengths = panel.lengths[donor]
    owner = np.repeat(np.arange(len(panel)), panel.lengths)
    place = np.arange(len(panel.values)) - panel.offsets[owner] + rng.integers(0, lengths)[owner]
    return panel.offsets[donor][owner] + place % lengths[owner]


def _flattened(panel: Panel, horizon: int, newest: int, oldest: int) -> Panel:
    """Demand from `newest` to `oldest` periods before the end of what may be seen, put to each series' mean."""
    owner = np.repeat(np.arange(len(panel)), panel.lengths)
    back = panel.offsets[1:][owner] - horizon - np.arange(len(panel.values))  # 1 is the last period seen
    seen = panel.observed & (back >= 1)
    count = np.bincount(owner[seen], minlength=len(panel))
    mean = np.bincount(owner[seen], panel.values[seen], len(panel)) / np.maximum(count, 1)
    hidden = seen & (back >= newest) & (back <= oldest)
    return replace(panel, values=np.where(hidden, mean[owner], panel.values))
