"""Doc2Vec models as files: files that are refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doc2vec_samples import model
from gensim.models.doc2vec import Doc2Vec, TaggedDocument

from fusion_nb.errors import (
    ModelError,
)
from fusion_nb.models.doc2vec import files


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


class TestFiles:
    @pytest.mark.parametrize(
        "content", [Hostile(), {"a": 1}, np.ones(3), TaggedDocument(["a"], ["b"])]
    )
    def test_anything_but_a_doc2vec_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("bad.d2v").write_bytes(pickle.dumps(content))
        with pytest.raises(ModelError, match=r"bad\.d2v") as caught:
            files.load(Path("bad.d2v"))
        assert "\n" not in caught.value.message
        assert not Path("ran").exists()

    def test_no_further_file_is_unpickled(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        trained = model()
        trained.build_vocab([TaggedDocument(["a", "b"], ["t"])])
        trained.__dict__["__scipys"] = ["extra"]  # gensim would unpickle evil.d2v.extra.npy
        Path("evil.d2v").write_bytes(pickle.dumps(trained))
        Path("evil.d2v.extra.npy").write_bytes(pickle.dumps(Hostile()))
        files.load(Path("evil.d2v"))
        assert not Path("ran").exists()

    def test_a_file_cannot_make_gensim_read_another(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret words")

        class Reader:
            def __reduce__(self) -> Any:
                return Doc2Vec, (None, str(tmp_path / "secret"))

        (tmp_path / "evil.d2v").write_bytes(pickle.dumps(Reader()))
        with pytest.raises(ModelError, match="can't be read"):
            files.load(tmp_path / "evil.d2v")

    def test_arrays_of_another_size_are_refused(self, tmp_path: Path) -> None:
        trained = model()
        trained.build_vocab([TaggedDocument(["a", "b"], ["t"])])
        trained.syn1neg = trained.syn1neg[:1]
        trained.save(str(tmp_path / "short.d2v"))
        with pytest.raises(ModelError, match="syn1neg"):
            files.load(tmp_path / "short.d2v")

    def test_a_damaged_file_is_refused_in_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "model.d2v"
        trained = model()
        trained.build_vocab([TaggedDocument(["a", "b"], ["t"])])
        trained.save(str(path))
        content, lines = path.read_bytes(), set()
        rng = np.random.default_rng(0)
        for _ in range(60):
            cut = bytearray(
                content[: rng.integers(1, len(content))] if rng.random() < 0.5 else content
            )
            for position in rng.integers(0, len(cut), 5):
                cut[position] = rng.integers(0, 256)
            path.write_bytes(cut)
            try:
                files.load(path)
            except ModelError as error:
                lines.add(error.message.count("\n"))
        assert lines == {0}
