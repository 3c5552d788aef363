"""The command `fusion-nb party`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusion_nb.cli.one_line import one_line
from fusion_nb.core.options import bytes_of
from fusion_nb.errors import OptionError

if TYPE_CHECKING:
    from fusion_nb.runs.party.connection import Connection

#: Bytes of a message beside its request.
_ENVELOPE = 9


def party(
    data: Annotated[
        str,
        typer.Option(
            help="your rows: a .npz, .csv or .parquet file; or flower_app:module:app, a ClientApp "
            "of Flower that reads them"
        ),
    ],
    name: Annotated[str, typer.Option(help="what the aggregator calls you, as 'clinic 5'")],
    superlink: Annotated[
        str, typer.Option(help="host:port of the aggregator's SuperLink; or give --service")
    ] = "",
    service: Annotated[
        str,
        typer.Option(
            help="address of the aggregator's service, as https://host:8765; your key is read from "
            "~/.netrc or FUSION_NB_SERVICE_KEY"
        ),
    ] = "",
    aggregator: Annotated[str, typer.Option(help="its id there, as the aggregator tells you")] = "",
    token: Annotated[
        str,
        typer.Option(
            help="file of the secret by which the service knows you again; it is made "
            "(default: party-....token here)"
        ),
    ] = "",
    label: Annotated[str, typer.Option(help="column of a table that holds the label")] = "",
    node_config: Annotated[
        str, typer.Option(help="of your ClientApp: 'partition-id=0 num-partitions=2'")
    ] = "",
    certificates: Annotated[
        str, typer.Option(help="root certificate of the SuperLink or service (PEM)")
    ] = "",
    insecure: Annotated[bool, typer.Option("--insecure", help="connect unencrypted")] = False,
    key: Annotated[str, typer.Option(help="your private key (ECDSA), known to the SuperLink")] = "",
    log: Annotated[str, typer.Option(help="file with a line for each message")] = "party.log",
    models: Annotated[str, typer.Option(help="kinds that you train, as torch,sklearn")] = "",
    max_epochs: Annotated[int, typer.Option(help="passes in a round; 0: any number", min=0)] = 0,
    max_request: Annotated[str, typer.Option(help="largest request, as 500M or 1G")] = "1G",
    require_privacy: Annotated[
        bool, typer.Option("--require-privacy", help="train with differential privacy only")
    ] = False,
    require_secure: Annotated[
        bool, typer.Option("--require-secure", help="send updates under masks only")
    ] = False,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="run classes of models that come as code")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show what would leave, and do not connect")
    ] = False,
) -> None:
    """Take part in a federation with your own rows, which stay on this machine.

    An aggregator sends a model and asks for training. This program trains it on your rows and sends
    the new weights back, with the number of rows and a few figures such as the loss. It never sends
    a row. A request that you do not allow by the options below is refused. Each request, and each
    byte that leaves, is a line in the log.

    Try --dry-run first: it shows what would leave, and connects to nothing. Nobody can reach this
    program from outside: it asks the SuperLink, or the service, for work. It ends with Ctrl-C, and
    at a service once the federation has ended; started again, it takes part again under its name.
    """
    with one_line():
        from fusion_nb.runs.party.policy import Policy
        from fusion_nb.runs.party.serving import serve

        of_service = {"--aggregator": aggregator, "--token": token}
        _check_place(superlink, service, of_service, key, dry_run=dry_run)
        most = bytes_of(max_request)
        policy = Policy.of(models, max_epochs, require_privacy, allow_code, most, require_secure)
        connection: Connection
        if service:
            from fusion_nb.service.party.connection import ServiceConnection

            connection = ServiceConnection(
                service,
                aggregator,
                name,
                certificates=certificates,
                insecure=insecure,
                token=token,
                most=most + _ENVELOPE,
            )
        else:
            from fusion_nb.runs.party.superlink import SuperLinkConnection

            connection = SuperLinkConnection(superlink, certificates, key, insecure=insecure)
        serve(
            connection,
            policy,
            data=data,
            name=name,
            label=label,
            node_config=node_config,
            log=Path(log) if log else None,
            dry_run=dry_run,
            say=typer.echo,
        )


def _check_place(
    superlink: str, service: str, of_service: Mapping[str, str], key: str, *, dry_run: bool
) -> None:
    """Raise OptionError unless one aggregator is named, and nothing that the other kind takes."""
    if superlink and service:
        raise OptionError("--superlink and --service are two aggregators", "leave one of them out")
    if not (superlink or service or dry_run):
        raise OptionError(
            "no aggregator is named",
            "add --superlink HOST:PORT, or --service https://HOST:PORT --aggregator ID",
        )
    given = [name for name, value in of_service.items() if value]
    if given and not service:
        raise OptionError(f"{given[0]} is of a service, and none is named", "add --service URL")
    if service and not of_service["--aggregator"]:
        raise OptionError(
            "--service is given without an aggregator",
            "add --aggregator ID; who started the aggregator tells it",
        )
    if service and key:
        raise OptionError(
            "--key is for a SuperLink, and a service takes an id and a secret",
            "leave it out: they are read from ~/.netrc or FUSION_NB_SERVICE_KEY",
        )
