"""Latency against error, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from forecastkit.data.io import write_atomic
from forecastkit.errors import ConfigError, MissingExtraError

ENDINGS = (".svg", ".png", ".pdf")
_MARKERS = "osD^vP*X<>"
_FRONT = "0.35"  # a grey
_ALIKE = 1e-3  # of an error: variants of one model differ by their rounding


@dataclass(frozen=True)
class Point:
    """A way to ask a model: milliseconds a call, and the error of its forecasts."""

    model: str
    variant: str
    ms: float
    error: float


def front(points: Sequence[Point]) -> list[Point]:
    """The Pareto front, quickest first: those that no other one is quicker than at no greater error, to 0.1 %."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.ms, p.error)):
        if not best or point.error < best[-1].error - _ALIKE * abs(best[-1].error):
            best.append(point)
    return best


def plot(points: Sequence[Point], file: str | Path, *, title: str = "", ms: str = "ms", error: str = "error") -> None:
    """Write a picture of `points`, a colour a model and a marker a variant, the front joined and named.

    `ms` and `error` name the axes. The file's ending says what it will be. Raises `ConfigError` for another ending
    and for nothing to draw, `MissingExtraError` without matplotlib.
    """
    place = Path(file)
    if place.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{file}: a plot ends in {', '.join(ENDINGS)}")
    if not points:
        raise ConfigError("nothing to plot: no measurement has an error")
    out = BytesIO()
    _drawn(points, title, ms, error).savefig(out, format=place.suffix[1:].lower(), dpi=150)
    write_atomic(place, lambda to: to.write(out.getvalue()))


def _drawn(points: Sequence[Point], title: str, ms: str, error: str) -> Any:
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure  # not pyplot, which keeps figures and picks a window system
    except ImportError as missing:
        raise MissingExtraError("a plot", "plot") from missing
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel=ms, ylabel=error, title=title)
    twenty = colormaps["tab20"]
    colours = {model: twenty(k % 20) for k, model in enumerate(dict.fromkeys(p.model for p in points))}
    markers = dict(zip(dict.fromkeys(p.variant for p in points), _MARKERS, strict=False))
    best = front(points)
    axes.step([p.ms for p in best], [p.error for p in best], where="post", color=_FRONT, lw=1, ls="--", zorder=1)
    for p in points:
        edge = "black" if p in best else "none"
        axes.scatter(p.ms, p.error, s=45, color=[colours[p.model]], marker=markers[p.variant], edgecolor=edge, zorder=2)
    for k, p in enumerate(best):  # named below to the left, where by the meaning of a front there is nothing else
        offset = (-5, -5 - 11 * (k % 2))  # in turns, as two of a front may be close
        name, at = f"{p.model}, {p.variant}", (p.ms, p.error)
        axes.annotate(name, at, offset, textcoords="offset points", ha="right", va="top", fontsize="small")
    axes.margins(x=0.28, y=0.1)
    axes.grid(alpha=0.25)
    _explained(axes, colours, markers)
    return figure


def _explained(axes: Any, colours: dict[str, Any], markers: dict[str, str]) -> None:
    """What colours and markers mean, and the line."""
    handles = [axes.scatter([], [], s=45, color=[colour], label=model) for model, colour in colours.items()]
    handles += [axes.scatter([], [], s=45, color="0.6", marker=m, label=variant) for variant, m in markers.items()]
    handles += axes.plot([], [], color=_FRONT, lw=1, ls="--", label="Pareto front")
    axes.legend(handles=handles, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
