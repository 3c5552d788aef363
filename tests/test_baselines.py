"""What a federation is compared with, and how the comparison is told: baselines, reports,
charts."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.core.federation import Federation
from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import OptionError
from fusion_nb.reporting import charts
from fusion_nb.reporting.parties import Parties, PartyReport
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
    """A network that counts the batches it is trained on, in whichever copy, and does something at
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
def _nothing_happens() -> None:
    Counting.seen = Counting.at = 0


def batches(rows: Any, model: nn.Module, **options: Any) -> int:
    """Return how many batches a run trains on, what is tried beforehand left out."""
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
    def test_takes_as_many_steps_as_the_cohorts_parties_together(
        self, rows: Any, options: Any
    ) -> None:
        parties = batches(rows, Counting(), batch_size=16, **options)
        assert (
            batches(rows, Counting(), batch_size=16, baseline="central", **options)
            == 2 * parties
            > 0
        )

    def test_and_as_few_where_a_last_row_joins_the_batch_before(self, rows: Any) -> None:
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
        tests = [party.test for party in federation.parties] if held == "own" else [federation.test]
        x, y = (np.concatenate(columns) for columns in zip(*tests, strict=True))
        (central,) = federation.beside
        for weights, start in ((federation.weights, ""), (central.federation.weights, "central_")):
            with torch.no_grad():
                output = federation.model.native(weights)(torch.tensor(x))
            loss = nn.functional.cross_entropy(output, torch.tensor(y)).item()
            assert last.metrics[f"{start}loss"] == pytest.approx(loss, abs=1e-6)
            right = (output.argmax(1).numpy() == y).mean()
            assert last.metrics[f"{start}accuracy"] == pytest.approx(right)

    def test_may_stop_the_run_and_be_monitored(self, rows: Any, net: Any) -> None:
        until = "central_accuracy >= 0.1"
        run = trained(
            rows, net(), baseline="central", until=until, monitor="central_accuracy", rounds=9
        )
        assert (len(run.history), run.reason) == (1, f"{until} after round 1")
        assert run.parties.table(run.monitor)[0][3:] == ["local accuracy", "fused accuracy"]
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

    def test_rows_of_two_kinds_can_not_be_pooled(self, rows: Any, net: Any) -> None:
        x, y = rows
        data = {"a": (x[:120], y[:120]), "b": Items(x[120:], y[120:])}
        with pytest.raises(OptionError, match="some parties hold arrays and others a Dataset"):
            made(data, net(), baseline="central")
        assert len(trained(data, net(), baseline="local").history) == 3


class TestLocal:
    def test_one_party_is_alone_anyway(self, rows: Any, net: Any) -> None:
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

    def test_a_party_reaches_what_it_would_in_a_run_of_its_own(self, rows: Any, net: Any) -> None:
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

    def test_without_test_rows_of_its_own_the_aggregators_count(self, rows: Any, net: Any) -> None:
        x, y = rows
        test = (x[200:], y[200:])
        run = trained(((x[:200], y[:200]), test), net(), parties=1, holdout=0, baseline="local")
        assert run.history["alone_loss"] == run.history["loss"]
        assert run.parties[0].alone["loss"] == run.history["loss"][-1]

    def test_who_fails_and_need_not_answer_ends_nothing(self, rows: Any, net: Any) -> None:
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
        with pytest.raises(OSError, match="the disk is gone"):
            trained(data(), net(), baseline="local")


class TestBoth:
    @pytest.mark.parametrize("text", ["nonsense", "central,lokal", "Central", "central;local"])
    def test_nonsense_is_refused(self, rows: Any, net: Any, text: str) -> None:
        with pytest.raises(OptionError, match=f"--baseline {text} is not allowed") as caught:
            made(rows, net(), baseline=text)
        assert "give central,local" in caught.value.hint

    def test_names_may_have_spaces_and_any_order(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), baseline=" local , central")
        assert {"central_loss", "alone_loss"} <= {*run.history.metrics()}

    def test_measured_every_few_rounds_and_in_the_last(self, rows: Any, net: Any) -> None:
        often, seldom = (
            trained(rows, net(), rounds=5, evaluate_every=n, fraction=0.5, **BOTH) for n in (1, 2)
        )
        for metric in ("loss", "central_loss", "central_accuracy"):
            found = seldom.history[metric]
            assert np.isnan(found).tolist() == [True, False, True, False, False]
            assert [found[i] for i in (1, 3, 4)] == [often.history[metric][i] for i in (1, 3, 4)]
        (central, local), *_ = [seldom._federation.beside]
        assert len(central.federation.history) == len(local.federation.history) == 5

    def test_rounds_that_are_added_go_on(self, rows: Any, net: Any) -> None:
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
        run.subscribe(lambda run: kept.append(run._weights()))
        # 16 batches in a round, of which the parties train on the first 8, and what is tried before
        # is one.
        Counting.seen, Counting.at, Counting.act = 0, 16 + 12, lambda: run.stop(wait=False)
        run.start().wait()
        assert (run.status, len(run.history)) == ("stopped", 1)
        assert run._weights() is kept[1]
        assert run.history["loss"] == whole.history["loss"][:1]
        run.more(3).wait()
        for metric in whole.history.metrics():
            assert run.history[metric] == whole.history[metric]
        assert [r.party_metrics for r in run.history] == [r.party_metrics for r in whole.history]

    def test_a_pause_while_it_trains_holds_it(self, rows: Any) -> None:
        whole = trained(rows, Counting(), **BOTH)
        run = made(rows, Counting(), **BOTH)
        paused = threading.Event()
        Counting.seen, Counting.at, Counting.act = 0, 24 + 12, lambda: (run.pause(), paused.set())
        run.start()
        assert paused.wait(20)
        time.sleep(0.05)
        assert (run.status, len(run.history)) == ("paused", 1)
        assert Counting.seen == Counting.at
        assert run.resume().wait().history["alone_loss"] == whole.history["alone_loss"]
        assert run.history["central_loss"] == whole.history["central_loss"]

    def test_workers_are_let_go(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), **BOTH)
        assert [other.federation.engine._model for other in run._federation.beside] == [None, None]


