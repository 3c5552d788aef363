"""Doc2Vec: the vocabulary that parties agree on, what travels, the rule that adds, and the text
that is read."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gensim.models.doc2vec import Doc2Vec, TaggedDocument

from fusion_nb import RunSpec, federate
from fusion_nb.algorithms.fusions.doc2vec_sum import Doc2VecFusion
from fusion_nb.core import documents, registry
from fusion_nb.core.documents import Document
from fusion_nb.core.types import Update
from fusion_nb.data.partition import Division
from fusion_nb.data.text_datasets import Newsgroups, Wikipedia
from fusion_nb.errors import (
    DataError,
    ExportError,
    FusionError,
    ModelError,
    OptionError,
    RunError,
    SplitError,
)
from fusion_nb.models import base
from fusion_nb.models.doc2vec import files, measures, vocabulary
from fusion_nb.models.doc2vec.adapter import Doc2VecModel
from fusion_nb.models.doc2vec.training import Trainer
from fusion_nb.runs.build import build

TOPICS = {
    "sea": ["boat", "wave", "sail", "harbour", "fish", "captain", "tide", "shore", "net", "anchor"],
    "farm": [
        "cow",
        "field",
        "barn",
        "wheat",
        "plough",
        "tractor",
        "horse",
        "farmer",
        "seed",
        "hay",
    ],
    "city": [
        "tram",
        "street",
        "shop",
        "crowd",
        "tower",
        "office",
        "market",
        "bridge",
        "lamp",
        "square",
    ],
}
COMMON = ["the", "and", "with", "over", "near", "under", "old", "new", "big", "small"]


def corpus(count: int = 60, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return texts of three topics, and their topics."""
    rng = np.random.default_rng(seed)
    labels = [list(TOPICS)[i % 3] for i in range(count)]
    texts = [
        " ".join([*rng.choice(TOPICS[label], 18), *rng.choice(COMMON, 12)]) for label in labels
    ]
    return texts, labels


TEXTS, LABELS = corpus()
MODES: dict[str, dict[str, Any]] = {
    "dbow": {"dm": 0},
    "dbow with words": {"dm": 0, "dbow_words": 1},
    "mean": {"dm": 1},
    "concat": {"dm": 1, "dm_concat": 1, "window": 2},
    "softmax": {"dm": 0, "hs": 1, "negative": 0},
    "mean and softmax": {"dm": 1, "hs": 1, "negative": 0},
}


def model(**options: Any) -> Doc2Vec:
    return Doc2Vec(
        **{"vector_size": 10, "min_count": 1, "epochs": 10, "sample": 0, "dm": 0, **options}
    )


def agreed(
    parts: list[list[Document]], min_parties: int = 1, **options: Any
) -> tuple[Doc2VecModel, Any]:
    adapter = Doc2VecModel(model(**options), min_parties=min_parties)
    updates = [
        Update(f"party {i}", {}, len(part), extras=adapter.collect((documents.array(part), None)))
        for i, part in enumerate(parts)
    ]
    return adapter, adapter.agree(updates)


def docs(*texts: str, prefix: str = "") -> list[Document]:
    return [Document(tuple(text.split()), (f"{prefix}{i}",)) for i, text in enumerate(texts)]


