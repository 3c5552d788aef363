"""Each aggregation rule against a few lines of numpy that follow its paper, and against what it
promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusion_nb.algorithms.fusions import fda_monitors
from fusion_nb.core import arithmetic, documents, registry
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.types import Failure, Reply, Turn, Unchanged, Update, Weights
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import NameNotFoundError, OptionError, PartyError, Stopped
from fusion_nb.models.torch.adapter import TorchModel
from fusion_nb.runs.build import build
from fusion_nb.runs.spec import RunSpec

Rows = tuple[np.ndarray, np.ndarray]
START = np.array([0.5, -0.25, 0.1])


def some_rows(seed: int, count: int, optimum: list[float], scale: list[float]) -> Rows:
    """Rows of a linear regression whose loss has its minimum near an optimum, and is steep along a
    scale."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2)) * scale
    return x, x @ optimum + 0.1 * rng.normal(size=count)


#: Three parties of different sizes that want different things.
UNLIKE = [
    some_rows(1, 12, [1.0, -2.0], [1.0, 0.3]),
    some_rows(2, 20, [-1.0, 0.5], [0.4, 1.0]),
    some_rows(3, 8, [3.0, 1.0], [0.8, 0.8]),
]
SIZES = np.array([len(y) for _, y in UNLIKE])


def linear(start: np.ndarray = START) -> nn.Module:
    """A linear model in float64, so that it can be followed to the last digits."""
    module = nn.Linear(2, 1).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor(start[None, :2]))
        module.bias.copy_(torch.tensor(start[2:]))
    return module


def federation(
    fusion: str, rows: list[Rows] = UNLIKE, module: Any = None, engine: Any = None, **options: Any
) -> Federation:
    """A federation whose parties train on all their rows at once, so that an epoch is one step."""
    orders = {"epochs": 3, "batch_size": 10_000, "lr": 0.1, "optimizer": "sgd"}
    orders |= {name: options.pop(name) for name in [*orders, "steps"] if name in options}
    objective = mean_output if isinstance(module, Sum) else ""
    model = TorchModel(
        module or linear(), loss=objective, keep_optimizer=options.pop("keep_optimizer", False)
    )
    model.check(
        rows[0],
        np.concatenate([y for _, y in rows]),
        lr=orders["lr"],
        optimizer=orders["optimizer"],
    )
    parties = [Party(f"p{i}", own, own) for i, own in enumerate(rows)]
    rule = registry.create("fusions", fusion)
    return Federation(
        parties, model, rule, engine or LocalEngine(), orders, evaluate_every=1000, **options
    )


def mean_output(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return output.mean()


def after(num_rounds: int, made: Federation) -> np.ndarray:
    list(made.rounds(num_rounds))
    return flat(made.weights)


def flat(weights: Weights) -> np.ndarray:
    return np.concatenate([array.ravel() for array in weights.values()])


def named(vector: Any) -> Weights:
    return {"w": np.asarray(vector, dtype=np.float64)}


def gradient(w: np.ndarray, rows: Rows) -> np.ndarray:
    x = np.column_stack([rows[0], np.ones(len(rows[1]))])
    return 2 / len(x) * x.T @ (x @ w - rows[1])


def loss(w: np.ndarray, rows: Rows) -> float:
    return float(np.mean((rows[0] @ w[:2] + w[2] - rows[1]) ** 2))


def descend(
    w: np.ndarray,
    rows: Rows,
    steps: int = 3,
    momentum: float = 0.0,
    extra: Callable[..., Any] = lambda w: 0.0,
) -> np.ndarray:
    """SGD with lr 0.1 on all rows; `extra` is added to the gradient."""
    velocity = np.zeros_like(w)
    for _ in range(steps):
        velocity = momentum * velocity + gradient(w, rows) + extra(w)
        w = w - 0.1 * velocity
    return w


def close_to(expected: np.ndarray) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=1e-12)


def fused(
    name: str, rounds: list[list[np.ndarray]], sizes: list[int], extras: Any = None
) -> np.ndarray:
    """The weights after rounds of given changes: those of each party, by round."""
    rule = registry.create("fusions", name)
    weights = named([1.0, -1.0])
    state = rule.init(weights)
    for changes in rounds:
        updates = [
            Update(f"p{i}", named(weights["w"] + c), sizes[i], extras=extras or {})
            for i, c in enumerate(changes)
        ]
        weights, state = rule.fuse(weights, iter(updates), state)
    return weights["w"]


#: Changes of two parties in three rounds: some large, some tiny, some against each other.
CHANGES = [
    [np.array([0.3, -1e-4]), np.array([-0.1, 2e-4])],
    [np.array([0.2, 0.5]), np.array([0.4, 0.0])],
    [np.array([-0.6, 1e-5]), np.array([0.1, 0.0])],
]
SHARES = np.array([0.25, 0.75])


def mean_changes() -> list[np.ndarray]:
    return [SHARES @ np.array(changes) for changes in CHANGES]


