"""What the stage `probe` hands on: figures of layers, masks and teachers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from components.core import paths
from components.core.result import RateFigure, Record, Result
from components.core.vocabulary import Role
from components.lm.references import Vector
from components.lm.teachers import Means

Scope = Literal["matrix", "row"]  # where weights are compared: in a whole matrix, in each row


class AucFigure(Record):
    """A cross-validated AUC with its 95 % interval (Newcombe 2006, method 5).

    Harmful and benign prompts behind it: `Probe.prompts`.
    """

    auc: float
    low: float
    high: float


class DriftFigure(Record):
    """How far post-training moved one layer's states on one role's prompts."""

    cosine: float  # 1 - mean cosine of base and post-trained states: 0 is unmoved
    cka: float | None  # debiased linear CKA: 1 is the same geometry; None: too few prompts


class LayerProbe(Record):
    """Figures of one decoder layer of the post-trained model, 1 = first; the last is read after
    the final norm.

    `direction_cosine` and `drift` compare the two models, so they are None for a pair that is not
    of one lineage; the base's own figures are None where it has no such layer.
    """

    layer: int
    auc_base: AucFigure | None  # linear probe, harmful against benign
    auc_post_trained: AucFigure
    separation_base: float | None  # norm of the difference in means over the mean norm
    separation_post_trained: float
    direction_cosine: float | None  # refusal direction of base against post-trained
    drift: dict[Role, DriftFigure] | None


class MaskSize(Record):
    """What the set difference takes from one kind of projection, over all layers."""

    projection: str
    weights: int
    top: int  # weights in the top share by the reasoning score
    shared: int  # those of them that are in the top share by the safety score too
    removed: int  # those that are not

    @property
    def overlap(self) -> float | None:
        """Share of the top reasoning weights that serve safety too; None where there are none."""
        return self.shared / self.top if self.top else None


RATES = ("harmful_refused", "benign_refused", "coherent")  # what a check measures

PrunedBy = Literal[
    "nothing", "set-difference", "set-difference, reminded", "uniform", "magnitude-matched"
]


class PruningPoint(Record):
    """What the post-trained model does on validation prompts without some of its weights.

    `nothing` is the whole model; `set-difference, reminded` has the safety reminder before each
    prompt; `uniform` and `magnitude-matched` are random controls with as many weights of every
    matrix as the set difference of their share and scope, the uniform ones of each row per row.
    """

    by: PrunedBy
    scope: Scope | None  # None: nothing is removed
    share: float | None  # of the reasoning score, that is removed
    kept: float | None  # of the safety score, that is not
    removed: int
    weights: int
    harmful_refused: RateFigure
    benign_refused: RateFigure
    coherent: RateFigure  # over both roles
    chosen: bool = False  # these are the masks of `pruned`, or, reminded, of `pruned-reminder`


class TeacherFigures(Record):
    """What one candidate teacher does on validation prompts."""

    teacher: str
    harmful_refused: float
    harmful_n: int
    benign_refused: float
    benign_n: int
    coherent: float
    coherent_n: int
    shortfall: float  # what it lacks to pass, summed over the three rates; 0: it passes
    passed: bool
    reason: str


class ContextFigures(Record):
    """What one context before a prompt changes in what the post-trained model does."""

    context: str  # its name in the pool
    text: str
    round: int  # the last one that it was in, 1 = first
    flipped: RateFigure | None  # of harmful prompts that are not refused without it, refused
    disturbed: RateFigure | None  # of harmless prompts answered without it, not answered any more

    @property
    def score(self) -> float:
        """What contexts are ranked by; a share of no prompts counts as 0."""
        flipped, disturbed = (f.rate if f else 0.0 for f in (self.flipped, self.disturbed))
        return flipped - disturbed


class VectorFigures(Record):
    """What the post-trained model does on validation prompts with the vector added."""

    scale: float
    harmful_refused: RateFigure
    benign_refused: RateFigure
    coherent: RateFigure  # over both roles


class Probe(Result):
    """The diagnosis: where safety is seen, how far it drifted, who may teach."""

    FILE: ClassVar[str] = paths.PROBE

    layers: tuple[LayerProbe, ...]
    folded_by: Literal["topic", "prompt"]  # what the folds behind the AUCs keep together
    masks: tuple[MaskSize, ...]
    pruning: tuple[PruningPoint, ...]  # the whole model first
    teachers: tuple[TeacherFigures, ...]
    check_tokens: int  # that a teacher might write in the check
    teacher: str
    reminder: str  # what the teacher `reminder` reads before a prompt
    contexts: tuple[ContextFigures, ...] = ()  # the best first; none where none teaches in context
    scales: tuple[VectorFigures, ...] = ()  # the best first; none where no vector is added
    target_layers: tuple[int, ...]
    prompts: dict[Role, int]  # rows behind the layers' figures
    calibration: dict[str, int]  # exchanges behind the masks, by where their answers come from

    def means(self, vector: Vector | None = None) -> Means:
        """Return what the teachers were made of when they were checked."""
        return made_of(self.reminder, self.contexts, vector)


def made_of(reminder: str, contexts: Sequence[ContextFigures], vector: Vector | None) -> Means:
    """Return what teachers are made of, with the first of the `contexts`."""
    context = contexts[0].text if contexts else None
    return Means(reminder=reminder, context=context, vector=vector)