class TestVocabulary:
    def test_counts_are_added_and_ordered(self) -> None:
        adapter, agreement = agreed([docs("b b a zoo", "a c"), docs("b c c d", prefix="x")])
        assert agreement.counts == {"b": 3, "c": 3, "a": 2, "d": 1, "zoo": 1}
        _, frequent = agreed([docs("b b a zoo")], min_count=2)
        assert frequent.counts == {"b": 2}, (
            "no party learns of words that are not in the vocabulary"
        )
        assert (
            list(agreement.counts) == ["b", "c", "a", "d", "zoo"] == adapter.model.wv.index_to_key
        )
        assert adapter.model.corpus_total_words == 10
        assert adapter.model.corpus_count == 3

    def test_min_count_applies_to_the_sum(self) -> None:
        adapter, _ = agreed([docs("once here"), docs("once there", prefix="x")], min_count=2)
        assert adapter.model.wv.index_to_key == ["once"]

    def test_subsampling_applies_to_the_sum(self) -> None:
        parts = [
            docs(*(text for text in TEXTS[:30])),
            docs(*(text for text in TEXTS[30:]), prefix="x"),
        ]
        adapter, _ = agreed(parts, sample=0.01)
        central = model(sample=0.01)
        central.build_vocab([TaggedDocument(d.words, d.tags) for part in parts for d in part])
        for word in central.wv.index_to_key:
            assert adapter.model.wv.get_vecattr(word, "sample_int") == central.wv.get_vecattr(
                word, "sample_int"
            )

    @pytest.mark.parametrize("mode", MODES)
    def test_every_party_builds_the_same(self, mode: str) -> None:
        adapter, agreement = agreed(
            [docs(*TEXTS[:30]), docs(*TEXTS[30:], prefix="x")], **MODES[mode]
        )
        other = Doc2VecModel(model(**MODES[mode]))
        other.prepare((documents.array(docs(*TEXTS[:3])), None), state := {}, agreement)
        mine, theirs = adapter.model, other.model
        assert mine.wv.index_to_key == theirs.wv.index_to_key
        if mine.negative:
            assert np.array_equal(mine.cum_table, theirs.cum_table)
        if mine.hs:
            assert all(map(np.array_equal, mine.wv.expandos["code"], theirs.wv.expandos["code"]))
            assert all(map(np.array_equal, mine.wv.expandos["point"], theirs.wv.expandos["point"]))
        assert all(
            np.array_equal(a, theirs_)
            for a, theirs_ in zip(
                adapter.get_weights().values(), other.get_weights().values(), strict=True
            )
        )
        assert state["vectors"].shape == (3, 10)

    def test_another_order_is_refused(self) -> None:
        _, agreement = agreed([docs("b b a")])
        wrong = vocabulary.Agreement(agreement.counts, ("a", "b"), 1, 3, ())
        with pytest.raises(ModelError, match="another order"):
            vocabulary.build(model(), wrong)

    def test_words_of_one_party_can_be_kept_private(self) -> None:
        parts = [docs("name secret secret common"), docs("common other", prefix="x")]
        adapter, agreement = agreed(parts, min_parties=2)
        assert adapter.model.wv.index_to_key == ["common"]
        assert "secret" not in agreement.counts
        assert any("3 words that fewer than 2 parties have" in note for note in adapter.notes)

    def test_the_card_says_so(self, tmp_path: Path) -> None:
        run = federate(model(), TEXTS, parties=3, rounds=1, min_parties=3)
        run.export(str(tmp_path / "fused"))
        assert "fewer than 3 parties" in (tmp_path / "fused/CARD.md").read_text()
        assert json.loads((tmp_path / "fused/card.json").read_text())["spec"]["min_parties"] == 3

    def test_only_counts_are_sent(self) -> None:
        adapter = Doc2VecModel(model())
        assert adapter.collect((documents.array(docs("a b a")), None)) == {
            "counts": {"a": 2, "b": 1}
        }


