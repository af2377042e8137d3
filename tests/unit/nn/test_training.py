"""The training loop: steps that are captured, a training that was killed, a history that the device has no room for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch

from forecastkit.data.synthetic import retail
from forecastkit.errors import StoreError
from forecastkit.execution import use_checkpoints, use_progress
from forecastkit.models.gru import GRU
from forecastkit.nn import forecaster, training, windows
from forecastkit.nn.capture import WARM_UP
from forecastkit.nn.options import Training

H = 7
QUICK = Training(steps=60, batch=16, checks=6)


@pytest.fixture(scope="module")
def panel():
    return retail(series=6, periods=90, seed=3).panel.bare()


def fit(panel, **options):
    return GRU(**{"hidden": 8, "seeds": 1, "training": QUICK, **options}).fit(panel, horizon=H)


def assert_same(one, other):
    for a, b in zip(one.networks, other.networks, strict=True):
        for name, weight in a.state_dict().items():
            torch.testing.assert_close(weight, b.state_dict()[name], rtol=0, atol=0)


class Recorded:
    """A capturer for machines without a GPU: what is captured is run."""

    def __init__(self):
        self.captured, self.replayed = 0, 0

    def __call__(self, work, *generators):
        assert all(isinstance(g, torch.Generator) for g in generators)
        self.captured += 1
        for _ in range(WARM_UP):
            work()

        def replay():
            self.replayed += 1
            work()

        return replay


def capturing(monkeypatch, capture):
    whole = training._Course.of.__func__

    def of(cls, *arguments):
        return training.replace(whole(cls, *arguments), capture=capture)

    monkeypatch.setattr(training._Course, "of", classmethod(of))


def test_captured_steps_are_the_steps_that_would_have_been_made(panel, monkeypatch):
    plain, capture = fit(panel), Recorded()
    capturing(monkeypatch, capture)
    assert_same(plain, fit(panel))
    assert capture.captured >= 1
    assert capture.replayed >= QUICK.steps - WARM_UP


def test_a_device_that_cannot_capture_trains_step_by_step(panel, monkeypatch, caplog):
    def refusing(work, *_):
        for _ in range(WARM_UP):
            work()
        raise RuntimeError("not permitted when stream is capturing")

    plain = fit(panel)
    capturing(monkeypatch, refusing)
    assert_same(plain, fit(panel))
    assert "made one by one" in caplog.text


def test_a_step_moves_the_weights_without_reading_anything_back(panel, monkeypatch):
    # What a CUDA graph must not do: `item`, and tensors made from numbers of the host.
    def forbidden(*_, **__):
        raise AssertionError("the host was asked")

    class Strict(Recorded):
        def __call__(self, work, *generators):
            for _ in range(WARM_UP - 1):
                work()
            with monkeypatch.context() as patch:
                for name in ("item", "tolist", "__bool__", "__float__", "__int__"):
                    patch.setattr(torch.Tensor, name, forbidden)
                patch.setattr(torch, "tensor", forbidden)
                work()
            self.captured += 1
            return work

    capture = Strict()
    capturing(monkeypatch, capture)
    fit(panel)
    assert capture.captured >= 1


class Killed(BaseException):
    """Nothing catches it."""


def killed_at(call):
    """A listener to progress that ends the training at its `call`-th report."""
    heard = []

    def listen(*what):
        heard.append(what)
        if len(heard) == call:
            raise Killed

    return listen


@pytest.mark.parametrize("call", [2, 5, 9, 15])
def test_a_killed_training_goes_on_and_ends_where_it_would_have(panel, tmp_path, call):
    options = {"seeds": 2, "scaling": "ensemble"}
    with use_checkpoints(tmp_path):
        with suppress(Killed), use_progress(killed_at(call)):
            fit(panel, **options)
        again = []
        with use_progress(lambda *what: again.append(what)):
            resumed = fit(panel, **options)
    whole = []
    with use_progress(lambda *what: whole.append(what)):
        plain = fit(panel, **options)
    assert_same(plain, resumed)
    assert len(again) == len(whole) - (call - 1)  # the report that it was killed in was not yet written down


def test_another_training_does_not_go_on_from_the_same_folder(panel, tmp_path):
    with use_checkpoints(tmp_path):
        fit(panel)
        other = fit(panel, seed=5)
    assert_same(fit(panel, seed=5), other)


def test_the_same_demand_on_other_days_is_another_training(panel, tmp_path):
    later = replace(panel, starts=panel.starts + 3)
    with use_checkpoints(tmp_path):
        fit(panel)
        other = fit(later)
    assert_same(fit(later), other)


def test_a_damaged_checkpoint_says_what_to_do(panel, tmp_path):
    with use_checkpoints(tmp_path):
        fit(panel)
        for file in tmp_path.glob("*.npz"):
            file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(StoreError, match="delete it to train from the start"):
            fit(panel)


def test_a_folder_that_can_not_be_written_costs_only_the_checkpoints(panel, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with use_checkpoints(tmp_path / "file" / "folder"):
        assert_same(fit(panel), fit(panel))
    assert "could not be written down" in caplog.text


def test_a_history_that_the_device_has_no_room_for_stays_on_the_host(panel, monkeypatch):
    sent, plain = [], fit(panel)
    monkeypatch.setattr(windows, "free_bytes", lambda device: 0.0)
    whole = windows.sent
    monkeypatch.setattr(windows, "sent", lambda tensor, device: sent.append(tensor.shape) or whole(tensor, device))
    away = fit(panel)
    assert_same(plain, away)
    np.testing.assert_array_equal(plain.predict(2 * H).mean, away.predict(2 * H).mean)
    assert sent


def test_worker_processes_take_turns_on_the_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    taken = []
    for number in range(3):
        monkeypatch.setattr(forecaster, "worker", lambda number=number: number)
        taken.append(forecaster.device_of("auto").index)
    assert taken == [0, 1, 0]
