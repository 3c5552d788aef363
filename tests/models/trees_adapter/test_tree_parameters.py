"""Parameters that a file of trees tells: of training alone, and within bounds."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree_samples import classes, classifier, sites, trained

from fusion_nb.errors import ModelError
from fusion_nb.models import lookup, tree_parameters

NAMES = {"xgboost": "model.json", "lightgbm": "model.txt"}
FORMATS = {"xgboost": "booster", "lightgbm": "txt"}


@pytest.fixture(scope="module", params=sorted(NAMES))
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("trees"), NAMES[request.param])
    run = trained(classifier(request.param), sites(classes()), rounds=1)
    run.write(path, FORMATS[request.param])
    return path


def with_parameters(path: Path, params: Any, folder: Path) -> str:
    """Return the name of a copy of a file that tells other parameters."""
    text = path.read_text()
    if path.suffix == ".json":
        document = json.loads(text)
        attributes = document["learner"]["attributes"]
        about = json.loads(attributes["fusion_nb"])
        attributes["fusion_nb"] = json.dumps({**about, "params": params})
        text = json.dumps(document)
    else:
        line = next(line for line in text.splitlines() if line.startswith("fusion_nb:"))
        about = json.loads(line.removeprefix("fusion_nb:"))
        text = text.replace(line, "fusion_nb:" + json.dumps({**about, "params": params}))
    (folder / path.name).write_text(text)
    return str(folder / path.name)


@pytest.mark.parametrize(
    "params",
    [
        {"n_jobs": 10**5, "n_estimators": 10**5},
        {"device": "cuda", "device_type": "cuda", "nthread": 10**6},
        {"num_threads": 10**6, "verbosity": 3, "max_depth": 3},
    ],
)
def test_a_file_has_no_say_in_the_machine(params: Any, file: Path, tmp_path: Path) -> None:
    found = lookup.find(with_parameters(file, params, tmp_path), {})
    assert found.get_params().get("n_jobs") is None
    assert found.get_params().get("device") in (None, "cpu")
    assert found.predict(classes()[0]).shape == (len(classes()[0]),)


@pytest.mark.parametrize(
    "params",
    [
        {"forcedsplits_filename": "/etc/passwd"},
        {"machines": "192.0.2.1:80", "num_machines": 2},
        {"input_model": "x"},
        {"max_depth": 10**9},
        {"n_estimators": 10**12},
        {"max_depth": [1]},
        {"learning_rate": float("inf")},
        {"x" * 5000: 1},
        [1],
        3,
    ],
    ids=lambda params: str(params)[:30],
)
def test_others_are_refused(params: Any, file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{file.name} is refused: ") as caught:
        lookup.find(with_parameters(file, params, tmp_path), {})
    assert len(caught.value.message) < 300 + len(str(tmp_path))


def test_bounds_are_those_of_each_parameter() -> None:
    allowed = ["max_bin", "seed", "alpha", "name"]
    sound = {"max_bin": 1 << 16, "seed": 2**32, "alpha": -1.5, "name": "x"}
    assert tree_parameters.of_file(sound, allowed) == sound
    for name, value in {"max_bin": 1 << 17, "seed": 2**33, "alpha": np.nan}.items():
        with pytest.raises(ModelError, match=name):
            tree_parameters.of_file({name: value}, allowed)


def test_parameters_of_a_model_are_read_again(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMClassifier(num_leaves=5, max_bin=63, min_data_in_leaf=3, n_jobs=2)
    run = trained(model, sites(classes()), rounds=1)
    run.write(tmp_path / "model.txt", "txt")
    found = lookup.find(str(tmp_path / "model.txt"), {}).get_params()
    assert (found["num_leaves"], found["max_bin"], found["n_jobs"]) == (5, 63, None)


def test_values_without_bytes_are_counted(tmp_path: Path) -> None:
    ubjson = pytest.importorskip("fusion_nb.models.xgboost.ubjson")
    nothing = b"$Z#l" + struct.pack(">i", 1000)
    content = b"[$[#l" + struct.pack(">i", 200) + nothing * 200
    with pytest.raises(ValueError, match="more values than bytes"):
        ubjson.read(content)
    assert ubjson.read(b"[$Z#U\x05") == [None] * 5


def test_more_trees_at_once_than_there_are(file: Path, tmp_path: Path) -> None:
    if file.suffix != ".json":
        pytest.skip("a parameter of XGBoost")
    document = json.loads(file.read_text())
    model = document["learner"]["gradient_booster"]["model"]
    model["gbtree_model_param"]["num_parallel_tree"] = "2000000000"
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match="more trees at once"):
        lookup.find(str(tmp_path / "model.json"), {})
