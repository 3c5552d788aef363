"""From an estimator, or a pipeline, to the scalers and the learner that train it; and refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from fusion_nb.core.types import Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.sklearn import scaling
from fusion_nb.models.sklearn.bayes import Discrete, Gaussian
from fusion_nb.models.sklearn.clusters import Lloyd
from fusion_nb.models.sklearn.learner import Agreed, ExactLearner, Learner
from fusion_nb.models.sklearn.linear import Logistic, Online
from fusion_nb.models.sklearn.networks import Perceptrons
from fusion_nb.models.sklearn.regression import LeastSquares
from fusion_nb.models.tabular import Task


class Scaling(ExactLearner):
    """A scaler without a model after it, which parties fit before round 1."""

    kinds: ClassVar = scaling.KINDS

    def notes(self) -> list[str]:
        """Return how it is fitted."""
        return ["exact: the scaler is fitted before round 1, from all rows; no round changes it"]

    def sums(self, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed) -> Weights:
        """Return the number of rows."""
        return {"count": np.array(float(len(x)))}

    def fitted(self, weights: Weights, task: Task, agreed: Agreed) -> Any:
        """Return a scaler that hands rows on: the real one comes before it."""
        return _Identity()


class _Identity:
    """Hands rows on as they are."""

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Return the rows."""
        return x


LEARNERS: tuple[type[Learner], ...] = (
    Online,
    Logistic,
    Perceptrons,
    Gaussian,
    Discrete,
    LeastSquares,
    Lloyd,
    Scaling,
)
_TREES = "use xgboost.XGBClassifier or XGBRegressor, whose trees parties add up"
_KERNEL = 'use SGDClassifier(loss="hinge"), or a Pipeline of StandardScaler and MLPClassifier'
#: Parts of the names of estimators that can't be federated -> the nearest that can.
_NEAREST: tuple[tuple[str, str], ...] = (
    ("SearchCV", "give the estimator itself; compare several by a run for each"),
    ("Forest", _TREES),
    ("ExtraTree", _TREES),
    ("DecisionTree", _TREES),
    ("GradientBoosting", _TREES),
    ("AdaBoost", _TREES),
    ("Bagging", "give the estimator itself, with the option ensemble"),
    ("Voting", "give one of its estimators, with the option ensemble"),
    ("Stacking", "give one of its estimators, with the option ensemble"),
    ("LinearSV", 'use SGDClassifier(loss="hinge") or SGDRegressor(loss="epsilon_insensitive")'),
    ("SVC", _KERNEL),
    ("SVR", 'use SGDRegressor(loss="epsilon_insensitive"), or MLPRegressor'),
    ("OneClassSVM", _KERNEL),
    ("Neighbors", "use GaussianNB, or MLPClassifier: neighbours are rows, which don't travel"),
    ("KMeans", "use KMeans"),
    ("RidgeClassifier", "use LogisticRegression"),
    ("RidgeCV", "use Ridge"),
    ("LogisticRegressionCV", "use LogisticRegression"),
    ("Lasso", 'use SGDRegressor(penalty="l1"), or Ridge'),
    ("ElasticNet", 'use SGDRegressor(penalty="elasticnet"), or Ridge'),
    ("Regress", "use Ridge, SGDRegressor or MLPRegressor"),
    ("NB", "use GaussianNB, MultinomialNB or BernoulliNB"),
    ("Discriminant", "use GaussianNB or LogisticRegression"),
    ("Scaler", "use StandardScaler, MinMaxScaler or MaxAbsScaler"),
    ("Gaussian", "use MLPClassifier or MLPRegressor"),
)


@dataclass(frozen=True)
class Parts:
    """The parts of the user's model: scalers, and the estimator after them with its learner.

    names: of the steps of a pipeline, or () for an estimator that is none
    """

    scalers: tuple[Any, ...]
    learner: Learner
    names: tuple[str, ...] = ()

    def joined(self, scalers: list[Any], fitted: Any, model: Any) -> Any:
        """Return a model of the user's form with fitted parts."""
        steps = [*scalers] if isinstance(self.learner, Scaling) else [*scalers, fitted]
        if not self.names:
            return steps[-1]
        made = clone(model)
        made.steps = list(zip(self.names, steps, strict=True))
        return made


def parts_of(model: Any) -> Parts:
    """Return the parts of an estimator or a pipeline.

    Raises ModelError for one that parties can't train, with the nearest that they can.
    """
    if not isinstance(model, Pipeline):
        return _parts([model], ())
    steps = [(name, step) for name, step in model.steps if step not in (None, "passthrough")]
    if not steps:
        raise ModelError("the Pipeline has no step", "give it a scaler and an estimator")
    return _parts([step for _, step in steps], tuple(name for name, _ in steps))


def _parts(steps: list[Any], names: tuple[str, ...]) -> Parts:
    *first, last = steps
    for step in first:
        if not isinstance(step, scaling.KINDS):
            raise ModelError(
                f"the step {type(step).__name__} of the Pipeline can't be fitted by parties",
                "before the last step, use StandardScaler, MinMaxScaler or MaxAbsScaler",
            )
    scalers = [*first, last] if isinstance(last, scaling.KINDS) else first
    return Parts(tuple(scalers), learner_of(last), names)


def learner_of(estimator: Any) -> Learner:
    """Return the learner of an estimator. Raises ModelError where there is none."""
    name = type(estimator).__name__
    for kind in LEARNERS:
        # A class that derives from one, such as MiniBatchKMeans, may be trained otherwise.
        if type(estimator) in kind.kinds:
            learner = kind(estimator)
            learner.check_parameters()
            return learner
    found = (hint for part, hint in _NEAREST if part in name)
    raise ModelError(f"a {name} can't be trained by parties", next(found, _all()))


def _all() -> str:
    kinds = [each.__name__ for kind in LEARNERS for each in kind.kinds]
    return f"those that can: {', '.join(kinds)}, and a Pipeline of scalers and one of them"
