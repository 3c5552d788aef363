"""Parties of a running federation that are apps of Flower: their nodes name the code, not we."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fusion_nb.core.types import Weights
from fusion_nb.data.partition import PartitionedData
from fusion_nb.engines.flower.remote_app import RemoteAppParty, RemoteAppRows, read_app
from fusion_nb.engines.remote.session import Described, Session
from fusion_nb.errors import DataError, OptionError, option
from fusion_nb.models import lookup
from fusion_nb.runs.client_apps.finding import OWN_NAMES
from fusion_nb.runs.spec import RunSpec


def are_apps(described: Sequence[Described]) -> bool:
    """Return whether the parties are apps. Raises DataError where some are, and others are not."""
    apps = [found.name for found in described if found.app is not None]
    others = [found.name for found in described if found.app is None]
    if apps and others:
        raise DataError(
            f"{apps[0]} trains by an app of Flower, and {others[0]} has rows for a model that is "
            "sent",
            "run with parties of one kind",
        )
    return bool(apps)


def parties(
    spec: RunSpec,
    described: Sequence[Described],
    session: Session,
    namespace: Mapping[str, Any],
) -> PartitionedData:
    """Return the parties of a run whose apps are at their nodes.

    Raises DataError for what can't be read, and OptionError where the apps' own options differ.
    """
    read = {found.name: read_app(found.app, found.name) for found in described}
    _check_own_options(spec, {name: config for name, (_, config) in read.items()})

    # An app reads them in its evaluation too; options that the run does not name stay its own.
    chosen = {name for name in OWN_NAMES if name in spec.model_fields_set} | {"rounds"}

    def pack(weights: Weights) -> dict[str, Any]:
        native = lookup.find(spec.model, namespace)
        return {
            "ask": "setup",
            "framework": lookup.framework_of(native),
            "arrays": dict(weights),
            "options": {name: getattr(spec, name) for name in chosen},
        }

    made = tuple(_party(name, *read[name], session, pack) for name in session.nodes)
    none = np.empty(0, dtype=np.int64)
    return PartitionedData(
        made,
        {party.id: (none, none) for party in made},
        notes=(
            f"parties: apps of Flower at their nodes, where their rows stay: "
            f"{', '.join(session.nodes)}; how many rows each has is known after its first reply",
        ),
        are_given=True,
    )


def _party(
    name: str,
    identity: str,
    config: Mapping[str, Any],
    session: Session,
    pack: Callable[[Weights], dict[str, Any]],
) -> RemoteAppParty:
    train, test = (RemoteAppRows(name, identity, config, session, pack) for _ in range(2))
    party = RemoteAppParty(name, train, test)
    party.session, party.setup = session, lambda model: pack(model.get_weights())
    return party


def _check_own_options(spec: RunSpec, configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise OptionError for an option that the run does not name, and the apps do not agree on."""
    for name, keys in OWN_NAMES.items():
        if name == "rounds" or name in spec.model_fields_set:
            continue
        own = {
            party: config[key] for party, config in configs.items() for key in keys if key in config
        }
        if len({*own.values()}) > 1:
            shown = ", ".join(f"{party}: {value}" for party, value in own.items())
            raise OptionError(
                f"the parties' apps have {keys[0]} of their own, and these differ ({shown})",
                f"say which all of them take: {option(name, next(iter(own.values())))}",
            )
