"""The form that classes of each kind must have, and the values that their methods must return."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fusion_nb.core.clock.profiles import Devices, Network
from fusion_nb.core.protocols import (
    Compression,
    DataPoisoning,
    Engine,
    Fusion,
    Metric,
    ModelPoisoning,
    Tracker,
    TrainableModel,
)
from fusion_nb.core.types import Answer, Metrics, NoUpdate, Requirements, TrainingResult, Update
from fusion_nb.errors import ContractError, OptionError

#: Kind -> the base classes that a class of it derives from, one of them.
_BASES: dict[str, tuple[type, ...]] = {
    "fusions": (Fusion,),
    "compressions": (Compression,),
    "engines": (Engine,),
    "adversaries": (DataPoisoning, ModelPoisoning),
    "devices": (Devices,),
    "networks": (Network,),
    "metrics": (Metric,),
    "trackers": (Tracker,),
}
_FUSION_NAMES = {
    "fuse": "aggregate",
    "local": "client_options",
    "meet": "init(weights, info)",
    "send": "broadcast",
    "down": "shared_weights",
    "train": "local_update(context)",
    "asks": "select_senders",
    "adopt": "after_sync",
    "closing": "post_training",
    "everyone": "requires = Requirements(full_participation=True)",
    "may_be_silent": "requires = Requirements(no_update_allowed=True)",
    "keeps_partial": "requires = Requirements(uses_partial_work=True)",
    "sends_part": "requires = Requirements(partial_updates=True)",
    "keeps_layers": "requires = Requirements(local_layers=True)",
    "needs_sgd": "requires = Requirements(plain_sgd=True)",
    "needs_travel": "requires = Requirements(effective_step_size=True)",
}
#: Kind -> member of an earlier form -> its name now.
_RENAMED: dict[str, dict[str, str]] = {
    "fusions": _FUSION_NAMES,
    "personal": _FUSION_NAMES,
    "engines": {
        "run": "run(request, cohort)",
        "check": "check(model, options, parties)",
        "inner": "derive from EngineWrapper",
    },
    "models": {
        "supports": "supported_client_options",
        "orders": "supported_options",
        "watched": "train_metrics",
        "watch": "evaluate_train",
        "examined": "costly_metrics",
        "examine": "evaluate_costly",
        "judge": "ensembling.evaluate",
        "takes": "data_kind",
        "is_scheduled": "has_lr_schedule",
        "side_by_side": "thread_safe",
        "on_one_core": "single_threaded",
        "taken_up": "from_checkpoint",
        "fit_together": "train_batched",
        "apart": "check_batchable and advise_stack",
        "imitate": "ensembling.distill",
        "norm_names": "batch_norm_names",
    },
    "adversaries": {"flipped": "flip", "lie": "forge", "__call__": "forge"},
    "datasets": {"gives": "kind"},
}


def check_form(kind: str, implementation: Any, word: str) -> None:
    """Raise OptionError, with what to write, for a class of an earlier or of another form.

    word: what messages call one of the kind. Functions that make one pass unchecked.

    >>> class Old:
    ...     def fuse(self, weights, updates, state): ...
    >>> try:
    ...     check_form("fusions", Old, "fusion")
    ... except OptionError as error:
    ...     print(error)
    the class Old is no fusion: it does not derive from Fusion
      derive it from fusion_nb.core.protocols.Fusion; rename fuse -> aggregate
    """
    if not inspect.isclass(implementation):
        return
    bases = _BASES.get(kind, ())
    renamed = _renamed(kind, implementation, bases)
    hints = [f"rename {', '.join(renamed)}"] if renamed else []
    if _is_ours(implementation) and implementation in bases:
        raise OptionError(
            f"{implementation.__name__} is the base class of every {word}, and does nothing itself",
            "derive a class of your own from it, and register that",
        )
    if bases and not issubclass(implementation, bases):
        names = " or ".join(base.__name__ for base in bases)
        package = bases[0].__module__.rpartition(".")[0]  # from which authors import the contracts
        derive = f"derive it from {package}.{names}"
        raise _no_form(implementation, word, f"it does not derive from {names}", derive, *hints)
    if missing := sorted(getattr(implementation, "__abstractmethods__", ())):
        base = next(b for b in implementation.__mro__[1:] if _is_ours(b))
        define = f"define {', '.join(missing)}; see the toy in {base.__name__}'s docstring"
        raise _no_form(implementation, word, f"it defines no {missing[0]}", *hints, define)
    if renamed:
        problem = "its members have names of an earlier form"
        raise _no_form(implementation, word, problem, *hints, "helpers of yours need other names")
    if bases:
        check_signatures(implementation, word)
    if issubclass(implementation, Fusion):
        _check_fusion(implementation, word)


def check_signatures(implementation: type, word: str, optional: Collection[str] = ()) -> None:
    """Raise OptionError for a method that can't be called as the base class's method of that name.

    optional: keyword-only parameters that it need not have
    """
    for name, own, contract in _overridden(implementation):
        expected = inspect.signature(contract).parameters.values()
        positional = [p.name for p in expected if p.kind is p.POSITIONAL_OR_KEYWORD]
        keywords = {
            p.name: None for p in expected if p.kind is p.KEYWORD_ONLY and p.name not in optional
        }
        try:
            inspect.signature(own).bind(*positional, **keywords)
        except TypeError:
            right = f"{name}{_plain(contract)}"
            raise _no_form(
                implementation,
                word,
                f"{name}{_plain(own)} can't be called as {right}",
                f"write def {right}",
            ) from None


def check_answer(answer: Any, party: str) -> Answer:
    """Return the answer of a `local_update`. Raises ContractError for anything else."""
    if not isinstance(answer, Update | NoUpdate):
        weights = "result.weights" if isinstance(answer, TrainingResult) else "weights"
        raise ContractError(
            f"the fusion's local_update() returned {type(answer).__name__}, not an answer",
            f"end it with: return context.update({weights})",
        )
    if answer.party != party:
        raise ContractError(
            f"the fusion's local_update() answered for {answer.party} at {party}",
            "make the answer by context.update(weights) or context.no_update()",
        )
    return answer


def check_training(model: TrainableModel, result: Any) -> None:
    """Raise ContractError unless the value that `fit` returned is a TrainingResult with a loss.

    A model that is not measured by a loss may leave it out, and so may a result that says so.
    """
    if not isinstance(result, TrainingResult):
        raise ContractError(
            f"fit() of a {model.kind} returned {type(result).__name__}, not a TrainingResult",
            "end it with: return TrainingResult(weights, metrics, num_steps, effective_step_size)",
        )
    needed = ["loss"] if "loss" in model.metrics and result.tells_loss else []
    _check_metrics(f"fit() of a {model.kind}", result.metrics, needed)


def evaluate(model: TrainableModel, data: Any, *, with_added: bool = True) -> Metrics:
    """Return a model's metrics over the rows. Raises ContractError where one is missing.

    with_added: those that the run added, too; there are none of a loss that is not finite
    """
    found = model.evaluate(data)
    others = {*model.train_metrics, *model.costly_metrics, *model.added_metrics}
    needed = [name for name in model.metrics if name not in others]
    _check_metrics(f"evaluate() of a {model.kind}", found, needed)
    if with_added and model.added_metrics and math.isfinite(found.get("loss", 0.0)):
        return {**found, **model.evaluate_added(data)}
    return found


def check_notes(method: str, found: Any) -> list[str]:
    """Return the sentences that a method `check` returned. Raises ContractError for another value.

    method: what the message calls it
    """
    if not isinstance(found, list | tuple) or not all(isinstance(note, str) for note in found):
        raise ContractError(
            f"{method} returned {type(found).__name__}, not a list of sentences",
            "end it with: return []",
        )
    return [*found]


def _check_metrics(method: str, found: Any, needed: Collection[str]) -> None:
    example = "{" + ", ".join(f'"{name}": ...' for name in needed) + "}"
    if not isinstance(found, Mapping):
        raise ContractError(
            f"{method} gave {type(found).__name__}, not metrics by name", f"return {example}"
        )
    if missing := [name for name in needed if name not in found]:
        raise ContractError(
            f"{method} gave no {missing[0]!r}, but {', '.join(found) or 'nothing'}",
            f"return {example}, or name other metrics in the class's `metrics`",
        )


def _renamed(kind: str, implementation: type, bases: tuple[type, ...]) -> list[str]:
    """Return `old -> new` for the members of the user's classes that have names of an earlier form.

    Some names have a meaning today too, in a class that derives from the right base.
    """
    own = [base for base in implementation.__mro__[:-1] if not _is_ours(base)]
    members = {name for base in own for name in vars(base)}
    if issubclass(implementation, bases):
        members -= {name for base in bases for name in dir(base)}
    return [f"{old} -> {new}" for old, new in _RENAMED.get(kind, {}).items() if old in members]


def _overridden(implementation: type) -> Iterator[tuple[str, Any, Any]]:
    """Yield the public methods that the user's classes override: name, their own, the original."""
    seen = set()
    for base in implementation.__mro__:
        if _is_ours(base) or base is object:
            continue
        for name in vars(base):
            theirs = [
                getattr(other, name)
                for other in implementation.__mro__
                if _is_ours(other) and name in vars(other)
            ]
            is_method = bool(theirs) and inspect.isroutine(theirs[0]) and name[0] != "_"
            own = getattr(implementation, name)
            if is_method and name not in seen and inspect.isroutine(own):
                yield name, own, theirs[0]
            seen.add(name)


