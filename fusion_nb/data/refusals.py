"""The errors for values that hold no data set, each with what to write instead."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core.own_rows.reading import LengthError
from fusion_nb.data import table_files
from fusion_nb.data.unwrapping import named
from fusion_nb.errors import DataError, NameNotFoundError, nearest, option

_FORMS = (
    "give (x, y), ((x, y), (x_test, y_test)), a DataFrame, a Dataset, or for a Doc2Vec a list of "
    "texts; a list or dict of these means parties"
)
#: Endings of files that `data` names without being read by the user first.
FILE_ENDINGS = (".npz", *table_files.READERS)
_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
#: How files of other kinds are read.
_READERS = {
    ".tsv": "frame = pandas.read_csv(path, sep='\\t')",
    ".txt": "frame = pandas.read_csv(path), or texts = open(path).read().splitlines()",
    ".feather": "frame = pandas.read_feather(path)",
    ".xlsx": "frame = pandas.read_excel(path)",
    ".json": "frame = pandas.read_json(path)",
    ".jsonl": "frame = pandas.read_json(path, lines=True)",
    ".npy": "(numpy.load(path_of_x), numpy.load(path_of_y))",
    ".pt": "torch.load(path)",
    ".pkl": "pandas.read_pickle(path), of files that you trust",
    ".h5": "h5py.File(path)['x'][:], and the same for y",
    ".hdf5": "h5py.File(path)['x'][:], and the same for y",
    ".mat": "scipy.io.loadmat(path)",
}


def no_data_set(value: Any, name: str) -> DataError:
    """Return the error for a value that stands where a data set should be.

    name: of the variable that holds it
    """
    what = "function" if callable(value) and hasattr(value, "__code__") else type(value).__name__
    return DataError(
        f"{option('data', repr(name))} is or holds {what} where rows with labels should be",
        _hint(value),
        value=name,
    )


def wrong_tuple(value: tuple[Any, ...], name: str) -> DataError:
    """Return the error for a tuple that is no pair."""
    return DataError(
        f"{option('data', repr(name))} holds a tuple of {len(value)}",
        "write it as (x, y) or ((x, y), (x_test, y_test)); parties with a test set of the "
        "aggregator are ([party, ...], test)",
        value=name,
    )


def _hint(value: Any) -> str:
    if isinstance(value, Mapping):
        return _hint_for_dict(value)
    if isinstance(value, list):
        return _hint_for_list(value)
    if isinstance(value, os.PathLike):
        return "give files of parties as a list of paths, or read it first: numpy.load, pandas"
    if isinstance(value, str | bytes):
        return (
            "give documents as a list of texts, files of parties as a list of paths, and a list "
            "or dict of data sets for parties"
        )
    if hasattr(value, "get_data"):
        return f"a class with get_data() is named by {option('data_handler')}"
    if hasattr(value, "__code__"):
        return "call it, and give its result"
    if hasattr(value, "__iter__") and not hasattr(value, "__getitem__"):
        return "read it first, with list(...): a list of pairs (x, y), or of documents"
    if isinstance(value, np.ndarray) and value.dtype.names:
        return "give pandas.DataFrame(array), whose columns have these names"
    if hasattr(value, "shape"):
        return (
            "give rows with their labels: (x, y), with round brackets; (x, x) where the model "
            "needs none, as k-means or an autoencoder; a list means parties"
        )
    return _FORMS


def _hint_for_dict(value: Mapping[Any, Any]) -> str:
    if are_columns(value):
        return "columns of a table are given as pandas.DataFrame(columns)"
    return (
        "a dict of parties, or of 'train' and 'test', holds data sets such as (x, y); a row that "
        "is a dict belongs into a pandas.DataFrame(rows), or into a Dataset"
    )


def _hint_for_list(value: list[Any]) -> str:
    if value and all(isinstance(row, dict) for row in value):
        return "rows that are dicts are given as pandas.DataFrame(rows)"
    if len(value) == 2 and all(hasattr(part, "__len__") for part in value):
        return "write (x, y) with round brackets; a list means parties"
    return _FORMS


def are_columns(value: Mapping[Any, Any]) -> bool:
    """Return whether a dict is the columns of one table: lists or arrays of one length."""
    columns = [part for part in value.values() if _is_column(part)]
    is_all = len(columns) == len(value) > 0
    return is_all and len({len(part) for part in columns}) == 1


def _is_column(value: Any) -> bool:
    if hasattr(value, "shape"):
        return len(value.shape) == 1
    scalars = (str, int, float, bool, type(None))
    is_plain = isinstance(value, list) and all(isinstance(item, scalars) for item in value)
    return is_plain and not all(isinstance(item, str) and " " in item for item in value)


def no_such_data(text: str, known: Sequence[str]) -> NameNotFoundError:
    """Return the error for text that names neither a variable, nor a data set, nor such files."""
    ending = Path(text).suffix.lower()
    reader = _READERS.get(ending, "")
    hint = f"{nearest(text, known)}there are: {', '.join(known)}"
    if reader:
        hint = f"read a file of this kind first, and give the result: {reader}"
    elif os.path.isdir(text) or ending in _IMAGES:
        hint = (
            f"files of parties are named by a pattern, as {os.path.join(text, '*.csv')}; "
            if not ending
            else ""
        ) + (
            "images are given as a Dataset that reads them, as "
            "torchvision.datasets.ImageFolder(folder, transform), or as arrays"
        )
    return NameNotFoundError(
        f"{option('data', repr(text))} is neither a variable, nor a known data set, nor a file "
        f"that ends in {', '.join(FILE_ENDINGS)}",
        hint,
        value=text,
        allowed=known,
    )


def of_no_party(error: DataError) -> DataError:
    """Return the error of a row that can't be read, where the rows are not divided yet."""
    if error.__cause__ is None or isinstance(error, LengthError):
        return error
    return DataError(
        error.to_dict()["message"],
        "mend or drop the row; rows are divided among parties by their labels, so a quorum can't "
        "leave out this one",
    )


def paths_in(value: Any) -> list[str] | dict[str, str]:
    """Return the paths of files that a list or a dict of parties holds, or nothing."""
    parts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(parts, list) or not parts or not all(map(_is_path, parts)):
        return []
    if isinstance(value, dict):
        return {party: os.path.expanduser(part) for party, part in named(value).items()}
    return [os.path.expanduser(part) for part in parts]


def _is_path(value: Any) -> bool:
    return isinstance(value, os.PathLike) or (
        isinstance(value, str) and value.lower().endswith(FILE_ENDINGS)
    )
