"""Independent learning with model sharing: parties that are alike learn from the best model among
them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.personalization.personal import personal
from fusion_nb.core import arithmetic
from fusion_nb.core.federation import Federation
from fusion_nb.core.history import better
from fusion_nb.core.options import PER_ROW
from fusion_nb.core.types import Metrics, Turn, Update, Weights
from fusion_nb.errors import OptionError

#: The two halves of a party's test rows: what one chose is measured on the other, so that choosing
#: flatters nobody.
_HALVES = (slice(0, None, 2), slice(1, None, 2))


class Best:
    """Let each group of similar parties adopt the model of one member: that which does best on the
    group's test rows.

    Models are those of the parties trained alone. Groups are of parties whose models moved alike
    (average linkage of the cosines between what training changed), or as a variable says. With
    epochs, the adopted model is trained on at each party. A model is chosen on one half of the test
    rows and measured on the other, both ways round, so that the choice does not flatter it; what a
    party is left with was chosen on all.

    Source: the promise of IBM's Model Fusion documentation, "these similar devices learn from the
    best model among them"; grouping by updates after Sattler, Mueller, Samek, "Clustered Federated
    Learning", 2020.
    """

    def __init__(
        self,
        *,
        groups: Annotated[int, Field(description="how many groups; without a key", ge=1)] = 2,
        key: Annotated[
            str,
            Field(description="variable that holds each party's group, by its name or in order"),
            PER_ROW,
        ] = "",
        epochs: Annotated[
            int,
            Field(
                description="passes over a party's rows with the adopted model; 0 adopts it as "
                "it is",
                ge=0,
            ),
        ] = 0,
    ) -> None:
        self._num_groups, self._key, self._epochs = groups, key, epochs
        #: Per party, the party whose model it was given, after the last round.
        self.chosen: dict[str, str] = {}

    def check(self, parties: Sequence[str]) -> None:
        """Raise OptionError where there are more groups than parties, or no group for one."""
        if isinstance(self._key, str) and self._key:
            line = f"--share best:key={self._key} is no variable of this notebook"
            raise OptionError(line, "make it first, as a dict")
        if isinstance(self._key, str) and self._num_groups > len(parties):
            line = f"--share best:groups={self._num_groups}, but there are {len(parties)} parties"
            raise OptionError(line, "use fewer groups")
        if not isinstance(self._key, str):
            self._given(parties)

    def __call__(self, alone: Federation) -> dict[str, Metrics]:
        """Group the parties of a federation in which each trained alone, and give each the best
        model of its group.
        """
        sent = {answer.party: answer.weights for answer in alone.ask(_send)}
        groups = self._groups(sent, alone.weights)
        scores = {
            a.party: a.extras
            for a in alone.ask(functools.partial(_try, groups=groups, models=sent))
        }
        model = alone.model
        metric = next(
            name for name in model.metrics if name not in (*model.watched, *model.examined)
        )
        chosen = {member: _best(group, scores, metric) for group in groups for member in group}
        self.chosen = {party: best[2] for party, best in chosen.items()}
        options = {"epochs": self._epochs, **({"steps": 0} if "steps" in alone.orders else {})}
        adopt = functools.partial(_adopt, chosen=chosen, models=sent, options=options)
        return {answer.party: answer.metrics for answer in alone.ask(adopt)}

    def _groups(self, models: Mapping[str, Weights], first: Weights) -> list[list[str]]:
        parties = list(models)
        if not isinstance(self._key, str):
            return self._given(parties)
        changes = [_vector(arithmetic.change(weights, first)) for weights in models.values()]
        return [
            [parties[i] for i in group] for group in linkage(cosines(changes), self._num_groups)
        ]

    def _given(self, parties: Sequence[str]) -> list[list[str]]:
        found: Any = self._key
        if not isinstance(found, Mapping):
            if not hasattr(found, "__len__"):
                line = (
                    f"--share best:key=... is {type(found).__name__}, and holds no group for "
                    "each party"
                )
                raise OptionError(line, "give a dict, or a list in the order of the parties")
            if len(found) != len(parties):
                line = (
                    f"--share best:key=... has {len(found)} groups, and there are "
                    f"{len(parties)} parties"
                )
                raise OptionError(line, "give one for each party")
            found = dict(zip(parties, found, strict=True))
        if missing := [party for party in parties if party not in found]:
            raise OptionError(
                f"--share best:key=... names no group of {missing[0]}", "give one for each party"
            )
        groups: dict[str, list[str]] = {}
        for party in parties:
            groups.setdefault(str(found[party]), []).append(party)
        return list(groups.values())


def cosines(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the cosine between each two of several vectors."""
    stacked = np.stack(vectors)
    unit = stacked / np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-300)
    return np.asarray(unit @ unit.T)


