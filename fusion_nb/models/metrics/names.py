"""Names of metrics that belong to one class."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Classes that a message lists.
_LISTED = 20


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


def no_class(of: str, classes: Sequence[str]) -> str:
    """Return why there is no class of that name, or "" where there is, or none is named."""
    if not of or of in classes:
        return ""
    more = ", ..." if len(classes) > _LISTED else ""
    return f"no class is called {of!r}; there are {', '.join(classes[:_LISTED])}{more}"


def second_class_note(metric: str, classes: Sequence[str]) -> list[str]:
    """Return a note that a metric of two classes is that of the second, where they have names."""
    if {*classes} == {"0", "1"}:
        return []
    return [
        f"{metric}: of the class {classes[1]!r}, the second of two; of the other one by "
        f"of={classes[0]}"
    ]
