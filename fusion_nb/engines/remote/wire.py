"""Requests and replies as plain data, for parties that trust no code of the aggregator's.

A rule's half that runs at a party travels as the name of a class of this package and its plain
options, never as code. Nothing that comes in is unpickled.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from importlib import import_module
from types import FunctionType
from typing import Any

import numpy as np

from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import (
    AdoptRequest,
    CollectRequest,
    EvaluateRequest,
    Failure,
    FederationInfo,
    NoUpdate,
    PrepareRequest,
    Reply,
    Request,
    RoundRequest,
    SendRequest,
    StepRequest,
    Update,
)
from fusion_nb.errors import OptionError

#: Where rules come from that a party runs by their names.
_ALGORITHMS = "fusion_nb.algorithms."
_TRUSTED = (_ALGORITHMS, "fusion_nb.core.types.")
_REQUESTS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        CollectRequest,
        PrepareRequest,
        RoundRequest,
        SendRequest,
        StepRequest,
        AdoptRequest,
        EvaluateRequest,
    )
}
_REPLIES: dict[str, type[Any]] = {kind.__name__: kind for kind in (Update, NoUpdate, Failure)}


class UnreadableError(ValueError):
    """Data that came in is no request or reply of this package."""


def request_to_tree(request: Request, party: str) -> dict[str, Any]:
    """Return a request to one party as plain data.

    Raises OptionError for a rule whose half at a party is code of the user's own.
    """
    tree = _fields(request)
    if isinstance(request, RoundRequest):
        own = request.party_options.get(party)
        tree["info"] = _info_to_tree(request.info)
        tree["party_options"] = {} if own is None else {party: dict(own)}
        tree["local_update"] = _rule_to_tree(request.local_update)
    if isinstance(request, StepRequest):
        tree["given"] = {party: request.given[party]}
        tree["step"] = _name_of(request.step)
    return {"request": type(request).__name__, "fields": tree}


def request_of_tree(tree: Any) -> Request:
    """Return the request that `request_to_tree` wrote.

    Raises UnreadableError for anything else, a rule of another package among it.
    """
    kind = _kind(tree, "request", _REQUESTS)
    given = dict(tree["fields"])
    if kind is RoundRequest:
        info = dict(given["info"])
        for name in ("trained", "batch_norm"):
            info[name] = frozenset(info[name])
        given["info"] = FederationInfo(**info)
        given["local_update"] = _rule_of_tree(given["local_update"])
    if kind is StepRequest:
        given["step"] = _step(given.get("step"))
        if not isinstance(given.get("given"), Mapping):
            raise UnreadableError("its step has nothing for this party")
    return _made(kind, given)


def reply_to_tree(reply: Reply) -> dict[str, Any]:
    """Return a reply as plain data; a failure without its exception."""
    tree = _fields(reply)
    tree.pop("exception", None)
    return {"reply": type(reply).__name__, "fields": tree}


def reply_of_tree(tree: Any, party: str) -> Reply:
    """Return the reply of a party. Raises UnreadableError for anything else.

    The party is the one that was asked, whatever the reply says.
    """
    kind = _kind(tree, "reply", _REPLIES)
    reply: Reply = replace(_made(kind, dict(tree["fields"])), party=party)
    if isinstance(reply, Failure):
        return Failure(party, str(reply.error), str(reply.traceback))
    if not _is_count(reply.num_examples):
        raise UnreadableError(f"its number of rows is {reply.num_examples!r}")
    if not _are_numbers(reply.metrics):
        raise UnreadableError("its metrics are no numbers by name")
    if isinstance(reply, Update) and not _are_arrays(reply.weights):
        raise UnreadableError("its weights are no arrays by name")
    if not isinstance(reply.extras, Mapping):
        raise UnreadableError("its extras have no names")
    return reply


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_numbers(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(number, int | float) for number in value.values()
    )


def _are_arrays(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, np.ndarray) for each in value.values())


def _fields(thing: Any) -> dict[str, Any]:
    return {field.name: getattr(thing, field.name) for field in fields(thing)}


def _kind(tree: Any, word: str, kinds: Mapping[str, type[Any]]) -> type[Any]:
    name = str(tree.get(word)) if isinstance(tree, dict) else ""
    if name not in kinds or not isinstance(tree.get("fields"), dict):
        raise UnreadableError(f"it is no {word} of fusion_nb")
    return kinds[name]


def _made(kind: type[Any], given: dict[str, Any]) -> Any:
    try:
        return kind(**given)
    except TypeError as error:
        raise UnreadableError(f"it is of another version of fusion_nb: {error}") from error


def _info_to_tree(info: FederationInfo) -> dict[str, Any]:
    tree = _fields(info)
    return tree | {name: sorted(tree[name]) for name in ("trained", "batch_norm")}


def _rule_to_tree(half: Callable[..., Any] | None) -> Any:
    """Return a rule's half at a party: a method of a class, or a function, by its name."""
    if half is None:
        return None
    owner = getattr(half, "__self__", None)
    if isinstance(owner, Fusion):
        return {"rule": _plain(owner), "method": half.__name__}
    if isinstance(half, functools.partial) and not half.args:
        options = {name: _plain(value) for name, value in half.keywords.items()}
        return {"function": _name_of(half.func), "options": options}
    return {"function": _name_of(half), "options": {}}


