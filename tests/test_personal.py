"""A model for each party: what each method promises, recomputed by hand; and that the fused model
never notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusion_nb import Run, RunSpec, fusion
from fusion_nb.algorithms.fusions.averaging import fedavg
from fusion_nb.algorithms.personalization import best_of_group
from fusion_nb.algorithms.personalization.personal import IFCA
from fusion_nb.core.federation import Federation
from fusion_nb.core.types import Reply, Turn, Unchanged, Update
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import FusionError, NameNotFoundError, OptionError, RunError
from fusion_nb.notebook import explain
from fusion_nb.runs.build import build

#: One way of each kind to give parties models of their own, for the small network of `net`.
METHODS: dict[str, dict[str, Any]] = {
    "finetune": {"personal": "finetune"},
    "ditto": {"personal": "ditto"},
    "apfl": {"personal": "apfl"},
    "fedper": {"personal": "fedper:layers=2.*"},
    "ifca": {"personal": "ifca"},
    "share": {"share": "best"},
}
#: With one step for each epoch no order of rows matters, and a step can be computed by hand.
WHOLE = {"batch_size": 1000}


def made(rows: Any, model: Any, variables: Mapping[str, Any] | None = None, **options: Any) -> Run:
    spec = RunSpec(data="data", **{"lr": 0.1, "rounds": 3} | options)
    return Run(spec, {"model": model, "data": rows, **(variables or {})})


def trained(
    rows: Any, model: Any, variables: Mapping[str, Any] | None = None, **options: Any
) -> Run:
    return made(rows, model, variables, **options).start().wait()


def federation_of(rows: Any, model: Any, **options: Any) -> Federation:
    return build(RunSpec(data="data", **{"lr": 0.1} | options), {"model": model, "data": rows})


def linear(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(5, outputs)


def normalizing() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def arrays(model: nn.Module) -> dict[str, np.ndarray]:
    return {
        name: tensor.detach().numpy().astype(np.float64)
        for name, tensor in model.state_dict().items()
    }


def same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], tolerance: float = 0.0) -> bool:
    return a.keys() == b.keys() and all(np.allclose(a[n], b[n], rtol=0, atol=tolerance) for n in a)


def gradient(w: Mapping[str, np.ndarray], rows: Any) -> dict[str, np.ndarray]:
    """Return the gradient of the mean cross-entropy of a linear layer, by hand."""
    x, y = rows[0].astype(np.float64), rows[1]
    scores = x @ w["weight"].T + w["bias"]
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return {"weight": p.T @ x / len(y), "bias": p.mean(0)}


def accuracy(w: Mapping[str, np.ndarray], rows: Any) -> float:
    return float(((rows[0] @ w["weight"].T + w["bias"]).argmax(1) == rows[1]).mean())


def mixed(
    alpha: float, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    return {name: alpha * a[name] + (1 - alpha) * b[name] for name in a}


def measured(model: nn.Module, rows: Any) -> dict[str, float]:
    with torch.no_grad():
        output = model(torch.tensor(rows[0]))
    target = torch.tensor(rows[1])
    loss = nn.functional.cross_entropy(output, target).item()
    return {"accuracy": (output.argmax(1) == target).double().mean().item(), "loss": loss}


def kept(party: Any) -> dict[str, np.ndarray]:
    """Return the weights that a party holds for itself."""
    found = party.state.get("fusion", {})
    return dict(found.get("personal") or found.get("layers") or {})


def two_groups(rows: Any) -> dict[str, Any]:
    """Three parties, and three others for which every class has the number of the next."""
    x, y = rows
    parts = [slice(40 * i, 40 * i + 40) for i in range(6)]
    return {
        f"{'ab'[i // 3]}{i % 3 + 1}": (x[part], y[part] if i < 3 else (y[part] + 1) % 3)
        for i, part in enumerate(parts)
    }


class Seen(LocalEngine):
    """An engine that remembers what parties replied in rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[Reply] = []

    def run(self, verb: Any, cohort: Any, **orders: Any) -> Iterator[Reply]:
        for reply in super().run(verb, cohort, **orders):
            if verb == "fit":
                self.replies.append(reply)
            yield reply


def listened(federation: Federation) -> Seen:
    federation.engine = Seen()
    return federation.engine


class Interrupting(nn.Module):
    """A linear layer that does something at one of the batches that it is trained on, in whichever
    copy it lives."""

    seen, at = 0, 0
    act: Callable[[], Any] = staticmethod(lambda: None)

    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            Interrupting.seen += 1
            if Interrupting.seen == Interrupting.at:
                Interrupting.act()
        return self.layer(x)


@pytest.fixture(autouse=True)
def _nothing_happens() -> None:
    Interrupting.seen = Interrupting.at = 0


def interrupted(rows: Any, share: float, **options: Any) -> Run:
    """Return a run that is stopped once it has trained so large a share of its batches."""
    Interrupting.seen = Interrupting.at = 0
    trained(rows, Interrupting(), **options)
    Interrupting.seen, Interrupting.at = 0, int(share * Interrupting.seen)
    run = made(rows, Interrupting(), **options)
    Interrupting.act = lambda: run.stop(wait=False)
    return run.start().wait()


