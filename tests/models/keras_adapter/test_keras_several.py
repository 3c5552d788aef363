"""Models of several inputs and outputs, weights of rows, and training steps of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_samples import (
    CLASSES,
    Stepping,
    X,
    built,
    checked,
    fit,
    layers,
    on_tensorflow,
    sequential,
)

from fusion_nb import federate
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import DataError, FusionError, ModelError, OptionError
from fusion_nb.models.keras.adapter import KerasModel, keras

OTHER = X[::-1].copy()
NUMBERS = (X @ np.ones((4, 1), np.float32)).astype(np.float32)


class Items:
    """A data set of rows in any form, made from columns of them."""

    def __init__(self, *columns: Any) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> Any:
        return tuple(keras.tree.map_structure(lambda a: a[row], part) for part in self._columns)


def two_inputs(*, outputs: int = 1, named: bool = False) -> Any:
    a, b = layers.Input((4,), name="a"), layers.Input((4,), name="b")
    both = layers.Dense(6, activation="relu")(layers.Concatenate()([a, b]))
    heads = [layers.Dense(3, name="kind")(both), layers.Dense(1, name="size")(both)][:outputs]
    found: Any = heads[0] if outputs == 1 else heads
    if named:
        found = {"kind": heads[0], "size": heads[1]}
    return keras.Model({"a": a, "b": b} if named else [a, b], found)


def prepared(model: Any, data: Any, **options: Any) -> KerasModel:
    adapter = KerasModel(model, **options)
    optimizer = adapter.defaults["optimizer"]
    schema = DataSchema.of((X, CLASSES))
    adapter.check(data, schema, lr=adapter.default_lr(optimizer), optimizer=optimizer)
    return adapter


FORMS: dict[str, Any] = {"dict": {"a": X, "b": OTHER}, "tuple": (X, OTHER), "list": [X, OTHER]}
LABELS: dict[str, Any] = {
    "dict": {"kind": CLASSES, "size": NUMBERS},
    "tuple": (CLASSES, NUMBERS),
    "list": [CLASSES, NUMBERS[:, 0]],
}


@pytest.mark.parametrize(
    "form",
    ["dict", *(pytest.param(form, marks=pytest.mark.slow) for form in FORMS if form != "dict")],
)
def test_rows_of_two_inputs_are_trained(form: str) -> None:
    data = Items(FORMS[form], CLASSES)
    adapter = prepared(two_inputs(named=False), data)
    first = adapter.evaluate(data)["loss"]
    fit(adapter, data, epochs=10)
    assert adapter.evaluate(data)["loss"] < first
    assert adapter.metrics == ("accuracy", "loss")


@pytest.mark.parametrize("form", LABELS)
@pytest.mark.parametrize("named", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_two_outputs_have_a_loss_each(form: str, named: bool) -> None:
    data = Items(FORMS["dict"], LABELS[form])
    adapter = prepared(two_inputs(outputs=2, named=named), data)
    assert adapter.metrics[0] == "loss"
    assert any("accuracy" in name for name in adapter.metrics)
    found = adapter.evaluate(data)
    output = adapter.native(adapter.get_weights())([X, OTHER] if not named else FORMS["dict"])
    kind, size = (output["kind"], output["size"]) if named else output
    wanted = keras.ops.mean(
        keras.losses.sparse_categorical_crossentropy(CLASSES, kind, from_logits=True)
    ) + keras.ops.mean(keras.losses.mean_squared_error(NUMBERS, size))
    assert found["loss"] == pytest.approx(float(keras.ops.convert_to_numpy(wanted)), rel=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        {"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "mse"},
        [keras.losses.SparseCategoricalCrossentropy(from_logits=True), "mse"],
    ],
)
def test_compiled_losses_and_their_weights_are_used(loss: Any) -> None:
    model = two_inputs(outputs=2)
    keys: Any = {"kind": 1.0, "size": 0.0} if isinstance(loss, dict) else [1.0, 0.0]
    model.compile("sgd", loss=loss, loss_weights=keys)
    data = Items([X, OTHER], LABELS["list"])
    adapter = prepared(model, data)
    expected = model.evaluate([X, OTHER], LABELS["list"], verbose=0, return_dict=True)["loss"]
    assert adapter.evaluate(data)["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("labels", "loss", "message"),
    [
        (CLASSES, "", "has 2 outputs .kind, size., and a row has one label"),
        ((CLASSES, NUMBERS, NUMBERS), "", "a row 3 labels"),
        ({"kind": CLASSES}, "", "output size has no labels"),
        (LABELS["dict"], {"weight": "mse"}, "given for output 'weight'"),
        (LABELS["dict"], ["mse"], "2 outputs and 1 losses"),
        ({"kind": CLASSES + 9, "size": NUMBERS}, "", "output kind: the model has 3 outputs"),
    ],
)
def test_labels_or_losses_that_are_not_one_for_each_output(
    labels: Any, loss: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        prepared(two_inputs(outputs=2), Items([X, OTHER], labels), loss=loss)
    assert caught.value.hint


def test_rows_of_another_form_than_the_inputs_are_refused() -> None:
    with pytest.raises(FusionError, match="rows of 3 arrays"):
        prepared(two_inputs(), Items((X, X, X), CLASSES))


def test_weights_of_rows_are_used() -> None:
    weights = np.where(CLASSES == 0, 1.0, 0.0).astype(np.float32)
    adapter = prepared(sequential(layers.Dense(3)), Items(X, CLASSES, weights))
    weighted, plain = adapter.evaluate(Items(X, CLASSES, weights)), adapter.evaluate((X, CLASSES))
    only = adapter.evaluate((X[CLASSES == 0], CLASSES[CLASSES == 0]))
    share = float((CLASSES == 0).mean())
    assert weighted["loss"] == pytest.approx(only["loss"] * share, rel=1e-4)
    assert weighted["loss"] != pytest.approx(plain["loss"], rel=1e-2)
    fit(adapter, Items(X, CLASSES, weights), epochs=20, lr=0.5)
    output = np.asarray(keras.ops.convert_to_numpy(adapter.model(X)))
    assert (output.argmax(1) == 0).all()  # rows of other classes weigh nothing


class TwoTowers(keras.Model):
    """A subclass of two inputs and a dict of outputs, with a train_step of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = layers.Dense(4), layers.Dense(3)

    def call(self, x: Any) -> Any:
        return {"left": self.left(x["a"]), "right": self.right(x["b"])}


