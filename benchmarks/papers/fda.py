"""How often parties must synchronise until the test accuracy is 98 % when they do so only once they
have drifted apart.

Theologitis, Frangias, Anestis, Samoladas, Deligiannakis, "Communication-Efficient Distributed Deep
Learning via Federated Dynamic Averaging", EDBT 2025, for LeNet-5 on MNIST with 5 workers; the
condition of Kamp, Adilova, Sicking, Huger, Schlicht, Wirtz, Wrobel, "Efficient Decentralized Deep
Learning by Dynamic Model Averaging", ECML PKDD 2018, beside it.
Synchronisations: naive variance with theta 3: 29, theta 10: 11; largest distance 3: 35; in every
step: 2,250.

5 parties with IID rows, batch 32, one step a round, bytes / 255; Adam with lr 1e-3 and Keras's
epsilon 1e-7, whose state a party keeps; first weights as Keras draws them (Glorot uniform). The
test set is looked at after each epoch (375 steps), as there: 2,250 steps are 6 epochs.
Where we differ: the accuracy is that of the weights of the last synchronisation, and no mean is
made for the sake of measuring. A party draws each batch anew from all its rows, and does not go
through them in turn.
"""

from __future__ import annotations

import functools

from torch import nn

from benchmarks.papers.common import Figure, Row, Setup, main, reached, seeded
from fusion_nb import federate

GOAL, EPOCH, MOST_EPOCHS = 0.98, 375, 20
#: case -> (fusion, synchronisations as published)
FUSIONS = {
    "naive3": ("fda:theta=3,monitor=naive", 29),
    "naive10": ("fda:theta=10,monitor=naive", 11),
    "maximum3": ("dynamic:threshold=3,partial=false", 35),
    "every": ("iter_avg", 2250),
    "linear3": ("fda:theta=3,monitor=linear", None),
    "sketch3": ("fda:theta=3,monitor=sketch", None),
}


def lenet5() -> nn.Module:
    """Return LeNet-5 with hyperbolic tangents and mean pooling, of 61,706 weights."""
    model = nn.Sequential(
        *(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
        ),
        *(
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.Tanh(),
            nn.Linear(120, 84),
            nn.Tanh(),
            nn.Linear(84, 10),
        ),
    )
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def case(name: str, setup: Setup) -> Row:
    """Return how many rounds had weights sent until the goal was reached."""
    fusion, published = FUSIONS[name]
    rounds, look, goal = (20, 10, 0.2) if setup.quick else (MOST_EPOCHS * EPOCH, EPOCH, GOAL)
    run = federate(
        *(seeded(lenet5, setup.seed), (setup.train, setup.test)),
        **{
            "fusion": fusion,
            "split": "iid",
            "parties": 5,
            "holdout": 0.0,
            "rounds": rounds,
            "local_steps": 1,
        },
        **{
            "batch_size": 32,
            "optimizer": "adam:eps=1e-7",
            "lr": 1e-3,
            "keep_optimizer": True,
            "seed": setup.seed,
        },
        **{"evaluate_every": look, "until": f"accuracy >= {goal}"},
    )
    step = reached(run, goal)
    count = sum(len(record.silent) < len(record.cohort) for record in run.history)
    low, high = (round(share * (published or 0)) for share in (0.65, 1.35))
    return Row(
        f"Theologitis et al. 2025, LeNet-5, {fusion}: synchronisations until {goal:.0%}",
        f"{published or '–'}",
        (Figure(count if step else None, ",.0f"), Figure(len(run.history), ",.0f", " steps")),
        f"{low} to {high}" if published else "–",
        bool(step) and low <= count <= high if published else None,
    )


CASES = {name: functools.partial(case, name) for name in FUSIONS}

if __name__ == "__main__":
    main(__doc__, CASES)
