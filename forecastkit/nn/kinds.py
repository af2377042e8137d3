"""Which networks suit a panel: found out on its newest windows, which are held back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from forecastkit import baseline
from forecastkit.data.panel import Panel
from forecastkit.nn.network import Network
from forecastkit.nn.plan import Block, Plan
from forecastkit.nn.training import Best, Rival

_MAY_LOSE = 0.02  # of the loss, the logarithm to the linear scale: effects of covariates mostly multiply; a past that
# is not dated by what all series share to one that is, and networks without static covariates to those with them:
# both invite to learn by heart
_MAY_ADD = 0.04  # to the loss, a network that reads no state, to be one of those that are averaged
_TEAM = 3  # networks, of which it may be one


class Kind(NamedTuple):
    """What is found out about a network: its scale, and whether it reads the state, what dates its past, and traits."""

    log: bool
    memory: bool
    dated: bool
    static: bool

    def planned(self, plan: Plan) -> Plan:
        """The plan of such a network."""
        return replace(plan, log=self.log, dated=self.dated, static=plan.static if self.static else Block())


class Tried(NamedTuple):
    """A network that was trained without the newest windows, or not at all where none could be held back."""

    network: Network
    best: Best

    @property
    def held(self) -> bool:
        """Whether there were such windows."""
        return bool(np.isfinite(self.best.loss))


@dataclass(frozen=True)
class Trials:
    """Networks that were tried against each other, each once."""

    attempt: Callable[[Kind, Rival | None], Tried]
    found: dict[Kind, Tried] = field(default_factory=dict)

    def best(self, kind: Kind, rival: Rival | None = None) -> Best:
        """How good a network of a kind is."""
        if kind not in self.found:
            self.found[kind] = self.attempt(kind, rival)
        return self.found[kind].best

    def taken(self, kind: Kind, rival: Kind, share: float, *, better: bool) -> bool:
        """Whether `kind` is `better` than its rival by a share of the loss, or else at most so much worse."""
        against = Rival(self.best(rival), share, better)
        return against.takes(self.best(kind, against).loss)

    def first(self, train: Panel, plan: Plan, scaling: str, memory: bool) -> Kind:
        """What the first network is."""
        kind = Kind(scaling == "log", memory, plan.dated, static=False)
        if scaling == "auto" and _may_multiply(train):
            log = kind._replace(log=True)
            kind = kind if self.taken(kind, log, _MAY_LOSE, better=True) else log
        if len(plan.told) < plan.known.width:
            kind = kind._replace(dated=self.taken(kind._replace(dated=True), kind, _MAY_LOSE, better=True))
        if plan.static.sizes:
            static = self.taken(kind._replace(static=True), kind, _MAY_LOSE, better=True)
            kind = kind._replace(static=static or not self.found[kind].held)
        return kind

    def team(self, first: Kind, train: Panel, plan: Plan, scaling: str, seeds: int) -> list[Kind]:
        """What each of the networks is whose forecasts are averaged."""
        turns = scaling == "ensemble"
        kinds = [first._replace(log=first.log or (turns and i % 2 == 1)) for i in range(seeds)]
        if first.planned(plan).told and first.memory and seeds >= _TEAM and not turns:
            without = first._replace(memory=False)
            if self.taken(without, first, _MAY_ADD, better=False) and self.found[first].held:
                kinds[_TEAM - 1 :: _TEAM] = [without] * (seeds // _TEAM)
        elif scaling == "auto" and seeds >= _TEAM and not len(train.known) and _counts(train):
            kinds[_TEAM - 1 :: _TEAM] = [first._replace(log=True)] * (seeds // _TEAM)
        return kinds


def _may_multiply(train: Panel) -> bool:
    """Whether there are covariates known ahead, such as promotions and prices, and demand that they can multiply."""
    return len(train.known) > 0 and not (train.values < 0).any()


def _counts(train: Panel) -> bool:
    """Whether all demand is, whoever's."""
    return bool(baseline.counts(baseline.demand(train), train.offsets[[0, -1]]).all())
