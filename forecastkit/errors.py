"""Every error that forecastkit raises on purpose.

::

    ForecastkitError
    ├─ DataError (ValueError)              exit 3   the table, or what is missing from it
    │  ├─ ColumnError                               a column is not there
    │  ├─ FrequencyError                            no regular frequency, or not the one that was asked for
    │  └─ SeriesTooShortError                       a series has fewer periods than the work needs
    ├─ ConfigError (ValueError)            exit 2   an option, a hyperparameter, a plan
    │  └─ UnknownModelError (LookupError)           no model of that name
    ├─ MissingExtraError (ImportError)     exit 4   an optional dependency is not installed
    ├─ FitError (RuntimeError)             exit 5   a model could not be estimated
    └─ StoreError (OSError)                exit 6   a folder or file is unreadable, damaged or of another version

Each inherits the builtin that a stranger would catch, and carries its facts as attributes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar, Self


class ForecastkitError(Exception):
    """The root of the tree; `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 70

    def __reduce__(self) -> tuple[Any, ...]:
        """As it stands, so that it comes back whole from another process."""
        return _again, (type(self), self.args, self.__dict__)


class DataError(ForecastkitError, ValueError):
    """Something is wrong with the data; `series` names the first bad one where there is one, `every` all known ones."""

    exit_code = 3

    def __init__(self, message: str, *, series: str | None = None, every: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.series, self.every = series, _all(series, every)

    def of(self, file: str) -> Self:
        """The same error, said of the file that it is about."""
        again: Self = _again(type(self), (f"{file}: {self}",), self.__dict__)
        return again


class ColumnError(DataError):
    """A column is not in the table; carries `column` and the `found` ones. What to do: `option`, or other words."""

    def __init__(
        self, column: str, found: Iterable[str], *, role: str = "", option: str = "", remedy: str = ""
    ) -> None:
        self.column, self.found = column, tuple(map(str, found))
        what = f"no column {column!r}" + (f" for the {role}" if role else "")
        remedy = remedy or (f"name it with {option}" if option else "")
        how = f"; {remedy}" if remedy else ""
        super().__init__(
            f"{what}{closest(column, self.found) or '.'} Columns found: {', '.join(self.found) or 'none'}{how}"
        )


class FrequencyError(DataError):
    """The times don't keep one frequency; carries the `expected` alias where one was asked for."""

    def __init__(self, message: str, *, series: str | None = None, expected: str | None = None) -> None:
        super().__init__(message, series=series)
        self.expected = expected


class SeriesTooShortError(DataError):
    """A series has `found` periods where `needed` are required."""

    def __init__(self, series: str, *, needed: int, found: int, what: str) -> None:
        message = f"series {series!r} has {counted(found, 'period')}, {what} needs at least {needed}"
        super().__init__(message, series=series)
        self.needed, self.found = needed, found


class ConfigError(ForecastkitError, ValueError):
    """An option or a hyperparameter makes no sense."""

    exit_code = 2


class UnknownModelError(ConfigError, LookupError):
    """No model has this name; carries `name` and the `known` ones."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, tuple(known)
        super().__init__(f"no model named {name!r}{closest(name, self.known) or '.'} Models: {', '.join(self.known)}")


class MissingExtraError(ForecastkitError, ImportError):
    """An optional dependency is not installed; carries the `extra` that brings it."""

    exit_code = 4

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'forecastkit[{extra}]'")
        self.extra = extra


class FitError(ForecastkitError, RuntimeError):
    """A model could not be estimated; carries `model` and `series`, the first bad one of `every` that is known."""

    exit_code = 5

    def __init__(self, message: str, *, model: str = "", series: str | None = None, every: Iterable[str] = ()) -> None:
        where = f"{model} on series {series!r}: " if series is not None else f"{model}: " if model else ""
        super().__init__(where + message)
        self.model, self.series, self.reason = model, series, message
        self.every = _all(series, every)


class StoreError(ForecastkitError, OSError):
    """A folder or file can't be read or written, is damaged, or is of another version."""

    exit_code = 6


def _all(first: str | None, every: Iterable[str]) -> tuple[str, ...]:
    return tuple(every) or (() if first is None else (first,))


def counted(count: int, one: str, many: str = "") -> str:
    """A count and its noun: "1 row", "2 rows"; `many` where more than an s is different ("series have")."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def such(count: int) -> str:
    """The words " (21 such)" after the first of several, or nothing."""
    return f" ({count:,} such)" if count > 1 else ""


def _again(cls: type[ForecastkitError], args: tuple[Any, ...], facts: dict[str, Any]) -> Any:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


def closest(name: str, known: Iterable[str]) -> str:
    """The words ", did you mean 'x'?" for the nearest known name, or nothing."""
    found = nearest(name, known)
    return f", did you mean {found!r}?" if found is not None else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, whatever the case; of two that differ in case alone the one like it."""
    lower: dict[str, list[str]] = {}
    for k in known:
        lower.setdefault(k.lower(), []).append(k)
    near = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.6)
    if not near:
        return None
    return max(lower[near[0]], key=lambda k: difflib.SequenceMatcher(None, str(name), k).ratio())
