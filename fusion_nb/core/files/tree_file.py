"""A tree of plain data as one file of the safetensors format, which holds its shape as well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from fusion_nb.core.files import tree
from fusion_nb.core.files.safetensors_file import read_parts, read_with_texts, write_safetensors
from fusion_nb.core.types import Weights

#: Name of the text that holds the shape. No array is called so: their names begin with a word.
_TREE = "__tree__"


def write_tree(path: Path, value: Any, name: str) -> None:
    """Write a tree into a new file.

    name: what the tree is, in names of arrays and in messages
    Raises OSError, or RunError that names the place of an object that is no plain data.
    """
    found = tree.Flattener()
    text = _shape(found, value, name)
    # A new file, so that nothing is ever written into one that other folders have links to.
    with path.open("xb") as file:
        write_safetensors(file, found.arrays, {_TREE: text})


def pack_tree(value: Any, name: str) -> bytes:
    """Return a tree as the bytes of such a file; see `write_tree`."""
    found, file = tree.Flattener(), BytesIO()
    text = _shape(found, value, name)
    write_safetensors(file, found.arrays, {_TREE: text})
    return file.getvalue()


def unpack_tree(packed: bytes, said: str) -> Any:
    """Return the tree that `pack_tree` packed. Nothing in it is run.

    said: how messages call it. Raises ValueError for other bytes.
    """
    return _restored(*read_parts(BytesIO(packed), len(packed), said), said)


def _shape(found: tree.Flattener, value: Any, name: str) -> str:
    node = found.flatten(value, name)
    return json.dumps(node, allow_nan=False, separators=(",", ":"))


def read_tree(path: Path) -> Any:
    """Return the tree in a file that `write_tree` wrote.

    Raises OSError, or ValueError for another file.
    """
    return _restored(*read_with_texts(path), path.name)


def _restored(arrays: Weights, texts: Mapping[str, str], said: str) -> Any:
    try:
        return tree.restore(json.loads(texts[_TREE]), arrays)
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{said} can't be read") from error
