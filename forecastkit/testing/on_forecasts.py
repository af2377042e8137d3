"""Checks of fitting and forecasting ordinary demand."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from forecastkit import store
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, DataError
from forecastkit.forecaster import Forecaster
from forecastkit.testing import panels
from forecastkit.testing.bench import (
    HORIZON,
    TRAINED,
    fitted,
    from_elsewhere,
    keep,
    keep_same,
    keep_sensible,
    levels_of,
    loaded,
    means,
    second,
    tolerance,
)


def check_fit_leaves_the_panel_untouched(recipe: Forecaster) -> None:
    """Fitting and forecasting write nothing into the panel."""
    pairs = zip(_arrays(second(recipe).panel), _arrays(panels.shop()), strict=True)
    same = all(np.array_equal(one, other) for one, other in pairs)
    keep(recipe, "fit leaves the panel untouched", same, "its arrays have changed")


def _arrays(panel: Panel) -> list[Any]:
    return [panel.values, panel.offsets, panel.starts, np.array(panel.ids)]


def check_fit_twice_gives_the_same(recipe: Forecaster) -> None:
    """The same recipe on the same panel forecasts the same: chance comes from an integer seed field."""
    first = fitted(recipe).predict(HORIZON).mean
    keep_same(recipe, "fitting twice gives the same forecast", first, second(recipe).mean)


def check_global_generators_are_left_alone(recipe: Forecaster) -> None:
    """Neither fit nor predict draws from or seeds a global random generator, of Python, numpy or torch."""
    moved = second(recipe).moved
    keep(recipe, "global random generators are left alone", not moved, f"the state of {', '.join(moved)} has changed")


def check_no_series_fails(recipe: Forecaster) -> None:
    """Ordinary demand is estimated, not left to the baseline."""
    failures = dict(fitted(recipe).failures)
    keep(recipe, "no series of ordinary demand fails", not failures, str(failures))


def check_shape_and_times(recipe: Forecaster) -> None:
    """`mean` is [N, H] and finite; times are regular and begin one period after the last."""
    panel = panels.shop()
    forecast = fitted(recipe).predict(HORIZON)
    keep(recipe, "forecasts are in the order of the panel's series", forecast.series == panel.ids, str(forecast.series))
    shape = forecast.mean.shape
    keep(recipe, "mean is [N, H]", shape == (len(panel), HORIZON), f"shape {shape}")
    keep(recipe, "mean is finite", np.isfinite(forecast.mean).all(), "values that are not")
    expected = panel.calendar.times(panel.future_ordinals(HORIZON))
    same = forecast.times.shape == expected.shape and (forecast.times == expected).all()
    keep(recipe, "times are regular and begin one period after the last", same, f"{forecast.times[0, :3]}, ...")


def check_quantiles_never_decrease(recipe: Forecaster) -> None:
    """Quantiles are [N, H, Q], finite, and never decrease along Q; a model without any refuses to give them."""
    if not recipe.probabilistic:
        _refuses_levels(recipe)
        return
    levels = levels_of(recipe)
    quantiles = fitted(recipe).predict(HORIZON, levels=levels).quantiles
    expected = (len(panels.LENGTHS), HORIZON, len(levels))
    keep(recipe, "quantiles are [N, H, Q]", quantiles.shape == expected, f"shape {quantiles.shape}")
    keep(recipe, "quantiles never decrease", (np.diff(quantiles, axis=-1) >= 0).all(), "a lower one above a higher one")


def _refuses_levels(recipe: Forecaster) -> None:
    try:
        fitted(recipe).predict(HORIZON, levels=(0.5,))
    except ConfigError:
        return
    keep(recipe, "probabilistic=False means a ConfigError for levels", False, "a forecast")


def check_order_of_levels_does_not_matter(recipe: Forecaster) -> None:
    """Any order of levels gives the same numbers, and levels don't change the mean."""
    levels, model = levels_of(recipe), fitted(recipe)
    one, other = model.predict(HORIZON, levels=levels), model.predict(HORIZON, levels=levels[::-1])
    keep(recipe, "levels come out in increasing order", other.levels == levels, str(other.levels))
    keep_same(recipe, "any order of levels gives the same numbers", one.quantiles, other.quantiles)
    keep_same(recipe, "levels don't change the mean", model.predict(HORIZON).mean, one.mean)


