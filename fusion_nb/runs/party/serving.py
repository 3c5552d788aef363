"""The life of a party: read the rows, say what is allowed, connect, answer until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from fusion_nb.core.files.tree_file import pack_tree
from fusion_nb.data.at_party import PartyRows
from fusion_nb.engines.remote.answering import Steering, answer_all
from fusion_nb.engines.remote.link import EndedError
from fusion_nb.errors import DataError, OptionError, ServiceError, missing_extra
from fusion_nb.models import lookup
from fusion_nb.runs.client_apps.finding import PREFIX
from fusion_nb.runs.party.app_program import AppProgram, PartyApp
from fusion_nb.runs.party.connection import Connection
from fusion_nb.runs.party.journal import Journal, contents
from fusion_nb.runs.party.policy import Policy
from fusion_nb.runs.party.program import PartyProgram

#: Seconds after which a SuperLink that was gone is tried again.
_AGAIN_SECONDS = 5.0
_MAX_NAME = 100
#: The status of a service that has no time for this address now.
_TOO_MANY = 429
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
    """Answer an aggregator's requests until Ctrl-C, or until the federation has ended.

    data: a file of rows, or `flower_app:module:app`, a ClientApp that reads them
    log: file of the party's log, or None;  dry_run: only show what would leave
    Raises DataError, OptionError or MissingExtraError before anything is sent.
    """
    _check(policy, data, name)
    rows = _source(data, name, label, node_config, policy)
    if dry_run:
        say("\n".join(_dry_run(rows, policy)))
        return
    if connection.needs and find_spec(connection.needs) is None:
        raise missing_extra(ModuleNotFoundError(name=connection.needs), "fusion-nb party")
    connection.check(data)
    journal = Journal(log, say)
    own = rows.lines() if isinstance(rows, PartyApp) else [f"{name}: rows of {data}"]
    for line in (*own, *policy.lines()):
        journal.note(line)
    steering = Steering()
    program = _program(rows, policy, journal, steering.gate)
    try:
        with connection.taking_part():
            while True:
                _take_part(connection, program, steering, journal)
                time.sleep(_AGAIN_SECONDS)
    except EndedError as end:
        journal.note(str(end))
    except KeyboardInterrupt:
        journal.note("ended by Ctrl-C")


def _take_part(
    connection: Connection,
    program: PartyProgram,
    steering: Steering,
    journal: Journal,
) -> None:
    """Answer requests until the connection ends, which is no reason to end the program.

    Raises EndedError where the federation has ended, and ServiceError of a service that refuses.
    """

    def describe() -> bytes:
        told = program.describe()
        packed = pack_tree(told, "reply")
        journal.left(packed, told)
        return packed

    try:
        with connection.connected(describe) as fleet:
            journal.note(f"connected to {connection.place} as node {fleet.name}")
            answer_all(
                fleet, steering, lambda found, parts: program.answer(parts.content, found.run)
            )
    except SystemExit as error:  # how Flower ends a program that can't connect
        journal.note(f"{connection.place} does not take this party (code {error.code})")
    except EndedError:
        raise
    except Exception as error:
        if isinstance(error, ServiceError) and _is_refusal(error.status):
            raise
        journal.note(f"the connection ended: {type(error).__name__}: {error}")
    program.forget()
    journal.note(f"not connected; it is tried again in {_AGAIN_SECONDS:g} s")


def _is_refusal(status: int) -> bool:
    """Return whether a service will not answer otherwise when it is asked again."""
    return 400 <= status < 500 and status != _TOO_MANY


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
