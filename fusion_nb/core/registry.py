"""Names of components, and text such as `dirichlet:alpha=0.3` or `dirichlet:0.3` for one of them.

A name stands for a built-in, which is imported on first use; for an implementation that a decorator
registered in this process; or for an entry point of an installed package in the group
`fusion_nb.<kind>`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from fusion_nb.core.builtin import BUILTIN, PACKAGES
from fusion_nb.core.contracts import check_form
from fusion_nb.core.options import Option, as_keywords, signature_options
from fusion_nb.core.protocols import Fusion
from fusion_nb.errors import NameNotFoundError, OptionError, missing_extra, nearest

KINDS = tuple(BUILTIN)
#: Names of decorators that are not the word for their kind.
_DECORATORS = {"models": "model_adapter"}
#: Kind -> the option of a run that names one of it, where that is not what one of it is called.
_OPTIONS = {
    "compressions": "compress",
    "datasets": "data",
    "devices": "devices",
    "lr_schedules": "lr_schedule",
    "personal": "personal",
    "privacy": "privacy",
    "secure": "secure",
    "sharing": "share",
    "tabular": "tabular",
    "trackers": "log",
}
#: Kind -> what one of it is called, where that is not the kind without its last letter.
_SINGULAR = {
    "adversaries": "adversary",
    "devices": "profile of devices",
    "lr_schedules": "schedule of the learning rate",
    "personal": "method for personal models",
    "privacy": "kind of privacy",
    "secure": "way of secure aggregation",
    "sharing": "way of sharing models",
    "tabular": "encoding of tables",
}
#: Between two names of a chain; the + of a number such as 1e+3 is none.
_LINK = re.compile(r"\+(?=[A-Za-z_])")

_registered: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}


def names(kind: str) -> list[str]:
    """Return all names of a kind, sorted. Entry points are listed without being imported."""
    _check_kind(kind)
    return sorted({*BUILTIN[kind], *_registered[kind], *(point.name for point in _points(kind))})


def missing_package(kind: str, name: str) -> str:
    """Return the package that a component needs and that is not installed, or an empty string."""
    package = PACKAGES.get(kind, {}).get(name, "")
    return package if package and find_spec(package) is None else ""


def get(kind: str, name: str) -> Any:
    """Return the implementation behind a name.

    Raises NameNotFoundError with the nearest name, or MissingExtraError, which says what to
    install.
    """
    _check_kind(kind)
    if name in _registered[kind]:
        return _registered[kind][name]
    if name in BUILTIN[kind]:
        module, _, attribute = BUILTIN[kind][name].partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise missing_extra(error, f"{kind_word(kind)} {name!r}") from error
    for _ in range(2):
        for point in _points(kind):
            if point.name == name:
                found = point.load()
                check_form(kind, found, kind_word(kind))
                return found
        _points.cache_clear()  # it may have been installed since
    known = names(kind)
    raise NameNotFoundError(
        f"no {kind_word(kind)} is called {name!r}",
        f"{_rewritten(name, known) or nearest(name, known)}there are: {', '.join(known)}",
        option=option_of(kind),
        value=name,
        allowed=known,
    )


def registered(kind: str) -> dict[str, Any]:
    """Return what was registered in this process, by name, for another process to register."""
    _check_kind(kind)
    return dict(_registered[kind])


def register(kind: str, name: str, implementation: Any) -> None:
    """Give an implementation a name in this process; a second registration replaces the first.

    Raises OptionError for the name of a built-in, for a name that can't be written as an option's
    value, or for a class of another form than its kind has.
    """
    _check_kind(kind)
    if name in BUILTIN[kind]:
        raise OptionError(f"{name!r} is a built-in {kind_word(kind)}", "give yours another name")
    if not name.isidentifier():
        raise OptionError(
            f"{name!r} can't name {_with_article(kind_word(kind))}",
            "use letters, digits and underscores",
        )
    check_form(kind, implementation, kind_word(kind))
    _registered[kind][name] = implementation


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Split `name:option=value,option=value` into the name and its options, as text.

    A first value without a name goes under "": it is that of the component's first option.
    """
    name, _, rest = text.strip().partition(":")
    options: dict[str, str] = {}
    # A comma inside brackets belongs to the value: adam:betas=(0.9,0.99)
    for pair in filter(None, re.split(r",(?![^(\[]*[)\]])", rest)):
        option, sign, value = pair.partition("=")
        if not sign and not options:
            option, value = "", option
        elif not sign:
            raise OptionError(
                f"{text!r}: {pair!r} is not option=value",
                f"write it as {name}:option=value,option=value",
            )
        options[option.strip()] = value.strip()
    return name.strip(), options


def options(kind: str, name: str) -> list[Option]:
    """Return the options of a component: its keyword-only parameters."""
    return signature_options(get(kind, name))