class TestSteppingAtTheAggregator:
    """Hsu et al. 2019; Reddi et al. 2021, Algorithm 2."""

    def test_fedavgm(self) -> None:
        w, v = np.array([1.0, -1.0]), np.zeros(2)
        for delta in mean_changes():
            v = 0.6 * v + delta
            w = w + 0.5 * v
        assert fused("fedavgm:beta=0.6,lr=0.5", CHANGES, [10, 30]) == close_to(w)

    @pytest.mark.parametrize("name", ["fedadagrad", "fedadam", "fedyogi"])
    def test_adaptive(self, name: str) -> None:
        w, m, v, tau = np.array([1.0, -1.0]), np.zeros(2), np.full(2, 0.02**2), 0.02
        for delta in mean_changes():
            m = 0.7 * m + 0.3 * delta
            v = {
                "fedadagrad": v + delta**2,
                "fedadam": 0.8 * v + 0.2 * delta**2,
                "fedyogi": v - 0.2 * delta**2 * np.sign(v - delta**2),
            }[name]
            w = w + 0.05 * m / (np.sqrt(v) + tau)
        options = "lr=0.05,beta1=0.7,tau=0.02" + ("" if name == "fedadagrad" else ",beta2=0.8")
        assert fused(f"{name}:{options}", CHANGES, [10, 30]) == close_to(w)

    @pytest.mark.parametrize("fusion", ["fedadagrad:lr=0.3", "fedadam:lr=0.2", "fedyogi:lr=0.2"])
    def test_adaptive_rules_learn(self, fusion: str, rows: Any, net: Any) -> None:
        accuracy = [
            record.metrics["accuracy"] for record in built(rows, net(), fusion=fusion).rounds(10)
        ]
        assert accuracy[-1] > 0.9 > accuracy[0]


class TestLocalObjectives:
    def test_fedprox_holds_parties_at_mu(self) -> None:
        w = START
        for _ in range(2):
            trained = [descend(w, own, extra=lambda now, w=w: 0.7 * (now - w)) for own in UNLIKE]
            w = SIZES @ np.array(trained) / SIZES.sum()
        assert after(2, federation("fedprox:mu=0.7")) == close_to(w)

    def test_fedprox_in_batches_holds_parties_at_the_rounds_start(self) -> None:
        # All rows of a party are the same, so that it does not matter which of them a batch takes.
        alike = [(np.repeat(x[:1], 6, 0), np.repeat(y[:1], 6)) for x, y in UNLIKE]
        found = after(2, federation("fedprox:mu=0.7", alike, batch_size=2, epochs=2))
        assert found == close_to(after(2, federation("fedprox:mu=0.7", alike, epochs=6)))

    @pytest.mark.parametrize("momentum", [0.0, 0.8])
    def test_scaffold(self, momentum: float) -> None:
        """Option II of Karimireddy et al. 2020, with two of three parties in each round."""
        options = f"sgd:momentum={momentum}" if momentum else "sgd"
        made = federation("scaffold:lr=0.7", fraction=2 / 3, optimizer=options)
        x, c, own = START, np.zeros(3), np.zeros((3, 3))
        # K * lr, with K the sum of a step's powers of momentum where there is one
        travel = 0.1 * (3 - momentum * (1 - momentum**3) / (1 - momentum)) / (1 - momentum)
        for number in (1, 2, 3):
            cohort = [int(party[1]) for party in made.cohort(number)]
            y = {
                i: descend(x, UNLIKE[i], 3, momentum, lambda _, i=i, c=c: c - own[i])
                for i in cohort
            }
            renewed = {i: own[i] - c + (x - y[i]) / travel for i in cohort}
            x = x + 0.7 * np.mean([y[i] - x for i in cohort], axis=0)
            c = c + 2 / 3 * np.mean([renewed[i] - own[i] for i in cohort], axis=0)
            for i in cohort:
                own[i] = renewed[i]
        assert len({made.cohort(number) for number in (1, 2, 3)}) > 1
        assert after(3, made) == close_to(x)
        assert flat(made.state) == close_to(c)
        for i, party in enumerate(made.parties):
            assert flat(party.state["fusion"]["control"]) == close_to(own[i])

    def test_scaffolds_control_is_the_gradient_where_that_is_the_same_all_along(self) -> None:
        made = federation("scaffold", module=Sum(), optimizer="sgd:momentum=0.9,nesterov=True")
        list(made.rounds(2))
        for party, (x, _) in zip(made.parties, UNLIKE, strict=True):
            assert flat(party.state["fusion"]["control"]) == close_to(x.mean(0))

    def test_feddyn(self) -> None:
        """Algorithm 1 of Acar et al. 2021, with steps of gradient descent for its argmin."""
        made, alpha = federation("feddyn:alpha=0.4", fraction=2 / 3), 0.4
        w, h, own = START, np.zeros(3), np.zeros((3, 3))
        for number in (1, 2, 3):
            cohort = [int(party[1]) for party in made.cohort(number)]
            trained = {
                i: descend(w, UNLIKE[i], extra=lambda now, i=i, w=w: -own[i] + alpha * (now - w))
                for i in cohort
            }
            for i in cohort:
                own[i] -= alpha * (trained[i] - w)
            h = h - alpha / 3 * sum(trained[i] - w for i in cohort)
            w = np.mean([*trained.values()], axis=0) - h / alpha
        assert after(3, made) == close_to(w)
        assert flat(made.state) == close_to(h)
        for i, party in enumerate(made.parties):
            assert flat(party.state["fusion"]["gradient"]) == close_to(own[i])

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_fednova_counts_steps_by_how_far_they_travel(self, momentum: float) -> None:
        steps = [1, 4, 7]
        p = SIZES / SIZES.sum()
        # the coefficients a_i of Wang et al. 2020: 1 - momentum ** k over 1 - momentum
        a = np.array(
            [
                sum((1 - momentum**k) / (1 - momentum) for k in range(1, count + 1))
                for count in steps
            ]
        )
        w = START
        for _ in range(2):
            d = np.array(
                [
                    (w - descend(w, *pair, momentum)) / n
                    for *pair, n in zip(UNLIKE, steps, a, strict=True)
                ]
            )
            w = w - (p @ a) * (p @ d)
        optimizer = f"sgd:momentum={momentum}" if momentum else "sgd"
        made = federation("fednova", engine=Uneven(steps), optimizer=optimizer)
        assert after(2, made) == close_to(w)
        assert after(
            2, federation("fedavg", engine=Uneven(steps), optimizer=optimizer)
        ) != pytest.approx(w, abs=1e-3)

    @pytest.mark.parametrize("q", [0.0, 0.5, 2.0])
    def test_qfedavg(self, q: float) -> None:
        """Algorithm 2 of Li et al. 2020, with L = 1 / lr."""
        w, lipschitz = START, 1 / 0.1
        for _ in range(3):
            f = np.array([loss(w, own) for own in UNLIKE])
            dw = np.array([lipschitz * (w - descend(w, own)) for own in UNLIKE])
            h = q * f ** (q - 1) * (dw**2).sum(1) + lipschitz * f**q
            w = w - (f**q) @ dw / h.sum()
        assert after(3, federation(f"qfedavg:q={q}")) == close_to(w)

    @pytest.mark.parametrize(
        "options", ["", "momentum=0.9", "momentum=0.9,nesterov=True", "momentum=0.8,dampening=0.3"]
    )
    def test_travel_is_how_far_a_gradient_of_one_leads(self, options: str) -> None:
        ones = np.ones((4, 2)), np.zeros(4)
        model = TorchModel(Sum(), loss=mean_output)
        optimizer = f"sgd:{options}" if options else "sgd"
        model.check(ones, ones[1], lr=0.1, optimizer=optimizer)
        before = flat(model.get_weights())
        trained = model.fit(ones, epochs=5, batch_size=4, lr=0.1, optimizer=optimizer, seed=0)
        assert before - flat(model.get_weights()) == close_to(np.full(2, trained["travel"]))


