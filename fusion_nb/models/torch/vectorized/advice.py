"""Which modules train faster in stacks than one by one: told from their form and sizes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from fusion_nb.core.protocols import PartyLike, StackAdvice
from fusion_nb.models.torch.setup import Setup

#: Products of one party's forward pass, at most: a larger batch keeps a core busy without a stack.
_MOST_PRODUCTS = 20_000_000
#: Products of a whole stack's forward pass from which on a larger stack gains nothing.
_ENOUGH_PRODUCTS = 16_000_000
#: Parties in a stack: the fewest and the most that are advised.
_SIZES = 4, 32
#: Bytes of weights in one stack; several stacks train, or wait to be aggregated.
_MOST_BYTES = 32 << 20
#: The same on a GPU, where one stack trains at a time.
_MOST_GPU_BYTES = 512 << 20
#: A module of fewer numbers leaves a GPU idle where parties are trained one after the other.
_SMALL_MODEL = 1_000_000


def of(
    module: nn.Module,
    setup: Setup,
    options: Mapping[str, Any],
    parties: Sequence[PartyLike],
    *,
    is_dense: bool,
) -> StackAdvice:
    """Return how many of these parties to train in a stack, and why not, if that gains nothing.

    is_dense: whether the module is a fully connected network, which has a way of its own
    """
    entries = list(module.state_dict().values())
    num_bytes = max(1, sum(entry.numel() * entry.element_size() for entry in entries))
    if setup.batches.device.type != "cpu":
        most = max(2, _MOST_GPU_BYTES // num_bytes)
        is_large = sum(entry.numel() for entry in entries) > _SMALL_MODEL
        drawback = "a model of over a million numbers keeps a GPU busy alone" if is_large else ""
        return StackAdvice(most, most, drawback)
    most = max(2, _MOST_BYTES // num_bytes)
    num_rows = max((party.num_examples for party in parties), default=0)
    products = setup.products_per_row * min(options["batch_size"], num_rows)
    size = min(max(_ENOUGH_PRODUCTS // max(products, 1), _SIZES[0]), _SIZES[1], most)
    if not is_dense:
        return StackAdvice(size, most, "on a CPU, only fully connected networks gain by stacks")
    if products > _MOST_PRODUCTS:
        return StackAdvice(size, most, "a batch of this network keeps a core busy alone")
    return StackAdvice(size, most)
