"""The checkpoints of a diagnosis: the post-trained model, and its base where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.core.vocabulary import Arm
from components.lm.loading import checkpoint_folder, describe_checkpoint
from components.lm.references import ModelRef
from components.models.checkpoints import check_complete, locate, refuse_same
from components.models.result import Models
from components.models.stage import same_lineage


@dataclass(frozen=True, slots=True)
class Pair:
    """Checkpoints by arm, and the folders that they lie in."""

    models: Mapping[Arm, ModelRef]
    folders: Mapping[Arm, Path]

    @property
    def same_lineage(self) -> bool:
        """Whether there are two, of one architecture, size and tokenizer."""
        return Arm.BASE in self.models and same_lineage(*self.models.values())


def name_pair(names: Mapping[Arm, tuple[str, str | None]]) -> Pair:
    """Return the checkpoints with these names, folders or hub ids with their commits.

    Raises `ModelError` for one that cannot be used, and where both are the same.
    """
    folders = {
        arm: locate(name, revision, key=arm.replace("-", "_"))
        for arm, (name, revision) in names.items()
    }
    for folder in folders.values():
        check_complete(folder)
    models = {arm: _describe(folders[arm], *names[arm]) for arm in Arm if arm in names}
    if Arm.BASE in models:
        base, post_trained = models.values()
        refuse_same(base, post_trained, [folders[arm] for arm in models])
    return Pair(models, folders)


def _describe(folder: Path, name: str, revision: str | None) -> ModelRef:
    if revision is not None:
        return describe_checkpoint(folder, location=name, where="hub", revision=revision)
    # What is handed on tells no path of this machine.
    return describe_checkpoint(folder, location=folder.resolve().name, where="local")


def prepared_pair(models: Models) -> Pair:
    """Return the pair that the stage `models` made or found."""
    refs = {Arm.BASE: models.base, Arm.POST_TRAINED: models.post_trained}
    return Pair(refs, {arm: checkpoint_folder(models, ref) for arm, ref in refs.items()})
