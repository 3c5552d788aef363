"""Programs of parties, and an aggregator that reaches them by bytes alone and keeps all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fusion_nb.algorithms.secure.masks import Masks
from fusion_nb.core.files.tree_file import pack_tree, unpack_tree
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import FederationInfo, RoundRequest, StepRequest, Update
from fusion_nb.data import at_party
from fusion_nb.data.at_party import PartyRows
from fusion_nb.engines.remote import wire
from fusion_nb.errors import PartyError
from fusion_nb.models import lookup
from fusion_nb.runs.party.journal import Journal
from fusion_nb.runs.party.policy import Policy
from fusion_nb.runs.party.program import PartyProgram


class Parties:
    """An aggregator and the programs of its parties, who speak by bytes.

    told: all trees that parties sent;  lost: step -> those that drop out there
    forged: changes an answer on its way: (party, step, tree) -> tree
    """

    def __init__(self, folder: Path, policy: Policy | None = None, count: int = 4) -> None:
        self.names = [f"clinic {i + 1}" for i in range(count)]
        self.lines: dict[str, list[str]] = {name: [] for name in self.names}
        self.programs: dict[str, PartyProgram] = {}
        self.told: list[Any] = []
        self.lost: dict[str, Collection[str]] = {}
        self.forged: Callable[[str, str, Any], Any] = lambda party, step, tree: tree
        for i, name in enumerate(self.names):
            rng = np.random.default_rng(i)
            path = folder / f"{i}.npz"
            x = rng.normal(size=(20 + 4 * i, 5)).astype("float32")
            np.savez(path, x_train=x, y_train=np.arange(len(x)) % 3)
            journal = Journal(None, self.lines[name].append)
            rows = PartyRows.read(name, str(path))
            self.programs[name] = PartyProgram(rows, policy or Policy(), journal, lambda: None)
        self.set_up(folder)

    def send(self, name: str, tree: Any, run: int = 1) -> Any:
        found = unpack_tree(self.programs[name].answer(pack_tree(tree, "it"), run), "its reply")
        self.told.append(found)
        return found

    def set_up(self, folder: Path, run: int = 1) -> None:
        reports = [
            report
            for name in self.names
            for report in at_party.reports_of(self.send(name, {"ask": "describe"})["facts"], name)
        ]
        schema = at_party.agreed_schema(reports)[0]
        model = lookup.wrap(nn.Sequential(nn.Linear(5, 3)), "model")
        self.weights = model.get_weights()
        model.save(folder / "model.pt", self.weights, "whole")
        setup = {
            "ask": "setup",
            "framework": "torch",
            "suffix": ".pt",
            "settings": {"loss": ""},
            "lr": 0.1,
            "optimizer": "sgd",
            "model": np.frombuffer((folder / "model.pt").read_bytes(), np.uint8),
        }
        agree = {"ask": "agree", "schema": schema.to_json(), "holdout": 0.0, "seed": 0}
        for name in self.names:
            self.send(name, agree, run)
            assert "kind" in self.send(name, setup, run)

    def request(self, rule: Fusion, round: int = 1, broadcast: Any = None) -> RoundRequest:
        return RoundRequest(
            round=round,
            weights=self.weights,
            broadcast=broadcast or {},
            options={
                "epochs": 1,
                "batch_size": 8,
                "lr": 0.1,
                "optimizer": "sgd",
                **rule.client_options,
            },
            seed=7,
            info=self.info,
            local_update=rule.local_update,
        )

    @property
    def info(self) -> FederationInfo:
        names = tuple(self.weights)
        return FederationInfo(len(self.names), names, frozenset(names), parties=tuple(self.names))

    def ask(self, request: Any, name: str, run: int = 1) -> Any:
        tree = self.send(name, {"ask": "request", **wire.request_to_tree(request, name)}, run)
        step = request.name if isinstance(request, StepRequest) else "train"
        tree = self.forged(name, step, tree)
        return tree if "refused" in tree else wire.reply_of_tree(tree, name)

    def update(self, rule: Fusion, name: str, round: int = 1, run: int = 1) -> Any:
        """The answer of a party to a training."""
        return self.ask(self.request(rule, round), name, run)

    def train(self, rule: Masks, round: int = 1, run: int = 1, state: Any = None) -> Any:
        """The weights and the state after a round, as the loop makes them."""
        state = state or rule.init(self.weights, self.info)
        request = self.request(rule, round, rule.broadcast(state))
        asked = [name for name in self.names if name not in self.lost.get("train", ())]
        replies = [self.ask(request, name, run) for name in asked]
        for reply in replies:
            if isinstance(reply, dict):
                raise PartyError(reply["refused"])
        updates = [reply for reply in replies if isinstance(reply, Update)]

        def ask(
            name: str, step: Any, given: Mapping[str, Mapping[str, Any]], least: int
        ) -> dict[str, Any]:
            request = StepRequest(round, name, step, given, least)
            here = [party for party in given if party not in self.lost.get(name, ())]
            found = {party: self.ask(request, party, run) for party in here}
            return {p: reply.extras for p, reply in found.items() if isinstance(reply, Update)}

        return rule.aggregate_in_steps(self.weights, iter(updates), state, ask, round)


def numbers_in(found: Any) -> list[np.ndarray]:
    """All arrays in a tree."""
    if isinstance(found, np.ndarray):
        return [found]
    if isinstance(found, dict):
        return [a for value in found.values() for a in numbers_in(value)]
    if isinstance(found, list | tuple):
        return [a for value in found for a in numbers_in(value)]
    return []