class Sum(nn.Module):
    """A model that is the loss: its gradient is the mean of the rows wherever it is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, -0.25], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


class Uneven(LocalEngine):
    """An engine on which each party takes its own number of steps."""

    def __init__(self, steps: list[int]) -> None:
        super().__init__()
        self.each = {f"p{i}": {"steps": count} for i, count in enumerate(steps)}

    def run(self, verb: Any, cohort: Any, **orders: Any) -> Iterator[Reply]:
        return super().run(verb, cohort, **orders, **({"each": self.each} if verb == "fit" else {}))


def built(rows: Any, model: Any, **options: Any) -> Federation:
    defaults: dict[str, Any] = {"lr": 0.1, "epochs": 2}
    return build(RunSpec(data="data", **defaults | options), {"model": model, "data": rows})


def curve(records: Any) -> list[Any]:
    return [(record.metrics, record.party_metrics, record.silent) for record in records]


def run(
    rows: Any, net: Any, fusion: str, **options: Any
) -> tuple[list[Mapping[str, float]], Weights]:
    """The metrics of three rounds on a skewed split, and the weights they end with."""
    made = built(rows, net(), fusion=fusion, **{"split": "dirichlet:alpha=0.5", **options})
    return [record.metrics for record in made.rounds(3)], made.weights


class TestNothingAsked:
    """With these options a rule is another one."""

    @pytest.mark.parametrize(
        ("fusion", "plain"),
        [
            ("fedprox:mu=0", "fedavg"),
            ("fedavgm:beta=0,lr=1", "fedavg"),
            ("cmfl:threshold=0", "fedavg"),
            ("dynamic:threshold=0", "iter_avg"),
            ("dynamic:threshold=0,partial=false", "iter_avg"),
            ("fda:theta=0", "iter_avg"),
            ("fda:theta=0,monitor=naive", "iter_avg"),
        ],
    )
    def test_bit_for_bit(self, fusion: str, plain: str, rows: Any, net: Any) -> None:
        assert run(rows, net, fusion)[0] == run(rows, net, plain)[0]

    @pytest.mark.parametrize(
        ("fusion", "plain", "options"),
        [
            ("lag:xi=0", "fedavg", {}),
            ("qfedavg:q=0", "iter_avg", {}),
            ("fednova", "fedavg", {"split": "iid"}),
            ("fednova", "fedavg", {"local_steps": 3, "optimizer": "sgd:momentum=0.9"}),
        ],
    )
    def test_but_for_rounding(
        self, fusion: str, plain: str, options: Any, rows: Any, net: Any
    ) -> None:
        found, expected = run(rows, net, fusion, **options)[1], run(rows, net, plain, **options)[1]
        assert flat(found) == pytest.approx(flat(expected), abs=1e-6)

    def test_scaffolds_first_round_is_iter_avg(self, rows: Any, net: Any) -> None:
        found, expected = (run(rows, net, fusion)[0] for fusion in ("scaffold", "iter_avg"))
        assert found[0] == expected[0]
        assert found[1] != expected[1]

    def test_lag_without_patience_sends_always(self, rows: Any, net: Any) -> None:
        assert not any(record.silent for record in built(rows, net(), fusion="lag:xi=0").rounds(5))


def normed(count: int = 2) -> list[Rows]:
    """Parties of one size whose columns have very different spreads."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        y = np.arange(16) % 3
        rows.append(
            (
                (rng.normal(size=(16, 5)) * 5.0 ** (1 - 2 * i) + np.eye(3, 5)[y]).astype(
                    np.float32
                ),
                y,
            )
        )
    return rows


