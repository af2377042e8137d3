"""The HTML report: what is in it, that it needs nothing else, and how it looks in a browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import forecastkit as fk
from forecastkit import Panel, Report, Run
from forecastkit.errors import ConfigError, MissingExtraError
from forecastkit.evaluation import records
from forecastkit.evaluation.explaining import explain
from forecastkit.forecaster import Explanation

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

pytestmark = pytest.mark.xdist_group("page")  # what takes long here is made once for all
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ODD = ("<b>$x_1$</b>", "Müller & Söhne", "🧀")


def shop(series: int) -> Panel:
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=90)
    season = 20 + 8 * np.sin(2 * np.pi * np.arange(90) / 7)
    names = [*ODD, *(f"s{k:03}" for k in range(len(ODD), series))]
    frames = [
        pd.DataFrame({"unique_id": n, "ds": days, "y": np.round(season + rng.normal(0, 4, 90)), "shop": "AB"[k % 2]})
        for k, n in enumerate(names)
    ]
    return Panel.from_frame(pd.concat(frames), static=["shop"])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    run = Run(folder=tmp_path_factory.mktemp("runs") / "run", name="shop", command="forecastkit backtest 'a b.csv'")
    models = {name: fk.create(name, season=7) for name in ("seasonal_naive", "naive", "window_average", "ets")}
    panel = shop(30)
    report = fk.backtest(panel, models, horizon=7, windows=2, calibrate=3, run=run)
    explain(report, panel, models, ["best", "ets"])
    return report


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report.to_html()


def test_the_page_has_every_section_and_what_was_run(page: str, report: Report) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        *("Leaderboard", "Is the difference real?", "Where it fails", "Intervals"),
        *("Series, worst and typical", "Why it says so", "What it costs", "The data", "How this was made"),
    ]
    for words in (
        report.head["data"]["fingerprint"],
        report.head["versions"]["numpy"],
        "volume decile",
        "tracking signal",
        "demand 2 to 7 back",
        "alpha",
        "on the front",
    ):
        assert words in page
    assert html.escape("forecastkit backtest 'a b.csv'", quote=True).replace("&#x27;", "&#39;") in page
    best = report.leaderboard().iloc[0]
    assert f"{best['model']} is the most accurate: MASE {best['mase']:.3f}" in page


def test_few_series_are_not_cut_into_segments_of_one(report: Report) -> None:
    from forecastkit.evaluation.page import _segments

    assert _segments(report) == ["volume_decile", "shop"]
    few = fk.backtest(shop(12), ["naive"], horizon=7)
    assert _segments(few) == ["shop"]


def test_intervals_that_do_not_keep_their_promise_are_said_at_the_top() -> None:
    from forecastkit.evaluation.page import _reach

    assert "too narrow: they hold 60% of what came and promise 80%" in _reach((0.1, 0.5, 0.9), 0.6, 0.6)
    assert "too wide" in _reach((0.1, 0.5, 0.9), 0.9, 0.9)
    assert _reach((0.1, 0.5, 0.9), 0.76, 0.76) == _reach((0.5,), 0.0, 0.0) == _reach((0.1, 0.9), np.nan, np.nan) == ""
    assert _reach((0.1, 0.9), 0.93, 0.4) == ""  # counts, of which half lie on a bound


def test_the_page_needs_nothing_else_and_runs_nothing(page: str) -> None:
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!\#)""", page)
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)


def test_every_chart_has_words_for_those_who_can_not_see_it_and_ids_of_its_own(page: str) -> None:
    charts = re.findall(r'<div role="img" aria-label="(.*?)">\s*<svg', page)
    assert len(charts) == page.count("<svg") > 8
    assert all(len(words) > 20 for words in charts)
    ids = re.findall(r'\bid="(.*?)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#(.*?)"', page)) | set(re.findall(r"url\(#(.*?)\)", page)) <= set(ids)


def test_names_are_text_and_never_markup_or_mathematics(page: str) -> None:
    assert "<b>$x_1$</b>" not in page
    assert "&lt;b&gt;$x_1$&lt;/b&gt;" in page


def test_no_stand_in_colour_is_left_and_text_can_be_read_in_light_and_dark(page: str) -> None:
    assert "#aa0" not in page
    assert all("fill: var(--ink)" in text for text in re.findall(r"<text .*?>", page))
    assert "mathdefault" not in page  # how powers of ten would be written for another way of setting text
    themes = re.findall(r":root \{(.*?)\}", page, flags=re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"(--[a-z0-9]+): (#[0-9a-f]+)", theme))
        for name in ("--ink", "--soft", *(f"--c{k}" for k in range(6))):
            assert contrast(colours[name], colours["--paper"]) >= 4.5, name
        assert contrast(colours["--faint"], colours["--paper"]) >= 3


def contrast(first: str, second: str) -> float:
    """The ratio of WCAG 2.2, section 1.4.3."""
    low, high = sorted(luminance(colour) for colour in (first, second))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * d for d in colour[1:])
    channels = np.array([int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)])
    return float(
        np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    )


def test_the_same_report_makes_the_same_page(page: str, report: Report) -> None:
    assert Report.read(report.folder).to_html() == page


