"""A GGUF file becomes an ordinary checkpoint: the same weights, tokens and template."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.errors import ModelError
from components.lm.loading import load_model, load_tokenizer
from components.models.checkpoints import read_gguf
from flows.doctor.checkpoints import complaint

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
HEADS, KV_HEADS, HIDDEN, LAYERS = 4, 2, 32, 2


def byte_alphabet() -> list[str]:
    """The 256 characters in which byte-level BPE writes bytes."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def llama():
    """A random Llama with tied embeddings and the vocabulary that `write_gguf` writes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(SPECIAL) + 256 + 3,
            hidden_size=HIDDEN,
            intermediate_size=64,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
        )
    ).eval()


def rotated(weight: np.ndarray, heads: int) -> np.ndarray:
    """Query or key rows (head, half, pair) in GGUF's order (head, pair, half)."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


def write_gguf(
    path: Path,
    model,
    *,
    architecture: str = "llama",
    tensors=None,
    blocks: int = LAYERS,
    settings=None,
    left_out: str = "",
) -> None:
    """Write `model` and a byte-level tokenizer as a GGUF file in single precision."""
    from gguf import GGUFWriter, TokenType

    writer = GGUFWriter(path, architecture)
    writer.add_name("Somebody's model")
    writer.add_block_count(blocks)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(model.config.vocab_size)
    for key, value in (settings or {}).items():
        numbers = writer.add_uint32 if isinstance(value, int) else writer.add_float32
        words = {str: writer.add_string, bool: writer.add_bool}
        add = words.get(type(value), numbers)
        add(f"{architecture}.{key}", value)
    writer.kv_data[0].pop(f"{architecture}.{left_out}", None)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = [*SPECIAL, *byte_alphabet(), "12", "hi", "Ġhi"]
    writer.add_token_list(tokens)
    kinds = [TokenType.CONTROL] * len(SPECIAL) + [TokenType.NORMAL] * (len(tokens) - len(SPECIAL))
    writer.add_token_types(kinds)
    writer.add_token_merges(["1 2", "h i", "Ġ hi"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in (tensors or gguf_tensors)(model).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_tensors(model) -> dict[str, np.ndarray]:
    """The weights by GGUF's names."""
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    tensors = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    for layer in range(LAYERS):
        for ours, theirs in names.items():
            weight = state[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):
                weight = rotated(weight, HEADS if theirs == "attn_q" else KV_HEADS)
            tensors[f"blk.{layer}.{theirs}.weight"] = weight
    return tensors


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory):
    """The original model, and the folder in which the converted one was saved."""
    folder = tmp_path_factory.mktemp("gguf")
    original = llama()
    write_gguf(folder / "model.gguf", original)
    model, tokenizer = read_gguf(folder / "model.gguf")
    model.save_pretrained(folder / "checkpoint")
    tokenizer.save_pretrained(folder / "checkpoint")
    return original, folder / "checkpoint"


def test_converted_model_computes_what_the_original_does(converted) -> None:
    original, folder = converted
    model = load_model(folder, device=torch.device("cpu"))
    ids = torch.tensor([[1, 70, 71, 99, 2]])
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, original(ids).logits)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_converted_checkpoint_says_nothing_of_quantisation_or_its_file(converted) -> None:
    _, folder = converted
    for name in ("config.json", "tokenizer_config.json"):
        text = (folder / name).read_text()
        assert "gguf" not in text and "quantization" not in text and "Somebody" not in text


def test_tokenizer_comes_along_with_its_special_tokens_and_template(converted) -> None:
    tokenizer = load_tokenizer(converted[1])
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    turn = [{"role": "user", "content": "hi hi"}]
    ids = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
    assert tokenizer.convert_ids_to_tokens(ids) == [
        "<|im_start|>", "hi", "Ġhi", "<|im_end|>", "<|im_start|>",
    ]  # fmt: skip


def test_tokenizer_of_smollm_splits_numbers_into_digits(converted) -> None:
    tokenizer = load_tokenizer(converted[1])
    assert tokenizer.tokenize("hi  12") == ["hi", "Ġ", "Ġ", "1", "2"]


@pytest.mark.parametrize("text", ["hi 12\n\n  é 漢 <think>", "<|im_start|>hi<|im_end|>"])
def test_tokenizer_gives_every_text_back(converted, text: str) -> None:
    tokenizer = load_tokenizer(converted[1])
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.gguf is missing"):
        read_gguf(tmp_path / "nowhere.gguf")


@pytest.mark.parametrize("kept", [0, 100, 30_000])
def test_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, llama())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError, match="cannot be read as a GGUF checkpoint"):
        read_gguf(path)


