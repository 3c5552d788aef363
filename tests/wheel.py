"""What users install: `python tests/wheel.py FOLDER` checks the files of the wheel in a folder, and
without a folder the installed package trains a model.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path, PurePosixPath

#: Files that are not Python, besides those of `*.dist-info`.
EXPECTED = {
    "fusion_nb/py.typed",
    "fusion_nb/assets/README.md",
    "fusion_nb/assets/digits.npz",
    "fusion_nb/assets/fusion.svg",
}


def unexpected(wheel: Path) -> set[str]:
    """Return the files of a wheel that don't belong in it, and those that it lacks."""
    names = {*zipfile.ZipFile(wheel).namelist()}
    kept = {name for name in names if ".dist-info/" not in name}
    found = {name for name in kept if PurePosixPath(name).suffix != ".py"}
    tutorials = {name for name in found if name.startswith("fusion_nb/tutorials/")}
    strays = {name for name in tutorials if not name.endswith(".ipynb")}
    strays |= {name for name in kept if not name.startswith("fusion_nb/")}
    strays |= {
        name for name in kept if name.startswith("fusion_nb/tutorials/") and name.endswith(".py")
    }
    return strays | (found - tutorials) ^ EXPECTED


def main(arguments: list[str]) -> None:
    """Check a wheel, or train with the installed package."""
    if arguments:
        (wheel,) = Path(arguments[0]).glob("*.whl")
        if strays := unexpected(wheel):
            sys.exit(f"{wheel.name} has or lacks: {', '.join(sorted(strays))}")
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, as expected")
        return
    from torch import nn

    import fusion_nb

    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    run = fusion_nb.federate(model, "digits", parties=4, rounds=5, lr=0.1)
    accuracy = run.history["accuracy"][-1]
    assert accuracy > 0.5, accuracy
    print(f"{fusion_nb.__file__} trained to an accuracy of {accuracy:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
