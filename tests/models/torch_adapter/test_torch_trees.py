"""Rows of several inputs, and outputs that are a part of what a model returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_samples import CLASSES, X, checked, fit

import fusion_nb
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import FusionError, ModelError, OptionError
from fusion_nb.models.torch.adapter import TorchModel

A, B = X[:, :2].copy(), X[:, 2:].copy()
WORDS = np.random.default_rng(0).integers(0, 20, (40, 5))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.layer(torch.cat([a, b], 1))


class AsOne(Two):
    def forward(self, parts: Any) -> Tensor:  # type: ignore[override]
        found = parts.values() if isinstance(parts, dict) else parts
        return self.layer(torch.cat(list(found), 1))


class Tokens(nn.Module):
    """A model of Hugging Face's form, with words in place of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(20, 4), nn.Linear(4, 3)

    def forward(self, input_ids: Tensor, attention_mask: Any = None, labels: Any = None) -> Any:
        found = (self.words(input_ids) * attention_mask[..., None]).mean(1)
        logits = self.out(found)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


@dataclass(frozen=True)
class Items(torch.utils.data.Dataset[Any]):
    """A data set whose rows a function makes."""

    item: Callable[[int], Any]

    def __len__(self) -> int:
        return 40

    def __getitem__(self, row: int) -> Any:
        return self.item(row)


def tokens(row: int) -> dict[str, Any]:
    mask = (WORDS[row] > 3).astype(int)
    return {"input_ids": WORDS[row], "attention_mask": mask, "labels": int(CLASSES[row])}


def losses_of(module: nn.Module, data: Any, **options: Any) -> list[float]:
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Embedding):
            layer.reset_parameters()
    run = fusion_nb.federate(module, data, rounds=2, parties=2, seed=1, **options)
    return run.history["loss"]


class TestInputs:
    @pytest.mark.parametrize(
        ("module", "data"),
        [
            (Two(), ((A, B), CLASSES)),
            (Two(), ((torch.tensor(A), torch.tensor(B)), torch.tensor(CLASSES))),
            (Two(), ({"b": B, "a": A}, CLASSES)),
            (AsOne(), ((A, B), CLASSES)),
            (Two(), Items(lambda i: ((A[i], B[i]), CLASSES[i]))),
            (Two(), Items(lambda i: ({"a": A[i], "b": B[i]}, CLASSES[i]))),
            (Two(), Items(lambda i: {"a": A[i], "b": B[i], "label": CLASSES[i]})),
        ],
    )
    def test_several_inputs_train_as_one_that_is_joined(self, module: Any, data: Any) -> None:
        assert losses_of(module, data) == pytest.approx(losses_of(nn.Linear(4, 3), (X, CLASSES)))

    @pytest.mark.parametrize(
        "engine", ["local:workers=2", pytest.param("process", marks=pytest.mark.slow), "auto"]
    )
    def test_engines_agree(self, engine: str) -> None:
        data = (A, B), CLASSES
        assert losses_of(Two(), data, engine=engine) == losses_of(Two(), data, engine="local")

    def test_the_vectorised_engine_refuses_them_in_a_line(self) -> None:
        with pytest.raises(OptionError, match=r"vectorized.*can't train this model"):
            losses_of(Two(), ((A, B), CLASSES), engine="vectorized")

    def test_whole_numbers_stay_whole_and_others_have_the_models_type(self) -> None:
        class Mixed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.words, self.out = nn.Embedding(20, 4), nn.Linear(8, 3)

            def forward(self, words: Tensor, numbers: Tensor) -> Tensor:
                return self.out(torch.cat([self.words(words).mean(1), numbers], 1))

        data = Items(lambda i: ((WORDS[i], X[i].astype(np.float64)), CLASSES[i]))
        model = TorchModel(Mixed(), device="cpu")
        model.check(data, DataSchema.of(data), lr=0.1, optimizer="sgd")
        assert np.isfinite(fit(model, data).metrics["loss"])

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (({"a": A, "c": B}, CLASSES), r"inputs a, c, and forward\(a, b\)"),
            (((A, B, A), CLASSES), r"3 inputs, and forward\(a, b\)"),
            (Items(lambda i: {"a": A[i], "b": B[i]}), "a dict of a, b, none of which is its label"),
            (Items(lambda i: (A[i], B[i], A[i], 1)), r"not a pair \(x, y\)"),
        ],
    )
    def test_rows_that_forward_does_not_take_are_refused(self, data: Any, said: str) -> None:
        with pytest.raises(FusionError, match=said):
            losses_of(Two(), data)

    @pytest.mark.parametrize(
        "options",
        [{"ensemble": "mean"}, {"personal": "apfl"}, {"baseline": "central,local"}],
        ids=str,
    )
    def test_methods_around_the_run_take_them(self, options: dict[str, Any]) -> None:
        assert np.isfinite(losses_of(Two(), ((A, B), CLASSES), **options)).all()


