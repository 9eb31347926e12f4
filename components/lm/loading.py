"""Checkpoints, tokenizers and adapters, from local folders or pinned hub revisions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from components.errors import ModelError
from components.lm.chat import prompt_contract
from components.results import ModelRef, Models
from components.storage import digest_folder, read_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHECKPOINT_FILES = (".safetensors", ".json", ".jinja", ".model", ".txt")


def default_device() -> torch.device:
    """Return the device named by `SAFEREACT_DEVICE`, else an accelerator, else the CPU."""
    named = os.environ.get("SAFEREACT_DEVICE")
    if named:
        return torch.device(named)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator or torch.device("cpu")


def checkpoint_folder(models: Models, ref: ModelRef) -> Path:
    """Return the local folder of a checkpoint, fetching a hub revision that is not there yet."""
    if ref.where == "stage":
        return models.folder / ref.location
    if ref.where == "local":
        return Path(ref.location)
    return fetch(ref.location, ref.revision)


def fetch(repository: str, revision: str | None) -> Path:
    """Return the local snapshot of a hub checkpoint; raises `ModelError` where it cannot be had."""
    from huggingface_hub import snapshot_download

    patterns = [f"*{suffix}" for suffix in CHECKPOINT_FILES]
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"checkpoint {repository!r} is neither a local folder nor to be had from the hub "
            f"({type(error).__name__}); check the name, or download it and give its folder"
        ) from error


def describe_checkpoint(
    folder: Path, *, location: str, where: str, revision: str | None = None
) -> ModelRef:
    """Return what there is to know of the checkpoint in `folder` without loading its weights.

    Raises `ModelError` where the folder holds no checkpoint with safetensors, tokenizer and
    chat template.
    """
    from safetensors import SafetensorError, safe_open

    if not (folder / "config.json").is_file():
        raise ModelError(f"{location!r} holds no checkpoint: {folder / 'config.json'} is missing")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{location!r} has no .safetensors weights; pickled weights are not read")
    parameters = 0
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        for path in weights:
            with safe_open(path, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - not a mapping
                    size = 1
                    for axis in tensors.get_slice(name).get_shape():
                        size *= axis
                    parameters += size
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"checkpoint {location!r} cannot be read: {error}") from error
    return ModelRef(
        location=location,
        where=where,
        revision=revision,
        digest=digest_folder(folder, suffixes=CHECKPOINT_FILES),
        architecture=(config.architectures or [type(config).__name__])[0],
        parameters=parameters,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        vocabulary=config.vocab_size,
        contract=prompt_contract(load_tokenizer(folder)),
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer in `folder`, with a padding token and a chat template.

    Raises `ModelError` where there is no tokenizer or no template.
    """
    try:
        tokenizer = _tokenizer_class(folder).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} has no tokenizer that can be read: {error}") from error
    if not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer in {folder} has no chat template; put the one that the model was "
            "trained with there as chat_template.jinja"
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer in {folder} has no end-of-sequence token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _tokenizer_class(folder: Path) -> Any:
    # AutoTokenizer puts the architecture's own class in place of a declared generic one, and with
    # it that class's pre-tokenizer: a word-level tokenizer beside a Qwen2 model would be broken.
    settings = folder / "tokenizer_config.json"
    declared = read_json(settings).get("tokenizer_class") if settings.is_file() else None
    generic = declared in ("PreTrainedTokenizerFast", "TokenizersBackend")
    return PreTrainedTokenizerFast if generic else AutoTokenizer


def load_model(folder: Path, *, device: torch.device | None = None) -> PreTrainedModel:
    """Return the causal language model in `folder`, in evaluation mode.

    Single precision on a CPU, the checkpoint's own precision on an accelerator. Safetensors only,
    no code from the checkpoint. Raises `ModelError` where it cannot be loaded.
    """
    from safetensors import SafetensorError

    device = device or default_device()
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32 if device.type == "cpu" else "auto",
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the model in {folder} cannot be loaded: {error}") from error
    return model.to(device).eval()


def attach_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Return `model` with the adapter in `folder`, in evaluation mode.

    Raises `ModelError` where the folder holds no safetensors adapter or it does not fit the model.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(f"{folder} holds no adapter (adapter_model.safetensors is missing)")
    try:
        adapted = PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the adapter in {folder} does not fit this model: {error}") from error
    return adapted.eval()
