"""A running federation: parties are programs of their own, and none of them is trusted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_runs import seeded, wait_until
from federation import Federation, certificates, federation, rows_of
from torch import nn

import fusion_nb
from fusion_nb import RunSpec
from fusion_nb.errors import FusionError, RunError
from fusion_nb.runs.run import Run

pytest.importorskip("flwr")
pytestmark = pytest.mark.slow

NAMES = ["clinic 1", "clinic 2"]


def net() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)))


def started(made: Federation, **options: Any) -> Run:
    trust = f"certificates={made.tls[0]}" if made.tls else "insecure=true"
    given = {"parties": 2, "rounds": 3, "lr": 0.1, "batch_size": 8, **options}
    spec = RunSpec(engine=f"flower:superlink={made.address},{trust}", **given)
    return Run(spec, {"model": net()}).start()


def local(**options: Any) -> Run:
    data = {name: rows_of(i + 1) for i, name in enumerate(NAMES)}
    given = {"rounds": 3, "lr": 0.1, "batch_size": 8, "engine": "local", **options}
    return fusion_nb.federate(net(), data, **given)


def curve(run: Run) -> list[Any]:
    return [(r.metrics, {p: dict(m) for p, m in r.party_metrics.items()}) for r in run.records]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("two")) as made:
        for i, name in enumerate(NAMES):
            made.join(name, i + 1, "--max-epochs", "3")
        wait_until(lambda: all(made.joined(name) for name in NAMES))
        yield made


@pytest.mark.parametrize("fusion", ["fedavg", "scaffold", "fda:theta=0.01"])
def test_the_curve_is_the_local_one(two: Federation, fusion: str) -> None:
    run = started(two, fusion=fusion).wait()
    assert curve(run) == curve(local(fusion=fusion))


def test_no_row_is_in_the_kernel_and_the_log_has_every_message(two: Federation) -> None:
    run = started(two, rounds=1).wait()
    for party in run.federation.parties:
        assert not party.train[0].any()
    lines = two.log("clinic 1").read_text().splitlines()
    came = [line for line in lines if "  IN " in line]
    left = [line for line in lines if "  OUT " in line]
    assert len(came) == len(left)
    assert all("sha256" in line for line in left)


def test_what_a_party_does_not_allow_is_its_failure(two: Federation) -> None:
    with pytest.raises(FusionError, match="4 local epochs; this party trains 3"):
        started(two, epochs=4).wait()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"data": "mnist"}, "rows are at the nodes"),
        ({"split": "shards"}, "rows are at the nodes"),
        ({"baseline": "local"}, "rows are at the parties' nodes"),
        ({"adversary": "label_flip"}, "labels are at the parties' nodes"),
        ({"metrics": "auc"}, "rows are at the parties' nodes"),
    ],
)
def test_what_needs_rows_is_refused(two: Federation, options: dict[str, Any], line: str) -> None:
    with pytest.raises(FusionError, match=line):
        started(two, **options)


def test_a_model_of_a_cell_is_refused_unless_both_allow_code(two: Federation) -> None:
    class Mine(nn.Sequential):
        pass

    spec = RunSpec(engine=f"flower:superlink={two.address},insecure=true", parties=2, rounds=1)
    with pytest.raises(FusionError, match="can't be sent to parties as a file"):
        Run(spec, {"model": Mine(nn.Linear(5, 3))}).start().wait()
    sending = RunSpec(
        engine=f"flower:superlink={two.address},insecure=true,send_code=true", parties=2, rounds=1
    )
    with pytest.raises(FusionError, match="runs no code of others"):
        Run(sending, {"model": Mine(nn.Linear(5, 3))}).start().wait()


def test_a_run_that_was_stopped_goes_on_elsewhere(two: Federation, tmp_path: Path) -> None:
    folder = str(tmp_path / "kept")
    run = started(two, rounds=6, fusion="scaffold", checkpoint=folder)
    wait_until(lambda: len(run.records) == 2)
    run.stop().wait()
    assert run.status == "stopped"
    again = fusion_nb.resume(folder, model=net())
    assert curve(again) == curve(local(rounds=6, fusion="scaffold"))


class TestHostile:
    @pytest.fixture(scope="class")
    @classmethod
    def mixed(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Federation, Path]]:
        folder = tmp_path_factory.mktemp("mixed")
        mode = folder / "mode"
        mode.write_text("honest")
        os.environ["MODE_FILE"] = str(mode)
        with federation(folder) as made:
            made.join("clinic 1", 1)
            program = str(Path(__file__).with_name("hostile_party.py"))
            made.join("clinic 2", 2, program=program)
            wait_until(lambda: all(made.joined(name) for name in NAMES))
            yield made, mode

    @pytest.mark.parametrize(
        ("mode", "line"),
        [
            ("nan", "not finite"),
            ("shape", "has shape"),
            ("names", "named differently"),
            ("rows", "number of rows is -5"),
            ("pickle", "can't be read"),
            ("oversize", "bytes, and"),
        ],
    )
    def test_its_reply_is_a_failure_and_the_others_go_on(
        self, mixed: tuple[Federation, Path], mode: str, line: str
    ) -> None:
        made, file = mixed
        file.write_text(mode)
        run = started(made, rounds=2, quorum=0.5).wait()
        assert [[f.party for f in r.failures] for r in run.records] == [["clinic 2"]] * 2
        assert line in run.failures[0].error
        assert all(bool(torch.tensor(w).isfinite().all()) for w in run.weights.values())


def test_colliding_names_are_refused(tmp_path: Path) -> None:
    with federation(tmp_path) as made:
        made.join("clinic 5#1", 1)
        made.join("clinic 5#2", 2)
        wait_until(lambda: made.joined("clinic 5#1") and made.joined("clinic 5#2"))
        with pytest.raises(FusionError, match="2 nodes call themselves 'clinic 5'"):
            started(made)


def test_a_node_that_is_killed_and_comes_back_takes_part_again(tmp_path: Path) -> None:
    with federation(tmp_path) as made:
        for i, name in enumerate(NAMES):
            made.join(name, i + 1)
        wait_until(lambda: all(made.joined(name) for name in NAMES))
        run = started(made, rounds=40, quorum=0.5)
        wait_until(lambda: len(run.records) >= 1)
        made.kill("clinic 2")
        made.join("clinic 2", 2)

        def is_back() -> bool:
            failed = [bool(record.failures) for record in run.records]
            return True in failed and not failed[-1]

        wait_until(is_back)
        run.stop().wait()
        failures = {f.party for record in run.records for f in record.failures}
        assert failures == {"clinic 2"}


def test_a_superlink_that_is_killed_ends_the_run_which_can_be_resumed(tmp_path: Path) -> None:
    with federation(tmp_path / ".") as made:
        for i, name in enumerate(NAMES):
            made.join(name, i + 1)
        wait_until(lambda: all(made.joined(name) for name in NAMES))
        folder = str(tmp_path / "kept")
        run = started(made, rounds=30, checkpoint=folder)
        wait_until(lambda: len(run.records) >= 1)
        os.kill(made.superlink.pid, signal.SIGKILL)
        with pytest.raises(RunError, match="is gone"):
            run.wait()
        kept = len(run.records)
        made.superlink.close()
        made.start()
        again = fusion_nb.resume(folder, model=net(), background=True)
        wait_until(lambda: len(again.records) > kept)
        again.stop().wait()
        assert curve(again)[: kept + 1] == curve(local(rounds=30))[: kept + 1]


def test_tls_and_a_wrong_root(tmp_path: Path) -> None:
    tls = certificates(tmp_path / "right")
    wrong = certificates(tmp_path / "wrong")[0]
    with federation(tmp_path, *tls) as made:
        for i, name in enumerate(NAMES):
            made.join(name, i + 1)
        wait_until(lambda: all(made.joined(name) for name in NAMES))
        assert curve(started(made).wait()) == curve(local())
        spec = RunSpec(engine=f"flower:superlink={made.address},certificates={wrong}")
        with pytest.raises(RunError, match="can't be used"):
            Run(spec, {"model": net()})


def test_without_certificates_nothing_is_sent() -> None:
    spec = RunSpec(engine="flower:superlink=localhost:1")
    began = time.monotonic()
    with pytest.raises(FusionError, match="names no certificates"):
        Run(spec, {"model": net()})
    assert time.monotonic() >= began
