"""Training of Doc2Vec models, and the fall of their learning rate over a run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from doc2vec_samples import LABELS, MODES, TEXTS, TOPICS, agreed, corpus, docs, model
from gensim.models.doc2vec import TaggedDocument

from fusion_nb import RunSpec, federate
from fusion_nb.core.documents import Document
from fusion_nb.errors import (
    OptionError,
)
from fusion_nb.models.doc2vec import measures
from fusion_nb.models.doc2vec.training import Trainer
from fusion_nb.runs.build import build


class TestRate:
    def test_one_party_is_the_central_model(self) -> None:
        options = {"parties": 1, "rounds": 3, "holdout": 0.0}
        added = federate(model(), TEXTS, fusion="doc2vec", **options)
        averaged = federate(model(), TEXTS, fusion="fedavg", **options)
        assert added.history["loss"] == pytest.approx(averaged.history["loss"], rel=1e-5)

    def test_adding_learns_more_than_averaging(self) -> None:
        def after(fusion: str) -> Any:
            return federate(model(), TEXTS, parties=5, rounds=15, fusion=fusion, lr=0.05).history

        added, averaged = after("doc2vec"), after("doc2vec:eta=1,limit=0")
        assert added["self_rank"][-1] > averaged["self_rank"][-1]
        assert added["loss"][-1] < averaged["loss"][-1]

    def test_the_doc2vec_fusion_refuses_other_models(self, net: Any, rows: Any) -> None:
        with pytest.raises(OptionError, match="summed_loss"):
            federate(net(), rows, fusion="doc2vec")

    def test_the_rate_falls_over_the_whole_run(self) -> None:
        federation = build(RunSpec(data="docs", parties=2), {"model": model(), "docs": TEXTS})
        federation.config.schedule.extend(4, after=0)
        assert [federation.config.schedule.progress(t) for t in (1, 2, 4)] == [
            (0, 0.25),
            (0.25, 0.5),
            (0.75, 1),
        ]
        planned = build(
            RunSpec(data="docs", parties=2, schedule="0+10"), {"model": model(), "docs": TEXTS}
        )
        planned.config.schedule.extend(20)
        assert planned.config.schedule.falls == [(0, 10), (10, 10)]
        federation.config.schedule.extend(6, after=4)
        assert federation.config.schedule.progress(5) == (0, 0.5)
        assert federation.config.schedule.progress(4) == (0.75, 1)

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
    def test_training_raises_the_self_rank(self, mode: str) -> None:
        run = federate(model(**MODES[mode]), TEXTS, parties=3, rounds=12)
        history = run.history
        assert history["self_rank"][-1] > history["self_rank"][0]
        assert history["loss"][-1] < history["loss"][0]
        assert run.status == "finished"

    def test_one_party_learns_as_much_as_gensim(self) -> None:
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

    def test_the_loss_is_that_of_negative_sampling(self) -> None:
        adapter, _ = agreed([docs(*TEXTS)], sample=0)
        document = docs(TEXTS[0])[0]
        assert measures.loss(adapter.model, document, np.ones(10)) == pytest.approx(
            6 * np.log(2), rel=0.05
        )
        assert measures.loss(
            adapter.model, Document(("unknown",), ("t",)), np.ones(10)
        ) == pytest.approx(6 * np.log(2))

    def test_accuracy_is_measured_every_few_rounds(self) -> None:
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

    @pytest.mark.slow
    def test_a_seed_fixes_the_curve_in_every_process(self) -> None:
        script = (
            "from doc2vec_samples import model, TEXTS\nfrom fusion_nb import federate\n"
            "print(federate(model(), TEXTS, parties=2, rounds=2).history['loss'])"
        )
        found = {
            subprocess.run(
                [sys.executable, "-c", script],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            ).stdout
            for seed in ("1", "2")
        }
        assert len(found) == 1
