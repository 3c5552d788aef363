"""From the option `privacy` of a spec to the private fusion, with the noise that it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_nb.algorithms.privacy.base import PrivateFusion, PrivateRun
from fusion_nb.algorithms.privacy.option import around, cohorts_of
from fusion_nb.core import registry
from fusion_nb.core.protocols import Sampling
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import OptionError, option
from fusion_nb.models.base import Model
from fusion_nb.models.per_row import chance_and_steps
from fusion_nb.runs.federated.finding import is_at_parties
from fusion_nb.runs.privacy.identity import identity
from fusion_nb.runs.spec import RunSpec
from fusion_nb.runs.spec.errors import about


def made(
    spec: RunSpec,
    model: Model,
    data: PartitionedData,
    sampling: Sampling,
    train_options: Mapping[str, Any],
) -> tuple[RunSpec, PrivateFusion | None]:
    """Return the private fusion of a spec, or None, and the spec with a noise that was found.

    Raises OptionError for a fusion that can't be private.
    """
    if not spec.privacy:
        return spec, None
    if spec.ensemble:
        raise OptionError(
            f"{option('privacy', spec.privacy)} with {option('ensemble', spec.ensemble)}, which "
            "keeps the parties' models as they are",
            "use one of them",
        )
    name = spec.fusion or model.defaults["fusion"]
    inner = registry.create("fusions", name)
    trained = [party.id for party in data.parties if party.trains]
    batches = {
        party.id: chance_and_steps(
            party.num_examples,
            batch_size=train_options["batch_size"],
            epochs=train_options["epochs"],
            steps=train_options.get("steps", 0),
        )
        for party in data.parties
        if party.num_examples
    }
    with about("privacy", spec.privacy):
        cohorts = cohorts_of(
            sampling,
            trained,
            seed=spec.seed,
            cohort_seed=spec.seed_for("cohort"),
            fraction=spec.fraction,
            text=spec.sampling,
        )
        # Parties of a running federation know the run's seed.
        is_secret = is_at_parties(spec.engine)
        decided = "" if is_secret else identity(spec, name, train_options, data)
        facts = PrivateRun(name, cohorts, spec.rounds, batches, is_secret, decided)
        rule = around(inner, spec.privacy, facts)
    # A noise that was found becomes a number, so that the spec repeats the run after more rounds.
    text = rule.text if "auto" in spec.privacy else spec.privacy
    return spec.model_copy(update={"privacy": text}), rule
