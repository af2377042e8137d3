"""The ensemble: what its weights are found on, and what it makes of its members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import forecastkit as fk
from forecastkit.data.synthetic import retail
from forecastkit.errors import ConfigError, DataError
from forecastkit.models._members import fit_where_long_enough, inverse, stacked
from forecastkit.models.ensemble import Ensemble, EnsembleFitted, past_errors
from forecastkit.models.historic_mean import HistoricMean
from forecastkit.models.seasonal_naive import SeasonalNaive

H = 7
MEMBERS = ("seasonal_naive", "window_average:seasonal=true,window=8", "historic_mean")


@pytest.fixture(scope="module")
def panel():
    return replace(retail(series=12, periods=140, seed=1).panel.bare(), available=None)


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


def test_the_median_is_that_of_the_members(panel):
    fitted = Ensemble(members=MEMBERS, combination="median").fit(panel, horizon=H)
    parts = [fk.create(m).fit(panel, horizon=H).predict(H).mean for m in MEMBERS]
    np.testing.assert_array_equal(fitted.predict(H).mean, np.median(parts, axis=0))


def test_weights_are_found_on_windows_before_the_end_of_training(panel):
    recipe = Ensemble(members=MEMBERS, windows=2)
    own = recipe.members_recipes()
    errors = past_errors(own, panel, H, 2)
    first = own[0].fit(panel.cut(panel.lengths - 2 * H), horizon=H).predict(H, levels=(0.5,)).quantiles[..., 0]
    actual = np.stack([panel.series(i)[-2 * H : -H] for i in range(len(panel))])
    size = np.array([np.sqrt(np.mean((s[7:] - s[:-7]) ** 2)) for s in map(panel.series, range(len(panel)))])
    np.testing.assert_allclose(errors[0, : actual.size], ((first - actual) / size[:, None]).ravel(), rtol=1e-9)
    assert errors.shape == (3, 2 * actual.size)


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
