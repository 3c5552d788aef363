"""CSV and Parquet files of a party: damaged, hostile and odd ones are one line each."""

from __future__ import annotations

import decimal
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_nb.data.at_party import PartyRows
from fusion_nb.errors import DataError

pytest.importorskip("pandas")
HEAD = b"a,b,label\n"
ROWS = b"".join(b"%d,%d,%d\n" % (i, 2 * i, i % 2) for i in range(20))


def read(path: Path) -> PartyRows:
    return PartyRows.read("north", str(path), "label")


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read(path)
    assert len(caught.value.message.splitlines()) == 1
    assert len(caught.value.message) < 400
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    "content", [HEAD + ROWS, b"\xef\xbb\xbf" + HEAD + ROWS, b"\n\n" + HEAD + ROWS]
)
def test_a_table_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    assert read(tmp_path / "a.csv").facts()[0]["rows"]["shape"] == (2,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "can't be read: No columns"),
        (b"\n\n\n", "can't be read: No columns"),
        (HEAD, "there are no rows"),
        (HEAD + b'"' + ROWS, "can't be read: Error tokenizing data"),
        (HEAD + ROWS + b'1,"2,0\n', "can't be read: Error tokenizing data"),
        (HEAD + ROWS + b"1,2,3,4,5\n", "can't be read: Error tokenizing data"),
        (b"a\0,b,label\n" + ROWS, "bytes that are no text"),
        ((HEAD + ROWS).decode().encode("utf-16"), "bytes that are no text"),
        (gzip.compress(HEAD + ROWS, mtime=0), "no text in UTF-8"),
        ("à,b,label\n".encode("latin-1") + ROWS, "no text in UTF-8"),
        (HEAD + ROWS + "é,1,0\n".encode("latin-1"), "no text in UTF-8"),
        (b"a,a,label\n" + ROWS, "several columns called 'a'"),
        (b"a,label,label\n" + ROWS, "several columns called 'label'"),
        (b'a, "b" ,label\n' + ROWS + b"1,\0,0\n", "columns that are not numbers"),
        (b",".join(b"%d" % i for i in range(60_000)) + b"\n", "60,000 columns, and 50,000 are"),
        (b"x" * (9 << 20) + b"\n", "the first line of"),
        (HEAD + b"inf,1,0\n" + ROWS, "infinite"),
        (HEAD + b"=cmd|'/c calc'!A1,1,0\n" + ROWS, "columns that are not numbers"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_csv_file_that_is_no_table(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    error = refused(tmp_path / "a.csv")
    assert said in error.message or (content[:2] == b"\x1f\x8b" and "no text" in error.message)


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    arrays = [pyarrow.array(column) for column in columns.values()]
    names = [name.rstrip("'") for name in columns]
    files.write_table(pyarrow.Table.from_arrays(arrays, names), path, **options)
    return path


LABELS = np.arange(20) % 2


@pytest.mark.parametrize(
    "column", [np.arange(20.0), [decimal.Decimal("1.5")] * 20, [True, False] * 10]
)
def test_numbers_of_any_kind_are_read(tmp_path: Path, column: Any) -> None:
    path = parquet(tmp_path / "a.parquet", {"a": column, "label": LABELS})
    assert read(path).facts()[0]["rows"]["shape"] == (1,)


@pytest.mark.parametrize("column", [[None] * 20, [1.0, None] * 10], ids=["all", "half"])
def test_that_numbers_are_missing_is_told_and_left_to_the_model(
    tmp_path: Path, column: list[Any]
) -> None:
    path = parquet(tmp_path / "a.parquet", {"a": column, "label": LABELS})
    assert read(path).facts()[0]["rows"]["has_missing"]


@pytest.mark.parametrize(
    "column",
    [
        [[1.0, 2.0]] * 20,
        [{"x": 1}] * 20,
        [b"\0\xff"] * 20,
        [["a", None]] * 20,
    ],
    ids=["lists", "mappings", "bytes", "half of words"],
)
def test_nested_columns_are_not_taken_for_text(tmp_path: Path, column: Any) -> None:
    path = parquet(tmp_path / "a.parquet", {"a": column, "label": LABELS})
    assert "the DataFrame 'north' has" in refused(path).message


def cut(content: bytes) -> bytes:
    return content[:-20]


def footer_of_two_gigabytes(content: bytes) -> bytes:
    return content[:-8] + (2**31 - 1).to_bytes(4, "little") + content[-4:]


def noise(content: bytes) -> bytes:
    return b"PAR1" + bytes(range(256)) * 4 + b"PAR1"


@pytest.mark.parametrize(
    "damage", [cut, footer_of_two_gigabytes, noise, lambda content: b"", lambda content: HEAD]
)
def test_a_damaged_parquet_file(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = parquet(tmp_path / "a.parquet", {"a": np.arange(20.0), "label": LABELS})
    path.write_bytes(damage(path.read_bytes()))
    assert "can't be read: " in refused(path).message


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_file_that_declares_too_much_is_not_read(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pytest.importorskip("pyarrow.parquet")
    read = "iter_batches"
    monkeypatch.setattr(files.ParquetFile, read, lambda *_: pytest.fail("it was read"))
    zeros = np.zeros(70_000_000, np.int8)
    columns = {"a": zeros, "label": zeros}
    path = parquet(tmp_path / "a.parquet", columns, compression=compression)
    error = refused(path)
    assert "it declares 1,120 MB of values" in error.message
    assert "FUSION_NB_MAX_UNPACKED=1120000000" in error.hint


def test_text_that_is_declared_once_counts_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrow = pytest.importorskip("pyarrow")
    rows = np.zeros(20_000, np.int32)
    column = arrow.DictionaryArray.from_arrays(rows, ["long " * 200])
    path = parquet(tmp_path / "a.parquet", {"a": column, "label": rows}, store_schema=False)
    assert path.stat().st_size < 10_000
    read(path)
    monkeypatch.setattr("fusion_nb.core.files.file_sizes.limit_for", lambda *_: 2_000_000)
    error = refused(path)
    assert "it holds at least 8 MB of values" in error.message
    assert "FUSION_NB_MAX_UNPACKED=8" in error.hint


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", {"a": LABELS, "label": LABELS, "label'": LABELS})
    assert "several columns called 'label'" in refused(path).message


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "a\0.csv"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    error = refused(tmp_path / name)
    assert ("there is no file" if "\0" not in name else "can't be read") in error.message
