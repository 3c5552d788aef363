"""The settings of a federation, and the changes that they undergo from given rounds on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fusion_nb.core.clock.virtual_clock import VirtualClock
from fusion_nb.core.protocols import Change, Fusion, Sampling, SamplingContext
from fusion_nb.core.rounds.lr_schedule import LrSchedule
from fusion_nb.core.rounds.schedule import Schedule
from fusion_nb.core.types import FederationInfo, RoundRequest, ServerState, Weights


@dataclass(frozen=True)
class FederationConfig:
    """The settings that a federation begins with.

    train_options:  options of every party's `Model.fit`: epochs, batch_size, lr, optimizer, ...
    seed:           fixes cohorts, order of rows, and everything random in local training
    cohort_seed:    fixes cohorts in place of `seed`; None for that
    fraction:       share of the parties that train in a round, at least one party
    quorum:         share of a round's cohort that must answer for the round to count
    evaluate_every: rounds between two evaluations of the fused model; the last is always evaluated
    evaluate_rows:  test rows of each set that an evaluation takes before the last round, 0 for all
    schedule:       the rounds over which a learning rate falls, and those added to them
    lr_schedule:    the learning rate of each round; None for the same in all
    sampling:       chooses the parties that train in a round
    clock:          simulated time; None for a run without
    real_time:      whether an asynchronous fusion takes updates as they come, by a real clock
    """

    train_options: Mapping[str, Any]
    seed: int = 0
    fraction: float = 1.0
    quorum: float = 1.0
    evaluate_every: int = 1
    evaluate_rows: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    lr_schedule: LrSchedule | None = None
    sampling: Sampling = SamplingContext.uniform
    clock: VirtualClock | None = None
    cohort_seed: int | None = None
    real_time: bool = False

    @property
    def seed_of_cohorts(self) -> int:
        """The seed that fixes which parties train in a round."""
        return self.seed if self.cohort_seed is None else self.cohort_seed


@dataclass(frozen=True)
class RoundSettings:
    """The settings that hold in one round.

    fusion_since: the first round of the fusion, or 0 for the one that the run began with
    """

    fusion: Fusion
    fusion_since: int
    fraction: float
    train_options: Mapping[str, Any]

    def first_state(self, round: int, state: ServerState, info: FederationInfo) -> ServerState:
        """Return the state that the round begins with: that of a fusion that begins is new."""
        if self.fusion_since != round:
            return state
        return replace(state, fusion_state=self.fusion.init(state.weights, info))

    def request(
        self,
        round: int,
        weights: Weights,
        broadcast: Mapping[str, Any],
        info: FederationInfo,
        *,
        seed: int,
        progress: tuple[float, float] | None,
    ) -> RoundRequest:
        """Return the request to train in the round from these weights.

        progress: the part of the run that the round is, for a model that has a schedule
        """
        options = {**self.train_options, **self.fusion.client_options}
        if progress is not None:
            options["progress"] = progress
        # The default needs no rule, so that none travels to the parties.
        is_default = type(self.fusion).local_update is Fusion.local_update
        return RoundRequest(
            round=round,
            weights=weights,
            broadcast=broadcast,
            options=options,
            seed=seed,
            info=info,
            local_update=None if is_default else self.fusion.local_update,
            fusion_since=self.fusion_since,
        )


class ChangePlan:
    """Which settings hold in which round: those of the beginning, and changes by round.

    >>> plan = ChangePlan(FederationConfig({"lr": 0.1}), None, {5: Change({"lr": 0.01})})
    >>> plan.settings(4).train_options["lr"], plan.settings(5).train_options["lr"]
    (0.1, 0.01)
    """

    def __init__(
        self, config: FederationConfig, fusion: Fusion, changes: Mapping[int, Change]
    ) -> None:
        self._config, self._fusion = config, fusion
        self.changes: dict[int, Change] = dict(changes)
        self._pending: list[Change] = []

    def add(self, change: Change) -> None:
        """Let a change hold from the next round that begins; from any thread."""
        self._pending.append(change)

    def begin(self, round: int) -> Change:
        """Let pending changes hold from a round that begins, and return its change.

        A round that is tried again finds the same change.
        """
        while self._pending:
            self.changes[round] = self.changes.get(round, Change()).then(self._pending.pop(0))
        return self.changes.get(round, Change())

    def settings(self, round: int) -> RoundSettings:
        """Return the settings that hold in a round."""
        fusion, since, fraction = self._fusion, 0, self._config.fraction
        options = dict(self._config.train_options)
        for number in sorted(self.changes):
            if number > round:
                break
            change = self.changes[number]
            if change.fusion is not None and change.fusion is not fusion:
                fusion, since = change.fusion, number
            fraction = change.values.get("fraction", fraction)
            options |= {
                name: value
                for name, value in change.values.items()
                if name not in ("fraction", "fusion")
            }
        if (schedule := self._config.lr_schedule) is not None:
            options["lr"] = schedule.lr(options["lr"], round, self._config.schedule)
        return RoundSettings(fusion, since, fraction, options)