class Recording(LocalEngine):
    """An engine that keeps what parties sent in the last round."""

    def run(self, verb: Any, cohort: Any, **orders: Any) -> Iterator[Reply]:
        replies = list(super().run(verb, cohort, **orders))
        if verb == "fit":
            self.sent = [reply.weights for reply in replies if isinstance(reply, Update)]
        return iter(replies)


@pytest.mark.parametrize(
    "fusion",
    [
        *(
            "fedavgm:beta=0.9,lr=5",
            "fedadam:lr=3",
            "fedyogi:lr=3",
            "fedadagrad:lr=3",
            "fednova",
            "feddyn:alpha=0.01",
        ),
        *("scaffold:lr=4", "qfedavg:q=3", "lag:xi=0", "fedprox", "cmfl:threshold=0"),
    ],
)
def test_statistics_are_averaged_and_never_stepped(fusion: str) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3))
    engine = Recording()
    made = federation(fusion, normed(), module, engine)
    for number, _ in enumerate(made.rounds(3), 1):
        for name in ("0.running_mean", "0.running_var"):
            mean = np.mean([weights[name].astype(np.float64) for weights in engine.sent], axis=0)
            assert made.weights[name] == pytest.approx(mean, rel=1e-6)
        assert (made.weights["0.running_var"] > 0).all()
        assert made.weights["0.num_batches_tracked"] == 3 * number


#: Two parties that want opposite things in unlike ways: the mean of where each would go is not the
#: best for both.
OPPOSED = [some_rows(5, 20, [2.0, 0.0], [1.5, 0.3]), some_rows(6, 20, [-1.0, 1.0], [0.3, 1.0])]


def best_for_all(rows: list[Rows]) -> np.ndarray:
    """Where the mean of the parties' losses is smallest."""
    hessian = sum(
        2 / len(y) * np.column_stack([x, np.ones(len(y))]).T @ np.column_stack([x, np.ones(len(y))])
        for x, y in rows
    )
    return np.linalg.solve(hessian, -sum(gradient(np.zeros(3), own) for own in rows))


class TestUnlikeParties:
    @pytest.mark.parametrize(("fusion", "epochs"), [("scaffold", 10), ("feddyn:alpha=1", 12)])
    def test_corrected_parties_find_what_fedavg_misses(self, fusion: str, epochs: int) -> None:
        best = best_for_all(OPPOSED)
        assert after(25, federation(fusion, OPPOSED, epochs=epochs, lr=0.2)) == pytest.approx(
            best, abs=1e-4
        )
        astray = federation("fedavg", OPPOSED, epochs=epochs, lr=0.2)
        fixed = after(25, astray)
        assert np.linalg.norm(fixed - best) > 0.3
        assert after(1, astray) == pytest.approx(fixed, abs=1e-6), "it stays there"

    def test_qfedavg_narrows_the_spread_of_losses(self) -> None:
        crowd = [OPPOSED[0], OPPOSED[0], OPPOSED[0], OPPOSED[1]]

        def spread(q: float) -> tuple[float, float]:
            w = after(30, federation(f"qfedavg:q={q}", crowd, epochs=2, lr=0.2))
            losses = [loss(w, own) for own in crowd]
            return float(np.var(losses)), max(losses)

        (even, worst), (uneven, worse) = spread(3), spread(0)
        assert even < uneven / 2
        assert worst < worse


def report(party: int, drift: float) -> Unchanged:
    return Unchanged(f"p{party}", 10, drift**2)


def kept(party: str, place: float) -> Update:
    return Update(party, named([place]), 10)


#: Parties of `Sum`, whose loss has the mean row for its gradient: two pull against each other, two
#: stand still.
STANDING: list[Rows] = [(np.array([[g, 0.0]] * 4), np.zeros(4)) for g in (1.0, -1.0, 0.0, 0.0)]


