"""What an estimated model tells: coefficients with standard errors, criteria, and tests of its residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import stats

from forecastkit.arima import estimation as est
from forecastkit.arima import information
from forecastkit.arima import panel as core
from forecastkit.arima.panel import Demand
from forecastkit.data.panel import Floats
from forecastkit.errors import FitError

_BLOCKS = (("ar.L", 0, False), ("ma.L", 2, False), ("ar.S.L", 3, True), ("ma.S.L", 5, True))


@dataclass(frozen=True, eq=False)
class Summary:
    """One series' model. `str()` is the usual table; the numbers stand in the fields.

    names, estimates, errors: [k] coefficients, regression, sigma2, with standard errors from the observed information
    (of regression and sigma2 from their own, given the coefficients; NaN where the likelihood is flat) · llf, of the
    differenced series · aic, aicc, bic · observed: values that the likelihood counts · ljung_box: (lags, statistic, p)
    with the coefficients taken off the degrees of freedom (Ljung & Box 1978, Biometrika 65) · jarque_bera: (statistic,
    p).
    """

    series: str
    model: str
    names: tuple[str, ...]
    estimates: Floats
    errors: Floats
    llf: float
    aic: float
    aicc: float
    bic: float
    observed: int
    ljung_box: tuple[int, float, float]
    jarque_bera: tuple[float, float]
    reason: str

    @classmethod
    def of(cls, series: str, demand: Demand, i: int, row: Floats, known: Sequence[str]) -> Self:
        """The summary of series i; `known` names its encoded covariates."""
        code = int(row[est.REASON])
        if code in est.FAILED:
            raise FitError(f"nothing was estimated: {est.REASONS[code]}", series=series)
        order = [int(value) for value in row[est.ORDER : est.ORDER + 7]]
        names = [
            f"{name}{(lag + 1) * (order[6] if seasonal else 1)}"
            for name, place, seasonal in _BLOCKS
            for lag in range(order[place])
        ]
        coefficients = _coefficients(row, order)
        errors, spread = information.standard_errors(demand, i, row)
        effects = _regression_names(row, known)
        residual = core.residuals(Demand(*demand.piece(i, i + 1)), row[None])
        residual = residual[~np.isnan(residual)]
        with np.errstate(over="ignore"):  # of demand of 1e200 units
            sigma2 = row[est.SIGMA] ** 2
        values = np.concatenate([[row[est.REGRESSION + k] for _, k in effects], coefficients, [sigma2]])
        sigma2_error = sigma2 * np.sqrt(2 / max(row[est.OBSERVED], 1))
        all_errors = np.concatenate([[spread[k] for _, k in effects], errors, [sigma2_error]])
        aic, aicc, bic = (float(value[0]) for value in est.criteria(row[None]))
        return cls(
            series=series,
            model=_model(order, row),
            names=(*(name for name, _ in effects), *names, "sigma2"),
            estimates=values,
            errors=all_errors,
            llf=float(row[est.LOG_LIKELIHOOD]),
            aic=aic,
            aicc=aicc,
            bic=bic,
            observed=int(row[est.OBSERVED]),
            ljung_box=ljung_box(residual, len(coefficients), order[6]),
            jarque_bera=_jarque_bera(residual),
            reason=est.REASONS[code],
        )

    def __str__(self) -> str:
        lines = [
            f"{self.model} on {self.series!r}",
            f"observations {self.observed}   log likelihood {self.llf:.3f}   AIC {self.aic:.3f}   "
            f"AICc {self.aicc:.3f}   BIC {self.bic:.3f}",
            *([f"note: {self.reason}"] if self.reason else []),
            "",
            f"{'':16}{'coef':>12}{'std err':>12}{'z':>10}{'P>|z|':>9}{'[0.025':>12}{'0.975]':>12}",
        ]
        for name, value, error in zip(self.names, self.estimates, self.errors, strict=True):
            z = value / error if error > 0 else np.nan
            p = 2 * stats.norm.sf(abs(z))
            low, high = value - 1.96 * error, value + 1.96 * error
            lines.append(f"{name:16}{value:12.5g}{error:12.4g}{z:10.3f}{p:9.3f}{low:12.5g}{high:12.5g}")
        (lags, statistic, p), (jb, jb_p) = self.ljung_box, self.jarque_bera
        tests = f"Ljung-Box (L{lags}) {statistic:.2f}, p {p:.3f}   Jarque-Bera {jb:.2f}, p {jb_p:.3f}"
        return "\n".join([*lines, "", tests])


def ljung_box(residual: Floats, coefficients: int, season: int) -> tuple[int, float, float]:
    """Lags, statistic and p of the test that residuals are not correlated; two seasons of lags, or 10 (FPP3, 5.4)."""
    n = len(residual)
    lags = min(2 * season if season > 1 else 10, n // 5)
    free = lags - coefficients
    centred = residual - residual.mean() if n else residual
    total = float(centred @ centred)
    if free < 1 or total <= 0:
        return max(lags, 0), float("nan"), float("nan")
    correlations = np.array([centred[k:] @ centred[:-k] for k in range(1, lags + 1)]) / total
    statistic = float(n * (n + 2) * np.sum(correlations**2 / (n - np.arange(1, lags + 1))))
    return lags, statistic, float(stats.chi2.sf(statistic, free))


def _jarque_bera(residual: Floats) -> tuple[float, float]:
    if len(residual) < 3 or not residual.std() > 0:
        return float("nan"), float("nan")
    found = stats.jarque_bera(residual)
    return float(found.statistic), float(found.pvalue)


def _coefficients(row: Floats, order: Sequence[int]) -> Floats:
    parts = [
        row[est.COEFFICIENTS + block * est.LARGEST :][: order[place]] for block, (_, place, _) in enumerate(_BLOCKS)
    ]
    return np.concatenate(parts)


def _regression_names(row: Floats, known: Sequence[str]) -> list[tuple[str, int]]:
    """Names of the regression's columns in use, and their places in it."""
    names = [("drift" if row[est.ORDER + 1] + row[est.ORDER + 4] else "const", 0)] if row[est.CONSTANT] else []
    names += [("trend.100", 1)] if row[est.LINE] else []
    for pair in range(int(row[est.PAIRS])):
        names += [(f"sin.{pair + 1}", 2 + 2 * pair), (f"cos.{pair + 1}", 3 + 2 * pair)]
    first = len(row) - est.REGRESSION - len(known)
    return names + [(name, first + k) for k, name in enumerate(known)]


def _model(order: Sequence[int], row: Floats) -> str:
    p, d, q, big_p, big_d, big_q, m = order
    seasonal = f"({big_p}, {big_d}, {big_q})[{m}]" if big_p + big_d + big_q else ""
    waves = f" with {int(row[est.PAIRS])} Fourier pairs" if row[est.PAIRS] else ""
    return f"{'S' if seasonal else ''}ARIMA({p}, {d}, {q}){seasonal}{waves}"
