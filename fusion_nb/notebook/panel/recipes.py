"""Ways in which a panel makes a run: a new one from its controls, or one that was saved on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fusion_nb.core import registry
from fusion_nb.errors import RunError
from fusion_nb.models import lookup
from fusion_nb.notebook.panel.labels import spelling
from fusion_nb.runs.checkpoints import saving
from fusion_nb.runs.checkpoints.resume import SavedSpec
from fusion_nb.runs.checkpoints.saving import SavedRun
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec

#: The options that name objects of the notebook.
_OBJECTS = ("model", "data")


class Recipe(Protocol):
    """A run that can be made: `make` is called once, in the panel's own thread."""

    @property
    def name(self) -> str:
        """The name that the run should have, or an empty string for any."""

    @property
    def describes_controls(self) -> bool:
        """Whether an error of it belongs to a control of the configuration."""

    def make(self, names: dict[str, Any], name: str) -> tuple[Run, str]:
        """Return the run, and a sentence about it, which may be empty.

        names: a copy of the notebook's variables;  name: the variable that the run is bound to
        """


@dataclass(frozen=True)
class NewRun:
    """A run from the options in the controls."""

    spec: RunSpec
    name: str = ""
    describes_controls: bool = True

    def make(self, names: dict[str, Any], name: str) -> tuple[Run, str]:
        """Return the run, with nothing more to say."""
        return Run(self.spec, names, name=name, is_cached=True), ""


@dataclass(frozen=True)
class SavedRecipe:
    """A run on disk, which goes on after its last whole round.

    chosen: the model and data in the controls, which take the place of variables that are missing
    made:   called with the options of the run once it could be made
    refused: called where its rows are others
    """

    saved: SavedRun
    chosen: Mapping[str, str]
    allow_other_rows: bool
    made: Callable[[RunSpec], None]
    refused: Callable[[], None]
    describes_controls: bool = False

    @property
    def name(self) -> str:
        """The name that it had."""
        return self.saved.name

    def make(self, names: dict[str, Any], name: str) -> tuple[Run, str]:
        """Return the run, and a sentence that says where it goes on and how it differs.

        The cell's body, which is known of a run in the cache, is run where a variable is missing.
        Raises RunError where the rows are others.
        """
        is_cached = _is_in_cache(self.saved)
        given = {} if is_cached else {"checkpoint": str(self.saved.path)}
        saved_spec = SavedSpec.read(self.saved.path, given)
        spec = saved_spec.spec
        parts = [f"goes on after round {saved_spec.checkpoint.round} of {spec.rounds}"]
        if is_cached and spec.code and _missing(spec, names):
            _run_body(spec, names)
            parts.append("the body of its cell was run first")
        if others := self._others(spec, names):
            saved_spec = SavedSpec.read(self.saved.path, {**given, **others})
            parts += [
                f"with {spelling(option, value)}, since there is no variable "
                f"{getattr(spec, option)}"
                for option, value in others.items()
            ]
        if self.allow_other_rows:
            parts.append("its rows were not compared with those that it was begun with")
        run = self._make(saved_spec, names, name, is_cached=is_cached)
        self.made(run.spec)
        return run, "; ".join(parts)

    def _others(self, spec: RunSpec, names: Mapping[str, Any]) -> dict[str, str]:
        """Return the variables that take the place of missing ones, by option."""
        missing = _missing(spec, names)
        return {option: self.chosen[option] for option in missing if self.chosen[option] in names}

    def _make(
        self, saved_spec: SavedSpec, names: Mapping[str, Any], name: str, *, is_cached: bool
    ) -> Run:
        try:
            return saved_spec.make_run(
                names, name=name, is_cached=is_cached, allow_other_rows=self.allow_other_rows
            )
        except RunError as error:
            if error.option == "data":
                self.refused()
            raise


def _is_in_cache(saved: SavedRun) -> bool:
    folder = saving.cache()
    return folder is not None and saved.path.parent == folder.absolute()


def _missing(spec: RunSpec, names: Mapping[str, Any]) -> list[str]:
    """Return which of model and data is the name of a variable that does not exist."""
    values = {option: str(getattr(spec, option)) for option in _OBJECTS}
    known = {*names, *registry.names("datasets")}
    return [name for name, text in values.items() if text.isidentifier() and text not in known]


def _run_body(spec: RunSpec, names: dict[str, Any]) -> None:
    """Run the body of a cell in a copy of the notebook's variables.

    Its exceptions are the user's own, and raised as they are.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    body = TransformerManager().transform_cell(spec.code)
    with lookup.seeded(spec.seed_for("weights"), spec.code):
        exec(compile(body, "<the body of the saved run's cell>", "exec"), names)
