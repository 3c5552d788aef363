"""Runs on a Ray cluster of two nodes, which are processes of this machine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_runs import curve, finished, wait_until

from fusion_nb import RunSpec
from fusion_nb.errors import OptionError
from fusion_nb.runs.run import Run

ray = pytest.importorskip("ray", reason="needs the extra ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.integration,
    # Ray leaves files and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of two CPUs each; the second may be killed by a test, and is added again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = cluster_utils.Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "include_dashboard": False},
        )
        made.add_node(num_cpus=2)
    yield made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.shutdown()


def test_two_nodes_give_the_local_curve_and_stay(cluster: Any, rows: Any, net: Any) -> None:
    options = {"fusion": "scaffold", "baseline": "local", "parties": 6}
    engine = f"ray:address={cluster.address},workers=4"
    local = curve("local", rows, net(), **options)
    assert curve(engine, rows, net(), **options) == local
    run = finished(engine, rows, net(), **options)
    assert any("2 nodes (2 x 2 CPUs)" in note for note in run.notes), run.notes
    assert not ray.is_initialized(), "the kernel has left it"
    assert curve(engine, rows, net(), **options) == local


def test_a_second_address_is_refused_while_a_run_uses_the_first(
    cluster: Any, rows: Any, net: Any
) -> None:
    spec = RunSpec(
        data="data", engine=f"ray:address={cluster.address}", parties=2, epochs=10_000_000
    )
    first = Run(spec, {"model": net(), "data": rows}).start()
    wait_until(ray.is_initialized)
    other = RunSpec(data="data", engine="ray:address=local", parties=2)
    second = Run(other, {"model": net(), "data": rows}).start()
    with pytest.raises(OptionError, match="connected to another cluster"):
        second.wait()
    first.stop()
    assert first.status == "stopped"


@pytest.mark.parametrize("more", ["", ",workers=2,wait=0"])
def test_more_than_any_node_has_is_one_line(cluster: Any, rows: Any, net: Any, more: str) -> None:
    with pytest.raises(OptionError, match="no node of the cluster has 64 CPUs"):
        finished(f"ray:address={cluster.address},cpus=64{more}", rows, net(), rounds=1)
    assert not ray.is_initialized()


def test_a_cluster_that_is_taken_is_told_and_can_be_waited_for(
    cluster: Any, rows: Any, net: Any
) -> None:
    """Its own connection holds all CPUs, as that of another person would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(address=cluster.address, log_to_driver=False)

    class Guest:
        def is_here(self) -> bool:
            return True

    try:
        taken = [ray.remote(num_cpus=2)(Guest).remote() for _ in range(2)]
        ray.get([each.is_here.remote() for each in taken])
        with pytest.raises(OptionError, match="has 1 CPUs free for a worker") as told:
            finished("ray:wait=0", rows, net(), rounds=1)
        assert "2 CPUs; 2 CPUs, of which free: 0 CPUs; 0 CPUs" in told.value.hint
        spec = RunSpec(data="data", engine="ray:wait=100000", parties=2)
        run = Run(spec, {"model": net(), "data": rows}).start()
        assert any("wait up to 100000 s for room" in note for note in run.notes)
        run.stop()
        assert run.status == "stopped"
        run.more(1)
        for each in taken:
            ray.kill(each)
        assert len(run.wait().records) == 1
    finally:
        ray.shutdown()


def test_a_module_that_a_node_lacks_is_named(
    cluster: Any, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "only_in_the_kernel.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n"
        "    def __init__(self):\n        super().__init__(nn.Linear(5, 3))\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    from only_in_the_kernel import Net

    model = Net()
    monkeypatch.undo()  # a worker is told the folders of the kernel, and has them here
    with pytest.raises(OptionError, match="lacks the package 'only_in_the_kernel'") as caught:
        finished(f"ray:address={cluster.address},workers=2", rows, model, rounds=1)
    assert "install only_in_the_kernel on every node" in caught.value.hint


def test_a_node_that_dies_is_the_failure_of_its_parties(cluster: Any, rows: Any, net: Any) -> None:
    """Half of a CPU each, so that the head has room for the workers of the other node too."""
    spec = RunSpec(
        data="data",
        engine=f"ray:address={cluster.address},workers=4,cpus=0.5",
        parties=8,
        rounds=6,
        quorum=0.1,
        lr=0.1,
    )
    run = Run(spec, {"model": net(), "data": rows})
    (second,) = cluster.worker_nodes

    def kill_it(run: Run) -> None:
        if len(run.records) == 2 and run.status == "running":
            end()
            cluster.remove_node(second, allow_graceful=False)

    end = run.subscribe(kill_it)
    run.start().wait()
    assert len(run.records) == 6
    failures = [failure for record in run.records for failure in record.failures]
    assert 1 <= len(failures) <= 4
    assert all("its worker on the Ray cluster ended" in failure.error for failure in failures)
    assert not run.records[-1].failures, "new workers took their place"
