"""Rolling-origin backtests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import forecastkit as fk
from forecastkit import Panel, Report, Run, execution
from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError, FitError, SeriesTooShortError, StoreError
from forecastkit.evaluation import records
from forecastkit.evaluation.backtesting import Seeing
from forecastkit.forecaster import Fitted, Forecaster

FITS: list[tuple[str, ...]] = []  # the ids that each fit of `Telling` saw


@dataclass(frozen=True, eq=False, kw_only=True)
class TellingFitted(Fitted):
    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        last = np.array([self.history.series(i)[-1] for i in range(len(self.history))])
        mean = np.repeat(last[:, None], horizon, axis=1)
        return mean, mean[..., None] + 2 * np.array(levels)


@dataclass(frozen=True, kw_only=True)
class Telling(Forecaster):
    """Forecasts the last value, tells what it was fitted on, and refuses the series called `bad`."""

    name: ClassVar[str] = "telling"
    fitted_type: ClassVar[type[Fitted]] = TellingFitted
    bad: str = ""

    def _fit(self, train: Panel, horizon: int) -> Fitted:
        FITS.append(train.ids)
        if self.bad in train.ids:
            raise FitError("it is bad", model=self.name, series=self.bad)
        return TellingFitted(recipe=self, history=train)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()


@pytest.fixture(autouse=True)
def _forget() -> None:
    FITS.clear()


@pytest.fixture
def level_shop() -> Panel:
    """Three series that end together; each value is its day's number, so that a forecast tells its cutoff."""
    days = pd.date_range("2024-01-01", periods=40)
    return Panel.from_frame(
        pd.concat([pd.DataFrame({"unique_id": f"s{k}", "ds": days, "y": np.arange(40.0)}) for k in range(3)])
    )


def test_every_model_forecasts_every_step_of_every_window(weekly_shop: Panel) -> None:
    report = fk.backtest(weekly_shop, ["naive", "seasonal_naive"], horizon=5, windows=3, step=2)
    rows = report.forecasts
    assert len(rows) == 2 * 3 * 5 * 3
    assert rows.groupby(["model", "series", "window"])["step"].apply(list).map(lambda s: s == [1, 2, 3, 4, 5]).all()
    assert rows["y"].notna().all()
    assert (rows["time"] - rows["cutoff"] == pd.to_timedelta(rows["step"], unit="D")).all()


def test_a_forecast_is_made_from_what_was_known_at_the_cutoff(level_shop: Panel) -> None:
    rows = fk.backtest(level_shop, [Telling()], horizon=3, windows=2, gap=2).forecasts
    assert sorted(set(rows["mean"])) == [31.0, 34.0]
    assert sorted(set(rows["step"])) == [3, 4, 5]
    np.testing.assert_array_equal(rows["y"], rows["mean"] + rows["step"])


def test_scores_agree_with_the_metrics_computed_by_hand(level_shop: Panel) -> None:
    board = fk.backtest(level_shop, [Telling()], horizon=3, season=1, levels=(0.5,)).leaderboard().iloc[0]
    median_errors = np.array([0.0, 1.0, 2.0])  # the model's median is a unit above its mean
    y = np.array([37.0, 38.0, 39.0])
    assert board["mase"] == pytest.approx(median_errors.mean())
    assert board["rmsse"] == pytest.approx(np.sqrt((np.array([1.0, 2.0, 3.0]) ** 2).mean()))
    assert board["wape"] == pytest.approx(median_errors.sum() / y.sum())
    assert board["bias"] == pytest.approx(-6.0 / y.sum())
    assert board["smape"] == pytest.approx((200 * median_errors / (y + 37)).mean())
    assert board["wql"] == pytest.approx(median_errors.sum() / y.sum())


