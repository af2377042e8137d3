"""What a training that was killed goes on from: one file for each stretch of it, in a folder that the user names.

A file's name is a digest of all that decides the stretch (network, data, options, seed, torch), so that a folder never
gives a training the state of another one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from forecastkit import execution
from forecastkit.errors import StoreError
from forecastkit.nn.inputs import Inputs
from forecastkit.nn.network import Network
from forecastkit.nn.options import Training
from forecastkit.nn.stretch import Stretch
from forecastkit.store import store_errors, write_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoints:
    """Where the stretches of one training are written down."""

    folder: Path
    training: str  # a digest of it

    @classmethod
    def of(cls, network: Network, inputs: Inputs, seed: int) -> Checkpoints | None:
        """For the training of `network`, where `execution.use_checkpoints` says so."""
        folder = execution.checkpoints()
        if folder is None:
            return None
        about = (asdict(network.plan), asdict(network.shape), seed, torch.__version__)
        digest = hashlib.sha256(json.dumps(about).encode())
        for weight in network.parameters():
            digest.update(weight.detach().cpu().numpy().tobytes())
        read = (inputs.y, inputs.seen, inputs.known, inputs.past, inputs.static, inputs.calendar, inputs.origin)
        for array in read:
            digest.update(np.ascontiguousarray(array).tobytes())
        return cls(folder, digest.hexdigest())

    def place(self, options: Training, steps: int, cycle: int, stage: str, against: tuple[Any, ...] | None) -> Path:
        """The file of one stretch; `against` is what may end it early."""
        about = json.dumps([self.training, asdict(options), steps, cycle, stage, against])
        return self.folder / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.npz"


def write(stretch: Stretch, place: Path) -> None:
    """Write `stretch` down; a crash meanwhile leaves the older state, a full disk costs only this."""
    buffer = BytesIO()
    np.savez(buffer, **{name: value.cpu().numpy() for name, value in stretch.written().items()})  # type: ignore[arg-type]
    beside = place.with_suffix(f".{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_bytes(beside, buffer.getvalue())
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        _say_once(place.parent, str(error.strerror or error))


@lru_cache
def _say_once(folder: Path, reason: str) -> None:
    logger.warning("how far training is could not be written down in %s: %s", folder, reason)


def read(stretch: Stretch, place: Path) -> None:
    """Go on from the file at `place`, if there is one. Raises `StoreError` where it is damaged."""
    if not place.is_file():
        return
    with store_errors(place):
        content = place.read_bytes()
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            kept: dict[str, Tensor] = {name: torch.from_numpy(arrays[name]) for name in arrays}
        stretch.read(kept)
    except (BadZipFile, ValueError, EOFError, KeyError, RuntimeError) as error:
        raise StoreError(f"{place}: damaged, {error}; delete it to train from the start") from error
    logger.info("going on with training at step %d, from %s", stretch.taken, place.name)
