"""Registration of aggregators and parties: uploads are stored in a draft of a folder, inspected by
a child process, and put in their place only when nothing is wrong with them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from fusion_nb.core.files import storage
from fusion_nb.service import request_fields
from fusion_nb.service.aggregator import REGISTERING, Aggregator
from fusion_nb.service.errors import FieldError, OrderError, RefusedError, TooLargeError
from fusion_nb.service.model_types import MODEL_FILES
from fusion_nb.service.processes.inspection_pool import Inspections
from fusion_nb.service.settings import Settings
from fusion_nb.service.storage import uploads
from fusion_nb.service.storage.run_folder import RunFolder

#: Bytes of a custom data handler.
_MAX_CODE = 1 << 20

Fields = Mapping[str, str]
Files = Mapping[str, BinaryIO]


class Registration:
    """Registers aggregators and parties.

    home: the folder of all aggregators;  inspectors: the processes that read uploads
    """

    def __init__(self, home: Path, inspectors: Inspections, settings: Settings) -> None:
        self._home = home
        self._inspectors = inspectors
        self._settings = settings

    async def new_aggregator(self, client_id: str, fields: Fields, files: Files) -> Aggregator:
        """Register an aggregator with its model, from the fields and files of a request.

        Raises FieldError for a field, and RefusedError or TooLargeError for an upload.
        """
        model_type, options = request_fields.read_options(fields)
        request_fields.check_engine(options, self._settings.allowed_engines)
        _check_given("model_file", files, "send the model as a file part of that name")
        with storage.draft_folder(self._home) as draft:
            (draft / "parties").mkdir()
            await asyncio.to_thread(
                uploads.store, files["model_file"], draft / MODEL_FILES[model_type]
            )
            if "test" in files:
                await asyncio.to_thread(uploads.store, files["test"], draft / "test.npz")
            about = {
                "client_id": client_id,
                "model_type": model_type,
                "options": options,
                "created": time.time(),
            }
            storage.write_json(draft / "aggregator.json", about)
            found = await self._inspectors.ask(
                "model",
                client=client_id,
                size=_size(draft),
                path=str(draft),
                limit=self._settings.max_unpacked,
            )
            for name in found.pop("unused"):
                options.pop(name, None)
            storage.write_json(draft / "aggregator.json", about | found)
            target = self._home / secrets.token_urlsafe(16)
            await asyncio.to_thread(storage.place_folder, draft, target)
        return Aggregator(RunFolder(target))

    async def new_party(
        self, aggregator: Aggregator, client_id: str, fields: Fields, files: Files
    ) -> str:
        """Register a party with its data, and return its name.

        fields: those of the request without the aggregator's id
        Raises FieldError for a field, OrderError if no party is missing, and RefusedError or
        TooLargeError for an upload.
        """
        name = fields.get("party", "")
        handler = self._read_handler(fields, files)
        _check_given("data", files, "send the party's rows as a file part of that name")
        check_open(aggregator)
        check_kind(aggregator, keeps_rows=False)
        with storage.draft_folder(self._home) as draft:
            about: dict[str, Any] = {
                "party": request_fields.normal_name(name) or "the party",
                "handler": handler,
                "client_id": client_id,
                "created": time.time(),
            }
            about |= await self._inspect_party(aggregator, draft, about, files)
            # The lock is not held during the inspection, so that a slow one delays neither other
            # parties nor /stop.
            async with aggregator.lock:
                check_open(aggregator)
                check_kind(aggregator, keeps_rows=False)
                others = [party["party"] for party in aggregator.parties]
                about["party"] = request_fields.read_party(name, others)
                _check_shape(about, aggregator)
                storage.write_json(draft / "party.json", about)
                target = aggregator.folder.parties / f"{len(others) + 1:04}"
                await asyncio.to_thread(storage.place_folder, draft, target)
                aggregator.add_party(about)
        return str(about["party"])

    def _read_handler(self, fields: Fields, files: Files) -> str:
        known = ("party", "data_handler_class_name")
        for name in fields:
            if name not in known:
                line = f"there is no field {name!r}"
                hint = "there are: aggregator_id, data_handler_class_name, party, keeps_rows"
                raise FieldError(name, line, hint, allowed=("aggregator_id", *known, "keeps_rows"))
        is_custom = "custom_data_handler" in files
        if is_custom and not self._settings.allow_custom_code:
            raise RefusedError(
                "custom_data_handler is code, and this server accepts none",
                "use a built-in data handler, or ask the operator to start the server with "
                "--allow-custom-code",
            )
        return request_fields.read_handler(fields.get("data_handler_class_name", ""), is_custom)

    async def _inspect_party(
        self, aggregator: Aggregator, draft: Path, about: Mapping[str, Any], files: Files
    ) -> dict[str, Any]:
        """Store a party's uploads in a draft, and return what the inspection found out.

        That is the file's name and, unless the handler is custom, the rows' number and shape.
        """
        await asyncio.to_thread(uploads.store, files["data"], draft / "data")
        stored = draft / f"data{uploads.suffix_of(draft / 'data')}"
        (draft / "data").rename(stored)
        if "custom_data_handler" in files:
            code = draft / "handler.py"
            await asyncio.to_thread(uploads.store, files["custom_data_handler"], code)
            if code.stat().st_size > _MAX_CODE:
                raise TooLargeError(
                    f"custom_data_handler may have {_MAX_CODE:,} bytes",
                    "send only the code that reads the data",
                )
        storage.write_json(draft / "party.json", {**about, "file": stored.name})
        found = await self._inspectors.ask(
            "party",
            client=about["client_id"],
            size=_size(draft),
            path=str(aggregator.folder.path),
            party=str(draft),
            limit=self._settings.max_unpacked,
        )
        return {"file": stored.name, **found}


def check_open(aggregator: Aggregator) -> None:
    """Raise OrderError if no further party can register."""
    if aggregator.run.has_ended:
        raise OrderError("the federation has ended", "POST /start-aggregator begins another")
    if not aggregator.remaining:
        is_trainable = aggregator.run.name == REGISTERING
        raise OrderError(
            f"all {aggregator.num_parties} parties have registered already",
            "POST /train trains them" if is_trainable else "the run is under way",
        )


def check_kind(aggregator: Aggregator, *, keeps_rows: bool) -> None:
    """Raise OrderError where an earlier party uploads its rows and this one keeps them."""
    for other in aggregator.parties:
        if other["keeps_rows"] != keeps_rows:
            first, others = ("keeps", "upload") if other["keeps_rows"] else ("uploads", "keep")
            raise OrderError(
                f"{other['party']} {first} its rows, so that no party of this aggregator can "
                f"{others} theirs",
                "start an aggregator for parties of one kind",
            )


def _size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _check_given(field: str, files: Files, hint: str) -> None:
    if field not in files:
        raise FieldError(field, f"{field} is missing", hint)


def _check_shape(party: Mapping[str, Any], aggregator: Aggregator) -> None:
    """Raise RefusedError if a party's rows have another shape than those of earlier parties."""
    registered = aggregator.folder.registered()
    other = next((other for other in registered if "form" in other), None)
    if other is None or "form" not in party or party["form"] == other["form"]:
        return
    own, theirs = tuple(party["form"]), tuple(other["form"])
    raise RefusedError(
        f"rows of {party['party']} have shape {own}, those of {other['party']} {theirs}",
        f"give all rows the same shape; {other['party']} was read by {other['handler']}",
    )
