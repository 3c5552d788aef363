"""Contributions of parties to a run, by retraining, and parties that never train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.core.types import TrainingResult
from fusion_nb.errors import OptionError
from fusion_nb.models.base import Model

torch = pytest.importorskip("torch")
_RNG = np.random.default_rng(0)


def rows(size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    x = _RNG.normal(size=(size, 3)).astype("float32")
    return x, (x[:, 0] > 0).astype(np.int64)


PARTIES = {f"party {i}": rows() for i in range(1, 5)}


def federate(**options: Any) -> fusion_nb.Run:
    torch.manual_seed(0)
    given = {"rounds": 2, "lr": 0.5, "engine": "local"} | options
    return fusion_nb.federate(torch.nn.Linear(3, 2), given.pop("data", PARTIES), **given)


class Gloves:
    """Weights that tell which parties trained, of the glove game: party 1 has the left glove."""

    def __init__(self) -> None:
        self.w = np.zeros(3)


class GlovesModel(Model):
    """Its accuracy is 1 for a left and a right glove, and 0 otherwise."""

    base_class = f"{Gloves.__module__}.Gloves"
    kind = "pair of gloves"

    def __init__(self, model: Gloves) -> None:
        self._w = model.w.copy()

    def clone(self) -> GlovesModel:
        made = Gloves()
        made.w = self._w
        return GlovesModel(made)

    def check(self, rows: Any, schema: Any, *, lr: Any, optimizer: Any) -> list[str]:
        return []

    def get_weights(self) -> dict[str, np.ndarray]:
        return {"w": self._w.copy()}

    def set_weights(self, weights: Any) -> None:
        self._w = weights["w"].copy()

    def fit(self, data: Any, *, epochs: int, **options: Any) -> TrainingResult:
        self._w = np.eye(3)[int(data[0][0, 0])]
        return TrainingResult(self.get_weights(), {"loss": 0.0, "accuracy": 0.0}, 1, 1.0)

    def evaluate(self, data: Any) -> dict[str, float]:
        return {"loss": 0.0, "accuracy": float(self._w[0] > 0 and self._w[1:].any())}

    def native(self, weights: Any) -> Gloves:
        return Gloves()

    def save(self, path: Path, weights: Any, format: str) -> None:
        raise NotImplementedError


def test_a_game_with_a_known_answer() -> None:
    fusion_nb.model_adapter(name="gloves")(GlovesModel)

    @fusion_nb.fusion(name="all_gloves")
    def all_gloves(weights: Any, updates: Any) -> Any:
        """Add what parties have."""
        return {"w": np.sum([update.weights["w"] for update in updates], axis=0)}

    data = {
        name: (np.full((10, 1), place, np.float32), np.arange(10) % 2)
        for place, name in enumerate(("left", "right 1", "right 2"))
    }
    options = {"rounds": 1, "fusion": "all_gloves", "contribution": "shapley,leave_one_out"}
    run = fusion_nb.federate(Gloves(), data, **options)
    found = {name: run.contributions.of(name) for name in data}
    assert {name: each["shapley"] for name, each in found.items()} == pytest.approx(
        {"left": 2 / 3, "right 1": 1 / 6, "right 2": 1 / 6}
    )
    assert [each["leave_one_out"] for each in found.values()] == [1.0, 0.0, 0.0]
    assert run.contributions.num_trainings == 6


@pytest.mark.parametrize(
    "options", [{}, {"fusion": "scaffold"}, {"monitor": "loss"}, {"adversary": "sign_flip:1"}]
)
def test_leaving_one_out_is_the_run_in_which_it_only_evaluates(options: dict[str, Any]) -> None:
    plain = federate(**options)
    run = federate(**options, contribution="leave_one_out")
    assert run.history["loss"] == plain.history["loss"], "the run itself is as without"
    metric = options.get("monitor", "accuracy")
    sign = -1 if metric == "loss" else 1
    hostile = {note.split(" is hostile")[0].split()[-1] for note in run.notes if "hostile" in note}
    for number in range(1, 5):
        party = f"party {number}"
        if options.get("adversary"):
            if party.split()[-1] not in hostile:
                continue
            # Without the only hostile party, the run is an honest one.
            without = federate(roles=f"{party}=evaluate")
        else:
            without = federate(**options, roles=f"{party}=evaluate")
        expected = sign * (plain.history[metric][-1] - without.history[metric][-1])
        assert run.contributions.of(party)["leave_one_out"] == pytest.approx(expected)


def test_values_add_up_and_are_in_table_frame_and_card(tmp_path: Path) -> None:
    run = federate(contribution="shapley", data={name: PARTIES[name] for name in [*PARTIES][:3]})
    values = {party.id: party.contribution["shapley"] for party in run.parties}
    untrained = federate(lr=1e-12, data={name: PARTIES[name] for name in [*PARTIES][:3]})
    gained = run.history["accuracy"][-1] - untrained.history["accuracy"][-1]
    assert sum(values.values()) == pytest.approx(gained)
    assert "shapley" in run.parties.table("accuracy")[0]
    assert run.parties.to_frame()["shapley"].to_dict() == pytest.approx(values)
    run.export(str(tmp_path / "fused"))
    card = json.loads((tmp_path / "fused" / "card.json").read_text())
    assert {p["party"]: p["contribution"]["shapley"] for p in card["parties"]} == values
    assert "shapley" in (tmp_path / "fused" / "CARD.md").read_text()
    assert any("6 further trainings" in note for note in run.notes)


def test_the_cross_site_matrix_is_each_model_alone_on_each_partys_rows() -> None:
    run = federate(contribution="cross_site", baseline="local")
    matrix = run.contributions.cross_site
    assert [*matrix] == [*matrix["party 1"]] == [*PARTIES]
    for party in run.parties:
        assert matrix[party.id][party.id] == pytest.approx(party.alone["accuracy"])
    frame = run.contributions.cross_site_frame()
    assert frame.loc["party 1", "party 3"] == matrix["party 1"]["party 3"]
    assert "party 3" in repr(run.contributions)


def test_above_six_parties_values_have_intervals() -> None:
    data = {f"party {i}": rows(20) for i in range(7)}
    run = federate(data=data, rounds=1, contribution="shapley:permutations=2")
    found = run.contributions.of("party 0")
    assert found["shapley_low"] <= found["shapley"] <= found["shapley_high"]
    assert run.contributions.num_trainings <= 12
    assert "shapley_low" not in run.parties.table("accuracy")[0]


def test_a_stop_during_the_trainings_keeps_the_run() -> None:
    run = federate(contribution="leave_one_out", rounds=1)
    rounds = run.history["loss"]
    torch.manual_seed(0)
    spec = run.spec
    names = {"given_model": torch.nn.Linear(3, 2), "given_data": PARTIES}
    stopped = fusion_nb.Run(spec, names)
    # The last whole round is told, and after it coalitions are trained until the stop.
    stopped.subscribe(lambda each: each.stop(wait=False) if each.records else None)
    stopped.start().wait()
    assert stopped.history["loss"] == rounds
    assert stopped.status == "finished"
    assert not stopped.contributions.values
    assert any("contribution ended after 0 of 4" in note for note in stopped.notes)


def test_more_rounds_measure_anew() -> None:
    run = federate(contribution="leave_one_out", rounds=1)
    before = run.contributions
    run.more(1).wait()
    assert run.contributions is not before
    whole = federate(contribution="leave_one_out", rounds=2)
    assert run.contributions == whole.contributions


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"contribution": "shapley", "personal": "ditto"}, "personal"),
        ({"contribution": "shapley", "ensemble": "mean"}, "ensemble"),
        ({"contribution": "shapley", "fusion": "trimmed_mean"}, "updates"),
        ({"contribution": "leave_one_out", "data": rows(), "parties": 1}, "one party"),
        ({"contribution": "shapley", "fusion": "fedbuff:buffer=2"}, "smaller buffer"),
        ({"contribution": "cross_site", "fusion": "fedbuff:buffer=3"}, "smaller buffer"),
        ({"contribution": "leave_one_out", "fusion": "fedbuff:buffer=4"}, "smaller buffer"),
        ({"contribution": "cross_site", "fusion": "fedbuff:concurrency=4"}, "smaller buffer"),
        ({"contribution": "leave_one_out", "secure": "masks"}, "secure"),
        ({"unseen": 4}, "at most 3"),
        ({"unseen": 1, "personal": "fedbn"}, "unseen"),
        ({"unseen": 0}, ">= 1"),
    ],
)
def test_it_is_refused_before_training(options: dict[str, Any], word: str) -> None:
    with pytest.raises(OptionError) as raised:
        federate(**options)
    assert word in str(raised.value)


@pytest.mark.parametrize("count", [1, 3])
def test_unseen_parties_never_train_and_are_measured_on_all_rows(count: int) -> None:
    run = federate(unseen=count)
    unseen = [party for party in run.parties if party.is_unseen]
    assert len(unseen) == count
    kept = {party.id: PARTIES[party.id] for party in run.parties if not party.is_unseen}
    without = federate(data=kept)
    assert run.history["loss"] == without.history["loss"], "they are as if they were not there"
    assert f"over {4 - count} part" in str(run)
    for party in unseen:
        x, y = PARTIES[party.id]
        right = float((run.predict(x) == y).mean())
        assert (party.num_examples, party.num_test) == (0, 40)
        assert party.fused["accuracy"] == pytest.approx(right)
    assert any("that never trained" in note for note in run.notes)


@pytest.mark.parametrize(
    "options",
    [
        {"contribution": "leave_one_out", "fusion": "fedbuff:buffer=3"},
        {"contribution": "cross_site", "fusion": "fedbuff"},
        {"contribution": "cross_site", "fusion": "fedasync"},
    ],
)
def test_coalitions_as_large_as_a_buffer_are_trained(options: dict[str, Any]) -> None:
    assert federate(**options, rounds=1).contributions.num_trainings == 4


@pytest.mark.parametrize("privacy", ["central:clip=1,noise=1", "local:clip=1,noise=1"])
def test_epsilon_is_told_to_be_without_further_trainings(privacy: str) -> None:
    run = federate(contribution="leave_one_out", privacy=privacy, rounds=1)
    (note,) = [each for each in run.notes if "without the further trainings" in each]
    assert note.startswith("warning: privacy")
    run = federate(privacy=privacy, rounds=1)
    assert not [each for each in run.notes if "further trainings" in each]


@pytest.mark.parametrize("ensemble", ["mean", "vote", "stack"])
def test_an_ensemble_is_measured_on_unseen_parties(ensemble: str) -> None:
    run = federate(unseen=1, ensemble=ensemble, rounds=2 if ensemble == "stack" else 1)
    (unseen,) = [party for party in run.parties if party.is_unseen]
    x, y = PARTIES[unseen.id]
    assert unseen.fused["accuracy"] == pytest.approx(float((run.predict(x) == y).mean()))


@pytest.mark.parametrize(("count", "words"), [(1, "1 party that"), (2, "2 parties that")])
def test_unseen_parties_are_counted_in_words(count: int, words: str) -> None:
    run = federate(unseen=count, rounds=1)
    assert any(words in note for note in run.notes)
    assert any(f"never train{'s' * (count == 1)};" in note for note in run.notes)


def test_unseen_parties_are_drawn_by_the_seed() -> None:
    runs = [federate(unseen=1, rounds=1, seed=seed) for seed in range(6)]
    drawn = [tuple(party.id for party in run.parties if party.is_unseen) for run in runs]
    assert len({*drawn}) > 1


def test_the_preview_tells_the_cost(ip: Any) -> None:
    seen = ip.run(
        "import torch\nmodel = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))\n"
        "from fusion_nb.runs import preview\nimport fusion_nb\n"
        "spec = fusion_nb.RunSpec(contribution='shapley', rounds=1)\n"
        "found = preview.look(spec, globals())"
    )
    assert seen.error is None, seen.text
    assert any("14 further trainings" in note for note in ip.ns["found"].notes)
