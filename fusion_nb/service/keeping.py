"""Registration of parties that keep their rows: they send facts about them, and no row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_nb.core.files import storage
from fusion_nb.core.registry import parse
from fusion_nb.service import request_fields
from fusion_nb.service.aggregator import Aggregator
from fusion_nb.service.errors import FieldError, OrderError, TooLargeError
from fusion_nb.service.mail.mailbox import Mailbox
from fusion_nb.service.messages import check_token, digest, over
from fusion_nb.service.processes.inspection_pool import Inspections
from fusion_nb.service.registration import Fields, Files, check_kind, check_open
from fusion_nb.service.settings import Settings
from fusion_nb.service.storage import uploads

#: Bytes of the facts about a party's rows, and characters of its token.
_MAX_FACTS = 16 << 20
_TOKEN_LENGTHS = range(32, 201)
_FIELDS = ("aggregator_id", "keeps_rows", "party", "token")
#: Engines that leave the choice to the run.
_OPEN_ENGINES = ("", "auto", "local")


class Keeping:
    """Registers parties that keep their rows, and takes them back when they start again.

    home, inspectors, settings: see `Registration`
    """

    def __init__(self, home: Path, inspectors: Inspections, settings: Settings) -> None:
        self._home, self._inspectors, self._settings = home, inspectors, settings

    async def register(
        self, aggregator: Aggregator, client_id: str, fields: Fields, files: Files
    ) -> tuple[str, str]:
        """Register a party by the facts about its rows, and return its name and its node.

        fields: those of the request without the aggregator's id
        A party that has registered before, and sends the same token, gets a new node.
        Raises FieldError, OrderError, TokenError, and RefusedError or TooLargeError for the facts.
        """
        name, token = _read(fields, files)
        async with aggregator.lock:
            if (node := _taken_back(aggregator, name, token)) is not None:
                return name, node
            _check(aggregator)
        with storage.draft_folder(self._home) as draft:
            about: dict[str, Any] = {
                "party": name,
                "keeps_rows": True,
                "token": digest(token),
                "client_id": client_id,
                "created": time.time(),
            }
            about |= await self._inspect(aggregator, draft, about, files)
            async with aggregator.lock:
                if (node := _taken_back(aggregator, name, token)) is not None:
                    return name, node
                _check(aggregator)
                others = [party["party"] for party in aggregator.parties]
                request_fields.read_party(name, others)
                storage.write_json(draft / "party.json", about)
                node = Mailbox(draft / "mail").open()
                target = aggregator.folder.parties / f"{len(others) + 1:04}"
                await asyncio.to_thread(storage.place_folder, draft, target)
                aggregator.add_party(about)
        return name, node

    async def _inspect(
        self, aggregator: Aggregator, draft: Path, about: Mapping[str, Any], files: Files
    ) -> dict[str, Any]:
        """Store the facts in a draft, and return the number of rows that they tell."""
        path = draft / "facts"
        await asyncio.to_thread(uploads.store, files["facts"], path)
        size = path.stat().st_size
        if size > _MAX_FACTS:
            raise TooLargeError(
                f"facts may have {_MAX_FACTS:,} bytes", "send what fusion-nb party tells"
            )
        storage.write_json(draft / "party.json", dict(about))
        found = await self._inspectors.ask(
            "facts",
            client=str(about["client_id"]),
            size=size,
            path=str(aggregator.folder.path),
            party=str(draft),
        )
        return dict(found)


def _read(fields: Fields, files: Files) -> tuple[str, str]:
    """Return the party's name and its token. Raises FieldError for another request."""
    for field in fields:
        if field not in _FIELDS:
            line = f"there is no field {field!r} for a party that keeps its rows"
            raise FieldError(field, line, f"there are: {', '.join(_FIELDS)}", allowed=_FIELDS)
    for field in files:
        if field != "facts":
            line = f"{field} is given, and keeps_rows says that the party keeps its rows"
            raise FieldError(field, line, "leave one of them out")
    if "facts" not in files:
        raise FieldError("facts", "facts is missing", "fusion-nb party --service sends it")
    name, token = request_fields.normal_name(fields.get("party", "")), fields.get("token", "")
    if not name:
        raise FieldError("party", "party is missing", "a party comes back under its name")
    request_fields.read_party(name, ())
    if len(token) not in _TOKEN_LENGTHS or not token.isascii() or not token.isprintable():
        raise FieldError(
            "token",
            "token is no secret of a party",
            f"give {_TOKEN_LENGTHS[0]} to {_TOKEN_LENGTHS[-1]} random letters, and keep them",
        )
    return name, token


def _taken_back(aggregator: Aggregator, name: str, token: str) -> str | None:
    """Return a new node for a party that has registered before, or None for another party.

    Raises OrderError where the federation has ended, and TokenError without the party's token.
    """
    if over(aggregator):
        raise OrderError("the federation has ended", "POST /start-aggregator begins another")
    for party in aggregator.folder.registered():
        if party["party"] == name and party.get("keeps_rows"):
            check_token(party["token"], token, name)
            return Mailbox(party["path"] / "mail").open()
    return None


def _check(aggregator: Aggregator) -> None:
    """Raise OrderError where no further party can register, or none that keeps its rows."""
    check_open(aggregator)
    check_kind(aggregator, keeps_rows=True)
    engine = str(aggregator.about["options"].get("engine", ""))
    if parse(engine)[0] not in _OPEN_ENGINES:
        raise OrderError(
            f"the aggregator was started with engine {engine!r}, and a party that keeps its rows "
            "trains in its own program",
            "start the aggregator without engine",
            option="engine",
        )
    if aggregator.folder.test is not None:
        raise OrderError(
            "the aggregator has test rows of its own, and parties that keep their rows evaluate on "
            "theirs",
            "start the aggregator without test",
        )
