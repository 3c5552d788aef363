"""The life of a party: read the rows, say what is allowed, connect, answer until Ctrl-C."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fusion_nb.core.files.tree_file import pack_tree
from fusion_nb.data.at_party import PartyRows
from fusion_nb.engines.flower.fleet import connected
from fusion_nb.engines.remote.answering import Steering, answer_all
from fusion_nb.errors import DataError, OptionError, missing_extra
from fusion_nb.models import lookup
from fusion_nb.runs.client_apps.finding import PREFIX
from fusion_nb.runs.party.app_program import AppProgram, PartyApp
from fusion_nb.runs.party.journal import Journal, contents
from fusion_nb.runs.party.policy import Policy
from fusion_nb.runs.party.program import PartyProgram

#: Seconds after which a SuperLink that was gone is tried again.
_AGAIN_SECONDS = 5.0
_MAX_NAME = 100
_BY_A_MODEL = (
    "What leaves when it agrees on a form of rows: the number of training and of test rows.",
    "What leaves in each round of training:",
    "  the weights of its model after training on your rows, in the shapes that it sent;",
    "  the number of your training rows;",
    "  the mean loss and the other metrics of the model on your training and test rows.",
    "What never leaves: a row, a label of a row, a name of a file, an error that quotes one.",
)
_BY_AN_APP = (
    "What leaves in each round is what your app puts into its replies, and the log names it:",
    "  its arrays, refused here unless they have the names, shapes and types that were sent;",
    "  its metrics, numbers by name, with num-examples among them.",
    "What never leaves: the app's code, its options of the node, the text of its errors.",
    "No code comes in: this program runs the app that you named, and nothing else.",
)


@dataclass(frozen=True)
class Connection:
    """Where the SuperLink is, and how it is trusted.

    certificates: path of its root certificate;  key: path of this party's private key, or ""
    """

    superlink: str
    certificates: str
    key: str
    insecure: bool = False

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


def serve(
    connection: Connection,
    policy: Policy,
    *,
    data: str,
    name: str,
    label: str,
    node_config: str = "",
    log: Path | None,
    dry_run: bool,
    say: Callable[[str], object],
) -> None:
    """Answer an aggregator's requests until Ctrl-C.

    data: a file of rows, or `flower_app:module:app`, a ClientApp that reads them
    log: file of the party's log, or None;  dry_run: only show what would leave
    Raises DataError, OptionError or MissingExtraError before anything is sent.
    """
    _check(policy, data, name)
    rows = _source(data, name, label, node_config, policy)
    if dry_run:
        say("\n".join(_dry_run(rows, policy)))
        return
    if find_spec("flwr") is None:
        raise missing_extra(ModuleNotFoundError(name="flwr"), "fusion-nb party")
    root, keys = connection.root(), connection.keys()
    journal = Journal(log, say)
    own = rows.lines() if isinstance(rows, PartyApp) else [f"{name}: rows of {data}"]
    for line in (*own, *policy.lines()):
        journal.note(line)
    steering = Steering()
    program = _program(rows, policy, journal, steering.gate)
    try:
        with _own_interrupts_only():
            while True:
                _take_part(connection, root, keys, program, steering, journal)
                time.sleep(_AGAIN_SECONDS)
    except KeyboardInterrupt:
        journal.note("ended by Ctrl-C")


@contextmanager
def _own_interrupts_only() -> Iterator[None]:
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


def _take_part(
    connection: Connection,
    root: bytes | None,
    keys: Any,
    program: PartyProgram,
    steering: Steering,
    journal: Journal,
) -> None:
    """Answer requests until the connection ends, which is no reason to end the program."""
    try:
        with connected(connection.superlink, root, keys) as fleet:
            journal.note(f"connected to {connection.superlink} as node {fleet.node_id}")
            answer_all(
                fleet, steering, lambda found, parts: program.answer(parts.content, found.run)
            )
    except SystemExit as error:  # how Flower ends a program that can't connect
        journal.note(f"{connection.superlink} does not take this party (code {error.code})")
    except Exception as error:
        journal.note(f"the connection ended: {type(error).__name__}: {error}")
    program.forget()
    journal.note(f"not connected; it is tried again in {_AGAIN_SECONDS:g} s")


def _source(
    data: str, name: str, label: str, node_config: str, policy: Policy
) -> PartyRows | PartyApp:
    """Return the rows, or the app that reads them. Raises OptionError for options of the other."""
    if not data.startswith(PREFIX):
        if node_config:
            raise OptionError(
                f"--node-config is for a ClientApp, and {data} is a file",
                "leave it out, or name an app: --data flower_app:module:app",
            )
        return PartyRows.read(name, data, label)
    app = PartyApp.read(name, data, node_config)
    app.check(policy, label)
    return app


def _program(
    rows: PartyRows | PartyApp, policy: Policy, journal: Journal, gate: Callable[[], None]
) -> PartyProgram:
    if isinstance(rows, PartyApp):
        return AppProgram(rows, policy, journal, gate)
    return PartyProgram(rows, policy, journal, gate)


def _dry_run(rows: PartyRows | PartyApp, policy: Policy) -> list[str]:
    """Return what would leave, as lines."""
    tree = _program(rows, policy, Journal(None, lambda line: None), lambda: None).describe()
    size = len(pack_tree(tree, "reply"))
    return [
        "Nothing was sent, and nothing was connected to.",
        "",
        "What this party allows:",
        *(f"  {line}" for line in policy.lines()),
        "",
        f"What leaves when an aggregator asks who is there ({size} bytes), whole:",
        *(f"  {part}" for part in contents(tree).split("; ")),
        "",
        *(_BY_AN_APP if isinstance(rows, PartyApp) else _BY_A_MODEL),
        "",
        "Weights that were trained on few rows can tell much about them. --require-privacy takes",
        "part only where the aggregator trains with differential privacy, and --require-secure",
        "only where weights leave under masks: the aggregator can read their sum alone.",
    ]


def _check(policy: Policy, data: str, name: str) -> None:
    known = sorted({*lookup.suffixes().values()})
    for framework in policy.models:
        if framework not in known:
            raise OptionError(
                f"--models names {framework!r}, which is no kind of model",
                f"known: {', '.join(known)}",
            )
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise OptionError(f"{name!r} is no name of a party", f"give 1 to {_MAX_NAME} letters")
    if not data.startswith(PREFIX) and not Path(data).is_file():
        raise DataError(f"there is no file {data}", f"the current folder is {Path.cwd()}")


def _read(path: str) -> bytes:
    found = Path(path).expanduser()
    if not found.is_file():
        raise OptionError(f"there is no file {path}", f"the current folder is {Path.cwd()}")
    return found.read_bytes()