def _check_fusion(implementation: type[Fusion], word: str) -> None:
    """Raise OptionError for class attributes or a constructor that a fusion can't have."""
    allowed: dict[str, tuple[type, str]] = {
        "requires": (Requirements, "requires = Requirements(full_participation=True)"),
        "client_options": (Mapping, 'client_options = {"mu": 0.1}'),
    }
    for name, (form, example) in allowed.items():
        value = inspect.getattr_static(implementation, name)
        if not isinstance(value, form | property):
            raise _no_form(
                implementation,
                word,
                f"its {name} is {type(value).__name__}, not {form.__name__}",
                f"write {example}",
            )
    if implementation.wraps_another:
        return
    for parameter in inspect.signature(implementation).parameters.values():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            bare = parameter.replace(annotation=parameter.empty)
            raise _no_form(
                implementation,
                word,
                f"{parameter.name} is not keyword-only",
                f"write def __init__(self, *, {bare}); a rule around another one derives from "
                "FusionWrapper",
            )


def _is_ours(kind: type) -> bool:
    """Return whether a class is one of this package, whose members are right by definition."""
    is_named_so = kind.__module__.startswith("fusion_nb.")
    return is_named_so and getattr(sys.modules[kind.__module__], kind.__name__, None) is kind


def _plain(method: Any) -> str:
    """Return the parameters of a method without their types, as text."""
    signature = inspect.signature(method)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(bare))


def _no_form(implementation: type, word: str, problem: str, *hints: str) -> OptionError:
    line = f"the class {implementation.__name__} is no {word}: {problem}"
    return OptionError(line, "; ".join(hints))