class TestTheFusedModel:
    @pytest.mark.parametrize(
        "beside",
        [
            *(
                {"personal": name}
                for name in ("finetune:epochs=2", "ditto:lambda=1", "apfl:alpha=0.3", "ifca")
            ),
            *({"share": name} for name in ("best", "best:epochs=1")),
            *({"baseline": name} for name in ("central", "local", "central,local")),
        ],
        ids=lambda beside: next(iter(beside.values())),
    )
    @pytest.mark.parametrize(
        "fused", [{}, {"fusion": "scaffold", "optimizer": "sgd:momentum=0.9", "fraction": 0.5}]
    )
    def test_is_bit_for_bit_the_same_beside_anything(
        self, rows: Any, net: Any, beside: Any, fused: Any
    ) -> None:
        plain, other = trained(rows, net(), **fused), trained(rows, net(), **fused, **beside)
        for metric in ("loss", "accuracy", "train_loss"):
            assert other.history[metric] == plain.history[metric]
        assert same(arrays(other.model), arrays(plain.model))
        assert [record.cohort for record in other.history] == [
            record.cohort for record in plain.history
        ]

    def test_a_method_around_a_rule_sends_what_the_rule_alone_sends(
        self, rows: Any, net: Any
    ) -> None:
        plain = trained(rows, net()).history[-1]
        for name in ("ditto", "apfl", "finetune"):
            last = trained(rows, net(), personal=name).history[-1]
            assert (last.bytes_up, last.bytes_down) == (plain.bytes_up, plain.bytes_down)


class TestDitto:
    def test_every_step_is_held_by_the_fused_model(self, rows: Any) -> None:
        lr, held = 0.1, 2.0
        federation = federation_of(
            rows, linear(), parties=2, personal=f"ditto:lambda={held}", epochs=3, lr=lr, **WHOLE
        )
        own = [arrays(federation.model.module)] * 2
        for _ in range(2):
            anchor = {
                name: array.astype(np.float64)
                for name, array in (federation.weights or own[0]).items()
            }
            next(federation.rounds(1))
            for i, party in enumerate(federation.parties):
                for _ in range(3):
                    steep = gradient(own[i], party.train)
                    own[i] = {
                        n: own[i][n] - lr * (steep[n] + held * (own[i][n] - anchor[n]))
                        for n in anchor
                    }
                assert same(kept(party), own[i], 1e-5)

    def test_the_more_it_is_held_the_nearer_it_stays(self, rows: Any, net: Any) -> None:
        def distance(held: float) -> float:
            federation = federation_of(
                two_groups(rows), net(), personal=f"ditto:lambda={held}", lr=0.01
            )
            *_, before, _ = [federation.weights for _ in federation.rounds(12)]
            own = [kept(party) for party in federation.parties]
            return sum(
                float(np.abs(weights[n] - before[n]).sum()) for weights in own for n in before
            )

        far, near, nearest = (distance(held) for held in (0, 5, 90))
        assert far > 1.2 * near > 2 * nearest > 0

    @pytest.mark.parametrize(
        "rule", ["fedavg", "fedprox:mu=1", "scaffold", "feddyn:alpha=1", "fda"]
    )
    def test_held_by_nothing_it_is_training_alone_whatever_the_rule_asks(
        self, rows: Any, net: Any, rule: str
    ) -> None:
        run = trained(rows, net(), fusion=rule, personal="ditto:lambda=0", **WHOLE)
        for party in run.parties:
            assert party.personal["loss"] == pytest.approx(party.alone["loss"], abs=1e-5)
        assert run.parties[0].personal["loss"] != pytest.approx(
            run.parties[0].fused["loss"], abs=1e-3
        )


class TestAPFL:
    def test_alpha_0_is_the_partys_model_before_fusion(self, rows: Any) -> None:
        for model in (linear(), normalizing()):
            for record in trained(rows, model, personal="apfl:alpha=0").history:
                for found in record.party_metrics.values():
                    assert found["personal_loss"] == found["local_loss"]
                    assert found["personal_accuracy"] == found["local_accuracy"]

    def test_alpha_1_is_training_alone_on_the_same_batches(self, rows: Any, net: Any) -> None:
        for optimizer in ("sgd", "sgd:momentum=0.9", "adam"):
            run = trained(
                rows, net(), personal="apfl:alpha=1", optimizer=optimizer, fusion="fedprox:mu=1"
            )
            for record in run.history:
                for found in record.party_metrics.values():
                    assert found["personal_loss"] == found["alone_loss"] != found["local_loss"]

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_every_step_by_hand(self, rows: Any, momentum: float) -> None:
        lr, alpha, optimizer = 0.1, 0.3, f"sgd:momentum={momentum}"
        options = {
            "personal": f"apfl:alpha={alpha}",
            "optimizer": optimizer,
            "epochs": 3,
            "parties": 2,
            **WHOLE,
        }
        federation = federation_of(rows, linear(), lr=lr, **options)
        own = [arrays(federation.model.module)] * 2
        for _ in range(2):
            start = {
                name: array.astype(np.float64)
                for name, array in (federation.weights or own[0]).items()
            }
            next(federation.rounds(1))
            for i, party in enumerate(federation.parties):
                shared, speed = (
                    start,
                    [{name: 0.0 * array for name, array in start.items()} for _ in range(2)],
                )
                for _ in range(3):
                    of_mixture = gradient(mixed(alpha, own[i], shared), party.train)
                    of_shared = gradient(shared, party.train)
                    speed[0] = {n: momentum * speed[0][n] + alpha * of_mixture[n] for n in start}
                    speed[1] = {n: momentum * speed[1][n] + of_shared[n] for n in start}
                    own[i] = {n: own[i][n] - lr * speed[0][n] for n in start}
                    shared = {n: shared[n] - lr * speed[1][n] for n in start}
                assert same(kept(party), mixed(alpha, own[i], shared), 1e-5)

    def test_what_is_frozen_stays_and_batch_norm_is_the_mixtures(self, rows: Any) -> None:
        model = normalizing()
        model[0].requires_grad_(False)
        run = trained(rows, model, personal="apfl")
        own = run.parties[0].model
        assert torch.equal(own[0].weight, model[0].weight)
        assert int(own[1].num_batches_tracked) > 0
        assert measured(own, run._federation.parties[0].test) == pytest.approx(
            run.parties[0].personal, abs=1e-6
        )

    def test_bfloat16(self, rows: Any, net: Any) -> None:
        run = trained(rows, net().bfloat16(), personal="apfl:alpha=1")
        assert run.history["personal_loss"] == run.history["alone_loss"]


