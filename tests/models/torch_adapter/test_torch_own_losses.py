"""Losses that users write for more than outputs and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_torch_trees import Items, Tokens, losses_of, tokens
from torch import Tensor, nn
from torch.nn import functional as F
from torch_samples import CLASSES, X, checked, fit

from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import FusionError, ModelError, OptionError
from fusion_nb.models.torch.adapter import TorchModel

ROWS = (X, CLASSES)


def of_batch(module: Any, batch: Any) -> Tensor:
    x, y = batch
    return F.cross_entropy(module(x), y)


def of_model(model: Any, batch: Any) -> Tensor:
    return of_batch(model, batch)


def annotated(net: nn.Module, rows: Any) -> Tensor:
    return of_batch(net, rows)


def penalised(module: Any, batch: Any) -> Tensor:
    return of_batch(module, batch) + 10 * module.weight.pow(2).sum()


class Stepping(nn.Linear):
    """A model with a step of its own, as a LightningModule has it."""

    def __init__(self) -> None:
        super().__init__(4, 3)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {"loss": of_batch(self, batch)}

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters())


class OfOne(nn.Linear):
    """A training step of the batch alone."""

    def __init__(self) -> None:
        super().__init__(4, 3)

    def training_step(self, batch: Any) -> Any:
        return of_batch(self, batch)


def notes_of(module: nn.Module, data: Any = ROWS, **options: Any) -> list[str]:
    model = TorchModel(module, device="cpu", **options)
    return model.check(data, DataSchema.of(data), lr=0.1, optimizer="sgd")


class TestOfBatches:
    @pytest.mark.parametrize("loss", [of_batch, of_model, annotated])
    def test_a_loss_of_module_and_batch_trains_as_one_of_outputs(self, loss: Any) -> None:
        found = losses_of(nn.Linear(4, 3), ROWS, loss=loss)
        assert found == pytest.approx(losses_of(nn.Linear(4, 3), ROWS))

    def test_it_is_given_the_module_that_is_trained(self) -> None:
        model = nn.Linear(4, 3)
        adapter = checked(model, loss=penalised)
        shrunk, free = fit(adapter.clone(), ROWS, lr=0.02), fit(checked(model), ROWS, lr=0.02)
        norms = [np.linalg.norm(found.weights["weight"]) for found in (shrunk, free)]
        assert norms[0] < 0.7 * norms[1]
        assert model.weight.grad is None

    def test_a_batch_is_what_the_data_gives(self) -> None:
        found = losses_of(
            Tokens(), Items(tokens), loss=lambda module, batch: module(**batch)["loss"]
        )
        assert found == pytest.approx(losses_of(Tokens(), Items(tokens)))

    @pytest.mark.parametrize(
        "engine", [pytest.param("process", marks=pytest.mark.slow), "local:workers=2", "auto"]
    )
    def test_engines_agree(self, engine: str) -> None:
        wanted = losses_of(nn.Linear(4, 3), ROWS, loss=of_batch, engine="local")
        assert losses_of(nn.Linear(4, 3), ROWS, loss=of_batch, engine=engine) == wanted

    @pytest.mark.parametrize(
        ("loss", "said"),
        [
            (lambda module, batch: module(batch[0]), "returns no single number"),
            (lambda module, batch: torch.zeros(()), "has no gradient"),
            (lambda module, batch: 1.0, "returns no single number"),
        ],
    )
    def test_what_is_no_loss_is_refused(self, loss: Any, said: str) -> None:
        with pytest.raises(ModelError, match=said):
            notes_of(nn.Linear(4, 3), loss=loss)

    def test_ensembles_and_stacks_refuse_it_in_a_line(self) -> None:
        with pytest.raises(FusionError, match="ensemble"):
            losses_of(nn.Linear(4, 3), ROWS, loss=of_batch, ensemble="mean")
        with pytest.raises(OptionError, match="vectorized"):
            losses_of(nn.Linear(4, 3), ROWS, loss=of_batch, engine="vectorized")


class TestTrainingStep:
    @pytest.mark.parametrize("kind", [Stepping, OfOne])
    def test_a_training_step_of_the_models_own_is_used(self, kind: Any) -> None:
        assert losses_of(kind(), ROWS) == pytest.approx(losses_of(nn.Linear(4, 3), ROWS))

    def test_it_is_said_what_is_used_and_what_is_not(self) -> None:
        notes = notes_of(Stepping())
        assert notes[0] == "loss: training_step (Stepping computes its own)"
        assert "optimizer: that of the run; configure_optimizers of Stepping is not used" in notes
        assert not any("configure_optimizers" in note for note in notes_of(OfOne()))

    def test_a_given_loss_is_used_instead(self) -> None:
        assert notes_of(Stepping(), loss="cross_entropy") == ["loss: cross_entropy (as named)"]

    def test_a_step_without_a_loss_is_refused(self) -> None:
        class Empty(Stepping):
            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return None

        with pytest.raises(ModelError, match="training_step of Empty returns no loss"):
            notes_of(Empty())


class TestWeights:
    rows = Items(lambda i: (X[i], int(CLASSES[i]), float(i < 20)))

    def test_a_loss_of_three_is_given_the_weights(self) -> None:
        def weighted(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
            return (F.cross_entropy(output, target, reduction="none") * weight).sum()

        adapter = TorchModel(nn.Linear(4, 3), loss=weighted, device="cpu")
        adapter.check(self.rows, DataSchema.of(self.rows), lr=0.1, optimizer="sgd")
        start = adapter.get_weights()
        found = fit(adapter, self.rows, batch_size=40)
        model = nn.Linear(4, 3)
        model.load_state_dict({name: torch.tensor(value) for name, value in start.items()})
        half = F.cross_entropy(
            model(torch.tensor(X[:20])), torch.tensor(CLASSES[:20]), reduction="sum"
        )
        half.backward()
        wanted = model.weight - 0.1 * model.weight.grad
        assert np.allclose(found.weights["weight"], wanted.detach().numpy(), atol=1e-4)

    @pytest.mark.parametrize("loss", ["", "cross_entropy", F.mse_loss, nn.MSELoss()])
    def test_a_loss_that_takes_none_is_refused_in_a_line(self, loss: Any) -> None:
        with pytest.raises(ModelError, match=r"\(x, y, weight\), and the loss takes no weight"):
            notes_of(nn.Linear(4, 3), self.rows, loss=loss)

    def test_a_loss_of_module_and_batch_may_use_them(self) -> None:
        def loss(module: Any, batch: Any) -> Tensor:
            x, y, weight = batch
            return (F.cross_entropy(module(x), y, reduction="none") * weight).mean()

        assert np.isfinite(losses_of(nn.Linear(4, 3), self.rows, loss=loss)).all()


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside, self.out = nn.Linear(4, 4), nn.Linear(2, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.inside(x).chunk(2, 1)
        drawn = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.out(drawn), mean, log_variance


def evidence(outputs: Any, target: Tensor) -> Tensor:
    again, mean, log_variance = outputs
    divergence = (mean.pow(2) + log_variance.exp() - 1 - log_variance).mean() / 2
    return F.mse_loss(again, target) + divergence


class TestOfAllOutputs:
    def test_a_loss_may_take_all_that_a_model_returns(self) -> None:
        found = losses_of(Autoencoder(), (X, X.copy()), loss=evidence)
        assert np.isfinite(found).all()

    def test_a_loss_of_the_output_alone_is_given_the_output(self) -> None:
        class Dicts(nn.Linear):
            def forward(self, x: Tensor) -> Any:
                return {"logits": super().forward(x)}

        found = losses_of(Dicts(4, 3), ROWS, loss=lambda o, t: F.cross_entropy(o, t))
        assert found == pytest.approx(losses_of(nn.Linear(4, 3), ROWS))
