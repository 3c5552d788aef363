"""Names of metrics that belong to one class."""

from __future__ import annotations

import re
from collections.abc import Sequence


def of_classes(name: str, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the metric's name with each class's, of letters, digits and underscores only.

    >>> of_classes("recall", ("benign", "not sure", "not-sure"))
    ('recall_benign', 'recall_not_sure', 'recall_not_sure_2')
    """
    found: list[str] = []
    for number, text in enumerate(classes):
        written = f"{name}_{re.sub(r'[^0-9A-Za-z_]+', '_', text)}"
        found.append(f"{written}_{number}" if written in found else written)
    return tuple(found)
