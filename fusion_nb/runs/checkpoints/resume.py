"""A run that was saved, taken up again after its last whole round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_nb.core.schema import DataSchema
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import OptionError, RunError, nearest, option
from fusion_nb.runs.checkpoints import rows
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.experiments.given import check_present
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec

#: Options that a run may be given anew when it is taken up: they name objects, or say where it is
#: trained. All others are those that it was begun with.
GIVEN_ANEW = (
    "model",
    "data",
    "data_handler",
    "label",
    "loss",
    "optimizer",
    "engine",
    "device",
    "checkpoint",
    "callbacks",
    "log",
)


@dataclass(frozen=True)
class SavedSpec:
    """The options of a saved run, some of them given anew, and its latest checkpoint."""

    spec: RunSpec
    checkpoint: Checkpoint
    folder: Path

    @classmethod
    def read(cls, path: str | Path, given: Mapping[str, Any]) -> SavedSpec:
        """Return the run in a folder.

        given: options that replace those of the run, by name
        Raises OptionError for one that can't be given anew, RunError without a checkpoint.
        """
        for name, value in given.items():
            if name not in GIVEN_ANEW:
                raise OptionError(
                    f"{option(name)} is that of the saved run, and can't be given anew",
                    f"{nearest(name, GIVEN_ANEW)}those that can are: {', '.join(GIVEN_ANEW)}",
                    option=name,
                    value=value,
                    allowed=GIVEN_ANEW,
                )
        folder = CheckpointFolder(path)
        checkpoint = folder.latest()
        spec = RunSpec(**{**checkpoint.spec, **given})
        return cls(spec, checkpoint, folder.path)

    def make_run(
        self,
        namespace: Mapping[str, Any],
        *,
        name: str = "",
        is_cached: bool = False,
        allow_other_rows: bool = False,
        make: Callable[..., Run] = Run,
    ) -> Run:
        """Return the run, ready to train the rounds that are missing.

        namespace: where names of variables are looked up
        allow_other_rows: go on though the rows are not those that the run was begun with
        Raises RunError where they are not, otherwise; OptionError for an object that is missing.
        """
        check_present(self.spec.model_dump(), namespace, str(self.folder))
        run = make(
            self.spec,
            namespace,
            name=name or self.checkpoint.name,
            earlier=self.checkpoint,
            folder=self.folder,
            is_cached=is_cached,
        )
        check_schema(self.checkpoint, run.prepared.resolved.data)
        if not allow_other_rows:
            check_rows(self.checkpoint, run.prepared.resolved.data)
        return run


def check_schema(checkpoint: Checkpoint, data: PartitionedData) -> None:
    """Raise RunError where rows or labels mean something else than those of the saved run."""
    if not checkpoint.schema:
        return
    if found := DataSchema.from_json(checkpoint.schema).differences(data.schema):
        raise RunError(
            f"the data is of another form than that which the run was begun with: {found[0]}",
            "give data of the same form",
            option="data",
        )


def check_rows(checkpoint: Checkpoint, data: PartitionedData) -> None:
    """Raise RunError that names the parties whose rows are not those of the saved run."""
    expected, found = dict(checkpoint.rows), rows.digests(data)
    others = [party for party in {**expected, **found} if expected.get(party) != found.get(party)]
    if not others:
        return
    named = [party or "the central test set" for party in others]
    some = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
    raise RunError(
        f"the rows of {some} are not those that the run was begun with",
        f"give the same data, or insist with {option('allow_other_rows')}: the curve is then "
        "not that of one run",
        option="data",
    )
