"""The arms: each checkpoint held once, adapters swapped on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import EvidenceError
from components.core.storage import digest_bytes, digest_folder
from components.core.vocabulary import AnyArm, Arm
from components.evaluate.asking import Answer, Exam
from components.evaluate.result import Champion, ChampionArm
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import engine_identity, engine_place, open_host
from components.lm.engines.protocol import Host
from components.lm.loading import checkpoint_folder, context_length, load_tokenizer
from components.lm.references import ModelRef
from components.models.result import Models
from components.prepare.result import PromptSet
from components.train.result import Adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def check_adapter(adapter: Adapter, models: Models, prompts: PromptSet) -> None:
    """Raise `EvidenceError` unless both adapters are whole and of these models and prompts."""
    pairs = (
        ("adapter of another model", "checkpoint", adapter.base_model, models.post_trained.digest),
        (
            "adapter of another prompt contract",
            "contract",
            adapter.contract.digest,
            models.post_trained.contract.digest,
        ),
        ("adapter of other data", "prompts", adapter.data, prompts.digest_of_prompts),
        (
            "adapter changed after its training",
            "files",
            adapter.digest,
            digest_folder(adapter.adapter),
        ),
        (
            "baseline changed after its training",
            "files",
            adapter.baseline_digest,
            digest_folder(adapter.baseline),
        ),
    )
    for complaint, what, expected, found in pairs:
        if expected != found:
            raise EvidenceError(
                f"{complaint}: it was trained with {what} {expected}, here is {found}; "
                "run the stage train again"
            )


def meet(champion: Champion, adapter: Adapter, models: Models) -> ChampionArm:
    """Return the champion as this evaluation finds it, with the reason where it cannot be asked.

    Raises `EvidenceError` where its files are not those that the registry gave.
    """
    released, post_trained = champion.released, models.post_trained
    reason = None
    if released is None:
        return ChampionArm(name=champion.name, released=None)
    if released.digest == adapter.digest:
        reason = "it is the adapter under evaluation"
    elif released.base_model != post_trained.digest:
        reason = (
            f"it belongs to the model {released.base_model:.12}, and this is "
            f"{post_trained.digest:.12}"
        )
    elif released.contract != post_trained.contract:
        reason = "it was trained under another prompt contract"
    elif (found := digest_folder(champion.adapter)) != released.digest:
        raise EvidenceError(
            f"the champion's files in {champion.folder} were changed: the registry gave "
            f"{released.digest:.12}, here is {found:.12}; `safereact champion` brings them again"
        )
    return ChampionArm(name=champion.name, released=released, unmeasured=reason)


def ask_arms(
    exam: Exam,
    models: Models,
    adapter: Adapter,
    *,
    champion: Champion | None = None,
    batch: int,
    finished: FinishedRequests,
) -> dict[AnyArm, list[Answer]]:
    """Return what every arm writes; one checkpoint is held at a time.

    The champion is asked where one is given. What an earlier process has finished and noted in
    `finished` is not written again.
    """
    adapted: dict[Arm, tuple[Path, str] | None] = {
        Arm.POST_TRAINED: None,
        Arm.RESTORED: (adapter.adapter, adapter.digest),
        Arm.BASELINE: (adapter.baseline, adapter.baseline_digest),
    }
    if champion and champion.released:
        adapted[Arm.CHAMPION] = (champion.adapter, champion.released.digest)
    answers: dict[AnyArm, list[Answer]] = {}
    for ref, arms in ((models.base, {Arm.BASE: None}), (models.post_trained, adapted)):
        with open_checkpoint(models, ref, batch=batch, finished=finished) as checkpoint:
            for arm, added in arms.items():
                answers[arm] = checkpoint.answers(exam, arm, added)
    return answers


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint that arms are made of, by adapters or by other words."""

    host: Host
    tokenizer: PreTrainedTokenizerBase
    context: int  # tokens
    digest: str
    finished: FinishedRequests

    def answers(
        self,
        exam: Exam,
        arm: AnyArm,
        adapter: tuple[Path, str] | None = None,
        *,
        reword: Callable[[str], str] = str,
    ) -> list[Answer]:
        """Return what an arm writes: the checkpoint with an adapter, a folder and its digest, or
        without one."""
        path, digest = adapter or (None, "")
        engine = self.finished.resume(
            self.host.engine(arm, path),
            digest_bytes(f"{self.digest} {digest} {engine_identity()} {engine_place()}".encode()),
        )
        return exam.ask(arm, engine, self.tokenizer, context=self.context, reword=reword)


@contextmanager
def open_checkpoint(
    models: Models, ref: ModelRef, *, batch: int, finished: FinishedRequests
) -> Iterator[Checkpoint]:
    """Yield a checkpoint with its engines, and give back its memory in the end."""
    folder = checkpoint_folder(models, ref)
    tokenizer, context = load_tokenizer(folder), context_length(folder)
    with open_host(folder, batch=batch) as host:
        yield Checkpoint(host, tokenizer, context, ref.digest, finished)