class TestDynamic:
    """Algorithm 1 of Kamp et al. 2018, with parties on a line and the common weights at 0."""

    def settle(
        self, rule: Any, state: Any, places: list[float]
    ) -> tuple[float, float, list[str], Any]:
        """Return the common weights, where the asked go on from, who was asked, and the state."""
        asked, state = rule.asks([report(i, place) for i, place in enumerate(places)], state)
        read: list[str] = []

        def updates() -> Iterator[Update]:
            for party in asked:
                read.append(party)
                yield kept(party, places[int(party[1])])

        common, state = rule.fuse(named([0.0]), updates(), state)
        return float(common["w"][0]), float(rule.adopt(common, state)["w"][0]), read, state

    def rule(self, options: str = "") -> Any:
        rule = registry.create("fusions", f"dynamic:threshold=1{options}")
        return rule, rule.init(named([0.0]))

    def test_nobody_is_asked_where_nobody_drifted(self) -> None:
        rule, state = self.rule()
        common, _, read, _ = self.settle(rule, state, [1.0, -1.0, 0.5])
        assert (common, read) == (0.0, [])

    def test_those_who_balance_each_other_need_no_more(self) -> None:
        rule, state = self.rule()
        common, adopted, read, _ = self.settle(rule, state, [0.1, 2.0, 0.2, -1.5])
        assert (common, adopted, read) == (0.0, 0.25, ["p1", "p3"])

    def test_others_are_asked_one_by_one_until_the_mean_is_within(self) -> None:
        rule, state = self.rule()
        common, adopted, read, _ = self.settle(rule, state, [2.5, 0.5, 0.5, 0.5, 0.5])
        # 2.5 and 1.5 are too far, (2.5 + 0.5 + 0.5) / 3 too, (2.5 + 3 * 0.5) / 4 is not
        assert read[0] == "p0"
        assert (common, adopted, len(read)) == (0.0, 1.0, 4)

    def test_where_all_are_needed_their_mean_is_the_new_reference(self) -> None:
        rule, state = self.rule()
        common, adopted, read, _ = self.settle(rule, state, [9.0, 0.5, 0.5])
        assert common == adopted == pytest.approx(10 / 3)
        assert sorted(read) == ["p0", "p1", "p2"]

    def test_as_many_violations_as_parties_synchronise_all_and_start_anew(self) -> None:
        rule, state = self.rule()
        places = [2.0, -2.0, 0.3, 0.5]
        asked = []
        for _ in range(4):
            common, adopted, read, state = self.settle(rule, state, places)
            asked.append(len(read))
            assert (common, adopted) == ((0.0, 0.0) if len(read) == 2 else (0.2, 0.2))
        assert asked == [2, 4, 2, 4]

    def test_without_partial_it_is_always_all(self) -> None:
        rule, state = self.rule(",partial=false")
        common, adopted, read, _ = self.settle(rule, state, [0.1, 2.0, 0.2, -1.5])
        assert common == adopted == pytest.approx(0.2)
        assert len(read) == 4

    def test_distance_is_looked_at_every_few_rounds(self) -> None:
        found = [len(r.silent) for r in federation("dynamic:threshold=0,check_every=3").rounds(6)]
        assert found == [3, 3, 0, 3, 3, 0]

    def test_a_mean_of_some_leaves_the_reference_and_the_others(self) -> None:
        """A party that stands still is never asked while two others, in opposite places, balance
        each other."""
        made = federation("dynamic:threshold=1e-4", STANDING, Sum(), epochs=1)
        first, second = made.rounds(2)
        assert first.silent == ("p2", "p3")
        assert second.silent == ()

    def test_similar_parties_synchronise_less(self, rows: Any, net: Any) -> None:
        def synchronised(split: str) -> int:
            made = built(rows, net(), fusion="dynamic:threshold=0.1", split=split, parties=3)
            return sum(len(r.cohort) - len(r.silent) for r in made.rounds(10))

        assert 0 < synchronised("iid") < 0.6 * synchronised("shards:per_party=1")

    def test_a_threshold_out_of_reach_synchronises_never(self, rows: Any, net: Any) -> None:
        made = built(rows, net(), fusion="dynamic:threshold=1e9")
        assert not any(record.synchronised for record in made.rounds(4))
        assert arithmetic.equal(made.weights, made.initial)

    def test_steps_of_lone_parties_are_one_long_training(self) -> None:
        options: dict[str, Any] = {
            "keep_optimizer": True,
            "optimizer": "sgd:momentum=0.9",
            "steps": 1,
        }
        made = federation("dynamic:threshold=1e9", **options)
        list(made.rounds(6))
        for party, own in zip(made.parties, UNLIKE, strict=True):
            assert flat(party.state["fusion"]["weights"]) == close_to(
                descend(START, own, 6, momentum=0.9)
            )


def turn_of(
    weights: Weights,
    state: dict[str, Any],
    number: int = 1,
    trained: Weights | None = None,
) -> Turn:
    """A party's turn in which training leads to given weights."""

    def train(start: Weights, name: str = "", **options: Any) -> Any:
        return SimpleNamespace(weights=trained, metrics={}, num_steps=1, travel=0.1, extras={})

    return Turn("p", number, weights, {}, state, 10, 0, train, lambda w: {}, lambda w: {})


def variance(drifts: np.ndarray) -> float:
    """Mean squared distance from the mean."""
    return float(((drifts - drifts.mean(0)) ** 2).sum(1).mean())


def estimated(monitor: Any, drifts: np.ndarray, states: list[dict[str, Any]]) -> float:
    reports = [
        monitor.report(state, named(drift)) for state, drift in zip(states, drifts, strict=True)
    ]
    return monitor.estimate(sum(reports) / len(reports))


def shown(monitor: Any, state: dict[str, Any], number: int, common: Any) -> None:
    """Let a party see the common weights of a round."""
    monitor.renew(turn_of(named(common), state, number))


