"""What this machine lacks to run a profile. Nothing is fetched, started or written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from components.core.documents import read_yaml
from components.core.errors import ConfigError
from components.core.launcher import divides_model
from components.core.paths import POLICIES, Workspace
from components.gate.policy_files import check_fits
from components.judges.settings import GuardSettings
from components.models.settings import Shape
from components.profile import Profile, load_profile
from flows.doctor.checkpoints import Wanted, complaint, find_shape, wanted_checkpoints
from flows.doctor.checks import Finding, State
from flows.doctor.estimate import (
    GB,
    GUARDS,
    Precision,
    artifact_bytes,
    memory_needs,
    parameters,
    weight_bytes,
)
from flows.doctor.judges import check_judges, guards_to_fetch
from flows.doctor.machine import (
    Device,
    check_launcher,
    check_packages,
    check_repository,
    check_servers,
    find_device,
)
from flows.doctor.prompts import check_prompts
from flows.doctor.rendered import check_rendered
from flows.doctor.suites import check_suites, check_watched, suites_of
from flows.doctor.workload import Asked, asked_of

_MANY = 10**9  # parameters from which on a CPU takes days
_LESS_MEMORY = {
    "training": "lower train.micro_batch, or divide the model by FSDP; see docs/gpu.md",
    "generation": "lower evaluate.batch",
    "judging": "lower batch or max_characters of the guard in evaluate.judges",
    "building": "lower micro_batch of models.align and models.post_train",
}
_LESS_WEIGHTS = {
    "training": "train.load_in_4bit, or a larger device; see docs/gpu.md",
    "generation": "a larger device; see docs/gpu.md",
    "judging": "a smaller guard, or a rubric on a server; see docs/judges.md",
    "building": "a larger machine",
}


def examine(workspace: Workspace) -> list[Finding]:
    """Return what was found on this machine for a profile.

    Where the profile itself cannot be read, only the machine is examined.
    """
    findings = [*check_packages(), *check_repository(workspace), *check_servers(workspace)]
    findings += check_launcher()
    try:
        profile = load_profile(workspace.profile_file)
    except ConfigError as error:
        return [*findings, Finding("profile", State.MISSING, str(error), "mend the file")]
    wanted = wanted_checkpoints(profile, workspace.root)
    findings += check_profile_file(profile, workspace)
    findings += check_listing(profile, workspace, wanted)
    findings += check_watched(profile, workspace)
    findings += check_prompts(profile, workspace.root)
    suites = suites_of(profile, workspace.root)
    findings += check_suites(suites, workspace.root)
    findings += check_judges(profile, suites, workspace.root)
    findings += check_checkpoints(wanted)
    findings += check_rendered(profile, suites, wanted, workspace)
    shape = find_shape(profile, wanted)
    if shape is None:
        told = "nothing here tells the model's size, so memory and disk were not estimated"
        remedy = "put the checkpoint there, or give its models.shape"
        return [*findings, Finding("size", State.WARNING, told, remedy)]
    guards = guards_to_fetch(profile, suites, workspace.root)
    findings += check_disk(profile, shape, wanted, guards, workspace.root)
    device = find_device()
    findings += check_device(profile, shape, device)
    try:
        sharing = device.count if divides_model(workspace.root) else 1
    except ConfigError as error:
        findings.append(Finding("launcher", State.MISSING, str(error), "mend its config file"))
        sharing = 1
    findings += check_memory(profile, asked_of(profile, suites), shape, device, sharing=sharing)
    return findings


def check_profile_file(profile: Profile, workspace: Workspace) -> Iterator[Finding]:
    """Yield whether the profile's policy is there and fits it."""
    policy = workspace.root / POLICIES / f"{profile.gate.policy}.yaml"
    if not policy.is_file():
        told = f"there is no policy {profile.gate.policy!r}"
        yield Finding("profile", State.MISSING, told, f"write {POLICIES}/{policy.name}")
    else:
        yield _check_policy(profile, policy)


def _check_policy(profile: Profile, policy: Path) -> Finding:
    try:
        check_fits(policy, profile.evaluate)
    except ConfigError as error:
        return Finding("profile", State.MISSING, str(error), "mend the policy or the profile")
    return Finding("profile", State.OK, f"valid, policy {profile.gate.policy}")


def check_listing(
    profile: Profile, workspace: Workspace, wanted: list[Wanted]
) -> Iterator[Finding]:
    """Yield whether `params.yaml` lists the profile with files that are there."""
    try:
        listed = read_yaml(workspace.parameters).get("profiles") or {}
    except ConfigError as error:
        yield Finding("params.yaml", State.MISSING, str(error), "mend the file")
        return
    if profile.name not in listed:
        command = (
            f"safereact add {profile.name} --checkpoints {_checkpoints_to_watch(profile, wanted)} "
            f"--prompts {_prompts_to_watch(profile)}"
        )
        yield Finding("params.yaml", State.MISSING, "the profile is not listed", command)
        return
    entry = listed[profile.name] or {}
    gone = [
        key
        for key in ("checkpoints", "prompts")
        if not entry.get(key) or not (workspace.root / entry[key]).exists()
    ]
    for key in gone:
        told = f"its {key} are {entry.get(key)!r}, which is not there"
        yield Finding("params.yaml", State.MISSING, told, f"mend `{key}` of {profile.name}")
    if not gone:
        yield Finding("params.yaml", State.OK, "listed")


def _checkpoints_to_watch(profile: Profile, wanted: list[Wanted]) -> str:
    """Return what DVC can watch; a pinned hub pair depends on nothing but the profile's file."""
    local = [str(Path(place.name).parent) for place in wanted if not place.on_hub]
    return os.path.commonpath(local) if local else f"profiles/{profile.name}.yaml"


