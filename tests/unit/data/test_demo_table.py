"""The demo table beside the package."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

import forecastkit as fk
from forecastkit.data import datasets

FOLDER = Path(__file__).parents[3] / "data"


def test_the_script_makes_the_table_again_byte_for_byte() -> None:
    made = runpy.run_path(str(FOLDER / "make_demo.py"))["table"]()
    assert made == (FOLDER / "demo.csv").read_text("utf-8")


def test_the_table_is_the_data_set_demo() -> None:
    roles = {"known": ("price", "promotion", "holiday"), "static": ("store", "category"), "available": "available"}
    table, named = fk.read(FOLDER / "demo.csv", **roles), datasets.load("demo")
    # An empty shelf is a row of its own, so nothing but the ends can differ.
    assert table.ids == named.ids
    np.testing.assert_array_equal(table.values, named.values)
    np.testing.assert_array_equal(table.available, named.available)
    np.testing.assert_allclose(table.known.values, named.known.values, atol=0.005)
