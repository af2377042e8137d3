"""Fitted models on disk."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

import forecastkit as fk
from forecastkit import Panel, store
from forecastkit.errors import StoreError


@pytest.fixture
def saved(weekly_shop: Panel, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    fk.create("seasonal_naive:season=7").fit(weekly_shop).save(folder)
    return folder


def test_what_is_loaded_is_what_was_saved(saved: Path, weekly_shop: Panel) -> None:
    fitted = fk.create("seasonal_naive:season=7").fit(weekly_shop)
    loaded = fk.load(saved)
    assert loaded.recipe == fitted.recipe
    assert loaded.trained_on == weekly_shop.fingerprint == loaded.history.fingerprint
    before, after = (f.predict(10, levels=(0.1, 0.9)) for f in (fitted, loaded))
    np.testing.assert_array_equal(before.mean, after.mean)
    np.testing.assert_array_equal(before.quantiles, after.quantiles)


def test_the_head_names_model_recipe_versions_and_fingerprint(saved: Path, weekly_shop: Panel) -> None:
    head = json.loads((saved / "model.json").read_text())
    assert head["model"] == "seasonal_naive"
    assert head["recipe"]["season"] == 7
    assert head["trained_on"] == weekly_shop.fingerprint
    assert {"forecastkit", "numpy"} <= head["versions"].keys()


@pytest.mark.parametrize("name", ["model.json", "history.npz", "state.npz"])
def test_a_flipped_byte_is_found_and_the_file_named(saved: Path, name: str) -> None:
    file = saved / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(StoreError, match=name):
        fk.load(saved)


@pytest.mark.parametrize("name", ["model.json", "history.npz", "state.npz"])
def test_a_truncated_or_missing_file_is_named(saved: Path, name: str) -> None:
    file = saved / name
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=name):
        fk.load(saved)
    file.unlink()
    with pytest.raises(StoreError, match=name):
        fk.load(saved)


def test_another_format_version_says_so(saved: Path) -> None:
    head = json.loads((saved / "model.json").read_text())
    (saved / "model.json").write_text(json.dumps(head | {"format": 99}))
    with pytest.raises(StoreError, match="format 99"):
        fk.load(saved)


def test_a_file_name_that_leaves_the_folder_is_refused(saved: Path) -> None:
    head = json.loads((saved / "model.json").read_text())
    del head["sha256"]
    head["files"]["../state.npz"] = head["files"].pop("state.npz")
    (saved / "model.json").write_bytes(store._sealed(head))
    with pytest.raises(StoreError, match="outside its folder"):
        fk.load(saved)


def test_saving_again_replaces_the_model_and_leaves_nothing_beside_it(saved: Path, weekly_shop: Panel) -> None:
    fk.create("naive").fit(weekly_shop).save(saved)
    assert fk.load(saved).recipe.name == "naive"
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


def test_a_folder_with_other_things_in_it_is_left_alone(weekly_shop: Panel, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="no saved model"):
        fk.create("naive").fit(weekly_shop).save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_full_disk_leaves_the_old_model_whole_and_no_half(
    saved: Path, weekly_shop: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, content: bytes) -> None:
        file.write_bytes(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    monkeypatch.setattr(store, "write_bytes", full)
    with pytest.raises(StoreError, match="No space left"):
        fk.create("naive").fit(weekly_shop).save(saved)
    assert fk.load(saved).recipe.name == "seasonal_naive"
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


def test_a_place_that_can_not_be_written_is_a_store_error(weekly_shop: Panel, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(StoreError, match="file"):
        fk.create("naive").fit(weekly_shop).save(blocker / "model")


def test_an_empty_folder_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no saved model"):
        fk.load(tmp_path)
