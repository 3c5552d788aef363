"""Files of skops: written, read again, taken up again; and files that would run code, refused."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn_samples import classes, counts, measurements, parties, trained

from fusion_nb.core import arithmetic
from fusion_nb.errors import FusionError, ModelError
from fusion_nb.models import lookup

skops = pytest.importorskip("skops.io")
MODELS: dict[str, tuple[Any, Any]] = {
    "hinge": (SGDClassifier(), classes()),
    "log loss": (SGDClassifier(loss="log_loss"), classes()),
    "huber": (SGDClassifier(loss="modified_huber"), classes()),
    "squared hinge": (SGDClassifier(loss="squared_hinge"), classes()),
    "perceptron": (Perceptron(), classes()),
    "regressor": (SGDRegressor(loss="huber"), measurements()),
    "insensitive": (SGDRegressor(loss="epsilon_insensitive"), measurements()),
    "logistic": (LogisticRegression(), classes()),
    "adam": (MLPClassifier(4), classes()),
    "sgd": (MLPClassifier(4, solver="sgd"), classes()),
    "numbers": (MLPRegressor(hidden_layer_sizes=4), measurements()),
    "bayes": (GaussianNB(), classes()),
    "counts": (MultinomialNB(), counts()),
    "flags": (BernoulliNB(), counts()),
    "ridge": (Ridge(), measurements()),
    "clusters": (KMeans(3, random_state=0), classes()),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_read_again(name: str, tmp_path: Path) -> None:
    model, data = MODELS[name]
    is_scaled = name in list(MODELS)[::2]
    run = trained(
        make_pipeline(MinMaxScaler(), model) if is_scaled else model, parties(data), rounds=1
    )
    path = tmp_path / "model.skops"
    run.write(path, "skops")
    assert not set(skops.get_untrusted_types(file=path)) - set(allowed())
    found = lookup.find(str(path), {})
    assert str(found) == str(run.model)
    assert np.array_equal(found.predict(data[0]), run.model.predict(data[0]))
    kept = type(run.federation.model).from_checkpoint(found).get_weights()
    assert arithmetic.equal(run.weights, kept)


def allowed() -> frozenset[str]:
    from fusion_nb.models.sklearn.files import ALLOWED

    return ALLOWED


@pytest.mark.parametrize("name", ["hinge", "logistic", "adam"])
def test_a_run_continues_from_a_file(name: str, tmp_path: Path) -> None:
    model, data = MODELS[name]
    run = trained(make_pipeline(StandardScaler(), model), parties(data), rounds=4)
    path = tmp_path / "model.skops"
    run.write(path, "skops")
    more = trained(lookup.find(str(path), {}), parties(data), rounds=1)
    first = more.federation.network.initial_weights
    assert arithmetic.equal(run.weights, first)
    assert any("start: the weights" in note for note in more.notes)


def test_an_unfitted_model_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    skops.dump(make_pipeline(StandardScaler(), LogisticRegression(C=0.3)), path)
    assert lookup.find(str(path), {})[-1].C == 0.3


def test_the_card_tells_the_versions(tmp_path: Path) -> None:
    import sklearn

    run = trained(GaussianNB(), parties(classes()), rounds=1)
    run.export(str(tmp_path / "out"))
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["versions"]["sklearn"] == sklearn.__version__
    assert card["versions"]["skops"] != "unknown"


class Runs:
    """Says so where it is made of a pickle."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was_run"),))


class TestPickles:
    @pytest.mark.parametrize("name", ["m.pkl", "m.pickle", "m.joblib", "m.sav"])
    def test_they_are_refused_by_name(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path(name).write_bytes(pickle.dumps(Runs()))
        with pytest.raises(ModelError, match="is a pickle") as caught:
            lookup.find(name, {})
        assert "skops.io.dump" in caught.value.hint
        assert not Path("was_run").exists()

    def test_one_of_another_name_is_not_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("m.skops").write_bytes(pickle.dumps(Runs()))
        with pytest.raises(ModelError, match=r"m\.skops"):
            lookup.find("m.skops", {})
        assert not Path("was_run").exists()


def dumped(model: Any) -> bytes:
    return bytes(skops.dumps(model))


def rewritten(raw: bytes, change: Callable[[str, bytes], bytes], more: Any = ()) -> bytes:
    """An archive with other contents."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(made, "w", 8) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
        for name, content in more:
            new.writestr(name, content)
    return made.getvalue()


def header(shape: str) -> bytes:
    """An array of doubles that declares a shape and holds no number."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def of_arrays(content: bytes) -> bytes:
    return rewritten(
        dumped(GaussianNB().fit(*classes())),
        lambda name, old: content if name.endswith(".npy") else old,
    )


def of_schema(change: Callable[[str], str]) -> bytes:
    return rewritten(
        dumped(LogisticRegression()),
        lambda name, old: change(old.decode()).encode() if name == "schema.json" else old,
    )


def deep() -> bytes:
    return of_schema(lambda _: "[" * 2000 + "]" * 2000)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no archive": lambda: b"PK\x03\x04 and no more",
    "cut": lambda: dumped(LogisticRegression())[:-30],
    "another estimator": lambda: dumped(RandomForestClassifier(2)),
    "a function": lambda: dumped(FunctionTransformer(np.sqrt)),
    "a pipeline with a function": lambda: dumped(
        make_pipeline(FunctionTransformer(np.sqrt), LogisticRegression())
    ),
    "no estimator": lambda: dumped({"a": [1, 2]}),
    "an array of its own": lambda: dumped(np.zeros(3)),
    "a type that is not trusted": lambda: of_schema(
        lambda text: text.replace("LogisticRegression", "system", 1).replace(
            "sklearn.linear_model._logistic", "os", 1
        )
    ),
    "a huge array": lambda: of_arrays(header("(1000000000000,)")),
    "a wide array": lambda: of_arrays(header("(300000, 300000)")),
    "no array": lambda: of_arrays(b"nothing"),
    "two files of one name": lambda: rewritten(
        dumped(LogisticRegression()), lambda _, old: old, [("schema.json", b"{}")]
    ),
    "another file": lambda: rewritten(
        dumped(LogisticRegression()), lambda _, old: old, [("code.py", b"import os")]
    ),
    "a bomb": lambda: rewritten(
        dumped(LogisticRegression()), lambda _, old: old, [("a.npy", bytes(260 << 20))]
    ),
    "nested too deeply": deep,
    "no description": lambda: of_schema(lambda _: "{}"),
    "a list": lambda: of_schema(lambda _: "[]"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(HOSTILE[name]())
    with pytest.raises(FusionError) as caught:
        lookup.find(str(path), {})
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message


def test_what_others_trust_is_not_read_for_them(tmp_path: Path) -> None:
    """A class of the notebook is named, and not made."""
    path = tmp_path / "model.skops"
    skops.dump(make_pipeline(StandardScaler(), LogisticRegression()).set_params(memory=None), path)
    raw = path.read_bytes()
    path.write_bytes(
        rewritten(
            raw,
            lambda name, old: (
                old.replace(b"StandardScaler", b"Runs").replace(
                    b"sklearn.preprocessing._data", __name__.encode()
                )
                if name == "schema.json"
                else old
            ),
        )
    )
    with pytest.raises(ModelError, match="Runs"):
        lookup.find(str(path), {})
