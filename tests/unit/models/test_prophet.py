"""prophet: the forecast rebuilt from a few numbers is Prophet's own."""

from __future__ import annotations

import logging
import os
import tempfile

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError

pytest.importorskip("prophet", reason="the extra 'prophet' is not installed")

from forecastkit.models.prophet import Prophet, _quiet, prophet

LEVELS = (0.1, 0.5, 0.9)
DAYS = pd.date_range("2022-01-01", periods=790)


def table(periods: int = 790) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    t = np.arange(periods)
    x = rng.normal(10, 3, periods)
    y = 50 + 0.05 * t + 5 * np.sin(2 * np.pi * t / 7) + 8 * np.sin(2 * np.pi * t / 365.25) + 2 * x
    return pd.DataFrame({"unique_id": "a", "ds": DAYS[:periods], "y": y + rng.normal(size=periods), "x": x})


@pytest.mark.filterwarnings("ignore")  # of Prophet itself, called without the loop that silences it
@pytest.mark.parametrize("mode", ["additive", "multiplicative"])
@pytest.mark.parametrize("growth", ["linear", "flat"])
def test_mean_and_interval_are_prophets_own(mode: str, growth: str) -> None:
    frame = table()
    whole = Panel.from_frame(frame, known=("x",))
    train = whole.cut(750)
    forecast = (
        Prophet(seasonality_mode=mode, growth=growth)
        .fit(train)
        .predict(40, levels=(0.1, 0.9), future=whole.known_after(train.lengths, 40))
    )
    x = (frame.x - frame.x[:750].mean()) / np.std(frame.x[:750])
    plain = frame.assign(x=x)
    with _quiet():
        own = prophet.Prophet(seasonality_mode=mode, growth=growth, uncertainty_samples=4000)
        own.add_regressor("x", standardize=False)
        own.fit(plain[:750], seed=0)
    state = np.random.get_state()  # noqa: NPY002 (Prophet draws from the global generator)
    np.random.seed(0)  # noqa: NPY002
    expected = own.predict(plain[750:][["ds", "x"]])
    np.random.set_state(state)  # noqa: NPY002
    np.testing.assert_allclose(forecast.mean[0], expected.yhat, rtol=1e-6)
    width = float((expected.yhat_upper - expected.yhat_lower).mean())
    np.testing.assert_allclose(forecast.quantiles[0, :, 0], expected.yhat_lower, atol=0.05 * width)
    np.testing.assert_allclose(forecast.quantiles[0, :, 1], expected.yhat_upper, atol=0.05 * width)


@pytest.mark.parametrize("mode", ["additive", "multiplicative"])
def test_the_parts_of_a_forecast_add_up_to_it_also_after_newer_data(mode: str) -> None:
    whole = Panel.from_frame(table(), known=("x",))
    fitted = Prophet(seasonality_mode=mode, holidays="US", yearly=2).fit(whole.cut(700)).update(whole.cut(750))
    future = whole.known_after(np.array([750]), 40)
    told = fitted.explain("a", 40, future=future)
    assert list(told.components) == ["trend", "yearly", "weekly", "holidays", "covariates"]
    total = np.sum(list(told.components.values()), axis=0)
    np.testing.assert_allclose(total, fitted.predict(40, future=future).mean[0])
    assert str(told.times[0]).startswith(str(DAYS[750].date()))
    if mode == "additive":
        assert told.coefficients["x"][0] == pytest.approx(2, abs=0.1)


def test_without_a_horizon_no_plan_is_needed_to_tell_the_regressors() -> None:
    fitted = Prophet().fit(Panel.from_frame(table(400), known=("x",)))
    told = fitted.explain("a")
    assert (list(told.coefficients), dict(told.components)) == (["x"], {})


def test_a_holiday_lifts_its_own_day() -> None:
    frame = table().drop(columns="x")
    fourth = (frame.ds.dt.month == 7) & (frame.ds.dt.day == 4)
    train = Panel.from_frame(frame.assign(y=frame.y + 60.0 * fourth)).cut(900)
    days = pd.date_range(DAYS[-1] + pd.Timedelta(days=1), periods=200)
    fitted = Prophet(holidays="US").fit(train)
    lift = fitted.predict(200).mean[0] - Prophet().fit(train).predict(200).mean[0]
    assert str(days[int(np.argmax(lift))].date()) == "2024-07-04"
    assert lift.max() > 40


