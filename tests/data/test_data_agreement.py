"""All parties and test sets agree on one schema, or are refused by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_nb.core.schema import DataSchema
from fusion_nb.data.agreement import bring_rows
from fusion_nb.data.loading import Source
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError

Read = Callable[..., Source]
Partition = Callable[..., PartitionedData]
RNG = np.random.default_rng(0)
Y = np.arange(20) % 2
PIXELS = RNG.integers(0, 256, (20, 8, 8)).astype(np.uint8)
FRAME = pd.DataFrame({"age": np.arange(20.0), "dose": np.arange(20) * 10.0, "label": Y})
TURNED = FRAME[["label", "dose", "age"]]


def test_text_that_is_numbers_keeps_its_order(read: Read) -> None:
    digits = np.arange(24) % 12
    source = read((np.eye(12)[digits], digits.astype(str)))
    assert source.classes == tuple(map(str, range(12)))
    assert source.train[1].tolist() == digits.tolist()
    assert any("10 is '10', 11 is '11'" in note for note in source.notes)
    assert read((FRAME[["age"]], np.where(Y, "-1", "+1"))).classes == ("-1", "+1")
    assert read((FRAME[["age"]], np.where(Y, "b", "10"))).classes == ("10", "b")


def test_text_that_is_measurements_is_no_class(read: Read) -> None:
    source = read((FRAME[["age"]], (np.arange(20) / 4).astype(str)))
    assert source.schema.labels.kind == "numbers"
    assert source.train[1].tolist() == (np.arange(20) / 4).tolist()
    assert "labels: text that is numbers is read as measurements" in source.notes


class TestColumns:
    @pytest.mark.parametrize(
        "value",
        [
            {"north": FRAME, "south": TURNED},
            (FRAME, TURNED),
            ({"north": FRAME}, TURNED),
            [(FRAME[["age", "dose"]], FRAME["label"]), (FRAME[["dose", "age"]], FRAME["label"])],
            ((FRAME[["age", "dose"]], Y), (FRAME[["dose", "age"]], Y)),
        ],
        ids=["parties", "test frame", "central test frame", "parties' pairs", "test pair"],
    )
    def test_columns_are_joined_by_name(self, read: Read, value: Any) -> None:
        source = read(value)
        assert source.schema.rows.columns == ("age", "dose")
        sets = [source.train, source.test]
        sets += [rows for pair in (source.parties or {}).values() for rows in pair]
        found = [rows[0] for rows in sets if rows is not None]
        assert len(found) == 2
        for x in found:
            assert np.array_equal(x[:, 1], x[:, 0] * 10)
        assert any(note.startswith("columns: those of") for note in source.notes)

    @pytest.mark.parametrize("other", [FRAME.rename(columns={"dose": "mass"}), FRAME.assign(b=1)])
    @pytest.mark.parametrize("form", [lambda a, b: [a, b], lambda a, b: (a, b)])
    def test_other_columns_are_refused_by_name(self, read: Read, other: Any, form: Any) -> None:
        with pytest.raises(DataError, match=r"lacks (dose|b|mass)"):
            read(form(FRAME, other))

    def test_columns_without_names_beside_named_ones_give_a_warning(self, read: Read) -> None:
        source = read([(FRAME[["age", "dose"]], Y), (np.zeros((20, 2)), Y)])
        assert any("columns of party 2 have no names" in note for note in source.notes)


class TestBytes:
    def test_whole_floats_beside_bytes_are_the_same_pixels(self, read: Read) -> None:
        source = read([(PIXELS, Y), (PIXELS.astype(np.float32), Y)])
        assert source.schema.rows.scale == 255
        a, b = (train[0] for train, _ in source.parties.values())
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
        assert any("whole numbers of party 2 are taken for bytes" in n for n in source.notes)

    @pytest.mark.parametrize(
        "others",
        [PIXELS / np.float32(255), PIXELS - 300.0, PIXELS.astype(int) * 9, (PIXELS > 9) * 1.0],
    )
    def test_other_units_beside_bytes_are_refused_by_name(self, read: Read, others: Any) -> None:
        with pytest.raises(DataError, match="those of party 2 are"):
            read([(PIXELS, Y), (others, Y)])
        with pytest.raises(DataError, match=r"those of value \(test rows\) are"):
            read(((PIXELS, Y), (others, Y)))

    def test_a_dark_party_has_the_units_of_the_others(self, read: Read) -> None:
        source = read([((PIXELS > 99).astype(np.uint8), Y), (PIXELS, Y)])
        assert source.schema.rows.scale == 255

    def test_small_counts_beside_measurements_are_numbers(self, read: Read) -> None:
        counts = RNG.integers(0, 4, (20, 3)).astype(np.uint8)
        source = read([(counts, Y), (counts + 0.5, Y)])
        assert source.schema.rows.kind == "numbers"
        assert {train[0].dtype for train, _ in source.parties.values()} == {np.dtype(float)}

    def test_bytes_that_are_numbers_give_a_note(self, read: Read) -> None:
        notes = read((RNG.integers(0, 2, (20, 9)).astype(np.uint8), Y)).notes
        assert any("bytes up to 1 are taken for numbers" in note for note in notes)


def test_whole_numbers_are_decided_over_all_parties(read: Read) -> None:
    whole, others = np.ones((20, 3)), RNG.normal(size=(20, 3))
    assert read([(whole, Y), (others, Y)]).schema.rows.kind == "numbers"
    assert read([(whole, Y), (whole * 7, Y)]).schema.rows.may_be_indices


def test_parties_that_become_one_name_are_refused(read: Read) -> None:
    with pytest.raises(DataError, match="two parties are called"):
        read({1: (PIXELS, Y), "1": (PIXELS, Y)})
    with pytest.raises(DataError, match="two parties are called"):
        read(({1: (PIXELS, Y), "1": (PIXELS, Y)}, (PIXELS, Y)))
    assert list(read({1: (PIXELS, Y), "2": (PIXELS, Y)}).parties) == ["1", "2"]


class TestMissing:
    def test_masked_values_are_refused(self, read: Read) -> None:
        x = np.ma.masked_greater(np.arange(40.0).reshape(20, 2), 37)
        for value in ((x, Y), ([*x], Y), (x.data, np.ma.masked_equal(Y, 1)), [(x.data, Y), (x, Y)]):
            with pytest.raises(DataError, match="masked"):
                read(value)
        unmasked = np.ma.MaskedArray(np.arange(40.0).reshape(20, 2))
        assert read((unmasked, Y)).train[0][-1].tolist() == [38, 39]

    def test_text_and_numbers_mixed_are_told_from_missing_labels(self, read: Read) -> None:
        mixed = np.array(["a", 1] * 10, dtype=object)
        with pytest.raises(DataError, match="10 labels are text, and 10 are not"):
            read((np.zeros((20, 1)), mixed))


@pytest.mark.parametrize("keys", [("train", "test"), ("Train", "validation"), ("training", "dev")])
def test_names_of_sets_are_no_parties(partition: Partition, keys: tuple[str, str]) -> None:
    made = partition({keys[0]: (PIXELS, Y), keys[1]: (PIXELS[:4], Y[:4])}, parties=2)
    assert [party.id for party in made.parties] == ["party 1", "party 2"]
    assert len(made.test[1]) == 4
    assert any("these are no parties" in note for note in made.notes)


def test_a_third_set_is_said_to_be_unused(read: Read) -> None:
    value = dict.fromkeys(("train", "validation", "test"), (PIXELS, Y))
    assert any("'validation' is not used" in note for note in read(value).notes)
    assert list(read({"train": (PIXELS, Y), "north": (PIXELS, Y)}).parties) == ["train", "north"]


PLAIN = (RNG.normal(size=(20, 8, 8)).clip(0, 1).astype(np.float32), Y)


class TestRowsWithoutLabels:
    """Rows that parties' models predict together have the units of the parties' rows."""

    @pytest.mark.parametrize("own", [PIXELS, PIXELS.astype(np.float32), PIXELS / np.float32(255)])
    @pytest.mark.parametrize("others", [(PIXELS, Y), PLAIN])
    def test_they_are_brought_into_the_same_units(self, own: Any, others: Any) -> None:
        schema = DataSchema.of(others)
        if schema.rows.scale == 1 and own.dtype != np.uint8:
            assert bring_rows(schema, own, "public") is own
            return
        found = bring_rows(schema, own, "public") / schema.rows.scale
        assert np.allclose(found, PIXELS / 255, atol=1e-6)

    def test_other_units_are_refused(self) -> None:
        with pytest.raises(DataError, match="the rows of public are"):
            bring_rows(DataSchema.of((PIXELS, Y)), PIXELS - 300.0, "public")
