"""The HTML report: one file that needs nothing else, for people who were not there.

What it says is gathered here as sections of words, tables and charts; `report.html` lays them out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pandas as pd

from forecastkit import recipes
from forecastkit.data.screening import in_words
from forecastkit.errors import counted
from forecastkit.evaluation import comparison
from forecastkit.evaluation.charts import COLOURS, Chart, Charts, Fan
from forecastkit.evaluation.scores import COLUMNS
from forecastkit.evaluation.segments import THIRD

if TYPE_CHECKING:
    from forecastkit.evaluation.report import Report
    from forecastkit.forecaster import Explanation

_TEMPLATE = Path(__file__).with_name("report.html")
_SHOWN = 4  # worst series, and as many typical ones
_MOST = 12  # values of a segment that still make a chart
_CROWD = 3  # series a value, on average, below which it says no more than the series do
_OFF = 0.05  # of coverage, which is worth a word at the top


@dataclass(frozen=True)
class Table:
    """Cells as text; `texts` are the columns that are words and stand on the left."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: tuple[int, ...] = (0,)
    first: bool = False  # the first row is the best


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    words: str = ""
    tables: Sequence[Table] = ()
    charts: Sequence[tuple[Chart, str]] = ()


@dataclass(frozen=True)
class _Page:
    """A report and what several sections need of it."""

    report: Report
    board: pd.DataFrame
    draw: Charts = field(default_factory=Charts)
    _found: dict[str, pd.DataFrame] = field(default_factory=dict)

    def scores(self, by: str) -> pd.DataFrame:
        """Scores of each model by a column, looked for once."""
        if by not in self._found:
            self._found[by] = self.report.scores(list(dict.fromkeys(["model", by]))).sort_values(by)
        return self._found[by]

    def reliability(self) -> pd.DataFrame:
        """What each level covers, looked for once."""
        if "level" not in self._found:
            self._found["level"] = self.report.reliability()
        return self._found["level"]

    def mase(self, by: str) -> pd.DataFrame:
        """MASE with a row a value of `by` and a column a model that has a colour."""
        return self.scores(by).pivot(index=by, columns="model", values="mase")[self.coloured]

    @property
    def models(self) -> list[str]:
        """Models that have scores, best first."""
        return list(self.board.loc[self.board["mase"].notna(), "model"])

    @property
    def coloured(self) -> list[str]:
        """As many of them as a chart has colours."""
        return self.models[:COLOURS]

    @property
    def best(self) -> str:
        return self.models[0]


def render(report: Report) -> str:
    """The whole page."""
    page = _Page(report, report.leaderboard())
    plan, data = report.head["plan"], report.head["data"]
    subtitle = (
        f"{data['series']:,} series of frequency {data['freq']} · horizon {plan['horizon']} · "
        f"{counted(plan['windows'], 'window')}, the last after {report.head['cutoffs'][-1]} · season {plan['season']}"
    )
    sections = [section for section in _sections(page) if section.tables or section.charts]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        data=data,
        subtitle=subtitle,
        verdict=_verdict(page) + _unfinished(report),
        sections=sections,
        command=report.head.get("command") or "run from Python; the recipes are below",
        facts=list(_facts(report)),
    )


def _verdict(page: _Page) -> str:
    if not page.models:
        return "No model has a score: nothing came in the periods forecast, or every model failed."
    best = page.board.iloc[0]
    words = f"{best['model']} is the most accurate: MASE {best['mase']:.3f}"
    if np.isfinite(best["mase_low"]):
        words += f" ({best['mase_low']:.3f} to {best['mase_high']:.3f} at 95 %)"
    baseline = page.report.head["baseline"]
    if np.isfinite(best["skill"]) and best["model"] != baseline:
        words += f", {abs(best['skill']):.1%} {'better' if best['skill'] >= 0 else 'worse'} than {baseline}"
    words += "."
    others = list(page.board.loc[page.board["with_best"], "model"][1:])
    if len(page.models) > 1:
        words += (
            f" {', '.join(others)} can't be told from it." if others else " The others are worse by more than chance."
        )
    return words + _reach(page.report.head["levels"], best["coverage"], _inside(page))


def _unfinished(report: Report) -> str:
    """Which models of an interrupted run are not on the page."""
    left = ", ".join(f"{model} ({there})" for model, there in report.unfinished.items())
    return f" Left out, as the run was interrupted: {left}." if left else ""


def _inside(page: _Page) -> float:
    """The share of what came that lies within the best model's intervals and not on their bounds."""
    table = page.reliability()
    levels = table[table["model"] == page.best].sort_values("level")
    return float(levels["below"].iloc[-1] - levels["at_most"].iloc[0]) if len(levels) else float("nan")


