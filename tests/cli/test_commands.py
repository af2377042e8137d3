"""Every command: its help and example, its JSON, its exit codes, and what it says."""

from __future__ import annotations

import io
import json
import re
import shlex
import stat
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import click
import pandas as pd
import pytest

import forecastkit as fk
from forecastkit.cli import COMMANDS, root
from forecastkit.errors import StoreError
from forecastkit.evaluation.conformal import Conformal
from forecastkit.evaluation.report import Report

Command = Callable[..., "object"]
SMALL = ("--horizon", "7", "-m", "naive", "-m", "seasonal_naive")


def examples() -> list[str]:
    found = []
    for command in COMMANDS:
        (example,) = re.findall(r"Example: forecastkit (.*)", command.help or "")
        found.append(example)
    return found


@pytest.mark.parametrize("name", [str(c.name) for c in COMMANDS])
def test_help_speaks_and_ends_with_an_example(command, name: str) -> None:
    done = command(name, "--help")
    assert done.code == 0
    assert "Example: forecastkit " + name in done.out


@pytest.mark.parametrize("group", [root, *(c for c in COMMANDS if isinstance(c, click.Group))])
def test_the_list_of_commands_cuts_no_sentence_off(
    command, group: click.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = () if group is root else (str(group.name),)
    listed = command(*path, "--help").out.split("Commands:")[1]
    assert "..." not in listed


@pytest.mark.parametrize("example", examples())
def test_the_example_of_the_help_runs(command, example: str, request: pytest.FixtureRequest) -> None:
    if example.startswith(("promote ", "registry ")):
        request.getfixturevalue("home")
        small = ("-m", "window_average", "--horizon", "7", "--windows", "1", "--trials", "1", "--sample", "5")
        assert command("tune", "dataset:demo", *small, "--track", "demo").code == 0
        Path("gate.toml").write_text("skill = -1.0")
    if example.startswith("forecast "):
        assert command("fit", "dataset:demo", "-m", "seasonal_naive", "-o", "models/naive").code == 0
    if example.startswith("explain "):
        assert command("fit", "dataset:demo", "-m", "ets", "-o", "models/ets").code == 0
    if example.startswith("report "):
        assert command("backtest", "dataset:demo", *SMALL, "-o", "runs/demo").code == 0
    if example.startswith(("export ", "bench ")):
        pytest.importorskip("onnxruntime")
        assert (
            command("fit", "dataset:demo", "-m", "gru:training.steps=2,hidden=8,seeds=1", "-o", "models/gru").code == 0
        )
    done = command(*shlex.split(example))
    assert (done.code, done.err.count("error")) == (0, 0)


def test_the_example_of_the_program_runs(command) -> None:
    (example,) = re.findall(r"Example: forecastkit (.*)", root.help or "")
    assert command(*shlex.split(example)).code == 0


def test_backtest_prints_the_leaderboard_and_nothing_else_on_stdout(command, demand: Path) -> None:
    done = command("backtest", demand, *SMALL)
    assert done.code == 0
    lines = done.out.splitlines()
    assert "horizon 7" in lines[0]
    assert lines[2].startswith("seasonal_naive")
    assert list(demand.parent.glob(".forecastkit/backtests/*")) == []


def test_the_json_of_backtest_has_the_promised_shape(command, demand: Path) -> None:
    done = command("backtest", demand, *SMALL, "--windows", "2", "--json")
    result = json.loads(done.out)
    assert result["data"].keys() == {"name", "series", "rows", "freq", "fingerprint"}
    assert {"horizon", "windows", "step", "gap", "season", "refit", "cutoffs"} <= result["plan"].keys()
    assert result["plan"]["cutoffs"] == ["2024-03-16", "2024-03-23"]
    assert result["baseline"] == "seasonal_naive"
    row = result["leaderboard"][0]
    assert list(row) == [
        "model", "recipe", "mase", "rmsse", "wape", "smape", "bias", "wql", "coverage", "skill", "mase_low",
        "mase_high", "with_best", "fit_s", "predict_s", "cpu_s", "peak_mb", "size_mb", "p95_ms", "front", "series",
        "failed",
    ]  # fmt: skip
    scores = [r["mase"] for r in result["leaderboard"]]
    assert scores == sorted(scores)
    assert {"machine", "versions"} <= result.keys()


def test_fit_and_forecast_go_from_a_table_to_a_table(command, demand: Path) -> None:
    assert command("fit", demand, "-m", "seasonal_naive", "-o", "model").out == "model\n"
    done = command("forecast", "model", "--horizon", "3", "--levels", "0.9,0.1")
    frame = pd.read_csv(io.StringIO(done.out))
    assert list(frame.columns) == ["unique_id", "ds", "mean", "q0.1", "q0.9"]
    assert frame["ds"].iloc[0] == "2024-03-31"
    assert set(frame["unique_id"]) == {"milk", "bread, rye", "🧀"}
    as_json = json.loads(command("forecast", "model", "--horizon", "3", "--json").out)
    assert len(as_json["forecast"]) == 9


def test_a_forecast_reaches_as_far_as_the_model_was_fitted_for(command, demand: Path) -> None:
    command("fit", demand, "-m", "seasonal_naive", "-h", "5", "-o", "model")
    done = command("forecast", "model", "--json")
    assert json.loads(done.out)["horizon"] == 5
    assert "5 periods ahead, as the model was fitted for" in done.err
    asked = command("forecast", "model", "--horizon", "3", "--json")
    assert (json.loads(asked.out)["horizon"], "ahead" in asked.err) == (3, False)
    fitted = command("fit", demand, "-m", "seasonal_naive", "-o", "model", "--json")
    assert json.loads(fitted.out)["horizon"] == 14  # two seasons
    assert json.loads(command("forecast", "model", "--json").out)["horizon"] == 14


def test_a_model_that_does_not_know_what_it_was_fitted_for_has_to_be_told(command, demand: Path) -> None:
    recipe = fk.create("seasonal_naive")
    fk.save(replace(recipe.fit(fk.read(demand)), horizon=None), "older")
    for words in (("forecast", "older"), ("registry", "register", "older", "--name", "demo")):
        done = command(*words)
        assert (done.code, "say it with --horizon" in done.err) == (2, True)
    assert command("forecast", "older", "--horizon", "3").code == 0


def test_forecast_goes_on_from_newer_data(command, demand: Path) -> None:
    command("fit", demand, "-m", "seasonal_naive", "-o", "model")
    newer = pd.DataFrame({"unique_id": "milk", "ds": pd.date_range("2024-03-31", periods=7), "y": 99.0})
    newer.to_csv("newer.csv", index=False)
    done = command("forecast", "model", "-h", "2", "--data", "newer.csv")
    frame = pd.read_csv(io.StringIO(done.out))
    assert frame["ds"].tolist() == ["2024-04-07", "2024-04-08"]
    assert (frame["mean"] == 99.0).all()
    assert done.err == "2 of 3 series are not in newer.csv and get no forecast: 'bread, rye', '🧀'\n"


def test_forecast_names_a_few_of_many_series_that_newer_data_lacks(command) -> None:
    days = pd.date_range("2024-01-01", periods=21)
    frame = pd.concat([pd.DataFrame({"unique_id": f"s{k}", "ds": days, "y": float(k)}) for k in range(9)])
    frame.to_csv("all.csv", index=False)
    command("fit", "all.csv", "-m", "naive", "-o", "model")
    assert command("forecast", "model", "-h", "1", "--data", "all.csv").err == ""
    frame[frame["unique_id"] == "s8"].to_csv("one.csv", index=False)
    done = command("forecast", "model", "-h", "1", "--data", "one.csv", "--json")
    assert [row["unique_id"] for row in json.loads(done.out)["forecast"]] == ["s8"]
    assert done.err == "8 of 9 series are not in one.csv and get no forecast: 's0', 's1', 's2' and so on\n"


def test_newer_data_needs_no_columns_that_the_model_ignores_and_may_not_be_older(command, demand: Path) -> None:
    command("fit", demand, "-m", "seasonal_naive", "-o", "model", "--known", "price", "--static", "store")
    days = pd.date_range("2024-03-31", periods=7)
    pd.DataFrame({"unique_id": "milk", "ds": days, "y": 99.0}).to_csv("newer.csv", index=False)
    done = command("forecast", "model", "-h", "2", "--data", "newer.csv")
    assert (pd.read_csv(io.StringIO(done.out))["mean"] == 99.0).all()
    assert "ends before" not in done.err
    planned = command("forecast", "model", "-h", "2", "--data", "newer.csv", "--future", "newer.csv")
    assert "newer.csv is ignored: seasonal_naive does not use known columns" in planned.err
    pd.DataFrame({"unique_id": "milk", "ds": days[:1] - pd.Timedelta(days=40), "y": 1.0}).to_csv("old.csv", index=False)
    older = command("forecast", "model", "-h", "2", "--data", "old.csv")
    assert "old.csv ends before 2024-03-30, where the model's demand does" in older.err
    assert pd.read_csv(io.StringIO(older.out))["ds"].tolist() == ["2024-02-21", "2024-02-22"]


def test_newer_data_needs_no_static_columns_that_no_network_reads(command, demand: Path, monkeypatch) -> None:
    kinds = pytest.importorskip("forecastkit.nn.kinds")
    quick = "gru:seeds=1,hidden=4,training.steps=4"
    days = pd.date_range("2024-03-31", periods=7)
    pd.DataFrame({"unique_id": "milk", "ds": days, "y": 99.0}).to_csv("newer.csv", index=False)
    said = []
    for may_lose in (9.0, -9.0):
        monkeypatch.setattr(kinds, "_MAY_LOSE", may_lose)
        made = command("fit", demand, "-m", quick, "-h", "2", "-o", f"model{may_lose}", "--static", "store")
        assert ("gru is no better with store on held-back demand: left out" in made.err) is (may_lose > 0)
        said.append(command("forecast", f"model{may_lose}", "-h", "2", "--data", "newer.csv"))
    assert [done.code for done in said] == [0, 3]
    assert "error: newer.csv: no column 'store' for the static role" in said[1].err
    assert "so newer data must have it by this name" in said[1].err


def test_series_that_a_plan_has_and_the_model_does_not_are_said(command, demand: Path) -> None:
    pytest.importorskip("lightgbm")
    command("fit", demand, "-m", "boosted:trees=5", "-h", "2", "-o", "model", "--known", "price")
    days = pd.date_range("2024-03-31", periods=2)
    plan = [
        pd.DataFrame({"unique_id": name, "ds": days, "price": 1.0}) for name in ("milk", "bread, rye", "🧀", "oats")
    ]
    pd.concat(plan).to_csv("plan.csv", index=False)
    done = command("forecast", "model", "-h", "2", "--future", "plan.csv")
    assert done.code == 0
    assert "plan.csv: 1 series of the plan gets no forecast, as the model has none of them: 'oats'" in done.err
    assert "oats" not in done.out


def test_an_option_that_stands_inside_another_is_offered_as_it_is_written(command, demand: Path) -> None:
    done = command("fit", demand, "-m", "auto_arima:max_p=3", "-o", "model")
    assert done.code == 2
    assert "did you mean 'bounds.max_p'?" in done.err


def test_forecast_says_which_known_columns_are_missing_and_when(command, demand: Path) -> None:
    assert command("fit", demand, "-m", "arima", "--known", "price", "-o", "model").code == 0
    done = command("forecast", "model", "--horizon", "3")
    assert done.code == 3
    assert "price from 2024-03-31 to 2024-04-02" in done.err
    days = pd.date_range("2024-03-31", periods=3)
    pd.DataFrame({"ds": days, "price": [1.0, 0.8, 1.0]}).to_csv("plan.csv", index=False)
    done = command("forecast", "model", "--horizon", "3", "--future", "plan.csv")
    frame = pd.read_csv(io.StringIO(done.out))
    assert frame.groupby("unique_id")["mean"].apply(lambda m: m.idxmax() - m.index[0] == 1).all()


def test_flags_may_come_from_a_file_and_the_command_line_wins(command, demand: Path) -> None:
    Path("plan.toml").write_text('horizon = 5\n[backtest]\nmodel = ["naive"]\nwindows = 2\n')
    result = json.loads(command("backtest", demand, "--config", "plan.toml", "--windows", "3", "--json").out)
    assert (result["plan"]["horizon"], result["plan"]["windows"]) == (5, 3)
    assert [row["model"] for row in result["leaderboard"]] == ["naive"]
    Path("plan.toml").write_text("horizn = 5\n")
    done = command("backtest", demand, "--config", "plan.toml")
    assert done.code == 2
    assert "did you mean 'horizon'" in done.err


def test_an_output_folder_keeps_the_run_and_resume_goes_on(command, demand: Path) -> None:
    assert command("backtest", demand, *SMALL, "-o", "run").code == 0
    assert Path("run/backtest.json").is_file()
    again = command("backtest", demand, *SMALL, "-o", "run")
    assert again.code == 2
    assert "--resume" in again.err
    assert command("backtest", demand, *SMALL, "-o", "run", "--resume").code == 0


def test_check_says_what_is_in_the_table(command, demand: Path) -> None:
    found = json.loads(command("check", demand, "--json").out)
    assert (found["series"], found["freq"], found["gaps"], found["negatives"]) == (3, "D", 0, 0)
    assert "freq" in command("check", demand).out


def test_check_says_which_covariates_are_text_and_which_miss_cells(command, demand: Path) -> None:
    frame = pd.read_csv(demand)
    frame["promo"] = (frame["price"] < 1).map({True: "flyer", False: "none"})
    frame.loc[[3, 4, 95], "price"] = None
    frame.loc[7, "promo"] = None
    frame = frame.drop(index=50)  # a gap: neither price nor promo there
    frame.to_csv("t.csv", index=False)
    columns = ("--known", "price", "--past", "promo", "--static", "store")
    found = json.loads(command("check", "t.csv", *columns, "--json").out)
    assert found["text_categories"] == {"promo": 2, "store": 1}
    assert found["missing_cells"] == {"price": 4, "promo": 2}
    shown = command("check", "t.csv", *columns).out
    assert re.search(r"text categories +promo \(2\), store \(1\)", shown)
    assert re.search(r"missing cells +price \(4\), promo \(2\)", shown)
    assert re.search(r"missing cells +none", command("check", demand, "--known", "price").out)


def test_models_lists_all_and_shows_the_options_of_one(command) -> None:
    listed = {row["model"] for row in json.loads(command("models", "--json").out)}
    assert {"naive", "seasonal_naive", "sarima", "prophet", "boosted", "gru", "lstm"} <= listed
    shown = json.loads(command("models", "seasonal_naive", "--json").out)
    assert {"option": "season", "default": None, "type": "int | None"} in shown["options"]


def test_datasets_lists_name_and_source(command) -> None:
    listed = {row["name"] for row in json.loads(command("datasets", "--json").out)}
    assert {"demo", "pbs", "aus_retail"} <= listed


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("backtest", "gone.csv", "--horizon", "3"), 3, "no such file"),
        (("fit", "gone.csv", "-m", "naive", "-m", "theta", "-o", "model"), 2, "one model, not naive, theta"),
        (("backtest", "demand.csv", "--horizn", "3"), 2, "--horizon"),
        (("backtest", "demand.csv"), 2, "--horizon"),
        (("backtest", "demand.csv", "--horizon", "0"), 2, "horizon"),
        (("backtest", "demand.csv", "--horizon", "300", "-m", "naive"), 3, "needs at least 301"),
        (("backtest", "demand.csv", "--horizon", "3", "-m", "seasonal_naiv"), 2, "did you mean 'seasonal_naive'"),
        (("backtest", "demand.csv", "--horizon", "3", "-m", "naive:depth=3"), 2, "no option 'depth'"),
        (("backtest", "demand.csv", "--horizon", "3", "--target", "yy"), 3, "did you mean 'y'"),
        (("backtest", "demand.csv", "--horizon", "3", "--freq", "W"), 3, "the times look like 'D'"),
        (("backtest", "demand.csv", "--horizon", "3", "--levels", "10,90"), 2, "write 0.9 for 90 %"),
        (("backtest", "dataset:nope", "--horizon", "3"), 2, "nope"),
        (("forecast", "nowhere", "--horizon", "3"), 6, "no saved model"),
        (("models", "grru"), 2, "did you mean 'gru'"),
        (("chek", "demand.csv"), 2, "chek"),
    ],
)
def test_bad_input_gets_a_clear_word_and_its_exit_code(
    command, demand: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = command(*arguments)
    assert done.code == code
    assert words in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_a_strict_run_ends_with_the_exit_code_of_a_failed_fit(command) -> None:
    days = pd.date_range("2024-01-01", periods=40)
    long = pd.DataFrame({"unique_id": "long", "ds": days, "y": range(40)})
    short = pd.DataFrame({"unique_id": "short", "ds": days[-6:], "y": range(6)})
    pd.concat([long, short]).to_csv("t.csv", index=False)
    plain = command("backtest", "t.csv", "--horizon", "4", "-m", "ets")
    assert plain.code == 0
    assert "short" in plain.err
    assert command("backtest", "t.csv", "--horizon", "4", "-m", "ets", "--strict").code == 5


def test_a_folder_that_can_not_be_written_is_a_store_error(command, demand: Path) -> None:
    Path("file").write_text("in the way")
    done = command("fit", demand, "-m", "naive", "-o", "file/model")
    assert done.code == 6
    assert "file" in done.err


@pytest.mark.skipif("os.geteuid() == 0", reason="root may write anywhere")
def test_a_read_only_folder_is_a_store_error(command, demand: Path) -> None:
    Path("locked").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    assert command("backtest", demand, *SMALL, "-o", "locked/run").code == 6


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(command, demand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from forecastkit import execution

    calls = []

    def interrupted(task, items, **_):
        for item in items:
            if len(calls) == 3:
                raise KeyboardInterrupt
            calls.append(item)
            yield task(item)

    with monkeypatch.context() as patch:
        patch.setattr(execution, "run", interrupted)
        done = command("backtest", demand, *SMALL, "-o", "run")
    assert done.code == 130
    assert "--resume" in done.err
    shown = command("report", "run")
    assert shown.code == 0
    assert "seasonal_naive is left out, as it is not finished (0 of 1 window is whole)" in shown.err
    assert list(json.loads(command("report", "run", "--json").out)["unfinished"]) == ["seasonal_naive"]
    assert command("backtest", demand, *SMALL, "-o", "run", "--resume").code == 0
    assert len(calls) == 3
    assert "left out" not in command("report", "run").err


def test_an_interrupted_training_goes_on_with_the_same_command(
    command, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecastkit import execution

    line = (
        "fit",
        demand,
        "-m",
        "gru:hidden=8,training.steps=40,training.batch=8",
        "-h",
        "7",
        "--json",
        "-o",
        "kept/gru",
    )
    monkeypatch.setattr(execution, "report", _interrupted_at(5))
    stopped = command(*line)
    assert stopped.code == 130
    assert "the same command goes on" in stopped.err
    monkeypatch.setattr(execution, "report", counted := _interrupted_at(None))
    assert command(*line).code == 0
    assert counted.calls[0][0] > 2  # the step that it went on to
    assert [file.name for file in Path("kept").iterdir()] == ["gru"]


def _interrupted_at(call: int | None):
    def report(*what):
        report.calls.append(what)
        if len(report.calls) == call:
            raise KeyboardInterrupt

    report.calls = []
    return report


def test_a_bug_shows_its_traceback_and_ends_with_70(command, demand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from forecastkit.evaluation import backtesting

    monkeypatch.setattr(backtesting, "windows", lambda *_: 1 / 0)
    done = command("backtest", demand, *SMALL)
    assert done.code == 70
    assert "ZeroDivisionError" in done.err


def test_a_table_on_standard_input_is_read(command, demand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with demand.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert command("check", "-").code == 0


def test_a_missing_extra_is_named_with_the_line_that_installs_it(
    command, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecastkit import models
    from forecastkit.errors import MissingExtraError

    def missing(name: str) -> None:
        raise MissingExtraError("torch", "torch")

    monkeypatch.setattr(models, "load", missing)
    done = command("fit", demand, "-m", "gru", "-o", "model")
    assert done.code == 4
    assert "pip install 'forecastkit[torch]'" in done.err


def test_a_model_remembers_what_the_columns_were_called(command, demand: Path) -> None:
    frame = pd.read_csv(demand).rename(columns={"unique_id": "sku", "ds": "day", "y": "sold"})
    frame.to_csv("own.csv", index=False)
    names = ("--id", "sku", "--time", "day", "--target", "sold")
    assert command("fit", "own.csv", *names, "-m", "arima", "--known", "price", "-o", "model").code == 0
    days = pd.date_range("2024-03-31", periods=3)
    pd.DataFrame({"day": days, "price": 1.0}).to_csv("plan.csv", index=False)
    done = command("forecast", "model", "-h", "3", "--future", "plan.csv")
    assert done.code == 0, done.err
    assert done.out.startswith("sku,day,mean")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"itm": ["milk", "milk"], "ds": ["2024-03-31", "2024-03-31"]}, "unique_id"),
        ({"unique_id": ["milk", "milk"], "ds": ["2024-03-31", "2024-03-31"]}, "1 period twice"),
    ],
)
def test_a_plan_that_says_two_things_of_one_day_is_refused(command, demand: Path, plan: dict, words: str) -> None:
    command("fit", demand, "-m", "arima", "--known", "price", "-o", "model")
    pd.DataFrame(plan).assign(price=1.0).to_csv("plan.csv", index=False)
    done = command("forecast", "model", "-h", "1", "--future", "plan.csv")
    assert done.code == 3
    assert words in done.err


def test_a_second_id_is_refused_and_not_taken_instead_of_the_first(command, demand: Path) -> None:
    done = command("check", demand, "--id", "store", "--id", "unique_id")
    assert done.code == 2
    assert "join store and unique_id" in done.err


def test_a_narrow_terminal_gets_fewer_columns_and_whole_numbers() -> None:
    from forecastkit.cli.console import _fitting

    columns, rows = ["model", "mase", "peak_mb", "wape"], [["gru", "0.812", "123.000", "0.4"]]
    assert _fitting(columns, rows, ("peak_mb", "wape"), 100) == (columns, rows, [])
    fitting = ["model", "mase", "wape"], [["gru", "0.812", "0.4"]], ["peak_mb"]
    assert _fitting(columns, rows, ("peak_mb", "wape"), 22) == fitting
    assert _fitting(columns, rows, ("peak_mb", "wape"), 10)[0] == ["model", "mase"]


def test_columns_that_a_narrow_terminal_has_no_room_for_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from forecastkit.cli import console

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "24")
    console.print_table(["model", "mase", "peak_mb", "wape"], [["gru", 0.812, 123.0, 0.4]], spare=["peak_mb", "wape"])
    shown = capsys.readouterr()
    assert "0.812" in shown.out
    assert "not shown, as the terminal is narrow: peak_mb" in shown.err


def test_a_file_of_flags_may_serve_several_commands(command, demand: Path) -> None:
    Path("shared.toml").write_text('horizon = 5\nid = "unique_id"\n')
    assert command("check", demand, "--config", "shared.toml").code == 0


def test_the_example_stands_on_a_line_of_its_own_in_the_help(command) -> None:
    lines = command("backtest", "--help").out.splitlines()
    assert any(line.strip().startswith("Example: forecastkit backtest") for line in lines)
    assert not any("\\b" in line for line in lines)


def test_series_that_are_not_in_newer_data_are_named(command, tmp_path: Path) -> None:
    ds = pd.date_range("2024-01-01", periods=30)
    rows = pd.concat([pd.DataFrame({"unique_id": name, "ds": ds, "y": range(30)}) for name in "abc"])
    rows.to_csv(tmp_path / "all.csv", index=False)
    rows[rows.unique_id == "b"].to_csv(tmp_path / "one.csv", index=False)
    assert command("fit", tmp_path / "all.csv", "-m", "naive", "-o", tmp_path / "model").code == 0
    done = command("forecast", tmp_path / "model", "-h", "2", "--data", tmp_path / "one.csv")
    assert "2 of 3 series are not in" in done.err
    assert "get no forecast: 'a', 'c'" in done.err
    assert set(pd.read_csv(io.StringIO(done.out)).unique_id) == {"b"}


def test_bench_draws_latency_against_the_error_in_what_came(command, demand: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    whole = pd.read_csv(demand).rename(columns={"unique_id": "item"})
    whole[whole["ds"] < "2024-03-20"].to_csv(tmp_path / "before.csv", index=False)
    assert command("fit", "before.csv", "--id", "item", "-m", "seasonal_naive", "-o", "model").code == 0
    whole.to_csv(demand, index=False)
    asked = ("bench", "latency", "model", "--horizon", "7", "--seconds", "0.05", "--json")
    done = command(*asked, "--actual", demand, "--plot", "plot.svg")
    assert done.code == 0
    rows = json.loads(done.out)["rows"]
    assert all(0 < row["error"] < 0.5 for row in rows)
    command("fit", "before.csv", "--id", "item", "-m", "seasonal_naive", "-h", "7", "-o", "model")
    unasked = command("bench", "latency", "model", "--seconds", "0.05", "--json", "--actual", demand)
    assert [row["error"] for row in json.loads(unasked.out)["rows"]] == [row["error"] for row in rows]
    assert "seasonal_naive" in (tmp_path / "plot.svg").read_text("utf-8")
    assert command(*asked, "--plot", "plot.svg").code == 2


def test_bench_says_where_its_rows_have_unlike_horizons(command, demand: Path) -> None:
    pytest.importorskip("torch")
    assert command("fit", demand, "-m", "gru:training.steps=2,hidden=8,seeds=1", "-h", "5", "-o", "model").code == 0
    asked = ("bench", "latency", "model", "--variant", "panel", "--variant", "eager", "--seconds", "0.05", "--json")
    assert "unlike horizons, whose times and errors are not of one thing: panel 3, eager 5" in (
        command(*asked, "--horizon", "3").err
    )
    assert "unlike" not in command(*asked).err


def test_an_interrupted_bench_shows_what_it_has_and_ends_with_130(
    command, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecastkit.evaluation import latency

    assert command("fit", demand, "-m", "seasonal_naive", "-o", "model").code == 0
    turn, turns = latency._Timings.turn, []

    def interrupted(timings: object, seconds: float) -> None:
        if len(turns) == 3:
            raise KeyboardInterrupt
        turns.append(seconds)
        turn(timings, seconds)

    monkeypatch.setattr(latency._Timings, "turn", interrupted)
    done = command("bench", "latency", "model", "--json")
    told = json.loads(done.out)
    assert done.code == 130
    assert [row["variant"] for row in told["rows"]] == ["frame", "panel"]
    assert (told["interrupted"], len(told["load"])) == (True, 2)
    turns.clear()
    done = command("bench", "latency", "model")
    assert (done.code, "panel" in done.out) == (130, True)


def test_scores_by_group_and_a_page_are_had_from_a_kept_run_without_running_again(command, demand: Path) -> None:
    plan = (*SMALL, "--static", "store", "--windows", "2", "--calibrate", "2", "-o", "run")
    first = command("backtest", demand, *plan, "--by", "demand_class", "--json")
    again = json.loads(command("report", "run", "--by", "demand_class", "--by", "store,step", "--json").out)
    assert json.loads(first.out)["by"]["demand_class"] == again["by"]["demand_class"]
    assert {row["demand_class"] for row in again["by"]["demand_class"]} == {"smooth"}
    assert [row["step"] for row in again["by"]["store,step"] if row["model"] == "naive"] == list(range(1, 8))
    assert again["leaderboard"] == json.loads(first.out)["leaderboard"]
    shown = command("report", "run", "--by", "cutoff")
    assert "by cutoff" in shown.out
    assert "2024-03-16" in shown.out
    assert "did you mean 'step'" in command("report", "run", "--by", "stp").err
    pytest.importorskip("matplotlib")
    done = command("report", "run", "--html", "page.html")
    assert (done.code, "page.html" in done.err) == (0, True)
    assert f"forecastkit backtest {demand}" in Path("page.html").read_text("utf-8")


CALIBRATED = (*SMALL, "--windows", "2", "--calibrate", "3")
HOW = "group=demand_class,decay=0.3,by_step=false"


def test_intervals_are_made_as_asked_in_a_backtest_and_in_a_look_at_it_later(command, demand: Path) -> None:
    asked = ("--conformal", HOW, "--by", "step", "--json")
    first = json.loads(command("backtest", demand, *CALIBRATED, "-o", "run", *asked).out)
    plain = json.loads(command("report", "run", "--by", "step", "--json").out)
    again = json.loads(command("report", "run", *asked).out)
    how = Conformal(group="demand_class", decay=0.3, by_step=False)
    wanted = Report.read("run").calibrated(how)
    assert [row["wql"] for row in first["leaderboard"]] == wanted.leaderboard()["wql"].tolist()
    assert [row["width"] for row in first["by"]["step"]] == wanted.scores(["model", "step"])["width"].tolist()
    assert (first["leaderboard"], first["by"]) == (again["leaderboard"], again["by"])
    assert first["by"]["step"] != plain["by"]["step"]
    assert first["intervals"] == again["intervals"] == asdict(how)
    assert plain["intervals"] == asdict(Conformal())


def test_a_page_is_of_the_intervals_that_were_asked_for(command, demand: Path) -> None:
    pytest.importorskip("matplotlib")
    asked = ("--conformal", "rate=0.05")
    assert command("backtest", demand, *CALIBRATED, "-o", "run", *asked, "--html", "page.html").code == 0
    assert "rate=0.05" in Path("page.html").read_text("utf-8")
    assert command("report", "run", "--conformal", "rate=0.2", "--html", "page.html").code == 0
    assert "rate=0.2" in Path("page.html").read_text("utf-8")


def test_how_intervals_are_made_may_stand_in_a_file(command, demand: Path) -> None:
    Path("flags.toml").write_text(f'horizon = 7\nmodel = "naive"\ncalibrate = 2\nconformal = "{HOW}"')
    done = command("backtest", demand, "--config", "flags.toml", "-o", "run", "--json")
    assert json.loads(done.out)["intervals"]["group"] == "demand_class"
    assert json.loads(command("report", "run", "--config", "flags.toml", "--json").out)["intervals"]["decay"] == 0.3


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("grup=demand_class", "conformal has no option 'grup', did you mean 'group'?"),
        ("group=demand_clas", "can't be grouped by 'demand_clas', did you mean 'demand_class'?"),
        ("models=nave", "no model 'nave' in this backtest, did you mean 'naive'?"),
        ("decay=2", "decay is above 0 and at most 1"),
        ("decay=much", "decay takes a number, not 'much'"),
        ("decay", "write it as name=value"),
    ],
)
def test_intervals_that_can_not_be_made_are_refused_before_anything_runs(
    command, demand: Path, how: str, words: str
) -> None:
    done = command("backtest", demand, *CALIBRATED, "--conformal", how, "-o", "run")
    assert (done.code, done.out, Path("run").exists()) == (2, "", False)
    assert words in done.err
    assert command("backtest", demand, *CALIBRATED, "-o", "run").code == 0
    done = command("report", "run", "--conformal", how)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_intervals_of_a_backtest_without_windows_to_calibrate_on_are_refused(command, demand: Path) -> None:
    done = command("backtest", demand, *SMALL, "--conformal", "decay=0.9", "-o", "run")
    assert (done.code, "--calibrate 4" in done.err, Path("run").exists()) == (2, True, False)
    assert command("backtest", demand, *SMALL, "-o", "run").code == 0
    done = command("report", "run", "--conformal", "decay=0.9")
    assert (done.code, "--calibrate 4" in done.err) == (2, True)


def test_the_line_that_shows_results_again_asks_for_the_same_intervals(
    command, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr("forecastkit.evaluation.report.Report.to_html", full)
    asked = ("-o", "run", "--html", "page.html", "--conformal", "decay=0.9,models=('naive','seasonal_naive')", "--json")
    done = command("backtest", demand, *CALIBRATED, *asked)
    assert done.code == 6
    (line,) = re.findall("again: forecastkit (.*)", done.err)
    assert json.loads(command(*shlex.split(line), "--json").out)["intervals"] == json.loads(done.out)["intervals"]


def test_backtest_tells_what_inputs_are_worth_and_how_fast_a_call_is_answered(command, demand: Path) -> None:
    asked = ("--importance", "best", "--latency", "--known", "price", "-o", "run")
    done = command("backtest", demand, "--horizon", "7", "-m", "seasonal_naive", "-m", "arima", *asked, "--json")
    found = json.loads(done.out)
    assert all(row["p95_ms"] > 0 for row in found["leaderboard"])
    assert found["importance"][0].keys() == {"model", "input", "kind", "mase", "increase", "low", "high"}
    assert {row["model"] for row in found["importance"]} == {found["leaderboard"][0]["model"]}
    again = command("report", "run")
    assert "p95_ms" in again.out
    assert "what its inputs are worth" in again.out


def test_latency_that_is_asked_for_too_late_is_said_to_be_missing(
    command, demand: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert command("backtest", demand, *SMALL, "-o", "run").code == 0
    more = ("-m", "window_average", "--latency", "--resume")
    done = command("backtest", demand, *SMALL, *more, "-o", "run", "--json")
    assert done.code == 0
    assert "no call is timed of naive, seasonal_naive" in caplog.text
    timed = {row["model"]: row["p95_ms"] for row in json.loads(done.out)["leaderboard"]}
    assert (timed["naive"], timed["window_average"] > 0) == (None, True)
    caplog.clear()
    command("backtest", demand, "--horizon", "7", *more, "-o", "run")
    assert "no call is timed" not in caplog.text


def test_a_model_whose_inputs_can_not_be_told_is_refused_before_anything_runs(command, demand: Path) -> None:
    done = command("backtest", demand, *SMALL, "--importance", "nave")
    assert done.code == 2
    assert "did you mean 'naive'" in done.err
    assert not list(demand.parent.glob(".forecastkit/backtests/*"))


def test_a_page_that_can_not_be_written_is_refused_before_anything_runs(command, demand: Path) -> None:
    pytest.importorskip("matplotlib")
    Path("file").write_text("in the way")
    for page in ("file/page.html", "."):
        done = command("backtest", demand, *SMALL, "--html", page)
        assert (done.code, done.out) == (6, "")
        assert not list(demand.parent.glob(".forecastkit/backtests/*"))
    assert command("backtest", demand, *SMALL, "--html", "pages/page.html").code == 0
    assert [file.name for file in Path("pages").iterdir()] == ["page.html"]


def test_a_page_without_its_extra_is_refused_before_anything_runs(
    command, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "forecastkit.evaluation.page", None)
    monkeypatch.delattr("forecastkit.evaluation.page", raising=False)
    done = command("backtest", demand, *SMALL, "--html", "page.html")
    assert (done.code, done.out) == (4, "")
    assert not list(demand.parent.glob(".forecastkit/backtests/*"))


@pytest.mark.parametrize(
    ("flags", "step"),
    [
        (("--importance", "best"), "forecastkit.evaluation.explaining.explain"),
        (("--html", "page.html"), "forecastkit.evaluation.report.Report.to_html"),
    ],
)
def test_what_goes_wrong_beside_the_results_costs_no_results(
    command, demand: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], step: str
) -> None:
    pytest.importorskip("matplotlib")

    def broken(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(step, broken)
    done = command("backtest", demand, *SMALL, *flags)
    assert done.code == 6
    assert "seasonal_naive" in done.out
    assert done.err.endswith("error: the disk is full\n")
    (folder,) = demand.parent.glob(".forecastkit/backtests/*")
    assert f"forecastkit report {folder}" in done.err
    assert command("report", folder).out == done.out


def test_ctrl_c_while_inputs_are_looked_at_says_where_the_results_are(
    command, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("forecastkit.evaluation.explaining.explain", interrupted)
    done = command("backtest", demand, *SMALL, "--importance", "best", "-o", "run")
    assert done.code == 130
    assert "kept in run: the same command with --resume" in done.err


def test_explain_shows_the_price_effect_with_its_error_and_the_worth_of_inputs(command, demand: Path) -> None:
    frame = pd.read_csv(demand)
    frame[frame["ds"] < "2024-03-20"].to_csv("early.csv", index=False)
    assert command("fit", "early.csv", "-m", "arima", "--known", "price", "-o", "model").code == 0
    done = command("explain", "model", "--series", "milk", "--actual", demand, "--horizon", "5", "--json")
    found = json.loads(done.out)
    price = found["series"][0]["coefficients"]["price"]
    assert abs(price["estimate"] + 75) < 4 * price["std_error"]
    worth = {row["input"]: row["increase"] for row in found["importance"]}
    assert worth["price"] > 0
    shown = command("explain", "model")
    assert shown.out.startswith("arima on 'bread, rye'")
    assert "std_error" in shown.out
    assert "--future" not in shown.err  # it has no parts that a plan of prices would show


def test_explain_asks_for_the_plan_where_a_model_has_parts(command, demand: Path) -> None:
    pytest.importorskip("prophet")
    assert command("fit", demand, "-m", "prophet", "--known", "price", "-o", "model").code == 0
    assert "--future FILE" in command("explain", "model").err


def test_explain_scores_no_periods_that_the_model_was_fitted_on(command, demand: Path) -> None:
    frame = pd.read_csv(demand)
    frame[frame["ds"] < "2024-03-26"].to_csv("early.csv", index=False)
    assert command("fit", "early.csv", "-m", "seasonal_naive", "-o", "model").code == 0
    done = command("explain", "model", "--actual", demand)
    assert (done.code, done.out) == (3, "")
    assert "has 5 of 14 periods after 2024-03-25" in done.err
    assert "--horizon 5" in done.err
    assert command("explain", "model", "--actual", demand, "--horizon", "5").code == 0
    none = command("explain", "model", "--actual", "early.csv", "--horizon", "5")
    assert (none.code, "has 0 of 5 periods" in none.err) == (3, True)
    assert command("fit", "early.csv", "-m", "seasonal_naive", "-h", "5", "-o", "model").code == 0
    assert command("explain", "model", "--actual", demand).code == 0  # what it was fitted for, no more


def test_explain_says_of_a_model_that_is_silent_what_to_ask_instead(command, demand: Path) -> None:
    assert command("fit", demand, "-m", "naive", "-o", "model").code == 0
    done = command("explain", "model")
    assert done.code == 0
    assert "--actual DATA" in done.err
    assert "no series 'mild' in this model, did you mean 'milk'" in command("explain", "model", "--series", "mild").err
