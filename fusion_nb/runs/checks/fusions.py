"""The rules about a fusion and the other options of a run.

They are applied before a run, and again to every change of a run that is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fusion_nb.algorithms.fusions.fusion_wrapper import innermost
from fusion_nb.core.protocols import DataPoisoning, Fusion, ModelPoisoning
from fusion_nb.core.types import Requirements
from fusion_nb.errors import DataError, OptionError, option
from fusion_nb.models.base import Model
from fusion_nb.models.optimizers import has_momentum, is_sgd
from fusion_nb.runs.checks.compression import check_compression
from fusion_nb.runs.checks.rounds import check_drift, check_sampling
from fusion_nb.runs.checks.secure import check_secure
from fusion_nb.runs.resolve import Resolved

#: The kinds of weights, as messages say it.
_KINDS = {
    "numbers": "numbers that can be averaged",
    "statistics": "statistics, sums over rows that can only be added up",
    "trees": "trees, which can't be averaged",
}
#: Personalization methods that work with any fusion.
_WITH_ANY_FUSION = ("finetune", "ditto")

#: The abilities of a model that a fusion may ask for, in words.
_ABILITIES = {
    "mu": "training with a proximal term",
    "anchor": "training with a proximal term",
    "shift": "training with corrected gradients",
    "mix": "training a mixture of two models",
    "summed_loss": "training on documents",
    "member": "training several models at once",
    "stacks": "training several models at once",
}


def ability(client_option: str) -> str:
    """Return what a model does that supports a fusion's option, in words.

    >>> ability("summed_loss")
    'training on documents'
    """
    return _ABILITIES.get(client_option, client_option)


def unsupported(model: Model | type[Model], fusion: Fusion) -> list[str]:
    """Return the options of a fusion that local training of this kind of model can't honour."""
    return sorted(set(fusion.client_options) - model.supported_client_options)


def _in_words(client_options: Sequence[str]) -> str:
    """Return abilities in words, each once, with the names that adapters know them by."""
    by_ability: dict[str, list[str]] = {}
    for name in client_options:
        by_ability.setdefault(ability(name), []).append(name)
    return ", ".join(
        words if names == [words] else f"{words} ({', '.join(names)})"
        for words, names in by_ability.items()
    )


def check_supported(resolved: Resolved) -> Sequence[str]:
    """Check that the fusion makes sense for the model's weights, and that the model honours the
    options that it sets for local training.
    """
    check_weights_kind(resolved)
    spec, model, fusion = resolved.spec, resolved.model, resolved.rule
    if fusion is None or not (refused := unsupported(model, fusion)):
        return ()
    asking = option("fusion", spec.fusion)
    hint = f"use another fusion, such as {model.defaults['fusion']}"
    if spec.personal and not unsupported(model, innermost(fusion)):
        asking, hint = option("personal", spec.personal), "leave it out, or use finetune"
    raise OptionError(
        f"{asking} asks every party for {_in_words(refused)}, which a {model.kind} can't do",
        hint,
    )


def check_weights_kind(resolved: Resolved) -> Sequence[str]:
    """Check that the fusion, and an attack, make sense for weights of the model's kind."""
    spec, model, fusion = resolved.spec, resolved.model, resolved.rule
    kind = model.weights_kind
    if fusion is None:
        return ()
    if kind not in fusion.fuses:
        name = spec.fusion or model.defaults["fusion"]
        default, fused = model.defaults["fusion"], " or ".join(sorted(fusion.fuses))
        raise OptionError(
            f"{option('fusion', name)} is for weights that are {fused}, and those of a "
            f"{model.kind} are {_KINDS[kind]}",
            f"leave it out: the fusion of a {model.kind} is {default}",
        )
    if kind != "numbers" and isinstance(resolved.attack, ModelPoisoning):
        raise OptionError(
            f"{option('adversary', spec.adversary)} changes numbers, and the weights of a "
            f"{model.kind} are {_KINDS[kind]}",
            "use label_flip",
        )
    is_finetuned = spec.personal.startswith("finetune") and kind == "trees"
    if kind != "numbers" and spec.personal and not is_finetuned:
        raise OptionError(
            f"{option('personal', spec.personal)} is for weights that are numbers, and those of a "
            f"{model.kind} are {_KINDS[kind]}",
            f"leave it out, or compare with each party's own model: {option('baseline', 'local')}",
        )
    return ()


def check_full_participation(resolved: Resolved) -> Sequence[str]:
    """Check that a fusion that needs all parties in every round gets them."""
    spec = resolved.spec
    if _requires(resolved).full_participation and spec.fraction < 1:
        raise OptionError(
            f"{option('fraction', f'{spec.fraction:g}')}, but with {spec.fusion} all parties take "
            "part in every round",
            f"leave {option('fraction')} out, or use another fusion",
        )
    return ()


