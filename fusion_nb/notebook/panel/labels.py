"""The words by which the panel names the options of a run."""

from __future__ import annotations

_LABELS = {"lr": "learning rate", "until": "stop when"}


def label(option: str) -> str:
    """Return the label of an option's control.

    >>> label("lr"), label("batch_size")
    ('learning rate', 'batch size')
    """
    return _LABELS.get(option, option.replace("_", " "))


def spelling(option: str, value: str | None = None) -> str:
    """Write an option in a sentence as the panel names it.

    >>> spelling("lr", "fast")
    'learning rate fast'
    """
    return label(option) if value is None else f"{label(option)} {value}"
