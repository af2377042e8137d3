"""A model in MLflow forecasts what it forecast before, without a pickle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("mlflow")

import mlflow

from forecastkit import create
from forecastkit.data.panel import Panel
from forecastkit.errors import DataError
from forecastkit.tracking import bundle, sending
from forecastkit.tracking.bundle import answer
from forecastkit.tracking.place import Place
from forecastkit.tracking.registry import Registry

NOTHING = pd.DataFrame({"unique_id": [], "ds": [], "y": []}).astype({"unique_id": "str", "ds": "datetime64[us]"})

LOAD = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1]); mlflow.set_registry_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/demo@challenger")
table = pd.read_csv(sys.argv[2], parse_dates=["ds"])
model.predict(table, params={"horizon": 3, "levels": [0.2]}).to_csv(sys.argv[3], index=False)
"""


def promoted() -> pd.DataFrame:
    """Sixty days of two items with a price."""
    days = pd.date_range("2024-01-01", periods=60)
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {"unique_id": name, "ds": days, "y": 20 + rng.normal(0, 1, 60), "price": 1.0 + (days.day % 5 == 0)}
        )
        for name in ("a", "b")
    ]
    return pd.concat(frames, ignore_index=True)


@pytest.mark.slow
def test_it_loads_in_a_fresh_process_that_refuses_pickles(weekly_shop: Panel, home: Path, tmp_path: Path) -> None:
    fitted = create("seasonal_naive").fit(weekly_shop)
    fitted.save(tmp_path / "model")
    place = Place.at(home=home)
    assert sending.register_folder(place, tmp_path / "model", "demo", 7, {}) == 1
    days = pd.date_range("2024-05-20", periods=7)
    newer = pd.DataFrame({"unique_id": "shop 2", "ds": days, "y": np.arange(7.0)})
    newer.to_csv(tmp_path / "newer.csv", index=False)
    command = [sys.executable, "-c", LOAD, place.uri, str(tmp_path / "newer.csv"), str(tmp_path / "out.csv")]
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
    found = pd.read_csv(tmp_path / "out.csv")
    assert found.columns.tolist() == ["unique_id", "ds", "mean", "q0.2"]
    assert found["mean"].tolist() == [0.0, 1.0, 2.0]
    assert not list(home.rglob("*.pkl"))


def test_a_version_gives_its_folder_back(weekly_shop: Panel, home: Path, tmp_path: Path) -> None:
    create("seasonal_naive").fit(weekly_shop).save(tmp_path / "any name")
    place = Place.at(home=home)
    sending.register_folder(place, tmp_path / "any name", "demo", 7, {})
    version = Registry(place).version("demo", "challenger")
    got = bundle.fetch(place, version.source, tmp_path / "scratch")
    names = [sorted(file.name for file in folder.iterdir()) for folder in (got, tmp_path / "any name")]
    assert names[0] == names[1]


def test_an_empty_table_is_answered_from_the_history(weekly_shop: Panel) -> None:
    fitted = create("seasonal_naive").fit(weekly_shop)
    pd.testing.assert_frame_equal(
        answer(fitted, NOTHING, 5, (0.9, 0.1)), fitted.predict(5, levels=(0.1, 0.9)).to_frame()
    )


def test_rows_without_demand_are_the_plan() -> None:
    table = promoted()
    seen = table[table["ds"] < "2024-02-20"]
    fitted = create("arima:order=(1,0,0),engine=statsmodels").fit(Panel.from_frame(seen, known=["price"]))
    table.loc[table["ds"] >= "2024-02-25", "y"] = np.nan
    found = answer(fitted, table[table["ds"] >= "2024-02-20"], 5)
    newer = fitted.update(Panel.from_frame(table[table["y"].notna()], known=["price"]))
    expected = newer.predict(5, future=table[table["ds"] >= "2024-02-25"].drop(columns="y")).to_frame()
    pd.testing.assert_frame_equal(found, expected)
    assert found["ds"].min() == pd.Timestamp("2024-02-25")


def test_demand_and_its_plan_put_together_as_the_page_says_lose_no_series() -> None:
    table = promoted()
    fitted = create("arima:order=(1,0,0),engine=statsmodels").fit(
        Panel.from_frame(table[table["ds"] < "2024-02-20"], known=["price"])
    )
    newer = table[table["ds"].between("2024-02-20", "2024-02-24")].reset_index(drop=True)
    plan = table[table["ds"] >= "2024-02-25"].drop(columns="y").reset_index(drop=True)
    found = answer(fitted, pd.concat([newer, plan]), 5)
    expected = fitted.update(Panel.from_frame(newer, known=["price"])).predict(5, future=plan).to_frame()
    pd.testing.assert_frame_equal(found, expected)
    assert found["unique_id"].tolist() == ["a"] * 5 + ["b"] * 5


