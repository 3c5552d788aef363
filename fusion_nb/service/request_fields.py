"""Fields of requests: those of the original service, and every option of a RunSpec by its name."""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.registry import parse
from fusion_nb.errors import FusionError, nearest
from fusion_nb.runs.checks.names import check_names
from fusion_nb.runs.spec import RunSpec, allowed
from fusion_nb.service.errors import FieldError, RefusedError, http_spelling
from fusion_nb.service.model_types import MODEL_FILES

#: Names of the original service for some options of a RunSpec.
ORIGINAL = {
    "fusion_algorithm": "fusion",
    "num_parties": "parties",
    "learning_rate": "lr",
}
#: Options that name objects of the client's notebook or a folder of the server, or would run the
#: client's code.
NOT_TAKEN = {"model", "data", "data_handler", "label", "split", "code", "checkpoint", "tabular"}
NOT_TAKEN |= {"callbacks", "log", "contribution", "unseen"}
#: Name of a field -> the option that it sets. An option is also taken by its own name.
OPTIONS: dict[str, str] = {
    **ORIGINAL,
    **{name: name for name in RunSpec.model_fields if name not in NOT_TAKEN},
}
_ORIGINAL_NAMES = {option: field for field, option in ORIGINAL.items()}
#: Options whose value is a text with a syntax of its own, which its own reader explains.
_WITH_SYNTAX = {name for name, field in RunSpec.model_fields.items() if field.annotation is str}
_OF_OTHER_MACHINES = ("flower", "ray")
#: Components that read data by a name, and what to use instead.
_READ_HERE = {
    ("ensemble", "distill"): "use mean, vote or stack",
    ("devices", "trace"): "use another profile of devices, such as phones",
}
_MAX_NAME = 100
#: Characters that look like a blank: Unicode's own, and letters and signs that show nothing. Line
#: breaks are not among them.
_BLANKS = re.compile(
    "[ \\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000\\u115f\\u1160\\u2800\\u3164\\uffa0]+"
)
#: Characters of a refused value that a message repeats.
_MAX_SHOWN = 80