def test_the_number_of_processes_changes_no_number(weekly_shop: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_SOON", 0.0)
    plan = {"horizon": 7, "windows": 2}
    one = fk.backtest(weekly_shop, ["seasonal_naive", "naive"], **plan).forecasts
    two = fk.backtest(weekly_shop, ["seasonal_naive", "naive"], **plan, run=Run(jobs=2)).forecasts
    pd.testing.assert_frame_equal(one, two)


def test_refit_never_estimates_once_and_moves_on(level_shop: Panel) -> None:
    rows = fk.backtest(level_shop, [Telling()], horizon=3, windows=4, refit=0).forecasts
    assert len(FITS) == 3  # one chunk a series in a small panel
    assert sorted(set(rows["mean"])) == [27.0, 30.0, 33.0, 36.0]
    FITS.clear()
    fk.backtest(level_shop, [Telling()], horizon=3, windows=4, refit=2)
    assert len(FITS) == 6


def test_a_fixed_history_is_all_that_a_model_sees(weekly_shop: Panel) -> None:
    short = fk.backtest(weekly_shop, ["historic_mean"], horizon=5, history=10).forecasts
    i = weekly_shop.ids.index("shop 0")
    expected = weekly_shop.series(i)[-15:-5].mean()
    assert short.loc[short["series"] == "shop 0", "mean"].to_numpy() == pytest.approx(np.full(5, expected))


def test_a_failing_series_falls_back_to_seasonal_naive_and_is_listed(weekly_shop: Panel) -> None:
    report = fk.backtest(weekly_shop, [Telling(bad="shop 1"), "seasonal_naive"], horizon=7)
    failures = report.failures
    assert failures[["model", "series"]].to_numpy().tolist() == [["telling:bad=shop 1", "shop 1"]]
    assert "it is bad" in failures["reason"].iloc[0]
    rows = report.forecasts.pivot(index=["series", "time"], columns="model", values="mean")
    same = np.isclose(rows["telling:bad=shop 1"], rows["seasonal_naive"]).reshape(3, 7).all(axis=1)
    assert same.tolist() == [False, True, False]
    board = report.leaderboard().set_index("model")
    assert board.loc["telling:bad=shop 1", "failed"] == 1
    assert board.loc["seasonal_naive", "failed"] == 0


def test_strict_makes_a_failing_series_an_error(weekly_shop: Panel) -> None:
    with pytest.raises(FitError, match="shop 1"):
        fk.backtest(weekly_shop, [Telling(bad="shop 1")], horizon=7, run=Run(strict=True))


def test_a_run_that_was_stopped_goes_on_and_computes_no_window_again(level_shop: Panel, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int, what: str) -> None:
        if done == 4:
            raise Stop

    folder = tmp_path / "run"
    with pytest.raises(Stop):
        fk.backtest(level_shop, [Telling()], horizon=3, windows=2, run=Run(folder=folder, progress=stop))
    first = len(FITS)
    FITS.clear()
    report = fk.backtest(level_shop, [Telling()], horizon=3, windows=2, run=Run(folder=folder, resume=True))
    assert (first, len(FITS)) == (4, 2)
    pd.testing.assert_frame_equal(
        report.forecasts, fk.backtest(level_shop, [Telling()], horizon=3, windows=2).forecasts
    )


class Stop(Exception):
    """In place of Ctrl-C."""


def stopped(panel: Panel, folder: Path, tasks: int) -> None:
    """A run of two models, two windows and three chunks each, that ends after so many of the twelve tasks."""

    def stop(done: int, total: int, what: str) -> None:
        if done == tasks:
            raise Stop

    with pytest.raises(Stop):
        fk.backtest(panel, ["naive", Telling()], horizon=3, windows=2, run=Run(folder=folder, progress=stop))


@pytest.mark.parametrize(("tasks", "there"), [(6, 0), (7, 0), (8, 0), (9, 0), (11, 1)])
@pytest.mark.parametrize("told", [True, False])
def test_a_model_that_is_not_whole_is_left_out_and_named(
    level_shop: Panel, tmp_path: Path, tasks: int, there: int, told: bool
) -> None:
    stopped(level_shop, tmp_path / "run", tasks)
    if not told:  # as a run of an older version is
        file = tmp_path / "run" / "backtest.json"
        file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "taking_part"}))
    report = Report.read(tmp_path / "run")
    assert report.models == ("naive",)
    assert report.unfinished == {"telling": f"{there} of 2 windows {'is' if there == 1 else 'are'} whole"}
    assert report.leaderboard()["model"].tolist() == ["naive"]
    assert set(report.forecasts["model"]) == {"naive"}
    assert report.summary()["unfinished"] == report.unfinished


def test_where_no_model_is_whole_yet_it_says_how_to_go_on(level_shop: Panel, tmp_path: Path) -> None:
    stopped(level_shop, tmp_path / "run", 2)
    with pytest.raises(StoreError, match=r"no model is finished here \(naive: 0 of 2 windows.*--resume"):
        Report.read(tmp_path / "run")


