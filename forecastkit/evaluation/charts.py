"""The charts of the HTML report as SVG that takes its colours from the page, light or dark.

A chart is drawn with stand-in colours, which are then replaced by the page's CSS variables; text stays text. Names of
series stand in the page and not in a chart, because no font has every sign that an id may hold.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from forecastkit.errors import counted
from forecastkit.evaluation.comparison import Ranks
from forecastkit.forecaster import Explanation

COLOURS = 6
_INK, _FAINT = "#aa0000", "#aa0010"
_LINES = tuple(f"#aa01{k:02}" for k in range(COLOURS))
_VARIABLES = {_INK: "--ink", _FAINT: "--faint", **{c: f"--c{k}" for k, c in enumerate(_LINES)}}
_INPUTS = 12  # that are shown of a model
_MARKS = "osD^vP"  # lines are told apart without colour too
_SIZE = (4.6, 2.6)  # inches, so that text is large enough on a phone and small enough on a desk
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "forecastkit",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 9.5,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _FAINT,
    "grid.alpha": 0.35,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True)
class Chart:
    """An SVG to be set into a page, with a title and the words for those who can't see it."""

    title: str
    alt: str
    svg: str


@dataclass(frozen=True)
class Fan:
    """One series before and after a cutoff, and what was forecast: [T] before it, [H] after it."""

    times: np.ndarray
    y: np.ndarray
    after: np.ndarray
    came: np.ndarray
    median: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    levels: tuple[float, float] | None


