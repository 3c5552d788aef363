"""Reads TensorBoard's event files by its own record reader, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fusion_nb.core.protocols.tracker import StoredRun
from fusion_nb.runs.trackers.rounds_read import by_round

#: The tag of the text that holds what hyper-parameters do not.
FACTS = "fusion_nb/facts"
_PATTERN = "events.out.tfevents.*"


def has_events(folder: Path) -> bool:
    """Return whether event files are in a folder, or in one inside it."""
    return any(folder.rglob(_PATTERN))


def stored_runs(logdir: Path) -> list[StoredRun]:
    """Return the runs of a logdir: one for each folder that has event files of this package."""
    folders = sorted({path.parent for path in logdir.rglob(_PATTERN)})
    return [run for folder in folders if (run := _of_folder(folder)) is not None]


def _of_folder(folder: Path) -> StoredRun | None:
    params: dict[str, Any] = {}
    tags: dict[str, str] = {}
    values: dict[str, dict[int, float]] = {}
    is_ours = False
    for path in sorted(folder.glob(_PATTERN)):
        for event in _events(path):
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                if kind == "simple_value":
                    values.setdefault(value.tag, {})[event.step] = value.simple_value
                elif value.tag == FACTS:
                    tags |= _facts(value.tensor.string_val[0].decode())
                elif value.metadata.plugin_data.plugin_name == "hparams":
                    params |= _parameters(value.metadata.plugin_data.content)
                is_ours |= value.tag.startswith("fusion_nb/")
    if not is_ours:
        return None
    name = folder.name.rpartition("-")[0] or folder.name
    lacks = ("digits beyond 32 bits",)
    return StoredRun(name, params, tags, by_round(values), lacks)


def facts_text(tags: Mapping[str, str]) -> str:
    """Return facts as a list in Markdown."""
    return "\n".join(f"- {name}: {value}" for name, value in tags.items() if "\n" not in value)


def _facts(text: str) -> dict[str, str]:
    lines = (line.removeprefix("- ").partition(": ") for line in text.splitlines())
    return {name: value for name, _, value in lines}


def _parameters(content: bytes) -> dict[str, Any]:
    from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

    found = parse_session_start_info_plugin_data(content).hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in found.items()}


def _events(path: Path) -> Iterator[Any]:
    """Yield the events of a file; one that is still written to ends with its last whole one."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    reader = PyRecordReader_New(str(path))
    while True:
        try:
            reader.GetNext()
        except (errors.OutOfRangeError, errors.DataLossError):
            return
        yield Event.FromString(reader.record())
