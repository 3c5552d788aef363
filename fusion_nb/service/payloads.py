"""Files of requests: a model, and a party's rows, written in the formats that the service reads."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fusion_nb.core import documents
from fusion_nb.core.files.storage import write_npz
from fusion_nb.errors import DataError, ModelError
from fusion_nb.models import lookup
from fusion_nb.service.model_types import MODEL_FILES, model_type_of

_ROWS_HINT = "give (x, y), or ((x, y), (x_test, y_test)), or the path of a file and its handler"


def open_file(path: str | Path) -> BinaryIO:
    """Open a file. Raises DataError if it can't be read."""
    try:
        return Path(path).open("rb")
    except OSError as error:
        line = f"{path} can't be read ({error.strerror})"
        raise DataError(line, f"the current folder is {Path.cwd()}") from None


def model_file(model: Any, folder: Path) -> tuple[str, Path]:
    """Return a model's type and its file.

    model:  a model, which is written into `folder`, or the path of its file
    Raises ModelError for a file that does not exist, and for a framework that the service lacks.
    """
    if isinstance(model, str | Path):
        return _type_of_file(Path(model))
    adapter = lookup.wrap(model, "the model")
    model_type = model_type_of(lookup.framework_of(model))
    if not model_type:
        raise ModelError(
            f"the service takes no {adapter.kind}", f"it takes: {', '.join(MODEL_FILES)}"
        )
    path = folder / MODEL_FILES[model_type]
    adapter.save(path, adapter.get_weights(), adapter.whole_format)
    return model_type, path


def _type_of_file(path: Path) -> tuple[str, Path]:
    if not path.is_file():
        raise ModelError(f"there is no file {path}", f"the current folder is {Path.cwd()}")
    suffixes = {Path(name).suffix: model_type for model_type, name in MODEL_FILES.items()}
    if path.suffix not in suffixes:
        raise ModelError(
            f"{path} has no suffix of a model's file", f"those are: {', '.join(suffixes)}"
        )
    return suffixes[path.suffix], path


def central_test_file(test: Any) -> BinaryIO:
    """Return a test set as an .npz. test: (x_test, y_test). Raises DataError for anything else."""
    if not _is_pair(test):
        line = f"test is {type(test).__name__}, not a pair"
        raise DataError(line, "give test=(x_test, y_test)")
    return npz_file({"x_test": test[0], "y_test": test[1]})


def rows_file(data: Any) -> BinaryIO:
    """Return a party's rows as an .npz.

    data: (x, y), or ((x, y), (x_test, y_test)). Raises DataError for anything else.
    """
    if not _is_pair(data):
        raise DataError(f"a party's data is {type(data).__name__}, not a pair", _ROWS_HINT)
    train, test = data if isinstance(data[0], tuple) else (data, None)
    if not _is_pair(train) or (test is not None and not _is_pair(test)):
        raise DataError("a party's rows are no pair of x and y", _ROWS_HINT)
    arrays = {"x_train": train[0], "y_train": train[1]}
    if test is not None:
        arrays |= {"x_test": test[0], "y_test": test[1]}
    return npz_file(arrays)


def npz_file(arrays: Mapping[str, Any]) -> BinaryIO:
    """Return arrays as an .npz. Raises DataError for arrays of Python objects."""
    converted = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in converted.items():
        if array.dtype.hasobject:
            raise DataError(
                f"{name} holds Python objects, which are not sent",
                "send numbers, or a file and its handler",
            )
    file = io.BytesIO()
    write_npz(file, converted)
    file.seek(0)
    return file


def document_lines(train: Any, test: Any) -> str:
    """Return documents as text, one a line, for the data handler `documents`.

    train, test: pairs (documents, labels); test may be None
    """
    lines = []
    for split, rows in (("train", train), ("test", test)):
        if rows is None:
            continue
        labels = [None] * len(rows[0]) if documents.are_unlabelled(rows[1]) else rows[1].tolist()
        for document, label in zip(rows[0], labels, strict=True):
            line = {
                "words": list(document.words),
                "tags": list(document.tags),
                "label": label,
                "split": split,
            }
            lines.append(json.dumps(line) + "\n")
    return "".join(lines)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2
