"""The terms that fusions add to the gradients of a Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_samples import (
    ANCHOR,
    CLASSES,
    SHIFT,
    Aloof,
    Stepping,
    X,
    built,
    checked,
    fit,
    layers,
    linear,
    on_tensorflow,
    sequential,
)

from fusion_nb import federate
from fusion_nb.errors import ModelError
from fusion_nb.models.keras.adapter import keras

#: The options that a fusion may ask for, and what each is when it is written down.
TERMS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"mu": 0.7}, {"mu": 0.7, "anchor": "start"}),
    ({"mu": 0.7, "anchor": ANCHOR}, {"mu": 0.7, "anchor": ANCHOR}),
    ({"shift": SHIFT}, {"shift": SHIFT}),
    ({"shift": {"out/bias": SHIFT["out/bias"]}}, {"shift": {"out/bias": SHIFT["out/bias"]}}),
    ({"mu": 0.7, "anchor": ANCHOR, "shift": SHIFT}, {"mu": 0.7, "anchor": ANCHOR, "shift": SHIFT}),
]

POLICIES = [
    "mixed_float16",
    "bfloat16",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("mixed_bfloat16", "float64")),
]


def gradients(
    weights: Any, start: Any, *, mu: float = 0.0, anchor: Any = None, shift: Any = None
) -> Any:
    """Return the gradients of a linear model's cross-entropy, with a fusion's terms, in float64."""
    output = X @ weights["out/kernel"] + weights["out/bias"]
    likely = np.exp(output - output.max(1, keepdims=True))
    error = (likely / likely.sum(1, keepdims=True) - np.eye(3)[CLASSES]) / len(X)
    found = {"out/kernel": X.T @ error, "out/bias": error.sum(0)}
    anchor = start if isinstance(anchor, str) else anchor or weights
    return {
        name: g + mu * (weights[name] - anchor[name]) + (shift or {}).get(name, 0)
        for name, g in found.items()
    }


class TestGradientTerms:
    @pytest.mark.parametrize(("options", "terms"), TERMS)
    @pytest.mark.parametrize(
        ("momentum", "nesterov"),
        [(0.0, False), (0.9, True), pytest.param(0.9, False, marks=pytest.mark.slow)],
    )
    def test_sgd_with_terms_equals_the_written_formula(
        self, options: Any, terms: Any, momentum: float, nesterov: bool
    ) -> None:
        model = checked(linear())
        start = {name: array.astype(np.float64) for name, array in model.get_weights().items()}
        weights, velocity = start, dict.fromkeys(start, np.zeros(()))
        for _ in range(4):
            g = gradients(weights, start, **terms)
            velocity = {name: momentum * velocity[name] - 0.1 * g[name] for name in g}
            step = {n: momentum * v - 0.1 * g[n] if nesterov else v for n, v in velocity.items()}
            weights = {name: weights[name] + step[name] for name in step}
        optimizer = f"sgd:momentum={momentum},nesterov={str(nesterov).lower()}"
        fit(model, (X, CLASSES), epochs=4, batch_size=40, optimizer=optimizer, **options)
        for name, array in model.get_weights().items():
            assert array == pytest.approx(weights[name], abs=2e-6)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: keras.optimizers.Adam(0.1),
            *(
                pytest.param(make, marks=pytest.mark.slow)
                for make in (
                    lambda: keras.optimizers.Adadelta(0.1),
                    lambda: keras.optimizers.Ftrl(0.1),
                )
            ),
            lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.5),
            lambda: keras.optimizers.SGD(0.1, loss_scale_factor=64.0),
            lambda: keras.optimizers.AdamW(0.1, use_ema=True, ema_overwrite_frequency=2),
            lambda: keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
        ],
    )
    def test_every_optimizer_gets_gradient_plus_terms(self, make: Any) -> None:
        model, own = checked(linear()), make()
        start = model.get_weights()
        held = {
            name: keras.Variable(array, name=name.replace("/", "_"))
            for name, array in start.items()
        }
        for _ in range(4):
            now = {name: keras.ops.convert_to_numpy(variable) for name, variable in held.items()}
            given = gradients(now, start, mu=0.7, anchor=ANCHOR, shift=SHIFT)
            scaled = [
                keras.ops.convert_to_tensor(g * (own.loss_scale_factor or 1), "float32")
                for g in given.values()
            ]
            own.apply(scaled, [held[name] for name in given])
        fit(
            model,
            (X, CLASSES),
            epochs=4,
            batch_size=40,
            optimizer=make(),
            mu=0.7,
            anchor=ANCHOR,
            shift=SHIFT,
        )
        for name, array in model.get_weights().items():
            assert array == pytest.approx(keras.ops.convert_to_numpy(held[name]), abs=1e-5)

    def test_terms_without_a_value_change_no_bit(self) -> None:
        def trained(*rounds: dict[str, Any]) -> list[list[bytes]]:
            """Return the weights after each round of one model, always from the same weights."""
            model = checked(
                sequential(layers.Dropout(0.3), layers.BatchNormalization(), layers.Dense(3))
            )
            start, found = model.get_weights(), []
            for options in rounds:
                model.set_weights(start)
                fit(model, (X, CLASSES), epochs=2, optimizer="adam", **options)
                found.append([array.tobytes() for array in model.get_weights().values()])
            return found

        asked, none = {"mu": 0.5, "shift": sequential_shift()}, {"mu": 0.0, "anchor": None}
        plain, again, first = trained({}, none | {"shift": None}, asked)
        later, without, *_, last = trained(asked, {"mu": 0.0}, {"mu": 2.0}, asked)
        assert plain == again == without
        assert plain != first == later == last

    @on_tensorflow
    def test_new_values_of_terms_trace_nothing(self) -> None:
        traced = []

        class Spy(layers.Layer):
            def call(self, x: Any, training: bool = False) -> Any:
                traced.extend(["step"] if training else [])
                return x

        model = checked(keras.Sequential([layers.Input((4,)), Spy(), layers.Dense(3, name="out")]))
        asked: list[dict[str, Any]] = [
            {},
            {"mu": 0.1},
            {"mu": 0.2, "anchor": ANCHOR},
            {"shift": SHIFT},
        ]
        asked += [{"mu": 0.3, "shift": SHIFT}, {"shift": ANCHOR}]
        for options in asked:
            fit(model, (X, CLASSES), **options)
        before, variables = len(traced), len(model.model.optimizer.variables)
        for options in asked * 5:
            fit(model, (X, CLASSES), **options)
        assert len(traced) == before
        assert len(model.model.optimizer.variables) == variables

    def test_variables_of_terms_are_no_part_of_a_kept_optimizer(self) -> None:
        model, state = checked(linear(), keep_optimizer=True), {}
        fit(model, (X, CLASSES), optimizer="adam", state=state)
        count = len(state["optimizer"])
        assert len(model.model.optimizer.variables) == count, (
            "none are made before they are asked for"
        )
        fit(model, (X, CLASSES), optimizer="adam", state=state, mu=1.0, shift=SHIFT)
        assert len(state["optimizer"]) == count
        fit(model, (X, CLASSES), optimizer="adam", state=state, mu=1.0)
        assert len(model.native(model.get_weights()).optimizer.variables) == count

    @pytest.mark.parametrize("policy", POLICIES)
    def test_terms_are_not_multiplied_by_the_scale_of_the_loss(self, policy: str) -> None:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            model = checked(linear())
        finally:
            keras.config.set_dtype_policy(before)
        is_scaled = isinstance(model.model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert is_scaled == (policy == "mixed_float16")
        start = model.get_weights()

        def moved(**options: Any) -> Any:
            model.set_weights(start)
            assert (
                fit(
                    model, (X, CLASSES), batch_size=40, optimizer="sgd", lr=0.1, **options
                ).num_steps
                == 1
            )
            return model.get_weights()

        plain, shifted, held = moved(), moved(shift=SHIFT), moved(mu=0.7, anchor=ANCHOR)
        tolerance = 2e-2 if policy == "bfloat16" else 1e-4
        for name in start:
            assert shifted[name] - plain[name] == pytest.approx(-0.1 * SHIFT[name], abs=tolerance)
            assert held[name] - plain[name] == pytest.approx(
                -0.07 * (start[name] - ANCHOR[name]), abs=tolerance
            )

    def test_sparse_gradients_are_corrected_for_all_words(self) -> None:
        model = keras.Sequential(
            [layers.Input((5,)), layers.Embedding(9, 4, name="words"), layers.Flatten()]
        )
        model.add(layers.Dense(3))
        x = np.random.default_rng(0).integers(0, 5, (40, 5))
        adapter = checked(model, x=x)
        start = adapter.get_weights()
        fit(
            adapter,
            (x, CLASSES),
            batch_size=40,
            mu=0.5,
            anchor={n: np.zeros_like(w) for n, w in start.items()},
        )
        unused = adapter.get_weights()["words/embeddings"][5:]
        assert unused == pytest.approx(start["words/embeddings"][5:] * 0.95, abs=1e-6)

    def test_a_train_step_of_the_users_gets_the_terms(self) -> None:
        model = checked(built(Stepping()))
        start = model.get_weights()
        fit(model, (X, CLASSES), batch_size=40)
        plain = model.get_weights()
        model.set_weights(start)
        shift = {name: np.ones_like(array) for name, array in start.items()}
        assert fit(model, (X, CLASSES), batch_size=40, shift=shift).num_steps == 1
        for name, array in model.get_weights().items():
            assert array == pytest.approx(plain[name] - 0.1, abs=1e-6)

    def test_terms_with_a_train_step_that_avoids_the_optimizer_are_refused(self) -> None:
        model = checked(built(Aloof()))
        assert fit(model, (X, CLASSES)).num_steps == 5
        for _ in range(2):
            with pytest.raises(
                ModelError, match="own train_step changes weights without its optimizer's apply"
            ):
                fit(model, (X, CLASSES), mu=1.0)

    @pytest.mark.parametrize(
        "fusion",
        [
            "scaffold",  # whose terms are shifts; the others' are anchors, see TERMS
            *(
                pytest.param(f, marks=pytest.mark.slow)
                for f in ("fedprox:mu=1", "feddyn:alpha=0.5")
            ),
        ],
    )
    def test_fusions_with_gradient_terms_learn(self, fusion: str, rows: Any) -> None:
        def run(fusion: str) -> Any:
            options: dict[str, Any] = {
                "parties": 3,
                "split": "shards:per_party=1",
                "epochs": 3,
                "batch_size": 8,
            }
            return federate(
                linear(), (rows[0][:, :4], rows[1]), fusion=fusion, rounds=6, lr=0.05, **options
            )

        found, plain = run(fusion), run("fedavg")
        assert found.status == "finished"
        assert found.history["loss"][-1] < found.history["loss"][0] / 2
        if fusion.startswith(
            "fedprox"
        ):  # parties that are held near the fused model learn their own rows less
            held, free = found.history["train_loss"], plain.history["train_loss"]
            assert all(a > b for a, b in zip(held, free, strict=True))
        else:  # parties with one class each go astray less
            assert found.history["loss"][-1] < plain.history["loss"][-1] * 0.8
        assert found.model.predict(rows[0][:, :4], verbose=0).shape == (240, 3)


def sequential_shift() -> Any:
    names = checked(sequential(layers.Dropout(0.3), layers.BatchNormalization(), layers.Dense(3)))
    return {name: np.full_like(names.get_weights()[name], 0.1) for name in names.trained_names()}
