"""The SHA-256 of a run's rows, by which a run that is taken up again knows its data."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from fusion_nb.core.rows import leaves, size
from fusion_nb.data.partition import PartitionedData

#: The name of the central test set among those of parties.
CENTRAL = ""


def digests(data: PartitionedData) -> dict[str, str]:
    """Return the SHA-256 of each party's training and test rows, and of the central test set.

    Of a Dataset, whose rows may differ each time they are read, the number of rows and the labels
    count.
    """
    found = {}
    for party in data.parties:
        sha = hashlib.sha256()
        _add(sha, party.train)
        _add(sha, party.test)
        for labels in data.labels.get(party.id, ()):
            _add_array(sha, labels)
        found[party.id] = sha.hexdigest()
    if data.test is not None:
        sha = hashlib.sha256()
        _add(sha, data.test)
        _add_array(sha, data.test_labels)
        found[CENTRAL] = sha.hexdigest()
    return found


def _add(sha: Any, rows: Any) -> None:
    if rows is None:
        sha.update(b"none")
    elif isinstance(rows, tuple):
        for column in rows:
            for array in leaves(column):
                _add_array(sha, array)
    elif (identity := _identity_of_app(rows)) is not None:
        sha.update(identity.encode())
    else:
        sha.update(f"{size(rows)} rows".encode())


def _identity_of_app(rows: Any) -> str | None:
    """Return the identity of rows that an app of Flower keeps to itself, or None for others."""
    from fusion_nb.engines.flower.app_rows import AppRows

    return rows.identity if isinstance(rows, AppRows) else None


def _add_array(sha: Any, array: Any) -> None:
    array = np.asarray(array, order="C")
    sha.update(f"{array.dtype.str}\0{array.shape}\0".encode())
    if array.dtype.hasobject:
        for item in array.reshape(-1):
            sha.update(repr(item).encode() + b"\0")
    elif array.nbytes:
        sha.update(array.reshape(-1).view(np.uint8).data)
