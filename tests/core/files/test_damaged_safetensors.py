"""Headers of safetensors files that lie, and trees that are none: a ValueError, and no memory."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_nb.core.files.safetensors_file import read_parts, write_safetensors
from fusion_nb.core.files.tree_file import pack_tree, read_tree, unpack_tree


def packed(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(**changed: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changed}


@pytest.mark.parametrize(
    "header",
    [
        [1],
        3,
        b'{"a":' + b"[" * 100_000,
        {"a": [1]},
        {"a": {"shape": [2], "data_offsets": [0, 8]}},
        {"a": entry(dtype=["F32"])},
        {"a": entry(dtype="F6")},
        {"a": entry(shape=3)},
        {"a": entry(shape=[float("inf")])},
        {"a": entry(shape=[-2])},
        {"a": entry(shape=[10**20, 0], data_offsets=[0, 0])},
        {"a": entry(data_offsets=[0, float("inf")])},
        {"a": entry(data_offsets=[5])},
        {"a": entry(data_offsets="ab")},
        {"a": entry(data_offsets=[-8, 0])},
        {"__metadata__": [1], "a": entry()},
        {"__metadata__": {"a": '["O", [1]]'}, "a": entry()},
        {"__metadata__": {"a": '[[["x", "O"]], [1]]'}, "a": entry()},
    ],
    ids=lambda header: str(header)[:40],
)
def test_another_header_is_a_value_error(header: Any) -> None:
    content = packed(header, bytes(8))
    with pytest.raises(ValueError, match=r"."):
        read_parts(io.BytesIO(content), len(content), "file")


@pytest.mark.parametrize("begin", [0, 1, 99])
def test_arrays_do_not_lie_over_each_other(begin: int) -> None:
    one = {"dtype": "U8", "shape": [100 - begin], "data_offsets": [begin, 100]}
    content = packed({f"a{number}": one for number in range(101)}, bytes(100))
    with pytest.raises(ValueError, match="over each other"):
        read_parts(io.BytesIO(content), len(content), "file")


def test_empty_arrays_and_texts_take_no_room() -> None:
    file = io.BytesIO()
    write_safetensors(file, {"a": np.zeros((0, 3)), "b": np.ones(2)}, {"text": "x"})
    found, texts = read_parts(io.BytesIO(file.getvalue()), len(file.getvalue()), "file")
    assert found["a"].shape == (0, 3)
    assert texts == {"text": "x"}


DEEP = '{"list": [' * 5000 + "]}" * 5000


@pytest.mark.parametrize(
    "tree",
    [
        *("", "3 4", "{}", "[]", DEEP),
        *('{"dict": 3}', '{"array": "none"}', '{"items": [3]}', '{"items": [[{"dict": {}}, 1]]}'),
        *('{"float": "x"}', '{"scalar": [1]}', '{"tensor": 3}', '{"other": 1}'),
    ],
    ids=lambda tree: tree[:30],
)
def test_another_tree_is_a_value_error(tree: str, tmp_path: Path) -> None:
    content = packed({"__metadata__": {"__tree__": tree}})
    with pytest.raises(ValueError, match=r"."):
        unpack_tree(content, "a message")
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        read_tree(tmp_path / "file")


def test_a_sound_tree_is_read() -> None:
    tree = {"a": [1, 2.5, (None, "x")], "b": np.arange(3)}
    assert str(unpack_tree(pack_tree(tree, "t"), "t")) == str(tree)
