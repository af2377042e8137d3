"""How much each member of an ensemble is heard: its errors on past windows, and weights from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecastkit import baseline
from forecastkit.data.panel import Floats, Ints, Panel, ranges
from forecastkit.forecaster import Fitted
from forecastkit.models._members import moved, places, told

_FAR = 10.0  # spreads of a series beyond which an error counts as this
_LEAN = 0.02  # how much weights lean to equal ones, beside a loss whose mean over the members is 1
_STEPS, _RATE = 300, 5.0  # of the descent; the mean of its later half is taken
_MOST = 20_000  # errors that a descent looks at


def stacked(errors: Floats) -> Floats:
    """The weights from 0 that add up to 1 and make the absolute error least, leaning to equal ones; [K, E] -> [K].

    Breiman (1996), Stacked regressions, with the absolute error in place of the squared one: what is combined are
    medians, and where most values are zero the squared error likes a mean better than a median. Found by exponentiated
    gradients (Kivinen & Warmuth 1997): a fixed number of smooth steps, so that rounding is not blown up.
    """
    if errors.shape[1] > _MOST:  # drawn, as a stride would look at the same few steps ahead of each series
        errors = errors[:, np.random.default_rng(0).choice(errors.shape[1], _MOST, replace=False)]
    size = np.abs(errors).mean() if errors.size else 0.0
    if not size > 0:
        return equal(len(errors))
    exponent, later = np.zeros(len(errors)), []
    for step in range(_STEPS):
        weights = np.exp(exponent - exponent.max())
        weights /= weights.sum()
        slope = errors @ np.sign(weights @ errors) / (errors.shape[1] * size)
        exponent = exponent - _RATE / np.sqrt(step + 1) * (slope + 2 * _LEAN * (weights - 1 / len(errors)))
        later += [weights] if 2 * step >= _STEPS else []
    found: Floats = np.mean(later, axis=0)
    return found


def inverse(errors: Floats) -> Floats:
    """Weights by one over the mean absolute error; [K, E] -> [K]."""
    size = np.abs(errors).mean(axis=1) if errors.shape[1] else np.zeros(len(errors))
    if not size.max() > 0:
        return equal(len(errors))
    shares = size.max() / np.maximum(size, 1e-9 * size.max())
    return shares / shares.sum()


def equal(count: int) -> Floats:
    return np.full(count, 1 / count)


def among(weights: Floats, kept: Sequence[int]) -> Floats:
    """The weights of those `kept`, adding up to 1 again."""
    left = weights[list(kept)]
    return left / left.sum() if left.sum() > 0 else equal(len(left))


def in_all(errors: NDArray[Any]) -> Floats:
    """Those errors that every member has; [K, ...] -> [K, E]."""
    flat = errors.reshape(len(errors), -1)
    return flat[:, ~np.isnan(flat).any(axis=0)]


def past_errors(
    members: Sequence[Fitted], panel: Panel, horizon: int, windows: int, seen: int | None = None
) -> list[Floats]:
    """Errors [K, E] on each of the last `windows` of `panel` that all members have; see `moving_errors`.

    Periods up to the number `seen`, which the members were fitted on, don't count.
    """
    if not windows:
        return []
    all_of_them = np.stack([moving_errors(member, panel, horizon, windows) for member in members])  # [K, W, N, H]
    if seen is not None:
        back = np.arange(windows * horizon)[::-1].reshape(windows, 1, horizon)
        all_of_them[:, panel.ends[:, None] - back <= seen] = np.nan
    found = [in_all(all_of_them[:, window]) for window in range(windows)]
    return [errors for errors in found if errors.shape[1]]


def moving_errors(member: Fitted, panel: Panel, horizon: int, windows: int, *, alone: bool = False) -> Floats:
    """Errors on each of the last `windows` of `panel` of a member that was fitted before them; [W, N, H].

    It moves through them with newer demand, and nothing is estimated between. It must know every series of `panel`.
    Medians of counts are whole numbers where it stands `alone`, not where they are to be averaged with others.
    """
    found = np.empty((windows, len(panel), horizon))
    for place in range(windows):
        past = panel.cut(panel.lengths - (windows - place) * horizon)
        found[place] = errors_after(moved(member, past), panel, horizon, alone=alone)
    return found


def errors_after(member: Fitted, panel: Panel, horizon: int, *, alone: bool = False) -> Floats:
    """Errors of the medians for the periods that follow the member's history in `panel`, in spreads; [n, H].

    NaN where nothing was seen and in series without a spread. The rows are the member's series.
    """
    part = panel.take(places(member.history, panel))
    ends = member.history.ends - part.starts + 1
    future = part.known_after(ends, horizon) if len(part.known) else None
    levels = (0.5,) if member.recipe.probabilistic else ()
    mean, quantiles = told(member, horizon, levels, future, np.arange(len(part)))
    if alone:
        quantiles = baseline.counted(
            quantiles, baseline.counts(baseline.demand(member.history), member.history.offsets)
        )
    scale = baseline.spread(baseline.demand(part), part.offsets, min(part.season, int(part.lengths.min())))[:, None]
    error = (quantiles[..., 0] if levels else mean) - _actual(part, ends, horizon)
    return np.clip(error / np.where(scale > 0, scale, np.nan), -_FAR, _FAR)


def _actual(panel: Panel, ends: Ints, horizon: int) -> Floats:
    """Demand of the `horizon` periods after the first `ends` of each series, NaN where none was seen; [N, H]."""
    rows = ranges(panel.offsets[:-1] + ends, np.full(len(ends), horizon))
    return baseline.demand(panel)[rows].reshape(-1, horizon)


def going_on(panel: Panel, horizon: int) -> Ints:
    """The series that had not ended `horizon` periods before the last one did."""
    return np.flatnonzero(panel.ends > panel.ends.max() - horizon)


def common_end(panel: Panel, horizon: int) -> int:
    """The number of the last period that all series have which go on."""
    return int(panel.ends[going_on(panel, horizon)].min())


def room(train: Panel, horizon: int, windows: int, needed: int) -> tuple[int, Ints]:
    """How many past windows there is room for, and in which series.

    Before them stand more than a season, `needed` periods, and half of the history: who learns from little is no
    measure of who learns from all. Where that holds for less than half of the series there are fewer windows.
    """
    for window in range(windows, 0, -1):
        left = train.lengths - window * horizon
        kept = np.flatnonzero((left > train.season) & (left >= max(needed, window * horizon)))
        if 2 * len(kept) >= len(train):
            break
    return window, kept


def before(train: Panel, kept: Ints, periods: int) -> Panel:
    """The series `kept` without their last `periods`."""
    part = train.take(kept)
    return part.cut(part.lengths - periods)
