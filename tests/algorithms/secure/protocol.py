"""Rounds of secure aggregation without models: parties with a change each, driven step by step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from fusion_nb.algorithms.secure import steps
from fusion_nb.algorithms.secure.quantised import means
from fusion_nb.algorithms.secure.unmasking import sum_of
from fusion_nb.core.types import Weights

SHAPES = {"w": (6, 5), "b": (4,)}


def change(number: int) -> Weights:
    rng = np.random.default_rng(number)
    return {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}


class Round:
    """Parties in one round, and what their aggregator was told."""

    def __init__(self, count: int, *, threshold: int, weighted: bool = True) -> None:
        self.parties = [f"party {number + 1}" for number in range(count)]
        self.changes = {party: change(i) for i, party in enumerate(self.parties)}
        self.rows = {party: 10 * (i + 1) for i, party in enumerate(self.parties)}
        self.kept: dict[str, dict[str, Any]] = {party: {} for party in self.parties}
        self.threshold, self.weighted = threshold, weighted
        self.told: dict[str, Any] = {}
        self.seen: list[Mapping[str, Any]] = []

    def ask(self, step: Any, given: Mapping[str, Any], lost: Collection[str] = ()) -> Any:
        """The answers of a step; parties in `lost` give none."""
        answers = {p: step(p, self.kept[p], given[p]) for p in given if p not in lost}
        self.seen += answers.values()
        return answers

    def advertise(self, lost: Collection[str] = ()) -> None:
        """The first step; then everybody is told about all keys."""
        sent = {
            party: steps.advertise(self.kept[party], self.changes[party], 1, self.rows[party])
            for party in self.parties
            if party not in lost
        }
        self.seen += sent.values()
        keys = {
            party: {name: found[name] for name in ("cipher_key", "mask_key")}
            for party, found in sent.items()
        }
        self.told = {
            "peers": keys,
            "count": len(keys),
            "cohort": steps.as_array(steps.digest_of(keys)),
            "threshold": self.threshold,
            "limits": np.max([found["largest"] for found in sent.values()], axis=0),
            "most_rows": max(self.rows[p] for p in sent) if self.weighted else 0,
            "bits": 22,
        }

    def share(self, lost: Collection[str] = ()) -> Any:
        return self.ask(steps.share, dict.fromkeys(self.told["peers"], self.told), lost)

    def masked(self, shares: Any, lost: Collection[str] = ()) -> Any:
        return self.ask(steps.send_masked, sealed_for(shares), lost)

    def reveal(self, masked: Any, gone: Collection[str], lost: Collection[str] = ()) -> Any:
        given = {"sent": dict.fromkeys(masked, 1), "lost": dict.fromkeys(gone, 1)}
        return self.ask(steps.reveal, dict.fromkeys(masked, given), lost)

    def mean(self, lost: Mapping[str, Collection[str]] | None = None) -> tuple[Weights, list[str]]:
        """The mean of a whole round, and the parties in it; lost: step -> who drops out there."""
        lost = lost or {}
        self.advertise(lost.get("advertise", ()))
        shares = self.share(lost.get("share", ()))
        masked = self.masked(shares, lost.get("masked", ()))
        gone = [party for party in shares if party not in masked]
        revealed = self.reveal(masked, gone, lost.get("reveal", ()))
        total = self.sum(masked, gone, revealed)
        return self.read(total, masked), [*masked]

    def sum(self, masked: Any, gone: Collection[str], revealed: Any) -> np.ndarray:
        """The sum that the aggregator reads."""
        return sum_of(dict.fromkeys(self.told["peers"], self.told), 1, masked, [*gone], revealed)

    def read(self, total: np.ndarray, parties: Collection[str]) -> Weights:
        """The mean that a sum stands for."""
        most = self.told["most_rows"]
        shares = sum(self.rows[p] / most if most else 1.0 for p in parties)
        return means(total, SHAPES, self.told["limits"], shares, 22)

    def plain_mean(self, parties: Collection[str]) -> Weights:
        """The mean without masks."""
        sizes = [self.rows[p] if self.weighted else 1 for p in parties]
        return {
            name: np.average([self.changes[p][name] for p in parties], axis=0, weights=sizes)
            for name in SHAPES
        }


def sealed_for(shares: Mapping[str, Any]) -> dict[str, Any]:
    """The part that each party is given of the others' shares."""
    return {
        party: {"sealed": {peer: shares[peer]["sealed"][party] for peer in shares}}
        for party in shares
    }


def arrays_in(found: Any) -> list[np.ndarray]:
    """All arrays in nested containers and objects."""
    if isinstance(found, np.ndarray):
        return [found]
    if isinstance(found, Mapping):
        return [a for value in found.values() for a in arrays_in(value)]
    if isinstance(found, list | tuple | set):
        return [a for value in found for a in arrays_in(value)]
    return arrays_in(vars(found)) if hasattr(found, "__dict__") else []
