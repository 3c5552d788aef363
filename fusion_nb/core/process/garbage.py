"""Python's collector of cyclic garbage, put off while many short-lived objects are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_later() -> Iterator[None]:
    """Put the collector off inside `with`, in all threads, where the user has not switched it off.

    The collector counts objects that outlive two of its small passes, and looks at all objects of
    the process (a tenth of a second where PyTorch is loaded) when it has counted enough of them.
    Thousands of dictionaries that are gone some milliseconds later are counted as well.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