def _reach(levels: Sequence[float], coverage: float, inside: float) -> str:
    """How far the best model's intervals are from their promise, where that is far: of counts many lie on a bound."""
    promised = levels[-1] - levels[0]
    if len(levels) < 2 or not (promised - coverage > _OFF or inside - promised > _OFF):
        return ""
    way = "narrow" if coverage < promised else "wide"
    return f" Its intervals are too {way}: they hold {coverage:.0%} of what came and promise {promised:.0%}."


def _sections(page: _Page) -> Iterator[Section]:
    yield Section("board", "Leaderboard", _READING, [_leaderboard(page.board)])
    if page.models:
        yield _significance(page)
        yield _where(page)
        yield _intervals(page)
        yield _series(page)
        yield _why(page)
    yield _costs(page)
    yield _data(page)


_READING = (
    "MASE below 1 is better than seasonal naive was on its training data. MASE, sMAPE and WAPE score the median, bias "
    "and RMSSE the mean. Bias is the share by which forecasts are too high (+) or too low (-) in total. “≈ best” marks "
    "models whose difference in MASE from the first one may be chance, all pairs taken together."
)


def _leaderboard(board: pd.DataFrame) -> Table:
    names = {"rmsse": "RMSSE", "wape": "WAPE", "smape": "sMAPE", "bias": "bias", "wql": "WQL", "coverage": "coverage"}
    rows = []
    for place, row in enumerate(board.to_dict("records")):
        mark = ("best" if place == 0 else "≈ best") if row["with_best"] else ""
        bounds = f"{row['mase_low']:.3f} to {row['mase_high']:.3f}" if np.isfinite(row["mase_low"]) else "–"
        numbers = [_number(row[name], sign=name == "bias") for name in names]
        skill = _percent(row["skill"])
        rows.append([row["model"], mark, _number(row["mase"]), bounds, skill, *numbers, f"{row['failed']:,}"])
    columns = ["model", "", "MASE", "95 % interval", "skill", *names.values(), "failed"]
    return Table("Models, best MASE first; skill is against the baseline", columns, rows, (0, 1), first=True)


def _significance(page: _Page) -> Section:
    found = page.report.compare()
    if found.ranks is None:
        return Section("chance", "Is the difference real?")
    rows = []
    for k, name in enumerate(found.models):
        p = "" if k == 0 else f"{found.p[0, k]:.3f}" if found.p[0, k] > 1 / comparison.DRAWS else "< 0.001"
        rows.append([name, _number(found.scores[k]), p, f"{found.ranks.ranks[k]:.2f}"])
    blocks = f"{found.ranks.blocks:,} {found.blocks}"
    words = (
        f"Over {blocks}. In the chart, models whose intervals reach the band can't be told from the one that wins most "
        f"often (multiple comparisons with the best, Friedman p {_p(found.ranks.p)}); in the table, p values are of "
        "the difference in mean MASE from the first model, all pairs taken together. One asks how often, the other "
        "by how much."
    )
    table = Table("Differences from the best", ["model", "MASE", "p", "mean rank"], rows, first=True)
    return Section(
        "chance", "Is the difference real?", words, [table], [(page.draw.ranks(found.models, found.ranks), "")]
    )


def _where(page: _Page) -> Section:
    charts = []
    steps = page.mase("step")
    if len(steps) > 1:
        charts.append((page.draw.lines(steps, "MASE", "Error by step"), ""))
    windows = page.mase("cutoff")
    if len(windows) > 1:
        windows.index = pd.Index([str(x)[:10] for x in windows.index], name="cutoff")
        charts.append((page.draw.dots(windows, "MASE", "Error by cutoff"), ""))
    tables = []
    for name in _segments(page.report):
        charts.append((page.draw.dots(page.mase(name), "MASE", f"Error by {name.replace('_', ' ')}"), ""))
        tables.append(_by_segment(page, name))
    best = "best model" if len(page.coloured) == 1 else f"{len(page.coloured)} best models"
    words = f"Charts show the {best}; the tables are of {page.best}, bias by segment included."
    return Section("where", "Where it fails", words, tables, charts)


