"""A run on the service says that its rows were sent there, and does not say the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from serving import Server
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.errors import ServiceError
from fusion_nb.service.remote_run import RemoteRun

CODE = "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


class Unknown(nn.Sequential):
    """A class that the service does not have."""


@pytest.fixture(scope="module")
def there(server: Server) -> RemoteRun:
    """A finished run on the service."""
    run = RemoteRun(RunSpec(rounds=1, lr=0.1), {"model": network()}, url=server.url)
    return run.start().wait()


class TestRemoteRun:
    def test_summary_and_notes_say_that_rows_were_sent(
        self, server: Server, there: RemoteRun
    ) -> None:
        assert f"rows of data, to {server.address}" in there.summary()
        assert "no row of data" not in there.summary()
        note = f"sent to the service {server.address}, which has deleted them"
        assert any(note in line for line in there.notes)
        assert note in there.result().mimebundle()["text/html"]

    def test_the_card_says_so_too_and_its_cell_names_the_service(
        self, server: Server, there: RemoteRun, tmp_path: Path
    ) -> None:
        there.export(str(tmp_path / "fused"))
        card = json.loads((tmp_path / "fused" / "card.json").read_text())
        assert any("were sent to the service" in note for note in card["notes"])
        assert f"--service {server.address}" in card["cell"]
        text = (tmp_path / "fused" / "CARD.md").read_text()
        assert "were sent to the service" in text
        for path in (tmp_path / "fused").iterdir():
            assert server.key[1].encode() not in path.read_bytes()

    def test_before_anything_is_sent_nothing_is_said(self, server: Server) -> None:
        run = RemoteRun(RunSpec(rounds=1), {"model": network()}, url=server.url)
        assert not any("sent to the service" in note for note in run.notes)

    def test_a_model_that_is_refused_takes_no_rows_there(self, server: Server) -> None:
        run = RemoteRun(RunSpec(rounds=1), {"model": Unknown(*network())}, url=server.url)
        with pytest.raises(ServiceError):
            run.start().wait()
        assert not any("of 1 part" in note or "parties were" in note for note in run.notes)


def test_a_run_in_the_kernel_sends_no_row() -> None:
    run = Run(RunSpec(rounds=1, lr=0.1), {"model": network()}).start().wait()
    assert "no row of data" in run.summary()
    assert "--service" not in run.result().cell


class TestCell:
    def test_the_service_may_be_a_variable(self, server: Server, ip: Any) -> None:
        ip.ns["place"] = server.url
        seen = ip.run(f"%%fusion --rounds 1 --lr 0.1 --service place --name far\n{CODE}")
        assert seen.error is None
        assert isinstance(ip.ns["far"], RemoteRun)
        assert server.key[1] not in str(seen.outputs) + seen.text
        assert server.key[1] not in ip.ns["far"].result().cell

    def test_an_address_without_a_key_takes_that_of_the_environment(
        self, server: Server, ip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NETRC", str(tmp_path / "none"))
        line = f"%%fusion --rounds 1 --lr 0.1 --service {server.address}\n{CODE}"
        assert "id and its secret are needed" in str(ip.run(line).error)
        monkeypatch.setenv("FUSION_NB_SERVICE_KEY", ":".join(server.key))
        assert ip.run(line).error is None

    def test_a_name_that_is_no_variable_is_refused(self, ip: Any) -> None:
        seen = ip.run(f"%%fusion --rounds 1 --service nowhere\n{CODE}")
        assert "is no address of a service" in str(seen.error)
