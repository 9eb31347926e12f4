"""LoRA adapters: their shape, and their files in PEFT's own format, the same bytes every time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from components.errors import TrainingError
from components.lm.masks import PROJECTIONS, projections
from components.storage import digest_folder, read_json, write_json
from components.workspace import CONTRACT

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from components.results import PromptContract

_SETTINGS = "adapter_config.json"


def add_lora(
    model: PreTrainedModel,
    *,
    r: int,
    alpha: int,
    dropout: float,
    layers: int,
    location: str,
    seed: int,
) -> PeftModel:
    """Return `model` with a fresh LoRA on the seven projections of its first `layers` layers.

    Its first output is the model's own. `location` is what the adapter's file names as its base.
    Raises `ModelError` for an architecture without these projections.
    """
    projections(model)
    settings = LoraConfig(
        task_type="CAUSAL_LM",
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(PROJECTIONS),
        layers_to_transform=list(range(layers)),
        layers_pattern="layers",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapted = cast(PeftModel, get_peft_model(model, settings))
    # PEFT names the folder that the model came from, which differs by machine.
    adapted.peft_config["default"].base_model_name_or_path = location
    return adapted


def trainable_parameters(model: PeftModel) -> int:
    """Return the number of weights that training changes."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def save_lora(model: PeftModel, folder: Path, contract: PromptContract) -> str:
    """Write the adapter and its prompt contract into `folder`; return the folder's digest.

    Raises `TrainingError` where a weight is not finite.
    """
    for name, weight in model.named_parameters():
        if weight.requires_grad and not weight.isfinite().all():
            raise TrainingError(f"{name} is not finite after training; lower the learning rate")
    # Without `False` PEFT asks the hub whether the base model's embeddings have changed.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink()  # a blank form; the registry writes the model card
    settings = read_json(folder / _SETTINGS)
    # PEFT keeps the names as a set, whose order changes from process to process.
    settings["target_modules"] = sorted(settings["target_modules"])
    write_json(folder / _SETTINGS, settings)
    write_json(folder / CONTRACT, contract.model_dump(mode="json"))
    return digest_folder(folder)
