"""The teacher: the model whose hidden states on harmful prompts are the target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.core.errors import TrainingError
from components.core.paths import MASKS
from components.lm.loading import checkpoint_folder, free_memory, load_model, load_tokenizer
from components.lm.masks import load_masks, pruned
from components.lm.references import ModelRef
from components.lm.teachers import Means, find_teacher
from components.lm.vectors import applied, vector_of

if TYPE_CHECKING:
    from components.models.result import Models
    from components.probe.result import Probe


@dataclass(frozen=True, slots=True)
class Reader:
    """A model with its tokenizer and the way it is given prompts."""

    model: PreTrainedModel  # with an adapter or without
    tokenizer: PreTrainedTokenizerBase
    preamble: str | None = None  # put before every prompt

    def reword(self, text: str) -> str:
        """Return the user's turn as this reader is given it."""
        return text if self.preamble is None else f"{self.preamble}\n\n{text}"


def open_reader(
    models: Models, ref: ModelRef, *, preamble: str | None = None, load_in_4bit: bool = False
) -> Reader:
    """Return a checkpoint of the pair, loaded, that reads prompts as the student does."""
    free_memory()  # an earlier student may still be held by its trainer's circle of references
    tokenizer = load_tokenizer(checkpoint_folder(models, models.post_trained))
    model = load_model(checkpoint_folder(models, ref), load_in_4bit=load_in_4bit)
    return Reader(model, tokenizer, preamble)


@contextmanager
def open_teacher(models: Models, probe: Probe) -> Iterator[Reader]:
    """Yield the teacher that the probe chose; drop the reader afterwards, and it is freed.

    It reads the student's prompts through the student's template, so that their tokens correspond
    also where only the student's opens a thought. Raises `TrainingError` for a base of another
    lineage, whose states mean something else, and `StageError` or `ModelError` where the masks are
    missing or of another model: towards an unpruned model nothing is trained.
    """
    teacher = find_teacher(probe.teacher)
    if teacher.is_base and not models.same_lineage:
        raise TrainingError(
            f"the teacher {probe.teacher!r} is not of the post-trained model's lineage "
            "(architecture, sizes or tokenizer differ), so its hidden states are no target; set "
            "probe.teacher to `pruned` or `reminder`"
        )
    masks = load_masks(probe.folder / MASKS[teacher.masks]) if teacher.masks else None
    ref = models.base if teacher.is_base else models.post_trained
    means = _means(models, probe)
    reader = open_reader(models, ref, preamble=teacher.preamble(means))
    with (
        pruned(reader.model, masks) if masks is not None else nullcontext(),
        applied(teacher, reader.model, means),
    ):
        yield reader


def _means(models: Models, probe: Probe) -> Means:
    """Return what the probe's teachers were made of."""
    if not (probe.scales and models.vector):
        return probe.means()
    return probe.means(vector_of(models, models.vector, probe.scales[0].scale))


def refusals_waived(probe: Probe) -> bool:
    """Return whether the chosen teacher passed its check without refusing anything.

    Raises `TrainingError` where the probe has no figures of it.
    """
    for figures in probe.teachers:
        if figures.teacher == probe.teacher:
            return figures.passed and figures.harmful_refused.count == 0
    raise TrainingError(
        f"the probe has no check of its teacher {probe.teacher!r}; put it among probe.teachers"
    )
