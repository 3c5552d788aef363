"""A run continues from its state alone: server state, parties' states and history.

Between two rounds these are copied and pickled. New objects for the fusion, the engine, the model,
the parties and the federation must then give the curve and the weights of an uninterrupted run.
"""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from small_models import MAKERS, MODEL_OF_FUSION

from fusion_nb.algorithms.baselines import Central, Local
from fusion_nb.core import documents, registry
from fusion_nb.core.federation import Federation
from fusion_nb.core.history import to_dict
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Baseline, Engine, Fusion, ModelPoisoning, PostTraining
from fusion_nb.core.rows import concat
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.settings import FederationConfig
from fusion_nb.core.types import RoundRecord, ServerState
from fusion_nb.engines.faults import FaultyEngine, Stragglers
from fusion_nb.engines.local import LocalEngine
from fusion_nb.models import lookup

NUM_ROUNDS, NUM_BEFORE = 4, 2
#: Rules that need another one after them.
WRAPPERS = {"bucketing": "bucketing:s=2+median"}
#: Options with which a rule does something in four rounds.
OPTIONS = {
    "cmfl": "cmfl:threshold=0.5",
    "dynamic": "dynamic:threshold=0.02",
    "fda": "fda:theta=0.02",
    "lag": "lag:xi=0.5",
}


@dataclass(frozen=True)
class Case:
    """The components of a federation, by their registered names."""

    fusion: str = "fedavg"
    personal: str = ""
    ensemble: str = ""
    adversary: str = ""
    engine: str = "local:workers=2"
    framework: str = "torch"
    straggler: str = ""
    sharing: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)


def cases() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for name in registry.names("fusions"):
        fusion = WRAPPERS.get(name, OPTIONS.get(name, name))
        framework = MODEL_OF_FUSION.get(name, "torch")
        found[f"fusion {name}"] = Case(fusion, framework=framework)
    for name in registry.names("personal"):
        options = {"fedper": ":layers=3.*"}.get(name, "")
        found[f"personal {name}"] = Case(personal=name + options)
    for name in registry.names("ensembles"):
        options = {"distill": ":data=rows,epochs=1"}.get(name, "")
        found[f"ensemble {name}"] = Case(ensemble=name + options)
    for name in registry.names("adversaries"):
        found[f"adversary {name}"] = Case(adversary=name)
    for name in registry.names("engines"):
        found[f"engine {name}"] = Case(
            "scaffold", engine={"process": "process:workers=1"}.get(name, name)
        )
    found["chain bucketing and krum"] = Case("bucketing:s=1+krum")
    found["ditto around dynamic averaging"] = Case(OPTIONS["dynamic"], personal="ditto")
    found["fedbn around fedadam"] = Case("fedadam", personal="fedbn")
    found["stragglers"] = Case("fednova", straggler="0.4:epochs=1", options={"epochs": 3})
    found["kept optimizer"] = Case(
        options={"optimizer": "sgd:momentum=0.9"}, model_options={"keep_optimizer": True}
    )
    for name in registry.names("sharing"):
        found[f"sharing {name}, with baselines"] = Case(sharing=name)
    return found


CASES = cases()
#: Cases that take long, and rules without a state, as `median`, or with the same one, as `fedadam`:
#: all rules are resumed in runs/test_resumed_curves.py.
LONG = {f"engine {name}" for name in ("process", "flower", "ray")} | {
    f"fusion {name}"
    for name in (
        *("iter_avg", "trimmed_mean", "krum", "multikrum", "bulyan", "geometric_median"),
        *("fedyogi", "fedadagrad"),
    )
}


def rows_of(framework: str) -> list[tuple[Any, Any]]:
    """Return the rows of seven parties, which differ in number."""
    rng = np.random.default_rng(0)
    y = np.arange(98) % 3
    if framework == "doc2vec":
        texts = [tuple(f"w{word}" for word in rng.integers(0, 20, 12)) for _ in range(42)]
        x = documents.array(
            [documents.Document(text, (f"tag {i}",)) for i, text in enumerate(texts)]
        )
        y = y[:42]
    else:
        x = (rng.normal(size=(98, 5)) + np.eye(3, 5)[y] * 2).astype(np.float32)
    ends = np.linspace(0, len(x), 8).astype(int) + np.array([0, 2, -1, 1, -2, 0, 1, 0])
    return [(x[a:b], y[a:b]) for a, b in itertools.pairwise(ends)]


def native_model(framework: str) -> Any:
    if framework == "doc2vec":
        from gensim.models.doc2vec import Doc2Vec

        return Doc2Vec(vector_size=4, min_count=1)
    if framework != "torch":
        return MAKERS[framework]()[0]
    import torch
    from torch import nn

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


@dataclass(frozen=True)
class Snapshot:
    """All that a checkpoint holds."""

    state: ServerState | None
    history: Sequence[RoundRecord]
    party_states: Sequence[Any]
    attack_state: Mapping[str, Any]


