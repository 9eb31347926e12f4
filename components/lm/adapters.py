"""Adapters in PEFT's format, put on a model: all of their weights, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file

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
    from torch import Tensor
    from transformers import PreTrainedModel

# What a plain LoRA is described by, and what does nothing by itself. Any other setting that is set
# computes something else, reads a file or a module that it names, or is of a later PEFT, which this
# one leaves out without a word.
PLAIN = frozenset({
    *("peft_type", "peft_version", "task_type", "auto_mapping", "inference_mode", "revision"),
    *("base_model_name_or_path", "r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora"),
    *("rank_pattern", "alpha_pattern", "target_modules", "exclude_modules", "target_parameters"),
    *("layers_to_transform", "layers_pattern", "layer_replication", "modules_to_save", "lora_bias"),
    *("trainable_token_indices", "ensure_weight_tying", "fan_in_fan_out", "bias"),
    *("init_lora_weights", "megatron_core", "qalora_group_size", "loftq_config", "runtime_config"),
})  # fmt: skip
# Values that leave the model's own weights alone. PiSSA and its like take a part of them away when
# an adapter is put on, which nothing puts back, and servers do not do it.
_LEAVES_MODEL_ALONE: dict[str, tuple[Any, ...]] = {
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),
    "bias": ("none",),
}


_WHAT = "the adapter in {folder}"
_MISFIT = f"{_WHAT} does not fit this model"


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
    from peft import PeftModel

    _check_folder(folder)
    with refusing(_MISFIT.format(folder=folder)):
        adapted = PeftModel.from_pretrained(
            model, str(folder), autocast_adapter_dtype=autocast_adapter_dtype
        )
    check_values(_WHAT.format(folder=folder), _weights_of(adapted, folder).items())
    return adapted.eval()


def check_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Raise `ModelError` as `attach_adapter` does, for whoever puts the adapter on elsewhere.

    `model` is an outline, to which an adapter without numbers is added.
    """
    from peft import PeftConfig, PeftModel

    _check_folder(folder)
    with refusing(_MISFIT.format(folder=folder)):
        settings = PeftConfig.from_pretrained(str(folder))
        adapted = PeftModel(model, settings, autocast_adapter_dtype=False, low_cpu_mem_usage=True)
    _weights_of(adapted, folder)
    check_values(_WHAT.format(folder=folder), load_file(folder / ADAPTER_WEIGHTS).items())


def _check_folder(folder: Path) -> None:
    """Raise `ModelError` where `folder` holds no adapter that is a plain LoRA."""
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ModelError(f"{folder} holds no adapter ({ADAPTER_WEIGHTS} is missing)")
    path = folder / ADAPTER_SETTINGS
    settings = read_document(path)
    if settings.get("peft_type") != "LORA":
        raise ModelError(f"{path}: peft_type is {settings.get('peft_type')!r}; only LORA is known")
    _check_plain(settings, path)


def _weights_of(adapted: PeftModel, folder: Path) -> Mapping[str, Tensor]:
    """Return the weights of the adapter on a model; raises `ModelError` where those in `folder` are
    not exactly these."""
    from peft import get_peft_model_state_dict

    stored, misfit = dict(header(folder / ADAPTER_WEIGHTS)), _MISFIT.format(folder=folder)
    with refusing(misfit):
        used: Mapping[str, Tensor] = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    both = [(name, stored[name].shape, used[name].shape) for name in stored.keys() & used.keys()]
    report = {
        "missing_keys": used.keys() - stored.keys(),
        "unexpected_keys": stored.keys() - used.keys(),
        "mismatched_keys": [row for row in both if row[1] != row[2]],
    }
    check_report(misfit, report)
    return used


def _check_plain(settings: Mapping[str, Any], path: Path) -> None:
    """Raise `ModelError` for settings of something else than a plain LoRA."""
    if named := sorted(key for key in settings.keys() - PLAIN if settings[key]):
        raise ModelError(
            f"{path} sets {', '.join(named)}, which is not followed here; train a plain LoRA, or "
            "remove it where it does nothing"
        )
    for key, allowed in _LEAVES_MODEL_ALONE.items():
        if (value := settings.get(key, allowed[0])) not in allowed:
            raise ModelError(
                f"{path}: {key} is {value!r}, and the adapter changes the model's own weights; "
                "convert it to a plain LoRA (path_initial_model_for_weight_conversion of PEFT's "
                "save_pretrained), or merge it and give the checkpoint"
            )


def merge_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return `model` with the adapter in `folder` added to its weights, which change in place.

    It is an ordinary checkpoint then. The adapter's matrices are multiplied in float32 and the sum
    is rounded once. Raises `ModelError` as `attach_adapter` does.
    """
    adapted: Any = _attached(model, folder, autocast_adapter_dtype=True)
    merged = adapted.merge_and_unload()
    return merged.eval()
