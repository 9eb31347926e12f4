"""The weights of a checkpoint: which files count, what their headers say, and whether all are
there, the model's own, one where they are tied, and finite.

The files that count are `model.safetensors`, or the shards of its index: what transformers loads.
Any other file of weights beside them, such as another format of the same model, is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor

from components.core.errors import ModelError
from components.core.storage import CHECKPOINT_FILES, digest_folder
from components.lm.configuration import CONFIG, read_document, refusing, require_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_WEIGHTS, ADAPTER_SETTINGS = "adapter_model.safetensors", "adapter_config.json"
_ADAPTER = (ADAPTER_SETTINGS, ADAPTER_WEIGHTS, "adapter_model.bin")
_NAMED = 3  # keys that a message names
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_PLAIN = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    # Buffers only.
    "I64": torch.int64,
    "BOOL": torch.bool,
}
_UNTIED = (
    ": config.json ties input and output embeddings, and the files hold two that differ; set "
    "tie_word_embeddings to what the model was trained with"
)


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights of the checkpoint in `folder`.

    Raises `ModelError` where there are none, one is missing or lies elsewhere, or two sets
    contradict each other.
    """
    index, whole = folder / INDEX, folder / WEIGHTS
    names = sorted({*_weight_map(index).values()}) if index.exists() or index.is_symlink() else []
    if names and WEIGHTS not in names and whole.exists():
        raise ModelError(
            f"{folder} holds both {WEIGHTS} and {INDEX}, which names other files: two sets of "
            "weights; remove the one that does not count"
        )
    if any(folder.glob("shard-*-model-*-of-*.safetensors")):
        raise ModelError(f"{folder} holds a distributed checkpoint; save it with save_pretrained")
    if names:
        return [folder / name for name in names]
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
        found = f" (only {', '.join(pickled)}, and pickled weights are not read)" if pickled else ""
        raise ModelError(
            f"{folder} has no .safetensors weights{found}; save the model with save_pretrained"
        )
    require_file(whole)
    return [whole]


def refuse_adapter(folder: Path) -> None:
    """Raise `ModelError` where an adapter lies in a checkpoint's folder.

    transformers would put it on the model without a word.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder; give the one that holds {CONFIG}")
    if found := [name for name in _ADAPTER if (folder / name).exists()]:
        beside = f" beside the model ({CONFIG})" if (folder / CONFIG).exists() else ""
        raise ModelError(
            f"{folder} holds an adapter ({', '.join(found)}){beside}; merge it into its model and "
            "save that, or move it away"
        )


def _weight_map(index: Path) -> dict[str, str]:
    """Return the shard of every weight, all of them files beside the `index`."""
    document = read_document(index)
    places = document.get("weight_map")
    if not (isinstance(places, dict) and places and isinstance(document.get("metadata"), dict)):
        raise ModelError(
            f"{index} names no weights: it needs a `weight_map` and `metadata`; download it again"
        )
    names = sorted({str(name) for name in places.values()})
    for name in names:
        if PurePosixPath(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(
                f"{index} names the shard {name!r}; a shard is a .safetensors file in this folder"
            )
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise ModelError(
            f"{index.parent} lacks shards that its index names: {some_of(missing)}; download them "
            "again"
        )
    return places


def stored_weights(folder: Path) -> dict[str, Tensor]:
    """Return every tensor of the checkpoint in `folder` on the meta device, by its stored name.

    Only headers are read, so shapes and types are known and no memory is taken. Raises `ModelError`
    as `weight_files` does, and for a broken header, a weight that is not where the index says or
    somewhere else as well, and weights that are not plain floating point.
    """
    found = {path.name: dict(header(path)) for path in weight_files(folder)}
    places = {(name, shard) for shard, tensors in found.items() for name in tensors}
    promised = {*_weight_map(folder / INDEX).items()} if (folder / INDEX).is_file() else places
    if unlike := sorted(promised ^ places):
        where = "not there" if unlike[0] in promised else "not in the index"
        raise ModelError(
            f"{folder}: index and shards disagree about {len({name for name, _ in unlike})} "
            f"weights, such as {' in '.join(unlike[0])}, which is {where}; download them again"
        )
    return {name: tensor for tensors in found.values() for name, tensor in tensors.items()}


# Files are read in parts: the address space of a small machine does not take a large one whole.
def header(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield name, shape and type of every tensor in one file, on the meta device.

    Raises `ModelError` for a broken header and for tensors that are not plain numbers.
    """
    with (
        refusing(f"{path} cannot be read as safetensors, download it again"),
        safe_open(path, framework="pt", backend="pread") as stored,
    ):
        for name in stored.keys():  # noqa: SIM118 - not a mapping
            entry = stored.get_slice(name)
            kind = str(entry.get_dtype())
            if kind not in _PLAIN or (name.endswith(".weight") and kind in ("I64", "BOOL")):
                raise ModelError(
                    f"{path}: {name} is stored as {kind}, so the weights are quantised; masks and "
                    "adapters need plain ones: give the checkpoint in bfloat16"
                )
            yield name, torch.empty(entry.get_shape(), dtype=_PLAIN[kind], device="meta")


