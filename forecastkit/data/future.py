"""The known covariates of periods to come: from a person's table to an array."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pyarrow as pa

from forecastkit.data.columns import Columns, coded, id_texts, read_stamps, to_arrow
from forecastkit.data.panel import Covariates, Floats, Panel
from forecastkit.errors import ColumnError, DataError, FrequencyError, closest, counted, such

logger = logging.getLogger(__name__)

_FAR = 5  # times as large, or as small, as all that was seen


def lay_out(history: Panel, horizon: int, future: Any, columns: Columns | None = None) -> Floats:
    """Known covariates of the `horizon` periods after each series, [N, H, K]; NaN where `future` has no row.

    `future` is a long table with an id, a time and the known columns; None is an empty one. A table without the id
    column holds for every series, so that its times must not repeat. Rows outside the horizon and series outside the
    history are ignored.
    """
    known = history.known
    values = np.full((len(history), horizon, len(known)), np.nan)
    if future is None:
        return values
    columns = columns or Columns(known=known.names)
    table = to_arrow(future, columns)
    _check(table, columns, known)
    block = _block(table, known)
    owner, step, row = _steps(table, columns, history)
    inside = (owner >= 0) & (step >= 0) & (step < horizon)
    _once(history, horizon, owner[inside], step[inside])
    values[owner[inside], step[inside]] = block[row[inside]]
    _say_far(history, values)
    return values


def check_complete(
    model: str, history: Panel, values: Floats, future: Any = None, columns: Columns | None = None
) -> None:
    """Refuse `values` [N, H, K] with periods that have no row or number; an empty text (-1) is a category of its own.

    `future` is what they were laid out from: ids in it that `history` does not have are most often the reason.
    """
    if np.isinf(values).any():
        raise DataError(f"the future has {counted(int(np.isinf(values).sum()), 'infinite value')}")
    holes: Any = np.isnan(values)  # [N, H, K]
    if not holes.any():
        return
    names = [history.known.names[k] for k in np.flatnonzero(holes.any(axis=(0, 1)))]
    missing = holes.any(axis=2)  # [N, H]
    numbers = history.future_ordinals(values.shape[1])[missing]
    first, last, at = history.calendar.texts(np.array([numbers.min(), numbers.max(), numbers[0]]))
    every = [history.ids[i] for i in np.flatnonzero(missing.any(axis=1))]
    strangers = _strangers(history, future, columns or Columns())
    remedy = "give them by future, on the command line --future" if future is None else "the plan lacks them"
    raise DataError(
        f"{strangers}{model} needs the known columns {', '.join(names)} from {first} to {last}: "
        f"{remedy}; one is missing in {int(missing.sum()):,} of {counted(missing.size, 'row')}, "
        f"the first is {every[0]!r} at {at}{_early(history, missing)}{_enough(missing)}",
        series=every[0],
        every=every,
    )


def _early(history: Panel, missing: Any) -> str:
    """What to say at the end where series that ended before the others need a plan from there on, [N, H]."""
    early = (history.ends < history.ends.max()) & missing.any(axis=1)
    if not early.any():
        return ""
    who = history.ids[int(np.argmax(early))]
    ends = counted(int(early.sum()), f"series, {who!r}, ends", f"series, such as {who!r}, end")
    return f"; {ends} before the others: a forecast begins where its series ends, so fill it up or leave it out"


def _enough(missing: Any) -> str:
    """What to say at the end where a plan has all of the first periods, [N, H]."""
    steps = int(np.argmax(missing.any(axis=0)))
    return f"; for a horizon of {steps} the plan is enough" if steps else ""


def _strangers(history: Panel, future: Any, columns: Columns) -> str:
    """What to say first where a plan speaks of series that the model does not know."""
    table = None if future is None or isinstance(future, np.ndarray) else to_arrow(future, columns)
    if table is None or columns.id not in table.column_names:
        return ""
    known = set(history.ids)
    found = [text for text in id_texts(table.column(columns.id), columns.id)[1] if text not in known]
    if not found:
        return ""
    near = closest(found[0], history.ids) or "."
    return f"the plan has ids that the model does not know, {len(found):,} in all, the first is {found[0]!r}{near} "


def _check(table: pa.Table, columns: Columns, known: Covariates) -> None:
    for name in (columns.time, *known.names):
        if name not in table.column_names:
            remedy = _usual(columns) if name == columns.time else ""
            raise ColumnError(name, table.column_names, role="future", remedy=remedy)


def _usual(columns: Columns) -> str:
    """What to do where a plan has names of its own: a panel does not remember those of its table."""
    return f"rename yours to {columns.id!r} and {columns.time!r}, or in the command forecast give --id and --time"


def _block(table: pa.Table, known: Covariates) -> Floats:
    columns = {name: coded(table.column(name), name) for name in known.names}
    categories = {name: texts for name, (_, texts) in columns.items() if texts is not None}
    for name, texts in known.categories.items():
        _say_strange(name, [text for text in categories.get(name, ()) if text not in texts], texts)
    values = np.stack([column for column, _ in columns.values()], axis=-1)  # [rows, K]
    values = Covariates(known.names, values, categories).recoded(known).values
    return marked(values, known)


def _say_strange(name: str, strange: list[str], texts: tuple[str, ...]) -> None:
    """A text that the model never saw is forecast as an empty one, which is often not what was meant: YES for yes."""
    if strange:
        first = f"{strange[0]!r}{such(len(strange))}{closest(strange[0], texts)}"
        logger.warning("column %r of the plan holds what the history doesn't, %s: read as an empty text", name, first)


def _say_far(history: Panel, values: Floats) -> None:
    """Numbers far from all that a series had are forecast from all the same, and most often are in another unit."""
    known = history.known
    for k, name in enumerate(known.names):
        if name in known.categories:
            continue
        low, high = (way.reduceat(known.values[:, k], history.offsets[:-1]) for way in (np.fmin, np.fmax))  # [N]
        least, most = (way.reduce(values[..., k], axis=1) for way in (np.fmin, np.fmax))  # [N]
        largest = np.maximum(np.abs(low), np.abs(high))
        far = (largest > 0) & (np.maximum(np.abs(least), np.abs(most)) > _FAR * largest)
        far |= (low > 0) & (most < low / _FAR)  # all of it, as one clearance price is one
        if far.any():
            at = int(np.argmax(far))
            text = "column %r of the plan: series %r%s goes from %g to %g, in its history from %g to %g: the same unit?"
            whose = (history.ids[at], such(int(far.sum())))
            logger.warning(text, name, *whose, least[at], most[at], low[at], high[at])


def marked(values: Floats, known: Covariates) -> Floats:
    """`values` with -1 for an empty text, which is a category like any other; NaN is left for what has no row."""
    texts = np.array([name in known.categories for name in known.names])
    return np.where(np.isnan(values) & texts, -1.0, values)


def _steps(table: pa.Table, columns: Columns, history: Panel) -> tuple[Any, Any, Any]:
    """For every row that speaks of a series: the series, its step from 0 on, and the row of the table."""
    stamps, _ = read_stamps(table.column(columns.time), columns.time, history.calendar)
    times = stamps.astype("M8[us]")
    try:
        numbers = history.calendar.ordinals(times)
    except FrequencyError as error:
        whose = _whose(table, columns, int(np.argmax(history.calendar.off_grid(times))))
        raise DataError(f"the future's times don't fit the history: {whose}{error}") from error
    rows = np.arange(len(numbers))
    first = history.ends + 1
    if columns.id in table.column_names:
        codes, texts = id_texts(table.column(columns.id), columns.id)
        index = {name: i for i, name in enumerate(history.ids)}
        owner = np.array([index.get(text, -1) for text in texts], np.int64)[codes]
        step = numbers - first[owner]
    else:
        _speaks_for_all(table, columns, numbers)
        owner = np.repeat(np.arange(len(history)), len(rows))
        rows = np.tile(rows, len(history))
        step = numbers[rows] - first[owner]
    return owner, step, rows


def _whose(table: pa.Table, columns: Columns, row: int) -> str:
    """The series of a row, to begin a message with; nothing in a plan that holds for all."""
    if columns.id not in table.column_names:
        return ""
    codes, texts = id_texts(table.column(columns.id), columns.id)
    return f"series {texts[codes[row]]!r}: "


def _speaks_for_all(table: pa.Table, columns: Columns, numbers: Any) -> None:
    """A plan without ids holds for every series; refuse one whose ids merely have another name."""
    if closest(columns.id, table.column_names) or len(np.unique(numbers)) < len(numbers):
        raise ColumnError(columns.id, table.column_names, role="future's ids", remedy=_usual(columns))


def _once(history: Panel, horizon: int, owner: Any, step: Any) -> None:
    """Refuse a plan that says two things of one period."""
    cells, count = np.unique(owner * horizon + step, return_counts=True)
    if twice := int((count > 1).sum()):
        series, at = divmod(int(cells[count > 1][0]), horizon)
        when = history.calendar.texts(history.ends[series : series + 1] + 1 + at)[0]
        raise DataError(
            f"the future has {counted(twice, 'period')} twice, the first is {history.ids[series]!r} at {when}",
            series=history.ids[series],
        )