def without(tensors: dict) -> None:
    del tensors["blk.1.ffn_down.weight"]


def with_another(tensors: dict) -> None:
    tensors["blk.1.odd.weight"] = np.ones((32, 32), np.float32)


def with_a_wider(tensors: dict) -> None:
    tensors["blk.1.ffn_down.weight"] = np.ones((32, 128), np.float32)


def with_a_nan(tensors: dict) -> None:
    tensors["output_norm.weight"] = np.full(32, np.nan, np.float32)


@pytest.mark.parametrize("spoil", [without, with_another, with_a_wider, with_a_nan])
def test_file_with_other_weights_is_refused(tmp_path: Path, spoil) -> None:
    def spoilt(model):
        tensors = gguf_tensors(model)
        spoil(tensors)
        return tensors

    path = tmp_path / "model.gguf"
    write_gguf(path, llama(), tensors=spoilt)
    with pytest.raises(ModelError, match="not finite" if spoil is with_a_nan else "holds .* weigh"):
        read_gguf(path)
    assert (complaint(path) is None) == (spoil is with_a_nan)  # no header tells it


@pytest.mark.parametrize(
    "settings",
    [
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
        {"rope.scaling.type": "yarn"},
        {"rope.scale_linear": 2.0},
        {"attention.clamp_kqv": 8.0},
        {"attention.sliding_window": 64},
        {"logit_scale": 0.1},
        {"final_logit_softcapping": 30.0},
        {"rope.dimension_count_swa": 4},
        {"attention.key_length": 16},
        {"attention.causal": False},
        {"rope_freqs.weight": 8.0},  # how a Llama 3.1 is scaled
        {"an_option_of_tomorrow": 1},
    ],
)
def test_settings_that_transformers_leaves_out_are_refused(tmp_path: Path, settings) -> None:
    def scaled(model):
        freqs = settings.get("rope_freqs.weight")
        more = {"rope_freqs.weight": np.full(4, freqs, np.float32)} if freqs else {}
        return {**gguf_tensors(model), **more}

    path = tmp_path / "model.gguf"
    own = {key: value for key, value in settings.items() if key != "rope_freqs.weight"}
    write_gguf(path, llama(), tensors=scaled, settings=own)
    with pytest.raises(ModelError, match=f"says .*{next(iter(settings))}.* leaves out"):
        read_gguf(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"rope.scaling.type": "none", "rope.scaling.factor": 1.0},
        {"attention.sliding_window": 128},
        {"attention.key_length": 8, "attention.value_length": 8, "attention.causal": True},
        {"tensor_data_layout": "Meta AI original pth"},
        {},
    ],
)
def test_settings_that_change_nothing_are_read(tmp_path: Path, settings) -> None:
    def unscaled(model):
        return {**gguf_tensors(model), "rope_freqs.weight": np.ones(4, np.float32)}

    write_gguf(tmp_path / "model.gguf", llama(), tensors=unscaled, settings=settings)
    model, _ = read_gguf(tmp_path / "model.gguf")
    assert type(model).__name__ == "LlamaForCausalLM"


def test_settings_without_which_another_model_is_read_must_be_there(tmp_path: Path) -> None:
    path, key = tmp_path / "model.gguf", "attention.layer_norm_rms_epsilon"
    write_gguf(path, llama(), left_out=key)
    with pytest.raises(ModelError, match=f"lacks llama.{key}"):
        read_gguf(path)


def test_without_a_rotary_base_it_is_what_gguf_takes(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", llama(), left_out="rope.freq_base")
    model, _ = read_gguf(tmp_path / "model.gguf")
    assert model.config.rope_parameters["rope_theta"] == 10_000


def test_endless_blocks_are_refused_before_they_are_built(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", llama(), blocks=2**31)
    with pytest.raises(ModelError, match=r"llama\.block_count is 2147483648"):
        read_gguf(tmp_path / "model.gguf")


def test_what_lies_beside_the_file_is_not_read(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", llama())
    for name in ("adapter_config.json", "config.json", "tokenizer_config.json"):
        (tmp_path / name).write_text('{"auto_map": {"AutoConfig": "c.C"}, "model_type": "mine"}')
    model, tokenizer = read_gguf(tmp_path / "model.gguf")
    assert type(model).__name__ == "LlamaForCausalLM" and tokenizer.eos_token == "<|im_end|>"


def test_unknown_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, llama(), architecture="unheard-of")
    with pytest.raises(ModelError, match="cannot be read as a GGUF checkpoint"):
        read_gguf(path)
