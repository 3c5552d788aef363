"""Runs whose aggregator receives sums: curves, traffic, drop-outs, what it sees, and refusals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography")
import torch
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.algorithms.secure import summands
from fusion_nb.algorithms.secure.masks import Masks
from fusion_nb.core import arithmetic, registry
from fusion_nb.core.federation import Federation
from fusion_nb.core.protocols import EngineWrapper
from fusion_nb.core.settings import FederationConfig
from fusion_nb.core.types import Failure, Reply, Request, RoundRequest, StepRequest
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import FusionError, PartyError
from fusion_nb.runs.build import prepare


def rows() -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(200) % 3
    x = np.random.default_rng(0).standard_normal((200, 6)) + 2 * np.eye(3)[y].repeat(2, 1)
    return x.astype(np.float32), y


def net(norm: bool = True) -> nn.Module:
    torch.manual_seed(0)
    middle = [nn.BatchNorm1d(16)] if norm else []
    return nn.Sequential(nn.Linear(6, 16), *middle, nn.ReLU(), nn.Linear(16, 3))


BASE = {"rounds": 3, "parties": 5, "lr": 0.1, "split": "quantity:alpha=2"}


def made(norm: bool = True, **options: Any) -> Run:
    spec = RunSpec(data="data", **BASE | options)
    return Run(spec, {"model": net(norm), "data": rows()})


def trained(norm: bool = True, **options: Any) -> Run:
    return made(norm, **options).start().wait()


LINEAR = ["fedavg", "iter_avg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedadagrad"]
#: Rules whose parties send more than weights, or weigh changes, all of which add up.
SEVERAL_SUMS = ["scaffold", "feddyn", "fednova", "qfedavg"]


@pytest.mark.parametrize("fusion", LINEAR + SEVERAL_SUMS)
def test_every_rule_of_sums_has_its_curve(fusion: str) -> None:
    made = registry.create("fusions", fusion)
    assert made.adds_up
    assert made.linear == (fusion in LINEAR)
    lr = {"lr": 0.05} if fusion in ("fedadam", "fedyogi") else {}
    plain, masked = trained(fusion=fusion, **lr), trained(fusion=fusion, secure="masks", **lr)
    assert np.allclose(masked.history["loss"], plain.history["loss"], rtol=2e-3)
    # Steps that are divided by their size hide it from a loss of few digits.
    assert not arithmetic.equal(masked.weights, plain.weights), "numbers are rounded"


def test_more_bits_are_nearer() -> None:
    plain = trained().history["loss"]
    far, near = (
        np.abs(np.subtract(trained(secure=f"masks:bits={bits}").history["loss"], plain)).max()
        for bits in (10, 24)
    )
    assert near < 1e-4
    assert far > 10 * near


def test_central_privacy_goes_with_it() -> None:
    pytest.importorskip("dp_accounting")
    options = {"privacy": "central:clip=1,noise=0.5", "norm": False}
    plain, masked = trained(**options), trained(secure="masks", **options)
    assert masked.history["epsilon"] == plain.history["epsilon"]
    assert np.allclose(masked.history["loss"], plain.history["loss"], rtol=1e-3)


def test_traffic_is_that_of_the_protocol() -> None:
    plain, masked = trained(), trained(secure="masks")
    weights = {name: tensor.numpy() for name, tensor in net().state_dict().items()}
    count, size, entries = 5, arithmetic.num_bytes(weights), len(weights)
    numbers = sum(array.size for array in weights.values())
    sealed = count * (12 + 132 + 16)
    up = 64 + 8 * entries + 8 + sealed + 8 + 4 * numbers + 8 + count * 66 + 8
    told = count * 64 + 8 + 8 + 32 + 8 * entries + 8 + 8
    down = size + told + sealed + 8 * count
    for record in masked.history:
        assert record.bytes_up == count * up
        assert record.bytes_down == count * down
    assert plain.history[0].bytes_up == count * size
    assert any("times the bytes of its weights" in note for note in masked.notes)
    assert masked.history["secure_up"] == [pytest.approx(up / size)] * 3
    assert masked.history["secure_down"] == [pytest.approx(down / size)] * 3


def test_neighbours_cost_fewer_bytes_and_give_the_same_sum() -> None:
    options = {"parties": 12, "rounds": 1, "split": "iid"}
    every, some = (trained(secure=f"masks{more}", **options) for more in ("", ":neighbours=4"))
    assert np.allclose(some.history["loss"], every.history["loss"], rtol=1e-6)
    assert some.history[0].bytes_up < every.history[0].bytes_up
    assert any("are fewer than" in note for note in some.notes)
    assert not any("are fewer than" in note for note in every.notes)
    # Options are written out in notes as in errors.
    assert any("keys need --engine flower:superlink=" in note for note in every.notes)
    assert any("warning: --secure masks:neighbours=4: 4 neigh" in note for note in some.notes)


@pytest.mark.parametrize("fusion", SEVERAL_SUMS)
def test_a_rule_of_several_sums_is_not_private_by_the_noise_of_one(fusion: str) -> None:
    pytest.importorskip("dp_accounting")
    with pytest.raises(FusionError, match="noisy mean"):
        made(fusion=fusion, secure="masks", privacy="central:clip=1,noise=1", norm=False)


def test_a_checkpoint_has_no_keys(tmp_path: Any) -> None:
    run = trained(secure="masks", checkpoint=str(tmp_path / "kept"))
    assert all(not party.persistent_state for party in run.federation.parties)
    content = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert content
    assert b"cipher_key" not in content
    assert b"mask_key" not in content


def test_processes_have_the_same_curve() -> None:
    options = {"secure": "masks", "parties": 3, "rounds": 2}
    local = trained(engine="local", **options)
    process = trained(engine="process:workers=1", **options)
    assert process.history["loss"] == local.history["loss"]
    assert [r.bytes_up for r in process.history] == [r.bytes_up for r in local.history]


class Losing(EngineWrapper):
    """Loses parties at given steps; the training is the step "train"."""

    def __init__(self, lost: dict[str, Sequence[str]]) -> None:
        super().__init__(LocalEngine())
        self.lost = lost

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        name = request.name if isinstance(request, StepRequest) else ""
        name = "train" if isinstance(request, RoundRequest) else name
        lost = self.lost.get(name, ())
        replies = super().run(request, [party for party in cohort if party not in lost])
        for party in cohort:
            yield Failure(party, f"lost at {name}") if party in lost else next(replies)


def federation(rule: Any, engine: Any, *, quorum: float = 0.2) -> Federation:
    spec = RunSpec(data="data", **BASE)
    prepared = prepare(spec, {"model": net(False), "data": rows()})
    parties = prepared.resolved.data.parties
    options = prepared.resolved.train_options
    config = FederationConfig(options, quorum=quorum)
    return Federation(parties, prepared.resolved.model, rule, engine, config)


STEPS = ["train", "share", "send masked changes", "reveal"]


class TestDropOuts:
    @pytest.mark.parametrize("step", STEPS)
    def test_the_sum_is_recovered(self, step: str) -> None:
        gone = ["party 2"]
        rule = Masks(registry.create("fusions", "fedavg"), threshold=0.6)
        with_masks = federation(rule, Losing({step: gone}))
        without = federation(
            registry.create("fusions", "fedavg"),
            Losing({} if step == "reveal" else {"train": gone}),
        )
        (record,), _ = list(with_masks.rounds(1)), list(without.rounds(1))
        assert [failure.party for failure in record.failures] == gone
        for name, array in without.weights.items():
            assert np.allclose(with_masks.weights[name], array, atol=1e-5)

    @pytest.mark.parametrize("step", STEPS)
    def test_a_round_with_too_few_is_refused_and_the_last_whole_one_is_kept(
        self, step: str
    ) -> None:
        rule = Masks(registry.create("fusions", "fedavg"), threshold=0.6)
        found = federation(rule, Losing({step: ["party 1", "party 2", "party 5"]}))
        before = arithmetic.copy(found.weights)
        with pytest.raises(PartyError, match="round 1 is refused"):
            list(found.rounds(1))
        assert len(found.history) == 0
        assert arithmetic.equal(before, found.weights)

    def test_a_refused_round_can_be_trained_again(self) -> None:
        engine = Losing({"reveal": ["party 1", "party 2", "party 5"]})
        found = federation(Masks(registry.create("fusions", "fedavg"), threshold=0.6), engine)
        with pytest.raises(PartyError):
            list(found.rounds(1))
        engine.lost = {}
        assert len(list(found.rounds(2))) == 2

    def test_simulated_drop_outs_happen_at_every_step(self) -> None:
        run = trained(secure="masks:threshold=0.51", dropout=0.2, parties=12, rounds=8, split="iid")
        told = {failure.error for record in run.history for failure in record.failures}
        assert len(told) == 4
        assert any("send masked changes" in line for line in told)


def test_the_aggregator_receives_sums_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array that its code can reach is compared with every party's change."""
    changes: list[np.ndarray] = []
    reached: list[Any] = []
    original = summands.change_of

    def spied(new: Any, old: Any) -> Any:
        found = original(new, old)
        changes.append(np.concatenate([array.ravel() for array in found.values()]))
        return found

    class Spied(Masks):
        """Keeps all that it is given and that it is told."""

        def aggregate_in_steps(self, weights: Any, updates: Any, state: Any, ask: Any, round: int):  # type: ignore[no-untyped-def]
            found = list(updates)
            reached.extend([weights, found, state, vars(self)])

            def listening(*step: Any) -> Any:
                answers = ask(*step)
                reached.append(answers)
                return answers

            result = super().aggregate_in_steps(weights, iter(found), state, listening, round)
            reached.append(result)
            return result

    class Receiving(type(registry.create("fusions", "fedprox"))):  # type: ignore[misc]
        """Keeps all that the inner rule is given."""

        def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
            found = list(updates)
            reached.extend([weights, found])
            return super().aggregate(weights, iter(found), state)

    monkeypatch.setattr(summands, "change_of", spied)
    start = np.concatenate([a.numpy().ravel() for a in net(False).state_dict().values()])
    found = federation(Spied(Receiving(mu=0.0)), Losing({}))
    list(found.rounds(1))
    assert len(changes) == 5
    rows_seen = list(_rows(reached, len(start)))
    assert len(rows_seen) >= 7, "the masked rows, and the weights before and after"
    weights = slice(0, 16 * 6)  # of the first layer: in one entry all numbers have one scale
    for change in changes:
        for row in rows_seen:
            for candidate in (row[weights], (row - start)[weights]):
                lengths = np.linalg.norm(candidate) * np.linalg.norm(change[weights])
                alike = candidate @ change[weights] / max(lengths, 1e-12)
                # The sum is like its parts, and no more than the mean of five parties is.
                assert alike < 0.99, "a party's update"


