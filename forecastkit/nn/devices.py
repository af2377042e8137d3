"""Where networks stand: CPU or GPU, as a recipe asks."""

from __future__ import annotations

import torch

from forecastkit.errors import ConfigError
from forecastkit.execution import worker

DEVICES = ("auto", "cpu", "cuda", "mps")


def devices() -> list[str]:
    """The devices that are here."""
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [name for name, here in found.items() if here]


def device_of(name: str) -> torch.device:
    """The device of a recipe; `auto` is CUDA where there is one, else the CPU: such networks gain nothing from mps."""
    if name == "auto":
        name = "cuda" if "cuda" in devices() else "cpu"
    if name not in devices():
        raise ConfigError(f"device {name!r} is not here; found: {', '.join(devices())}")
    if name == "cuda":  # worker processes take turns on the GPUs
        return torch.device(name, worker() % torch.cuda.device_count())
    return torch.device(name)
