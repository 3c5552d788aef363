"""Rows that a ClientApp of Flower keeps to itself: only their number is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_nb.errors import DataError


class AppRows:
    """Rows of a party that an app alone reads. Their number is that of its last reply; 1 before.

    identity:   the place in the partition, by which a run that goes on knows the party
    run_config: the app's own options, and those of the run in their place
    """

    def __init__(self, identity: str, run_config: Mapping[str, Any]) -> None:
        self.identity, self.run_config = identity, run_config
        self.num_rows = 1

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, position: int) -> Any:
        """Raise DataError: nobody but the app reads its rows."""
        raise DataError(
            "the rows of a Flower ClientApp are read by the app alone",
            "leave out the option that reads rows",
        )
