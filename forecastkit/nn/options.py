"""How a network is trained: one frozen value, so that recipes stay narrow."""

from __future__ import annotations

from dataclasses import dataclass

from forecastkit.errors import ConfigError

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class Training:
    """Options of the training loop.

    steps: gradient steps at most; 0 leaves the network untrained, a mix of seasonal naive forecasts.
    batch: windows a step.
    lr: highest learning rate of the one-cycle schedule.
    weight_decay: AdamW's.
    clip: largest norm of a gradient.
    validation: windows of `horizon` periods at the end of each series that are kept for early stopping, and to find
        out what is left to the panel; 0 trains on everything for all steps. Series too short to spare them are trained
        on whole; where all are, in four passes over their windows (decision 157).
    checks: how often the validation windows are scored during training; the best weights are kept.
    patience: checks without a better score after which training stops.
    refit: train again on everything for the steps that were best, of the same cycle; else keep the weights that never
        saw the newest windows, in half the time.
    warm: share of `steps` that a refit takes which begins from the weights of an earlier window; 0 begins afresh.
    dropout: share of what is known of each step that is hidden from the rest of the head in a training step.
    averaging: share of the past in the moving average of the weights that is kept; 0 keeps the last weights.
    precision: fp32, or bf16 for mixed precision; scaling and loss are in fp32 always.

    >>> Training(steps=100).batch
    128
    """

    steps: int = 800
    batch: int = 128
    lr: float = 3e-3
    weight_decay: float = 1e-2
    clip: float = 1.0
    validation: int = 1
    checks: int = 20
    patience: int = 5
    refit: bool = True
    warm: float = 0.1
    dropout: float = 0.3
    averaging: float = 0.98
    precision: str = "fp32"

    def __post_init__(self) -> None:
        for name, lowest in (("steps", 0), ("batch", 1), ("validation", 0), ("checks", 1), ("patience", 1)):
            if getattr(self, name) < lowest:
                raise ConfigError(f"training.{name} must be at least {lowest}, not {getattr(self, name)}")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"training.{name} must be above 0, not {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise ConfigError(f"training.weight_decay must be at least 0, not {self.weight_decay}")
        for name in ("warm", "dropout", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"training.{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"training.precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
