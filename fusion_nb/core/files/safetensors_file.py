"""Named arrays in a file of the safetensors format, which any of its readers can open.

A header of JSON says where each array lies; the arrays follow as bytes. Arrays are written from
where they are, without a copy. Nothing in a file is executed.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fusion_nb.core.files.gathered import write_buffers
from fusion_nb.core.files.ordinary import open_ordinary, parse_json
from fusion_nb.core.types import Weights

#: numpy's name of a dtype -> that of the format.
_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "float16": "F16",
    "bfloat16": "BF16",
    "uint32": "U32",
    "int32": "I32",
    "float32": "F32",
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
}
_NUMPY_NAMES = {theirs: ours for ours, theirs in _DTYPES.items()}
#: Bytes of a header at most, as in the format's own reader.
_MAX_HEADER = 100_000_000
_METADATA = "__metadata__"


def write_safetensors(
    file: BinaryIO, arrays: Mapping[str, np.ndarray], about: Mapping[str, str] | None = None
) -> None:
    """Write named arrays. Arrays of other dtypes, such as text, are stored as bytes.

    about: texts that are stored beside them, by names that no array has
    """
    header: dict[str, Any] = {}
    texts = dict(about or {})
    ordered: list[np.ndarray] = []
    offset = 0
    # The format wants arrays of wide numbers first, so that all are aligned.
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):
        array = np.asarray(arrays[name], order="C")
        shape = list(array.shape)
        code = _code(array.dtype)
        if not code:
            texts[name] = json.dumps([array.dtype.str, shape])
            array = np.frombuffer(array.tobytes(), np.uint8)
            shape, code = list(array.shape), _DTYPES["uint8"]
        begin, offset = offset, offset + array.nbytes
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [begin, offset]}
        ordered.append(array)
    if texts:
        header = {_METADATA: texts, **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    write_buffers(
        file, [array.reshape(-1).view(np.uint8).data for array in ordered if array.nbytes]
    )


def read_safetensors(path: Path) -> Weights:
    """Return the arrays of a file, which may be written to.

    Raises OSError, or ValueError for a file that is not whole or not of this format.
    """
    return read_with_texts(path)[0]


def read_with_texts(path: Path) -> tuple[Weights, dict[str, str]]:
    """Return the arrays of a file, which may be written to, and the texts beside them.

    Raises OSError, or ValueError for a file that is not whole or not of this format.
    """
    with open_ordinary(path) as file:
        return read_parts(file, path.stat().st_size, path.name)


def read_parts(file: BinaryIO, size: int, said: str) -> tuple[Weights, dict[str, str]]:
    """Return the arrays and the texts in an open file, or in bytes in memory, of this size.

    said: how messages call it. Raises ValueError for a file that is not whole or of another format.
    """
    try:
        return _read_parts(file, size, said)
    except (TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"the header of {said} is damaged ({type(error).__name__})") from None


def _read_parts(file: BinaryIO, size: int, said: str) -> tuple[Weights, dict[str, str]]:
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(_MAX_HEADER, size - 8):
        raise ValueError(f"{said} is cut short")
    header = dict(parse_json(file.read(length), said))
    _check_sum(header, size - 8 - length, said)
    texts = dict(header.pop(_METADATA, {}))
    found = {}
    for name, about in header.items():
        begin, end = about["data_offsets"]
        dtype, shape = _dtype(about["dtype"]), [int(number) for number in about["shape"]]
        count = math.prod(shape)
        if min([0, *shape]) < 0 or count * dtype.itemsize != end - begin or begin < 0:
            raise ValueError(f"{name} in {said} has another size than its shape says")
        if 8 + length + end > size:
            raise ValueError(f"{said} is cut short")
        file.seek(8 + length + begin)
        array = np.frombuffer(bytearray(file.read(end - begin)), np.uint8)
        if len(array) != end - begin:
            raise ValueError(f"{said} is cut short")
        found[name] = array.view(dtype).reshape(shape)
    for name in [name for name in texts if name in found]:
        code, shape = json.loads(texts.pop(name))
        if np.dtype(code).hasobject:
            raise ValueError(f"{name} in {said} holds objects")
        found[name] = np.frombuffer(found[name].tobytes(), code).reshape(shape).copy()
    return found, texts


def _check_sum(header: Mapping[str, Any], size: int, said: str) -> None:
    """Raise ValueError where arrays lie over each other, so that a file holds more than its size.

    size: bytes after the header
    """
    ranges = [about["data_offsets"] for name, about in header.items() if name != _METADATA]
    if sum(end - begin for begin, end in ranges) > size:
        raise ValueError(f"{said} is cut short, or its arrays lie over each other")


@functools.lru_cache(maxsize=64)
def _code(dtype: np.dtype) -> str:
    """Return the format's name of a dtype, or "" where it has none. numpy's own is slow to make."""
    return _DTYPES.get(dtype.name, "") if dtype.isnative else ""


def _dtype(name: str) -> np.dtype:
    if name not in _NUMPY_NAMES:
        raise ValueError(f"{name!r} is no dtype of this format")
    if name == "BF16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(_NUMPY_NAMES[name])
