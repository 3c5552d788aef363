"""The server: its address, its folder, its log, and its start."""

from __future__ import annotations

import functools
import logging
import socket
import ssl
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fusion_nb.core.files import storage
from fusion_nb.core.process import machine
from fusion_nb.errors import OptionError, RunError, missing_extra
from fusion_nb.service.credentials import Key
from fusion_nb.service.network.addresses import is_loopback
from fusion_nb.service.network.headers import MAX_HEAD
from fusion_nb.service.network.listener import Connections, Listener, connection_limit
from fusion_nb.service.service import Service
from fusion_nb.service.settings import Settings
from fusion_nb.service.storage.keys import Keys

#: Bytes of the log before the next file begins, and number of older files that are kept.
_MAX_LOG = 10 << 20
_NUM_OLD_LOGS = 3
#: Seconds that open calls have to finish when the server is shut down.
_GRACE_SECONDS = 2


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    certfile: str = "",
    keyfile: str = "",
    insecure: bool = False,
    key: Key | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until the process gets a signal to end.

    port: 0 takes a free one;  key: one more key than those that are stored;  say: called with the
    server's address once it answers
    Raises OptionError for an address that other machines can reach without TLS, or a port that is
    taken, and RunError if another server uses the folder.
    """
    try:
        import uvicorn

        from fusion_nb.service.api import create_app
        from fusion_nb.service.network.protocol import LimitedProtocol, Patience
    except ModuleNotFoundError as error:
        raise missing_extra(error, "fusion-nb serve") from error
    _check_address(host, certfile, keyfile, insecure)
    state = own_folder(settings.state)
    lock = _locked(state)
    # The server holds uploads in its memory while they arrive.
    machine.forbid_core_dumps()
    with lock, _listen(host, port) as listening:
        keys = Keys(state, key)
        scheme = "https" if certfile else "http"
        address = f"{scheme}://{_bracketed(host)}:{listening.getsockname()[1]}"
        greeting = (
            f"Model Fusion at {address}, its page for trying calls at {address}/docs; all is "
            f"kept in {state}"
        )
        try:
            _log_to(state / "server.log")
            Service.prepare(state)
            if not keys.table() and key is None:
                greeting += "\nA key was made. Its secret is shown here and never again:"
                greeting += "".join(f"\n  {line}" for line in keys.new().lines())
        except OSError as error:
            raise _unusable(state, error) from None
        app = create_app(settings, keys, host)
        connections = Connections(connection_limit(settings.max_connections))
        listening.connections, listening.is_tls = connections, bool(certfile)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    say(greeting)

            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                # Clients that wait for a run are answered before connections are closed.
                app.state.service.closing.set()
                await super().shutdown(sockets)

        protocol: Any = functools.partial(
            LimitedProtocol, connections=connections, patience=Patience(head=settings.head_seconds)
        )
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            loop="asyncio",  # the others accept connections past the listener
            h11_max_incomplete_event_size=MAX_HEAD,
            proxy_headers=insecure,  # others than a proxy could name any address as theirs
            log_config=None,
            access_log=False,
            ssl_certfile=certfile or None,
            ssl_keyfile=keyfile or None,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
        )
        Server(config).run(sockets=[listening])


def _locked(state: Path) -> FileLock:
    """Return the lock of a folder, acquired. Raises RunError if another server has it."""
    lock = FileLock(str(state / "server.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"another server has the folder {state}", "stop it, or give another --state"
        ) from None
    except (OSError, NotImplementedError) as error:
        # Older versions of filelock raise NotImplementedError on a file system without locks.
        raise _unusable(state, error) from None
    return lock


def _check_address(host: str, certfile: str, keyfile: str, insecure: bool) -> None:
    """Raise OptionError for an address that needs TLS and has none, or for an unusable
    certificate.
    """
    if bool(certfile) != bool(keyfile):
        raise OptionError("--certfile and --keyfile belong together", "give both")
    if certfile:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile)
        except (OSError, ValueError) as error:
            raise OptionError(
                f"--certfile {certfile} can't be used ({_reason(error)})",
                "give a certificate as PEM",
            ) from None
    elif not is_loopback(host) and not insecure:
        line = (
            f"--host {host} can be reached from other machines, and keys and data would "
            "not be encrypted"
        )
        raise OptionError(
            line, "give --certfile and --keyfile, or --insecure behind a proxy that has TLS"
        )


def _bracketed(host: str) -> str:
    """Return a host as an address has it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def own_folder(state: Path) -> Path:
    """Return the folder of a service's state, which only its owner can read.

    Raises OptionError if there can be none, or if it can't be written.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Said now, and not by the first call that writes.
        with storage.draft_folder(state):
            pass
    except OSError as error:
        raise _unusable(state, error) from None
    return state.resolve()


def _unusable(state: Path, error: Exception) -> OptionError:
    return OptionError(
        f"--state {state} can't be used ({_reason(error)})",
        "give a folder of your own, on a disk with room",
    )


def _listen(host: str, port: int) -> Listener:
    """Return a listening socket. Raises OptionError for an address that can't be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = Listener(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except (OSError, OverflowError) as error:
        listening.close()
        raise OptionError(
            f"{host}:{port} can't be listened on ({_reason(error)})",
            "give another --port; 0 takes a free one",
        ) from None
    return listening


def _log_to(path: Path) -> None:
    """Write the service's log as lines of JSON into a file that only its owner can read."""
    from pythonjsonlogger.json import JsonFormatter

    path.touch(mode=0o600)
    handler = RotatingFileHandler(
        path, maxBytes=_MAX_LOG, backupCount=_NUM_OLD_LOGS, encoding="utf-8"
    )
    handler.setFormatter(JsonFormatter("{asctime}{levelname}{message}", style="{"))
    log = logging.getLogger("fusion_nb.service")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    log.propagate = False


def _reason(error: Exception) -> str:
    """Return the reason of a failed system call in words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
