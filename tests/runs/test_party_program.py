"""The party's program without any network: what it answers, refuses, and writes into its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from fusion_nb import cli
from fusion_nb.core.files.tree_file import pack_tree, unpack_tree
from fusion_nb.core.types import EvaluateRequest, FederationInfo, RoundRequest, Update
from fusion_nb.data import at_party
from fusion_nb.data.at_party import PartyRows
from fusion_nb.engines.remote import wire
from fusion_nb.errors import DataError
from fusion_nb.models import lookup
from fusion_nb.runs.party.journal import Journal
from fusion_nb.runs.party.policy import Policy
from fusion_nb.runs.party.program import PartyProgram

SECRET = 77.125  # a number of one row, which must not leave
RUN = 5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)).astype("float32")
    path = tmp_path / "rows.npz"
    np.savez(path, x_train=x, y_train=np.arange(40) % 3)
    return path


class Talk:
    """An aggregator and a party, who speak by bytes."""

    def __init__(self, file: Path, policy: Policy | None = None) -> None:
        self.lines: list[str] = []
        self.log = file.parent / "party.log"
        rows = PartyRows.read("clinic 5", str(file))
        journal = Journal(self.log, self.lines.append)
        self.program = PartyProgram(rows, policy or Policy(), journal, lambda: None)

    def ask(self, tree: Any, run: int = RUN) -> Any:
        body = tree if isinstance(tree, bytes) else pack_tree(tree, "request")
        return unpack_tree(self.program.answer(body, run), "its reply")

    def agree(self, run: int = RUN) -> Any:
        reports = at_party.reports_of(self.ask({"ask": "describe"}, run)["facts"], "clinic 5")
        self.schema = at_party.agreed_schema(reports)[0]
        tree = {"ask": "agree", "schema": self.schema.to_json(), "holdout": 0.25, "seed": 0}
        return self.ask(tree, run)

    def set_up(self, **changed: Any) -> Any:
        self.agree()
        adapter = lookup.wrap(nn.Sequential(nn.Linear(5, 3)), "model")
        self.weights = adapter.get_weights()
        path = self.log.with_name("model.pt")
        adapter.save(path, self.weights, "whole")
        tree = {
            "ask": "setup",
            "framework": "torch",
            "suffix": ".pt",
            "settings": {"loss": ""},
            "lr": 0.1,
            "optimizer": "sgd",
            "model": np.frombuffer(path.read_bytes(), np.uint8),
        }
        return self.ask({**tree, **changed})

    def train(self, **options: Any) -> Any:
        request = RoundRequest(
            round=1,
            weights=self.weights,
            broadcast={},
            options={"epochs": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd", **options},
            seed=0,
            info=FederationInfo(1, tuple(self.weights), frozenset(self.weights)),
        )
        return self.ask({"ask": "request", **wire.request_to_tree(request, "clinic 5")})


class TestTraining:
    def test_a_party_trains_and_sends_weights_and_numbers_alone(self, file: Path) -> None:
        talk = Talk(file)
        assert talk.set_up() == {"kind": "PyTorch model"}
        reply: Any = wire.reply_of_tree(talk.train(), "clinic 5")
        assert isinstance(reply, Update)
        assert reply.num_examples == 30
        assert reply.weights.keys() == talk.weights.keys()
        assert not np.array_equal(reply.weights["0.weight"], talk.weights["0.weight"])

    def test_it_evaluates(self, file: Path) -> None:
        talk = Talk(file)
        talk.set_up()
        request = EvaluateRequest(talk.weights)
        found = talk.ask({"ask": "request", **wire.request_to_tree(request, "clinic 5")})
        assert found["fields"]["num_examples"] == 10
        assert 0 <= found["fields"]["metrics"]["accuracy"] <= 1

    def test_stand_ins_have_the_form_of_the_rows(self, file: Path) -> None:
        talk = Talk(file)
        assert talk.agree() == {"num_examples": 30, "num_test": 10}
        x, y = at_party.stand_in(talk.schema, 30)  # type: ignore[misc]
        assert (x.shape, x.dtype, {*y.tolist()}) == ((30, 5), np.float32, {0, 1, 2})
        assert not x.any()


class TestRefusals:
    @pytest.mark.parametrize(
        ("policy", "changed", "line"),
        [
            (Policy(models=("sklearn",)), {}, "trains sklearn only"),
            (Policy(), {"code": np.zeros(3, np.uint8)}, "no code of others"),
            (Policy(), {"suffix": ".keras"}, "a file .keras of torch"),
            (Policy(), {"model": np.zeros(3, np.uint8)}, "refused|can't|no "),
            (Policy(max_bytes=100), {}, "at most 100"),
        ],
    )
    def test_a_model_that_is_not_allowed(
        self, policy: Policy, changed: dict[str, Any], line: str, file: Path
    ) -> None:
        talk = Talk(file)
        talk.program = PartyProgram(
            PartyRows.read("clinic 5", str(file)),
            policy,
            Journal(talk.log, talk.lines.append),
            lambda: None,
        )
        if policy.max_bytes == 100:
            assert "at most 100" in talk.ask({"ask": "x" * 200})["refused"]
            return
        assert pytest.importorskip("re").search(line, talk.set_up(**changed)["refused"])

    @pytest.mark.parametrize(
        ("policy", "options", "line"),
        [
            (Policy(max_epochs=2), {"epochs": 3}, "3 local epochs; this party trains 2"),
            (Policy(requires_privacy=True), {}, "without differential privacy"),
        ],
    )
    def test_a_training_that_is_not_allowed(
        self, policy: Policy, options: dict[str, Any], line: str, file: Path
    ) -> None:
        talk = Talk(file, policy)
        talk.set_up()
        assert line in talk.train(**options)["refused"]
        assert any(line in each for each in talk.lines)

    @pytest.mark.parametrize("body", [b"", b"\x80\x04K\x01.", b"x" * 50])
    def test_what_is_no_request(self, body: bytes, file: Path) -> None:
        assert "can't be read" in Talk(file).ask(body)["refused"]

    @pytest.mark.parametrize("tree", [[], {}, {"ask": "rows"}, {"ask": 3}])
    def test_a_request_of_another_kind(self, tree: Any, file: Path) -> None:
        talk = Talk(file)
        talk.agree()
        assert talk.ask(tree)["refused"] == "a request of another kind"

    def test_a_training_before_any_schema(self, file: Path) -> None:
        assert (
            "no schema" in Talk(file).ask({"ask": "setup", "framework": "torch"}, run=0)["refused"]
        )

    def test_a_run_that_another_one_took_over(self, file: Path) -> None:
        talk = Talk(file)
        talk.set_up()
        talk.agree(run=6)
        assert "another run" in talk.train()["refused"]


class TestLog:
    def test_every_request_and_every_byte_that_left_is_a_line(self, file: Path) -> None:
        talk = Talk(file)
        talk.set_up()
        talk.train()
        lines = talk.log.read_text().splitlines()
        assert len([line for line in lines if "  IN " in line]) == 4
        assert len([line for line in lines if "  OUT " in line]) == 4
        assert "round 1: train (epochs 1, batch_size 8, lr 0.1, optimizer sgd)" in lines[-2]
        assert "0.weight float32 (3, 5)" in lines[-1]
        assert "sha256 " in lines[-1]

    def test_an_error_that_quotes_a_row_stays_here(self, tmp_path: Path) -> None:
        class Quotes(nn.Linear):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if torch.is_grad_enabled() and len(x) > 4:
                    raise ValueError(f"a row with {float(x.max())}")
                return super().forward(x)

        rows = np.full((40, 5), SECRET, dtype="float32")
        file = tmp_path / "rows.npz"
        np.savez(file, x_train=rows, y_train=np.arange(40) % 3)
        talk = Talk(file)
        talk.set_up()
        model = lookup.wrap(nn.Sequential(Quotes(5, 3)), "model")
        party = talk.program
        for name, value in vars(party).items():
            if type(value).__name__ == "TorchModel":
                model.check((rows[:4], np.arange(4) % 3), talk.schema, lr=0.1, optimizer="sgd")
                setattr(party, name, model)
        reply = talk.train()
        assert reply["reply"] == "Failure"
        assert str(SECRET) not in str(reply)
        assert str(SECRET) in talk.log.read_text()


class TestCommand:
    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(cli.app, ["party", *arguments])

    def test_a_dry_run_shows_what_would_leave(self, file: Path) -> None:
        done = self.run(
            "--superlink", "x:1", "--data", str(file), "--name", "clinic 5", "--dry-run",
            "--max-epochs", "2",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        assert "Nothing was sent" in done.output
        assert "num_rows: 40" in done.output
        assert "at most 2" in done.output

    @pytest.mark.parametrize(
        ("change", "line"),
        [
            ({"--data": "nowhere.npz"}, "there is no file nowhere.npz"),
            ({"--name": " "}, "is no name of a party"),
            ({"--name": "a\nb"}, "is no name of a party"),
            ({"--models": "tensorforce"}, "no kind of model"),
            ({"--max-request": "big"}, "is not a size"),
            ({}, "no certificate of the SuperLink"),
            ({"--certificates": "nowhere.pem"}, "there is no file nowhere.pem"),
        ],
    )
    def test_bad_input_is_one_line(self, change: dict[str, str], line: str, file: Path) -> None:
        pytest.importorskip("flwr")
        given = {"--superlink": "x:1", "--data": str(file), "--name": "clinic 5", **change}
        done = self.run(*(word for pair in given.items() for word in pair))
        assert done.exit_code == 2
        assert line in done.output

    def test_a_key_of_another_kind_is_one_line(self, file: Path) -> None:
        pytest.importorskip("flwr")
        given = ["--superlink", "x:1", "--data", str(file), "--name", "a", "--insecure"]
        done = self.run(*given, "--key", str(file))
        assert "is no private key" in done.output


@pytest.mark.parametrize("suffix", [".pkl", ".txt", ""])
def test_a_file_of_another_kind_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(b"\x80\x04N.")
    with pytest.raises(DataError, match="no file that rows are read from"):
        PartyRows.read("a", str(path))


def test_a_table_is_read_with_its_label(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("age,dose,ill\n1,2.5,yes\n2,3.5,no\n3,1.5,yes\n4,0.5,no\n")
    rows = PartyRows.read("a", str(path), "ill")
    schema, _ = at_party.agreed_schema(at_party.reports_of(rows.facts(), "a"))
    assert schema.labels.classes == ("no", "yes")
    assert schema.rows.columns == ("age", "dose")
