"""FDA: all parties are averaged once an estimate of their variance exceeds a threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions import fda_monitors
from fusion_nb.algorithms.fusions.local_only import continue_local_training
from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.protocols import Synchronising
from fusion_nb.core.types import LocalContext, NoUpdate, Requirements, Update, Weights


class FDA(Synchronising):
    """Let parties train on their own; average all once an estimate of their variance exceeds theta.

    In every round each party reports a few numbers: the squared length of its drift since the last
    synchronisation and, except for the monitor `naive`, a small projection of its direction. From
    these follows an upper estimate of the variance (mean squared distance from the mean), which
    `naive` makes crudely, `linear` by one direction, `sketch` best. All parties have the same
    share. Threshold by model: about 1e-5 to 1e-4 times the number of its weights.

    Source: Theologitis, Frangias, Anestis, Samoladas, Deligiannakis, "Communication-Efficient
    Distributed Deep Learning via Federated Dynamic Averaging", EDBT 2025.
    """

    not_linear = "sends a summary of the rows' effect beside the weights"
    requires = Requirements(full_participation=True)

    def __init__(
        self,
        *,
        theta: Annotated[
            float, Field(description="variance that is no reason to synchronise", ge=0)
        ] = 1.0,
        monitor: Annotated[str, Field(description="naive, linear or sketch")] = "linear",
    ) -> None:
        self._theta, self._monitor = theta, fda_monitors.create(monitor)

    def local_update(self, context: LocalContext) -> NoUpdate:
        """Continue from the party's own weights, and report its drift in a few numbers."""
        self._monitor.begin_round(context)
        drift = arithmetic.change(continue_local_training(context), context.weights)
        report = self._monitor.report(context.state, drift)
        return context.no_update(float(report[0]), drift=report)

    def select_senders(self, reports: Sequence[NoUpdate], state: Any) -> tuple[Sequence[str], Any]:
        """Return all parties where the estimate exceeds theta, and no party otherwise."""
        mean = sum(report.extras["drift"] for report in reports) / max(1, len(reports))
        violated = bool(reports) and self._monitor.estimate(mean) > self._theta
        return [report.party for report in reports] if violated else [], state

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the mean of all parties, or the weights unchanged where no party was asked."""
        mean = RunningMean()
        for update in updates:
            mean.add(update.weights, 1.0)
        return mean.mean() if mean.total else weights, state

    def after_sync(self, weights: Weights, state: Any) -> Weights:
        """Return the new common weights."""
        return weights
