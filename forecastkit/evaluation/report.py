"""What a backtest found: forecasts, costs, failures and scores, read from its folder as they are asked for.

Scores are sums over cells (a series in a window), gathered file by file, so that a panel of 30,000 series is never in
memory at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecastkit.errors import ConfigError, closest
from forecastkit.evaluation import metrics, records

if TYPE_CHECKING:
    import pandas as pd

SCORES = tuple(metrics.METRICS)
LEADERBOARD = ("model", "recipe", *SCORES[:7], "fit_s", "predict_s", "peak_mb", "series", "failed")
_GROUPS = ("model", "series", "window", "cutoff", "time", "step")


@dataclass(frozen=True)
class Report:
    """The results in `folder`; `head` says what was run on what.

    MASE, sMAPE, WAPE and MAE score the median (the 0.5 quantile, the mean where a model has no quantiles); bias, RMSE
    and RMSSE score the mean. MASE, RMSSE and sMAPE are means over series and windows, the others are pooled. Formulas
    and sources: `forecastkit.evaluation.metrics`.
    """

    folder: Path
    head: dict[str, Any]
    _keep_alive: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def read(cls, folder: str | Path, *, keep_alive: Any = None) -> Self:
        """The report of a backtest's folder; raises `StoreError`."""
        place = Path(folder)
        return cls(place, records.read_head(place), keep_alive)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.head["recipes"])

    @property
    def forecasts(self) -> pd.DataFrame:
        """The long table: model, series, window, cutoff, time, step, y, mean, and a `q…` column a level."""
        import pandas as pd

        tables = []
        for model in self.models:
            for _, table in records.parts(self.folder, model):
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
        """Cost of each model in each window: fit_s, predict_s, cpu_s (summed over processes), peak_mb (largest)."""
        import pandas as pd

        rows = [
            {"model": part.model, "window": part.window, **vars(part.cost)}
            for model in self.models
            for part, _ in records.parts(self.folder, model)
        ]
        frame = pd.DataFrame(rows, columns=["model", "window", "fit_s", "predict_s", "cpu_s", "peak_mb"])
        how = {"fit_s": "sum", "predict_s": "sum", "cpu_s": "sum", "peak_mb": "max"}
        return frame.groupby(["model", "window"], sort=False).agg(how).reset_index()

    @property
    def failures(self) -> pd.DataFrame:
        """Series that a model could not be fitted on and the baseline stood in: model, window, series, reason."""
        import pandas as pd

        rows = [
            {"model": part.model, "window": part.window, "series": series, "reason": reason}
            for model in self.models
            for part, _ in records.parts(self.folder, model)
            for series, reason in part.failures.items()
        ]
        return pd.DataFrame(rows, columns=["model", "window", "series", "reason"])

    def scores(self, by: str | Sequence[str] = "model") -> pd.DataFrame:
        """All metrics for each group: `by` one or more of model, series, window, cutoff, time, step.

        `cells` counts the series and windows behind a row.
        """
        import pandas as pd

        keys = [by] if isinstance(by, str) else list(by)
        for key in keys:
            if key not in _GROUPS:
                raise ConfigError(f"scores can't be grouped by {key!r}{closest(key, _GROUPS)}: {', '.join(_GROUPS)}")
        sums = [
            _sums(_cells(table, model, keys), keys)
            for model in self.models
            for table in records.batches(self.folder, model)
        ]
        total = pd.concat(sums).groupby(level=keys, sort=False).sum() if sums else pd.DataFrame()
        return _ratios(total).reset_index()

    def leaderboard(self) -> pd.DataFrame:
        """One row a model, best MASE first: accuracy, bias, seconds, memory, series scored and failed.

        A model that failed on every series has no scores and stands last.
        """
        import pandas as pd

        scores, timings, failures = self.scores().set_index("model").reindex(self.models), self.timings, self.failures
        rows = []
        for model in self.models:
            cost = timings[timings["model"] == model]
            scored = self._scored(model)
            bad = failures.loc[failures["model"] == model, ["series", "window"]].drop_duplicates()
            failed = int(bad["series"].nunique())
            rows.append(
                {
                    "model": model,
                    "recipe": self.head["recipes"][model],
                    **self._accuracy(scores.loc[model], len(bad) >= int(np.nan_to_num(float(scores["cells"][model])))),
                    "fit_s": float(cost["fit_s"].sum()),
                    "predict_s": float(cost["predict_s"].sum()),
                    "peak_mb": float(cost["peak_mb"].max()),
                    "series": scored,
                    "failed": failed,
                }
            )
        return pd.DataFrame(rows, columns=list(LEADERBOARD)).sort_values(["mase", "wape"], ignore_index=True)

    @staticmethod
    def _accuracy(scores: Any, all_failed: bool) -> dict[str, float]:
        """The leaderboard's metrics; none for a model whose every forecast is the baseline's."""
        return {name: float("nan") if all_failed else float(scores[name]) for name in SCORES[:7]}

    def _scored(self, model: str) -> int:
        """Series with at least one scored period."""
        names: set[str] = set()
        for _, table in records.parts(self.folder, model):
            names |= set(table.filter(pc.is_finite(table["y"]))["series"].unique().to_pylist())
        return len(names)

    def summary(self) -> dict[str, Any]:
        """Everything that `forecastkit backtest --json` prints, as plain values; what has no value is None."""
        plan = {k: self.head["plan"][k] for k in ("horizon", "windows", "step", "gap", "season", "refit")}
        return {
            "data": self.head["data"],
            "plan": plan | {"align": self.head["plan"]["align"], "cutoffs": self.head["cutoffs"]},
            "levels": self.head["levels"],
            "baseline": self.head["baseline"],
            "leaderboard": [{k: plain(v) for k, v in row.items()} for row in self.leaderboard().to_dict("records")],
            "left_out": self.head["left_out"],
            "failures": self.failures.to_dict("records"),
            "machine": self.head["machine"],
            "versions": self.head["versions"],
        }


