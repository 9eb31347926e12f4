"""The stage `models`: the pair of an aligned base model and its post-trained descendant."""

from __future__ import annotations

import logging
from pathlib import Path

from components.core.errors import ModelError
from components.core.paths import BASE, POST_TRAINED
from components.lm.loading import checkpoint_folder, describe_checkpoint
from components.lm.references import ModelRef
from components.models.checkpoints import describe, same_weights
from components.models.result import Models
from components.models.settings import Checkpoints, PostTrain, TinyModels
from components.prepare.result import PromptSet

log = logging.getLogger(__name__)


def models(
    section: Checkpoints | PostTrain | TinyModels, prompts: PromptSet, *, seed: int, out: Path
) -> Models:
    """Return the model pair of a profile, located or built.

    Checkpoints that exist are described where they lie; built ones are written to `out`/base and
    `out`/post-trained. Raises `ModelError` for a checkpoint that cannot be used or two that are
    the same, `ConfigError` for a name without the revision it needs, `DataError` where a pair
    cannot be built from the prompts.
    """
    if isinstance(section, Checkpoints):
        base = describe(section.base, section.base_revision, key="base")
        post = describe(section.post_trained, section.post_trained_revision, key="post_trained")
        lineage = section.lineage
    else:
        if isinstance(section, TinyModels):
            from components.models.tiny import build_tiny

            lineage = build_tiny(section, prompts.rows(), seed=seed, out=out)
        else:
            from components.models.post_training import build_post_trained

            lineage = build_post_trained(section, prompts.rows(), seed=seed, out=out)
        base, post = (
            describe_checkpoint(out / name, location=name, where="stage")
            for name in (BASE, POST_TRAINED)
        )
    related = same_lineage(base, post)
    result = Models(base=base, post_trained=post, lineage=lineage, same_lineage=related)
    equal = base.digest == post.digest
    if not equal and isinstance(section, Checkpoints):
        equal = same_weights(*(checkpoint_folder(result, ref) for ref in (base, post)))
    if equal:
        raise ModelError(
            f"base {base.location!r} and post-trained {post.location!r} are the same checkpoint: "
            "all weights are equal; the base is the model before post-training"
        )
    if not related:
        log.warning("the two models differ in architecture, size or tokenizer: no base teacher")
    return result.save(out)


def same_lineage(base: ModelRef, post_trained: ModelRef) -> bool:
    """Return whether architecture, layers, hidden size, vocabulary and tokenizer agree."""
    return all(
        getattr(base, name) == getattr(post_trained, name)
        for name in ("architecture", "layers", "hidden", "vocabulary")
    ) and (base.contract.tokenizer == post_trained.contract.tokenizer)