class TestFedPer:
    OWN = ("2.weight", "2.bias")

    def test_the_aggregator_never_learns_what_parties_keep(self, rows: Any, net: Any) -> None:
        federation = federation_of(rows, net(), personal="fedper:layers=2.*")
        seen, first = listened(federation), net().state_dict()
        for _ in federation.rounds(3):
            for name, array in federation.weights.items():
                assert np.array_equal(array, first[name]) == (name in self.OWN)
        assert all({*reply.weights} == {"0.weight", "0.bias"} for reply in seen.replies)
        assert not any(reply.extras for reply in seen.replies)

    def test_bytes_are_those_of_the_shared_entries(self, rows: Any, net: Any) -> None:
        shared, whole = 4 * (5 * 8 + 8), 4 * (5 * 8 + 8 + 8 * 3 + 3)
        for record in trained(rows, net(), personal="fedper:layers=2.*").history:
            assert record.bytes_up == record.bytes_down == 4 * shared
            assert record.bytes_fedavg == 2 * 4 * whole

    def test_shared_entries_are_the_parties_weighted_mean(self, rows: Any, net: Any) -> None:
        federation = federation_of(
            rows, net(), personal="fedper:layers=2.*", split="quantity:alpha=1"
        )
        seen = listened(federation)
        list(federation.rounds(2))
        last = [reply for reply in seen.replies[-4:] if isinstance(reply, Update)]
        sizes = [update.num_examples for update in last]
        assert len({*sizes}) > 1
        for name in ("0.weight", "0.bias"):
            mean = np.average([update.weights[name] for update in last], axis=0, weights=sizes)
            assert np.allclose(federation.weights[name], mean, atol=1e-7)

    def test_a_partys_model_is_whole_and_its_own(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="fedper:layers=2.*")
        for party, holder in zip(run.parties, run._federation.parties, strict=True):
            assert measured(party.model, holder.test) == pytest.approx(party.personal, abs=1e-6)
            assert torch.equal(party.model[0].weight, run.model[0].weight)
            assert party.fused == {}
        heads = [party.model[2].weight for party in run.parties]
        assert not any(torch.equal(heads[0], head) for head in [*heads[1:], run.model[2].weight])

    def test_a_party_goes_on_with_its_own_layers(self, rows: Any, net: Any) -> None:
        model = net()
        model[0].requires_grad_(False)  # nothing is left to be learnt together
        run = trained(rows, model, personal="fedper:layers=2.*")
        assert run.history["personal_loss"] == run.history["alone_loss"]

    @pytest.mark.parametrize(
        ("pattern", "own"),
        [
            ("2.*", {"2.weight", "2.bias"}),
            ("0.weight|2.bias", {"0.weight", "2.bias"}),
            ("*.bias", {"0.bias", "2.bias"}),
            ("0.*|2.bias", {"0.weight", "0.bias", "2.bias"}),
        ],
    )
    def test_patterns(self, rows: Any, net: Any, pattern: str, own: set[str]) -> None:
        federation = federation_of(rows, net(), personal=f"fedper:{pattern}")
        next(federation.rounds(1))
        assert all({*party.state["fusion"]["layers"]} == own for party in federation.parties)

    @pytest.mark.parametrize(
        ("pattern", "says"),
        [("2.*|7.*", "7.* is the name of no weights"), ("*", "leaves nothing to be fused")],
    )
    def test_patterns_that_make_no_sense_are_refused_with_the_names(
        self, rows: Any, net: Any, pattern: str, says: str
    ) -> None:
        with pytest.raises(OptionError) as caught:
            made(rows, net(), personal=f"fedper:layers={pattern}")
        assert says in caught.value.message
        assert "0.weight, 0.bias, 2.weight, 2.bias" in caught.value.hint

    def test_the_inner_rule_sees_shared_entries_alone(self, rows: Any, net: Any) -> None:
        seen: list[set[str]] = []

        @fusion(name="looking")
        class Looking:
            local: Mapping[str, Any] = {}

            def init(self, weights: Any) -> Any:
                return {*weights}

            def train(self, turn: Turn) -> Update:
                trained = turn.train(turn.weights)
                assert turn.measure(turn.weights)["loss"] > 0
                assert turn.score(trained.weights)["loss"] > 0
                seen.extend([{*turn.weights}, {*trained.weights}])
                return turn.update(trained.weights)

            def fuse(self, weights: Any, updates: Any, state: Any) -> Any:
                seen.extend([state, {*weights}, *({*update.weights} for update in updates)])
                return weights, state

        trained(rows, net(), fusion="looking", personal="fedper:layers=2.*")
        assert all(names == {"0.weight", "0.bias"} for names in seen)

    def test_the_central_test_set_is_not_used_and_that_is_said(self, rows: Any, net: Any) -> None:
        x, y = rows
        run = trained(((x[:200], y[:200]), (x[200:], y[200:])), net(), personal="fedper:layers=2.*")
        assert any("the central test set is not used" in note for note in run.notes)
        sizes = [party.num_test for party in run.parties]
        mean = np.average([party.personal["loss"] for party in run.parties], weights=sizes)
        assert run.history["personal_loss"][-1] == pytest.approx(mean)


