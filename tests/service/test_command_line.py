"""The command line: `fusion-nb run`, `serve`, `keys` and `tutorials`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from serving import Server
from typer.testing import CliRunner

from fusion_nb import RunSpec, cli


class TestCommandLine:
    def run(self, *words: str) -> Any:
        return CliRunner().invoke(cli.app, [str(word) for word in words])

    def test_run_trains_the_spec_of_a_file(self, tmp_path: Path) -> None:
        code = "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
        (tmp_path / "spec.yaml").write_text(RunSpec(rounds=2, lr=0.1, code=code).to_yaml())
        done = self.run("run", tmp_path / "spec.yaml", "--export", tmp_path / "fused")
        assert done.exit_code == 0, done.output
        assert "round 2  train_loss" in done.output
        assert (tmp_path / "fused" / "model.pt").exists()
        again = self.run("run", tmp_path / "spec.yaml", "--export", tmp_path / "fused")
        assert again.exit_code == 2
        assert "round 1" not in again.output

    def test_run_reports_a_wrong_file_in_one_line(self, tmp_path: Path) -> None:
        assert "can't be read" in self.run("run", tmp_path / "spec.yaml").output
        (tmp_path / "spec.yaml").write_text("rounds: 0")
        done = self.run("run", tmp_path / "spec.yaml")
        assert (done.exit_code, "--rounds 0 is not allowed" in done.output) == (2, True)

    def test_a_file_of_a_call_from_python_is_told_what_to_make(self, tmp_path: Path) -> None:
        made = RunSpec(model="given_model", rounds=1)
        (tmp_path / "spec.yaml").write_text(made.to_yaml())
        done = self.run("run", tmp_path / "spec.yaml")
        assert (done.exit_code, "object of the call from Python" in done.output) == (2, True)
        assert "let the file's code make it: given_model = ..." in done.output
        code = (
            "from torch import nn\ngiven_model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
        )
        (tmp_path / "spec.yaml").write_text(made.model_copy(update={"code": code}).to_yaml())
        assert self.run("run", tmp_path / "spec.yaml").exit_code == 0

    def test_tutorials_are_copied_into_a_new_folder(self, tmp_path: Path) -> None:
        done = self.run("tutorials", tmp_path / "new")
        assert done.exit_code == 0, done.output
        assert (tmp_path / "new" / "01_quickstart.ipynb").exists()
        again = self.run("tutorials", tmp_path / "new")
        assert (again.exit_code, "is not an empty folder" in again.output) == (2, True)

    def test_keys_are_made_listed_and_revoked(self, tmp_path: Path) -> None:
        state = ("--state", tmp_path / "state")
        assert self.run("keys", "list", *state).exit_code == 2
        made = self.run("keys", "new", *state).output
        assert "made just now" in made
        client_id = made.partition("CLIENT_ID=")[2].split()[0]
        assert client_id in self.run("keys", "list", *state).output
        wrong = self.run("keys", "revoke", client_id[:-1], *state)
        assert (wrong.exit_code, f"did you mean '{client_id}'" in wrong.output) == (2, True)
        self.run("keys", "revoke", client_id, *state)
        assert self.run("keys", "list", *state).output == ""

    def test_without_the_extra_the_install_line_is_printed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("filelock", "fusion_nb.service.storage.keys", "fusion_nb.service.server"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, "filelock", None)
        (tmp_path / "state").mkdir()
        for words in (("serve",), ("keys", "list")):
            done = self.run(*words, "--state", tmp_path / "state")
            assert (done.exit_code, "pip install 'fusion_nb[service]'" in done.output) == (
                2,
                True,
            ), done.output

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--host", "0.0.0.0"), "--certfile and --keyfile"),
            (("--host", "0.0.0.0", "--certfile", "x"), "belong together"),
            (("--certfile", "x", "--keyfile", "y"), "can't be used"),
            (("--max-upload", "much"), "'much' is not a size"),
            (("--host", "no.such.host.", "--insecure"), "can't be listened on"),
            (("--state", "/proc/nothing"), "can't be used"),
        ],
    )
    def test_serve_reports_a_wrong_option_in_one_line(
        self, tmp_path: Path, words: tuple[str, ...], said: str
    ) -> None:
        given = words if "--state" in words else (*words, "--state", tmp_path / "state")
        done = self.run("serve", "--port", "0", *given)
        assert (done.exit_code, said in done.output) == (2, True), done.output

    def test_serve_reports_a_port_that_is_taken(self, server: Server, tmp_path: Path) -> None:
        port = server.address.rpartition(":")[2]
        done = self.run("serve", "--port", port, "--state", tmp_path / "state")
        assert "can't be listened on" in done.output
