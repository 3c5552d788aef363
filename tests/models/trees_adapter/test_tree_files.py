"""Files of boosted trees: written, read again, and refused where their trees are not sound."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree_samples import FRAMEWORKS, classes, classifier, measurements, regressor, sites, trained

from fusion_nb.errors import ModelError
from fusion_nb.models import lookup, trees
from fusion_nb.models.lightgbm.trees import LightGBMTrees
from fusion_nb.models.xgboost.trees import XGBoostTrees

FORMATS = [("xgboost", "booster"), ("xgboost", "ubj"), ("lightgbm", "txt")]
NAMES = {"booster": "model.json", "ubj": "model.ubj", "txt": "model.txt"}


@pytest.mark.parametrize(("framework", "format"), FORMATS)
class TestFormats:
    def test_an_exported_model_is_read_again(
        self, framework: str, format: str, tmp_path: Path
    ) -> None:
        x, y = classes()
        run = trained(classifier(framework), sites((x, y)))
        path = tmp_path / NAMES[format]
        run.write(path, format)
        found = lookup.find(str(path), {})
        assert type(found) is type(run.model)
        np.testing.assert_allclose(found.predict_proba(x), run.model.predict_proba(x), rtol=1e-6)
        name = "max_depth" if framework == "xgboost" else "num_leaves"
        assert found.get_params()[name] == run.model.get_params()[name]

    def test_a_run_continues_from_it(self, framework: str, format: str, tmp_path: Path) -> None:
        data = sites(classes())
        run = trained(classifier(framework), data, rounds=2)
        path = tmp_path / NAMES[format]
        run.write(path, format)
        more = trained(lookup.find(str(path), {}), data, rounds=1)
        assert trees.read(more.weights).num_trees > trees.read(run.weights).num_trees
        assert more.history["loss"][-1] < run.history["loss"][-1]

    def test_numbers_are_read_again(self, framework: str, format: str, tmp_path: Path) -> None:
        x, y = measurements()
        run = trained(regressor(framework), sites((x, y)))
        path = tmp_path / NAMES[format]
        run.write(path, format)
        found = lookup.find(str(path), {})
        np.testing.assert_allclose(found.predict(x), run.model.predict(x), rtol=1e-6)

    def test_a_damaged_file_is_refused(self, framework: str, format: str, tmp_path: Path) -> None:
        run = trained(classifier(framework), sites(classes()), rounds=1)
        path = tmp_path / NAMES[format]
        run.write(path, format)
        raw = path.read_bytes()
        for cut in (0, 1, 7, len(raw) // 3, len(raw) // 2):
            path.write_bytes(raw[:cut])
            with pytest.raises(ModelError) as caught:
                lookup.find(str(path), {})
            assert "\n" not in caught.value.message


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_file_that_the_framework_wrote_is_read(framework: str, tmp_path: Path) -> None:
    x, y = classes()
    model = classifier(framework, n_estimators=3).fit(x, y)
    path = tmp_path / ("own.json" if framework == "xgboost" else "own.txt")
    if framework == "xgboost":
        model.save_model(path)
    else:
        model.booster_.save_model(path)
    found = lookup.find(str(path), {})
    np.testing.assert_allclose(found.predict_proba(x), model.predict_proba(x), rtol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_trained_booster_is_a_model_too(framework: str) -> None:
    x, y = classes()
    own = classifier(framework, n_estimators=3).fit(x, y)
    booster = own.get_booster() if framework == "xgboost" else own.booster_
    run = trained(booster, sites((x, y)), rounds=1)
    assert type(run.model) is type(booster)
    assert trees.read(run.weights).num_trees == 9 + 9


def of_xgboost(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def changed(raw: bytes) -> bytes:
        document = json.loads(raw)
        change(document)
        return json.dumps(document).encode()

    return changed


def model_of(document: Any) -> Any:
    return document["learner"]["gradient_booster"]["model"]


def set_node(name: str, number: int, value: Any) -> Callable[[bytes], bytes]:
    return of_xgboost(
        lambda document: model_of(document)["trees"][0][name].__setitem__(number, value)
    )


def set_part(name: str, value: Any) -> Callable[[bytes], bytes]:
    return of_xgboost(lambda document: model_of(document).__setitem__(name, value))


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    return lambda raw: raw.replace(old.encode(), new.encode(), 1)


def numbered(field: bytes, number: int) -> Callable[[bytes], bytes]:
    """The text with another first number in a tree's field."""
    return lambda raw: re.sub(rb"%s=-?\d+" % field, b"%s=%d" % (field, number), raw, count=1)


