"""The picture of latency against error."""

from __future__ import annotations

import pytest

from forecastkit.errors import ConfigError
from forecastkit.evaluation.plots import Point, front, plot

POINTS = [
    Point("gru", "onnx", 0.1, 0.42),
    Point("gru", "frame", 3.0, 0.42),
    Point("theta", "panel", 0.5, 0.45),
    Point("boosted", "panel", 20.0, 0.41),
    Point("naive", "panel", 0.05, 0.6),
]


def test_the_front_is_what_nothing_else_beats_in_both():
    assert [(p.model, p.variant) for p in front(POINTS)] == [("naive", "panel"), ("gru", "onnx"), ("boosted", "panel")]


def test_a_slower_variant_that_is_better_by_its_rounding_alone_is_not_on_the_front():
    quick = Point("gru", "onnx", 0.2, 0.45)
    assert front([quick, Point("gru", "eager", 2.0, 0.44999), Point("boosted", "panel", 3.0, 0.44)])[0] == quick
    assert len(front([quick, Point("gru", "eager", 2.0, 0.44999), Point("boosted", "panel", 3.0, 0.44)])) == 2


def test_of_two_alike_the_front_has_one():
    assert front([POINTS[0], POINTS[0]]) == [POINTS[0]]


@pytest.mark.parametrize(("ending", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_plot_is_what_its_ending_says(tmp_path, ending, begins):
    pytest.importorskip("matplotlib")
    file = tmp_path / f"latency.{ending}"
    plot(POINTS, file, title="single", ms="ms", error="WAPE")
    assert file.read_bytes().startswith(begins)


def test_an_svg_names_the_front_the_models_and_the_axes(tmp_path):
    pytest.importorskip("matplotlib")
    plot(POINTS, tmp_path / "latency.svg", title="single", ms="milliseconds", error="WAPE")
    text = (tmp_path / "latency.svg").read_text("utf-8")
    for word in ("gru, onnx", "boosted, panel", "theta", "milliseconds", "WAPE", "Pareto front"):
        assert f"<!-- {word} -->" in text
    assert "<!-- theta, panel -->" not in text


def test_another_ending_or_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\.svg, \.png, \.pdf"):
        plot(POINTS, tmp_path / "latency.bmp")
    with pytest.raises(ConfigError, match="nothing to plot"):
        plot([], tmp_path / "latency.svg")
