"""The controls of the panel: one for every option, and what each can hold."""

from __future__ import annotations

from functools import partial
from typing import Any

import ipywidgets
import pytest
from panels import labelled, marked, page, press, run_to_the_end

import fusion_nb
from fusion_nb import Panel, RunSpec
from fusion_nb.core import registry
from fusion_nb.errors import OptionError
from fusion_nb.notebook.panel.controls import Choice

pytestmark = pytest.mark.usefixtures("no_runs")
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
    "lr_schedule": "step:every=2,factor=0.5",
    "optimizer": "sgd:momentum=0.9",
    "keep_optimizer": True,
    "loss": "my_loss",
    "class_weights": "balanced",
    "send": "trained",
    "fraction": 0.5,
    "sampling": "poisson:q=0.5",
    "roles": "clinic 5=evaluate",
    "quorum": 0.25,
    "dropout": 0.1,
    "straggler": "0.2:epochs=uniform",
    "adversary": "label_flip:num=2",
    "devices": "lognormal:sigma=0.7",
    "network": "4g:spread=0.5",
    "step_seconds": 0.25,
    "deadline": 60.0,
    "over_select": 1.5,
    "compress": "topk:share=0.05",
    "secure": "masks:bits=20",
    "privacy": "central:clip=1,noise=2",
    "report": "none",
    "personal": "ditto:lambda=0.5",
    "share": "best:groups=3",
    "ensemble": "stack:holdout=0.3",
    "baseline": "central,local",
    "tabular": "auto:impute=median",
    "metrics": "auc,f1:average=micro",
    "until": "accuracy >= 0.9",
    "patience": 4,
    "monitor": "loss",
    "evaluate_every": 2,
    "evaluate_rows": 20,
    "seed": 2**40,
    "seed_of": "split=3",
    "device": "cpu",
    "engine": "vectorized:workers=1",
    "precision": "bf16",
    "schedule": "0+10",
    "changes": "5:lr=0.01",
    "callbacks": "log_it",
    "contribution": "shapley",
    "unseen": 1,
    "log": "tensorboard:folder=tb",
    "min_parties": 2,
    "checkpoint": "saved:every=2",
}


def choice_of(kind: str) -> Choice:
    return Choice(kind, "", partial(registry.names, kind), kind=kind, blank="none")


class TestControls:
    def test_every_option_of_a_run_has_one(self) -> None:
        assert sorted(Panel(namespace={}).screen.controls) == sorted(FIELDS)
        assert sorted(OTHER) == sorted(FIELDS), "a new option needs a value here"

    @pytest.fixture(scope="class")
    def shared(self) -> Panel:
        """A panel for all options, each of which leaves it as it was."""
        return Panel(namespace={})

    @pytest.mark.parametrize("name", FIELDS)
    def test_each_holds_what_it_is_given(self, shared: Panel, name: str) -> None:
        try:
            shared.set(**{name: OTHER[name]})
            assert shared.spec == RunSpec(**{name: OTHER[name]})
        finally:
            shared.set(**{name: RunSpec.model_fields[name].default})
        assert shared.spec == RunSpec()

    @pytest.mark.parametrize(
        "kind",
        [
            "fusions",
            "splits",
            "adversaries",
            "compressions",
            "devices",
            "engines",
            "networks",
            "personal",
            "privacy",
            "secure",
            "sharing",
            "ensembles",
            "lr_schedules",
            "samplings",
        ],
    )
    def test_each_component_brings_its_options(self, kind: str) -> None:
        for name in registry.names(kind):
            choice = choice_of(kind)
            choice.head.value = name
            options = registry.options(kind, name)
            assert [control.label for _, control in choice.parts] == [o.name for o in options]
            assert (choice.inner is not None) == registry.is_open(kind, name)
            for option, control in choice.parts:
                if option.type in (int, float):
                    least = option.bounds.get("ge", option.bounds.get("gt", 0))
                    value = option.type(least + option.bounds.get("multiple_of", 1))
                    most = option.bounds.get("le", option.bounds.get("lt"))
                    if most is None or value < most:
                        control.set(str(value))
                elif option.type is str and option.required:
                    control.set("mine")
            again = choice_of(kind)
            again.set(choice.text)
            assert again.text == choice.text
            is_chain = kind == "fusions" or choice.inner is not None
            first = registry.chain(choice.text)[0] if is_chain else choice.text
            registry.bind(kind, first)

    def test_a_new_fusion_or_split_needs_no_code_here(self) -> None:
        @fusion_nb.fusion
        def blended(weights: Any, updates: Any, *, share: float = 0.5) -> Any:
            """Keep a share of the old weights."""

        panel = Panel(namespace={})
        labelled(panel, "fusion").value = "blended"
        labelled(panel, "share").value = 0.25
        assert panel.spec.fusion == "blended:share=0.25"

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
            ("rounds", 0, "rounds 0 is not allowed: give a whole number &gt;= 1"),
            ("fraction", 1.5, "give a number &gt; 0 and &lt;= 1"),
            ("learning rate", "fast", "learning rate fast is not allowed: give a number &gt; 0"),
            ("parties", "0", "give a whole number &gt;= 1"),
            ("stop when", "accuracy", "can&#39;t read &#39;accuracy&#39;"),
            ("baseline", "nobody", "give central,local"),
        ],
    )
    def test_a_wrong_value_is_marked_where_it_stands(
        self, label: str, value: Any, sentence: str
    ) -> None:
        panel = Panel(namespace={})
        labelled(panel, label).value = value
        (option,) = marked(panel)
        control = panel.screen.controls[option]
        assert control.label == label
        assert sentence in control.error.value
        assert 'role="alert"' in control.error.value
        with pytest.raises(OptionError):
            _ = panel.spec
        labelled(panel, label).value = type(value)(1) if not isinstance(value, str) else ""
        assert not control.is_marked

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
        dropout = labelled(panel, "dropout")
        assert dropout not in panel.screen.visible()
        press(panel, "More options")
        assert dropout in panel.screen.visible()
        press(panel, "Fewer options")
        assert dropout not in panel.screen.visible()
        panel.set(dropout=0.1)
        assert dropout in panel.screen.visible(), "an option that is set is visible"

    def test_all_have_a_label_and_all_buttons_a_text(self, panel: Panel) -> None:
        run_to_the_end(panel)
        labelled(panel, "fusion").value = "bucketing"
        labelled(panel, "split").value = "dirichlet"
        for widget in panel.screen.widgets():
            if isinstance(widget, ipywidgets.Button):
                assert widget.description
                assert not widget.icon
                assert widget.button_style == ""
            elif hasattr(widget, "value") and not isinstance(widget, ipywidgets.HTML):
                assert widget.description, widget
        assert 'role="status"' in page(panel)
