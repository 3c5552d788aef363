"""TensorBoard's folders, read back by TensorBoard's own loader."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from tracked import federate

pytest.importorskip("tensorboard")


@pytest.fixture(autouse=True)
def without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let TensorBoard read with its own code, though TensorFlow may be installed."""
    name = "tensorboard.compat.notf"
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))


def read(folder: Path) -> Any:
    """Return all events of a run's folder, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run,) = folder.iterdir()
    found = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return found.Reload()


def test_rounds_cell_card_and_chart_are_read_back(tmp_path: Path) -> None:
    run = federate(log=f"tensorboard:folder={tmp_path / 'tb'}")
    events = read(tmp_path / "tb")
    values = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    assert [event.step for event in values["loss"]] == [1, 2, 3]
    assert [event.value for event in values["loss"]] == pytest.approx(run.history["loss"])
    assert [event.value for event in values["party/party 2/accuracy"]] == pytest.approx(
        run.history.party("party 2", "accuracy")
    )
    names = [tag for tag in events.Tags()["tensors"] if tag.startswith("fusion_nb/")]
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0] for tag in names}
    assert b"%fusion run" in texts["fusion_nb/cell"]
    assert b"a model fused by fedavg" in texts["fusion_nb/card"]
    (image,) = events.Images("fusion_nb/chart")
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert image.width > 0


def test_hyper_parameters_are_those_of_the_run(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    federate(log=f"tensorboard:folder={tmp_path}", lr=0.25, rounds=1)
    content = read(tmp_path).SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    found = metadata.parse_session_start_info_plugin_data(content)
    assert found.hparams["lr"].number_value == 0.25
    assert found.hparams["fusion"].string_value == "fedavg"
    assert found.hparams["keep_optimizer"].bool_value is False


def test_more_rounds_go_into_the_same_folder(tmp_path: Path) -> None:
    run = federate(log=f"tensorboard:folder={tmp_path}", rounds=2)
    run.more(2).wait()
    events = read(tmp_path)
    assert [event.step for event in events.Scalars("accuracy")] == [1, 2, 3, 4]
    assert len(events.Images("fusion_nb/chart")) == 2


@pytest.mark.slow
def test_neither_torch_nor_tensorflow_is_imported_for_it(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from fusion_nb.runs.trackers.event_file import EventFile
file = EventFile(Path({str(tmp_path)!r}))
file.parameters({{"lr": 0.1, "fusion": "fedavg"}}, "id")
file.scalars({{"loss": 0.5}}, 1)
file.text("card", "text")
file.image("chart", bytes(24))
file.close()
assert not {{"torch", "tensorflow"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_folder_that_can_not_be_written_is_one_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    run = federate(log=f"tensorboard:folder={tmp_path / 'file'}")
    assert len(run.history) == 3
    assert sum("tensorboard" in note for note in run.notes) == 1
    assert "went on without it" in run.notes[-1]
