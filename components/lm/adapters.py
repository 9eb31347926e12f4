"""Adapters in PEFT's format, put on a model: all of their weights, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import ModelError
from components.lm.configuration import read_document, refusing
from components.lm.weights import (
    ADAPTER_SETTINGS,
    ADAPTER_WEIGHTS,
    check_report,
    check_values,
    header,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

# Each imports a module or reads a file that the settings name.
_ELSEWHERE = ("megatron_config", "corda_config", "eva_config", "lora_ga_config")


def attach_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Return `model` with the adapter in `folder`, in evaluation mode.

    The adapter is computed in the precision of the model, as inference servers do; PEFT's own
    default computes it in float32, which takes a bfloat16 model's matrices 1.6 to 2.5 times as long
    on a CPU with bfloat16 products. Raises `ModelError` where the folder holds no safetensors
    adapter, its settings are not those of a plain LoRA, or its weights are not exactly those that
    this model's adapter has.
    """
    return _attached(model, folder, autocast_adapter_dtype=False)


def _attached(model: PreTrainedModel, folder: Path, *, autocast_adapter_dtype: bool) -> PeftModel:
    from peft import PeftModel, get_peft_model_state_dict

    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ModelError(f"{folder} holds no adapter ({ADAPTER_WEIGHTS} is missing)")
    path = folder / ADAPTER_SETTINGS
    settings = read_document(path)
    if settings.get("peft_type") != "LORA":
        raise ModelError(f"{path}: peft_type is {settings.get('peft_type')!r}; only LORA is known")
    if named := [key for key in _ELSEWHERE if settings.get(key)]:
        raise ModelError(f"{path} sets {', '.join(named)}, which is not followed; remove it")
    stored, what = dict(header(folder / ADAPTER_WEIGHTS)), f"the adapter in {folder}"
    with refusing(f"{what} does not fit this model"):
        adapted = PeftModel.from_pretrained(
            model, str(folder), autocast_adapter_dtype=autocast_adapter_dtype
        )
        used = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    both = [(name, stored[name].shape, used[name].shape) for name in stored.keys() & used.keys()]
    report = {
        "missing_keys": used.keys() - stored.keys(),
        "unexpected_keys": stored.keys() - used.keys(),
        "mismatched_keys": [row for row in both if row[1] != row[2]],
    }
    check_report(f"{what} does not fit this model", report)
    check_values(what, used.items())
    return adapted.eval()


def merge_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return `model` with the adapter in `folder` added to its weights, which change in place.

    It is an ordinary checkpoint then. The adapter's matrices are multiplied in float32 and the sum
    is rounded once. Raises `ModelError` as `attach_adapter` does.
    """
    adapted: Any = _attached(model, folder, autocast_adapter_dtype=True)
    merged = adapted.merge_and_unload()
    return merged.eval()