def without_trees(num_classes: int) -> Callable[[bytes], bytes]:
    """LightGBM's text of a booster of so many classes that has no trees yet."""

    def changed(raw: bytes) -> bytes:
        for name in (b"num_class", b"num_tree_per_iteration"):
            raw = re.sub(rb"\n%s=\d+" % name, b"\n%s=%d" % (name, num_classes), raw)
        return re.sub(rb"\nTree=.*\nend of trees", b"\nend of trees", raw, flags=re.DOTALL)

    return changed


#: Changes that would lead compiled code astray.
XGBOOST_FAULTS = {
    "a child far away": set_node("left_children", 0, 10**6),
    "a circle": set_node("left_children", 0, 0),
    "one child twice": set_node("right_children", 0, 1),
    "a negative child": set_node("right_children", 0, -5),
    "a feature that is not there": set_node("split_indices", 0, 99),
    "a negative feature": set_node("split_indices", 0, -1),
    "no number": set_node("split_conditions", 0, float("nan")),
    "text": set_node("split_conditions", 0, "1"),
    "a leaf with a child before the first": set_node("left_children", -1, -154),
    "a fraction as a child": set_node("left_children", 0, 1.5),
    "categories": set_node("split_type", 0, 1),
    "too many iterations": set_part("iteration_indptr", [0, 3, 600]),
    "another class": set_part("tree_info", [77] * 9),
    "fewer trees": set_part("trees", []),
    "a short array": of_xgboost(lambda d: model_of(d)["trees"][0]["parents"].pop()),
    "many nodes": of_xgboost(
        lambda d: model_of(d)["trees"][0]["tree_param"].__setitem__("num_nodes", str(10**9))
    ),
    "more classes than memory": of_xgboost(
        lambda d: d["learner"]["learner_model_param"].__setitem__("num_class", str(10**9))
    ),
    "another booster": of_xgboost(
        lambda d: d["learner"]["gradient_booster"].__setitem__("name", "dart")
    ),
}
LIGHTGBM_FAULTS = {
    "a child far away": numbered(b"left_child", 1000000),
    "a circle": numbered(b"left_child", 0),
    "a leaf twice": numbered(b"right_child", -2),
    "a feature that is not there": replaced("split_feature=", "split_feature=9"),
    "no number": replaced("leaf_value=", "leaf_value=nan "),
    "many leaves": replaced("num_leaves=4", "num_leaves=2000000000"),
    "categories": replaced("num_cat=0", "num_cat=3"),
    "linear leaves": replaced("is_linear=0", "is_linear=1"),
    "more classes": replaced("num_tree_per_iteration=3", "num_tree_per_iteration=4"),
    "other features": replaced("max_feature_idx=3", "max_feature_idx=9"),
    "a field that is missing": replaced("threshold=", "treshold="),
    "a leaf that is not counted": lambda raw: re.sub(
        rb"leaf_count=\d+ ", b"leaf_count=", raw, count=1
    ),
    "a split too many that is told": replaced("split_gain=", "split_gain=1 "),
    "a count beyond all numbers": numbered(b"leaf_count", 10**12),
    "more classes than memory": without_trees(10**9),
}
CASES = [
    *(("xgboost", name) for name in XGBOOST_FAULTS),
    *(("lightgbm", name) for name in LIGHTGBM_FAULTS),
]


@pytest.fixture(scope="module")
def sound() -> dict[str, bytes]:
    """A booster of each framework, whose first tree has several splits."""
    x, y = classes()
    made = {name: classifier(name, n_estimators=3).fit(x, y) for name in FRAMEWORKS}
    return {
        "xgboost": bytes(made["xgboost"].get_booster().save_raw("json")),
        "lightgbm": made["lightgbm"].booster_.model_to_string().encode(),
    }


@pytest.mark.parametrize(("framework", "name"), CASES)
class TestUnsoundTrees:
    def changed(self, sound: dict[str, bytes], framework: str, name: str) -> bytes:
        fault = (XGBOOST_FAULTS if framework == "xgboost" else LIGHTGBM_FAULTS)[name]
        changed = fault(sound[framework])
        assert changed != sound[framework], "the case changes nothing"
        return changed

    def test_a_file_is_refused(
        self, sound: dict[str, bytes], framework: str, name: str, tmp_path: Path
    ) -> None:
        path = tmp_path / ("model.json" if framework == "xgboost" else "model.txt")
        path.write_bytes(self.changed(sound, framework, name))
        with pytest.raises(ModelError, match="is refused"):
            lookup.find(str(path), {})

    def test_an_update_is_refused(self, sound: dict[str, bytes], framework: str, name: str) -> None:
        expected, found = (
            {trees.ENTRY: np.frombuffer(raw, np.uint8)}
            for raw in (sound[framework], self.changed(sound, framework, name))
        )
        assert not trees.misfit(expected, expected)
        assert trees.misfit(found, expected, partial=True)