def test_a_subclass_with_dicts_is_built_and_trained() -> None:
    data = Items(FORMS["dict"], {"left": X, "right": CLASSES})
    adapter = prepared(TwoTowers(), data)
    before = adapter.evaluate(data)["loss"]
    fit(adapter, data, epochs=10)
    assert adapter.evaluate(data)["loss"] < before


def test_a_train_step_of_ones_own_is_used() -> None:
    class Doubling(Stepping):
        def train_step(self, data: Any) -> Any:
            return {**super().train_step(data), "loss": keras.ops.ones(())}

    adapter = checked(built(Doubling()))
    start = adapter.get_weights()
    assert fit(adapter, (X, CLASSES)).metrics["loss"] == 1
    assert any(not np.array_equal(start[name], a) for name, a in adapter.get_weights().items())


@on_tensorflow
def test_a_call_that_cannot_be_traced_is_run_as_it_was_compiled() -> None:
    class Counting(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.last(np.asarray(keras.ops.convert_to_numpy(x)) * 1.0)

    with pytest.raises(ModelError, match="Counting") as caught:
        checked(built(Counting()))
    assert "run_eagerly=True" in caught.value.hint
    model = built(Counting())
    model.compile("sgd", run_eagerly=True)
    assert np.isfinite(checked(model).evaluate((X, CLASSES))["loss"])


def test_metrics_of_compile_that_are_not_measured_are_named() -> None:
    model = sequential(layers.Dense(1))
    model.compile("sgd", "mse", metrics=["mae", keras.metrics.R2Score(), "cosine_similarity"])
    adapter = KerasModel(model)
    schema = DataSchema.of((X, NUMBERS))
    notes = adapter.check((X, NUMBERS), schema, lr=0.1, optimizer="sgd")
    assert any(note.startswith("metrics: r2_score, cosine_similarity of") for note in notes)


def test_a_model_that_loses_the_axis_of_one_row_is_refused() -> None:
    class Squeezing(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = layers.Dense(1)

        def call(self, x: Any) -> Any:
            out = keras.ops.reshape(self.last(x), (-1,))
            return keras.ops.sum(out) if out.shape[0] == 1 else out

    with pytest.raises(ModelError, match="but not one") as caught:
        checked(built(Squeezing()), NUMBERS[:, 0])
    assert "squeeze" in caught.value.hint


class TestFederated:
    @pytest.mark.parametrize("form", ["dict", "tuple"])
    def test_arrays_of_two_inputs(self, form: str) -> None:
        signs = (X[:, 0] > 0).astype(int)
        run = federate(two_inputs(), (FORMS[form], signs), parties=2, rounds=5, lr=0.1)
        assert run.history["loss"][-1] < run.history["loss"][0]

    def test_a_dataset_of_two_inputs_and_two_outputs(self) -> None:
        data = Items((X, OTHER[:, :4]), LABELS["dict"])
        run = federate(two_inputs(outputs=2), data, parties=2, rounds=2, lr=0.05)
        assert {"loss", "kind_accuracy", "size_mae"} <= set(run.history.last())
        assert [w.shape for w in run.model.get_weights()][-2:] in ([(6, 1), (1,)], [(6, 3), (3,)])

    def test_rows_that_are_dicts_with_a_label(self) -> None:
        class Dicts(Items):
            def __getitem__(self, row: int) -> Any:
                return {"image": X[row], "label": CLASSES[row]}

        plain = federate(sequential(layers.Dense(3)), (X, CLASSES), parties=2, rounds=1)
        dicts = federate(sequential(layers.Dense(3)), Dicts(), parties=2, rounds=1)
        assert dicts.history["loss"] == plain.history["loss"]

    def test_rows_with_weights(self) -> None:
        ones = np.ones(len(X), np.float32)
        plain = federate(sequential(layers.Dense(3)), (X, CLASSES), parties=2, rounds=1)
        weighted = federate(
            sequential(layers.Dense(3)), Items(X, CLASSES, ones), parties=2, rounds=1
        )
        assert weighted.history["loss"] == pytest.approx(plain.history["loss"], rel=1e-5)

    def test_an_ensemble_of_models_of_two_inputs_is_refused(self) -> None:
        with pytest.raises(OptionError, match="takes several inputs"):
            federate(two_inputs(), (FORMS["dict"], CLASSES), parties=2, rounds=1, ensemble="mean")

    def test_a_dict_of_labels_beside_arrays_says_what_to_write(self) -> None:
        with pytest.raises(DataError, match="labels are a dict of kind, size") as caught:
            federate(two_inputs(outputs=2), ((X, OTHER), LABELS["dict"]), rounds=1)
        assert "__getitem__" in caught.value.hint


def test_weights_of_layers_without_a_configuration_are_written(tmp_path: Any) -> None:
    class Silent(layers.Layer):
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function, self.inner = function, layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.function(self.inner(x))

    run = federate(sequential(Silent(lambda x: x)), (X, CLASSES), parties=2, rounds=1)
    (path,) = (p for p in run.export(str(tmp_path / "out"), "weights") if p.suffix == ".h5")
    model = sequential(Silent(lambda x: x))
    model.load_weights(path)
    pairs = zip(model.get_weights(), run.model.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
