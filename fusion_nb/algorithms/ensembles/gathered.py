"""One exchange and no fusion: the aggregator collects the parties' models and keeps them apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import FederationInfo, LocalContext, Requirements, Update, Weights
from fusion_nb.models.combining import SHARES, prefix


class Gathered(Fusion):
    """Put each party's model in its place in an ensemble, with the same share for all.

    With `stacks`, every second round finds the share of each: parties send sums of products of
    predictions on rows that they held back, from which follow the shares, none of them negative,
    with the least squared error on all parties' rows together, as if one had them all.

    Source: stacking by Wolpert, "Stacked Generalization", Neural Networks 1992; without negative
    shares as in Breiman, "Stacked Regressions", Machine Learning 1996; for each class as in Ting,
    Witten, "Issues in Stacked Generalization", JAIR 1999.
    """

    requires = Requirements(partial_updates=True)
    client_options: Mapping[str, Any] = MappingProxyType({"member": "", "stacks": False})

    def __init__(self, parties: Sequence[str], *, stacks: bool = False) -> None:
        self._prefixes = {party: prefix(i) for i, party in enumerate(parties)}
        self._stacks = stacks

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the parties whose models are there, none yet, and the number of rounds so far."""
        return {"members": [], "rounds": 0}

    def shared_weights(self, weights: Weights, state: Any) -> Weights:
        """Return one model, for training; or all of them, where parties evaluate them."""
        if self._is_stacking(state["rounds"] + 1):
            return weights
        first = next(iter(self._prefixes.values()))
        return {name: array for name, array in weights.items() if name.startswith(first)}

    def local_update(self, context: LocalContext) -> Update:
        """Train the party's own model and send it; or report how the models do on its rows."""
        if self._is_stacking(context.round):
            sums = context.train(context.weights, "stack", stacks=True).extras
            return context.update({}, **sums)
        result = context.train(context.weights, member=context.party)
        own = self._prefixes[context.party]
        return context.update(
            {name: array for name, array in result.weights.items() if name.startswith(own)}
        )

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return all models, and the share of each."""
        members = set(state["members"])
        products: Any = 0.0
        truth: Any = 0.0
        for update in updates:
            if update.weights:
                weights = weights | update.weights
                members.add(update.party)
            else:
                products = products + update.extras["products"]
                truth = truth + update.extras["truth"]
        present = [float(party in members) for party in self._prefixes]
        even = np.array(present) / max(1, len(members))
        shares = even if isinstance(products, float) else least_squares(products, truth, even)
        old = weights[SHARES]
        shares = np.broadcast_to(shares, old.shape).astype(old.dtype)
        new_state = {"members": sorted(members), "rounds": state["rounds"] + 1}
        return weights | {SHARES: shares}, new_state

    def _is_stacking(self, round: int) -> bool:
        return self._stacks and round % 2 == 0


def least_squares(products: np.ndarray, truth: np.ndarray, even: np.ndarray) -> np.ndarray:
    """Return, for each class, the shares >= 0 with the least squared error.

    They are regularized towards even shares.

    products: (classes, members, members);  truth: (classes, members);  even: (members,), 0 for
    members that are not there, which get no share. Where no share helps, all members get the same.
    """
    present = np.flatnonzero(even)
    products, truth = products[:, present][:, :, present], truth[:, present]
    # A class with few held-back rows says little about its shares.
    ridge = 1e-3 * np.diagonal(products, axis1=1, axis2=2).mean() + 1e-12
    found = np.zeros((len(truth), len(even)))
    for shares, gram, target in zip(found, products, truth, strict=True):
        shares[present] = nonnegative_minimum(
            gram + ridge * np.eye(len(present)), target + ridge * even[present]
        )
    found = found if found.any() else np.tile(even, (len(truth), 1))
    return found if len(found) > 1 else found[0]


def nonnegative_minimum(gram: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return x >= 0 that minimises x @ gram @ x - 2 * target @ x, for a positive definite `gram`.

    With gram = L @ L.T this is the non-negative least squares problem |L.T @ x - b| of the b with
    L @ b = target.

    >>> nonnegative_minimum(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([4.0, -1.0]))
    array([2., 0.])
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    lower = np.linalg.cholesky(gram)
    shares, _ = nnls(lower.T, solve_triangular(lower, target, lower=True))
    return np.asarray(shares)
