"""LightGBM's models as files of text, whose trees are checked before LightGBM reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from fusion_nb.core.files import file_sizes
from fusion_nb.errors import ModelError
from fusion_nb.models import tree_parameters
from fusion_nb.models.lightgbm.trees import LightGBMTrees

FORMATS = {"txt": "model.txt"}
#: The beginning of the line with the class and the parameters of the estimator.
_ABOUT, _LAST = "fusion_nb:", "pandas_categorical:"
#: Bytes that parsed text takes, at most, in bytes of the text.
_PER_BYTE = 60
#: The attribute of a fitted estimator that holds the text of its trees as it was read: LightGBM
#: writes it again with other digits.
_TEXT = "federated_text_"
_HINT = "write it with model.booster_.save_model('model.txt')"
#: Parameters that a booster's text tells -> their names as an estimator's.
_OF_TEXT = {
    "learning_rate": ("learning_rate", float),
    "num_leaves": ("num_leaves", int),
    "max_depth": ("max_depth", int),
    "min_data_in_leaf": ("min_child_samples", int),
    "min_sum_hessian_in_leaf": ("min_child_weight", float),
    "bagging_fraction": ("subsample", float),
    "bagging_freq": ("subsample_freq", int),
    "feature_fraction": ("colsample_bytree", float),
    "lambda_l1": ("reg_alpha", float),
    "lambda_l2": ("reg_lambda", float),
    "min_gain_to_split": ("min_split_gain", float),
}


#: Further parameters that a file may set. LightGBM knows names of files and of machines besides.
_OTHERS = (
    "alpha",
    "bin_construct_sample_cnt",
    "extra_trees",
    "fair_c",
    "feature_fraction_bynode",
    "is_unbalance",
    "max_bin",
    "max_delta_step",
    "min_data_in_bin",
    "path_smooth",
    "scale_pos_weight",
    "seed",
    "tweedie_variance_power",
)


def estimator_of(model: Any) -> Any:
    """Return the estimator with a model's parameters. Raises ModelError for other models."""
    if isinstance(model, lightgbm.LGBMClassifier | lightgbm.LGBMRegressor):
        return model
    if isinstance(model, lightgbm.Booster):
        return _told(LightGBMTrees.read(model.model_to_string().encode()))
    raise ModelError(
        f"a {type(model).__name__} can't be trained by parties",
        "use LGBMClassifier or LGBMRegressor",
    )


def trees_of(model: Any) -> LightGBMTrees | None:
    """Return the trees of a model that was fitted, or None."""
    if _TEXT in vars(model):
        return LightGBMTrees.read(vars(model)[_TEXT].encode())
    if not isinstance(model, lightgbm.Booster):
        if not model.__sklearn_is_fitted__():
            return None
        model = model.booster_
    return LightGBMTrees.read(model.model_to_string().encode())


def save(estimator: Any, raw: bytes, path: Path) -> None:
    """Write a booster's text, or an estimator without a fit, with the estimator's parameters."""
    params = {
        name: value
        for name, value in estimator.get_params().items()
        if type(value) in (bool, int, float, str) and name in _settable(type(estimator))
    }
    about = {"class": type(estimator).__name__, "params": params, "is_fitted": bool(raw)}
    line = f"{_ABOUT}{json.dumps(about)}\n"
    text = raw.decode() if raw else "tree\nversion=v4\n\nend of trees\n\npandas_categorical:null\n"
    before, found, after = text.rpartition(_LAST)
    path.write_text(f"{before}{line}{found}{after}" if found else f"{text}\n{line}")


def load(path: Path) -> Any:
    """Return the estimator in a file. Raises ModelError for anything but sound trees."""
    try:
        raw = path.read_bytes()
        if len(raw) * _PER_BYTE > file_sizes.limit_for(0, always=8 * 2**30):
            raise ModelError(f"it has {len(raw):,} bytes, which are too many trees", _HINT)
        found = LightGBMTrees.read(raw)
        about, tail = _about(found.tail)
        found = replace(found, tail=tail)
        if about.get("is_fitted", True) and (fault := found.fault()):
            raise ModelError(fault, _HINT)
        return _estimator(found, about)
    except ModelError as error:
        raise ModelError(f"{path} is refused: {error.message}", error.hint) from None
    except Exception as error:  # a damaged or hostile file makes the readers raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
        raise ModelError(f"{path} can't be read as a file of LightGBM ({reason})", _HINT) from None


def with_booster(estimator: Any, raw: bytes, names: Any) -> Any:
    """Return the estimator, fitted, with a booster's trees and the user's own labels.

    LightGBM's estimators read no file: one that is fitted to made-up rows takes over the booster.
    """
    labels = names if len(names) else np.zeros(2)
    rows = np.zeros((len(labels), LightGBMTrees.read(raw).num_features))
    params = estimator.get_params()
    # The parameters of a file's model have no say in this fit.
    small = {"n_estimators": 1, "num_leaves": 2, "n_jobs": 1, "verbosity": -1}
    made = type(estimator)(objective=params["objective"], **small).fit(rows, labels)
    made._Booster = lightgbm.Booster(model_str=raw.decode())
    vars(made)[_TEXT] = raw.decode()
    # The fit has found the objective, which is None in the parameters of most models.
    return made.set_params(**{n: value for n, value in params.items() if n != "objective"})


def _about(tail: str) -> tuple[dict[str, Any], str]:
    """Return the class and the parameters that a file tells, and the rest of its end."""
    lines = [line for line in tail.splitlines() if line.startswith(_ABOUT)]
    if not lines:
        return {}, tail
    found: dict[str, Any] = json.loads(lines[0].removeprefix(_ABOUT))
    return found, tail.replace(f"{lines[0]}\n", "", 1)


def _settable(kind: type[Any]) -> set[str]:
    """Return the parameters of an estimator that a file may set."""
    return {*kind().get_params(), *_OF_TEXT, *_OTHERS}


def _told(found: LightGBMTrees) -> Any:
    """Return an estimator with the parameters that a booster's text tells."""
    lines = [line.strip("[]").split(": ") for line in found.tail.splitlines() if ": " in line]
    given = {pair[0]: pair[1] for pair in lines if len(pair) == 2}
    params = {own: kind(given[name]) for name, (own, kind) in _OF_TEXT.items() if given.get(name)}
    objective = found.fields["objective"].split()[0]
    is_classifier = objective in ("binary", "multiclass", "multiclassova")
    kind = lightgbm.LGBMClassifier if is_classifier else lightgbm.LGBMRegressor
    return kind(objective=objective, **params)


def _estimator(found: LightGBMTrees, about: dict[str, Any]) -> Any:
    if about:
        kinds = {
            "LGBMClassifier": lightgbm.LGBMClassifier,
            "LGBMRegressor": lightgbm.LGBMRegressor,
        }
        kind = kinds[about["class"]]
        made = kind(**tree_parameters.of_file(about["params"], _settable(kind)))
    else:
        made = _told(found)
    if not about.get("is_fitted", True):
        return made
    return with_booster(made, found.rewritten().write(), classes_of(made, found))


def classes_of(estimator: Any, found: LightGBMTrees) -> np.ndarray:
    """Return the numbers of the classes of a booster; none for one of numbers."""
    if not isinstance(estimator, lightgbm.LGBMClassifier):
        return np.empty(0)
    return np.arange(max(int(found.fields["num_class"]), 2))