def report(name: str, **kinds: float | None) -> PartyReport:
    given = {
        kind: {} if value is None else {"accuracy": value, "loss": 1 - value}
        for kind, value in kinds.items()
    }
    return PartyReport(name, 10, 5, {}, **given)


class TestReports:
    @pytest.mark.parametrize(
        ("options", "kinds"),
        [
            ({}, ["local", "fused"]),
            ({"baseline": "central"}, ["local", "fused"]),
            ({"baseline": "local"}, ["alone", "local", "fused"]),
            ({"personal": "ditto"}, ["alone", "local", "fused", "personal"]),
            ({"share": "best"}, ["alone", "local", "fused", "personal"]),
            ({"personal": "fedper:layers=2.*"}, ["alone", "local", "personal"]),
        ],
        ids=str,
    )
    def test_columns_are_there_where_there_is_something_in_them(
        self, rows: Any, net: Any, options: Any, kinds: list[str]
    ) -> None:
        run = trained(rows, net(), rounds=1, **options)
        assert run.parties.table("accuracy")[0] == [
            "party",
            "rows",
            "test rows",
            *(f"{k} accuracy" for k in kinds),
        ]
        assert not any("–" in row for row in run.parties.table("accuracy"))
        columns = run.parties.to_frame().columns
        assert {name.partition("_")[0] for name in columns if name.endswith("_accuracy")} == {
            *kinds
        }

    @pytest.mark.parametrize("monitor", ["accuracy", "loss"])
    def test_gains_by_hand(self, rows: Any, net: Any, monitor: str) -> None:
        run = trained(
            rows, net(), personal="ditto", split="dirichlet:alpha=0.3", monitor=monitor, rounds=4
        )
        worst, beats = (min, np.greater) if monitor == "accuracy" else (max, np.less)
        found = {
            k: [getattr(party, k)[monitor] for party in run.parties]
            for k in ("alone", "fused", "personal")
        }
        first, second = run.parties.gains(monitor)
        for kind, values in found.items():
            mean, spread = statistics.fmean(values), statistics.pstdev(values)
            assert f"{kind} {mean:.3f} (worst {worst(values):.3f}, spread {spread:.3f})" in first
        counts = [int(beats(found[kind], found["alone"]).sum()) for kind in ("fused", "personal")]
        assert second == (
            f"better than alone: {counts[0]} of 4 parties with the fused model, "
            f"{counts[1]} of 4 parties with one of their own"
        )
        assert {first, second} <= {line.strip() for line in run.summary().splitlines()}
        assert first in run._repr_mimebundle_()["text/html"]

    def test_gains_are_told_of_parties_that_can_be_compared(self) -> None:
        parties = Parties(
            [
                report("a", alone=0.5, fused=0.7, personal=0.5),
                report("b", alone=0.9, fused=0.7, personal=0.95),
                report("c", alone=None, fused=0.7, personal=None),
            ]
        )
        assert parties.gains("accuracy") == [
            "accuracy over parties: alone 0.700 (worst 0.500, spread 0.200), "
            "fused 0.700 (worst 0.700, spread 0.000), personal 0.725 (worst 0.500, spread 0.225)",
            "better than alone: 1 of 2 parties with the fused model, 1 of 2 parties with one of "
            "their own",
        ]
        assert "alone 0.300 (worst 0.500, spread 0.200)" in parties.gains("loss")[0]
        assert Parties([report("c", fused=0.7)]).gains("accuracy") == []

    @pytest.mark.parametrize(
        "monitor", ["personal_accuracy", "alone_accuracy", "central_accuracy", "local_accuracy"]
    )
    def test_of_a_metric_of_other_models_the_table_shows_all(self, monitor: str) -> None:
        parties = Parties([report("a", alone=0.5, local=0.6, fused=0.7, personal=0.8)])
        assert parties.table(monitor) == parties.table("accuracy")
        assert parties.table(monitor)[1][3:] == ["0.500", "0.600", "0.700", "0.800"]
        assert parties.gains(monitor) == parties.gains("accuracy") != []