class TestMonitors:
    """Theologitis et al. 2025: what the aggregator is told is never less than the variance."""

    @pytest.fixture
    def drifts(self) -> Iterator[np.ndarray]:
        """Drifts of five parties, from all alike to all unlike."""
        rng = np.random.default_rng(0)
        return iter(
            [a * rng.normal(size=400) + rng.normal(size=(5, 400)) for a in np.linspace(0, 4, 100)]
        )

    def test_naive_and_linear_are_bounds(self, drifts: Iterator[np.ndarray]) -> None:
        naive, linear, rng = (
            fda_monitors.named("naive"),
            fda_monitors.named("linear"),
            np.random.default_rng(1),
        )
        for found in drifts:
            ways = rng.normal(size=400), found.mean(0) + 0.1 * rng.normal(size=400)
            for way in ways:
                states: list[dict[str, Any]] = [{} for _ in found]
                for state in states:
                    shown(linear, state, 1, np.zeros(400))
                    shown(linear, state, 2, way)
                assert variance(found) <= estimated(linear, found, states) * (1 + 1e-12)
                assert estimated(linear, found, states) <= estimated(naive, found, states)

    def test_naive_is_exact_without_a_common_direction(self) -> None:
        apart = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
        assert estimated(fda_monitors.named("naive"), apart, [{}] * 4) == pytest.approx(
            variance(apart)
        )

    def test_linear_is_exact_where_the_mean_goes_on_as_before(self) -> None:
        monitor, rng = fda_monitors.named("linear"), np.random.default_rng(2)
        found = rng.normal(size=(5, 30))
        states: list[dict[str, Any]] = [{} for _ in found]
        for state in states:
            shown(monitor, state, 1, np.ones(30))
            shown(monitor, state, 2, np.ones(30) + 7 * found.mean(0))
        assert estimated(monitor, found, states) == pytest.approx(variance(found))

    def test_linear_keeps_its_direction_while_nothing_is_synchronised(self) -> None:
        monitor, state = fda_monitors.named("linear"), {}
        for number, common in enumerate([[0.0, 0.0], [0.0, 2.0], [0.0, 2.0]], 1):
            shown(monitor, state, number, common)
        assert monitor.report(state, named([3.0, 4.0])).tolist() == [25.0, 4.0]

    def test_linear_is_a_bound_where_a_party_missed_a_synchronisation(self) -> None:
        monitor = fda_monitors.named("linear")
        there: dict[str, Any] = {}
        away: dict[str, Any] = {}
        for number, common in enumerate([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], 1):
            shown(monitor, there, number, common)
            if number != 2:
                shown(monitor, away, number, common)
        # Each along what would be its own direction: from the two the mean would seem to go as far
        # as they do.
        found = np.array([[0.0, 1.0], [0.5**0.5, 0.5**0.5]])
        assert estimated(monitor, found, [there, away]) >= variance(found) > 0.1
        for state in (there, away):
            shown(monitor, state, 4, [1.0, 2.0])
        assert estimated(monitor, found, [there, away]) == pytest.approx(
            1 - found[:, 1].mean() ** 2
        )

    def test_sketch_is_a_bound_but_for_its_epsilon(self, drifts: Iterator[np.ndarray]) -> None:
        monitor = fda_monitors.named("sketch")
        below = []
        for found in drifts:
            estimate, length = (
                estimated(monitor, found, [{}] * len(found)),
                float((found.mean(0) ** 2).sum()),
            )
            # By far less than with no picture of the mean: within epsilon twice, and what a sketch
            # errs by.
            assert abs(estimate - variance(found)) <= 0.3 * length
            below.append(estimate < variance(found))
        assert np.mean(below) < 0.2

    def test_the_mean_of_sketches_is_the_sketch_of_the_mean(
        self, drifts: Iterator[np.ndarray]
    ) -> None:
        monitor, found = fda_monitors.named("sketch"), next(drifts)
        reports = [monitor.report({}, named(drift)) for drift in found]
        assert np.mean(reports, axis=0)[1:] == close_to(
            monitor.report({}, named(found.mean(0)))[1:]
        )


class TestFDA:
    @pytest.mark.parametrize("monitor", ["naive", "linear", "sketch"])
    def test_the_variance_stays_below_theta(self, monitor: str) -> None:
        made = federation(f"fda:theta=0.05,monitor={monitor}", epochs=1)
        synchronised = []
        for record in made.rounds(25):
            places = np.array([flat(party.state["fusion"]["weights"]) for party in made.parties])
            assert variance(places) <= 0.05
            synchronised.append(record.synchronised)
        assert 0 < sum(synchronised) < 25

    def test_all_go_on_from_the_mean(self) -> None:
        made = federation("fda:theta=0", epochs=1)
        mean = np.mean([descend(START, own, 1) for own in UNLIKE], axis=0)
        assert after(1, made) == close_to(mean)
        for party in made.parties:
            assert flat(party.state["fusion"]["weights"]) == close_to(mean)


class TestLAG:
    def test_as_in_the_paper(self) -> None:
        """LAG-WK of Chen et al. 2018 with steps of gradient descent, whose mean is followed."""
        made = federation("lag:xi=0.1,memory=3", epochs=1)
        w, sent, moves = START, np.zeros((3, 3)), [0.0]
        for record in made.rounds(12):
            change = [descend(w, own, 1) - w for own in UNLIKE]
            far = [float(((change[i] - sent[i]) ** 2).sum()) for i in range(3)]
            silent = [i for i in range(3) if record.round > 1 and far[i] <= 0.1 * sum(moves[-3:])]
            assert record.silent == tuple(f"p{i}" for i in silent)
            sent = np.array([sent[i] if i in silent else change[i] for i in range(3)])
            step = SIZES @ sent / SIZES.sum()
            w, moves = w + step, [*moves, float(step @ step)]
            assert flat(made.weights) == close_to(w)
        assert 0 < sum(len(record.silent) for record in made.history) < 30

    def test_lazy_parties_find_the_optimum(self) -> None:
        made = federation("lag:xi=0.1", epochs=1, lr=0.3)
        pooled = np.concatenate([x for x, _ in UNLIKE]), np.concatenate([y for _, y in UNLIKE])
        best = best_for_all([pooled])
        assert after(100, made) == pytest.approx(best, abs=1e-5)
        assert sum(len(record.silent) for record in made.history) > 0.7 * 3 * 100

    def test_statistics_are_no_news(self) -> None:
        rule = registry.create("fusions", "lag:xi=0.1")
        rule.meet(num_parties=1, trained=frozenset({"w"}), model=None)
        state: dict[str, Any] = {}
        answers = []
        for number in range(1, 4):
            weights = named([float(number)]) | {"mean": np.array([100.0 * number])}
            trained = named([number + 1.0]) | {"mean": np.array([(-10.0) ** number])}
            answers.append(rule.train(turn_of(weights, state, number, trained)))
        assert [type(answer) for answer in answers] == [Update, Unchanged, Unchanged]

    def test_moves_of_statistics_are_no_reason_for_silence(self) -> None:
        rule = registry.create("fusions", "lag:xi=0.1")
        rule.meet(num_parties=1, trained=frozenset({"w"}), model=None)
        state: dict[str, Any] = {}
        for number in (1, 2):
            weights = named([float(number)]) | {"mean": np.array([100.0 * number])}
            trained = named([number + 2.0 * number]) | {"mean": weights["mean"]}
            assert isinstance(rule.train(turn_of(weights, state, number, trained)), Update)


