"""Where work runs, in line or in processes, and what it costs."""

from __future__ import annotations

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from forecastkit.errors import FitError

T = TypeVar("T")
R = TypeVar("R")

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_SOON = 1.0  # seconds
_PATIENCE_S = 2.0  # with a process that is asked to end, before it is made to


_threads: ContextVar[int | None] = ContextVar("threads", default=None)


def threads() -> int:
    """Threads that compiled code may use: what `use_threads` says, else the cores that this process may run on."""
    wanted = _threads.get()
    return cores() if wanted is None else wanted


def processes() -> int:
    """Processes that work within a fit may be spread over: what `use_threads` says, else 1.

    Who was not asked starts none: a script may have no guard around its work.
    """
    return _threads.get() or 1


@contextmanager
def _set(setting: ContextVar[T], value: T) -> Iterator[None]:
    token = setting.set(value)
    try:
        yield
    finally:
        setting.reset(token)


def use_threads(count: int | None) -> AbstractContextManager[None]:
    """Let compiled code in the block use `count` threads, and work that needs them as many processes.

    The numbers that it gives don't depend on it.
    """
    return _set(_threads, count)


Progress = Callable[[int, int, str], None]  # done, of all, what
_progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


def report(done: int, total: int, what: str) -> None:
    """Say how far a long piece of work is, to whoever listens (`use_progress`)."""
    listener = _progress.get()
    if listener is not None:
        listener(done, total, what)


def use_progress(listener: Progress | None) -> AbstractContextManager[None]:
    """Hear from long pieces of work in the block."""
    return _set(_progress, listener)


_checkpoints: ContextVar[Path | None] = ContextVar("checkpoints", default=None)


def checkpoints() -> Path | None:
    """The folder where long trainings write down how far they are, if there is one."""
    return _checkpoints.get()


def use_checkpoints(folder: str | Path | None) -> AbstractContextManager[None]:
    """Let trainings in the block go on from what is in `folder`, and write down there how far they are.

    What a killed training left is used by the same training alone. The folder is the caller's to remove.
    """
    return _set(_checkpoints, None if folder is None else Path(folder))


def cores() -> int:
    """Cores that this process may run on; 1 in a worker, as there is one worker a core."""
    if multiprocessing.parent_process() is not None:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker() -> int:
    """The number of this worker process, from 0; 0 in the parent too."""
    identity = multiprocessing.current_process()._identity
    return identity[0] - 1 if identity else 0


@dataclass
class Usage:
    """What a piece of work cost: wall and CPU seconds, and peak memory in MB above what was held before."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def measured() -> Iterator[Usage]:
    """Measure the block; the figures stand in the yielded `Usage` afterwards.

    The peak is the kernel's high-water mark, reset at the start (Linux; elsewhere the mark of the whole process).
    """
    usage = Usage()
    _release()
    before, wall, cpu = _resident_mb(), time.perf_counter(), _cpu_s()
    try:
        yield usage
    finally:
        usage.seconds, usage.cpu_s = time.perf_counter() - wall, _cpu_s() - cpu
        usage.peak_mb = max(0.0, peak_mb() - before)


def _cpu_s() -> float:
    """Of this process and of those that it has started and that have ended."""
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system


def _release() -> None:
    """Hand freed memory back and reset the high-water mark, so that one model's peak isn't hidden by another's."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5")
    except (OSError, AttributeError, TypeError):
        return  # not Linux with glibc: peaks are then those of the whole process


def _field_mb(name: str) -> float | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith(name)), None)


def _resident_mb() -> float:
    return _field_mb("VmRSS") or 0.0


def peak_mb() -> float:
    """The most memory that this process has held so far."""
    found = _field_mb("VmHWM")
    if found is not None:
        return found
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(task: Callable[[T], R], items: Sequence[T], *, jobs: int = 1, executor: Executor | None = None) -> Iterator[R]:
    """`task(item)` of each item, in the order of completion: in line, in `jobs` processes, or on an `executor`.

    Any executor with `submit` will do (processes, a cluster's). `FitError` when a worker is killed.
    """
    if executor is not None:
        yield from _collected(executor, task, items)
    else:
        # Processes take a second or two to start: what is done by then needs none.
        until = time.perf_counter() + (_SOON if jobs > 1 else float("inf"))
        done = 0
        while done < len(items) and time.perf_counter() < until:
            yield task(items[done])
            done += 1
        if rest := items[done:]:
            with _pool(min(jobs, len(rest))) as pool:
                yield from _collected(pool, task, rest)


def crew(task: Callable[[int], None], count: int, tick: Callable[[], None] | None = None) -> list[int]:
    """`task(k)` in `count` processes that don't need each other: one that is killed leaves the others at work.

    Returns their exit codes; `tick` is called once a second meanwhile.
    """
    context = multiprocessing.get_context("spawn")
    members = [context.Process(target=_member, args=(task, k)) for k in range(count)]
    with _uninterrupted():
        for member in members:
            member.start()
    try:
        while any(member.is_alive() for member in members):
            multiprocessing.connection.wait([member.sentinel for member in members if member.is_alive()], timeout=1.0)
            if tick is not None:
                tick()
    except BaseException:
        for member in members:
            member.terminate()
        try:
            for member in members:
                member.join(_PATIENCE_S)
        finally:  # a second Ctrl-C is no more patient
            for member in members:
                member.kill()
        raise
    finally:
        for member in members:
            member.join()
    return [member.exitcode or 0 for member in members]


def _member(task: Callable[[int], None], number: int) -> None:
    _worker()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its temporary folders go
    task(number)


@contextmanager
def _pool(jobs: int) -> Iterator[Executor]:
    # "spawn": a forked copy of a process with threads (torch, OpenMP) can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_worker)
    try:
        yield pool
    except BaseException:
        # Ctrl-C or an error: what runs is worth nothing any more, so don't wait for it.
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in workers:
            process.terminate()
        raise
    pool.shutdown()


@contextmanager
def beside() -> Iterator[Executor]:
    """One process for what need not be waited for; at the end what it was given is waited for, at an error it ends."""
    with _pool(1) as pool:
        with _uninterrupted():
            pool.submit(_ready)
        yield pool
        # To take down what it has imported would cost it up to a second, and there is nothing to tidy.
        with suppress(BrokenProcessPool):
            pool.submit(os._exit, 0).result()


def _ready() -> None:
    """Nothing: a process starts with its first task."""


def _worker() -> None:
    """One thread a process, as there is one process a core; and only the parent answers Ctrl-C."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End with the parent, also when it was killed and could not say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _collected(executor: Executor, task: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    with _uninterrupted():
        futures: list[Any] = [executor.submit(task, item) for item in items]
    try:
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise FitError(
            "a worker process ended: want of memory (use fewer jobs, --jobs, and --resume), or a script without "
            "a __main__ guard around its work"
        ) from error


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C pass while workers start: they inherit that, so that only the parent answers it ever after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def machine() -> dict[str, Any]:
    """What the work ran on: processor, cores, memory in GB, system, Python."""
    import platform

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "processor": _processor() or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def load_average() -> float | None:
    """Processes that wanted a core in the last minute, on average; None where the system doesn't say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
