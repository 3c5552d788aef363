"""Help on names: lists of components, and one component with its options."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.options import Option, signature_options
from fusion_nb.errors import EXTRAS, NameNotFoundError, OptionError, nearest
from fusion_nb.notebook import options
from fusion_nb.runs.spec import RunSpec

#: Kinds whose implementations bring a heavy framework, and so are listed without being imported.
HEAVY_KINDS = ("models",)
#: Kind -> the option of a run that takes one of its names.
_OPTION_OF_KIND = {
    field.json_schema_extra["choices"]: f"--{name.replace('_', '-')}"
    for name, field in reversed(RunSpec.model_fields.items())
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra["choices"]
} | {"metrics": "--metrics", "trackers": "--log"}


def listing(kinds: Sequence[str]) -> str:
    """Return the names of the given kinds, or of all, each with the first line of its docstring."""
    if unknown := [kind for kind in kinds if kind not in registry.KINDS]:
        raise OptionError(
            f"there is no kind {unknown[0]!r}",
            f"{nearest(unknown[0], registry.KINDS)}there are: {', '.join(registry.KINDS)}",
            allowed=registry.KINDS,
        )
    lines = []
    for kind in kinds or registry.KINDS:
        lines.append(f"{kind}:")
        for name in registry.names(kind):
            about = "" if kind in HEAVY_KINDS else summary(registry.get(kind, name))
            lines.append(f"  {name:<17} {about}{_needs(kind, name)}".rstrip())
    return "\n".join(lines)


def component(name: str) -> str:
    """Return the help on a command, an option, a fusion, a split or a data set."""
    if name in options.COMMANDS:
        return _describe_command(name)
    for written in (name, f"--{name}", f"--{name.replace('_', '-')}"):
        if written in options.names():
            return _describe_option(options.names()[written])
    if kinds := [kind for kind in registry.KINDS if name in registry.names(kind)]:
        return "\n\n".join(_describe(kind, name, registry.get(kind, name)) for kind in kinds)
    known = [*options.COMMANDS, *(each for kind in registry.KINDS for each in registry.names(kind))]
    raise NameNotFoundError(
        f"there is no help on {name!r}", f"{nearest(name, known)}%fusion list shows all names"
    )


def _describe_command(name: str) -> str:
    command = options.COMMANDS[name]
    own = "".join(f"\n  --{each:<12} {options.describe(each)}" for each in command.options)
    return f"%fusion {name} {command.words}\n  {command.purpose}{own}"


def _describe_option(field: str) -> str:
    spellings = (written for written, name in options.names().items() if name == field)
    return f"{', '.join(spellings)}\n  {options.describe(field)}"


def _describe(kind: str, name: str, implementation: Any) -> str:
    """Return the docstring of a component, its options, and how a run is given it."""
    component_options = signature_options(implementation)
    first = f"{name} ({registry.kind_word(kind)}){_needs(kind, name)}"
    lines = [first, inspect.getdoc(implementation) or ""]
    lines += [_line_of(each) for each in component_options]
    if use := _OPTION_OF_KIND.get(kind):
        wanted = [each for each in component_options if each.required] or component_options[:1]
        first = ":" + ",".join(f"{each.name}=..." for each in wanted) if wanted else ""
        another = "+name" if registry.is_open(kind, name) else ""
        lines.append(f"use: {use} {name}{first}{another}")
    return "\n".join(lines)


def _line_of(each: Option) -> str:
    default = "required" if each.required else f"default {each.default}"
    bounds = f", {each.bounds_in_words}" if each.bounds_in_words else ""
    return f"  {each.name}: {each.type.__name__}{bounds}, {default}  {each.description}"


def _needs(kind: str, name: str) -> str:
    """Return the command that installs what a component needs, or an empty string."""
    package = registry.missing_package(kind, name)
    return f" (needs  pip install 'fusion_nb[{EXTRAS[package]}]')" if package else ""


def summary(implementation: Any) -> str:
    """Return the first line of a component's docstring."""
    return (inspect.getdoc(implementation) or "").partition("\n")[0]
