"""All that decides a private run, as a digest: runs that differ in it draw other noise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from fusion_nb.data.partition import PartitionedData
from fusion_nb.runs.checkpoints.rows import digests
from fusion_nb.runs.spec import RunSpec

#: Options that decide what a round's updates are, beside those of local training, the rule and
#: privacy itself. Not among them: options that only measure, end or show a run, where it trains
#: (an engine has the same curve), masks (which hide the same numbers), personal models beside the
#: fused one, and changes on the way, or a run that is changed and the cell that repeats it would
#: differ.
_DECIDING = (
    "loss",
    "lr_schedule",
    "keep_optimizer",
    "class_weights",
    "send",
    "fraction",
    "sampling",
    "roles",
    "quorum",
    "dropout",
    "straggler",
    "adversary",
    "devices",
    "network",
    "step_seconds",
    "deadline",
    "compress",
    "seed_of",
    "precision",
    "unseen",
)


def identity(
    spec: RunSpec, rule: str, train_options: Mapping[str, Any], data: PartitionedData
) -> str:
    """Return a digest of a run's options and of its parties' rows.

    rule: the fusion inside, as the user wrote it

    The noise of privacy follows from the seed, so that a run can be repeated. Were it the seed's
    alone, two runs with one seed that differ in their learning rate, or in one row, would draw the
    same noise, and the difference of their models would have none. So it follows from this as well,
    and from the first weights. A number drawn for each release would do the same, and "same seed,
    same curve" would not hold.
    """
    sha = hashlib.sha256()
    options = {name: getattr(spec, name) for name in _DECIDING} | {"fusion": rule}
    for name, value in sorted((options | dict(train_options)).items()):
        sha.update(f"{name}\0{_text(value)}\0".encode(errors="surrogatepass"))
    for party, digest in sorted(digests(data).items()):
        sha.update(f"{party}\0{digest}\0".encode(errors="surrogatepass"))
    return sha.hexdigest()


def _text(value: Any) -> str:
    """Return an option's value; of a class, a function or an optimizer, its name and options."""
    if isinstance(value, str | int | float | bool | None):
        return repr(value)
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{name} {getattr(value, 'defaults', '')}"
