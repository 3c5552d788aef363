"""Trees of plain data as named arrays and JSON, and files of named arrays."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from fusion_nb.core.files import tree
from fusion_nb.core.files.safetensors_file import read_safetensors, write_safetensors
from fusion_nb.errors import RunError

ml_dtypes = pytest.importorskip("ml_dtypes")


def round_trip(value: Any, path: Path) -> Any:
    made = tree.Flattener()
    node = json.loads(json.dumps(made.flatten(value, "state"), allow_nan=False))
    with path.open("wb") as file:
        write_safetensors(file, made.arrays)
    return tree.restore(node, read_safetensors(path))


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    value = {
        "step": 3,
        "rate": 0.1,
        "flag": True,
        "none": None,
        "text": "é 名",
        "moments": (np.zeros((2, 0)), [np.float32(0.1)]),
        "by number": {0: {"exp_avg": np.arange(3)}, (1, "a"): "b"},
    }
    found = round_trip(value, tmp_path / "x")
    assert str(found) == str(value)
    assert type(found["moments"][1][0]) is np.float32
    assert round_trip(MappingProxyType({"a": 1}), tmp_path / "y") == {"a": 1}


def test_numbers_that_are_not_finite_stay_so(tmp_path: Path) -> None:
    nan, high = round_trip([math.nan, math.inf], tmp_path / "x")
    assert math.isnan(nan)
    assert high == math.inf


def test_an_array_in_several_places_is_kept_once(tmp_path: Path) -> None:
    shared = np.arange(3.0)
    made = tree.Flattener()
    made.flatten({"a": shared, "b": shared, "a/b": np.ones(1), "a ": {"b": np.ones(2)}}, "state")
    assert len(made.arrays) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_stay_tensors(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.tensor([[1, 0], [1, 1]]).to(dtype)
    found = round_trip({"step": torch.tensor(2.0), "moment": tensor}, tmp_path / "x")
    assert found["moment"].dtype is dtype
    assert torch.equal(found["moment"], tensor)
    assert found["step"].shape == ()


ARRAYS = {
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "without dimensions": np.array(3),
    "é/名 ": np.array([True, False]),
    "bfloat16": np.array([1.5, 2], ml_dtypes.bfloat16),
    "text": np.array(["a", "bcd"]),
    "big-endian": np.array([1, 2], ">f4"),
    "empty": np.zeros((0, 3)),
    "dates": np.array(["2020-01-01"], "M8[D]"),
    "complex": np.array([1 + 2j]),
}


def test_every_dtype_and_shape_is_read_as_it_was_written(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        write_safetensors(file, ARRAYS)
    found = read_safetensors(tmp_path / "x")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def test_other_readers_of_the_format_open_it(tmp_path: Path) -> None:
    others = pytest.importorskip("safetensors.torch")
    with (tmp_path / "x").open("wb") as file:
        write_safetensors(file, ARRAYS)
    found = others.load_file(tmp_path / "x")
    assert found["bfloat16"].dtype is torch.bfloat16
    assert found["transposed"].tolist() == ARRAYS["transposed"].tolist()
    assert found["without dimensions"].item() == 3


@pytest.mark.parametrize("damage", [b"", b"\xff" * 8, b"short"])
def test_a_file_that_is_not_whole_is_refused(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(damage)
    with pytest.raises(ValueError, match="cut short"):
        read_safetensors(path)


def test_a_file_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(ValueError, match="cut short"):
        read_safetensors(path)


@pytest.mark.parametrize("value", [object(), np.array([None]), {1, 2}, b"bytes", lambda: None])
def test_other_objects_are_refused_by_name(value: Any) -> None:
    with pytest.raises(RunError, match="state/memory/0 is a"):
        tree.Flattener().flatten({"memory": [value]}, "state")


@pytest.mark.parametrize("node", [{"pickle": "x"}, {"dict": {}, "list": []}, {}, [1]])
def test_a_node_of_another_kind_is_refused(node: Any) -> None:
    with pytest.raises(ValueError, match=r"no part of a state|unpack"):
        tree.restore(node, {})
