"""Binder installs the extras that the tutorials need."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fusion_nb.errors import EXTRAS

REPOSITORY = Path(__file__).parents[1]
TUTORIALS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
#: Lines of code that load a package: by Python, by IPython, and by options of a run.
LOADS = re.compile(
    r"^\s*(?:import|from|%load_ext) (\w+)|--(?:engine|search|log) (\w+)", re.MULTILINE
)


def installed() -> set[str]:
    """The extras in the requirements of Binder."""
    (line,) = re.findall(
        r"^--editable \.\[(.*)\]$", (REPOSITORY / "binder" / "requirements.txt").read_text(), re.M
    )
    return set(line.split(","))


def needed(tutorial: Path) -> set[str]:
    """The extras that a tutorial names, or whose packages it loads."""
    cells = json.loads(tutorial.read_text("utf-8"))["cells"]
    found = set()
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            found |= set(re.findall(r"needs the extra `(\w+)`", " ".join(text.split())))
            continue
        names = (match[1] or match[2] for match in LOADS.finditer(text))
        found |= {EXTRAS[name] for name in names if name in EXTRAS}
    return found


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_binder_has_the_extras_of_a_tutorial(tutorial: Path) -> None:
    assert needed(tutorial) <= installed()


def test_the_extras_of_tutorials_are_found() -> None:
    found = set().union(*map(needed, TUTORIALS))
    assert {"torch", "keras", "doc2vec", "transformers", "ray", "tune", "track", "privacy"} <= found
