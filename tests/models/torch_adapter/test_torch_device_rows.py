"""Rows that stay on a device: a run with them is the run without."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fusion_nb
from fusion_nb.models.torch.devices.kept_rows import DeviceRows
from fusion_nb.models.torch.devices.lookup import exact_products

CPU = torch.device("cpu")


def data(dtype: str = "float32", num: int = 96) -> Any:
    rng = np.random.default_rng(0)
    x = (255 * rng.random((num, 6))).astype(dtype)
    return (x, rng.integers(0, 3, num)), (x[:20], rng.integers(0, 3, 20))


def curve(rows: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    given = {"parties": 8, "rounds": 3, "epochs": 2, "batch_size": 4, "lr": 0.01}
    run = fusion_nb.federate(module, rows, **given | options)
    return np.concatenate([run.history["loss"], *map(np.ravel, run.weights.values())])


#: A stack's batches lie in another order in memory, whose products are rounded elsewhere.
CLOSE = {"local": 0.0, "vectorized": 1e-5}


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("engine", ["local", "vectorized"])
def test_rows_that_stay_there_change_no_curve(
    engine: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = curve(data(dtype), engine=engine)
    asked = []

    class Asked(DeviceRows):
        def of(self, array: np.ndarray) -> torch.Tensor | None:
            asked.append(array)
            return super().of(array)

    monkeypatch.setattr(DeviceRows, "on", lambda device: Asked(device, 1 << 30))
    now = curve(data(dtype), engine=engine)
    np.testing.assert_allclose(now, before, rtol=CLOSE[engine], atol=CLOSE[engine])
    assert asked


@pytest.mark.parametrize("most", [0, 500, 2000])
@pytest.mark.parametrize("engine", ["local", "vectorized"])
def test_rows_without_room_are_copied_by_the_batch(
    engine: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = curve(data(), engine=engine)
    monkeypatch.setattr(DeviceRows, "on", lambda device: DeviceRows(device, most))
    now = curve(data(), engine=engine)
    np.testing.assert_allclose(now, before, rtol=CLOSE[engine], atol=CLOSE[engine])


def test_an_array_is_copied_once_and_left_when_it_is_gone() -> None:
    rows, array = DeviceRows(CPU, 100), np.ones(20, np.float32)
    kept = rows.of(array)
    assert kept is not None
    assert rows.of(array) is kept
    assert rows.of(np.ones(20, np.float32)) is None  # there is room for one
    del array
    gc.collect()
    assert rows.of(np.ones(20, np.float32)) is not None


def test_arrays_are_joined_where_they_are_alike_and_have_room() -> None:
    parts = [np.full((2, 3), i, np.float32) for i in range(3)]
    joined = DeviceRows(CPU, 100).joined(parts)
    assert joined is not None
    np.testing.assert_array_equal(joined.numpy(), np.concatenate(parts))
    assert DeviceRows(CPU, 50).joined(parts) is None
    assert DeviceRows(CPU, 999).joined([*parts, np.zeros((2, 4), np.float32)]) is None
    assert DeviceRows(CPU, 999).joined([*parts, np.zeros((2, 3))]) is None


def test_rows_stay_on_cuda_alone() -> None:
    assert DeviceRows.on(CPU) is None
    assert DeviceRows.on(torch.device("mps")) is None


def test_an_array_may_be_read_backwards() -> None:
    kept = DeviceRows(CPU, 100).of(np.arange(4)[::-1])
    assert kept is not None
    assert kept.tolist() == [3, 2, 1, 0]


def test_another_process_starts_with_no_rows() -> None:
    rows, array = DeviceRows(CPU, 100), np.ones(20, np.float32)
    assert rows.of(array) is not None
    for other in (pickle.loads(pickle.dumps(rows)), copy.deepcopy(rows)):
        assert other.of(np.zeros(20, np.float32)) is not None  # there is room


def test_exact_products_leave_pytorchs_settings_as_they_were() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    assert before == (True, False)
    with exact_products(torch.device("cuda")):
        assert not matmul.allow_tf32
    assert (cudnn.allow_tf32, matmul.allow_tf32) == before
