"""Every model, every example, every check."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from forecastkit import models
from forecastkit.errors import MissingExtraError
from forecastkit.forecaster import Forecaster
from forecastkit.testing import checks
from forecastkit.testing.on_recipes import check_name_can_be_typed


def examples() -> Iterator[tuple[str, int, Forecaster | None, str]]:
    """Name, number and recipe of each example; no recipe but the reason where the model's extra is not installed."""
    for name in models.available():
        try:
            yield from ((name, k, recipe, "") for k, recipe in enumerate(models.load(name).examples()))
        except MissingExtraError as error:
            yield name, 0, None, str(error)


def cases() -> Iterator[object]:
    for name, k, recipe, reason in examples():
        # One worker a recipe: its fits are shared between the checks.
        marks = [pytest.mark.xdist_group(f"{name}-{k}"), pytest.mark.skipif(recipe is None, reason=reason)]
        yield from (pytest.param(recipe, check, id=f"{name}-{k}-{check.__name__}", marks=marks) for check in checks())


@pytest.mark.parametrize(("recipe", "check"), list(cases()))
def test_the_model_keeps_the_contract(recipe: Forecaster, check: object) -> None:
    check(recipe)


@pytest.mark.parametrize("name", models.available())
def test_every_model_has_one_to_three_examples(name: str) -> None:
    try:
        cls = models.load(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert 1 <= len(list(cls.examples())) <= 3
    assert cls.__doc__


def test_a_model_that_is_not_named_after_its_file_is_caught() -> None:
    cls = type(next(recipe for _, _, recipe, _ in examples() if recipe is not None))
    renamed = type(cls.__name__, (cls,), {"name": "other", "__module__": cls.__module__})
    with pytest.raises(AssertionError, match="a model is named after its file"):
        check_name_can_be_typed(next(renamed.examples()))
