"""Is a difference real: against scipy, statsmodels and a published example, and how often the tests are wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

import forecastkit as fk
from forecastkit import Panel
from forecastkit.errors import ConfigError
from forecastkit.evaluation import comparison
from forecastkit.evaluation.comparison import all_pairs, diebold_mariano, friedman, holm, resampled

# Demšar (2006), table 6: the AUC of four trees on 14 data sets, in thousandths. The paper ranks unrounded values: the
# last but one row is a tie only when rounded.
AUC = np.array(
    [
        [763, 768, 771, 798], [599, 591, 590, 569], [954, 971, 968, 967], [628, 661, 654, 657], [882, 888, 886, 898],
        [936, 931, 916, 931], [661, 668, 609, 685], [583, 583, 563, 625], [775, 838, 866, 875], [1000] * 4,
        [940, 962, 965, 962], [619, 666, 614, 669], [972, 981, 975.1, 975], [957, 978, 946, 970],
    ]
)  # fmt: skip


def test_diebold_mariano_of_one_step_is_the_paired_t_test() -> None:
    first, second = np.random.default_rng(0).gamma(2, size=(2, 5, 40))
    found, expected = diebold_mariano(first, second), stats.ttest_rel(first, second, axis=-1)
    np.testing.assert_allclose(found.statistic, expected.statistic)
    np.testing.assert_allclose(found.p, expected.pvalue)


def test_diebold_mariano_of_many_steps_has_the_variance_of_statsmodels_and_the_published_factor() -> None:
    rng, n, h = np.random.default_rng(1), 120, 4
    d = np.convolve(rng.normal(size=n + h - 1), np.ones(h), "valid") + 0.5
    hac = OLS(d, np.ones(n)).fit(cov_type="HAC", cov_kwds={"maxlags": h - 1, "kernel": "uniform"})
    factor = np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    found = diebold_mariano(d, np.zeros(n), h)
    assert found.statistic == pytest.approx(factor * hac.tvalues[0])
    assert found.p == pytest.approx(2 * stats.t.sf(factor * hac.tvalues[0], n - 1))


def test_a_negative_variance_gets_the_weights_of_bartlett() -> None:
    d = np.tile([1.0, -1.0], 10) + 0.1
    hac = OLS(d, np.ones(20)).fit(cov_type="HAC", cov_kwds={"maxlags": 1})
    factor = np.sqrt((20 + 1 - 4 + 2 / 20) / 20)
    assert diebold_mariano(d, np.zeros(20), 2).statistic == pytest.approx(factor * hac.tvalues[0])


def test_equal_losses_or_a_single_one_tell_nothing() -> None:
    losses = np.arange(6.0)
    assert diebold_mariano(losses, losses).p == 1
    assert diebold_mariano([1.0], [2.0]).p == 1
    assert diebold_mariano([1.0, 2.0], [2.0, 5.0], horizon=2).p == 1
    assert diebold_mariano([1.0, 2.0], [0.5, 1.5]).p == 0.5  # twice the same difference proves nothing
    assert diebold_mariano([1.0, 2.0], [0.9, 1.9]).p == 0.5  # nor where rounding makes it differ
    assert diebold_mariano(np.arange(9.0), np.arange(9.0) - 1).p < 0.01
    assert diebold_mariano(np.arange(9.0), np.arange(9.0) - 1, horizon=3).p == 0.25  # three that do not overlap


def test_friedman_is_the_one_of_scipy_with_ties() -> None:
    found, expected = friedman(AUC), stats.friedmanchisquare(*AUC.T)
    assert (found.statistic, found.p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))


def test_ranks_and_critical_distance_are_the_published_ones() -> None:
    found = friedman(-AUC)
    np.testing.assert_allclose(found.ranks, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert found.distance == pytest.approx(1.25, abs=0.005)
    assert found.with_best.tolist() == [True, True, True, True]
    assert friedman(-AUC, level=0.9).with_best.tolist() == [False, True, True, True]  # as the paper finds at 10 %


@pytest.mark.parametrize(("models", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_values_are_those_of_the_published_table(models: int, q: float) -> None:
    blocks = np.random.default_rng(0).random((30, models))
    assert friedman(blocks).distance == pytest.approx(q * np.sqrt(models * (models + 1) / 180), rel=1e-3)


def test_holm_is_the_one_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.array([0.01, 0.04, 0.03, 0.005, 0.6])
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_one_pair_of_models_gets_the_p_value_of_a_t_test() -> None:
    losses = np.random.default_rng(3).normal(size=(200, 2)) + np.array([0, 0.15])
    p = all_pairs(losses, draws=4000)
    assert p[0, 1] == p[1, 0] == pytest.approx(stats.ttest_rel(*losses.T).pvalue, abs=0.02)


def test_models_that_are_alike_are_told_apart_in_one_comparison_of_twenty() -> None:
    rng = np.random.default_rng(4)
    wrong = [all_pairs(rng.gamma(2, size=(40, 4)), draws=200).min() <= 0.05 for _ in range(300)]
    assert 0.02 <= np.mean(wrong) <= 0.09


def test_a_model_that_is_worse_is_found_and_the_others_are_left_together() -> None:
    rng = np.random.default_rng(5)
    found = [
        all_pairs(rng.normal(size=(60, 3)) + rng.normal(size=(60, 1)) + [0, 0, 1.0], draws=200)[0] <= 0.05
        for _ in range(100)
    ]
    apart = np.mean(found, axis=0)
    assert apart[2] > 0.9
    assert apart[1] < 0.1


def test_diebold_mariano_is_wrong_in_one_test_of_twenty() -> None:
    noise = np.random.default_rng(6).normal(size=(2000, 43))
    d = noise[:, 3:] + noise[:, 2:-1] + noise[:, 1:-2] + noise[:, :-3]
    assert 0.03 <= (diebold_mariano(d, np.zeros_like(d), 4).p <= 0.05).mean() <= 0.09


def test_drawing_again_takes_every_row_equally_often_and_is_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.eye(20)
    whole = resampled(values, 500)
    np.testing.assert_array_equal(whole.sum(axis=1), 20)
    np.testing.assert_allclose(whole.mean(axis=0), 1, atol=0.2)
    np.testing.assert_array_equal(whole, resampled(values, 500))


def shops(count: int, seed: int = 0) -> Panel:
    """Series of daily demand with a strong weekly season."""
    rng, days = np.random.default_rng(seed), pd.date_range("2024-01-01", periods=70)
    season = 20 + 8 * np.sin(2 * np.pi * np.arange(70) / 7)
    frames = [
        pd.DataFrame({"unique_id": f"s{k:02}", "ds": days, "y": season + rng.normal(size=70)}) for k in range(count)
    ]
    return Panel.from_frame(pd.concat(frames))


def test_the_leaderboard_marks_what_can_not_be_told_from_the_best() -> None:
    models = {
        "seasonal_naive": fk.create("seasonal_naive"),
        "twin": fk.create("seasonal_naive"),
        "naive": fk.create("naive"),
    }
    report = fk.backtest(shops(20), models, horizon=7, windows=2)
    board = report.leaderboard().set_index("model")
    assert board["with_best"].to_dict() == {"seasonal_naive": True, "twin": True, "naive": False}
    assert board.loc["twin", "skill"] == 0
    assert board.loc["naive", "skill"] == pytest.approx(1 - board.loc["naive", "mase"] / board.loc["twin", "mase"])
    assert (board["mase_low"] < board["mase"]).all()
    assert (board["mase"] < board["mase_high"]).all()
    found = report.compare("wape")
    assert (found.models[-1], found.blocks, found.ranks.blocks) == ("naive", "series", 20)
    np.testing.assert_allclose(found.scores, board["wape"])


def test_few_series_are_compared_over_windows() -> None:
    report = fk.backtest(shops(2), ["seasonal_naive", "naive"], horizon=7, windows=6)
    found = report.compare()
    by_window = report.scores(["model", "window"]).pivot(index="window", columns="model", values="mase")
    expected = stats.ttest_rel(by_window["naive"], by_window["seasonal_naive"]).pvalue
    assert found.blocks == "windows"
    assert found.p[0, 1] == pytest.approx(expected)


def test_a_single_series_in_a_single_window_tells_nothing() -> None:
    board = fk.backtest(shops(1), ["seasonal_naive", "naive"], horizon=7).leaderboard()
    assert board["with_best"].all()


def test_confidence_covers_the_score_of_all_series_of_which_some_were_seen() -> None:
    everyone = fk.backtest(shops(200), ["naive"], horizon=7).scores()["wape"].iloc[0]
    inside = []
    for seed in range(8):
        picked = np.random.default_rng(seed).choice(200, 25, replace=False)
        table = fk.backtest(shops(200).take(np.sort(picked)), ["naive"], horizon=7).confidence()
        low, high = table.set_index("metric").loc["wape", ["low", "high"]]
        inside.append(low <= everyone <= high)
    assert sum(inside) >= 6


def test_an_unknown_metric_of_a_comparison_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'wape'"):
        fk.backtest(shops(2), ["naive"], horizon=7).compare("wap")


def test_many_draws_are_made_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "_AT_ONCE", 50)
    drawn = resampled(np.ones((20, 1)), 11)
    np.testing.assert_array_equal(drawn, np.full((11, 1), 20.0))


def test_the_front_is_what_nothing_beats_in_everything() -> None:
    costs = np.array([[1.0, 9.0], [2.0, 5.0], [2.0, 6.0], [3.0, 5.0], [4.0, 1.0], [4.0, 1.0]])
    assert comparison.pareto(costs).tolist() == [True, True, False, False, True, True]


def test_one_odd_series_in_one_pair_hides_no_other_difference() -> None:
    rng = np.random.default_rng(8)
    losses = rng.normal(0, 0.1, (20, 3)) + np.array([0, 0, 0.3])
    losses[0, 1] += 30
    assert all_pairs(losses)[0, 2] < 0.01


def test_the_worst_series_come_first_with_their_tracking_signal() -> None:
    report = fk.backtest(shops(12), ["naive", "seasonal_naive"], horizon=7, windows=2)
    found = report.worst("naive", count=3)
    assert found["mase"].is_monotonic_decreasing
    assert len(found) == 3
    rows = report.forecasts.query("model == 'naive' and series == @found.series[0]")
    errors = rows["mean"] - rows["y"]
    assert found["tracking"][0] == pytest.approx(errors.sum() / errors.abs().mean())
    assert report.worst(count=1)["series"].tolist() == report.worst("seasonal_naive", count=1)["series"].tolist()
    with pytest.raises(ConfigError, match="did you mean 'naive'"):
        report.worst("naiv")


def test_costs_hold_the_size_of_what_was_learned() -> None:
    costs = fk.backtest(shops(12), ["naive", "ets"], horizon=7).costs().set_index("model")
    assert costs.loc["ets", "size_mb"] > costs.loc["naive", "size_mb"]
    assert (costs["cpu_s"] >= 0).all()
