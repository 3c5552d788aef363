"""Packages that a file of tests needs."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def needs(*packages: str) -> None:
    """Skip the file that calls this where a package is not installed.

    `pytest.importorskip` would import the package in every process of pytest-xdist, also in those
    that run no test of the file.
    """
    for name in packages:
        if find_spec(name) is None:
            pytest.skip(f"needs {name}", allow_module_level=True)