class TestFedBN:
    def test_keeps_what_batch_normalization_has_and_nothing_else(self, rows: Any) -> None:
        federation = federation_of(rows, normalizing(), personal="fedbn")
        list(federation.rounds(2))
        names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        first = normalizing().state_dict()
        for party in federation.parties:
            assert {*party.state["fusion"]["layers"]} == {f"1.{name}" for name in names}
        assert all(
            np.array_equal(federation.weights[f"1.{name}"], first[f"1.{name}"]) for name in names
        )
        for name in ("0.weight", "3.weight", "3.bias"):
            assert not np.array_equal(federation.weights[name], first[name])
        means = [party.state["fusion"]["layers"]["1.running_mean"] for party in federation.parties]
        assert not np.array_equal(means[0], means[1])

    def test_a_model_without_any_is_refused(self, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match="the model has no batch normalization"):
            made(rows, net(), personal="fedbn")

    def test_parties_that_see_the_same_differently_gain(self, rows: Any) -> None:
        x, y = rows
        scales = {f"scanner {i}": 1.0 + 4.0 * i for i in range(3)}
        parts = [slice(80 * i, 80 * i + 80) for i in range(3)]
        data = {
            name: (x[p] * s + 10 * s, y[p])
            for (name, s), p in zip(scales.items(), parts, strict=True)
        }
        run, plain = (
            trained(data, normalizing(), rounds=6, **o) for o in ({"personal": "fedbn"}, {})
        )
        assert run.history["personal_accuracy"][-1] > plain.history["accuracy"][-1] + 0.1

    @pytest.mark.parametrize("rule", ["scaffold", "fedprox:mu=0.1", "fedadam", "cmfl", "median"])
    def test_goes_around_other_rules(self, rows: Any, rule: str) -> None:
        federation = federation_of(rows, normalizing(), personal="fedbn", fusion=rule)
        records = list(federation.rounds(5))
        assert records[-1].metrics["personal_loss"] < records[0].metrics["personal_loss"]
        first = {
            name: tensor
            for name, tensor in normalizing().state_dict().items()
            if name.startswith("1.")
        }
        assert all(
            np.array_equal(federation.weights[name], tensor) for name, tensor in first.items()
        )


class TestIFCA:
    def test_parties_that_contradict_each_other_part(self, rows: Any, net: Any) -> None:
        run = trained(two_groups(rows), net(), personal="ifca", rounds=15, epochs=2)
        own = [arrays(party.model) for party in run.parties]
        assert all(same(own[0], other) for other in own[1:3])
        assert all(same(own[3], other) for other in own[4:])
        assert not same(own[0], own[3])
        assert run.history["personal_accuracy"][-1] > 0.85 > 0.7 > run.history["accuracy"][-1]

    def test_one_cluster_is_fedavg(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="ifca:clusters=1", split="quantity:alpha=1", **WHOLE)
        for party in run.parties:
            assert party.personal["loss"] == pytest.approx(party.fused["loss"], abs=1e-5)

    def test_each_clusters_model_is_the_mean_of_those_who_joined_it(
        self, rows: Any, net: Any
    ) -> None:
        federation = federation_of(
            rows, net(), personal="ifca:clusters=3", split="quantity:alpha=1", parties=5
        )
        seen = listened(federation)
        first = federation.fusion.init(federation.initial)[1]
        next(federation.rounds(1))
        for number, cluster in enumerate(federation.state[1]):
            joined = [reply for reply in seen.replies if reply.extras["cluster"] == number]
            expected = first[number] if not joined else None
            sizes = [reply.num_examples for reply in joined]
            for name, array in cluster.items():
                models = [reply.extras["personal"][name] for reply in joined]
                mean = np.average(models, axis=0, weights=sizes) if joined else expected[name]
                assert np.allclose(array, mean, atol=1e-7)

    def test_a_party_joins_the_model_with_the_lowest_loss_on_its_training_rows(
        self, rows: Any
    ) -> None:
        federation = federation_of(two_groups(rows), linear(), personal="ifca:clusters=3")
        seen = listened(federation)
        models = federation.fusion.init(federation.initial)[1]
        next(federation.rounds(1))
        for party, reply in zip(federation.parties, seen.replies, strict=True):
            losses = [
                measured(federation.model.native(model), party.train)["loss"] for model in models
            ]
            assert reply.extras["cluster"] == int(np.argmin(losses))

    def test_the_first_models_hold_the_same_numbers_in_another_order(self, net: Any) -> None:
        weights = {name: tensor.numpy() for name, tensor in net().state_dict().items()}
        _, (first, *others) = IFCA(fedavg(), clusters=3).init(weights)
        assert first is weights
        for other in others:
            for name, array in weights.items():
                assert np.array_equal(np.sort(other[name].ravel()), np.sort(array.ravel()))
            assert not np.array_equal(other["0.weight"], weights["0.weight"])
        assert not np.array_equal(others[0]["0.weight"], others[1]["0.weight"])

    def test_what_travels_is_counted(self, rows: Any, net: Any) -> None:
        size = sum(p.numel() * 4 for p in net().parameters())
        for record in trained(rows, net(), personal="ifca:clusters=3").history:
            assert record.bytes_down == 4 * size * (1 + 3)
            assert record.bytes_up == 4 * (2 * size + 8)

    def test_a_party_that_stays_silent_sends_no_clusters_model_either(
        self, rows: Any, net: Any
    ) -> None:
        @fusion(name="mute")
        class Mute:
            local: Mapping[str, Any] = {}

            def init(self, weights: Any) -> None: ...

            def train(self, turn: Turn) -> Unchanged:
                turn.train(turn.weights)
                return turn.unchanged()

            def fuse(self, weights: Any, updates: Any, state: Any) -> Any:
                return weights, state

        run = trained(rows, net(), fusion="mute", personal="ifca")
        assert [record.bytes_up for record in run.history] == [0, 0, 0]

    def test_there_are_personal_metrics_once_it_is_over(self, rows: Any, net: Any) -> None:
        history = trained(rows, net(), personal="ifca").history
        assert np.isfinite(history["personal_loss"]).tolist() == [False, False, True]
        with pytest.raises(
            OptionError, match="names the metric 'personal_loss', which this run does not have"
        ):
            made(rows, net(), personal="ifca", until="personal_loss < 1")


