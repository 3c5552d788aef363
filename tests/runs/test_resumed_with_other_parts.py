"""A run that is resumed with another model, loss or optimizer says so, and none says it wrongly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saved_runs import Case, classes, cut, texts

from fusion_nb import Run, RunSpec
from fusion_nb.models.identity.texts import of_choice, of_object, text
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.checkpoints.identity import TrainingIdentity
from fusion_nb.runs.checkpoints.resume import SavedSpec

Make = Callable[[], Any]


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NB_CHECKPOINT", "off")


def begun(folder: Path, model: Any, **options: Any) -> None:
    """Train a run of two rounds, and leave its first."""
    names = {"model": model, "rows": texts() if is_of_texts(model) else classes(30)}
    held = {name: value for name, value in options.items() if not isinstance(value, str | float)}
    chosen = {name: name if name in held else value for name, value in options.items()}
    spec = {"model": "model", "data": "rows", "parties": 2, "rounds": 2, **chosen}
    Run(RunSpec(**spec, checkpoint=f"{folder}:keep=9"), names | held).start().wait()
    cut(folder, 1)


def warnings_of(folder: Path, model: Any, **anew: Any) -> list[str]:
    """Return the warnings of the run when it is taken up."""
    names = {"model": model, "rows": texts() if is_of_texts(model) else classes(30)}
    held = {name: value for name, value in anew.items() if not isinstance(value, str | float)}
    chosen = {name: name if name in held else value for name, value in anew.items()}
    saved = SavedSpec.read(folder, {"checkpoint": f"{folder}:keep=9", **chosen})
    run = saved.make_run(names | held).start().wait()
    assert run.status == "finished"
    return [note for note in run.notes if "other settings" in note]


def is_of_texts(model: Any) -> bool:
    return type(model).__name__ == "Doc2Vec"


def network(*, middle: Any = None, dropout: float = 0.1, eps: float = 1e-5) -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Linear(5, 6),
        nn.BatchNorm1d(6, eps=eps),
        middle or nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(6, 3),
    )


def own_network(activation: str, slope: float = 1.0, *, frozen: bool = False) -> Any:
    """Return a module of the user's own whose activation is in its forward()."""
    source = f"""
class Net(nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.first, self.last, self.slope = nn.Linear(5, 6), nn.Linear(6, 3), slope
    def forward(self, x):
        return self.last(self.slope * torch.{activation}(self.first(x)))
"""
    import torch
    from torch import nn

    space: dict[str, Any] = {"torch": torch, "nn": nn, "__name__": "cell"}
    exec(source, space)
    made = space["Net"](slope)
    made.first.weight.requires_grad_(not frozen)
    return made


def tanh() -> Any:
    from torch import nn

    return nn.Tanh()


def dense(activation: str = "relu", rate: float = 0.1, penalty: float = 0.0) -> Any:
    import keras

    return keras.Sequential(
        [
            keras.layers.Input((5,)),
            keras.layers.Dense(
                6, activation, kernel_regularizer=keras.regularizers.L2(penalty), name="first"
            ),
            keras.layers.Dropout(rate),
            keras.layers.Dense(3, name="last"),
        ]
    )


def compiled(lr: float = 0.1, momentum: float = 0.0, smoothing: float = 0.0) -> Any:
    import keras

    made = dense()
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    made.compile(optimizer=keras.optimizers.SGD(lr, momentum=momentum), loss=loss)
    return made


def doc2vec(window: int = 5) -> Any:
    from gensim.models.doc2vec import Doc2Vec

    return Doc2Vec(vector_size=4, min_count=1, window=window, epochs=2, workers=1)


def estimator(**parameters: Any) -> Any:
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss", **parameters)


def pipeline(alpha: float = 1e-4) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), estimator(alpha=alpha))


def xgboost(depth: int = 2) -> Any:
    return pytest.importorskip("xgboost").XGBClassifier(max_depth=depth)


def lightgbm(leaves: int = 3) -> Any:
    maker = pytest.importorskip("lightgbm").LGBMClassifier
    return maker(num_leaves=leaves, min_child_samples=2)


