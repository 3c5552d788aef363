"""Baselines: one model on all rows, and each party alone."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.core import registry
from fusion_nb.core.federation import Federation
from fusion_nb.core.protocols import Model, PartyLike
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import DataError, OptionError
from fusion_nb.runs.build import build

BOTH = {"baseline": "central,local"}


def made(rows: Any, model: Any, **options: Any) -> Run:
    spec = RunSpec(data="data", **{"lr": 0.1, "rounds": 3} | options)
    return Run(spec, {"model": model, "data": rows})


def trained(rows: Any, model: Any, **options: Any) -> Run:
    return made(rows, model, **options).start().wait()


def federation_of(rows: Any, model: Any, **options: Any) -> Federation:
    return build(RunSpec(data="data", **{"lr": 0.1} | options), {"model": model, "data": rows})


class Counting(nn.Module):
    """A network that counts its training batches, in whichever copy, and calls a function at
    one of them."""

    seen, at = 0, 0
    act: Callable[[], Any] = staticmethod(lambda: None)

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(*(inner or [nn.Linear(5, 3)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            Counting.seen += 1
            if Counting.seen == Counting.at:
                Counting.act()
        return self.inner(x)


@pytest.fixture(autouse=True)
def _reset_counting() -> None:
    Counting.seen = Counting.at = 0


def batches(rows: Any, model: nn.Module, **options: Any) -> int:
    """The batches that a run trains on, without those that are tried before."""
    run = made(rows, model, **options)
    Counting.seen = 0
    run.start().wait()
    return Counting.seen


class Items:
    """Rows one at a time, as in a torch Dataset; after a number of reads they are gone."""

    def __init__(self, x: np.ndarray, y: np.ndarray, reads: int = 10**9) -> None:
        self._x, self.targets, self._left = x, y, reads

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, i: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise OSError("the disk is gone")
        return self._x[i], self.targets[i]


class Tracked(LocalEngine):
    """An engine that counts how many of its kind were started, and how many still run."""

    started = running = 0

    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        Tracked.started += 1
        Tracked.running += 1
        super().start(parties, model, gate)

    def close(self) -> None:
        Tracked.running -= 1
        super().close()


class TestCentral:
    @pytest.mark.parametrize(
        "options",
        [
            *(
                {},
                {"epochs": 3},
                {"local_steps": 5},
                {"fraction": 0.5},
                {"fraction": 0.5, "local_steps": 3},
            ),
            *(
                {"split": "quantity:alpha=0.5"},
                {"fraction": 0.5, "split": "quantity:alpha=0.5", "epochs": 2},
            ),
        ],
        ids=str,
    )
    def test_as_many_steps_as_the_cohorts_parties_together(self, rows: Any, options: Any) -> None:
        parties = batches(rows, Counting(), batch_size=16, **options)
        assert (
            batches(rows, Counting(), batch_size=16, baseline="central", **options)
            == 2 * parties
            > 0
        )

    def test_a_last_row_that_joins_the_batch_before_is_no_step(self, rows: Any) -> None:
        x, y = rows
        data = {"a": ((x[:33], y[:33]), (x[100:], y[100:])), "b": (x[33:66], y[33:66])}
        model = Counting(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        parties = batches(data, model, batch_size=16, holdout=0)
        assert parties == 3 * 2 * 2
        assert batches(data, model, batch_size=16, holdout=0, baseline="central") == 2 * parties

    def test_is_one_model_trained_on_all_rows(self, rows: Any, net: Any) -> None:
        x, y = rows
        data = {
            "a": ((x[:80], y[:80]), (x[160:], y[160:])),
            "b": ((x[80:160], y[80:160]), (x[160:], y[160:])),
        }
        together = {"all": ((x[:160], y[:160]), (x[160:], y[160:]))}
        options = {"batch_size": 1000, "epochs": 1}
        central = trained(data, net(), baseline="central", **options).history["central_loss"]
        # In its rounds it takes a step for each of the two parties.
        assert central == pytest.approx(
            trained(together, net(), **options | {"epochs": 2}).history["loss"], abs=1e-5
        )

    @pytest.mark.parametrize("held", ["own", "central"])
    def test_is_measured_on_the_rows_that_the_fused_model_is(
        self, rows: Any, net: Any, held: str
    ) -> None:
        x, y = rows
        data = rows if held == "own" else ((x[:200], y[:200]), (x[200:], y[200:]))
        federation = federation_of(data, net(), baseline="central", split="quantity:alpha=1")
        *_, last = federation.rounds(2)
        tests = (
            [party.test for party in federation.parties]
            if held == "own"
            else [(rows[0][200:], rows[1][200:])]
        )
        x, y = (np.concatenate(columns) for columns in zip(*tests, strict=True))
        (central,) = federation.baselines
        for weights, start in ((federation.weights, ""), (central.federation.weights, "central_")):
            with torch.no_grad():
                output = federation.model.native(weights)(torch.tensor(x))
            loss = nn.functional.cross_entropy(output, torch.tensor(y)).item()
            assert last.metrics[f"{start}loss"] == pytest.approx(loss, abs=1e-6)
            right = (output.argmax(1).numpy() == y).mean()
            assert last.metrics[f"{start}accuracy"] == pytest.approx(right)

    def test_its_metrics_may_stop_the_run_and_be_monitored(self, rows: Any, net: Any) -> None:
        until = "central_accuracy >= 0.1"
        run = trained(
            rows, net(), baseline="central", until=until, monitor="central_accuracy", rounds=9
        )
        assert (len(run.history), run.reason) == (1, f"{until} after round 1")
        assert run.parties.table(run.prepared.monitor)[0][3:] == [
            "local accuracy",
            "fused accuracy",
        ]
        with pytest.raises(
            OptionError, match="names the metric 'central_loss', which this run does not have"
        ):
            made(rows, net(), until="central_loss < 1")

    def test_datasets_are_pooled_too(self, rows: Any, net: Any) -> None:
        items = {"a": (rows[0][:120], rows[1][:120]), "b": (rows[0][120:], rows[1][120:])}
        arrays = trained(items, net(), **BOTH)
        datasets = trained({name: Items(*part) for name, part in items.items()}, net(), **BOTH)
        for metric in ("loss", "central_loss", "alone_loss"):
            assert datasets.history[metric] == pytest.approx(arrays.history[metric], abs=1e-6)

    def test_arrays_and_datasets_can_not_be_pooled(self, rows: Any, net: Any) -> None:
        x, y = rows
        data = {"a": (x[:120], y[:120]), "b": Items(x[120:], y[120:])}
        with pytest.raises(OptionError, match="some parties hold arrays and others a Dataset"):
            made(data, net(), baseline="central")
        assert len(trained(data, net(), baseline="local").history) == 3


class TestLocal:
    def test_one_party_is_the_federation(self, rows: Any, net: Any) -> None:
        for options in (
            {},
            {"optimizer": "sgd:momentum=0.9", "keep_optimizer": True},
            {"local_steps": 3},
        ):
            for record in trained(rows, net(), parties=1, baseline="local", **options).history:
                (found,) = record.party_metrics.values()
                assert found["alone_loss"] == found["local_loss"]
                assert (
                    found["alone_accuracy"] == found["accuracy"] == record.metrics["alone_accuracy"]
                )

    def test_a_party_has_the_metrics_of_a_run_of_its_own(self, rows: Any, net: Any) -> None:
        x, y = rows
        data = {
            f"p{i}": ((x[i:150:3], y[i:150:3] * (i + 1) % 3), (x[150:], y[150:])) for i in range(3)
        }
        together = trained(data, net(), baseline="local", fusion="scaffold", epochs=2).history
        for name, own in data.items():
            alone = trained({name: own}, net(), epochs=2).history
            assert together.party(name, "alone_loss") == alone["loss"]
        assert together.party("p0", "alone_loss") != together.party("p0", "local_loss")

    def test_a_party_trains_in_the_rounds_in_which_it_takes_part(self, rows: Any, net: Any) -> None:
        history = trained(rows, net(), baseline="local", fraction=0.5, rounds=6).history
        seen: dict[str, float] = {}
        for record in history:
            for party, found in record.party_metrics.items():
                assert ("alone_loss" in found) == (party in seen or party in record.cohort)
                changed = found.get("alone_loss") != seen.get(party)
                assert changed == (party in record.cohort)
                seen |= {party: found["alone_loss"]} if "alone_loss" in found else {}

    def test_their_mean_is_over_all_test_rows(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), baseline="local", split="quantity:alpha=0.5")
        sizes = [party.num_test for party in run.parties]
        mean = np.average([party.alone["loss"] for party in run.parties], weights=sizes)
        assert run.history["alone_loss"][-1] == pytest.approx(mean)
        assert len({*sizes}) > 1

    def test_a_party_without_test_rows_uses_the_aggregators(self, rows: Any, net: Any) -> None:
        x, y = rows
        test = (x[200:], y[200:])
        run = trained(((x[:200], y[:200]), test), net(), parties=1, holdout=0, baseline="local")
        assert run.history["alone_loss"] == run.history["loss"]
        assert run.parties[0].alone["loss"] == run.history["loss"][-1]

    def test_a_party_that_fails_and_need_not_answer_ends_nothing(self, rows: Any, net: Any) -> None:
        x, y = rows

        def data() -> Any:
            return {
                "good": (x[:100], y[:100]),
                "fine": (x[100:], y[100:]),
                "broken": Items(x[:30], y[:30], 5),
            }

        plain = trained(data(), net(), quorum=0.6)
        for options in ({"baseline": "local"}, {"personal": "finetune"}, {"share": "best"}):
            run = trained(data(), net(), quorum=0.6, **options)
            assert run.history["loss"] == plain.history["loss"]
            assert [party.id for party in run.parties if party.alone] == ["good", "fine"]
        with pytest.raises(DataError, match=r"broken: row \d+ of .*OSError: the disk is gone"):
            trained(data(), net(), baseline="local")


class TestCentralAndLocal:
    @pytest.mark.parametrize("text", ["nonsense", "central,lokal", "Central", "central;local"])
    def test_unknown_baselines_are_refused(self, rows: Any, net: Any, text: str) -> None:
        with pytest.raises(
            OptionError, match=re.escape(f"baseline={text!r} is not allowed")
        ) as caught:
            made(rows, net(), baseline=text)
        assert "give central,local" in caught.value.hint

    def test_names_may_have_spaces_and_any_order(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), baseline=" local , central")
        assert {"central_loss", "alone_loss"} <= {*run.history.metrics()}

    def test_both_are_measured_every_few_rounds_and_in_the_last(self, rows: Any, net: Any) -> None:
        often, seldom = (
            trained(rows, net(), rounds=5, evaluate_every=n, fraction=0.5, **BOTH) for n in (1, 2)
        )
        for metric in ("loss", "central_loss", "central_accuracy"):
            found = seldom.history[metric]
            assert np.isnan(found).tolist() == [True, False, True, False, False]
            assert [found[i] for i in (1, 3, 4)] == [often.history[metric][i] for i in (1, 3, 4)]
        central, local = seldom.federation.baselines
        assert len(central.federation.history) == len(local.federation.history) == 5

    def test_more_rounds_continue_both(self, rows: Any, net: Any) -> None:
        options = {
            "evaluate_every": 2,
            "fraction": 0.5,
            "optimizer": "adam",
            "keep_optimizer": True,
            **BOTH,
        }
        run = trained(rows, net(), rounds=3, **options).more(3).wait()
        whole = trained(rows, net(), rounds=6, **options)
        assert run.history[-1].metrics == whole.history[-1].metrics
        assert run.history["central_loss"][3] == whole.history["central_loss"][3]

    @pytest.mark.parametrize("which", ["central", "local"])
    def test_a_stop_while_it_trains_keeps_whole_rounds(self, rows: Any, which: str) -> None:
        options = {"baseline": which, "rounds": 4, "parties": 4}
        whole = trained(rows, Counting(), **options)
        run = made(rows, Counting(), **options)
        kept: list[Any] = []
        run.subscribe(lambda run: kept.append(run.weights))
        # 16 batches in a round, of which the parties train on the first 8, and one is tried
        # before.
        Counting.seen, Counting.at, Counting.act = 0, 16 + 12, lambda: run.stop(wait=False)
        run.start().wait()
        assert (run.status, len(run.history)) == ("stopped", 1)
        assert run.weights is kept[1]
        assert run.history["loss"] == whole.history["loss"][:1]
        run.more(3).wait()
        for metric in whole.history.metrics():
            assert run.history[metric] == whole.history[metric]
        assert [r.party_metrics for r in run.history] == [r.party_metrics for r in whole.history]

    def test_a_pause_holds_the_training_of_a_baseline(self, rows: Any) -> None:
        whole = trained(rows, Counting(), **BOTH)
        run = made(rows, Counting(), **BOTH)
        paused = threading.Event()
        Counting.seen, Counting.at, Counting.act = 0, 24 + 12, lambda: (run.pause(), paused.set())
        run.start()
        assert paused.wait(240)
        assert (run.status, len(run.records)) == ("paused", 1)
        assert Counting.seen == Counting.at
        assert run.resume().wait().history["alone_loss"] == whole.history["alone_loss"]
        assert run.history["central_loss"] == whole.history["central_loss"]

    def test_engines_of_baselines_are_closed(self, rows: Any, net: Any) -> None:
        registry.register("engines", "tracked", Tracked)
        Tracked.started, Tracked.running = 0, 0
        trained(rows, net(), engine="tracked", **BOTH)
        assert (Tracked.started, Tracked.running) == (3, 0)