class TestFinetune:
    @pytest.mark.parametrize(
        "extra", [{}, {"fusion": "fedprox:mu=5"}, {"fusion": "scaffold"}, {"local_steps": 2}]
    )
    def test_is_plain_training_from_the_fused_model(self, rows: Any, extra: Any) -> None:
        run = trained(rows, linear(), personal="finetune:epochs=3,lr=0.7", **WHOLE, **extra)
        for party, holder in zip(run.parties, run._federation.parties, strict=True):
            own = arrays(run.model)
            for _ in range(3):
                steep = gradient(own, holder.train)
                own = {name: array - 0.7 * steep[name] for name, array in own.items()}
            assert same(arrays(party.model), own, 1e-5)
            assert party.personal["accuracy"] == pytest.approx(accuracy(own, holder.test))

    def test_without_a_rate_it_has_that_of_the_run(self, rows: Any) -> None:
        one, other = (
            trained(rows, linear(), lr=0.3, personal=f"finetune{lr}").history["personal_loss"]
            for lr in ("", ":lr=0.3")
        )
        assert one[-1] == other[-1]

    def test_only_the_last_record_has_personal_metrics(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="finetune")
        assert np.isfinite(run.history["personal_loss"]).tolist() == [False, False, True]
        sizes = [party.num_test for party in run.parties]
        mean = np.average([party.personal["loss"] for party in run.parties], weights=sizes)
        assert run.history["personal_loss"][-1] == pytest.approx(mean)
        assert run.result().history.last()["personal_loss"] == run.history["personal_loss"][-1]
        assert '"personal_loss"' in run.history.to_json()

    def test_more_rounds_tune_anew_and_as_if_they_had_been_planned(
        self, rows: Any, net: Any
    ) -> None:
        run = trained(rows, net(), personal="finetune", rounds=2)
        before = run.history["personal_loss"][-1]
        run.more(rounds=2).wait()
        assert run.history["personal_loss"][-1] != before == run.history["personal_loss"][1]
        assert (
            run.history[-1].metrics
            == trained(rows, net(), personal="finetune", rounds=4).history[-1].metrics
        )

    @pytest.mark.parametrize("method", [{"personal": "finetune"}, {"share": "best:epochs=1"}])
    def test_nor_does_an_optimizer_that_is_kept_remember_the_tuning(
        self, rows: Any, net: Any, method: Any
    ) -> None:
        options = {"optimizer": "sgd:momentum=0.9", "keep_optimizer": True, **method}
        run = trained(rows, net(), rounds=2, **options).more(rounds=2).wait()
        assert (
            run.history[-1].metrics == trained(rows, net(), rounds=4, **options).history[-1].metrics
        )

    def test_early_stopping_ends_with_it_too(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="finetune", rounds=50, until="train_loss < 0.9")
        assert (run.status, len(run.history) < 50) == ("finished", True)
        assert np.isfinite(run.history["personal_loss"][-1])

    def test_stepping_through_ends_with_it_too(self, rows: Any, net: Any) -> None:
        run = made(rows, net(), personal="finetune", rounds=2).step()
        assert "personal_loss" not in run.history.metrics()
        run.step().wait()
        assert np.isfinite(run.history["personal_loss"][-1])

    def test_a_run_that_was_stopped_has_none_and_claims_none(self, rows: Any) -> None:
        run = interrupted(rows, 0.6, personal="finetune")
        assert (run.status, len(run.history) < 3) == ("stopped", True)
        assert "personal_loss" not in run.history.metrics()
        table = run.parties.table("accuracy")
        assert table[0][3:] == ["alone accuracy", "local accuracy", "fused accuracy"]
        assert "one of their own" not in run.summary()
        with pytest.raises(RunError, match="no model of its own yet"):
            _ = run.parties[0].model
        run.more(3 - len(run.history)).wait()
        assert (
            run.history["personal_loss"][-1]
            == trained(rows, Interrupting(), personal="finetune").history["personal_loss"][-1]
        )

    def test_a_stop_while_parties_tune_keeps_all_rounds(self, rows: Any) -> None:
        run = interrupted(rows, 0.99, personal="finetune:epochs=4")
        assert len(run.history) == 3
        assert "personal_loss" not in run.history.metrics()


class TestSharing:
    def test_groups_by_what_training_changed(self, rows: Any, net: Any) -> None:
        run = trained(two_groups(rows), net(), share="best:groups=2", rounds=5)
        own = [arrays(party.model) for party in run.parties]
        assert all(same(own[0], other) for other in own[1:3])
        assert all(same(own[3], other) for other in own[4:])
        assert not same(own[0], own[3])

    @pytest.mark.parametrize(
        "key", [dict.fromkeys(("p1", "p3"), "x") | {"p2": 1, "p4": 1}, ["x", 1, "x", 1]]
    )
    def test_groups_by_a_variable(self, rows: Any, net: Any, key: Any) -> None:
        x, y = rows
        data = {f"p{i + 1}": (x[i::4], y[i::4]) for i in range(4)}
        own = [
            arrays(p.model)
            for p in trained(data, net(), {"clinic": key}, share="best:key=clinic").parties
        ]
        assert same(own[0], own[2])
        assert same(own[1], own[3])
        assert not same(own[0], own[1])

    @pytest.mark.parametrize(
        ("key", "says"),
        [
            (["x", "y"], "has 2 groups, and there are 4 parties"),
            ({"party 1": 1, "party 2": 1, "party 4": 1}, "names no group of party 3"),
            (3, "is int, and holds no group for each party"),
            (None, "clinic is no variable of this notebook"),
        ],
    )
    def test_a_variable_of_another_form_is_refused_before_training(
        self, rows: Any, net: Any, key: Any, says: str
    ) -> None:
        with pytest.raises(OptionError, match=rf"--share best:key=.*{says}"):
            made(rows, net(), {} if key is None else {"clinic": key}, share="best:key=clinic")

    def test_more_groups_than_parties_are_refused(self, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match="groups=5, but there are 4 parties"):
            made(rows, net(), share="best:groups=5")

    def test_all_of_a_group_hold_the_best_members_own_model(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), share="best:groups=1", split="quantity:alpha=0.5", rounds=2)
        alone = {party.id: party.state["fusion"]["weights"] for party in run._federation.owners}
        holders = run._federation.parties
        total = sum(party.num_test for party in holders)

        def mean(name: str) -> float:
            model = run._federation.model.native(alone[name])
            return sum(p.num_test * measured(model, p.test)["accuracy"] for p in holders) / total

        best = max(alone, key=mean)
        assert len({mean(name) for name in alone}) > 1
        assert all(same(arrays(party.model), alone[best]) for party in run.parties)

    @pytest.mark.parametrize("task", ["classes", "numbers"])
    def test_what_one_half_of_the_rows_chose_is_measured_on_the_other(
        self, rows: Any, task: str
    ) -> None:
        x, y = rows
        metric, names = "accuracy", ("accuracy", "loss")
        data: Any = (x, y)
        if task == "numbers":
            metric, names, data = "loss", ("loss", "mae"), (x, x @ np.arange(5.0, dtype=np.float32))
        model = linear(1 if task == "numbers" else 3)
        run = trained(
            data, model, share="best:groups=1", split="quantity:alpha=0.5", lr=0.01, rounds=2
        )
        alone = {party.id: party.state["fusion"]["weights"] for party in run._federation.owners}
        adapter, holders = run._federation.model, run._federation.parties
        halves = [
            {p.id: tuple(column[i::2] for column in p.test) for p in holders} for i in range(2)
        ]

        def score(name: str, half: Any) -> dict[str, float]:
            adapter.set_weights(alone[name])
            return adapter.evaluate(half) if len(half[0]) else dict.fromkeys(names, 0.0)

        def best(half: Mapping[str, Any]) -> str:
            means = {n: sum(len(h[0]) * score(n, h)[metric] for h in half.values()) for n in alone}
            return (max if metric == "accuracy" else min)(means, key=means.__getitem__)

        chosen = [best(half) for half in halves]
        for party in run.parties:
            first, second = (half[party.id] for half in halves)
            on = [(chosen[0], second), (chosen[1], first)]
            for name in names:
                found = np.average(
                    [score(who, h)[name] for who, h in on], weights=[len(h[0]) for _, h in on]
                )
                assert party.personal[name] == pytest.approx(found)

    def test_epochs_train_the_adopted_model_on(self, rows: Any) -> None:
        options = {"rounds": 2, "split": "quantity:alpha=0.5", **WHOLE}
        plain, tuned = (
            trained(rows, linear(), share=f"best:groups=1,epochs={n}", **options) for n in (0, 2)
        )
        for party, adopted, holder in zip(
            tuned.parties, plain.parties, tuned._federation.parties, strict=True
        ):
            own = arrays(adopted.model)
            for _ in range(2):
                steep = gradient(own, holder.train)
                own = {name: array - 0.1 * steep[name] for name, array in own.items()}
            assert same(arrays(party.model), own, 1e-5)

    def test_training_alone_goes_on_as_if_nothing_had_been_shared(
        self, rows: Any, net: Any
    ) -> None:
        run = trained(rows, net(), share="best", rounds=2).more(2).wait()
        assert (
            run.history["alone_loss"]
            == trained(rows, net(), baseline="local", rounds=4).history["alone_loss"]
        )

    def test_average_linkage(self) -> None:
        similarity = best_of_group.cosines(list(np.random.default_rng(1).normal(size=(14, 3))))
        groups = [[i] for i in range(14)]
        for count in range(14, 1, -1):
            assert best_of_group.linkage(similarity, count) == sorted(
                sorted(group) for group in groups
            )
            pairs = [(a, b) for a in range(count) for b in range(a)]
            a, b = max(
                pairs, key=lambda pair: similarity[np.ix_(groups[pair[0]], groups[pair[1]])].mean()
            )
            groups[b] += groups.pop(a)


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    def test_same_seed_same_models_and_another_seed_others(
        self, rows: Any, net: Any, name: str
    ) -> None:
        runs = [trained(rows, net(), seed=seed, **METHODS[name]) for seed in (3, 3, 4)]
        one, again, other = [
            [*run.history["personal_loss"], run.parties[0].personal["loss"]] for run in runs
        ]
        assert str(one) == str(again)
        assert one[-1] != other[-1]
        assert all(np.isfinite(value) for value in runs[0].parties[0].personal.values())

    def test_two_rounds_and_two_are_four(self, rows: Any, net: Any, name: str) -> None:
        whole = federation_of(rows, net(), fraction=0.5, **METHODS[name])
        expected = [record.metrics for record in whole.rounds(4)]
        parts = federation_of(rows, net(), fraction=0.5, **METHODS[name])
        found = [record.metrics for _ in range(2) for record in parts.rounds(2)]
        assert found == expected
        for federation in (whole, parts):
            federation.conclude()
        assert parts.history[-1].metrics == whole.history[-1].metrics
        assert same(*(kept(f.parties[0]) for f in (whole, parts)))

    def test_half_of_the_parties_in_each_round(self, rows: Any, net: Any, name: str) -> None:
        run = trained(rows, net(), fraction=0.5, rounds=8, **METHODS[name])
        for party in run.parties:
            holder = next(p for p in run._federation.parties if p.id == party.id)
            assert np.isfinite(party.personal["loss"])
            if name in (
                "finetune",
                "ifca",
            ):  # given after the last round, and not in that of the party's last turn
                assert measured(party.model, holder.test) == pytest.approx(party.personal, abs=1e-6)

    def test_the_table_tells_them_apart(self, rows: Any, net: Any, name: str) -> None:
        run = trained(rows, net(), **METHODS[name])
        kinds = (
            ("alone", "local", "personal")
            if name == "fedper"
            else ("alone", "local", "fused", "personal")
        )
        assert run.parties.table("accuracy")[0][3:] == [f"{kind} accuracy" for kind in kinds]
        assert f"{METHODS[name].get('personal', 'best')} for each party" in repr(run)

    def test_measured_every_few_rounds(self, rows: Any, net: Any, name: str) -> None:
        often, seldom = (
            trained(rows, net(), rounds=5, evaluate_every=n, **METHODS[name]) for n in (1, 2)
        )
        assert often.history[-1].metrics == seldom.history[-1].metrics
        assert np.isnan(seldom.history["alone_loss"]).tolist() == [True, False, True, False, False]

    def test_numbers_and_two_classes(self, rows: Any, net: Any, name: str) -> None:
        x, _ = rows
        for labels in (x @ np.arange(5.0, dtype=np.float32), x[:, 0] > 1):
            run = trained((x, labels), net(5, 1), lr=0.01, **METHODS[name])
            for metric in run._federation.model.metrics:
                assert np.isfinite(run.history[f"personal_{metric}"][-1])
            assert "of 4 parties with one of their own" in run.summary()

    def test_parties_without_test_rows_of_their_own(self, rows: Any, net: Any, name: str) -> None:
        x, y = rows
        data = ((x[:200], y[:200]), (x[200:], y[200:]))
        if name == "fedper":
            with pytest.raises(OptionError, match="not all have test rows of their own"):
                made(data, net(), holdout=0, **METHODS[name])
            return
        run = trained(data, net(), holdout=0, **METHODS[name])
        assert run.history["loss"] == trained(data, net(), holdout=0).history["loss"]
        # Where sharing measures, the aggregator's rows stand in: it has no others to choose by.
        assert bool(run.parties[0].personal) == (name == "share")
        assert isinstance(run.parties[0].model, nn.Module)
        assert "nan" not in run.summary()

    def test_one_party(self, rows: Any, net: Any, name: str) -> None:
        method = {"share": "best:groups=1"} if name == "share" else METHODS[name]
        run = trained(rows, net(), parties=1, **method)
        assert np.isfinite(run.parties[0].personal["loss"])


