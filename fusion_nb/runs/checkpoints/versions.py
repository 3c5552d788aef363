"""The versions of the packages with which a run is trained."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping

from fusion_nb.version import __version__

#: Packages whose versions are told.
_PACKAGES = ("numpy", "torch", "keras", "tensorflow", "gensim", "sklearn", "xgboost", "lightgbm")


def loaded_versions() -> dict[str, str]:
    """Return the versions of this package, of Python, and of packages that are loaded."""
    found = {"fusion_nb": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        if name in sys.modules:
            found[name] = str(getattr(sys.modules[name], "__version__", ""))
    return found


def are_same(before: Mapping[str, str]) -> bool:
    """Return whether the packages that were loaded before have the same versions now."""
    now = loaded_versions()
    return all(now[name] == version for name, version in before.items() if name in now)