def check_levels_differ_on_noisy_data(recipe: Forecaster) -> None:
    """No quantile equals its neighbour where demand is noisy."""
    quantiles = fitted(recipe).predict(HORIZON, levels=levels_of(recipe)).quantiles
    same = int((np.diff(quantiles, axis=-1) == 0).any(axis=-1).sum())
    keep(recipe, "quantiles of noisy demand differ from level to level", same == 0, f"{same} steps where they don't")


def check_short_forecast_begins_the_long_one(recipe: Forecaster) -> None:
    """`predict(7)` is the first 7 of `predict(28)`."""
    model, levels = fitted(recipe), levels_of(recipe)
    short, long = model.predict(7, levels=levels), model.predict(HORIZON, levels=levels)
    promise = "predict(7) equals the first 7 of predict(28)"
    keep_same(recipe, promise, short.mean, long.mean[:, :7])
    keep_same(recipe, promise, short.quantiles, long.quantiles[:, :7])


def check_nothing_after_the_cutoff_counts(recipe: Forecaster) -> None:
    """What stands in memory after the last period changes nothing."""
    first, poisoned = fitted(recipe).predict(HORIZON).mean, means(recipe, panels.before(-50.0))
    keep_same(recipe, "changing anything after the cutoff changes nothing", first, poisoned)


def check_newest_observation_counts(recipe: Forecaster) -> None:
    """Changing the newest observation changes the forecast of each series."""
    first = fitted(recipe).predict(HORIZON).mean
    second = means(recipe, panels.changed(panels.shop(), -1, 1.3))
    idle = np.abs(first - second).max(axis=1) <= tolerance(recipe) * np.abs(first).max(axis=1)  # [N]
    keep(
        recipe,
        "changing the newest observation changes the forecast",
        not idle.any(),
        f"{int(idle.sum())} series as before",
    )


def check_order_of_series_does_not_matter(recipe: Forecaster) -> None:
    """Reordering series reorders rows."""
    order = [2, 0, 1]
    turned = means(recipe, panels.shop().take(order))
    keep_same(recipe, "reordering series reorders rows", fitted(recipe).predict(HORIZON).mean[order], turned)


def check_beats_the_historic_mean(recipe: Forecaster) -> None:
    """On demand that grows and has a season, the forecast beats the mean of the past.

    A tenth is allowed, for models that by their nature go back to the mean.
    """
    later = panels.truth()[:, panels.NOW :]  # [N, H]
    own = np.abs(fitted(recipe).predict(HORIZON).mean - later).mean(axis=1)
    history = panels.shop()
    past = np.array([history.series(i).mean() for i in range(len(history))])
    plain = np.abs(past[:, None] - later).mean(axis=1)
    share = float((own / plain).mean())
    keep(
        recipe,
        "it beats the historic mean on easy demand",
        share <= 1.1,
        f"{share:.2f} of its mean absolute error",
    )


def check_the_horizon_of_the_fit_is_known(recipe: Forecaster) -> None:
    """A model knows what it was fitted for, updated and read back too."""
    model = fitted(recipe)
    with tempfile.TemporaryDirectory() as folder:
        store.save(model, Path(folder) / "model")
        kept = loaded(Path(folder) / "model", type(recipe)).horizon
    found = (model.horizon, model.update(panels.shop(panels.NOW + 10)).horizon, kept)
    promise = "fitted, updated and read back a model knows the horizon that it was fitted for"
    keep(recipe, promise, found == (TRAINED,) * 3, str(found))


def check_saved_and_loaded_elsewhere(recipe: Forecaster) -> None:
    """Saved, loaded in a process that has fitted nothing, it forecasts the same numbers."""
    model, levels = fitted(recipe), levels_of(recipe)
    here = model.predict(HORIZON, levels=levels)
    with tempfile.TemporaryDirectory() as folder:
        mean, quantiles = from_elsewhere(model, Path(folder), levels)
    promise = "saved and loaded in another process it forecasts the same"
    keep_same(recipe, promise, here.mean, mean)
    keep_same(recipe, promise, here.quantiles, quantiles)


