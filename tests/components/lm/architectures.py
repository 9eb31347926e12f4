"""Architectures of transformers, tiny and random: which are supported, and why the others are not.

docs/models.md has this table; `test_architectures.py` holds it against the check.
"""

from __future__ import annotations

from typing import Any

VOCABULARY = 96
# How the attention and the MLP of a block read and write the residual stream.
SUPPORTED = {
    "a norm before attention and before the MLP": (
        *("bitnet", "cwm", "ernie4_5", "exaone", "gemma", "granite", "granite_swa", "helium"),
        *("hunyuan_v1_dense", "internlm3", "iquestcoder", "llama", "ministral", "ministral3"),
        *("mistral", "olmo", "qwen2", "qwen3", "seed_oss", "smollm3", "stablelm", "vaultgemma"),
    ),
    "a norm before and after each": (
        *("gemma2", "gemma3_text", "gemma4_unified_text", "hyperclovax"),
    ),
    "a norm after each": ("exaone4", "olmo2", "olmo3"),
    "one norm, and attention beside the MLP": ("cohere", "cohere2"),
}
REFUSED = {
    "a mixture of experts": (
        *("aria_text", "cohere2_moe", "dots1", "ernie4_5_moe", "exaone_moe", "flex_olmo"),
        *("glm4_moe", "gpt_oss", "granitemoe", "hunyuan_v1_moe", "llama4_text", "mimo_v2_flash"),
        *("minimax_m2", "mixtral", "olmoe", "phimoe", "qwen2_moe", "qwen3_moe"),
    ),
    "weights that masks and adapters would not cover": (
        *("afmoe", "deepseek_v3", "gemma4_text", "glm", "glm4", "minicpm3", "mllama", "nanochat"),
        *("olmo_hybrid", "phi3", "qwen3_5_text", "starcoder2"),
    ),
    "an MLP without a gate": ("apertus", "arcee", "jais2", "nemotron"),
    "no decoder blocks at model.layers": (
        *("bert", "bloom", "falcon", "falcon_h1", "gemma3", "gpt2", "gpt_neox", "gptj", "jamba"),
        *("lfm2", "mamba", "mpt", "opt", "phi", "recurrent_gemma"),
    ),
}
_ALSO = {
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1},
    "falcon": {"head_dim": None},
}


def configuration(kind: str, **sizes: int) -> Any:
    """Return a tiny configuration of the architecture `kind`, its model_type."""
    from transformers import AutoConfig

    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **_ALSO.get(kind, {}),
        **sizes,
    }
    return AutoConfig.for_model(
        kind, **{key: value for key, value in settings.items() if value is not None}
    )


def shapes(kind: str) -> Any:
    """Return a tiny model of the architecture `kind` on the meta device."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(configuration(kind), trust_remote_code=False)
    return model.eval()
