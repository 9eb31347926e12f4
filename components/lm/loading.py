"""Checkpoints and tokenizers, from local folders or pinned hub revisions."""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedTokenizerFast,
)
from transformers.utils import is_bitsandbytes_available

from components.core.errors import ModelError
from components.core.result import Result
from components.core.storage import CHECKPOINT_FILES, read_json
from components.lm import weights
from components.lm.architecture import outline, silenced
from components.lm.chat import prompt_contract
from components.lm.configuration import read_config, refusing
from components.lm.references import CheckpointRef, ModelRef
from components.lm.template_checks import check_template

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

_PRECISIONS = ("auto", "float32", "bfloat16")


def default_device() -> torch.device:
    """Return the device named by `SAFEREACT_DEVICE`, else an accelerator, else the CPU."""
    if named := os.environ.get("SAFEREACT_DEVICE"):
        return torch.device(named)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return torch.device("cpu")
    # A launcher of several processes tells each which accelerator of the machine is its own.
    place = os.environ.get("LOCAL_RANK")
    return accelerator if place is None else torch.device(accelerator.type, int(place))


def default_precision(device: torch.device) -> torch.dtype | Literal["auto"]:
    """Return the precision named by `SAFEREACT_PRECISION`, else the one for `device`.

    Single precision on a CPU, "auto", the checkpoint's own, on an accelerator. Raises `ModelError`
    for another word.
    """
    named = os.environ.get("SAFEREACT_PRECISION") or ("float32" if device.type == "cpu" else "auto")
    if named not in _PRECISIONS:
        raise ModelError(
            f"SAFEREACT_PRECISION is {named!r}; it may be one of {', '.join(_PRECISIONS)}"
        )
    return "auto" if named == "auto" else getattr(torch, named)


def precision_word(folder: Path, device: torch.device) -> str:
    """Return the name of the precision in which `load_model` holds the checkpoint in `folder` on
    `device`, for programs that mean something else by "auto"."""
    precision: object = default_precision(device)
    if precision == "auto":
        stored = (tensor.dtype for tensor in weights.stored_weights(folder).values())
        floating = (dtype for dtype in stored if dtype.is_floating_point)
        precision = read_config(folder).dtype or next(floating)
    return str(precision).removeprefix("torch.")


def checkpoint_folder(models: Result, ref: CheckpointRef) -> Path:
    """Return the local folder of a checkpoint, fetching a hub revision that is not there yet."""
    if ref.where == "hub":
        return fetch(ref.location, ref.revision)
    return models.folder / ref.location if ref.where == "stage" else Path(ref.location)


def fetch(repository: str, revision: str | None) -> Path:
    """Return the local snapshot of a hub checkpoint; raises `ModelError` where it cannot be had."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=[f"*{suffix}" for suffix in CHECKPOINT_FILES],
                ignore_patterns="consolidated*.safetensors",  # the same weights in another format
            )
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"checkpoint {repository!r} is neither a local folder nor to be had from the hub "
            f"({type(error).__name__}); check the name, or download it and give its folder"
        ) from error


def free_memory() -> None:
    """Give back the memory of models whose names are gone: they are part of reference cycles."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


def available_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on `device`; None where it does not tell."""
    if device.type == "cpu":
        return psutil.virtual_memory().available
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def context_length(folder: Path) -> int:
    """Return how many tokens prompt and completion may have together in the model in `folder`."""
    return int(read_config(folder).get_text_config().max_position_embeddings)


def describe_checkpoint(
    folder: Path, *, location: str, where: str, revision: str | None = None
) -> ModelRef:
    """Return what there is to know of the checkpoint in `folder` without loading the model.

    Its files are read once, for their digest and for weights that are not finite; what is
    suspicious about its chat template is logged. Raises `ModelError` where the folder holds no
    whole checkpoint of one model, with safetensors, tokenizer and chat template.
    """
    model = _read_outline(folder)
    tokenizer = load_tokenizer(folder)
    for line in check_template(tokenizer):
        log.warning("%s: %s", folder.name, line)
    return ModelRef(
        location=location,
        where=where,
        revision=revision,
        digest=weights.digest_checkpoint(folder),
        architecture=type(model).__name__,
        parameters=sum(weight.numel() for weight in model.parameters()),
        layers=model.config.num_hidden_layers,
        hidden=model.config.hidden_size,
        vocabulary=model.config.vocab_size,
        contract=prompt_contract(tokenizer),
    )


def describe_weights(
    folder: Path, *, location: str, where: str, revision: str | None = None
) -> CheckpointRef:
    """Return what `describe_checkpoint` does of a checkpoint of which only weights are used: it may
    have no chat template."""
    _read_outline(folder)
    digest = weights.digest_checkpoint(folder)
    return CheckpointRef(location=location, where=where, revision=revision, digest=digest)


def _read_outline(folder: Path) -> PreTrainedModel:
    """Return the model's outline, after reading its weights once."""
    model = outline(folder)
    with refusing(f"the weights in {folder} cannot be read"):
        weights.check_values(str(folder), weights.read_weights(folder), zeros=False)
        weights.tie_outline(folder, model)
    return model


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer in `folder`, with a padding token and a chat template that it fits.

    Raises `ModelError` where there is no tokenizer or its template cannot be used.
    """
    try:
        tokenizer = _tokenizer_class(folder).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizers raises Exception itself for a file that is broken
        reason = " ".join(str(error).split())
        raise ModelError(f"{folder} has no tokenizer that can be read: {reason:.512}") from error
    if tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer in {folder} has no end-of-sequence token")
    check_template(tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _tokenizer_class(folder: Path) -> Any:
    # AutoTokenizer puts the architecture's own class in place of a declared generic one, and with
    # it that class's pre-tokenizer: a word-level tokenizer beside a Qwen2 model would be broken.
    settings = folder / "tokenizer_config.json"
    stored = read_json(settings) if settings.is_file() else {}
    declared = stored.get("tokenizer_class") if isinstance(stored, dict) else None
    generic = declared in ("PreTrainedTokenizerFast", "TokenizersBackend")
    return PreTrainedTokenizerFast if generic else AutoTokenizer


def load_model(
    folder: Path,
    *,
    device: torch.device | None = None,
    load_in_4bit: bool = False,
    trained: bool = True,
) -> PreTrainedModel:
    """Return the causal language model in `folder`, in evaluation mode.

    In the precision of `default_precision`; with `load_in_4bit` its linear layers as NF4, the LM
    head excepted, which on a CPU cannot be `trained`. Safetensors only, no code from the
    checkpoint. Raises `ModelError` where it cannot be loaded, where a weight is missing, not the
    model's, or not finite.
    """
    device = device or default_device()
    quantised = _nf4(device, trained=trained) if load_in_4bit else {}
    weights.refuse_adapter(folder)
    config = read_config(folder)
    weights.stored_weights(folder)
    with silenced(), refusing(f"the model in {folder} cannot be loaded"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=default_precision(device),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **quantised,
        )
        model, report = loaded
        weights.check_report(str(folder), report)
        weights.check_loaded(str(folder), model)
    return (model if load_in_4bit else model.to(device)).eval()


def _nf4(device: torch.device, *, trained: bool) -> dict[str, Any]:
    """Return what loads a model in 4 bits onto `device` (QLoRA, arXiv 2305.14314, section 3).

    To train through it a CPU is refused: once a model was evaluated there, bitsandbytes (0.50.2)
    computes with packed weights, through which no gradient flows, and only warns of it.
    """
    if trained and device.type == "cpu":
        raise ModelError(
            "load_in_4bit needs an accelerator, and this is a CPU, on which bitsandbytes gives no "
            "reliable gradients; set train.load_in_4bit: false in the profile"
        )
    if not is_bitsandbytes_available():
        otherwise = ", or set train.load_in_4bit: false in the profile" if trained else ""
        raise ModelError(
            "4 bits need bitsandbytes, which is not installed: pip install 'safereact-ops[4bit]'"
            + otherwise
        )
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": settings, "device_map": {"": device}}
