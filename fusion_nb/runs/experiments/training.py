"""Makes the runs of an experiment from what they share: the rows, and the models of each seed."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion_nb.core.builtin import FRAMEWORKS
from fusion_nb.core.history import History
from fusion_nb.core.party import Party
from fusion_nb.core.run_control import RunControl
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import FusionError, RunError
from fusion_nb.models import lookup
from fusion_nb.runs.checkpoints.option import CheckpointOption
from fusion_nb.runs.checkpoints.resume import SavedSpec
from fusion_nb.runs.experiments.spec import Point
from fusion_nb.runs.experiments.trial import Facts, Trial
from fusion_nb.runs.resolve import OF_DATA, divide
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec

#: Divisions of the rows that are kept at once: of the seed that is trained, and of the next one.
_MAX_DIVISIONS = 2
#: Returns whether a trial is to end after this round, as a search decides.
Prunes = Callable[[History], bool]


class TrialControl(RunControl):
    """The control of one trial: it is held and stopped with its experiment.

    of_all: the control of the experiment
    """

    def __init__(self, of_all: RunControl) -> None:
        super().__init__(on_gate=of_all.gate)
        self._of_all = of_all

    @property
    def is_paused(self) -> bool:
        """Whether the trial, or the experiment, is held."""
        return super().is_paused or self._of_all.is_paused

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was asked for, of the trial or of the experiment."""
        return super().is_stopping or self._of_all.is_stopping


class Workshop:
    """Makes and trains the runs of an experiment one by one.

    namespace:  where names of variables are looked up
    built_with: the seed of the first weights with which the cell's body was run, which made the
                model in `namespace`; None where it was not run

    Rows are read and divided once for all runs of one split. A model that a cell's body or a
    function builds is built once for each seed of the first weights.
    """

    def __init__(self, namespace: Mapping[str, Any], built_with: int | None = None) -> None:
        self._namespace = namespace
        self._built_with = built_with
        self._divisions: OrderedDict[str, PartitionedData] = OrderedDict()
        self._built: dict[int, Mapping[str, Any]] = {}

    def builds_model(self, spec: RunSpec) -> bool:
        """Return whether the first weights depend on the seed."""
        return bool(spec.code) or _is_maker(self._namespace.get(spec.model))

    def make(
        self, point: Point, name: str, control: RunControl | None = None, folder: Path | None = None
    ) -> Run:
        """Return the run of a point, ready to train; it continues what is saved in the folder."""
        spec = point.spec
        namespace = self.namespace(spec)
        if folder is not None:
            chosen = CheckpointOption.parse(spec.checkpoint)
            every = chosen.every if chosen else 1
            spec = spec.model_copy(update={"checkpoint": f"{folder}:every={every},keep=1"})
            if any(folder.glob("round-*")):
                with contextlib.suppress(RunError):  # nothing in it can be read: begin anew
                    saved = SavedSpec.read(folder, {"checkpoint": spec.checkpoint})
                    return saved.make_run(
                        namespace,
                        name=name,
                        make=lambda *given, **options: Run(
                            *given, **options, control=control, data=self.rows(spec, namespace)
                        ),
                    )
        return Run(spec, namespace, name=name, control=control, data=self.rows(spec, namespace))

    def rows(self, spec: RunSpec, namespace: Mapping[str, Any]) -> PartitionedData:
        """Return the parties of a spec, with rows that other runs share and states of their own."""
        key = str([getattr(spec, name) for name in OF_DATA if name != "seed"])
        # A cell's body may draw its data: then each seed of the first weights has its own.
        own = spec.seed_for("weights") if spec.data in self._drawn(spec) else None
        key = f"{key} {spec.seed_for('split')} {own}"
        if key not in self._divisions:
            self._divisions[key] = divide(spec, namespace)
            while len(self._divisions) > _MAX_DIVISIONS:
                self._divisions.popitem(last=False)
        self._divisions.move_to_end(key)
        data = self._divisions[key]
        fresh = tuple(
            Party(party.id, party.train, party.test, trains=party.trains) for party in data.parties
        )
        return replace(data, parties=fresh)

    def namespace(self, spec: RunSpec) -> Mapping[str, Any]:
        """Return the variables of a run, in which the model has the first weights of its seed."""
        if not self.builds_model(spec):
            return self._namespace
        seed = spec.seed_for("weights")
        if spec.code and seed == self._built_with:
            return self._namespace
        if seed not in self._built:
            self._built[seed] = self._with_model(spec, seed)
        return self._built[seed]

    def _with_model(self, spec: RunSpec, seed: int) -> Mapping[str, Any]:
        if not spec.code:
            with lookup.seeded(seed, _loaded()):
                return {**self._namespace, spec.model: self._namespace[spec.model]()}
        from IPython.core.inputtransformer2 import TransformerManager

        names = dict(self._namespace)
        body = compile(TransformerManager().transform_cell(spec.code), "<the cell's body>", "exec")
        # The body has shown what it prints when it was run with the first seed.
        with lookup.seeded(seed, spec.code), contextlib.redirect_stdout(io.StringIO()):
            exec(body, names)
        return names

    def draws_data(self, spec: RunSpec) -> bool:
        """Return whether the cell's body defines the data, which it may draw."""
        return bool(self._drawn(spec))

    def _drawn(self, spec: RunSpec) -> set[str]:
        """Return the variables with data that the cell's body defines."""
        if not spec.code:
            return set()
        return {name for name in (spec.data, spec.data_handler) if name and name in spec.code}


