"""Inputs on a device, and batches of windows gathered from them by index: no copies of the history, no workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from forecastkit.nn.inputs import Inputs
from forecastkit.nn.plan import Plan


class Batch(NamedTuple):
    """B windows: L periods of history and what is known of the H periods after.

    y, seen: [B, L] · known: [B, L + H, K] · past: [B, L, P] · static: [B, S] · calendar: [B, H, C] · prior: [B, 1]
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


@dataclass(frozen=True, eq=False)
class Windows:
    """`Inputs` as tensors on one device; see there for the shapes."""

    plan: Plan
    y: Tensor
    seen: Tensor
    known: Tensor
    past: Tensor
    static: Tensor
    calendar: Tensor
    origin: Tensor
    prior: Tensor
    base: Tensor
    end: int

    @classmethod
    def of(cls, inputs: Inputs, plan: Plan, device: torch.device) -> Windows:
        names = ("y", "seen", "known", "past", "static", "calendar", "origin", "prior", "base")
        tensors = {name: torch.from_numpy(getattr(inputs, name)).to(device) for name in names}
        return cls(plan=plan, end=inputs.end, **tensors)

    @property
    def device(self) -> torch.device:
        return self.y.device

    def rows(self, index: Tensor) -> Windows:
        """The series at `index` alone."""
        names = ("y", "seen", "known", "past", "static", "origin", "prior", "base")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def batch(self, series: Tensor, start: Tensor, steps: int) -> Batch:
        """The windows whose first forecast period is column `start` [B] of `series` [B], with `steps` periods ahead."""
        device, rows = self.device, series[:, None]
        history = start[:, None] + torch.arange(-self.plan.lookback, 0, device=device)  # [B, L]
        step = torch.arange(steps, device=device)
        future = start[:, None] + step  # [B, H]
        lag = torch.tensor(self.plan.lags, device=device, dtype=torch.long)  # [J]
        before = future[..., None] - lag * (step[:, None] // lag + 1 if len(lag) else 1)  # [B, H, J]
        everything = torch.cat([history, future], dim=1)
        period = (self.origin[series][:, None] + future).clamp(min=0)
        return Batch(
            y=self.y[rows, history],
            seen=self.seen[rows, history],
            known=self.known[rows, everything],
            past=self.past[rows, history],
            static=self.static[series],
            calendar=self.calendar[period],
            prior=self.prior[rows],
            base=self.base[rows],
            lags=self.y[rows[..., None], before],
            lags_seen=self.seen[rows[..., None], before],
            known_lags=self.known[rows[..., None], before],
        )

    def targets(self, series: Tensor, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Demand of the periods ahead and where it was seen; [B, H], [B, H]."""
        future = start[:, None] + torch.arange(steps, device=self.device)
        return self.y[series[:, None], future], self.seen[series[:, None], future]

    def from_starts(self, series: Tensor, start: Tensor, steps: int) -> Windows:
        """`series` [B] as if the history of each ended before its own `start` [B], and `steps` periods ahead of it."""
        span, device = self.plan.context, self.device
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
        y[:, start : start + values.shape[1]] = values
        seen[:, start : start + values.shape[1]] = True
        return replace(self, y=y, seen=seen)
