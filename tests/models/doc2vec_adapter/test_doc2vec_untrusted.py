"""Files of Doc2Vec models that would end the process in gensim's compiled code are refused."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doc2vec_samples import MODES, model
from gensim.models.doc2vec import Doc2Vec, TaggedDocument

from fusion_nb.core.documents import Document
from fusion_nb.errors import ModelError
from fusion_nb.models.doc2vec import files
from fusion_nb.models.doc2vec.adapter import Doc2VecModel
from fusion_nb.models.doc2vec.training import Trainer

DOCUMENTS = [TaggedDocument(["aa", "bb", f"cc{i}"], [f"t{i}"]) for i in range(8)]


def trained(**options: Any) -> Doc2Vec:
    made = model(**{"vector_size": 4, "epochs": 1, "workers": 1, **options})
    made.build_vocab(DOCUMENTS)
    return made


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        files.load(path)
    assert path.name in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.message


class Forged:
    """An object that is pickled as a call with a state of its own choice."""

    def __init__(self, *reduced: Any) -> None:
        self._reduced = reduced

    def __reduce__(self) -> Any:
        return self._reduced


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("window", 10**5),
            ("window", 0),
            ("window", -5),
            ("alpha", float("nan")),
            ("alpha", 1e30),
            ("min_alpha", float("inf")),
            ("epochs", 10**9),
            ("negative", 10**6),
            ("negative", -1),
            ("vector_size", 2**31),
            ("vector_size", 0),
            ("dm_tag_count", 10**6),
            ("seed", -1),
            ("sample", float("nan")),
            ("ns_exponent", float("inf")),
            ("hs", 2),
            ("min_count", "many"),
            ("max_final_vocab", [1]),
            ("window", 2.5),
            ("epochs", None),
            ("corpus_count", -1),
            ("sg", {"a": 1}),
            ("alpha", np.float64("nan")),
        ],
    )
    def test_a_setting_out_of_bounds_is_refused_by_name(
        self, tmp_path: Path, name: str, value: Any
    ) -> None:
        made = trained()
        setattr(made, name, value)
        made.save(str(tmp_path / "bad.doc2vec"))
        assert name in refusal(tmp_path / "bad.doc2vec")

    def test_settings_that_are_too_much_together_are_refused(self, tmp_path: Path) -> None:
        made = trained(dm=1, dm_concat=1, window=2)
        made.window, made.vector_size = 4_000, 10_000
        made.save(str(tmp_path / "bad.doc2vec"))
        assert "hidden layer" in refusal(tmp_path / "bad.doc2vec")

    def test_a_model_of_the_notebook_is_held_to_the_same_bounds(self) -> None:
        made = model(dm=1, dm_concat=1, window=2)
        made.window = 10**5
        with pytest.raises(ModelError, match="can't be trained: its window is 100000"):
            Doc2VecModel(made)


def far(made: Doc2Vec) -> None:
    made.wv.key_to_index = dict.fromkeys(made.wv.key_to_index, 2**31 - 5)


def negative(made: Doc2Vec) -> None:
    made.wv.key_to_index = dict.fromkeys(made.wv.key_to_index, -(10**7))


def without_word(made: Doc2Vec) -> None:
    del made.wv.key_to_index["aa"]


def with_word(made: Doc2Vec) -> None:
    made.wv.key_to_index["new"] = 3


def twice(made: Doc2Vec) -> None:
    made.wv.index_to_key[1] = made.wv.index_to_key[0]


def number_for_word(made: Doc2Vec) -> None:
    made.wv.index_to_key[0] = 7


def many_words(made: Doc2Vec) -> None:
    made.wv.index_to_key = [*made.wv.index_to_key, "more"]
    made.wv.key_to_index["more"] = len(made.wv.index_to_key) - 1


def tag_elsewhere(made: Doc2Vec) -> None:
    made.dv.key_to_index["t0"] = 10**9


def number_of_document(made: Doc2Vec) -> None:
    made.dv.index_to_key[0] = 10**9


def few_documents(made: Doc2Vec) -> None:
    made.dv.vectors = made.dv.vectors[:2].copy()


def not_finite(made: Doc2Vec) -> None:
    made.syn1neg[0, 0] = np.nan


def huge_weight(made: Doc2Vec) -> None:
    made.wv.vectors[0, 0] = 3e38


def no_counts(made: Doc2Vec) -> None:
    made.wv.expandos["count"][:] = 0


def negative_count(made: Doc2Vec) -> None:
    made.wv.expandos["count"][0] = -1


def short_sampling(made: Doc2Vec) -> None:
    made.wv.expandos["sample_int"] = made.wv.expandos["sample_int"][:2]


def wide(made: Doc2Vec) -> None:
    made.syn1neg = np.zeros((len(made.wv), 9), dtype=np.float32)


def doubles(made: Doc2Vec) -> None:
    made.syn1neg = made.syn1neg.astype(np.float64)


class TestIndices:
    @pytest.mark.parametrize(
        "change",
        [
            *(far, negative, without_word, with_word, twice, number_for_word, many_words),
            *(tag_elsewhere, number_of_document, few_documents, not_finite, huge_weight),
            *(no_counts, negative_count, short_sampling, wide, doubles),
        ],
    )
    def test_what_does_not_go_together_is_refused(
        self, tmp_path: Path, change: Callable[[Doc2Vec], None]
    ) -> None:
        made = trained()
        change(made)
        made.save(str(tmp_path / "bad.doc2vec"))
        refusal(tmp_path / "bad.doc2vec")

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            ("point", np.array([10**6], dtype=np.uint32)),
            ("point", np.array([2**32 - 1], dtype=np.uint32)),
            ("code", np.array([7], dtype=np.uint8)),
            ("point", np.zeros(500, dtype=np.uint32)),
            ("code", np.zeros((1, 1), dtype=np.uint8)),
            ("point", np.array([0], dtype=np.int64)),
            ("code", None),
        ],
    )
    def test_a_path_that_leaves_the_huffman_tree_is_refused(
        self, tmp_path: Path, name: str, path: Any
    ) -> None:
        made = trained(hs=1)
        paths = list(made.wv.expandos[name])
        paths[2] = path
        made.wv.expandos[name] = paths
        made.save(str(tmp_path / "bad.doc2vec"))
        refusal(tmp_path / "bad.doc2vec")

    def test_documents_with_numbers_for_tags_are_read(self, tmp_path: Path) -> None:
        made = model(vector_size=4)
        made.build_vocab([TaggedDocument(["aa", "bb"], [i]) for i in range(5)])
        made.save(str(tmp_path / "good.doc2vec"))
        assert files.load(tmp_path / "good.doc2vec").dv.index_to_key == [0, 1, 2, 3, 4]


RECONSTRUCT = np.zeros(1).__reduce__()[0]
BEGIN = (np.ndarray, (0,), b"b")


class TestForgedArrays:
    @pytest.mark.parametrize(
        "state",
        [
            (1, (9, 4), np.dtype("f4"), False, b"\0" * 8),
            (1, (2**50, 2**50), np.dtype("f4"), False, b""),
            (1, (-1, 4), np.dtype("f4"), False, b"\0" * 16),
            (1, (9, 4), np.dtype("O"), False, [None] * 36),
            (1, (9, 4), np.dtype([("a", "f4")]), False, b"\0" * 144),
            (1, (9, 4), np.dtype("U1"), False, b"\0" * 144),
            (1, (9, 4), Forged(np.dtype, ("O8", False, True), (3, "|", *[None] * 3)), False, b""),
            (1, (9, 4), Forged(np.dtype, ("f4", False, True), (3, "<", (8,), 1, 2)), False, b""),
            (1, 36, np.dtype("f4"), False, b"\0" * 144),
            (1, (9, 4), "f4", False, b"\0" * 144),
            "no state",
        ],
    )
    def test_an_array_that_is_not_what_it_says_is_refused(self, tmp_path: Path, state: Any) -> None:
        made = trained()
        made.syn1neg = Forged(RECONSTRUCT, BEGIN, state)
        (tmp_path / "bad.d2v").write_bytes(pickle.dumps(made, protocol=4))
        refusal(tmp_path / "bad.d2v")

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x93NUMPY\x01\x00",
            b"\x93NUMPY\x01\x00F\x00{'descr': '<f4', 'fortran_order': False, 'shape': "
            b"(900000000, 900), }\n",
            b"\x93NUMPY\x01\x00F\x00{'descr': '|O', 'fortran_order': False, 'shape': (9, 4), }"
            b"            \n",
            b"\x93NUMPY\x03\x00F\x00\x00\x00",
        ],
    )
    def test_an_array_in_a_file_beside_is_held_to_its_size(
        self, tmp_path: Path, content: bytes
    ) -> None:
        made = trained()
        made.save(str(tmp_path / "bad.doc2vec"), separately=["syn1neg"])
        (tmp_path / "bad.doc2vec.syn1neg.npy").write_bytes(content)
        refusal(tmp_path / "bad.doc2vec")

    def test_arrays_in_files_beside_are_read(self, tmp_path: Path) -> None:
        made = trained(hs=1)
        made.save(str(tmp_path / "good.doc2vec"), separately=["syn1neg", "syn1"])
        again = files.load(tmp_path / "good.doc2vec")
        assert np.array_equal(again.syn1neg, made.syn1neg)
        assert np.array_equal(again.syn1, made.syn1)


class TestOwnFormat:
    @pytest.mark.parametrize("format", ["doc2vec", "gensim"])
    @pytest.mark.parametrize("options", MODES.values(), ids=MODES)
    def test_a_model_is_the_same_after_writing_and_reading(
        self, tmp_path: Path, options: dict[str, Any], format: str
    ) -> None:
        made = trained(**options)
        files.save(made, tmp_path / "model.d2v", format)
        again = files.load(tmp_path / "model.d2v")
        document = Document(("aa", "bb", "cc3"), ("t",))
        assert np.array_equal(Trainer(again).infer(document), Trainer(made).infer(document))
        assert again.wv.key_to_index == made.wv.key_to_index
        assert np.array_equal(again.dv["t3"], made.dv["t3"])

    def test_a_model_without_a_vocabulary_is_written_and_read(self, tmp_path: Path) -> None:
        files.save(model(window=3), tmp_path / "model.d2v", "doc2vec")
        assert files.load(tmp_path / "model.d2v").window == 3

    @pytest.mark.parametrize(
        "change",
        [
            lambda about: about.update(format=99),
            lambda about: about.update(kind="Word2Vec"),
            lambda about: about["settings"].update(window=10**5),
            lambda about: about["settings"].update(alpha=float("nan")),
            lambda about: about.update(words=[*about["words"], "more"]),
            lambda about: about.update(words="text"),
            lambda about: about.update(tags=[[]]),
            lambda about: about.clear(),
        ],
    )
    def test_changed_settings_are_refused(
        self, tmp_path: Path, change: Callable[[dict[str, Any]], None]
    ) -> None:
        files.save(trained(hs=1), tmp_path / "good.d2v", "doc2vec")
        with zipfile.ZipFile(tmp_path / "good.d2v") as archive:
            about = json.loads(archive.read("model.json"))
            arrays = archive.read("arrays.safetensors")
        change(about)
        with zipfile.ZipFile(tmp_path / "bad.d2v", "w") as archive:
            archive.writestr("model.json", json.dumps(about))
            archive.writestr("arrays.safetensors", arrays)
        refusal(tmp_path / "bad.d2v")

    @pytest.mark.parametrize("extra", ["packed", "another file", "no arrays"])
    def test_an_archive_of_another_kind_is_refused(self, tmp_path: Path, extra: str) -> None:
        files.save(trained(), tmp_path / "good.d2v", "doc2vec")
        with zipfile.ZipFile(tmp_path / "good.d2v") as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        if extra == "another file":
            parts["evil.pkl"] = b"."
        if extra == "no arrays":
            del parts["arrays.safetensors"]
        method = zipfile.ZIP_DEFLATED if extra == "packed" else zipfile.ZIP_STORED
        with zipfile.ZipFile(tmp_path / "bad.d2v", "w", method) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
        assert "no archive of a Doc2Vec" in refusal(tmp_path / "bad.d2v")
