"""CSV and Parquet in and out; "-" is standard input or output."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from forecastkit.data.door import Columns, from_frame
from forecastkit.data.panel import Panel
from forecastkit.errors import ConfigError, DataError, StoreError

if TYPE_CHECKING:
    import pandas as pd

_PARQUET = (".parquet", ".pq")
_MAGIC = b"PAR1"
_DESCRIPTOR = re.compile(r"(?:/dev|/proc/self)/(stdout|stderr|fd/\d+)")  # what stdout was sent to may be a file
_OTHERS = {
    b"PK\x03\x04": "is an Excel or zip file: save its table as CSV",
    b"\xd0\xcf\x11\xe0": "is an Excel file: save its table as CSV",
    b"\xff\xfe": "is in UTF-16: save it in UTF-8",
    b"\xfe\xff": "is in UTF-16: save it in UTF-8",
}


def read(source: str | Path, *, freq: str | None = None, **columns: Any) -> Panel:
    """A panel from a CSV or Parquet file, "-" (standard input), or `dataset:NAME`.

    `columns` are the fields of `door.Columns`: id, time, target, known, past, static, available; other columns are
    ignored. Raises `DataError` when the file can't be read or its table makes no panel.
    """
    text = str(source)
    if text.startswith("dataset:"):
        from forecastkit.data import datasets

        return datasets.load(text.removeprefix("dataset:"))
    roles = Columns(**columns)
    table = read_table(source, roles)
    with said_of(source):
        return from_frame(table, roles, freq)


def read_table(source: str | Path, columns: Columns | None = None) -> pa.Table:
    """The table of a file; of a Parquet file only the columns that have a role. Raises `DataError`."""
    with _readable(source):
        if str(source) == "-":
            return _from_bytes(sys.stdin.buffer.read(), columns)
        path = Path(source)
        with path.open("rb") as file:
            _check_kind(file.read(4))
        if path.suffix.lower() in _PARQUET:
            return _parquet(path, columns)
        with pa.input_stream(str(path), compression="detect") as stream:
            return _csv(stream, columns)


@contextmanager
def said_of(source: str | Path) -> Iterator[None]:
    """Name the file in what is wrong with its table: a command may read several."""
    try:
        yield
    except DataError as error:
        raise error.of(_called(source)) from error


def _called(source: str | Path) -> str:
    return "standard input" if str(source) == "-" else str(source)


@contextmanager
def _readable(source: str | Path) -> Iterator[None]:
    """Say what can't be read, whatever the library underneath calls it."""
    where = _called(source)
    try:
        with said_of(source):
            yield
    except FileNotFoundError as error:
        raise DataError(f"{where}: no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not in UTF-8 ({error}): save it so") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        said = str(error).splitlines()[0]
        reason = "is not in UTF-8: save it so" if "UTF8" in said else f"can't be read as CSV or Parquet: {said}"
        raise DataError(f"{where} {reason}") from error
    except OSError as error:
        reason = "it is a folder, name a file in it" if Path(source).is_dir() else str(error.strerror or error)
        raise DataError(f"{where} can't be read: {reason}") from error


def _check_kind(head: bytes) -> None:
    """Refuse what the first bytes of a file say is of another kind, which Arrow would try to make sense of."""
    for mark, what in _OTHERS.items():
        if head.startswith(mark):
            raise DataError(f"this {what}")


def _from_bytes(content: bytes, columns: Columns | None) -> pa.Table:
    _check_kind(content[:4])
    buffer = io.BytesIO(content)
    return _parquet(buffer, columns) if content[:4] == _MAGIC else _csv(buffer, columns)


def _parquet(source: Any, columns: Columns | None) -> pa.Table:
    file = pq.ParquetFile(source)
    names = file.schema_arrow.names
    wanted = names if columns is None else [name for _, name in columns if name in names]
    table = file.read(columns=wanted)
    # The unread columns stay as names, so that an error can offer the closest.
    for name in names:
        if name not in wanted:
            table = table.append_column(name, pa.nulls(table.num_rows))
    return table


def _csv(stream: Any, columns: Columns | None) -> pa.Table:
    """Ids are read as text, so that 007 stays 007 and NA a region; times too, so that they keep their offsets."""
    kinds = {} if columns is None else {columns.id: pa.string(), columns.time: pa.string()}
    options = pa.csv.ConvertOptions(column_types=kinds, null_values=["", "NA", "NaN", "nan", "null"])
    odd: list[str] = []
    try:
        table = pa.csv.read_csv(stream, convert_options=options, parse_options=_noting(odd))
    except pa.ArrowInvalid:
        _check_separated(*odd)
        raise
    (name, *more) = table.column_names  # what is no text at all shows here, where it can be said of the file
    if not more:
        _check_separated(name)
    return table if columns is None else _emptied(table, {name for _, name in columns})


