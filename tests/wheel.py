"""The wheel that users install: `python tests/wheel.py FOLDER` checks its files in a folder, and
without a folder the installed package trains a model.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path, PurePosixPath

#: Files that it must have.
EXPECTED = {
    "fusion_nb/py.typed",
    "fusion_nb/assets/digits.npz",
    "fusion_nb/assets/fusion.svg",
    "fusion_nb/tutorials/01_quickstart.ipynb",
}
#: Endings of the files that it may have.
ENDINGS = {".py", ".typed", ".npz", ".svg", ".md", ".html", ".css", ".js"}
MOST_BYTES = 5_000_000


def unexpected(wheel: Path) -> set[str]:
    """Return the files that a wheel has and should not have, and those that it lacks."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    tutorials = {name for name in names if name.startswith("fusion_nb/tutorials/")}
    strays = {name for name in tutorials if not name.endswith(".ipynb")}
    for name in names - tutorials:
        if not name.startswith("fusion_nb/") or PurePosixPath(name).suffix not in ENDINGS:
            strays.add(name)
    return strays | (EXPECTED - names)


def main(arguments: list[str]) -> None:
    """Check a wheel, or train with the installed package."""
    if arguments:
        (wheel,) = Path(arguments[0]).glob("*.whl")
        if strays := unexpected(wheel):
            sys.exit(f"{wheel.name} has or lacks: {', '.join(sorted(strays))}")
        assert wheel.stat().st_size < MOST_BYTES
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
