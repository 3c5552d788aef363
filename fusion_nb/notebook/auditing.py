"""The command `%fusion audit`."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.runs.audit.audit import audit as audited
from fusion_nb.runs.audit.report import Audit
from fusion_nb.runs.run import Run


def audit(run: Run, words: Sequence[str]) -> Audit:
    """Return what a run gives away; the words name the party whose update is attacked."""
    return audited(run, " ".join(words))
