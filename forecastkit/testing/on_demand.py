"""Checks on demand that is odd, and on covariates."""

from __future__ import annotations

import numpy as np

from forecastkit.data.panel import Floats
from forecastkit.errors import DataError, SeriesTooShortError
from forecastkit.forecaster import Fitted, Forecaster
from forecastkit.testing import panels
from forecastkit.testing.bench import HORIZON, TRAINED, fitted, keep, keep_same, keep_sensible, means


def check_constant_stays_constant(recipe: Forecaster) -> None:
    """A constant series gives that constant: to 1e-6, for a pooled model (a network, trees) to 2 %."""
    mean = fitted(recipe, "constant").predict(HORIZON).mean
    share = 0.02 if recipe.pooled else 1e-6
    for level, row in zip(panels.CONSTANTS, mean, strict=True):
        off = float(np.abs(row / level - 1).max())
        keep(
            recipe,
            f"a constant series gives that constant to {share:g}",
            off <= share,
            f"{level:g} missed by {off:.2g}",
        )


def check_zeros_stay_zero(recipe: Forecaster) -> None:
    """A series that was always 0 is forecast as 0; for a pooled model to 0.02 units."""
    mean = fitted(recipe, "zeros").predict(HORIZON).mean
    most = float(np.abs(mean).max())
    keep(recipe, "a series of zeros is forecast as 0", most <= (0.02 if recipe.pooled else 1e-9), f"{most:g}")


def check_any_scale(recipe: Forecaster) -> None:
    """Demand of 1e12 and of 1e-12 units is forecast in its own size, and is no flatter for it."""
    panel, large_and_small = panels.odd(), [0, 1]
    mean = fitted(recipe, "odd").predict(HORIZON).mean[large_and_small]
    promise = "forecasts are of the size of the history, whatever that is"
    keep_sensible(recipe, promise, mean, panel.take(large_and_small))
    usual = np.ptp(fitted(recipe).predict(HORIZON).mean[2])
    for scale, row in zip(panels.SCALES, mean, strict=True):
        swing = float(np.ptp(row) / scale)
        seen = f"a forecast that swings by {swing:.3g} at the scale {scale:g} and by {usual:.3g} at 1"
        keep(recipe, "the scale does not flatten a forecast", swing >= 0.2 * usual, seen)


def check_negative_demand(recipe: Forecaster) -> None:
    """Demand below zero is forecast below zero."""
    always, sometimes = 2, 3
    mean = fitted(recipe, "odd").predict(HORIZON).mean
    highest = float(mean[always].max())
    keep(recipe, "demand that was always negative is forecast so", highest < 0, f"up to {highest:.4g}")
    both = [always, sometimes]
    keep_sensible(recipe, "negative demand is forecast where it was", mean[both], panels.odd().take(both))


def check_short_series(recipe: Forecaster) -> None:
    """A series that is too short raises `SeriesTooShortError` naming it, or is forecast, by a baseline if need be."""
    for panel, name in ((panels.stub(), "b"), (panels.lone_stub(), "a")):
        try:
            model = recipe.fit(panel, horizon=TRAINED)
        except SeriesTooShortError as error:
            keep(recipe, "SeriesTooShortError names the short series", error.series == name, str(error))
            continue
        keep_sensible(recipe, "a short series does not spoil the forecasts", model.predict(HORIZON).mean, panel)


def check_gaps(recipe: Forecaster) -> None:
    """A gap is handled by a model that says so; one that doesn't raises `DataError` naming the series."""
    if recipe.handles_gaps:
        mean = fitted(recipe, "gaps").predict(HORIZON).mean
        keep_sensible(recipe, "handles_gaps=True gives sensible forecasts of a series with gaps", mean, panels.gaps())
        return
    try:
        recipe.fit(panels.gaps(), horizon=TRAINED)
    except DataError as error:
        keep(recipe, "the error names a series with gaps", error.series == "a", str(error))
        return
    keep(recipe, "handles_gaps=False means a DataError for gaps", False, "a fitted model")


def check_unavailable_is_not_zero_demand(recipe: Forecaster) -> None:
    """With "available" in uses, periods when nothing could be sold don't drag the forecast to 0."""
    if "available" not in recipe.uses:
        return
    mean = fitted(recipe, "sold out").predict(HORIZON).mean
    usual = fitted(recipe).predict(HORIZON).mean
    share = (mean.mean(axis=1) / usual.mean(axis=1)).min()
    keep(
        recipe, "an item that could not be sold is not an item that nobody wants", share >= 0.7, f"{share:.0%} as much"
    )


def check_unused_known_columns_change_nothing(recipe: Forecaster) -> None:
    """Without "known" in uses, known columns are ignored and no future is asked for."""
    if "known" in recipe.uses:
        return
    with_column = fitted(recipe, "promoted").predict(HORIZON).mean
    without = means(recipe, panels.without_known(panels.promoted()))
    keep_same(recipe, "known columns that a model doesn't use change nothing", without, with_column)


def check_known_future_is_asked_for(recipe: Forecaster) -> None:
    """With "known" in uses, forecasting without the future raises `DataError` naming the columns."""
    if "known" not in recipe.uses:
        return
    try:
        fitted(recipe, "promoted").predict(HORIZON)
    except DataError as error:
        keep(recipe, "the error names the missing known columns", "promo" in str(error), str(error))
        return
    keep(recipe, "known columns are asked for", False, "a forecast without future")


def check_known_future_counts(recipe: Forecaster) -> None:
    """With "known" in uses, a promotion to come raises the forecast, by a tenth at least of what it did before."""
    if "known" not in recipe.uses:
        return
    model = fitted(recipe, "promoted")
    without, with_promo = (_with_future(model, np.full((1, HORIZON), on)) for on in (0.0, 1.0))
    gain = float((with_promo.mean(axis=1) / without.mean(axis=1) - 1).mean())
    seen = f"{gain:+.1%} where the history shows {panels.PROMOTION:+.0%}"
    keep(recipe, "a known column that moved demand moves the forecast", gain >= 0.1 * panels.PROMOTION, seen)


def check_later_known_values_do_not_count(recipe: Forecaster) -> None:
    """Known values of later steps don't change the forecast of earlier ones."""
    if "known" not in recipe.uses:
        return
    model = fitted(recipe, "promoted")
    never = np.zeros((1, HORIZON))
    late = np.where(np.arange(HORIZON) >= 7, 1.0, never)
    one, other = (_with_future(model, flags)[:, :7] for flags in (never, late))
    keep_same(recipe, "known values of later steps don't change earlier ones", one, other)


def _with_future(model: Fitted, flags: Floats) -> Floats:
    """The forecast with these promotions, [1, H] for all series."""
    future = np.repeat(flags, len(model.history), axis=0)[..., None]  # [N, H, 1]
    return model.predict(HORIZON, future=future).mean
