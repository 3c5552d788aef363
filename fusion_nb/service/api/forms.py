"""Multipart bodies, parsed without FastAPI so that every mistake gets the same kind of answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from fusion_nb.service.errors import FieldError

#: Fields and files of a form, by name.
Form = tuple[dict[str, str], dict[str, BinaryIO]]
_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
_MAX_FIELD_BYTES = 64 << 10
_MAX_FILES = 10
_MAX_FIELDS = 200


@asynccontextmanager
async def reading(request: Request, files: Sequence[str]) -> AsyncIterator[Form]:
    """Yield the fields and files of a request; the files are closed afterwards.

    files: the names of allowed file parts
    Raises FieldError for a body that is no form, and for any other file.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TYPES:
        raise FieldError("body", "the body is no form", "send it as multipart/form-data")
    try:
        form = await request.form(
            max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
        )
    # LookupError and UnicodeError: the header names a charset that does not exist or does not fit.
    except (FormParserError, LookupError, UnicodeError) as error:
        line = f"the form can't be read ({error})"
        raise FieldError("body", line, "send the complete form again") from None
    try:
        yield _split(form, files)
    finally:
        await form.close()


def _split(form: FormData, known: Sequence[str]) -> Form:
    """Return the fields and the files of a form. Raises FieldError for a part that is neither."""
    fields: dict[str, str] = {}
    files: dict[str, BinaryIO] = {}
    for name, value in form.multi_items():
        if name in fields or name in files:
            raise FieldError(name, f"{name} is given twice", "give it once")
        if isinstance(value, UploadFile):
            if name not in known:
                line = f"{name} is no file"
                raise FieldError(name, line, f"files are: {', '.join(known)}", allowed=known)
            files[name] = value.file
        elif name in known:
            raise FieldError(name, f"{name} is text", "send it as a file part, with a file name")
        else:
            fields[name] = value
    return fields, files