class TestWhatTravels:
    @pytest.mark.parametrize(
        ("mode", "names"),
        [
            ("dbow", {"syn1neg"}),
            ("dbow with words", {"syn1neg", "wv.vectors"}),
            ("mean", {"syn1neg", "wv.vectors"}),
            ("concat", {"syn1neg", "wv.vectors"}),
            ("softmax", {"syn1"}),
            ("mean and softmax", {"syn1", "wv.vectors"}),
        ],
    )
    def test_it_is_what_training_changes(self, mode: str, names: set[str]) -> None:
        adapter, _ = agreed([docs(*TEXTS)], **MODES[mode])
        before = adapter.get_weights()
        assert set(before) == names
        words = adapter.model.wv.vectors.copy()
        adapter.fit((documents.array(docs(*TEXTS)), None), epochs=1, lr=0.05, seed=0)
        after = adapter.get_weights()
        assert all(not np.array_equal(before[name], after[name]) for name in names)
        assert np.array_equal(words, adapter.model.wv.vectors) == ("wv.vectors" not in names)

    def test_document_vectors_stay_at_their_party(self) -> None:
        federation = build(RunSpec(data="docs", parties=3), {"model": model(), "docs": TEXTS})
        seen: list[Update] = []
        fuse = federation.fusion.fuse
        federation.fusion = type(  # a fusion that looks at everything it is sent
            "Spy",
            (),
            {
                "local": {"summed_loss": True},
                "init": lambda self, weights: None,
                "fuse": lambda self, weights, updates, state: fuse(
                    weights, seen.extend(u := list(updates)) or iter(u), 0
                ),
            },
        )()
        list(federation.rounds(2))
        assert {tuple(update.weights) for update in seen} == {("syn1neg",)}
        assert not any(update.extras for update in seen)
        assert all(
            party.state["vectors"].shape == (party.num_examples, 10) for party in federation.parties
        )


class TestTheRule:
    def test_one_party_is_the_central_model(self) -> None:
        options = {"parties": 1, "rounds": 3, "holdout": 0.0}
        added = federate(model(), TEXTS, fusion="doc2vec", **options)
        averaged = federate(model(), TEXTS, fusion="fedavg", **options)
        assert added.history["loss"] == pytest.approx(averaged.history["loss"], rel=1e-5)

    def test_changes_are_added(self) -> None:
        old = {"w": np.array([[1.0, 0], [0, 0]], np.float32)}
        parts = [np.array([[1.0, 1], [0, 0]]), np.array([[3.0, 0], [0, 0]])]
        updates = [
            Update(f"p{i}", {"w": part.astype(np.float32)}, 10 * (i + 1))
            for i, part in enumerate(parts)
        ]

        def fuse(**options: Any) -> Any:
            return Doc2VecFusion(**options).fuse(old, iter(updates), None)[0]["w"].tolist()

        assert fuse(limit=0.0) == [[3, 1], [0, 0]]
        assert fuse(eta=1.0, limit=0.0) == [[2, 0.5], [0, 0]]
        assert fuse(eta=3.0, weighted=True, limit=0.0) == pytest.approx(np.array([[5, 1], [0, 0]]))

    def test_changes_that_agree_are_not_made_twice(self) -> None:
        old = {"w": np.zeros((2, 2), np.float32)}
        same, apart = np.array([3.0, 4]), np.eye(2)
        updates = [
            Update(f"p{i}", {"w": np.stack([same, apart[i]]).astype(np.float32)}, 1)
            for i in range(2)
        ]
        moved = Doc2VecFusion(limit=1.5).fuse(old, iter(updates), None)[0]["w"]
        assert moved[0].tolist() == pytest.approx(1.5 * same)
        assert moved[1].tolist() == [1, 1]

    def test_adding_learns_more_than_averaging(self) -> None:
        def after(fusion: str) -> Any:
            return federate(model(), TEXTS, parties=5, rounds=15, fusion=fusion, lr=0.05).history

        added, averaged = after("doc2vec"), after("doc2vec:eta=1,limit=0")
        assert added["self_rank"][-1] > averaged["self_rank"][-1]
        assert added["loss"][-1] < averaged["loss"][-1]

    def test_other_models_refuse_it(self, net: Any, rows: Any) -> None:
        with pytest.raises(OptionError, match="summed_loss"):
            federate(net(), rows, fusion="doc2vec")

    def test_the_rate_falls_over_the_whole_run(self) -> None:
        federation = build(RunSpec(data="docs", parties=2), {"model": model(), "docs": TEXTS})
        federation.schedule.extend(4, after=0)
        assert [federation.schedule.progress(t) for t in (1, 2, 4)] == [
            (0, 0.25),
            (0.25, 0.5),
            (0.75, 1),
        ]
        planned = build(
            RunSpec(data="docs", parties=2, schedule="0+10"), {"model": model(), "docs": TEXTS}
        )
        planned.schedule.extend(20)
        assert planned.schedule.falls == [(0, 10), (10, 10)]
        federation.schedule.extend(6, after=4)
        assert federation.schedule.progress(5) == (0, 0.5)
        assert federation.schedule.progress(4) == (0.75, 1)

    def test_more_rounds_repeat_to_the_last_digit(self) -> None:
        options: dict[str, Any] = {"parties": 2, "rounds": 3}
        run = federate(model(), TEXTS, **options).more(2).wait()
        assert run.spec.schedule == "0+3,3+2"
        again = federate(model(), TEXTS, parties=2, rounds=5, schedule=run.spec.schedule)
        assert again.history["loss"] == run.history["loss"]
        assert federate(model(), TEXTS, parties=2, rounds=5).history["loss"] != run.history["loss"]

    def test_a_stopped_run_goes_on_with_the_same_fall(self) -> None:
        whole = federate(model(), TEXTS, parties=2, rounds=4)
        run = federate(model(), TEXTS, parties=2, rounds=4, until="loss < 100")
        assert len(run.history) == 1
        assert run.more(3).wait().history["loss"] == whole.history["loss"]


