"""Batches of windows gathered from the inputs by index: no copies of the history, no workers.

The history stands on the device, or on the host where the device has no room for it; then batches are gathered there
and sent over, which a GPU does not wait for, as the host runs ahead of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from forecastkit.nn.inputs import Inputs
from forecastkit.nn.plan import Plan

_ROOM = 0.5  # of a device's free memory that the history may take


def free_bytes(device: torch.device) -> float:
    """Memory that is free on a device; without end where it is the host's own."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`, sent there without waiting for it to arrive."""
    if tensor.device == device:
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


class Batch(NamedTuple):
    """B windows: R periods of history, the newest L of which are read, and what is known of the H periods after.

    y, seen: [B, R] · known: [B, R + H, K] · past: [B, L, P] · static: [B, S] · calendar: [B, H, C] · prior: [B, 1]
    what to believe where nothing was seen · base: [B, 1], zero demand lies at -base · lags, lags_seen: [B, H, J]
    demand that many periods before a step (whole multiples of the lag, so that it lies in the past) · known_lags:
    [B, H, J, K] the covariates then.
    """

    y: Tensor
    seen: Tensor
    known: Tensor
    past: Tensor
    static: Tensor
    calendar: Tensor
    prior: Tensor
    base: Tensor
    lags: Tensor
    lags_seen: Tensor
    known_lags: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(*(sent(tensor, device) for tensor in self))

    def newest(self, periods: int) -> Batch:
        """The same with so many periods of demand and known covariates."""
        if not (older := self.y.shape[1] - periods):
            return self
        return self._replace(y=self.y[:, older:], seen=self.seen[:, older:], known=self.known[:, older:])


@dataclass(frozen=True, eq=False)
class Windows:
    """`Inputs` as tensors; see there for the shapes. Batches come on `device`, wherever the tensors stand."""

    plan: Plan
    device: torch.device
    y: Tensor
    seen: Tensor
    known: Tensor
    past: Tensor
    static: Tensor
    calendar: Tensor
    origin: Tensor
    prior: Tensor
    base: Tensor
    lags: Tensor  # [J]
    end: int

    @classmethod
    def of(cls, inputs: Inputs, plan: Plan, device: torch.device) -> Windows:
        names = ("y", "seen", "known", "past", "static", "calendar", "origin", "prior", "base")
        arrays = {name: torch.from_numpy(getattr(inputs, name)) for name in names}
        size = sum(array.nbytes for array in arrays.values())
        home = device if size <= _ROOM * free_bytes(device) else torch.device("cpu")
        tensors = {name: array.to(home) for name, array in arrays.items()}
        lags = torch.tensor(plan.lags, dtype=torch.long, device=home)
        return cls(plan=plan, device=device, end=inputs.end, lags=lags, **tensors)

    @property
    def home(self) -> torch.device:
        """Where the tensors stand, and the indices of windows must."""
        return self.y.device

    def rows(self, index: Tensor) -> Windows:
        """The series at `index` alone."""
        names = ("y", "seen", "known", "past", "static", "origin", "prior", "base")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def batch(self, series: Tensor, start: Tensor, steps: int) -> Batch:
        """The windows whose first forecast period is column `start` [B] of `series` [B], with `steps` periods ahead."""
        device, rows, lag = self.home, series[:, None], self.lags
        history = start[:, None] + torch.arange(-self.plan.recall, 0, device=device)  # [B, R]
        step = torch.arange(steps, device=device)
        future = start[:, None] + step  # [B, H]
        before = future[..., None] - lag * (step[:, None] // lag + 1 if len(lag) else 1)  # [B, H, J]
        everything = torch.cat([history, future], dim=1)
        period = (self.origin[series][:, None] + future).clamp(min=0)
        return Batch(
            y=self.y[rows, history],
            seen=self.seen[rows, history],
            known=self.known[rows, everything],
            past=self.past[rows, history[:, -self.plan.lookback :]],
            static=self.static[series],
            calendar=self.calendar[period],
            prior=self.prior[rows],
            base=self.base[rows],
            lags=self.y[rows[..., None], before],
            lags_seen=self.seen[rows[..., None], before],
            known_lags=self.known[rows[..., None], before],
        ).to(self.device)

    def targets(self, series: Tensor, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Demand of the periods ahead and where it was seen; [B, H], [B, H]."""
        future = start[:, None] + torch.arange(steps, device=self.home)
        y, seen = self.y[series[:, None], future], self.seen[series[:, None], future]
        return sent(y, self.device), sent(seen, self.device)

    def from_starts(self, series: Tensor, start: Tensor, steps: int) -> Windows:
        """`series` [B] as if the history of each ended before its own `start` [B], and `steps` periods ahead of it."""
        span, device = self.plan.context, self.home
        rows, columns = series[:, None], start[:, None] + torch.arange(-span, steps, device=device)  # [B, C + H]
        later = torch.arange(span + steps, device=device) >= span
        return replace(
            self.rows(series),
            y=self.y[rows, columns].masked_fill(later, 0.0),
            seen=self.seen[rows, columns] & ~later,
            known=self.known[rows, columns],
            past=self.past[rows, columns].masked_fill(later[:, None], 0.0),
            origin=self.origin[series] + start - span,
            end=span,
        )

    def continued(self, start: int, values: Tensor) -> Windows:
        """With `values` [N, H] as if they had been observed from column `start` on."""
        y, seen = self.y.clone(), self.seen.clone()
        y[:, start : start + values.shape[1]] = values.to(self.home)
        seen[:, start : start + values.shape[1]] = True
        return replace(self, y=y, seen=seen)