def test_a_day_without_demand_between_others_is_a_gap_and_no_plan() -> None:
    table = promoted()
    fitted = create("arima:order=(1,0,0),engine=statsmodels").fit(
        Panel.from_frame(table[table["ds"] < "2024-02-15"], known=["price"])
    )
    newer = table[table["ds"].between("2024-02-15", "2024-02-24")]
    newer = newer.assign(y=newer["y"].where(newer["ds"] != "2024-02-19"))
    assert not bundle._planned(newer).any()
    plan = table[table["ds"] >= "2024-02-25"].drop(columns="y")
    found = answer(fitted, pd.concat([newer, plan]), 5)
    expected = fitted.update(Panel.from_frame(newer, known=["price"])).predict(5, future=plan).to_frame()
    pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(DataError, match="needs the known columns price"):  # a gap alone is no plan of what comes
        answer(fitted, newer, 5)


def test_demand_of_a_day_on_which_nothing_could_be_sold_is_none_when_served_either(tmp_path: Path) -> None:
    table = promoted().drop(columns="price").assign(available=1.0)
    empty = table["ds"] >= "2024-02-26"
    table = table.assign(y=table["y"].where(~empty, 0.0), available=table["available"].where(~empty, 0.0))
    seen, newer = table[table["ds"] < "2024-02-20"], table[table["ds"] >= "2024-02-20"]
    fitted = create("window_average:window=7").fit(Panel.from_frame(seen, available="available"))
    fitted.save(tmp_path / "model")
    bundle.write(tmp_path / "model", tmp_path / "served", 3)
    served = mlflow.pyfunc.load_model(str(tmp_path / "served"))
    found = served.predict(newer, params={"horizon": 3})
    expected = fitted.update(Panel.from_frame(newer, available="available")).predict(3).to_frame()
    assert found["mean"].tolist() == expected["mean"].tolist()
    assert found["mean"].min() > 15
    with pytest.raises(DataError, match="fitted with: available"):
        answer(fitted, newer.drop(columns="available"), 3)


def test_newer_demand_without_the_columns_of_the_fit_is_refused() -> None:
    fitted = create("seasonal_naive").fit(Panel.from_frame(promoted(), known=["price"]))
    with pytest.raises(DataError, match="price"):
        answer(fitted, promoted().drop(columns="price"), 3)


def test_the_signature_names_columns_and_parameters(weekly_shop: Panel, tmp_path: Path) -> None:
    create("seasonal_naive").fit(weekly_shop).save(tmp_path / "m")
    bundle.write(tmp_path / "m", tmp_path / "out", 7)
    found = mlflow.models.get_model_info(str(tmp_path / "out")).signature
    assert found.inputs.input_names() == ["unique_id", "ds", "y"]
    assert found.outputs.input_names() == ["unique_id", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    assert {p.name: p.default for p in found.params.params} == {"horizon": 7, "levels": [0.1, 0.5, 0.9]}


def test_a_table_of_newer_demand_and_its_plan_is_read_from_a_file_as_the_page_says(tmp_path: Path) -> None:
    table = promoted()
    fitted = create("arima:order=(1,0,0),engine=statsmodels").fit(
        Panel.from_frame(table[table["ds"] < "2024-02-20"], known=["price"])
    )
    fitted.save(tmp_path / "model")
    bundle.write(tmp_path / "model", tmp_path / "served", 5)
    newer = table[table["ds"] >= "2024-02-20"].assign(y=lambda t: t["y"].where(t["ds"] < "2024-02-25"))
    newer.to_csv(tmp_path / "newer.csv", index=False)
    read = pd.read_csv(tmp_path / "newer.csv", parse_dates=["ds"], dtype={"unique_id": str})
    read = read.astype({"y": float, "price": float})
    served = mlflow.pyfunc.load_model(str(tmp_path / "served"))
    assert served.predict(read, params={"horizon": 5})["ds"].min() == pd.Timestamp("2024-02-25")
    with pytest.raises(DataError, match="needs the known columns price"):
        served.predict(read[:0], params={"horizon": 5})