class TestTraining:
    @pytest.mark.parametrize("mode", MODES)
    def test_documents_come_to_know_themselves(self, mode: str) -> None:
        run = federate(model(**MODES[mode]), TEXTS, parties=3, rounds=12)
        history = run.history
        assert history["self_rank"][-1] > history["self_rank"][0]
        assert history["loss"][-1] < history["loss"][0]
        assert run.status == "finished"

    def test_it_learns_what_gensim_learns(self) -> None:
        central = model(dm=0, epochs=20, seed=3)
        tagged = [TaggedDocument(text.split(), [str(i)]) for i, text in enumerate(TEXTS)]
        central.build_vocab(tagged)
        central.train(tagged, total_examples=60, epochs=30, start_alpha=0.1)
        run = federate(model(dm=0, epochs=20), TEXTS, parties=1, rounds=30, lr=0.1, holdout=0.0)
        held_out = [Document(tuple(text.split()), ("t",)) for text in corpus(30, seed=5)[0]]
        theirs, mine = (
            np.mean([measures.loss(m, d, Trainer(m).infer(d)) for d in held_out])
            for m in (central, run.model)
        )
        assert mine == pytest.approx(theirs, rel=0.1)

    def test_a_seed_fixes_the_curve_in_every_process(self) -> None:
        script = (
            "import sys; sys.path.insert(0, 'tests')\n"
            "from test_doc2vec import model, TEXTS\nfrom fusion_nb import federate\n"
            "print(federate(model(), TEXTS, parties=2, rounds=2).history['loss'])"
        )
        found = {
            subprocess.run(
                [sys.executable, "-c", script],
                capture_output=True,
                text=True,
                check=True,
                cwd=Path(__file__).parents[1],
                env=os.environ | {"PYTHONHASHSEED": seed},
            ).stdout
            for seed in ("1", "2")
        }
        assert len(found) == 1

    def test_the_loss_is_that_of_negative_sampling(self) -> None:
        adapter, _ = agreed([docs(*TEXTS)], sample=0)
        document = docs(TEXTS[0])[0]
        assert measures.loss(adapter.model, document, np.ones(10)) == pytest.approx(
            6 * np.log(2), rel=0.05
        )
        assert measures.loss(
            adapter.model, Document(("unknown",), ("t",)), np.ones(10)
        ) == pytest.approx(6 * np.log(2))

    def test_labels_are_told_from_vectors(self) -> None:
        run = federate(model(), ((TEXTS, LABELS), corpus(60, seed=1)), parties=3, rounds=10, lr=0.1)
        accuracy = run.history["accuracy"]
        assert accuracy[-1] > 0.8
        assert [not np.isnan(value) for value in accuracy] == [(t % 5 == 0) for t in range(1, 11)]

    def test_rare_classes_do_not_end_a_run(self) -> None:
        labels = [i // 2 for i in range(60)]
        run = federate(model(), ((TEXTS, labels), (TEXTS[:12], labels[:12])), parties=3, rounds=1)
        assert 0 <= run.history["accuracy"][-1] <= 1
        both = np.stack([np.arange(60) % 2, np.arange(60) // 30], axis=1)
        assert federate(model(), (TEXTS, both), parties=3, rounds=1).status == "finished"

    def test_without_two_documents_of_a_class_there_is_no_accuracy(self) -> None:
        assert measures.classified(np.ones((3, 2)), [0, 1, 2]) is None
        assert measures.classified(np.ones((3, 2)), [0, 0, 0]) is None

    def test_several_tags_and_shared_tags(self) -> None:
        tagged = [
            TaggedDocument(text.split(), [i, label])
            for i, (text, label) in enumerate(zip(*corpus(), strict=True))
        ]
        parties = {label: [doc for doc in tagged if doc.tags[1] == label] for label in TOPICS}
        run = federate(model(), parties, rounds=2)
        assert "sea" in run.parties[0].model.dv
        assert len(run.parties[0].model.dv) == run.parties[0].num_examples + 1


class TestWhatIsTakenAway:
    @pytest.fixture(scope="class")
    def run(self) -> Any:
        return federate(model(dm=1, epochs=20), TEXTS, parties=3, rounds=20, lr=0.1, holdout=0.0)

    def test_the_model_is_gensims_own(self, run: Any) -> None:
        assert type(run.model) is Doc2Vec
        assert run.model.infer_vector(["boat", "sail"]).shape == (10,)
        assert len(run.model.dv) == 0

    def test_a_partys_own_model_has_its_documents(self, run: Any) -> None:
        own = run.parties[1].model
        assert len(own.dv) == run.parties[1].num_examples
        assert np.array_equal(own.syn1neg, run.model.syn1neg)
        tag = own.dv.index_to_key[0]
        assert own.dv.most_similar(tag)

    def test_similar_tells_tags_and_parties_and_no_text(self, run: Any) -> None:
        found = run.similar(TEXTS[7], topn=3)
        assert found[0][0] == "7"
        assert len(found) == 3
        party = next(p for p in run.parties if p.id == found[0][1])
        assert "7" in party.model.dv
        assert list(found.to_frame().columns) == ["tag", "party", "similarity"]
        assert "boat" not in repr(found)
        with pytest.raises(OptionError, match="no word"):
            run.similar("qwertz uiop")

    def test_other_models_have_no_such_thing(self, net: Any, rows: Any) -> None:
        run = federate(net(), rows, rounds=1)
        with pytest.raises(RunError, match="PyTorch model"):
            run.similar("boat")
        with pytest.raises(ModelError, match=r"run\.model"):
            _ = run.parties[0].model

    def test_files_hold_it(self, run: Any, tmp_path: Path) -> None:
        run.export(str(tmp_path / "fused"), run.formats)
        found = files.load(tmp_path / "fused/model.doc2vec")
        assert np.array_equal(found.syn1neg, run.model.syn1neg)
        assert found.wv.index_to_key == run.model.wv.index_to_key
        first = (tmp_path / "fused/words.txt").read_text().splitlines()
        assert first[0] == f"{len(found.wv)} 10"
        assert isinstance(base.find(str(tmp_path / "fused/model.doc2vec"), {}), Doc2Vec)

    def test_word_vectors_that_were_not_trained_are_not_written(self, tmp_path: Path) -> None:
        run = federate(model(dm=0), TEXTS, parties=2, rounds=1)
        with pytest.raises(ExportError, match="trains no word vectors"):
            run.export(str(tmp_path / "fused"), "word2vec")
        assert not (tmp_path / "fused").exists()

    def test_large_arrays_beside_the_file_are_read(self, run: Any, tmp_path: Path) -> None:
        run.model.save(str(tmp_path / "big.d2v"), sep_limit=0)
        assert len(list(tmp_path.iterdir())) > 1
        assert np.array_equal(files.load(tmp_path / "big.d2v").syn1neg, run.model.syn1neg)


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

    def test_gensims_own_loader_is_not_let_near_a_file(
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

    def test_no_file_makes_gensim_read_another(self, tmp_path: Path) -> None:
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


def division(value: Any, **options: Any) -> Division:
    chosen = {
        "data_handler": "",
        "label": "",
        "split": "iid",
        "parties": 2,
        "holdout": 0.2,
        "seed": 0,
    } | options
    return Division.of({"value": value}, data="value", **chosen)


class TestReading:
    @pytest.mark.parametrize(
        "value",
        [
            TEXTS,
            [text.split() for text in TEXTS],
            [TaggedDocument(text.split(), [i]) for i, text in enumerate(TEXTS)],
            pd.DataFrame({"text": TEXTS}),
            pd.DataFrame({"anything": TEXTS}),
            pd.Series(TEXTS),
            (TEXTS, LABELS),
            (TEXTS[:40], TEXTS[40:]),
            ((TEXTS, LABELS), (TEXTS[:5], LABELS[:5])),
            pd.DataFrame({"text": TEXTS, "label": LABELS}),
        ],
    )
    def test_texts_of_every_form_become_documents(self, value: Any) -> None:
        made = division(value)
        assert all(documents.are(party.train) for party in made.parties)
        rows = [document for party in made.parties for document in party.train[0]]
        assert "boat" in {word for document in rows for word in document.words}
        assert len({document.tags for document in rows}) == len(rows)
        has_labels = isinstance(value, tuple) and isinstance(value[1], list) and value[1] == LABELS
        if has_labels:
            assert made.classes == ("city", "farm", "sea")

    @pytest.mark.parametrize(
        "value",
        [
            {"a": TEXTS[:30], "b": TEXTS[30:]},
            [TEXTS[:30], TEXTS[30:]],
            [(TEXTS[:30], LABELS[:30]), (TEXTS[30:], LABELS[30:])],
            {
                "a": ((TEXTS[:30], LABELS[:30]), (TEXTS[30:40], LABELS[30:40])),
                "b": (TEXTS[40:], LABELS[40:]),
            },
        ],
    )
    def test_parties_that_have_their_texts(self, value: Any) -> None:
        made = division(value, parties=None)
        assert len(made.parties) == 2
        documents.check_tags({party.id: party.train[0] for party in made.parties})

    def test_a_split_by_label_needs_labels(self) -> None:
        assert division((TEXTS, LABELS), split="dirichlet:alpha=0.3").label_counts(with_test=False)
        with pytest.raises(SplitError):
            division(TEXTS, split="dirichlet:alpha=0.3")

    def test_a_category_is_no_text(self) -> None:
        with pytest.raises(DataError, match="not numbers: town"):
            division(pd.DataFrame({"town": ["Oslo", "Bern"] * 10, "y": [0, 1] * 10}))

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (
                ["some text", "  ", "more text"],
                "1 documents have no word (the first is number 1, '  ')",
            ),
            ([["a", "b"], [], ["c"]], "1 documents have no word (the first is number 1, [])"),
            (["some text", 7, "more text"], "document 1 is int, not text"),
            (["some text", None], "document 1 is NoneType, not text"),
            ([["a"], ["b", 3]], "document 1 is a list of other things, not text"),
            ([TaggedDocument(["a"], [])], "document 0 has no tag"),
            ([TaggedDocument(["a"], "doc")], "document 0: its tags are 'doc', not a list"),
            ([TaggedDocument(["a"], 5)], "document 0: its tags are 5, not a list"),
        ],
    )
    def test_what_is_no_text_is_refused_in_one_line(self, value: Any, message: str) -> None:
        with pytest.raises(DataError) as caught:
            division(value, parties=1)
        assert message in caught.value.message
        assert caught.value.hint

    def test_a_tag_at_two_parties(self) -> None:
        parts = [
            [TaggedDocument(["a", "b"], ["same"])] * 2,
            [TaggedDocument(["a", "c"], ["same"])] * 2,
        ]
        with pytest.raises(DataError, match="tag 'same' is at party 1 and at party 2"):
            federate(model(), parts)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"optimizer": "adam"}, "--optimizer adam: a Doc2Vec has no such option"),
            ({"loss": "mse"}, "--loss mse: a Doc2Vec has no such option"),
            ({"batch_size": 8}, "--batch-size 8: a Doc2Vec has no such option"),
            ({"device": "cuda"}, "a Doc2Vec has no such option"),
            ({"keep_optimizer": True}, "a Doc2Vec has no such option"),
            ({"schedule": "10"}, "write after+rounds"),
            ({"schedule": "3+5"}, "the first fall begins after round 0"),
            ({"schedule": "0+5,0+5"}, "the first fall begins after round 0"),
            ({"min_parties": 9}, "--min-parties 9, but there are 4"),
            ({"monitor": "accuracy"}, "this run will have: train_loss, self_rank, loss"),
            ({"fusion": "doc2vec:eta=-1"}, "eta=-1 is not allowed"),
        ],
    )
    def test_options_that_a_doc2vec_does_not_have(self, options: Any, message: str) -> None:
        with pytest.raises(FusionError) as caught:
            build(RunSpec(data="docs", **options), {"model": model(), "docs": TEXTS})
        assert message in str(caught.value)

    def test_options_of_doc2vec_that_a_network_does_not_have(self, net: Any, rows: Any) -> None:
        for option in ({"min_parties": 2}, {"schedule": "0+5"}):
            with pytest.raises(OptionError, match="a PyTorch model has no such option"):
                federate(net(), rows, **option)

    def test_rows_of_the_other_kind(self, net: Any, rows: Any) -> None:
        with pytest.raises(ModelError, match="numbers, and a Doc2Vec takes documents"):
            federate(model(), rows)
        with pytest.raises(ModelError, match="documents, and a PyTorch model takes numbers"):
            federate(net(), TEXTS)

    @pytest.mark.parametrize(
        ("options", "data", "message"),
        [
            ({"min_count": 1000}, TEXTS, "none occurs 1000 times"),
            (
                {"min_count": 3},
                {"a": ["boat boat boat", "boat"], "b": ["lonely words", "alone here"]},
                "b: none of the words",
            ),
            ({"negative": 0}, TEXTS, "negative=0 and hs=0"),
            (
                {"dm": 1, "dm_concat": 1},
                [TaggedDocument(["a", "b"], [i, "x"]) for i in range(9)],
                "has 1 tags",
            ),
        ],
    )
    def test_what_can_not_be_trained_is_told_before_the_first_round(
        self, options: Any, data: Any, message: str
    ) -> None:
        parties = {} if isinstance(data, dict) else {"parties": 1}
        with pytest.raises(FusionError) as caught:
            federate(model(**options), data, holdout=0.0, **parties)
        assert message in str(caught.value)
        assert caught.value.hint

    def test_a_trained_model_says_that_it_starts_anew(self) -> None:
        theirs = model()
        theirs.build_vocab([TaggedDocument(["a", "b"], ["t"])])
        run = federate(theirs, TEXTS, parties=2, rounds=1)
        assert any("own vocabulary and vectors are not used" in note for note in run.notes)
        assert theirs.wv.index_to_key == ["a", "b"] or theirs.wv.index_to_key == ["b", "a"]


