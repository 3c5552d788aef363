"""Few rows, and BatchNormalization, on `$FUSION_NB_DATA/mnist.npz`: `python -m benchmarks.mnist
[CASE ...]`.

cnn:    the CNN of PyTorch's MNIST example over 2 parties of 500 rows, beside each party alone;
        three seeds
keras:  the same CNN in Keras over the same parties; and a network with BatchNormalization over 5
        uneven parties
`--quick` runs a small version of each in seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from fusion_nb import federate, split
from fusion_nb.data.image_datasets import Mnist

Arrays = tuple[np.ndarray, np.ndarray]


def cnn_model(seed: int) -> nn.Module:
    """Return the CNN of PyTorch's MNIST example, with weights that depend on the seed alone."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout2d(0.25),
        ),
        *(
            nn.Flatten(),
            nn.Linear(9216, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 10),
            nn.LogSoftmax(dim=1),
        ),
    )


def cnn(train: Arrays, test: Arrays, quick: bool) -> None:
    """Print the accuracy of the fused CNN and of each party alone, for three seeds."""
    rounds, epochs = (1, 1) if quick else (5, 3)
    options = {"optimizer": "optim.Adadelta", "lr": 1.0, "holdout": 0.0}
    print(f"cnn: 2 parties x 500 rows, {rounds} rounds x {epochs} epochs, batch 32, Adadelta lr 1")
    for seed in range(1 if quick else 3):
        rows = np.random.default_rng(seed).choice(len(train[0]), 1000, replace=False)
        halves = [(train[0][part], train[1][part]) for part in np.split(rows, 2)]
        pool = ((train[0][rows], train[1][rows]), test)
        # The halves are divided here, so that "alone" trains on exactly the rows that the party
        # has.
        fused = federate(
            cnn_model(seed),
            pool,
            split="by_half",
            parties=2,
            rounds=rounds,
            epochs=epochs,
            seed=seed,
            **options,
        )
        alone = [
            federate(
                cnn_model(seed),
                (half, test),
                parties=1,
                rounds=1,
                epochs=rounds * epochs,
                seed=seed,
                **options,
            )
            for half in halves
        ]
        values = [run.history["accuracy"][-1] for run in alone]
        fused_accuracy = fused.history["accuracy"][-1]
        print(
            f"  seed {seed}: fused {fused_accuracy:.4f}, alone {values[0]:.4f} and "
            f"{values[1]:.4f}, "
            f"fused beats both: {fused_accuracy > max(values)}",
            flush=True,
        )


def keras_models(train: Arrays, test: Arrays, quick: bool) -> None:
    """Print the accuracy of the fused CNN in Keras for three seeds, and of a network with
    BatchNormalization.
    """
    from fusion_nb.models.keras.adapter import KerasModel, keras

    layers = keras.layers
    rounds, epochs = (1, 1) if quick else (5, 3)
    backend = keras.backend.backend()
    print(
        f"keras: 2 parties x 500 rows, {rounds} rounds x {epochs} epochs, batch 32, Adadelta lr "
        f"1, on {backend}"
    )
    for seed in range(1 if quick else 3):
        with KerasModel.seeded(seed):
            model = keras.Sequential(
                [
                    *(layers.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu")),
                    *(
                        layers.Conv2D(64, 3, activation="relu"),
                        layers.MaxPooling2D(2),
                        layers.SpatialDropout2D(0.25),
                    ),
                    *(layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dropout(0.5)),
                    layers.Dense(10, activation="softmax"),
                ]
            )
        rows = np.random.default_rng(seed).choice(len(train[0]), 1000, replace=False)
        pool = ((train[0][rows], train[1][rows]), test)
        options = {"optimizer": "Adadelta", "lr": 1.0, "holdout": 0.0, "seed": seed}
        run = federate(
            model, pool, split="by_half", parties=2, rounds=rounds, epochs=epochs, **options
        )
        print(f"  seed {seed}: fused {run.history['accuracy'][-1]:.4f}", flush=True)
    with KerasModel.seeded(0):
        model = keras.Sequential(
            [
                *(
                    layers.Input((28, 28, 1)),
                    layers.Conv2D(16, 3, strides=2),
                    layers.BatchNormalization(momentum=0.9),
                    layers.ReLU(),
                ),
                *(
                    layers.Conv2D(32, 3, strides=2),
                    layers.BatchNormalization(momentum=0.9),
                    layers.ReLU(),
                ),
                *(layers.Flatten(), layers.Dense(10)),
            ]
        )
    rows = np.random.default_rng(0).choice(len(train[0]), min(5000, len(train[0])), replace=False)
    options = {
        "split": "dirichlet:alpha=0.3",
        "parties": 5,
        "holdout": 0.0,
        "optimizer": "adam",
        "lr": 0.002,
    }
    run = federate(
        model, ((train[0][rows], train[1][rows]), test), rounds=2 if quick else 10, **options
    )
    print(
        "  BatchNormalization, 5 parties, dirichlet 0.3, 5,000 rows: "
        f"{_by_round(run.history['accuracy'])}",
        flush=True,
    )


def _by_round(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


@split
def by_half(labels: np.ndarray, num_parties: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Give each party the rows as they come."""
    return np.array_split(np.arange(len(labels)), num_parties)


def main(arguments: list[str] | None = None) -> None:
    """Run the cases that were named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", choices=["cnn", "keras", []])
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(arguments)
    train, test = Mnist().get_data()
    assert test is not None
    if given.quick:
        train, test = (train[0][:1000], train[1][:1000]), (test[0][:500], test[1][:500])
    cases: dict[str, Callable[[], None]] = {
        "cnn": lambda: cnn(train, test, given.quick),
        "keras": lambda: keras_models(train, test, given.quick),
    }
    for name in given.cases or cases:
        cases[name]()


if __name__ == "__main__":
    main()
