"""The way to an aggregator over a SuperLink of Flower."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_nb.engines.flower.fleet import Fleet, connected
from fusion_nb.errors import OptionError


@dataclass(frozen=True)
class SuperLinkConnection:
    """Where the SuperLink is, and how it is trusted.

    place:        its address, `host:port`
    certificates: path of its root certificate;  key: path of this party's private key, or ""
    """

    place: str
    certificates: str
    key: str
    insecure: bool = False
    needs: str = "flwr"

    def check(self, data: str) -> None:
        """Raise OptionError for certificates or a key that can't be used."""
        self.root()
        self.keys()

    def taking_part(self) -> AbstractContextManager[None]:
        """Return a context in which Ctrl-C ends the program, and nothing within it does."""
        return own_interrupts_only()

    @contextmanager
    def connected(self, describe: Callable[[], bytes]) -> Iterator[Fleet]:
        """Take part as a node of the SuperLink."""
        with connected(self.place, self.root(), self.keys()) as fleet:
            yield fleet

    def root(self) -> bytes | None:
        """Return the root certificate. Raises OptionError where there is none."""
        if not self.certificates and not self.insecure:
            raise OptionError(
                "no certificate of the SuperLink is given",
                "add --certificates ca.pem; --insecure goes without encryption, to try it out",
            )
        return _read(self.certificates) if self.certificates else None

    def keys(self) -> Any:
        """Return this party's private and public key, or None. Raises OptionError for others."""
        if not self.key:
            return None
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        content = _read(self.key)
        is_ssh = b"OPENSSH" in content
        load = serialization.load_ssh_private_key if is_ssh else serialization.load_pem_private_key
        try:
            private = load(content, None)
        except (ValueError, TypeError) as error:
            raise OptionError(f"{self.key} is no private key: {error}", "give one as PEM") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise OptionError(
                f"{self.key} is a key of another kind",
                "make one: ssh-keygen -t ecdsa -b 384 -N '' -f party.key",
            )
        return private, private.public_key()


@contextmanager
def own_interrupts_only() -> Iterator[None]:
    """Let Ctrl-C end this program, and nothing within it.

    Flower's client sends an interrupt to its own process when the SuperLink does not know it any
    more, after a restart say. This program then connects again instead.
    """
    if os.name != "posix":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def watch() -> None:
        while True:
            found = signal.sigwaitinfo({signal.SIGINT})
            if found.si_pid != os.getpid():
                _thread.interrupt_main()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _read(path: str) -> bytes:
    found = Path(path).expanduser()
    if not found.is_file():
        raise OptionError(f"there is no file {path}", f"the current folder is {Path.cwd()}")
    return found.read_bytes()
