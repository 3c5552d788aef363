"""Weights of classes: agreed over all parties, honoured by losses of classes, refused by others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fusion_nb
from fusion_nb.errors import FusionError
from fusion_nb.models.class_weights import balanced, count_flags

OPTIONS: dict[str, Any] = {"rounds": 1, "lr": 0.5, "batch_size": 1000, "holdout": 0.25}


def rare(count: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3)).astype(np.float32)
    return x, (np.arange(count) % 5 == 0).astype(np.int64)


def parties() -> dict[str, Any]:
    """Three parties, of which one has one class only: its own weights would be others."""
    x, y = rare(160)
    yes, no = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    split = {"both": np.r_[yes[:16], no[:24]], "no": no[24:64], "rest": np.r_[yes[16:], no[64:]]}
    return {name: (x[rows], y[rows]) for name, rows in split.items()}


def trained(run: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """All training rows of a run, and their labels."""
    rows = [party.train for party in run.federation.parties]
    x, y = (np.concatenate([part[i] for part in rows]) for i in (0, 1))
    return torch.as_tensor(x), torch.as_tensor(y)


def stepped(model: nn.Module, loss: torch.Tensor) -> list[np.ndarray]:
    """The weights after one step of SGD."""
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return [
        (p - OPTIONS["lr"] * g).detach().numpy()
        for p, g in zip(model.parameters(), gradients, strict=True)
    ]


def weights_of(run: Any) -> list[np.ndarray]:
    return [run.weights[name] for name in run.weights]


LOSSES = {
    "cross_entropy": (2, lambda o, y, w: F.cross_entropy(o, y, reduction="none") * w),
    "nll_of_probabilities": (2, lambda o, y, w: -o[torch.arange(len(y)), y].log() * w),
    "bce_logits": (
        1,
        lambda o, y, w: (
            F.binary_cross_entropy_with_logits(o.flatten(), y.float(), reduction="none") * w
        ),
    ),
    "smoothed": (
        2,
        lambda o, y, w: F.cross_entropy(o, y, label_smoothing=0.2, reduction="none") * w,
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_one_step_is_that_of_weighted_rows_of_all_parties(name: str) -> None:
    outputs, each = LOSSES[name]
    torch.manual_seed(0)
    model: nn.Module = nn.Linear(3, outputs)
    if name == "nll_of_probabilities":
        model = nn.Sequential(model, nn.Softmax(1))
    options = OPTIONS | (
        {"loss": nn.CrossEntropyLoss(label_smoothing=0.2)} if "smooth" in name else {}
    )
    run = fusion_nb.federate(model, parties(), class_weights="balanced", **options)
    x, y = trained(run)
    counts = np.bincount(y.numpy())
    weights = torch.as_tensor(len(y) / (2 * counts), dtype=torch.float32)
    # Batches are whole parties, and parties count by their rows: one step on all rows.
    expected = stepped(model, each(model(x), y, weights[y]).mean())
    for found, right in zip(weights_of(run), expected, strict=True):
        assert found == pytest.approx(right, abs=1e-5)
    assert any("class weights: 0 " in note for note in run.notes)


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_vectorized_engine_weighs_alike(outputs: int) -> None:
    pytest.importorskip("greenlet")
    torch.manual_seed(0)
    model, options = nn.Linear(3, outputs), OPTIONS | {"batch_size": 8, "rounds": 3}
    options |= {"class_weights": "balanced"}
    runs = [
        fusion_nb.federate(model, parties(), engine=engine, **options)
        for engine in ("local", "vectorized")
    ]
    for one, other in zip(*map(weights_of, runs), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_masks_without_ignored_places() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 1, 4, 4)).astype(np.float32)
    masks = (x[:, 0] > 1).astype(np.int64)
    masks[:, 0] = -100
    torch.manual_seed(0)
    model = nn.Conv2d(1, 2, 1)
    run = fusion_nb.federate(model, (x, masks), parties=1, class_weights="balanced", **OPTIONS)
    rows, y = trained(run)
    counted = y[y >= 0]
    weights = len(counted) / (2 * torch.bincount(counted))
    each = F.cross_entropy(model(rows), y, reduction="none")[y >= 0] * weights[counted]
    for found, right in zip(weights_of(run), stepped(model, each.mean()), strict=True):
        assert found == pytest.approx(right, abs=1e-5)


def test_several_yes_or_no() -> None:
    x, _ = rare()
    flags = (x > 0.7).astype(np.float32)
    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    run = fusion_nb.federate(model, (x, flags), parties=2, class_weights="balanced", **OPTIONS)
    rows, y = trained(run)
    weights = torch.as_tensor(balanced(count_flags([y.numpy()], 3)), dtype=torch.float32)
    each = F.binary_cross_entropy_with_logits(model(rows), y.float(), reduction="none")
    each = each * torch.where(y > 0.5, weights[:, 1], weights[:, 0])
    for found, right in zip(weights_of(run), stepped(model, each.mean()), strict=True):
        assert found == pytest.approx(right, abs=1e-5)


def test_given_weights_by_name() -> None:
    x, y = rare()
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    data = (x, np.where(y == 1, "sick", "well"))
    run = fusion_nb.federate(model, data, parties=1, class_weights="sick=9", **OPTIONS)
    rows, labels = trained(run)
    weights = torch.tensor([9.0, 1.0])[labels]
    each = F.cross_entropy(model(rows), labels, reduction="none") * weights
    for found, right in zip(weights_of(run), stepped(model, each.mean()), strict=True):
        assert found == pytest.approx(right, abs=1e-5)


def test_evaluation_does_not_weigh() -> None:
    torch.manual_seed(0)
    model, options = nn.Linear(3, 2), OPTIONS | {"lr": 1e-9}
    plain = fusion_nb.federate(model, rare(), **options)
    weighed = fusion_nb.federate(model, rare(), class_weights="balanced", **options)
    assert weighed.history["loss"] == pytest.approx(plain.history["loss"], abs=1e-6)
    assert weighed.history["train_loss"] != pytest.approx(plain.history["train_loss"], abs=1e-3)


@pytest.mark.parametrize("text", ["balance", "1", "a=b", "1=0", "1=-2", "1=inf", "1=nan", "="])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(FusionError, match="is not allowed"):
        fusion_nb.federate(nn.Linear(3, 2), rare(), class_weights=text)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"loss": lambda o, t: F.cross_entropy(o, t)}, "can't weigh rows by their class"),
        ({"loss": nn.CrossEntropyLoss(weight=torch.ones(2))}, "weights of its own"),
        ({"loss": nn.MultiMarginLoss()}, "it is your own"),
        ({"class_weights": "maybe=2"}, "no class is called 'maybe'"),
    ],
)
def test_losses_that_cannot_weigh_are_refused(options: Any, line: str) -> None:
    with pytest.raises(FusionError, match=line):
        fusion_nb.federate(nn.Linear(3, 2), rare(), **{"class_weights": "balanced"} | options)


def test_numbers_and_models_without_them_are_refused() -> None:
    x, _ = rare()
    with pytest.raises(FusionError, match="the labels are not classes"):
        fusion_nb.federate(nn.Linear(3, 1), (x, x[:, 0]), class_weights="balanced")
    models = pytest.importorskip("gensim.models.doc2vec")
    texts = [f"word{i % 7} other{i % 3} more{i % 5}" for i in range(24)]
    with pytest.raises(FusionError, match="has no weights of classes"):
        fusion_nb.federate(
            models.Doc2Vec(vector_size=4, min_count=1), texts, class_weights="balanced"
        )


@pytest.mark.parametrize("counts", [[90, 10], [5, 0, 5], [1, 2, 3]])
def test_balanced_as_scikit_learn_has_it(counts: list[int]) -> None:
    utils = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.repeat(np.arange(len(counts)), counts)
    present = np.unique(labels)
    expected = utils.compute_class_weight("balanced", classes=present, y=labels)
    assert balanced(np.array(counts))[present] == pytest.approx(expected)