def _rows(found: Any, size: int) -> Iterator[np.ndarray]:
    """All arrays, and all weights as one row, of a size, as signed numbers."""
    if isinstance(found, np.ndarray):
        if found.size == size:
            signed = found.astype(np.int32) if found.dtype == np.uint32 else found
            yield signed.ravel().astype(np.float64)
    elif isinstance(found, dict):
        arrays = [value for value in found.values() if isinstance(value, np.ndarray)]
        if arrays and len(arrays) == len(found) and sum(a.size for a in arrays) == size:
            yield np.concatenate([a.ravel().astype(np.float64) for a in arrays])
        for value in found.values():
            yield from _rows(value, size)
    elif isinstance(found, list | tuple):
        for value in found:
            yield from _rows(value, size)
    elif hasattr(found, "__dict__"):
        yield from _rows(vars(found), size)


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"fusion": "median"}, "compares the updates"),
            ({"fusion": "krum:f=0"}, "compares the updates"),
            ({"fusion": "bucketing:s=2+median"}, "compares the updates"),
            ({"fusion": "lag"}, "decide by their rows"),
            ({"fusion": "dynamic"}, "decide by their rows"),
            ({"personal": "ditto"}, "personal"),
            ({"share": "best"}, "share"),
            ({"ensemble": "vote"}, "ensemble"),
            ({"compress": "int8"}, "compress"),
            ({"adversary": "sign_flip:1"}, "forges"),
            ({"parties": 2}, "3 parties"),
            ({"fraction": 0.4}, "3 parties"),
            ({"secure": "masks:bits=30"}, "at most 4 parties"),
            ({"secure": "masks:bits=31"}, "bits=31"),
            ({"secure": "masks:threshold=1.5"}, "threshold=1.5"),
            ({"secure": "mask"}, "did you mean 'masks'"),
            ({"changes": "2:fusion=iter_avg"}, "secure"),
        ],
    )
    def test_what_does_not_go_together(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(FusionError) as caught:
            made(**{"secure": "masks", **options}).start().wait()
        assert words in str(caught.value)

    def test_weights_that_diverge_are_told_by_the_party(self) -> None:
        with pytest.raises(FusionError, match="lr"):
            trained(secure="masks", lr=1e30)


def test_a_clip_cuts_larger_changes() -> None:
    free, cut = trained(secure="masks"), trained(secure="masks:clip=1e-4")
    start = trained(rounds=1, lr=1e-9).history["loss"][0]
    moved = [abs(run.history["loss"][-1] - start) for run in (free, cut)]
    assert moved[1] < 0.2 * moved[0]


def test_finetuned_models_go_with_it() -> None:
    assert "personal_loss" in trained(secure="masks", personal="finetune").history.metrics()


def test_traffic_above_that_of_fedavg_is_told_in_whole_percents() -> None:
    (line,) = [each for each in trained(secure="masks").summary().splitlines() if "sent:" in each]
    percent = line.partition("no row of data; ")[2].partition(" %")[0]
    assert int(percent) > 100
