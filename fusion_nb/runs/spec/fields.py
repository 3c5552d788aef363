"""How the fields of a spec say what they mean, and which values they may have."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from pydantic.fields import FieldInfo


def option_field(
    default: Any,
    description: str,
    *aliases: str,
    choices: str = "",
    model_option: bool = False,
    **bounds: Any,
) -> Any:
    """Return a field of `RunSpec`.

    aliases: other names on the option line;  choices: the registry that lists its values
    model_option: not every kind of model has it;  bounds: those of pydantic's `Field`
    """
    extra: dict[str, Any] = {
        "aliases": list(aliases),
        "choices": choices,
        "model_option": model_option,
    }
    return Field(default, description=description, json_schema_extra=extra, **bounds)


def extra(field: FieldInfo) -> dict[str, Any]:
    """Return what `option_field` was told about an option beside its bounds."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
