"""The cost of further rounds, told and checked before they are trained."""

from __future__ import annotations

from collections.abc import Callable

from fusion_nb.core.federation import Federation
from fusion_nb.runs.privacy.checks import private_rule


def check_more(federation: Federation, rounds: object) -> str:
    """Return what further rounds of a private run will cost, as a sentence; "" for other runs.

    Raises RunError where they would exceed its budget.
    """
    rule, state = private_rule(federation.fusion), federation.state
    is_elsewhere = state is None or len(federation.history) != state.round  # a service's run
    if rule is None or is_elsewhere or not isinstance(rounds, int) or rounds < 1:
        return ""
    assert state is not None
    return rule.check_budget(private_state(state.fusion_state), rounds)


def spent_by(federation: Federation) -> Callable[[str], float] | None:
    """Return a function from a party's name to its epsilon so far; None for other runs.

    A party that trains in no round spends nothing. A run of a service is counted there.
    """
    rule, state = private_rule(federation.fusion), federation.state
    if rule is None or state is None or len(federation.history) != state.round:
        return None
    private, found = rule, private_state(state.fusion_state)
    trained = {party.id for party in federation.parties if party.trains}

    def spent(party: str) -> float:
        return private.epsilon_of(found, party) if party in trained else 0.0

    return spent


def private_state(state: object) -> object:
    """Return the private rule's part of a fusion's state, which a wrapper may have around it."""
    while isinstance(state, dict) and "ledger" not in state:
        state = state["inner"]
    return state
