"""A party's registration, before it is counted: its files in a draft of a folder, looked at by a
process to spare.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from fusion_nb.service.aggregator import Aggregator
from fusion_nb.service.errors import RefusedError, TooLargeError
from fusion_nb.service.processes.inspection_pool import Inspectors
from fusion_nb.service.storage import atomic, uploads

#: Bytes that a data handler of a client's own may have.
_MAX_CODE = 1 << 20


async def look(
    aggregator: Aggregator,
    made: Path,
    about: Mapping[str, Any],
    files: Mapping[str, BinaryIO],
    inspectors: Inspectors,
    limit: int,
) -> dict[str, Any]:
    """Fill the draft of a party's folder with what was sent, and return what is known of it.

    about: what the request says of the party;  limit: bytes that its archive may have once unpacked
    Raises RefusedError or TooLargeError for what can't be used.
    """
    await asyncio.to_thread(uploads.keep, files["data"], made / "data")
    stored = made / f"data{uploads.suffix_of(made / 'data')}"
    (made / "data").rename(stored)
    if "custom_data_handler" in files:
        await asyncio.to_thread(uploads.keep, files["custom_data_handler"], made / "handler.py")
        if (made / "handler.py").stat().st_size > _MAX_CODE:
            raise TooLargeError(
                f"custom_data_handler may have {_MAX_CODE:,} bytes",
                "send what reads the data alone",
            )
    atomic.write_json(made / "party.json", {**about, "file": stored.name})
    found = await inspectors.ask(
        "party", path=str(aggregator.folder.path), party=str(made), limit=limit
    )
    return {"file": stored.name, **found}


def check_form(party: Mapping[str, Any], aggregator: Aggregator) -> None:
    """Raise RefusedError for rows of another form than those of the parties before."""
    other = next((other for other in aggregator.folder.registered() if "form" in other), None)
    if other is not None and "form" in party and party["form"] != other["form"]:
        own, theirs = (tuple(rows["form"]) for rows in (party, other))
        line = f"rows of {party['party']} have shape {own}, those of {other['party']} {theirs}"
        raise RefusedError(
            line, f"give all the same form; {other['party']} was read by {other['handler']}"
        )
