"""Where a rolling-origin backtest cuts: for every window and series, what may be seen and what is scored.

Tashman (2000), "Out-of-sample tests of forecasting accuracy: an analysis and review", International Journal of
Forecasting 16. Lengths are counted in periods of each series, so that nothing here knows dates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forecastkit.data.panel import Ints, Panel
from forecastkit.errors import ConfigError, SeriesTooShortError, counted

Align = Literal["auto", "series", "calendar"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a backtest rolls.

    horizon: periods forecast and scored · windows: cutoffs · step: periods between cutoffs (None: the horizon) · gap:
    periods between the cutoff and the first one scored (lead time) · align: "calendar" puts one cutoff for all series,
    so that a pooled model never sees another series' future; "series" counts back from each one's own end; "auto" is
    calendar where all series end together · refit: fit anew every so many windows, 0 only in the first · history:
    periods of training data (None: all of it, expanding) · season: for metrics and models (None: the frequency's) ·
    calibrate: windows before those, not scored, whose errors the intervals are made from (0: as the models give them) ·
    cold: a model that can begin a fit from the last window's parameters does so, but every so many fits it begins
    afresh, lest it stays at a poorer optimum (1: always afresh), and so does a network whose history grew a lot.
    """

    horizon: int
    windows: int = 1
    step: int | None = None
    gap: int = 0
    align: Align = "auto"
    refit: int = 1
    history: int | None = None
    season: int | None = None
    cold: int = 4
    calibrate: int = 0

    def __post_init__(self) -> None:
        for name in ("horizon", "windows", "step", "gap", "refit", "history", "season", "cold", "calibrate"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
                raise ConfigError(f"{name} must be a whole number, not {value!r}")
        for name, least in (("horizon", 1), ("windows", 1), ("gap", 0), ("refit", 0), ("cold", 1), ("calibrate", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, not {getattr(self, name)}")
        for name in ("step", "history", "season"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.align not in ("auto", "series", "calendar"):
            raise ConfigError(f"align is auto, series or calendar, not {self.align!r}")

    def settled(self, panel: Panel) -> Plan:
        """This plan with every "auto" and None decided for `panel`."""
        together = bool((panel.ends == panel.ends[0]).all())
        align: Align = ("calendar" if together else "series") if self.align == "auto" else self.align
        plan = replace(self, align=align, step=self.step or self.horizon, season=self.season or panel.season)
        plan.check_calibration()
        return plan

    def check_calibration(self) -> None:
        """Raise `ConfigError` where nothing to calibrate on has come by the first scored cutoff."""
        apart = self.step or self.horizon
        back = self.calibrate * apart  # periods from the oldest cutoff to that one
        if self.calibrate and back <= self.gap:
            raise ConfigError(
                f"there is nothing to calibrate on: {counted(self.calibrate, 'window')}, "
                f"{counted(apart, 'period')} apart, from {counted(back, 'period')} before the first scored cutoff on, "
                f"and none of their periods after a gap of {self.gap} has come by then; "
                f"calibrate={self.to_calibrate_all} shows all steps"
            )

    @property
    def to_calibrate_all(self) -> int:
        """How many windows to calibrate on it takes for the errors of every step to be known by the first cutoff."""
        return -(-(self.gap + self.horizon) // (self.step or self.horizon))

    def fits_at(self, window: int) -> bool:
        """Is the model fitted anew at this window, or only updated?"""
        return window == 0 or (self.refit > 0 and window % self.refit == 0)

    def afresh_at(self, window: int) -> bool:
        """Is it fitted without looking at the window before?"""
        return window == 0 or (self.refit > 0 and window % (self.refit * self.cold) == 0)


@dataclass(frozen=True)
class Window:
    """One cutoff: `series` are the indices that take part, `lengths` how many of their first periods may be seen."""

    index: int
    series: Ints  # [n]
    lengths: Ints  # [n]


def windows(panel: Panel, plan: Plan) -> list[Window]:
    """The windows of a settled plan, the oldest first, those to calibrate on before those to score.

    A series too short for a window is left out of it; `SeriesTooShortError` when that leaves a window empty.
    """
    return [_window(panel, plan, k) for k in range(plan.calibrate + plan.windows)]


def _window(panel: Panel, plan: Plan, index: int) -> Window:
    back = plan.horizon + plan.gap + (plan.calibrate + plan.windows - 1 - index) * (plan.step or plan.horizon)
    if plan.align == "calendar":
        seen = panel.ends.max() - back - panel.starts + 1  # [N] periods up to the common cutoff
        # A series that ended before the first scored period has nothing to compare with.
        usable = (seen >= 1) & (panel.lengths > seen + plan.gap)
    else:
        seen = panel.lengths - back
        usable = seen >= 1
    taking = np.flatnonzero(usable)
    if not len(taking):
        longest = int(np.argmax(panel.lengths))
        count = plan.calibrate + plan.windows
        what = (
            f"a backtest of {counted(count, 'window')} with horizon {plan.horizon}, step {plan.step}, gap {plan.gap} "
            f"(there is room for {_room(panel, plan)})"
        )
        raise SeriesTooShortError(panel.ids[longest], needed=back + 1, found=int(panel.lengths[longest]), what=what)
    return Window(index, taking, seen[taking])


def _room(panel: Panel, plan: Plan) -> int:
    """How many windows the panel has history for."""
    span = panel.ends.max() - panel.starts.min() + 1 if plan.align == "calendar" else panel.lengths.max()
    spare = int(span) - 1 - plan.horizon - plan.gap
    return 0 if spare < 0 else 1 + spare // (plan.step or plan.horizon)


def left_out(panel: Panel, cuts: list[Window]) -> NDArray[np.int64]:
    """Indices of the series that miss at least one window."""
    count = np.zeros(len(panel), np.int64)
    for window in cuts:
        count[window.series] += 1
    return np.flatnonzero(count < len(cuts))


def under_a_season(plan: Plan, cuts: list[Window]) -> int:
    """How many series have no more than one season before some cutoff, so that lag 1 scales their MASE."""
    short = [window.series[window.lengths <= (plan.season or 1)] for window in cuts]
    return len(np.unique(np.concatenate(short))) if (plan.season or 1) > 1 else 0
