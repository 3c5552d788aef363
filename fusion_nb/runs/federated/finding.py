"""From the engine's address to the parties of a running federation, and the model to them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_nb.core import registry
from fusion_nb.core.schema import DataSchema
from fusion_nb.data import at_party
from fusion_nb.data.partition import PartitionedData
from fusion_nb.engines.remote.link import OF_A_SERVICE
from fusion_nb.errors import DataError, ExportError, ModelError, RunError, option
from fusion_nb.models import lookup
from fusion_nb.models.base import Model
from fusion_nb.runs.spec import MODEL_OPTIONS, RunSpec

if TYPE_CHECKING:  # most runs do without
    from fusion_nb.engines.remote.engine import FederatedEngine
    from fusion_nb.engines.remote.session import Described, RemoteParty, Session

#: Options about rows, which are where the parties are.
_OF_ROWS = ("data", "data_handler", "label", "split", "tabular")


def is_at_parties(engine: str) -> bool:
    """Return whether parties train in processes of their own owners, to which an engine connects.

    >>> is_at_parties("flower:superlink=10.0.0.1:8000"), is_at_parties("flower")
    (True, False)
    """
    name, options = registry.parse(engine or "local")
    return name == OF_A_SERVICE or (name == "flower" and "superlink" in options)


def engine_of(spec: RunSpec) -> FederatedEngine | None:
    """Return the engine of a spec where its parties are in a running federation, or None."""
    if not is_at_parties(spec.engine):
        return None
    from fusion_nb.engines.remote.engine import FederatedEngine

    made = registry.create("engines", spec.engine)
    return made if isinstance(made, FederatedEngine) and made.place else None


def parties(
    spec: RunSpec, engine: FederatedEngine, namespace: Mapping[str, Any]
) -> PartitionedData:
    """Return the parties that take part: the kernel is told names, sizes and the schema alone.

    namespace: where the model is looked up, for parties that are apps of Flower
    Raises DataError for an option about rows, for colliding names, or rows that do not go together.
    """
    given = [name for name in _OF_ROWS if getattr(spec, name) != RunSpec.model_fields[name].default]
    if given:
        raise DataError(
            f"{option(given[0], getattr(spec, given[0]))}, but rows are at the nodes of "
            f"{engine.place}, whose owners name them",
            f"leave {option(given[0])} out",
        )
    session = engine.connect()
    try:
        described = session.wait_for(spec.parties or 1, engine.wait)
        _check_names(described)
        described.sort(key=lambda found: _natural(found.name))
        session.nodes.update({found.name: found.node for found in described})
        from fusion_nb.runs.federated import apps  # with Flower, as here

        if apps.are_apps(described):
            _agree(session, DataSchema(), spec)
            return apps.parties(spec, described, session, namespace)
        reports = [
            each for found in described for each in at_party.reports_of(found.facts, found.name)
        ]
        schema, notes = at_party.agreed_schema(reports)
        sizes = _agree(session, schema, spec)
    except BaseException:
        session.close()
        raise
    made = tuple(
        _party(name, session, schema, sizes[name], _packer(spec, schema, engine))
        for name in session.nodes
    )
    none = np.empty(0, dtype=np.int64)
    rows = ", ".join(f"{name} ({sum(sizes[name])} rows)" for name in session.nodes)
    return PartitionedData(
        made,
        {party.id: (none, none) for party in made},
        schema=schema,
        notes=(*notes, f"parties: at their nodes, where their rows stay: {rows}"),
        are_given=True,
    )


def _agree(session: Session, schema: DataSchema, spec: RunSpec) -> dict[str, tuple[int, int]]:
    """Tell all nodes the schema, and return how many training and test rows each has."""
    tree = {
        "ask": "agree",
        "schema": schema.to_json(),
        "holdout": spec.holdout,
        "seed": spec.seed,
    }
    session.prepare.append(tree)
    sizes = {}
    for name, found, problem in session.ask((name, tree) for name in [*session.nodes]):
        if problem:
            raise RunError(f"{name}: {problem}", "mend this party, or run without it")
        sizes[name] = int(found["num_examples"]), int(found["num_test"])
    return sizes


def _party(
    name: str,
    session: Session,
    schema: DataSchema,
    sizes: tuple[int, int],
    setup: Callable[[Any], dict[str, Any]],
) -> RemoteParty:
    from fusion_nb.engines.remote.session import RemoteParty

    test = at_party.stand_in(schema, sizes[1]) if sizes[1] else None
    party = RemoteParty(name, at_party.stand_in(schema, sizes[0]), test)
    party.session, party.setup = session, setup
    return party


def _packer(
    spec: RunSpec, schema: DataSchema, engine: FederatedEngine
) -> Callable[[Any], dict[str, Any]]:
    """Return a function that writes a model for the nodes: a file, which is read without code."""

    def pack(model: Any) -> dict[str, Any]:
        assert isinstance(model, Model)
        settings = {name: getattr(spec, name) for name in MODEL_OPTIONS}
        tree: dict[str, Any] = {
            "ask": "setup",
            "framework": lookup.framework_of(model.native(model.get_weights())),
            "settings": settings,
            "schema": schema.to_json(),
            "lr": spec.lr,
            "optimizer": spec.optimizer or model.defaults["optimizer"],
        }
        return tree | _file_of(model, engine)

    return pack


def _file_of(model: Model, engine: FederatedEngine) -> dict[str, Any]:
    suffix = model.suffixes[0] if model.suffixes else ""
    hint = (
        "build it of the framework's own classes (nn.Sequential, say), or add send_code=true to "
        "the engine, where parties allow code"
    )
    if engine.send_code:
        import cloudpickle

        code = cloudpickle.dumps(model.native(model.get_weights()))
        return {"code": np.frombuffer(code, np.uint8)}
    if not suffix or not model.whole_format:
        raise ModelError(f"a {model.kind} has no file that can be sent to parties", hint)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        try:
            model.save(path, model.get_weights(), model.whole_format)
            lookup.adapter(lookup.suffixes()[suffix]).load(path)
        except (ExportError, ModelError) as error:
            raise ModelError(
                f"the model can't be sent to parties as a file: {error.message}", hint
            ) from error
        return {"model": np.frombuffer(path.read_bytes(), np.uint8), "suffix": suffix}


def _check_names(described: Sequence[Described]) -> None:
    """Raise DataError where two nodes call themselves alike."""
    names = [found.name for found in described]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{names.count(twice[0])} nodes call themselves {twice[0]!r}",
            "every party needs a name of its own: fusion-nb party --name ...",
        )


def _natural(name: str) -> tuple[Any, ...]:
    """Return a key by which "party 10" comes after "party 9"."""
    digits = "".join(c if c.isdigit() else " " for c in name).split()
    return ("".join(c for c in name if not c.isdigit()), [int(number) for number in digits], name)
