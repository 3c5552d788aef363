"""A run is data: everything that decides its curve, as one checked record."""

from fusion_nb.runs.spec.reading import from_file
from fusion_nb.runs.spec.run_spec import (
    MODEL_OPTIONS,
    RunSpec,
    allowed,
    named,
    read_yaml,
    run_option,
)

__all__ = ["MODEL_OPTIONS", "RunSpec", "allowed", "from_file", "named", "read_yaml", "run_option"]
