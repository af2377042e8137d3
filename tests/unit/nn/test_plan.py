"""Sizes resolved from a panel, the padded arrays, and the batches gathered from them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, fields, replace

import numpy as np
import pandas as pd
import pytest
import torch

from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Panel
from forecastkit.nn import inputs as inputs_module
from forecastkit.nn.inputs import calendar_features, lay_out
from forecastkit.nn.network import Output
from forecastkit.nn.plan import Plan, resolve
from forecastkit.nn.training import Origins, loss_of
from forecastkit.nn.windows import Windows


def panel_of(freq, periods, series=1, **columns):
    frames = [
        pd.DataFrame(
            {"unique_id": f"s{k}", "ds": pd.date_range("2020-01-01", periods=n, freq=freq), "y": np.arange(n) + 1.0}
        )
        for k, n in enumerate(np.broadcast_to(periods, series))
    ]
    return Panel.from_frame(pd.concat(frames, ignore_index=True).assign(**columns))


@pytest.mark.parametrize(
    ("freq", "periods", "horizon", "season", "lookback", "patch", "lags", "yearly"),
    [
        ("D", 440, 28, 7, 98, 7, (), False),
        ("D", 1900, 28, 7, 98, 7, (364,), True),
        ("h", 900, 48, 24, 336, 24, (168,), False),
        ("W-MON", 156, 13, 52, 52, 13, (), True),
        ("MS", 60, 6, 12, 24, 12, (), True),
        ("D", 30, 7, 7, 14, 7, (), False),
        ("W-MON", 40, 8, 1, 19, 4, (), False),
        ("W-MON", 40, 60, 1, 12, 4, (), False),
        ("D", 10, 14, 1, 5, 4, (), False),
    ],
)
def test_a_panel_decides_the_sizes(freq, periods, horizon, season, lookback, patch, lags, yearly):
    plan = resolve(panel_of(freq, periods), horizon, None, None, None)
    found = (plan.season, plan.lookback, plan.patch, plan.lags, plan.yearly)
    assert found == (season, lookback, patch, lags, yearly)


def test_a_person_decides_the_sizes():
    plan = resolve(panel_of("D", 440), 28, 14, 30, 5)
    assert (plan.season, plan.lookback, plan.patch) == (14, 30, 5)


def test_where_covariates_are_known_ahead_two_seasons_are_looked_through():
    rows = panel_of("W-MON", 156).to_frame().assign(price=2.0)
    plan = resolve(Panel.from_frame(rows, known=("price",)), 13, None, None, None)
    assert (plan.lookback, plan.recall, plan.context) == (52, 104, 104)
    plan = resolve(Panel.from_frame(rows), 13, None, None, None)
    assert (plan.lookback, plan.recall, plan.context) == (52, 52, 52)
    plan = resolve(Panel.from_frame(rows, known=("price",)), 13, 4, 20, None)
    assert (plan.lookback, plan.recall) == (20, 20)


@pytest.mark.parametrize(
    ("freq", "periods", "series", "told"),
    [
        ("D", 440, 3, [0, 1]),  # the price as it is and beside its usual value
        ("W-MON", 156, 3, [0, 1, 2, 3]),
        ("D", 440, 1, [0, 1, 2, 3]),
    ],
)
def test_what_all_series_share_tells_periods_apart_only_where_the_season_is_a_year(freq, periods, series, told):
    rows = panel_of(freq, periods, series).to_frame()
    rows["price"] = np.random.default_rng(0).uniform(1, 2, len(rows))
    rows["event"] = np.where(rows["ds"].dt.month == 3, "fair", "none")
    plan = resolve(Panel.from_frame(rows, known=("price", "event")), 7, None, None, None)
    assert (plan.known.common, plan.told) == ((False, series > 1), told)
    assert replace(plan, dated=True).told == [0, 1, 2, 3]


def common_of(rows):
    return resolve(Panel.from_frame(rows, known=("event",)), 7, None, None, None).known.common[0]


@pytest.mark.parametrize("kind", ["number", "text"])
@pytest.mark.parametrize("closed", ["s0", "s2"])
def test_a_shop_without_a_row_on_a_holiday_or_with_one_of_its_own_shares_the_others(kind, closed):
    rows = panel_of("D", 440, 3).to_frame()
    holiday = rows["ds"].dt.day_of_year.isin([1, 50, 51, 120, 200, 300])
    holiday |= (rows["unique_id"] == closed) & (rows["ds"] == "2020-05-01")
    rows["event"] = holiday.astype(float) if kind == "number" else np.where(holiday, "holiday", "none")
    assert common_of(rows)
    assert common_of(rows[~((rows["unique_id"] == closed) & rows["ds"].isin(["2020-01-01", "2020-02-19"]))])


def test_what_single_series_have_of_their_own_is_not_common():
    rows = panel_of("D", 100, 3).to_frame()
    flags = 1.0 * (np.random.default_rng(0).random(len(rows)) < 0.2)
    assert not common_of(rows.assign(event=flags))
    apart = rows["unique_id"].map({"s0": 0, "s1": 99, "s2": 198})  # each meets the next on one day
    later = rows["ds"] + pd.to_timedelta(apart, unit="D")
    assert not common_of(rows.assign(event=flags, ds=later))
    launched = rows[(rows["unique_id"] == "s0") | (rows["ds"] > "2020-03-31")]  # a long series and two young ones
    assert not common_of(launched.assign(event=flags[: len(launched)] * (launched["unique_id"] == "s0").to_numpy()))


def test_one_item_that_ended_long_ago_takes_nothing_from_what_the_others_share():
    rows = panel_of("D", 100, 3).to_frame()
    rows["event"] = 1.0 * (rows["ds"].dt.day == 1)
    rows.loc[rows["unique_id"] == "s0", "ds"] -= pd.Timedelta(days=3650)
    assert common_of(rows)


def test_a_flag_that_had_never_been_up_changes_no_network_where_the_past_is_dated():
    rows = panel_of("W-MON", 156, 3).to_frame()
    flags = np.random.default_rng(0).random(len(rows)) < 0.2
    never, now = (
        resolve(Panel.from_frame(rows.assign(event=event), known=("event",)), 7, None, None, None)
        for event in (0.0, 1.0 * flags)
    )
    assert (never.known.common, now.known.common) == ((True,), (False,))
    assert never.like(now)


def test_a_network_of_a_much_shorter_history_does_not_suit():
    plans = {n: resolve(panel_of("MS", n), 6, 12, None, None) for n in (24, 29, 30)}  # 7, 12 and 13 windows
    assert plans[24].like(plans[29])
    assert not plans[24].like(plans[30])
    assert plans[29].like(plans[30])
    assert plans[30].like(plans[24])


def test_lookbacks_longer_than_the_history_are_counted_as_they_are_trained_on():
    plans = {n: resolve(panel_of("D", n), 14, 7, 336, None) for n in (100, 160, 180)}
    inputs = {n: lay_out(panel_of("D", n), plan, 14) for n, plan in plans.items()}
    trained = {n: Origins.split(inputs[n], plan, 0) for n, plan in plans.items()}
    assert {n: int(o.high - o.low) + 1 for n, o in trained.items()} == {100: 37, 160: 67, 180: 77}
    assert plans[100].like(plans[160]) is False
    assert plans[160].like(plans[180]) is True


def test_a_network_that_was_saved_without_how_much_it_learned_from_does_not_suit():
    plan = resolve(panel_of("MS", 24), 6, 12, None, None)
    kept = {name: value for name, value in asdict(plan).items() if name != "usual"}
    assert not Plan.from_values(json.loads(json.dumps(kept))).like(plan)


def test_a_plan_survives_json():
    rows = panel_of("D", 50).to_frame().assign(price=np.linspace(1, 2, 50), event="none")
    plan = resolve(Panel.from_frame(rows, known=("price", "event")), 7, None, None, None)
    assert Plan.from_values(json.loads(json.dumps(asdict(plan)))) == plan


def test_weekdays_and_hours_are_told_apart_and_years_only_where_the_history_holds_two():
    daily = Frequency.parse("D")
    week = calendar_features(daily, np.arange(14), yearly=False)
    assert (week[:7, :7].sum(axis=0) == 1).all()
    np.testing.assert_array_equal(week[:7, :7], week[7:, :7])
    with_year = calendar_features(daily, np.arange(14), yearly=True)
    assert with_year.shape[1] > week.shape[1]
    hours = calendar_features(Frequency.parse("h"), np.arange(24), yearly=False)
    assert len(np.unique(hours, axis=0)) == 24


def windows_of(panel, horizon=3, lookback=6, **options):
    plan = resolve(panel, horizon, 2, lookback, 2)
    inputs = lay_out(panel, plan, horizon)
    return Windows.of(inputs, plan, torch.device("cpu")), inputs, plan


def test_a_batch_holds_the_periods_before_and_after_its_start():
    panel = panel_of("D", [20, 5], series=2)
    windows, inputs, _ = windows_of(panel)
    series, start = torch.tensor([0, 1]), torch.tensor([inputs.end - 3] * 2)
    batch = windows.batch(series, start, 3)
    target, seen = windows.targets(series, start, 3)
    back = lambda y, i: y.double().numpy() * inputs.units[i] + inputs.shift[i]  # noqa: E731
    np.testing.assert_allclose(back(batch.y[0], 0), [12, 13, 14, 15, 16, 17], rtol=1e-6)
    np.testing.assert_allclose(back(target[0], 0), [18, 19, 20], rtol=1e-6)
    np.testing.assert_allclose(back(batch.y[1, -2:], 1), [1, 2], rtol=1e-6)
    assert batch.seen[1].tolist() == [False] * 4 + [True] * 2
    assert seen.all()


def test_a_lag_looks_back_whole_multiples_into_the_past():
    panel = panel_of("h", 400)
    plan = resolve(panel, 200, None, None, None)
    inputs = lay_out(panel, plan, 200)
    windows = Windows.of(inputs, plan, torch.device("cpu"))
    batch = windows.batch(torch.tensor([0]), torch.tensor([inputs.end]), 200)
    lagged = batch.lags[0, :, 0].double().numpy() * inputs.units[0] + inputs.shift[0]
    expected = [401 + h - 168 * (h // 168 + 1) for h in range(200)]
    np.testing.assert_allclose(lagged, expected, rtol=1e-5)


def test_training_windows_end_before_validation_begins():
    panel = panel_of("D", [100, 90, 11], series=3)
    _, inputs, plan = windows_of(panel)
    origins = Origins.split(inputs, plan, 2)
    checked = set(origins.check_series.tolist())
    assert checked == {0, 1}
    earliest = int(origins.check_start.min())
    for series, high in zip(origins.series.tolist(), origins.high.tolist(), strict=True):
        assert high + plan.horizon <= (earliest if series in checked else inputs.end)
    assert int(origins.check_start.max()) + plan.horizon == inputs.end
    assert len(origins.check_series) == 4


@pytest.mark.parametrize(
    ("freq", "periods", "horizon", "first"),
    [("W-MON", 156, 13, 26), ("MS", 60, 6, 12), ("D", 440, 28, 49), ("h", 900, 48, 168), ("D", 30, 7, 7)],
)
def test_the_first_window_has_half_of_the_lookback_before_it(freq, periods, horizon, first):
    panel = panel_of(freq, periods)
    plan = resolve(panel, horizon, None, None, None)
    inputs = lay_out(panel, plan, horizon)
    origins = Origins.split(inputs, plan, 0)
    assert int(origins.low[0]) - (inputs.end - periods) == first


def test_drawn_windows_stay_between_the_first_and_the_last_start():
    panel = panel_of("D", [100, 30], series=2)
    _, inputs, plan = windows_of(panel)
    origins = Origins.split(inputs, plan, 0)
    series, start = origins.draw(5000, torch.Generator().manual_seed(0))
    for k in (0, 1):
        assert int(start[series == k].min()) == int(origins.low[k])
        assert int(start[series == k].max()) == int(origins.high[k]) == inputs.end - plan.horizon


def output_of(mean, size=2.0):
    mean = torch.tensor([mean])
    return Output(mean, mean[..., None].expand(-1, -1, 7).clone(), torch.tensor([[size]]))


def test_a_gap_is_masked_in_the_loss():
    target = torch.tensor([[1.0, 2.0, 900.0]])
    seen = torch.tensor([[True, True, False]])
    assert float(loss_of(output_of([1.0, 2.0, 3.0]), target, seen)) == 0
    partial = loss_of(output_of([1.0, 4.0, 3.0]), target, seen)
    assert float(partial) == pytest.approx(float(loss_of(output_of([1.0, 4.0]), target[:, :2], seen[:, :2])))


def test_the_loss_does_not_depend_on_the_scale_and_a_window_without_spread_teaches_nothing():
    target, seen = torch.tensor([[1.0, 3.0]]), torch.ones(1, 2, dtype=torch.bool)
    small = float(loss_of(output_of([2.0, 2.0], 2.0), target, seen))
    large = float(loss_of(output_of([200.0, 200.0], 200.0), target * 100, seen))
    assert small == pytest.approx(large)
    assert small > 0
    assert float(loss_of(output_of([2.0, 2.0], 0.0), target, seen)) == 0


def test_the_pinball_loss_is_least_at_the_quantiles():
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.normal(0, 1, (1, 4000)).astype("f4"))
    seen = torch.ones_like(target, dtype=torch.bool)
    true = torch.tensor([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645])

    def loss(quantiles):
        return float(loss_of(Output(target, quantiles.expand(1, 4000, 7), torch.ones(1, 1)), target, seen))

    assert loss(true) < min(loss(true * 1.2), loss(true * 0.8), loss(true + 0.2), loss(true - 0.2))


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_without_torch_the_extra_is_named(name):
    code = f"import sys; sys.modules['torch'] = None; from forecastkit import models; models.load({name!r})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: torch needs the extra 'torch': pip install 'forecastkit[torch]'" in result.stderr


def test_many_series_are_laid_out_in_blocks_as_all_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    lengths, begin = rng.integers(30, 90, 7), pd.Timestamp("2024-01-01")
    days = [pd.date_range(begin + pd.Timedelta(days=int(100 - n)), periods=n) for n in lengths]
    frames = [pd.DataFrame({"unique_id": f"s{k}", "ds": ds}) for k, ds in enumerate(days)]
    rows = pd.concat(frames, ignore_index=True).assign(store="A")
    rows[["y", "price", "footfall"]] = 1 + rng.random((len(rows), 3))
    panel = Panel.from_frame(rows, known=["price"], past=["footfall"], static=["store"])
    plan, future = resolve(panel, 5, None, None, None), 1 + rng.random((7, 5, 1))
    whole = lay_out(panel, plan, 5, future)
    monkeypatch.setattr(inputs_module, "_AT_ONCE", 200)  # two series
    parts = lay_out(panel, plan, 5, future)
    for f in fields(whole):
        np.testing.assert_array_equal(getattr(parts, f.name), getattr(whole, f.name), err_msg=f.name)
