"""A base of rules that make another rule private and count what that leaves open."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.algorithms.privacy.accounting import smallest_noise
from fusion_nb.algorithms.privacy.cohorts import PrivateCohorts
from fusion_nb.algorithms.privacy.ledger import Ledger
from fusion_nb.algorithms.privacy.noise_stream import STREAM, number_of
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import FederationInfo, Metrics, Weights
from fusion_nb.errors import OptionError, RunError, option

#: Options of all kinds of privacy.
Clip = Annotated[
    float,
    Field(description="largest norm of a party's change; under rows, of a row's gradient", gt=0),
]
Noise = Annotated[
    str,
    Field(
        description="noise as a multiple of the clip; auto:epsilon=8 finds the least for all rounds"
    ),
]
Delta = Annotated[float, Field(description="chance that epsilon does not hold", gt=0, lt=1)]
Budget = Annotated[float, Field(description="epsilon that no round may exceed; 0: no limit", ge=0)]

_NOT_COVERED = (
    "privacy does not cover: metrics that parties report (losses, accuracies; see --report), their "
    "numbers of rows, all that parties agreed on before round 1 (form of rows, classes, words, a "
    "table's statistics, weights of classes), and any choice of options by looking at results"
)
_SEEDED = (
    "privacy: the noise follows from the run's seed, options, rows and first weights, so that the "
    "run can be repeated, and a run that differs in one of them has other noise: a person who "
    "knows them can take it off again, so never tell the seed of a model that you give away. Two "
    "models that you give away need two seeds where their runs differ only by the model's code or "
    "by changes on the way{cohorts}"
)
_COHORTS = ", and where cohorts are drawn in secret, which follow from the seed alone"
_SECRET = (
    "privacy: the noise follows from no seed, since parties know that of the run: a run that is "
    "repeated has another curve"
)


@dataclass(frozen=True)
class PrivateRun:
    """The facts about a run that a private rule is made with.

    name: of the rule inside, as the user wrote it;  rounds: that are planned
    batches: by party the chance of a row in a step, and the steps of a round
    is_secret: the noise follows from no seed, since parties on other machines know that of the run
    identity:  a digest of its options and rows, from which the noise follows beside the seed; ""
               where the seed alone decides it
    """

    name: str
    cohorts: PrivateCohorts
    rounds: int
    batches: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    is_secret: bool = False
    identity: str = ""


class PrivateFusion(FusionWrapper):
    """Makes another rule private. A subclass says how, and what each round adds to the ledger.

    Its state is the inner rule's, the ledger, the number of rounds, and the number of the stream
    that noise is drawn from, beside the seed (see `noise_stream`). `noise` is in multiples of the
    clip.
    """

    #: The kind, as the option `privacy` names it.
    kind: str
    #: Noise, as a multiple of the sensitivity, that noise 1 is.
    noise_scale: float = 1.0
    #: Whether parties are sent a clip in each round.
    sends_clip: bool = False

    def __init__(
        self,
        inner: Fusion,
        run: PrivateRun,
        *,
        clip: Clip,
        noise: Noise,
        delta: Delta = 1e-5,
        budget: Budget = 0.0,
    ) -> None:
        self.check_rule(inner, run)
        super().__init__(inner)
        self.metric_names = (*inner.metric_names, "epsilon")
        self._run, self._clip, self.delta = run, clip, delta
        #: Whether nobody may know who takes part in a round (Poisson sampling).
        self.has_secret_cohorts = run.cohorts.chance is not None
        if self.has_secret_cohorts:  # a round without any party is a round
            self.requires = replace(inner.requires, empty_rounds=True)
        wanted = _target(noise, self.kind)
        if wanted and budget:
            raise OptionError(
                f"{option('privacy', self.kind)}: noise={noise} is a budget already, and budget="
                f"{budget:g} another",
                "leave one of them out",
            )
        self.budget = wanted or budget
        self.noise = self._solved(wanted) if wanted else float(noise)
        self.client_options = {**inner.client_options, **self.added_client_options()}

    @classmethod
    @abstractmethod
    def check_rule(cls, inner: Fusion, run: PrivateRun) -> None:
        """Raise OptionError for a rule that this kind can't make private."""

    def added_client_options(self) -> Mapping[str, Any]:
        """Return the options of local training that it asks for beside the inner rule's."""
        return {}

    @property
    def text(self) -> str:
        """The option `privacy` that makes it again, with the noise as a number."""
        parts = {"clip": self._clip, "noise": self.noise, "delta": self.delta}
        parts |= {"budget": self.budget} if self.budget else {}
        parts |= self._more_options()
        options = [f"{name}={value:.12g}" for name, value in parts.items()]
        return f"{self.kind}:{','.join(options)}"

    def _more_options(self) -> Mapping[str, float]:
        """Return further options by name."""
        return {}

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the inner rule's state, an empty ledger, and the stream of the noise."""
        own = {"clip": self._clip, "noise": self.noise, **self._more_options()}
        return {
            "inner": self.inner.init(weights, info),
            "ledger": {},
            "rounds": 0,
            STREAM: number_of(self._run.identity, f"{self.kind} {own}", weights),
        }

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return what the inner rule sends along with the weights.

        Raises RunError for a round that would exceed the budget.
        """
        if self.budget:
            self.check_budget(state, 1)
        return self.inner.broadcast(state["inner"])

    def shared_weights(self, weights: Weights, state: Any) -> Weights:
        """Return the entries that the inner rule sends to parties."""
        return self.inner.shared_weights(weights, state["inner"])

    def measure(self, state: Any) -> Metrics:
        """Return epsilon after these rounds, and what the inner rule adds."""
        return {**super().measure(state), "epsilon": self.epsilon(state)}

    def epsilon(self, state: Any) -> float:
        """Return epsilon of all rounds so far."""
        return Ledger.of_state(state["ledger"]).epsilon(self.delta)

    def epsilon_of(self, state: Any, party: str) -> float:
        """Return epsilon of one party after the rounds so far."""
        return Ledger.of_state(state["ledger"]).epsilon_of(party, self.delta)

    def epsilon_after(self, state: Any, rounds: int) -> float:
        """Return epsilon after further rounds, as far as it can be known before them."""
        ledger = Ledger.of_state(state["ledger"]) if state else Ledger()
        done = state["rounds"] if state else 0
        return self.planned(ledger, done + 1, done + rounds, self.noise).epsilon(self.delta)

    @abstractmethod
    def planned(self, ledger: Ledger, first: int, last: int, noise: float) -> Ledger:
        """Return a ledger with the releases of these rounds, were they trained with a noise."""

    def check_budget(self, state: Any, rounds: int) -> str:
        """Return what further rounds will cost, as a sentence. Raises RunError past the budget."""
        now = self.epsilon(state) if state else 0.0
        then = self.epsilon_after(state, rounds)
        cost = f"{rounds} more rounds bring epsilon from {now:.3g} to {then:.3g}"
        if rounds == 1:
            cost = f"1 more round brings epsilon from {now:.3g} to {then:.3g}"
        if not state:
            cost = f"{rounds} {'round costs' if rounds == 1 else 'rounds cost'} epsilon {then:.3g}"
        if self.budget and then > self.budget * (1 + 1e-9):
            fitting = _fitting(self, state, rounds)
            few = f"{fitting} would fit" if fitting else "none would fit"
            raise RunError(
                f"{cost}, and the budget of this run is {self.budget:g}",
                f"{few}; a larger budget is another run",
            )
        return f"privacy: {cost} (delta {self.delta:g})"

    def notes(self, state: Any) -> Sequence[str]:
        """Return what was promised to whom, and what was not, in sentences."""
        notes = list(super().notes(state))
        if not state["rounds"]:
            return notes
        ledger = Ledger.of_state(state["ledger"])
        spent = ledger.epsilon(self.delta)
        seeded = _SEEDED.format(cohorts=_COHORTS if self.has_secret_cohorts else "")
        if not math.isfinite(spent):
            return [
                *notes,
                "warning: privacy: the noise is 0, so that nothing is private: epsilon is infinite",
            ]
        return [
            *notes,
            f"privacy: epsilon {spent:.4g} at delta {self.delta:g} after {state['rounds']} "
            f"{'round' if state['rounds'] == 1 else 'rounds'}"
            f"{_counted(ledger, self.delta)}, noise {self.noise:g}, clip {self._clip:g}"
            f"{' at first' if self.sends_clip else ''}",
            f"privacy: {self._promise()}",
            _NOT_COVERED,
            _SECRET if self._run.is_secret else seeded,
        ]

    @abstractmethod
    def _promise(self) -> str:
        """Return who is protected, against whom, and how it is counted."""

    def _solved(self, wanted: float) -> float:
        """Return the least noise with which the planned rounds stay within epsilon."""
        rounds = self._run.rounds
        found = smallest_noise(
            lambda noise: self.planned(Ledger(), 1, rounds, noise).epsilon(self.delta), wanted
        )
        if not math.isfinite(found):
            raise OptionError(
                f"{option('privacy', self.kind)}: no noise gives epsilon {wanted:g} in {rounds} "
                "rounds",
                f"give a larger epsilon, or fewer {option('rounds')}",
            )
        return found


def _fitting(rule: PrivateFusion, state: Any, rounds: int) -> int:
    """Return how many of these further rounds the budget allows."""
    low, high = 0, rounds
    while high - low > 1:
        middle = (low + high) // 2
        fits = rule.epsilon_after(state, middle) <= rule.budget
        low, high = (middle, high) if fits else (low, middle)
    return low


def _counted(ledger: Ledger, delta: float) -> str:
    """Return how epsilon was counted, in words."""
    if all(chance == 1 for events in ledger.events.values() for chance, _, _ in events):
        return " (exact for Gaussian noise)"
    return f" (PLD; {ledger.epsilon(delta, 'rdp'):.4g} by RDP)"


def _target(noise: str, kind: str) -> float:
    """Return the epsilon that `auto:epsilon=8` names; 0 where a noise is given."""
    auto, _, rest = noise.partition(":")
    word, _, number = rest.partition("=")
    try:
        value = float(number if auto == "auto" else noise)
    except ValueError:
        value = math.nan
    is_target = auto == "auto" and word == "epsilon"
    if (auto == "auto" and not is_target) or not math.isfinite(value) or value < 0:
        value = math.nan
    if math.isnan(value) or (is_target and value == 0):
        raise OptionError(
            f"{option('privacy', kind)}: noise={noise} is not allowed",
            "give a number >= 0, a multiple of the clip, or auto:epsilon=8",
            option="privacy",
            value=noise,
        )
    return value if is_target else 0.0
