"""A Llama of random weights: for what a step costs, the arithmetic is the same."""

from __future__ import annotations

from typing import Protocol

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel


class Shape(Protocol):
    """The sizes of a model, as the cases of the benchmarks hold them."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int


def random_llama(shape: Shape, seed: int, *, tied: bool) -> PreTrainedModel:
    """Return a random Llama in single precision; `tied`: its LM head is its embedding."""
    config = AutoConfig.for_model(
        "llama",
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.feed_forward,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, trust_remote_code=False).eval()