class TestWholeRounds:
    @pytest.mark.parametrize("personal", ["ditto", "apfl", "fedper:layers=*.bias"])
    def test_after_a_stop_models_are_those_of_the_last_whole_round(
        self, rows: Any, personal: str
    ) -> None:
        run = interrupted(rows, 0.75, personal=personal)
        assert run.status == "stopped"
        for party, holder in zip(run.parties, run._federation.parties, strict=True):
            assert measured(party.model, holder.test) == pytest.approx(party.personal, abs=1e-6)

    @pytest.mark.parametrize("personal", ["ditto", "apfl", "fedper:layers=*.bias", "ifca"])
    def test_and_more_rounds_go_on_from_there(self, rows: Any, personal: str) -> None:
        run = interrupted(rows, 0.75, personal=personal)
        run.more(3 - len(run.history)).wait()
        whole = trained(rows, Interrupting(), personal=personal).history
        assert [record.metrics for record in run.history] == [record.metrics for record in whole]
        assert run.history[-1].party_metrics == whole[-1].party_metrics

    def test_what_parties_agreed_on_before_round_1_outlives_the_tuning(
        self, rows: Any, net: Any
    ) -> None:
        federation = federation_of(rows, net(), personal="finetune", fraction=0.25)
        for party in federation.parties:
            party.state["agreed"] = 1
        list(federation.rounds(1))
        federation.conclude()
        assert all(party.state.get("agreed") for party in federation.parties)

    @pytest.mark.parametrize("personal", ["finetune", "ifca"])
    def test_who_drops_out_of_rounds_is_given_a_model_all_the_same(
        self, rows: Any, net: Any, personal: str
    ) -> None:
        run = trained(rows, net(), personal=personal, dropout=0.6)
        assert run.failures
        assert all(party.personal for party in run.parties)


