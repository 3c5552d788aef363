"""Skews of every kind: the rows that are left out, changed, or had in some rounds only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusion_nb.core import registry
from fusion_nb.core.protocols import Place, Skew
from fusion_nb.data import splits
from fusion_nb.data.partition import PartitionedData
from fusion_nb.data.skews import plan
from fusion_nb.data.skews.rotation import axes
from fusion_nb.errors import FusionError

Partition = Callable[..., PartitionedData]

SKEWS = ["domains", "drift", "feature_noise", "long_tail", "rotation"]


def images(count: int = 120, size: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((count, size, size)).astype(np.float32), np.arange(count) % 6


def table(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 3)) * [1, 10, 100], np.arange(count) % 3


def rows_of(made: PartitionedData) -> dict[str, np.ndarray]:
    return {party.id: np.concatenate([party.train[0], party.test[0]]) for party in made.parties}


def test_the_registry_knows_which_names_go_before_a_split() -> None:
    assert set(plan.skew_names()) >= set(SKEWS)
    for name in SKEWS:
        assert "Source:" in (registry.get("splits", name).__doc__ or "")


@pytest.mark.parametrize("name", SKEWS)
class TestEverySkew:
    def test_the_same_seed_gives_the_same_rows(self, name: str, partition: Partition) -> None:
        one, same = (partition(images(), split=name, parties=3, seed=4) for _ in range(2))
        for party, other in zip(one.parties, same.parties, strict=True):
            assert np.array_equal(party.train[0], other.train[0])
            if party.drift is not None and other.drift is not None:
                assert np.array_equal(party.drift.positions(2), other.drift.positions(2))

    def test_it_goes_with_other_sizes(self, name: str, partition: Partition) -> None:
        text = f"{name}+quantity:alpha=1"
        sizes = [*partition(images(600), split=text, parties=4).sizes().values()]
        even = [*partition(images(600), split=name, parties=4).sizes().values()]
        assert sum(sizes) == sum(even)
        assert max(sizes) > 1.2 * max(even)

    def test_rows_keep_their_type_and_shape(self, name: str, partition: Partition) -> None:
        x, y = images()
        for dtype in (np.float32, np.uint8):
            given = (x * (255 if dtype == np.uint8 else 1)).astype(dtype)
            made = partition((given, y), split=name, parties=3)
            assert all(party.train[0].dtype == dtype for party in made.parties)
            assert all(party.train[0].shape[1:] == (4, 4) for party in made.parties)

    def test_the_first_party_is_as_it_was(self, name: str, partition: Partition) -> None:
        if name in ("long_tail", "drift"):
            return
        plain = rows_of(partition(images(), parties=3))
        made = rows_of(partition(images(), split=name, parties=3))
        assert np.array_equal(made["party 1"], plain["party 1"])
        assert not np.array_equal(made["party 2"], plain["party 2"])


class TestFeatureNoise:
    def test_noise_rises_to_sigma_of_the_range(self, partition: Partition) -> None:
        given = images(3000)
        plain = rows_of(partition(given, parties=3))
        made = rows_of(partition(given, split="feature_noise:sigma=0.4", parties=3))
        for number, party in enumerate(plain):
            noise = made[party] - plain[party]
            assert noise.std() == pytest.approx(0.2 * number, abs=0.01)
            assert abs(noise.mean()) < 0.02

    def test_columns_have_noise_of_their_own_size(self, partition: Partition) -> None:
        given = table(3000)
        plain = rows_of(partition(given, parties=2))["party 2"]
        made = rows_of(partition(given, split="feature_noise:sigma=0.5", parties=2))["party 2"]
        spread = (made - plain).std(0) / given[0].std(0)
        assert spread == pytest.approx([0.5] * 3, rel=0.1)


class TestRotation:
    def test_quarter_turns_are_exact(self, partition: Partition) -> None:
        plain = rows_of(partition(images(), parties=5))
        made = rows_of(partition(images(), split="rotation", parties=5))
        for number, party in enumerate(plain):
            assert np.array_equal(made[party], np.rot90(plain[party], number % 4, (1, 2)))

    @pytest.mark.parametrize("shape", [(9, 3, 5, 5), (9, 5, 5, 3), (9, 5, 5), (9, 1, 5, 7)])
    @pytest.mark.parametrize("angle", [30.0, 90.0, 180.0])
    def test_all_forms_of_images(self, shape: tuple[int, ...], angle: float) -> None:
        x = np.random.default_rng(0).random(shape)
        skew = registry.get("splits", "rotation")(angle=angle, groups=2)
        found = skew.rows(x, Place(1, 2, is_image=True))
        assert found.shape == shape
        height, width = axes(shape)
        centre: list[Any] = [slice(None)] * len(shape)
        centre[height], centre[width] = shape[height] // 2, shape[width] // 2
        assert np.array_equal(found[tuple(centre)], x[tuple(centre)])

    def test_other_angles_turn_the_same_way_as_quarter_turns(self) -> None:
        x = np.zeros((1, 21, 21))
        x[0, 10, 18] = 1.0  # at the right
        skew = registry.get("splits", "rotation")(angle=30.0, groups=4)
        (up,) = np.argwhere(skew.rows(x, Place(3, 4, is_image=True))[0])
        assert up.tolist() == [2, 10]  # 90 degrees: at the top, as np.rot90 has it
        near = np.argwhere(skew.rows(x, Place(1, 4, is_image=True))[0])
        assert len(near)
        assert all(row < 10 and column > 10 for row, column in near)

    def test_rows_that_are_no_images_are_refused(self, partition: Partition) -> None:
        with pytest.raises(FusionError, match="3 numbers each"):
            partition(table(), split="rotation")


class TestDomains:
    def test_a_domain_is_one_map_for_train_and_test_and_all_its_parties(
        self, partition: Partition
    ) -> None:
        given = table()
        plain = rows_of(partition(given, parties=6))
        made = rows_of(partition(given, split="domains:count=3,strength=1", parties=6))
        fits = {}
        for party, rows in plain.items():
            ways = [np.polyfit(rows[:, i], made[party][:, i], 1, full=True) for i in range(3)]
            assert all(way[1].sum() < 1e-6 for way in ways), "it is a straight line"
            fits[party] = np.array([way[0] for way in ways])
        for number in (1, 2, 3):
            assert np.allclose(fits[f"party {number}"], fits[f"party {number + 3}"])
        assert not np.allclose(fits["party 2"], fits["party 3"])


class TestLongTail:
    def test_classes_fall_by_the_ratio(self, partition: Partition) -> None:
        y = np.repeat(np.arange(5), 200)
        made = partition((np.zeros((1000, 1)), y), split="long_tail:ratio=16", parties=2)
        counts = np.bincount(made.all_labels())
        assert counts.tolist() == [200, 100, 50, 25, 12]
        assert any("of 1,000 rows are left out" in note for note in made.notes)

    def test_it_needs_classes(self, partition: Partition) -> None:
        with pytest.raises(FusionError, match="measurements"):
            partition((np.zeros((50, 1)), np.linspace(0, 1, 50)), split="long_tail")


class TestClasses:
    @pytest.mark.parametrize(("parties", "per_party"), [(5, 2), (10, 2), (7, 3), (3, 10), (4, 4)])
    def test_each_party_has_so_many_and_each_class_an_owner(
        self, partition: Partition, parties: int, per_party: int
    ) -> None:
        y = np.repeat(np.arange(10), 40)
        text = f"classes:per_party={per_party}"
        made = partition((np.zeros((400, 1)), y), split=text, parties=parties, holdout=0.1)
        counts = np.array([[*row.values()] for row in made.label_counts(with_test=True).values()])
        assert ((counts > 0).sum(1) == per_party).all()
        owners = (counts > 0).sum(0)
        assert owners.min() >= 1
        assert owners.max() - owners.min() <= 1
        assert (counts.sum(0) == 40).all()

    def test_too_few_parties_for_all_classes(self, partition: Partition) -> None:
        with pytest.raises(FusionError, match="can't have all 6 classes"):
            partition(images(), split="classes:per_party=2", parties=2)


class TestInnerDirichlet:
    def test_sizes_are_equal_and_mixes_are_not(self, partition: Partition) -> None:
        y = np.arange(600) % 6
        given = (np.zeros((600, 1)), y)
        made = partition(given, split="inner_dirichlet:alpha=0.1", parties=6)
        assert set(made.sizes().values()) == {100}
        mixed = partition(given, split="inner_dirichlet:alpha=100", parties=6)

        def spread(data: PartitionedData) -> float:
            counts = data.label_counts(with_test=True)
            return float(np.std([[*row.values()] for row in counts.values()]))

        assert spread(made) > 3 * spread(mixed)

    def test_sizes_may_differ(self, partition: Partition) -> None:
        made = partition(images(600), split="inner_dirichlet:alpha=1,quantity=1", parties=5)
        sizes = [*made.sizes().values()]
        assert sum(sizes) == 600
        assert max(sizes) > 2 * min(sizes)


class TestChains:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("quantity:alpha=1+rotation", "rotation+quantity:alpha=1"),
            ("dirichlet+iid", "use one of them"),
            ("rotation:turn=3", "no option 'turn'"),
            ("rotation+nothing", "no split is called 'nothing'"),
            ("feature_noise:sigma=0", "not allowed"),
            ("drift:phases=1", "not allowed"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, partition: Partition, text: str, words: str
    ) -> None:
        with pytest.raises(FusionError) as caught:
            partition(images(), split=text)
        assert words in str(caught.value)

    def test_several_skews_go_one_after_the_other(self, partition: Partition) -> None:
        both = rows_of(partition(images(), split="rotation:angle=180+domains", parties=2))
        turned = rows_of(partition(images(), split="rotation:angle=180", parties=2))
        assert not np.allclose(both["party 2"], turned["party 2"])

    def test_data_that_came_divided_is_changed_too(self, partition: Partition) -> None:
        given = {"a": images(40), "b": images(40)}
        made = partition(given, split="rotation:angle=180")
        plain = partition(given)
        assert np.array_equal(rows_of(made)["b"], np.rot90(rows_of(plain)["b"], 2, (1, 2)))

    @pytest.mark.parametrize("name", ["feature_noise", "domains"])
    def test_rows_of_text_are_refused(self, partition: Partition, name: str) -> None:
        texts = [["a", "b"], ["c", "d"], ["e", "f"], ["a", "d"]] * 5
        with pytest.raises(FusionError, match="no arrays of numbers"):
            partition(texts, split=name)

    def test_a_skew_of_ones_own(self, partition: Partition) -> None:
        class Louder(Skew):
            """Multiply the numbers of each party by its place."""

            def rows(self, x: Any, place: Place) -> Any:
                return x * (place.number + 1)

        splits.split("louder")(Louder)
        plain, made = (rows_of(partition(table(), split=name)) for name in ("iid", "louder"))
        assert np.allclose(made["party 3"], 3 * plain["party 3"])
