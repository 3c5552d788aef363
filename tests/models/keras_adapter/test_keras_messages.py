"""The messages at the start of TensorFlow stay out of the user's output."""

from __future__ import annotations

import subprocess
import sys

import pytest
from keras_samples import on_tensorflow


@pytest.mark.slow
def test_loading_the_adapter_prints_no_start_up_messages() -> None:
    script = "import fusion_nb.models.keras.adapter as k; k.keras.ops.ones(2); print('loaded')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "loaded\n"
    assert done.stderr == ""


@pytest.mark.slow
@on_tensorflow
def test_a_cell_that_imports_keras_prints_no_start_up_messages() -> None:
    script = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "ip = InteractiveShell.instance()\nip.run_line_magic('load_ext', 'fusion_nb')\n"
        "ip.run_cell('import keras; keras.ops.ones(2)')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
