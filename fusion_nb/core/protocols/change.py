"""Options that change while a federation trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.core.protocols.fusion import Fusion


@dataclass(frozen=True)
class Change:
    """Options that change from a given round on.

    values: options of the run (lr, epochs, fraction, fusion) and their new values
    fusion: the rule that the option `fusion` names, or None where the rule stays
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    fusion: Fusion | None = None

    def then(self, later: Change) -> Change:
        """Return this change followed by a later one."""
        return Change({**self.values, **later.values}, later.fusion or self.fusion)
