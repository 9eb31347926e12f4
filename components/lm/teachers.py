"""Teachers by name: how a model of the pair is made to refuse harmful prompts.

The stage `probe` checks each candidate and chooses one. The stage `train` takes its hidden states
as targets. Another package may add one in the group `safereact.teachers` (docs/extending.md).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, WithJsonSchema

from components.core.errors import StageError
from components.core.extensions import Extensions
from components.lm.references import Vector

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Means:
    """What the teachers of one pair are made of."""

    reminder: str  # `probe.reminder` of the profile
    context: str | None = None  # the one of `probe.contexts` that the probe chose
    vector: Vector | None = None  # at the scale of `probe.vector_scales` that the probe chose


class Teacher:
    """The post-trained model as it is. A subclass changes what differs."""

    is_base: ClassVar[bool] = False  # the aligned base model in the place of the post-trained one
    masks: ClassVar[str | None] = None  # name of the pruned teacher whose removed weights it lacks
    in_context: ClassVar[bool] = False  # the probe has to choose a context first
    adds_vector: ClassVar[bool] = False  # the probe has to choose the scale of a vector first

    def preamble(self, means: Means) -> str | None:  # noqa: ARG002 - subclasses read it
        """Return what stands before each prompt, in the user's turn; None for nothing."""
        return None

    def applied(
        self,
        model: PreTrainedModel,  # noqa: ARG002
        means: Means,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Change the loaded model within the block, and undo it at its end."""
        return nullcontext()


TEACHERS: Extensions[type[Teacher]] = Extensions("teachers")


@TEACHERS.register("base")
class Base(Teacher):
    """The aligned base model. It can teach a post-trained model of its own lineage alone."""

    is_base = True


@TEACHERS.register("pruned")
class Pruned(Teacher):
    """The post-trained model without weights that matter for reasoning and not for safety."""

    masks = "pruned"


@TEACHERS.register("reminder")
class Reminded(Teacher):
    """The post-trained model with the safety reminder before each prompt."""

    def preamble(self, means: Means) -> str:
        """Return the profile's reminder."""
        return means.reminder


@TEACHERS.register("pruned-reminder")
class PrunedReminded(Reminded):
    """Both, with masks that were chosen under the reminder: the teacher of arXiv 2604.00012."""

    masks = "pruned-reminder"


@TEACHERS.register("context")
class InContext(Teacher):
    """The post-trained model behind the context that best turns its own answers to refusals."""

    in_context = True

    def preamble(self, means: Means) -> str:
        """Return the context that the probe chose; raises `StageError` where it chose none."""
        if means.context is None:
            raise StageError("the probe chose no context; run the stage `probe` again")
        return means.context


@TEACHERS.register("vector")
class Moved(Teacher):
    """The post-trained model plus what alignment changed in its ancestor (see vectors.py)."""

    adds_vector = True


BY_DEFAULT = ("base", "pruned", "reminder", "pruned-reminder")
OURS = (*BY_DEFAULT, "context", "vector")


def find_teacher(name: str) -> Teacher:
    """Return the teacher called `name`; raises `ConfigError` with the names that there are."""
    return TEACHERS.find(name)()


def _known(name: str) -> str:
    if name not in TEACHERS.names():
        raise ValueError(f"no teacher has this name; there are: {', '.join(TEACHERS.names())}")
    return name


TeacherName = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(OURS)})
]
