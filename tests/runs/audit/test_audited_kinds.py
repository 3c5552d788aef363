"""Audits of runs of many kinds: words, trees, statistics, documents, rows that are elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb import Run, RunSpec
from fusion_nb.errors import OptionError, RunError
from fusion_nb.runs.audit import words
from fusion_nb.runs.audit.report import Audit

X = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
Y = (X.sum(1) > 0).astype(int)
WORDS = np.random.default_rng(1).integers(0, 200, (90, 6))


def trained(model: Any, rows: Any = (X, Y), **options: Any) -> Run:
    base = {"parties": 3, "rounds": 1, "lr": 0.1}
    names = {"model": model, "rows": rows}
    return Run(RunSpec(data="rows", **base | options), names).start().wait()


def attacks(found: Audit) -> list[str]:
    return [finding.attack for finding in found.findings]


def of_words() -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(nn.Embedding(200, 4), nn.Flatten(), nn.Linear(24, 2))


class TestWords:
    @pytest.mark.parametrize("optimizer", ["sgd", "adam"])
    def test_a_row_of_words_is_read_off_the_table_that_it_moved(self, optimizer: str) -> None:
        found = fusion_nb.audit(trained(of_words(), (WORDS, Y), optimizer=optimizer))
        assert attacks(found) == ["words", "label", "membership"]
        assert found.findings[0].value == 1.0
        assert found.findings[0].chance < 0.05

    def test_noise_hides_them(self) -> None:
        run = trained(of_words(), (WORDS, Y), privacy="local:clip=1,noise=1")
        assert fusion_nb.audit(run).findings[0].value < 0.5

    def test_behind_masks_they_are_those_of_some_party(self) -> None:
        pytest.importorskip("cryptography")
        found = fusion_nb.audit(trained(of_words(), (WORDS, Y), secure="masks"))
        assert "sum of 3 parties' updates" in found.findings[0].sentence
        assert found.findings[0].value < 1

    def test_the_guess_has_as_many_words_as_the_row(self) -> None:
        before = {"table": np.zeros((9, 2)), "w": np.zeros((2, 2))}
        after = {"table": np.zeros((9, 2)), "w": np.ones((2, 2))}
        after["table"][[3, 7]] = 1, -2
        found = words.inferred(before, after, np.array([[7, 3, 7], [0, 0, 8]]))
        assert found is not None
        assert (found[0].tolist(), found[1]) == ([3, 7], 9)
        assert words.inferred({"w": before["w"]}, {"w": after["w"]}, np.array([[7]])) is None


def test_whole_numbers_of_another_model_are_told_to_stay_closed() -> None:
    torch = pytest.importorskip("torch")

    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(6))
            self.out = torch.nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.out((x * self.scale).view(-1, 2, 3).sum(1))

    found = fusion_nb.audit(trained(Shifted(), (WORDS, Y), lr=1e-4))
    assert any("rows of whole numbers" in note for note in found.notes)
    assert "membership" in attacks(found)


def test_a_module_whose_gradient_can_not_be_matched_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    from fusion_nb.models.torch.row_gradients import inversion

    def fail(*args: Any, **options: Any) -> Any:
        raise RuntimeError("derivative for it is not implemented\nwith more lines")

    monkeypatch.setattr(inversion, "match_gradient", fail)
    nn = torch.nn
    model = nn.Sequential(
        nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(6, 2)
    )
    found = fusion_nb.audit(trained(model))
    (line,) = [note for note in found.notes if note.startswith("not measured")]
    assert line.endswith("can't be matched (RuntimeError: derivative for it is not implemented)")
    assert attacks(found) == ["label", "membership"]


def of_trees() -> Any:
    return pytest.importorskip("xgboost").XGBClassifier(n_estimators=2)


def of_leaves() -> Any:
    return pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=2)


def bayes() -> Any:
    return pytest.importorskip("sklearn.naive_bayes").GaussianNB()


def means() -> Any:
    return pytest.importorskip("sklearn.cluster").KMeans(3)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (of_trees, "send trees"),
        (of_leaves, "send trees"),
        (bayes, "send sums and counts of their rows"),
        (means, "send sums and counts of their rows"),
    ],
)
def test_a_model_without_trained_weights_has_one_line(model: Callable[[], Any], told: str) -> None:
    found = fusion_nb.audit(trained(model(), lr=None))
    lines = [note for note in found.notes if note.startswith("not measured")]
    assert len(lines) == 1
    assert told in lines[0]
    assert attacks(found) == ["membership"]


def test_documents_are_one_line() -> None:
    doc2vec = pytest.importorskip("gensim.models").Doc2Vec
    texts = [
        " ".join(np.random.default_rng(i).choice(["sun", "moon", "sea"], 9)) for i in range(30)
    ]
    run = trained(doc2vec(vector_size=4, min_count=1, epochs=1), texts, lr=None)
    with pytest.raises(RunError, match="are documents or several arrays"):
        fusion_nb.audit(run)


def test_rows_of_a_dataset_are_one_line(net: Callable[..., Any]) -> None:
    data = pytest.importorskip("torch").utils.data

    class Own(data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 60

        def __getitem__(self, i: int) -> Any:
            return X[i], int(Y[i])

    with pytest.raises(RunError, match="read one by one"):
        fusion_nb.audit(trained(net(), Own()))


def test_rows_of_a_running_federation_are_not_audited_by_their_stand_ins(
    net: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(net())
    there = run.spec.model_copy(update={"engine": "flower:superlink=10.0.0.1:8000"})
    monkeypatch.setattr(type(run), "spec", there)
    with pytest.raises(RunError, match="with the owners of its parties"):
        fusion_nb.audit(run)


@pytest.mark.parametrize("given", ["run_1", 3, None, SimpleNamespace(spec=1), {"a": 1}])
def test_anything_but_a_run_is_refused_in_a_line(given: Any) -> None:
    with pytest.raises(OptionError, match="an audit is of a run, and"):
        fusion_nb.audit(given)


def test_a_note_is_told_once(net: Callable[..., Any]) -> None:
    found = fusion_nb.audit(trained(net(), fusion="dynamic:threshold=1000"))
    assert len(found.notes) == len(set(found.notes))
    assert any("sends no update" in note for note in found.notes)
