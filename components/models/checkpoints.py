"""Checkpoints that exist already, folders and GGUF files: where they are, and whether they can be
used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from gguf import GGUFReader
from safetensors import safe_open
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

from components.core.errors import ConfigError, ModelError
from components.lm.architecture import check_supported, outline, silenced
from components.lm.configuration import read_document, refusing
from components.lm.loading import (
    describe_checkpoint,
    describe_weights,
    fetch,
    load_tokenizer,
)
from components.lm.references import CheckpointRef, ModelRef
from components.lm.weights import (
    check_loaded,
    check_report,
    header,
    read_weights,
    stored_weights,
    weight_files,
)
from components.models.settings import COMMIT, HUB_ID

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_UNREADABLE = "{path} cannot be read as a GGUF checkpoint"
_ROPE = "rope_"  # begins the names of a GGUF file's tensors by which positions are scaled
_THETA = 10_000.0  # the rotary base of a GGUF file that names none
_EPSILON = "attention.layer_norm_rms_epsilon"
_SMOLLM = "smollm"  # the one pre-tokenizer in use here that transformers takes for GPT-2's


def locate(name: str, revision: str | None, *, key: str) -> Path:
    """Return the folder of the checkpoint `name` of the profile's key `models.<key>`.

    A local folder, or a hub repository at a full commit, which is fetched. Raises `ConfigError`
    where the name and the revision do not fit together, `ModelError` where there is nothing.
    """
    path = Path(name)
    if path.exists():
        if revision is not None:
            raise ConfigError(
                f"models.{key}_revision: {name!r} is a local folder, which has no revision; "
                "remove the key"
            )
        if not path.is_dir():
            raise ModelError(
                f"models.{key}: {name!r} is a file, not a folder with a checkpoint; a .gguf file "
                "can be the `source` of `kind: post-train`"
            )
        return path
    if not HUB_ID.fullmatch(name) or (revision is None and path.parent.is_dir()):
        raise ModelError(f"models.{key}: the folder {name!r} does not exist")
    if revision is None or not COMMIT.fullmatch(revision):
        raise ConfigError(
            f"models.{key}: there is no folder {name!r}, and a hub checkpoint needs "
            f"models.{key}_revision, a commit of 40 hex digits (received {revision!r})"
        )
    return fetch(name, revision)


def describe(name: str, revision: str | None, *, key: str) -> ModelRef:
    """Return the reference of the checkpoint `name`; nothing of it is copied.

    Raises as `locate` does, and `ModelError` where the checkpoint is incomplete.
    """
    folder = locate(name, revision, key=key)
    check_complete(folder)
    return describe_checkpoint(folder, **_place(folder, name, revision))


def describe_ancestor(name: str, revision: str | None) -> CheckpointRef:
    """Return the reference of the checkpoint `models.ancestor`, of which only weights are used."""
    folder = locate(name, revision, key="ancestor")
    return describe_weights(folder, **_place(folder, name, revision))


def _place(folder: Path, name: str, revision: str | None) -> dict[str, Any]:
    if revision is not None:
        return {"location": name, "where": "hub", "revision": revision}
    below = folder.is_relative_to(Path.cwd())
    place = folder.relative_to(Path.cwd()) if below else folder
    return {"location": place.as_posix(), "where": "local"}


def check_complete(folder: Path) -> None:
    """Raise `ModelError` unless `folder` holds a whole model of a supported architecture, which has
    an embedding for every token.

    Only its settings and the headers of its files are read: it takes seconds and little memory.
    """
    model = outline(folder)
    check_supported(model)
    path, rows = folder / "tokenizer.json", model.config.vocab_size
    if path.exists() or path.is_symlink():
        read_document(path)
    # As it is read, since other files beside this one add tokens.
    highest = max(load_tokenizer(folder).get_vocab().values(), default=-1)
    if highest >= rows:
        raise ModelError(
            f"{folder}: the tokenizer's token {highest} has no embedding (the model has {rows}); "
            "this tokenizer belongs to another model, or its embeddings were not resized"
        )


def same_weights(one: Path, other: Path) -> bool:
    """Return whether two checkpoints hold equal weights, however they are divided into files.

    It reads no further than to the first that differs.
    """
    files = {name: path for path in weight_files(other) for name, _ in header(path)}
    if stored_weights(one).keys() != files.keys():
        return False
    for name, tensor in read_weights(one):
        with safe_open(files[name], framework="pt", backend="pread") as weights:
            if not torch.equal(tensor.float(), weights.get_tensor(name).float()):
                return False
    return True


def refuse_same(base: ModelRef, post_trained: ModelRef, folders: Sequence[Path] = ()) -> None:
    """Raise `ModelError` where both are one checkpoint: by their digests, and by the weights in
    their `folders` where these are given."""
    if base.digest == post_trained.digest or (folders and same_weights(*folders)):
        raise ModelError(
            f"base {base.location!r} and post-trained {post_trained.location!r} are the same "
            "checkpoint: all weights are equal; the base is the model before post-training"
        )


def read_gguf(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the de-quantised model, in single precision, and the tokenizer of a GGUF file.

    Both can be saved as an ordinary checkpoint. Raises `ModelError` where the file is missing,
    cut short, lacks weights, or is of an architecture or tokenizer that transformers cannot read
    or this project does not support.
    """
    check_gguf(path)
    what = _UNREADABLE.format(path=path)
    with silenced(), refusing(what), _alone(path) as folder:
        pre_tokenizer = GGUFReader(path).get_field("tokenizer.ggml.pre")
        tokenizer = AutoTokenizer.from_pretrained(
            folder, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=path.name,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        quantised, report = loaded
        check_report(what, report)
        check_loaded(what, quantised)
    if pre_tokenizer is not None and pre_tokenizer.contents() == _SMOLLM:
        _split_digits(tokenizer)
    for trace in ("gguf_file", "is_local", "local_files_only"):  # of how it was read
        tokenizer.init_kwargs.pop(trace, None)
    return _plain_model(quantised), tokenizer


def check_gguf(path: Path) -> None:
    """Raise `ModelError` unless the header of a GGUF file describes a whole, supported model.

    No weights are read. transformers leaves out tensors that it does not know, so what the header
    lists is counted against the model.
    """
    if not path.is_file():
        raise ModelError(f"{path} is missing; put the GGUF file there or change the profile")
    with silenced(), refusing(_UNREADABLE.format(path=path)), _alone(path) as folder:
        reader = GGUFReader(path)
        _check_blocks(path, reader)
        config = AutoConfig.from_pretrained(
            folder, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
        _check_settings(path, reader, config)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False).eval()
        tensors = [t for t in reader.tensors if not t.name.startswith(_ROPE)]
    check_supported(model)
    stored = sum(int(tensor.n_elements) for tensor in tensors)
    expected = sum(weight.numel() for weight in model.parameters())
    if stored != expected:
        raise ModelError(
            f"{path} holds {stored} weights in {len(tensors)} tensors, and the "
            f"{type(model).__name__} that it describes has {expected}; download it again, or give "
            "the checkpoint that it was made from"
        )


def _check_blocks(path: Path, reader: GGUFReader) -> None:
    """Raise `ModelError` for more blocks than tensors: each is built before it is compared."""
    for name, field in reader.fields.items():
        if name.endswith(".block_count") and int(field.contents()) > len(reader.tensors):
            raise ModelError(
                f"{path}: {name} is {field.contents()}, and the file has {len(reader.tensors)} "
                "tensors; download it again"
            )


def _check_settings(path: Path, reader: GGUFReader, config: PreTrainedConfig) -> None:
    """Raise `ModelError` for a setting of the architecture that transformers leaves out, unless it
    says what the model does anyway: another model would be read without a word."""
    begin = f"{reader.fields['general.architecture'].contents()}."
    mapping: Any = GGUF_CONFIG_MAPPING  # architecture -> key of a file -> key of a config
    known = {key for key, name in mapping.get(begin[:-1], {}).items() if name}
    given = {
        name.removeprefix(begin): field.contents()
        for name, field in reader.fields.items()
        if name.startswith(begin)
    }
    lost = [
        f"{begin}{key} {value}"
        for key, value in given.items()
        if key not in known and not _changes_nothing(key, value, config, given)
    ]
    lost += [t.name for t in reader.tensors if t.name.startswith(_ROPE) and (t.data != 1).any()]
    if lost:
        raise ModelError(
            f"{path} says {', '.join(lost)}, which transformers leaves out of a GGUF file; give "
            "the checkpoint that it was made from"
        )
    theta = (getattr(config, "rope_parameters", None) or {}).get("rope_theta")
    if _EPSILON not in given or ("rope.freq_base" not in given and theta != _THETA):
        key = "rope.freq_base" if _EPSILON in given else _EPSILON
        raise ModelError(f"{path} lacks {begin}{key}; download it again")


def _changes_nothing(
    key: str, value: Any, config: PreTrainedConfig, given: Mapping[str, Any]
) -> bool:
    """Return whether a model of this `config` does without the setting what it says."""
    if key in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        heads = config.num_attention_heads
        return bool(value == (getattr(config, "head_dim", None) or config.hidden_size // heads))
    if key == "attention.sliding_window":
        return not 0 < value < config.max_position_embeddings
    if key.startswith("rope.scaling."):
        return given.get("rope.scaling.type", "") in ("", "none")
    return key == "tensor_data_layout" or (key == "attention.causal" and bool(value))


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """Yield a folder with nothing but the file: settings, code and adapters that lie beside it
    would be read with it."""
    with TemporaryDirectory() as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        yield Path(folder)


def _split_digits(tokenizer: Any) -> None:
    """Split numbers into digits before byte-level BPE, as SmolLM's own tokenizer.json does."""
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _plain_model(quantised: PreTrainedModel) -> PreTrainedModel:
    """Return a fresh model with the same weights, whose config does not speak of quantisation.

    transformers refuses to save a model that was loaded from a quantised file.
    """
    config = quantised.config
    for trace in ("quantization_config", "_model_name_or_path"):
        config.__dict__.pop(trace, None)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    model.load_state_dict(quantised.state_dict())
    return model.eval()
