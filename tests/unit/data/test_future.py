"""The plan of known covariates, from a table to an array."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastkit import Panel
from forecastkit.data.future import check_complete, lay_out
from forecastkit.errors import ColumnError, DataError


def history(known: dict[str, object], **options: object) -> Panel:
    times = pd.date_range("2024-05-01", periods=48, freq="h", **options)
    return Panel.from_frame(
        pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(48.0), **known}), known=[*known]
    )


def plan(start: str, prices: list[float], **options: object) -> pd.DataFrame:
    times = pd.date_range(start, periods=len(prices), freq="h", **options)
    return pd.DataFrame({"unique_id": "a", "ds": times, "price": prices})


def test_rows_find_their_period_and_what_has_none_is_missing() -> None:
    panel = history({"price": 1.0})
    np.testing.assert_array_equal(lay_out(panel, 3, plan("2024-05-03", [7.0, 8.0]))[0, :, 0], [7, 8, np.nan])


def test_a_plan_with_a_zone_finds_the_same_hours_however_few_it_has() -> None:
    panel = history({"price": 1.0}, tz="Europe/Berlin")
    for hours in (1, 3):
        future = plan("2024-05-03", [5.0 + h for h in range(hours)], tz="Europe/Berlin")
        np.testing.assert_array_equal(lay_out(panel, hours, future)[0, :, 0], [5.0 + h for h in range(hours)])


def test_a_plan_without_a_zone_is_not_guessed_at() -> None:
    with pytest.raises(DataError, match="no zone"):
        lay_out(history({"price": 1.0}, tz="Europe/Berlin"), 2, plan("2024-05-03", [1.0, 2.0]))


def test_a_missing_text_is_missed_like_a_number() -> None:
    from forecastkit import create

    fitted = create("arima").fit(history({"promo": (["no", "yes"] * 24)}))
    with pytest.raises(DataError, match="known columns promo"):
        fitted.predict(2)
    empty = pd.DataFrame({"ds": pd.date_range("2024-05-03", periods=2, freq="h"), "promo": [None, "yes"]})
    assert np.isfinite(fitted.predict(2, future=empty).mean).all()


def test_a_plan_without_ids_holds_for_all_and_says_each_thing_once() -> None:
    panel = history({"price": 1.0})
    rows = plan("2024-05-03", [7.0, 8.0]).drop(columns="unique_id")
    assert lay_out(panel, 2, rows)[0, :, 0].tolist() == [7.0, 8.0]
    with pytest.raises(ColumnError, match="--id"):
        lay_out(panel, 2, pd.concat([rows, rows]))
    with pytest.raises(DataError, match="2 periods twice"):
        lay_out(panel, 2, pd.concat([plan("2024-05-03", [7.0, 8.0])] * 2))


@pytest.mark.parametrize("missing", ["unique_id", "ds"])
def test_a_plan_with_names_of_its_own_is_told_the_usual_ones(missing: str) -> None:
    times = pd.date_range("2024-05-01", periods=48, freq="h")
    frame = pd.concat([pd.DataFrame({"sku": sku, "hour": times, "sold": 1.0, "price": 1.0}) for sku in "ab"])
    panel = Panel.from_frame(frame, id="sku", time="hour", target="sold", known=["price"])
    own = pd.concat([plan("2024-05-03", [7.0, 8.0]).assign(unique_id=sku) for sku in "ab"])
    assert np.isfinite(lay_out(panel, 2, own)).all()
    renamed = own.rename(columns={missing: {"unique_id": "sku", "ds": "hour"}[missing]})
    with pytest.raises(ColumnError, match=f"no column '{missing}'.*rename yours to 'unique_id' and 'ds'") as caught:
        lay_out(panel, 2, renamed)
    assert caught.value.found == tuple(renamed.columns)
    assert "--id and --time" in str(caught.value)


def test_infinite_numbers_are_refused() -> None:
    from forecastkit import create

    fitted = create("arima").fit(history({"price": np.tile([1.0, 2.0, 3.0], 16)}))
    with pytest.raises(DataError, match="infinite"):
        fitted.predict(2, future=np.full((1, 2, 1), np.inf))


def test_a_plan_without_rows_is_one_that_lacks_all() -> None:
    panel = Panel.from_frame(
        pd.DataFrame({"unique_id": "milk", "ds": pd.date_range("2024-05-01", periods=9), "y": 1.0, "price": 1.0}),
        known=["price"],
    )
    future = pd.DataFrame({"unique_id": ["milk"], "ds": pd.date_range("2024-05-10", periods=1), "price": [1.0]})[:0]
    assert np.isnan(lay_out(panel, 2, future)).all()


def test_ids_that_the_model_does_not_know_are_said_before_the_holes() -> None:
    panel = Panel.from_frame(
        pd.DataFrame({"unique_id": "milk", "ds": pd.date_range("2024-05-01", periods=9), "y": 1.0, "price": 1.0}),
        known=["price"],
    )
    days = pd.date_range("2024-05-10", periods=2)
    future = pd.DataFrame({"unique_id": "Milk ", "ds": days, "price": 1.0})
    words = r"^the plan has ids that .*, 1 in all, .* is 'Milk ', did you mean 'milk'\? naive needs the known"
    with pytest.raises(DataError, match=words) as caught:
        check_complete("naive", panel, lay_out(panel, 2, future), future)
    assert "enough" not in str(caught.value)
    future = pd.DataFrame({"unique_id": ["milk"], "ds": days[:1], "price": [1.0]})
    words = "^naive needs .*: the plan lacks them; one is missing in 1 of 2 rows, .* 'milk' at 2024-05-11"
    words += "; for a horizon of 1 the plan is enough$"
    with pytest.raises(DataError, match=words) as caught:
        check_complete("naive", panel, lay_out(panel, 2, future), future)
    assert caught.value.series == "milk"


def test_a_text_that_the_history_does_not_have_is_said_and_read_as_an_empty_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    panel = history({"promo": ["yes", "no"] * 24})
    times = pd.date_range("2024-05-03", periods=3, freq="h")
    values = lay_out(panel, 3, pd.DataFrame({"unique_id": "a", "ds": times, "promo": ["no", "YES", "no"]}))
    np.testing.assert_array_equal(values[0, :, 0], [0, -1, 0])
    assert "column 'promo' of the plan holds what the history doesn't, 'YES'" in caplog.text
    caplog.clear()
    lay_out(panel, 3, pd.DataFrame({"unique_id": "a", "ds": times, "promo": ["no", "yes", None]}))
    assert not caplog.text


@pytest.mark.parametrize("planned", [399.0, 0.0399])
def test_a_price_in_another_unit_is_said(caplog: pytest.LogCaptureFixture, planned: float) -> None:
    panel = history({"price": [3.99, 2.99] * 24})
    plan = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-05-03", periods=3, freq="h"), "price": planned})
    lay_out(panel, 3, plan)
    said = (
        f"column 'price' of the plan: series 'a' goes from {planned:g} to {planned:g}, in its history from 2.99 to 3.99"
    )
    assert said in caplog.text
    caplog.clear()
    lay_out(panel, 3, plan.assign(price=[2.99, 0.5, 3.99]))  # one clearance price
    lay_out(history({"price": [0.0, 0.0] * 24}), 3, plan)  # where there was nothing, nothing is far
    lay_out(history({"price": [-4.0, 21.0] * 24}), 3, plan.assign(price=[-2.0, 8.0, 0.1]))  # degrees
    assert not caplog.text


def test_a_price_is_compared_with_those_of_its_own_series(caplog: pytest.LogCaptureFixture) -> None:
    days = pd.date_range("2024-01-01", periods=20)
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": days, "y": 1.0, "price": price})
        for name, price in (("bread", 2.0), ("caviar", 900.0))
    )
    panel = Panel.from_frame(frame, known="price")
    ahead = pd.date_range("2024-01-21", periods=2)
    plan = pd.DataFrame(
        {"unique_id": ["bread"] * 2 + ["caviar"] * 2, "ds": [*ahead] * 2, "price": [200.0] * 2 + [900.0] * 2}
    )
    lay_out(panel, 2, plan)
    assert "series 'bread' goes from 200 to 200, in its history from 2 to 2" in caplog.text


def test_series_that_end_before_the_others_are_named_where_their_plan_is_missing() -> None:
    times = pd.date_range("2024-05-01", periods=10)
    rows = pd.DataFrame({"unique_id": np.repeat(["a", "b"], 10), "ds": [*times, *times], "y": 1.0, "price": 1.0})
    panel = Panel.from_frame(rows[(rows["unique_id"] == "a") | (rows["ds"] < "2024-05-08")], known=["price"])
    days = pd.date_range("2024-05-11", periods=3)
    future = pd.DataFrame({"unique_id": np.repeat(["a", "b"], 3), "ds": [*days, *days], "price": 2.0})
    with pytest.raises(DataError, match="; 1 series, 'b', ends before the others: a forecast begins where its series"):
        check_complete("gru", panel, lay_out(panel, 3, future), future)
