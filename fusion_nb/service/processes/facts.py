"""The check of a party that keeps its rows, by the facts that it tells about them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core.files.tree_file import unpack_tree
from fusion_nb.core.party import Party
from fusion_nb.data import at_party
from fusion_nb.data.partition import PartitionedData
from fusion_nb.data.reports import Report
from fusion_nb.errors import DataError, OptionError
from fusion_nb.models import lookup
from fusion_nb.runs.checks.federated import check_without_rows
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import MODEL_OPTIONS, RunSpec
from fusion_nb.service.storage.run_folder import RunFolder

#: Rows of zeros on which the model is tried, at least; a class of each label is among them.
_NUM_TRIED = 8


def check_facts(path: str, party: str) -> dict[str, Any]:
    """Check a draft of a party's folder against the aggregator's model and its other parties.

    Returns the number of rows that the party tells.
    """
    folder, draft = RunFolder(Path(path)), Path(party)
    name = str(json.loads((draft / "party.json").read_text(encoding="utf-8"))["party"])
    count, reports = _read(draft / "facts", name)
    spec = RunSpec(**folder.about["options"])
    check_without_rows(spec)
    others = [
        each
        for other in folder.registered()
        for each in _read(other["path"] / "facts", other["party"])[1]
    ]
    schema, _ = at_party.agreed_schema([*others, *reports])
    tried = max(_NUM_TRIED, len(schema.labels.values or ()))
    rows = at_party.stand_in(schema, tried)
    none = np.empty(0, dtype=np.int64)
    data = PartitionedData(
        (Party(name, rows, rows),), {name: (none, none)}, schema=schema, are_given=True
    )
    with contextlib.chdir(path):
        model = lookup.find(folder.model.name, {})
    options = folder.about["options"]
    given = {name: value for name, value in options.items() if name in (*MODEL_OPTIONS, "lr")}
    Run(RunSpec(**given, model="model"), {"model": model}, name="run", data=data)
    return {"num_examples": count}


def _read(path: Path, name: str) -> tuple[int, list[Report]]:
    """Return the number of a party's rows, and the reports about them.

    Raises DataError for anything but what `fusion-nb party` tells.
    """
    hint = "register with: fusion-nb party --service ..., of the same version of fusion_nb"
    try:
        told = unpack_tree(path.read_bytes(), "facts")
    except ValueError:
        raise DataError(f"the facts of {name} can't be read", hint) from None
    facts = told.get("facts") if isinstance(told, dict) else None
    count = told.get("num_rows") if isinstance(told, dict) else None
    if isinstance(told, dict) and told.get("app") is not None:
        raise OptionError(
            f"the rows of {name} are read by an app of Flower, and parties of a service train the "
            "aggregator's model",
            "give a file of rows as --data",
        )
    if not isinstance(facts, list) or not facts or not isinstance(count, int) or count < 1:
        raise DataError(f"the facts of {name} tell of no rows", hint)
    return count, at_party.reports_of(facts, name)
