"""What federation is compared with, round by round: one model that has all rows, and each party alone."""

from __future__ import annotations

from typing import Any

from fusion_nb import data
from fusion_nb.answers import weighted_mean
from fusion_nb.errors import OptionError, nearest
from fusion_nb.federation import Federation
from fusion_nb.fusions.alone import Alone as Separately
from fusion_nb.fusions.averaging import iter_avg
from fusion_nb.party import Party
from fusion_nb.types import Engine, Fusion, Metrics, PartyMetrics

NAMES = ("central", "local")


def parse(text: str) -> list[str]:
    """Return the names in text such as `central,local`. Raises OptionError for one that there is not."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            raise OptionError(f"--baseline {text} is not allowed", f"{nearest(name, NAMES)}give {','.join(NAMES)}")
    return names


class Central:
    """One model trained on all parties' rows together, with as many steps in a round as the cohort's parties take.

    Measured on the same rows as the fused model, as `central_loss` and so on. For comparison alone: in a federation
    nobody has all rows.
    """

    def __init__(self, main: Federation, engine: Engine) -> None:
        if "local_steps" not in main.model.orders and main.fraction < 1:
            line = f"--baseline central with --fraction {main.fraction:g}: a {main.model.kind} trains whole epochs only"
            raise OptionError(line, "leave one of them out")
        tests = [party.test for party in main.parties if party.num_test]
        test = main.test if main.test is not None or not tests else data.concat(tests)
        pool = Party("central", data.concat([party.train for party in main.parties]))
        self._main = main
        self.federation = _beside(main, engine, parties=[pool], fusion=iter_avg(), test=test)

    def __call__(self, round: int, is_last: bool) -> tuple[Metrics, PartyMetrics]:
        """Return the metrics of a round's model, trained first where it is not yet."""
        if "local_steps" in self._main.model.orders:
            self.federation.orders["steps"] = self._num_steps(round)
        record = self.federation.keep_up(round, is_last)
        return {f"central_{name}": v for name, v in record.metrics.items() if name in self._main.model.metrics}, {}

    def close(self) -> None:
        """Let the workers go."""
        self.federation.close()

    def _num_steps(self, round: int) -> int:
        cohort, orders = self._main.cohort(round), self._main.orders
        if "steps" in orders:
            return int(orders["steps"]) * len(cohort)
        sizes = [party.num_examples for party in self._main.parties if party.id in cohort]
        return sum(-(-size // orders["batch_size"]) for size in sizes) * int(orders["epochs"])


class Local:
    """Each party alone, trained in the rounds and as long as it is in the federation.

    Measured on its own test rows as `alone_loss` and so on, and as their mean over all parties' test rows. Where a
    party has none, the aggregator's count.
    """

    def __init__(self, main: Federation, engine: Engine) -> None:
        parties = [Party(p.id, p.train, p.test if p.num_test else main.test) for p in main.parties]
        self.federation = _beside(main, engine, parties=parties, fusion=Separately(), test=None)

    def __call__(self, round: int, is_last: bool) -> tuple[Metrics, PartyMetrics]:
        """Return the metrics of a round's models, trained first where they are not yet."""
        self.federation.keep_up(round, is_last)
        latest = self.federation.history.latest()
        found = {party.id: _alone(latest.get(party.id, {})) for party in self.federation.parties}
        sizes = {party.id: party.num_test for party in self.federation.parties}
        names = {name for metrics in found.values() for name in metrics}
        return {name: weighted_mean(found, sizes, name) for name in sorted(names)}, found

    def close(self) -> None:
        """Let the workers go."""
        self.federation.close()


def _alone(metrics: Metrics) -> Metrics:
    return {f"alone_{name[6:]}": value for name, value in metrics.items() if name.startswith("local_")}


def _beside(main: Federation, engine: Engine, parties: list[Party], fusion: Fusion, test: Any) -> Federation:
    """Return a federation like the main one, with a model and a history of its own, held and stopped with it."""
    return Federation(
        parties=parties,
        model=main.model.single.clone(),
        fusion=fusion,
        engine=engine,
        orders=dict(main.orders),
        seed=main.seed,
        fraction=main.fraction,
        test=test,
        evaluate_every=main.evaluate_every,
        schedule=main.schedule,
        gate=lambda: main.gate(),  # looked up late: a run puts its own there
    )
