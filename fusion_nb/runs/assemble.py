"""From the objects behind a spec to a federation, in one construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fusion_nb.algorithms.baselines import Central, Local
from fusion_nb.core import arithmetic, registry
from fusion_nb.core.clock.virtual_clock import VirtualClock
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import (
    Baseline,
    Engine,
    Fusion,
    ModelPoisoning,
    NeedsAgreement,
    PostTraining,
)
from fusion_nb.core.rounds.schedule import Schedule
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.settings import FederationConfig
from fusion_nb.core.snapshot import Snapshot
from fusion_nb.engines.deadline import DeadlineEngine
from fusion_nb.engines.faults import FaultyEngine, flip_labels
from fusion_nb.engines.progress import ProgressEngine
from fusion_nb.errors import RunError
from fusion_nb.runs import changes
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.clock.building import clock_of, is_real_time, leaves_late
from fusion_nb.runs.privacy import reports
from fusion_nb.runs.resolve import Resolved


def assemble(
    resolved: Resolved, control: RunControl | None = None, earlier: Checkpoint | None = None
) -> Federation:
    """Return the federation of a spec that was resolved and checked.

    control: pauses and stops the run
    earlier: an earlier run of this spec, which the federation continues
    Raises RunError where that is a run of another model or other parties.
    """
    control = control or RunControl()
    data, (model, fusion) = resolved.data, resolved.joined
    config = _config(resolved)
    plain = replace(config, clock=None, real_time=False)  # baselines wait for all
    parties = flip_labels(data.parties, resolved.hostile, resolved.attack, data.all_labels())
    if earlier is not None:
        _restore(earlier, resolved, parties)
    snapshot = earlier.snapshot if earlier else Snapshot()
    states = earlier.baselines if earlier else {}
    # Baselines compare with parties that are honest.
    others: dict[str, Baseline] = {}
    local: Local | None = None
    if "central" in resolved.baselines:
        engine = _baseline_engine(resolved)
        others["central"] = Central(
            data.parties,
            model,
            engine,
            plain,
            test=resolved.test,
            control=control,
            earlier=states.get(Central.name),
        )
    if "local" in resolved.baselines:
        engine = _baseline_engine(resolved)
        local = Local(
            data.parties,
            model,
            engine,
            plain,
            test=resolved.test,
            control=control,
            earlier=states.get(Local.name),
        )
        others["local"] = local
    return Federation(
        parties=parties,
        model=model,
        fusion=fusion,
        engine=ProgressEngine(reports.around(_faulty(resolved, config.clock), resolved)),
        config=config,
        test=resolved.test,
        baselines=tuple(others.values()),
        post_training=_post_training(resolved, fusion, local),
        personal_parties=local.federation.parties if resolved.sharing and local else (),
        changes=changes.plan(resolved),
        control=control,
        state=snapshot.state,
        history=snapshot.history,
        counts=snapshot.counts,
    )


def _restore(earlier: Checkpoint, resolved: Resolved, parties: Sequence[Party]) -> None:
    """Give model, parties and attack the state that they had in an earlier run."""
    model, _ = resolved.joined
    missing = {party.id for party in parties} ^ set(earlier.snapshot.parties)
    if missing:
        raise RunError(
            f"the saved run had other parties: {', '.join(sorted(missing)[:3])}",
            "give the data that it was begun with",
        )
    earlier.snapshot.give_states(parties)
    if not isinstance(model, NeedsAgreement):  # the others agree on their first weights again
        whole = {**model.frozen_weights(), **model.get_weights()}
        if problem := arithmetic.misfit(earlier.initial, whole):
            raise RunError(
                f"the saved run had another model ({problem})",
                "give the model that it was begun with",
            )
        model.set_weights(earlier.initial)
    if isinstance(resolved.attack, ModelPoisoning):
        resolved.attack.persistent_state = earlier.attack


def _config(resolved: Resolved) -> FederationConfig:
    spec = resolved.spec
    return FederationConfig(
        train_options=dict(resolved.train_options),
        seed=spec.seed_for("batches"),
        cohort_seed=spec.seed_for("cohort"),
        fraction=spec.fraction,
        quorum=_quorum(resolved),
        evaluate_every=spec.evaluate_every,
        evaluate_rows=spec.evaluate_rows,
        schedule=Schedule.parse(spec.schedule),
        lr_schedule=resolved.rounds.lr_schedule,
        sampling=resolved.rounds.sampling,
        clock=clock_of(resolved),
        real_time=is_real_time(resolved),
    )


def _quorum(resolved: Resolved) -> float:
    """Return the share of a cohort that must answer; with simulated faults one party is enough."""
    if resolved.spec.quorum is not None:
        return resolved.spec.quorum
    can_fail = resolved.is_faulty or leaves_late(resolved.spec) or is_real_time(resolved)
    return 1 / len(resolved.data.parties) if can_fail else 1.0


def _baseline_engine(resolved: Resolved) -> Engine:
    """Return an engine for a baseline, which has no faults."""
    made: Engine = registry.create("engines", resolved.spec.engine)
    return made


def _faulty(resolved: Resolved, clock: VirtualClock | None) -> Engine:
    """Return the engine, with the faults and the lateness that are simulated around it."""
    requires, attack = resolved.joined[1].requires, resolved.attack
    engine = resolved.engine
    if clock is not None and leaves_late(resolved.spec):
        counts_steps = "local_steps" in resolved.model.supported_options
        engine = DeadlineEngine(
            engine,
            clock,
            min_updates=requires.min_updates,
            uses_partial_work=requires.uses_partial_work and counts_steps,
        )
    if not resolved.is_faulty:
        return engine
    return FaultyEngine(
        engine,
        seed=resolved.spec.seed_for("cohort"),
        dropout=resolved.spec.dropout,
        stragglers=resolved.faults.stragglers,
        uses_partial_work=requires.uses_partial_work,
        min_updates=requires.min_updates,
        attack=attack if isinstance(attack, ModelPoisoning) else None,
        hostile=resolved.hostile,
    )


def _post_training(resolved: Resolved, fusion: Fusion, local: Local | None) -> PostTraining | None:
    """Return the step after the last round, or None."""
    if resolved.sharing is not None and local is not None:
        alone = local.federation
        return lambda federation: resolved.sharing(alone)
    if resolved.personal is not None:
        return resolved.personal
    return fusion.post_training if fusion.has_post_training else None