def read_weights(
    folder: Path, names: Collection[str] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Yield name and values of every stored tensor, or of those in `names`, one at a time."""
    for path in weight_files(folder):
        with safe_open(path, framework="pt", backend="pread") as stored:
            for name in stored.keys():  # noqa: SIM118 - not a mapping
                if names is None or name in names:
                    yield name, stored.get_tensor(name)


def digest_checkpoint(folder: Path) -> str:
    """Return one SHA-256 over the files that decide what the model does, names and contents."""
    beside = {*folder.rglob("*.safetensors")} - {*weight_files(folder)}
    return digest_folder(folder, suffixes=CHECKPOINT_FILES, without=beside)


def check_report(what: str, report: Mapping[str, Any]) -> None:
    """Raise `ModelError` unless transformers' loading `report` is without any complaint.

    It would fill what is missing with random weights and leave out what it does not expect.
    """
    complaints = {
        "missing from the files": report["missing_keys"],
        "not the model's": report["unexpected_keys"],
        "of another shape": [
            f"{name} ({tuple(stored)} in the files, {tuple(own)} in the model)"
            for name, stored, own in report["mismatched_keys"]
        ],
        "not to be converted": report.get("conversion_errors") or (),
        "in error": report.get("error_msgs") or (),
    }
    if wrong := [f"{len(keys)} {how}: {some_of(keys)}" for how, keys in complaints.items() if keys]:
        raise ModelError(
            f"{what}: the weights are not those that the settings beside them describe: "
            f"{'; '.join(wrong)}; save the whole again with save_pretrained, or mend the settings"
        )


def check_loaded(what: str, model: PreTrainedModel) -> None:
    """Raise `ModelError` where a loaded `model` has a weight that is not finite, or two matrices
    where config.json says that input and output embeddings are one."""
    check_values(what, model.named_parameters())
    head = model.get_output_embeddings()
    tied = model.config.get_text_config().tie_word_embeddings
    if tied and head is not None and head.weight is not model.get_input_embeddings().weight:
        raise ModelError(what + _UNTIED)


def tie_outline(folder: Path, model: PreTrainedModel) -> None:
    """Tie the embeddings of an outline of the checkpoint in `folder` as config.json says.

    Raises `ModelError` where the files hold two that differ, which loading would leave apart.
    """
    pairs = getattr(model, "all_tied_weights_keys", {})
    stored = dict(read_weights(folder, {*pairs, *pairs.values()}))
    for name, source in pairs.items():
        if {name, source} <= stored.keys() and not torch.equal(stored[name], stored[source]):
            raise ModelError(str(folder) + _UNTIED)
    model.tie_weights()


def check_values(what: str, tensors: Iterable[tuple[str, Tensor]], *, zeros: bool = True) -> None:
    """Raise `ModelError` naming the tensors that hold a NaN or an infinity and, unless `zeros` are
    allowed, matrices of nothing else, as a failed gathering or merge leaves them."""
    broken, empty = [], []
    for name, tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            # They are NaN where an element is, and take no memory of their own.
            least, most = tensor.aminmax()
            if not (least.isfinite() and most.isfinite()):
                broken.append(name)
            elif not zeros and tensor.dim() > 1 and least == most == 0:
                empty.append(name)
    for names, state, why in (
        (broken, "are not finite", "training diverged or a file is damaged"),
        (empty, "hold nothing but zeros", "they were lost when the model was saved or merged"),
    ):
        if names:
            raise ModelError(
                f"{what}: {len(names)} weights {state}, such as {some_of(names)}; {why}: give "
                "another checkpoint"
            )


def some_of(keys: Iterable[object]) -> str:
    """Return the first few keys."""
    names = sorted(map(str, keys))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
