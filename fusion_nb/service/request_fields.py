"""The fields of a request: those of the original service, and every option of a RunSpec under its
own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.registry import parse
from fusion_nb.errors import FusionError, nearest
from fusion_nb.runs.resolve import check_names
from fusion_nb.runs.spec import RunSpec, allowed
from fusion_nb.service.errors import FieldError

#: What the original service calls some options of a RunSpec.
ORIGINAL = {
    "fusion_algorithm": "fusion",
    "num_parties": "parties",
    "learning_rate": "lr",
}
#: model_type -> the file that its model is kept in.
MODELS = {"pytorch": "model.pt", "keras": "model.keras", "doc2vec": "model.doc2vec"}
#: Framework of a model -> its model_type.
TYPES = {"torch": "pytorch", "keras": "keras", "doc2vec": "doc2vec"}
#: model_type -> the format of a whole model.
WHOLE = {"pytorch": "whole", "keras": "keras", "doc2vec": "gensim"}
#: model_type -> the formats that its weights are given in.
FORMATS = {
    "pytorch": ("json", "npz", "safetensors", "pt"),
    "keras": ("json", "npz", "keras"),
    "doc2vec": ("json", "npz", "gensim"),
}
#: Options that name what a client has elsewhere or a folder of this machine, or would run its code.
NOT_TAKEN = {"model", "data", "data_handler", "label", "split", "code", "checkpoint"}
#: Data handlers that need no file, and so none of a party's rows.
_WITHOUT_FILE = {"digits"}
_NAMES = {ours: theirs for theirs, ours in ORIGINAL.items()}
#: Names of fields, with the options that they are; an option is also taken under its own name.
OPTIONS: dict[str, str] = {
    **ORIGINAL,
    **{name: name for name in RunSpec.model_fields if name not in NOT_TAKEN},
}


def to_options(given: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the model type and the options of a RunSpec that the fields of /start-aggregator ask
    for.

    Raises FieldError for the first field that is missing, unknown, given twice under two names, or
    not allowed.
    """
    model_type = given.get("model_type", "")
    if model_type not in MODELS:
        line = (
            f"model_type {model_type!r} is not allowed" if model_type else "model_type is missing"
        )
        raise FieldError("model_type", line, f"there are: {', '.join(MODELS)}")
    options: dict[str, Any] = {}
    for name, text in given.items():
        if name == "model_type":
            continue
        if name not in OPTIONS:
            raise FieldError(
                name,
                f"there is no field {name!r}",
                f"{nearest(name, OPTIONS)}there are: {_known()}",
            )
        if OPTIONS[name] in options:
            raise FieldError(
                name, f"{name} is given twice, as {_NAMES[OPTIONS[name]]} too", "give one of them"
            )
        if text == "" or (
            name == "optimizer" and model_type == "doc2vec"
        ):  # the original client sends it all the same
            continue
        options[OPTIONS[name]] = _checked(name, text)
    if "parties" not in options:
        raise FieldError("num_parties", "num_parties is missing", f"give {allowed('parties')}")
    return model_type, options


def check_format(format: str, model_type: str) -> None:
    """Raise FieldError unless a model of that type has its weights given in that format."""
    if format not in FORMATS[model_type]:
        line = f"format {format!r} is not allowed for a {model_type} model"
        raise FieldError("format", line, f"there are: {', '.join(FORMATS[model_type])}")


def handlers() -> list[str]:
    """Return the names of the data handlers that read a file."""
    return [handler for handler in registry.names("datasets") if handler not in _WITHOUT_FILE]


def to_handler(name: str, is_custom: bool) -> str:
    """Return a data handler's name. Raises FieldError for none, an unknown one, or one that reads
    no file.

    is_custom: it is a class of the module that comes along, whose names are not known before it is
    run
    """
    known = handlers()
    field = "data_handler_class_name"
    if not name:
        raise FieldError(field, f"{field} is missing", f"there are: {', '.join(known)}")
    if is_custom and not name.isidentifier():
        raise FieldError(
            field,
            f"{field} {name!r} names no class",
            "give the name of a class in custom_data_handler",
        )
    if not is_custom and name not in known:
        hint = (
            f"{nearest(name, known)}there are: {', '.join(known)}; or send a module as "
            "custom_data_handler"
        )
        raise FieldError(field, f"{field} {name!r} is not allowed", hint)
    return name


def to_party(name: str, taken: list[str]) -> str:
    """Return the name of a party: as given, or `party 1`, `party 2`, ... Raises FieldError for one
    that is not.
    """
    name = name or f"party {len(taken) + 1}"
    if not name.isprintable() or not name.strip() or len(name) > 100:
        raise FieldError(
            "party", "the party's name is not allowed", "give up to 100 printable characters"
        )
    if name in taken:
        raise FieldError(
            "party", f"there is a party {name!r} already", "give another name, or none"
        )
    return name


def _checked(name: str, text: str) -> Any:
    """Return an option's value. Raises FieldError where RunSpec or the registry doesn't take it."""
    option = OPTIONS[name]
    try:
        spec = RunSpec(**{option: text})
        check_names(spec)
    except FusionError as error:
        line = f"{name} {text[:80]!r} is not allowed"
        hint = (
            f"give {allowed(option)}" if option not in _NAMED else f"{error.message}: {error.hint}"
        )
        raise FieldError(name, line, hint) from None
    if option == "ensemble" and parse(text)[0] == "distill":
        # Its data would be read from this machine, and not from the client's.
        raise FieldError(
            name, f"{name} {text[:80]!r} needs data of the server's", "use mean, vote or stack"
        )
    return getattr(spec, option)


#: Options whose text is more than a number: what is wrong with it is said by whoever reads it.
_NAMED = {name for name, field in RunSpec.model_fields.items() if field.annotation is str}


def _known() -> str:
    return ", ".join(dict.fromkeys(["model_type", *ORIGINAL, *OPTIONS]))


def option_schemas() -> dict[str, Any]:
    """Return every field of /start-aggregator that is an option, with its meaning, default and
    bounds.
    """
    described = RunSpec.model_json_schema()["properties"]
    found = {}
    for name in dict.fromkeys([*ORIGINAL, *(n for n in OPTIONS if n not in ORIGINAL.values())]):
        option = OPTIONS[name]
        kept = {key: value for key, value in described[option].items() if key in _KEPT}
        found[name] = {
            **kept,
            "description": f"{described[option]['description']}. {allowed(option).capitalize()}.",
        }
    return found


_KEPT = {"type", "anyOf", "default", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
