"""LightGBM's classifiers, regressors and boosters: parties add trees to one ensemble."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import lightgbm
import numpy as np

from fusion_nb.errors import ModelError, option
from fusion_nb.models import trees
from fusion_nb.models.boosting import BoostingModel
from fusion_nb.models.combining import both
from fusion_nb.models.growing import Grower, parameters_of, unfitted
from fusion_nb.models.lightgbm import files
from fusion_nb.models.lightgbm.trees import LightGBMTrees
from fusion_nb.models.tabular import Task, named_weights

_CLASSIFIERS = ("binary", "multiclass")
_REGRESSORS = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
#: Parameters with the values that parties can't train with -> what to write instead.
_REFUSED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "boosting_type": (lambda value: value != "gbdt", 'use boosting_type="gbdt"'),
    "linear_tree": (bool, "leave it out"),
    "early_stopping_round": (bool, f"leave it out; {option('patience')} stops a run early"),
    "early_stopping_rounds": (bool, f"leave it out; {option('patience')} stops a run early"),
    "categorical_feature": (bool, "encode categories as numbers first"),
    "class_weight": (
        lambda value: value == "balanced",
        "give the weights as a dict {class: weight}, the same at every party",
    ),
}
#: Parameters of an estimator that are none of training, or that the run decides.
_NOT_GIVEN = (
    "boosting_type",
    "class_weight",
    "importance_type",
    "n_estimators",
    "n_jobs",
    "objective",
    "random_state",
    "verbosity",
)


class LightGBMGrower(Grower):
    """Grows the trees of an LGBMClassifier, an LGBMRegressor, or a Booster.

    Boosters are LightGBM's own text.
    """

    def __init__(self, model: Any) -> None:
        self._kind = type(model).__name__
        self._is_booster = isinstance(model, lightgbm.Booster)
        estimator = files.estimator_of(model)
        self.wants_classes = isinstance(estimator, lightgbm.LGBMClassifier)
        self._estimator = unfitted(estimator)
        #: The trees of the user's fit, or None.
        self.fitted = files.trees_of(model)
        _check(self._estimator, self._kind, self.wants_classes)

    def parameters(self) -> dict[str, Any]:
        """Return the estimator's parameters, without those that a run decides."""
        return parameters_of(self._estimator)

    def start_of(self, task: Task) -> bytes:
        """Return the text of the user's fitted booster, or nothing."""
        if self.fitted is None:
            return b""
        found = self.fitted
        expected = LightGBMTrees.read(self.empty(task, 0.5))
        if found.form != expected.form:
            raise ModelError(
                f"the {self._kind} was fitted to {found.num_features} features and the objective "
                f"{found.form[0]!r}, and the data has {task.num_features} features and the "
                f"objective {expected.form[0]!r}",
                f"give one without a fit: {type(self._estimator).__name__}(...)",
            )
        return found.rewritten().write()

    def empty(self, task: Task, mean: float) -> bytes:
        """Return a booster of constant trees, which predict the mean label."""
        labels = np.arange(max(len(task.classes), 2)) if self.wants_classes else np.zeros(2)
        rows = lightgbm.Dataset(np.zeros((len(labels), task.num_features)), labels)
        made = lightgbm.train(self._params(task, None, 0), rows, 1)
        found = LightGBMTrees.read(made.model_to_string().encode())
        base = mean
        if self.wants_classes:
            share = min(max(mean, 1e-6), 1 - 1e-6)
            base = float(np.log(share / (1 - share))) if len(task.classes) == 2 else 0.0
        constant = _constant_tree(base)
        each = int(found.fields["num_tree_per_iteration"])
        return LightGBMTrees(found.header, (constant,) * each, found.tail).rewritten().write()

    def grown(
        self, raw: bytes, x: np.ndarray, y: np.ndarray, task: Task, lr: float | None, seed: int
    ) -> bytes:
        """Return the booster with one more iteration."""
        weights = None
        if given := named_weights(self._estimator.class_weight, task):
            by_position = [given.get(number, 1.0) for number in task.classes.tolist()]
            weights = np.array(by_position)[y]
        rows = lightgbm.Dataset(x, y, weight=weights, free_raw_data=False)
        params = self._params(task, lr, seed)
        made = lightgbm.train(params, rows, 1, init_model=_booster(raw))
        text = made.model_to_string(num_iteration=-1).encode()
        return LightGBMTrees.read(text).rewritten().write()

    def scores(self, raw: bytes, x: np.ndarray) -> np.ndarray:
        """Return probabilities (rows, classes), or numbers."""
        found = np.asarray(_booster(raw).predict(x, num_threads=1))
        return both(found) if self.wants_classes and found.ndim == 1 else found

    def _params(self, task: Task, lr: float | None, seed: int) -> dict[str, Any]:
        """Return the parameters of LightGBM's training."""
        given = self._estimator.get_params()
        params = {n: v for n, v in given.items() if n not in _NOT_GIVEN and v is not None}
        params |= {
            "boost_from_average": False,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "seed": seed,
            "verbosity": -1,
        }
        if lr is not None:
            params["learning_rate"] = lr
        if not self.wants_classes:
            return params | {"objective": self._estimator.objective or "regression"}
        if len(task.classes) == 2:
            return params | {"objective": "binary"}
        return params | {"objective": "multiclass", "num_class": len(task.classes)}

    def native(self, raw: bytes, names: np.ndarray | None) -> Any:
        """Return a fitted model of the user's class with these trees."""
        if not raw:
            return unfitted(self._estimator)
        if self._is_booster:
            return _booster(raw)
        if names is None:
            names = files.classes_of(self._estimator, LightGBMTrees.read(raw))
        return files.with_booster(unfitted(self._estimator), raw, names)

    def write(self, path: Path, raw: bytes, format: str) -> None:
        """Write the booster's text, with the parameters of the estimator in a line of their own."""
        files.save(self._estimator, raw, path)


