"""Options that several trackers have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

#: The option that limits whose metrics are logged one by one.
MostParties = Annotated[
    int, Field(ge=0, description="log each party's metrics of runs that have at most this number")
]
DEFAULT_PARTIES = 20
