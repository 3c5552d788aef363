"""The metrics that parties report beside their weights: all, with noise, or none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fusion_nb.core import arithmetic, registry, seeds
from fusion_nb.core.protocols import Engine, EngineWrapper, OpenRound
from fusion_nb.core.types import (
    EvaluateRequest,
    Failure,
    Metrics,
    Reply,
    Request,
    RoundRequest,
)
from fusion_nb.errors import OptionError, option

_KINDS = ("plain", "noised", "none")


@dataclass(frozen=True)
class Reports:
    """What parties report: `plain` metrics, `noised` ones, or `none`.

    noise: deviation of the noise as a multiple of bound;  bound: metrics are clipped to 0..bound

    >>> Reports.parse("noised:noise=5")
    Reports(kind='noised', noise=5.0, bound=1.0)
    """

    kind: str = "plain"
    noise: float = 0.0
    bound: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Reports:
        """Return what text such as `noised:noise=5,bound=1` asks for. Raises OptionError."""
        kind, given = registry.parse(text or "plain")
        names = ("noise", "bound") if kind == "noised" else ()
        if kind not in _KINDS or any(name not in names for name in given):
            raise _refused(text)
        try:
            found = cls(kind, **{name: float(value) for name, value in given.items()})
        except ValueError:
            raise _refused(text) from None
        is_positive = all(0 < value < math.inf for value in (found.noise, found.bound))
        if kind == "noised" and not is_positive:
            raise _refused(text)
        return found


class ReportingEngine(EngineWrapper):
    """Lets parties report no metrics, or noisy ones, with every reply.

    Noise is drawn from the seed and the identity of the run (a digest of all that decides it), for
    each party, round and metric apart.
    """

    def __init__(self, inner: Engine, reports: Reports, *, seed: int, identity: str = "") -> None:
        super().__init__(inner)
        self._reports, self._seed, self._identity = reports, seed, identity

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort, and change the metrics of its reply."""
        where = _occasion(request)
        for reply in self.inner.run(request, cohort):
            if isinstance(reply, Failure):
                yield reply
            else:
                yield replace(reply, metrics=self._told(reply.metrics, reply.party, where))

    def run_open(self, round: OpenRound) -> Iterator[Reply]:
        """Take replies as they come, and change the metrics of each."""
        for reply in self.inner.run_open(round):
            if isinstance(reply, Failure):
                yield reply
            else:
                told = self._told(reply.metrics, reply.party, ("round", round.round))
                yield replace(reply, metrics=told)

    def _told(self, metrics: Metrics, party: str, where: tuple[str | int, ...]) -> Metrics:
        reports = self._reports
        if reports.kind == "none":
            return {}
        rng = seeds.stream(self._seed, "report", *where, party, self._identity)
        told = {}
        for name in sorted(metrics):
            drawn = rng.normal(0.0, reports.noise * reports.bound)
            told[name] = min(max(float(metrics[name]), 0.0), reports.bound) + drawn
        return told


def _occasion(request: Request) -> tuple[str | int, ...]:
    """Return a key that differs from request to request, and is the same in a resumed run."""
    if isinstance(request, RoundRequest):
        return ("round", request.round)
    if isinstance(request, EvaluateRequest):
        return ("evaluate", arithmetic.digest(request.weights))
    return (type(request).__name__,)


def _refused(text: str) -> OptionError:
    return OptionError(
        f"{option('report', text)} is not allowed",
        "give plain, none, or noised:noise=5,bound=1 (noise > 0, a multiple of the bound to which "
        "each metric is clipped)",
        option="report",
        value=text,
        allowed=_KINDS,
    )
