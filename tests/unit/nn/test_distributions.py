"""The heads for counts and for demand from zero: their likelihoods, their quantiles, and forecasts made with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import integrate, stats

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, DataError
from forecastkit.models import restore
from forecastkit.models.gru import GRU
from forecastkit.nn.distributions import DISTRIBUTIONS, positive
from forecastkit.nn.forecaster import _widened
from forecastkit.nn.network import Output
from forecastkit.nn.options import Training

LEVELS = (0.1, 0.5, 0.9, 0.99)
QUICK = Training(steps=60, batch=32, checks=4, refit=False)
COUNTS, AMOUNTS = DISTRIBUTIONS["negative_binomial"], DISTRIBUTIONS["tweedie"]


def small(head, **options):
    return GRU(**{"hidden": 16, "seeds": 1, "head": head, "training": QUICK, **options})


def sales(rates=(0.2, 1.0, 6.0), days=160, unit=1.0):
    """Overdispersed counts with a week in them."""
    rng = np.random.default_rng(4)
    ds = pd.date_range("2024-01-01", periods=days)
    week = 1 + 0.6 * np.sin(2 * np.pi * ds.day_of_week.to_numpy() / 7)
    frames = [
        pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "y": unit * rng.negative_binomial(2, 2 / (2 + rate * week))})
        for k, rate in enumerate(rates)
    ]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def panel():
    return Panel.from_frame(sales())


@pytest.fixture(scope="module", params=["negative_binomial", "tweedie"])
def fitted(request, panel):
    return small(request.param).fit(panel, horizon=14)


def test_the_likelihood_of_counts_is_the_negative_binomial():
    y, mean, dispersion = np.arange(40.0), 6.3, 0.4
    expected = -stats.nbinom.logpmf(y, 1 / dispersion, 1 / (1 + dispersion * mean))
    found = COUNTS.surprise(torch.from_numpy(y), torch.tensor(mean), torch.tensor(dispersion))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_likelihood_of_amounts_is_a_density_with_the_mean_and_variance_of_its_name():
    mean, dispersion = torch.tensor(2.5, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    density = lambda y: float(torch.exp(-AMOUNTS.surprise(torch.tensor(y), mean, dispersion)))  # noqa: E731
    moment = lambda k: integrate.quad(lambda y: y**k * density(y), 1e-12, 80)[0]  # noqa: E731
    assert moment(0) + density(0.0) == pytest.approx(1, rel=1e-6)
    assert moment(1) == pytest.approx(2.5, rel=1e-6)
    assert moment(2) - 2.5**2 == pytest.approx(0.7 * 2.5**1.5, rel=1e-5)


def test_quantiles_of_counts_are_exact_and_ordered():
    rng = np.random.default_rng(0)
    mean, dispersion = rng.gamma(1, 6, 5000), np.exp(rng.uniform(-6.9, 4.6, 5000))
    found = COUNTS.quantiles(mean, dispersion, LEVELS)
    size = 1 / dispersion[:, None]
    np.testing.assert_array_equal(found, stats.nbinom.ppf(np.array(LEVELS), size, size / (size + mean[:, None])))
    assert (np.diff(found, axis=-1) >= 0).all()


def test_quantiles_of_amounts_leave_their_level_below_them():
    rng = np.random.default_rng(0)
    mean, dispersion = rng.gamma(1, 6, 300), np.exp(rng.uniform(-2, 2, 300))
    found = AMOUNTS.quantiles(mean, dispersion, LEVELS)
    rate, amount = 2 * np.sqrt(mean) / dispersion, dispersion * np.sqrt(mean) / 2
    for k, level in enumerate(LEVELS):
        times = np.arange(1, 400)[:, None]
        below = np.exp(-rate) + (stats.poisson.pmf(times, rate) * stats.gamma.cdf(found[:, k] / amount, times)).sum(0)
        some = found[:, k] > 0
        np.testing.assert_allclose(below[some], level, rtol=1e-7)
        assert (np.exp(-rate)[~some] >= level).all()


@pytest.mark.parametrize("distribution", [COUNTS, AMOUNTS])
def test_draws_have_the_mean_and_the_variance(distribution):
    mean, dispersion = torch.full((100_000,), 2.5), torch.full((100_000,), 0.7)
    draws = distribution.draw(mean, dispersion, torch.Generator().manual_seed(0))
    assert float(draws.mean()) == pytest.approx(2.5, rel=0.02)
    variance = distribution.variance(mean, dispersion)
    assert float(draws.var()) == pytest.approx(float(variance[0]), rel=0.05)
    torch.testing.assert_close(distribution.dispersed(mean, variance), dispersion)


def test_a_mean_is_left_alone_well_above_zero_and_never_reaches_it():
    values, spread = torch.tensor([[5.0, 0.0, -3.0]]), torch.ones(1, 1)
    bent = positive(values, spread)
    assert float(bent[0, 0]) == pytest.approx(5)
    assert 0 < float(bent[0, 2]) < float(bent[0, 1]) < 0.1
    assert float(positive(values, torch.zeros(1, 1))[0, 0]) == pytest.approx(5)


def test_forecasts_are_never_negative_and_quantiles_are_the_distribution_s(fitted):
    forecast = fitted.predict(30, levels=LEVELS)
    assert (forecast.mean > 0).all()
    assert (forecast.quantiles >= 0).all()
    assert (np.diff(forecast.quantiles, axis=-1) >= 0).all()
    if fitted.recipe.head == "negative_binomial":
        np.testing.assert_array_equal(forecast.quantiles, np.round(forecast.quantiles))


def test_training_by_likelihood_finds_the_level_and_the_spread(fitted):
    forecast = fitted.predict(14, levels=(0.1, 0.9))
    np.testing.assert_allclose(forecast.mean.mean(axis=1), (0.2, 1.0, 6.0), rtol=0.5)
    week = 6 * (1 + 0.6 * np.sin(2 * np.pi * np.arange(7) / 7))
    wide = stats.nbinom.ppf(0.9, 2, 2 / (2 + week)).mean()
    assert forecast.quantiles[2, :, 1].mean() == pytest.approx(wide, rel=0.3)


@pytest.mark.parametrize("head", ["negative_binomial", "tweedie"])
def test_the_likelihood_teaches_what_a_promotion_is_worth(head):
    rng = np.random.default_rng(6)
    ds = pd.date_range("2024-01-01", periods=150)
    rows = pd.concat(
        pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "promo": rng.random(150) < 0.3}).assign(
            y=lambda f: rng.poisson(np.where(f["promo"], 9.0, 3.0)).astype(float),
            promo=lambda f: f["promo"].astype(float),
        )
        for k in range(6)
    )
    train = Panel.from_frame(rows, known=("promo",))
    fitted = small(head, training=Training(steps=150, batch=64, lr=1e-2, validation=0)).fit(train, horizon=7)
    on, off = (fitted.predict(7, future=np.full((6, 7, 1), flag)).mean.mean() for flag in (1.0, 0.0))
    assert on / off == pytest.approx(3, rel=0.3)


def test_an_item_that_was_not_sold_lately_can_be_sold_again(panel):
    rows = sales()
    idle = rows["unique_id"].eq("s0") & (rows["ds"] >= "2024-02-01")
    other = Panel.from_frame(rows.assign(y=rows["y"].where(~idle, 0.0)))
    forecast = small("negative_binomial").fit(panel, horizon=14).update(other).predict(14)
    assert 0 < forecast.mean[0].mean() < 0.2


def test_amounts_scale_with_demand(panel):
    large = Panel.from_frame(sales(unit=1000.0))
    recipe = small("tweedie")
    mean = recipe.fit(panel, horizon=14).predict(14).mean
    np.testing.assert_allclose(recipe.fit(large, horizon=14).predict(14).mean, 1000 * mean, rtol=1e-3)


def test_a_long_forecast_is_the_short_one_and_what_follows_on_it(fitted):
    long, short = (fitted.predict(h, levels=(0.1, 0.9)) for h in (42, 20))
    np.testing.assert_allclose(short.mean, long.mean[:, :20], rtol=1e-5)
    np.testing.assert_allclose(short.quantiles, long.quantiles[:, :20], rtol=1e-5)


@pytest.mark.parametrize("distribution", [COUNTS, AMOUNTS])
def test_a_block_has_its_own_variance_and_that_of_the_block_before(distribution):
    output = Output(torch.tensor([[2.0, 6.0]]), torch.full((1, 2, 1), 0.5), torch.ones(1, 1))
    _, carried = _widened(distribution, output, None)
    own = distribution.variance(output.mean, torch.tensor(0.5))
    torch.testing.assert_close(carried, own.mean(1, keepdim=True))
    wider, passed_on = _widened(distribution, output, carried)
    torch.testing.assert_close(distribution.variance(output.mean, wider[..., 0]), own + carried)
    torch.testing.assert_close(passed_on, 2 * carried)


def test_a_gap_and_what_fills_it_change_nothing(fitted):
    rows = sales()
    hole = rows["unique_id"].eq("s1") & rows["ds"].between("2024-03-01", "2024-03-20")
    low, high = (
        Panel.from_frame(rows.assign(y=rows["y"].where(~hole, v), sold=~hole), available="sold") for v in (0.0, 900.0)
    )
    means = [fitted.recipe.fit(p, horizon=14).predict(14).mean for p in (low, high)]
    np.testing.assert_allclose(means[0], means[1], rtol=1e-5)


def test_what_was_saved_forecasts_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    loaded = restore(tmp_path / "m")
    assert loaded.recipe == fitted.recipe
    np.testing.assert_array_equal(
        loaded.predict(20, levels=LEVELS).quantiles, fitted.predict(20, levels=LEVELS).quantiles
    )


@pytest.mark.parametrize(
    ("head", "value", "words"),
    [
        ("negative_binomial", -1.0, "whole numbers from 0, series 's1' has -1"),
        ("negative_binomial", 2.5, "whole numbers from 0, series 's1' has 2.5"),
        ("tweedie", -0.5, "never negative, series 's1' has -0.5"),
    ],
)
def test_demand_that_a_head_is_not_for_is_refused_by_name(head, value, words):
    rows = sales()
    rows.loc[200, "y"] = value
    with pytest.raises(DataError, match=words):
        small(head).fit(Panel.from_frame(rows), horizon=14)


def test_all_series_that_a_head_is_not_for_are_named_at_once():
    frame = sales(rates=(1.0,) * 30, days=60)
    first = frame.groupby("unique_id").head(1).index
    frame["y"] = frame["y"].astype(float)
    frame.loc[first[:25], "y"] += 0.5
    with pytest.raises(DataError, match=r"series 's0' has \d\.5 \(25 such\)") as caught:
        COUNTS.check(Panel.from_frame(frame))
    assert set(caught.value.every) == set(frame.loc[first[:25], "unique_id"])


def test_a_distribution_is_not_compiled(fitted):
    with pytest.raises(ConfigError, match=f"this one has head={fitted.recipe.head}, decoder=direct"):
        fitted.compile("eager")


def test_a_head_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="head must be one of quantiles, tweedie, negative_binomial, not 'poisson'"):
        small("poisson")
