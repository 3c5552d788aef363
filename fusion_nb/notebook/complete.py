"""Words that can stand at the cursor of an option line.

They are commands, options, the values of an option, and variables that fit it.
"""

from __future__ import annotations

import glob
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from fusion_nb.core import registry
from fusion_nb.data import loading
from fusion_nb.errors import FusionError
from fusion_nb.models import lookup
from fusion_nb.notebook import explain, options
from fusion_nb.runs.callbacks import own
from fusion_nb.runs.contribution.option import METHODS
from fusion_nb.runs.spec import RunSpec

#: Letters of a meaning, at most: front ends write it in one line.
_MOST_LETTERS = 72


def suggest(before: list[str], fragment: str, namespace: Mapping[str, Any]) -> list[str]:
    """Return the words that can stand at the cursor.

    before: the words on the line before it;  fragment: the part of a word that is typed already
    """
    if fragment.startswith("--") and "=" in fragment:  # --split=dir is --split dir
        option, _, rest = fragment.partition("=")
        return [f"{option}={word}" for word in suggest([*before, option], rest, namespace)]
    field = options.names().get(before[-1] if before else "")
    if field and not options.is_flag(field):
        return values(field, fragment, namespace)
    command = before[0] if before and before[0] in options.COMMANDS else ""
    is_option = fragment.startswith("-")
    if not is_option and command in ("list", "help"):
        return _topics(command)
    spellings = _options_of(command)
    if not before and not is_option:
        return [*options.COMMANDS, *spellings]
    if command == "compare" and not is_option:
        return _comparable(fragment, namespace)
    takes_run = command not in ("", *options.COMMANDS_WITH_RUN_OPTIONS)
    return [*_runs(namespace), *spellings] if takes_run and not is_option else spellings


def values(field: str, fragment: str, namespace: Mapping[str, Any]) -> list[str]:
    """Return the values that an option can be given, as far as they begin with the fragment."""
    public = {name: value for name, value in namespace.items() if not name.startswith("_")}
    if field in _VALUES:
        return _VALUES[field](fragment, public)
    if field in options.LINE_OPTIONS:
        return list(options.LINE_OPTIONS[field].choices)
    extra: Any = RunSpec.model_fields[field].json_schema_extra
    variables = []
    if field == "data":
        variables = [name for name, value in public.items() if loading.looks_like_data(name, value)]
    return _components(extra["choices"], fragment, variables) if extra["choices"] else variables


def meaning(before: list[str], word: str) -> str:
    """Return the meaning of a word that was suggested, in one short line, or "".

    before: the words on the line before it
    """
    field = options.names().get(before[-1] if before else "")
    head, sign, value = word.partition("=")
    if sign and head in options.names():  # --split=dirichlet is --split dirichlet
        return meaning([head], value)
    if field and not options.is_flag(field):
        return _short(_meaning_of_value(field, word))
    if word in options.names():
        return _short(options.describe(options.names()[word]))
    if word in options.COMMANDS:
        return _short(options.COMMANDS[word].purpose)
    if before[:1] != ["help"]:
        return ""
    kinds = (kind for kind in registry.KINDS if word in registry.names(kind))
    return _short(next((_summary_of(kind, word) for kind in kinds), ""))


def _meaning_of_value(field: str, word: str) -> str:
    """Return the meaning of a component, or of the option that the text of one ends with."""
    if field in options.LINE_OPTIONS:
        return ""
    extra: Any = RunSpec.model_fields[field].json_schema_extra
    kind = "metrics" if field == "metrics" else extra["choices"]
    name, _, rest = (word.rpartition(",")[2] if field == "metrics" else word).partition(":")
    if not kind or name not in registry.names(kind):
        return ""
    return _summary_of(kind, name, rest.rpartition(",")[2].rstrip("="))


def _summary_of(kind: str, name: str, option: str = "") -> str:
    """Return the meaning of a component, or of one of its options; "" where it can't be loaded."""
    if kind in explain.HEAVY_KINDS:
        return ""
    try:
        if not option:
            return explain.summary(registry.get(kind, name))
        return next(
            (each.description for each in registry.options(kind, name) if each.name == option), ""
        )
    except FusionError:  # it needs a package that is not installed
        return ""


def _short(text: str) -> str:
    """Return text that fits beside a word in a list."""
    return textwrap.shorten(text, _MOST_LETTERS, placeholder=" ...")


