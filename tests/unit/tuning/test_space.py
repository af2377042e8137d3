"""What is searched around a recipe."""

from __future__ import annotations

import optuna
import pytest

from forecastkit import models
from forecastkit.errors import ConfigError
from forecastkit.tuning.space import Space


def trial(**params: object) -> optuna.trial.FixedTrial:
    return optuna.trial.FixedTrial({name.replace("__", "."): value for name, value in params.items()})


def test_the_defaults_are_a_point_of_the_space() -> None:
    space = Space(models.create("sarima", season=12))
    assert space.recipe(optuna.trial.FixedTrial(space.defaults)) == space.base


def test_what_was_written_is_not_searched_and_stays() -> None:
    space = Space(models.create("ets:trend=never,season=12"))
    assert space.defaults == {"seasonal": "auto", "log": "auto"}
    found = space.recipe(trial(seasonal="always", log="never"))
    assert found == models.create("ets:trend=never,season=12,seasonal=always,log=never")


def test_a_written_tuple_fixes_all_its_places() -> None:
    space = Space(models.create("arima:order=(2,0,2)"))
    assert list(space.defaults) == ["trend"]
    assert space.recipe(trial(trend="n")).order == (2, 0, 2)


def test_options_inside_an_option_are_searched_beside_written_ones() -> None:
    pytest.importorskip("torch")
    space = Space(models.create("gru:training.batch=64,hidden=32,seed=3"))
    assert "hidden" not in space.defaults
    found = space.recipe(optuna.trial.FixedTrial(space.defaults | {"training.lr": 0.00123456}))
    assert (found.training.batch, found.hidden, found.seed, found.training.lr) == (64, 32, 3, 0.001235)


def test_a_model_without_hyperparameters_has_an_empty_space() -> None:
    assert Space(models.create("naive")).defaults == {}


def test_a_parameter_that_names_no_option_is_refused() -> None:
    class Odd(models.load("theta")):  # type: ignore[misc]
        @classmethod
        def suggest(cls, trial):
            return cls(theta=trial.suggest_float("angle", 1.0, 2.0))

    with pytest.raises(ConfigError, match="names 'angle', which is no option of it"):
        _ = Space(Odd()).defaults
