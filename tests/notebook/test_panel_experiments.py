"""The panel's tab of experiments: its fields, its buttons, and what it says of mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from panels import press, settle, until

from fusion_nb import Panel
from fusion_nb.errors import OptionError, RunError
from fusion_nb.notebook.panel.experiments.tab import ExperimentTab
from fusion_nb.runs.experiments import calls


@pytest.fixture(autouse=True)
def _no_experiments() -> Iterator[None]:
    calls.EXPERIMENTS.clear()
    yield
    for made in calls.EXPERIMENTS.values():
        made.stop()
    calls.EXPERIMENTS.clear()


@pytest.fixture
def tab(panel: Panel) -> ExperimentTab:
    return panel.experiment


def fill(tab: ExperimentTab, **fields: Any) -> None:
    """Type into fields by name; `vary` is a list of options with their values."""
    for (name, text), line in zip(fields.pop("vary", {}).items(), tab.form.varied, strict=False):
        line.option.set(name)
        line.values.set(text)
    for name, text in fields.items():
        (tab.form.fields.get(name) or tab.form.search[name]).set(str(text))


def finished(panel: Panel) -> Any:
    press(panel, "Start experiment")
    panel.wait()
    assert panel.experiment.made is not None, panel.screen.message
    panel.experiment.wait()
    until(lambda: panel.experiment.made.status == "finished")
    return panel.experiment.made


def test_settings_and_seeds_are_trained_and_ranked(panel: Panel, namespace: Any) -> None:
    tab = panel.experiment
    fill(tab, vary={"fusion": "fedavg,fedprox:mu=[0.1,1]", "lr": "0.01, 0.1"}, seeds="0-1")
    assert "3 of fusion, 2 of learning rate, 2 seeds: 12 runs" in tab.size
    fill(tab, name="sweep")
    made = finished(panel)
    assert namespace["sweep"] is made
    assert len(made.runs) == 12
    assert "sweep: finished, 12 runs (12 finished)" in tab.progress.status
    assert "fedprox:mu=0.1, lr 0.1" in tab.progress.board


def test_the_best_options_go_into_the_form(panel: Panel) -> None:
    fill(panel.experiment, vary={"lr": "0.0001,0.1"})
    made = finished(panel)
    assert made.best.settings["lr"] == 0.1
    panel.set(lr=0.5)
    press(panel, "Take the best's options")
    assert panel.spec.lr == 0.1
    assert "the options of lr 0.1, seed 0 are in the controls" in panel.screen.message


def test_the_texts_repeat_it(panel: Panel) -> None:
    fill(panel.experiment, vary={"lr": "0.01,0.1"}, seeds="0-1")
    made = finished(panel)
    texts = [w.value for w in panel.screen.widgets() if type(w).__name__ == "Textarea"]
    assert made.spec.to_cell() in texts
    assert made.spec.to_yaml() in texts


def test_a_search_tries_what_it_is_told(panel: Panel) -> None:
    pytest.importorskip("optuna")
    fill(panel.experiment, vary={"lr": "0.001..1"}, search="optuna", trials=3, metric="accuracy")
    assert "3 settings by optuna, 1 seed: 3 runs at most" in panel.experiment.size
    made = finished(panel)
    assert made.monitor == "accuracy"
    assert len({trial.settings["lr"] for trial in made.runs}) == 3


def test_a_further_option_has_a_line_of_its_own(panel: Panel) -> None:
    press(panel, "Vary another option")
    line = panel.experiment.form.varied[-1]
    line.option.set("batch_size")
    line.values.set("8,16")
    assert "2 of batch size" in panel.experiment.size


@pytest.mark.parametrize(
    ("fields", "marked", "says"),
    [
        ({"seeds": "4-1"}, "seeds", "seeds 4-1 is not allowed"),
        ({"seeds": "0-1", "hold": "splot"}, "hold", "no part &#39;splot&#39;"),
        ({"hold": "split"}, "hold", "give several seeds: seeds 0-4"),
        ({"vary": {"fusion": "", "lr": "0.1,x"}}, "lr", "learning rate x is not allowed"),
        ({"vary": {"fusion": "", "lr": "0.1..1"}}, "lr", "a grid needs values"),
        ({"vary": {"fusion": "fedavg,nope"}}, "fusion", "no fusion is called"),
        ({"search": "optuna"}, "search", "nothing to vary"),
        ({"workers": -1}, "workers", "workers -1 is not allowed"),
        ({"workers": "rai"}, "workers", "workers rai is not allowed"),
    ],
)
def test_a_mistake_stands_at_its_field(
    tab: ExperimentTab, fields: dict[str, Any], marked: str, says: str
) -> None:
    fill(tab, **fields)
    found = {**tab.form.fields, **tab.form.search}
    found |= {line.option.text: line.values for line in tab.form.varied}
    errors = {
        name: str(control.error.value) for name, control in found.items() if control.is_marked
    }
    assert list(errors) == [marked]
    assert says in errors[marked]
    assert "--" not in errors[marked]


def test_runs_can_go_to_a_ray_cluster(tab: ExperimentTab) -> None:
    pytest.importorskip("ray")
    fill(tab, seeds="0-1", workers="ray:workers=2")
    spec = tab.spec()
    assert (spec.workers, spec.cluster) == (2, "ray:workers=2")


def test_one_option_in_two_lines_is_refused(tab: ExperimentTab) -> None:
    fill(tab, vary={"lr": "0.1,0.2"})
    tab.form.varied[1].values.set("0.3,0.4")
    with pytest.raises(OptionError, match="has two lines"):
        tab.spec()


def test_a_stopped_one_goes_on(panel: Panel, tmp_path: Path) -> None:
    panel.set(rounds=40)
    fill(panel.experiment, seeds="0-2", checkpoint=tmp_path / "saved")
    press(panel, "Start experiment")
    panel.wait()
    until(lambda: panel.experiment.made.has_rounds)
    with pytest.raises(RunError, match="is running"):
        panel.start()
    press(panel, "Stop experiment")
    until(lambda: panel.experiment.made.status == "stopped")
    until(lambda: not panel.screen.buttons["Go on"].disabled)
    press(panel, "Go on")
    panel.wait()
    panel.experiment.wait()
    assert [len(trial.records) for trial in panel.experiment.made.runs] == [40, 40, 40]


def test_an_experiment_in_a_folder_goes_on(
    panel: Panel, namespace: dict[str, Any], tmp_path: Path
) -> None:
    fill(panel.experiment, seeds="0-1", checkpoint=tmp_path / "saved", name="first")
    finished(panel)
    another = Panel("model", "rows", namespace=namespace)
    fill(another.experiment, checkpoint=tmp_path / "saved")
    press(another, "Go on")
    another.wait()
    another.experiment.wait()
    assert "first: finished, 2 runs (2 finished)" in another.experiment.made.headline()


def test_nothing_to_go_on_with_is_said(panel: Panel) -> None:
    press(panel, "Go on")
    settle(panel)
    assert "there is no experiment to go on with" in panel.screen.message


def test_a_saved_notebook_keeps_its_result(panel: Panel) -> None:
    fill(panel.experiment, seeds="0-1")
    made = finished(panel)
    assert panel.experiment.progress.status
    assert "2 seeds vary" in str(made._repr_mimebundle_()["text/html"])
