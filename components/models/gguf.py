"""A GGUF file as an ordinary model and tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from gguf import GGUFReader
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from components.core.errors import ModelError
from components.lm.architecture import check_supported, silenced
from components.lm.configuration import refusing
from components.lm.weights import check_loaded, check_report

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_UNREADABLE = "{path} cannot be read as a GGUF checkpoint"
_SMOLLM = "smollm"  # the one pre-tokenizer in use here that transformers takes for GPT-2's


def read_gguf(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the de-quantised model, in single precision, and the tokenizer of a GGUF file.

    Both can be saved as an ordinary checkpoint. Raises `ModelError` where the file is missing,
    cut short, lacks weights, or is of an architecture or tokenizer that transformers cannot read
    or this project does not support.
    """
    check_gguf(path)
    what = _UNREADABLE.format(path=path)
    with silenced(), refusing(what), _alone(path) as folder:
        pre_tokenizer = GGUFReader(path).get_field("tokenizer.ggml.pre")
        tokenizer = AutoTokenizer.from_pretrained(
            folder, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=path.name,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        quantised, report = loaded
        check_report(what, report)
        check_loaded(what, quantised)
    if pre_tokenizer is not None and pre_tokenizer.contents() == _SMOLLM:
        _split_digits(tokenizer)
    return _plain_model(quantised), _plain_tokenizer(tokenizer)


def check_gguf(path: Path) -> None:
    """Raise `ModelError` unless the header of a GGUF file describes a whole, supported model.

    No weights are read. transformers leaves out tensors that it does not know, so what the header
    lists is counted against the model.
    """
    if not path.is_file():
        raise ModelError(f"{path} is missing; put the GGUF file there or change the profile")
    with silenced(), refusing(_UNREADABLE.format(path=path)), _alone(path) as folder:
        reader = GGUFReader(path)
        _check_blocks(path, reader)
        config = AutoConfig.from_pretrained(
            folder, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False).eval()
        tensors = [t for t in reader.tensors if not t.name.startswith("rope_")]
    check_supported(model)
    stored = sum(int(tensor.n_elements) for tensor in tensors)
    expected = sum(weight.numel() for weight in model.parameters())
    if stored != expected:
        raise ModelError(
            f"{path} holds {stored} weights in {len(tensors)} tensors, and the "
            f"{type(model).__name__} that it describes has {expected}; download it again, or give "
            "the checkpoint that it was made from"
        )


def _check_blocks(path: Path, reader: GGUFReader) -> None:
    """Raise `ModelError` for more blocks than tensors: each is built before it is compared."""
    for name, field in reader.fields.items():
        if name.endswith(".block_count") and int(field.contents()) > len(reader.tensors):
            raise ModelError(
                f"{path}: {name} is {field.contents()}, and the file has {len(reader.tensors)} "
                "tensors; download it again"
            )


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """Yield a folder with nothing but the file: settings, code and adapters that lie beside it
    would be read with it."""
    with TemporaryDirectory() as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        yield Path(folder)


def _split_digits(tokenizer: Any) -> None:
    """Split numbers into digits before byte-level BPE, as SmolLM's own tokenizer.json does."""
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _plain_model(quantised: PreTrainedModel) -> PreTrainedModel:
    """Return a fresh model with the same weights, whose config does not speak of quantisation.

    transformers refuses to save a model that was loaded from a quantised file.
    """
    config = quantised.config
    for trace in ("quantization_config", "_model_name_or_path"):
        config.__dict__.pop(trace, None)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    model.load_state_dict(quantised.state_dict())
    return model.eval()


def _plain_tokenizer(tokenizer: Any) -> PreTrainedTokenizerBase:
    """Return the tokenizer without the traces of how it was read."""
    for trace in ("gguf_file", "is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(trace, None)
    return tokenizer
