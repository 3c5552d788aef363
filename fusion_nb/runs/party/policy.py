"""The requests that the owner of a party allows an aggregator to ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fusion_nb.core.types import CollectRequest, Request, RoundRequest, SendRequest
from fusion_nb.runs.party import masked
from fusion_nb.runs.party.refusal import RefusedError


@dataclass(frozen=True)
class Policy:
    """The requests that are allowed. All else is refused, and the refusal is in the log.

    models:     kinds of models, by the names of their frameworks; empty for all
    max_epochs: passes over the rows in a round, at most; 0 for any number
    requires_privacy: train with differential privacy only
    allows_code: run a model whose class comes as code
    max_bytes:  of one request
    requires_secure: let updates leave under masks only
    """

    models: tuple[str, ...] = ()
    max_epochs: int = 0
    requires_privacy: bool = False
    allows_code: bool = False
    max_bytes: int = 1 << 30
    requires_secure: bool = False

    @classmethod
    def of(cls, models: str, *others: Any) -> Policy:
        """Return the policy with kinds of models as text, `torch,sklearn`, and the other fields."""
        return cls(tuple(filter(None, models.replace(" ", "").split(","))), *others)

    def check_size(self, size: int) -> None:
        """Raise RefusedError for a request that is too large."""
        if size > self.max_bytes:
            raise RefusedError(f"a request of {size} bytes; at most {self.max_bytes} are allowed")

    def check_model(self, tree: Mapping[str, Any]) -> None:
        """Raise RefusedError for a kind of model, or code, that is not allowed."""
        framework = str(tree.get("framework"))
        if self.models and framework not in self.models:
            raise RefusedError(
                f"a model of {framework}; this party trains {', '.join(self.models)} only"
            )
        if "code" in tree and not self.allows_code:
            raise RefusedError("a model that comes as code; this party runs no code of others")

    def check_request(self, request: Request, tree: Mapping[str, Any]) -> None:
        """Raise RefusedError for a training that is not allowed."""
        if self.requires_secure and isinstance(request, SendRequest | CollectRequest):
            raise RefusedError(
                "weights or statistics without masks, and this party requires secure aggregation"
            )
        if not isinstance(request, RoundRequest):
            return
        every = [request.options, *request.party_options.values()]
        epochs = max(int(options.get("epochs", 1)) for options in every)
        if self.max_epochs and epochs > self.max_epochs:
            raise RefusedError(f"{epochs} local epochs; this party trains {self.max_epochs}")
        if self.requires_secure and not masked.is_masked(tree):
            raise RefusedError(
                "a training without secure aggregation, which this party requires (--secure masks)"
            )
        if self.requires_privacy and not masked.privacy_of(tree):
            raise RefusedError("a training without differential privacy, which this party requires")

    def lines(self) -> list[str]:
        """Return the policy as sentences for the owner."""
        epochs = f"at most {self.max_epochs}" if self.max_epochs else "any number"
        return [
            f"models: {', '.join(self.models) or 'of any framework that is installed here'}",
            f"local epochs in a round: {epochs}",
            f"differential privacy: {'required' if self.requires_privacy else 'not required'}",
            f"secure aggregation: {'required' if self.requires_secure else 'not required'}",
            f"code of the aggregator's: {'ALLOWED' if self.allows_code else 'refused'}",
            f"largest request: {self.max_bytes} bytes",
        ]
