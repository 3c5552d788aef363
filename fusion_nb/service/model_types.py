"""Types of models as requests name them, derived from the registered frameworks.

Nothing here imports a framework: the server never does. Facts that only an adapter
knows, such as the formats of its weights, are read by the process that inspects uploads.
"""

from __future__ import annotations

from fusion_nb.core.builtin import FRAMEWORKS

#: Frameworks whose `model_type` is another word, which the original service used.
_ORIGINAL = {"torch": "pytorch"}

#: model_type -> name of the file in which the server stores a model of that type.
MODEL_FILES = {
    _ORIGINAL.get(name, name): f"model{framework.suffixes[0]}"
    for name, framework in FRAMEWORKS.items()
}


def model_type_of(framework: str) -> str:
    """Return the `model_type` of a framework's models, or "" if the service has none."""
    name = _ORIGINAL.get(framework, framework)
    return name if name in MODEL_FILES else ""


def framework_of_type(model_type: str) -> str:
    """Return the framework of a `model_type`, or "" for an unknown one."""
    found = (name for name in FRAMEWORKS if model_type_of(name) == model_type)
    return next(found, "")
