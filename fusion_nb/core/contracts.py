"""The form that classes of each kind must have, and new names for those of an earlier form."""

from __future__ import annotations

import inspect
from typing import Any

from fusion_nb.core.protocols import DataPoisoning, Engine, Fusion, ModelPoisoning
from fusion_nb.errors import OptionError

#: Kind -> the base classes that a class of it derives from, one of them.
_BASES: dict[str, tuple[type, ...]] = {
    "fusions": (Fusion,),
    "engines": (Engine,),
    "adversaries": (DataPoisoning, ModelPoisoning),
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
        "judge": "evaluate_predictions",
        "takes": "data_kind",
        "is_scheduled": "has_lr_schedule",
        "side_by_side": "thread_safe",
        "on_one_core": "single_threaded",
        "taken_up": "from_checkpoint",
        "fit_together": "train_batched",
        "apart": "check_batchable and measure_speedup",
        "imitate": "distill",
        "norm_names": "batch_norm_names",
    },
    "adversaries": {"flipped": "flip", "lie": "forge", "__call__": "forge"},
    "datasets": {"gives": "kind"},
}


def check_form(kind: str, implementation: Any, word: str) -> None:
    """Raise OptionError, with the names to change, for a class of an earlier or of another form.

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
    if bases and issubclass(implementation, bases):
        _check_complete(implementation, word)
        return
    members = {name for base in implementation.__mro__[:-1] for name in vars(base)}
    renamed = [f"{old} -> {new}" for old, new in _RENAMED.get(kind, {}).items() if old in members]
    if not bases and not renamed:
        return
    hints = [f"rename {', '.join(renamed)}"] if renamed else []
    problem = "its members have names of an earlier form"
    if bases:
        names = " or ".join(base.__name__ for base in bases)
        problem = f"it does not derive from {names}"
        hints.insert(0, f"derive it from {bases[0].__module__}.{names}")
    raise OptionError(
        f"the class {implementation.__name__} is no {word}: {problem}", "; ".join(hints)
    )


def _check_complete(implementation: type, word: str) -> None:
    """Raise OptionError for a class that does not define all that its base class demands."""
    if missing := sorted(getattr(implementation, "__abstractmethods__", ())):
        base = implementation.__mro__[1].__name__
        raise OptionError(
            f"the class {implementation.__name__} is no {word}: it defines no {missing[0]}",
            f"define {', '.join(missing)}; see the toy in {base}'s docstring",
        )
