"""The contract can fail: every check catches the forecaster that breaks it, and no other check does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from forecastkit.testing import ContractError, check_forecaster, checks

sys.path.insert(0, str(Path(__file__).parent))  # by its name `bad` can also be imported in another process

import bad


def broken(recipe: bad.Tiny) -> list[str]:
    """Names of the checks that a recipe fails."""
    failed = []
    for check in checks():
        try:
            check(recipe)
        except ContractError:
            failed.append(check.__name__)
    return failed


@pytest.mark.parametrize("check", bad.BAD, ids=lambda check: f"{check}-{bad.BAD[check].__name__}")
def test_a_bad_forecaster_fails_its_check_and_no_other(check: str) -> None:
    recipe = next(bad.BAD[check].examples())
    assert broken(recipe) == [check]


@pytest.mark.parametrize("cls", bad.GOOD, ids=lambda cls: cls.__name__)
def test_a_good_forecaster_keeps_every_promise(cls: type[bad.Tiny]) -> None:
    check_forecaster(next(cls.examples()))


def test_every_check_has_a_bad_forecaster_and_the_other_way_round() -> None:
    assert sorted(bad.BAD) == sorted(check.__name__ for check in checks())


def test_a_broken_promise_is_said_in_one_sentence_with_what_was_seen() -> None:
    with pytest.raises(ContractError) as caught:
        check_forecaster(bad.BAD["check_negative_demand"]())
    assert str(caught.value) == (
        "NeverNegative(note='plain') breaks the contract: demand that was always negative is forecast so. Seen: up to 0"
    )
    assert isinstance(caught.value, AssertionError)
    assert caught.value.model == "NeverNegative"
