"""The words by which the panel names the options of a run."""

from __future__ import annotations

#: A label has room for 13 letters.
_LABELS = {
    "lr": "learning rate",
    "until": "stop when",
    "compress": "compression",
    "secure": "secure sums",
    "contribution": "contributions",
    "devices": "party devices",
    "deadline": "deadline (s)",
    "over_select": "over-select",
    "seed_of": "part seeds",
    "log": "trackers",
    "evaluate_every": "eval every",
    "evaluate_rows": "eval rows",
}
#: The meaning of an empty box, in few words.
_EMPTY = {
    "parties": "4, or as the data",
    "label": "the last column",
    "lr": "the model's own",
    "quorum": "all",
    "roles": "all do both",
    "class_weights": "all alike",
    "report": "plain",
    "metrics": "the model's own",
    "seed_of": "that of the run",
    "straggler": "nobody",
    "adversary": "nobody",
    "step_seconds": "measured",
    "deadline": "none",
    "over_select": "nobody",
    "until": "after all rounds",
    "schedule": "once, over all rounds",
    "changes": "none",
    "checkpoint": "the user's cache",
    "baseline": "none",
    "callbacks": "none",
    "log": "nowhere",
    "contribution": "none",
    "unseen": "none",
}


def label(option: str) -> str:
    """Return the label of an option's control.

    >>> label("lr"), label("batch_size")
    ('learning rate', 'batch size')
    """
    return _LABELS.get(option, option.replace("_", " "))


def when_empty(option: str) -> str:
    """Return the meaning of an option that is left empty, for its box; "" where it says itself.

    >>> when_empty("until")
    'after all rounds'
    """
    return _EMPTY.get(option, "")


def spelling(option: str, value: str | None = None) -> str:
    """Write an option in a sentence as the panel names it.

    >>> spelling("lr", "fast")
    'learning rate fast'
    """
    return label(option) if value is None else f"{label(option)} {value}"
