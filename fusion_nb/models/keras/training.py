"""The training of a compiled Keras model, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.types import Metrics, TrainingResult
from fusion_nb.errors import ModelError
from fusion_nb.models.keras import optimizers, randomness
from fusion_nb.models.keras.gradients import Correction
from fusion_nb.models.keras.own_steps import batches_as_in_fit
from fusion_nb.models.keras.setup import Setup
from fusion_nb.models.keras.variables import NamedVariables
from fusion_nb.models.passes import epochs_or_steps

#: Rows in a batch of evaluation.
_EVALUATION_BATCH = 128


class Trainer:
    """Compiles a model once, and trains and evaluates it.

    Each training only restores the optimizer's state, so that Keras traces nothing anew.
    """

    def __init__(
        self,
        model: keras.Model,
        variables: NamedVariables,
        setup: Setup,
        optimizer: Any,
        lr: float | None,
    ) -> None:
        self.optimizer = optimizer
        self.lr = lr
        self._model = model
        self._variables = variables
        self._setup = setup
        # Compiled kernels are made for each size of batch, and the last batch of each party has its
        # own.
        try:
            model.compile(
                optimizer=optimizers.make(optimizer, lr),
                loss=setup.objective.loss,
                loss_weights=setup.objective.loss_weights,
                metrics=setup.objective.measures(),
                run_eagerly=setup.run_eagerly,
                jit_compile=False,
            )
        except TypeError as error:
            if type(model).compile is keras.Model.compile:
                raise
            raise ModelError(
                f"compile() of {type(model).__name__} is its own, and does not take an optimizer "
                f"and a loss: {error}",
                "let it take **kwargs and give them to super().compile(); parties train a model "
                "with one optimizer, and no GAN",
            ) from error
        model.optimizer.build(
            model.trainable_variables
        )  # mixed precision has wrapped the optimizer
        self._state = model.optimizer.variables
        self._fresh = optimizers.state(self._state)
        self._correction = Correction(model, variables.trained())

    def takes(self, optimizer: Any, lr: float | None) -> bool:
        """Return whether it trains with an optimizer and a learning rate, which it then takes over.

        Another rate needs no other optimizer, which would have to be compiled again.
        """
        if optimizer != self.optimizer or (lr is None) != (self.lr is None):
            return False
        self.lr = lr
        return True

    def train(
        self,
        data: Any,
        gate: Callable[[], None],
        *,
        epochs: int,
        batch_size: int,
        steps: int,
        seed: int,
        kept: dict[str, Any] | None,
        **added: Any,
    ) -> TrainingResult:
        """Train until the end, or until the mean loss of a pass is not finite.

        gate: called between two batches;  added: terms of the gradient, see `Model.fit`
        kept: a party's entries from earlier rounds, if its optimizer continues from them, or None
        """
        optimizers.restore(self._state, (kept or {}).get("optimizer", self._fresh))
        if self.lr is not None:  # the state holds the rate of the round that it is of
            optimizers.bare(self._model.optimizer).learning_rate = self.lr
        self._correction.prepare(**added)
        randomness.seed_generators(self._model, seed)
        shuffler = np.random.default_rng(seed)
        before = optimizers.num_steps(self._model.optimizer)
        taken, mean = 0, float("nan")
        passes = epochs_or_steps(
            lambda: rows_of.chunks(shuffler.permutation(rows_of.size(data)), batch_size),
            epochs,
            steps,
        )
        with batches_as_in_fit(self._model), randomness.own_randomness(seed):
            for first, batches in passes:
                total = 0.0
                made = self._setup.training_batches(data, batches, seed + first)
                for (x, y, weights), batch in zip(made, batches, strict=True):
                    gate()
                    found = self._model.train_on_batch(
                        x, y, sample_weight=weights, return_dict=True
                    )
                    total += self._setup.per_row(found["loss"], len(batch)) * len(batch)
                taken = first + len(batches)
                mean = total / sum(map(len, batches))
                if not np.isfinite(mean):
                    break
        if taken:
            self._correction.check()
        if kept is not None:
            kept["optimizer"] = optimizers.state(self._state)
        # A train_step that does not use its optimizer is counted as one step for each batch.
        num_steps = optimizers.num_steps(self._model.optimizer) - before or taken
        size = optimizers.effective_step_size(self._model.optimizer, num_steps)
        return TrainingResult(self._variables.read(), {"loss": mean}, num_steps, size)

    def evaluate(self, data: Any, gate: Callable[[], None], metrics: tuple[str, ...]) -> Metrics:
        """Return metrics, averaged over the rows."""
        count = rows_of.size(data)
        totals = dict.fromkeys(metrics, 0.0)
        chunks = rows_of.chunks(np.arange(count), _EVALUATION_BATCH)
        for (x, y, weights), chunk in zip(self._setup.batches(data, chunks), chunks, strict=True):
            gate()
            self._model.reset_metrics()
            with batches_as_in_fit(self._model):
                measured = self._model.test_on_batch(x, y, sample_weight=weights, return_dict=True)
            measured["loss"] = self._setup.per_row(measured["loss"], len(chunk))
            for name in totals:
                totals[name] += float(measured[name]) * len(chunk)
        return {name: total / count for name, total in totals.items()}
