"""The training loop: steps that are captured, a training that was killed, a history that the device has no room for."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from forecastkit.data.synthetic import retail
from forecastkit.errors import StoreError
from forecastkit.execution import use_checkpoints, use_progress
from forecastkit.models.gru import GRU
from forecastkit.nn import devices, forecaster, kinds, training, windows
from forecastkit.nn.capture import WARM_UP
from forecastkit.nn.options import Training
from forecastkit.nn.stretch import Stretch
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


@pytest.mark.parametrize(
    ("periods", "validation", "steps"),
    [
        (3 * H - 1, 1, 21),  # 3 series of 7 windows: a horizon before the first and after the last
        (3 * H - 1, 0, 60),  # all steps, where nothing is to be held back
        (H + 1, 1, 3),  # one window each
    ],
)
def test_a_history_too_short_to_hold_windows_back_is_passed_over_four_times(monkeypatch, periods, validation, steps):
    taken = []

    class Watched(Stretch):
        def finish(self):
            taken.append(self.taken)
            super().finish()

    monkeypatch.setattr(training, "Stretch", Watched)
    short = retail(series=3, periods=periods, seed=3).panel.bare()
    fit(short, training=replace(QUICK, batch=4, validation=validation), lookback=2 * H, seeds=2)
    assert taken == [steps, steps]


@pytest.mark.parametrize(("best", "cycle"), [(3, 3), (6, 60), (24, 60)])
def test_training_again_takes_the_steps_that_were_best_of_the_same_cycle(panel, monkeypatch, best, cycle):
    """Unless they are fewer than those in which the learning rate rises, which are six here."""
    made = []

    class Watched(Stretch):
        def finish(self):
            made.append(self)
            super().finish()

    monkeypatch.setattr(training, "Stretch", Watched)
    monkeypatch.setattr(training._Course, "_score", lambda self, stretch, origins: abs(stretch.taken - best))
    fit(panel, training=replace(QUICK, checks=20), seeds=2)
    held, *again = made
    assert len(again) == 2  # the second network takes the steps of the first
    for stretch in again:
        assert stretch.taken == best < held.taken
        assert len(stretch.rates) == cycle
        if cycle == QUICK.steps:
            assert torch.equal(stretch.rates, held.rates)


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


TRIED = {"training": replace(QUICK, steps=12, refit=False), "seeds": 3, "scaling": "auto"}


def tried(monkeypatch):
    """The networks that were tried, in order: whether against a rival, and their scores."""
    found, whole = [], forecaster._train

    def train(*given, rival=None, **named):
        best = whole(*given, rival=rival, **named)
        found.append((rival is not None, best))
        return best

    monkeypatch.setattr(forecaster, "_train", train)
    return found


@pytest.mark.parametrize("call", [4, 9, 14])  # in the first that is tried, and in those against it
def test_a_killed_trial_goes_on_and_ends_where_it_would_have(monkeypatch, tmp_path, call):
    panel, found = retail(series=6, periods=90, seed=3).panel, tried(monkeypatch)
    with use_checkpoints(tmp_path):
        with suppress(Killed), use_progress(killed_at(call)):
            fit(panel, **TRIED)
        found.clear()
        resumed, again = fit(panel, **TRIED), list(found)
    found.clear()
    assert_same(fit(panel, **TRIED), resumed)
    assert again == found
    assert sum(rival for rival, _ in found) >= 2


def test_a_trial_does_not_go_on_from_that_of_another_recipe(monkeypatch, tmp_path):
    panel, found = retail(series=6, periods=90, seed=3).panel, tried(monkeypatch)
    monkeypatch.setattr(kinds, "Rival", partial(hopeless, Rival))
    plain = fit(panel, **TRIED)
    with use_checkpoints(tmp_path):
        found.clear()
        fit(panel, **TRIED | {"scaling": "linear"})  # where nothing is its rival
        assert next(len(best.scores) for rival, best in found if not rival) == 6
        assert_same(fit(panel, **TRIED), plain)


def hopeless(whole, best, share, better):
    """A rival that can't be reached."""
    return whole(Best(1, 0.0, (0.0,)), share, better)


