"""The conclusions about a Keras model, its loss and its rows, drawn before it is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.schema import DataSchema
from fusion_nb.models.keras import copies, foreign, losses, probe, several, trees, trying
from fusion_nb.models.keras.compilation import Compilation
from fusion_nb.models.keras.inputs import Inputs
from fusion_nb.models.keras.objective import Objective
from fusion_nb.models.keras.setup import Setup
from fusion_nb.models.keras.several import Several
from fusion_nb.models.keras.variables import names_of

#: Rows that are tried before training.
_PROBE = 32


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to be compiled.

    model: built;  names: of its weights;  setup: how it is trained
    batch: the rows (x, y, weights or None) that it is tried on, as model and loss take them
    """

    model: keras.Model
    names: list[str]
    setup: Setup
    batch: tuple[Any, Any, Any]
    notes: list[str]

    def try_out(self, theirs: keras.Model | None) -> tuple[str, ...]:
        """Try training and evaluation of the compiled model; return the metrics that it has.

        theirs: the user's own model, or None where there is none
        Raises ModelError.
        """
        loss = self.setup.objective.name
        with trying.undone(self.model):
            if theirs is not None:
                foreign.check(self.model, theirs, loss, self.batch)
            measured = trying.try_training(self.model, loss, self.batch)
            trying.try_one_row(self.model, loss, self.batch)
        return self.setup.objective.measured(measured)


def prepare(
    model: keras.Model, compilation: Compilation, loss: Any, rows: Any, schema: DataSchema
) -> Prepared:
    """Build an unbuilt model, try a few rows, and choose the loss.

    loss: as named or given by the run, or ""
    Raises ModelError or DataError where model, rows, labels and loss don't go together.
    """
    few = rows_of.take(rows, np.arange(min(_PROBE, rows_of.size(rows))))
    order = [np.arange(rows_of.size(few))]
    if not probe.is_built(model):
        # Made again here, where the run's seed decides the first weights.
        model = copies.renewed(model)
        x, _, _ = next(Inputs.of(model, schema).batches(few, order))
        trying.build(model, x)
    inputs = Inputs.of(model, schema)
    inputs.check_words(schema.rows)
    names = names_of(model)
    probe.check_form(model, names)
    x, y, weight = next(inputs.batches(few, order))
    output = trying.output_of(model, x)
    last = probe.last_activation(model)
    objective: Objective | Several
    if isinstance(output, trying.Outputs):
        objective = several.choose(compilation, loss, output, y)
    elif loss:
        objective = losses.named(loss, output, schema.labels, last)
    elif compilation.loss is not None:
        objective = losses.compiled(compilation.loss, output, schema.labels, last)
    else:
        objective = losses.infer(output, schema.labels, last)
    setup = Setup(
        objective,
        inputs,
        schema.labels,
        _shape(output),
        trees.mapped(lambda array: array.shape[1:], x),
        compilation.runs_eagerly,
    )
    notes = [f"loss: {objective.name} ({objective.why})"]
    if objective.warning:
        notes.append(objective.warning)
    notes += [*compilation.metric_notes(objective.metrics), *inputs.notes(schema.rows)]
    return Prepared(model, names, setup, (x, setup.target(y), weight), notes)


def _shape(output: np.ndarray | trying.Outputs) -> Any:
    if isinstance(output, trying.Outputs):
        return {name: array.shape for name, array in output.arrays.items()}
    return output.shape
