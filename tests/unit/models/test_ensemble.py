"""The ensemble: what its weights are found on, and what it makes of its members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import forecastkit as fk
from forecastkit import local
from forecastkit.data.synthetic import retail
from forecastkit.errors import ConfigError, DataError, FitError, SeriesTooShortError
from forecastkit.execution import use_threads
from forecastkit.models._members import fit_where_long_enough
from forecastkit.models._weights import inverse, moving_errors, past_errors, stacked
from forecastkit.models.ensemble import Ensemble, EnsembleFitted
from forecastkit.models.historic_mean import HistoricMean
from forecastkit.models.seasonal_naive import SeasonalNaive

H = 7
MEMBERS = ("seasonal_naive", "window_average:seasonal=true,window=8", "historic_mean")


@pytest.fixture(scope="module")
def panel():
    found = replace(retail(series=12, periods=140, seed=1).panel.bare(), available=None)
    return replace(found, values=found.values * 1.01)  # no counts, as their quantiles are rounded


def test_stacking_gives_independent_errors_weights_by_one_over_their_variance():
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(3, 200_000)) * np.array([[1.0], [1.0], [2.0]])
    weights = stacked(errors)
    # Bates & Granger (1969): 4/9, 4/9, 1/9, here leaning a little to a third each.
    np.testing.assert_allclose(weights, [4 / 9, 4 / 9, 1 / 9], atol=0.03)
    assert weights.sum() == pytest.approx(1)
    assert weights[2] > 1 / 9


def test_stacking_leaves_out_who_only_adds_to_the_errors_of_another():
    rng = np.random.default_rng(0)
    good = rng.normal(size=5000)
    weights = stacked(np.stack([good, 3 * good]))
    np.testing.assert_allclose(weights, [1, 0], atol=1e-9)


def test_of_many_errors_stacking_looks_at_every_step_of_the_horizon():
    rng = np.random.default_rng(0)
    # Of series by steps: the first member is right at two steps of 28 and far off at all others.
    often_wrong = np.where(np.arange(28) % 14 == 0, 0.01, 2.0)
    sizes = np.stack([often_wrong, np.full(28, 0.2)])[:, None]
    errors = rng.normal(size=(2, 30_490, 28)) * sizes
    np.testing.assert_allclose(stacked(errors.reshape(2, -1)), [0, 1], atol=0.05)


def test_who_is_never_wrong_has_all_the_weight_and_all_right_is_equal():
    assert inverse(np.array([[0.0, 0.0], [1.0, -1.0]]))[0] > 0.999
    np.testing.assert_allclose(stacked(np.zeros((2, 3))), [0.5, 0.5])
    np.testing.assert_allclose(inverse(np.zeros((2, 3))), [0.5, 0.5])


def test_the_forecast_is_the_weighted_mean_of_the_members(panel):
    fitted = Ensemble(members=MEMBERS).fit(panel, horizon=H)
    parts = [fk.create(m).fit(panel, horizon=H).predict(H, levels=(0.1, 0.9)) for m in MEMBERS]
    found = fitted.predict(H, levels=(0.1, 0.9))
    weights = list(fitted.shares.values())
    np.testing.assert_allclose(found.mean, sum(w * p.mean for w, p in zip(weights, parts, strict=True)), rtol=1e-12)
    np.testing.assert_allclose(
        found.quantiles, sum(w * p.quantiles for w, p in zip(weights, parts, strict=True)), rtol=1e-12
    )


def test_a_trace_of_a_member_is_heard_only_where_no_other_is(panel):
    fitted = Ensemble(members=("historic_mean", "seasonal_naive")).fit(panel, horizon=H)
    loud, quiet = HistoricMean().fit(panel.take(range(3, 12))), SeasonalNaive().fit(panel.take(range(5)))
    found = replace(fitted, members=(loud, quiet), weights=np.array([0.99, 0.01])).predict(H).mean
    np.testing.assert_allclose(found[3:], loud.predict(H).mean, rtol=1e-12)
    np.testing.assert_allclose(found[:3], quiet.predict(H).mean[:3], rtol=1e-12)


def test_the_median_is_that_of_the_members(panel):
    fitted = Ensemble(members=MEMBERS, combination="median").fit(panel, horizon=H)
    parts = [fk.create(m).fit(panel, horizon=H).predict(H).mean for m in MEMBERS]
    np.testing.assert_array_equal(fitted.predict(H).mean, np.median(parts, axis=0))


def test_errors_are_those_of_members_that_move_through_the_past_windows(panel):
    own = [fk.create(m).fit(panel.cut(panel.lengths - 2 * H), horizon=H) for m in MEMBERS]
    errors = past_errors(own, panel, H, 2)
    seasonal = np.stack([panel.series(i)[-2 * H - 7 : -2 * H] for i in range(len(panel))])  # the week before
    actual = np.stack([panel.series(i)[-2 * H : -H] for i in range(len(panel))])
    size = np.array([np.sqrt(np.mean((s[7:] - s[:-7]) ** 2)) for s in map(panel.series, range(len(panel)))])
    np.testing.assert_allclose(errors[0][0], ((seasonal - actual) / size[:, None]).ravel(), rtol=1e-9)
    newest = np.stack([panel.series(i)[-H:] for i in range(len(panel))])
    np.testing.assert_allclose(errors[1][0], ((actual - newest) / size[:, None]).ravel(), rtol=1e-9)


def test_each_member_is_fitted_once_before_the_past_windows_and_once_on_everything(panel, monkeypatch):
    fits = []
    whole = HistoricMean._fit

    def counting(self, train, horizon):
        fits.append(int(train.lengths.max()))
        return whole(self, train, horizon)

    monkeypatch.setattr(HistoricMean, "_fit", counting)
    longest = int(panel.lengths.max())
    Ensemble(members=MEMBERS, windows=3).fit(panel, horizon=H)
    assert fits == [longest - 3 * H, longest]
    fits.clear()
    Ensemble(members=MEMBERS, combination="median").fit(panel, horizon=H)
    assert fits == [longest]


def test_there_are_fewer_windows_where_less_than_half_of_the_history_stood_before_them(panel):
    recipe = Ensemble(members=MEMBERS, windows=9)
    assert recipe.fit(panel.tail(5 * H), horizon=H).taught == 2
    assert recipe.fit(panel, horizon=H).taught == 9


def test_a_refit_adds_the_lessons_of_the_windows_since(panel):
    recipe = Ensemble(members=MEMBERS, windows=2)
    early = recipe.fit(panel.cut(panel.lengths - H), horizon=H)
    later = early.refit(panel, horizon=H)
    (newest,) = recipe.weights_on(early.members, panel, H, 1)
    assert (early.taught, later.taught, later.horizon) == (2, 3, H)
    np.testing.assert_allclose(later.weights, (2 * early.weights + newest) / 3)
    np.testing.assert_array_equal(later.members[0].history.ends, panel.ends)
    for back in (H, 3 * H):  # nothing new, and less than was known
        same = early.refit(panel.cut(panel.lengths - back), horizon=H)
        np.testing.assert_array_equal(same.weights, early.weights)


def test_refits_less_than_a_horizon_apart_learn_together_from_what_no_member_has_seen(panel, tmp_path):
    ends = [panel.cut(panel.lengths - back) for back in (2 * H, H)]
    first = Ensemble(members=MEMBERS).fit(ends[0], horizon=2 * H)
    second = first.refit(ends[1], horizon=2 * H)
    np.testing.assert_array_equal(second.weights, first.weights)
    second.save(tmp_path / "m")
    third = fk.load(tmp_path / "m").refit(panel, horizon=2 * H)
    assert (first.taught, second.taught, third.taught) == (2, 2, 3)
    (whole,) = past_errors(second.members, panel, 2 * H, 1)
    unseen = whole.reshape(len(MEMBERS), len(panel), 2 * H)[..., H:].reshape(len(MEMBERS), -1)
    np.testing.assert_allclose(third.weights, (2 * first.weights + stacked(unseen)) / 3)
    np.testing.assert_array_equal(third.refit(panel, horizon=2 * H).weights, third.weights)


def test_a_series_that_has_ended_does_not_keep_refits_from_learning(panel):
    ended = panel.cut(panel.lengths - np.where(np.arange(len(panel)) == 0, 3 * H, 0))
    early = Ensemble(members=MEMBERS).fit(
        ended.cut(ended.lengths - np.where(ended.ends == panel.ends, H, 0)), horizon=H
    )
    assert (early.taught, early.refit(ended, horizon=H).taught) == (2, 3)


def test_a_refit_reads_texts_as_its_members_learned_them():
    rng = np.random.default_rng(0)
    ids, day = np.repeat(["a", "b", "c"], 90), np.tile(np.arange(90), 3)
    sale = rng.random(270) < 0.4
    table = pd.DataFrame(
        {
            "unique_id": ids,
            "ds": np.datetime64("2024-01-01") + day,
            "y": 10 + 20 * sale + rng.random(270),
            "offer": np.where(sale, "sale", "none"),
        }
    )
    other = table[table["unique_id"] == "a"].assign(unique_id="z", offer="basket")  # comes before none and sale
    panel = fk.Panel.from_frame(table, known=["offer"])
    wider = fk.Panel.from_frame(pd.concat([table, other]), known=["offer"])
    recipe = Ensemble(members=("sarima:order=(1,0,0),seasonal_order=(0,0,0)", "seasonal_naive"), windows=1)
    early = recipe.fit(panel.cut(panel.lengths - H), horizon=H)
    np.testing.assert_allclose(early.refit(wider, horizon=H).weights, early.refit(panel, horizon=H).weights)
    other_columns = replace(panel.bare(), available=None)
    assert early._lessons(other_columns, H).taught == early.taught


def test_weights_look_at_nothing_after_the_end_of_training(panel):
    train = panel.cut(panel.lengths - H)
    other = replace(panel, values=panel.values[::-1].copy())
    changed = replace(other, values=np.where(_after(panel, H), other.values, panel.values))
    found = [Ensemble(members=MEMBERS).fit(p.cut(p.lengths - H), horizon=H).weights for p in (panel, changed)]
    np.testing.assert_array_equal(*found)
    assert Ensemble(members=MEMBERS).fit(train, horizon=H).taught == 2


def _after(panel, periods):
    """Rows of the last `periods` of each series."""
    back = np.repeat(panel.offsets[1:], panel.lengths) - np.arange(len(panel.values))
    return back <= periods


def test_a_backtest_fits_an_ensemble_on_all_series_at_once(panel, monkeypatch):
    sizes = []
    whole = Ensemble._fit

    def counting(self, train, horizon):
        sizes.append(len(train))
        return whole(self, train, horizon)

    monkeypatch.setattr(Ensemble, "_fit", counting)
    wide = retail(series=40, periods=140, seed=1).panel
    fk.backtest(wide, [Ensemble(members=MEMBERS)], horizon=H, windows=1)
    assert sizes == [len(wide)]


def test_only_an_ensemble_with_a_warm_member_is_warm():
    assert Ensemble(members=("sarima", "theta")).warm
    assert not Ensemble(members=MEMBERS).warm


def test_what_was_saved_learns_on_from_its_weights(panel, tmp_path):
    early = Ensemble(members=MEMBERS).fit(panel.cut(panel.lengths - H), horizon=H)
    early.save(tmp_path / "m")
    np.testing.assert_array_equal(
        fk.load(tmp_path / "m").refit(panel, horizon=H).weights, early.refit(panel, horizon=H).weights
    )


def test_the_better_member_has_the_larger_weight(panel):
    shares = Ensemble(members=("historic_mean", "window_average:seasonal=true,window=8")).fit(panel, horizon=H).shares
    assert shares["window_average:seasonal=true,window=8"] > 0.52


def test_series_too_short_for_a_past_window_get_equal_weights(panel):
    shares = Ensemble(members=MEMBERS).fit(panel.tail(10), horizon=H).shares
    np.testing.assert_allclose(list(shares.values()), 1 / 3)


def test_a_member_that_fails_on_a_past_window_does_not_cost_the_fit(panel, monkeypatch):
    whole, longest = HistoricMean._fit, int(panel.lengths.max())

    def failing(self, train, horizon):
        if train.lengths.max() < longest:
            raise DataError("not today")
        return whole(self, train, horizon)

    monkeypatch.setattr(HistoricMean, "_fit", failing)
    np.testing.assert_allclose(list(Ensemble(members=MEMBERS).fit(panel, horizon=H).shares.values()), 1 / 3)


def failing(*_, **__):
    raise FitError("not today", model="historic_mean")


def test_a_member_that_cant_be_fitted_at_all_is_left_out_and_comes_back_when_it_can(panel, monkeypatch):
    recipe = Ensemble(members=MEMBERS)
    with monkeypatch.context() as patch:
        patch.setattr(HistoricMean, "_fit", failing)
        fitted = recipe.fit(panel.cut(panel.lengths - H), horizon=H)
    assert fitted.shares == {text: pytest.approx(1 / 2) for text in MEMBERS[:2]}
    again = fitted.refit(panel, horizon=H)
    np.testing.assert_array_equal(again.weights, recipe.fit(panel, horizon=H).weights)


def test_series_too_short_for_the_trees_are_forecast_by_the_other_members(panel):
    short = panel.take(range(3)).tail(5)
    with pytest.raises(SeriesTooShortError):
        fk.create("boosted").fit(short, horizon=H)
    fitted = Ensemble(members=("boosted", "naive", "historic_mean")).fit(short, horizon=H)
    assert set(fitted.shares) == {"naive", "historic_mean"}
    assert np.isfinite(fitted.predict(H).mean).all()


def test_where_no_member_can_be_fitted_the_first_one_says_why(panel, monkeypatch):
    monkeypatch.setattr(HistoricMean, "_fit", failing)
    monkeypatch.setattr(SeasonalNaive, "_fit", failing)
    with pytest.raises(FitError, match="not today"):
        Ensemble(members=("historic_mean", "seasonal_naive")).fit(panel, horizon=H)


def test_members_that_go_series_by_series_are_spread_over_processes_where_asked_for(panel, monkeypatch):
    spread = []
    whole = local.fit_in_processes

    def telling(recipe, train, jobs, **how):
        spread.append((recipe.name, jobs))
        return whole(recipe, train, jobs, **how)

    monkeypatch.setattr(local, "fit_in_processes", telling)
    recipe = Ensemble(members=("theta", "naive"))
    plain = recipe.fit(panel, horizon=H).predict(H, levels=(0.1,))
    assert spread == []
    with use_threads(2):
        found = recipe.fit(panel, horizon=H).predict(H, levels=(0.1,))
    assert spread == [("theta", 2)] * 2  # before the past windows, and on everything
    np.testing.assert_array_equal(found.mean, plain.mean)
    np.testing.assert_array_equal(found.quantiles, plain.quantiles)


def test_the_size_of_an_ensemble_is_that_of_what_its_members_learned(panel):
    fitted = Ensemble(members=("theta", "naive"), combination="mean").fit(panel, horizon=H)
    parts = [fk.create(m).fit(panel, horizon=H).size_mb for m in ("theta", "naive")]
    assert fitted.size_mb == pytest.approx(sum(parts) + 16e-6)
    costs = fk.backtest(panel, [fitted.recipe], horizon=H, windows=1).timings
    assert costs["size_mb"].max() < panel.values.nbytes / 1e6


def test_traits_are_those_of_the_members():
    local = Ensemble(members=("seasonal_naive", "theta"))
    assert not local.pooled
    assert "known" not in local.uses
    assert "known" in Ensemble(members=("seasonal_naive", "sarima")).uses
    assert local.needs(retail(series=2, periods=60).panel) >= 1


def test_known_covariates_reach_the_members_that_know_them():
    panel = retail(series=4, periods=160, seed=2).panel
    train = panel.cut(panel.lengths - H)
    future = panel.known_after(train.lengths, H)
    fitted = Ensemble(members=("sarima:order=(1,0,0),seasonal_order=(0,0,0)", "seasonal_naive"), windows=1).fit(
        train, horizon=H
    )
    other = future.copy()
    other[..., panel.known.names.index("promotion")] = 1 - other[..., panel.known.names.index("promotion")]
    assert (fitted.predict(H, future=future).mean != fitted.predict(H, future=other).mean).any()


def test_new_series_are_refused_as_a_member_has_not_seen_them(panel):
    fitted = Ensemble(members=MEMBERS, combination="mean").fit(panel.take(range(3)), horizon=H)
    with pytest.raises(DataError, match="not fitted on series"):
        fitted.update(panel)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"members": ("theta",)}, "two or more"),
        ({"members": ("theta", "theta")}, "different"),
        ({"members": ("theta", "thetta")}, "can't be a member"),
        ({"members": ("theta", "ensemble")}, "can't be a member"),
        ({"combination": "stackin"}, "stacking"),
        ({"windows": 0}, "windows"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, what):
    with pytest.raises(ConfigError, match=what):
        Ensemble(**options)


def test_a_series_too_short_for_a_member_is_forecast_by_the_others(panel, monkeypatch):
    lengths = np.where(np.arange(len(panel)) == 0, 5, panel.lengths)
    short = panel.cut(lengths)
    monkeypatch.setattr(SeasonalNaive, "needs", lambda self, train: 20)
    fitted = Ensemble(members=("seasonal_naive", "historic_mean"), combination="mean").fit(short, horizon=H)
    alone = fk.create("historic_mean").fit(short).predict(H).mean
    other = fk.create("seasonal_naive").fit(short.take(np.arange(1, len(short)))).predict(H).mean
    np.testing.assert_allclose(fitted.predict(H).mean[0], alone[0])
    np.testing.assert_allclose(fitted.predict(H).mean[1:], (alone[1:] + other) / 2)
    assert not fitted.failures
    moved = fitted.update(short)
    np.testing.assert_array_equal(moved.predict(H).mean, fitted.predict(H).mean)


def test_a_series_too_short_for_every_member_has_the_baseline_and_is_named(panel, monkeypatch):
    short = panel.cut(np.where(np.arange(len(panel)) == 0, 5, panel.lengths))
    monkeypatch.setattr(SeasonalNaive, "needs", lambda self, train: 20)
    monkeypatch.setattr(HistoricMean, "needs", lambda self, train: 20)
    fitted = EnsembleFitted(
        recipe=(recipe := Ensemble(members=("seasonal_naive", "historic_mean"), combination="mean")),
        history=short,
        texts=recipe.members,
        members=tuple(fit_where_long_enough(own, short, H) for own in recipe.members_recipes()),
        weights=np.array([0.5, 0.5]),
    )
    again = fitted.update(short)
    assert again.failures == {short.ids[0]: "too short for every member"}
    plain = fk.create("seasonal_naive", season=short.season)
    monkeypatch.undo()
    np.testing.assert_array_equal(again.predict(H).mean[0], plain.fit(short).predict(H).mean[0])


def test_members_are_averaged_before_counts_are_rounded():
    days, y = pd.date_range("2024-01-01", periods=80), np.random.default_rng(0).poisson(3, 80)
    panel = fk.Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": days, "y": y}))
    fitted = Ensemble(members=MEMBERS, combination="mean").fit(panel, horizon=H)
    parts = [member.unrounded(H, levels=(0.5,))[1] for member in fitted.members]
    found = fitted.predict(H, levels=(0.5,)).quantiles
    np.testing.assert_array_equal(found, np.floor(np.mean(parts, axis=0) + 0.499))
    assert (found != np.floor(np.mean(np.floor(np.array(parts) + 0.499), axis=0) + 0.499)).any()


def test_a_member_alone_has_the_errors_of_whole_medians():
    days, y = pd.date_range("2024-01-01", periods=80), np.random.default_rng(0).poisson(3, 80)
    panel = fk.Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": days, "y": y}))
    member = HistoricMean().fit(panel.cut(80 - H))
    whole = member.predict(H, levels=(0.5,)).quantiles[..., 0]
    size = np.std(y[7:] - y[:-7]) ** 2 + np.mean(y[7:] - y[:-7]) ** 2
    np.testing.assert_allclose(moving_errors(member, panel, H, 1, alone=True)[0] * size**0.5, whole - y[-H:])
    assert (np.abs(moving_errors(member, panel, H, 1)[0] * size**0.5 - (whole - y[-H:])) > 0.01).all()
