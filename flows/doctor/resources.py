"""Whether this machine's devices and disks are large enough for a profile; sizes are estimates."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from components.models.settings import Shape
from components.profile import Profile
from flows.doctor.checkpoints import Wanted
from flows.doctor.checks import Finding, missing, ok, warning
from flows.doctor.estimate import GB, Precision, Workload, artifact_bytes, memory_needs, parameters

_MANY = 10**9  # parameters from which on a CPU takes days
_SECONDS = 3  # in which the hub must answer
# By what needs memory: what lowers the need of a step, and that of the weights.
_REMEDIES = {
    "training": (
        "lower train.micro_batch, or divide the model by FSDP; see docs/gpu.md",
        "train.load_in_4bit, or a larger device; see docs/gpu.md",
    ),
    "generation": ("lower evaluate.batch", "a larger device; see docs/gpu.md"),
    "judging": (
        "lower batch or max_characters of the guard in evaluate.judges",
        "a smaller guard, or a rubric on a server; see docs/judges.md",
    ),
    "building": ("lower micro_batch of models.align and models.post_train", "a larger machine"),
}


@dataclass(frozen=True, slots=True)
class Device:
    """Where models run: a name, how many there are, bytes of one, whether it computes in bf16."""

    name: str
    count: int
    memory: int
    bf16: bool
    accelerator: bool


def find_device() -> Device:
    """Return the device that the stages would take; the memory of the CPU is the machine's."""
    import psutil
    import torch

    from components.lm.loading import default_device

    device = default_device()
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(0)
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return Device(found.name, torch.cuda.device_count(), found.total_memory, bf16, True)
    memory, own = psutil.virtual_memory().total, device.type == "cpu"
    count = 1 if own else torch.accelerator.device_count()
    return Device("CPU" if own else device.type, count, memory, not own, not own)


def check_device(profile: Profile, shape: Shape, device: Device) -> Iterator[Finding]:
    """Yield whether there is a device for a model of this size, and for 4 bits where asked for."""
    name, large = f"{device.count} x {device.name}", parameters(shape) > _MANY
    if not device.accelerator:
        name = f"CPU, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '1')}"
    if not device.accelerator and large:
        days = f"{parameters(shape) / 1e9:.1f} billion parameters will take days"
        yield warning("device", f"{name}; {days}", "use a GPU")
    elif device.accelerator and not device.bf16:
        remedy = "use a GPU of the Ampere generation or later"
        yield warning("device", f"{name}, without bfloat16", remedy)
    else:
        yield ok("device", name)
    needs = {
        "bitsandbytes": (find_spec("bitsandbytes"), "pip install 'safereact-ops[4bit]'"),
        "an accelerator": (device.accelerator, "set it to false, or use a GPU"),
    }
    for need, (there, remedy) in needs.items() if profile.train.load_in_4bit else ():
        if not there:
            yield missing("4 bits", f"train.load_in_4bit needs {need}", remedy)


def check_memory(
    profile: Profile, loads: Sequence[Workload], shape: Shape, device: Device, *, sharing: int = 1
) -> Iterator[Finding]:
    """Yield whether the device's memory is large enough.

    Only weights that cannot fit rule a run out. So many devices as `sharing` divide the model in
    training, where each loads it whole first; in all else none does.
    """
    precision: Precision = "bf16" if device.accelerator else "fp32"
    for name, memory in memory_needs(profile, loads, shape, precision).items():
        need = memory.on_each_of(sharing if name == "training" else 1)
        sizes = f"about {need / GB:.1f} GB (estimate) of {device.memory / GB:.1f} GB"
        less, smaller = _REMEDIES[name]
        if need <= device.memory:
            yield ok(f"memory, {name}", sizes)
        elif memory.weights <= device.memory:
            yield warning(f"memory, {name}", sizes, less)
        else:
            remedy = smaller if device.accelerator else "a GPU; see docs/gpu.md"
            yield missing(f"memory, {name}", f"{sizes}; the weights alone do not fit", remedy)


def check_disk(
    profile: Profile, shape: Shape, absent: Sequence[tuple[Wanted, float]], root: Path
) -> Iterator[Finding]:
    """Yield whether results and the `absent` checkpoints find room, each with an estimate of its
    bytes that counts where the hub does not tell its size."""
    from huggingface_hub.constants import HF_HUB_CACHE

    needs = [("disk", root, artifact_bytes(profile, shape), "results")]
    if absent:
        size = sum(_bytes_on_hub(one) or estimate for one, estimate in absent)
        needs.append(("hub cache", Path(HF_HUB_CACHE), size, f"{len(absent)} checkpoints"))
    for subject, folder, need, what in needs:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(there).free
        sizes = f"{what} take about {need / GB:.1f} GB (estimate), {free / GB:.1f} GB are free"
        if need > free:
            yield missing(subject, sizes, "free some, or use a larger disk")
        else:
            yield ok(subject, sizes)


def _bytes_on_hub(wanted: Wanted) -> int:
    """Return the bytes of a checkpoint's safetensors as the hub lists them; 0 where it does not
    answer."""
    from httpx import HTTPError
    from huggingface_hub import model_info

    try:
        info = model_info(
            wanted.name, revision=wanted.revision, files_metadata=True, timeout=_SECONDS
        )
    except (OSError, ValueError, HTTPError):
        return 0
    files = (file for file in info.siblings or () if file.rfilename.endswith(".safetensors"))
    return sum(file.size or 0 for file in files if not file.rfilename.startswith("consolidated"))