def test_a_week_holds_the_holiday_inside_it() -> None:
    weeks = pd.date_range("2021-01-04", periods=170, freq="W-MON")
    rng = np.random.default_rng(0)
    christmas = [(d <= pd.Timestamp(d.year, 12, 25) < d + pd.Timedelta(days=7)) for d in weeks]
    frame = pd.DataFrame({"unique_id": "a", "ds": weeks, "y": 50 + rng.normal(size=170) + 30 * np.array(christmas)})
    train = Panel.from_frame(frame[:150])
    forecast = Prophet(holidays="US", yearly=False).fit(train).predict(20)
    at = int(np.argmax(forecast.mean[0]))
    assert christmas[150:][at]


def test_a_fit_leaves_nothing_behind(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    files = {name for name in os.listdir(tempfile.gettempdir()) if "prophet" in name}
    levels = {name: logging.getLogger(name).disabled for name in ("prophet", "cmdstanpy")}
    with caplog.at_level(logging.DEBUG):
        fitted = Prophet().fit(Panel.from_frame(table(300).drop(columns="x")))
        fitted.predict(5, levels=LEVELS)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    assert {name for name in os.listdir(tempfile.gettempdir()) if "prophet" in name} == files
    assert {name: logging.getLogger(name).disabled for name in levels} == levels
    assert [r for r in caplog.records if r.name.split(".")[0] in ("prophet", "cmdstanpy")] == []
    assert capfd.readouterr() == ("", "")


def test_quantiles_are_the_same_every_time_and_a_short_forecast_begins_a_long_one() -> None:
    fitted = Prophet().fit(Panel.from_frame(table(400).drop(columns="x")))
    long, short, again = (fitted.predict(h, levels=LEVELS).quantiles for h in (28, 7, 28))
    assert long.tolist() == again.tolist()
    np.testing.assert_allclose(short, long[:, :7], rtol=1e-12)
    assert (np.diff(long, axis=-1) > 0).all()


def test_an_update_moves_the_start_along_the_same_curve() -> None:
    frame = table(400).drop(columns="x")
    fitted = Prophet().fit(Panel.from_frame(frame[:390]))
    moved = fitted.update(Panel.from_frame(frame))
    np.testing.assert_allclose(moved.predict(10).mean[0], fitted.predict(20).mean[0, 10:], rtol=1e-9)


def test_what_is_kept_of_a_series_is_less_than_a_kilobyte() -> None:
    fitted = Prophet(holidays="US").fit(Panel.from_frame(table(), known=("x",)))
    assert fitted.failures == {}
    assert fitted.parameters[0].nbytes < 1024


def test_months_have_no_more_waves_than_they_can_tell_apart() -> None:
    months = pd.date_range("2018-01-01", periods=72, freq="MS")
    rng = np.random.default_rng(0)
    y = 100 + 20 * np.sin(2 * np.pi * months.month / 12) + rng.normal(size=72)
    train = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": months, "y": y}))
    fitted = Prophet().fit(train)
    assert fitted.failures == {}
    expected = 100 + 20 * np.sin(2 * np.pi * np.arange(1, 13) / 12)
    np.testing.assert_allclose(fitted.predict(12).mean[0], expected, atol=6)


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_demand_is_only_a_unit(unit: float) -> None:
    frame = table(300).drop(columns="x")
    plain = Prophet().fit(Panel.from_frame(frame)).predict(7).mean
    scaled = Prophet().fit(Panel.from_frame(frame.assign(y=unit * frame.y))).predict(7).mean
    np.testing.assert_allclose(scaled / unit, plain, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"growth": "logistic"}, "growth must be one of linear, flat"),
        ({"seasonality_mode": "additiv"}, "did you mean 'additive'"),
        ({"yearly": "always"}, "yearly must be auto, true, false"),
        ({"holidays": "Germany"}, "holidays knows no country 'Germany'"),
        ({"n_changepoints": -1}, "n_changepoints must be at least 0"),
        ({"changepoint_prior_scale": 0.0}, "changepoint_prior_scale must be above 0"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Prophet(**options)  # type: ignore[arg-type]