def _options_of(command: str) -> list[str]:
    """Return the options that a command takes, each as it is written; none for `run`."""
    takes_run_options = command in ("", *options.COMMANDS_WITH_RUN_OPTIONS)
    own = options.COMMANDS[command or "run"].options
    return [
        written
        for written, name in options.names().items()
        if written.startswith("--")
        and (name in own or (takes_run_options and name not in options.LINE_OPTIONS))
    ]


def _runs(namespace: Mapping[str, Any]) -> list[str]:
    from fusion_nb.runs.run import Run  # here, for it doubles what the first completion takes

    return [
        name
        for name, value in namespace.items()
        if isinstance(value, Run) and not name.startswith("_")
    ]


def _comparable(fragment: str, namespace: Mapping[str, Any]) -> list[str]:
    """Return runs, experiments, folders and trackers, with the options of a tracker after it."""
    from fusion_nb.notebook import comparing  # these too import all that trains
    from fusion_nb.runs.experiments.experiment import Experiment
    from fusion_nb.runs.run import Run

    named = [
        name
        for name, value in namespace.items()
        if isinstance(value, Run | Experiment) and not name.startswith("_")
    ]
    return [*named, *comparing.folders(fragment), *_components("trackers", fragment, [])]


def _topics(command: str) -> list[str]:
    if command == "list":
        return list(registry.KINDS)
    return [*options.COMMANDS, *(name for kind in registry.KINDS for name in registry.names(kind))]


def _components(kind: str, fragment: str, variables: list[str]) -> list[str]:
    """Return the names of a kind and the variables that fit.

    Where the fragment names a component already, return that component with each of its options.
    """
    name, colon, rest = fragment.partition(":")
    if not colon or name not in registry.names(kind):
        offered = (
            each for each in registry.names(kind) if not registry.missing_package(kind, each)
        )
        return [*offered, *variables]
    given, _, last = rest.rpartition(",")
    if "=" in last:
        return []  # the value of an option
    # Complete the option after the last comma: dirichlet:al -> dirichlet:alpha=
    head = f"{name}:{given}," if given else f"{name}:"
    return [f"{head}{option.name}=" for option in registry.options(kind, name)]


def _formats(fragment: str, public: Mapping[str, Any]) -> list[str]:
    from fusion_nb.runs.run import Run

    runs = (value for value in public.values() if isinstance(value, Run))
    return sorted({format for run in runs for format in run.formats})


def _models(fragment: str, public: Mapping[str, Any]) -> list[str]:
    return [name for name, value in public.items() if lookup.framework_of(value)]


def _of_adapters(field: str) -> Callable[[str, Mapping[str, Any]], list[str]]:
    """Return the function that lists the values that loaded frameworks take for an option."""
    return lambda fragment, public: [
        word for adapter in lookup.loaded() for word in adapter.choices.get(field, ())
    ]


def _several(kind: str) -> Callable[[str, Mapping[str, Any]], list[str]]:
    """Return a function that offers components after the last comma, with those before it."""

    def offer(fragment: str, public: Mapping[str, Any]) -> list[str]:
        before, comma, last = fragment.rpartition(",")
        return [f"{before}{comma}{word}" for word in _components(kind, last, [])]

    return offer


def _always(*words: str) -> Callable[[str, Mapping[str, Any]], list[str]]:
    return lambda fragment, public: list(words)


def _listed(words: Callable[[Mapping[str, Any]], list[str]]) -> Callable[..., list[str]]:
    """Return a function that offers words after the last comma, with those before it."""

    def offer(fragment: str, public: Mapping[str, Any]) -> list[str]:
        before, comma, _ = fragment.rpartition(",")
        return [f"{before}{comma}{word}" for word in words(public)]

    return offer


#: Option -> the function that lists its values, from the fragment and the variables.
_VALUES: dict[str, Callable[[str, Mapping[str, Any]], list[str]]] = {
    "callbacks": _listed(lambda public: own.names({"__name__": "__main__", **public})),
    "contribution": _listed(lambda public: [*METHODS]),
    "log": _several("trackers"),
    "config": lambda fragment, public: sorted(glob.glob(f"{fragment}*.y*ml")),
    "device": _always("auto", "cpu", "cuda", "mps"),
    "format": _formats,
    "loss": _of_adapters("loss"),
    "metrics": _several("metrics"),
    "model": _models,
    "monitor": _always("accuracy", "loss", "self_rank", "train_loss"),
    "optimizer": _of_adapters("optimizer"),
}
