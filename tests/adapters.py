"""LoRA adapters of the random post-trained model, as the stage `train` would hand them on."""

from __future__ import annotations

from pathlib import Path


def write_adapter(folder: Path, model_folder: Path, *, seed: int, zero: bool) -> str:
    """Write a LoRA adapter into `folder` and return its digest; `zero` leaves B at nought."""
    import torch
    from peft import LoraConfig, get_peft_model

    from components.core.storage import digest_folder
    from components.lm.loading import load_model

    torch.manual_seed(seed)
    lora = LoraConfig(
        r=4, lora_alpha=64, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM"
    )
    model = get_peft_model(load_model(model_folder), lora)
    if not zero:
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(str(folder))
    return digest_folder(folder)


def adapter_result(folder: Path, models, prompts, *, zero: bool):
    """The result `Adapter` of two random adapters in `folder`."""
    from components.core.paths import ADAPTER, BASELINE
    from tests.evidence import save_adapter

    folder.mkdir(exist_ok=True)
    checkpoint = models.folder / models.post_trained.location
    digests = (
        write_adapter(folder / ADAPTER, checkpoint, seed=11, zero=zero),
        write_adapter(folder / BASELINE, checkpoint, seed=12, zero=zero),
    )
    return save_adapter(folder, digests, models.post_trained, data=prompts.digest_of_prompts)
