"""Every module of the package can be imported: not each has a test, or a doctest, that does it."""

from __future__ import annotations

import importlib
from pathlib import PurePosixPath

from architecture import MODULES


def test_every_module_is_imported() -> None:
    for module in MODULES:
        parts = PurePosixPath(module).with_suffix("").parts
        name = ".".join(("fusion_nb", *parts)).removesuffix(".__init__")
        if not name.endswith("__main__"):
            assert importlib.import_module(name).__name__ == name