def test_a_page_of_an_interrupted_run_names_the_models_that_are_not_on_it(report: Report, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(report.folder, folder)
    records.part_file(folder, "ets", 4, 3).unlink()
    text = Report.read(folder).to_html()
    assert "Left out, as the run was interrupted: ets (4 of 5 windows are whole)." in text
    assert "Left out" not in report.to_html()


def test_one_model_on_one_series_in_one_window_makes_a_page_too(tmp_path: Path) -> None:
    panel = shop(3).take([0])
    text = fk.backtest(panel, ["naive"], horizon=7).to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text("utf-8") == text
    assert "naive is the most accurate" in text
    assert "Charts show the best model;" in text


def test_a_static_column_may_be_called_like_a_sum_or_a_quantile_and_like_a_score_it_is_refused() -> None:
    frame = (
        shop(30).to_frame().rename(columns={"shop": "rows"}).assign(q1=lambda f: f["rows"], width=lambda f: f["rows"])
    )
    panel = Panel.from_frame(frame, static=["rows", "q1", "width"])
    report = fk.backtest(panel, ["naive", "seasonal_naive"], horizon=7)
    for by in ("rows", "q1"):
        whole, steps = report.scores(["model", by]), report.scores(["model", by, "step"])
        assert sorted(whole[by]) == ["A", "A", "B", "B"]
        means = steps.groupby(["model", by], sort=False)["mae"].mean()
        assert means.to_numpy() == pytest.approx(whole["mae"].to_numpy())
    with pytest.raises(ConfigError, match="'width' is called as a score"):
        report.scores("width")
    page = report.to_html()
    assert "Error by rows" in page
    assert "Error by width" not in page


@pytest.mark.parametrize("freq", ["h", "D", "W", "MS", "YS"])
@pytest.mark.parametrize("periods", [3, 24, 40, 90])
def test_demand_of_any_pace_and_length_has_a_few_dates_under_it(freq: str, periods: int) -> None:
    from forecastkit.evaluation.charts import Charts, Fan

    times, y = pd.date_range("2020-01-01", periods=periods, freq=freq).to_numpy(), np.arange(float(periods))
    fan = Fan(times[:-2], y[:-2], times[-2:], y[-2:], y[-2:], None, None, None)
    svg = Charts().fan(fan, "naive").svg  # a complaint of matplotlib is an error here
    assert 2 <= len(re.findall(r'id="v0-xtick_\d+"', svg)) <= 5


def test_the_parts_of_a_forecast_are_drawn_and_those_of_nobody_are_not(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = np.arange("2024-04-01", "2024-04-08", dtype="M8[D]").astype("M8[us]")
    parts = {"trend": np.full(7, 20.0), "weekly": np.arange(7.0), "holidays": np.zeros(7)}
    told = Explanation("s003", "linear trend", {"price": (-2.0, 0.5)}, times, parts)
    monkeypatch.setattr(Report, "explanations", lambda report: {"prophet": told})
    page = report.to_html()
    assert "weekly from 0 to 6" in page
    assert "<td>-2</td><td>0.5</td>" in page
    monkeypatch.setattr(Report, "explanations", lambda report: {})
    monkeypatch.setattr(Report, "importance", lambda report: pd.DataFrame(columns=["model"]))
    assert "Why it says so" not in report.to_html()


def test_nothing_to_score_makes_a_page_that_says_so() -> None:
    days = pd.date_range("2024-01-01", periods=30)
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": range(30), "on": [1] * 27 + [0] * 3})
    text = fk.backtest(Panel.from_frame(frame, available="on"), ["naive"], horizon=3).to_html()
    assert "No model has a score" in text


def test_a_missing_extra_is_named(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    import forecastkit.evaluation.page

    monkeypatch.delitem(sys.modules, "forecastkit.evaluation.page")
    monkeypatch.delattr(forecastkit.evaluation, "page")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"forecastkit\[report\]"):
        report.to_html()


@pytest.mark.slow
def test_five_hundred_series_stay_below_three_megabytes(tmp_path: Path) -> None:
    report = fk.backtest(shop(500), ["seasonal_naive", "naive"], horizon=7, windows=2)
    report.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 3_000_000


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed here to open the page in")
@pytest.mark.parametrize("width", [375, 1200])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_shows_the_page_without_complaint_and_without_overflow(
    page: str, tmp_path: Path, width: int, theme: str
) -> None:
    measured = """<script>
        const paper = getComputedStyle(document.body).backgroundColor, wide = document.documentElement.scrollWidth
        document.body.dataset.found = [wide <= innerWidth, innerWidth, paper]
    </script></body>"""
    file = tmp_path / "page.html"
    file.write_text(framed(page.replace("</body>", measured), width), "utf-8")
    done = subprocess.run(
        [
            *(
                str(CHROMIUM),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={tmp_path / 'profile'}",
            ),
            *(f"--blink-settings=preferredColorScheme={1 if theme == 'light' else 0}", "--enable-logging=stderr"),
            *("--virtual-time-budget=3000", "--window-size=1400,1000", "--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (found,) = re.findall(r'data-seen="(.*?)"', done.stdout)
    paper = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[theme]
    assert found == f"true,{width},{paper}"
    assert ":CONSOLE" not in done.stderr


def framed(page: str, width: int) -> str:
    """The page in a frame as wide as a phone or a desk: a window of the browser can't be that narrow."""
    return f"""<!doctype html><html><body><iframe id="frame" width="{width}" height="900" style="border: 0"
        srcdoc="{html.escape(page)}"></iframe><script>
        const frame = document.getElementById("frame")
        frame.onload = () => {{ document.body.dataset.seen = frame.contentDocument.body.dataset.found }}
        </script></body></html>"""
