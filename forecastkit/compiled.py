"""How numeric loops are compiled: in threads without the GIL, once per machine, kept on disk.

`kernel` is numba's `njit` with the options that all functions here share. What is compiled is kept in the usual
`__pycache__`, or in the user's cache folder where that can't be written, under a stamp of *all* sources of its folder
with kernels in them: numba itself looks only at the file that a function stands in, and would go on using a kernel
whose helper has changed.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from numba import njit, types
from numba.core import caching

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

EXACT = {"contract"}  # a * b + c in one rounding: half the latency of a recursion
_SUMS = {"contract", "reassoc", "nsz"}  # sums in several lanes
# A source with kernels in it, or with what makes them.
_MARKED = re.compile(rb"^@(\w+\.)?(kernel|reduction|driver|by_name)\b|^from forecastkit\.compiled import", re.MULTILINE)


@lru_cache
def _stamp(folder: Path) -> str:
    """Changes with any source of the folder that has kernels in it."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted(folder.glob("*.py")):
        content = file.read_bytes()
        if _MARKED.search(content):
            digest.update(content)
    return digest.hexdigest()


class _Kept(caching.CompileResultCacheImpl):
    """Where a kernel is kept, under the stamp of its whole folder."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        folder = Path(function.__code__.co_filename).parent
        self._locator.get_source_stamp = lambda: _stamp(folder)


class _Cache(caching.FunctionCache):
    """numba's cache of a function; a disk that is full or read-only costs the caching, not the result."""

    _impl_class = _Kept

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            logger.info("compiled code is not kept on disk: %s", error)


def cache(function: Any) -> Any:
    """Where what `function` is compiled to is kept, or nothing is."""
    try:
        return _Cache(function)
    except (OSError, RuntimeError) as error:
        logger.info("compiled code can't be kept on disk: %s", error)
        return caching.NullCache()


def kernel(function: F) -> F:
    """Compile `function` on its first call. It can't make arrays, and is spared counting who holds them."""
    return jitted(function, fastmath=EXACT, _nrt=False)


def reduction(function: F) -> F:
    """A kernel that sums, in whatever order is quickest."""
    return jitted(function, fastmath=_SUMS, _nrt=False)


def jitted(function: F, **options: Any) -> F:
    """numba's `njit` of `function`, kept on disk as all here is."""
    dispatcher: Any = njit(function, nogil=True, error_model="numpy", **options)
    dispatcher._cache = cache(function)
    resolve = dispatcher.get_call_template

    def without_literals(args: Any, kws: Any) -> Any:
        # numba would compile a callee again for each constant that a kernel passes to it.
        return resolve([types.unliteral(a) for a in args], {k: types.unliteral(a) for k, a in kws.items()})

    dispatcher.get_call_template = without_literals
    return dispatcher
