"""Text that `quiet` holds back, and text that it passes on."""

from __future__ import annotations

import subprocess
import sys


def test_quiet_passes_on_other_text() -> None:
    script = (
        "import os\nfrom fusion_nb.models.quiet import quiet\n"
        "with quiet():\n    os.write(2, b'I0000 00:00:1.1 1 port.cc:1] start-up\\nsomething is "
        "wrong\\n')\n"
        "os.write(2, b'after\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == "something is wrong\nafter\n"
