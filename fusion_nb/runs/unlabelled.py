"""Rows without labels, read apart from the parties' rows and brought into the same form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.schema import DataSchema
from fusion_nb.data.agreement import bring_rows
from fusion_nb.data.loading import read as read_source
from fusion_nb.data.tabular import new_rows
from fusion_nb.errors import DataError


def read(name: str, namespace: Mapping[str, Any], schema: DataSchema) -> np.ndarray:
    """Return the rows of a variable, or of a data set, in the form of the parties' rows.

    Raises DataError for a value without rows, or of another form.
    """
    value = namespace.get(name)
    if schema.table is not None:
        return new_rows.encode(schema.table, value, name)
    return bring_rows(schema, _rows(name, value, namespace), name)


def _rows(name: str, value: Any, namespace: Mapping[str, Any]) -> np.ndarray:
    if isinstance(value, np.ndarray) or hasattr(value, "shape"):  # a tensor of any framework
        return np.asarray(value)
    pool = read_source(name, namespace).train
    if pool is None:
        raise DataError(f"{name} has no rows", "give a variable or a data set")
    if isinstance(pool, tuple):
        return np.asarray(pool[0])
    return np.stack([np.asarray(pool[i][0]) for i in range(rows_of.size(pool))])
