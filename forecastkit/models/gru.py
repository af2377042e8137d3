"""`gru`: one GRU network trained on all series together, with covariates, quantiles and a mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

from forecastkit.nn.forecaster import RecurrentForecaster
from forecastkit.nn.options import Training


@final
@dataclass(frozen=True, kw_only=True)
class GRU(RecurrentForecaster):
    """A GRU reads the newest periods in patches; one head for all steps corrects a mix of seasonal naive forecasts.

    It learns from every series at once what one is too short to show, uses every role of covariates (static ones where
    the newest windows are forecast clearly better with them), and forecasts series that it has never seen. `lstm` is
    the same network with the other cell: neither is consistently more accurate, and the GRU has a quarter fewer
    recurrent weights. A longer horizon than the one it was fitted for is rolled on its own means.

    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical machine translation;
    scaling by window and seasonal bases after Smyl (2020), A hybrid method of exponential smoothing and recurrent
    neural networks for time series forecasting.

    hidden: width of the recurrent state and of the head; up to 128 keeps the fast small-state kernels of a GPU.
    layers: recurrent layers.
    memory: False zeroes the recurrent state of all networks and leaves everything else: the control that shows what the
        state adds. With True one of three is like that where covariates are known ahead and it forecasts as well.
    head: quantiles, which any demand has; negative_binomial for counts and tweedie for demand from 0, whose mean and
        quantiles come from that distribution. These two are not compiled.
    decoder: direct forecasts all steps at once; rolled a patch at a time, on demand drawn from its own forecasts.
    lookback: periods of history that a forecast reads; None is up to 14 seasons, as the history permits. Where
        covariates are known ahead, at least two seasons are looked through for times like those ahead.
    patch: periods of one recurrent step; None is the season, or the largest divisor of a long one up to 24.
    season: periods in a season; None takes the panel's.
    scaling: linear scales each window by its spread; log squeezes it first, for demand whose promotions multiply;
        ensemble lets the networks take turns; auto is log for all networks where covariates are known ahead and demand
        is never negative, unless the newest windows are forecast clearly better without; else linear, but log for one
        of three networks of counts without known covariates.
    training: steps, batch, learning rate, early stopping and precision, see `Training`.
    seeds: networks that are trained, each from first weights of its own; their forecasts are averaged. One
        alone takes a third of the time of a forecast, and about half of a training.
    seed: of the first weights and of the windows that are drawn, counted up from one network to the next.
    device: auto (CUDA where there is one, else the CPU), cpu, cuda or mps.

    >>> GRU(hidden=32, training=Training(steps=100)).hidden
    32
    """

    name: ClassVar[str] = "gru"
    cell: ClassVar[str] = "gru"

    @classmethod
    def examples(cls) -> Iterator[Self]:
        quick = Training(steps=60, batch=32, checks=4)
        yield cls(hidden=16, seeds=2, scaling="ensemble", training=quick)
        yield cls(
            hidden=8, layers=2, lookback=21, patch=5, seeds=1, scaling="log", training=replace(quick, refit=False)
        )
        yield cls(hidden=8, seeds=1, decoder="rolled", training=quick)