@dataclass(frozen=True)
class Setup:
    """A federation, and the attack on it."""

    federation: Federation
    attack: ModelPoisoning | None

    def snapshot(self) -> Snapshot:
        """Return what a checkpoint holds, copied and pickled."""
        made = self.federation
        found = Snapshot(
            made.state,
            list(made.history),
            [party.persistent_state for party in made.parties],
            dict(self.attack.persistent_state) if self.attack else {},
        )
        copied: Snapshot = pickle.loads(pickle.dumps(copy.deepcopy(found)))
        return copied


def set_up(case: Case, snapshot: Snapshot | None = None) -> Setup:
    """Return a federation of new objects, which continues from a snapshot if one is given."""
    rows = rows_of(case.framework)
    parties = [Party(f"party {i}", part, part) for i, part in enumerate(rows)]
    model: Any = lookup.wrap(native_model(case.framework), "model", **case.model_options)
    lr = None if case.framework == "naive_bayes" else 0.05
    options = {"epochs": 1, "batch_size": 8, "lr": lr, "optimizer": "sgd", **case.options}
    model.check(rows[0], DataSchema.of(concat(rows)), lr=lr, optimizer="sgd")
    engine: Engine = registry.create("engines", case.engine)
    if case.engine == "auto":
        engine.check(model, options, parties)
    fusion, post_training = _rule(case)
    if case.ensemble:
        method = registry.create("ensembles", case.ensemble)
        model, fusion = method.join(model, parties, lambda name: np.asarray(rows[0][0]))
    config = FederationConfig(options, quorum=0.5)
    baselines: list[Baseline] = []
    if case.sharing:
        control = RunControl()
        kinds = (Central, Local)
        baselines = [
            kind(parties, model, LocalEngine(), config, test=None, control=control)
            for kind in kinds
        ]
        sharing, alone = registry.create("sharing", case.sharing), baselines[-1].federation
        post_training = lambda _: sharing(alone)  # noqa: E731
    attack = registry.create("adversaries", case.adversary) if case.adversary else None
    attack = attack if isinstance(attack, ModelPoisoning) else None
    if snapshot is not None:
        for party, kept in zip(parties, snapshot.party_states, strict=True):
            party.persistent_state = kept
        if attack:
            attack.persistent_state = snapshot.attack_state
    faulty = FaultyEngine(
        engine,
        seed=0,
        stragglers=Stragglers.parse(case.straggler) if case.straggler else None,
        uses_partial_work=fusion.requires.uses_partial_work,
        attack=attack,
        hostile=["party 1"],
    )
    made = Federation(
        parties,
        model,
        fusion,
        faulty,
        config,
        baselines=baselines,
        post_training=post_training,
        state=snapshot.state if snapshot else None,
        history=snapshot.history if snapshot else (),
    )
    return Setup(made, attack)


def _rule(case: Case) -> tuple[Fusion, PostTraining | None]:
    fusion: Fusion = registry.create("fusions", case.fusion)
    if not case.personal:
        return fusion, None
    made, options = registry.bind("personal", case.personal)
    if issubclass(made, Fusion):
        return made(fusion, **options), None
    return fusion, made(**options)


def timeless(history: Sequence[RoundRecord]) -> list[dict[str, Any]]:
    return [to_dict(replace(record, seconds=0.0)) for record in history]


def digest(thing: Any) -> Any:
    """Return a thing with its arrays as bytes, so that two can be compared."""
    if isinstance(thing, Mapping):
        return {name: digest(value) for name, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [digest(value) for value in thing]
    if isinstance(thing, np.ndarray | np.generic):
        return (str(thing.dtype), thing.shape, thing.tobytes())
    return thing


def outcome(made: Federation) -> Any:
    """Finish a federation, and return all that it came to."""
    made.finish()
    made.close()
    personal = [
        made.parties[i].own_model_weights(made.weights, len(made.history))
        for i in range(len(made.parties))
    ]
    return timeless(made.history), digest(made.weights), digest(personal)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=name,
            marks=pytest.mark.slow if name in LONG else (),
        )
        for name, case in CASES.items()
    ],
)
def test_new_objects_continue_from_a_snapshot(case: Case) -> None:
    whole = set_up(case)
    rounds = whole.federation.rounds(NUM_ROUNDS)
    for _ in range(NUM_BEFORE):
        next(rounds)
    snapshot = whole.snapshot()
    list(rounds)
    history, weights, personal = outcome(whole.federation)

    # Twice: a rule that changes a state in place would spoil the second.
    for _ in range(2):
        continued = set_up(case, snapshot).federation
        list(continued.rounds(NUM_ROUNDS - NUM_BEFORE))
        found = outcome(continued)
        assert found[1] == weights
        assert found[0] == history
        assert found[2] == personal