class TestCMFL:
    @pytest.mark.parametrize("decay", [False, True])
    def test_as_in_the_paper(self, decay: bool) -> None:
        """Wang et al. 2019: at least a share of the signs must be those of the fused model's last
        change."""
        made = federation(f"cmfl:threshold=0.9,decay={str(decay).lower()}", epochs=1)
        w, way = START, None
        for record in made.rounds(12):
            trained = [descend(w, own, 1) for own in UNLIKE]
            least = 0.9 / (record.round**0.5 if decay else 1)
            sends = [
                way is None or np.mean(np.sign(y - w) == np.sign(way)) >= least for y in trained
            ]
            assert record.silent == tuple(f"p{i}" for i in range(3) if not sends[i])
            if any(sends):
                n = SIZES * sends
                fused = n @ np.array(trained) / n.sum()
                w, way = fused, fused - w
            assert flat(made.weights) == close_to(w)
        assert 0 < sum(len(record.silent) for record in made.history) < 36

    def test_what_is_frozen_or_a_statistic_is_not_counted(self) -> None:
        rule = registry.create("fusions", "cmfl:threshold=0.5")
        rule.meet(num_parties=1, trained=frozenset({"w"}), model=None)
        state: dict[str, Any] = {}
        still = {"frozen": np.ones(50), "mean": np.ones(9)}
        first, second = named([0.0, 0.0, 0.0]) | still, named([1.0, 1.0, 1.0]) | still
        rule.train(turn_of(first, state, 1, second))
        opposite = named([0.0, 0.0, 2.0]) | still | {"mean": np.full(9, 2.0)}
        answer = rule.train(turn_of(second, state, 2, opposite))
        assert isinstance(answer, Unchanged)
        assert answer.divergence == pytest.approx(2 / 3)


#: The net of the fixture in bytes: 5 * 8 + 8 + 8 * 3 + 3 float32.
NET = 4 * 75


class TestBytes:
    """What travels, counted by hand: four parties, and a net of 300 bytes."""

    def travelled(self, rows: Any, net: Any, fusion: str) -> list[tuple[int, int, int, int]]:
        records = [*built(rows, net(), fusion=fusion).rounds(3)]
        return [(len(r.silent), r.bytes_up, r.bytes_down, r.bytes_fedavg) for r in records]

    @pytest.mark.parametrize(
        "fusion", ["dynamic:threshold=0", "lag:xi=0", "cmfl:threshold=0", "fedprox", "fedadam"]
    )
    def test_what_sends_always_sends_as_much_as_fedavg(
        self, fusion: str, rows: Any, net: Any
    ) -> None:
        first, *rest = self.travelled(rows, net, fusion)
        # Parties that train on their own are given the first weights once more, beside the new
        # common ones.
        twice = 2 if fusion.startswith("dynamic") else 1
        assert first == (0, 4 * NET, twice * 4 * NET, 8 * NET)
        assert rest == [(0, 4 * NET, 4 * NET, 8 * NET)] * 2

    def test_nothing_travels_where_nobody_drifts(self, rows: Any, net: Any) -> None:
        first, *rest = self.travelled(rows, net, "dynamic:threshold=1e9")
        assert first == (4, 0, 4 * NET, 8 * NET)
        assert rest == [(4, 0, 0, 8 * NET)] * 2

    @pytest.mark.parametrize(
        ("monitor", "numbers"), [("naive", 1), ("linear", 2), ("sketch", 1 + 5 * 250)]
    )
    def test_a_monitor_costs_a_few_numbers(
        self, monitor: str, numbers: int, rows: Any, net: Any
    ) -> None:
        first, *rest = self.travelled(rows, net, f"fda:theta=1e9,monitor={monitor}")
        assert first == (4, 4 * numbers * 8, 4 * NET, 8 * NET)
        assert rest == [(4, 4 * numbers * 8, 0, 8 * NET)] * 2
        _, *rest = self.travelled(rows, net, f"fda:theta=0,monitor={monitor}")
        assert rest == [(0, 4 * (numbers * 8 + NET), 4 * NET, 8 * NET)] * 2

    def test_scaffold_sends_as_much_again(self, rows: Any, net: Any) -> None:
        assert self.travelled(rows, net, "scaffold") == [(0, 8 * NET, 8 * NET, 8 * NET)] * 3

    def test_a_number_beside_the_weights(self, rows: Any, net: Any) -> None:
        assert self.travelled(rows, net, "fednova") == [(0, 4 * (NET + 8), 4 * NET, 8 * NET)] * 3
        assert self.travelled(rows, net, "qfedavg") == [(0, 4 * (NET + 16), 4 * NET, 8 * NET)] * 3

    def test_balancing_moves_the_weights_of_some(self) -> None:
        first, second = federation("dynamic:threshold=1e-4", STANDING, Sum(), epochs=1).rounds(2)
        size = 2 * 8
        assert (first.bytes_up, first.bytes_down) == (2 * size, (4 + 2) * size)
        assert (second.bytes_up, second.bytes_down) == (4 * size, 4 * size)

    def test_a_silent_party_of_lag_sends_nothing(self) -> None:
        for record in federation("lag:xi=0.3,memory=3", epochs=1).rounds(8):
            assert record.bytes_up == (3 - len(record.silent)) * 3 * 8
            assert record.bytes_down == 3 * 3 * 8