def plain(value: Any) -> Any:
    """The value as JSON has it: None for a number that is not finite."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _cells(table: pa.Table, model: str, keys: Sequence[str]) -> pd.DataFrame:
    """Sums over each cell of a part: one row for each series, window and group of `keys`."""
    frame = table.to_pandas()
    frame = frame[frame["y"].notna()]
    levels = [name for name in frame.columns if name[:1] == "q" and name[1:2].isdigit()]
    y, mean = frame["y"], frame["mean"]
    median = frame["q0.5"] if "q0.5" in levels else mean
    losses = [metrics.pinball_terms(y, frame[q], float(q[1:])) for q in levels]
    terms: dict[str, Any] = {
        "rows": 1.0,
        "y": y.abs(),
        "absolute": (median - y).abs(),
        "signed": mean - y,
        "squared": (mean - y) ** 2,
        "relative": metrics.relative_error(y, median),
        "absolute_scale": frame["absolute_scale"],
        "squared_scale": frame["squared_scale"],
        "pinball": np.mean(losses, axis=0) if losses else np.nan,
        "inside": (y >= frame[levels[0]]) & (y <= frame[levels[-1]]) if len(levels) > 1 else np.nan,
    }
    groups = frame[["series", "window", *(k for k in keys if k not in ("model", "series", "window"))]]
    groups = groups.assign(series=groups["series"].astype(str), model=model)
    names = list(groups.columns)
    totals = groups.assign(**terms).groupby(names, sort=False)[list(terms)].sum(min_count=1)
    return totals.reset_index()


_POOLED = ["rows", "y", "absolute", "signed", "squared", "pinball", "inside"]
_MEANS = ["mase", "scaled", "rmsse", "smape", "cells"]


def _sums(cells: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """What groups add up from their cells. A scale is constant in a cell, so its sum there is rows x scale."""
    mase = cells["absolute"] / cells["absolute_scale"].where(cells["absolute_scale"] > 0)
    rmsse = (cells["squared"] / cells["squared_scale"].where(cells["squared_scale"] > 0)) ** 0.5
    means: dict[str, Any] = {
        "mase": mase.fillna(0.0),
        "scaled": mase.notna().astype(float),
        "rmsse": rmsse.fillna(0.0),
        "smape": cells["relative"] / cells["rows"],
        "cells": 1.0,
    }
    return cells.assign(**means).groupby(list(keys), sort=False)[[*_POOLED, *_MEANS]].sum(min_count=1)


def _ratios(total: pd.DataFrame) -> pd.DataFrame:
    """Metrics from sums; NaN where the denominator is zero."""
    import pandas as pd

    if total.empty:
        return pd.DataFrame(columns=[*SCORES, "cells"], index=total.index)
    volume, scaled = total["y"].where(total["y"] > 0), total["scaled"].where(total["scaled"] > 0)
    columns = {
        "mase": total["mase"] / scaled,
        "rmsse": total["rmsse"] / scaled,
        "wape": total["absolute"] / volume,
        "smape": total["smape"] / total["cells"],
        "bias": total["signed"] / volume,
        "wql": 2 * total["pinball"] / volume,
        "coverage": total["inside"] / total["rows"],
        "mae": total["absolute"] / total["rows"],
        "rmse": np.sqrt(total["squared"] / total["rows"]),
        "cells": total["cells"].astype(int),
    }
    return pd.DataFrame(columns)
