"""What a person is told on stderr: of outputs, of columns, and of series that were not fitted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from forecastkit.cli.options import Intervals
from forecastkit.cli.report import INTERVALS
from forecastkit.evaluation.conformal import Conformal


@pytest.mark.parametrize(
    "line",
    [
        ("fit", "DEMAND", "-m", "naive", "-o", "blocker/out"),
        ("export", "model", "-o", "blocker/out"),
        ("backtest", "DEMAND", "--horizon", "7", "-m", "naive", "--html", "blocker/out"),
        ("forecast", "model", "-h", "3", "-o", "blocker/out"),
    ],
)
def test_what_can_not_be_written_is_called_as_the_person_called_it(command, demand: Path, line: tuple) -> None:
    assert command("fit", demand, "-m", "naive", "-o", "model").code == 0
    Path("blocker").write_text("no folder")
    done = command(*(demand if word == "DEMAND" else word for word in line))
    assert done.code == 6
    assert "blocker/out can't be written: " in done.err


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (("backtest", "DEMAND", "--horizon", "7", "-m", "naive", "-o", "blocker"), "blocker"),
        (("backtest", "DEMAND", "--horizon", "7", "-m", "naive", "-o", "blocker/run"), "blocker/run"),
        (("fit", "DEMAND", "-m", "naive", "-o", "blocker/model"), "blocker/model"),
        (("forecast", "model", "-h", "3", "-o", "blocker/out.csv"), "blocker/out.csv"),
    ],
)
def test_a_file_where_a_folder_is_needed_is_called_one(command, demand: Path, line: tuple, place: str) -> None:
    command("fit", demand, "-m", "naive", "-o", "model")
    Path("blocker").write_text("mine")
    done = command(*(demand if word == "DEMAND" else word for word in line))
    assert (done.code, done.out) == (6, "")
    assert done.err.startswith(f"error: {place} can't be written: ")
    assert "blocker is a file where a folder is needed: choose another name" in done.err
    assert Path("blocker").read_text() == "mine"


def test_fit_looks_at_its_folder_before_the_work(command, demand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forecastkit.local.fit_spread", None)
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    done = command("fit", demand, "-m", "naive", "-o", "mine")
    assert (done.code, done.err.count("mine exists and is no saved model")) == (6, 1)


def test_fit_says_for_how_far_before_it_takes_its_time(command, demand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []

    def interrupted(*_: object, horizon: int, **__: object) -> None:
        wanted.append(horizon)
        raise KeyboardInterrupt

    monkeypatch.setattr("forecastkit.local.fit_spread", interrupted)
    remark = "fitting for 14 periods ahead: --horizon sets how many\n"
    for flags in ((), ("--json",)):
        done = command("fit", demand, "-m", "naive", "-o", "model", *flags)
        assert (done.code, done.out, done.err.count(remark)) == (130, "", 1)
    assert remark not in command("fit", demand, "-m", "naive", "-o", "model", "-h", "3").err
    assert wanted == [14, 14, 3]


def test_export_looks_at_its_folder_before_it_compiles(command, demand: Path) -> None:
    assert command("fit", demand, "-m", "naive", "-o", "model").code == 0
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    done = command("export", "model", "-o", "mine")
    assert (done.code, done.err.count("mine exists and is no bundle")) == (6, 1)


def test_a_scale_from_period_to_period_is_said_where_a_season_is_not_seen(command, demand: Path) -> None:
    frame = pd.read_csv(demand)
    young = frame[frame["unique_id"] == "milk"].tail(13)
    pd.concat([young, frame[frame["unique_id"] != "milk"]]).to_csv("mixed.csv", index=False)
    done = command("backtest", "mixed.csv", "--horizon", "7", "--season", "7", "-m", "naive")
    assert "MASE of 1 series without a whole season before a cutoff" in done.err


def test_known_columns_that_a_model_does_not_use_are_said_to_be_ignored(command, demand: Path) -> None:
    done = command("fit", demand, "-m", "naive", "--known", "price", "-o", "model")
    assert "naive does not use known columns: price ignored\n" in done.err
    pd.DataFrame({"ds": ["2024-03-31"], "price": [1.0]}).to_csv("plan.csv", index=False)
    done = command("forecast", "model", "-h", "1", "--future", "plan.csv")
    assert (done.code, done.err) == (0, "plan.csv is ignored: naive does not use known columns\n")
    pytest.importorskip("lightgbm")
    done = command("fit", demand, "-m", "boosted:trees=5", "-o", "model", "-h", "7")
    assert done.err.startswith("boosted:trees=5 fitted on")
    done = command("forecast", "model", "-h", "1", "--future", "plan.csv")
    assert done.err == "plan.csv is ignored: the model was fitted without known columns (--known)\n"


def test_fit_counts_the_series_that_were_really_fitted(command, demand: Path) -> None:
    frame = pd.read_csv(demand)
    short = frame[frame["unique_id"] == "milk"].head(2)
    short.to_csv("short.csv", index=False)
    done = command("fit", "short.csv", "-m", "ets", "--freq", "D", "-o", "model")
    assert "ets could be fitted on none of 1 series: every forecast is seasonal naive's" in done.err
    mixed = pd.concat([short, frame[frame["unique_id"] != "milk"]])
    mixed.to_csv("mixed.csv", index=False)
    done = command("fit", "mixed.csv", "-m", "ets", "-o", "model")
    assert f"ets fitted on {mixed['unique_id'].nunique() - 1} series in " in done.err
    assert "s; on 1 seasonal naive stands in\n" in done.err


def test_explain_points_to_what_it_can_tell_of_a_model_that_says_nothing(command, demand: Path) -> None:
    assert command("fit", demand, "-m", "theta", "-o", "model").code == 0
    done = command("explain", "model")
    assert (done.code, done.out, done.err.count("\n")) == (0, "", 1)
    assert done.err.startswith("theta has nothing to say of itself, as the ARIMA family, ETS and Prophet have")
    assert done.err.endswith("--actual DATA\n")
    assert json.loads(command("explain", "model", "--json").out)["series"][0]["form"] == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is needed")
@pytest.mark.parametrize("words", [("models",), ("models", "--json"), ("backtest", "-h", "7", "-m", "naive", "--json")])
def test_a_full_disk_under_stdout_is_no_bug(demand: Path, words: tuple) -> None:
    arguments = [words[0], str(demand), *words[1:]] if words[0] == "backtest" else words
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "forecastkit", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 6
    assert "error: what was found can't be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_few_series_are_compared_by_is_said_with_the_mark(command, demand: Path) -> None:
    models = ("-m", "theta", "-m", "naive")
    one = command("backtest", demand, "--horizon", "7", "--season", "7", *models)
    assert "with fewer than 10 series one window can't tell" in one.err
    several = command("backtest", demand, "--horizon", "7", "--season", "7", "--windows", "2", *models)
    assert "with fewer than 10 series judged by 2 windows" in several.err


def test_how_intervals_were_made_is_said(command, demand: Path) -> None:
    plan = ("--horizon", "7", "-m", "naive", "--calibrate", "2", "--conformal", "decay=0.5", "-o", "kept")
    assert "intervals are made from 2 windows before: conformal:decay=0.5\n" in command("backtest", demand, *plan).err
    usual = f"intervals are made from 2 windows before: conformal ({INTERVALS})\n"
    assert usual in command("report", "kept").err


@pytest.mark.parametrize("name", ["report", "backtest"])
def test_the_help_says_how_intervals_are_made_by_default(command, name: str) -> None:
    assert INTERVALS in command(name, "--help").out
    assert Intervals().convert(INTERVALS, None, None) == Conformal()


def test_explain_takes_the_horizon_that_the_model_was_fitted_for(command, demand: Path) -> None:
    frame = pd.read_csv(demand)
    frame[frame["ds"] < "2024-03-28"].to_csv("early.csv", index=False)
    quick = "gru:seeds=1,hidden=8,training.steps=5,training.validation=0"
    assert command("fit", "early.csv", "-m", quick, "-h", "3", "--season", "7", "-o", "model").code == 0
    done = command("explain", "model", "--actual", demand)
    assert (done.code, "in the last 3 periods" in done.out) == (0, True)


def test_what_there_is_one_of_is_called_so(command, demand: Path) -> None:
    frame = pd.read_csv(demand)
    frame.to_csv("t.csv", index=False)
    young = frame[frame["unique_id"] == "milk"].tail(13)
    pd.concat([young, frame[frame["unique_id"] != "milk"]]).to_csv("young.csv", index=False)
    frame[frame["unique_id"] != "milk"].to_csv("fewer.csv", index=False)
    pd.concat([frame, frame.tail(1)]).to_csv("twice.csv", index=False)
    once = ("--horizon", "1", "-m", "naive", "-m", "ets")
    said = {
        "1 window, season 7": command("backtest", "t.csv", *once, "--calibrate", "1").out,
        "made from 1 window before": command("backtest", "t.csv", *once, "--calibrate", "1").err,
        "1 series misses a window, too short or ended before it: 'milk'\n": command(
            "backtest", "young.csv", *once, "--windows", "13", "-m", "naive"
        ).err,
        "1 row repeats a series and time": command("check", "twice.csv").err,
        "a backtest of 1 window with": command("backtest", "t.csv", "--horizon", "90", "-m", "naive").err,
    }
    command("fit", "t.csv", "-m", "naive", "-o", "model")
    said["1 of 3 series is not in fewer.csv and gets no"] = command(
        "forecast", "model", "-h", "1", "--data", "fewer.csv"
    ).err
    assert {words: words in text for words, text in said.items()} == dict.fromkeys(said, True)


def test_a_backtest_says_that_demand_is_below_zero_as_check_does(command, demand: Path) -> None:
    frame = pd.read_csv(demand)
    frame.loc[[3, 4, 95], "y"] = [-1.0, -2.0, -3.0]
    frame.to_csv("returns.csv", index=False)
    found = json.loads(command("check", "returns.csv", "--json").out)
    assert (found["negatives"], found["series_with_negatives"]) == (3, 2)
    line = ("--horizon", "7", "-m", "naive")
    done = command("backtest", "returns.csv", *line)
    assert (done.code, done.err.count("negatives: 3 periods of 2 series;")) == (0, 1)
    assert json.loads(command("backtest", "returns.csv", *line, "--json").out)["leaderboard"]
    assert "negatives" not in command("backtest", demand, *line).err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sku": "item"}, "plan.csv: no column 'sku' for the future's ids"),
        ({"day": "date"}, "plan.csv: no column 'day' for the future"),
        (
            {"cost": "Cost"},
            "plan.csv: no column 'cost' for the future, did you mean 'Cost'?",
        ),
        (("day", "soon"), "plan.csv: column 'day' has 1 time that can't be read, the first is 'soon' in row 2"),
        (("day", "2024-04-01 05:00"), "times don't fit the history: series 'milk': 2024-04-01 05:00:00 is not on the"),
        (("sku", None), "plan.csv: column 'sku' has 1 empty id"),
        (("sku", "Milk"), "plan.csv: the plan has ids that the model does not know, 1 in all, the first is 'Milk'"),
        (("day", "2024-03-31"), "plan.csv: the future has 1 period twice, the first is 'milk' at 2024-03-31"),
        (("cost", "cheap"), "plan.csv: column 'cost' is text and was a number in the history: 'cheap', for instance"),
        (("cost", None), "plan.csv: arima needs the known columns cost from 2024-04-01 to 2024-04-01"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_of_the_file_and_its_own_columns(
    command, demand: Path, change: dict[str, str] | tuple[str, str | None], words: str
) -> None:
    own = {"unique_id": "sku", "ds": "day", "price": "cost"}
    milk = pd.read_csv(demand).query("unique_id == 'milk'").rename(columns=own)
    milk.to_csv("own.csv", index=False)
    flags = ("--id", "sku", "--time", "day", "--known", "cost")
    assert command("fit", "own.csv", *flags, "-m", "arima", "-o", "model").code == 0
    plan = pd.DataFrame({"sku": "milk", "day": ["2024-03-31", "2024-04-01"], "cost": ["1", "1"]})
    plan.to_csv("plan.csv", index=False)
    assert command("forecast", "model", "-h", "2", "--future", "plan.csv").code == 0
    assert command("explain", "model", "-h", "2", "--future", "plan.csv").code == 0
    if isinstance(change, tuple):
        plan.loc[1, change[0]] = change[1]
    else:
        plan = pd.concat([plan, plan.assign(sku="rye")]).rename(columns=change)
    plan.to_csv("plan.csv", index=False)
    for line in (("forecast", "model"), ("explain", "model")):
        done = command(*line, "-h", "2", "--future", "plan.csv")
        assert (done.code, done.out) == (3, "")
        assert words in done.err
        assert not re.search("unique_id|'ds'| ds,", done.err)


def test_each_of_several_files_is_named_in_what_is_wrong_with_it(command, demand: Path) -> None:
    command("fit", demand, "-m", "naive", "-o", "model")
    Path("newer.csv").write_text("unique_id,ds,y\nmilk,2024-03-31,many\n")
    assert (
        "error: newer.csv: column 'y' holds text" in command("forecast", "model", "-h", "1", "--data", "newer.csv").err
    )
    Path("newer.csv").write_text("unique_id;ds;y\nmilk;2024-03-31;5\n")
    assert (
        "error: newer.csv: columns are separated" in command("forecast", "model", "-h", "1", "--data", "newer.csv").err
    )
    assert "error: newer.csv: columns are separated" in command("check", "newer.csv").err