def linkage(similarity: np.ndarray, num_groups: int) -> list[list[int]]:
    """Return so many groups of positions: the two groups that are most alike on average are joined
    again and again.

    >>> linkage(np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]]), 2)
    [[0, 1], [2]]
    """
    groups = [[i] for i in range(len(similarity))]
    total = similarity.astype(float)  # over the pairs of two groups' members
    while len(groups) > num_groups:
        sizes = np.array([len(group) for group in groups])
        mean = np.where(
            np.tri(len(groups), k=-1, dtype=bool), total / np.outer(sizes, sizes), -np.inf
        )
        a, b = np.unravel_index(int(mean.argmax()), mean.shape)
        total[b] += total[a]
        total[:, b] += total[:, a]
        total = np.delete(np.delete(total, a, axis=0), a, axis=1)
        groups[b] += groups.pop(a)
    return sorted(sorted(group) for group in groups)


def _vector(change: Weights) -> np.ndarray:
    return np.concatenate([array.ravel() for array in change.values()])


def _send(turn: Turn) -> Update:
    return turn.update(turn.state.get("weights", turn.weights))


def _try(turn: Turn, groups: list[list[str]], models: Mapping[str, Weights]) -> Update:
    """Score every model of the group on the two halves of the party's test rows."""
    group = next(group for group in groups if turn.party in group)
    scores = {
        name: {str(i): turn.score(models[name], half) for i, half in enumerate(_HALVES)}
        for name in group
    }
    return turn.update(
        {}, scores=scores, sizes={str(i): _size(turn, half) for i, half in enumerate(_HALVES)}
    )


def _best(
    group: Sequence[str], answers: Mapping[str, Mapping[str, Any]], metric: str
) -> tuple[str, str, str]:
    """Return the members whose models do best on the first halves of the group's test rows, the
    second, and all.
    """

    def mean(name: str, halves: str) -> float:
        found = [
            (answer["sizes"][half], answer["scores"][name][half])
            for answer in present
            for half in halves
        ]
        having = [(size, metrics[metric]) for size, metrics in found if metrics]
        total = sum(size for size, _ in having)
        return sum(size * value for size, value in having) / total if total else float("nan")

    def best(halves: str) -> str:
        chosen = group[0]
        for name in group[1:]:
            if better(metric, mean(name, halves), mean(chosen, halves)):
                chosen = name
        return chosen

    present = [answers[member] for member in group if member in answers]
    return best("0"), best("1"), best("01")


def _adopt(
    turn: Turn,
    chosen: Mapping[str, tuple[str, str, str]],
    models: Mapping[str, Weights],
    options: Mapping[str, Any],
) -> Update:
    """Take over the best model; measure what one half of the rows chose on the other."""
    first, second, best = chosen[turn.party]
    own = {name: models[name] for name in (first, second, best)}
    if options["epochs"]:
        own = {
            name: turn.train(weights, "personal", **options).weights
            for name, weights in own.items()
        }
    turn.state["personal"] = own[best]
    halves = [(first, _HALVES[1]), (second, _HALVES[0])]
    found = [(_size(turn, rows), turn.score(own[name], rows)) for name, rows in halves]
    having = [(size, metrics) for size, metrics in found if metrics]
    total = sum(size for size, _ in having)
    names = {name for _, metrics in having for name in metrics}
    means = {
        name: sum(size * metrics[name] for size, metrics in having) / total
        for name in sorted(names)
    }
    return replace(turn.update({}), metrics=personal(means))


def _size(turn: Turn, rows: slice) -> int:
    return len(range(turn.num_test)[rows])