MESSAGE = (
    "From: me\nNewsgroups: a.b\n\nYou wrote:\n> quoted words\nMy own words.\n\n--\nMe, of "
    "Somewhere\n"
)


class TestCorpora:
    @pytest.fixture
    def groups(self, tmp_path: Path) -> str:
        lines = [
            {"text": MESSAGE, "label": "a.b", "split": "train"},
            {"text": "H: x\n\nother text", "label": "c", "split": "test"},
        ]
        lines += [{"text": "H: x\n\n  \n", "label": "c", "split": "train"}]
        with gzip.open(tmp_path / "groups.jsonl.gz", "wt") as file:
            file.write("\n".join(json.dumps(line) for line in lines))
        return str(tmp_path / "groups.jsonl.gz")

    def test_newsgroups_drop_what_is_asked_for(self, groups: str) -> None:
        (texts, labels), (test, _) = Newsgroups(groups).get_data()
        assert labels == ["a.b"]
        assert "quoted" in texts[0]
        assert "Newsgroups" not in texts[0]
        assert test == ["other text"]
        assert "Newsgroups" in Newsgroups(groups, headers=True).get_data()[0][0][0]
        bare = Newsgroups(groups, quotes=False, signatures=False).get_data()[0][0][0]
        assert bare.strip() == "My own words."

    def test_newsgroups_take_options_in_the_cell(self, groups: str) -> None:
        lines = [
            {"text": f"H: x\n\n{text}", "label": label, "split": s}
            for s in ("train", "test")
            for text, label in zip(TEXTS, LABELS, strict=True)
        ]
        Path(groups).write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
        run = federate(
            model(), groups, data_handler="20_newsgroup:quotes=no,headers=yes", parties=2, rounds=1
        )
        assert run.model.wv.key_to_index.keys() >= {"boat"}
        with pytest.raises(OptionError, match="did you mean 'quotes'"):
            federate(model(), groups, data_handler="20_newsgroup:quote=no")

    def test_the_real_newsgroups(self, mnist: Path) -> None:
        if not (mnist / "20newsgroups.jsonl.gz").is_file():
            pytest.skip("20newsgroups.jsonl.gz is not here: set FUSION_NB_DATA to its folder")
        (texts, labels), (test, test_labels) = registry.get("datasets", "20_newsgroup")().get_data()
        assert 11_200 < len(texts) == len(labels) <= 11_314
        assert 7_450 < len(test) == len(test_labels) <= 7_532
        assert len(set(labels)) == 20

    def test_wikipedia_lines_and_dumps(self, tmp_path: Path) -> None:
        lines = [
            {"title": "A", "text": "some words here", "source": "s"},
            {"title": "A", "text": "more words", "source": "t"},
        ]
        (tmp_path / "wiki.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (articles, labels), test = Wikipedia(str(tmp_path / "wiki.jsonl")).get_data()
        assert [article.tags for article in articles] == [("A",), ("A (2)",)]
        assert labels == ["s", "t"]
        assert test is None
        page = (
            "<page><title>{}</title><ns>{}</ns><id>1</id>"
            "<revision><id>1</id><text>{}</text></revision></page>"
        )
        pages = page.format("Boats", 0, "A '''boat''' is [[thing|a thing]] that floats {{ref}}")
        pages += page.format("Talk:Boats", 1, "chatter") + page.format(
            "Boat", 0, "#REDIRECT [[Boats]]"
        )
        dump = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{pages}</mediawiki>'
        (tmp_path / "wiki.xml.bz2").write_bytes(bz2.compress(dump.encode()))
        (articles, labels), _ = Wikipedia(str(tmp_path / "wiki.xml.bz2"), limit=5).get_data()
        assert [article.tags for article in articles] == [("Boats",)]
        assert articles[0].words == ("boat", "is", "thing", "that", "floats")
        assert labels is None

    @pytest.mark.parametrize("handler", [Newsgroups, Wikipedia])
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("gone.jsonl", None),
            ("bad.jsonl", b"not json"),
            ("list.jsonl", b"[1]"),
            ("other.jsonl", b'{"a": 1}'),
            ("bad.jsonl.gz", b"no gzip"),
        ],
    )
    def test_another_kind_of_file_is_refused(
        self, tmp_path: Path, handler: Any, name: str, content: Any
    ) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name) as caught:
            handler(str(tmp_path / name)).get_data()
        assert "\n" not in caught.value.message
