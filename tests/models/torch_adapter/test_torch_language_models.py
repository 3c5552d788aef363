"""Models of transformers as they are: their tasks, losses and metrics, and their random numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs
from tiny_transformers import VOCABULARY, bert, gpt, ids, lora, ragged, trained

from fusion_nb.errors import FusionError, ModelError

needs("transformers")

LABELS = ids()[:, 0] % 2


def whole_loss(model: Any, batch: Any) -> Any:
    """Return the model's own loss; a batch of columns is (inputs, labels)."""
    return model(**batch[0], labels=batch[1]).loss


def own_loss(model: Any, rows: np.ndarray, labels: np.ndarray, mask: Any = None) -> float:
    with torch.no_grad():
        masked = {} if mask is None else {"attention_mask": torch.tensor(mask)}
        found = model(input_ids=torch.tensor(rows), labels=torch.tensor(labels), **masked)
    return float(found.loss)


def test_a_classifier_is_measured_by_its_accuracy_and_its_own_loss() -> None:
    run = trained(
        bert(),
        ({"input_ids": ids(), "labels": LABELS}, {"input_ids": ids(), "labels": LABELS}),
        parties=3,
    )
    assert {*run.history.metrics()} == {"train_loss", "accuracy", "loss"}
    assert run.history["loss"][-1] == pytest.approx(own_loss(run.model, ids(), LABELS), rel=1e-5)


def test_a_causal_model_is_measured_as_its_own_loss_does() -> None:
    rows = {"input_ids": ids(), "labels": ids()}
    run = trained(gpt(), (rows, rows), parties=3)
    loss = own_loss(run.model, ids(), ids())
    assert run.history["loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert run.history["perplexity"][-1] == pytest.approx(math.exp(loss), rel=1e-5)
    with torch.no_grad():
        guessed = run.model(torch.tensor(ids())).logits[:, :-1].argmax(-1).numpy()
    right = (guessed == ids()[:, 1:]).mean()
    assert run.history["token_accuracy"][-1] == pytest.approx(right)
    assert "tokens: each place predicts the next token of its row" in run.notes


def test_padding_counts_neither_in_the_loss_nor_in_means_over_parties() -> None:
    parties = [ragged()[:6], ragged()[6:30], ragged()[30:]]
    tests = {
        f"party {i + 1}": ({"input_ids": rows}, {"input_ids": rows})
        for i, rows in enumerate(parties)
    }
    run = trained(gpt(), tests, parties=3)
    everything = ragged()
    length = max(map(len, everything))
    mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in everything])
    padded = np.array([row + [0] * (length - len(row)) for row in everything])
    loss = own_loss(run.model, padded, np.where(mask, padded, -100), mask)
    assert run.history["loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert run.history["perplexity"][-1] == pytest.approx(math.exp(loss), rel=1e-5)


@pytest.mark.parametrize(
    ("head", "labels", "note"),
    [
        ("MaskedLM", np.where(ids() % 3 == 0, ids(), -100), "the label of that place"),
        ("TokenClassification", ids() % 2, "the label of that place"),
    ],
)
def test_labels_of_each_place_are_not_shifted(head: str, labels: np.ndarray, note: str) -> None:
    rows = {"input_ids": ids(), "labels": labels}
    run = trained(bert(head), (rows, rows), parties=3)
    assert run.history["loss"][-1] == pytest.approx(own_loss(run.model, ids(), labels), rel=1e-5)
    assert any(note in said for said in run.notes)


def test_a_model_learns_and_its_tied_weights_stay_tied() -> None:
    run = trained(gpt(0.0), ids(), rounds=4, lr=0.05)
    assert run.history["token_accuracy"][-1] > run.history["token_accuracy"][0]
    assert run.model.lm_head.weight is run.model.transformer.wte.weight


@pytest.mark.parametrize("make", [gpt, bert, lambda: lora(gpt()), lambda: lora(bert())])
def test_dropout_depends_on_the_seed_alone(make: Any) -> None:
    model = make()
    is_classifier = "Bert" in repr(type(model)) or "Classification" in repr(type(model))
    data = {"input_ids": ids(), "labels": LABELS if is_classifier else ids()}
    curves = []
    for workers, drawn in ((1, 1), (2, 2)):
        torch.manual_seed(drawn)
        run = trained(model, data, engine=f"local:workers={workers}")
        curves.append(run.history["train_loss"])
    assert curves[0] == curves[1]
    assert trained(model, data, seed=1).history["train_loss"] != curves[0]


def test_perplexities_of_parties_have_the_mean_of_their_losses() -> None:
    run = trained(gpt(), ids(), baseline="local", personal="finetune")
    last = run.history[-1].metrics
    for prefix in ("", "alone_", "personal_"):
        assert last[f"{prefix}perplexity"] == pytest.approx(math.exp(last[f"{prefix}loss"]))


@pytest.mark.parametrize(
    ("make", "data", "words"),
    [
        (gpt, ids() + VOCABULARY // 2, "vocabulary has 20"),
        (gpt, ids(length=17), "takes at most 16"),
        (lambda: lora(gpt()), ids() + 5, "vocabulary has 20"),
        (gpt, ids() - 3, "the token -3"),
        (gpt, ids(length=1), "no next one"),
        (gpt, ids().astype(np.float32), "are float32"),
        (bert, {"input_ids": ids(), "labels": LABELS + 3}, "labels run from 3 to 4"),
        (bert, {"input_ids": ids(), "labels": LABELS[:5]}, "has 5 rows"),
    ],
)
def test_what_a_model_has_no_place_for_is_refused(make: Any, data: Any, words: str) -> None:
    rows = {"input_ids": data} if isinstance(data, np.ndarray) else data
    with pytest.raises(FusionError) as error:
        trained(make(), rows)
    assert words in str(error.value)


def test_predictions_of_each_token_are_not_joined() -> None:
    with pytest.raises(ModelError, match="language model"):
        trained(gpt(), ids(), ensemble="mean")


def encoder_decoder() -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0, **sizes)
    return T5ForConditionalGeneration(config)


def test_an_encoder_with_a_decoder_is_trained_by_its_own_loss() -> None:
    rows = {"input_ids": ids(), "labels": ids()}
    with pytest.raises(ModelError, match="encoder with a decoder"):
        trained(encoder_decoder(), rows)
    run = trained(encoder_decoder(), (rows, rows), parties=3, loss=whole_loss)
    assert run.history["loss"][-1] == pytest.approx(own_loss(run.model, ids(), ids()), rel=1e-5)


@pytest.mark.parametrize("form", [np.asarray, torch.tensor, list])
def test_data_sets_of_single_rows_are_taken(form: Any) -> None:
    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 36

        def __getitem__(self, row: int) -> Any:
            return {"input_ids": form(ids()[row].tolist()), "labels": form(ids()[row].tolist())}

    run = trained(gpt(0.0), Rows())
    usual = trained(gpt(0.0), {"input_ids": ids(), "labels": ids()})
    assert run.history["loss"] == pytest.approx(usual.history["loss"], rel=1e-5)


def test_a_loss_of_the_user_is_taken_as_it_is() -> None:
    rows = {"input_ids": ids(), "labels": ids()}
    own = trained(gpt(0.0), rows, loss=whole_loss)
    usual = trained(gpt(0.0), rows)
    assert own.history["loss"] == pytest.approx(usual.history["loss"], rel=1e-5)
