"""Help on what can be chosen: names with their promise, and one component with its options."""

from __future__ import annotations

import inspect
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.options import signature_options
from fusion_nb.errors import NameNotFoundError, OptionError, nearest
from fusion_nb.notebook import options
from fusion_nb.runs.spec import RunSpec

#: Kinds whose implementations bring a heavy framework, and so are listed without being imported.
_HEAVY = ("models",)
#: Kind -> the option of a run that takes one of its names.
_OPTIONS = {
    field.json_schema_extra["choices"]: f"--{name}"
    for name, field in reversed(RunSpec.model_fields.items())
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra["choices"]
}


def listing(kinds: list[str]) -> str:
    """Return the names of the given kinds, or of all, each with the sentence that it promises."""
    if unknown := [kind for kind in kinds if kind not in registry.KINDS]:
        known = ", ".join(registry.KINDS)
        raise OptionError(
            f"there is no kind {unknown[0]!r}",
            f"{nearest(unknown[0], registry.KINDS)}there are: {known}",
        )
    lines = []
    for kind in kinds or registry.KINDS:
        lines.append(f"{kind}:")
        for name in registry.names(kind):
            promise = "" if kind in _HEAVY else _promise(registry.get(kind, name))
            lines.append(f"  {name:<17} {promise}".rstrip())
    return "\n".join(lines)


def component(name: str) -> str:
    """Return what a command, option, fusion, split or data set does, and its options with their
    defaults.
    """
    if name in options.COMMANDS:
        does, words, own = options.COMMANDS[name]
        flags = "".join(f"\n  --{flag:<12} {options.meaning(flag)}" for flag in own)
        return f"%fusion {name} {words}\n  {does}{flags}"
    for spelled in (name, f"--{name}", f"--{name.replace('_', '-')}"):
        if spelled in options.names():
            field = options.names()[spelled]
            return (
                f"{', '.join(o for o, other in options.names().items() if other == field)}\n  "
                f"{options.meaning(field)}"
            )
    if kinds := [kind for kind in registry.KINDS if name in registry.names(kind)]:
        return "\n\n".join(_describe(kind, name, registry.get(kind, name)) for kind in kinds)
    known = [
        *options.COMMANDS,
        *(known for kind in registry.KINDS for known in registry.names(kind)),
    ]
    raise NameNotFoundError(
        f"there is no help on {name!r}", f"{nearest(name, known)}%fusion list shows all names"
    )


def _describe(kind: str, name: str, implementation: Any) -> str:
    lines = [f"{name} ({registry.kind_word(kind)})", inspect.getdoc(implementation) or ""]
    for option in signature_options(implementation):
        default = "required" if option.required else f"default {option.default}"
        allowed = f", {option.bounds_in_words}" if option.bounds_in_words else ""
        lines.append(
            f"  {option.name}: {option.type.__name__}{allowed}, {default}  {option.description}"
        )
    first = next((option.name for option in signature_options(implementation)), "")
    if use := _OPTIONS.get(kind):
        another = "+name" if registry.is_open(kind, name) else ""
        lines.append(f"use: {use} {name}{f':{first}=...' if first else ''}{another}")
    return "\n".join(lines)


def _promise(implementation: Any) -> str:
    return (inspect.getdoc(implementation) or "").partition("\n")[0]
