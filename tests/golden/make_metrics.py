"""Make metrics.json: a small case whose metrics are computed term by term in exact fractions, not by forecastkit.

python tests/golden/make_metrics.py
"""

from __future__ import annotations

import json
import random
from fractions import Fraction
from math import sqrt
from pathlib import Path

SEASON, LEVELS = 4, (Fraction(1, 10), Fraction(9, 10))


def case() -> dict[str, list]:
    draw = random.Random(20)
    train = [[draw.randint(0, 40) for _ in range(12)] for _ in range(3)]
    y = [[draw.randint(0, 40) for _ in range(6)] for _ in range(3)]
    forecast = [[draw.randint(0, 40) for _ in range(6)] for _ in range(3)]
    quantiles = [[[f - draw.randint(0, 9), f + draw.randint(0, 9)] for f in row] for row in forecast]
    return {"train": train, "y": y, "forecast": forecast, "quantiles": quantiles}


def expected(train: list[int], y: list[int], forecast: list[int], quantiles: list[list[int]]) -> dict[str, float]:
    errors = [Fraction(f - a) for f, a in zip(forecast, y, strict=True)]
    changes = [Fraction(b - a) for a, b in zip(train, train[SEASON:], strict=False)]
    volume, n = sum(y), len(y)
    squared = sum(e * e for e in errors) / n
    losses = [
        level * (a - q[k]) if a >= q[k] else (level - 1) * (a - q[k])
        for k, level in enumerate(LEVELS)
        for a, q in zip(y, quantiles, strict=True)
    ]
    relative = [200 * abs(e) / Fraction(a + f) if a + f else 0 for e, a, f in zip(errors, y, forecast, strict=True)]
    absolute = sum(abs(e) for e in errors)
    return {
        "mae": float(absolute / n),
        "rmse": sqrt(squared),
        "wape": float(absolute / volume),
        "smape": float(sum(relative) / n),
        "bias": float(sum(errors) / volume),
        "mase": float(absolute / n / (sum(abs(c) for c in changes) / len(changes))),
        "rmsse": sqrt(squared / (sum(c * c for c in changes) / len(changes))),
        "wql": float(2 * sum(losses) / len(LEVELS) / volume),
        "coverage": float(Fraction(sum(q[0] <= a <= q[1] for a, q in zip(y, quantiles, strict=True)), n)),
    }


def main() -> None:
    content = case()
    rows = [expected(*parts) for parts in zip(*content.values(), strict=True)]
    content["expected"] = {name: [row[name] for row in rows] for name in rows[0]}
    text = json.dumps({"made_by": "python tests/golden/make_metrics.py", **content})
    (Path(__file__).parent / "metrics.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
