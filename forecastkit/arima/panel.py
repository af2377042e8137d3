"""The core over a panel: pieces of it in threads, which compiled code runs without the GIL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecastkit import execution
from forecastkit.arima import boxcox, estimation, forecasting
from forecastkit.arima import search as searching
from forecastkit.arima.estimation import REGRESSION, Model
from forecastkit.arima.preparation import History
from forecastkit.arima.search import Limits
from forecastkit.data.panel import Floats, Ints

_PIECES = 8  # a thread, so that no one waits long for another
_LEAST, _MOST = 8, 64  # series a piece; between pieces Ctrl-C is heard


@dataclass(frozen=True, eq=False)
class Demand:
    """Series one after another, of which pieces go to the compiled code.

    values: [R] NaN where nothing is known · offsets: [N + 1] · starts: [N] numbers of the first periods · known: [R, F]
    covariates · season: periods in a season.
    """

    values: Floats
    offsets: Ints
    starts: Ints
    known: Floats
    season: int

    def __len__(self) -> int:
        return len(self.starts)

    def piece(self, first: int, last: int) -> History:
        """Series `first` to `last`."""
        a, b = self.offsets[first], self.offsets[last]
        return History(
            values=_steady(self.values[a:b]),
            offsets=self.offsets[first : last + 1] - a,
            starts=_steady(self.starts[first:last]),
            known=_steady(self.known[a:b]),
            season=self.season,
        )


def curved(demand: Demand, powers: Floats) -> Demand:
    """The series on the scale of Box-Cox transforms with these lambdas, [N]."""
    if (powers == 1).all():
        return demand
    return replace(demand, values=boxcox.transformed(demand.values, powers, demand.offsets))


def fit(demand: Demand, model: Model, warm: Floats | None = None) -> Floats:
    """One row of `estimation` a series, [N, L]; `warm` [N, L] are rows of an earlier fit to begin from."""
    return _rows(demand, row_length(model.terms.pairs, model.terms.known), warm, partial(estimation.fit_rows, model))


def search(demand: Demand, limits: Limits, warm: Floats | None = None) -> Floats:
    """One row of `estimation` a series, [N, L], of the model that was chosen for it."""
    return _rows(demand, row_length(limits.pairs, limits.known), warm, partial(searching.search_rows, limits))


def _rows(
    demand: Demand, length: int, warm: Floats | None, estimate: Callable[[History, Floats, Floats], None]
) -> Floats:
    """What `estimate` makes of pieces of the panel, the rows to begin from and those to fill; [N, length]."""
    rows = np.zeros((len(demand), length))
    hints = np.empty((0, length)) if warm is None else warm

    def work(first: int, last: int) -> None:
        estimate(demand.piece(first, last), hints[first:last].copy(), rows[first:last])

    _in_threads(work, len(demand))
    return rows


def forecast(demand: Demand, ahead: Floats, rows: Floats, *, spread: bool) -> tuple[Floats, Floats]:
    """Means and standard deviations [N, H] of the periods to come, in the units of the rows; NaN without a model.

    ahead: [N, H, F] covariates to come. Deviations are 0 unless `spread` is asked for.
    """
    mean = np.zeros(ahead.shape[:2])
    deviation = np.zeros(ahead.shape[:2])
    detail = forecasting.SPREAD if spread else forecasting.MEAN

    def work(first: int, last: int) -> None:
        part = slice(first, last)
        history, coming, own = demand.piece(first, last), _steady(ahead[part]), _steady(rows[part])
        forecasting.forecast_rows(history, coming, own, detail, mean[part], deviation[part])

    _in_threads(work, len(demand))
    return mean, deviation


def joint(demand: Demand, i: int, ahead: Floats, row: Floats) -> tuple[Floats, Floats]:
    """Mean [H] and covariance [H, H] of the forecasts of series i; `ahead` [H, F]."""
    mean, covariance = np.zeros(len(ahead)), np.zeros((len(ahead), len(ahead)))
    forecasting.joint_covariance(demand.piece(i, i + 1), _steady(ahead), _steady(row), mean, covariance)
    return mean, covariance


def residuals(demand: Demand, rows: Floats) -> Floats:
    """E[noise | history] of every period, [R]; NaN where differencing took it or a series has no model."""
    out = np.full(len(demand.values), np.nan)

    def work(first: int, last: int) -> None:
        part = out[demand.offsets[first] : demand.offsets[last]]
        forecasting.filter_rows(demand.piece(first, last), _steady(rows[first:last]), part)

    _in_threads(work, len(demand))
    return out


def row_length(pairs: int, known: int) -> int:
    """Numbers in a row of `estimation`."""
    return REGRESSION + 2 + 2 * pairs + known


def _steady(array: NDArray[Any]) -> NDArray[Any]:
    """Contiguous and writeable, so that every call has the one signature that was compiled."""
    return array if array.flags.c_contiguous and array.flags.writeable else array.copy()


def _pieces(count: int, threads: int) -> Iterator[tuple[int, int]]:
    size = min(max(_LEAST, -(-count // (_PIECES * threads))), _MOST)
    yield from ((k, min(k + size, count)) for k in range(0, count, size))


def _in_threads(work: Callable[[int, int], None], count: int) -> None:
    threads = min(execution.threads(), -(-count // _LEAST))
    if threads <= 1:
        for first, last in _pieces(count, 1):
            work(first, last)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(work, first, last) for first, last in _pieces(count, threads)]
        try:
            for job in waiting:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
