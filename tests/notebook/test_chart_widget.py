"""The protocol of the chart widget, without a kernel and without a browser: messages and state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb import RunSpec
from fusion_nb.notebook.chart import LiveChart, RunChart
from fusion_nb.runs import session

pytestmark = pytest.mark.usefixtures("no_runs")


class Browser:
    """The other side of a widget: it holds what it was sent, as the chart in the page does.

    is_late: it hears nothing before it is opened, as a page whose JavaScript is still on its way
    """

    def __init__(self, chart: RunChart, *, is_late: bool = False) -> None:
        self.chart, self.is_late = chart, is_late
        self.state = chart.get_state()
        self.rows = np.zeros((0, 1), np.float32)
        self.epoch, self.head, self.messages = 0, {}, 0
        chart.send, chart.send_state = self.hear, self.take_state  # as a comm would
        if not is_late:
            self.open()

    def open(self) -> None:
        self.is_late = False
        self.read()
        self.say({"type": "hello", "epoch": self.epoch, "have": len(self.rows)})

    def say(self, content: dict[str, Any]) -> None:
        self.chart._handle_custom_msg(content, [])

    def take_state(self, keys: Any = None) -> None:
        self.state |= self.chart.get_state(keys)
        if not self.is_late:
            self.read()

    def read(self) -> None:
        self.head, self.epoch = dict(self.state["head"]), self.state["head"]["epoch"]
        self.rows = self.numbers(self.state["rows"])

    def hear(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        if self.is_late:
            return
        self.messages += 1
        assert message["epoch"] == self.epoch
        if message["first"] > len(self.rows):
            self.say({"type": "whole"})
            return
        self.head |= message["head"]
        self.rows = np.concatenate([self.rows[: message["first"]], self.numbers(buffers[0])])

    def numbers(self, packed: Any) -> np.ndarray:
        width = max(1, len(self.head["columns"]))
        return np.frombuffer(packed, "<f4").reshape(-1, width)

    def column(self, role: str, panel: int = 0, part: str = "", name: str = "") -> np.ndarray:
        """The numbers of the first column that is described so."""
        for i, column in enumerate(self.head["columns"]):
            same = column["role"] == role and column.get("panel", 0) == panel
            if same and column.get("part", "") == part and name in column.get("name", ""):
                return self.rows[:, i]
        raise AssertionError(f"there is no column {role}")


@pytest.fixture(autouse=True)
def _no_browser_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunChart, "was_answered", False)


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def chart(now: list[float]) -> Iterator[RunChart]:
    made = RunChart(lambda: now[0])
    yield made
    made.close_all()


def trained(namespace: dict[str, Any], **options: Any) -> fusion_nb.Run:
    spec = RunSpec(data="rows", **{"rounds": 3, "lr": 0.1, **options})
    return fusion_nb.Run(spec, namespace).start().wait()


def follow_each_round(chart: RunChart, namespace: dict[str, Any], **options: Any) -> fusion_nb.Run:
    run = fusion_nb.Run(RunSpec(data="rows", **{"rounds": 5, "lr": 0.1, **options}), namespace)
    chart.follow(run)
    run.subscribe(lambda _: chart.send_new())
    return run.start().wait()


class TestRows:
    def test_every_round_arrives_once(self, chart: RunChart, namespace: dict[str, Any]) -> None:
        page = Browser(chart)
        run = follow_each_round(chart, namespace, rounds=6)
        assert list(page.column("round")) == [1, 2, 3, 4, 5, 6]
        for panel, metric in enumerate(run.chart_metrics):
            assert page.column("fused", panel) == pytest.approx(run.history[metric], rel=1e-6)
            for party in run.parties:
                own = run.history.party(party.id, f"local_{metric}")
                found = page.column("party", panel, name=party.id)
                assert found == pytest.approx(own, rel=1e-6)
        assert page.messages >= 5

    def test_baselines_have_columns_of_their_own(
        self, chart: RunChart, namespace: dict[str, Any]
    ) -> None:
        page = Browser(chart)
        run = follow_each_round(chart, namespace, baseline="central,local")
        assert page.column("central", 1) == pytest.approx(run.history["central_accuracy"])
        assert page.column("alone") == pytest.approx(run.history["alone_loss"])
        assert np.isnan(page.column("personal")).all()

    def test_many_parties_are_a_band_with_the_worst_by_name(
        self, chart: RunChart, namespace: dict[str, Any]
    ) -> None:
        page = Browser(chart)
        run = follow_each_round(chart, namespace, parties=20)
        assert "party" not in {column["role"] for column in page.head["columns"]}
        for panel, (metric, worst) in enumerate((("loss", max), ("accuracy", min))):
            first = run.history[0].party_metrics
            values = {name: found[f"local_{metric}"] for name, found in first.items()}
            value = worst(values.values())
            assert page.column("worst", panel, "y")[0] == pytest.approx(value, rel=1e-6)
            who = page.head["parties"][int(page.column("worst", panel, "who")[0])]
            assert values[who] == value
            low, middle, high = (
                page.column("band", panel, part)[0] for part in ("low", "middle", "high")
            )
            assert min(values.values()) <= low <= middle <= high <= max(values.values())

    def test_rounds_in_which_nobody_sent_weights_are_told(
        self, chart: RunChart, namespace: dict[str, Any]
    ) -> None:
        page = Browser(chart)
        run = follow_each_round(chart, namespace, fusion="fda:theta=0.5", rounds=8)
        assert [bool(sent) for sent in page.column("sent")] == [
            record.synchronised for record in run.history
        ]
        assert 0 in page.column("sent")

    def test_costs_so_far_are_axes(self, chart: RunChart, namespace: dict[str, Any]) -> None:
        page = Browser(chart)
        run = follow_each_round(chart, namespace, devices="phones", batch_size=10)
        sent = np.array(run.history.bytes_sent()) / 1e6
        assert page.column("cost", name="MB sent") == pytest.approx(sent, rel=1e-6)
        seconds = np.cumsum([record.seconds for record in run.history])
        assert page.column("cost", name="seconds") == pytest.approx(seconds, rel=1e-5)
        steps = sum(-(-party.num_examples // 10) for party in run.parties)
        assert list(page.column("cost", name="gradient steps")) == [steps * i for i in range(1, 6)]
        simulated = page.column("cost", name="simulated seconds")
        assert simulated == pytest.approx(run.history["virtual_seconds"], rel=1e-6)
        assert np.isnan(page.column("cost", name="epsilon")).all()

    def test_epsilon_is_an_axis_of_a_private_run(
        self, chart: RunChart, namespace: dict[str, Any]
    ) -> None:
        pytest.importorskip("dp_accounting")
        page = Browser(chart)
        run = follow_each_round(chart, namespace, privacy="central:clip=1,noise=1", rounds=2)
        assert page.column("cost", name="epsilon") == pytest.approx(run.history["epsilon"])

    def test_steps_are_unknown_once_an_option_has_changed(
        self, chart: RunChart, namespace: dict[str, Any]
    ) -> None:
        page = Browser(chart)
        run = follow_each_round(chart, namespace, rounds=2)
        run.change(lr=0.01)
        run.more(1).wait()
        assert list(np.isnan(page.column("cost", name="gradient steps"))) == [False, False, True]

    def test_a_change_and_a_goal_are_told(self, chart: RunChart, namespace: dict[str, Any]) -> None:
        page = Browser(chart)
        run = follow_each_round(chart, namespace, until="loss <= -2")
        run.change(lr=0.01)
        run.more(1).wait()
        assert page.head["changes"] == [(6, "lr 0.01")]
        assert page.head["until"] == [("loss", "<=", -2.0)]
        assert page.head["planned"] == 6

    @pytest.mark.parametrize("value", [1e300, -1e300, float("inf"), float("nan")])
    def test_numbers_that_fit_no_axis_do_no_harm(
        self, chart: RunChart, namespace: dict[str, Any], value: float
    ) -> None:
        run = trained(namespace)
        run.federation.history[1].metrics["loss"] = value
        page = Browser(chart)
        chart.follow(run)
        assert not np.isfinite(page.column("fused")[1])
        assert np.isfinite(page.column("fused")[2])

    @pytest.mark.parametrize("num_parties", [3, 12])
    def test_names_that_no_text_can_hold_are_sent_visibly(
        self, chart: RunChart, namespace: dict[str, Any], num_parties: int
    ) -> None:
        page = Browser(chart)
        names = ["\u202e", "a\nb", *(f"clinic {i}" for i in range(num_parties - 2))]
        namespace["rows"] = dict.fromkeys(names, namespace["rows"])
        chart.follow(trained(namespace, rounds=1))
        head = {key: value for key, value in page.head.items() if key != "runs"}
        assert json.dumps(head, ensure_ascii=False).encode()
        assert page.head["parties"][:2] == ["\\u202e", "a b"]


class TestPages:
    def test_a_page_that_opens_late_gets_all_rounds(
        self, chart: RunChart, namespace: dict[str, Any]
    ) -> None:
        page = Browser(chart, is_late=True)
        follow_each_round(chart, namespace)
        assert len(page.rows) == 0
        page.open()
        assert list(page.column("round")) == [1, 2, 3, 4, 5]

    def test_a_run_that_has_ended_is_sent_whole(
        self, chart: RunChart, namespace: dict[str, Any]
    ) -> None:
        page = Browser(chart)
        run = fusion_nb.Run(RunSpec(data="rows", rounds=3, lr=0.1), namespace)
        chart.follow(run)
        run.start().wait()
        chart.send_all()
        assert list(page.column("round")) == [1, 2, 3]

    def test_a_page_that_can_not_ask_gets_all_rounds_after_a_while(
        self, chart: RunChart, namespace: dict[str, Any], now: list[float]
    ) -> None:
        page = Browser(chart, is_late=True)
        page.say = lambda content: None  # the kernel is busy, and hears no widget
        follow_each_round(chart, namespace)
        page.state["rows"] = b""  # what was sent is lost
        page.open()
        now[0] += 1
        chart.send_new()
        assert list(page.column("round")) == [1, 2, 3, 4, 5]

    def test_a_page_that_answers_is_sent_nothing_twice(
        self, chart: RunChart, namespace: dict[str, Any], now: list[float]
    ) -> None:
        page = Browser(chart)
        follow_each_round(chart, namespace)
        sent: list[Any] = []
        chart.send_state = sent.append
        now[0] += 1000
        chart.send_new()
        assert sent == []
        assert RunChart.was_answered
        assert len(page.rows) == 5

    def test_a_second_page_gets_all_rounds_from_the_state(
        self, chart: RunChart, namespace: dict[str, Any]
    ) -> None:
        follow_each_round(chart, namespace)
        assert list(Browser(chart).column("round")) == [1, 2, 3, 4, 5]

    def test_a_lost_message_is_asked_for(self, chart: RunChart, namespace: dict[str, Any]) -> None:
        page = Browser(chart)
        run = follow_each_round(chart, namespace)
        hear, chart.send = chart.send, lambda *args: None
        run.more(1).wait()
        chart.send = hear
        run.more(1).wait()
        assert list(page.column("round")) == [1, 2, 3, 4, 5, 6, 7]

    def test_another_run_begins_anew(self, chart: RunChart, namespace: dict[str, Any]) -> None:
        page = Browser(chart)
        follow_each_round(chart, namespace)
        chart.follow(trained(namespace, parties=2, rounds=2))
        assert list(page.column("round")) == [1, 2]
        assert page.head["parties"] == ["party 1", "party 2"]


class TestOtherRuns:
    def test_runs_are_compared_by_rounds_and_bytes(
        self, chart: RunChart, namespace: dict[str, Any]
    ) -> None:
        page = Browser(chart)
        runs = {"a": trained(namespace), "b": trained(namespace, rounds=5)}
        histories = {name: run.history for name, run in runs.items()}
        chart.compare(histories, ("loss", "accuracy"))
        for found, history in zip(page.head["runs"], histories.values(), strict=True):
            assert list(np.frombuffer(found["rounds"], "f4")) == [each.round for each in history]
            sent = np.array(history.bytes_sent()) / 1e6
            assert np.frombuffer(found["costs"]["MB sent"], "f4") == pytest.approx(sent, rel=1e-6)
            values = np.frombuffer(found["values"][1], "f4")
            assert values == pytest.approx(history["accuracy"], rel=1e-6)

    def test_of_a_long_run_some_rounds_are_sent_the_last_among_them(
        self, chart: RunChart, namespace: dict[str, Any]
    ) -> None:
        page = Browser(chart)
        long = trained(namespace, rounds=1).history * 9001
        chart.compare({"long": fusion_nb.core.history.History(long)}, ("loss",))
        assert 1000 < len(page.head["runs"][0]["rounds"]) / 4 <= 2001

    def test_earlier_runs_of_the_same_metrics_are_beside_it(
        self, namespace: dict[str, Any]
    ) -> None:
        session.RUNS["before"] = trained(namespace)
        live = LiveChart()
        page = Browser(live.chart)
        live.follow(trained(namespace))
        assert [run["name"] for run in page.head["runs"]] == ["before"]
        live.close()


class TestPictures:
    def test_a_page_without_the_widget_gets_pictures(
        self, namespace: dict[str, Any], now: list[float]
    ) -> None:
        live = LiveChart(lambda: now[0])
        live.follow(trained(namespace))
        live.draw()
        assert live.picture == ""
        now[0] += 60
        live.draw()
        assert live.picture.startswith('<img alt="Loss from')
        live.close()

    def test_a_page_with_the_widget_gets_none(
        self, namespace: dict[str, Any], now: list[float]
    ) -> None:
        live = LiveChart(lambda: now[0])
        Browser(live.chart)
        live.follow(trained(namespace))
        now[0] += 60
        live.draw()
        assert live.picture == ""
        live.close()
