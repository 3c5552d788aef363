"""XGBoost's models as files: JSON and UBJSON, whose trees are checked before XGBoost reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xgboost

from fusion_nb.core.files import file_sizes
from fusion_nb.errors import ModelError
from fusion_nb.models import tree_parameters
from fusion_nb.models.xgboost import ubjson
from fusion_nb.models.xgboost.trees import XGBoostTrees

#: Not "json": a service hands out any model's weights as JSON under that name.
FORMATS = {"booster": "model.json", "ubj": "model.ubj"}
#: The attribute of a booster that holds the class and the parameters of the estimator.
_ABOUT = "fusion_nb"
#: Bytes that parsed JSON takes, at most, in bytes of its text.
_PER_BYTE = 60
#: The attribute of a fitted estimator that holds the JSON of its trees as it was read: XGBoost
#: writes it again with other digits.
_TEXT = "federated_text_"
_HINT = "write it with model.save_model('model.json')"
#: Parameters of training, as a booster's own configuration names them.
_OF_CONFIG = {
    "max_depth": int,
    "max_leaves": int,
    "max_bin": int,
    "learning_rate": float,
    "gamma": float,
    "min_child_weight": float,
    "subsample": float,
    "colsample_bytree": float,
    "colsample_bylevel": float,
    "colsample_bynode": float,
    "reg_alpha": float,
    "reg_lambda": float,
}


def estimator_of(model: Any) -> Any:
    """Return the estimator with a model's parameters. Raises ModelError for other models."""
    name = type(model).__name__
    if isinstance(model, xgboost.XGBClassifier | xgboost.XGBRegressor):
        return model
    if not isinstance(model, xgboost.Booster):
        raise ModelError(
            f"a {name} can't be trained by parties", "use XGBClassifier or XGBRegressor"
        )
    try:
        config = json.loads(model.save_config())
    except xgboost.core.XGBoostError:
        raise ModelError(
            "this Booster was not trained, and does not tell its parameters",
            "give an XGBClassifier or an XGBRegressor with them",
        ) from None
    learner = config["learner"]
    found = learner["gradient_booster"].get("tree_train_param", {})
    params = {key: kind(found[key]) for key, kind in _OF_CONFIG.items() if key in found}
    return _made(learner["objective"]["name"], params)


def _made(objective: str, params: dict[str, Any]) -> Any:
    """Return an estimator for an objective."""
    is_classifier = objective.startswith(("binary:", "multi:"))
    kind = xgboost.XGBClassifier if is_classifier else xgboost.XGBRegressor
    return kind(objective=objective, **params)


def trees_of(model: Any) -> XGBoostTrees | None:
    """Return the trees of a model that was fitted, or None."""
    if _TEXT in vars(model):
        return XGBoostTrees.read(vars(model)[_TEXT])
    if not isinstance(model, xgboost.Booster):
        if not model.__sklearn_is_fitted__():
            return None
        model = model.get_booster()
    return XGBoostTrees.read(bytes(model.save_raw("json")))


def with_booster(estimator: Any, raw: bytes) -> Any:
    """Return the estimator, fitted, with a booster's trees."""
    params = estimator.get_params()
    estimator.load_model(bytearray(raw))
    kept = {n: value for n, value in params.items() if value is not None and n != "objective"}
    estimator.set_params(**kept)
    vars(estimator)[_TEXT] = raw
    return estimator


def save(estimator: Any, raw: bytes, path: Path, format: str) -> None:
    """Write a booster's JSON, or an estimator without a fit, with the estimator's parameters."""
    is_fitted = bool(raw)
    if not is_fitted:
        objective = {"objective": "binary:logistic", "num_feature": 1, "base_score": 0.5}
        raw = bytes(xgboost.Booster(objective).save_raw("json"))
    document = json.loads(raw)
    params = {
        name: value
        for name, value in estimator.get_params().items()
        if type(value) in (bool, int, float, str) and value == value  # no NaN: `missing`
    }
    about = {"class": type(estimator).__name__, "params": params, "is_fitted": is_fitted}
    document["learner"]["attributes"][_ABOUT] = json.dumps(about)
    raw = json.dumps(document, separators=(",", ":")).encode()
    if format == "ubj":
        raw = bytes(xgboost.Booster(model_file=bytearray(raw)).save_raw("ubj"))
    path.write_bytes(raw)


def load(path: Path) -> Any:
    """Return the estimator in a file. Raises ModelError for anything but sound trees."""
    try:
        raw = path.read_bytes()
        if len(raw) * _PER_BYTE > file_sizes.limit_for(0, always=8 * 2**30):
            raise ModelError(f"it has {len(raw):,} bytes, which are too many trees", _HINT)
        is_text = raw[:2] in (b'{"', b"{\n", b"{ ")
        document = json.loads(raw) if is_text else ubjson.read(raw)
        found = XGBoostTrees.read(json.dumps(document).encode())
        if fault := found.fault():
            raise ModelError(fault, _HINT)
        made = _estimator(found)
        if made.__sklearn_is_fitted__():
            made.get_booster().num_features()  # XGBoost reads the values of parameters only now
        return made
    except ModelError as error:
        raise ModelError(f"{path} is refused: {error.message}", error.hint) from None
    except Exception as error:  # a damaged or hostile file makes the readers raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
        raise ModelError(f"{path} can't be read as a file of XGBoost ({reason})", _HINT) from None


def _estimator(found: XGBoostTrees) -> Any:
    """Return an estimator with the parameters that the file tells, and its trees."""
    learner = found.document["learner"]
    about = json.loads(learner.get("attributes", {}).pop(_ABOUT, "{}"))
    made = _made(str(learner["objective"]["name"]), {})
    if about:
        kinds = {"XGBClassifier": xgboost.XGBClassifier, "XGBRegressor": xgboost.XGBRegressor}
        made = kinds[about["class"]]()
        made.set_params(**tree_parameters.of_file(about["params"], made.get_params()))
    if about.get("is_fitted", True):
        return with_booster(made, found.write())
    return made
