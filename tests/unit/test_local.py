"""The loop over series: a bad one falls back and is listed, the others never notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import ConfigError, FitError
from forecastkit.local import LocalFitted, LocalForecaster, Series, filled
from forecastkit.models.seasonal_naive import SeasonalNaive


@dataclass(frozen=True, kw_only=True)
class Level(LocalForecaster):
    """Mean plus noise; breaks on purpose where a series begins with a marked value."""

    name: ClassVar[str] = "level"

    trouble: str = ""

    def shortest(self, season: int) -> int:
        return 3

    def estimate(self, one: Series) -> Floats:
        if one.id == "b":
            raise {"value": ValueError("no root"), "linalg": np.linalg.LinAlgError("singular")}.get(
                self.trouble, FitError("nothing to learn")
            )
        return np.array([np.nanmean(one.y)] + [1.0] * (2 if one.id == "c" else 0))

    def extrapolate(
        self, one: Series, parameters: Floats, horizon: int, levels: tuple[float, ...]
    ) -> tuple[Floats, Floats]:
        mean = np.full(horizon, parameters[0])
        if self.trouble == "runs off":
            mean = mean * 10.0 ** np.arange(horizon)
        return mean, one.quantiles(mean, np.ones(horizon), levels)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()


def panel(**series: list[float]) -> Panel:
    frames = [
        pd.DataFrame({"unique_id": k, "ds": pd.date_range("2024-01-01", periods=len(y)), "y": y})
        for k, y in series.items()
    ]
    return Panel.from_frame(pd.concat(frames), freq="D")


Y = [4.0, 6.0, 5.0, 7.0, 3.0, 5.0, 6.0, 8.0]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [("", "nothing to learn"), ("value", "ValueError: no root"), ("linalg", "LinAlgError: singular")],
)
def test_a_series_that_fails_falls_back_with_its_reason_and_the_others_stay(trouble: str, reason: str) -> None:
    data = panel(a=Y, b=Y[::-1], c=Y)
    fitted = Level(trouble=trouble, season=4).fit(data)
    forecast = fitted.predict(5, levels=(0.1, 0.9))
    baseline = SeasonalNaive(season=4).fit(data).predict(5, levels=(0.1, 0.9))
    assert fitted.failures == {"b": reason}
    assert forecast.mean[[0, 2]].tolist() == [[5.5] * 5] * 2
    assert forecast.mean[1].tolist() == baseline.mean[1].tolist()
    assert forecast.quantiles[1].tolist() == baseline.quantiles[1].tolist()


def test_a_series_too_short_falls_back_saying_what_is_needed() -> None:
    fitted = Level().fit(panel(a=Y, z=[1.0, 2.0]))
    assert fitted.failures == {"z": "2 observed values, level needs at least 3"}
    assert fitted.predict(2).mean[1].tolist() == [2.0, 2.0]


def test_a_constant_series_is_no_failure_and_gives_its_constant() -> None:
    fitted = Level().fit(panel(a=Y, b=[2.5] * 9))
    assert fitted.failures == {}
    assert fitted.predict(3).mean[1].tolist() == [2.5] * 3


def test_a_forecast_that_runs_off_is_refused_at_the_fit() -> None:
    fitted = Level(trouble="runs off").fit(panel(a=Y), horizon=8)
    assert fitted.failures["a"].startswith("the forecast runs off to 5.5e+07")
    assert fitted.predict(8).mean.max() <= 8


def test_what_runs_off_only_later_falls_back_from_there_on() -> None:
    fitted = Level(trouble="runs off", season=1).fit(panel(a=Y), horizon=2)
    assert fitted.failures == {}
    long = fitted.predict(9, levels=(0.5,))
    assert long.mean[0, :3].tolist() == pytest.approx([5.5, 55, 550])
    assert long.mean[0, 3:].tolist() == [8.0] * 6
    assert (long.quantiles[0, 3:, 0] == 8.0).all()
    assert fitted.predict(5).mean.tolist() == long.mean[:, :5].tolist()


def test_an_update_picks_each_series_own_parameters() -> None:
    fitted = Level(season=4).fit(panel(a=Y, b=Y, c=[10 * v for v in Y]))
    newer = panel(c=[10 * v for v in Y] + [0.0], b=[*Y, 1.0])
    moved = fitted.update(newer)
    assert moved.history.ids == ("b", "c")
    assert moved.failures == {"b": "nothing to learn"}
    assert moved.predict(1).mean.tolist() == [[5.0], [55.0]]
    assert fitted.predict(1).mean.shape == (3, 1)


def test_what_is_stored_is_one_row_a_series_and_restores_the_same_forecast() -> None:
    fitted = Level().fit(panel(a=Y, b=Y, c=Y))
    state = fitted.state()
    assert state.arrays["parameters"].shape == (3, 3)
    back = LocalFitted.from_state(
        state, recipe=fitted.recipe, history=fitted.history, failures=fitted.failures, trained_on=fitted.trained_on
    )
    assert back.predict(4, levels=(0.3,)).quantiles.tolist() == fitted.predict(4, levels=(0.3,)).quantiles.tolist()


def test_a_wrong_recipe_is_not_taken_for_a_failing_series(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Level, one: Series) -> Floats:
        raise ConfigError("trouble is no option")

    monkeypatch.setattr(Level, "estimate", refuse)
    with pytest.raises(ConfigError, match="trouble is no option"):
        Level().fit(panel(a=Y))


def test_a_warning_of_a_library_stays_inside(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    import warnings

    def chatty(self: Level, one: Series) -> Floats:
        warnings.warn("did not converge", RuntimeWarning, stacklevel=1)
        return np.array([1.0])

    monkeypatch.setattr(Level, "estimate", chatty)
    assert Level().fit(panel(a=Y)).failures == {}
    assert not recwarn.list


def test_a_gap_is_filled_along_its_place_in_the_season() -> None:
    y = np.array([1.0, 10.0, np.nan, 20.0, 3.0, np.nan])
    assert filled(y, 2).tolist() == [1, 10, 2, 20, 3, 20]
    assert filled(np.array([1.0, np.nan, 3.0]), 7).tolist() == [1, 2, 3]


def test_processes_fit_the_same_as_one(weekly_shop: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    from forecastkit import create, execution
    from forecastkit.local import fit_in_processes

    monkeypatch.setattr(execution, "_SOON", 0.0)
    recipe = create("theta")
    told: list[int] = []
    many = fit_in_processes(recipe, weekly_shop, 2, progress=lambda done, total, what: told.append(done))
    one = recipe.fit(weekly_shop)
    np.testing.assert_array_equal(many.parameters, one.parameters)
    assert many.horizon == one.horizon == 14
    np.testing.assert_array_equal(many.predict(7).mean, one.predict(7).mean)
    assert told == [1, 2, 3]


def test_pieces_are_fitted_for_the_horizon_that_was_asked_for(
    weekly_shop: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecastkit import create
    from forecastkit.local import fit_spread

    whole, asked = LocalForecaster._fit, set()

    def telling(self: LocalForecaster, train: Panel, horizon: int) -> LocalFitted:
        asked.add(horizon)
        return whole(self, train, horizon)

    monkeypatch.setattr(LocalForecaster, "_fit", telling)
    fit_spread(create("theta"), weekly_shop, 2, horizon=5)
    assert asked == {5}
