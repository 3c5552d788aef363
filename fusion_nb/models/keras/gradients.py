"""The terms that a fusion adds to a party's gradients, inside the step that Keras traces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from fusion_nb.core.types import Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.keras.optimizers import bare


class Correction:
    """Adds mu * (w - anchor) and shift to the gradients of a compiled model.

    The terms are variables, so that a round assigns them and Keras traces nothing anew. They and
    the optimizer's new `apply` are made when a fusion first asks for them, and each choice of terms
    has its own training function: a training without terms is Keras's own. The variables belong to
    the optimizer, since a backend without state looks for them there.

    model: compiled and with a built optimizer;  trained: its trainable variables by name
    """

    def __init__(self, model: keras.Model, trained: Mapping[str, Any]) -> None:
        self._model, self._trained = model, trained
        self._optimizer = bare(model.optimizer)
        self._mu: Any = None
        self._anchors: dict[str, Any] = {}
        self._shifts: dict[str, Any] = {}
        #: The terms of the current training, and those that were once added to a gradient.
        self._terms: frozenset[str] = frozenset()
        self._seen: set[frozenset[str]] = set()
        self._functions: dict[frozenset[str], Any] = {}
        self._names: dict[int, str] = {}

    def prepare(
        self, *, mu: float = 0.0, anchor: Weights | None = None, shift: Weights | None = None
    ) -> None:
        """Let the next training add these terms, and no others.

        anchor: by default the weights that the model has now;  shift: of some trained weights or
        all
        """
        wanted = {"mu": bool(mu), "shift": shift is not None}
        terms = frozenset(term for term, is_wanted in wanted.items() if is_wanted)
        if terms != self._terms:
            self._functions[self._terms] = self._model.train_function
            self._model.train_function = self._functions.get(terms)  # with None, Keras makes one
            self._terms = terms
        if terms and not self._names:
            self._hook()
        if mu:
            if self._mu is None:
                self._mu = self._optimizer.add_variable((), name="mu")
            self._anchors = self._anchors or self._like_trained("anchor")
            self._mu.assign(mu)
            for name, variable in self._anchors.items():
                variable.assign(self._trained[name] if anchor is None else anchor[name])
        if shift is not None:
            self._shifts = self._shifts or self._like_trained("shift")
            for name, variable in self._shifts.items():
                variable.assign(shift.get(name, np.zeros(variable.shape)))

    def check(self) -> None:
        """Raise ModelError after a training in which the terms were added to no gradient."""
        if self._terms and self._terms not in self._seen:
            line = (
                "the model's own train_step changes weights without its optimizer's apply, so "
                "nothing can be added"
            )
            raise ModelError(
                f"{line} to its gradients", "call self.optimizer.apply(gradients, variables) in it"
            )

    def _like_trained(self, name: str) -> dict[str, Any]:
        add = self._optimizer.add_variable_from_reference
        return {key: add(variable, name=name) for key, variable in self._trained.items()}

    def _hook(self) -> None:
        """Put the correction before `apply`, where a LossScaleOptimizer has unscaled gradients."""
        apply, trained = self._optimizer.apply, self._model.trainable_variables
        # A train_step may hand over Keras's variables, or the backend's own.
        self._names = {id(each): name for name, v in self._trained.items() for each in (v, v.value)}

        def corrected(
            grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None
        ) -> None:
            grads = list(grads)
            if self._terms:
                self._seen.add(self._terms)
                variables = trained if trainable_variables is None else list(trainable_variables)
                grads = [
                    self._corrected(g, self._names.get(id(v)))
                    for g, v in zip(grads, variables, strict=True)
                ]
                apply(grads, variables)
            else:
                apply(grads, trainable_variables)

        self._optimizer.apply = corrected

    def _corrected(self, gradient: Any, name: str | None) -> Any:
        # No gradient: it took no part in this loss. Keras writes float8's scales over with their
        # "gradients".
        if (
            gradient is None
            or name is None
            or getattr(self._trained[name], "overwrite_with_gradient", False)
        ):
            return gradient
        variable = self._trained[name]
        added = []
        if "mu" in self._terms:
            distance = keras.ops.subtract(keras.ops.stop_gradient(variable), self._anchors[name])
            added.append(keras.ops.multiply(keras.ops.cast(self._mu, variable.dtype), distance))
        if "shift" in self._terms:
            added.append(keras.ops.convert_to_tensor(self._shifts[name]))
        for term in added:
            # The optimizer divides its gradients by a fixed scale of the loss, if it has one.
            scaled = (
                term
                if self._optimizer.loss_scale_factor is None
                else term * self._optimizer.loss_scale_factor
            )
            gradient = keras.ops.add(gradient, keras.ops.cast(scaled, gradient.dtype))
        return gradient
