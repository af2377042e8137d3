"""Kernels of the ARIMA core that Python calls, and large ones that others call by name.

Compiling all of it takes most of a minute: two processes do it from both ends.
"""

from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import RLock as Lock
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.caching import NullCache
from numba.core.ccallback import CFunc
from numba.core.typing import signature
from numba.extending import intrinsic

from forecastkit.compiled import EXACT, F, cache, jitted
from forecastkit.execution import cores

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def _announce(each_time: bool) -> None:
    often = "each time, as no folder for what is compiled can be written" if each_time else "once on this machine"
    logger.warning("compiling the ARIMA core, %s: this takes about a minute", often)


class _Announcing:
    """A cache that says when something has to be compiled."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = self._inner.load_overload(sig, target_context)
        if found is None:
            _announce(isinstance(self._inner, NullCache))
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Linking(_Announcing):
    """A cache that first sees to what a driver calls by name."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        _link()
        return super().load_overload(sig, target_context)


def driver(function: F) -> F:
    """A kernel that makes the arrays which others work on, and that Python calls."""
    dispatcher = jitted(function, fastmath=EXACT)
    dispatcher._cache = _Linking(dispatcher._cache)  # type: ignore[attr-defined]
    return dispatcher


_to_link: dict[str, CFunc] = {}
_linking = Lock()


def by_name(result: Any, *arguments: Any) -> Callable[[F], F]:
    """A large kernel of a fixed signature, which others call by its name.

    numba takes the code of a callee into every caller and optimises it there again. Of a kernel that stands below seven
    others that made seven copies, and two minutes of compiling.
    """

    def declare(function: F) -> F:
        name = f"forecastkit_arima_{function.__name__}"
        options = {"error_model": "numpy", "fastmath": EXACT, "_nrt": False}
        callback: Any = CFunc(function, (arguments, result), {}, options)
        callback._cache = _Announcing(cache(function))
        _to_link[name] = callback
        return _caller(name, function, signature(result, *arguments))

    return declare


def _caller(name: str, function: F, declared: Any) -> F:
    """What stands in a kernel's code for a call of `name`."""

    def emit(context: Any, builder: Any, _: Any, values: Any) -> Any:
        kinds = [context.get_value_type(kind) for kind in (declared.return_type, *declared.args)]
        callee = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kinds[0], kinds[1:]), name)
        result = builder.call(callee, values)
        return context.get_dummy_value() if declared.return_type == types.void else result

    def call(_: Any, *__: Any) -> Any:
        return declared, emit

    context = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    call.__signature__ = inspect.Signature([context, *inspect.signature(function).parameters.values()])  # type: ignore[attr-defined]
    caller: Any = intrinsic(call)
    return caller


def _link() -> None:
    """Compile or load what is called by name, and tell the linker where it is; once.

    In the order of definition, as a later one may call an earlier one.
    """
    with _linking:
        if not _to_link or (_linked and _linked[-1] is None):  # in the middle of it: this is one of them being compiled
            return
        with _from_the_other_end():
            while _to_link:
                name, callback = next(iter(_to_link.items()))
                _linked.append(None)
                try:
                    callback.compile()
                    binding.add_symbol(name, callback.address)
                finally:
                    _linked.pop()
                _linked.append(_to_link.pop(name))  # only now: an interrupted one is compiled again


_linked: list[CFunc | None] = []  # kept alive


@contextmanager
def _from_the_other_end() -> Iterator[None]:
    """Where there is much to compile, have another process do it from the last one on until the two meet.

    They meet in the cache. If the other does not come to it, this one compiles all.
    """
    if _on_disk(next(iter(_to_link.values()))) or cores() < 2 or not sys.executable:
        yield
        return
    work = f"import forecastkit.arima.panel; from {__name__} import compile_backwards; compile_backwards()"
    places = os.pathsep.join(filter(None, sys.path))
    quiet = subprocess.DEVNULL
    environment = {**os.environ, "PYTHONPATH": places}
    try:
        other = subprocess.Popen([sys.executable, "-c", work], env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
    except OSError as error:
        logger.info("no second process to compile: %s", error)
        yield
        return
    try:
        yield
    finally:
        other.terminate()
        other.wait()


def _on_disk(callback: CFunc) -> bool:
    """Whether it needs no compiling, or compiling it could not be kept."""
    file = getattr(callback._cache, "_cache_file", None)  # type: ignore[attr-defined]
    return file is None or bool(file._load_index())


def compile_backwards() -> None:
    """Compile what is called by name from the last one on, for the cache; nothing of it can be called here."""
    _linked.append(None)  # drivers that it meets must not link
    for name in _to_link:
        binding.add_symbol(name, 1)
    for callback in reversed(_to_link.values()):
        callback.compile()