#: Rules that keep something between rounds, so that some rounds of each synchronise and others do
#: not.
REMEMBERING = [
    *(
        "scaffold",
        "feddyn:alpha=0.1",
        "fedavgm",
        "fedadam",
        "fedyogi",
        "fedadagrad",
        "lag:xi=0.1",
        "cmfl:threshold=0.6",
    ),
    *("dynamic:threshold=0.3", "fda:theta=0.2", "fda:theta=0.2,monitor=sketch"),
]


@pytest.mark.parametrize("fusion", REMEMBERING)
class TestRoundsAreWhole:
    @pytest.fixture
    def make(self, fusion: str, rows: Any, net: Any) -> Callable[[], Federation]:
        options: dict[str, Any] = {"split": "dirichlet:alpha=0.3", "seed": 1}
        return lambda: built(rows, net(), fusion=fusion, **options)

    def test_going_on_is_as_without_a_break(self, make: Any, fusion: str) -> None:
        whole, parts = make(), make()
        expected = curve(whole.rounds(6))
        found = curve(parts.rounds(3))
        parts.close()
        assert found + curve(parts.rounds(3)) == expected
        if fusion.startswith(("lag", "cmfl", "dynamic", "fda")):
            assert len({silent for _, _, silent in expected}) > 1, "some rounds are unlike others"

    def test_a_round_that_fails_is_asked_again_from_where_it_was(self, make: Any) -> None:
        whole, broken = make(), make()
        expected = curve(whole.rounds(4))
        found = curve(broken.rounds(2))
        last = broken.parties[-1]
        answer, last.answer = last.answer, lambda *verb, **orders: Failure(last.id, "is away")
        with pytest.raises(PartyError):
            list(broken.rounds(1))
        last.answer = answer
        assert found + curve(broken.rounds(2)) == expected

    def test_a_round_that_is_stopped_at_its_very_end_too(self, make: Any) -> None:
        whole, broken = make(), make()
        expected = curve(whole.rounds(4))
        found = curve(broken.rounds(2))

        def stop() -> None:
            raise Stopped

        broken.gate = stop  # the engine has the gate of before, and only the loop sees this one
        with pytest.raises(Stopped):
            list(broken.rounds(1))
        broken.gate = lambda: None
        assert found + curve(broken.rounds(2)) == expected


class TestRefusedBeforeTraining:
    @pytest.mark.parametrize("fusion", ["dynamic", "fda", "lag"])
    def test_a_fraction_where_all_must_take_part(self, fusion: str, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match=f"with {fusion} all parties take part"):
            built(rows, net(), fusion=fusion, fraction=0.5)

    @pytest.mark.parametrize("optimizer", ["adam", "torch.optim.RMSprop"])
    def test_scaffold_without_sgd(self, optimizer: str, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match="scaffold needs plain SGD"):
            built(rows, net(), fusion="scaffold", optimizer=optimizer)

    @pytest.mark.parametrize(
        ("fusion", "problem"),
        [
            ("fedprox:nu=1", "nu"),
            ("feddyn:alpha=0", "alpha"),
            ("fedavgm:beta=1", "beta"),
            ("fedadam:tau=0", "tau"),
            ("lag:memory=0", "memory"),
            ("cmfl:threshold=1.5", "threshold"),
            ("dynamic:partial=perhaps", "partial"),
            ("qfedavg:q=-1", "q"),
            ("fda:monitor=skech", "did you mean.*sketch"),
        ],
    )
    def test_options(self, fusion: str, problem: str, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match=problem):
            built(rows, net(), fusion=fusion)

    def test_a_typo(self, rows: Any, net: Any) -> None:
        with pytest.raises(NameNotFoundError, match="scaffold"):
            built(rows, net(), fusion="scafold")

    @pytest.fixture
    def texts(self) -> Any:
        rng = np.random.default_rng(0)
        words = [tuple(f"w{number}" for number in rng.integers(0, 20, 15)) for _ in range(30)]
        rows = documents.array(
            [documents.Document(text, (f"tag {i}",)) for i, text in enumerate(words)]
        )
        return rows, np.arange(30) % 3

    def doc2vec(self, texts: Any, fusion: str) -> Federation:
        from gensim.models.doc2vec import Doc2Vec

        spec = RunSpec(data="data", fusion=fusion, parties=3)
        return build(
            spec, {"model": Doc2Vec(vector_size=6, min_count=1, epochs=3), "data": (texts, texts)}
        )

    @pytest.mark.parametrize(
        ("fusion", "asked"), [("fedprox", "mu"), ("scaffold", "shift"), ("feddyn", "mu, shift")]
    )
    def test_a_model_that_can_not_be_corrected(self, fusion: str, asked: str, texts: Any) -> None:
        with pytest.raises(OptionError, match=f"asks every party for {asked}, which a"):
            self.doc2vec(texts, fusion)

    @pytest.mark.parametrize("fusion", ["fednova", "qfedavg"])
    def test_a_model_that_does_not_tell_its_steps_says_so(self, fusion: str, texts: Any) -> None:
        with pytest.raises(OptionError, match="needs to know the steps of local training"):
            list(self.doc2vec(texts, fusion).rounds(1))
