"""XGBoost's classifiers, regressors and boosters: parties add trees to one ensemble."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import xgboost

from fusion_nb.errors import ModelError, option
from fusion_nb.models import trees
from fusion_nb.models.boosting import BoostingModel
from fusion_nb.models.combining import both, sigmoid, softmax
from fusion_nb.models.growing import Grower, parameters_of, unfitted
from fusion_nb.models.tabular import Task
from fusion_nb.models.xgboost import files
from fusion_nb.models.xgboost.trees import XGBoostTrees

_CLASSIFIERS = ("binary:logistic", "multi:softprob", "multi:softmax")
_REGRESSORS = (
    "reg:squarederror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "count:poisson",
    "reg:gamma",
    "reg:tweedie",
)
#: Parameters with the values that parties can't train with -> what to write instead.
_REFUSED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "booster": (lambda value: value not in (None, "gbtree"), 'use booster="gbtree"'),
    "multi_strategy": (
        lambda value: value not in (None, "one_output_per_tree"),
        "leave it out: each tree is of one class",
    ),
    "early_stopping_rounds": (bool, f"leave it out; {option('patience')} stops a run early"),
    "callbacks": (bool, "leave them out"),
    "feature_types": (bool, "encode categories as numbers first"),
}


class XGBoostGrower(Grower):
    """Grows the trees of an XGBClassifier, an XGBRegressor, or a Booster that was trained.

    Boosters are XGBoost's own JSON.
    """

    def __init__(self, model: Any) -> None:
        self._kind = type(model).__name__
        self._is_booster = isinstance(model, xgboost.Booster)
        estimator = files.estimator_of(model)
        self.wants_classes = isinstance(estimator, xgboost.XGBClassifier)
        self._estimator = unfitted(estimator)
        #: The trees of the user's fit, or None.
        self.fitted = files.trees_of(model)
        _check(self._estimator, self._kind, self.wants_classes)

    def parameters(self) -> dict[str, Any]:
        """Return the estimator's parameters, without those that a run decides."""
        return parameters_of(self._estimator)

    def start_of(self, task: Task) -> bytes:
        """Return the JSON of the user's fitted booster, or nothing."""
        if self.fitted is None:
            return b""
        found = self.fitted
        expected = XGBoostTrees.read(self.empty(task, 0.5))
        if found.form[:4] != expected.form[:4]:
            raise ModelError(
                f"the {self._kind} was fitted to {found.num_features} features and "
                f"{_num_classes(found)}, and the data has {task.num_features} features and "
                f"{_num_classes(expected)}",
                f"give one without a fit: {type(self._estimator).__name__}(...)",
            )
        return found.write()

    def empty(self, task: Task, mean: float) -> bytes:
        """Return a booster without trees, whose base score is the mean label."""
        base = self._estimator.base_score
        if base is None:
            base = 0.5 if len(task.classes) > 2 else mean
        if len(task.classes) == 2:
            base = min(max(base, 1e-6), 1 - 1e-6)
        made = xgboost.Booster(
            {**self._objective(task), "num_feature": task.num_features, "base_score": base}
        )
        return bytes(made.save_raw("json"))

    def grown(
        self, raw: bytes, x: np.ndarray, y: np.ndarray, task: Task, lr: float | None, seed: int
    ) -> bytes:
        """Return the booster with one more iteration."""
        given = self._estimator.get_xgb_params()
        params = {name: value for name, value in given.items() if value is not None}
        for name in ("n_jobs", "random_state", "base_score"):
            params.pop(name, None)
        params |= {**self._objective(task), "nthread": 1, "seed": seed}
        if lr is not None:
            params["learning_rate"] = lr
        rows = xgboost.DMatrix(x, label=y, missing=self._estimator.missing, nthread=1)
        made = xgboost.train(params, rows, 1, xgb_model=_booster(raw))
        return bytes(made.save_raw("json"))

    def scores(self, raw: bytes, x: np.ndarray) -> np.ndarray:
        """Return probabilities (rows, classes), or numbers."""
        rows = xgboost.DMatrix(x, missing=self._estimator.missing, nthread=1)
        made = _booster(raw)
        made.set_param({"nthread": 1})
        if not self.wants_classes:
            return np.asarray(made.predict(rows))
        margins = np.asarray(made.predict(rows, output_margin=True), np.float64)
        return softmax(margins) if margins.ndim == 2 else both(sigmoid(margins))

    def _objective(self, task: Task) -> dict[str, Any]:
        """Return the objective, and the number of classes where it has one."""
        if not self.wants_classes:
            return {"objective": self._estimator.objective or "reg:squarederror"}
        if len(task.classes) == 2:
            return {"objective": "binary:logistic"}
        return {"objective": "multi:softprob", "num_class": len(task.classes)}

    def native(self, raw: bytes, names: np.ndarray | None) -> Any:
        """Return a fitted model of the user's class with these trees."""
        if not raw:
            return unfitted(self._estimator)
        if self._is_booster:
            return _booster(raw)
        return files.with_booster(unfitted(self._estimator), raw)

    def write(self, path: Path, raw: bytes, format: str) -> None:
        """Write the booster as JSON or UBJSON, with the parameters of training as an attribute."""
        files.save(self._estimator, raw, path, format)


class XGBoostModel(BoostingModel):
    """An XGBClassifier, an XGBRegressor, or a Booster that was trained.

    Only its parameters are taken over, and its trees where it was fitted. The weights are the
    booster's JSON.
    """

    base_class = "xgboost.sklearn.XGBModel"
    suffixes = (".json", ".ubj")
    kind = "XGBoost model"
    packages = ("xgboost",)
    formats: Mapping[str, str] = files.FORMATS
    whole_format = "booster"
    download_formats = ("booster", "ubj")
    upload_hint = "send the file that model.save_model('model.json') wrote"

    def __init__(self, model: Any) -> None:
        grower = XGBoostGrower(model)
        super().__init__(type(model).__name__, grower, wants_classes=grower.wants_classes)
        self._fitted = grower.fitted

    @classmethod
    def load(cls, path: Path) -> Any:
        """Return the model in a `.json` or `.ubj` file of XGBoost.

        Raises ModelError for a file with anything but sound trees.
        """
        return files.load(path)

    @classmethod
    def from_checkpoint(cls, model: Any) -> Self:
        """Return the adapter of a fitted model."""
        made = cls(model)
        if made._fitted is not None:
            made._weights = trees.write(made._fitted)
        return made


def _booster(raw: bytes) -> xgboost.Booster:
    return xgboost.Booster(model_file=bytearray(raw))


def _num_classes(found: XGBoostTrees) -> str:
    number = int(found.form[1])
    return f"{number or 2} classes" if number or "binary" in found.form[0] else "numbers"


def _check(estimator: Any, kind: str, wants_classes: bool) -> None:
    """Raise ModelError for parameters with which parties can't train trees together."""
    for name, (is_refused, hint) in _REFUSED.items():
        value = getattr(estimator, name, None)
        if is_refused(value):
            raise ModelError(f"{kind}({name}={value!r}) can't be trained by parties", hint)
    known = _CLASSIFIERS if wants_classes else _REGRESSORS
    objective = estimator.objective
    if objective is not None and objective not in known:
        raise ModelError(
            f"{kind}(objective={objective!r}) can't be trained by parties",
            f"use one of: {', '.join(known)}",
        )
