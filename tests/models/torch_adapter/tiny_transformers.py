"""Tiny models of transformers, made from a config, and rows of tokens for them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

import fusion_nb

VOCABULARY = 20


def gpt(dropout: float = 0.1) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=16,
            n_embd=8,
            n_layer=1,
            n_head=2,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def bert(head: str = "SequenceClassification", **options: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        **options,
    )
    return getattr(transformers, f"BertFor{head}")(config)


def lora(model: Any, **options: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    is_gpt = "GPT2" in type(model).__name__
    config = LoraConfig(
        r=2,
        target_modules=["c_attn"] if is_gpt else ["query", "value"],
        fan_in_fan_out=is_gpt,
        task_type="CAUSAL_LM" if is_gpt else "SEQ_CLS",
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft uses names of transformers that are deprecated
        return get_peft_model(model, config)


def ids(count: int = 36, length: int = 8) -> np.ndarray:
    """Rows of tokens, each the one before plus one: easy to learn."""
    first = np.random.default_rng(0).integers(0, VOCABULARY, (count, 1))
    return (first + np.arange(length)) % VOCABULARY


def ragged(count: int = 36) -> list[list[int]]:
    sizes = np.random.default_rng(1).integers(3, 9, count)
    return [row[:size].tolist() for row, size in zip(ids(count), sizes, strict=True)]


def trained(model: Any, data: Any, **options: Any) -> Any:
    if isinstance(data, np.ndarray):
        data = {"input_ids": data}
    defaults = {"rounds": 2, "lr": 0.01, "optimizer": "adamw", "batch_size": 8}
    if not isinstance(data, tuple) or not isinstance(data[0], list | dict):
        defaults["parties"] = 3
    return fusion_nb.federate(model, data, **defaults | options)
