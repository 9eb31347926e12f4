"""LoRA adapters: their shape, and their files in PEFT's own format, the same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from components.core.errors import ModelError, TrainingError
from components.core.launcher import is_first
from components.core.paths import CONTRACT
from components.core.storage import atomic_folder, digest_folder, read_json, write_json
from components.lm.masks import PROJECTIONS, projection_of, projections
from components.lm.references import PromptContract
from components.lm.weights import ADAPTER_WEIGHTS
from components.models.result import Models
from components.train.checkpoints import trained_weights
from components.train.processes import broken, wait_for
from components.train.settings import Lora

_SETTINGS = "adapter_config.json"


class BaseName(NamedTuple):
    """What an adapter's file calls its model, so that PEFT loads that model or none."""

    name: str
    revision: str | None = None


def base_name(models: Models) -> BaseName:
    """Return the name of the post-trained model: its hub id and commit, or where it lies in the
    repository.

    A path in the repository is written so that nobody can own its name on the hub: from the
    repository's root PEFT finds the model, and elsewhere it refuses. A path of this machine alone
    is not told, only its last part.
    """
    model = models.post_trained
    if model.where == "hub":
        return BaseName(model.location, model.revision)
    if model.where == "stage":
        return BaseName(f"./artifacts/{models.folder.parent.name}/models/{model.location}")
    path = PurePath(model.location)
    return BaseName(f"./{path.name if path.is_absolute() else path}")


def add_lora(
    model: PreTrainedModel,
    lora: Lora,
    *,
    layers: Sequence[int],
    base: BaseName,
    seed: int,
    modules: Sequence[str] = PROJECTIONS,
) -> PeftModel:
    """Return `model` with a fresh LoRA on `modules` of the decoder blocks `layers`, 1 = first.

    Its first output is the model's own. `base` is what the adapter's file names as its base.
    Raises `ModelError` for an architecture without these projections, or where PEFT finds others.
    """
    settings = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(modules),
        layers_to_transform=[layer - 1 for layer in layers],
        layers_pattern="layers",
        revision=base.revision,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapted = cast(PeftModel, get_peft_model(model, settings))
    _check_covered(model, modules, layers)
    # PEFT names the folder that the model came from, which differs by machine.
    adapted.peft_config["default"].base_model_name_or_path = base.name
    return adapted


def load_lora(adapted: PeftModel, folder: Path) -> None:
    """Put the adapter that `save_lora` wrote into `folder` in the place of the fresh one; raises
    `TrainingError` where it cannot be read."""
    path = folder / ADAPTER_WEIGHTS
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise broken(folder, error) from error
    set_peft_model_state_dict(adapted, weights)


def _check_covered(model: PreTrainedModel, modules: Sequence[str], layers: Sequence[int]) -> None:
    """Raise `ModelError` unless the adapter lies on the matrices that a mask would cover, alone."""
    wanted = {
        name
        for name in projections(model)
        if projection_of(name) in modules and int(name.split(".")[1]) + 1 in layers
    }
    covered = {
        name.removeprefix("model.").removesuffix(".lora_A.default")
        for name, _ in model.named_modules()
        if name.endswith(".lora_A.default")
    }
    if covered != wanted:
        raise ModelError(
            f"{type(model).__name__} is not supported: the adapter and the masks cover different "
            f"matrices, such as {min(covered ^ wanted)}; see docs/models.md"
        )


def save_lora(model: PeftModel, folder: Path, contract: PromptContract) -> str:
    """Write the adapter and its prompt contract into `folder`; return the folder's digest.

    Every process must call it; the first writes. Raises `TrainingError` where a weight is not
    finite.
    """
    weights = trained_weights(model)
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise TrainingError(f"{name} is not finite after training; lower the learning rate")
    if is_first():
        with atomic_folder(folder) as scratch:
            # Without `False` PEFT asks the hub whether the base model's embeddings have changed.
            model.save_pretrained(str(scratch), save_embedding_layers=False, state_dict=weights)
            (scratch / "README.md").unlink()  # a blank form; the registry writes the model card
            settings = read_json(scratch / _SETTINGS)
            # PEFT keeps the names as a set, whose order changes from process to process.
            settings["target_modules"] = sorted(settings["target_modules"])
            write_json(scratch / _SETTINGS, settings)
            write_json(scratch / CONTRACT, contract.model_dump(mode="json"))
    wait_for(folder)
    return digest_folder(folder)