def _segments(report: Report) -> list[str]:
    """Segments of which there are a few, not one or a hundred, and with several series each."""
    # Thirds would say what deciles say; a run of an older version has none.
    segments = report.segments.drop(columns=["series", THIRD, *COLUMNS], errors="ignore")
    most = min(_MOST, len(segments) // _CROWD)
    return [str(name) for name in segments if 1 < segments[name].nunique() <= most]


def _by_segment(page: _Page, name: str) -> Table:
    scores = page.scores(name)
    scores = scores[scores["model"] == page.best]
    sizes = page.report.segments[name].value_counts()
    rows = []
    for row in scores.to_dict("records"):
        numbers = [_number(row[k], sign=k == "bias") for k in ("mase", "wape", "bias", "coverage")]
        rows.append([str(row[name]), f"{sizes[row[name]]:,}", *numbers])
    columns = [name.replace("_", " "), "series", "MASE", "WAPE", "bias", "coverage"]
    return Table(f"{page.best} by {name.replace('_', ' ')}", columns, rows)


def _intervals(page: _Page) -> Section:
    table = page.reliability()
    models = [name for name in page.coloured if name in set(table["model"])]
    if not models:
        return Section("intervals", "Intervals")
    levels = page.report.head["levels"]
    scores = page.scores("model").set_index("model")
    columns = ["model", "coverage", "width", "WIS", "CRPS"]
    rows = [[name, *(_number(scores.loc[name, k]) for k in ("coverage", "width", "wis", "crps"))] for name in models]
    conformal = page.report.conformal
    how = "as the models give them" if conformal is None else "calibrated on windows before the scored ones"
    if conformal is not None and conformal.models is not None:
        how += f" for {', '.join(conformal.models)} alone"
    caption = f"The interval from {levels[0]:g} to {levels[-1]:g} promises {levels[-1] - levels[0]:.0%}"
    words = (
        f"Intervals are {how}. A level is right where its mark, or the bar through it, touches the dashed line; there "
        "is a bar where demand comes in whole units and many actuals lie on a bound. Width, WIS and CRPS are in units "
        "of demand, low is good."
    )
    return Section(
        "intervals", "Intervals", words, [Table(caption, columns, rows)], [(page.draw.reliability(table, models), "")]
    )


def _series(page: _Page) -> Section:
    ranked = page.report.worst(page.best, count=None)
    ranked = ranked[ranked["mase"].notna()]
    middle = max(len(ranked) // 2 - _SHOWN // 2, 0)
    chosen = [("Worst", row) for row in ranked.head(_SHOWN).to_dict("records")]
    if len(ranked) >= 3 * _SHOWN:
        chosen += [("Typical", row) for row in ranked.iloc[middle : middle + _SHOWN].to_dict("records")]
    fans = _fans(page.report, page.best, [row["series"] for _, row in chosen])
    charts = []
    for kind, row in chosen:
        if row["series"] in fans:
            caption = f"{kind}: {row['series']}, MASE {row['mase']:.2f}, bias {_number(row['bias'], sign=True)}"
            charts.append((page.draw.fan(fans[row["series"]], page.best), caption))
    rows = [
        [
            row["series"],
            *(_number(row[k], sign=k in ("bias", "tracking")) for k in ("mase", "wape", "bias", "tracking")),
        ]
        for row in ranked.head(10).to_dict("records")
    ]
    scored = page.report.head["plan"]["horizon"] * page.report.head["plan"]["windows"]
    table = Table(
        f"The series that {page.best} misses most", ["series", "MASE", "WAPE", "bias", "tracking signal"], rows
    )
    words = (
        "Charts show the last window; typical series are those around the median MASE. A tracking signal is the sum of "
        f"errors over their mean size: {scored} unrelated ones stay within ±{2.5 * np.sqrt(scored):.0f} by chance."
    )
    return Section("series", "Series, worst and typical", words, [table], charts)


def _fans(report: Report, model: str, series: Sequence[str]) -> dict[str, Fan]:
    """The last window of each series, with what came before it."""
    levels = report.head["levels"]
    bounds = (levels[0], levels[-1]) if len(levels) > 1 else None
    history = report.history(series)
    last = report.last_window(model, series)
    found = {}
    for name, rows in last.groupby("series", sort=False):
        before = history[(history["series"] == name) & (history["time"] < rows["time"].min())]
        outer = [f"q{level:g}" for level in bounds or ()]
        low, high = (rows[q].to_numpy() for q in outer) if outer and outer[0] in rows else (None, None)
        median = rows["q0.5" if "q0.5" in rows else "mean"].to_numpy()
        past, future = (_naive(frame["time"]) for frame in (before, rows))
        came = rows["y"].to_numpy()
        found[str(name)] = Fan(past, before["y"].to_numpy(), future, came, median, low, high, bounds)
    return found


def _naive(times: pd.Series) -> np.ndarray:
    return pd.DatetimeIndex(times).tz_localize(None).to_numpy()


def _why(page: _Page) -> Section:
    inputs, told = page.report.importance(), page.report.explanations()
    tables, charts = [], []
    for model, rows in inputs.groupby("model", sort=False):
        charts.append((page.draw.worth(rows, f"Inputs of {model}"), ""))
        tables.append(_inputs(str(model), rows))
    for model, one in told.items():
        if one.components:
            charts.append((page.draw.parts(one, f"Parts of a forecast by {model}"), f"{one.series}: {one.form}"))
        if one.coefficients:
            tables.append(_coefficients(model, one))
    words = (
        "In the last window each input was made meaningless in turn and the forecast made again: what MASE then rises "
        "by is what the input is worth, with 95 % bounds over series. Inputs that say the same thing stand in for each "
        "other."
    )
    if told:
        words += " What a model says of itself is of the series in the middle of its errors."
    return Section("why", "Why it says so", words, tables, charts)


def _inputs(model: str, rows: pd.DataFrame) -> Table:
    cells = [
        [r["input"], *_worth(r["increase"], r["low"], r["high"]), _number(r["mase"]), r["kind"]]
        for r in rows.to_dict("records")
    ]
    columns = ["input", "increase", "95 % interval", "MASE without", "kind"]
    return Table(f"What the inputs of {model} are worth", columns, cells, (0, 4))


def _worth(increase: float, low: float, high: float) -> tuple[str, str]:
    """The increase and its bounds; an input that the model never looks at has none."""
    if not (increase or low or high):
        return "0", "–"
    bounds = f"{_number(low, sign=True)} to {_number(high, sign=True)}" if np.isfinite(low) else "–"
    return _number(increase, sign=True), bounds


def _coefficients(model: str, one: Explanation) -> Table:
    rows = [
        [name, f"{value:.4g}", f"{error:.3g}" if np.isfinite(error) else "–"]
        for name, (value, error) in one.coefficients.items()
    ]
    return Table(f"{model} on {one.series}: {one.form}", ["coefficient", "estimate", "standard error"], rows)


_COSTS = {
    "fit_s": "fit s",
    "predict_s": "predict s",
    "cpu_s": "CPU s",
    "peak_mb": "peak MB",
    "size_mb": "size MB",
    "p95_ms": "one call, ms",
}


def _costs(page: _Page) -> Section:
    costs = page.board[["model", "mase", "front", *_COSTS]]
    names = {k: name for k, name in _COSTS.items() if k != "p95_ms" or costs[k].notna().any()}
    rows = [
        [r["model"], "yes" if r["front"] else "", _number(r["mase"]), *(_number(r[k]) for k in names)]
        for r in costs.to_dict("records")
    ]
    columns = ["model", "front", "MASE", *names.values()]
    table = Table("Work of all windows, summed over processes", columns, rows, (0, 1))
    known = costs.assign(seconds=costs["fit_s"] + costs["predict_s"]).dropna(subset=["mase", "seconds"])
    charts = []
    if len(known) > 1:
        by_model = known.set_index("model")
        charts.append((page.draw.costs(by_model[["mase", "seconds"]], list(by_model["front"])), ""))
    words = (
        "None is both better and quicker than a model on the front. Peak memory is what the work added to the process; "
        "size is what a saved model holds beside its history."
    )
    if "p95_ms" in names:
        words += " 95 of 100 calls for one series are answered within the time of one call."
    return Section("costs", "What it costs", words, [table], charts)


def _data(page: _Page) -> Section:
    head = page.report.head
    screened = in_words(head.get("screening", {}))
    tables = [Table("The data, screened", ["what", "found"], screened, (0, 1))]
    failures = page.report.failures.drop_duplicates(["model", "reason"])
    if len(failures):
        rows = [[r["model"], r["series"], r["reason"]] for r in failures.head(20).to_dict("records")]
        tables.append(
            Table("Failures, where the baseline stood in; one a reason", ["model", "series", "reason"], rows, (0, 1, 2))
        )
    if head["left_out"]:
        rows = [[name] for name in head["left_out"][:10]]
        tables.append(Table(f"Series that miss a window, {len(head['left_out']):,} in all", ["series"], rows))
    return Section("data", "The data", "", tables)


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    head = report.head
    yield "data", f"{head['data']['name']}, {head['data']['rows']:,} rows, fingerprint {head['data']['fingerprint']}"
    yield "plan", ", ".join(f"{k} {v}" for k, v in head["plan"].items() if v is not None)
    yield "cutoffs", ", ".join(head["cutoffs"])
    yield "levels", ", ".join(f"{level:g}" for level in head["levels"])
    yield "intervals", recipes.label(report.conformal) if report.conformal is not None else "as the models give them"
    for label, recipe in head["recipes"].items():
        yield f"recipe {label}", recipe
    yield "started, finished", f"{head['started']}, {head.get('finished') or 'not yet'}"
    yield "machine", ", ".join(f"{k} {v}" for k, v in head["machine"].items())
    yield "versions", ", ".join(f"{k} {v}" for k, v in head["versions"].items())


def _number(value: Any, *, sign: bool = False) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:{'+' if sign else ''}.3f}"


def _percent(value: float) -> str:
    return f"{value:+.1%}" if np.isfinite(value) else "–"


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "below 0.001"
