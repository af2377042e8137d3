"""The rows of a long table by series and time, and what is counted of them once: before they are laid on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forecastkit.data.panel import Floats, Ints

ALL = slice(None)


@dataclass(frozen=True)
class Rows:
    """Rows in order; `order` sorts a column of the table alike."""

    ids: tuple[str, ...]  # N
    owner: Ints  # [rows] index into ids, ascending
    stamps: Ints  # [rows] microseconds, ascending within a series
    y: Floats  # [rows]
    order: Ints | None
    zone: str | None = None  # of `stamps` that are counted in UTC

    @cached_property
    def together(self) -> NDArray[np.bool_]:
        """Whether a row is of the same series as the one before, [rows - 1]."""
        return self.owner[1:] == self.owner[:-1]

    @cached_property
    def steps(self) -> Ints:
        """Microseconds from each row to the next of the same series."""
        steps = self.stamps[1:] - self.stamps[:-1]
        return steps if len(self.ids) == 1 else steps[self.together]

    @cached_property
    def first(self) -> Ints:
        """The first row of each series, [N]."""
        return first_of_each(self.together)

    @cached_property
    def moments(self) -> tuple[Ints, Ints | slice]:
        """The distinct stamps, and which of them each row has: a panel of many series has few."""
        if len(self.ids) == 1:
            return self.stamps, ALL  # none comes twice
        whole = pa.array(self.stamps).dictionary_encode()
        return whole.dictionary.to_numpy(), whole.indices.to_numpy()


def first_of_each(together: NDArray[np.bool_]) -> Ints:
    """The first row of each series, of rows some of which are `together` with the one before."""
    return np.concatenate([[0], np.flatnonzero(~together) + 1])
