"""The command line: `fusion-nb serve`, `run`, `party`, `tutorials` and `keys`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusion_nb.cli.one_line import one_line
from fusion_nb.cli.taking_part import party
from fusion_nb.core.options import bytes_of
from fusion_nb.core.process.machine import MOST_WORKERS
from fusion_nb.errors import OptionError, option
from fusion_nb.runs.callbacks.printing import RoundPrinter

if TYPE_CHECKING:
    from fusion_nb.service.storage.keys import Keys

# No locals in tracebacks: one of them may be a secret.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Federated learning: as a service, from a file.",
)
keys_app = typer.Typer(
    no_args_is_help=True, help="Who may call the service: list, make, rotate and revoke keys."
)
app.add_typer(keys_app, name="keys")

State = Annotated[Path, typer.Option("--state", help="folder of all that the service keeps")]
_STATE = Path("fusion_state")


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="0 takes one that is free", min=0, max=65535)] = 8765,
    host: Annotated[
        str, typer.Option(help="address to listen on; others than loopback need TLS")
    ] = "127.0.0.1",
    state: State = _STATE,
    workers: Annotated[
        int,
        typer.Option(
            help="aggregators that train at once; each uses all cores", min=1, max=MOST_WORKERS
        ),
    ] = 1,
    max_upload: Annotated[
        str, typer.Option(help="what one request may have, as 500M or 4G")
    ] = "1G",
    max_unpacked: Annotated[
        str, typer.Option(help="what an archive may have once unpacked")
    ] = "4G",
    max_memory: Annotated[
        str, typer.Option(help="what each process that trains may have (0: any)")
    ] = "0",
    silence: Annotated[
        float, typer.Option(help="seconds without a batch that end a run as hung", min=1)
    ] = 600,
    inspect_seconds: Annotated[
        float, typer.Option(help="seconds that reading an upload may take", min=1)
    ] = 120,
    allow_custom_code: Annotated[
        bool,
        typer.Option(
            "--allow-custom-code",
            help="take data handlers from clients: Python, run where it trains",
        ),
    ] = False,
    max_connections: Annotated[
        int, typer.Option(help="open connections; one address may have a quarter of them", min=4)
    ] = 400,
    head_seconds: Annotated[
        float, typer.Option(help="seconds in which the head of a request must arrive", min=0.1)
    ] = 20,
    allowed_host: Annotated[
        list[str],
        typer.Option(
            help="a name of the service beside the one that it listens on; may be given "
            "several times; '*' is any"
        ),
    ] = [],  # noqa: B006
    allowed_origin: Annotated[
        list[str],
        typer.Option(help="a site whose pages may call it, as https://example.org"),
    ] = [],  # noqa: B006
    allow_engine: Annotated[
        list[str],
        typer.Option(help="an engine of other machines that clients may choose, as ray"),
    ] = [],  # noqa: B006
    certfile: Annotated[str, typer.Option(help="certificate for TLS, as PEM")] = "",
    keyfile: Annotated[str, typer.Option(help="its key, as PEM")] = "",
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="listen for other machines without TLS, behind a proxy that has it"
        ),
    ] = False,
) -> None:
    """Serve federations over HTTP, as the Model Fusion API did."""
    with one_line():
        from fusion_nb.service.processes.training_supervisor import Limits
        from fusion_nb.service.server import serve as run_server
        from fusion_nb.service.settings import Settings

        settings = Settings(
            state=state,
            workers=workers,
            limits=Limits(memory=bytes_of(max_memory), silence=silence),
            max_upload=bytes_of(max_upload),
            max_unpacked=bytes_of(max_unpacked),
            inspect_seconds=inspect_seconds,
            allow_custom_code=allow_custom_code,
            max_connections=max_connections,
            head_seconds=head_seconds,
            allowed_hosts=tuple(allowed_host),
            allowed_origins=tuple(allowed_origin),
            allowed_engines=tuple(allow_engine),
        )
        run_server(
            settings,
            host=host,
            port=port,
            certfile=certfile,
            keyfile=keyfile,
            insecure=insecure,
            say=typer.echo,
        )


@app.command()
def run(
    spec: Annotated[
        list[Path],
        typer.Argument(
            help="YAML file, as run.spec.to_yaml() writes it; its `code` is run. Or the aggregator "
            "and party files of IBM's federated-learning-lib"
        ),
    ],
    checkpoint: Annotated[
        str, typer.Option(help="folder that keeps the last whole rounds: FOLDER:every=1,keep=2")
    ] = "",
    resume: Annotated[
        str, typer.Option(help="folder of a run of this file that was cut short, to go on with")
    ] = "",
    allow_other_rows: Annotated[
        bool, typer.Option("--allow-other-rows", help="go on though the rows are others")
    ] = False,
    export: Annotated[
        str, typer.Option(help="folder for the fused model, its card and its history")
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace an earlier export")
    ] = False,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="run data handlers that IBM's files name by a path")
    ] = False,
    metrics_folder: Annotated[
        str, typer.Option(help="folder for a metrics file of each party, as IBM's parties write it")
    ] = "",
    report: Annotated[
        str, typer.Option(help="folder for the report of an experiment (default: NAME-report)")
    ] = "",
) -> None:
    """Train the run of a file, or of IBM's files, and print each round.

    A file with seeds, or with lists of values, is an experiment: each run that ends is a line, the
    folder NAME-experiment (or --checkpoint) keeps them, and the same command goes on after a kill.
    """
    with one_line():
        from fusion_nb.models import lookup
        from fusion_nb.reporting.export import check_target
        from fusion_nb.runs.experiments.command import is_experiment, refuse_others, train_file
        from fusion_nb.runs.experiments.given import check_present
        from fusion_nb.runs.run import Run
        from fusion_nb.runs.spec import RunSpec, from_file

        given = {"checkpoint": checkpoint} if checkpoint else {}
        of_file = from_file(",".join(map(str, spec)), allow_code=allow_code) | given
        if is_experiment(of_file):
            one_run = {"resume": resume, "export": export, "metrics_folder": metrics_folder}
            refuse_others(one_run)
            train_file(of_file, spec[0], report=report, overwrite=overwrite, say=typer.echo)
            return
        if report:
            raise OptionError(
                f"{option('report', report)} is for experiments, and the file has one run",
                "give it seeds, as seeds: 0-4, or use --export",
            )
        chosen = RunSpec(**of_file)
        namespace: dict[str, object] = {"__name__": "__main__"}
        if chosen.code:
            with lookup.seeded(chosen.seed, chosen.code):
                exec(compile(chosen.code, str(spec[0]), "exec"), namespace)
        check_present(of_file, namespace, str(spec[0]), is_file=True)
        if resume:
            from fusion_nb.runs.checkpoints.resume import SavedSpec

            saved = SavedSpec.read(resume, {"checkpoint": resume} | given)
            training = saved.make_run(namespace, allow_other_rows=allow_other_rows)
        else:
            training = Run(chosen, namespace)
        if export:
            check_target(export, [training.formats[0]], training.formats, overwrite)
        training.callbacks.add(RoundPrinter())
        training.start().wait()
        typer.echo(training.summary())
        if metrics_folder:
            from fusion_nb.runs.ibm_config import metrics_file

            typer.echo("\n".join(map(str, metrics_file.write(training, metrics_folder))))
        if export:
            typer.echo(
                "\n".join(str(path) for path in training.export(export, overwrite=overwrite))
            )


app.command()(party)


@app.command()
def tutorials(
    folder: Annotated[Path, typer.Argument(help="new folder for the notebooks")],
) -> None:
    """Copy the tutorials into a folder: `jupyter lab FOLDER` opens them."""
    with one_line():
        from fusion_nb.core.files.packaged import copy_tutorials

        number = copy_tutorials(folder)
        typer.echo(f"{number} notebooks are in {folder}; open them:  jupyter lab {folder}")


@keys_app.command("list")
def list_keys(state: State = _STATE) -> None:
    """List the ids of all keys; their secrets are kept as hashes alone."""
    with one_line():
        for client_id, created in _keys(state).table().items():
            typer.echo(
                f"{client_id}  made {time.strftime('%Y-%m-%d %H:%M', time.localtime(created))}"
            )


@keys_app.command("new")
def new_key(state: State = _STATE) -> None:
    """Make a key, and show its secret once."""
    with one_line():
        typer.echo("\n".join(_keys(state, make=True).new().lines()))


@keys_app.command("rotate")
def rotate_key(client_id: str, state: State = _STATE) -> None:
    """Give a client a new secret, shown once; its old one is refused at once."""
    with one_line():
        typer.echo("\n".join(_keys(state).rotate(client_id).lines()))


@keys_app.command("revoke")
def revoke_key(client_id: str, state: State = _STATE) -> None:
    """Refuse a client from now on; what it started stays."""
    with one_line():
        _keys(state).revoke(client_id)
        typer.echo(f"{client_id} is refused from now on")


def _keys(state: Path, make: bool = False) -> Keys:
    from fusion_nb.service.server import own_folder
    from fusion_nb.service.storage.keys import Keys

    if make:
        is_new = not state.exists()
        folder = own_folder(state)
        typer.echo(
            f"{folder}{' (made just now: start the service with this --state)' if is_new else ''}"
        )
        return Keys(folder)
    if not state.is_dir():
        hint = "give the service's --state, or start one: fusion-nb serve"
        raise OptionError(f"there is no folder {state.resolve()}", hint)
    return Keys(state)


def main() -> None:
    """Run the command line."""
    app()
