"""The rules about encoded changes and the other options of a run."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.algorithms.compressions.compressed import Compressed
from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper, broadcasts, innermost
from fusion_nb.algorithms.personalization.ifca import IFCA
from fusion_nb.algorithms.privacy.base import PrivateFusion
from fusion_nb.core.protocols import Fusion, ModelPoisoning
from fusion_nb.errors import OptionError, option
from fusion_nb.runs.resolve import Resolved


def check_compression(resolved: Resolved) -> Sequence[str]:
    """Check that changes can be encoded in this run; note what is not."""
    spec, rule = resolved.spec, resolved.rule
    if not spec.compress:
        return ()
    given = option("compress", spec.compress)
    if not isinstance(rule, Compressed):
        raise OptionError(
            f"{given} with {option('ensemble', spec.ensemble)}, whose parties send whole models "
            "once, and no changes",
            f"leave {option('compress')} out",
        )
    if resolved.model.weights_kind != "numbers":
        raise OptionError(
            f"{given} is for weights that are numbers, and those of a {resolved.model.kind} are "
            f"{resolved.model.weights_kind}",
            f"leave {option('compress')} out",
        )
    if isinstance(resolved.attack, ModelPoisoning):
        raise OptionError(
            f"{given} with {option('adversary', spec.adversary)}, which forges weights, and here "
            "parties send encoded changes",
            "use label_flip, or leave one of them out",
        )
    if reason := _not_averaging(rule.inner):
        fusion = spec.fusion or resolved.model.defaults["fusion"]
        is_personal = isinstance(rule.inner, IFCA) and not _not_averaging(rule.inner.inner)
        name = option("personal", spec.personal) if is_personal else option("fusion", fusion)
        raise OptionError(
            f"{given} goes with rules that average updates, and {name} {reason}",
            f"use a rule such as fedavg, fedprox, fedadam or scaffold, or leave "
            f"{option('compress')} out; a rule of your own that averages says averages = True in "
            "its class",
        )
    return _notes(resolved, rule)


def _not_averaging(fusion: Fusion) -> str:
    """Return why a rule does not simply average updates, or an empty string."""
    if fusion.synchronising is not None or fusion.requires.no_update_allowed:
        return innermost(fusion).not_linear
    if fusion.linear or fusion.averages:
        return ""
    # The rule that does not is this one, or else one inside it.
    inner = fusion.inner if isinstance(fusion, FusionWrapper) else None
    return (inner and _not_averaging(inner)) or fusion.not_linear


def _senders(resolved: Resolved, rule: Fusion) -> list[str]:
    """Return the rules that send parties more than weights, as the user named them."""
    spec, found = resolved.spec, []
    while isinstance(rule, FusionWrapper):
        if isinstance(rule, PrivateFusion):
            found += ["privacy (its clip)"] if rule.sends_clip else []
        elif type(rule).broadcast is not FusionWrapper.broadcast and spec.personal:
            found.append(spec.personal)
        rule = rule.inner
    if broadcasts(rule):
        found.append(spec.fusion or resolved.model.defaults["fusion"])
    return found


def _notes(resolved: Resolved, rule: Compressed) -> list[str]:
    """Return what travels as it is."""
    notes, model = [], resolved.model
    notes += [
        f"compress: the numbers that {sender} sends beside weights travel uncompressed"
        for sender in _senders(resolved, rule.inner)
    ]
    weights, trained = model.single_model.get_weights(), model.trained_names()
    if weights and not trained:
        notes.append("warning: compress: no entry of this model is trained, so none is encoded")
    frozen = sum(array.nbytes for name, array in weights.items() if name not in trained)
    if frozen > 0.05 * sum(array.nbytes for array in weights.values()) and trained:
        notes.append(
            "compress: entries that are not trained travel uncompressed "
            f"({frozen / 1e6:.2g} MB); {option('send', 'trained')} leaves frozen ones out"
        )
    return notes