def bind(kind: str, text: str) -> tuple[Any, dict[str, Any]]:
    """Return the implementation that text such as `dirichlet:alpha=0.3` names, with its options.

    Raises OptionError for an option that it doesn't have, a value of the wrong type or out of
    range, or a required option that is missing.
    """
    name, given = parse(text)
    implementation = get(kind, name)
    known = {option.name: option for option in signature_options(implementation)}
    if "" in given and known:
        given = {next(iter(known)): given[""]} | {
            word: value for word, value in given.items() if word
        }
    for word in given:
        if word not in known:
            has = f"it has: {', '.join(known)}" if known else "it has no options"
            if word in (positional := _positional_defaults(implementation)):
                default = positional[word]
                has = f"{word} is not keyword-only: write it after a star, as *, {word}={default!r}"
            raise OptionError(
                f"{kind_word(kind)} {name!r} has no option {word or given[word]!r}",
                f"{_inside(word, given[word], known)}{nearest(word, known)}{has}",
                option=option_of(kind),
                value=text,
            )
    absent = [option for option in known.values() if option.required and option.name not in given]
    if absent:
        there = [f"{word}={value}" for word, value in given.items()]
        wanted = ",".join([*there, *(f"{each.name}=..." for each in absent)])
        said = "; ".join(f"{each.name}: {each.description}" for each in absent if each.description)
        raise OptionError(
            f"{kind_word(kind)} {name!r} needs the option {absent[0].name!r}",
            f"write it as {name}:{wanted}" + (f"  ({said})" if said else ""),
            option=option_of(kind),
            value=text,
        )
    try:
        values = {word: known[word].read(value, f"{name}:{word}") for word, value in given.items()}
    except OptionError as error:
        error.option, error.value = option_of(kind), text
        raise
    return implementation, as_keywords(values)


def _inside(word: str, value: str, known: Mapping[str, Option]) -> str:
    """Return a hint where a word belongs into an option, as `noise=auto:epsilon=8` has epsilon."""
    for option in known.values():
        if found := re.search(rf"\b(\w+):{re.escape(word)}=", option.description):
            return f"write {option.name}={found[1]}:{word}={value}; "
    return ""


def create(kind: str, text: str) -> Any:
    """Return the component that text names, made with its options.

    In `bucketing:s=2+krum:f=1` the first is made with the second as its positional argument.
    Raises OptionError as `bind`, or for names in an order that makes no sense.
    """
    *outer, last = chain(text)
    implementation, chosen = bind(kind, last)
    if takes_another(implementation):
        name = parse(last)[0]
        raise OptionError(
            f"{kind_word(kind)} {name!r} needs another one after it",
            f"write it after a +, as {last}+name",
            option=option_of(kind),
            value=text,
        )
    made = implementation(**chosen)
    for part in reversed(outer):
        implementation, chosen = bind(kind, part)
        if not takes_another(implementation):
            name = parse(part)[0]
            raise OptionError(
                f"{kind_word(kind)} {name!r} takes no other one after it",
                f"use {name} alone",
                option=option_of(kind),
                value=text,
            )
        made = implementation(made, **chosen)
    return made


def chain(text: str) -> list[str]:
    """Return the parts of a chain of components: `bucketing:s=2+krum` is two."""
    return _LINK.split(text)


def _check_kind(kind: str) -> None:
    if kind not in BUILTIN:
        raise OptionError(
            f"there is no kind {kind!r}", f"{nearest(kind, KINDS)}there are: {', '.join(KINDS)}"
        )


def _rewritten(text: str, known: Sequence[str]) -> str:
    """Return how to write text such as `dirichlet(0.3)`, or an empty string."""
    found = re.fullmatch(r"(\w+)\s*[=(](.*?)\)?", text)
    return f"write {found[1]}:{found[2]}; " if found and found[1] in known else ""


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _positional_defaults(implementation: Any) -> dict[str, Any]:
    """Return the parameters with a default that are not keyword-only, and so no options."""
    parameters = inspect.signature(implementation).parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty
    }


def kind_word(kind: str) -> str:
    """Return what one of a kind is called: `fusion` for `fusions`."""
    return _SINGULAR.get(kind, kind[:-1])


def option_of(kind: str) -> str:
    """Return the option of a run that names one of a kind: `share` for `sharing`."""
    return _OPTIONS.get(kind, kind_word(kind))


def is_open(kind: str, name: str) -> bool:
    """Return whether a name is half a chain: a fusion around another one, or a skew of a split."""
    if kind == "splits":
        return inspect.isclass(get(kind, name))
    return kind == "fusions" and takes_another(get(kind, name))


def takes_another(implementation: Any) -> bool:
    """Return whether a component is made around another one, as `bucketing` is."""
    if inspect.isclass(implementation) and issubclass(implementation, Fusion):
        return implementation.wraps_another
    parameters = inspect.signature(implementation).parameters.values()
    return any(p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty for p in parameters)


def decorator(
    kind: str, promote: Callable[[Any], Any] = lambda implementation: implementation
) -> Callable[[Any], Any]:
    """Return a decorator that registers a function or class by its own name, or by `name=`."""

    def register_as(implementation: Any = None, *, name: str | None = None) -> Any:
        if implementation is None or isinstance(implementation, str):
            return functools.partial(register_as, name=name or implementation)
        promoted = promote(implementation)
        register(kind, name or implementation.__name__, promoted)
        return implementation

    # Its name in help() is the one that a notebook imports.
    register_as.__name__ = register_as.__qualname__ = _DECORATORS.get(kind, kind[:-1])
    return register_as


@functools.cache
def _points(kind: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of installed packages, cached since looking them up is slow."""
    return tuple(entry_points(group=f"fusion_nb.{kind}"))
