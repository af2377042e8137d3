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
from forecastkit.nn import devices, kinds, training, windows
from forecastkit.nn.capture import WARM_UP
from forecastkit.nn.options import Training
from forecastkit.nn.training import Best, Rival

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


@pytest.mark.parametrize("call", [4, 8, 10])
def test_a_killed_trial_goes_on_and_ends_where_it_would_have(tmp_path, call):
    panel, few = retail(series=6, periods=90, seed=3).panel, replace(QUICK, steps=12)
    with use_checkpoints(tmp_path):
        with suppress(Killed), use_progress(killed_at(call)):
            fit(panel, training=few)
        resumed = fit(panel, training=few)
    assert_same(fit(panel, training=few), resumed)


RIVAL = Best(160, 0.5, (0.8, 0.6, 0.55, 0.5, 0.52, 0.53))


@pytest.mark.parametrize(
    ("share", "scores", "waited", "ends"),
    [
        (0.02, [], 0, False),
        (0.02, [0.9, 0.51, 0.52, 0.52, 0.52], 3, False),  # good enough
        (0.02, [0.9, 0.9, 0.511], 0, False),  # not yet a fair start
        (0.02, [0.9, 0.7, 0.6, 0.511], 0, True),  # too far behind
        (0.02, [0.9, 0.6, 0.55, 0.55, 0.54], 0, True),
        (0.3, [0.9, 0.7, 0.66, 0.651], 0, True),
        (0.3, [0.9, 0.7, 0.66, 0.65], 0, False),
        (-0.02, [0.7, 0.49, 0.52, 0.52, 0.52], 3, False),
        (-0.02, [0.7, 0.6, 0.52, 0.499, 0.499], 1, False),  # better, but not clearly
        (-0.02, [0.7, 0.499, 0.52, 0.52, 0.52], 3, True),  # and it gets no better
        (-0.02, [0.9, 0.9, 0.9, 0.5], 0, True),
        (-0.02, [0.499, *[0.498] * 20], 0, False),  # longer than the rival was trained
    ],
)
def test_a_trial_is_given_up_where_it_is_lost(share, scores, waited, ends):
    assert Rival(RIVAL, share).ahead(scores, waited, checks=16) is ends


def test_a_likelihood_below_zero_is_better_by_a_share_of_its_size():
    better, worse = (Rival(Best(9, -2.0, (-1.0, -2.0)), share) for share in (-0.02, 0.02))
    assert (better.bound, worse.bound) == (-2.04, -1.96)
    assert worse.ahead([-1.0, -1.95], 0, 8)
    assert not worse.ahead([-1.0, -1.96], 0, 8)


def test_what_is_tried_against_another_is_not_trained_on_where_it_is_lost(monkeypatch):
    panel, taken = retail(series=6, periods=90, seed=3).panel, []
    whole = training._Course._run

    def run(self, *given):
        best = whole(self, *given)
        taken.append((self.rival is not None, len(best.scores)))
        return best

    monkeypatch.setattr(training._Course, "_run", run)
    never = Rival(Best(1, -9.0, (-9.0,)), 0.0)
    monkeypatch.setattr(kinds, "Rival", lambda *given: never)
    fit(panel, training=replace(QUICK, checks=20, patience=20))
    assert taken[:2] == [(False, 20), (True, 5)]


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
        monkeypatch.setattr(devices, "worker", lambda number=number: number)
        taken.append(devices.device_of("auto").index)
    assert taken == [0, 1, 0]
