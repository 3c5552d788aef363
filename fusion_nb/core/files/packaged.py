"""Files that an installation brings along: the tutorials."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from fusion_nb.errors import OptionError


def copy_tutorials(folder: Path) -> int:
    """Copy the tutorials into a new folder, and return their number.

    Raises OptionError for a folder that holds something, so that no notebook is replaced.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(
            f"{folder} is not an empty folder",
            "give a new one: no notebook of yours is replaced",
        )
    with as_file(files("fusion_nb") / "tutorials") as packaged:
        # In a clone the notebooks are where they are written; a wheel has a copy of them.
        source = packaged if packaged.is_dir() else Path(__file__).parents[3] / "notebooks"
        found = sorted(source.glob("*.ipynb"))
        if not found:
            raise OptionError(
                "the tutorials did not come with this installation", "install fusion_nb again"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for notebook in found:
            shutil.copyfile(notebook, folder / notebook.name)
    return len(found)