def _prompts_to_watch(profile: Profile) -> str:
    """Return the folder of the prompt files that did not come with the repository."""
    folders = [str(Path(source.path).parent) for source in profile.prepare.sources if source.path]
    own = [folder for folder in folders if not folder.startswith("data/embedded")]
    return os.path.commonpath(own or folders or ["data"])


def check_checkpoints(wanted: list[Wanted]) -> Iterator[Finding]:
    """Yield whether each checkpoint is pinned, whole, and here; and whether a token is needed."""
    if not wanted:
        yield Finding("checkpoints", State.OK, "built from nothing by the stage `models`")
    for checkpoint in wanted:
        yield _check_checkpoint(checkpoint)
    if any(checkpoint.gated and checkpoint.folder() is None for checkpoint in wanted):
        yield _check_token()


def _check_checkpoint(wanted: Wanted) -> Finding:
    subject = f"models.{wanted.key}"
    if wanted.on_hub and wanted.revision is None:
        remedy = f"`hf models info {wanted.name}` shows its sha: write {subject}_revision"
        return Finding(subject, State.MISSING, f"{wanted.name} is not pinned", remedy)
    place = wanted.folder()
    if place is not None:
        wrong = complaint(place)
        if wrong:
            return Finding(subject, State.MISSING, wrong, "download or copy it again")
        return Finding(subject, State.OK, f"{wanted.name} is here")
    if not wanted.on_hub:
        return Finding(subject, State.MISSING, f"{wanted.name} is not there", "put it there")
    fetch = f"hf download {wanted.name} --revision {wanted.revision}"
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        told = f"{wanted.name} is not here, and HF_HUB_OFFLINE is set"
        return Finding(subject, State.MISSING, told, fetch)
    return Finding(subject, State.WARNING, f"{wanted.name} is fetched by the first run", fetch)


def _check_token() -> Finding:
    from huggingface_hub import get_token

    if get_token():
        return Finding("token", State.OK, "there is one; whether it opens the model was not tried")
    remedy = "accept the model's licence on the hub, then set HF_TOKEN or `hf auth login`"
    return Finding("token", State.MISSING, "a gated model is to be fetched without a token", remedy)


def check_disk(
    profile: Profile,
    shape: Shape,
    wanted: list[Wanted],
    guards: Sequence[GuardSettings],
    root: Path,
) -> Iterator[Finding]:
    """Yield whether results and what is still to be fetched find room; sizes are estimates."""
    from huggingface_hub.constants import HF_HUB_CACHE

    missing = [shape for one in wanted if one.on_hub and one.folder() is None]
    missing += [GUARDS[guard.kind] for guard in guards]
    needs = [("disk", root, artifact_bytes(profile, shape), "results")]
    if missing:
        size = sum(weight_bytes(one, "bf16") for one in missing)
        needs.append(("hub cache", Path(HF_HUB_CACHE), size, f"{len(missing)} checkpoints"))
    for subject, folder, need, what in needs:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(there).free
        told = f"{what} take about {need / GB:.1f} GB (estimate), {free / GB:.1f} GB are free"
        if need > free:
            yield Finding(subject, State.MISSING, told, "free some, or use a larger disk")
        else:
            yield Finding(subject, State.OK, told)


def check_device(profile: Profile, shape: Shape, device: Device) -> Iterator[Finding]:
    """Yield whether there is a device for a model of this size, and for 4 bits where asked for."""
    told = f"{device.count} x {device.name}"
    if not device.accelerator:
        told = f"CPU, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '1')}"
    if not device.accelerator and parameters(shape) > _MANY:
        told += f"; {parameters(shape) / 1e9:.1f} billion parameters will take days"
        yield Finding("device", State.WARNING, told, "use a GPU")
    elif not device.bf16 and device.accelerator:
        told += ", without bfloat16"
        yield Finding("device", State.WARNING, told, "use a GPU of the Ampere generation or later")
    else:
        yield Finding("device", State.OK, told)
    if profile.train.load_in_4bit and find_spec("bitsandbytes") is None:
        told, remedy = "train.load_in_4bit needs bitsandbytes", "pip install 'safereact-ops[4bit]'"
        yield Finding("4 bits", State.MISSING, told, remedy)
    if profile.train.load_in_4bit and not device.accelerator:
        told = "train.load_in_4bit needs an accelerator"
        yield Finding("4 bits", State.MISSING, told, "set it to false, or use a GPU")


def check_memory(
    profile: Profile, asked: Sequence[Asked], shape: Shape, device: Device, *, sharing: int = 1
) -> Iterator[Finding]:
    """Yield whether the device's memory does; all sizes are estimates.

    Only weights that cannot fit rule a run out. So many devices as `sharing` divide the model in
    training, where each loads it whole first; in all else none does.
    """
    precision: Precision = "bf16" if device.accelerator else "fp32"
    for name, memory in memory_needs(profile, asked, shape, precision).items():
        need = memory.sharded(sharing if name == "training" else 1)
        told = f"about {need / GB:.1f} GB (estimate) of {device.memory / GB:.1f} GB"
        if need <= device.memory:
            yield Finding(f"memory, {name}", State.OK, told)
        elif memory.weights <= device.memory:
            yield Finding(f"memory, {name}", State.WARNING, told, _LESS_MEMORY[name])
        else:
            told += "; the weights alone do not fit"
            remedy = _LESS_WEIGHTS[name] if device.accelerator else "a GPU; see docs/gpu.md"
            yield Finding(f"memory, {name}", State.MISSING, told, remedy)