@pytest.mark.parametrize("framework", FRAMEWORKS)
class TestUpdates:
    def weights(self, framework: str, sound: dict[str, bytes]) -> dict[str, np.ndarray]:
        return {trees.ENTRY: np.frombuffer(sound[framework], np.uint8)}

    @pytest.mark.parametrize(
        "found",
        [
            {},
            {"other": np.zeros(3, np.uint8)},
            {trees.ENTRY: np.zeros(3, np.uint8)},
            {trees.ENTRY: np.zeros(3)},
            {trees.ENTRY: np.frombuffer(b"{" * 10**5, np.uint8)},
            [],
        ],
        ids=str,
    )
    def test_bytes_that_are_no_booster_are_refused(
        self, framework: str, sound: dict[str, bytes], found: Any
    ) -> None:
        assert trees.misfit(found, self.weights(framework, sound))

    def test_fewer_trees_are_refused(self, framework: str, sound: dict[str, bytes]) -> None:
        expected = self.weights(framework, sound)
        fewer = trees.write(trees.read(expected).added_to(3))
        assert "trees" in trees.misfit(fewer, expected)
        assert not trees.misfit(fewer, expected, partial=True)

    def test_a_booster_of_another_form_is_refused(
        self, framework: str, sound: dict[str, bytes]
    ) -> None:
        x, y = classes(num_classes=2)
        model = classifier(framework, n_estimators=3).fit(x, y)
        raw = (
            bytes(model.get_booster().save_raw("json"))
            if framework == "xgboost"
            else model.booster_.model_to_string().encode()
        )
        found = {trees.ENTRY: np.frombuffer(raw, np.uint8)}
        assert "form" in trees.misfit(found, self.weights(framework, sound), partial=True)

    def test_taking_apart_and_putting_together_is_the_same(
        self, framework: str, sound: dict[str, bytes]
    ) -> None:
        kind: Any = XGBoostTrees if framework == "xgboost" else LightGBMTrees
        whole = kind.read(sound[framework])
        empty = whole.added_to(whole.num_trees)
        again = empty.joined([(whole, 1.0)])
        assert empty.num_trees == 0
        assert again.num_trees == whole.num_trees == 9
        twice = empty.joined([(again, 1.0)])
        assert twice.write() == again.write()


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fusion": "fedavg"}, "trees, which can't be averaged"),
        ({"fusion": "median"}, "trees, which can't be averaged"),
        ({"fusion": "sum"}, "trees, which can't be averaged"),
        ({"personal": "ditto"}, "personal"),
        ({"adversary": "sign_flip:1"}, "adversary"),
        ({"ensemble": "mean"}, "ensemble"),
        ({"batch_size": 8}, "batch_size"),
        ({"optimizer": "adam"}, "optimizer"),
        ({"fusion": "cyclic", "fraction": 0.5}, "fraction"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(
    framework: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(Exception, match=said) as caught:
        trained(classifier(framework), sites(classes()), **options)
    assert type(caught.value).__module__ == "fusion_nb.errors"


@pytest.mark.parametrize(
    ("framework", "options", "said"),
    [
        ("xgboost", {"booster": "dart"}, "booster"),
        ("xgboost", {"booster": "gblinear"}, "booster"),
        ("xgboost", {"early_stopping_rounds": 3}, "early_stopping_rounds"),
        ("xgboost", {"multi_strategy": "multi_output_tree"}, "multi_strategy"),
        ("xgboost", {"objective": "rank:pairwise"}, "objective"),
        ("lightgbm", {"boosting_type": "dart"}, "boosting_type"),
        ("lightgbm", {"boosting_type": "rf"}, "boosting_type"),
        ("lightgbm", {"linear_tree": True}, "linear_tree"),
        ("lightgbm", {"class_weight": "balanced"}, "class_weight"),
        ("lightgbm", {"objective": "multiclassova"}, "objective"),
    ],
)
def test_parameters_are_refused_by_name(framework: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        trained(classifier(framework, **options), sites(classes()))
