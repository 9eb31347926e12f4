"""The weights that count in a checkpoint's folder: their files, names and shapes, from the headers.

Those are `model.safetensors`, or the shards of its index: what transformers loads. Any other file
of weights beside them, such as another format of the same model, is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

import torch
from safetensors import safe_open
from torch import Tensor

from components.core.errors import ModelError
from components.core.storage import CHECKPOINT_FILES, digest_folder
from components.lm.configuration import read_document, refusing, require_file

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_ADAPTER = ("adapter_config.json", ADAPTER_WEIGHTS, "adapter_model.bin")
_NAMED = 3  # keys that a message names
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_DISTRIBUTED = re.compile(r"shard-\d+-model-\d+-of-\d+\.safetensors")
_PLAIN = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    # Buffers only.
    "I64": torch.int64,
    "BOOL": torch.bool,
}


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights of the checkpoint in `folder`.

    Raises `ModelError` where there are none, one is missing or lies elsewhere, or two sets
    contradict each other.
    """
    index, whole = folder / INDEX, folder / WEIGHTS
    names = sorted({*_weight_map(index).values()}) if index.exists() or index.is_symlink() else []
    if names and whole.name not in names and whole.exists():
        raise ModelError(
            f"{folder} holds both {WEIGHTS} and {INDEX}, which names other files: two sets of "
            "weights; remove the one that does not count"
        )
    if any(_DISTRIBUTED.fullmatch(path.name) for path in folder.iterdir()):
        raise ModelError(f"{folder} holds a distributed checkpoint; save it with save_pretrained")
    if not names and not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
        found = f" (only {', '.join(pickled)}, and pickled weights are not read)" if pickled else ""
        raise ModelError(
            f"{folder} has no .safetensors weights{found}; save the model with save_pretrained"
        )
    if not names:
        require_file(whole)
    return [folder / name for name in names] or [whole]


def refuse_adapter(folder: Path) -> None:
    """Raise `ModelError` where an adapter lies in a checkpoint's folder.

    transformers would put it on the model without a word.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder; give the one that holds config.json")
    found = [name for name in _ADAPTER if (folder / name).exists()]
    if found and not (folder / "config.json").exists():
        raise ModelError(f"{folder} holds an adapter; merge it into its model and save that")
    if found:
        raise ModelError(
            f"{folder} holds an adapter ({', '.join(found)}) beside the model (config.json): "
            "whether it belongs to the model is not known; merge it and save that, or move it away"
        )


def _weight_map(index: Path) -> dict[str, str]:
    """Return the shard of every weight, all of them files beside the `index`."""
    document = read_document(index)
    places = document.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ModelError(f"{index} names no weights (`weight_map`); download it again")
    names = sorted({str(name) for name in places.values()})
    for name in names:
        if PurePosixPath(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(
                f"{index} names the shard {name!r}; a shard is a .safetensors file in this folder"
            )
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise ModelError(
            f"{index.parent} lacks shards that its index names: {some_of(missing)}; download them "
            "again"
        )
    if not isinstance(document.get("metadata"), dict):
        raise ModelError(f"{index} has no `metadata`, without which it is not read; add {{}}")
    return places


def stored_weights(folder: Path) -> dict[str, Tensor]:
    """Return every tensor of the checkpoint in `folder` on the meta device, by its stored name.

    Only headers are read, so shapes and types are known and no memory is taken. Raises `ModelError`
    as `weight_files` does, and for a broken header, a weight stored twice, one that is not where
    the index says, and weights that are not plain floating point.
    """
    found: dict[str, Tensor] = {}
    places: dict[str, str] = {}
    for path in weight_files(folder):
        for name, tensor in header(path):
            if name in found:
                raise ModelError(f"{folder}: {name} is stored in {places[name]} and in {path.name}")
            found[name], places[name] = tensor, path.name
    promised = _weight_map(folder / INDEX) if (folder / INDEX).is_file() else places
    unlike = sorted(set(promised.items()) ^ set(places.items()))
    if unlike:
        name, shard = unlike[0]
        where = "not there" if promised.get(name) == shard else "not in the index"
        raise ModelError(
            f"{folder}: index and shards disagree about {len({n for n, _ in unlike})} weights, "
            f"such as {name} in {shard}, which is {where}; download them again"
        )
    return found


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


def some_of(keys: Iterable[object]) -> str:
    """Return the first few keys, one a line in a model's order of blocks."""
    names = sorted((str(key) for key in keys), key=_natural)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


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
