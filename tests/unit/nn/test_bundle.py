"""The edge bundle: what it holds, and that it runs with numpy and onnxruntime alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, StoreError
from forecastkit.models.gru import GRU
from forecastkit.nn.forecaster import build
from forecastkit.nn.options import Training
from forecastkit.nn.plan import Block

pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.xdist_group("bundle")  # what takes long here is made once for all

H = 5


def table(days=90):
    rng = np.random.default_rng(2)
    ds = pd.date_range("2024-01-01", periods=days)
    frames = []
    for k in range(3):
        y = (k + 1) * (10 + ds.day_of_week.to_numpy() + rng.random(days))
        y[17] = np.nan
        event = np.where(rng.random(days) < 0.2, "fair", "none")
        frames.append(
            pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "y": y, "event": event, "price": 1 + rng.random(days),
                          "visits": rng.random(days), "kind": f"kind {k % 2}"})
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def fitted():
    panel = Panel.from_frame(table(), known=("event", "price"), past=("visits",), static=("kind",))
    training = Training(steps=15, batch=16, checks=2, validation=0)  # nothing says that a role is not needed
    return GRU(hidden=8, seeds=1, training=training).fit(panel, horizon=H)


@pytest.fixture(scope="module")
def bundle(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("edge") / "bundle"
    fitted.compile("onnx", levels=(0.1, 0.5, 0.9)).export(folder)
    return folder


@pytest.fixture(scope="module")
def request_(fitted):
    """What a till would send, texts included, and the plan of the days to come."""
    rows = table()
    ahead = [[["fair" if h == 1 else "none", 1.2 + h / 10] for h in range(H)] for _ in range(3)]
    groups = [group for _, group in rows.groupby("unique_id", sort=True)]
    return {
        "y": [[None if np.isnan(v) else v for v in group.y] for group in groups],
        "start": "2024-03-31",
        "known": [
            group[["event", "price"]].to_numpy().tolist() + plan for group, plan in zip(groups, ahead, strict=True)
        ],
        "past": [group[["visits"]].to_numpy().tolist() for group in groups],
        "static": [[group.kind.iloc[0]] for group in groups],
    }


def expected(fitted, request):
    ds = pd.date_range("2024-03-31", periods=H)
    parts = [
        pd.DataFrame({"unique_id": f"s{k}", "ds": ds} | {
            name: [row[j] for row in rows[-H:]] for j, name in enumerate(("event", "price"))
        })
        for k, rows in enumerate(request["known"])
    ]  # fmt: skip
    return fitted.predict(H, levels=(0.1, 0.5, 0.9), future=pd.concat(parts))


def check(out, fitted, request):
    wanted = expected(fitted, request)
    np.testing.assert_allclose(out["mean"], wanted.mean, rtol=1e-5)
    np.testing.assert_allclose(out["quantiles"], wanted.quantiles, rtol=1e-5)


def run(python, bundle, request):
    return answer(python, bundle, json.dumps(request))


def answer(python, bundle, text):
    return subprocess.run(
        [python, "-I", str(bundle / "predict.py")],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_gives_what_the_model_gives(fitted, bundle, request_):
    done = run(sys.executable, bundle, request_)
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout), fitted, request_)


def test_missing_numbers_of_the_past_are_what_the_model_takes_them_for(fitted, bundle, request_):
    rows = table()
    day = rows.groupby("unique_id").cumcount()
    rows.loc[day.isin([0, 1, 40, 41, 88, 89]), ["price", "visits"]] = np.nan
    rows.loc[rows.unique_id == "s1", "visits"] = np.nan
    rows.loc[day == 50, "event"] = None
    request = json.loads(json.dumps(request_))
    groups = [group.astype(object).where(group.notna(), None) for _, group in rows.groupby("unique_id", sort=True)]
    for k, group in enumerate(groups):
        request["known"][k][:-H] = group[["event", "price"]].to_numpy().tolist()
        request["past"][k] = group[["visits"]].to_numpy().tolist()
    done = run(sys.executable, bundle, request)
    assert done.returncode == 0, done.stderr
    panel = Panel.from_frame(rows, known=("event", "price"), past=("visits",), static=("kind",))
    check(json.loads(done.stdout), fitted.update(panel), request)
    assert done.stdout != run(sys.executable, bundle, request_).stdout


def test_a_bundle_does_not_ask_for_what_its_networks_were_better_without(fitted, request_, tmp_path):
    plan = replace(fitted.networks[0].plan, static=Block())
    network = build(plan, fitted.networks[0].shape, fitted.history, seed=0)
    without = replace(fitted, networks=(network,))
    without.compile("onnx", levels=(0.1, 0.5, 0.9)).export(tmp_path / "bundle")
    lean = {key: value for key, value in request_.items() if key != "static"}
    done, fuller = (run(sys.executable, tmp_path / "bundle", request) for request in (lean, request_))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == fuller.stdout
    check(json.loads(done.stdout), without, request_)


@pytest.mark.slow
def test_it_runs_in_an_environment_with_numpy_and_onnxruntime_alone(fitted, bundle, request_, tmp_path):
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy", "onnxruntime"]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"no package index to be reached: {installed.stderr.strip().splitlines()[-1]}")
    assert subprocess.run([python, "-I", "-c", "import forecastkit"], capture_output=True, check=False).returncode == 1
    done = run(python, bundle, request_)
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout), fitted, request_)


def test_the_manifest_says_what_the_columns_are_and_sums_each_file(fitted, bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["columns"]["known"] == [
        {"name": "event", "texts": ["fair", "none"]},
        {"name": "price", "texts": None},
    ]
    assert (manifest["model"], manifest["horizon"], manifest["levels"]) == ("gru", H, [0.1, 0.5, 0.9])
    assert manifest["trained_on"] == fitted.history.fingerprint or manifest["trained_on"] == fitted.trained_on
    assert set(manifest["files"]) == {"model.onnx", "calendar.npz", "predict.py"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"start": "2023-01-01"}, "start must be a period of 2024-03-31T00:00:00, 2024-04-01T00:00:00 and so on to"),
        ({"start": "2080-01-01"}, ", not 2080-01-01"),
        (
            {"known": None},
            "known must be known[series][period][column]: 3 series, each with one row of ['event', 'price']",
        ),
        ({"known": 5}, "for each period of its y and then the 5 to be forecast"),
        ({"known": [[["fair", "dear"]] * 95] * 3}, "known ['price'] must hold numbers"),
        ({"known": [[["fair", [1.0]]] * 95] * 3}, "each row of known must be a list of ['event', 'price']"),
        ({"past": [[1.0] * 90] * 3}, "each row of past must be a list of ['visits']"),
        ({"static": [[1, 2]] * 3}, "each row of static must be a list of ['kind']"),
        ({"y": [["many"]] * 3}, "y must hold numbers"),
        ({"y": [[[1.0]]] * 3}, "y must hold finite numbers"),
        ({"start": "next week"}, "start must be a time such as 2024-06-01"),
        ({"start": None}, "start must be one text"),
        ({"horizon": 5}, "a request has no 'horizon'; its keys are y, start"),
        ({"static": [["kind 0"]]}, "static must have 3 rows of ['kind'], not 1"),
        ({"y": [1.0, 2.0]}, "y must be a list of series"),
        ({"y": []}, "y must be a list of series"),
        ({"y": [[1.0], [None, None], [2.0]]}, "y has no number at all in series [1], counted from 0"),
        ({"start": ["2024-03-31"]}, "start must be one text or one a series, 3, not 1"),
        ({"known": [[["fair", 1.0]] * 90] * 3}, "known must have 95 rows of ['event', 'price'], not 90"),
        ({"known": [[["fair", None]] * 95] * 3}, "known has no price for some period of the horizon"),
    ],
)
def test_the_script_says_what_a_request_lacks(bundle, request_, change, words):
    done = run(sys.executable, bundle, request_ | change)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "the request is no JSON"),
        ("[]", "must be one JSON object"),
        ('{"start": "2024-03-31"}', "have y and start"),
    ],
)
def test_the_script_says_what_is_no_request(bundle, text, words):
    done = answer(sys.executable, bundle, text)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert words in done.stderr


def test_a_bundle_is_replaced_and_another_folder_left_alone(fitted, bundle, tmp_path):
    predictor = fitted.compile("onnx")
    predictor.export(bundle)
    assert json.loads((bundle / "manifest.json").read_text())["levels"] == [0.1, 0.5, 0.9]
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(StoreError, match="is no bundle"):
        predictor.export(tmp_path)
    with pytest.raises(ConfigError, match="only an onnx variant"):
        fitted.compile("eager").export(tmp_path / "new")
