"""What people serve in place of checkpoint and adapter: a merged checkpoint, the adapter on a model
of four bits, a GGUF file, or a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import ConfigError
from components.core.http import is_address
from components.core.storage import digest_bytes, digest_file
from components.evaluate.completions import ArmModel, open_checkpoint
from components.lm.adapters import attach_adapter
from components.lm.chat import prompt_contract
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import ENGINES, VARIABLE, engine_identity
from components.lm.engines.server import URL, ServerHost
from components.lm.generation import checkpoint_end_tokens
from components.lm.loading import checkpoint_folder, context_length, load_model, load_tokenizer
from components.lm.references import PromptContract
from components.lm.weights import digest_checkpoint
from components.models.checkpoints import check_complete, read_gguf
from components.models.result import Models
from components.studies.check.result import ARTEFACT, NF4, Kind
from components.train.result import Adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Artefact:
    """What is asked, by what it is and by its bytes."""

    kind: Kind
    name: str
    digest: str | None  # None: a server's weights cannot be seen
    model: ArmModel
    contract: PromptContract | None  # of its own chat template; None: a server's was not tried


@contextmanager
def open_artefact(
    named: str,
    models: Models,
    adapter: Adapter,
    *,
    served_as: str | None,
    batch: int,
    finished: FinishedRequests,
) -> Iterator[Artefact]:
    """Yield the artefact that is `named`: a folder, a .gguf file, the word nf4, or the http(s)
    address of a server's API, on which it is called `served_as`.

    Raises `ConfigError` for a name that is none of these, and `ModelError` for an artefact that
    cannot be loaded.
    """
    check_name(named)
    post_trained = checkpoint_folder(models, models.post_trained)
    if is_address(named):
        with _server(named, served_as or "", post_trained) as found:
            yield found
        return
    if served_as is not None:
        raise ConfigError("--served-as is of a server; give its address, or leave it out")
    if os.environ.get(VARIABLE, ENGINES[0]) != ENGINES[0]:
        raise ConfigError(f"files are asked in this process: unset {VARIABLE}")
    path = Path(named)
    if named == NF4:
        model = load_model(post_trained, load_in_4bit=True, trained=False)
        quantised = attach_adapter(model, adapter.adapter)
        digest = digest_bytes(f"{NF4} {models.post_trained.digest} {adapter.digest}".encode())
        tokenizer = load_tokenizer(post_trained)
        yield _in_memory("nf4", NF4, digest, quantised, tokenizer, batch, finished)
    elif path.suffix == ".gguf":
        digest, (whole, tokenizer) = digest_file(path) if path.is_file() else "", read_gguf(path)
        yield _in_memory("gguf", path.name, digest, whole, tokenizer, batch, finished)
    else:
        check_complete(path)
        digest = digest_checkpoint(path)
        with open_checkpoint(path, digest, batch=batch, finished=finished) as checkpoint:
            contract = prompt_contract(checkpoint.tokenizer)
            name = path.resolve().name
            yield Artefact("checkpoint", name, digest, checkpoint.arm(ARTEFACT), contract)


def check_name(named: str) -> None:
    """Raise `ConfigError` unless an artefact may be what is `named`."""
    path = Path(named)
    if not (is_address(named) or named == NF4 or path.suffix == ".gguf" or path.is_dir()):
        raise ConfigError(
            f"{named!r} is no folder with a checkpoint, no .gguf file, no http(s) address of a "
            f"server's API and not the word {NF4}; name one of these"
        )


def _in_memory(
    kind: Kind,
    name: str,
    digest: str,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    batch: int,
    finished: FinishedRequests,
) -> Artefact:
    resumed = (finished, digest_bytes(f"{digest} {engine_identity()}".encode()))
    asked = ArmModel.in_memory(ARTEFACT, model, tokenizer, batch=batch, resumed=resumed)
    return Artefact(kind, name, digest, asked, prompt_contract(tokenizer))


@contextmanager
def _server(address: str, served_as: str, post_trained: Path) -> Iterator[Artefact]:
    """Yield a server's model, asked by the token ids of the evaluated model's prompts.

    What a killed process was told is not taken over: another model may be served by now.
    """
    if not served_as:
        raise ConfigError("a server has models by name: give --served-as, what it calls this one")
    os.environ[URL] = address
    tokenizer = load_tokenizer(post_trained)
    with closing(ServerHost(tokenizer, checkpoint_end_tokens(post_trained, tokenizer))) as host:
        engine = host.engine(served_as, None)
        asked = ArmModel(ARTEFACT, engine, tokenizer, context_length(post_trained))
        yield Artefact("server", served_as, None, asked, None)
