"""Fixtures of the tests of data: a variable is read, or read and partitioned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fusion_nb.data import loading
from fusion_nb.data.loading import Source
from fusion_nb.data.partition import PartitionedData


@pytest.fixture
def read() -> Callable[..., Source]:
    """Return a function that reads a value as if it were a variable of a notebook."""

    def read(value: Any, **options: str) -> Source:
        return loading.read("value", {"value": value}, **options)

    return read


@pytest.fixture
def partition() -> Callable[..., PartitionedData]:
    """Return a function that reads and partitions a value, with a run's options in their defaults.

    Further variables of the notebook are given as `namespace`.
    """

    def partition(
        value: Any, namespace: dict[str, Any] | None = None, **options: Any
    ) -> PartitionedData:
        chosen = {
            "data": "value",
            "data_handler": "",
            "label": "",
            "split": "iid",
            "parties": None,
            "holdout": 0.2,
            "seed": 0,
        }
        return PartitionedData.load({"value": value} | (namespace or {}), **(chosen | options))

    return partition