def test_a_run_that_went_on_is_whole(level_shop: Panel, tmp_path: Path) -> None:
    stopped(level_shop, tmp_path / "run", 7)
    resumed = fk.backtest(
        level_shop, ["naive", Telling()], horizon=3, windows=2, run=Run(folder=tmp_path / "run", resume=True)
    )
    assert (resumed.models, resumed.unfinished) == (("naive", "telling"), {})


def test_a_folder_with_another_backtest_is_not_touched(level_shop: Panel, tmp_path: Path) -> None:
    fk.backtest(level_shop, ["naive"], horizon=3, run=Run(folder=tmp_path / "run"))
    with pytest.raises(ConfigError, match="resume"):
        fk.backtest(level_shop, ["naive"], horizon=3, run=Run(folder=tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"ask for plan horizon 3 \(not 4\)"):
        fk.backtest(level_shop, ["naive"], horizon=4, run=Run(folder=tmp_path / "run", resume=True))
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").write_text("mine")
    with pytest.raises(StoreError, match="not empty"):
        fk.backtest(level_shop, ["naive"], horizon=3, run=Run(folder=tmp_path / "else"))


def test_two_processes_can_not_work_in_one_folder(level_shop: Panel, tmp_path: Path) -> None:
    with records.locked(tmp_path / "run"), pytest.raises(StoreError, match="another process"):
        fk.backtest(level_shop, ["naive"], horizon=3, run=Run(folder=tmp_path / "run"))


def test_a_report_is_read_again_from_its_folder(level_shop: Panel, tmp_path: Path) -> None:
    report = fk.backtest(
        level_shop, ["naive", "seasonal_naive"], horizon=3, windows=2, run=Run(folder=tmp_path / "run")
    )
    again = Report.read(tmp_path / "run")
    pd.testing.assert_frame_equal(report.leaderboard(), again.leaderboard())
    assert not (tmp_path / "run" / "panel").exists()


def test_scores_do_not_ask_how_many_rows_are_read_at_once(weekly_shop: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    report = fk.backtest(weekly_shop, ["naive", "seasonal_naive"], horizon=7, windows=4)
    for by in ("model", ["model", "window"], ["model", "step"], ["series", "time"]):
        together = Report.read(report.folder).scores(by)
        with monkeypatch.context() as patch:
            patch.setattr("forecastkit.evaluation.report._BATCH", 1)
            pd.testing.assert_frame_equal(Report.read(report.folder).scores(by), together)


def test_scores_can_be_grouped(weekly_shop: Panel) -> None:
    report = fk.backtest(weekly_shop, ["naive", "seasonal_naive"], horizon=7, windows=2)
    by_step = report.scores(["model", "step"])
    assert len(by_step) == 14
    assert report.scores("series")["cells"].tolist() == [4, 4, 4]
    pooled = by_step[by_step["model"] == "naive"]["mae"].mean()
    assert pooled == pytest.approx(report.scores().set_index("model").loc["naive", "mae"])
    with pytest.raises(ConfigError, match="did you mean 'step'"):
        report.scores("steps")


def test_a_period_without_a_value_or_not_on_offer_is_not_scored() -> None:
    days = pd.date_range("2024-01-01", periods=30)
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": 5.0, "on": 1})
    frame.loc[28, ["y", "on"]] = [0.0, 0]
    panel = Panel.from_frame(frame, available="on")
    report = fk.backtest(panel, ["naive"], horizon=3)
    assert report.forecasts["y"].isna().tolist() == [False, True, False]
    assert report.leaderboard()["wape"].iloc[0] == 0.0


def test_known_covariates_of_the_future_reach_the_model(level_shop: Panel) -> None:
    frame = level_shop.to_frame().assign(price=lambda f: f["y"] * 2)
    seen: list[Floats | None] = []

    class WatchingFitted(TellingFitted):
        def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
            seen.append(future)
            return super()._predict(horizon, levels, future)

    @dataclass(frozen=True, kw_only=True)
    class Watching(Telling):
        name: ClassVar[str] = "watching"
        uses: ClassVar[frozenset[str]] = frozenset({"known"})
        pooled: ClassVar[bool] = True

        def _fit(self, train: Panel, horizon: int) -> Fitted:
            return WatchingFitted(recipe=self, history=train)

    fk.backtest(Panel.from_frame(frame, known="price"), [Watching()], horizon=3)
    assert seen[0] is not None
    np.testing.assert_array_equal(seen[0][:, :, 0], [[74.0, 76.0, 78.0]] * 3)


def test_a_horizon_longer_than_the_history_is_an_error_before_any_work(level_shop: Panel) -> None:
    with pytest.raises(SeriesTooShortError):
        fk.backtest(level_shop, [Telling()], horizon=50)
    assert not FITS


def test_no_model_or_one_twice_is_refused(level_shop: Panel) -> None:
    with pytest.raises(ConfigError, match="no models"):
        fk.backtest(level_shop, [], horizon=3)
    with pytest.raises(ConfigError, match="twice"):
        fk.backtest(level_shop, ["naive", "naive"], horizon=3)


def test_an_executor_of_ones_own_does_the_work(weekly_shop: Panel) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        report = fk.backtest(weekly_shop, ["naive"], horizon=7, run=Run(executor=pool))
    pd.testing.assert_frame_equal(report.forecasts, fk.backtest(weekly_shop, ["naive"], horizon=7).forecasts)


def test_seasonal_naive_reaches_the_known_figures(shared_data: Path) -> None:
    for name, horizon, season, mase, smape in (
        ("m4_hourly", 48, 24, 1.193, 13.912),
        ("m5_foods_ca_top500_daily", 28, 7, 0.981, 66.81),
        ("stallion_monthly", 6, 12, 1.931, 56.20),
    ):
        panel = fk.read(shared_data / f"{name}.parquet")
        board = fk.backtest(panel, ["seasonal_naive"], horizon=horizon, season=season).leaderboard()
        assert board["mase"].iloc[0] == pytest.approx(mase, abs=6e-4)
        assert board["smape"].iloc[0] == pytest.approx(smape, abs=6e-3)


def test_a_model_that_failed_on_every_series_has_no_scores_and_stands_last(weekly_shop: Panel) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Hopeless(Telling):
        name: ClassVar[str] = "hopeless"

        def _fit(self, train: Panel, horizon: int) -> Fitted:
            raise FitError("never works", model=self.name)

    board = fk.backtest(weekly_shop, [Hopeless(), "naive"], horizon=7).leaderboard()
    assert board["model"].tolist() == ["naive", "hopeless"]
    assert board["failed"].tolist() == [0, 3]
    assert board["mase"].isna().tolist() == [False, True]


def test_what_is_no_panel_is_refused_with_the_way_to_make_one(weekly_shop: Panel) -> None:
    from forecastkit.errors import DataError

    table = weekly_shop.to_frame()
    for call in (
        lambda: fk.backtest(table, ["naive"], horizon=3),  # type: ignore[arg-type]
        lambda: fk.create("naive").fit(table),  # type: ignore[arg-type]
        lambda: fk.create("naive").fit(weekly_shop).update(table),  # type: ignore[arg-type]
    ):
        with pytest.raises(DataError, match=r"Panel\.from_frame"):
            call()
    with pytest.raises(ConfigError, match="needs horizon"):
        fk.backtest(weekly_shop, ["naive"])
    with pytest.raises(ConfigError, match="no option 'windw', did you mean 'window'"):
        fk.create("window_average", windw=3)


def test_a_model_that_fails_in_one_window_keeps_the_scores_of_the_others(weekly_shop: Panel) -> None:
    first: list[str] = []

    @dataclass(frozen=True, kw_only=True)
    class Late(Telling):
        name: ClassVar[str] = "late"

        def _fit(self, train: Panel, horizon: int) -> Fitted:
            if len(first) < 3:
                first.extend(train.ids)
                raise FitError("not yet", model=self.name)
            return super()._fit(train, horizon)

    report = fk.backtest(weekly_shop, [Late()], horizon=7, windows=2)
    board = report.leaderboard()
    assert (board["failed"].iloc[0], board["mase"].notna().iloc[0]) == (2, True)


@pytest.mark.parametrize("named", [True, False])
def test_a_series_that_fails_when_it_is_forecast_loses_no_other(weekly_shop: Panel, named: bool) -> None:
    class FragileFitted(TellingFitted):
        def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
            if "shop 1" in self.history.ids:
                raise FitError("no forecast", model="fragile", series="shop 1" if named else None)
            return super()._predict(horizon, levels, future)

    @dataclass(frozen=True, kw_only=True)
    class Fragile(Telling):
        name: ClassVar[str] = "fragile"
        pooled: ClassVar[bool] = True

        def _fit(self, train: Panel, horizon: int) -> Fitted:
            return FragileFitted(recipe=self, history=train)

    report = fk.backtest(weekly_shop, [Fragile()], horizon=7)
    assert report.failures["series"].tolist() == (["shop 1"] if named else ["shop 0", "shop 1", "shop 2"])
    assert report.forecasts["mean"].notna().all()


def many(count: int, bad: int) -> Panel:
    """So many series of 30 days, the first `bad` of them with a gap."""
    days = pd.date_range("2024-01-01", periods=30)
    y = np.arange(30.0) + np.arange(count)[:, None]
    y[:bad, 10] = np.nan
    return Panel.from_frame(
        pd.concat([pd.DataFrame({"unique_id": f"{k:03}", "ds": days, "y": row}) for k, row in enumerate(y)])
    )


@pytest.mark.parametrize(("at", "together"), [("fit", True), ("fit", False), ("predict", True), ("predict", False)])
def test_however_many_series_are_bad_the_others_are_forecast(at: str, together: bool) -> None:
    def refuse(panel: Panel) -> None:
        FITS.append(panel.ids)
        bad = [name for name in panel.ids if name < "030"]
        if bad:
            raise FitError("it is bad", model="picky", series=bad[0], every=bad if together else ())

    class PickyFitted(TellingFitted):
        def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
            if at == "predict":
                refuse(self.history)
            return super()._predict(horizon, levels, future)

    @dataclass(frozen=True, kw_only=True)
    class Picky(Telling):
        name: ClassVar[str] = "picky"
        pooled: ClassVar[bool] = True

        def _fit(self, train: Panel, horizon: int) -> Fitted:
            if at == "fit":
                refuse(train)
            return PickyFitted(recipe=self, history=train)

    report = fk.backtest(many(40, 0), [Picky()], horizon=5)
    assert report.failures["series"].tolist() == [f"{k:03}" for k in range(30)]
    assert len(FITS) == (2 if together else 31)


def test_a_model_that_needs_whole_series_names_all_with_gaps_at_once() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Whole(Telling):
        name: ClassVar[str] = "wholes"
        pooled: ClassVar[bool] = True
        handles_gaps: ClassVar[bool] = False

    report = fk.backtest(many(40, 25), [Whole()], horizon=5)
    assert report.failures["series"].nunique() == 25
    assert report.failures["reason"].str.contains(r"series '000' has some \(25 such\)").all()
    assert len(FITS) == 1


def test_a_model_that_names_a_series_again_and_again_has_failed_on_all(weekly_shop: Panel) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Stubborn(Telling):
        name: ClassVar[str] = "stubborn"
        pooled: ClassVar[bool] = True

        def _fit(self, train: Panel, horizon: int) -> Fitted:
            raise FitError("it is bad", model=self.name, series="shop 1")

    assert len(fk.backtest(weekly_shop, [Stubborn()], horizon=7).failures) == 3


def test_nothing_to_score_is_a_leaderboard_without_scores() -> None:
    days = pd.date_range("2024-01-01", periods=30)
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": range(30), "on": [1] * 27 + [0] * 3})
    board = fk.backtest(Panel.from_frame(frame, available="on"), ["naive"], horizon=3).leaderboard()
    assert board["mase"].isna().all()
    assert board["series"].tolist() == [0]


def test_a_fixed_history_is_kept_when_models_are_only_updated(weekly_shop: Panel) -> None:
    plan = {"horizon": 5, "windows": 3, "history": 30}
    always, never = (fk.backtest(weekly_shop, ["historic_mean"], refit=r, **plan).forecasts for r in (1, 0))
    np.testing.assert_allclose(always["mean"], never["mean"])


def test_a_pooled_model_takes_series_that_begin_after_it_was_fitted() -> None:
    days = pd.date_range("2024-01-01", periods=60)
    old = pd.DataFrame({"unique_id": "old", "ds": days, "y": np.arange(60.0)})
    new = pd.DataFrame({"unique_id": "new", "ds": days[-16:], "y": 5.0})

    @dataclass(frozen=True, kw_only=True)
    class Pooled(Telling):
        name: ClassVar[str] = "pooling"
        pooled: ClassVar[bool] = True

    report = fk.backtest(Panel.from_frame(pd.concat([old, new])), [Pooled()], horizon=5, windows=4, refit=0)
    assert report.failures.empty
    assert set(report.forecasts["series"]) == {"old", "new"}


def test_series_that_end_apart_are_told_of(weekly_shop: Panel, caplog: pytest.LogCaptureFixture) -> None:
    apart = Panel.from_frame(pd.concat([weekly_shop.to_frame(), _one_day_more(weekly_shop)]))
    fk.backtest(apart, ["naive"], horizon=3)
    assert "series end at different times" in caplog.text


def _one_day_more(panel: Panel) -> pd.DataFrame:
    day = pd.to_datetime(panel.calendar.texts(panel.ends[:1] + 1))
    return pd.DataFrame({"unique_id": panel.ids[0], "ds": day, "y": 1.0})


def test_a_full_disk_leaves_no_half_of_the_panel(weekly_shop: Panel, tmp_path: Path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("80000 requested and 25072 written")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StoreError, match="is the disk full"):
        fk.backtest(weekly_shop, ["naive"], horizon=3, run=Run(folder=tmp_path / "run"))
    assert not list((tmp_path / "run").rglob("*.npy"))
    assert not (tmp_path / "run" / "panel").exists()


def test_times_of_a_zoned_panel_carry_their_zone() -> None:
    hours = pd.date_range("2024-03-30", periods=72, freq="h", tz="Europe/Berlin")
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": hours, "y": np.arange(72.0)}))
    rows = fk.backtest(panel, ["naive"], horizon=4).forecasts
    assert list(rows["time"]) == list(hours[-4:])


@dataclass(frozen=True, kw_only=True)
class Compiling(Telling):
    name: ClassVar[str] = "compiling"
    compiled: ClassVar[bool] = True  # type: ignore[assignment]


def test_what_is_compiled_is_fitted_on_one_series_before_seconds_are_counted(weekly_shop: Panel, monkeypatch) -> None:
    measured, whole = [], execution.measured

    def noting():
        measured.append(len(FITS))
        return whole()

    monkeypatch.setattr(execution, "measured", noting)
    fk.backtest(weekly_shop, [Compiling()], horizon=7, windows=2)
    assert (measured[0], FITS[0]) == (1, ("shop 0",))
    assert len(FITS) == 1 + 2 * len(weekly_shop)  # once for all


def test_the_time_of_a_call_is_measured_where_asked_and_no_model_beats_the_front(weekly_shop: Panel) -> None:
    names = ["naive", "seasonal_naive"]
    plain = fk.backtest(weekly_shop, names, horizon=7, windows=2, season=7)
    assert plain.costs()["p95_ms"].isna().all()
    timed = fk.backtest(weekly_shop, names, horizon=7, windows=2, season=7, run=Run(latency=True))
    assert (timed.costs()["p95_ms"] > 0).all()
    measured = timed.timings.set_index("window")["p95_ms"]
    assert measured[0].isna().all()
    board = timed.leaderboard().set_index("model")
    assert board.loc["seasonal_naive", "front"]  # the best one always is
    assert board.loc["seasonal_naive", "cpu_s"] >= 0


def test_what_a_run_keeps_is_json_for_everybody(weekly_shop: Panel, tmp_path: Path) -> None:
    report = fk.backtest(weekly_shop, ["naive"], horizon=7, run=Run(folder=tmp_path / "run"))
    (first, *_) = sorted((report.folder / "parts").rglob("*.parquet"))
    assert b"NaN" not in pq.read_schema(first).metadata[b"forecastkit"]
    assert np.isnan(report.costs()["p95_ms"]).all()


def test_a_recipe_that_sees_less_is_scored_on_the_same_demand() -> None:
    days = pd.date_range("2024-01-01", periods=30)
    on = np.arange(30) % 5 > 0
    table = pd.DataFrame({"unique_id": "a", "ds": days, "y": 10.0 * on, "on": on, "price": 1.0})
    panel = Panel.from_frame(table, known=["price"], available="on")
    recipe = fk.create("historic_mean")
    entries = {"all": recipe, "told": Seeing(recipe, (), available=True), "untold": Seeing(recipe, ("price",))}
    found = fk.backtest(panel, entries, horizon=5, windows=2).forecasts
    assert found.groupby("model")["y"].count().tolist() == [8, 8, 8]
    means = found.groupby("model")["mean"].mean()
    assert (means["all"], means["told"]) == (10.0, 10.0)
    assert means["untold"] == pytest.approx(8.0)
