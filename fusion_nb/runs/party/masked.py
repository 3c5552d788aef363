"""Trainings under masks, as a party sees them: rounds that it answered, and lines about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fusion_nb.algorithms.secure.steps import KEPT, as_bytes, send_masked
from fusion_nb.core.types import Request, RoundRequest, StepRequest
from fusion_nb.runs.party.refusal import RefusedError

_MASKS = "fusion_nb.algorithms.secure.masks:"
_PRIVACY = "fusion_nb.algorithms.privacy."


def rules_of(tree: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the class names and options of a request's rules, the outermost first, which sends."""
    half = tree["fields"].get("local_update")
    rule = half.get("rule") if isinstance(half, dict) else None
    while isinstance(rule, dict):
        state = rule.get("state", {})
        yield str(rule.get("class", "")), state if isinstance(state, dict) else {}
        rule = state.get("inner") if isinstance(state, dict) else None


def is_masked(tree: Mapping[str, Any]) -> bool:
    """Return whether the update of a training leaves under masks."""
    return next(rules_of(tree), ("", {}))[0].startswith(_MASKS)


def privacy_of(tree: Mapping[str, Any]) -> str:
    """Return the module of the private rule that sends, masks aside; "" without noise, or one."""
    for name, state in rules_of(tree):
        if name.startswith(_MASKS):
            continue
        noise = state.get("noise", 0)
        is_noisy = isinstance(noise, int | float) and noise > 0
        return name.partition(":")[0] if name.startswith(_PRIVACY) and is_noisy else ""
    return ""


class MaskedRounds:
    """The last round of each run of which a masked update left this party.

    Of two sums over one training with different cohorts, the difference is the update of those who
    are in one of them alone. So no round is masked a second time.
    """

    def __init__(self) -> None:
        self._last: dict[int, int] = {}

    def check(self, run: int, request: Request, tree: Mapping[str, Any]) -> None:
        """Raise RefusedError for a training under masks that was answered before."""
        if not isinstance(request, RoundRequest) or not is_masked(tree):
            return
        last = self._last.get(run, 0)
        if request.round <= last or request.round < 1:
            raise RefusedError(
                f"round {request.round} under masks, and a masked update of round {last} has left "
                "in this run: two sums with other parties would tell one party's update"
            )

    def left(self, run: int, request: Request, secrets: Mapping[str, Any]) -> str:
        """Return what left in answer to a request, in words; "" where masks have no part in it.

        secrets: the party's, after its answer
        """
        own = secrets.get(KEPT)
        if not isinstance(own, dict):
            return ""
        if isinstance(request, RoundRequest):
            return f"round {request.round}: no update left, only public keys for masks"
        if not isinstance(request, StepRequest):
            return ""
        if request.step is not send_masked:
            return f"round {request.round}: no update left at the step {request.name!r}"
        self._last[run] = max(self._last.get(run, 0), request.round)
        digest = as_bytes(own["transcript"]).hex()
        return (
            f"round {request.round}: a masked update left, {4 * own['num_sent']} bytes, masked "
            f"together with those of {', '.join(own['sealed'])}; transcript {digest}, "
            "which the logs of all parties must show for this round"
        )
