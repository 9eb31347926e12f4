"""Tiny random checkpoints of the guards' architectures, with tokenizers of their families."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.judges.settings import GuardSettings

LLAMA_3 = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
    "<|reserved_special_token_0|>",
)
ARCHITECTURE = {"llama-guard-3": "llama", "harmbench": "llama", "wildguard": "mistral"}


def guard_settings(kind: str, folder: Path, *, max_characters: int = 1500) -> GuardSettings:
    return GuardSettings(kind=kind, model=str(folder), batch=4, max_characters=max_characters)


def byte_level_tokenizer() -> Any:
    """A tokenizer of Llama 3's family: bytes, control tokens in <|…|>, the first one added."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True) for token in LLAMA_3])
    first = LLAMA_3[0]
    core.post_processor = processors.TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, core.token_to_id(first))]
    )
    return _wrapped(core, bos_token=first, eos_token="<|eot_id|>")


def sentencepiece_tokenizer(extra: tuple[str, ...] = (), normalizer: Any = None) -> Any:
    """A tokenizer of Llama 2's and Mistral's family: characters, bytes for the others, <s> first.

    `extra` are control tokens beside `<s>` and `</s>`; `normalizer` works on every text first.
    """
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        processors,
    )

    letters = ["▁", "\n", *(chr(code) for code in range(33, 127))]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    core = Tokenizer(
        models.BPE(
            {piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True
        )
    )
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    core.normalizer = normalizers.Sequence([normalizer, *steps] if normalizer else steps)
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    plain = [AddedToken(token, special=True) for token in ("<unk>", "<s>", "</s>")]
    own = [AddedToken(token, special=True, normalized=normalizer is not None) for token in extra]
    core.add_special_tokens([*plain, *own])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return _wrapped(core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _wrapped(core: Any, **tokens: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=core, **tokens)


def write_guard(folder: Path, kind: str, *, tokenizer: Any = None, positions: int = 4096) -> Path:
    """Write a random guard of `kind` into `folder` and return it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if tokenizer is None:
        tools = ("[INST]", "[/INST]", "[TOOL_CALLS]") if kind == "wildguard" else ()
        llama_3 = kind == "llama-guard-3"
        tokenizer = byte_level_tokenizer() if llama_3 else sentencepiece_tokenizer(tools)
    tokenizer.save_pretrained(folder)
    config = AutoConfig.for_model(
        ARCHITECTURE[kind],
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder
