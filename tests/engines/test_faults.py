"""Simulated faults: dropout, stragglers, and the work that counts; all of it repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import DataPoisoning, Engine, Model, ModelPoisoning, PartyLike
from fusion_nb.core.types import (
    AdoptRequest,
    CollectRequest,
    EvaluateRequest,
    Failure,
    FederationInfo,
    PrepareRequest,
    Reply,
    Request,
    RoundRecord,
    RoundRequest,
    SendRequest,
    Update,
)
from fusion_nb.engines.faults import FaultyEngine, Stragglers, flip_labels
from fusion_nb.errors import OptionError, PartyError
from fusion_nb.models.torch.adapter import TorchModel
from fusion_nb.runs.build import build
from fusion_nb.runs.spec import RunSpec

COHORT = [f"party {i}" for i in range(1, 11)]
INFO = FederationInfo(10, ("w",), frozenset({"w"}))


class Willing(Engine):
    """An engine that replies for every party, and keeps the last request."""

    cohort: Sequence[str] = ()
    party_options: Mapping[str, Mapping[str, Any]] = {}

    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Do nothing."""

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        self.cohort = list(cohort)
        if isinstance(request, RoundRequest):
            self.party_options = request.party_options
        return iter([Update(party, {}, 1) for party in cohort])

    def close(self) -> None:
        """Do nothing."""


def one_round(
    number: int, *, epochs: int = 5, steps: int = 0, **faults: Any
) -> tuple[list[Reply], Willing]:
    """Return the replies of a round, and the engine that gave them."""
    options = {"epochs": epochs} | ({"steps": steps} if steps else {})
    engine = Willing()
    faulty = FaultyEngine(engine, **{"seed": 0, **faults})
    request = RoundRequest(number, {}, {}, options, 0, INFO)
    return list(faulty.run(request, COHORT)), engine


def lost(number: int, **faults: Any) -> dict[str, str]:
    return {
        reply.party: reply.error
        for reply in one_round(number, **faults)[0]
        if isinstance(reply, Failure)
    }


def slow(number: int, text: str = "0.3", **options: Any) -> dict[str, Any]:
    """Return the options of a round's stragglers, by party."""
    stragglers = Stragglers.parse(text)
    _, engine = one_round(number, stragglers=stragglers, uses_partial_work=True, **options)
    return dict(engine.party_options)


class TestDropout:
    def test_lost_parties_are_a_function_of_seed_and_round(self) -> None:
        assert [lost(t, dropout=0.5) for t in range(1, 6)] == [
            lost(t, dropout=0.5) for t in range(1, 6)
        ]
        assert len({tuple(lost(t, dropout=0.5)) for t in range(1, 11)}) > 5
        assert lost(1, dropout=0.5, seed=0) != lost(1, dropout=0.5, seed=1)

    def test_the_share_of_lost_parties_is_about_the_chance(self) -> None:
        found = np.mean([len(lost(t, dropout=0.3)) for t in range(1, 201)])
        assert found == pytest.approx(3, abs=0.35)
        assert not any(lost(t, dropout=0) for t in range(1, 20))

    def test_parties_lost_at_a_small_chance_are_lost_at_a_larger_one(self) -> None:
        assert all(lost(t, dropout=0.2).keys() <= lost(t, dropout=0.6).keys() for t in range(1, 20))

    @pytest.mark.parametrize("least", [1, 3])
    def test_the_minimum_of_updates_always_arrives(self, least: int) -> None:
        assert {len(lost(t, dropout=0.999, min_updates=least)) for t in range(1, 30)} == {
            10 - least
        }

    def test_replies_keep_the_order_of_the_cohort(self) -> None:
        replies, engine = one_round(1, dropout=0.5)
        assert [reply.party for reply in replies] == COHORT
        assert engine.cohort == [reply.party for reply in replies if isinstance(reply, Update)]
        assert 0 < len(engine.cohort) < 10

    @pytest.mark.parametrize(
        "request_",
        [
            CollectRequest(),
            PrepareRequest(None),
            SendRequest(),
            AdoptRequest({}),
            EvaluateRequest({}),
        ],
        ids=lambda request: type(request).__name__,
    )
    def test_only_training_fails(self, request_: Request) -> None:
        faulty = FaultyEngine(Willing(), seed=0, dropout=0.999)
        assert [type(reply) for reply in faulty.run(request_, COHORT)] == [Update] * 10

    def test_a_step_after_the_last_round_does_not_fail(self) -> None:
        assert not lost(0, dropout=0.999)


class TestStragglers:
    @pytest.mark.parametrize(("text", "number"), [("0.3", 3), ("0.25", 3), ("0.01", 0), ("1", 10)])
    def test_their_number_is_exact_and_halves_are_rounded_up(self, text: str, number: int) -> None:
        assert [len(slow(t, text)) for t in range(1, 6)] == [number] * 5

    def test_stragglers_are_a_function_of_seed_and_round(self) -> None:
        assert slow(2) == slow(2)
        assert len({tuple(slow(t)) for t in range(1, 11)}) > 5
        assert slow(2, seed=0) != slow(2, seed=1)

    def test_uniform_draws_fewer_than_all_epochs(self) -> None:
        drawn = Counter(work["epochs"] for t in range(1, 101) for work in slow(t).values())
        assert set(drawn) == {1, 2, 3, 4}
        assert min(drawn.values()) > 50

    def test_fixed_epochs(self) -> None:
        assert [*slow(1, "0.3:epochs=2").values()] == [{"epochs": 2}] * 3

    def test_local_steps_take_the_place_of_epochs(self) -> None:
        drawn = [work for t in range(1, 51) for work in slow(t, steps=4).values()]
        assert {name for work in drawn for name in work} == {"steps"}
        assert {work["steps"] for work in drawn} == {1, 2, 3}

    def test_stragglers_are_lost_where_partial_work_is_of_no_use(self) -> None:
        dropped = lost(1, stragglers=Stragglers.parse("0.3"))
        assert [*dropped] == [*slow(1)]
        assert set(dropped.values()) == {"was too slow (simulated)"}

    def test_one_party_answers_where_all_are_slow_or_lost(self) -> None:
        assert {len(lost(t, stragglers=Stragglers.parse("1"))) for t in range(1, 9)} == {9}
        assert {
            len(lost(t, stragglers=Stragglers.parse("0.5"), dropout=0.999)) for t in range(1, 9)
        } == {9}

    @pytest.mark.parametrize("text", ["0.2", "0.2:uniform", "0.2:epochs=uniform"])
    def test_uniform_is_the_default(self, text: str) -> None:
        assert Stragglers.parse(text) == Stragglers(0.2, None)

    def test_a_number_of_epochs(self) -> None:
        assert Stragglers.parse("0.2:epochs=3") == Stragglers.parse("0.2:3") == Stragglers(0.2, 3)

    @pytest.mark.parametrize(
        "text",
        [
            "0",
            "-0.1",
            "1.2",
            "nan",
            "some",
            "0.2:epochs=0",
            "0.2:epochs=-1",
            "0.2:epochs=1.5",
            "0.2:often",
            "0.2:steps=1",
        ],
    )
    def test_text_without_a_share_or_work_is_refused(self, text: str) -> None:
        with pytest.raises(OptionError, match=r"--straggler .* is not allowed"):
            Stragglers.parse(text)


def built(rows: Any, net: Any, **options: Any) -> Federation:
    defaults: dict[str, Any] = {"lr": 0.1, "epochs": 4, "parties": 5}
    return build(RunSpec(data="data", **defaults | options), {"model": net(), "data": rows})


def lost_in(record: RoundRecord) -> list[str]:
    return [failure.party for failure in record.failures]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return the epochs and steps of each training."""
    asked: list[tuple[int, int]] = []
    fit = TorchModel.fit

    def counting_fit(self: TorchModel, data: Any, **options: Any) -> Any:
        asked.append((options["epochs"], options.get("steps", 0)))
        return fit(self, data, **options)

    monkeypatch.setattr(TorchModel, "fit", counting_fit)
    return asked


class TestRunsWithFaults:
    def test_a_run_goes_on_without_lost_parties_and_names_them(self, rows: Any, net: Any) -> None:
        records = [*built(rows, net, dropout=0.4).rounds(6)]
        assert len(records) == 6
        failures = [failure for record in records for failure in record.failures]
        assert 4 <= len(failures) <= 20
        assert {failure.error for failure in failures} == {"dropped out (simulated)"}
        for record in records:
            assert set(lost_in(record)) < set(record.cohort)
            # Lost parties are not trained; the fused model is evaluated on all parties' rows.
            assert not any("train_loss" in record.party_metrics[party] for party in lost_in(record))
            assert all("loss" in record.party_metrics[party] for party in record.cohort)
        assert records[-1].metrics["accuracy"] > 0.8

    def test_a_run_goes_on_where_only_one_party_answers(self, rows: Any, net: Any) -> None:
        assert [len(record.failures) for record in built(rows, net, dropout=0.99).rounds(4)] == [
            4
        ] * 4

    def test_a_quorum_is_honoured(self, rows: Any, net: Any) -> None:
        free = [*built(rows, net, dropout=0.4).rounds(6)]
        enough = next(i for i, record in enumerate(free) if len(record.failures) > 1)
        bound = built(rows, net, dropout=0.4, quorum=0.8)
        with pytest.raises(
            PartyError, match=f"2 of 5 parties failed in round {enough + 1}; .*dropped out"
        ):
            list(bound.rounds(6))
        assert [record.metrics for record in bound.history] == [
            record.metrics for record in free[:enough]
        ]

    def test_the_mean_is_that_of_the_parties_that_answered(self, rows: Any, net: Any) -> None:
        made = built(rows, net, dropout=0.6)
        (record,) = made.rounds(1)
        there = [party for party in record.cohort if party not in lost_in(record)]
        assert 1 < len(there) < 5
        whole = built(rows, net)
        parties = [party for party in whole.parties if party.id in there]
        other = Federation(parties, whole.model, whole.fusion, whole.network.engine, whole.config)
        list(other.rounds(1))
        assert all(
            np.array_equal(array, other.weights[name]) for name, array in made.weights.items()
        )

    @pytest.mark.parametrize(
        "options", [{"dropout": 0.4}, {"straggler": "0.4"}, {"dropout": 0.2, "straggler": "0.4"}]
    )
    @pytest.mark.parametrize("fusion", ["fedavg", "fedprox", "scaffold"])
    def test_same_seed_same_curve(self, options: Any, fusion: str, rows: Any, net: Any) -> None:
        def curve(seed: int) -> list[Any]:
            records = built(rows, net, fusion=fusion, seed=seed, **options).rounds(3)
            return [(record.metrics, lost_in(record)) for record in records]

        assert curve(1) == curve(1) != curve(2)

    @pytest.mark.parametrize("fusion", ["fedavg", "scaffold", "fedadam"])
    def test_stragglers_are_left_out(self, fusion: str, rows: Any, net: Any, work: Any) -> None:
        records = [*built(rows, net, fusion=fusion, straggler="0.4").rounds(3)]
        assert [len(record.failures) for record in records] == [2] * 3
        assert {failure.error for record in records for failure in record.failures} == {
            "was too slow (simulated)"
        }
        assert work == [(4, 0)] * 3 * 3

    @pytest.mark.parametrize("fusion", ["fedprox", "fednova", "feddyn"])
    def test_partial_work_is_kept(self, fusion: str, rows: Any, net: Any, work: Any) -> None:
        records = [*built(rows, net, fusion=fusion, straggler="0.4:epochs=1").rounds(3)]
        assert not any(record.failures for record in records)
        assert Counter(work) == {(1, 0): 2 * 3, (4, 0): 3 * 3}

    def test_partial_work_is_counted_in_steps_where_epochs_are_not(
        self, rows: Any, net: Any, work: Any
    ) -> None:
        list(built(rows, net, fusion="fednova", local_steps=6, straggler="0.4:epochs=2").rounds(2))
        assert Counter(work) == {(4, 2): 2 * 2, (4, 6): 3 * 2}

    def test_a_straggler_that_also_drops_out_is_lost_once(self, rows: Any, net: Any) -> None:
        for record in built(rows, net, dropout=0.5, straggler="0.6").rounds(4):
            assert len(set(lost_in(record))) == len(record.failures) < 5

    def test_a_party_that_was_away_keeps_what_it_had(self, rows: Any, net: Any) -> None:
        made = built(rows, net, fusion="scaffold", dropout=0.4)
        before: dict[str, Any] = {}
        for record in made.rounds(5):
            for party in made.parties:
                kept = party.state.get("fusion")
                assert (kept is before.get(party.id)) == (party.id in lost_in(record))
                before[party.id] = kept

    @pytest.mark.parametrize("fusion", ["dynamic:threshold=0.2", "fda:theta=0.2", "lag", "cmfl"])
    def test_rules_with_silent_parties_work_with_dropout(
        self, fusion: str, rows: Any, net: Any
    ) -> None:
        records = [*built(rows, net, fusion=fusion, dropout=0.3).rounds(8)]
        assert sum(len(record.failures) for record in records) > 4
        assert all(not set(lost_in(record)) & set(record.silent) for record in records)
        assert records[-1].metrics["accuracy"] > 0.8

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"epochs": 1}, "--epochs 1"),
            ({"epochs": 3, "straggler": "0.4:epochs=3"}, "--epochs 3"),
            ({"local_steps": 1, "epochs": 5}, "--local-steps 1"),
        ],
    )
    def test_stragglers_without_less_work_to_do_are_refused(
        self, options: Any, named: str, rows: Any, net: Any
    ) -> None:
        with pytest.raises(OptionError, match=f"--straggler asks for less work than {named}"):
            built(rows, net, **{"fusion": "fedprox", "straggler": "0.4", **options})

    def test_stragglers_that_are_left_out_need_no_less_work(self, rows: Any, net: Any) -> None:
        (record,) = built(rows, net, epochs=1, straggler="0.4").rounds(1)
        assert len(record.failures) == 2

    def test_a_straggler_text_is_refused_before_training(self, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match=r"--straggler 0\.2:often is not allowed"):
            built(rows, net, straggler="0.2:often")


class Zeros(ModelPoisoning):
    """Sends zeros, and keeps the names of the entries that gradients train."""

    trained: frozenset[str] = frozenset()

    def forge(
        self,
        replies: Iterator[Reply],
        request: RoundRequest,
        hostile: Sequence[str],
        trained: frozenset[str],
    ) -> Iterator[Reply]:
        self.trained = trained
        for reply in replies:
            yield Update(reply.party, {"w": np.zeros(1)}, 1) if reply.party in hostile else reply


class AllZero(DataPoisoning):
    """Trains on the label 0 only."""

    def flip(self, rows: Any, labels: np.ndarray) -> Any:
        return rows[0], np.zeros_like(rows[1])


class TestHostileParties:
    def test_their_replies_are_forged_in_rounds(self) -> None:
        attack = Zeros()
        replies, _ = one_round(1, attack=attack, hostile=["party 2"], dropout=0.3)
        assert [reply.party for reply in replies] == COHORT
        forged = [r.party for r in replies if isinstance(r, Update) and r.weights]
        assert forged == ["party 2"]
        assert attack.trained == {"w"}
        replies, _ = one_round(0, attack=attack, hostile=["party 2"])
        assert not any(isinstance(r, Update) and r.weights for r in replies)

    def test_their_labels_are_flipped_and_test_rows_stay(self, rows: Any) -> None:
        parties = [Party("a", rows, rows), Party("b", rows, rows)]
        found = flip_labels(parties, ["b"], AllZero(), rows[1])
        assert found[0] is parties[0]
        assert not found[1].train[1].any()
        assert found[1].test is rows
        assert flip_labels(parties, ["b"], Zeros(), rows[1]) is parties
