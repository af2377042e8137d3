"""Calendar fields and Fourier terms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.calendar import Frequency
from forecastkit.errors import ConfigError
from forecastkit.features import Calendar, Fourier
from forecastkit.features.dates import FIELDS


def test_fields_are_those_of_pandas() -> None:
    times = pd.date_range("2019-12-20", "2024-03-10", freq="7h")
    accessor = times.isocalendar()
    expected = {
        "minute": times.minute,
        "hour": times.hour,
        "day_of_week": times.day_of_week,
        "weekend": times.day_of_week >= 5,
        "day_of_month": times.day,
        "day_of_year": times.day_of_year,
        "week": accessor["week"],
        "month": times.month,
        "quarter": times.quarter,
        "month_start": times.day == 1,
        "month_end": times.is_month_end,
        "days_in_month": times.days_in_month,
    }
    assert set(expected) == set(FIELDS)
    for name, field in FIELDS.items():
        np.testing.assert_array_equal(
            np.asarray(field(times.to_numpy().astype("M8[us]")), float), np.asarray(expected[name], float), err_msg=name
        )


@pytest.mark.parametrize(
    ("alias", "present", "absent"),
    [
        ("h", {"hour", "day_of_week"}, {"minute"}),
        ("15min", {"minute", "hour"}, set()),
        ("D", {"day_of_week", "weekend", "month"}, {"hour"}),
        ("B", {"day_of_week"}, {"weekend", "hour"}),
        ("W-WED", {"week", "month"}, {"day_of_week", "weekend"}),
        ("MS", {"month", "days_in_month"}, {"day_of_month", "day_of_week", "week"}),
        ("QS", {"quarter"}, {"day_of_month", "hour"}),
    ],
)
def test_only_fields_that_vary_at_the_frequency_are_taken(alias: str, present: set[str], absent: set[str]) -> None:
    names = set(Calendar().names(Frequency.parse(alias)))
    assert present <= names
    assert not absent & names


def test_yearly_data_have_no_field_worth_a_column() -> None:
    calendar = Frequency.parse("YS")
    assert Calendar().names(calendar) == ()
    assert Calendar().apply(np.arange(100, 105), calendar).shape == (5, 0)


def test_fields_keep_the_shape_of_the_periods() -> None:
    calendar = Frequency.parse("D")
    ordinals = np.array([[19723, 19724], [19729, 19730]])  # 2024-01-01, a Monday
    found = Calendar(("day_of_week",)).apply(ordinals, calendar)
    assert found[..., 0].tolist() == [[0, 1], [6, 0]]


def test_hours_are_read_on_the_wall_clock() -> None:
    berlin = Frequency("h", zone="Europe/Berlin")
    noon = berlin.ordinals(np.array(["2024-01-15T11:00", "2024-07-15T10:00"], "M8[us]"))
    assert Calendar(("hour",)).apply(noon, berlin)[:, 0].tolist() == [12, 12]


def test_an_unknown_field_is_answered_with_the_closest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'weekend'"):
        Calendar(("weekends",))


def test_waves_repeat_with_the_season_and_are_orthogonal() -> None:
    waves = Fourier(12, 6)
    block = waves.apply(np.arange(48))
    assert block.shape == (48, 11)  # the sine of half a season is zero everywhere
    assert len(waves.names) == 11
    np.testing.assert_allclose(block[:12], block[36:], atol=1e-12)
    products = block.T @ block
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-9)


def test_waves_far_from_the_origin_are_as_exact_as_near_it() -> None:
    np.testing.assert_allclose(Fourier(7, 3).apply(np.array([7 * 10**12 + 3])), Fourier(7, 3).apply(np.array([3])))


def test_an_order_above_half_the_season_is_refused() -> None:
    with pytest.raises(ConfigError, match="order must be 1 to 3"):
        Fourier(7, 4)
    with pytest.raises(ConfigError, match="season must be more"):
        Fourier(1, 1)
