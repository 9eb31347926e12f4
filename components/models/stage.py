"""The stage `models`: the pair of an aligned base model and its post-trained descendant."""

from __future__ import annotations

import logging
from pathlib import Path

from components.core.paths import ANCESTOR, BASE, POST_TRAINED
from components.lm.loading import checkpoint_folder, describe_checkpoint, describe_weights
from components.lm.references import CheckpointRef, ModelRef
from components.lm.vectors import check_vector, vector_of
from components.models.checkpoints import describe, describe_ancestor, refuse_same
from components.models.result import Models
from components.models.settings import Checkpoints, PostTrain, TinyModels
from components.prepare.result import PromptSet

log = logging.getLogger(__name__)


def models(
    section: Checkpoints | PostTrain | TinyModels, prompts: PromptSet, *, seed: int, out: Path
) -> Models:
    """Return the model pair of a profile, located or built.

    Checkpoints that exist are described where they lie; built ones are written to `out`/base and
    `out`/post-trained, and what the base was aligned from to `out`/ancestor where that is kept.
    Raises `ModelError` for a checkpoint that cannot be used, two that are the same and an ancestor
    of another shape, `ConfigError` for a name without the revision it needs, `DataError` where a
    pair cannot be built from the prompts.
    """
    if located := isinstance(section, Checkpoints):
        result = _located(section)
    else:
        result = _built(section, prompts, seed=seed, out=out)
    pair = (result.base, result.post_trained)
    refuse_same(*pair, [checkpoint_folder(result, ref) for ref in pair] if located else ())
    if located and result.vector:
        check_vector(vector_of(result, result.vector, 1.0))
    if not result.same_lineage:
        log.warning("the two models differ in architecture, size or tokenizer: no base teacher")
    return result.save(out)


def _located(section: Checkpoints) -> Models:
    """Return a pair that exists."""
    base = describe(section.base, section.base_revision, key="base")
    post = describe(section.post_trained, section.post_trained_revision, key="post_trained")
    ancestor = None
    if section.ancestor is not None:
        ancestor = describe_ancestor(section.ancestor, section.ancestor_revision)
    return _pair(base, post, ancestor, section.lineage)


def _built(section: PostTrain | TinyModels, prompts: PromptSet, *, seed: int, out: Path) -> Models:
    """Return a pair after building it in `out`."""
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
    ancestor = None
    if section.keep_ancestor:
        ancestor = describe_weights(out / ANCESTOR, location=ANCESTOR, where="stage")
    return _pair(base, post, ancestor, lineage)


def _pair(base: ModelRef, post: ModelRef, ancestor: CheckpointRef | None, lineage: str) -> Models:
    related = same_lineage(base, post)
    return Models(
        base=base, post_trained=post, ancestor=ancestor, lineage=lineage, same_lineage=related
    )


def same_lineage(base: ModelRef, post_trained: ModelRef) -> bool:
    """Return whether architecture, layers, hidden size, vocabulary and tokenizer agree."""
    return all(
        getattr(base, name) == getattr(post_trained, name)
        for name in ("architecture", "layers", "hidden", "vocabulary")
    ) and (base.contract.tokenizer == post_trained.contract.tokenizer)
