"""The errors of the command line, as its user reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from fusion_nb.errors import FusionError, cell_spelling, missing_extra


@contextmanager
def one_line() -> Iterator[None]:
    """Print an error that a user can mend in one line, without a traceback, and exit with 2."""
    try:
        try:
            yield
        except ModuleNotFoundError as error:
            raise missing_extra(error, "this command") from error
    except FusionError as error:
        typer.echo(str(error.spelled(cell_spelling)), err=True)
        raise typer.Exit(2) from None
