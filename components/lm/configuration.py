"""The settings of a checkpoint, read so that nothing in its folder runs or is fetched."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from transformers import AutoConfig, GenerationConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
)

from components.core.errors import ModelError, SafeReActError
from components.core.section import Sampling

CONFIG, GENERATION = "config.json", "generation_config.json"
_LONGEST = 512  # characters of another library's message
_LARGEST = 1 << 28  # bytes of a settings file: tokenizer.json of large vocabularies has 20 MB
# Kernels that come with torch or with installed packages. Any other name is a repository to fetch.
_KERNELS = {
    "attn_implementation": (
        *("eager", "sdpa", "flex_attention"),
        *("flash_attention_2", "flash_attention_3", "flash_attention_4"),
    ),
    "experts_implementation": ("eager", "batched_mm", "grouped_mm"),
}
# Settings that make transformers read other files than the ones that were checked.
_ELSEWHERE = ("transformers_weights", "configuration_files", "kernel_config", "use_kernels")
# A module or list entry is made for each of these before any size can be compared.
_COUNTED = re.compile(
    r"^(?!.*(size|length|position)).*(layer|block|depth|expert|label|codebook|stage|group|head)"
)
_MOST = 1 << 16


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Raise `ModelError` saying `what` for whatever a library raises within the block.

    What a damaged or hostile file makes of a library's code has no bound; Ctrl-C passes through.
    """
    try:
        yield
    except SafeReActError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        raise ModelError(f"{what}: {reason}") from error


def require_file(path: Path) -> None:
    """Raise `ModelError` saying what is there in its place unless `path` is a file."""
    if path.is_file():
        return
    found = "a folder, not a file" if path.is_dir() else "missing"
    if path.is_symlink() and not path.exists():
        found = f"a link to {path.readlink()}, which is missing"
    raise ModelError(f"{path.parent} holds no whole checkpoint: {path.name} is {found}")


def read_document(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; raises `ModelError` for anything else."""
    require_file(path)
    if path.stat().st_size > _LARGEST:
        raise ModelError(f"{path} has {path.stat().st_size} bytes, at most {_LARGEST} are read")
    with refusing(f"{path} cannot be read as JSON in UTF-8"):
        document = json.loads(path.read_bytes().decode("utf-8"))
    if not isinstance(document, dict):
        raise ModelError(
            f"{path} holds a JSON {type(document).__name__}, not an object; download it again"
        )
    return document


def read_config(folder: Path) -> PreTrainedConfig:
    """Return the configuration of the causal language model in `folder`.

    Its attention is torch's own, `eager` where config.json asks for that. Raises `ModelError`
    where the settings are broken, quantised, of a model that transformers does not know or of two,
    need code from the checkpoint, or name a kernel or file elsewhere.
    """
    path = folder / CONFIG
    document = read_document(path)
    with refusing(f"{path} describes no model that can be built"):
        _check_settings(path, document)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        known = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
        named = [str(name) for name in config.architectures or ()]
    if not known:
        raise ModelError(
            f"{path}: model_type {config.model_type!r} is no causal language model; give a "
            "checkpoint of one"
        )
    # Weights of many models fit into those of another, which computes something else with them.
    own = model_class(config).__name__
    others = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()} & {*named}
    if others and own not in others:
        raise ModelError(
            f"{path}: architectures is {named!r:.80} and model_type {config.model_type!r}, which "
            f"is that of {own}; set both to what the model was trained with"
        )
    _check_generation(folder)
    eager = getattr(config, "_attn_implementation", None) == "eager"
    config._attn_implementation = "eager" if eager else None
    return config


def model_class(config: PreTrainedConfig) -> Any:
    """Return transformers' class of the causal language models of `config`."""
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]


def _check_settings(path: Path, document: dict[str, Any]) -> None:
    kind = document.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        code = ", and code that comes with a checkpoint is not run" * ("auto_map" in document)
        raise ModelError(
            f"{path}: transformers has no model_type {str(kind)[:80]!r}{code}; give a checkpoint "
            "of a model that is built into it"
        )
    for where, key, value in _settings(document):
        if wrong := _what_is_wrong(key, value):
            raise ModelError(f"{path}: {where} is {wrong}")


def _what_is_wrong(key: str, value: Any) -> str:
    """Return why a setting cannot be used; empty: it can."""
    name = key.removeprefix("_").removesuffix("_internal")
    chosen = value.values() if isinstance(value, dict) else [value]
    if name in _KERNELS and not all(one is None or one in _KERNELS[name] for one in chosen):
        return (
            f"{value!r}, a kernel to be fetched, which is not done; remove the key, or set one of "
            f"{', '.join(_KERNELS[name])}"
        )
    if name == "quantization_config" and value:
        method = value.get("quant_method", "?") if isinstance(value, dict) else value
        return (
            f"set: the weights are quantised ({method}), and masks and adapters need plain ones; "
            "give the checkpoint in bfloat16"
        )
    if name in _ELSEWHERE and value:
        return f"{value!r}, which is not followed; remove the key"
    if type(value) is float and math.isnan(value):
        return "NaN, with which the model computes nothing else"
    if type(value) is int and not -_MOST <= value <= _MOST and _COUNTED.search(key):
        return f"{value}; at most {_MOST} can be right"
    return ""


def _settings(value: Any, where: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield every setting at any depth: its path, its key, its value."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        place = f"{where}.{key}" if where else str(key)
        yield place, str(key), child
        if isinstance(child, dict | list):
            yield from _settings(child, place)


def checkpoint_sampling(folder: Path) -> Sampling | None:
    """Return how the checkpoint in `folder` is sampled by its generation_config.json; None where
    that does not say, says greedily, or says what nobody can sample by."""
    if not (folder / GENERATION).is_file():
        return None
    settings = read_document(folder / GENERATION)
    if settings.get("do_sample") is not True:
        return None
    given = {key: settings[key] for key in ("top_p", "top_k") if settings.get(key) is not None}
    try:
        return Sampling.model_validate({"temperature": settings.get("temperature", 1.0), **given})
    except ValidationError:
        return None


def _check_generation(folder: Path) -> None:
    """Raise `ModelError` for a generation_config.json that transformers would pass over."""
    path = folder / GENERATION
    if not path.exists() and not path.is_symlink():
        return
    document = read_document(path)
    with refusing(f"{path} cannot be used"):
        GenerationConfig.from_dict(document)
    ends = document.get("eos_token_id")
    if not all(type(end) is int for end in (ends if isinstance(ends, list) else [ends or 0])):
        raise ModelError(f"{path}: eos_token_id is {ends!r}; a token's number, or a list of them")
