"""Model, loss and optimizer as text: they decide a training beside its weights and rows.

A checkpoint holds it, and a run that is taken up with another one says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fusion_nb.models.base import Model
from fusion_nb.models.identity.texts import KIND, Identity, without_code

#: Characters of the parts that a checkpoint holds; a digest stands for the rest.
_MOST_CHARACTERS = 8_000
#: Differences that a note names.
_NAMED = 3


@dataclass(frozen=True)
class TrainingIdentity:
    """The identity of a run's model, loss and optimizer.

    parts:     part -> setting -> text, the first ones where there are many
    num_parts: of all of them;  digest: of all of them, "" where nothing is known
    notes:     sentences about a run that went on with another identity
    """

    parts: Identity = field(default_factory=dict)
    num_parts: int = 0
    digest: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Model, options: Mapping[str, Any]) -> TrainingIdentity:
        """Return the identity of a model that was checked; empty where it can't be told.

        options: of `Model.fit`
        """
        try:
            found = model.identity(lr=options["lr"], optimizer=options["optimizer"])
        except Exception:  # an object of the user's own that answers no question
            return cls()
        if not found:
            return cls()
        whole = json.dumps(found, sort_keys=True)
        return cls(_first(found), len(found), hashlib.sha256(whole.encode()).hexdigest())

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> TrainingIdentity:
        """Return the identity in a checkpoint; empty where an earlier version wrote it."""
        if not found:
            return cls()
        parts = {str(p): {str(n): str(t) for n, t in s.items()} for p, s in found["parts"].items()}
        notes = tuple(map(str, found["notes"]))
        return cls(parts, int(found["num_parts"]), str(found["digest"]), notes)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        if not self.digest:
            return {}
        parts = {name: dict(settings) for name, settings in self.parts.items()}
        return {
            "parts": parts,
            "num_parts": self.num_parts,
            "digest": self.digest,
            "notes": list(self.notes),
        }

    def differences(self, now: TrainingIdentity, *, same_versions: bool) -> list[str]:
        """Return how another identity differs, part by part.

        same_versions: whether Python and packages have the same versions. Other ones may have other
                       settings, and compile the same function into other code.
        """
        if not (self.digest and now.digest) or self.digest == now.digest:
            return []
        before, after = self.parts, now.parts
        if len(before) < self.num_parts or len(after) < now.num_parts:
            before = {part: each for part, each in before.items() if part in after}
            after = {part: after[part] for part in before}
        if not same_versions:
            before, after = _without_code(before), _without_code(after)
        found = [*_differences(before, after, same_versions)]
        if not found and same_versions:
            found = ["a layer of the model beyond the first ones"]
        return found

    def after(self, now: TrainingIdentity, round: int, *, same_versions: bool) -> TrainingIdentity:
        """Return the identity of a run that goes on with another one after a round.

        Its notes are those of before, and one about the differences, if there are any.
        """
        if not now.digest:
            return self
        differences = self.differences(now, same_versions=same_versions)
        new = (_note(differences, round),) if differences else ()
        return replace(now, notes=(*self.notes, *new))


def _note(differences: Sequence[str], round: int) -> str:
    """Return a sentence about a run that goes on with another identity."""
    more = len(differences) - _NAMED
    named = "; ".join(differences[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
    return (
        f"warning: after round {round} this run goes on with other settings than before: {named}; "
        "the curve is not that of an uninterrupted run"
    )


def _first(found: Identity) -> dict[str, Mapping[str, str]]:
    """Return the parts that are kept: those of the training first, and layers while they fit."""
    ordered = sorted(found, key=lambda part: part not in ("loss", "optimizer"))
    kept: dict[str, Mapping[str, str]] = {}
    left = _MOST_CHARACTERS
    for part in ordered:
        left -= len(json.dumps({part: found[part]}))
        if left < 0:
            break
        kept[part] = found[part]
    return kept


def _without_code(parts: Identity) -> Identity:
    return {
        part: {name: without_code(each) for name, each in settings.items()}
        for part, settings in parts.items()
    }


def _differences(before: Identity, after: Identity, same_versions: bool) -> Iterator[str]:
    for part in {**before, **after}:
        old, new = before.get(part), after.get(part)
        if old is None or new is None:
            kind = without_code((new or old or {}).get(KIND, ""))
            yield f"{part} ({kind}) is {'new' if new else 'gone'}"
        elif old.get(KIND) != new.get(KIND):
            yield _change(part, old.get(KIND, ""), new.get(KIND, ""))
        else:
            names = [name for name in {**old, **new} if same_versions or name in old.keys() & new]
            for name in names:
                if old.get(name) != new.get(name):
                    yield _change(f"{part}, {name}", old.get(name, "none"), new.get(name, "none"))


def _change(name: str, old: str, new: str) -> str:
    """Return a change as a note shows it: digests of code say nothing to a reader."""
    before, after = without_code(old), without_code(new)
    if before == after:
        return f"{name}: the code of {before} is another"
    return f"{name}: {before} -> {after}"