def check_plain_sgd(resolved: Resolved) -> Sequence[str]:
    """Check that a fusion that makes sense with plain SGD only has it."""
    spec, optimizer = resolved.spec, resolved.train_options["optimizer"]
    if _requires(resolved).plain_sgd and not is_sgd(optimizer):
        raise OptionError(
            f"{option('optimizer', spec.optimizer or optimizer)}, but {spec.fusion} needs plain "
            "SGD at the parties",
            f"use {option('optimizer', 'sgd')}, or sgd:momentum=0.9",
        )
    return ()


def check_effective_step_size(resolved: Resolved) -> Sequence[str]:
    """Check that no momentum is kept where the fusion divides by the effective step size."""
    spec, optimizer = resolved.spec, resolved.train_options["optimizer"]
    needs_it = _requires(resolved).effective_step_size
    if needs_it and spec.keep_optimizer and has_momentum(optimizer):
        raise OptionError(
            f"{option('keep_optimizer')} with {spec.optimizer}, but {spec.fusion} has to know how "
            "far a round's steps travel",
            f"leave {option('keep_optimizer')} or the momentum out",
        )
    return ()


def check_personal(resolved: Resolved) -> Sequence[str]:
    """Check that the personalization method goes together with the fusion."""
    spec, fusion = resolved.spec, resolved.rule
    if not spec.personal or fusion is None:
        return ()
    both = f"{option('personal', spec.personal)} with {option('fusion', spec.fusion)}"
    if fusion.synchronising is not None and not spec.personal.startswith(_WITH_ANY_FUSION):
        raise OptionError(
            f"{both}, whose parties keep weights of their own already",
            "use finetune or ditto, or another fusion",
        )
    if spec.personal.startswith("ifca") and fusion.requires.no_update_allowed:
        raise OptionError(
            f"{both}: a party that stays silent has no say in its cluster", "use another fusion"
        )
    return ()


def check_ensemble_alone(resolved: Resolved) -> Sequence[str]:
    """Check that an ensemble excludes a fusion and personal models."""
    spec = resolved.spec
    others = [name for name in ("fusion", "personal", "share") if getattr(spec, name)]
    if spec.ensemble and others:
        raise OptionError(
            f"{option('ensemble', spec.ensemble)} with {option(others[0])}: an ensemble keeps the "
            "parties' models, and fuses none",
            "use one of them",
        )
    return ()


def check_one_personal_model(resolved: Resolved) -> Sequence[str]:
    """Check that only one of the options that give each party a model is used."""
    if resolved.spec.personal and resolved.spec.share:
        raise OptionError(
            f"{option('personal')} and {option('share')} both give each party its model",
            "use one of them",
        )
    return ()


def check_attack(resolved: Resolved) -> Sequence[str]:
    """Check that hostile parties are able to carry out their attack."""
    if resolved.attack is None:
        return ()
    if isinstance(resolved.attack, DataPoisoning):
        return _check_label_flips(resolved)
    spec, fusion = resolved.spec, resolved.joined[1]
    attack = option("adversary", spec.adversary)
    if fusion.synchronising is not None:
        raise OptionError(
            f"{attack} with {option('fusion', spec.fusion)}, whose parties keep their weights and "
            "send them only when asked",
            "use label_flip, or another fusion",
        )
    if spec.ensemble and fusion.requires.partial_updates:
        raise OptionError(
            f"{attack} with {option('ensemble', spec.ensemble)}, which keeps the parties' models "
            "apart",
            "use label_flip, or a fusion",
        )
    return ()


def check_cohort_size(resolved: Resolved) -> Sequence[str]:
    """Check that a round has as many parties as the fusion needs updates."""
    needed, present = _requires(resolved).min_updates, resolved.cohort_size
    if present < needed:
        raise OptionError(
            f"{option('fusion', resolved.spec.fusion)} needs {needed} parties in a round, and "
            f"there are {present}",
            f"use more parties, a larger {option('fraction')}, or other numbers for the rule",
        )
    return ()


#: In this order. Each returns notes for the user, or raises a FusionError.
FUSION_CHECKS: tuple[Callable[[Resolved], Sequence[str]], ...] = (
    check_full_participation,
    check_sampling,
    check_plain_sgd,
    check_effective_step_size,
    check_personal,
    check_ensemble_alone,
    check_one_personal_model,
    check_attack,
    check_compression,
    check_secure,
    check_drift,
    check_cohort_size,
)


def _requires(resolved: Resolved) -> Requirements:
    return Requirements() if resolved.rule is None else resolved.rule.requires


def _check_label_flips(resolved: Resolved) -> Sequence[str]:
    model, attack = resolved.model, option("adversary", resolved.spec.adversary)
    if model.data_kind == "documents":
        raise OptionError(
            f"{attack}, but a {model.kind} learns from words alone: its labels have no part in it",
            "use another adversary, such as bit_flip",
        )
    if "accuracy" not in model.metrics:
        raise DataError(
            f"{attack}, but the labels are measurements", "use another adversary, such as bit_flip"
        )
    return ()
