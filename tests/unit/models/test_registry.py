"""Models as a family: found by their files or entry points, tuned through one protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar, Self

import pytest

from forecastkit import models, recipes
from forecastkit.errors import MissingExtraError
from forecastkit.forecaster import Fitted, Forecaster

optuna = pytest.importorskip("optuna")


@dataclass(frozen=True, kw_only=True)
class Foreign(Forecaster):
    """A model of another package."""

    name: ClassVar[str] = "foreign"
    depth: int = 1

    def _fit(self, train: object, horizon: int) -> Fitted:
        raise AssertionError("not fitted here")

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("foreign", f"{__name__}:Foreign", "forecastkit.models")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Foreign)
    monkeypatch.setattr(models, "_foreign", lambda: {"foreign": entry})


@pytest.mark.usefixtures("foreign")
def test_an_entry_point_lands_in_the_same_two_functions() -> None:
    assert "foreign" in models.available()
    assert models.load("foreign") is Foreign
    assert models.create("foreign:depth=3") == Foreign(depth=3)
    assert models.summary("foreign") == "A model of another package."


@pytest.mark.parametrize("name", models.available())
def test_the_search_space_of_every_model_gives_recipes_that_read_back(name: str) -> None:
    try:
        cls = models.load(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(5):
        recipe = cls.suggest(study.ask())
        _, options = recipes.parse(recipes.label(recipe))
        assert recipes.build(cls, options) == recipe


@pytest.mark.parametrize("name", models.available())
def test_every_model_says_what_it_is_in_one_line(name: str) -> None:
    assert 10 < len(models.summary(name)) < 140
