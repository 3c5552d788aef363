"""Aggregation: from the replies of a round to new weights and a new state of the fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_nb.core import arithmetic
from fusion_nb.core.protocols import Exchanging, Fusion, Model, Synchronising
from fusion_nb.core.replies import ReadOnce, RoundReplies
from fusion_nb.core.types import (
    AdoptRequest,
    Ask,
    SendRequest,
    ServerState,
    StepRequest,
    Weights,
)
from fusion_nb.errors import ContractError


@dataclass(frozen=True)
class Aggregated:
    """The result of an aggregation: the new state, and the bytes that were sent to parties."""

    state: ServerState
    bytes_down: int


def aggregate(
    fusion: Fusion,
    state: ServerState,
    replies: RoundReplies,
    cohort: Sequence[str],
    broadcast: Mapping[str, Any],
    *,
    model: Model,
    ask: Ask,
) -> Aggregated:
    """Let a fusion aggregate the replies of the round after `state`.

    Raises ContractError where the fusion returns no usable weights, and PartyError where too few
    parties answered.
    """
    if rule := fusion.synchronising:
        extra_bytes = arithmetic.num_bytes(broadcast)
        shared = fusion.shared_weights(state.weights, state.fusion_state)
        weight_bytes = arithmetic.num_bytes(shared)
        new, num_senders = _synchronise(fusion, rule, state, replies, model, ask)
        # Parties hold the weights of the last synchronisation already, but for the first round.
        sent_down = weight_bytes * (num_senders + (len(cohort) if new.round == 1 else 0))
        return Aggregated(new, sent_down + extra_bytes * len(cohort))
    if steps := fusion.exchanging:
        return _exchange(steps, state, replies, cohort, model, ask)
    bytes_down = fusion.bytes_down(state.weights, state.fusion_state, cohort)
    # A copy: a rule that writes into its arguments must not change the last whole round.
    own = arithmetic.copy(state.weights)
    result = fusion.aggregate(own, ReadOnce(iter(replies)), state.fusion_state)
    new = _new_state(result, own, state, model)
    replies.drain()
    return Aggregated(new, bytes_down)


def _exchange(
    rule: Exchanging,
    state: ServerState,
    replies: RoundReplies,
    cohort: Sequence[str],
    model: Model,
    ask: Ask,
) -> Aggregated:
    """Let a rule aggregate that asks parties further steps, and count what they are sent."""
    number, own = state.round + 1, arithmetic.copy(state.weights)
    sent = rule.bytes_down(state.weights, state.fusion_state, cohort)

    def do(
        name: str, step: Any, given: Mapping[str, Mapping[str, Any]], least: int
    ) -> Mapping[str, Mapping[str, Any]]:
        nonlocal sent
        sent += sum(map(arithmetic.num_bytes, given.values()))
        request = StepRequest(number, name, step, given, least)
        answers = replies.continue_with(ask(request, [*given]))
        return {answer.party: answer.extras for answer in answers}

    updates = ReadOnce(iter(replies))
    result = rule.aggregate_in_steps(own, updates, state.fusion_state, do, number)
    new = _new_state(result, own, state, model)
    replies.drain()
    return Aggregated(new, sent)


def _synchronise(
    fusion: Fusion,
    rule: Synchronising,
    state: ServerState,
    replies: RoundReplies,
    model: Model,
    ask: Ask,
) -> tuple[ServerState, int]:
    """Ask those parties for their weights that the rule selects, and return how many sent them."""
    own = arithmetic.copy(state.weights)
    replies.drain()
    selected, fusion_state = rule.select_senders(
        list(replies.no_updates.values()), state.fusion_state
    )
    updates = replies.continue_with(ask(SendRequest(), selected)) if selected else iter(())
    result = fusion.aggregate(own, ReadOnce(updates), fusion_state)
    new = _new_state(result, own, state, model)
    senders = [party for party in selected if party not in replies.no_updates]
    if senders:
        after = rule.after_sync(result[0], new.fusion_state)
        adopting = ask(AdoptRequest(after), senders)
        RoundReplies(adopting, senders, round=new.round, quorum=1.0).drain()
    return new, len(senders)


def _new_state(result: Any, own: Weights, state: ServerState, model: Model) -> ServerState:
    """Return the state after a round.

    Raises ContractError where `aggregate` returned something else than weights and a state.

    own: the copy of the weights that the fusion was given
    """
    number = state.round + 1
    if not (isinstance(result, tuple) and len(result) == 2):
        raise ContractError(
            f"the fusion's aggregate() returned {type(result).__name__}, not (weights, state)",
            "end it with: return weights, state",
        )
    weights, fusion_state = result
    if problem := model.check_weights(weights, state.weights):
        raise ContractError(
            f"the fusion returned unusable weights in round {number}: {problem}",
            "a fusion returns new weights: a dictionary with the names, shapes and dtypes of "
            "those it got",
        )
    # Weights that are returned as they were given need not be evaluated again. A rule may have
    # written into them, so that their numbers are compared too.
    is_unchanged = weights is own and arithmetic.equal(own, state.weights)
    return ServerState(number, state.weights if is_unchanged else weights, fusion_state)
