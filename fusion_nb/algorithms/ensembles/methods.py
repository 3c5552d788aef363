"""Methods for ensembles: the parties' models, sent once, predict together or teach one model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, cast

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.ensembles.distilled import FedDF
from fusion_nb.algorithms.ensembles.gathered import Gathered
from fusion_nb.algorithms.ensembles.model import (
    EnsembleModel,
    PredictingModel,
    ensemble_of,
    held_back,
)
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.rows import take
from fusion_nb.errors import DataError, OptionError, option
from fusion_nb.models.base import Model
from fusion_nb.models.predicting import PredictsRows

#: Returns the rows of a variable or a data set, without labels.
RowsOf = Callable[[str], np.ndarray]


class EnsembleMethod(ABC):
    """A method that makes one model of the parties' models, or one fusion by their predictions.

    >>> class Nothing(EnsembleMethod):
    ...     "Average the parties' weights: no ensemble at all."
    ...     name = "nothing"
    ...     def join(self, model, parties, rows_of):
    ...         from fusion_nb.algorithms.fusions.averaging import fedavg
    ...         return model, fedavg()
    >>> Nothing().join(None, [], None)[0] is None
    True
    """

    #: Its name in messages.
    name: ClassVar[str] = ""
    #: Rounds that one exchange takes; 0 where any number of rounds makes sense.
    num_rounds: ClassVar[int] = 0

    @abstractmethod
    def join(self, model: Model, parties: Sequence[Party], rows_of: RowsOf) -> tuple[Model, Fusion]:
        """Return the model and the fusion of a federation with this method.

        Raises OptionError or DataError for a model, a task or rows with which it makes no sense.
        """

    def check(self, model: Model) -> PredictingModel:
        """Return the model as one that predicts.

        Raises OptionError where its predictions can't be joined.
        """
        given = option("ensemble", self.name)
        if not isinstance(model, PredictsRows):
            raise OptionError(
                f"{given}: a {model.kind} predicts nothing that could be joined",
                "use a PyTorch or a Keras model, or a classifier of scikit-learn",
            )
        if (part := model.ensembling) is None:
            raise OptionError(f"{given}: a {model.kind} {model.no_ensembling}", _without(model))
        if fault := part.fault(self.name):
            raise OptionError(f"{given}: {fault}", _without(model))
        if model.task == "own":
            raise OptionError(
                f"{given}: the meaning of the model's outputs is known to your loss alone",
                f"name a loss of the framework with {option('loss')}",
            )
        return cast(PredictingModel, model)


def _without(model: Model) -> str:
    """Return the hint for a model that is no part of an ensemble."""
    return f"leave it out: the fusion of a {model.kind} is {model.defaults['fusion']}"


class Mean(EnsembleMethod):
    """Let the parties' models predict together: the mean of their probabilities or numbers.

    Source: Hansen, Salamon, "Neural Network Ensembles", IEEE Transactions on Pattern Analysis and
    Machine Intelligence 1990.
    """

    name = "mean"
    num_rounds = 1
    _rule = "mean"

    def join(self, model: Model, parties: Sequence[Party], rows_of: RowsOf) -> tuple[Model, Fusion]:
        """Return the model that holds the parties' models, and the fusion that collects them."""
        names = [party.id for party in parties]
        return ensemble_of(self.check(model), names, self._rule), Gathered(names)


class Vote(Mean):
    """Let the parties' models vote: the class that most of them find most probable.

    Of classes with equally many votes, the mean of the probabilities decides.

    Source: Hansen, Salamon, "Neural Network Ensembles", IEEE Transactions on Pattern Analysis and
    Machine Intelligence 1990.
    """

    name = "vote"
    _rule = "vote"

    def check(self, model: Model) -> PredictingModel:
        """Return the model as one that predicts.

        Raises OptionError where there are no classes to vote for.
        """
        predicting = super().check(model)
        if predicting.task == "numbers":
            raise OptionError(
                f"{option('ensemble', 'vote')}: the model predicts numbers, and none of them is a "
                "vote",
                f"use {option('ensemble', 'mean')}",
            )
        return predicting


class Stack(EnsembleMethod):
    """Let the parties' models predict together, each with a share for each class that is learned.

    The shares are learned in a second exchange, from sums that parties make over rows that their
    own model did not see.

    Source: Wolpert, "Stacked Generalization", Neural Networks 1992; Ting, Witten, "Issues in
    Stacked Generalization", JAIR 1999.
    """

    name = "stack"
    num_rounds = 2

    def __init__(
        self,
        *,
        holdout: Annotated[
            float, Field(description="share of training rows kept back for it", gt=0, le=0.5)
        ] = 0.2,
    ) -> None:
        self._holdout = holdout

    def join(self, model: Model, parties: Sequence[Party], rows_of: RowsOf) -> tuple[Model, Fusion]:
        """Return the model that holds the parties' models, and the fusion that collects them.

        Raises DataError where too few training rows are left for a party's own model.
        """
        inner = self.check(model)
        for party in parties:
            num_held = len(held_back(party.num_examples, self._holdout))
            if party.num_examples - num_held < model.min_rows:
                raise DataError(
                    f"{option('ensemble', 'stack')}: of the training rows of {party.id}, "
                    f"{num_held} of {party.num_examples} are kept back, and too few are left",
                    f"use fewer {option('parties')}, or {option('ensemble', 'mean')}",
                )
        names, num_classes = [party.id for party in parties], 0
        if inner.task == "classes":
            first = inner.predict(take(parties[0].train, np.arange(1)))
            num_classes = first.shape[inner.class_axis]
        joined = EnsembleModel(inner, names, "mean", self._holdout, num_classes)
        return joined, Gathered(names, stacks=True)


class Distill(EnsembleMethod):
    """Train one model to predict the mean of the parties' predictions, on rows without labels.

    Source: Lin, Kong, Stich, Jaggi, "Ensemble Distillation for Robust Model Fusion in Federated
    Learning", NeurIPS 2020 (FedDF; with one round it is one exchange, and more rounds repeat it as
    there).
    """

    name = "distill"

    def __init__(
        self,
        *,
        data: Annotated[
            str,
            Field(description="variable or data set whose rows are predicted; labels are not used"),
        ],
        epochs: Annotated[int, Field(description="passes over these rows", ge=1)] = 10,
        lr: Annotated[float, Field(description="learning rate of Adam", gt=0)] = 1e-3,
        batch_size: Annotated[int, Field(description="rows in a batch", ge=1)] = 64,
    ) -> None:
        self._data = data
        self._options: dict[str, Any] = {"epochs": epochs, "lr": lr, "batch_size": batch_size}

    def join(self, model: Model, parties: Sequence[Party], rows_of: RowsOf) -> tuple[Model, Fusion]:
        """Return the model as it is, and the fusion that distills.

        Raises DataError for rows that don't fit.
        """
        predicting = self.check(model)
        rows, first = rows_of(self._data), parties[0].train
        given = option("ensemble", f"distill:data={self._data}")
        if len(rows) < model.min_rows:
            raise DataError(
                f"{given} holds {len(rows)} rows", f"give {model.min_rows} at the least"
            )
        if rows.dtype.kind not in "biuf":
            raise DataError(
                f"{given} holds {rows.dtype}, not numbers", "turn them into numbers first"
            )
        form = np.shape(first[0])[1:] if isinstance(first, tuple) else np.shape(first[0][0])
        if rows.shape[1:] != form:
            raise DataError(
                f"rows of {given} have shape {rows.shape[1:]}, training rows {form}",
                "give all the same form",
            )
        return model, FedDF(predicting, rows, **self._options)
