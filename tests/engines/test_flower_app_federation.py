"""ClientApps at the nodes of a running federation: the curve is that of the same app in here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_runs import wait_until
from federation import Federation, federation

import fusion_nb
from fusion_nb import RunSpec
from fusion_nb.errors import FusionError
from fusion_nb.runs.run import Run

pytest.importorskip("flwr")
pytestmark = pytest.mark.slow

APPS = Path(__file__).parent / "flower_apps"
APP = "quickstart_torch:app"
NAMES = ["party 1", "party 2"]


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Any:
    import torch

    monkeypatch.syspath_prepend(str(APPS))
    from quickstart_torch import Net

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Net()


def join(made: Federation, name: str) -> None:
    place = f"partition-id={NAMES.index(name)} num-partitions={len(NAMES)}"
    made.join(name, NAMES.index(name) + 1, "--node-config", place, app=f"{APPS}/{APP}")


def started(made: Federation, net: Any, **options: Any) -> Run:
    given = {"parties": 2, "rounds": 3, **options}
    spec = RunSpec(engine=f"flower:superlink={made.address},insecure=true", **given)
    return Run(spec, {"model": net}).start()


def curve(run: Run) -> list[Any]:
    return [(r.metrics, {p: dict(m) for p, m in r.party_metrics.items()}) for r in run.records]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("two apps")) as made:
        for name in NAMES:
            join(made, name)
        wait_until(lambda: all(made.joined(name) for name in NAMES))
        yield made


@pytest.mark.parametrize(
    "options",
    [
        {"fusion": "fedavg"},
        {"fusion": "median", "epochs": 2, "lr": 0.05},
        {"fusion": "fedadam", "batch_size": 8},
        {"fusion": "fda:theta=0.01"},
        {"fusion": "iter_avg", "adversary": "sign_flip:num=1"},
    ],
)
def test_the_curve_is_that_of_the_app_in_the_kernel(
    two: Federation, net: Any, options: dict[str, Any]
) -> None:
    run = started(two, net, **options).wait()
    here = fusion_nb.federate(net, f"flower_app:{APP}", parties=2, rounds=3, **options)
    assert curve(run) == curve(here)
    assert [party.num_examples for party in run.federation.parties] == [96, 96]
    assert "the app flower_app:quickstart_torch:app" in two.log(NAMES[0]).read_text()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"data": "mnist"}, "rows are at the nodes"),
        ({"fusion": "scaffold"}, "steps of the parties' optimizers"),
        ({"fusion": "fedprox"}, "proximal term"),
        ({"baseline": "local"}, "trains by itself"),
    ],
)
def test_what_an_app_cannot_give_is_refused(
    two: Federation, net: Any, options: dict[str, Any], line: str
) -> None:
    with pytest.raises(FusionError, match=line):
        started(two, net, **options)


def test_a_model_that_the_app_does_not_expect_is_refused_before_training(two: Federation) -> None:
    from torch import nn

    with pytest.raises(FusionError, match="could not evaluate the first weights"):
        started(two, nn.Linear(2, 2))


def test_a_run_that_was_stopped_goes_on(two: Federation, net: Any, tmp_path: Path) -> None:
    folder = str(tmp_path / "kept")
    run = started(two, net, rounds=6, checkpoint=folder)
    wait_until(lambda: len(run.records) == 2)
    run.stop().wait()
    assert run.status == "stopped"
    again = fusion_nb.resume(folder, model=net)
    here = fusion_nb.federate(net, f"flower_app:{APP}", parties=2, rounds=6)
    assert curve(again) == curve(here)


def test_a_node_that_dies_is_a_failure_and_comes_back(tmp_path: Path, net: Any) -> None:
    with federation(tmp_path) as made:
        for name in NAMES:
            join(made, name)
        wait_until(lambda: all(made.joined(name) for name in NAMES))
        run = started(made, net, rounds=60, quorum=0.5)
        wait_until(lambda: len(run.records) >= 1)
        made.kill(NAMES[1])
        join(made, NAMES[1])

        def is_back() -> bool:
            failed = [bool(record.failures) for record in run.records]
            return True in failed and not failed[-1]

        wait_until(is_back)
        run.stop().wait()
        assert {f.party for record in run.records for f in record.failures} == {NAMES[1]}
