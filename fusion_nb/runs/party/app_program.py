"""The program of a party whose rows a ClientApp of Flower reads: its owner names the app."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from fusion_nb.core.schema import DataSchema
from fusion_nb.engines.flower.client_app import AppParts, ClientAppParty
from fusion_nb.errors import OptionError, RunError
from fusion_nb.models import lookup
from fusion_nb.models.client_app import AppModel, ArraysModel
from fusion_nb.runs.client_apps import finding
from fusion_nb.runs.party.journal import Journal
from fusion_nb.runs.party.policy import Policy
from fusion_nb.runs.party.program import Bench, PartyProgram
from fusion_nb.version import __version__

_PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class PartyApp:
    """An app, by the name that its owner gave, and the options that it is called with."""

    party: str
    place: str
    app: Any
    run_config: Mapping[str, Any]
    node_config: Mapping[str, Any]

    @classmethod
    def read(cls, party: str, place: str, node_config: str) -> PartyApp:
        """Import the app `flower_app:module:app`. Raises NameNotFoundError where there is none.

        node_config: `partition-id=0 num-partitions=2`, as Flower's own node takes it
        """
        found = finding.find(place, {})
        return cls(party, place, found.app, found.run_config, _parsed(node_config))

    def check(self, policy: Policy, label: str) -> None:
        """Raise OptionError for an option that this app can't keep."""
        given = {
            "--models": bool(policy.models),
            "--allow-code": policy.allows_code,
            "--label": bool(label),
        }
        for name in (name for name, is_given in given.items() if is_given):
            raise OptionError(
                f"{name}, and with {self.place} the app alone reads rows and builds the model",
                f"leave {name} out: no code and no model is ever taken from the aggregator",
            )
        if policy.max_epochs and not finding.names_in(self.run_config)["epochs"]:
            raise OptionError(
                f"--max-epochs, and the app {self.place} has no option local-epochs in its "
                "pyproject.toml that says how long it trains",
                "leave it out, or give the app such an option",
            )

    def parts(self, options: Mapping[str, Any]) -> AppParts:
        """Return all that the app is called with.

        options: of the run, in place of the app's own: rounds, epochs, lr and batch_size
        """
        config = finding.with_values(self.run_config, options)
        place = {"partition-id": 0, "num-partitions": 1} | dict(self.node_config)
        return AppParts(
            self.app,
            int(place["partition-id"]),
            int(place["num-partitions"]),
            config,
            node_config=self.node_config,
        )

    def made_party(self, options: Mapping[str, Any] = MappingProxyType({})) -> ClientAppParty:
        """Return the party of the app, which remembers nothing yet."""
        return ClientAppParty.of(self.party, self.parts(options))

    def lines(self) -> list[str]:
        """Return the app and its options as sentences for its owner."""
        configs = {"run_config": self.run_config, "node_config": self.node_config}
        shown = (
            f"{name} ({', '.join(f'{key}={value}' for key, value in config.items()) or 'empty'})"
            for name, config in configs.items()
        )
        return [f"{self.party}: the app {self.place}, with {', '.join(shown)}"]


class AppProgram(PartyProgram):
    """Answers requests by an app, which the aggregator can neither choose nor send.

    The aggregator sends weights, and the options epochs, lr and batch_size by the names that the
    app has for them. The app decides which arrays and metrics leave; the log names each.
    """

    def __init__(
        self, app: PartyApp, policy: Policy, journal: Journal, gate: Callable[[], None]
    ) -> None:
        super().__init__(None, policy, journal, gate)
        self._app = app

    def describe(self) -> dict[str, Any]:
        """Return what the aggregator is told before it has asked for anything else."""
        config = {
            name: value for name, value in self._app.run_config.items() if isinstance(value, _PLAIN)
        }
        return {
            "name": self._app.party,
            "version": __version__,
            "app": {"identity": self._app.made_party().train.identity, "run_config": config},
        }

    def _agree(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        party = self._app.made_party()
        self._bench = self._with_memory(Bench(party, DataSchema()))
        return {"num_examples": party.num_examples, "num_test": party.num_test}

    def _set_up(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(tree.get("arrays"), dict) or not tree["arrays"]:
            raise RunError("an app is told the first weights as arrays, and there are none")
        arrays = {str(name): np.asarray(array) for name, array in tree["arrays"].items()}
        options = dict(tree.get("options") or {})
        bench = self._with_memory(Bench(self._app.made_party(options), self._ready().schema))
        framework = str(tree.get("framework") or "")
        seeded = lookup.adapter(framework).seeded if framework else None
        model = AppModel(ArraysModel(arrays), finding.names_in(self._app.run_config), seeded)
        model.check(bench.party.train, bench.schema, lr=None, optimizer="")
        model.gate = self._gate
        self._bench, self._model = bench, model
        return {"kind": model.kind, "metrics": list(model.metrics)}

    def _with_memory(self, bench: Bench) -> Bench:
        """Return the bench with all that the party remembers: a run that goes on finds it."""
        if self._bench is not None:
            bench.party.persistent_state = self._bench.party.persistent_state
        return bench


def _parsed(text: str) -> dict[str, Any]:
    """Return `name=value` pairs. Raises OptionError for other text.

    >>> _parsed("partition-id=0 site='north wing'")
    {'partition-id': 0, 'site': 'north wing'}
    """
    found = {}
    for pair in shlex.split(text):
        name, is_pair, value = pair.partition("=")
        if not name or not is_pair:
            raise OptionError(
                f"--node-config has {pair!r}, which is no name=value",
                'write it as Flower\'s own node does: "partition-id=0 num-partitions=2"',
            )
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    for name in ("partition-id", "num-partitions"):
        if name in found and not isinstance(found[name], int):
            raise OptionError(f"--node-config has {name}={found[name]}", "give a whole number")
    return found
