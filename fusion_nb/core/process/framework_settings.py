"""Settings of frameworks that hold for a whole process, and by which the same steps come to other
numbers in another one.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from typing import Any

from fusion_nb.core.builtin import FRAMEWORKS


def found(packages: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Return the settings of this process, by framework, as values that can be pickled.

    packages: those that a model needs; frameworks whose package is none of them are left out
    """
    return {
        name: importlib.import_module(framework.settings).found()
        for name, framework in FRAMEWORKS.items()
        if framework.settings and framework.package in packages
    }


def take(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Let this process compute by settings that `found` returned in another one."""
    for name, values in settings.items():
        importlib.import_module(FRAMEWORKS[name].settings).take(values)