def _plain(value: Any) -> Any:
    """Return a rule and the rules within it as names and plain options."""
    if isinstance(value, Fusion) or (_is_trusted(type(value)) and "__dict__" in dir(value)):
        state = {name: _plain(part) for name, part in vars(value).items()}
        return {"class": _name_of(type(value)), "state": state}
    if isinstance(value, frozenset):
        return {"set": sorted(value)}
    if isinstance(value, functools.partial | FunctionType):
        return None  # the aggregator's half of a rule that is a function
    return value


def _name_of(thing: Any) -> str:
    name = f"{getattr(thing, '__module__', '')}:{getattr(thing, '__qualname__', '')}"
    if not _is_trusted(thing) or "<" in name:
        raise OptionError(
            f"{name.partition(':')[2] or thing} is code of your own, and parties of a running "
            "federation run the rules of fusion_nb only",
            "use one of these: %fusion list fusions",
        )
    return name


def _is_trusted(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith(_TRUSTED)


def _rule_of_tree(tree: Any) -> Callable[..., Any] | None:
    if tree is None:
        return None
    if not isinstance(tree, dict):
        raise UnreadableError("its rule can't be read")
    if "rule" in tree:
        if tree.get("method") != "local_update":
            raise UnreadableError("its rule has no such half at a party")
        rule = _whole(tree["rule"])
        if not isinstance(rule, Fusion):
            raise UnreadableError("its rule is none of fusion_nb")
        return rule.local_update
    function = _find(tree.get("function"))
    if not callable(function) or isinstance(function, type):
        raise UnreadableError("its rule is none of fusion_nb")
    return functools.partial(
        function, **{name: _whole(value) for name, value in dict(tree["options"]).items()}
    )


def _whole(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"set"}:
        return frozenset(value["set"])
    if not (isinstance(value, dict) and value.keys() == {"class", "state"}):
        return value
    kind = _find(value["class"])
    if not isinstance(kind, type):
        raise UnreadableError(f"{value['class']} is no rule")
    made: Any = object.__new__(kind)
    for name, part in dict(value["state"]).items():
        object.__setattr__(made, name, _whole(part))
    return made


def _step(name: Any) -> Any:
    """Return a step that its module declares as one of parties."""
    module, _, attribute = str(name).partition(":")
    if module.startswith(_ALGORITHMS):
        with suppress(ModuleNotFoundError):
            for step in vars(import_module(module)).get("PARTY_STEPS", ()):
                if step.__name__ == attribute:
                    return step
    raise UnreadableError(f"{name} is no step of fusion_nb")


def _find(name: Any) -> Any:
    """Return the class or function of this package's algorithms behind a name."""
    module, _, attribute = str(name).partition(":")
    if not module.startswith(_TRUSTED) or not attribute.isidentifier():
        raise UnreadableError(f"{name} is no rule of fusion_nb")
    try:
        found = vars(import_module(module)).get(attribute)
    except ModuleNotFoundError as error:
        raise UnreadableError(f"{name} is no rule of this version of fusion_nb") from error
    if not _is_trusted(found) or found.__module__ != module or module not in sys.modules:
        raise UnreadableError(f"{name} is no rule of fusion_nb")
    return found