def record(number: int, metrics: Mapping[str, float], **fields: Any) -> RoundRecord:
    return RoundRecord(number, dict(metrics), {}, ("party 1", "party 2"), 0.1, 1000, 500, **fields)


def ticks(chart: charts.Chart) -> list[list[float]]:
    """Return where each panel marks rounds below the curves."""
    marks = [axis.collections for axis in chart.figure.axes]
    return [
        [float(line[0][0]) for mark in found for line in mark.get_segments()] for found in marks
    ]


class TestCharts:
    def test_baselines_are_drawn_and_told(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="ditto", **BOTH)
        last = run.history[-1].metrics
        alt = run.plot().alt
        for start, label in (
            ("central_", "one model with all rows"),
            ("alone_", "parties alone, on average"),
            ("personal_", "parties' own models, on average"),
        ):
            told = (
                f"{label}: loss {last[start + 'loss']:.3g} and accuracy "
                f"{last[start + 'accuracy']:.3g}"
            )
            assert told in alt
            for axis, metric in zip(run.plot().figure.axes, ("loss", "accuracy"), strict=True):
                (line,) = [line for line in axis.lines if line.get_label() == label]
                assert list(line.get_ydata()) == run.history[start + metric]

    def test_what_was_not_asked_for_is_neither(self, rows: Any, net: Any) -> None:
        chart = trained(rows, net()).plot()
        assert ";" not in chart.alt
        assert {
            line.get_label() for line in chart.figure.axes[0].lines if line.get_label()[0] != "_"
        } == {"fused"}
        assert not chart.figure.legends

    def test_models_given_after_the_last_round_are_one_point(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="finetune")
        chart = run.plot()
        (line,) = [
            line for line in chart.figure.axes[0].lines if "own models" in str(line.get_label())
        ]
        assert list(line.get_xdata()) == [3]
        assert f"own models, on average: loss {run.history['personal_loss'][-1]:.3g}" in chart.alt
        assert len(chart.png) > 10_000

    def test_rounds_are_marked_where_weights_travelled_only_if_parties_were_silent(self) -> None:
        both = ("party 1", "party 2")
        silent = [both, (), both, ("party 2",)]
        history = History(
            [record(i + 1, {"loss": 1.0}, silent=who) for i, who in enumerate(silent)]
        )
        chart = charts.curves(history, ["loss", "accuracy"])
        assert ticks(chart) == [[2, 4], [2, 4]]
        assert "ticks: rounds in which weights travelled" in chart.figure.get_supxlabel()
        always = History([replace(one, silent=()) for one in history])
        assert ticks(charts.curves(always, ["loss", "accuracy"])) == [[], []]
        assert "ticks" not in charts.curves(always, ["loss", "accuracy"]).figure.get_supxlabel()

    def test_ticks_of_a_run_are_those_of_its_synchronisations(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), fusion="fda:theta=0.05", rounds=8, baseline="local")
        expected = [one.round for one in run.history if one.synchronised]
        assert 0 < len(expected) < 8
        assert ticks(run.plot()) == [expected, expected]

    def test_runs_are_compared_by_what_they_sent_too(self, rows: Any, net: Any) -> None:
        runs = {
            "plain": trained(rows, net()),
            "sparing": trained(rows, net(), fusion="fda:theta=1", rounds=5),
        }
        histories = {name: run.history for name, run in runs.items()}
        chart = charts.compare(histories, ["loss", "accuracy"])
        assert [axis.get_title(loc="left") for axis in chart.figure.axes] == [
            "loss",
            "accuracy",
            "accuracy",
        ]
        by_bytes = chart.figure.axes[2]
        assert by_bytes.get_xlabel() == "MB sent, up and down"
        for line in by_bytes.lines:
            history = histories[line.get_label()]
            assert list(line.get_xdata()) == pytest.approx(
                [sent / 1e6 for sent in history.bytes_sent()]
            )
            assert list(line.get_ydata()) == history["accuracy"]
        assert len(by_bytes.lines) == 2
        assert len(chart.png) > 10_000

    def test_a_run_that_sent_nothing_can_be_compared(self) -> None:
        nothing = History(
            [replace(record(i, {"loss": 1.0 / i}), bytes_up=0, bytes_down=0) for i in (1, 2, 3)]
        )
        much = History([record(i, {"loss": 1.0 / i}) for i in (1, 2, 3)])
        chart = charts.compare(
            {"nothing": nothing, "much": much, "none": History()}, ["train_loss", "loss"]
        )
        assert len(chart.png) > 10_000

    def test_bytes_sent_add_up_both_ways(self, rows: Any, net: Any) -> None:
        history = History([record(i, {}) for i in (1, 2, 3)])
        assert history.bytes_sent() == [1500, 3000, 4500]
        assert History().bytes_sent() == []
        run = trained(rows, net(), **BOTH)  # what is compared with sends nothing
        assert run.history.bytes_sent() == trained(rows, net()).history.bytes_sent()
