"""Files in and out."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastkit import read
from forecastkit.data import io
from forecastkit.data.io import check_writable, write_atomic
from forecastkit.errors import ColumnError, DataError, StoreError


@pytest.fixture
def table() -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=5)
    return pd.DataFrame(
        {"unique_id": ["007"] * 5 + ["a,b"] * 5, "ds": [*days, *days], "y": np.arange(10.0), "note": "x"}
    )


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_csv_and_parquet_give_the_same_panel(table: pd.DataFrame, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"demand.{ending}"
    table.to_parquet(file) if ending == "parquet" else table.to_csv(file, index=False)
    panel = read(file)
    assert panel.ids == ("007", "a,b")
    np.testing.assert_array_equal(panel.values, np.arange(10.0))


def test_standard_input_may_be_csv_or_parquet(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.to_csv(tmp_path / "a", index=False)
    table.to_parquet(tmp_path / "b")
    panels = []
    for name in "ab":
        with (tmp_path / name).open("r") as stream:
            monkeypatch.setattr("sys.stdin", stream)
            panels.append(read("-"))
    assert panels[0].fingerprint == panels[1].fingerprint


def test_only_the_columns_with_a_role_are_read(table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_parquet(tmp_path / "t.parquet")
    found = io.read_table(tmp_path / "t.parquet", io.Columns())
    assert found["note"].null_count == 10


def test_a_missing_column_is_offered_the_closest(table: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("t.parquet", "t.csv"):
        write = table.to_parquet if name.endswith("parquet") else table.to_csv
        write(tmp_path / name, index=False)
        with pytest.raises(ColumnError, match="did you mean 'note'"):
            read(tmp_path / name, known="notes")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.csv", None, "no such file"),
        ("empty.csv", b"", "can't be read"),
        ("torn.parquet", b"PAR1 torn", "can't be read"),
        ("ragged.csv", b"unique_id,ds,y\na,2024-01-01,1\na,2024-01-02\n", "Expected 3 columns"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "picture.csv"),
    ],
)
def test_a_file_that_is_no_table_is_a_data_error_naming_it(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read(file)
    assert caught.value.exit_code == 3


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        read(tmp_path)


def test_writing_replaces_whole_files_only(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text("old")

    def full(out: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="No space left"):
        io.write_atomic(file, full)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_pipe_is_written_to_and_a_link_stays_one(tmp_path: Path) -> None:
    """/dev/stdout and /dev/null are streams too: a file in their place would be in everybody's way."""
    pipe, link, file = tmp_path / "pipe", tmp_path / "link.csv", tmp_path / "real.csv"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    check_writable(pipe)
    write_atomic(pipe, lambda out: out.write(b"seen"))
    assert os.read(reader, 10) == b"seen"
    os.close(reader)
    assert pipe.is_fifo()
    with (tmp_path / "log").open("wb") as log:
        log.write(b"old ")
        log.flush()
        write_atomic(Path(f"/dev/fd/{log.fileno()}"), lambda out: out.write(b"new"))
    assert (tmp_path / "log").read_bytes() == b"old new"
    link.symlink_to(file)
    write_atomic(link, lambda out: out.write(b"seen"))
    assert link.is_symlink()
    assert file.read_bytes() == b"seen"


def test_a_written_table_reads_back(table: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("out.csv", "out.parquet"):
        io.write_table(table, tmp_path / name)
        assert read(tmp_path / name).ids == ("007", "a,b")


def test_csv_and_parquet_agree_on_times_with_offsets_and_regions_called_na(tmp_path: Path) -> None:
    days = pd.date_range("2024-03-20", periods=20, tz="Europe/Berlin")
    frame = pd.DataFrame({"unique_id": "NA", "ds": days, "y": np.arange(20.0)})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    csv, parquet = read(tmp_path / "t.csv"), read(tmp_path / "t.parquet")
    assert csv.fingerprint == parquet.fingerprint
    assert csv.ids == ("NA",)
    assert csv.freq == "D"


@pytest.mark.parametrize(
    "text", ["id;ds;y\na;2024-01-01;2\n", "id;ds;y\na;2024-01-01;2,5\n", "id\tds\ty\na\t2024-01-01\t2\n"]
)
def test_a_file_with_other_separators_is_told_so(tmp_path, text):
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(DataError, match=r"columns are separated by (semicolons|tabs): save the file with commas"):
        read(tmp_path / "other.csv")


def test_a_file_in_another_encoding_is_told_so(tmp_path):
    (tmp_path / "old.csv").write_bytes("unique_id,ds,Käufer\na,2024-01-01,1\n".encode("cp1252"))
    with pytest.raises(DataError, match="not in UTF-8"):
        read(tmp_path / "old.csv")


def test_numbers_with_commas_are_no_categories(tmp_path):
    (tmp_path / "price.csv").write_text(
        "unique_id,ds,y,price\n" + "".join(f'a,2024-01-0{k},1,"2,{k}"\n' for k in range(1, 9))
    )
    with pytest.raises(DataError, match=r"'price' has commas in its numbers, such as '2,1'"):
        read(tmp_path / "price.csv", known=("price",))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            FileExistsError(errno.EEXIST, "File exists"),
            "run can't be written: .*file is a file where a folder is needed",
        ),
        (StoreError("said already"), "^said already$"),
    ],
)
def test_what_stands_in_the_way_of_a_folder_is_said_and_nothing_twice(
    tmp_path: Path, error: OSError, words: str
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match=words), io.writing(Path("run"), tmp_path / "file"):
        raise error


def test_what_has_no_word_of_the_system_may_be_a_full_disk(tmp_path: Path) -> None:
    words = r"run can't be written: 5 requested and 3 written; is the disk full\?"
    with pytest.raises(StoreError, match=words), io.writing(Path("run"), tmp_path):
        raise OSError("5 requested and 3 written")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("unique_id,ds,y\ncaf\u00e9,2024-01-01,1\n".encode("latin-1"), " is not in UTF-8: save it so"),
        ("unique_id,ds,y\na,2024-01-01,1\n".encode("utf-16"), ": this is in UTF-16: save it in UTF-8"),
        (b"PK\x03\x04 what Excel writes", ": this is an Excel or zip file: save its table as CSV"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"table.csv{said}$"):
        read(file)


def test_a_folder_is_called_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is a folder, name a file in it"):
        read(tmp_path)