class LightGBMModel(BoostingModel):
    """An LGBMClassifier, an LGBMRegressor, or a Booster.

    Only its parameters are taken over, and its trees where it was fitted. The weights are the
    booster's text.
    """

    base_class = "lightgbm.sklearn.LGBMModel"
    suffixes = (".txt",)
    kind = "LightGBM model"
    packages = ("lightgbm",)
    formats: Mapping[str, str] = files.FORMATS
    whole_format = "txt"
    download_formats = ("txt",)
    upload_hint = "send the file that model.booster_.save_model('model.txt') wrote"

    def __init__(self, model: Any) -> None:
        grower = LightGBMGrower(model)
        super().__init__(type(model).__name__, grower, wants_classes=grower.wants_classes)
        self._fitted = grower.fitted

    @classmethod
    def load(cls, path: Path) -> Any:
        """Return the model in a `.txt` file of LightGBM.

        Raises ModelError for a file with anything but sound trees.
        """
        return files.load(path)

    @classmethod
    def from_checkpoint(cls, model: Any) -> Self:
        """Return the adapter of a fitted model."""
        made = cls(model)
        if made._fitted is not None:
            made._weights = trees.write(made._fitted.rewritten())
        return made


def _booster(raw: bytes) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=raw.decode())


def _constant_tree(value: float) -> str:
    """Return the text of a tree with one leaf."""
    splits = ("split_feature", "split_gain", "threshold", "decision_type")
    inner = ("internal_value", "internal_weight", "internal_count")
    return "\n".join(
        [
            "num_leaves=1",
            "num_cat=0",
            *(f"{name}=" for name in (*splits, "left_child", "right_child")),
            f"leaf_value={value!r}",
            "leaf_weight=",
            "leaf_count=0",
            *(f"{name}=" for name in inner),
            "is_linear=0",
            "shrinkage=1",
        ]
    )


def _check(estimator: Any, kind: str, wants_classes: bool) -> None:
    """Raise ModelError for parameters with which parties can't train trees together."""
    given = estimator.get_params()
    for name, (is_refused, hint) in _REFUSED.items():
        if name in given and is_refused(given[name]):
            raise ModelError(f"{kind}({name}={given[name]!r}) can't be trained by parties", hint)
    known = _CLASSIFIERS if wants_classes else _REGRESSORS
    if estimator.objective is not None and estimator.objective not in known:
        raise ModelError(
            f"{kind}(objective={estimator.objective!r}) can't be trained by parties",
            f"use one of: {', '.join(known)}",
        )
