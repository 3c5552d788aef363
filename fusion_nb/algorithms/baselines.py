"""What federation is compared with, round by round: one model that has all rows, and each party
alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from fusion_nb.algorithms.fusions.averaging import iter_avg
from fusion_nb.algorithms.fusions.local_only import Alone as Separately
from fusion_nb.core import rows as rows_of
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.replies import weighted_mean
from fusion_nb.core.types import Engine, Fusion, Metrics, PartyMetrics
from fusion_nb.errors import OptionError, PartyError, nearest

NAMES = ("central", "local")


def parse(text: str) -> list[str]:
    """Return the names in text such as `central,local`. Raises OptionError for one that there is
    not.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            raise OptionError(
                f"--baseline {text} is not allowed", f"{nearest(name, NAMES)}give {','.join(NAMES)}"
            )
    return names


class _Beside:
    """A federation beside the main one, which keeps up with its rounds, and whose failure ends
    nothing else.
    """

    #: What messages call it.
    name = ""
    federation: Federation

    def __init__(self, main: Federation) -> None:
        self._main = main
        #: What the user should know, as sentences.
        self.notes: list[str] = []
        self._is_sound = True

    def close(self) -> None:
        """Let the workers go."""
        self.federation.close()

    def prepare(self, round: int) -> None:
        """Do what is to be done before a round."""

    def train_up_to(self, round: int, is_last: bool) -> bool:
        """Train the rounds up to this one that are not yet; return whether it is sound so far."""
        try:
            # More than one where nobody measured, and so asked for, those before.
            for number in (
                range(len(self.federation.history) + 1, round + 1) if self._is_sound else ()
            ):
                self.federation.changes = {
                    i: replace(c, fusion=None) for i, c in self._main.changes.items()
                }
                self.prepare(number)
                self.federation.keep_up(number, is_last and number == round)
        except PartyError as error:
            self.notes = [f"warning: {self.name} ended before round {round}: {error.message}"]
            self._is_sound = False
        return self._is_sound


class Central(_Beside):
    """One model trained on all parties' rows together, with as many steps in a round as the
    cohort's parties take.

    Measured on the same rows as the fused model, as `central_loss` and so on. For comparison alone:
    in a federation nobody has all rows.
    """

    name = "the baseline central"

    def __init__(self, main: Federation, engine: Engine) -> None:
        super().__init__(main)
        if "local_steps" not in main.model.orders and main.fraction < 1:
            line = (
                f"--baseline central with --fraction {main.fraction:g}: a {main.model.kind} "
                "trains whole epochs only"
            )
            raise OptionError(line, "leave one of them out")
        tests = [party.test for party in main.parties if party.num_test]
        if (
            len(
                {
                    isinstance(rows, tuple)
                    for rows in [*tests, *(party.train for party in main.parties)]
                }
            )
            > 1
        ):
            line = "--baseline central, but some parties hold arrays and others a Dataset"
            raise OptionError(line, "give all the same kind, or leave it out")
        test = main.test if main.test is not None or not tests else rows_of.concat(tests)
        pool = Party("central", rows_of.concat([party.train for party in main.parties]))
        self.federation = _beside(main, engine, parties=[pool], fusion=iter_avg(), test=test)

    def __call__(self, round: int, is_last: bool) -> tuple[Metrics, PartyMetrics]:
        """Return the metrics of a round's model, trained first where it is not yet."""
        if not self.train_up_to(round, is_last):
            return {}, {}
        found = self.federation.history[round - 1].metrics
        return {
            f"central_{name}": value
            for name, value in found.items()
            if name in self._main.model.metrics
        }, {}

    def prepare(self, round: int) -> None:
        """Take as many steps as the cohort's parties do together."""
        if "local_steps" in self._main.model.orders:
            self.federation.orders["steps"] = self._num_steps(round)

    def _num_steps(self, round: int) -> int:
        return num_steps(self._main, self._main.cohort(round))


class Local(_Beside):
    """Each party alone, trained in the rounds and as long as it is in the federation.

    Measured on its own test rows as `alone_loss` and so on, and as their mean over all parties'
    test rows. Where a party has none, the aggregator's count. A party that fails alone is left out
    from then on.
    """

    name = "the baseline local"

    def __init__(self, main: Federation, engine: Engine) -> None:
        super().__init__(main)
        parties = [Party(p.id, p.train, p.test if p.num_test else main.test) for p in main.parties]
        self.federation = _beside(
            main, engine, parties=parties, fusion=Separately(), test=None, quorum=0.0
        )

    def __call__(self, round: int, is_last: bool) -> tuple[Metrics, PartyMetrics]:
        """Return the metrics of a round's models, trained first where they are not yet."""
        if not self.train_up_to(round, is_last):
            return {}, {}
        failed = {
            failure.party: failure.error
            for record in self.federation.history
            for failure in record.failures
        }
        self.notes = [
            f"warning: {self.name} goes on without {party}: {error}"
            for party, error in failed.items()
        ]
        latest = self.federation.history.latest()
        found = {
            p.id: _alone(latest.get(p.id, {}))
            for p in self.federation.parties
            if p.id not in failed
        }
        sizes = {party.id: party.num_test for party in self.federation.parties}
        names = {name for metrics in found.values() for name in metrics}
        return {name: weighted_mean(found, sizes, name) for name in sorted(names)}, found


def num_steps(federation: Federation, cohort: Collection[str]) -> int:
    """Return the batches that the cohort's parties train together in a round."""
    orders = federation.orders
    if "steps" in orders:
        return int(orders["steps"]) * len(cohort)
    sizes = [party.num_examples for party in federation.parties if party.id in cohort]
    least = federation.model.min_rows
    return sum(_num_batches(size, orders["batch_size"], least) for size in sizes) * int(
        orders["epochs"]
    )


def _num_batches(size: int, batch_size: int, least: int) -> int:
    """Return the batches of an epoch; a last one that is smaller than the model can take is part of
    the one before.
    """
    full, rest = divmod(size, batch_size)
    return full + (rest >= least or not full)


def _alone(metrics: Metrics) -> Metrics:
    return {
        f"alone_{name[6:]}": value for name, value in metrics.items() if name.startswith("local_")
    }


def _beside(
    main: Federation,
    engine: Engine,
    parties: list[Party],
    fusion: Fusion,
    test: Any,
    quorum: float = 1.0,
) -> Federation:
    """Return a federation like the main one, with a model and a history of its own, held and
    stopped with it.
    """
    return Federation(
        parties=parties,
        model=main.model.single.clone(),
        fusion=fusion,
        engine=engine,
        orders=dict(main.orders),
        seed=main.seed,
        fraction=main.fraction,
        quorum=quorum,
        test=test,
        evaluate_every=main.evaluate_every,
        evaluate_rows=main.evaluate_rows,
        schedule=main.schedule,
        gate=lambda: main.gate(),  # looked up late: a run puts its own there
    )