def _noting(odd: list[str]) -> pa.csv.ParseOptions:
    """Rows of more columns than the one that the header has: decimal commas, where something else separates."""

    def row(found: pa.csv.InvalidRow) -> str:
        if found.expected_columns == 1 and found.text:
            odd.append(found.text)
        return "error"

    return pa.csv.ParseOptions(invalid_row_handler=row)


def _check_separated(*texts: str) -> None:
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if any(mark in text for text in texts):
            raise DataError(
                f"columns are separated by {name}: save the file with commas and decimal points, or read it in pandas"
            )


def _emptied(table: pa.Table, names: set[str]) -> pa.Table:
    """Text columns with nothing where the file has an empty cell."""
    for k, name in enumerate(table.column_names):
        column = table.column(k)
        if name in names and pa.types.is_string(column.type):
            empty = pc.equal(column, "")
            table = table.set_column(k, name, pc.if_else(empty, pa.scalar(None, pa.string()), column))
    return table


def write_table(frame: pd.DataFrame, target: str | Path) -> None:
    """Write a table as CSV or, by the file's ending, Parquet; "-" is CSV on standard output. Raises `StoreError`."""
    if str(target) == "-":
        frame.to_csv(sys.stdout, index=False)
        return
    path = Path(target)
    if path.suffix.lower() not in (*_PARQUET, ".csv", ""):
        raise ConfigError(f"{path}: a table is written as .csv or .parquet, not as {path.suffix}")
    if path.suffix.lower() in _PARQUET:
        write_atomic(path, lambda out: frame.to_parquet(out, index=False))
    else:
        write_atomic(path, lambda out: frame.to_csv(out, index=False))


def _is_stream(path: Path) -> bool:
    """Whether something stands there that is neither a file nor a folder: /dev/stdout, a named pipe."""
    named = _DESCRIPTOR.fullmatch(str(path)) is not None
    return named or (path.exists() and not path.is_file() and not path.is_dir())


def _opened(path: Path) -> IO[bytes]:
    """A stream to write to; one that this process has open already goes on where it stands."""
    found = _DESCRIPTOR.fullmatch(str(path))
    if found is None:
        return path.open("wb")
    name = found.group(1)
    return os.fdopen(os.dup({"stdout": 1, "stderr": 2}.get(name) or int(name.rpartition("/")[2])), "wb")


def check_writable(path: Path) -> None:
    """Raise `StoreError` now where `write_atomic(path, ...)` could not write; an old file there stays as it is."""
    if path.is_dir():
        raise StoreError(f"{path} can't be written: it is a folder, name a file in it")
    if _is_stream(path):
        return
    with writing(path, path.parent):
        handle, name = _beside(Path(os.path.realpath(path)))
        os.close(handle)
        Path(name).unlink()


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write beside `path` and rename: readers see the old file or the new one, and a full disk leaves no half.

    A device or a pipe is written to as it is, and a link stays one.
    """
    with writing(path, path.parent):
        if _is_stream(path):
            with _opened(path) as out:
                write(out)
            return
        path = Path(os.path.realpath(path))
        handle, name = _beside(path)
        try:
            with os.fdopen(handle, "wb") as out:
                write(out)
            Path(name).chmod(0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)


def _beside(path: Path) -> tuple[int, str]:
    """An open empty file of a name of its own, in the folder of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")


@contextmanager
def writing(place: Path, folder: Path) -> Iterator[None]:
    """Say of `place`, which a person named, what the system says of files in and beside it; `folder` has to be one."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        # numpy's short write has no word of its own
        reason = _in_the_way(folder) or error.strerror or f"{error}; is the disk full?"
        raise StoreError(f"{place} can't be written: {reason}") from error


def _in_the_way(folder: Path) -> str:
    """What to say of a file that stands where `folder`, or one above it, is to be; or nothing."""
    places = (folder, *folder.parents)
    file = next((place for place in places if os.path.isfile(place)), None)  # silent where nothing may be seen
    return "" if file is None else f"{file} is a file where a folder is needed: choose another name, or move the file"
