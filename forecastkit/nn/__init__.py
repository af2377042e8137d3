"""The torch core: one recurrent network, its inputs, its training loop, and the forecaster over them.

From bottom to top: `options` (how to train), `distributions` (of counts and amounts), `plan` (sizes from a panel),
`inputs` (a panel as padded arrays), `windows` (those arrays on a device, and batches gathered by index), `cells`
(a GRU as a CPU trains it), `network`, `decoding` (further than its head reaches), `training`, `forecaster`.
"""

from __future__ import annotations

from forecastkit.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "torch") from error
