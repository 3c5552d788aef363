"""The rules about secure aggregation and the other options of a run."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.algorithms.fusions.fusion_wrapper import innermost
from fusion_nb.algorithms.privacy.base import PrivateFusion
from fusion_nb.algorithms.secure.masks import Masks
from fusion_nb.algorithms.secure.steps import LEAST
from fusion_nb.core.protocols import Fusion, ModelPoisoning
from fusion_nb.errors import OptionError, option
from fusion_nb.runs.federated.finding import is_at_parties
from fusion_nb.runs.resolve import Resolved

_LINEAR = (
    "use fedavg, iter_avg, fedprox, fedavgm, fedadam, fedyogi, fedadagrad, scaffold, feddyn, "
    "fednova or qfedavg"
)


def check_secure(resolved: Resolved) -> Sequence[str]:
    """Check that sums are all that the run needs; note what they do not hide."""
    spec, rule = resolved.spec, resolved.rule
    if not spec.secure:
        return ()
    given = option("secure", spec.secure)
    for name in ("ensemble", "personal", "share"):
        text = getattr(spec, name)
        if text and not text.startswith("finetune"):
            raise OptionError(
                f"{given} with {option(name, text)}, which needs more of single parties than a sum",
                f"leave {option(name)} out",
            )
    assert isinstance(rule, Masks)
    _check_rule(resolved, rule.inner, given)
    if resolved.model.weights_kind != "numbers":
        raise OptionError(
            f"{given} adds up changes of numbers, and the weights of a {resolved.model.kind} are "
            f"{resolved.model.weights_kind}",
            "leave it out",
        )
    if isinstance(resolved.attack, ModelPoisoning):
        raise OptionError(
            f"{given} with {option('adversary', spec.adversary)}, which forges updates that the "
            "aggregator sees, and here it sees none",
            "use label_flip, or leave one of them out",
        )
    _check_count(resolved.cohort_size, rule.most_parties, given)
    return [
        "secure: the aggregator receives masked updates and reads their sum; it still learns who "
        f"takes part, numbers of rows and metrics. {_hidden_from_whom(spec.engine)}",
        *_about_neighbours(rule, resolved.cohort_size, given),
    ]


def _hidden_from_whom(engine: str) -> str:
    """Return who is kept from single updates where this engine trains, as a sentence."""
    if is_at_parties(engine):
        return (
            "Parties hold their own keys; the aggregator is taken to keep to the protocol, and the "
            "logs of all parties must show the same transcript of a round"
        )
    if engine.startswith("flower"):
        return (
            "Nodes of this rehearsal hold their own keys, on a machine whose owner can read them "
            "all; what parties keep between rounds is saved by the kernel"
        )
    return (
        "In one kernel, and on a service that has the parties' rows, this shows arithmetic, "
        "traffic, time and drop-outs, and hides nothing from the owner of that machine: parties "
        f"with their own rows and keys need {option('engine', 'flower:superlink=HOST:PORT')}, or "
        "take part in a service by: fusion-nb party --service"
    )


def _about_neighbours(rule: Masks, count: int, given: str) -> list[str]:
    """Return with how many others each party shares masks, where these are not all."""
    chosen, safe = rule.num_neighbours(count), rule.safe_neighbours(count)
    if not chosen:
        return []
    if chosen < (safe or count - 1):
        return [
            f"warning: {given}: {chosen} neighbours of each party are fewer than the "
            f"{safe or count - 1} that keep updates of {count} parties closed where a fifth of "
            "them works with the aggregator"
        ]
    return [f"secure: each of {count} parties shares masks with {chosen} neighbours"]


def _check_rule(resolved: Resolved, inner: Fusion, given: str) -> None:
    """Check that a rule needs the sum of updates alone."""
    spec = resolved.spec
    if not inner.adds_up:
        who = option("fusion", spec.fusion or resolved.model.defaults["fusion"])
        why = innermost(inner).not_linear
        if isinstance(inner, PrivateFusion):
            who, why = option("privacy", spec.privacy), "clips or charges each party's update apart"
        raise OptionError(f"{given} gives a rule the sum of updates, and {who} {why}", _LINEAR)


def _check_count(count: int, most: int, given: str) -> None:
    """Check the number of parties in a round: a sum of few tells too much, one of many is large."""
    if count < LEAST:
        raise OptionError(
            f"{given} needs {LEAST} parties in a round, since a sum of fewer says too much of "
            f"each, and there are {count}",
            f"use more parties, or a larger {option('fraction')}",
        )
    if count > most:
        raise OptionError(
            f"{given}: the sum of {count} parties does not fit into 32 bits",
            f"use fewer bits in it, or at most {most} parties in a round",
        )