class Pair(NamedTuple):
    logits: Tensor
    extra: Tensor


class Named:
    def __init__(self, logits: Tensor) -> None:
        self.logits, self.loss = logits, None


class Returning(nn.Module):
    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.form = nn.Linear(4, 3), form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.layer(x))


class TestOutputs:
    @pytest.mark.parametrize(
        "form",
        [
            lambda out: {"logits": out, "features": out * 2},
            lambda out: Pair(out, out * 2),
            Named,
            lambda out: (out, (out.sum(), None)),
            lambda out: [out, None],
            lambda out: {"prediction": out, "aux": out.sum()},
        ],
    )
    def test_the_meant_output_is_trained(self, form: Callable[[Tensor], Any]) -> None:
        wanted = losses_of(nn.Linear(4, 3), (X, CLASSES))
        assert losses_of(Returning(form), (X, CLASSES)) == pytest.approx(wanted)

    def test_it_is_said_which_output_is_taken(self) -> None:
        model = TorchModel(Returning(Named), device="cpu")
        notes = model.check((X, CLASSES), DataSchema.of((X, CLASSES)), lr=0.1, optimizer="sgd")
        assert any(note.startswith("output: the tensor of shape (32, 3)") for note in notes)

    def test_a_model_of_hugging_faces_form_trains_on_dicts(self) -> None:
        assert np.isfinite(losses_of(Tokens(), Items(tokens))).all()
        with pytest.raises(ModelError, match="unexpected keyword argument 'idx'"):
            losses_of(Tokens(), Items(lambda i: tokens(i) | {"idx": i}))

    @pytest.mark.parametrize(
        "form",
        [lambda out: (out, out * 2), lambda out: {"a": out, "b": out}, lambda out: ("a", None)],
    )
    def test_several_possible_outputs_are_refused(self, form: Callable[[Tensor], Any]) -> None:
        with pytest.raises(ModelError, match=r"for 32 rows the model returns (tuple|dict)"):
            checked(Returning(form))

    def test_a_layer_that_takes_rows_for_time_steps_is_refused(self) -> None:
        with pytest.raises(ModelError, match="the model returns tuple, and for a row alone"):
            checked(nn.LSTM(4, 3))

    def test_a_recurrent_layer_over_words_is_trained(self) -> None:
        class Text(nn.Module):
            def __init__(self, width: int) -> None:
                super().__init__()
                self.words, self.lstm = nn.Embedding(20, 8), nn.LSTM(8, 6, batch_first=True)
                self.out = nn.Linear(width, 3)

            def forward(self, x: Tensor) -> Any:
                found, hidden = self.lstm(self.words(x))
                return self.out(found[:, -1]), hidden

        assert np.isfinite(losses_of(Text(6), (WORDS, CLASSES))).all()
        with pytest.raises(ModelError, match="mat1 and mat2"):
            checked(Text(5), CLASSES, WORDS)