def check_threads_do_not_disturb_each_other(recipe: Forecaster) -> None:
    """Two threads that forecast at once, each something else, get what one gets alone."""
    model, levels = fitted(recipe), levels_of(recipe)
    asked = [HORIZON, 9] * 3
    alone = {horizon: model.predict(horizon, levels=levels) for horizon in set(asked)}
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda horizon: model.predict(horizon, levels=levels), asked))
    for horizon, forecast in zip(asked, together, strict=True):
        promise = "two threads that forecast at once get what one gets alone"
        keep_same(recipe, promise, alone[horizon].mean, forecast.mean)
        keep_same(recipe, promise, alone[horizon].quantiles, forecast.quantiles)


def check_update_with_the_same_panel_changes_nothing(recipe: Forecaster) -> None:
    """`update` with what is known already forecasts the same."""
    model = fitted(recipe)
    again = model.update(panels.shop()).predict(HORIZON).mean
    keep_same(recipe, "update with the same panel changes nothing", model.predict(HORIZON).mean, again)


def check_update_moves_the_forecast_on(recipe: Forecaster) -> None:
    """Newer observations move the forecast behind their end; only the new ones are enough; the old model stays."""
    model, longer = fitted(recipe), panels.shop(panels.NOW + 10)
    before = model.predict(HORIZON).mean
    moved = model.update(longer).predict(HORIZON)
    expected = longer.calendar.times(longer.future_ordinals(HORIZON))
    keep(
        recipe,
        "an updated model forecasts after the newest period",
        (moved.times == expected).all(),
        str(moved.times[0, 0]),
    )
    keep_sensible(recipe, "an updated model's forecast is sensible", moved.mean, longer)
    partly = model.update(longer.tail(10)).predict(HORIZON).mean
    keep_same(recipe, "the new periods alone are enough for an update", moved.mean, partly)
    keep_same(recipe, "update leaves the old model as it was", before, model.predict(HORIZON).mean)


def check_the_parts_of_a_forecast_add_up_to_it(recipe: Forecaster) -> None:
    """What a model says of a series itself is of that series, a constant one too, and its parts add up to the mean."""
    for kind in ("shop", "constant"):
        model = fitted(recipe, kind)
        name = model.history.ids[1]
        told = model.explain(name, HORIZON)
        keep(recipe, "an explanation is of the series asked for", told.series == name, told.series)
        if told.components:
            keep(recipe, "a model whose forecasts have parts says so", recipe.parted, "parted is False")
            total = np.sum(list(told.components.values()), axis=0)  # [H]
            mean = model.predict(HORIZON).mean[1]
            keep_same(recipe, "the parts of a forecast add up to its mean", mean[None], total[None])


def check_observations_taken_back_do_not_count(recipe: Forecaster) -> None:
    """Updated with newer observations, then with the panel that ends before them, it forecasts as before."""
    model = fitted(recipe)
    later = panels.changed(panels.shop(panels.NOW + 10), slice(-10, None), 40.0)
    back = model.update(later).update(panels.shop()).predict(HORIZON).mean
    keep_same(recipe, "observations that were taken back don't count", model.predict(HORIZON).mean, back)


def check_unseen_series(recipe: Forecaster) -> None:
    """A pooled model forecasts a series that it never saw; a local one raises `DataError` that names it."""
    stranger = replace(panels.shop().take([1]), ids=("stranger",))
    if recipe.pooled:
        mean = fitted(recipe).update(stranger).predict(HORIZON).mean
        keep_sensible(recipe, "a pooled model forecasts a series that it never saw", mean, stranger)
        return
    try:
        fitted(recipe).update(stranger)
    except DataError as error:
        seen = f"{error.series!r}: {error}"
        keep(recipe, "the error names the unseen series", error.series == "stranger", seen)
        return
    keep(recipe, "a local model refuses a series that it never saw", False, "no error")
