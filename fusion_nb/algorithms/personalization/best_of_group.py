"""Model sharing without fusion: each group of similar parties adopts its best member's model."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.personalization.base import personal_metrics
from fusion_nb.algorithms.personalization.grouping import groups_by_change, groups_by_key
from fusion_nb.core.counts import known
from fusion_nb.core.history import better
from fusion_nb.core.options import PER_ROW
from fusion_nb.core.protocols import FederationView
from fusion_nb.core.types import LocalContext, Metrics, Update, Weights
from fusion_nb.errors import OptionError, option

#: The two halves of a party's test rows: a model that was chosen on one is measured on the other,
#: so that the choice does not improve its metrics.
_HALVES = (slice(0, None, 2), slice(1, None, 2))


class BestOfGroup:
    """Let each group of similar parties adopt the model that is best on the group's test rows.

    Models are those of the parties trained alone. Groups are of parties whose models moved alike
    (average linkage of the cosines between their changes), or as a variable says. With epochs, each
    party continues to train the adopted model. A model is chosen on one half of the test rows and
    measured on the other, both ways round, so that the choice does not improve its metrics; the
    model that a party keeps was chosen on all test rows.

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

    def check(self, parties: Sequence[str]) -> None:
        """Raise OptionError where there are more groups than parties, or no group for one."""
        if not isinstance(self._key, str):
            groups_by_key(self._key, parties)
        elif self._key:
            raise OptionError(
                f"{option('share', f'best:key={self._key}')} is no variable of this notebook",
                "make it first, as a dict",
            )
        elif self._num_groups > len(parties):
            raise OptionError(
                f"{option('share', f'best:groups={self._num_groups}')}, but there are "
                f"{len(parties)} parties",
                "use fewer groups",
            )

    def __call__(self, alone: FederationView) -> dict[str, Metrics]:
        """Give each party the best model of its group.

        alone: a federation in which each party trained alone
        """
        models = {answer.party: answer.weights for answer in alone.ask_parties(_send)}
        if isinstance(self._key, str):
            groups = groups_by_change(models, alone.weights, self._num_groups)
        else:
            groups = groups_by_key(self._key, list(models))
        score = functools.partial(_score, groups=groups, models=models)
        scores = {answer.party: answer.extras for answer in alone.ask_parties(score)}
        metric = _chosen_by(alone)
        choices = {member: _choices(group, scores, metric) for group in groups for member in group}
        options = {
            "epochs": self._epochs,
            **({"steps": 0} if "steps" in alone.train_options else {}),
        }
        adopt = functools.partial(_adopt, choices=choices, models=models, options=options)
        return {answer.party: answer.metrics for answer in alone.ask_parties(adopt)}


def _chosen_by(federation: FederationView) -> str:
    """Return the metric by which models are compared: the first of the test rows."""
    model = federation.model
    others = {*model.train_metrics, *model.costly_metrics}
    return next(name for name in model.metrics if name not in others)


def _send(context: LocalContext) -> Update:
    return context.update(context.state.get("weights", context.weights))


def _score(context: LocalContext, groups: list[list[str]], models: Mapping[str, Weights]) -> Update:
    """Evaluate every model of the group on the two halves of the party's test rows."""
    group = next(group for group in groups if context.party in group)
    scores = {
        name: {
            str(i): known(context.evaluate_test(models[name], half))
            for i, half in enumerate(_HALVES)
        }
        for name in group
    }
    sizes = {str(i): _num_rows(context, half) for i, half in enumerate(_HALVES)}
    return context.update({}, scores=scores, sizes=sizes)


def _choices(
    group: Sequence[str], scores: Mapping[str, Mapping[str, Any]], metric: str
) -> tuple[str, str, str]:
    """Return the members whose models are best on the group's test rows.

    There are three: on the first halves of the rows, on the second halves, and on all.
    """
    present = [scores[member] for member in group if member in scores]

    def mean(name: str, halves: str) -> float:
        measured = [
            (answer["sizes"][half], answer["scores"][name][half])
            for answer in present
            for half in halves
        ]
        values = [(size, metrics[metric]) for size, metrics in measured if metrics]
        total = sum(size for size, _ in values)
        return sum(size * value for size, value in values) / total if total else float("nan")

    def best(halves: str) -> str:
        chosen = group[0]
        for name in group[1:]:
            if better(metric, mean(name, halves), mean(chosen, halves)):
                chosen = name
        return chosen

    return best("0"), best("1"), best("01")


def _adopt(
    context: LocalContext,
    choices: Mapping[str, tuple[str, str, str]],
    models: Mapping[str, Weights],
    options: Mapping[str, Any],
) -> Update:
    """Keep the best model; measure on each half of the rows the one that the other half chose."""
    first, second, best = choices[context.party]
    own = {name: models[name] for name in (first, second, best)}
    if options["epochs"]:
        own = {
            name: context.train(weights, "personal", **options).weights
            for name, weights in own.items()
        }
    context.state["personal"] = own[best]
    halves = [(first, _HALVES[1]), (second, _HALVES[0])]
    measured = [
        (_num_rows(context, rows), context.evaluate_test(own[name], rows)) for name, rows in halves
    ]
    return replace(context.update({}), metrics=personal_metrics(context.join_metrics(measured)))


def _num_rows(context: LocalContext, rows: slice) -> int:
    return len(range(context.num_test)[rows])
