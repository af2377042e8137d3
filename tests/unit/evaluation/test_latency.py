"""The latency harness: what a row says, and which variant is chosen. No test looks at how long anything takes."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecastkit import create, execution
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError
from forecastkit.evaluation import latency
from forecastkit.evaluation.latency import Row, measure, select_variant
from forecastkit.evaluation.subjects import Load, Subject, subjects


def panel(series=3, days=60):
    rng = np.random.default_rng(0)
    ds = pd.date_range("2024-01-01", periods=days)
    frames = [pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "y": rng.random(days)}) for k in range(series)]
    return Panel.from_frame(pd.concat(frames))


@pytest.fixture(scope="module")
def naive():
    return create("seasonal_naive").fit(panel())


@pytest.fixture(scope="module")
def gru():
    pytest.importorskip("torch")
    return create("gru:hidden=8,seeds=1,training.steps=3").fit(panel(), horizon=5)


class Sleeper:
    """A model that takes a known time for a call, and counts its calls."""

    def __init__(self, seconds):
        self.seconds, self.sizes = seconds, []

    def prepare(self, batch):
        def call():
            self.sizes.append(batch)
            time.sleep(self.seconds)

        return call


def sleeper(seconds, name="panel"):
    kept = Sleeper(seconds)
    return kept, Subject("sleeper", name, kept.prepare)


def test_a_row_counts_calls_and_puts_percentiles_in_order(naive):
    (row,) = measure(subjects(naive, Load(), ["panel"])[0], Load(seconds=0.1), 3)
    assert row.n >= 3
    assert 0 < row.p50_ms <= row.p90_ms <= row.p95_ms
    assert (row.p99_ms is None) == (row.n < 1000)
    assert row.cpu_ms > 0
    assert set(Row.__dataclass_fields__) == {
        *(
            "model",
            "variant",
            "scenario",
            "horizon",
            "batch",
            "threads",
            "device",
            "n",
            "import_s",
            "load_s",
            "first_ms",
        ),
        *("p50_ms", "p90_ms", "p95_ms", "p99_ms", "cpu_ms", "per_s", "peak_mb", "parity", "error"),
        *("cost_per_million", "contended"),
    }


def test_what_is_slept_is_wall_clock_and_no_cpu():
    (row,) = measure([sleeper(0.004)[1]], Load(seconds=0.1), 1)
    assert row.p50_ms >= 4
    assert row.cpu_ms < 0.5 * row.p50_ms
    assert row.per_s <= 250


def test_the_error_is_that_of_the_forecast_against_what_came(naive):
    last = panel().values.reshape(3, -1)[:, -7:]  # [N, H], what seasonal naive says
    ds = pd.date_range("2024-03-01", periods=7)  # the week after the history
    frames = [pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "y": last[k] + 0.25}) for k in range(3)]
    came = Panel.from_frame(pd.concat(frames))
    found, _ = subjects(naive, Load(horizon=7), actual=came)
    assert [subject.error for subject in found] == pytest.approx([0.25 / (last.mean() + 0.25)] * 2)
    half, _ = subjects(naive, Load(horizon=7), actual=came.take([1]).cut(3))
    assert half[0].error == pytest.approx(0.25 / (last[1, :3].mean() + 0.25))


def test_demand_of_other_series_or_times_gives_no_error(naive):
    (row, _), _ = subjects(naive, Load(horizon=7), actual=panel())
    assert row.error is None


def test_every_variant_has_its_own_error(gru):
    ds = pd.date_range("2024-03-01", periods=5)
    came = Panel.from_frame(pd.DataFrame({"unique_id": "s1", "ds": ds, "y": 1.0}))
    found, _ = subjects(gru, Load(), ("panel", "eager", "bf16"), actual=came)
    errors = {subject.variant: subject.error for subject in found}
    assert errors["eager"] == pytest.approx(errors["panel"], rel=1e-5)
    assert errors["bf16"] == pytest.approx(errors["panel"], rel=0.01)
    assert errors["bf16"] != errors["panel"]


def until(call, subject_s=0.02):
    """Two subjects of which the second is interrupted at so many calls."""
    first, one = sleeper(subject_s, "a")
    second, other = sleeper(subject_s, "b")

    def prepare(batch):
        inner = second.prepare(batch)

        def stopping():
            if len(second.sizes) == call:
                raise KeyboardInterrupt
            inner()

        return stopping

    return first, [one, replace(other, prepare=prepare)]


def kept(rows):
    """What comes of `rows` before it is interrupted."""
    found = []
    try:
        for row in rows:
            found.append(row)
    except KeyboardInterrupt:
        return found
    raise AssertionError("not interrupted")


@pytest.mark.parametrize(("call", "rows"), [(0, []), (6, ["a"]), (30, ["a", "b"])])
def test_what_was_measured_before_an_interruption_is_kept(call, rows):
    counted, chosen = until(call)
    found = kept(measure(chosen, Load(seconds=60), 1))
    assert [row.variant for row in found] == rows
    assert all(0 < row.n <= len(counted.sizes) for row in found)


def test_a_turn_that_was_cut_short_counts_neither_calls_nor_cpu():
    _, (_, subject) = until(8)
    timings = latency._Timings.of(subject, 1)
    with pytest.raises(KeyboardInterrupt):
        timings.turn(60)
    assert (timings.wall, timings.cpu_s) == ([], 0.0)


def test_progress_is_told_in_seconds_of_all_rows():
    told = []
    list(measure([sleeper(0.01, v)[1] for v in "ab"], Load("multi", (1, 2), 1.0), 2, lambda *w: told.append(w)))
    assert {total for _, total, _ in told} == {4}
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert {done for done, _, _ in told} == {0, 1, 2, 3, 4}


def test_variants_take_turns():
    first, one = sleeper(0.02, "a")
    second, other = sleeper(0.02, "b")
    rows = list(measure([one, other], Load(seconds=0.3), 1))
    assert [row.variant for row in rows] == ["a", "b"]
    assert abs(len(first.sizes) - len(second.sizes)) <= 4


def test_each_scenario_has_its_sizes():
    assert Load("single").sizes(500) == (1,)
    assert Load("multi").sizes(500) == (8, 64)
    assert Load("offline").sizes(500) == (500,)
    assert Load("multi", (3,)).sizes(500) == (3,)


class Clock:
    """Time that passes only where somebody sleeps, so that a busy machine changes nothing."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    process_time = perf_counter

    def sleep(self, seconds):
        self.now += seconds


