"""The panel without a browser: its controls, what they come to, what it shows, and what its buttons
do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ipywidgets
import numpy as np
import pytest
from panels import button, enabled, labelled, page, press, settle, through, until, widgets

import fusion_nb
from fusion_nb import Panel, RunSpec
from fusion_nb.core import registry
from fusion_nb.engines.progress import Progress
from fusion_nb.errors import ExportError, NameNotFoundError, OptionError, RunError
from fusion_nb.notebook.panel import subshells
from fusion_nb.notebook.panel.background import Worker
from fusion_nb.notebook.panel.controls import Choice
from fusion_nb.notebook.panel.run_view import Watch
from fusion_nb.runs.session import RUNS

FIELDS = [name for name in RunSpec.model_fields if name != "code"]
#: A value for each option that is not its default.
OTHER = {
    "model": "net.pt",
    "data": "mnist",
    "data_handler": "npz",
    "label": "y",
    "parties": 7,
    "split": "dirichlet:alpha=0.1",
    "holdout": 0.3,
    "fusion": "bucketing:s=3+krum:f=2",
    "rounds": 3,
    "epochs": 2,
    "local_steps": 5,
    "batch_size": 8,
    "lr": 0.125,
    "optimizer": "sgd:momentum=0.9",
    "keep_optimizer": True,
    "loss": "my_loss",
    "fraction": 0.5,
    "quorum": 0.25,
    "dropout": 0.1,
    "straggler": "0.2:epochs=uniform",
    "adversary": "label_flip:num=2",
    "personal": "ditto:lambda=0.5",
    "share": "best:groups=3",
    "ensemble": "stack:holdout=0.3",
    "baseline": "central,local",
    "until": "accuracy >= 0.9",
    "patience": 4,
    "monitor": "loss",
    "evaluate_every": 2,
    "evaluate_rows": 20,
    "seed": 2**40,
    "device": "cpu",
    "engine": "vectorized:workers=1",
    "precision": "bf16",
    "schedule": "0+10",
    "changes": "5:lr=0.01",
    "min_parties": 2,
}


@pytest.fixture(autouse=True)
def _no_runs() -> Iterator[None]:
    RUNS.clear()
    yield
    for run in RUNS.values():
        run.stop()
    RUNS.clear()


@pytest.fixture
def there(net: Callable[..., Any], rows: Any) -> dict[str, Any]:
    return {"model": net(), "rows": rows}


@pytest.fixture
def panel(there: dict[str, Any]) -> Panel:
    return Panel("model", "rows", namespace=there, rounds=3, lr=0.1)


class TestControls:
    def test_every_option_of_a_run_has_one(self) -> None:
        assert sorted(Panel(namespace={})._form.controls) == sorted(FIELDS)
        assert sorted(OTHER) == sorted(FIELDS), "a new option needs a value here"

    @pytest.mark.parametrize("name", FIELDS)
    def test_each_holds_what_it_is_given(self, name: str) -> None:
        panel = Panel(namespace={})
        panel.set(**{name: OTHER[name]})
        assert getattr(panel.spec, name) == OTHER[name]
        others = {n: getattr(panel.spec, n) for n in FIELDS if n != name}
        assert others == {n: getattr(RunSpec(), n) for n in others}
        panel.set(**{name: RunSpec.model_fields[name].default})
        assert panel.spec == RunSpec()

    @pytest.mark.parametrize(
        "kind", ["fusions", "splits", "adversaries", "personal", "sharing", "ensembles"]
    )
    def test_each_component_brings_its_options(self, kind: str) -> None:
        for name in registry.names(kind):
            choice = Choice(
                kind, "", lambda kind=kind: registry.names(kind), kind=kind, blank="none"
            )
            choice.head.value = name
            options = registry.options(kind, name)
            shown = [w.children[0].description for w in choice._parts.children]
            assert shown[: len(options)] == [option.name for option in options]
            assert shown[len(options) :] == (["with"] if registry.is_open(kind, name) else [])
            for option, control in choice._options:
                if option.type in (int, float):
                    least = option.bounds.get("ge", option.bounds.get("gt", 0))
                    value = option.type(least + 1)
                    most = option.bounds.get("le", option.bounds.get("lt"))
                    if most is None or value < most:
                        control.set(str(value))
                elif option.type is str and option.required:
                    control.set("mine")
            again = Choice(
                kind, "", lambda kind=kind: registry.names(kind), kind=kind, blank="none"
            )
            again.set(choice.text)
            assert again.text == choice.text
            first = registry.chain(choice.text)[0] if kind == "fusions" else choice.text
            registry.bind(kind, first)

    def test_a_new_fusion_or_split_needs_no_code_here(self) -> None:
        @fusion_nb.fusion
        def blended(weights: Any, updates: Any, *, share: float = 0.5) -> Any:
            """Keep a share of the old weights."""

        try:
            panel = Panel(namespace={})
            labelled(panel, "fusion").value = "blended"
            labelled(panel, "share").value = 0.25
            assert panel.spec.fusion == "blended:share=0.25"
        finally:
            del registry._registered["fusions"]["blended"]

    def test_options_come_and_go_with_the_choice(self) -> None:
        panel = Panel(namespace={})
        labelled(panel, "split").value = "dirichlet"
        labelled(panel, "alpha").value = 0.1
        assert panel.spec.split == "dirichlet:alpha=0.1"
        labelled(panel, "split").value = "iid"
        assert panel.spec.split == "iid"
        labelled(panel, "fusion").value = "bucketing"
        labelled(panel, "with").value = "krum"
        labelled(panel, "f").value = 2
        assert panel.spec.fusion == "bucketing+krum:f=2"

    @pytest.mark.parametrize(
        ("label", "value", "sentence"),
        [
            ("rounds", 0, "--rounds 0 is not allowed: give a whole number &gt;= 1"),
            ("fraction", 1.5, "give a number &gt; 0 and &lt;= 1"),
            ("learning rate", "fast", "--lr fast is not allowed: give a number &gt; 0"),
            ("parties", "0", "give a whole number &gt;= 1"),
            ("stop when", "accuracy", "can&#x27;t read &#x27;accuracy&#x27;"),
            ("baseline", "nobody", "give central,local"),
        ],
    )
    def test_a_wrong_value_is_marked_where_it_stands(
        self, label: str, value: Any, sentence: str
    ) -> None:
        panel = Panel(namespace={})
        labelled(panel, label).value = value
        marked = [control for control in panel._form.controls.values() if control.is_marked]
        assert [control.label for control in marked] == [label]
        assert sentence in marked[0].error.value
        assert 'role="alert"' in marked[0].error.value
        with pytest.raises(OptionError):
            _ = panel.spec
        labelled(panel, label).value = type(value)(1) if not isinstance(value, str) else ""
        assert not marked[0].is_marked

    def test_nothing_is_set_where_one_of_several_is_wrong(self) -> None:
        panel = Panel(namespace={}, rounds=4)
        for wrong in ({"epochs": 0}, {"speed": 1}, {"split": "dirichlet:beta=1"}):
            with pytest.raises(OptionError):
                panel.set(rounds=9, **wrong)
            assert panel.spec == RunSpec(rounds=4)

    def test_a_line_for_anything_else(self) -> None:
        panel = Panel(namespace={})
        labelled(panel, "optimizer").value = "\0"
        labelled(panel, "with options").value = "sgd:momentum=0.9"
        assert panel.spec.optimizer == "sgd:momentum=0.9"
        labelled(panel, "data").value = "\0"
        assert labelled(panel, "variable or file").layout is not None
        assert panel.spec.data == "digits", "what was chosen stands in the line, to be added to"

    def test_more_options_open_and_close(self, panel: Panel) -> None:
        rest = panel._form._rest
        assert rest.layout.display == "none"
        press(panel, "More options")
        assert rest.layout.display == "flex"
        press(panel, "Fewer options")
        assert rest.layout.display == "none"
        panel.set(dropout=0.1)
        assert rest.layout.display == "flex", "what is set is in sight"

    def test_all_have_a_label_and_all_buttons_a_text(self, panel: Panel) -> None:
        through(panel)
        labelled(panel, "fusion").value = "bucketing"
        labelled(panel, "split").value = "dirichlet"
        for widget in widgets(panel):
            if isinstance(widget, ipywidgets.Button):
                assert widget.description
                assert not widget.icon
                assert widget.button_style == ""
            elif hasattr(widget, "value") and not isinstance(widget, ipywidgets.HTML):
                assert widget.description, widget
        assert 'role="status"' in page(panel)


class TestWhatGoesTogether:
    def test_models_and_data_are_found_by_their_type(self, there: dict[str, Any]) -> None:
        there |= {"number": 3, "net2": there["model"], "_hidden": there["model"], "text": "no data"}
        panel = Panel(namespace=there)
        assert [value for _, value in labelled(panel, "model").options] == ["model", "net2", "\0"]
        offered = [value for _, value in labelled(panel, "data").options]
        assert offered[0] == "rows", "the user's own comes first"
        assert {"digits", "mnist"} <= set(offered)
        assert not {"number", "text", "npz", "20_newsgroup"} & set(offered)

    def test_the_only_model_is_taken_whatever_it_is_called(self, there: dict[str, Any]) -> None:
        panel = Panel(namespace={"net": there["model"]}, rounds=2)
        assert panel.spec == RunSpec(model="net", rounds=2)
        assert labelled(panel, "model").value == "net"

    def test_data_of_either_kind_is_offered_where_it_fits(self, there: dict[str, Any]) -> None:
        gensim = pytest.importorskip("gensim")
        pandas = pytest.importorskip("pandas")
        there |= {
            "d2v": gensim.models.Doc2Vec(vector_size=5),
            "iris": pandas.DataFrame({"width": [1.0, 2.0], "species": ["this one", "that one"]}),
            "clinics": [there["rows"], there["rows"]],
        }
        panel = Panel("model", namespace=there)
        assert [v for _, v in labelled(panel, "data").options if v in there] == [
            "rows",
            "iris",
            "clinics",
        ]
        labelled(panel, "model").value = "d2v"
        offered = [value for _, value in labelled(panel, "data").options]
        assert "iris" in offered
        assert "clinics" not in offered

    def test_refresh_finds_what_came_later(self, there: dict[str, Any]) -> None:
        namespace: dict[str, Any] = {}
        panel = Panel(namespace=namespace)
        assert panel.spec.model == "model"
        with pytest.raises(NameNotFoundError):
            through(panel)
        assert "there is no variable &#x27;model&#x27;" in panel._form.controls["model"].error.value
        namespace["mine"] = there["model"]
        press(panel, "Refresh variables")
        assert panel.spec.model == "mine", "the only one there is"
        namespace["model"] = there["model"]
        press(panel, "Refresh variables")
        assert panel.spec.model == "mine", "what is chosen stays"

    def test_what_a_model_cannot_do_is_left_out_and_said(self, there: dict[str, Any]) -> None:
        gensim = pytest.importorskip("gensim")
        there |= {
            "d2v": gensim.models.Doc2Vec(vector_size=5),
            "texts": ["one text", "another text"] * 9,
        }
        panel = Panel("model", namespace=there)
        fusion = panel._form.controls["fusion"]
        assert isinstance(fusion, Choice)
        assert "doc2vec" not in [value for _, value in fusion.head.options]
        left_out = panel._form._left_out
        assert "without the fusion doc2vec, since it can&#x27;t do summed_loss" in left_out.value
        assert "data are numbers, which is what a PyTorch model takes" in left_out.value
        assert labelled(panel, "fusion").options[0] == ("fedavg (default)", "")
        shown = {
            n for n, control in panel._form.controls.items() if control.box.layout.display != "none"
        }
        assert {"batch_size", "optimizer"} <= shown
        assert "min_parties" not in shown
        labelled(panel, "model").value = "d2v"
        offered = [value for _, value in fusion.head.options]
        assert {"doc2vec", "fedavg"} <= set(offered)
        assert not {"fedprox", "scaffold"} & set(offered)
        assert "fedprox" in left_out.value
        assert labelled(panel, "fusion").options[0] == ("doc2vec (default)", "")
        shown = {
            n for n, control in panel._form.controls.items() if control.box.layout.display != "none"
        }
        assert not {"batch_size", "optimizer", "loss"} & shown
        assert "min_parties" in shown
        data = [value for _, value in labelled(panel, "data").options]
        assert {"texts", "20_newsgroup", "wikipedia"} <= set(data)
        assert "rows" not in data
        panel.set(model="d2v", data="texts", batch_size=8)
        assert panel.spec.batch_size == RunSpec().batch_size, (
            "an option that it does not have is not sent"
        )

    def test_one_that_is_not_offered_can_be_loaded_and_is_refused_in_words(
        self, panel: Panel
    ) -> None:
        panel.set(fusion="doc2vec")
        with pytest.raises(OptionError, match="summed_loss"):
            through(panel)
        assert panel._form.controls["fusion"].is_marked
        assert panel.status == "idle"

    @pytest.mark.parametrize(
        ("options", "marked"),
        [
            ({"parties": 500}, "parties"),
            ({"data": "nothing"}, "data"),
            ({"model": "nothing"}, "model"),
            ({"model": "nothing.pt"}, "model"),
            ({"data": "digits"}, "model"),
            ({"until": "speed > 1"}, "until"),
            ({"monitor": "speed"}, "monitor"),
            ({"optimizer": "nothing"}, "optimizer"),
            ({"split": "by_key:key=nobody"}, "split"),
        ],
    )
    def test_start_marks_what_is_missing(
        self, panel: Panel, options: dict[str, Any], marked: str
    ) -> None:
        panel.set(**options)
        press(panel, "Start")
        settle(panel)
        assert [n for n, control in panel._form.controls.items() if control.is_marked] == [marked]
        assert 'role="alert"' in panel._view._said.value
        assert panel.status == "idle"
        assert panel.run is None
        assert enabled(panel) == {"Start"}


class TestLookingFirst:
    def test_the_split_and_the_cost(self, panel: Panel) -> None:
        press(panel, "Preview")
        panel.wait()
        shown = panel._view.looking._found.value
        assert "rows to train on in" in shown
        assert "each party sends" in shown
        assert '<img alt="4 parties' in shown
        assert panel.run is None
        found = panel.preview()
        assert found.cost.steps

    def test_what_does_not_fit_is_said(self, panel: Panel) -> None:
        panel.set(parties=999)
        press(panel, "Preview")
        settle(panel)
        assert "only 240 rows" in panel._view._said.value
        assert panel._form.controls["parties"].is_marked


class TestLaunching:
    def test_start_returns_at_once_and_binds_the_run(
        self, panel: Panel, there: dict[str, Any]
    ) -> None:
        press(panel, "Start")
        assert panel.status in ("preparing", "running", "finished")
        panel.wait()
        assert panel.status == "finished"
        assert there["run"] is panel.run
        assert RUNS["run"] is panel.run
        assert "bound to the variable run" in page(panel)
        assert "run: finished, round 3 of 3, loss" in page(panel)
        press(panel, "Start")
        panel.wait()
        assert there["run_2"] is panel.run
        assert there["run"].history["loss"] == there["run_2"].history["loss"]

    def test_it_shows_what_the_run_does(self, panel: Panel) -> None:
        panel.set(rounds=10**6)
        panel.start()
        until(lambda: panel.run is not None and len(panel.run.records) > 3)
        until(lambda: "about" in page(panel))
        until(lambda: "parties answered" in page(panel))
        until(lambda: '<img alt="Loss from' in panel._view.watch._chart.value)
        assert all(f">party {i}</th>" in page(panel) for i in range(1, 5))
        assert "0.1 MB" not in page(panel)
        assert enabled(panel) == {"Pause", "Stop", "More rounds"}
        panel.stop()
        panel.wait()
        assert panel.status == "stopped"

    def test_the_place_of_chart_and_table_is_taken_from_the_start(
        self, there: dict[str, Any]
    ) -> None:
        watch = Watch()
        watch.follow(fusion_nb.Run(RunSpec(data="rows"), there))
        assert '<img alt="No round is whole yet"' in watch._chart.value
        assert watch._table.value.count(">party ") == 4

    def test_objects_are_taken_too(self, there: dict[str, Any]) -> None:
        panel = Panel(there["model"], there["rows"], namespace=there, rounds=1)
        assert (panel.spec.model, panel.spec.data) == ("model", "rows")
        panel = through(Panel(there["model"], there["rows"], namespace={}, rounds=1))
        assert (panel.spec.model, panel.spec.data) == ("given_model", "given_data")
        assert panel.status == "finished"

    def test_the_same_as_a_cell(self, panel: Panel, there: dict[str, Any]) -> None:
        panel.set(split="dirichlet:alpha=0.3", seed=5)
        through(panel)
        run = fusion_nb.Run(panel.spec, there).start().wait()
        assert panel.run is not None
        assert run.history["loss"] == panel.run.history["loss"]


class TestSteering:
    def test_each_button_in_each_state(self, panel: Panel) -> None:
        assert panel.status == "idle"
        assert enabled(panel) == {"Start"}
        panel.set(rounds=10**6)
        press(panel, "Start")
        until(lambda: panel.status == "running")
        until(lambda: enabled(panel) == {"Pause", "Stop", "More rounds"})
        press(panel, "Pause")
        assert panel.status == "paused"
        assert enabled(panel) == {"Resume", "Step one round", "Stop", "More rounds"}
        rounds = len(panel.run.records)
        press(panel, "Step one round")
        until(lambda: len(panel.run.records) > rounds and "Resume" in enabled(panel))
        assert len(panel.run.records) == rounds + 1
        press(panel, "Resume")
        until(lambda: len(panel.run.records) > rounds + 2)
        press(panel, "Stop")
        until(lambda: panel.status == "stopped")
        until(lambda: enabled(panel) == {"Start", "Step one round", "More rounds"})
        kept = len(panel.run.records)
        labelled(panel, "rounds to add").value = 2
        press(panel, "More rounds")
        panel.wait()
        assert len(panel.run.records) == kept + 2
        assert panel.status == "finished"

    def test_more_rounds_for_one_that_is_going(self, panel: Panel) -> None:
        panel.set(rounds=10**6)
        panel.start()
        until(lambda: "More rounds" in enabled(panel))
        panel.more(7)
        until(lambda: panel.run.planned == 10**6 + 7)
        panel.stop()
        panel.wait()

    def test_a_change_is_marked_and_kept(self, panel: Panel) -> None:
        through(panel)
        # The second of these labels: the first is that of the configuration.
        changing = panel._view.changing
        changing.controls["lr"]._widget.value = "0.05"
        changing.controls["fusion"].head.value = "fedprox"
        press(panel, "Change from the next round on")
        settle(panel)
        assert "from the next round on: lr 0.05, fusion fedprox" in page(panel)
        assert changing.controls["lr"].text == ""
        panel.more(1)
        panel.wait()
        assert panel.run.history[-1].changes == {"lr": 0.05, "fusion": "fedprox"}
        assert "--changes" in panel.run.spec.to_cell()

    @pytest.mark.parametrize(
        ("given", "says"), [({}, "nothing was given"), ({"lr": -1}, "give a number &gt; 0")]
    )
    def test_a_change_that_is_none_is_refused(
        self, panel: Panel, given: dict[str, Any], says: str
    ) -> None:
        through(panel)
        for name, value in given.items():
            panel._view.changing.controls[name]._widget.value = str(value)
        press(panel, "Change from the next round on")
        settle(panel)
        assert says in panel._view._said.value

    def test_without_a_run_there_is_nothing_to_steer(self, panel: Panel) -> None:
        for action in (panel.pause, panel.resume, panel.step, panel.more, panel.export):
            with pytest.raises(RunError, match="no run yet"):
                action()
        panel.stop()
        panel.wait()
        assert panel.status == "idle"


class TestComparing:
    def test_ticked_runs_are_drawn_over_each_other(self, panel: Panel) -> None:
        through(panel)
        panel.set(lr=0.01)
        through(panel)
        comparing = panel._view.comparing
        comparing.refresh()
        assert [tick.description.partition(":")[0] for tick in comparing._list.children] == [
            "run",
            "run_2",
        ]
        for tick in comparing._list.children:
            tick.value = True
        assert "run: Loss from" in comparing._chart.value
        assert "run_2: Loss from" in comparing._chart.value
        for tick in comparing._list.children:
            tick.value = False
        assert comparing._chart.value == ""

    def test_runs_of_cells_are_there_too_and_load_back(
        self, panel: Panel, there: dict[str, Any]
    ) -> None:
        options = {
            "rounds": 2,
            "split": "shards:per_party=1",
            "fusion": "fedprox:mu=0.5",
            "keep_optimizer": True,
        }
        fusion_nb.federate(there["model"], there["rows"], name="mine", **options)
        panel._view.comparing.refresh()
        there |= {"given_model": there["model"], "given_data": there["rows"]}
        press(panel, "Load its options")
        assert panel.spec == RUNS["mine"].spec
        assert "the options of mine are in the controls" in page(panel)

    def test_runs_of_other_metrics_are_not_drawn_together(
        self, panel: Panel, there: dict[str, Any], net: Any
    ) -> None:
        through(panel)
        x, y = there["rows"]
        fusion_nb.federate(net(5, 1), (x, y.astype(np.float32) + 0.5), rounds=1, name="measured")
        panel._view.comparing.refresh()
        for tick in panel._view.comparing._list.children:
            tick.value = True
        assert "compare runs of the same metrics" in panel._view.comparing._chart.value

    def test_load_without_runs(self, panel: Panel) -> None:
        press(panel, "Load its options")
        assert "no run" in panel._view._said.value


class TestTakingAway:
    def test_export_lists_the_files(self, panel: Panel, tmp_path: Path) -> None:
        through(panel)
        labelled(panel, "folder").value = str(tmp_path / "model")
        assert list(labelled(panel, "format").options) == panel.run.formats
        press(panel, "Export")
        panel.wait()
        assert {path.name for path in (tmp_path / "model").iterdir()} >= {
            "model.pt",
            "card.json",
            "CARD.md",
        }
        assert "model.pt" in panel._view.taking._files.value
        press(panel, "Export")
        with pytest.raises(ExportError):
            panel.wait()
        assert "exists" in panel._view._said.value
        labelled(panel, "replace an earlier export").value = True
        labelled(panel, "weights of").value = "best"
        labelled(panel, "format").value = "safetensors"
        press(panel, "Export")
        panel.wait()
        assert (tmp_path / "model" / "model.safetensors").is_file()

    def test_not_while_it_is_going(self, panel: Panel, tmp_path: Path) -> None:
        panel.set(rounds=10**6)
        panel.start()
        until(lambda: panel.run is not None and len(panel.run.records) > 1)
        assert button(panel, "Export").disabled
        with pytest.raises(RunError, match="pause or stop it first"):
            panel.export(str(tmp_path / "model"))
        panel.pause()
        assert not button(panel, "Export").disabled
        assert panel.export(str(tmp_path / "model"))

    def test_the_text_repeats_the_run(self, panel: Panel, there: dict[str, Any]) -> None:
        panel.set(split="dirichlet:alpha=0.2", fraction=0.5)
        through(panel)
        panel.more(2)
        panel.wait()
        panel.more(10**6)
        until(lambda: len(panel.run.records) > 11)
        panel.stop()
        panel.wait()
        cell, python, yaml = (
            labelled(panel, f"as {kind}").value for kind in ("a cell", "Python", "YAML")
        )
        assert f"--rounds {len(panel.run.records)} " in cell
        assert cell == panel.run.so_far.to_cell() == panel.run.result().cell
        assert RunSpec.from_yaml(yaml) == panel.run.so_far
        again = dict(there)
        exec(python, again)
        assert again["run"].history["loss"] == panel.run.history["loss"]


def panel_line(ip: Any) -> str:
    return str(ip.ns["run"].result().headline())


class TestInANotebook:
    def test_the_magic_makes_one(self, ip: Any, net: Any, rows: Any) -> None:
        ip.ns |= {"model": net(), "rows": rows}
        seen = ip.run("%fusion panel --data rows --rounds 2 --lr 0.1")
        assert seen.error is None
        panel = seen.result
        assert panel.spec == RunSpec(data="rows", rounds=2, lr=0.1)
        assert [sorted(output) for output in seen.outputs] == [["text/html", "text/plain"]], (
            "nobody draws widgets here"
        )
        assert "no run has ended" in seen.outputs[0]["text/plain"]
        assert ip.run("panel = _\npanel.start(); panel.wait()").error is None
        assert ip.ns["run"].status == "finished"

    def test_what_stays(self, ip: Any, net: Any, rows: Any) -> None:
        ip.ns |= {"model": net(), "rows": rows}
        shown = ip.run(
            "import fusion_nb\npanel = fusion_nb.Panel(data='rows', rounds=2)\npanel"
        ).outputs
        assert [output["text/plain"] for output in shown] == [
            "A panel of fusion_nb, in which no run has ended. Run the cell to use it."
        ]
        kept = ip.run("panel.start()\npanel.wait()").outputs
        assert {output["text/plain"] for output in kept} == {panel_line(ip)}, (
            "the panel is not shown a second time"
        )
        assert sorted(kept[-1]) == ["image/png", "text/html", "text/plain"]
        assert '<img alt="Loss from' in kept[-1]["text/html"]
        assert "%fusion run --data rows --rounds 2" in kept[-1]["text/html"]
        assert ">party 4</th>" in kept[-1]["text/html"]
        assert "<style" not in kept[-1]["text/html"]

    @pytest.mark.parametrize(
        "line", ["--rounds 0", "--speed 3", "--split dirichlet:beta=3", "--name mine"]
    )
    def test_the_magic_refuses_in_one_line(self, ip: Any, line: str) -> None:
        assert isinstance(ip.run(f"%fusion panel {line}").error, OptionError)

    def test_the_repr_says_where_it_stands(self, panel: Panel) -> None:
        assert repr(panel) == "<Panel: idle>"
        through(panel)
        assert repr(panel).startswith("<Panel: run: finished, 3 of 3 rounds")


class TestWatching:
    def test_failures_stand_behind_a_disclosure(self, there: dict[str, Any]) -> None:
        panel = through(Panel("model", "rows", namespace=there, rounds=5, dropout=0.5))
        failed = panel.run.failures
        table = panel._view.watch._table.value
        assert failed
        assert table.count("<details>") == min(len(failed), 20)
        assert sum(f">{n}</td></tr>" in table for n in range(1, 6))

    def test_many_parties_are_not_all_listed(self, there: dict[str, Any]) -> None:
        panel = through(Panel("model", "rows", namespace=there, rounds=1, parties=30))
        assert panel._view.watch._table.value.count('<th scope="row"') == 21
        assert "and 10 more: run.parties" in panel._view.watch._table.value

    def test_another_run_takes_the_place(self, there: dict[str, Any]) -> None:
        first, second = (
            fusion_nb.Run(RunSpec(data="rows", rounds=1), there, name=name) for name in ("a", "b")
        )
        watch = Watch()
        watch.follow(first)
        watch.follow(second)
        first.start().wait()
        assert "b: ready" in watch._status.value
        second.start().wait()
        assert "b: finished" in watch._status.value

    def test_a_run_that_ends_while_it_is_taken_over_is_shown_as_ended(
        self, there: dict[str, Any]
    ) -> None:
        watch, run = Watch(), fusion_nb.Run(RunSpec(data="rows", rounds=2), there)
        draw = watch._draw
        watch._draw = lambda run: (draw(run), run.start().wait() if run.status == "ready" else None)
        watch.follow(run)
        assert "run: finished" in watch._status.value

    def test_replies_name_the_round(self, there: dict[str, Any]) -> None:
        watch, run = Watch(), fusion_nb.Run(RunSpec(data="rows", rounds=10**6), there)
        run.start()
        watch.follow(run)
        watch._reply = lambda draw: draw()
        watch._hear_reply(Progress(7, 10, 3, ("party 2",)))
        run.stop()
        assert "parties answered" in watch._replies.value or watch._replies.value == ""


def test_a_worker_does_one_thing_at_a_time() -> None:
    import threading

    go, ended = threading.Event(), []
    worker = Worker(ended.append)
    worker.do("waiting", go.wait)
    with pytest.raises(RunError, match="the panel is waiting"):
        worker.do("more", lambda: None)
    assert not worker.wait(0.1)
    go.set()
    assert worker.wait()
    worker.do("failing", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        worker.wait()
    assert [type(error) for error in ended] == [type(None), ZeroDivisionError]


def test_clicks_are_answered_beside_a_running_cell_where_a_kernel_can() -> None:
    comm = SimpleNamespace(_reply_subshell_for=lambda data, default: "the thread that made it")
    subshells.answer_beside(SimpleNamespace(comm=comm))
    assert comm._reply_subshell_for({}, "where it came from") == "where it came from"
    for other in (
        SimpleNamespace(comm=None),
        SimpleNamespace(),
        SimpleNamespace(comm=SimpleNamespace()),
    ):
        subshells.answer_beside(other)
        assert not hasattr(getattr(other, "comm", None), "_reply_subshell_for")
