"""Models of transformers, and peft's adapters on them, as the folders that these packages read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fusion_nb.errors import ModelError
from fusion_nb.models.torch.language_models import is_peft, is_pretrained

PRETRAINED, ADAPTER = "pretrained", "adapter"


def formats_of(module: nn.Module) -> Mapping[str, str]:
    """Return the formats that only such a model has, each with the name of its folder."""
    if is_peft(module):
        return {PRETRAINED: "pretrained", ADAPTER: "adapter"}
    return {PRETRAINED: "pretrained"} if is_pretrained(module) else {}


def save_pretrained(module: nn.Module, path: Path, example: Tensor) -> None:
    """Write the folder that `from_pretrained` reads; an adapter is merged into its model before."""
    found: Any = module
    if is_peft(module):
        merge = getattr(found, "merge_and_unload", None)
        if merge is None:
            raise ModelError(
                f"an adapter of {type(found).__name__} can't be merged into its model",
                "use the format 'adapter'",
            )
        found = merge()
    with _without_progress():
        found.save_pretrained(str(path))


def save_adapter(module: nn.Module, path: Path, example: Tensor) -> None:
    """Write the folder of an adapter alone; `PeftModel.from_pretrained(model, path)` reads it."""
    found: Any = module
    with _without_progress():
        found.save_pretrained(str(path))


@contextmanager
def _without_progress() -> Iterator[None]:
    """Keep transformers from drawing a bar for each file."""
    from transformers.utils import logging

    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


SAVERS: dict[str, Callable[[nn.Module, Path, Tensor], None]] = {
    PRETRAINED: save_pretrained,
    ADAPTER: save_adapter,
}
