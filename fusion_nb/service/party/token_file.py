"""The secret by which a service knows a party again, in a file that its owner alone can read."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from fusion_nb.core.files import storage
from fusion_nb.errors import OptionError

_BYTES = 32
#: Letters of a token, at least: the service takes no fewer.
_LEAST = 32


def default_path(aggregator_id: str, party: str) -> str:
    """Return the name of the file in the current folder: one for each aggregator and party.

    >>> default_path("u8Lq0cT3sYk2", "St. Mary")
    'party-38fe7cdb83.token'
    """
    digest = hashlib.sha256(f"{aggregator_id}\0{party}".encode()).hexdigest()
    return f"party-{digest[:10]}.token"


def read_or_make(path: Path) -> str:
    """Return the token in a file; a new one is made where there is no file.

    Raises OptionError for a file of something else, or a folder that can't be written.
    """
    try:
        if path.exists():
            found = path.read_text(encoding="ascii").strip()
            if len(found) < _LEAST or not found.isprintable():
                raise ValueError
            return found
        made = secrets.token_urlsafe(_BYTES)
        storage.write_file(path, lambda file: file.write(f"{made}\n".encode()))
    except ValueError:
        raise OptionError(
            f"--token {path} is no file of a party's token", "name another file; it is made"
        ) from None
    except OSError as error:
        raise OptionError(
            f"--token {path} can't be used ({error.strerror or error})",
            "name a file in a folder of your own",
        ) from None
    return made
