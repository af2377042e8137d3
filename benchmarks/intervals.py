"""Do 80 % intervals cover 80 %? Before and after conformal calibration, on 500 grocery items over 4 windows.

python benchmarks/intervals.py

The same forecasts both times: four earlier windows give the errors that calibrated intervals are made from. How errors
are measured (`forecastkit.evaluation.conformal`) was chosen on windows before these eight.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import numpy as np
from record import record, shared_data

from forecastkit import Panel, Report, Run, backtest, create, read
from forecastkit.data.panel import Floats
from forecastkit.evaluation.conformal import Conformal
from forecastkit.forecaster import Fitted, Forecaster

MODELS = ("naive", "seasonal_naive", "window_average", "theta", "boosted", "gru")
SCHEMES = {
    "as the models give them": None,
    "calibrated": Conformal(),
    "calibrated, errors of all steps together": Conformal(by_step=False),
    "calibrated by volume decile": Conformal(group="volume_decile"),
    "calibrated, older windows count 0.7": Conformal(decay=0.7),
    "calibrated, levels adapt (rate 0.5)": Conformal(rate=0.5),
}
PROMISED = 0.8


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class PointsOnlyFitted(Fitted):
    def _predict(self, horizon: int, levels: tuple[float, ...], future: Floats | None) -> tuple[Floats, Floats]:
        season = self.history.season
        weeks = [self.history.series(i)[-4 * season :].reshape(4, season) for i in range(len(self.history))]
        mean = np.nanmean(weeks, axis=1)[:, np.arange(horizon) % season]  # [N, H]
        return mean, np.empty((*mean.shape, 0))


@final
@dataclass(frozen=True, kw_only=True)
class PointsOnly(Forecaster):
    """The mean of four weeks by weekday, without quantiles."""

    name: ClassVar[str] = "points_only"
    fitted_type: ClassVar[type[Fitted]] = PointsOnlyFitted
    probabilistic: ClassVar[bool] = False

    def _fit(self, train: Panel, horizon: int) -> Fitted:
        return PointsOnlyFitted(recipe=self, history=train)

    @classmethod
    def examples(cls) -> Iterator[Self]:
        yield cls()


def rows(report: Report) -> list[dict[str, Any]]:
    found = []
    for scheme, how in SCHEMES.items():
        view = report.calibrated(how)
        deciles = view.scores(["model", "volume_decile"]).groupby("model")["coverage"]
        for score in view.scores().to_dict("records"):
            lowest, highest = deciles.min()[score["model"]], deciles.max()[score["model"]]
            numbers = {k: round(score[k], 4) for k in ("coverage", "width", "wis", "wql")}
            spread = {"lowest_decile": round(lowest, 3), "highest_decile": round(highest, 3)}
            found.append({"model": score["model"], "intervals": scheme, **numbers, **spread})
    return sorted(found, key=lambda row: report.models.index(row["model"]))


def notes(found: list[dict[str, Any]]) -> list[str]:
    remarks = ["coverage of the interval from 0.1 to 0.9, promised: 0.8; the deciles are of volume"]
    for scheme in SCHEMES:
        covered = [row["coverage"] for row in found if row["intervals"] == scheme and row["coverage"]]
        inside = sum(0.77 <= c <= 0.83 for c in covered)
        remarks.append(
            f"{scheme}: {min(covered):.3f} to {max(covered):.3f}, {inside} of {len(covered)} within 0.77-0.83"
        )
    return remarks


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    panel = read(shared_data() / "m5_foods_ca_top500_daily.parquet", static=("store_id", "dept_id"))
    models: dict[str, Forecaster] = {name: create(name, season=panel.season) for name in MODELS}
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder=f"{folder}/run")
        report = backtest(panel, models | {"points_only": PointsOnly()}, run=run, horizon=28, windows=4, calibrate=4)
        found = rows(report)
    found = [{k: None if v != v else v for k, v in row.items()} for row in found]  # noqa: PLR0124 - NaN
    record("intervals", "Coverage of 80 % intervals, 500 grocery items (M5), 28 days, 4 windows", found, notes(found))


if __name__ == "__main__":
    main()
