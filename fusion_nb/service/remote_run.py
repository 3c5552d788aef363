"""A run that a service trains: `%%fusion --service URL`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.builtin import BUILTIN
from fusion_nb.errors import OptionError, option
from fusion_nb.models.metrics import measures as metrics
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec
from fusion_nb.service.remote_rounds import RemoteRounds


class RemoteRun(Run):
    """A run whose rounds are trained by a service.

    The parties' rows are sent there, and deleted when the run has ended. Everything is checked here
    first, as for any run, and the same spec gives the same curve as in the kernel.
    url: the service's address, with credentials, or with those in `~/.netrc`
    Raises OptionError for an object of the notebook that can't be sent, and ServiceError if the
    service can't be reached.
    """

    def __init__(
        self, spec: RunSpec, namespace: Mapping[str, Any], *, url: str, name: str = "run"
    ) -> None:
        _check_options(spec, namespace)
        rounds = functools.partial(RemoteRounds, url=url)
        super().__init__(spec, namespace, name=name, trained_by=rounds)


def _check_options(spec: RunSpec, namespace: Mapping[str, Any]) -> None:
    """Raise OptionError for an option that a service can't honour."""
    for name, value in (("loss", spec.loss), ("optimizer", spec.optimizer)):
        if value and value in namespace:
            raise OptionError(
                f"{option(name, value)} is an object of this notebook, and a service takes names "
                "only",
                "use one of the framework's own names",
            )
    for text in metrics.parse(spec.metrics):
        if registry.parse(text)[0] not in BUILTIN["metrics"]:
            raise OptionError(
                f"{option('metrics', text)} is a metric of this notebook, and a service takes "
                "built-in ones only",
                "leave it out, or train in the kernel",
            )
    for name in ("ensemble", "contribution", "unseen"):
        if getattr(spec, name):
            raise OptionError(
                f"{option(name)} is not for a run that a service trains", "train it in the kernel"
            )
