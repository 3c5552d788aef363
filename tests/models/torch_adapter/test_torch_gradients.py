"""Gradients: a mode that an earlier cell switched off, outputs without any, and sparse ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_samples import CLASSES, Functional, X, checked, fit

import fusion_nb
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.torch.adapter import TorchModel

WORDS = np.random.default_rng(0).integers(0, 50, (40, 6))


@pytest.fixture
def no_gradients() -> Iterator[None]:
    torch.set_grad_enabled(False)
    yield
    torch.set_grad_enabled(True)


class TestMode:
    @pytest.mark.usefixtures("no_gradients")
    @pytest.mark.parametrize("engine", ["local", "vectorized"])
    def test_a_run_records_gradients_whatever_the_mode(self, engine: str) -> None:
        model = nn.Linear(4, 3)
        run = fusion_nb.federate(model, (X, CLASSES), rounds=1, parties=2, engine=engine)
        assert not torch.equal(run.model.weight, model.weight)
        assert not torch.is_grad_enabled()

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_an_adapter_does_too(self, mode: Callable[[], Any]) -> None:
        with mode():
            model = nn.Linear(4, 3)
            adapter = checked(model)
            before, after = adapter.get_weights(), fit(adapter, (X, CLASSES)).weights
        assert not np.array_equal(before["weight"], after["weight"])


class TestOutputs:
    @pytest.mark.parametrize(
        ("last", "said"),
        [
            (lambda out: out.argmax(1), "numbers of torch.int64, which have no gradient"),
            (lambda out: out > 0, "numbers of torch.bool, which have no gradient"),
            (lambda out: out.detach(), "output has no gradient"),
            (lambda out: out.argmax(1, keepdim=True).float(), "output has no gradient"),
            (lambda out: torch.tensor(out.tolist()), "output has no gradient"),
        ],
    )
    def test_an_output_without_a_gradient_is_refused_in_a_line(self, last: Any, said: str) -> None:
        class Last(Functional):
            def forward(self, x: Tensor) -> Tensor:
                return self.last(self.layer(x))

        y = X[:, 0] if "keepdim" in str(last) else CLASSES
        with pytest.raises(ModelError, match=said) as caught:
            checked(Last(last), y if last(torch.zeros(2, 3)).shape != (2, 1) else X[:, 0])
        assert "argmax()" in caught.value.hint

    def test_a_loss_without_a_gradient_is_refused_in_a_line(self) -> None:
        def loss(output: Tensor, target: Tensor) -> Tensor:
            return (output.argmax(1) != target).float().mean()

        with pytest.raises(ModelError, match="the loss loss has no gradient"):
            checked(nn.Linear(4, 3), loss=loss)


class Bag(nn.Module):
    def __init__(self, kind: Any = nn.EmbeddingBag, *, sparse: bool = True) -> None:
        super().__init__()
        self.words, self.out = kind(50, 8, sparse=sparse), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        found = self.words(x)
        return self.out(found if found.ndim == 2 else found.mean(1))


class TestSparse:
    @pytest.mark.parametrize("kind", [nn.EmbeddingBag, nn.Embedding])
    @pytest.mark.parametrize(
        "options",
        [
            {"fusion": "fedprox:mu=0.1"},
            {"fusion": "scaffold"},
            {"fusion": "feddyn:alpha=0.1"},
            {"personal": "ditto"},
            {"personal": "apfl"},
        ],
        ids=str,
    )
    def test_a_sparse_embedding_trains_as_a_dense_one(
        self, kind: Any, options: dict[str, Any]
    ) -> None:
        losses = []
        for sparse in (True, False):
            torch.manual_seed(0)
            model = Bag(kind, sparse=sparse)
            data = WORDS, WORDS[:, 0] % 3
            run = fusion_nb.federate(model, data, rounds=2, parties=2, **options)
            losses.append(run.history.last()["loss"])
        assert losses[0] == pytest.approx(losses[1], abs=1e-6)


class TestOptimizers:
    @pytest.mark.parametrize(
        ("optimizer", "hint"),
        [
            (torch.optim.Adam([torch.zeros(1)], weight_decay=0.1), "adam:weight_decay=0.1"),
            (torch.optim.SGD([torch.zeros(1)], lr=0.5), "--optimizer sgd"),
            (functools.partial(torch.optim.SGD, momentum=0.9), "sgd:momentum=0.9"),
            (functools.partial(torch.optim.AdamW, lr=0.1), "--optimizer adamw"),
            ("adam:lr=0.001", "--lr 0.001"),
            ("sgd:momentum=0.9,lr=0.5", "--lr 0.5"),
            ("adam:learning_rate=0.1", "--lr 0.1"),
        ],
        ids=str,
    )
    def test_it_is_said_how_to_write_it(self, optimizer: Any, hint: str) -> None:
        model = TorchModel(nn.Linear(4, 3))
        schema = DataSchema.of((X, CLASSES))
        with pytest.raises(OptionError) as caught:
            model.check((X, CLASSES), schema, lr=0.1, optimizer=optimizer)
        assert hint in caught.value.hint
        assert "\n" not in caught.value.message
