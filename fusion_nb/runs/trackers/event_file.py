"""An event file of TensorBoard, written by its record writer.

`tensorboard.summary.Writer` imports all of TensorFlow where that is installed, which takes seconds
and hundreds of megabytes; the record writer below it does not.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Where the header of a PNG has its width and its height.
_WIDTH, _HEIGHT = 16, 20


class EventFile:
    """A new event file in a folder, to which events are added in the order of their steps."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        # Readers take the files of a folder in the order of their names.
        name = f"events.out.tfevents.{time.time_ns():020}.{socket.gethostname()}.{os.getpid()}"
        self._writer: Any = RecordWriter((folder / name).open("wb"))
        self._add(file_version="brain.Event:2")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers of one step, and write all to the disk."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(summary=Summary(value=found), step=step)
        self._writer.flush()

    def parameters(self, values: Mapping[str, Any], id: str) -> None:
        """Add hyper-parameters, which TensorBoard compares between runs."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import metadata, plugin_data_pb2

        started = plugin_data_pb2.SessionStartInfo(group_name=id, start_time_secs=time.time())
        for name, value in values.items():
            if isinstance(value, bool):
                started.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                started.hparams[name].number_value = value
            else:
                started.hparams[name].string_value = str(value)
        data = plugin_data_pb2.HParamsPluginData(session_start_info=started)
        value = Summary.Value(
            tag=metadata.SESSION_START_INFO_TAG,
            metadata=metadata.create_summary_metadata(data),
            tensor=metadata.NULL_TENSOR,
        )
        self._add(summary=Summary(value=[value]))

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Add text in Markdown."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.plugins.text.metadata import create_summary_metadata

        one = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype="DT_STRING", string_val=[markdown.encode()], tensor_shape=one)
        value = Summary.Value(tag=tag, metadata=create_summary_metadata("", ""), tensor=tensor)
        self._add(summary=Summary(value=[value]), step=step)

    def image(self, tag: str, png: bytes, step: int = 0) -> None:
        """Add a picture."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (_WIDTH, _HEIGHT))
        image = Summary.Image(encoded_image_string=png, width=width, height=height, colorspace=4)
        self._add(summary=Summary(value=[Summary.Value(tag=tag, image=image)]), step=step)

    def close(self) -> None:
        """Write all to the disk, and close the file."""
        self._writer.flush()
        self._writer.close()

    def _add(self, **parts: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **parts).SerializeToString())
