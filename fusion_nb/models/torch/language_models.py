"""Models of the package transformers, and of peft around them, known by the names of their classes.

Neither package is imported here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_nb.core.schema import LabelSchema, RowSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.inference import NOT_COUNTED
from fusion_nb.models.torch.forward import Forward
from fusion_nb.models.torch.objectives.objective import Objective
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch_randomness import OwnRandomness

_PRETRAINED = "transformers.modeling_utils.PreTrainedModel"
_PEFT = "peft.peft_model.PeftModel"
#: The difference between two computations of one loss, as a share of it.
_TOLERANCE = 1e-4


def is_pretrained(module: nn.Module) -> bool:
    """Return whether a module is a model of transformers."""
    return _is_a(module, _PRETRAINED)


def is_peft(module: nn.Module) -> bool:
    """Return whether a module is a model of transformers with an adapter of peft."""
    return _is_a(module, _PEFT)


def _is_a(module: nn.Module, name: str) -> bool:
    return any(f"{kind.__module__}.{kind.__qualname__}" == name for kind in type(module).__mro__)


@dataclass(frozen=True)
class TokenTask:
    """How a language model's outputs are compared with labels, one for each token of a row.

    tokens: each place predicts the "next" token, or the label of the "same" place;  note: for users
    """

    tokens: Literal["next", "same"]
    note: str

    def forward(self, forward: Forward) -> Forward:
        """Return how the module is called."""
        return replace(forward, tokens=self.tokens)

    def labels(self, labels: LabelSchema) -> LabelSchema:
        """Return what the labels are that outputs are compared with."""
        if self.tokens == "same":
            return labels
        return replace(labels, shape=(labels.shape[0] - 1, *labels.shape[1:]))

    def objective(self, objective: Objective) -> Objective:
        """Return the objective with the labels and the metrics of tokens."""
        targets = replace(objective.targets, are_next=self.tokens == "next")
        of_tokens = objective.task == "classes"
        return replace(objective, targets=targets, of_tokens=of_tokens)


def token_task(
    module: nn.Module, precision: Precision, x: Any, y: Any, output: Tensor
) -> TokenTask | None:
    """Return how a language model is trained, or None for any other model.

    module: a copy in evaluation mode;  output: of it for these rows
    Its own loss, for the labels y, says whether a place predicts the next token or its own label.
    Raises ModelError for rows of a single token.
    """
    is_known = is_pretrained(module) or is_peft(module)
    if not is_known or output.ndim != 3 or not isinstance(y, Tensor):
        return None
    if output.shape[1] == 1:
        raise ModelError("rows of one token have no next one to predict", "give longer rows")
    if y.shape != output.shape[:2] or y.is_floating_point():
        return None
    own = _own_loss(module, precision, x, y)
    if own is None:
        return None
    following, same = _loss(output[:, :-1], y[:, 1:]), _loss(output, y)
    tokens: Literal["next", "same"] = "next" if abs(own - following) < abs(own - same) else "same"
    what = "the next token of its row" if tokens == "next" else "the label of that place"
    found = following if tokens == "next" else same
    if abs(own - found) <= _TOLERANCE * abs(own):
        return TokenTask(tokens, f"tokens: each place predicts {what}")
    return TokenTask(
        tokens,
        f"warning: each place predicts {what}, with a cross-entropy of {found:.4g}, and the "
        f"model's own loss is {own:.4g}; to train by that, write "
        "loss=lambda model, batch: model(**batch[0], labels=batch[1]).loss",
    )


def check_tokens(module: nn.Module, rows: RowSchema) -> None:
    """Raise ModelError for tokens that a model of transformers has no place for.

    rows: what all rows are
    """
    config = getattr(module, "config", None)
    if not (is_pretrained(module) or is_peft(module)) or config is None:
        return
    named = dict(zip(rows.columns, rows.parts, strict=False))
    ids = named.get("input_ids", rows)
    if rows.columns and ids.dtype.startswith("float"):
        raise ModelError(
            f"the tokens of the rows are {ids.dtype}, and a model looks them up by whole numbers",
            "give them as integers: input_ids.astype('int64')",
        )
    if ids.low is not None and ids.low < 0:
        raise ModelError(
            f"the rows hold the token {ids.low:g}, and tokens are counted from 0",
            "give padding a token of its own, and hide it by attention_mask",
        )
    size = getattr(config, "vocab_size", None)
    if isinstance(size, int) and ids.high is not None and ids.high >= size:
        raise ModelError(
            f"the rows hold the token {ids.high:g}, and the model's vocabulary has {size}, "
            "counted from 0",
            "make the model with the vocabulary of the tokenizer: vocab_size=len(tokenizer)",
        )
    length = getattr(config, "max_position_embeddings", None)
    if isinstance(length, int) and ids.shape and ids.shape[0] > length:
        raise ModelError(
            f"the rows have {ids.shape[0]} tokens, and the model takes at most {length}",
            f"cut them: tokenizer(texts, truncation=True, max_length={length})",
        )


def check_one_output(module: nn.Module) -> None:
    """Raise ModelError for an encoder with a decoder, which can't be called without its labels."""
    config = getattr(module, "config", None)
    is_known = is_pretrained(module) or is_peft(module)
    if is_known and getattr(config, "is_encoder_decoder", False) is True:
        raise ModelError(
            f"{type(module).__name__} is an encoder with a decoder, whose forward() needs labels",
            "give its own loss, as loss=lambda model, batch: model(**batch[0], "
            "labels=batch[1]).loss",
        )


def _own_loss(module: nn.Module, precision: Precision, x: Any, y: Tensor) -> float | None:
    """Return the loss that the model computes itself for these labels; None without any."""
    named = {**x, "labels": y} if isinstance(x, Mapping) else {"input_ids": x, "labels": y}
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells which loss it chose
    try:
        with torch.no_grad(), OwnRandomness(0):
            found = precision.exact.run(lambda parts: module(**parts), named)
        return float(found.loss)
    except Exception:  # of the model's own code: it may take no labels
        return None
    finally:
        logger.setLevel(level)


def _loss(output: Tensor, y: Tensor) -> float:
    flat = output.reshape(-1, output.shape[-1]).float()
    high = int(y.max())
    if high >= flat.shape[1]:  # no class numbers: the check of the labels says so
        return float("nan")
    return float(F.cross_entropy(flat, y.reshape(-1), ignore_index=NOT_COUNTED).detach())
