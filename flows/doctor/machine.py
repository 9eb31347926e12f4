"""What there is on this machine: libraries, git, DVC, servers, a launcher, devices and disks."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, distributions, requires
from importlib.util import find_spec
from pathlib import Path
from platform import python_version

from components.core.errors import RegistryError, StageError
from components.core.launcher import VARIABLE, named_launcher
from components.core.paths import DECIDING, Workspace
from components.core.run_record import git_commit, untracked
from components.models.settings import Shape
from components.profile import Profile
from flows.doctor.estimate import GB, Estimate, Workload, parameters
from flows.doctor.findings import Finding, missing, ok, refused, warning
from flows.runner.environment import check_prefect_server

DISTRIBUTION = "safereact-ops"
_MANY = 10**9  # parameters from which on a CPU takes days
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


def check_packages() -> Iterator[Finding]:
    """Yield whether every library is installed in a version that this package asks for."""
    from packaging.requirements import Requirement

    try:
        needs = [Requirement(text) for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        lacking = f"{DISTRIBUTION} is not installed, so versions were not compared"
        yield warning("packages", lacking, "pip install -e .")
        return
    needs = [need for need in needs if need.marker is None or need.marker.evaluate()]
    unmet = []
    for need in needs:
        found = next((each.version for each in distributions(name=need.name)), "")
        if not found or not need.specifier.contains(found, prereleases=True):
            lacking = f"{need.name} {found or 'is not installed'}; {need.specifier} is needed"
            unmet.append(missing("packages", lacking, f'pip install "{need}"'))
    versions = f"Python {python_version()}, {len(needs)} libraries in the versions asked for"
    yield from unmet or [ok("packages", versions)]


def check_repository(workspace: Workspace) -> Iterator[Finding]:
    """Yield whether git and DVC know the repository, and whether it can be written to."""
    root = workspace.root
    if shutil.which("git") is None:
        yield missing("git", "git is not on the PATH", "install git")
    elif git_commit(root)[0] is None:
        lacking = "no commit here, so results cannot name the code they come from"
        yield warning("git", lacking, "git init, then commit")
    elif lost := untracked(root, DECIDING):
        lacking = f"no commit holds {', '.join(lost)}, which decide results"
        yield warning("git", lacking, f"git add {' '.join(map(shlex.quote, lost))}")
    else:
        yield ok("git", "a checkout with commits")
    if (root / ".dvc").is_dir():
        yield ok("dvc", "initialised")
    else:
        yield missing("dvc", f"{root} is not a DVC repository", "dvc init")
    if not os.access(root, os.W_OK):
        lacking = f"{root}, where results go, cannot be written to"
        yield missing("folder", lacking, "mend its rights")


def check_servers(workspace: Workspace) -> Iterator[Finding]:
    """Yield whether the servers that the environment names answer as a run would ask them, else
    whether their embedded stores can be written."""
    ask, store = partial(_ask_registry, workspace), workspace.tracking_store
    yield _check_server("mlflow", "MLFLOW_TRACKING_URI", store, ask)
    yield _check_server("prefect", "PREFECT_API_URL", workspace.prefect_home, check_prefect_server)


def _check_server(
    subject: str, variable: str, store: Path, ask: Callable[[str], object]
) -> Finding:
    address = os.environ.get(variable)
    if not address:
        if os.access(store if store.exists() else store.parent, os.W_OK):
            return ok(subject, f"embedded, in {store.name}/")
        lacking = f"the embedded store {store} cannot be written"
        return missing(subject, lacking, f"mend its rights, or set {variable}")
    try:
        ask(address)
    except (RegistryError, StageError) as error:
        return refused(subject, error, default=f"start the server, or unset {variable}")
    if not address.startswith(("http://", "https://")):
        return ok(subject, f"{variable} names a store, not a server; not tried")
    # A user and a password may stand in an address; they are left out.
    return ok(subject, f"{address.partition('://')[2].rpartition('@')[2]} answers")


def _ask_registry(workspace: Workspace, address: str) -> None:
    """Ask an MLflow server for a model; a database is not opened, since that might make it."""
    from components.registry.mlflow_client import address_of
    from components.registry.mlflow_registry import Registry

    if address_of(address, workspace.tracking_store).startswith("http"):
        Registry(workspace.root).find_model("doctor")


def check_launcher() -> Iterator[Finding]:
    """Yield whether the program that SAFEREACT_LAUNCHER names is there; nothing where unset."""
    try:
        words = named_launcher()
    except ValueError as error:
        yield missing("launcher", f"{VARIABLE}: {error}", "mend its quotes")
        return
    # Programs beside this Python come first, as where the stage is launched.
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if words and shutil.which(words[0], path=places):
        yield ok("launcher", f"training is started by {words[0]}")
    elif words:
        lacking = f"{VARIABLE} begins with {words[0]!r}, which is not on the PATH"
        yield missing("launcher", lacking, "install it, or unset the variable")


# --- devices and disks: all sizes are estimates ----------------------------------------------


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
    name, billions = f"{device.count} x {device.name}", parameters(shape) / 1e9
    if not device.accelerator:
        name = f"CPU, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '1')}"
    if not device.accelerator and parameters(shape) > _MANY:
        days = f"{billions:.1f} billion parameters will take days"
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
    estimate = Estimate(profile, shape, "bf16" if device.accelerator else "fp32")
    checkpointed = estimate.checkpoints(device.memory)
    for name, memory in estimate.needs(loads, checkpointed=checkpointed).items():
        need = memory.on_each_of(sharing if name == "training" else 1)
        sizes = f"about {need / GB:.1f} GB (estimate) of {device.memory / GB:.1f} GB"
        if name == "training" and checkpointed:
            kept = estimate.training().on_each_of(sharing)
            sizes += f", with activations computed again; all kept: {kept / GB:.1f} GB"
        less, smaller = _REMEDIES[name]
        if need <= device.memory:
            yield ok(f"memory, {name}", sizes)
        elif memory.weights <= device.memory:
            yield warning(f"memory, {name}", sizes, less)
        else:
            remedy = smaller if device.accelerator else "a GPU; see docs/gpu.md"
            yield missing(f"memory, {name}", f"{sizes}; the weights alone do not fit", remedy)


def check_disk(
    profile: Profile, shape: Shape, absent: Sequence[float], root: Path
) -> Iterator[Finding]:
    """Yield whether results and the `absent` checkpoints, each of so many bytes, find room."""
    from huggingface_hub.constants import HF_HUB_CACHE

    needs = [("disk", root, Estimate(profile, shape).disk(), "results")]
    if absent:
        needs.append(("hub cache", Path(HF_HUB_CACHE), sum(absent), f"{len(absent)} checkpoints"))
    for subject, folder, need, what in needs:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(there).free
        sizes = f"{what} take about {need / GB:.1f} GB (estimate), {free / GB:.1f} GB are free"
        lacking = missing(subject, sizes, "free some, or use a larger disk")
        yield lacking if need > free else ok(subject, sizes)
