"""scikit-learn's settings of a whole process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def found() -> dict[str, Any]:
    """Return those of this process, as values that can be pickled."""
    import sklearn

    return dict(sklearn.get_config())


def take(settings: Mapping[str, Any]) -> None:
    """Give this process settings that `found` returned in another one."""
    import sklearn

    sklearn.set_config(**settings)
