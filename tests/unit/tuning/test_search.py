"""A search finds what is better, on windows that say so, and tells what that was worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import numpy as np
import pytest

from forecastkit import backtest
from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import ConfigError, FitError, SeriesTooShortError
from forecastkit.evaluation.gain import gain
from forecastkit.evaluation.splits import Plan, windows
from forecastkit.forecaster import Fitted, Forecaster, Trial
from forecastkit.models import create
from forecastkit.tuning import Search, search, studies, tune
from forecastkit.tuning.objective import Objective

PLAN = Plan(horizon=7, windows=3)


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class ShiftedFitted(Fitted):
    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        last = self.history.tail(7).values.reshape(len(self.history), 7)
        mean = np.tile(last, (1, horizon // 7 + 1))[:, :horizon] + self.recipe.shift
        return mean, np.empty((*mean.shape, 0))


@final
@dataclass(frozen=True, kw_only=True)
class Shifted(Forecaster):
    """The last week, and so much more: the best shift is known."""

    name: ClassVar[str] = "shifted"
    fitted_type: ClassVar[type[Fitted]] = ShiftedFitted
    probabilistic: ClassVar[bool] = False

    shift: float = 5.0
    fails: bool = False
    astray: float = 0.0  # how far off a draft is, less where it is shifted

    @property
    def draft(self) -> Self:
        return replace(self, shift=self.astray - abs(self.shift), astray=0.0) if self.astray else self

    def _fit(self, train: Panel, horizon: int) -> ShiftedFitted:
        if self.fails:
            raise FitError("as it was told")
        return ShiftedFitted(recipe=self, history=train)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()

    @classmethod
    def suggest(cls, trial: Trial) -> Self:
        return cls(
            shift=trial.suggest_float("shift", -10.0, 10.0), fails=trial.suggest_categorical("fails", [False, True])
        )


@pytest.mark.slow
def test_it_finds_the_better_recipe_and_says_what_that_gained(weekly_shop: Panel) -> None:
    found = tune(weekly_shop, Shifted(), PLAN, search=Search(trials=25))
    assert abs(found.recipe.shift) < 2
    assert not found.recipe.fails
    assert found.scores["tuned"] < found.scores["defaults"]
    assert 0 < found.gain.low <= found.gain.value <= found.gain.high < 1
    assert "gains" in found.verdict
    assert found.trials[0]["recipe"] == "shifted"
    assert len(found.trials) == 25


@pytest.mark.slow
def test_the_last_windows_are_not_seen_by_the_search(weekly_shop: Panel) -> None:
    settings = Search(trials=12, holdout=2)
    first = windows(weekly_shop, replace(PLAN.settled(weekly_shop), windows=2))[0]
    spoilt = weekly_shop.values.copy()
    for series, length in zip(first.series, first.lengths, strict=True):
        spoilt[weekly_shop.offsets[series] + length : weekly_shop.offsets[series + 1]] += 1000.0
    other = replace(weekly_shop, values=spoilt)
    found = [tune(panel, Shifted(), PLAN, search=settings) for panel in (weekly_shop, other)]
    scores = [[trial["score"] for trial in one.trials] for one in found]
    assert scores[0] == scores[1]
    assert found[0].gain != found[1].gain


def test_a_draft_is_searched_with_and_the_recipe_itself_is_judged(weekly_shop: Panel) -> None:
    found = tune(weekly_shop, Shifted(astray=1000.0), PLAN, search=Search(trials=4, seed=1))
    assert min(trial["score"] for trial in found.trials) > 1  # a draft is 1,000 off
    assert max(found.scores.values()) < 1  # models are compared by these
    assert found.recipe.astray == 1000


def test_what_is_better_as_a_draft_alone_is_not_better(weekly_shop: Panel) -> None:
    found = tune(weekly_shop, Shifted(astray=1000.0), PLAN, search=Search(trials=6, seed=1))
    assert min(trial["score"] for trial in found.trials[1:]) < found.trials[0]["score"]
    assert found.recipe == found.base


def test_what_has_a_budget_is_tried_as_it_is(weekly_shop: Panel) -> None:
    found = tune(weekly_shop, Shifted(astray=1000.0), PLAN, search=Search(trials=2, budget={"fit_s": 60.0}))
    assert found.trials[0]["score"] < 1


def test_a_network_is_searched_with_one_seed() -> None:
    assert create("gru").draft == create("gru:seeds=1,training.refit=false")
    assert create("gru:scaling=ensemble").draft == create("gru:scaling=ensemble,training.refit=false")


def test_a_recipe_that_comes_again_is_not_tried_again(weekly_shop: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    window = Objective.window
    monkeypatch.setattr(Objective, "window", lambda self, recipe, k: tried.append(recipe) or window(self, recipe, k))
    # Given a shift, there is one choice left, of two.
    found = tune(weekly_shop, Shifted(shift=3.0), PLAN, search=Search(trials=8, seed=2))
    same = [trial["score"] for trial in found.trials if not trial["params"]["fails"]]
    assert len(same) > 2
    assert len(set(same)) == 1
    assert tried.count(Shifted(shift=3.0)) == PLAN.windows


def test_the_windows_of_the_search_are_those_of_a_backtest_of_the_past(weekly_shop: Panel) -> None:
    found = tune(weekly_shop, Shifted(), PLAN, search=Search(trials=1, holdout=2))
    report = backtest(weekly_shop, {"x": Shifted()}, replace(PLAN, windows=5))
    by_window = report.scores(by="window")["wape"]
    assert found.scores["defaults"] == pytest.approx(by_window[:3].mean(), rel=1e-12)
    assert found.report.head["cutoffs"] == report.head["cutoffs"][3:]


def test_windows_to_calibrate_on_are_not_searched_on(weekly_shop: Panel) -> None:
    plan = replace(PLAN, calibrate=2)
    found = tune(weekly_shop, Shifted(), plan, search=Search(trials=1, holdout=2, by="rmse"))
    report = backtest(weekly_shop, {"x": Shifted()}, replace(plan, windows=5))
    by_window = report.scores(by="window")["rmse"]
    assert found.scores["defaults"] == pytest.approx(by_window[:3].mean(), rel=1e-12)
    assert found.report.head["cutoffs"] == report.head["cutoffs"][3:]


def test_defaults_whose_trial_was_lost_are_scored_all_the_same(
    weekly_shop: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tune(weekly_shop, Shifted(), PLAN, search=Search(trials=4))
    finished = studies.finished
    monkeypatch.setattr(studies, "finished", lambda study: finished(study)[1:])
    found = tune(weekly_shop, Shifted(), PLAN, search=Search(trials=4))
    assert found.scores["defaults"] == pytest.approx(whole.scores["defaults"], rel=1e-12)
    assert [trial["trial"] for trial in found.trials] == [1, 2, 3]
    dear = tune(weekly_shop, Shifted(), PLAN, search=Search(trials=3, budget={"p95_ms": 1e-6}))
    assert dear.recipe == Shifted()


@pytest.mark.slow
def test_a_worse_trial_is_given_up_early_and_the_winner_is_scored_on_all_windows(weekly_shop: Panel) -> None:
    found = tune(weekly_shop, Shifted(), replace(PLAN, windows=5), search=Search(trials=15))
    counts = [trial["windows"] for trial in found.trials if np.isfinite(trial["score"])]
    assert min(counts) == 3
    again = search._objective(weekly_shop, found.recipe, replace(PLAN, windows=5).settled(weekly_shop), Search())
    whole = np.mean([again.window(found.recipe, k)[0] for k in range(5)])
    assert found.scores["tuned"] == pytest.approx(whole, rel=1e-12)


def test_a_recipe_that_cannot_be_fitted_never_wins(weekly_shop: Panel) -> None:
    found = tune(weekly_shop, Shifted(fails=True), PLAN, search=Search(trials=3))
    assert found.trials[0]["score"] == float("inf")
    assert found.base == found.recipe
    assert "they stay" in found.verdict


def test_a_budget_that_nobody_keeps_leaves_the_defaults(weekly_shop: Panel) -> None:
    found = tune(weekly_shop, Shifted(), PLAN, search=Search(trials=3, budget={"p95_ms": 1e-6}))
    assert found.recipe == Shifted()
    assert not found.kept_budget
    assert "no recipe keeps the budget" in found.verdict
    assert not any(trial["feasible"] for trial in found.trials)


@pytest.mark.slow
def test_a_budget_rules_out_what_costs_too_much(weekly_shop: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    costly = lambda self, recipe: 10.0 if abs(recipe.shift) < 3 else 1.0  # noqa: E731
    monkeypatch.setattr("forecastkit.tuning.objective.Objective.p95_ms", costly)
    found = tune(weekly_shop, Shifted(), PLAN, search=Search(trials=20, budget={"p95_ms": 2.0}))
    assert 3 <= abs(found.recipe.shift) < 5
    assert found.kept_budget


def test_an_interrupted_search_goes_on_where_it_was(
    weekly_shop: Panel, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "study.log")

    def stop_at_three(done: int, total: int, what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    begun = Search(trials=6, storage=place, progress=stop_at_three)
    with pytest.raises(KeyboardInterrupt):
        tune(weekly_shop, Shifted(), PLAN, search=begun)
    counted = []
    on = replace(begun, resume=True, progress=lambda done, total, what: counted.append(done))
    assert len(tune(weekly_shop, Shifted(), PLAN, search=on).trials) == 6
    assert counted[0] == 3


@pytest.mark.slow
def test_more_processes_share_one_search(weekly_shop: Panel) -> None:
    found = tune(weekly_shop, "window_average", PLAN, search=Search(trials=6, jobs=2))
    assert [trial["trial"] for trial in found.trials] == list(range(6))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "wap"}, "did you mean 'wape'"),
        ({"by": "coverage"}, "can't be by 'coverage'"),
        ({"budget": {"p95": 2.0}}, "did you mean 'p95_ms'"),
        ({"trials": 0}, "trials must be at least 1"),
        ({"resume": True}, "storage"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(weekly_shop: Panel, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tune(weekly_shop, Shifted(), PLAN, search=Search(**options))


def test_a_model_without_hyperparameters_is_refused(weekly_shop: Panel) -> None:
    with pytest.raises(ConfigError, match="nothing to search"):
        tune(weekly_shop, "naive", PLAN)


def test_a_history_too_short_for_all_windows_is_refused(weekly_shop: Panel) -> None:
    with pytest.raises(SeriesTooShortError, match="windows"):
        tune(weekly_shop, Shifted(), horizon=28, windows=4)


@pytest.mark.parametrize("by", ["wape", "mase", "rmsse", "smape", "mae", "rmse", "bias"])
def test_the_gain_is_that_of_the_leaderboard(weekly_shop: Panel, by: str) -> None:
    report = backtest(weekly_shop, {"a": Shifted(shift=4.0), "b": Shifted(shift=1.0)}, PLAN)
    table = report.scores().set_index("model")[by].abs()
    found = gain(report, by, "a", "b")
    assert found.value == pytest.approx(1 - table["b"] / table["a"], rel=1e-9)
    assert found.low <= found.value <= found.high


def test_the_gain_of_a_recipe_over_itself_is_nothing(weekly_shop: Panel) -> None:
    report = backtest(weekly_shop, {"a": Shifted(), "b": Shifted(shift=5.0)}, PLAN)
    found = gain(report, "wape", "a", "b")
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