MODELS: list[tuple[Make, Make, str]] = [
    (network, lambda: network(middle=tanh()), "layer 2: ReLU -> Tanh"),
    (network, lambda: network(dropout=0.5), "layer 3, p: 0.1 -> 0.5"),
    (network, lambda: network(eps=0.1), "layer 1, eps: 1e-05 -> 0.1"),
    (lambda: own_network("relu"), lambda: own_network("tanh"), "the code of Net is another"),
    (lambda: own_network("relu"), lambda: own_network("relu", 2.0), "model, slope: 1.0 -> 2.0"),
    (
        lambda: own_network("relu"),
        lambda: own_network("relu", frozen=True),
        "layer first, frozen: none -> weight",
    ),
    (dense, lambda: dense("tanh"), "layer 1, activation: relu -> tanh"),
    (dense, lambda: dense(rate=0.5), "layer 2, rate: 0.1 -> 0.5"),
    (dense, lambda: dense(penalty=1.0), "layer 1, kernel_regularizer: "),
    (compiled, lambda: compiled(lr=0.3), "optimizer, learning_rate: 0.1"),
    (compiled, lambda: compiled(momentum=0.9), "optimizer, momentum: 0.0 -> 0.9"),
    (compiled, lambda: compiled(smoothing=0.2), "loss, label_smoothing: 0.0 -> 0.2"),
    (estimator, lambda: estimator(alpha=0.1), "model, alpha: 0.0001 -> 0.1"),
    (pipeline, lambda: pipeline(0.1), "model, sgdclassifier__alpha: 0.0001 -> 0.1"),
    (xgboost, lambda: xgboost(3), "model, max_depth: 2 -> 3"),
    (lightgbm, lambda: lightgbm(5), "model, num_leaves: 3 -> 5"),
    (doc2vec, lambda: doc2vec(2), "model, window: 5 -> 2"),
]


@pytest.mark.parametrize(("first", "second", "expected"), MODELS)
def test_another_model_is_told(first: Make, second: Make, expected: str, tmp_path: Path) -> None:
    begun(tmp_path / "run", first())
    (found,) = warnings_of(tmp_path / "run", second())
    assert expected in found
    assert "after round 1 " in found
    assert "#" not in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize("make", [network, dense, compiled, pipeline, xgboost, lightgbm, doc2vec])
def test_the_same_model_made_anew_is_the_same(make: Make, tmp_path: Path) -> None:
    begun(tmp_path / "run", make())
    assert warnings_of(tmp_path / "run", make()) == []


def smoothed() -> Any:
    from torch import nn

    return nn.CrossEntropyLoss(label_smoothing=0.2)


def weighted(weight: float) -> Any:
    import torch
    from torch import nn

    return nn.CrossEntropyLoss(weight=torch.tensor([1.0, weight, 1.0]))


def scaled(factor: float) -> Any:
    from torch.nn import functional

    def own_loss(output: Any, target: Any) -> Any:
        """Return a multiple of the cross entropy."""
        return factor * functional.cross_entropy(output, target)

    return own_loss


def optimizer(name: str) -> Any:
    from torch import optim

    return getattr(optim, name)


CHOICES: list[tuple[str, Make, Make, str]] = [
    ("optimizer", lambda: "sgd", lambda: "adam", "optimizer: SGD -> Adam"),
    ("optimizer", lambda: optimizer("SGD"), lambda: optimizer("Adam"), "optimizer: SGD -> Adam"),
    ("optimizer", lambda: "sgd:momentum=0.9", lambda: "sgd", "optimizer, momentum: 0.9 -> 0"),
    ("optimizer", lambda: "adam", lambda: "adam:weight_decay=0.1", "weight_decay: 0 -> 0.1"),
    ("loss", lambda: "", smoothed, "loss, label_smoothing: none -> 0.2"),
    ("loss", lambda: weighted(1.0), lambda: weighted(5.0), "loss, weight: array (3,) "),
    ("loss", lambda: scaled(1.0), lambda: scaled(2.0), "loss: scaled"),
    ("loss", smoothed, lambda: scaled(1.0), "loss: cross_entropy -> scaled"),
]


@pytest.mark.parametrize(("option", "first", "second", "expected"), CHOICES)
def test_another_loss_or_optimizer_is_told(
    option: str, first: Make, second: Make, expected: str, tmp_path: Path
) -> None:
    begun(tmp_path / "run", network(), **{option: first()})
    (found,) = warnings_of(tmp_path / "run", network(), **{option: second()})
    assert expected in found


@pytest.mark.parametrize(
    ("option", "first", "second"),
    [
        ("optimizer", lambda: "sgd", lambda: optimizer("SGD")),
        ("optimizer", lambda: "", lambda: "SGD:momentum=0"),
        ("optimizer", lambda: optimizer("Adam"), lambda: "adam"),
        ("loss", lambda: "", lambda: "cross_entropy"),
        ("loss", lambda: weighted(2.0), lambda: weighted(2.0)),
        ("loss", lambda: scaled(2.0), lambda: scaled(2.0)),
    ],
)
def test_other_words_for_the_same_are_no_difference(
    option: str, first: Make, second: Make, tmp_path: Path
) -> None:
    begun(tmp_path / "run", network(), **{option: first()})
    assert warnings_of(tmp_path / "run", network(), **{option: second()}) == []


