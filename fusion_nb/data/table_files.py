"""Tables in files: CSV and Parquet, looked at before they are read, and refused in one line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fusion_nb.core.files import file_sizes
from fusion_nb.errors import DataError

#: Columns of a table, and bytes of the line of their names.
MOST_COLUMNS, _MOST_HEADER = 50_000, 8 << 20
#: A table may declare this number of bytes, or this multiple of its file's size, whichever is more:
#: columns that repeat themselves are packed well.
_ALWAYS_ALLOWED, _MULTIPLE = 1 << 30, 50
#: Bytes that a value takes at least once it is read, and rows that are read at a time.
_VALUE, _BATCH = 8, 8_192


def read(path: Path) -> Any:
    """Return the table in a `.csv` or `.parquet` file as a DataFrame.

    Raises DataError for a file that is damaged, too large once read, or has a column twice.
    """
    try:
        return READERS[path.suffix.lower()](path)
    except DataError:
        raise
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path} can't be read without {error.name}", f"pip install {error.name}"
        ) from None
    except MemoryError:
        raise DataError(
            f"{path} has more rows than there is memory", "give a part of its rows"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no text in UTF-8 (byte {error.start} of a value or a name)",
            "write it in UTF-8: pandas.read_csv(path, encoding='latin-1').to_csv(new_path)",
        ) from None
    except FileNotFoundError:
        raise DataError(f"there is no file {path}", f"the current folder is {Path.cwd()}") from None
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from None
    except Exception as error:  # pandas and pyarrow raise anything for a damaged file
        raise _damaged(path, str(error)) from None


def _read_csv(path: Path) -> Any:
    import pandas

    with path.open("rb") as file:
        header = file.readline(_MOST_HEADER + 1)
        while header and not header.strip():  # pandas leaves empty lines out
            header = file.readline(_MOST_HEADER + 1)
    if len(header) > _MOST_HEADER:
        raise DataError(
            f"the first line of {path} has more than {_MOST_HEADER:,} bytes",
            "give a CSV file whose first line names the columns",
        )
    if b"\0" in header:
        raise DataError(f"{path} is no CSV file: it holds bytes that are no text", _SAVE_AGAIN)
    names = next(csv.reader([header.decode("utf-8-sig")]), [])
    _check_names(path, [name.strip() for name in names])
    return pandas.read_csv(path)


def _read_parquet(path: Path) -> Any:
    from pyarrow import Table, parquet  # type: ignore[import-untyped]

    with parquet.ParquetFile(path) as file:
        about = file.metadata
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        _check_names(path, list(file.schema_arrow.names))
        values = about.num_rows * about.num_columns * _VALUE
        declared = max(values, sum(group.total_byte_size for group in groups))
        _check_size(path, declared, "declares", enough=declared)
        batches, size = [], 0
        # Text that repeats itself is declared once, and takes memory each time.
        for batch in file.iter_batches(_BATCH):
            size += batch.nbytes
            _check_size(path, size, "holds at least", enough=10 * size)
            batches.append(batch)
        return Table.from_batches(batches, file.schema_arrow).to_pandas()


def _check_size(path: Path, found: int, verb: str, *, enough: int) -> None:
    """Raise DataError for more bytes of values than a file of its size may have.

    verb: the relation of the file to the bytes that were found;  enough: a limit that lets it pass
    """
    size = path.stat().st_size
    limit = file_sizes.limit_for(size, _ALWAYS_ALLOWED, _MULTIPLE)
    if found > limit:
        raise DataError(
            f"{path} is refused: it {verb} {file_sizes.spelled(found)} of values, and a file "
            f"of {file_sizes.spelled(size)} may declare {file_sizes.spelled(limit)}",
            f"if you trust it, set the environment variable {file_sizes.VARIABLE}={enough} "
            "(bytes) and read it again",
        )


#: Ending of a file -> the function that reads it.
READERS: dict[str, Callable[[Path], Any]] = {".csv": _read_csv, ".parquet": _read_parquet}
_SAVE_AGAIN = "write it again: frame.to_csv(path, index=False), or frame.to_parquet(path)"


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Raise DataError for more columns than can be read, or a name that two columns have."""
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"{path} has {len(names):,} columns, and {MOST_COLUMNS:,} are allowed",
            "give many numbers of a row as one array, in a .npz file",
        )
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise DataError(
            f"{path} has several columns called {twice[0][:80]!r}", "give each a name of its own"
        )


def _damaged(path: Path, reason: str) -> DataError:
    line = " ".join(reason.replace(str(path), "it").split())[:200]
    return DataError(f"{path} can't be read: {line}", _SAVE_AGAIN)
