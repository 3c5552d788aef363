"""An export on a full disk, or to a name that can't be one, is one line and leaves nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb import Run
from fusion_nb.core.files import storage
from fusion_nb.core.history import History
from fusion_nb.errors import ExportError
from fusion_nb.reporting import export
from fusion_nb.reporting.charts import Chart


def torch_run() -> Run:
    from torch import nn

    model = nn.Sequential(nn.Linear(30, 60), nn.ReLU(), nn.Linear(60, 3))
    return fusion_nb.federate(model, numbers(), parties=2, rounds=1)


def keras_run() -> Run:
    keras = pytest.importorskip("keras")
    layers = [keras.layers.Input((30,)), keras.layers.Dense(60), keras.layers.Dense(3)]
    return fusion_nb.federate(keras.Sequential(layers), numbers(), parties=2, rounds=1)


def doc2vec_run() -> Run:
    doc2vec = pytest.importorskip("gensim.models.doc2vec")
    model = doc2vec.Doc2Vec(vector_size=40, min_count=1, epochs=1, dm=1)
    texts = [" ".join(f"w{i}x{chr(97 + j)}" for j in range(20)) + " the of and" for i in range(60)]
    return fusion_nb.federate(model, texts, parties=2, rounds=1)


def numbers() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(60, 30)).astype(np.float32)
    return x, np.arange(60) % 3


RUNS: dict[str, Callable[[], Run]] = {
    "torch": torch_run,
    "keras": keras_run,
    "doc2vec": doc2vec_run,
}
CHILD = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[3])
import test_full_disk
from fusion_nb.errors import ExportError
run = test_full_disk.RUNS[sys.argv[1]]()
for format in run.formats:
    try:
        run.export(sys.argv[2] + "/fused", [format])
        print(format, "written")
    except ExportError as error:
        print(format, "refused:", error.message)
"""


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow) for kind in ("keras", "torch")] + ["doc2vec"],
)
def test_no_format_ends_the_process_on_a_full_disk(kind: str, small_disk: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, kind, small_disk, Path(__file__).parent],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) >= 2
    assert all("refused: " in line and "No space left on device" in line for line in lines), lines
    assert [path.name for path in small_disk.iterdir()] == ["filling"]


@pytest.fixture(scope="module")
def run() -> Run:
    return torch_run()


def full(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestAnyMoment:
    @pytest.mark.parametrize(
        ("owner", "name"),
        [
            (storage, "sync"),
            (Chart, "drawn"),
            (History, "to_frame"),
            (Path, "write_text"),
            (Path, "read_bytes"),
            (Path, "mkdir"),
            (Path, "rename"),
        ],
    )
    def test_a_full_disk_is_one_line_and_leaves_nothing(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, full)
            with pytest.raises(ExportError) as caught:
                run.export(str(tmp_path / "fused"))
        assert "No space left on device" in caught.value.message
        assert "free some space" in caught.value.hint
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EDQUOT, errno.EACCES])
    def test_other_faults_of_a_disk_are_told_too(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def fail(*args: Any, **kwargs: Any) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Chart, "drawn", fail)
        with pytest.raises(ExportError, match=os.strerror(number)):
            run.export(str(tmp_path / "fused"))
        assert not list(tmp_path.iterdir())


class TestTargets:
    @pytest.mark.parametrize(
        "name",
        [
            *("what?", "a:b", "a*b", "a|b", 'a"b', "<a>", "a\\b"),
            *("con", "NUL", "aux.1", "com1", "LPT9.x", "prn "),
            *("dot.", "blank ", "x" * 256, "ü" * 150, "a\0b", "a\nb", "\x07", "a\ud800b"),
            *("x" * 300 + "/fused", "a/" * 3000 + "b", "a\0b/fused"),
        ],
        ids=lambda name: repr(name[:10]),
    )
    def test_a_name_that_some_file_system_refuses_is_refused_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ExportError, match="can't be the name of a folder") as caught:
            export.check_target(name, ["pt"], ["pt"], overwrite=True)
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 250
        assert caught.value.hint
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["fused", "fed.prox-0.1", "Modèle 北京", "x" * 200, "console"])
    def test_usual_names_are_taken(self, tmp_path: Path, name: str) -> None:
        export.check_target(str(tmp_path / name), ["pt"], ["pt"], overwrite=False)

    def test_the_longest_name_is_written(self, run: Run, tmp_path: Path) -> None:
        run.export(str(tmp_path / ("x" * 200)))
        run.export(str(tmp_path / ("x" * 200)), overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["x" * 200]

    def test_the_folder_of_an_unknown_user_is_refused(self) -> None:
        with pytest.raises(ExportError, match="home"):
            export.check_target("~nobody-of-this-name/x", ["pt"], ["pt"], overwrite=False)

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("target", ["an export", "a file", "nothing", "itself"])
    def test_a_link_is_not_replaced(
        self, run: Run, tmp_path: Path, target: str, overwrite: bool
    ) -> None:
        aim = tmp_path / "aim"
        if target == "an export":
            run.export(str(aim))
        if target == "a file":
            aim.write_text("mine")
        link = tmp_path / "link"
        link.symlink_to(link if target == "itself" else aim)
        with pytest.raises(ExportError, match="is a link"):
            run.export(str(link), overwrite=overwrite)
        assert link.is_symlink()
        assert {path.name for path in tmp_path.iterdir()} <= {"aim", "link"}
