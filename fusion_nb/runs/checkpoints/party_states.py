"""The states of parties on disk: only those that changed are written again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusion_nb.core.files.tree_file import read_tree, write_tree
from fusion_nb.runs.checkpoints.links import Links

#: Files that the states of one checkpoint lie in, at most. With more of them, states that others
#: have replaced take more room, and with fewer the states in the oldest files, which are few where
#: cohorts are drawn, are written anew more often.
_MAX_FILES = 32


class PartyStates:
    """Writes the states of all parties with each checkpoint of a run.

    A party outside of a cohort keeps its state, so that the file which holds it is taken over from
    the last checkpoint. The states of other parties are new objects, and go into a new file.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        #: By party the state in the last checkpoint that is whole, and its file; and in the next.
        self._written: dict[str, tuple[Any, str]] = {}
        self._next = self._written

    def write(self, folder: Path, parties: Mapping[str, Any], round: int) -> list[str]:
        """Write the states into the folder of a new checkpoint.

        Return the names of the files: a party's state is that in the last file which has one.
        Raises OSError, or RunError for a state that is no plain data.
        """
        name = f"parties-{round:06}.safetensors"
        kept = {
            party: written
            for party, written in self._written.items()
            if party in parties and _is_same(written[0], parties[party])
        }
        files = sorted({file for _, file in kept.values()}, key=_round_of)
        if len(files) >= _MAX_FILES:
            files = files[len(files) - _MAX_FILES // 2 :]
        if name in files or not self._take(files, folder):
            files = []
        kept = {party: written for party, written in kept.items() if written[1] in files}
        changed = {party: state for party, state in parties.items() if party not in kept}
        if changed:
            write_tree(folder / name, changed, "parties")
            files.append(name)
        self._next = kept | {party: (state, name) for party, state in changed.items()}
        return files

    def is_placed(self) -> None:
        """Take states over from this checkpoint from now on: it is whole."""
        self._written = self._next

    def _take(self, files: Sequence[str], folder: Path) -> bool:
        """Take all these files over, or none of them; return whether they are there."""
        for number, file in enumerate(files):
            if not self._links.take(file, folder):
                for taken in files[:number]:
                    self._links.drop(taken, folder)
                return False
        return True


def read_party_states(folder: Path, files: Sequence[str]) -> dict[str, Any]:
    """Return the states in the files that `PartyStates.write` named.

    Raises OSError, ValueError or KeyError for other files.
    """
    if any(Path(name).name != name for name in files):
        raise ValueError("a state lies in another folder")
    found: dict[str, Any] = {}
    for name in files:
        found |= read_tree(folder / name)
    return found


def _round_of(name: str) -> int:
    return int(name.removeprefix("parties-").partition(".")[0])


def _is_same(a: Any, b: Any) -> bool:
    """Return whether two persistent states are the same one. States are replaced, not changed."""
    if a is None or b is None:
        return a is b
    return a[0] is b[0] and a[1] == b[1] and (a[2] is b[2] or not (a[2] or b[2]))
