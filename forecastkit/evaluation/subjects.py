"""What a model is asked, and the ways to ask it: the subjects of the latency harness.

`frame` is from a table to a table, `panel` from a panel in memory to arrays, the others are the variants of a compiled
predictor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecastkit import baseline
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, FitError, MissingExtraError
from forecastkit.evaluation.metrics import wape
from forecastkit.forecaster import Fitted

SCENARIOS = ("single", "multi", "server", "offline")
COMPILED = ("eager", "bf16", "onnx", "onnx-int8", "cudagraph")
_USUAL = 28  # periods ahead of a model that does not say what it was fitted for

Call = Callable[[], Any]


@dataclass(frozen=True)
class Load:
    """What is asked: the scenario, items a call (8 and 64 for multi), and for how many seconds each row is measured.

    budget_ms: of the 99th percentile in `server` · price: of an hour of one core, in any currency · horizon: of `frame`
    and `panel`; None is the one that the model was fitted for, or 28 · calls: at least, of each row.
    """

    scenario: str = "single"
    batch: tuple[int, ...] = ()
    seconds: float = 3.0
    budget_ms: float = 50.0
    price: float = 0.05
    calls: int = 3
    horizon: int | None = None

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise ConfigError(f"scenario must be one of {', '.join(SCENARIOS)}, not {self.scenario!r}")
        if any(size < 1 for size in self.batch):
            raise ConfigError(f"batch must be at least 1, not {min(self.batch)}")

    def sizes(self, items: int) -> tuple[int, ...]:
        usual = {"single": (1,), "multi": (8, 64), "server": (64,), "offline": (items,)}[self.scenario]
        return self.batch or usual


@dataclass(frozen=True, eq=False)
class Subject:
    """A way to ask a model. `prepare(batch)` gives the call that is timed, for so many series."""

    model: str
    variant: str
    prepare: Callable[[int], Call]
    horizon: int = 1
    load_s: float = 0.0
    import_s: float | None = None
    threads: int = 1
    device: str = "cpu"
    parity: float | None = None
    error: float | None = None


def subjects(
    fitted: Fitted, load: Load, variants: Sequence[str] = (), threads: int = 1, actual: Panel | None = None
) -> tuple[list[Subject], dict[str, str]]:
    """The ways to ask `fitted`, and why others are left out; `variants` picks some by name.

    With the `actual` demand after its history each knows the error of its forecasts too.
    """
    wanted = variants or ("frame", "panel", *COMPILED)
    unknown = set(wanted) - {"frame", "panel", *COMPILED}
    if unknown:
        raise ConfigError(f"no variant {min(unknown)!r}: there are frame, panel, {', '.join(COMPILED)}")
    found, refused = [s for s in _plain(fitted, load, threads) if s.variant in wanted], {}
    if actual is not None and found:
        error = _error(fitted, actual, found[0].horizon, partial(_median, fitted, found[0].horizon))
        found = [replace(subject, error=error) for subject in found]
    for variant in (v for v in COMPILED if v in wanted):
        try:
            found.append(_compiled(fitted, variant, threads, actual))
        except (ConfigError, MissingExtraError, FitError) as error:
            refused[variant] = str(error)
    if not found:
        raise ConfigError(f"nothing to measure: {'; '.join(dict.fromkeys(refused.values()))}")
    return found, refused


def _plain(fitted: Fitted, load: Load, threads: int) -> Iterator[Subject]:
    panel, name = fitted.history, fitted.recipe.name
    horizon = load.horizon or fitted.horizon or _USUAL
    device = fitted.device

    def frame(batch: int) -> Call:
        table = _many(fitted, batch).to_frame()
        roles = {role: getattr(panel, role).names for role in ("known", "past", "static")}
        available = "available" if panel.available is not None else None

        def call() -> Any:
            new = fitted.update(Panel.from_frame(table, freq=panel.freq, available=available, **roles))
            return new.predict(horizon, future=_plan(new, horizon)).to_frame()

        return call

    def arrays(batch: int) -> Call:
        new = fitted.update(_many(fitted, batch))
        future = _plan(new, horizon)
        return lambda: new.predict(horizon, future=future)

    yield Subject(name, "frame", frame, horizon, threads=threads, device=device)
    yield Subject(name, "panel", arrays, horizon, threads=threads, device=device)


def _median(fitted: Fitted, horizon: int, future: NDArray[np.float64] | None) -> NDArray[np.float64]:
    levels = (0.5,) if fitted.recipe.probabilistic else ()
    return fitted.predict(horizon, levels=levels, future=future).median()


def _error(
    fitted: Fitted, actual: Panel, horizon: int, ask: Callable[[NDArray[np.float64] | None], NDArray[np.float64]]
) -> float | None:
    """WAPE of what `ask` forecasts with the covariates that came; None where nothing is known of what came."""
    history, actual = fitted.history, actual.recoded(fitted.history)
    future = _plan(fitted, horizon)
    if future is not None and len(actual.known):
        came = _after(history, actual, actual.known_filled, horizon)
        future = np.where(np.isnan(came), future, came)
    y = _after(history, actual, baseline.demand(actual), horizon)
    seen = ~np.isnan(y)
    return float(wape(y[seen], ask(future)[seen])) if seen.any() else None


def _after(history: Panel, actual: Panel, rows: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """The `rows` of `actual` [R, ...] in the periods after `history`, NaN where it has none; [N, H, ...]."""
    index = {name: i for i, name in enumerate(actual.ids)}
    own = np.array([index.get(name, -1) for name in history.ids])  # [N]
    position = history.future_ordinals(horizon) - actual.starts[own][:, None]  # [N, H]
    inside = (own >= 0)[:, None] & (position >= 0) & (position < actual.lengths[own][:, None])
    found = rows[np.where(inside, actual.offsets[own][:, None] + position, 0)]  # [N, H, ...]
    return np.where(inside.reshape(inside.shape + (1,) * (rows.ndim - 1)), found, np.nan)


def _compiled(fitted: Fitted, variant: str, threads: int, actual: Panel | None) -> Subject:
    begun = time.perf_counter()
    predictor = fitted.compile(variant, threads=threads)
    seconds = time.perf_counter() - begun

    def prepare(batch: int) -> Call:
        own = fitted.update(_many(fitted, batch))
        arrays = predictor.arrays(own.history, _plan(own, predictor.horizon))
        return lambda: predictor(arrays)

    def median(future: NDArray[np.float64] | None) -> NDArray[np.float64]:
        answer: NDArray[np.float64] = predictor.predict(future=future).median()
        return answer

    return Subject(
        fitted.recipe.name,
        variant,
        prepare,
        predictor.horizon,
        load_s=seconds,
        threads=threads,
        device=predictor.device,
        parity=predictor.parity.largest,
        error=None if actual is None else _error(fitted, actual, predictor.horizon, median),
    )


def _many(fitted: Fitted, count: int) -> Panel:
    """So many series; a pooled model is asked for some again under another name where it has fewer."""
    panel = fitted.history
    if count > len(panel) and not fitted.recipe.pooled:
        raise ConfigError(f"{fitted.recipe.name} knows {len(panel):,} series, {count:,} a call are asked for")
    part = panel.take(np.arange(count) % len(panel))
    names = tuple(name if k < len(panel) else f"{name} ({k // len(panel)})" for k, name in enumerate(part.ids))
    return replace(part, ids=names)


def _plan(fitted: Fitted, horizon: int) -> NDArray[np.float64] | None:
    """The newest known covariates, once more for each period to come; [N, H, K]."""
    history = fitted.history
    if not len(history.known):
        return None
    newest = np.nan_to_num(history.known_filled[history.offsets[1:] - 1])  # [N, K]
    return np.repeat(newest[:, None], horizon, axis=1)
