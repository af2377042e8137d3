"""The graph captured on a GPU, once for each size of batch, and replayed: a call costs one launch.

What is captured reads and writes fixed buffers, copies from and to pinned memory included. Weights change in place,
so that a refitted network needs no new capture. A smaller batch is padded to the next size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from forecastkit.errors import ConfigError
from forecastkit.nn.graph import Arrays, Doubles, Graph


class Replay(Protocol):
    """Something that does again what was captured."""

    def __call__(self) -> None: ...


class Capturer(Protocol):
    """Runs `work` as often as `WARM_UP` says, then captures it with the generators that it draws from."""

    def __call__(self, work: Callable[[], None], *generators: torch.Generator) -> Replay: ...


WARM_UP = 3  # runs on the stream of the capture before it, as CUDA's libraries need


def cuda_capture(work: Callable[[], None], *generators: torch.Generator) -> Replay:
    """`work` as a CUDA graph; a replay only starts it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph, stream=stream):
        work()
    return graph.replay


@dataclass(frozen=True, eq=False)
class _Bucket:
    """Buffers of one size, and what fills them."""

    given: tuple[Tensor, ...]  # on the host
    found: tuple[Tensor, ...]  # on the host
    replay: Replay


class Captured:
    """Captures a size when it is first asked for; calls take turns, as they share buffers."""

    def __init__(self, graph: Graph, sizes: tuple[int, ...], capture: Capturer | None = None) -> None:
        self.graph, self.sizes = graph, sizes
        self.device = graph.weights.device
        if capture is None and self.device.type != "cuda":
            raise ConfigError("the variant cudagraph needs a network on a CUDA device; here take onnx or eager")
        self.capture = capture or cuda_capture
        self.buckets: dict[int, _Bucket] = {}
        self._turn = Lock()

    def __call__(self, arrays: Arrays) -> tuple[Doubles, Doubles]:
        count = len(arrays.y)
        size = next((s for s in self.sizes if s >= count), None)
        if size is None:
            raise ConfigError(
                f"a call has {count} series, at most {self.sizes[-1]} are prepared for: give a larger batch"
            )
        with self._turn:
            if size not in self.buckets:
                self.buckets[size] = self._captured(arrays, size)
            bucket = self.buckets[size]
            for buffer, array in zip(bucket.given, arrays, strict=True):
                buffer[:count].copy_(torch.from_numpy(np.ascontiguousarray(array)))
            bucket.replay()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            mean, quantiles = (buffer[:count].numpy().copy() for buffer in bucket.found)
        return mean, quantiles

    def _captured(self, arrays: Arrays, size: int) -> _Bucket:
        horizon, levels = self.graph.plan.horizon, self.graph.weights.shape[1] - 1  # the mean beside them
        given = tuple(self._buffer((size, *a.shape[1:]), torch.from_numpy(a[:0].copy()).dtype) for a in arrays)
        found = tuple(self._buffer(shape, torch.float64) for shape in ((size, horizon), (size, horizon, levels)))

        @torch.inference_mode()
        def work() -> None:
            outputs = self.graph(*(buffer.to(self.device, non_blocking=True) for buffer in given))
            for buffer, output in zip(found, outputs, strict=True):
                buffer.copy_(output, non_blocking=True)

        return _Bucket(given, found, self.capture(work))

    def _buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, pin_memory=self.device.type == "cuda")
