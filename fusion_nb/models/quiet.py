"""Keeps a library's messages at its start out of the user's output; other text is passed on."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Lines that TensorFlow's C++ code writes to the process's stderr while it is loaded. No log level
#: stops them.
_CHATTER = re.compile(
    rb"(WARNING: All log messages before absl|[IW]\d{4} \d\d|\d{4}-\d\d-\d\d [\d:.]+: [IW] |"
    rb"To enable the following instructions|Skipping registering GPU devices)"
)


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the process's standard error for a while, and then pass on all but such lines.

    Replacing Python's `sys.stderr` would not help, as the lines come from C++. For the length of an
    import only.
    """
    try:
        kept = os.dup(2)
    except OSError:  # a process without standard error has nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            if left := b"".join(line for line in held if not _CHATTER.match(line)):
                os.write(2, left)


class _Hush:
    """Finds TensorFlow as Python would, once, and loads it quietly.

    The user's own cell may import TensorFlow before any adapter is loaded, so that nothing but an
    import hook comes early enough.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of TensorFlow, whose loader is quiet; of anything else, None."""
        if name != "tensorflow":
            return None
        no_hush()
        spec = importlib.util.find_spec(name)
        loader: Any = spec.loader if spec else None
        if loader is not None:
            execute = loader.exec_module

            def quietly(module: Any) -> None:
                with quiet():
                    execute(module)

            loader.exec_module = quietly
        return spec


def hush() -> None:
    """Keep TensorFlow's messages out of the output of the cell that first imports it."""
    if "tensorflow" not in sys.modules and not any(
        isinstance(finder, _Hush) for finder in sys.meta_path
    ):
        sys.meta_path.insert(0, _Hush())


def no_hush() -> None:
    """Remove the import hook."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Hush)]