def read_options(fields: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the model type and the options of a RunSpec from the fields of /start-aggregator.

    Raises FieldError for the first field that is missing, unknown, given twice under two names, or
    whose value is not allowed.
    """
    model_type = _read_model_type(fields.get("model_type", ""))
    options: dict[str, Any] = {}
    for name, text in fields.items():
        if name == "model_type":
            continue
        option = _option_of(name)
        if option in options:
            raise FieldError(
                name,
                f"{name} is given twice, as {_ORIGINAL_NAMES[option]} too",
                "give one of them",
                option=option,
            )
        if text:
            options[option] = _read_option(name, text)
    if "parties" not in options:
        raise FieldError(
            "num_parties",
            "num_parties is missing",
            f"give {allowed('parties')}",
            option="parties",
        )
    return model_type, options


def check_engine(options: Mapping[str, Any], allowed_engines: Sequence[str]) -> None:
    """Raise RefusedError for an engine of other machines that the operator did not allow.

    A client that may choose one would let this server connect to an address of the client's choice.
    """
    name, _ = parse(str(options.get("engine", "")))
    if name in _OF_OTHER_MACHINES and name not in allowed_engines:
        raise RefusedError(
            f"engine {name} trains on other machines, and this server allows none",
            "use another engine, or ask the operator to start the server with "
            f"--allow-engine {name}",
        )


def _read_model_type(name: str) -> str:
    if name in MODEL_FILES:
        return name
    line = f"model_type {name!r} is not allowed" if name else "model_type is missing"
    raise _not_listed("model_type", line, name, list(MODEL_FILES))


def _option_of(name: str) -> str:
    if name in OPTIONS:
        return OPTIONS[name]
    known = list(dict.fromkeys(["model_type", *ORIGINAL, *OPTIONS]))
    if name == "tabular":
        raise FieldError(
            name,
            "tabular is not for a service, which takes rows of numbers from each party by itself",
            "encode the rows before they are sent, with fusion_nb.load_encoding(folder) and its "
            "transform(frame); a cell that names a service does it by itself",
            allowed=known,
        )
    hint = f"{nearest(name, OPTIONS)}there are: {', '.join(known)}"
    raise FieldError(name, f"there is no field {name!r}", hint, allowed=known)


def check_format(format: str, formats: Sequence[str], model_type: str) -> None:
    """Raise FieldError unless the weights of a model can be written in a format."""
    if format not in formats:
        line = f"format {format!r} is not allowed for a {model_type} model"
        raise _not_listed("format", line, format, formats)


def handlers() -> list[str]:
    """Return the names of the data handlers that read a file: their constructor takes its path.

    Any other would read data of the server's machine, and none of a party's rows.
    """
    return [name for name in registry.names("datasets") if _takes_path(name)]


def _takes_path(handler: str) -> bool:
    parameters = inspect.signature(registry.get("datasets", handler)).parameters.values()
    return any(parameter.kind is not parameter.KEYWORD_ONLY for parameter in parameters)


def read_handler(name: str, is_custom: bool) -> str:
    """Return the name of a data handler.

    is_custom: the handler is a class of the uploaded module, whose names are unknown until it runs
    Raises FieldError for no name, an unknown one, or the name of a handler that reads no file.
    """
    known = handlers()
    field = "data_handler_class_name"
    if not name:
        raise _not_listed(field, f"{field} is missing", "", known)
    if is_custom and not name.isidentifier():
        raise FieldError(
            field,
            f"{field} {name!r} is not the name of a class",
            "give the name of a class in custom_data_handler",
            value=name,
        )
    if not is_custom and name not in known:
        hint = (
            f"{nearest(name, known)}there are: {', '.join(known)}; or send a module as "
            "custom_data_handler"
        )
        line = f"{field} {name!r} is not allowed"
        raise FieldError(field, line, hint, value=name, allowed=known)
    return name


def read_party(name: str, others: Sequence[str]) -> str:
    """Return the name of a party: as given, or `party 1`, `party 2`, ...

    Names that look alike because of their Unicode form or their blanks are one name: see
    `normal_name`.
    others: names of the parties that have registered. Raises FieldError for a name that is taken
    or not printable.
    """
    given, name = name, normal_name(name) if name else f"party {len(others) + 1}"
    if not name.isprintable() or not name or len(name) > _MAX_NAME:
        raise FieldError(
            "party",
            "the party's name is not allowed",
            f"give up to {_MAX_NAME} printable characters",
        )
    if name in others:
        is_same = given in ("", name)
        form = "" if is_same else ", for names are compared in Unicode's form NFC with plain blanks"
        raise FieldError(
            "party",
            f"there is a party {name!r} already{form}",
            "give another name, or none",
            value=name,
        )
    return name


def is_true(text: str, field: str) -> bool:
    """Return whether a field is true; "" is false. Raises FieldError for other text."""
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("", "false", "0"):
        return False
    raise FieldError(field, f"{field} {text!r} is not allowed", "give true or false", value=text)


def normal_name(name: str) -> str:
    """Return a name in Unicode's form NFC, with one plain blank for each row of blanks of any kind.

    >>> normal_name(" clinic\u00a0\u2003e\u0301 ") == "clinic \u00e9"
    True
    """
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", name)).strip()


def _read_option(name: str, text: str) -> Any:
    """Return the value of an option. Raises FieldError if RunSpec or the registry refuses it."""
    option = OPTIONS[name]
    shown = text[:_MAX_SHOWN]
    try:
        spec = RunSpec(**{option: text})
        check_names(spec)
    except FusionError as error:
        spelled = error.spelled(http_spelling)
        hint = f"give {allowed(option)}"
        if option in _WITH_SYNTAX:
            hint = f"{spelled.message}: {spelled.hint}"
        line = f"{name} {shown!r} is not allowed"
        raise FieldError(
            name, line, hint, option=option, value=shown, allowed=error.allowed
        ) from None
    # These would read data of the server's machine, and not of the client's.
    if (option, parse(text)[0]) in _READ_HERE:
        line = f"{name} {shown!r} needs data of the server's"
        hint = _READ_HERE[option, parse(text)[0]]
        raise FieldError(name, line, hint, option=option, value=shown)
    return getattr(spec, option)


def _not_listed(field: str, line: str, value: str, known: Sequence[str]) -> FieldError:
    hint = f"there are: {', '.join(known)}"
    return FieldError(field, line, hint, value=value or None, allowed=known)


#: Keys of pydantic's schema that the OpenAPI document repeats.
_SCHEMA_KEYS = (
    "type",
    "anyOf",
    "default",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
)


def option_schemas() -> dict[str, Any]:
    """Return the schema of each field of /start-aggregator that is an option, by its name.

    Each has the option's description, default and bounds.
    """
    properties = RunSpec.model_json_schema()["properties"]
    originals = set(ORIGINAL.values())
    schemas = {}
    for name in [*ORIGINAL, *(name for name in OPTIONS if name not in {*ORIGINAL, *originals})]:
        option = OPTIONS[name]
        known = properties[option]
        schema = {key: known[key] for key in _SCHEMA_KEYS if key in known}
        schema["description"] = f"{known['description']}. {allowed(option).capitalize()}."
        schemas[name] = schema
    return schemas
