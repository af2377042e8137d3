"""The tree of errors."""

from __future__ import annotations

import pickle

import pytest

from forecastkit import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.ColumnError("y", ["x"], role="target role", option="--target"),
        errors.SeriesTooShortError("a", needed=3, found=1, what="ets"),
        errors.UnknownModelError("grru", ["gru"]),
        errors.MissingExtraError("torch", "torch"),
        errors.FitError("no", model="ets", series="a"),
        errors.StoreError("gone"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_error_comes_back_whole_from_another_process(error: errors.ForecastkitError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_every_error_is_what_a_stranger_would_catch() -> None:
    pairs = {
        errors.DataError: (ValueError, 3),
        errors.ConfigError: (ValueError, 2),
        errors.UnknownModelError: (LookupError, 2),
        errors.MissingExtraError: (ImportError, 4),
        errors.FitError: (RuntimeError, 5),
        errors.StoreError: (OSError, 6),
    }
    for kind, (builtin, code) in pairs.items():
        assert issubclass(kind, builtin)
        assert kind.exit_code == code


def test_one_of_a_thing_is_said_in_the_singular() -> None:
    assert [errors.counted(n, "row") for n in (0, 1, 2, 1200)] == ["0 rows", "1 row", "2 rows", "1,200 rows"]
    assert [errors.counted(n, "series has", "series have") for n in (1, 2)] == ["1 series has", "2 series have"]
