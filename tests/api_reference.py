"""The API reference, by pdoc from the docstrings: `python tests/api_reference.py FOLDER`.

A module whose framework is not installed is left out, and named.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import warnings
from pathlib import Path

# TensorFlow is loaded and not used, so its log is of no interest.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pdoc

import fusion_nb


def missing() -> dict[str, str]:
    """Return the modules that can't be imported here, each with the package that it needs."""
    found: dict[str, str] = {}
    for module in pkgutil.walk_packages(fusion_nb.__path__, "fusion_nb.", onerror=lambda _: None):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            needed = (error.name or "").partition(".")[0]
            if needed == "fusion_nb":
                raise
            found[module.name] = needed
    return found


def main(folder: Path) -> None:
    """Write the pages of all modules into a folder, with index.html as the first."""
    left_out = missing()
    # Modules that it can't import are named below; names under TYPE_CHECKING are not there for it.
    warnings.filterwarnings("ignore", module=r"pdoc\.")
    at_the_root = [
        f"fusion_nb.{module.name}" for module in pkgutil.iter_modules(fusion_nb.__path__)
    ]
    pdoc.render.configure(footer_text=f"fusion_nb {fusion_nb.__version__}")
    pdoc.pdoc(
        "fusion_nb",
        *(name for name in at_the_root if name not in left_out),
        *(f"!{name}" for name in left_out),
        output_directory=folder,
    )
    print(f"The API reference is in {folder / 'index.html'}")
    for name, package in left_out.items():
        print(f"  without {name}, which needs the package {package!r}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
