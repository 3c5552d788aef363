"""Requests to parties, a closed set: the type of a request says what the party does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.core.types.replies import Reply, Weights
from fusion_nb.core.types.training import FederationInfo, LocalUpdate


@dataclass(frozen=True)
class CollectRequest:
    """Round 0: report what the parties need to agree on, such as word counts."""


@dataclass(frozen=True)
class PrepareRequest:
    """Round 0: take over what the parties agreed on, such as a vocabulary."""

    agreed: Any


@dataclass(frozen=True)
class RoundRequest:
    """Train in a round, or take part in a step after the last one.

    round:         1 for the first; a step after the last one has the number 0, as no training has
    weights:       the aggregator's, or the part of them that travels;  broadcast: extras with them
    options:       of `Model.fit`: epochs, batch_size, lr, optimizer, the fusion's client options
    seed:          of the run; each (seed, round, party) has its own random stream
    info:          facts about the federation
    local_update:  the party's half of the fusion; None for one training from the weights
    party_options: by party, options that replace those above (stragglers)
    is_measured:   whether parties evaluate on their test rows;  num_test_rows: on at most that many
                   of them, or 0 for all
    fusion_since:  first round of this fusion; what a party kept for an earlier one is dropped
    party_weights: by party, weights of an earlier round that it received, in place of `weights`
    """

    round: int
    weights: Weights
    broadcast: Mapping[str, Any]
    options: Mapping[str, Any]
    seed: int
    info: FederationInfo
    local_update: LocalUpdate | None = None
    party_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    is_measured: bool = True
    num_test_rows: int = 0
    fusion_since: int = 0
    party_weights: Mapping[str, Weights] = field(default_factory=dict)


@dataclass(frozen=True)
class SendRequest:
    """Send the weights that the party kept; see `Synchronising`."""


@dataclass(frozen=True)
class AdoptRequest:
    """Continue from these weights in place of those that the party kept; see `Synchronising`."""

    weights: Weights


@dataclass(frozen=True)
class StepRequest:
    """Do a further step of a round, after its training; see `Exchanging`.

    round, name: for messages, and for simulated faults
    step:   `step(party, secrets, given)` returns what the party answers, named arrays and numbers.
            It may replace entries of `secrets`, which the party keeps until the round ends. After
            an error it keeps none.
    given:  party -> what it receives
    least:  parties that simulated faults spare
    """

    round: int
    name: str
    step: Callable[[str, dict[str, Any], Mapping[str, Any]], Mapping[str, Any]]
    given: Mapping[str, Mapping[str, Any]]
    least: int = 0


@dataclass(frozen=True)
class EvaluateRequest:
    """Evaluate weights on the party's own test rows.

    costly:        evaluate the model's costly metrics too
    num_test_rows: at most that many test rows, always the same ones for a seed; 0 for all
    """

    weights: Weights
    costly: bool = False
    num_test_rows: int = 0
    seed: int = 0


Request = (
    CollectRequest
    | PrepareRequest
    | RoundRequest
    | StepRequest
    | SendRequest
    | AdoptRequest
    | EvaluateRequest
)
#: `(request, cohort) -> replies`: how a request reaches the parties, as `Engine.run`.
Ask = Callable[[Request, Sequence[str]], Iterator[Reply]]
