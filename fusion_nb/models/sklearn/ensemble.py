"""The parties' estimators as one voting estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.preprocessing import LabelEncoder

from fusion_nb.errors import ModelError


def joined(members: Sequence[Any], names: np.ndarray, shares: np.ndarray, rule: str) -> Any:
    """Return a fitted VotingClassifier or VotingRegressor.

    members: fitted, with the classes 0, 1, ...;  names: of the classes, empty for numbers

    Raises ModelError where scikit-learn has no such model.
    """
    if shares.ndim > 1:
        raise ModelError(
            "scikit-learn has no voting model with a share for each class",
            "use the ensemble mean or vote",
        )
    pairs = [(f"party_{i + 1}", member) for i, member in enumerate(members)]
    first = members[0]
    made: Any
    if is_classifier(first):
        is_soft = rule == "mean" and all(hasattr(member, "predict_proba") for member in members)
        made = VotingClassifier(pairs, voting="soft" if is_soft else "hard", weights=shares)
        made.le_ = LabelEncoder().fit(names)
        made.classes_ = made.le_.classes_
    else:
        made = VotingRegressor(pairs, weights=shares)
    made.estimators_ = list(members)
    made.named_estimators_ = dict(pairs)
    return made
