"""Where a guard's checkpoint lies, and whether it is the one and can be used here."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch
from huggingface_hub.errors import GatedRepoError
from transformers import PreTrainedTokenizerFast

from components.core.errors import ConfigError, ModelError
from components.core.storage import CHECKPOINT_FILES, digest_folder
from components.lm.architecture import outline
from components.lm.loading import default_device, default_precision, fetch
from components.lm.weights import stored_weights


def locate(model: str, revision: str | None, label: str) -> tuple[Path, str | None]:
    """Return a checkpoint's folder and what its files are pinned by: digest, or name and commit;
    None: by nothing.

    A folder whose digest is not the pinned one raises `ConfigError`.
    """
    if (folder := Path(model)).is_dir():
        if revision is None:
            return folder, None
        found = digest_of(folder)
        if revision != found:
            raise ConfigError(
                f"the judge {label!r}: the files in {model} have the SHA-256 {found}, and "
                f"{revision} is pinned; put the pinned checkpoint there, or set "
                f"evaluate.judges.{label}.revision to the digest of this one"
            )
        return folder, found
    if revision is None:
        raise ConfigError(
            f"the judge {label!r}: {model!r} is no local folder, and a hub checkpoint needs its "
            f"commit; set evaluate.judges.{label}.revision"
        )
    try:
        return fetch(model, revision), f"{model}@{revision}"
    except ModelError as error:
        raise ModelError(f"the judge {label!r}: {_reason(error, model)}") from error


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over a checkpoint's files."""
    return digest_folder(folder, suffixes=CHECKPOINT_FILES)


def _reason(error: ModelError, model: str) -> str:
    if not isinstance(error.__cause__, GatedRepoError):
        return str(error)
    return (
        f"{model!r} is gated; accept its licence on its page, then log in (`hf auth login`, or set "
        "HF_TOKEN), or give a local folder"
    )


def check_architecture(folder: Path, architecture: str, label: str, kind: str) -> None:
    """Raise `ModelError` unless `folder` holds a whole model of `architecture` as safetensors."""
    try:
        found = type(outline(folder)).__name__
    except ModelError as error:
        raise ModelError(f"the judge {label!r}: {error}") from error
    if found != architecture:
        raise ModelError(
            f"the judge {label!r}: {folder} holds a {found}; a {kind} is a {architecture}"
        )


def tokenizer(folder: Path, label: str) -> PreTrainedTokenizerFast:
    """Return the tokenizer as tokenizer.json has it; a guard needs no chat template."""
    try:
        found = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the judge {label!r}: {folder} has no tokenizer.json that can be read: {error}"
        ) from error
    if found.eos_token_id is None:
        raise ModelError(f"the judge {label!r}: its tokenizer has no end-of-sequence token")
    if found.pad_token_id is None:
        found.pad_token = found.eos_token
    return found


def control_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[int, str]:
    """Return every token that no text should turn into: id -> string.

    All that were added to the vocabulary, special or not, except layout such as runs of blanks and
    the token for unknown text.
    """
    return {
        token: str(added.content)
        for token, added in tokenizer.added_tokens_decoder.items()
        if str(added.content).strip() and token != tokenizer.unk_token_id
    }


def check_memory(folder: Path, label: str) -> None:
    """Raise `ModelError` where the weights do not fit the free memory of their device."""
    device = default_device()
    stored = stored_weights(folder).values()
    loaded = default_precision(device)
    widths = (w.itemsize if loaded == "auto" else loaded.itemsize for w in stored)
    size = sum(weight.numel() * width for weight, width in zip(stored, widths, strict=True))
    if device.type == "cpu":
        free = psutil.virtual_memory().available
    elif device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        return
    if size > free:
        raise ModelError(
            f"the judge {label!r} needs {size / 2**30:.1f} GiB for its weights, and {device} has "
            f"{free / 2**30:.1f} GiB free; judge on a larger machine, or use a judge of kind rubric"
        )