@dataclass(frozen=True)
class Charts:
    """Draws charts; each gets ids of its own, so that several may stand in one page."""

    _numbers: Any = field(default_factory=count)

    def ranks(self, models: Sequence[str], ranks: Ranks) -> Chart:
        """Mean ranks with half a critical distance to either side; the band is the reach of the best."""
        order = np.argsort(ranks.ranks)[::-1]
        low, high = ranks.bounds
        figure, axes = _canvas(height=1.2 + 0.28 * len(models))
        best = int(np.argmin(ranks.ranks))
        axes.axvspan(low[best], high[best], color=_LINES[0], alpha=0.15, linewidth=0)
        for place, k in enumerate(order):
            colour = _LINES[0] if ranks.with_best[k] else _INK
            axes.plot([low[k], high[k]], [place, place], color=colour, linewidth=2)
            axes.plot(ranks.ranks[k], place, "o", color=colour)
        axes.set_yticks(range(len(order)), [_legible(models[k]) for k in order])
        axes.set_ylim(-0.5, len(order) - 0.5)
        axes.set_xlabel("mean rank (1 is best)")
        names = [models[k] for k in order[::-1] if ranks.with_best[k]]
        alt = f"Mean ranks of {len(models)} models; within reach of the best: {', '.join(names)}."
        return self._done(figure, "Who wins most often", alt)

    def lines(self, table: pd.DataFrame, what: str, title: str) -> Chart:
        """A line a column of `table` along its index."""
        figure, axes = _canvas()
        every = max(1, len(table) // 8)
        for k, name in enumerate(table.columns):
            style: Any = {"color": _LINES[k], "marker": _MARKS[k], "markevery": every, "markersize": 4}
            axes.plot(table.index, table[name], label=_legible(name), **style)
        axes.set_xlabel(str(table.index.name))
        axes.set_ylabel(what)
        _legend(axes)
        first, last = table.iloc[0], table.iloc[-1]
        words = "; ".join(f"{name} from {first[name]:.2f} to {last[name]:.2f}" for name in table.columns)
        return self._done(figure, title, f"{what} by {table.index.name}: {words}.")

    def dots(self, table: pd.DataFrame, what: str, title: str) -> Chart:
        """A row a segment, a dot a model."""
        figure, axes = _canvas(height=0.9 + 0.27 * len(table))
        for k, name in enumerate(table.columns):
            axes.plot(table[name], range(len(table)), _MARKS[k], color=_LINES[k], markersize=5, label=_legible(name))
        axes.set_yticks(range(len(table)), [_legible(str(x)) for x in table.index])
        axes.set_ylim(len(table) - 0.5, -0.5)
        axes.set_xlabel(what)
        _legend(axes)
        means = table.mean(axis=1)
        alt = f"{what} by {table.index.name}: lowest for {means.idxmin()}, highest for {means.idxmax()}."
        return self._done(figure, title, alt)

    def reliability(self, table: pd.DataFrame, models: Sequence[str]) -> Chart:
        """Share of actuals under each level, less the level; a bar reaches from those below to those at most at it."""
        figure, axes = _canvas()
        axes.axhline(0, color=_INK, linewidth=1, linestyle="--", label="as promised")
        words = []
        for k, name in enumerate(models):
            own = table[(table["model"] == name) & (table["level"] < 1)]
            middle, half = (own["below"] + own["at_most"]) / 2, (own["at_most"] - own["below"]) / 2
            style: Any = {"color": _LINES[k], "marker": _MARKS[k], "markersize": 4, "capsize": 3, "linewidth": 1.2}
            beside = own["level"] + 0.012 * (k - (len(models) - 1) / 2)  # so that bars of one level are seen apart
            axes.errorbar(beside, middle - own["level"], yerr=half, label=_legible(name), **style)
            words.append(f"{name} " + ", ".join(f"{m:.2f}" for m in middle))
        axes.set_xlim(0, 1)
        axes.set_xlabel("level")
        axes.set_ylabel("share below − level")
        _legend(axes)
        levels = ", ".join(f"{x:g}" for x in sorted(set(table["level"]) - {1.0}))
        return self._done(figure, "Do levels cover their share", f"At {levels}: {'; '.join(words)}.")

    def worth(self, table: pd.DataFrame, title: str) -> Chart:
        """What each input is worth, the most at the top, with its bounds."""
        shown = table.head(_INPUTS)
        figure, axes = _canvas(height=0.7 + 0.24 * len(shown))
        axes.axvline(0, color=_INK, linewidth=1)
        for place, row in enumerate(shown.to_dict("records")):
            axes.plot([row["low"], row["high"]], [place, place], color=_LINES[0], linewidth=2)
            axes.plot(row["increase"], place, "o", color=_LINES[0], markersize=5)
        axes.set_yticks(range(len(shown)), [_legible(name) for name in shown["input"]])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, prune="upper"))  # a label at the edge would be cut
        axes.set_xlabel("increase in MASE without it")
        words = "; ".join(f"{row['input']} {row['increase']:.3f}" for row in shown.to_dict("records"))
        return self._done(figure, title, f"Increase in MASE without each input: {words}.")

    def parts(self, told: Explanation, title: str) -> Chart:
        """The components of a forecast, the largest on its own axis above the others."""
        sizes = {name: float(np.abs(part).max()) for name, part in told.components.items()}
        first = max(sizes, key=lambda name: sizes[name])
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(_SIZE[0], 3.4), layout="constrained")
            above, below = figure.subplots(2, 1, sharex=True)
        for k, (name, part) in enumerate(told.components.items()):
            axes = above if name == first else below
            style: Any = {"color": _LINES[k % COLOURS], "marker": _MARKS[k % COLOURS], "markersize": 3}
            axes.plot(told.times, part, label=_legible(name), **style)
        _dates(below)
        _legend(above, below)
        words = "; ".join(f"{name} from {p.min():.3g} to {p.max():.3g}" for name, p in told.components.items())
        return self._done(figure, title, f"Parts of the forecast in units of demand: {words}.")

    def costs(self, table: pd.DataFrame, front: Sequence[bool]) -> Chart:
        """MASE against seconds of each row, a model; the line joins those that nothing beats in both."""
        figure, axes = _canvas(height=3.4)
        best = table[list(front)].sort_values("seconds")
        axes.plot(best["seconds"], best["mase"], color=_LINES[0], linewidth=1.2, drawstyle="steps-post")
        ordered = table.assign(front=list(front)).sort_values("seconds")
        middle = np.sqrt(ordered["seconds"].iloc[0] * ordered["seconds"].iloc[-1])
        for k, (name, row) in enumerate(ordered.iterrows()):
            place = (row["seconds"], row["mase"])
            axes.plot(*place, "o", color=_LINES[0] if row["front"] else _INK)
            # Above and below in turn, as quick models lie close together, and towards the middle, where there is room.
            late = bool(row["seconds"] > middle)
            text: Any = {"textcoords": "offset points", "size": 8, "color": _INK, "ha": "right" if late else "left"}
            axes.annotate(_legible(str(name)), place, (-4 if late else 4, 4 - 13 * (k % 2)), **text)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.margins(x=0.25)
        axes.set_xlabel("seconds of fitting and predicting")
        axes.set_ylabel("MASE")
        alt = f"MASE against seconds; no model is both quicker and better than {', '.join(map(str, best.index))}."
        return self._done(figure, "Error against cost", alt)

    def fan(self, fan: Fan, model: str) -> Chart:
        """History, what came, and the forecast with its interval."""
        figure, axes = _canvas(height=2.0)
        axes.plot(fan.times, fan.y, color=_INK, linewidth=1)
        axes.plot(fan.after, fan.came, color=_INK, linewidth=1, linestyle=":", marker=".", markersize=3, label="came")
        axes.plot(fan.after, fan.median, color=_LINES[0], linewidth=1.5, label=_legible(model))
        words = ""
        if fan.low is not None and fan.high is not None and fan.levels is not None:
            axes.fill_between(fan.after, fan.low, fan.high, color=_LINES[0], alpha=0.2, linewidth=0)
            inside = np.mean((fan.came >= fan.low) & (fan.came <= fan.high))
            words = f", {inside:.0%} of them between levels {fan.levels[0]:g} and {fan.levels[1]:g}"
        _dates(axes)
        _legend(axes)
        return self._done(figure, "", f"Demand, {counted(len(fan.after), 'forecast')} by {model} and what came{words}.")

    def _done(self, figure: Figure, title: str, alt: str) -> Chart:
        out = io.StringIO()
        with mpl.rc_context(_STYLE):
            engine = figure.get_layout_engine()
            assert engine is not None  # `_canvas` gives one, which savefig would run by drawing everything twice
            engine.execute(figure)
            figure.set_layout_engine(None)
            figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        svg = out.getvalue()
        svg = svg[svg.index("<svg") :]
        prefix = f"v{next(self._numbers)}-"
        svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
        for colour, variable in _VARIABLES.items():
            svg = svg.replace(colour, f"var({variable})")
        # The size is the page's to say.
        svg = re.sub(
            r'<svg ([^>]*?)(?:width|height)="[^"]*pt" ([^>]*?)(?:width|height)="[^"]*pt"', r"<svg \1\2", svg, count=1
        )
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        return Chart(title, alt, svg)


def _canvas(height: float = _SIZE[1]) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_SIZE[0], height), layout="constrained")
        return figure, figure.add_subplot()


def _dates(axes: Axes) -> None:
    # Two years are marked by the year: two to four of them have more months than five marks can go through.
    locator = mdates.AutoDateLocator(minticks=2, maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))


def _legend(*several: Axes) -> None:
    """Above the axes, in as many columns as there is room for."""
    handles, names = [], []
    for axes in several:
        own = axes.get_legend_handles_labels()
        handles += own[0]
        names += own[1]
    columns = 3 if max(map(len, names)) <= 15 else 2
    with mpl.rc_context(_STYLE):
        figure = several[0].get_figure(root=True)
        assert figure is not None  # the axes were made on one
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.17 * -(-len(names) // columns))
        place: Any = {"loc": "outside upper left", "ncols": columns, "borderaxespad": 0}
        figure.legend(handles, names, **place, handlelength=1.4, columnspacing=1)


def _legible(name: str) -> str:
    """A name in signs that every font has, and not too long for a chart."""
    text = name.encode("latin-1", "replace").decode("latin-1")
    return text if len(text) <= 24 else text[:23] + "…"
