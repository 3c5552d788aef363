"""Named arrays in a file of the safetensors format, which any of its readers can open.

A header of JSON says where each array lies; the arrays follow as bytes. Arrays are written from
where they are, without a copy. Nothing in a file is executed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

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


def write_safetensors(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays. Arrays of other dtypes, such as text, are stored as bytes."""
    header: dict[str, Any] = {}
    others: dict[str, str] = {}
    ordered: list[np.ndarray] = []
    offset = 0
    # The format wants arrays of wide numbers first, so that all are aligned.
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):
        array = np.asarray(arrays[name], order="C")
        shape = list(array.shape)
        if array.dtype.name not in _DTYPES or not array.dtype.isnative:
            others[name] = json.dumps([array.dtype.str, shape])
            array = np.frombuffer(array.tobytes(), np.uint8)
            shape = list(array.shape)
        begin, offset = offset, offset + array.nbytes
        header[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": shape,
            "data_offsets": [begin, offset],
        }
        ordered.append(array)
    if others:
        header = {_METADATA: others, **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for array in ordered:
        if array.nbytes:
            file.write(array.reshape(-1).view(np.uint8).data)


def read_safetensors(path: Path) -> Weights:
    """Return the arrays of a file, which may be written to.

    Raises OSError, or ValueError for a file that is not whole or not of this format.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER, size - 8):
            raise ValueError(f"{path.name} is cut short")
        header = dict(json.loads(file.read(length)))
        others = dict(header.pop(_METADATA, {}))
        found = {}
        for name, about in header.items():
            begin, end = about["data_offsets"]
            dtype, shape = _dtype(about["dtype"]), [int(number) for number in about["shape"]]
            count = math.prod(shape)
            if min([0, *shape]) < 0 or count * dtype.itemsize != end - begin or begin < 0:
                raise ValueError(f"{name} in {path.name} has another size than its shape says")
            if 8 + length + end > size:
                raise ValueError(f"{path.name} is cut short")
            file.seek(8 + length + begin)
            array = np.empty(end - begin, np.uint8)
            if file.readinto(array.data) != end - begin:
                raise ValueError(f"{path.name} is cut short")
            found[name] = array.view(dtype).reshape(shape)
    for name, text in others.items():
        code, shape = json.loads(text)
        if np.dtype(code).hasobject:
            raise ValueError(f"{name} in {path.name} holds objects")
        found[name] = np.frombuffer(found[name].tobytes(), code).reshape(shape).copy()
    return found


def _dtype(name: str) -> np.dtype:
    if name not in _NUMPY_NAMES:
        raise ValueError(f"{name!r} is no dtype of this format")
    if name == "BF16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(_NUMPY_NAMES[name])
