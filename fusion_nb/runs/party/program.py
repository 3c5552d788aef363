"""The program of a party: it answers requests with its own rows and a model that it was sent."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core.files.tree_file import pack_tree, unpack_tree
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import NeedsAgreement
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import CollectRequest, Failure, Request, RoundRequest, StepRequest
from fusion_nb.data.at_party import PartyRows
from fusion_nb.engines.remote import wire
from fusion_nb.errors import FusionError, RunError, Stopped, cell_spelling
from fusion_nb.models import lookup
from fusion_nb.models.base import Model
from fusion_nb.runs.party.journal import Journal
from fusion_nb.runs.party.masked import MaskedRounds, privacy_of
from fusion_nb.runs.party.policy import Policy
from fusion_nb.runs.party.refusal import RefusedError
from fusion_nb.version import __version__

#: Kinds of privacy whose noise is drawn at the party.
_NOISY_HERE = (".local", ".rows")


@dataclass(frozen=True)
class Bench:
    """The rows in the agreed form, as a party, and the schema that they have."""

    party: Party
    schema: DataSchema


class PartyProgram:
    """Answers requests, each a tree of plain data; nothing that comes in is unpickled.

    rows: None where an app reads them (`app_program`)
    gate: called between batches; it raises Stopped
    """

    def __init__(
        self, rows: PartyRows | None, policy: Policy, journal: Journal, gate: Callable[[], None]
    ) -> None:
        self._rows, self._policy, self._journal, self._gate = rows, policy, journal, gate
        self._bench: Bench | None = None
        self._model: Model | None = None
        self._run = 0
        self._masked = MaskedRounds()
        #: A line about masks in the answer under way, for the log.
        self._about = ""

    def answer(self, content: bytes, run: int = 0) -> bytes:
        """Return the reply to a request, as bytes. It may raise Stopped.

        run: the number of the run at the SuperLink; a run that agrees takes the party over
        An error becomes a reply that says it in one line; the line about it is in the log.
        """
        self._about = ""
        try:
            self._policy.check_size(len(content))
            tree = self._answer(content, run)
        except Stopped:
            self._journal.note("the aggregator gave up this request")
            raise
        except RefusedError as error:
            tree = {"refused": str(error)}
        except FusionError as error:
            said = error.redacted().spelled(cell_spelling)
            tree = {"refused": str(said).splitlines()[0]}
        except Exception as error:  # its text may quote a row
            self._journal.note(f"{type(error).__name__}: {error}")
            tree = {"refused": f"it failed with {type(error).__name__}; its owner's log says why"}
        body = pack_tree(tree, "reply")
        self._journal.left(body, tree)
        if self._about:
            self._journal.note(self._about)
        return body

    def forget(self) -> None:
        """Forget the secrets of a round under way, whose aggregator is gone."""
        if self._bench is not None:
            self._bench.party.secrets = {}

    def describe(self) -> dict[str, Any]:
        """Return what the aggregator is told before it has asked for anything else."""
        assert self._rows is not None
        sizes = [given for given in (self._rows.train, self._rows.test) if given is not None]
        return {
            "name": self._rows.party,
            "version": __version__,
            "num_rows": sum(len(given.labels) for given in sizes),
            "facts": self._rows.facts(),
        }

    def _answer(self, content: bytes, run: int) -> dict[str, Any]:
        try:
            tree = unpack_tree(content, "the request")
        except ValueError as error:
            self._journal.came(len(content), "not readable")
            raise RefusedError(f"a request that can't be read: {error}") from error
        asked = tree.get("ask") if isinstance(tree, dict) else None
        self._journal.came(
            len(content), _in_words(tree) if isinstance(tree, dict) else "no request"
        )
        if asked == "describe":
            return self.describe()
        if asked == "agree":
            self._run = run
            return self._agree(tree)
        if run != self._run:
            raise RefusedError("another run has taken this party over")
        if asked == "setup":
            return self._set_up(tree)
        if asked == "request":
            return self._request(tree)
        raise RefusedError("a request of another kind")

    def _agree(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        schema = DataSchema.from_json(tree["schema"])
        holdout, seed = float(tree["holdout"]), int(tree["seed"])
        assert self._rows is not None
        train, test = self._rows.in_form(schema, holdout, seed)
        party = Party(self._rows.party, train, test)
        if self._bench is not None:  # a run that goes on finds what the party remembers
            party.persistent_state = self._bench.party.persistent_state
        self._bench = Bench(party, schema)
        return {"num_examples": party.num_examples, "num_test": party.num_test}

    def _set_up(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        self._policy.check_model(tree)
        bench = self._ready()
        name = "model of the aggregator"
        if "code" in tree:
            import cloudpickle

            native = cloudpickle.loads(np.asarray(tree["code"]).tobytes())
        else:
            native = _read_model(str(tree["framework"]), str(tree["suffix"]), tree["model"])
        model = lookup.wrap(native, name, **dict(tree["settings"]))
        model.check(bench.party.train, bench.schema, lr=tree["lr"], optimizer=tree["optimizer"])
        model.gate = self._gate
        self._model = model
        return {"kind": model.kind}

    def _request(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        request = wire.request_of_tree(tree)
        self._policy.check_request(request, tree)
        self._masked.check(self._run, request, tree)
        if isinstance(request, RoundRequest) and privacy_of(tree).endswith(_NOISY_HERE):
            # The aggregator knows the run's seed, and could take off a noise that follows from it.
            request = replace(request, seed=secrets.randbits(63))
        party, model = self._ready().party, self._model
        if model is None:
            raise RefusedError("a training without a model")
        if _begins(request, model):
            party.persistent_state = None
        with model.single_threaded():
            reply = party.answer(request, model)
        if isinstance(reply, Failure):
            # A traceback, and the text of an error that is not ours, may quote a row.
            self._journal.note(f"{reply.error}\n{reply.traceback}")
            shown = reply.exception.redacted() if isinstance(reply.exception, FusionError) else None
            line = str(shown).splitlines()[0] if shown else reply.error.partition(":")[0]
            reply = Failure(party.id, line)
        self._about = self._masked.left(self._run, request, party.secrets)
        return wire.reply_to_tree(reply)

    def _ready(self) -> Bench:
        if self._bench is None:
            raise RunError("the aggregator has sent no schema yet")
        return self._bench


def _begins(request: Request, model: Model) -> bool:
    """Return whether a request begins a run, before which a party remembers nothing."""
    if isinstance(model, NeedsAgreement):
        return isinstance(request, CollectRequest)
    return isinstance(request, RoundRequest) and request.round == 1


def _read_model(framework: str, suffix: str, content: Any) -> Any:
    """Return a model from the bytes of its file, of which nothing is run."""
    if lookup.suffixes().get(suffix) != framework:
        raise RefusedError(f"a file {suffix} of {framework}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        path.write_bytes(np.asarray(content, dtype=np.uint8).tobytes())
        return lookup.adapter(framework).load(path)


def _in_words(tree: Mapping[str, Any]) -> str:
    """Return a request in words, for the log."""
    asked = str(tree.get("ask"))
    if asked == "agree":
        return "agree: the form that rows and labels have at all parties"
    if asked == "setup" and "arrays" in tree:
        return "setup: the first weights, on which the app is tried"
    if asked == "setup":
        return f"setup: a model of {tree.get('framework')}{', as code' if 'code' in tree else ''}"
    if asked != "request":
        return asked
    kind, fields = str(tree.get("request")), tree.get("fields")
    if kind == StepRequest.__name__ and isinstance(fields, dict):
        return f"round {fields.get('round')}: step {str(fields.get('name'))!r}"
    if kind != "RoundRequest" or not isinstance(fields, dict):
        return kind
    options = fields.get("options", {})
    said = ", ".join(f"{name} {value}" for name, value in options.items() if _is_plain(value))
    rule = fields.get("local_update") or {}
    inner = rule.get("rule", rule) if isinstance(rule, dict) else {}
    name = inner.get("class") or rule.get("function") or "" if isinstance(inner, dict) else ""
    by = f", rule {str(name).rpartition(':')[2]}" if name else ""
    return f"round {fields.get('round')}: train ({said}){by}"


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)
