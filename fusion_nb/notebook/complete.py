"""Tab completion on the option line: commands, options, their choices, and variables that would
fit.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping
from typing import Any

_LINE = re.compile(r"^\s*(%%?)fusion\s(.*)$", re.DOTALL)


def matcher(namespace: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return an IPython matcher that answers on `%fusion` and `%%fusion` lines, and there alone."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    @context_matcher()
    def fusion_matcher(context: Any) -> Any:
        found = _LINE.match(context.text_until_cursor)
        is_first = not context.full_text[: context.full_text.find("fusion")].strip(" %\n")
        if found is None or (found[1] == "%%" and not is_first):
            return {"completions": []}
        typed = re.split(r"\s", found[2])
        fragment = typed.pop()
        words = [
            word
            for word in suggest([t for t in typed if t], fragment, namespace)
            if word.startswith(fragment)
        ]
        return {
            "completions": [SimpleCompletion(word, type="param") for word in words],
            "matched_fragment": fragment,
            "suppress": True,
            "ordered": True,
        }

    return fusion_matcher


def suggest(before: list[str], fragment: str, namespace: Mapping[str, Any]) -> list[str]:
    """Return what could stand at the cursor, after the words before it."""
    from fusion_nb.notebook import options

    if fragment.startswith("--") and "=" in fragment:  # --split=dir is --split dir
        option, _, rest = fragment.partition("=")
        return [f"{option}={word}" for word in suggest([*before, option], rest, namespace)]
    last = before[-1] if before else ""
    field = options.names().get(last)
    if field and not options.stands_alone(field):
        return values(field, fragment, namespace)
    command = before[0] if before and before[0] in options.COMMANDS else ""
    if not fragment.startswith("-") and command in ("list", "help"):
        return _topics(command)
    own = options.COMMANDS[command or "run"][2]
    fields = (
        []
        if command not in ("", *options.RUNNING)
        else [f for f in options.names().values() if f not in options.OWN]
    )
    spelled = [
        option
        for option, name in options.names().items()
        if name in (*own, *fields) and option.startswith("--")
    ]
    runs = [
        name for name, value in namespace.items() if _is_run(value) and not name.startswith("_")
    ]
    if not before and not fragment.startswith("-"):
        return [*options.COMMANDS, *spelled]
    return (
        spelled
        if command in ("", *options.RUNNING) or fragment.startswith("-")
        else [*runs, *spelled]
    )


def values(field: str, fragment: str, namespace: Mapping[str, Any]) -> list[str]:
    """Return what an option could be given, as far as it begins with the fragment."""
    from fusion_nb.core import registry
    from fusion_nb.data import loading
    from fusion_nb.models import lookup
    from fusion_nb.notebook import options
    from fusion_nb.runs.spec import RunSpec

    public = {name: value for name, value in namespace.items() if not name.startswith("_")}
    if field == "format":
        return sorted(
            {format for value in public.values() if _is_run(value) for format in value.formats}
        )
    if field == "config":
        return sorted(glob.glob(f"{fragment}*.y*ml"))
    if field in options.OWN:
        return list(options.OWN[field][1])
    if field == "model":
        return [name for name, value in public.items() if lookup.framework_of(value)]
    if field == "device":
        return ["auto", "cpu", "cuda", "mps"]
    if field == "monitor":
        return ["accuracy", "loss", "self_rank", "train_loss"]
    if field in ("optimizer", "loss"):
        return [word for adapter in lookup.loaded() for word in adapter.choices.get(field, ())]
    extra: Any = RunSpec.model_fields[field].json_schema_extra
    kind = extra["choices"]
    variables = (
        [n for n, v in public.items() if loading.looks_like_data(n, v)] if field == "data" else []
    )
    if not kind:
        return variables
    name, colon, rest = fragment.partition(":")
    if colon and name in registry.names(kind) and rest.rpartition(",")[2].count("="):
        return []  # the value of an option
    if colon and name in registry.names(kind):
        # Complete the option after the last comma: dirichlet:al -> dirichlet:alpha=
        given = rest.rpartition(",")[0]
        head = f"{name}:{given}," if given else f"{name}:"
        return [f"{head}{option.name}=" for option in registry.options(kind, name)]
    return [*registry.names(kind), *variables]


def _is_run(value: Any) -> bool:
    from fusion_nb.runs.run import Run

    return isinstance(value, Run)


def _topics(command: str) -> list[str]:
    from fusion_nb.core import registry
    from fusion_nb.notebook import options

    if command == "list":
        return list(registry.KINDS)
    return [*options.COMMANDS, *(name for kind in registry.KINDS for name in registry.names(kind))]
