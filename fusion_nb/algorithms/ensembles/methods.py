"""Ensembles: the parties' models, trained apart and sent once, predict together or teach one
model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.ensembles.distilled import FedDF
from fusion_nb.algorithms.ensembles.gathered import Gathered
from fusion_nb.algorithms.ensembles.model import EnsembleModel, kept_back
from fusion_nb.core.party import Party
from fusion_nb.core.rows import take
from fusion_nb.core.types import Fusion
from fusion_nb.errors import DataError, OptionError
from fusion_nb.models.predicting import Predicting


class Mean:
    """Let the parties' models predict together: the mean of their probabilities, or of the numbers
    they predict.

    Source: Hansen, Salamon, "Neural Network Ensembles", IEEE Transactions on Pattern Analysis and
    Machine Intelligence 1990.
    """

    num_rounds = 1
    _rule = "mean"

    def join(
        self, model: Any, parties: Sequence[Party], rows_of: Callable[[str], np.ndarray]
    ) -> tuple[Any, Fusion]:
        """Return the model of a federation that gathers the parties' models, and its fusion.

        Raises OptionError for a model or a task with which this makes no sense.
        """
        self.check(model)
        names = [party.id for party in parties]
        return EnsembleModel(model, names, self._rule), Gathered(names)

    def check(self, model: Any) -> None:
        """Raise OptionError for a model or a task with which this makes no sense."""
        name = type(self).__name__.lower()
        if not isinstance(model, Predicting):
            line = f"--ensemble {name}: a {model.kind} predicts nothing that could be joined"
            raise OptionError(line, "use a PyTorch or a Keras model")
        if model.task == "own":
            line = f"--ensemble {name}: what the model's outputs mean is known to your loss alone"
            raise OptionError(line, "name a loss of the framework with --loss")


class Vote(Mean):
    """Let the parties' models vote: the class that most of them find most probable.

    Where as many vote for one class as for another, the mean of their probabilities decides.

    Source: Hansen, Salamon, "Neural Network Ensembles", IEEE Transactions on Pattern Analysis and
    Machine Intelligence 1990.
    """

    _rule = "vote"

    def check(self, model: Any) -> None:
        """Raise OptionError where there are no classes to vote for."""
        super().check(model)
        if model.task == "numbers":
            raise OptionError(
                "--ensemble vote: the model predicts numbers, and none of them is a vote",
                "use mean",
            )


class Stack(Mean):
    """Let the parties' models predict together, each counting for each class as much as it is
    worth.

    What they are worth is learnt in a second exchange, from sums that parties make over rows that
    their own model did not see.

    Source: Wolpert, "Stacked Generalization", Neural Networks 1992; Ting, Witten, "Issues in
    Stacked Generalization", JAIR 1999.
    """

    num_rounds = 2

    def __init__(
        self,
        *,
        holdout: Annotated[
            float, Field(description="share of training rows kept back for it", gt=0, le=0.5)
        ] = 0.2,
    ) -> None:
        self._holdout = holdout

    def join(
        self, model: Any, parties: Sequence[Party], rows_of: Callable[[str], np.ndarray]
    ) -> tuple[Any, Fusion]:
        """Return the model of a federation that gathers the parties' models, and its fusion."""
        self.check(model)
        for party in parties:
            num_kept = len(kept_back(party.num_examples, self._holdout))
            if party.num_examples - num_kept < model.min_rows:
                line = (
                    f"--ensemble stack: of the training rows of {party.id}, {num_kept} of "
                    f"{party.num_examples} are"
                )
                raise DataError(
                    f"{line} kept back, and too few are left", "use fewer parties, or mean"
                )
        names, num_classes = [party.id for party in parties], 0
        if model.task == "classes":
            num_classes = model.predict(take(parties[0].train, np.arange(1))).shape[
                model.class_axis
            ]
        joined = EnsembleModel(model, names, self._rule, self._holdout, num_classes)
        return joined, Gathered(names, stacks=True)


class Distill(Mean):
    """Let the parties' models teach one model what they predict, together, on rows without labels.

    Source: Lin, Kong, Stich, Jaggi, "Ensemble Distillation for Robust Model Fusion in Federated
    Learning", NeurIPS 2020 (FedDF; with one round it is one exchange, and `--rounds` repeats it as
    there).
    """

    num_rounds = 0

    def __init__(
        self,
        *,
        data: Annotated[
            str,
            Field(
                description="variable or data set whose rows are predicted; labels are not "
                "looked at"
            ),
        ],
        epochs: Annotated[int, Field(description="passes over these rows", ge=1)] = 10,
        lr: Annotated[float, Field(description="learning rate of Adam", gt=0)] = 1e-3,
        batch_size: Annotated[int, Field(description="rows in a batch", ge=1)] = 64,
    ) -> None:
        self._data = data
        self._options: dict[str, Any] = {"epochs": epochs, "lr": lr, "batch_size": batch_size}

    def join(
        self, model: Any, parties: Sequence[Party], rows_of: Callable[[str], np.ndarray]
    ) -> tuple[Any, Fusion]:
        """Return the model as it is, and the fusion that distills. Raises DataError for rows that
        don't fit.
        """
        self.check(model)
        rows, first = rows_of(self._data), parties[0].train
        option = f"--ensemble distill:data={self._data}"
        if len(rows) < model.min_rows:
            raise DataError(
                f"{option} holds {len(rows)} rows", f"give {model.min_rows} at the least"
            )
        if rows.dtype.kind not in "biuf":
            raise DataError(
                f"{option} holds {rows.dtype}, not numbers", "turn them into numbers first"
            )
        form = np.shape(first[0])[1:] if isinstance(first, tuple) else np.shape(first[0][0])
        if rows.shape[1:] != form:
            line = f"rows of {option} have shape {rows.shape[1:]}, training rows {form}"
            raise DataError(line, "give all the same form")
        return model, FedDF(rows, **self._options)