RIVAL = Best(160, 0.5, (0.8, 0.6, 0.505, 0.5, 0.52, 0.53))


@pytest.mark.parametrize(
    ("better", "share", "scores", "waited", "ends"),
    [
        (False, 0.02, [], 0, False),
        (False, 0.02, [0.9, 0.51, 0.52, 0.52, 0.52], 3, False),  # good enough
        (False, 0.02, [0.9, 0.9, 0.516], 0, False),  # too early to tell
        (False, 0.02, [0.9, 0.7, 0.6, 0.511], 0, True),  # too far behind
        (False, 0.02, [0.9, 0.6, 0.55, 0.55, 0.54], 0, True),
        (False, 0.3, [0.9, 0.7, 0.66, 0.651], 0, True),
        (False, 0.3, [0.9, 0.7, 0.66, 0.65], 0, False),
        (True, 0.02, [0.7, 0.49, 0.52, 0.52, 0.52], 3, False),
        (True, 0.02, [0.7, 0.6, 0.52, 0.499, 0.499], 1, False),  # better, but not clearly
        (True, 0.02, [0.7, 0.499, 0.52, 0.52, 0.52], 3, True),  # and it gets no better
        (True, 0.02, [0.9, 0.9, 0.9, 0.5], 0, True),
        (True, 0.02, [0.499, *[0.498] * 20], 0, False),  # longer than the rival was trained
    ],
)
def test_a_trial_is_given_up_where_it_is_lost(better, share, scores, waited, ends):
    assert Rival(RIVAL, share, better).ahead(scores, waited, checks=16) is ends


def test_what_is_behind_may_catch_up_while_its_rival_is_still_learning():
    rival = Rival(Best(160, 0.5, (0.8, 0.7, 0.6, 0.55, 0.51, 0.5)), 0.02, better=True)
    ends = [rival.ahead([0.9] * count, 0, checks=8) for count in range(1, 7)]
    assert ends == [False, False, False, False, True, True]


@pytest.mark.parametrize("loss", [-2.0, 0.0, 2.0, 1e3])
def test_a_likelihood_is_better_by_a_share_of_itself_whatever_its_logarithm(loss):
    better, worse = (Rival(Best(9, loss, (loss + 1, loss), likelihood=True), 0.02, better) for better in (True, False))
    assert [better.takes(loss - less) for less in (0.019, 0.021)] == [False, True]
    assert [worse.takes(loss + more) for more in (0.021, 0.019)] == [False, True]


@pytest.mark.parametrize("head", ["quantiles", "negative_binomial", "tweedie"])
def test_what_was_best_knows_whether_it_is_a_likelihood(monkeypatch, head):
    panel, found = retail(series=6, periods=90, seed=3).panel.bare(), tried(monkeypatch)
    fit(panel, head=head, training=replace(QUICK, refit=False))
    assert [best.likelihood for _, best in found] == [head != "quantiles"]


@pytest.mark.parametrize("better", [True, False])
def test_nothing_is_given_up_for_a_rival_that_found_no_numbers(better):
    assert not Rival(Best(0, math.inf, (math.inf,) * 5), 0.02, better).ahead([0.9, 0.5, 0.6, 0.6, 0.6], 3, 5)


@pytest.mark.parametrize("scaling", ["auto", "linear", "log"])
def test_what_is_tried_against_another_is_given_up_and_nothing_else(monkeypatch, scaling):
    panel, found = retail(series=6, periods=90, seed=3).panel, tried(monkeypatch)
    monkeypatch.setattr(kinds, "Rival", partial(hopeless, Rival))
    options = replace(QUICK, checks=20, patience=20, refit=False)
    networks = fit(panel, seeds=3, scaling=scaling, training=options).networks
    assert (found[0][0], len(found[0][1].scores)) == (False, 20)
    assert all(len(best.scores) == (5 if rival else 20) for rival, best in found)
    assert sum(rival for rival, _ in found) >= 2
    assert all(network.shape.memory for network in networks)


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
