"""Small random checkpoints with their own tokenizer and template, as real folders on disk."""

from __future__ import annotations

from pathlib import Path

WORDS = (  # noqa: SIM905 - reads as the sentence it is
    "how do i make break open the a jar box lamp door water stone please tell me about what is "
    "sorry can not help with that first take then turn done one two three four five plus minus "
    "answer equals so 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 + - = . , ? user assistant"
).split()

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_tokenizer(folder: Path, *, template: str = TEMPLATE):
    """Write a word-level tokenizer into `folder` and return it."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<|end|>", "<unk>"]
    markers = ["<|user|>", "<|assistant|>", "<|system|>", "<think>", "</think>", "\n"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(special + markers + WORDS))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r" "), "removed")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="<|end|>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    tokenizer.add_tokens(markers)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_checkpoint(
    folder: Path,
    *,
    architecture: str = "llama",
    seed: int = 0,
    hidden: int = 32,
    layers: int = 3,
    template: str = TEMPLATE,
) -> Path:
    """Write a randomly initialised causal language model with its tokenizer; return `folder`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = write_tokenizer(folder, template=template)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=hidden // 4,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder
