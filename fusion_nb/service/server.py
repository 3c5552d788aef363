"""The server itself: where it listens, what it needs for that, and what it says when it starts."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from filelock import FileLock, Timeout

from fusion_nb.errors import OptionError, RunError, missing_extra
from fusion_nb.service.settings import Settings
from fusion_nb.service.storage.keys import Key, Keys

#: The log's size before another begins, and how many are kept.
_LOG_BYTES, _LOGS = 10 << 20, 3
#: Seconds that open calls have to end when the server is told to.
_GRACE = 2


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
    """Serve until the process is told to end.

    port: 0 takes one that is free;  key: one more than those that are kept
    Raises OptionError for an address that others can reach without TLS, or a port that is taken,
    and RunError where another server has the same folder.
    """
    try:
        import uvicorn

        from fusion_nb.service.api import create_app
    except ModuleNotFoundError as error:
        raise missing_extra(error, "fusion-nb serve") from error
    _check_address(host, certfile, keyfile, insecure)
    state = own_folder(settings.state)
    lock = FileLock(str(state / "server.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"another server has the folder {state}", "stop it, or give another --state"
        ) from None
    with lock, _listen(host, port) as listening:
        keys = Keys(state, key)
        _log_to(state / "server.log")
        address = f"{'https' if certfile else 'http'}://{_shown(host)}:{listening.getsockname()[1]}"
        lines = [
            f"Model Fusion at {address}, its page for trying calls at {address}/docs; all is "
            f"kept in {state}"
        ]
        if not keys.table() and key is None:
            made = keys.new()
            lines.append("A key was made. Its secret is shown here and never again:")
            lines.append(f"  CLIENT_ID={made.client_id}\n  CLIENT_SECRET={made.client_secret}")
        app = create_app(settings, keys)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            ssl_certfile=certfile or None,
            ssl_keyfile=keyfile or None,
            timeout_graceful_shutdown=_GRACE,
            server_header=False,
        )

        class Announced(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    say("\n".join(lines))

            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                # who waits for a run is answered before connections are cut
                app.state.service.closing.set()
                await super().shutdown(sockets)

        Announced(config).run(sockets=[listening])


def _check_address(host: str, certfile: str, keyfile: str, insecure: bool) -> None:
    """Raise OptionError for an address that needs what is not given, or a certificate that can't be
    used.
    """
    if bool(certfile) != bool(keyfile):
        raise OptionError("--certfile and --keyfile belong together", "give both")
    if certfile:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OptionError(
                f"--certfile {certfile} can't be used ({reason})", "give a certificate as PEM"
            ) from None
    elif not _is_loopback(host) and not insecure:
        line = (
            f"--host {host} can be reached from other machines, and keys and data would "
            "travel in the clear"
        )
        raise OptionError(
            line, "give --certfile and --keyfile, or say --insecure behind a proxy that has TLS"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def own_folder(state: Path) -> Path:
    """Return the folder of all that is kept; each file and folder in it is its owner's alone."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"--state {state} can't be used ({error.strerror})", "give a folder of your own"
        ) from None
    return state.resolve()


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OptionError where there can be none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionError(
            f"{host}:{port} can't be listened on ({reason})", "give another --port; 0 is any"
        ) from None
    return listening


def _log_to(path: Path) -> None:
    """Let the service write its log as lines of JSON, into a file that only its owner can read."""
    from pythonjsonlogger.json import JsonFormatter

    path.touch(mode=0o600)
    handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=_LOGS, encoding="utf-8")
    handler.setFormatter(JsonFormatter("{asctime}{levelname}{message}", style="{"))
    log = logging.getLogger("fusion_nb.service")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    log.propagate = False
