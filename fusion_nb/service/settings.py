"""What the operator of a service decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fusion_nb.service.processes import training_supervisor


@dataclass(frozen=True)
class Settings:
    """What the operator of a service decides.

    state:   the folder of all that is kept
    workers: how many aggregators train at once;  limits: what each of them may take
    max_upload, max_unpacked: bytes that a request may have, and that its archives may have once
    unpacked
    inspect_seconds: how long reading an upload may take
    allow_custom_code: whether clients may send data handlers, which run in the training process
    """

    state: Path
    workers: int = 1
    limits: training_supervisor.Limits = field(default_factory=training_supervisor.Limits)
    max_upload: int = 1 << 30
    max_unpacked: int = 4 << 30
    inspect_seconds: float = 120
    allow_custom_code: bool = False
