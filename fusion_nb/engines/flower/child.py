"""A process of a rehearsal: the SuperLink, or a node with its parties.

It ends when the process that started it does, however that ended: it reads a pipe from there, which
the system closes.
"""

from __future__ import annotations

import os
import sys
import threading

#: Of all children: no telemetry, no look-ups of updates, no banner.
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "GRPC_VERBOSITY": "ERROR",
}


def _end_with_the_parent() -> None:
    """End this process, in the middle of a batch if need be, once the pipe is closed."""
    pipe = sys.stdin.buffer

    def watch() -> None:
        while pipe.read(1):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Run the program that the first argument names, with the others."""
    _end_with_the_parent()
    kind, *arguments = sys.argv[1:]
    if kind == "superlink":
        from fusion_nb.engines.flower.names import flower

        sys.argv = ["flower-superlink", *arguments]
        flower("flower_superlink")()
        return
    from fusion_nb.engines.flower.rehearsal_node import serve

    serve(*arguments)


if __name__ == "__main__":
    main()
