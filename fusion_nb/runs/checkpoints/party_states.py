"""The states of many parties on disk: only those that changed are written again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_nb.core.arithmetic import num_bytes
from fusion_nb.core.files import tree
from fusion_nb.core.files.safetensors_file import read_safetensors, write_safetensors

#: States of fewer bytes are all in the file that the fusion's state is in.
_SMALL = 4 << 20
#: Files that the states of one checkpoint lie in, at most.
_MAX_FILES = 12


@dataclass(frozen=True)
class _Written:
    """A party's state where it was written last: the object, its node in the tree, and the file."""

    state: Any
    node: tree.Node
    file: str


class PartyStates:
    """Writes the states of all parties with each checkpoint of a run.

    A party outside of a cohort keeps its state, so that the file which holds it is linked from the
    last checkpoint. The states of other parties are new objects, and go into a new file.
    """

    def __init__(self) -> None:
        self._written: dict[str, _Written] = {}
        self._last: Path | None = None

    def write(
        self,
        folder: Path,
        parties: Mapping[str, Any],
        round: int,
        shared: tree.Flattener,
        file: str,
    ) -> dict[str, Any]:
        """Write the states into the folder of a checkpoint; return where each is, as JSON.

        shared, file: what takes the states where they are small, and the file of its arrays
        Raises OSError, or RunError for a state that is no plain data.
        """
        kept = self._link_unchanged(folder, parties)
        changed = {party: state for party, state in parties.items() if party not in kept}
        own = tree.Flattener()
        nodes = {party: own.flatten(state, f"parties/{party}") for party, state in changed.items()}
        name = f"parties-{round:06}.safetensors"
        if not kept and num_bytes(own.arrays) < _SMALL:
            name = file
            nodes = {
                party: shared.flatten(state, f"parties/{party}") for party, state in changed.items()
            }
        elif changed:
            with (folder / name).open("wb") as opened:
                write_safetensors(opened, own.arrays)
        new = {party: _Written(changed[party], node, name) for party, node in nodes.items()}
        self._written = {} if name == file else kept | new
        return {
            party: {"file": found.file, "state": found.node}
            for party, found in {**kept, **new}.items()
        }

    def is_placed(self, folder: Path) -> None:
        """Remember where the checkpoint that was written last is now."""
        self._last = folder

    def _link_unchanged(self, folder: Path, parties: Mapping[str, Any]) -> dict[str, _Written]:
        """Link the files of the states that did not change; return these states, by party."""
        found = {
            party: written
            for party, written in self._written.items()
            if party in parties and _is_same(written.state, parties[party])
        }
        files = {written.file for written in found.values()}
        if self._last is None or len(files) >= _MAX_FILES:
            return {}
        linked: list[Path] = []
        try:
            for file in files:
                os.link(self._last / file, folder / file)
                linked.append(folder / file)
        except OSError:  # the checkpoint is gone, or the file system has no links
            for path in linked:
                path.unlink()
            return {}
        return found


def read_party_states(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states that `PartyStates.write` described.

    Raises OSError, ValueError or KeyError for other files or another description.
    """
    names = {str(found["file"]) for found in about.values()}
    if any(Path(name).name != name for name in names):
        raise ValueError("a state lies in another folder")
    arrays = {name: read_safetensors(folder / name) for name in names}
    return {
        party: tree.restore(found["state"], arrays[found["file"]]) for party, found in about.items()
    }


def _is_same(a: Any, b: Any) -> bool:
    """Return whether two persistent states are the same one. States are replaced, not changed."""
    if a is None or b is None:
        return a is b
    return a[0] is b[0] and a[1] == b[1] and (a[2] is b[2] or not (a[2] or b[2]))
