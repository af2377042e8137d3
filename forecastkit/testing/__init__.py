"""The contract that every forecaster keeps, for the models here and for anybody's.

::

    from forecastkit.testing import check_forecaster

    @pytest.mark.parametrize("recipe", list(Croston.examples()), ids=repr)
    def test_croston_keeps_the_contract(recipe):
        check_forecaster(recipe)

A check is a function of a recipe that returns when its promise is kept and raises `ContractError` when it is broken.
`checks()` gives them one by one, for a test each. All work on the same few small panels of
`forecastkit.testing.panels`, and fits are shared between them. Tolerances: two forecasts are the same to 1e-9 relative
to the largest value of their series, to 1e-5 for pooled models, which may compute in single precision; others are said
where they apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

from forecastkit.forecaster import Forecaster
from forecastkit.testing import on_demand, on_forecasts, on_recipes
from forecastkit.testing.bench import ContractError

__all__ = ["ContractError", "check_forecaster", "checks"]

Check = Callable[[Forecaster], None]


def checks() -> Iterator[Check]:
    """All checks, the quickest first; `check.__name__` says what each is about."""
    for module in (on_recipes, on_forecasts, on_demand):
        yield from _checks_of(module)


def _checks_of(module: ModuleType) -> Iterator[Check]:
    yield from (value for name, value in vars(module).items() if name.startswith("check_"))


def check_forecaster(recipe: Forecaster) -> None:
    """Run every check on one recipe; raises `ContractError` at the first broken promise."""
    for check in checks():
        check(recipe)
