"""What a backtest found: forecasts, costs, failures and scores, read from its folder as they are asked for.

Scores are sums over cells (a series in a window), gathered file by file: the forecasts of a panel of 30,000 series are
never in memory at once. The sums of its cells are, once they were asked for: about 150 bytes each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from forecastkit.data.io import check_writable, write_atomic
from forecastkit.data.panel import Floats
from forecastkit.errors import ConfigError, MissingExtraError, StoreError, closest
from forecastkit.evaluation import comparison, conformal, records, scores
from forecastkit.evaluation.comparison import Comparison, Flags
from forecastkit.evaluation.conformal import Conformal
from forecastkit.evaluation.records import Part, plain
from forecastkit.evaluation.scores import SCORES
from forecastkit.evaluation.splits import Plan
from forecastkit.forecaster import Explanation

if TYPE_CHECKING:
    import pandas as pd

_AGAINST = ("skill", "mase_low", "mase_high", "with_best")
_COSTS = {
    "fit_s": "sum", "predict_s": "sum", "cpu_s": "sum", "peak_mb": "max", "size_mb": "max", "p95_ms": "max",
}  # fmt: skip
LEADERBOARD = ("model", "recipe", *SCORES[:7], *_AGAINST, *_COSTS, "front", "series", "failed")
IMPORTANCE = ("input", "kind", "mase", "increase", "low", "high")
_GROUPS = ("model", "series", "window", "cutoff", "time", "step")
_BATCH = 100_000  # rows that are scored at once


@dataclass(frozen=True)
class Report:
    """The results in `folder`; `head` says what was run on what.

    MASE, sMAPE, WAPE and MAE score the median (the 0.5 quantile, the mean where a model has no quantiles); bias, RMSE
    and RMSSE score the mean. MASE, RMSSE and sMAPE are means over series and windows, the others are pooled. Formulas
    and sources: `forecastkit.evaluation.metrics`.
    """

    folder: Path
    head: dict[str, Any]
    conformal: Conformal | None = None
    _keep_alive: Any = field(default=None, repr=False, compare=False)
    _made: dict[str, dict[int, Floats]] = field(
        default_factory=dict, repr=False, compare=False
    )  # of calibration, by model

    def __repr__(self) -> str:
        """Short: the head holds the whole plan and the machine."""
        series = self.head["data"]["series"]
        return f"Report({str(self.folder)!r}: {', '.join(self.head['recipes'])} on {series:,} series)"

    @classmethod
    def read(cls, folder: str | Path, *, keep_alive: Any = None) -> Self:
        """The report of a backtest's folder; raises `StoreError`, also where no model is whole yet."""
        place = Path(folder)
        head = records.read_head(place)
        found = cls(place, head, Conformal() if head["plan"].get("calibrate") else None, keep_alive)
        if not found.models:
            what = "; ".join(f"{model}: {there}" for model, there in found.unfinished.items())
            raise StoreError(f"{place}: no model is finished here ({what}): the same command with --resume goes on")
        return found

    def calibrated(self, how: Conformal | None = None) -> Self:
        """The same report with intervals made another way, or as the models gave them (None); nothing runs again.

        Raises `ConfigError` for a group or model that is not there, or where there are no windows to calibrate on.
        """
        if how is not None:
            segments = self.segments.columns if how.group is not None else ()
            self.check_intervals(how, self._first, self.head["recipes"], segments)
        return replace(self, conformal=how, _made={})

    @staticmethod
    def check_intervals(how: Conformal, calibrate: int, models: Iterable[str], segments: Iterable[str]) -> None:
        """Raise what `calibrated(how)` would for a backtest of these, ahead of long work."""
        if not calibrate:
            raise ConfigError(
                "intervals are calibrated on windows before those scored: run with calibrate=4 (--calibrate 4), say"
            )
        if how.group is not None:
            _known(how.group, segments, "grouped")
        for model in how.models or ():
            _there(model, models)

    @property
    def _first(self) -> int:
        """The first window that is scored; those before are for calibration."""
        return int(self.head["plan"].get("calibrate", 0))

    def tables(self, model: str) -> Iterator[pa.Table]:
        """The forecasts of a model, one table a scored window, counted from 0."""
        tables = records.tables(self.folder, model)
        how = self.conformal
        if how is not None and (how.models is None or model in how.models):
            lowest = -np.inf if self.head["screening"]["negatives"] else 0.0
            made, plan = self._made.setdefault(model, {}), Plan(**self.head["plan"])
            plan.check_calibration()
            groups = self._groups(how.group)
            tables = conformal.calibrated(
                tables, self.head["levels"], how, plan.step or plan.horizon, groups, lowest, made
            )
        for table in tables:
            window = table["window"][0].as_py() - self._first if len(table) else -1
            if window >= 0:
                place = table.column_names.index("window")
                yield table.set_column(place, "window", pa.array(np.full(len(table), window, np.int16)))

    def _groups(self, name: str | None) -> dict[str, int] | None:
        """The number of each series' group."""
        if name is None:
            return None
        segments = self.segments
        column = segments[name].astype(str)
        codes = dict(zip(sorted(set(column)), range(len(column)), strict=False))
        return dict(zip(segments["series"], column.map(codes), strict=True))

    @property
    def segments(self) -> pd.DataFrame:
        """Traits of the series: series, demand_class, volume_decile, volume_third, and the static columns."""
        return records.read_segments(self.folder).to_pandas()

    @cached_property
    def _parts(self) -> list[Part]:
        """What all parts say about themselves; those for calibration are of windows below 0."""
        parts = (part for model in self.models for part in records.parts(self.folder, model))
        return [replace(part, window=part.window - self._first) for part in parts]

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are whole; what others have would be compared with another set of series or windows."""
        return tuple(model for model in self.head["recipes"] if model not in self.unfinished)

    @cached_property
    def unfinished(self) -> dict[str, str]:
        """The models of an interrupted run that are left out, and what there is of them."""
        return records.unfinished(self.folder, self.head)

    @property
    def forecasts(self) -> pd.DataFrame:
        """The long table: model, series, window, cutoff, time, step, y, mean, and a `q…` column a level."""
        import pandas as pd

        tables = []
        for model in self.models:
            for table in self.tables(model):
                frame = table.drop_columns(["absolute_scale", "squared_scale"]).to_pandas()
                frame["series"] = frame["series"].astype(str)
                frame.insert(0, "model", model)
                tables.append(frame)
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def to_frame(self) -> pd.DataFrame:
        """Same as `forecasts`."""
        return self.forecasts

    @property
    def timings(self) -> pd.DataFrame:
        """Cost of each model in each window: fit_s, predict_s, cpu_s (summed over processes), peak_mb (largest),
        size_mb of what was learned, p95_ms of a call for one series where that was measured. Windows for calibration
        are counted too, from -1 down: what was fitted there the scored ones go on from."""
        import pandas as pd

        rows = [{"model": part.model, "window": part.window, **vars(part.cost)} for part in self._parts]
        how = _COSTS | {"size_mb": "sum"}  # of all pieces of the panel
        frame = pd.DataFrame(rows, columns=["model", "window", *how])
        return frame.groupby(["model", "window"], sort=False).agg(how).reset_index()

    @property
    def failures(self) -> pd.DataFrame:
        """Series that a model could not be fitted on and the baseline stood in: model, window, series, reason."""
        import pandas as pd

        rows = [
            {"model": part.model, "window": part.window, "series": series, "reason": reason}
            for part in self._parts
            if part.window >= 0
            for series, reason in part.failures.items()
        ]
        return pd.DataFrame(rows, columns=["model", "window", "series", "reason"])

    def scores(self, by: str | Sequence[str] = "model") -> pd.DataFrame:
        """All metrics for each group: `by` one or more of model, series, window, cutoff, time, step, and segments.

        Segments are demand_class, volume_decile, volume_third and any static column. `cells` counts the series and
        windows behind a row.
        """
        keys = [by] if isinstance(by, str) else list(by)
        if taken := [key for key in keys if key in scores.COLUMNS]:
            raise ConfigError(f"the column {taken[0]!r} is called as a score is: rename it in the data to group by it")
        return scores.ratios(self.sums(keys)).reset_index()

    def sums(self, keys: Sequence[str]) -> pd.DataFrame:
        """What metrics are ratios of, for each group of `keys` as in `scores`; see `evaluation.scores.ratios`."""
        import pandas as pd

        own = [key for key in keys if key not in _GROUPS]
        traits = self.segments.set_index("series") if own else pd.DataFrame()
        for key in own:
            _known(key, (*_GROUPS, *traits.columns), "grouped")
        if {"time", "step"} & set(keys):
            total = self._added([_apart(key) for key in keys], traits[own].rename(columns=_apart))
            total.index.names = list(keys)
            return total
        places = self._windows.index.to_frame(index=False)
        groups = [pd.Index(places["series"].map(traits[key]) if key in own else places[key]) for key in keys]
        total = self._windows.groupby(groups, sort=False).sum(min_count=1)
        total.index.names = list(keys)
        return total

    @cached_property
    def _windows(self) -> pd.DataFrame:
        """The sums of each model's cells: most tables of a page are made from them, and the forecasts are read once."""
        import pandas as pd

        return self._added(["model", "series", "window", "cutoff"], pd.DataFrame())

    def _added(self, keys: Sequence[str], traits: pd.DataFrame) -> pd.DataFrame:
        """`sums` from the forecasts themselves, a window at a time; `traits` of the series are among the keys."""
        import pandas as pd

        found = [
            scores.sums(scores.cells(_with(table, traits), model, keys), keys)
            for model in self.models
            for table in _batched(self.tables(model))
        ]
        if not found:
            return scores.none(keys)
        return pd.concat(found).groupby(level=list(keys), sort=False).sum(min_count=1)

    def reliability(self) -> pd.DataFrame:
        """Does a level cover its share? A row a model and level: below, at_most, bin, rows.

        `below` is the share of actuals under the quantile, `at_most` of those on it too: a level is right when it lies
        between the two, which are apart where demand comes in whole units. `bin` is the share between the level before
        and this one, half of what lies on a bound on either side: a bar of the PIT histogram, the last up to level 1.
        """
        import pandas as pd

        found = [scores.reached(table, model) for model in self.models for table in self.tables(model)]
        total = pd.concat(found).groupby(["model", "level"], sort=False).sum()
        shares = total[["below", "at_most"]].div(total["rows"], axis=0)
        middle = shares.mean(axis=1)
        shares["bin"] = middle - middle.groupby(level="model", sort=False).shift(fill_value=0.0)
        return shares.assign(rows=total["rows"]).reset_index()

    def confidence(self, *, level: float = comparison.LEVEL, draws: int = comparison.DRAWS) -> pd.DataFrame:
        """Confidence intervals of each model's metrics and skill: model, metric, value, low, high.

        Whole series are drawn again, so this says what other series of this kind would give, in the same windows.
        Skill is the share of the baseline's MASE that a model saves; it needs the baseline among the models.
        """
        return self._confidence(self.sums(["model", "series"]), level, draws)

    def _confidence(
        self, total: pd.DataFrame, level: float = comparison.LEVEL, draws: int = comparison.DRAWS
    ) -> pd.DataFrame:
        baseline = next((m for m in self.models if m.partition(":")[0] == self.head["baseline"]), None)
        return scores.confidence(total, baseline, level, draws)

    def compare(self, metric: str = "mase") -> Comparison:
        """Which differences between models are real, in mase, rmsse, smape, wape, wql or mae.

        Series are the blocks, with all their windows; of fewer than ten series the windows are. Models that failed
        everywhere, or that have no quantiles where the metric needs them, are left out.
        """
        if metric not in scores.LOSSES:
            known = ", ".join(scores.LOSSES)
            raise ConfigError(f"models can't be compared by {metric!r}{closest(metric, scores.LOSSES)}: {known}")
        total = self.sums(["model", "series"])
        return self._compare(total, metric, self._hopeless(total))

    def _compare(self, total: pd.DataFrame, metric: str, hopeless: set[str]) -> Comparison:
        top = total[scores.LOSSES[metric][0]].groupby(level="model").sum(min_count=1)
        models = tuple(m for m in self.models if m not in hopeless and np.isfinite(top.get(m, np.nan)))
        losses = scores.losses(total, metric, models)
        if len(losses) >= comparison.FEW:
            return comparison.compare(losses, models, metric)
        plan = self.head["plan"]
        windows = scores.losses(self.sums(["model", "window"]), metric, models)
        return comparison.compare(windows, models, metric, apart=-(-plan["horizon"] // plan["step"]))

    def _hopeless(self, total: pd.DataFrame) -> set[str]:
        """Models whose every forecast is the baseline's, and those with nothing scored."""
        cells = total["cells"].groupby(level="model").sum()
        bad = self.failures.drop_duplicates(["model", "series", "window"]).groupby("model").size()
        return {m for m in self.models if bad.get(m, 0) >= cells.get(m, 0)}

    def leaderboard(self) -> pd.DataFrame:
        """One row a model, best MASE first: accuracy, bias, costs as in `costs`, series scored and failed.

        `skill` is the share of the baseline's MASE that is saved, `mase_low` and `mase_high` bound MASE at 95 % over
        series, `with_best` marks the models that can't be told from the first one (`compare`), `front` those that none
        beats in both MASE and seconds. A model that failed on every series has no scores and stands last.
        """
        import pandas as pd

        models, total = list(self.models), self.sums(["model", "series"])
        accuracy = scores.ratios(total.groupby(level="model").sum(min_count=1)).reindex(models)[list(SCORES[:7])]
        hopeless = self._hopeless(total)
        accuracy.loc[[m in hopeless for m in models]] = np.nan
        cost = self.costs().set_index("model")
        counts = {
            "series": total.groupby(level="model").size(),
            "failed": self.failures.groupby("model")["series"].nunique(),
        }
        board = pd.DataFrame({"recipe": self.head["recipes"]}).reindex(models)
        board = board.join([accuracy, self._against(total, hopeless), cost.reindex(models)])
        board = board.assign(**{name: c.reindex(models).fillna(0).astype(int) for name, c in counts.items()})
        board = board.assign(front=_front(board))
        board = board.rename_axis("model").reset_index()[list(LEADERBOARD)]
        return board.sort_values(["mase", "wape"], ignore_index=True)

    def _against(self, total: pd.DataFrame, hopeless: set[str]) -> pd.DataFrame:
        """How sure a place on the leaderboard is: a row a model with the columns `_AGAINST`."""
        import pandas as pd

        models, found = list(self.models), self._compare(total, "mase", hopeless)
        table = self._confidence(total).pivot(index="model", columns="metric").reindex(models)
        board = pd.DataFrame(
            {
                "skill": table.get(("value", "skill")),
                "mase_low": table.get(("low", "mase")),
                "mase_high": table.get(("high", "mase")),
            },
            index=models,
            dtype=float,
        )
        board.loc[[m in hopeless for m in models]] = np.nan
        return board.assign(with_best=pd.Series(found.with_best, list(found.models)).reindex(models, fill_value=False))

    def worst(self, model: str | None = None, *, count: int | None = 10, by: str = "mase") -> pd.DataFrame:
        """The series with the largest errors of a model (None: of the best one), with their traits; None for all.

        `tracking` is the tracking signal, the sum of errors over their mean size: of n unrelated errors chance keeps it
        within about 2.5 roots of n. Brown (1963), "Smoothing, forecasting and prediction of discrete time series".
        """
        model = model or str(self.leaderboard()["model"].iloc[0])
        _there(model, self.models)
        total = self.sums(["model", "series"])
        total = total[total.index.get_level_values("model") == model].droplevel("model")
        found = scores.ratios(total).assign(tracking=total["signed"] * total["rows"] / total["absolute_mean"])
        found = found.sort_values(_known(by, found.columns, "sorted"), ascending=False).head(count or len(found))
        return found.reset_index().merge(self.segments, on="series", how="left")

    def costs(self) -> pd.DataFrame:
        """What each model cost: fit_s, predict_s and cpu_s of all windows, peak_mb, size_mb of what it learned, p95_ms
        of a call for one series where that was measured (`Run.latency`, `--latency`)."""
        return self.timings.groupby("model", sort=False).agg(_COSTS).reset_index()

    def importance(self) -> pd.DataFrame:
        """What each input was worth to the models that were asked (`evaluation.explaining`), the first of the most.

        Columns as `forecastkit.evaluation.importance` has them, after the model; no rows where nobody asked.
        """
        import pandas as pd

        numbers = dict.fromkeys(IMPORTANCE[2:], float)  # NaN stands there as null
        found = [
            pd.DataFrame(why["importance"]).astype(numbers).assign(model=model)
            for model, why in records.read_why(self.folder).items()
        ]
        columns = ["model", *IMPORTANCE]
        return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)

    def explanations(self) -> dict[str, Explanation]:
        """What those models say themselves of a series in the middle of their errors, by model."""
        found = {}
        for model, why in records.read_why(self.folder).items():
            told = dict(why["told"])
            pairs = {name: np.array(pair, float).tolist() for name, pair in told["coefficients"].items()}
            told["coefficients"] = {name: (estimate, error) for name, (estimate, error) in pairs.items()}
            told["components"] = {name: np.array(part, float) for name, part in told["components"].items()}
            found[model] = Explanation(**told | {"times": np.array(told["times"], "M8[us]")})
        return found

    def history(self, series: Sequence[str]) -> pd.DataFrame:
        """Demand of some series before the last cutoff, a few horizons of it: series, time, y."""
        return records.read_history(self.folder, series).to_pandas()

    def last_window(self, model: str, series: Sequence[str]) -> pd.DataFrame:
        """Forecasts of some series after the last cutoff, and what came."""
        *_, table = self.tables(model)
        frame = table.to_pandas()
        return frame[frame["series"].isin(series)].assign(series=lambda f: f["series"].astype(str))

    def to_html(self, file: str | Path | None = None) -> str:
        """The whole report as one page that needs nothing else; also written to `file`. Needs the extra `report`."""
        text: str = _page().render(self)
        if file is not None:
            write_atomic(Path(file), lambda out: out.write(text.encode()))
        return text

    @staticmethod
    def check_html(file: str | Path) -> None:
        """Raise `MissingExtraError` or `StoreError` where `to_html(file)` would, ahead of long work."""
        _page()
        check_writable(Path(file))

    def summary(self) -> dict[str, Any]:
        """Everything that `forecastkit backtest --json` prints, as plain values; what has no value is None."""
        plan = {k: self.head["plan"][k] for k in ("horizon", "windows", "step", "gap", "season", "refit")}
        return {
            "data": self.head["data"],
            "plan": plan | {"align": self.head["plan"]["align"], "cutoffs": self.head["cutoffs"]},
            "levels": self.head["levels"],
            "intervals": None if self.conformal is None else asdict(self.conformal),
            "baseline": self.head["baseline"],
            "leaderboard": [{k: plain(v) for k, v in row.items()} for row in self.leaderboard().to_dict("records")],
            "left_out": self.head["left_out"],
            "unfinished": self.unfinished,
            "failures": self.failures.to_dict("records"),
            "machine": self.head["machine"],
            "versions": self.head["versions"],
        }


def _page() -> ModuleType:
    """The module that makes pages, which needs the extra."""
    try:
        from forecastkit.evaluation import page
    except ImportError as error:
        raise MissingExtraError("the HTML report", "report") from error
    return page


def _front(board: pd.DataFrame) -> Flags:
    """The models that no other beats in both MASE and seconds; none without a score is one."""
    points = board[["mase"]].assign(seconds=board["fit_s"] + board["predict_s"])
    whole = points.notna().all(axis=1).to_numpy()
    front = np.zeros(len(board), bool)
    front[whole] = comparison.pareto(points[whole].to_numpy(np.float64))
    return front


def _known(name: str, known: Iterable[str], what: str) -> str:
    if name not in known:
        raise ConfigError(f"scores can't be {what} by {name!r}{closest(name, known)}: {', '.join(known)}")
    return name


def _there(model: str, models: Iterable[str]) -> None:
    if model not in models:
        raise ConfigError(f"no model {model!r} in this backtest{closest(model, models)}: {', '.join(models)}")


def _apart(key: str) -> str:
    """A trait's own name among the sums: one may be called width, or cells."""
    return key if key in _GROUPS else f"trait {key}"


def _batched(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer tables of at least `_BATCH` each: a small one takes as long as a large one."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if len(waiting) * len(table) >= _BATCH:
            yield pa.concat_tables(waiting).unify_dictionaries()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).unify_dictionaries()


def _with(table: pa.Table, traits: pd.DataFrame) -> pa.Table:
    """The table with traits of its series as columns."""
    series = table["series"].combine_chunks()
    names, codes = series.dictionary.to_pylist(), series.indices.to_numpy()
    for key in traits.columns:
        table = table.append_column(key, pa.array(traits[key].reindex(names).to_numpy()[codes]))
    return table