def test_the_note_stays_when_the_run_is_resumed_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    begun(folder, network(), optimizer="sgd")
    (first,) = warnings_of(folder, network(), optimizer="adam")
    assert [*CheckpointFolder(folder).latest().training.notes] == [first]
    (folder / "round-000002").rename(tmp_path / "round-000002")
    (tmp_path / "round-000002").rename(folder / "round-000002")
    assert warnings_of(folder, network(), optimizer="adam") == [first]
    both = warnings_of(folder, network(), optimizer="rmsprop")
    assert len(both) == 2
    assert both[0] == first
    assert "after round 2 " in both[1]


def test_a_checkpoint_of_an_earlier_version_has_no_note(tmp_path: Path) -> None:
    begun(tmp_path / "run", network())
    path = tmp_path / "run" / "round-000001" / "checkpoint.json"
    about = json.loads(path.read_text())
    del about["training"]
    path.write_text(json.dumps(about))
    assert Checkpoint.read(path.parent).training == TrainingIdentity()
    assert warnings_of(tmp_path / "run", network(dropout=0.5)) == []


@pytest.mark.parametrize("wrong", [3, "x", [1], {"parts": 3}, {"parts": {"a": 1}}])
def test_a_damaged_identity_is_a_damaged_checkpoint(wrong: Any, tmp_path: Path) -> None:
    begun(tmp_path / "run", network())
    path = tmp_path / "run" / "round-000001" / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": wrong}))
    with pytest.raises(Exception, match="can't be read"):
        CheckpointFolder(tmp_path / "run").latest()


class Layers:
    """A model of many layers, as far as its identity goes."""

    def __init__(self, count: int, last: str) -> None:
        self.count, self.last = count, last

    def identity(self, *, lr: Any, optimizer: Any) -> dict[str, dict[str, str]]:
        found = {f"layer {i}": {"class": "Linear"} for i in range(self.count)}
        return {**found, "layer last": {"class": self.last}, "optimizer": {"lr": str(lr)}}


def identity_of(model: Any) -> TrainingIdentity:
    return TrainingIdentity.of(model, {"lr": 0.1, "optimizer": "sgd"})


def test_an_identity_is_bounded_and_tells_of_a_layer_that_it_does_not_hold() -> None:
    one, other = identity_of(Layers(5_000, "ReLU")), identity_of(Layers(5_000, "Tanh"))
    assert len(json.dumps(one.to_json())) < 12_000
    (found,) = one.differences(other, same_versions=True)
    assert "beyond the first" in found
    assert one.differences(identity_of(Layers(5_000, "ReLU")), same_versions=True) == []


def test_settings_that_another_version_has_are_no_difference() -> None:
    before = TrainingIdentity({"optimizer": {"class": "SGD", "old": "1"}}, 1, "a")
    after = TrainingIdentity({"optimizer": {"class": "SGD", "new": "1"}}, 1, "b")
    assert before.differences(after, same_versions=False) == []
    assert len(before.differences(after, same_versions=True)) == 2


class Silent:
    """An adapter that can't say what it is."""

    def identity(self, **options: Any) -> Any:
        raise RuntimeError("no")


def test_an_identity_that_can_not_be_told_ends_no_run() -> None:
    assert identity_of(Silent()) == TrainingIdentity()


SCRIPT = (
    "import sys; sys.path[:0] = {paths!r}; import test_resumed_with_other_parts as own; own.say()"
)


def say() -> None:
    """Print the identity of objects that hold functions, sets and other objects."""
    loop: list[Any] = []
    loop.append(loop)
    model = own_network("relu")
    held: list[Any] = [of_object(model), of_choice(scaled(2.0)), text({"a", "b", "c"}), text(loop)]
    held += [text(object()), text(model.first), text(lambda x: x in {"b", "a"}), text(json)]
    sys.stdout.write(json.dumps(held))


def test_an_identity_is_the_same_in_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    say()
    here = Path(__file__).parent
    code = SCRIPT.format(paths=[str(here), str(here.parent)])
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = capsys.readouterr().out
    assert other.stdout == found
    assert "0x" not in found


def test_what_decides_a_run_is_saved_once_for_all_rounds(tmp_path: Path) -> None:
    case = Case({"rounds": 3, "parties": 2}, is_seeded=True)
    case.start(tmp_path / "run")
    rounds = CheckpointFolder(tmp_path / "run").rounds()
    found = [Checkpoint.read(path).training for path in rounds]
    assert len(found) == 3
    assert found[0] == found[2]
    assert found[0].parts["optimizer"]["lr"] == "0.05"