class TestWhatDoesNotGoTogether:
    @pytest.mark.parametrize("rule", ["dynamic", "fda"])
    @pytest.mark.parametrize("name", ["apfl", "fedper", "ifca"])
    def test_parties_that_keep_weights_already(
        self, rows: Any, net: Any, rule: str, name: str
    ) -> None:
        with pytest.raises(
            OptionError,
            match=rf"--personal {name}.* with --fusion {rule}, whose parties keep weights",
        ):
            made(rows, net(), fusion=rule, **METHODS[name])

    def test_two_ways_to_give_parties_models(self, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match="--personal and --share"):
            made(rows, net(), personal="ditto", share="best")

    @pytest.mark.parametrize(("name", "asks"), [("ditto", "anchor, mu"), ("apfl", "mix")])
    def test_a_doc2vec_can_not_be_held(self, name: str, asks: str) -> None:
        doc2vec = pytest.importorskip("gensim.models.doc2vec")
        model = doc2vec.Doc2Vec(vector_size=4, min_count=1, epochs=1)
        texts = ["some words about cats", "other words about dogs"] * 10
        with pytest.raises(
            OptionError,
            match=f"--personal {name} asks every party for {asks}, which a Doc2Vec can't",
        ):
            made((texts, ["a", "b"] * 10), model, personal=name, lr=None)

    @pytest.mark.parametrize(
        ("options", "error", "says"),
        [
            ({"personal": "dito"}, NameNotFoundError, "did you mean 'ditto'"),
            ({"personal": "ditto:lamda=1"}, OptionError, "did you mean 'lambda'"),
            ({"personal": "ditto:lambda=-1"}, OptionError, "ditto:lambda=-1 is not allowed"),
            ({"personal": "apfl:alpha=1.5"}, OptionError, "a number >= 0 and <= 1"),
            ({"personal": "ifca:clusters=0"}, OptionError, "a whole number >= 1"),
            ({"personal": "finetune:epochs=0"}, OptionError, "a whole number >= 1"),
            ({"personal": "fedper"}, OptionError, "needs the option 'layers'"),
            ({"personal": "fedbn:layers=1"}, OptionError, "it has no options"),
            ({"share": "bst"}, NameNotFoundError, "did you mean 'best'"),
            ({"share": "best:grops=2"}, OptionError, "did you mean 'groups'"),
            ({"baseline": "centrl"}, OptionError, "did you mean 'central'"),
        ],
    )
    @pytest.mark.parametrize(
        "how",
        [
            build,
            Run,
        ],
    )
    def test_typos_are_told_before_data_is_read(
        self, net: Any, options: Any, error: Any, says: str, how: Any
    ) -> None:
        class Handler:
            def get_data(self) -> Any:
                raise AssertionError("data was read")

        with pytest.raises(error) as caught:
            how(
                RunSpec(data="data", data_handler="Handler", **options),
                {"model": net(), "Handler": Handler},
            )
        assert says in str(caught.value)


class TestHelp:
    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("ditto", "lambda: float, >= 0, default 0.1"),
            ("apfl", "alpha: float, >= 0 and <= 1, default 0.5"),
            ("fedper", "layers: str, required"),
            ("fedbn", "use: --personal fedbn"),
            ("ifca", "clusters: int, >= 1, default 2"),
            ("finetune", "epochs: int, >= 1, default 1"),
            ("best", "use: --share best:groups=..."),
        ],
    )
    def test_on_one_method(self, name: str, says: str) -> None:
        text = explain.component(name)
        assert says in text
        assert "Source:" in text

    def test_on_all_of_a_kind(self) -> None:
        text = explain.listing(["personal", "sharing"])
        lines = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  ")]
        assert [name for name, _ in lines] == [
            "apfl",
            "ditto",
            "fedbn",
            "fedper",
            "finetune",
            "ifca",
            "best",
        ]
        assert all(promise.endswith(".") for _, promise in lines)

    def test_a_failure_is_a_fusion_error(self) -> None:
        with pytest.raises(FusionError, match="did you mean 'personal'"):
            explain.listing(["personl"])
