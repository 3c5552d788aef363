"""Experiments from cells: seeds, sweeps, the commands that steer them, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fusion_nb.runs.experiments import calls
from fusion_nb.runs.experiments.experiment import Experiment

#: A cell's body that defines a small model for rows of five numbers.
BODY = "from torch import nn\nmodel = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))\n"


@pytest.fixture(autouse=True)
def _no_experiments() -> Iterator[None]:
    calls.EXPERIMENTS.clear()
    yield
    calls.EXPERIMENTS.clear()


@pytest.fixture
def shell(ip: Any, rows: Any) -> Any:
    """A shell that has rows."""
    ip.ns["rows"] = rows
    return ip


def test_seeds_make_an_experiment_of_the_cell(shell: Any) -> None:
    seen = shell.run(f"%%fusion --data rows --seeds 0-2 --rounds 2 --lr 0.1 --name rep\n{BODY}")
    made = shell.ns["rep"]
    assert isinstance(made, Experiment)
    assert "3 seeds vary split, cohort, batches and weights" in str(seen)
    assert len({trial.facts.initial_sha256 for trial in made.runs if trial.facts}) == 3
    shell.run(f"%%fusion --data rows --seed 2 --rounds 2 --lr 0.1 --name alone\n{BODY}")
    assert made.runs[2].history["loss"] == shell.ns["alone"].history["loss"]


def test_the_body_is_shown_once_and_held_weights_are_its_own(shell: Any) -> None:
    body = f"print('built')\n{BODY}"
    seen = shell.run(f"%%fusion --data rows --seeds 0-2 --hold weights --rounds 1\n{body}")
    assert str(seen).count("built") == 1
    digests = {t.facts.initial_sha256 for t in shell.ns["experiment"].runs}
    assert len(digests) == 1


def test_a_sweep_reads_lists_with_blanks(shell: Any) -> None:
    shell.run(BODY)
    shell.run(
        "%fusion sweep --data rows --fusion fedavg,fedprox:mu=[0.1, 1] --lr [0.01, 0.1] --rounds 1"
    )
    made = shell.ns["experiment"]
    assert len(made.runs) == 6
    assert {t.settings["fusion"] for t in made.runs} == {"fedavg", "fedprox:mu=0.1", "fedprox:mu=1"}


def test_a_file_with_seeds_and_lists_is_a_sweep(shell: Any) -> None:
    shell.run(BODY)
    shell.run("%fusion sweep --data rows --lr [0.01,0.1] --seeds 0-1 --rounds 1 --name a")
    Path("sweep.yaml").write_text(shell.ns["a"].spec.to_yaml())
    shell.run("%fusion sweep --config sweep.yaml --name b")
    losses = [[t.history["loss"] for t in shell.ns[name].runs] for name in "ab"]
    assert losses[0] == losses[1]


def test_the_cell_of_an_experiment_repeats_it(shell: Any) -> None:
    shell.run(f"%%fusion --data rows --seeds 0-1 --rounds 1 --lr 0.1 --name a\n{BODY}")
    cell = shell.ns["a"].spec.to_cell()
    shell.run(cell.replace("%%fusion", "%%fusion --name b", 1))
    assert shell.ns["b"].runs[1].history["loss"] == shell.ns["a"].runs[1].history["loss"]


def test_commands_find_experiments(shell: Any) -> None:
    shell.run(BODY)
    shell.run("%fusion sweep --data rows --lr [0.01,0.1] --rounds 1 --name a")
    assert "a: finished, 2 runs" in str(shell.run("%fusion status a"))
    assert "a: finished, 2 runs" in str(shell.run("%fusion runs"))
    assert "setting" in str(shell.run("%fusion compare a"))
    assert "nothing to pause" in str(shell.run("%fusion pause a"))


@pytest.mark.parametrize("command", ["more a --rounds 2", "export a folder", "audit a"])
def test_commands_of_one_run_say_that_it_is_an_experiment(shell: Any, command: str) -> None:
    shell.run(BODY)
    shell.run("%fusion sweep --data rows --lr [0.01,0.1] --rounds 1 --name a --quiet")
    seen = str(shell.run(f"%fusion {command}"))
    assert "a is an experiment, and this is for one run" in seen
    assert "a.best" in seen


def test_a_cell_shows_how_far_it_is_where_somebody_looks_on(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fusion_nb.notebook import experimenting

    monkeypatch.setattr(experimenting, "draws_widgets", lambda: True)
    shell.run(BODY)
    seen = shell.run("%fusion sweep --data rows --lr [0.01,0.1] --rounds 2 --name a")
    shown = list(map(str, seen.outputs))
    assert any("widget-view" in each for each in shown)
    assert ["a: finished, 2 runs" in each for each in shown].count(True) == 1


def test_the_view_says_how_far_it_is(shell: Any) -> None:
    from fusion_nb.notebook.live import Throttle
    from fusion_nb.notebook.panel.experiments.view import ExperimentProgress

    shell.run(BODY)
    shell.run("%fusion sweep --data rows --lr [0.01,0.1] --rounds 2 --name a")
    made, said = shell.ns["a"], []
    again = Experiment(made.spec, shell.ns, name="b")
    view = ExperimentProgress(lambda **_: Throttle(share=1, pause=0))
    view.follow(again)
    assert "b: ready, 2 runs" in view.status
    again.subscribe(lambda _: (view.update(), said.append(view.status)))
    again.start().wait()
    assert any("0 of 2 runs have ended; lr 0.01, seed 0: round 1 of 2" in each for each in said)
    assert "b: finished, 2 runs" in view.status
    assert "lr 0.1" in view.board
    view.close()


def test_other_cells_change_nothing_of_an_experiment_under_way(shell: Any) -> None:
    line = "sweep --data rows --lr [0.1,0.2] --seeds 0-1 --rounds 3 --name"
    shell.run(f"%%fusion {line} a\n{BODY}")
    shell.run(f"%%fusion {line} b --background\n{BODY}made = 1\n")
    shell.run("b.pause()\nmodel, rows = None, 5\ndel nn\nb.resume()")
    made = shell.ns["b"].wait()
    assert [trial.status for trial in made.runs] == ["finished"] * 4
    assert [t.history["loss"] for t in made.runs] == [t.history["loss"] for t in shell.ns["a"].runs]


def test_nothing_is_shown_of_a_quiet_one(shell: Any) -> None:
    shell.run(BODY)
    assert "a:" not in str(
        shell.run("%fusion sweep --data rows --lr [0.1,1] --rounds 1 --name a --quiet")
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sweep --data rows --lr [0.1,x]", "--lr x is not allowed"),
        ("sweep --data rows --fusion fedavg,nope", "no fusion is called 'nope'"),
        ("sweep --data rows --fusion krum --rounds 1", "needs 5 parties"),
        ("sweep --data rows --lr 0.1..1", "a grid needs values"),
        ("run --data rows --seeds 4-1", "--seeds 4-1 is not allowed"),
        ("run --data rows --seeds 0-1 --hold splot", "no part 'splot'"),
        ("run --data rows --lr [0.1,0.2] --seeds 0-1", "--lr [0.1,0.2] is not allowed"),
        ("run --data rows --workers 2", "takes no --workers"),
        ("sweep --data nope --lr [0.1,0.2]", "nope"),
        ("sweep --data rows --lr [0.1,0.2] --name rows", "holds tuple"),
    ],
)
def test_mistakes_are_told_in_one_line(shell: Any, line: str, says: str) -> None:
    shell.run(BODY)
    seen = str(shell.run(f"%fusion {line}"))
    assert says in seen
    assert "Traceback" not in seen
