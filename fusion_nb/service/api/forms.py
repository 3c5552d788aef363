"""Multipart bodies: read by hand, so that every mistake in one is answered in the same way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from fusion_nb.service.errors import FieldError

#: Fields and files, by name.
Form = tuple[dict[str, str], dict[str, BinaryIO]]
_MAX_FIELD = 64 << 10
_MAX_FILES, _MAX_FIELDS = 10, 200


@asynccontextmanager
async def reading(request: Request, known: tuple[str, ...]) -> AsyncIterator[Form]:
    """Yield the fields and the files of a request's body, for as long as the files are needed.

    known: names of the file parts that there may be. Raises FieldError for anything else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise FieldError("body", "the body is no form", "send it as multipart/form-data")
    try:
        form = await request.form(
            max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD
        )
    except (
        FormParserError,
        LookupError,
        UnicodeError,
    ) as error:  # the last two for a charset that is none
        raise FieldError(
            "body", f"the form can't be read ({error})", "is it complete? send it again"
        ) from None
    try:
        yield _sorted(form, known)
    finally:
        await form.close()


def _sorted(form: FormData, known: tuple[str, ...]) -> Form:
    """Return a form's fields and files. Raises FieldError for one that is not what it should be."""
    fields: dict[str, str] = {}
    files: dict[str, BinaryIO] = {}
    for name, value in form.multi_items():
        if name in fields or name in files:
            raise FieldError(name, f"{name} is given twice", "give it once")
        if isinstance(value, UploadFile):
            if name not in known:
                raise FieldError(name, f"{name} is no file", f"files are: {', '.join(known)}")
            files[name] = value.file
        elif name in known:
            raise FieldError(name, f"{name} is text", "send it as a file part, with a file name")
        else:
            fields[name] = value
    return fields, files


def described(
    properties: Mapping[str, object], files: Mapping[str, str], required: list[str]
) -> dict[str, object]:
    """Return the description of a multipart body for the OpenAPI document."""
    parts = {
        name: {"type": "string", "format": "binary", "description": text}
        for name, text in files.items()
    }
    body = {"type": "object", "properties": {**properties, **parts}, "required": required}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": body}}}}
