"""A round that has begun: who takes part, and the replies of these parties."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fusion_nb.core.types import Reply, RoundRequest, ServerState


@dataclass(frozen=True)
class Opened:
    """A round that has begun.

    request: as it is sent;  state: the aggregator's before the round, with what the round is about
    cohort:  its parties, in order;  replies: one for each of them, in its order
    """

    request: RoundRequest
    state: ServerState
    cohort: tuple[str, ...]
    replies: Iterator[Reply]
