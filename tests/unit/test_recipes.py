"""Recipes as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from forecastkit import recipes
from forecastkit.errors import ConfigError, UnknownModelError
from forecastkit.models import create, load


@dataclass(frozen=True, kw_only=True)
class Options:
    steps: int = 100
    rate: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Toy:
    name: ClassVar[str] = "toy"
    order: tuple[int, int, int] = (1, 0, 0)
    lags: tuple[int, ...] = (1, 7)
    season: int | None = None
    weight: float = 1.0
    share: int | float = 1
    growth: Literal["linear", "flat"] = "linear"
    quiet: bool = True
    training: Options = field(default_factory=Options)


@dataclass(frozen=True, kw_only=True)
class Outer:
    training: Options = field(default_factory=Options)
    rate: float = 1.0


def build(text: str) -> Toy:
    return recipes.build(Toy, recipes.parse(text)[1])


def test_values_are_read_by_the_types_of_the_fields() -> None:
    toy = build("toy:order=(2,1,1),lags=[1,2,3],season=12,weight=2,growth=flat,quiet=false,training.steps=5")
    expected = Toy(
        order=(2, 1, 1), lags=(1, 2, 3), season=12, weight=2.0, growth="flat", quiet=False, training=Options(steps=5)
    )
    assert toy == expected
    assert isinstance(toy.weight, float)


def test_a_number_that_may_be_whole_stays_whole() -> None:
    assert build("toy:share=3") == Toy(share=3)
    assert isinstance(build("toy:share=3").share, int)
    assert build("toy:share=0.5") == Toy(share=0.5)


@pytest.mark.parametrize(
    "text", ["toy", "toy:season=none", "toy:order=(0,1,1),training.rate=0.5", "toy:lags=(1,),quiet=False"]
)
def test_a_label_reads_back_as_the_same_recipe(text: str) -> None:
    toy = build(text)
    assert build(recipes.label(toy)) == toy


def test_a_misspelt_option_is_refused_with_the_closest_name() -> None:
    with pytest.raises(ConfigError, match=r"no option 'ordr', did you mean 'order'\?"):
        build("toy:ordr=(1,0,0)")
    with pytest.raises(ConfigError, match="toy: training has no option 'step', did you mean 'steps'"):
        build("toy:training.step=5")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("toy:steps=5", "training.steps"),
        ("toy:stps=5", "training.steps"),
        ("toy:seasn=5", "season"),
        ("auto_arima:max_p=3", "bounds.max_p"),
        ("auto_arima:max_P=1", "bounds.max_P"),
        ("auto_arima:bounds.maxP=1", "max_P"),
    ],
)
def test_an_option_that_stands_inside_another_is_offered_as_it_is_written(text: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"did you mean '{meant}'\?"):
        build(text) if text.startswith("toy") else create(text)


def test_the_outer_option_counts_where_one_inside_has_its_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'rate'"):
        recipes.build(Outer, {"rte": 1})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("toy:season=weekly", "season takes a whole number or none, not 'weekly'"),
        ("toy:order=(1,0)", "order takes 3 values, not 2"),
        ("toy:quiet=1", "quiet takes true or false, not 1"),
        ("toy:training.steps=true", "steps takes a whole number, not True"),
        ("toy:growth=cubic", r"growth takes linear \| flat, not 'cubic'"),
        ("toy:quiet", "'quiet' in 'toy:quiet' is no option"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(text)


def test_an_unknown_model_is_named_with_the_closest() -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'seasonal_naive'") as caught:
        load("seasonal_naiv")
    assert caught.value.name == "seasonal_naiv"


def test_shared_options_go_to_the_models_that_have_them_and_the_text_wins() -> None:
    assert create("seasonal_naive", season=12, seed=3, device="cpu").season == 12
    assert create("seasonal_naive:season=4", season=12).season == 4
    assert create("naive", season=12) == create("naive")


def test_an_option_of_a_packed_value_is_found_by_its_last_name():
    with pytest.raises(ConfigError, match=r"no option 'max_p', did you mean 'bounds\.max_p'\?"):
        create("auto_arima:max_p=3")
