"""Label flipping: which labels hostile parties train on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hostile_parties import run_of, spec_of
from torch import nn

from fusion_nb import RunSpec
from fusion_nb.algorithms.attacks import hostile
from fusion_nb.core import registry
from fusion_nb.errors import DataError, OptionError
from fusion_nb.runs.build import build, divide, prepare


class Pictures:
    """A map-style data set of pairs."""

    def __init__(self, labels: Sequence[Any]) -> None:
        self.labels_ = labels

    def __len__(self) -> int:
        return len(self.labels_)

    def __getitem__(self, i: int) -> Any:
        return np.float32(i), self.labels_[i]


class TestLabelFlip:
    def flip(self, rows: Any, labels: Any) -> Any:
        return registry.create("adversaries", "label_flip:1").flip(rows, np.asarray(labels))

    def test_labels_are_new_arrays(self) -> None:
        x, y = np.arange(4.0), np.array([0, 1, 2, 2])
        new_x, new_y = self.flip((x, y), np.arange(5))
        assert new_x is x
        assert new_y.tolist() == [4, 3, 2, 2]
        assert new_y.dtype == y.dtype
        assert y.tolist() == [0, 1, 2, 2]

    @pytest.mark.parametrize(
        ("labels", "all_labels", "expected"),
        [
            ([0, 2], [0, 1, 2], [2, 0]),
            ([True, False], [0, 1], [0, 1]),
            ([np.uint8(0), np.uint8(255)], [0, 255], [255, 0]),
            ([np.float32(1.0)], [0, 1], [0.0]),
            ([torch.tensor(1), torch.tensor(3)], [0, 3], [2, 0]),
            ([np.array([0, 0, 1]), torch.tensor([1, 0, 0])], [0, 1, 2], [[1, 0, 0], [0, 0, 1]]),
            ([np.array([2])], [0, 1, 2], [[0]]),
            ([np.array([0, 2, 1])], [[0, 2, 1]], [[2, 0, 1]]),
        ],
    )
    def test_rows_of_a_dataset_in_every_form(
        self, labels: list[Any], all_labels: Any, expected: list[Any]
    ) -> None:
        found = self.flip(Pictures(labels), all_labels)
        assert len(found) == len(labels)
        assert [np.asarray(found[i][1]).tolist() for i in range(len(found))] == expected
        assert all(found[i][0] == i for i in range(len(found)))

    def test_measurements_are_refused(self, rows: Any) -> None:
        with pytest.raises(DataError, match="measurements"):
            self.flip((np.zeros(2), np.array([0.5, 1.0])), [0.5, 1.0])
        x, _ = rows
        with pytest.raises(DataError, match="label_flip:2, but the labels are measurements"):
            build(
                spec_of(adversary="label_flip:2"),
                {"model": nn.Linear(5, 1), "data": (x, x.sum(axis=1))},
            )

    def test_documents_are_refused(self) -> None:
        from gensim.models.doc2vec import Doc2Vec

        texts = [
            f"some words about number {['one', 'two', 'three', 'four'][i % 4]}" for i in range(40)
        ]
        model = Doc2Vec(vector_size=4, min_count=1, epochs=1)
        with pytest.raises(OptionError, match="learns from words alone"):
            build(RunSpec(data="data", adversary="label_flip"), {"model": model, "data": texts})

    def test_only_training_labels_of_hostile_parties_are_flipped(self, rows: Any, net: Any) -> None:
        x, y = rows[0].copy(), rows[1].copy()
        spec = spec_of(adversary="label_flip:2", baseline="central")
        namespace = {"model": net(), "data": (x, y)}
        data = divide(spec, namespace)
        clean = {party.id: party.train[1].copy() for party in data.parties}
        prepared = prepare(spec, namespace, data)
        federation = prepared.federation
        bad = hostile(list(clean), 2, 0)
        for party, before in zip(federation.parties, data.parties, strict=True):
            flips = party.id in bad
            assert np.array_equal(party.train[1], 2 - clean[party.id] if flips else clean[party.id])
            assert party.test is before.test
            assert np.array_equal(before.train[1], clean[party.id]), "the given data stays as it is"
        assert prepared.notes[-1] == f"simulated: {bad[0]} and {bad[1]} are hostile (label_flip)"
        central: Any = federation.baselines[0]
        pooled = central.federation.parties[0].train[1]
        assert np.array_equal(pooled, np.concatenate(list(clean.values()))), (
            "the baseline has honest labels"
        )

    def test_the_arrays_of_the_user_stay_as_they_are(self, rows: Any, net: Any) -> None:
        x, y = rows
        mine = [(x[i::4].copy(), y[i::4].copy()) for i in range(4)]
        kept = [(a.copy(), b.copy()) for a, b in mine]
        run = run_of(mine, net, parties=4, adversary="label_flip:3").start().wait()
        assert all(
            np.array_equal(a, c) and np.array_equal(b, d)
            for (a, b), (c, d) in zip(mine, kept, strict=True)
        )
        assert run.history["accuracy"][-1] < 0.5

    def test_a_dataset_is_flipped_as_its_arrays_are(self, rows: Any, net: Any) -> None:
        class Mine(torch.utils.data.Dataset[Any]):
            def __len__(self) -> int:
                return len(rows[1])

            def __getitem__(self, i: int) -> Any:
                return rows[0][i], int(rows[1][i])

        curves = [
            run_of(given, net, adversary="label_flip:2").start().wait().history["loss"]
            for given in (rows, Mine())
        ]
        assert curves[0] == pytest.approx(curves[1], rel=1e-5)
        assert curves[0] != run_of(rows, net).start().wait().history["loss"]