def train(run: Run, trial: Trial, prunes: Prunes, told: Callable[[], object]) -> None:
    """Train a run to its end, and let its trial know each whole round.

    prunes: says after a round whether the trial is to end
    A run that fails ends its trial alone.
    """
    trial.status, trial.records = "running", run.records
    pruned_after = 0
    trial.facts = Facts.of(run)
    told()

    def follow(run: Run) -> None:
        nonlocal pruned_after
        records = run.records
        if pruned_after or len(records) == len(trial.records):
            return
        for count in range(len(trial.records) + 1, len(records) + 1):
            trial.records = History(records[:count])
            if count < run.planned and prunes(trial.records):
                pruned_after = count
                run.stop(wait=False)
                break
        told()

    unsubscribe = run.subscribe(follow)
    try:
        if run.planned > len(run.records):
            run.start()
        run.training.rest()
    finally:
        unsubscribe()
    trial.facts = Facts.of(run)
    trial.status, trial.reason = ("finished" if run.status == "ready" else run.status), run.reason
    if pruned_after:
        # Rounds that were under way meanwhile are none of it: how many depends on the machine.
        prune(trial, pruned_after)
        return
    trial.records = run.records
    if run.error is not None:
        trial.status, trial.reason = "failed", line_of(run.error)


def prune(trial: Trial, count: int) -> None:
    """End a trial with this number of its rounds, as a search has decided."""
    trial.status, trial.reason = "pruned", f"pruned after round {count}"
    trial.records = History(trial.records[:count])
    if trial.facts is not None and trial.facts.steps is not None:
        trial.facts = replace(trial.facts, steps=trial.facts.steps[:count])


def line_of(error: BaseException) -> str:
    """Return an error as one line."""
    if isinstance(error, FusionError):
        return error.message
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _is_maker(model: Any) -> bool:
    """Return whether a model is given as a function that builds it."""
    is_function = inspect.isfunction(model) or inspect.isbuiltin(model) or inspect.ismethod(model)
    return is_function and not inspect.signature(model).parameters


def _loaded() -> str:
    """Return the packages of the frameworks that are loaded, so that no other is for a seed."""
    import sys

    return " ".join(kind.package for kind in FRAMEWORKS.values() if kind.package in sys.modules)
