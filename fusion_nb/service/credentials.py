"""A client's credentials."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

#: Environment variable with the key of a client, as ID:SECRET. Jupyter's proxy gives the server its
#: key in it.
KEY_VARIABLE = "FUSION_NB_SERVICE_KEY"


@dataclass(frozen=True)
class Key:
    """A client's id and secret. The service stores only a hash of the secret."""

    client_id: str
    client_secret: str

    @classmethod
    def generate(cls, client_id: str = "") -> Key:
        """Return a new key with a random secret, and a random id unless one is given."""
        return cls(client_id or secrets.token_hex(8), secrets.token_urlsafe(32))

    def lines(self) -> list[str]:
        """Return it as a file of settings has it, a line for the id and one for the secret."""
        return [f"CLIENT_ID={self.client_id}", f"CLIENT_SECRET={self.client_secret}"]
