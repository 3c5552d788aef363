"""The losses of a Keras model with several outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.core.facts import Facts
from fusion_nb.core.schema import LabelSchema, RowSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.identity.texts import KIND, text
from fusion_nb.models.keras import losses, trees
from fusion_nb.models.keras.compilation import Compilation
from fusion_nb.models.keras.objective import Objective, Task
from fusion_nb.models.keras.trying import Outputs


@dataclass(frozen=True)
class Several:
    """One loss for each output of a model; the model is trained on their weighted sum.

    parts:   name of an output -> its loss; outputs without a loss are left out
    is_dict: outputs have names, else they come in order
    loss_weights: as the model was compiled, or None for a plain sum
    """

    parts: Mapping[str, Objective]
    is_dict: bool
    loss_weights: Any = None
    why: str = ""
    task: Task = "own"
    logits: bool = False
    is_sum: bool = False

    @property
    def name(self) -> str:
        """The losses in words."""
        return ", ".join(f"{name}: {part.name}" for name, part in self.parts.items())

    def identity(self) -> dict[str, str]:
        """Return each loss's name and configuration, and their weights, as text."""
        found = {name: text(part.identity()) for name, part in self.parts.items()}
        return {KIND: "several losses", "weights": text(self.loss_weights), **found}

    @property
    def warning(self) -> str:
        """The doubts about the losses, or ""."""
        found = [part.warning.removeprefix("warning: ") for part in self.parts.values()]
        lines = [f"{name}: {line}" for name, line in zip(self.parts, found, strict=True) if line]
        return f"warning: {'; '.join(lines)}" if lines else ""

    @property
    def is_keras(self) -> bool:
        """Whether all losses are Keras's own, so that a saved model can hold them."""
        return all(part.is_keras for part in self.parts.values())

    @property
    def loss(self) -> Any:
        """The losses as `compile` takes them."""
        return self._formed({name: part.loss for name, part in self.parts.items()})

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metric that is known before Keras names the others."""
        return ("loss",)

    def measures(self) -> Any:
        """Return new metric objects for `compile`."""
        return self._formed({name: part.measures() for name, part in self.parts.items()})

    def measured(self, names: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the metrics, the loss first; `names` are those that Keras returns."""
        kinds = {metric for part in self.parts.values() for metric in part.metrics} - {"loss"}
        return ("loss", *(name for name in names if name.rpartition("_")[2] in kinds))

    def target(self, y: Any, output: Mapping[str, tuple[int, ...]]) -> Any:
        """Return labels in the types and shapes that the losses take.

        output: name of an output -> its shape (rows, ...)
        """
        labels = by_output(y, list(output))
        return self._formed(
            {name: part.target(labels[name], output[name]) for name, part in self.parts.items()}
        )

    def _formed(self, found: dict[str, Any]) -> Any:
        return found if self.is_dict else list(found.values())


def choose(compilation: Compilation, loss: Any, found: Outputs, y: Any) -> Several:
    """Return the losses of a model's outputs: named, compiled, or inferred from some labels.

    found: the outputs for some rows;  y: the labels of these rows
    Raises ModelError where the labels or losses are not one for each output.
    """
    outputs = found.arrays
    labels = by_output(y, list(outputs))
    given = loss or compilation.loss
    wanted = _losses_by_output(given, list(outputs))
    why = "as named" if loss else "as the model was compiled" if given else "inferred"
    parts = {}
    for name, output in outputs.items():
        schema = _schema(labels[name])
        try:
            if not given:
                parts[name] = losses.infer(output, schema, "")
            elif wanted.get(name) is not None:
                choice = losses.named if loss else losses.compiled
                parts[name] = choice(wanted[name], output, schema, "")
        except ModelError as error:
            raise error.prefixed(f"output {name}: ") from None
    if len(parts) < len(outputs) and not found.is_dict:
        raise ModelError(
            f"the model has {len(outputs)} outputs and {len(parts)} of them have a loss",
            "give each a loss, or let call() return a dict and compile with loss={name: ...}",
        )
    weights = (compilation.config or {}).get("loss_weights") if not loss and given else None
    return Several(parts, found.is_dict, weights, why)


def by_output(y: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the labels of each output. Raises ModelError where they are not one for each."""
    hint = (
        f"give the labels of a row as a dict with the keys {', '.join(names)}, or as a tuple in "
        "this order"
    )
    if not trees.is_tree(y) and np.shape(y)[1:] == (len(names),):
        return {name: y[:, column] for column, name in enumerate(names)}
    if not trees.is_tree(y):
        raise ModelError(
            f"the model has {len(names)} outputs ({', '.join(names)}), and a row has one label",
            hint,
        )
    if isinstance(y, dict):
        if missing := sorted(set(names) - y.keys()):
            raise ModelError(
                f"output {missing[0]} has no labels: there are those of {', '.join(map(str, y))}",
                hint,
            )
        return {name: np.asarray(y[name]) for name in names}
    if len(y) != len(names):
        raise ModelError(
            f"the model has {len(names)} outputs ({', '.join(names)}), and a row {len(y)} labels",
            hint,
        )
    return {name: np.asarray(part) for name, part in zip(names, y, strict=True)}


def _losses_by_output(given: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return the loss of each output: one for all, or one for each, as Keras takes them."""
    if isinstance(given, dict):
        if unknown := sorted(set(given) - set(names)):
            raise ModelError(
                f"a loss is given for output {unknown[0]!r}, which the model does not have",
                f"its outputs are: {', '.join(names)}",
            )
        return dict(given)
    if isinstance(given, list | tuple):
        if len(given) != len(names):
            raise ModelError(
                f"the model has {len(names)} outputs and {len(given)} losses",
                "give one for each, or one for all",
            )
        return dict(zip(names, given, strict=True))
    return dict.fromkeys(names, given)


def _schema(labels: np.ndarray) -> LabelSchema:
    return LabelSchema.of(Facts.of(labels), RowSchema())
