"""Run the quickstart without a browser, and say where everything is: `make demo`."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
OUT = HERE.parent / "build" / "demo"


def main() -> None:
    """Execute `01_quickstart.ipynb` in an empty folder and print where its files lie."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    started = time.perf_counter()
    notebook = nbformat.read(HERE / "01_quickstart.ipynb", as_version=4)
    # The kernel's own log would only say that it listens on this machine.
    quiet = {
        "extra_arguments": ["--log-level=ERROR"],
        "resources": {"metadata": {"path": str(OUT)}},
    }
    NotebookClient(notebook, timeout=300, **quiet).execute()
    executed = OUT / "01_quickstart.ipynb"
    nbformat.write(notebook, executed)
    shown = Path("build") / "demo"
    print(f"The quickstart ran in {time.perf_counter() - started:.0f} s.")
    print(f"  executed notebook  {shown / executed.name}")
    print(f"  chart              {shown / 'fused' / 'chart.png'}")
    print(
        f"  fused model        {shown / 'fused' / 'model.pt'}  (its card: "
        f"{shown / 'fused' / 'CARD.md'})"
    )
    print("To go on in JupyterLab:  make lab")


if __name__ == "__main__":
    main()
