"""Keys of two parties, the masks that follow from them, and sealed messages.

Key agreement is X25519, the derivation HKDF with SHA-256, masks are the key stream of AES-256 in
counter mode, and messages are sealed by AES-256 in GCM: all by the package `cryptography`.
"""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.errors import missing_extra

#: Bytes of a key, of a seed and of a nonce.
KEY_BYTES, NONCE_BYTES = 32, 12


def check_installed() -> None:
    """Raise MissingExtraError where the package is not installed."""
    try:
        import cryptography  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra(error, "secure aggregation") from error


@dataclass(frozen=True)
class KeyPair:
    """A private key and its public one, as bytes."""

    private: bytes
    public: bytes

    @classmethod
    def new(cls) -> KeyPair:
        """Return a pair that the system's generator drew."""
        return cls.of(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def of(cls, private: bytes) -> KeyPair:
        """Return the pair of a private key."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        key = X25519PrivateKey.from_private_bytes(private)
        return cls(private, key.public_key().public_bytes_raw())


def agreed(private: bytes, public: bytes, purpose: bytes) -> bytes:
    """Return the key that the owners of two pairs share, for one purpose.

    >>> a, b = KeyPair.new(), KeyPair.new()
    >>> agreed(a.private, b.public, b"masks") == agreed(b.private, a.public, b"masks")
    True
    """
    return Agreements(private, purpose).with_peer(public)


class Agreements:
    """The keys that the owner of one pair shares with others, for one purpose.

    The private key is read once, which takes as long as an agreement.
    """

    def __init__(self, private: bytes, purpose: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        self._private: Any = X25519PrivateKey.from_private_bytes(private)
        self._purpose = purpose

    def with_peer(self, public: bytes) -> bytes:
        """Return the key that it shares with the owner of a public key."""
        secret = self._private.exchange(_public(public))
        return _derived(secret, self._purpose)


@functools.lru_cache(maxsize=4096)
def _public(key: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    return X25519PublicKey.from_public_bytes(key)


def _derived(secret: bytes, purpose: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(secret)


def mask(key: bytes, count: int) -> np.ndarray:
    """Return `count` numbers of uint32 of a key's stream. A key is used for one mask.

    >>> mask(bytes(32), 3).dtype.name, (mask(bytes(32), 3) == mask(bytes(32), 5)[:3]).all()
    ('uint32', np.True_)
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(stream.update(bytes(4 * count)), "<u4")


def seal(key: bytes, message: bytes, about: bytes) -> bytes:
    """Return a message that only who has the key can read or change; `about` is bound to it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, message, about)


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """Return a sealed message. Raises ValueError for one that was changed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
    except InvalidTag:
        raise ValueError("a sealed message was changed, or is another party's") from None
