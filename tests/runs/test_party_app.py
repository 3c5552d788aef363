"""A party whose rows a ClientApp reads, without any network: what it answers and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fusion_nb import cli
from fusion_nb.core.files.tree_file import pack_tree, unpack_tree
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import FederationInfo, RoundRequest, Update
from fusion_nb.engines.flower.remote_app import read_app
from fusion_nb.engines.remote import wire
from fusion_nb.engines.remote.session import Described
from fusion_nb.errors import DataError, FusionError
from fusion_nb.runs.federated import apps
from fusion_nb.runs.party.app_program import AppProgram, PartyApp
from fusion_nb.runs.party.journal import Journal
from fusion_nb.runs.party.policy import Policy

pytest.importorskip("flwr")

APPS = Path(__file__).parents[1] / "engines" / "flower_apps"
TORCH, NUMPY = "flower_app:quickstart_torch:app", "flower_app:quickstart_numpy:app"
RUN = 5


@pytest.fixture(autouse=True)
def _in_the_folder_of_the_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(APPS))


class Talk:
    """An aggregator and a party with an app, who speak by bytes."""

    def __init__(self, place: str, node_config: str = "", policy: Policy | None = None) -> None:
        self.lines: list[str] = []
        app = PartyApp.read("clinic 5", place, node_config)
        journal = Journal(None, self.lines.append)
        self.program = AppProgram(app, policy or Policy(), journal, lambda: None)

    def ask(self, tree: Any) -> Any:
        return unpack_tree(self.program.answer(pack_tree(tree, "request"), RUN), "its reply")

    def agree(self) -> None:
        self.ask({"ask": "agree", "schema": DataSchema().to_json(), "holdout": 0.2, "seed": 0})

    def set_up(self, **changed: Any) -> Any:
        self.agree()
        tree = {"ask": "setup", "framework": "", "arrays": {"0": np.zeros((2, 3))}, "options": {}}
        return self.ask({**tree, **changed})

    def train(self, weights: Any = None, **options: Any) -> Any:
        weights = {"0": np.zeros((2, 3))} if weights is None else weights
        request = RoundRequest(
            round=1,
            weights=weights,
            broadcast={},
            options={"epochs": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd", **options},
            seed=0,
            info=FederationInfo(1, tuple(weights), frozenset(weights)),
        )
        return self.ask({"ask": "request", **wire.request_to_tree(request, "clinic 5")})


def test_it_says_who_it_is_and_no_rows() -> None:
    found = Talk(TORCH, "partition-id=1 num-partitions=3").ask({"ask": "describe"})
    assert found["name"] == "clinic 5"
    assert found["app"]["identity"] == "ClientApp, partition 1 of 3"
    assert found["app"]["run_config"]["learning-rate"] == 0.1
    assert "facts" not in found


def test_the_app_is_tried_and_then_trains() -> None:
    talk = Talk(NUMPY, "partition-id=1 num-partitions=2")
    assert talk.set_up()["metrics"] == ["largest"]
    reply: Any = wire.reply_of_tree(talk.train(), "clinic 5")
    assert isinstance(reply, Update)
    assert reply.weights["0"].min() >= 1  # partition-id is added
    assert reply.num_examples == 1


def test_the_log_names_what_left() -> None:
    talk = Talk(NUMPY)
    talk.set_up()
    talk.train()
    assert "setup: the first weights, on which the app is tried" in talk.lines[2]
    assert "weights: 0 float64 (2, 3)" in talk.lines[-1]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"arrays": {}}, "there are none"),
        ({"arrays": [1]}, "there are none"),
        ({"framework": "nonsense"}, "nonsense"),
        ({"ask": "setup", "code": np.zeros(3, np.uint8), "arrays": None}, "there are none"),
    ],
)
def test_a_setup_of_another_kind_is_refused(changed: dict[str, Any], line: str) -> None:
    assert line in Talk(NUMPY).set_up(**changed)["refused"]


def test_more_epochs_than_allowed_are_refused() -> None:
    talk = Talk(TORCH, policy=Policy(max_epochs=2))
    talk.agree()
    assert "3 local epochs; this party trains 2" in talk.train(epochs=3)["refused"]


def test_a_training_before_any_model_is_refused() -> None:
    talk = Talk(NUMPY)
    assert "another run" in talk.train()["refused"]
    talk.agree()
    assert "without a model" in talk.train()["refused"]


def described(name: str, app: Any) -> Described:
    return Described(1, name, 0, [], app)


class TestAggregator:
    @pytest.mark.parametrize(
        "app",
        [
            3,
            {},
            {"identity": 3, "run_config": {}},
            {"identity": "x", "run_config": [1]},
            {"identity": "x", "run_config": {"lr": [1]}},
            {"identity": "x", "run_config": {3: 1}},
        ],
    )
    def test_what_a_hostile_node_tells_is_one_line(self, app: Any) -> None:
        with pytest.raises(DataError, match="what clinic 5 tells about its app can't be read"):
            read_app(app, "clinic 5")

    def test_parties_of_two_kinds_are_refused(self) -> None:
        both = [described("a", {"identity": "x"}), described("b", None)]
        with pytest.raises(DataError, match="a trains by an app of Flower, and b has rows"):
            apps.are_apps(both)
        assert apps.are_apps(both[:1])
        assert not apps.are_apps(both[1:])


class TestCommand:
    def run(self, *arguments: str, data: str = TORCH) -> Any:
        given = ["party", "--superlink", "x:1", "--data", data, "--name", "clinic 5"]
        return CliRunner().invoke(cli.app, [*given, *arguments])

    def test_a_dry_run_says_that_the_app_decides(self) -> None:
        done = self.run("--dry-run", "--node-config", "partition-id=0 num-partitions=2")
        assert done.exit_code == 0, done.output
        assert "what your app puts into its replies" in done.output
        assert "No code comes in" in done.output
        assert "partition 0 of 2" in done.output

    @pytest.mark.parametrize(
        ("data", "arguments", "line"),
        [
            ("flower_app:", [], "does not say where the app is"),
            ("flower_app:no_such_module:app", [], "there is no module no_such_module"),
            ("flower_app:quickstart_torch:other", [], "has no ClientApp 'other'"),
            (TORCH, ["--models", "torch"], "leave --models out"),
            (TORCH, ["--allow-code"], "leave --allow-code out"),
            (TORCH, ["--label", "ill"], "leave --label out"),
            (TORCH, ["--node-config", "partition-id"], "is no name=value"),
            (TORCH, ["--node-config", "partition-id=x"], "give a whole number"),
            ("rows.npz", ["--node-config", "a=1"], "there is no file"),
        ],
    )
    def test_bad_input_is_one_line(self, data: str, arguments: list[str], line: str) -> None:
        done = self.run(*arguments, "--insecure", data=data)
        assert done.exit_code == 2
        assert line in done.output

    def test_epochs_can_only_be_limited_where_the_app_has_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = (APPS / "quickstart_numpy.py").read_text()
        (tmp_path / "app_without_options.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        done = self.run(
            "--insecure", "--max-epochs", "2", data="flower_app:app_without_options:app"
        )
        assert done.exit_code == 2
        assert "has no option local-epochs" in done.output


def test_options_that_apps_do_not_share_are_asked_for() -> None:
    from fusion_nb import RunSpec

    found = [
        described(name, {"identity": name, "run_config": {"learning-rate": lr}})
        for name, lr in (("a", 0.1), ("b", 0.2))
    ]
    session: Any = type("Session", (), {"nodes": {"a": 1, "b": 2}})()
    with pytest.raises(FusionError, match="learning-rate of their own, and these differ"):
        apps.parties(RunSpec(rounds=1), found, session, {})
    made = apps.parties(RunSpec(rounds=1, lr=0.1), found, session, {})
    assert [party.id for party in made.parties] == ["a", "b"]