def test_a_server_answers_in_batches_and_stops_where_the_budget_is_passed(monkeypatch):
    clock = Clock()
    for module in (latency, sys.modules[__name__]):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(latency, "_RATE_S", 0.1)
    kept, subject = sleeper(0.004)
    (row,) = measure([subject], Load("server", (8,), budget_ms=10), 1)
    assert 0 < row.per_s <= 8 / 0.004  # no more than full batches without a pause
    assert max(kept.sizes) == 8
    assert np.percentile(kept.sizes, 50) > 1


def busy(seconds):
    """A model that burns so much CPU for each item."""

    def prepare(batch):
        def call():
            until = time.process_time() + seconds * batch
            while time.process_time() < until:
                pass

        return call

    return Subject("busy", "panel", prepare)


def test_an_item_costs_the_same_in_every_scenario(monkeypatch):
    monkeypatch.setattr(latency, "_RATE_S", 0.2)
    (multi,) = measure([busy(0.001)], Load("multi", (8,), seconds=0.2), 1)
    (server,) = measure([busy(0.001)], Load("server", (8,), budget_ms=100), 1)
    assert multi.cost_per_million == pytest.approx(0.001 * 1e6 / 3600 * 0.05, rel=0.3)
    # A batch of a server is filled up to the next prepared size, and waiting costs a little.
    assert 0.7 * multi.cost_per_million < server.cost_per_million < 4 * multi.cost_per_million


def test_kernels_get_as_many_threads_as_the_row_says():
    seen = []
    subject = Subject("spy", "panel", lambda _: lambda: seen.append(execution.threads()), threads=1)
    list(measure([subject], Load(seconds=0.01), 1))
    assert set(seen) == {1}


def test_rows_forecast_the_horizon_that_a_network_was_fitted_for(gru):
    rows = list(measure(subjects(gru, Load(), ["panel", "eager"])[0], Load(seconds=0.02), 3))
    assert {row.horizon for row in rows} == {5}


def test_a_server_that_is_always_too_slow_has_no_rate(monkeypatch):
    monkeypatch.setattr(latency, "_RATE_S", 0.05)
    (row,) = measure([sleeper(0.01)[1]], Load("server", (2,), budget_ms=1), 1)
    assert row.per_s == 0


def test_a_model_without_a_compiled_predictor_says_so(naive):
    found, refused = subjects(naive, Load())
    assert [subject.variant for subject in found] == ["frame", "panel"]
    assert "seasonal_naive has no compiled predictor" in refused["onnx"]
    with pytest.raises(ConfigError, match="nothing to measure"):
        subjects(naive, Load(), ["onnx"])


def test_a_local_model_is_not_asked_for_series_that_it_does_not_know(naive):
    with pytest.raises(ConfigError, match="knows 3 series, 8 a call are asked for"):
        list(measure(subjects(naive, Load(), ["panel"])[0], Load("multi"), 3))


def test_a_pooled_model_is_asked_for_as_many_series_as_a_call_has(gru):
    (row,) = measure(subjects(gru, Load(), ["eager"])[0], Load("multi", (7,), seconds=0.05), 3)
    assert row.batch == 7
    assert row.parity == 0


def test_known_covariates_come_along():
    pytest.importorskip("torch")
    table = panel().to_frame()
    table["price"] = np.linspace(1, 2, len(table))
    fitted = create("gru:hidden=8,seeds=1,training.steps=3").fit(Panel.from_frame(table, known=("price",)), horizon=5)
    load = Load(seconds=0.05, horizon=5)
    rows = list(measure(subjects(fitted, load, ["frame", "panel", "eager"])[0], load, 3))
    assert [row.variant for row in rows] == ["frame", "panel", "eager"]


def test_the_cheapest_variant_within_the_budget_is_chosen(gru, monkeypatch):
    template = next(measure(subjects(gru, Load(), ["eager"])[0], Load(seconds=0.05), 1))
    made = {
        "eager": replace(template, variant="eager", p99_ms=3.0, cost_per_million=5.0),
        "bf16": replace(template, variant="bf16", p99_ms=9.0, cost_per_million=1.0),
        "onnx": replace(template, variant="onnx", p99_ms=2.0, cost_per_million=4.0),
    }
    monkeypatch.setattr(latency, "measure", lambda *_: iter(made.values()))
    monkeypatch.setattr(latency, "subjects", lambda *_: ([], {"cudagraph": "needs a GPU"}))
    choice = select_variant(gru, p99_ms=5)
    assert choice.variant == "onnx"
    assert "9 ms is above 5 ms" in choice.refused["bf16"]
    assert choice.refused["cudagraph"] == "needs a GPU"
    none = select_variant(gru, p99_ms=1)
    assert (none.variant, none.nearest) == (None, "onnx")
    assert "a larger patch" in none.refused["onnx"]


@pytest.mark.parametrize("options", [{"scenario": "triple"}, {"batch": (0,)}])
def test_loads_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError):
        Load(**options)
