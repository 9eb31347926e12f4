"""What each stage hands on: one frozen result a stage, a JSON file in the stage's folder.

A result holds figures and names; `folder`, set when it is saved or loaded, is where the heavy
files beside it lie. Nothing here carries a timestamp or an absolute path.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from components import workspace
from components.config import GraderKind, Scope, TeacherKind, Text
from components.errors import EvidenceError, StageError
from components.records import (
    OWN_ARMS,
    AnyArm,
    Arm,
    Form,
    Method,
    Outcome,
    Prompt,
    Role,
    Split,
    View,
)
from components.storage import digest_bytes, digest_file, read_json, read_rows, write_json


class Record(BaseModel):
    """A frozen group of figures."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class RateFigure(Record):
    """A share of n prompts with its interval (Wilson score)."""

    rate: float
    low: float
    high: float
    count: int
    n: int
    samples: int | None = None  # completions, where prompts have several; `count` is of these

    @classmethod
    def of(cls, count: int, n: int, confidence: float) -> Self:
        """Return `count / n` with its interval, whose ends enclose it also where rounding would
        not. Zero samples raise `EvidenceError`."""
        from statsmodels.stats.proportion import proportion_confint

        if n < 1:
            raise EvidenceError("a rate of zero prompts has no interval")
        rate = count / n
        low, high = proportion_confint(count, n, alpha=1 - confidence, method="wilson")
        return cls(
            rate=rate, low=min(float(low), rate), high=max(float(high), rate), count=count, n=n
        )


class Result(Record):
    """A stage's result; `FILE` is its name in the stage's folder."""

    FILE: ClassVar[str]
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """The folder this result was saved in or loaded from."""
        if self._folder is None:
            raise StageError(f"this {type(self).__name__} was never saved")
        return self._folder

    def save(self, folder: Path) -> Self:
        """Write the result into `folder` and return it, bound to that folder."""
        write_json(folder / self.FILE, self.model_dump(mode="json"))
        self._folder = folder
        return self

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the result in `folder`; raises `StageError` naming what is wrong with the file."""
        path = folder / cls.FILE
        try:
            result = cls.model_validate(read_json(path))
        except ValidationError as error:
            raise StageError(f"{path} is not a {cls.__name__}: {error}") from error
        result._folder = folder
        return result

    @classmethod
    def digest_of(cls, folder: Path) -> str:
        """Return the SHA-256 of the result's file in `folder`."""
        path = folder / cls.FILE
        if not path.is_file():
            raise StageError(f"{path} is missing; run the stage that writes it")
        return digest_file(path)


# --- prepare ---------------------------------------------------------------------------------


class SourceCount(Record):
    """What became of one source's rows."""

    name: str
    licence: str
    digest: str  # SHA-256 of the local file, or the hub commit
    read: int
    kept: int
    quarantined: int


LeakMeasure = Literal["run", "copy", "share"]


class LeakFigure(Record):
    """How many prompts of one suite are found in training, by one measure (see corpus/leaks.py).

    Both rates have 95 % intervals. Prompts too short for the measure are left out of n.
    """

    suite: str
    measure: LeakMeasure
    words: int | None  # of a run; None: whole texts are compared
    before: RateFigure  # as the sources came
    after: RateFigure  # as the adapter is trained
    prompts: tuple[str, ...]  # ids of at most five of those that are still found
    dropped: int  # training and validation rows that were dropped for repeating this suite


class SuiteSpec(Record):
    """A named suite as it was prepared: how its prompts are asked and judged, and what they are."""

    role: Role
    judge: str  # `rules`, or one of evaluate.judges
    grader: GraderKind | None  # of reasoning alone
    prompts: int  # in the table
    samples: int  # completions a prompt
    temperature: float  # 0: greedy
    top_p: float
    max_new_tokens: int
    instruction: str  # what is put behind every prompt when it is asked; "": nothing
    attacks: tuple[Form, ...] = ()  # beside those of evaluate.attacks
    origin: str  # hub data set, or the file's name
    digest: str  # commit of the hub data set, or SHA-256 of the file
    licence: str
    gated: bool


class PromptSet(Result):
    """The prepared table of the profile's own prompts, on which no named suite leaves a trace but
    the rows that were dropped for it."""

    FILE: ClassVar[str] = workspace.MANIFEST

    digest_of_prompts: str = Field(description="SHA-256 of the table's content, file-format free")
    sources: tuple[SourceCount, ...]
    counts: dict[Split, dict[Role, int]]
    expectations: int = Field(description="expectations checked, all of which held")
    overlap: dict[str, int] = Field(description="rows dropped from training as leaks, by source")
    leaks: tuple[LeakFigure, ...] = Field((), description="by suite and measure; none: not looked")

    def rows(self, *, split: Split | None = None, role: Role | None = None) -> list[Prompt]:
        """Return the profile's own prompts of a split and role in the table's order."""
        rows = _read_prompts(self.folder / workspace.PROMPTS)
        return [r for r in rows if split in (None, r.split) and role in (None, r.role)]

    def own_test(self) -> list[Prompt]:
        """Return the profile's own test prompts in the table's order."""
        return self.rows(split=Split.TEST)


class SuiteSet(PromptSet):
    """The prepared prompts with the named suites beside them, for the stages that test.

    Sources, counts, expectations and leaks are of both. It is a file of its own, so a suite that
    comes or changes leaves the `PromptSet` that training depends on as it was.
    """

    FILE: ClassVar[str] = workspace.SUITE_MANIFEST

    suites: dict[str, SuiteSpec] = Field(
        default_factory=dict, description="the named suites; their rows have the suite as source"
    )
    digest_of_suites: str = Field("", description="SHA-256 of their table's content; empty: none")

    @property
    def digest(self) -> str:
        """SHA-256 over all that is asked: the own prompts', with the suites' and their settings
        where there are suites."""
        if not self.suites:
            return self.digest_of_prompts
        settings = self.model_dump_json(include={"suites"})
        return digest_bytes(
            f"{self.digest_of_prompts}\n{self.digest_of_suites}\n{settings}".encode()
        )

    def named_suites(self) -> dict[str, tuple[SuiteSpec, list[Prompt]]]:
        """Return the named suites in order, each with its prompts in the table's order."""
        rows = self.suite_rows()
        return {
            name: (self.suites[name], [row for row in rows if row.source == name])
            for name in sorted(self.suites)
        }

    def suite_rows(self) -> list[Prompt]:
        """Return the prompts of all named suites in the table's order."""
        return _read_prompts(self.folder / workspace.SUITE_PROMPTS) if self.suites else []

    def every_test(self) -> list[Prompt]:
        """Return all test prompts: the profile's own, then those of the named suites."""
        named = (prompt for _, prompts in self.named_suites().values() for prompt in prompts)
        return [*self.own_test(), *named]


def _read_prompts(path: Path) -> list[Prompt]:
    return [
        Prompt(**{**row, "role": Role(row["role"]), "split": Split(row["split"])})
        for row in read_rows(path)
    ]


# --- models ----------------------------------------------------------------------------------


class PromptContract(Record):
    """How a prompt becomes tokens; an adapter is valid under the contract it was trained with."""

    template: str  # SHA-256 of the chat template
    tokenizer: str  # SHA-256 of vocabulary and merges, as the tokenizer serialises itself
    bos: str | None
    generation_prefix: str  # what the template puts after the last user turn
    opens_thought: bool  # the generation prefix ends within an open thought

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return digest_bytes(self.model_dump_json().encode())


class ModelRef(Record):
    """One checkpoint. `location` is relative to the result's folder, a local path, or a hub id."""

    location: str
    where: str = Field(pattern="^(stage|local|hub)$")
    revision: str | None = None
    digest: str = Field(description="SHA-256 over the checkpoint's files, or the hub commit")
    architecture: str
    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    contract: PromptContract


class Models(Result):
    """The pair: the aligned base model and its post-trained descendant."""

    FILE: ClassVar[str] = workspace.MODELS

    base: ModelRef
    post_trained: ModelRef
    lineage: str
    same_lineage: bool = Field(description="architecture, sizes and tokenizer agree")


# --- probe -----------------------------------------------------------------------------------


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

    teacher: TeacherKind
    harmful_refused: float
    harmful_n: int
    benign_refused: float
    benign_n: int
    coherent: float
    coherent_n: int
    shortfall: float  # what it lacks to pass, summed over the three rates; 0: it passes
    passed: bool
    reason: str


class Probe(Result):
    """The diagnosis: where safety is seen, how far it drifted, who may teach."""

    FILE: ClassVar[str] = workspace.PROBE

    layers: tuple[LayerProbe, ...]
    folded_by: Literal["topic", "prompt"]  # what the folds behind the AUCs keep together
    masks: tuple[MaskSize, ...]
    pruning: tuple[PruningPoint, ...]  # the whole model first
    teachers: tuple[TeacherFigures, ...]
    check_tokens: int  # that a teacher might write in the check
    teacher: TeacherKind
    reminder: str  # what the teacher `reminder` reads before a prompt
    target_layers: tuple[int, ...]
    prompts: dict[Role, int]  # rows behind the layers' figures
    calibration: dict[str, int]  # exchanges behind the masks, by where their answers come from


# --- train -----------------------------------------------------------------------------------


class Adapter(Result):
    """The SafeReAct adapter and its LoRA-SFT baseline, both in PEFT's own format."""

    FILE: ClassVar[str] = workspace.TRAINING

    digest: str  # SHA-256 over the adapter's folder
    baseline_digest: str
    base_model: str  # digest of the post-trained checkpoint it belongs to
    data: str  # digest_of_prompts it was trained on
    contract: PromptContract
    teacher: TeacherKind
    target_layers: tuple[int, ...]
    adapted_layers: int
    parameters: int
    steps: int  # optimiser steps taken
    stopped: str = "after all its steps"  # when and why the training ended
    tokens: int  # read in training, padding left out
    baseline_tokens: int
    harmful_rows: int
    teacher_refused: int  # harmful prompts that the teacher refused, over all forms
    teacher_asked: int  # and how many it was asked
    retain_rows: int
    alignment_loss: tuple[float, float]  # mean of the first and of the last tenth of the steps
    retention_loss: tuple[float, float]

    @property
    def adapter(self) -> Path:
        """Folder of the SafeReAct adapter."""
        return self.folder / workspace.ADAPTER

    @property
    def baseline(self) -> Path:
        """Folder of the LoRA-SFT baseline."""
        return self.folder / workspace.BASELINE


# --- the champion ----------------------------------------------------------------------------

NO_CHAMPION = "none yet"  # stands for the digest of a champion where there is none


class Released(Record):
    """A registered version's adapter, and what it belongs to."""

    version: str
    digest: str  # SHA-256 over the adapter's folder
    base_model: str  # digest of the post-trained checkpoint it was trained on
    contract: PromptContract | None  # None: of no form that this version knows


class Champion(Result):
    """Which version of a registered model carries the alias `champion`; its adapter lies beside.

    No stage writes it: the registry is asked before the evaluation (components/release/champions).
    """

    FILE: ClassVar[str] = workspace.CHAMPION

    name: str  # of the registered model
    released: Released | None  # None: the registry was asked, and no version carries the alias

    @property
    def adapter(self) -> Path:
        """Folder of its adapter."""
        return self.folder / workspace.ADAPTER

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the champion in `folder`; raises `StageError` where nobody has asked for it."""
        if not (folder / cls.FILE).is_file():
            raise StageError(
                f"{folder / cls.FILE} is missing, and evaluate.champion asks for it; "
                f"`safereact champion --profile {folder.name}` brings it from the registry"
            )
        return super().load(folder)


class ChampionArm(Record):
    """The champion as an evaluation found it."""

    name: str  # of the registered model
    released: Released | None  # None: there was none yet
    unmeasured: str | None = None  # why it was not asked; None: it was, unless there was none

    @property
    def digest(self) -> str:
        """Its adapter's digest, or `NO_CHAMPION`."""
        return self.released.digest if self.released else NO_CHAMPION

    @property
    def asked(self) -> bool:
        """Whether it answered the same prompts as the other arms."""
        return self.released is not None and self.unmeasured is None

    def __str__(self) -> str:
        if self.released is None:
            return f"{self.name} had none before this adapter"
        told = f"{self.name} version {self.released.version}, adapter {self.released.digest:.12}"
        return f"{told}; not measured: {self.unmeasured}" if self.unmeasured else told


# --- evaluate --------------------------------------------------------------------------------


# In an engine's name: it does not show which weights it holds.
UNBOUND = "unbound"

# Which arms are compared on the same prompts.
COMPARISONS = (
    (Arm.RESTORED, Arm.POST_TRAINED),
    (Arm.RESTORED, Arm.BASE),
    (Arm.RESTORED, Arm.BASELINE),
    (Arm.POST_TRAINED, Arm.BASE),
    (Arm.BASELINE, Arm.POST_TRAINED),
    (Arm.BASELINE, Arm.BASE),
)
WITH_CHAMPION = (Arm.RESTORED, Arm.CHAMPION)  # and these where the champion was asked


class Difference(Record):
    """Restored-style paired difference of two arms' rates on the same prompts."""

    arm: AnyArm
    against: AnyArm
    metric: str
    difference: float  # arm - against
    low: float
    high: float
    n: int
    gained: int  # prompts where only `arm` counts, or counts more often
    lost: int  # prompts where only `against` counts, or counts more often
    p_value: float  # exact McNemar, two-sided
    p_holm: float | None = None  # the same, adjusted over all differences that are told with it


class Usage(Record):
    """What a paid judge was asked for."""

    requests: int = 0  # repeated ones included
    repeated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    untold: int = 0  # requests whose tokens the server did not tell
    cost: float = 0.0  # US dollars, by the prices of the profile


class CutFigure(Record):
    """How many of n completions a judge read without the middle of a text."""

    count: int
    n: int


class KappaFigure(Record):
    """Cohen's kappa of judge and labels with its interval (Fleiss, Cohen and Everitt 1969)."""

    kappa: float
    low: float
    high: float


class Calibration(Record):
    """How a judge rules on labelled cases."""

    judge: str  # its name
    cases: str  # digest of the labelled cases it was tried on
    confidence: float
    accuracy: RateFigure  # unparsed counts as wrong
    by_view: dict[View, RateFigure]  # the same, of one part of completions
    unparsed: RateFigure
    kappa: KappaFigure | None  # None: labels and rulings are all the same one
    confusion: dict[Outcome, dict[Outcome, int]]  # label -> ruling -> cases


class LengthShift(Record):
    """How many tokens longer or shorter an arm's completions of a suite are than another's."""

    arm: AnyArm
    against: AnyArm
    suite: str
    form: Form
    mean: float  # tokens of `arm`'s completions
    difference: float  # arm - against, mean over prompts
    low: float  # ends of the paired bootstrap's interval
    high: float
    n: int


class Evidence(Result):
    """Rates of every arm, and arms compared on the same prompts."""

    FILE: ClassVar[str] = workspace.METRICS

    adapter: str  # digest of the adapter that was evaluated
    baseline: str
    models: dict[str, str]  # arm -> digest of its checkpoint
    data: str  # digest_of_prompts
    test_prompts: str  # digest of the ids that were evaluated
    contract: PromptContract
    roles: dict[str, Role]  # of every suite that was asked
    judges: dict[str, str]  # suite -> its judge, with the digest of all that decides its rulings
    calibrations: tuple[Calibration, ...]  # of every judge, on labelled cases
    cut: dict[str, dict[Arm, CutFigure]]  # suite -> completions that its judge saw cut
    usage: dict[str, Usage]  # judge -> what a paid service was asked for
    rows: str  # SHA-256 of the rows' file, from which every figure is counted
    engine: str  # what wrote the completions
    confidence: float
    rates: dict[Arm, dict[str, RateFigure]]  # arm -> metric, such as "harmful.refused"
    differences: tuple[Difference, ...]
    lengths: tuple[LengthShift, ...]  # of every arm against the post-trained one
    champion: ChampionArm | None = None  # None: the profile does not measure it
    judge_settings: dict[str, str] = {}  # suite -> what decides its judge's rulings; `rules`: none

    @property
    def arms(self) -> list[Arm]:
        """The arms that every evaluation has, and the champion where it was asked."""
        return [arm for arm in Arm if arm in OWN_ARMS or arm in self.rates]

    def rows_now(self) -> str:
        """SHA-256 of the rows' file as it lies in the folder; empty where there is none."""
        path = self.folder / workspace.ROWS
        return digest_file(path) if path.is_file() else ""

    @property
    def bound(self) -> bool:
        """Whether the completions are known to come from the weights that are named here."""
        return not self.engine.endswith(UNBOUND)


# --- baselines, compare ------------------------------------------------------------------------


class Baseline(Record):
    """One method's adapter, or the reason why it could not be trained on this pair."""

    method: Method
    digest: str | None  # SHA-256 over the adapter's folder
    reason: str | None
    parameters: int = 0
    steps: int = 0
    rows: int = 0  # harmful rows it was trained on
    tokens: int = 0  # read in training, padding left out

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.digest is None) == (self.reason is None):
            raise ValueError(f"{self.method}: either an adapter or a reason, not both or none")
        return self


class Baselines(Result):
    """The adapters of the other methods, each in a folder of its name."""

    FILE: ClassVar[str] = workspace.BASELINES

    base_model: str  # digest of the post-trained checkpoint
    data: str
    contract: PromptContract
    methods: tuple[Baseline, ...]

    def adapter(self, method: Method) -> Path:
        """Folder of a method's adapter."""
        return self.folder / method.value


class Comparison(Result):
    """Every method on the same prompts: rates, and each against the post-trained and the restored
    model."""

    FILE: ClassVar[str] = workspace.COMPARISON

    data: str
    test_prompts: str
    judges: dict[str, str]
    confidence: float
    cut: dict[str, dict[AnyArm, CutFigure]]  # suite -> completions that its judge saw cut
    usage: dict[str, Usage]  # judge -> what a paid service was asked for
    rows: str  # SHA-256 of the file with the other methods' rows
    teacher: TeacherKind  # of the restored arm
    rates: dict[AnyArm, dict[str, RateFigure]]
    differences: tuple[Difference, ...]
    left_out: dict[Method, str]  # why a method has no figures


# --- undo, withstand ---------------------------------------------------------------------------


class Tuned(Record):
    """An arm's model after so many steps of a fine-tune on harmless rows."""

    arm: Arm
    steps: int
    digest: str  # SHA-256 over the fine-tune's own adapter, which goes on top of the merged arm


class Undo(Result):
    """The adapters that a fine-tune on harmless rows put on the restored model, and on that of the
    LoRA-SFT baseline, once their own adapters are merged into the weights."""

    FILE: ClassVar[str] = workspace.UNDO

    base_model: str  # digest of the post-trained checkpoint
    adapters: dict[Arm, str]  # digests of the adapters that were merged
    data: str
    contract: PromptContract
    rows: int
    loss: dict[Arm, tuple[float, float]]  # nats a token, mean of the first and last tenth of steps
    tuned: tuple[Tuned, ...]

    def adapter(self, arm: Arm, steps: int) -> Path:
        """Folder of the adapter after so many steps."""
        return workspace.tuned_adapter(self.folder, arm, steps)


class Standing(Record):
    """What a model does with the harmful and the benign test prompts."""

    harmful_refused: RateFigure
    harmful_complied: RateFigure  # in the thought, in the answer or in both
    harmful_unparsed: RateFigure  # a verdict, on the thought or on the answer, could not be read
    benign_coherent: RateFigure  # the answer is a refusal or language
    benign_unparsed: RateFigure  # the same
    cut: CutFigure  # of all these prompts


class TunedStanding(Record):
    """A model's standing after so many steps on harmless rows; 0: as it was before."""

    steps: int
    standing: Standing


class Undoing(Record):
    """What a fine-tune on harmless rows leaves of one arm's safety, by its steps."""

    arm: Arm
    points: tuple[TunedStanding, ...]  # ascending, 0 steps first

    @property
    def halved_at(self) -> int | None:
        """The first measured step at which at most half as many harmful prompts are refused as at
        the start; None: at none of them. 0: nothing was refused at the start."""
        start = self.points[0].standing.harmful_refused.count
        return next(
            (p.steps for p in self.points if 2 * p.standing.harmful_refused.count <= start), None
        )


DirectionOf = Literal["base", "post-trained", "own"]


class Ablation(Record):
    """What is left of one arm's safety without its refusal direction."""

    arm: Arm
    direction_of: DirectionOf  # the model whose states it comes from; own: this arm's
    layer: int  # whose states it comes from; it is taken out of all
    tried: int  # directions that were tried on validation prompts
    coherent: bool  # there the chosen one left as much language as was asked for
    before: Standing
    after: Standing


class Withstand(Result):
    """What the restored model's safety withstands: fine-tuning on harmless rows, and the ablation
    of its refusal direction."""

    FILE: ClassVar[str] = workspace.WITHSTAND

    adapter: str
    baseline: str
    data: str
    test_prompts: str  # digest of what was asked
    judges: dict[str, str]  # suite -> its judge, with the digest of what decides
    usage: dict[str, Usage]  # judge -> what a paid service was asked for
    confidence: float
    undoings: tuple[Undoing, ...]
    ablations: tuple[Ablation, ...]


# --- gate ------------------------------------------------------------------------------------


class Conclusion(StrEnum):
    """What the figures say about one rule."""

    PASS = "pass"  # they show that it holds
    FAIL = "fail"  # they show that it does not, or there are none: more prompts would not help
    INCONCLUSIVE = "inconclusive"  # they show neither; more prompts would


class Word(StrEnum):
    """What the gate says about an adapter."""

    ACCEPTED = "accepted"  # every rule holds, or is overridden
    REJECTED = "rejected"  # a rule failed
    INCONCLUSIVE = "inconclusive"  # none failed, but not all of them pass


LONGEST = timedelta(days=366)  # from an override's signature to its last day


class Override(Record):
    """A person's word that one adapter may go on although one rule does not hold.

    It is about what one evaluation showed under one policy; another one ends it. Nobody signs
    without a name, a reason and an end at most `LONGEST` away, however the record was written.
    """

    rule: str
    adapter: str
    evidence: str  # digest of metrics.json
    policy: str  # digest of the rules
    who: Text
    why: Text
    signed: date  # the day, in UTC, of the signature
    until: date  # the last day, in UTC, on which the decision may be used

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not timedelta(0) <= self.until - self.signed <= LONGEST:
            raise ValueError(
                f"until {self.until} must be a day from the signature, {self.signed}, to "
                f"{LONGEST.days} days later; sign with `safereact override`"
            )
        return self

    def __str__(self) -> str:
        return f"overridden by {self.who} until {self.until}: {self.why}"


class RuleOutcome(Record):
    """One rule of the policy, decided."""

    rule: str
    metric: str
    arm: str
    against: str | None
    figure: float | None  # point value; None: no evidence
    bound: float | None  # the interval's end that decides
    threshold: float | None  # None: a match that must hold, not a figure
    n: int
    conclusion: Conclusion
    p_value: float | None = None  # one-sided, of the figure being at the threshold or beyond it
    needed: int | None = None  # prompts that would decide an inconclusive rule
    warns: bool = False  # it passed, and people should read its words all the same
    impossible: bool = False  # no figure can be had: the champion is of another model
    override: Override | None = None
    why: str

    @property
    def passed(self) -> bool:
        """Whether the figures show that the rule holds."""
        return self.conclusion is Conclusion.PASS

    @property
    def stands(self) -> bool:
        """Whether the rule is in the adapter's way no longer: it passed or is overridden."""
        return self.passed or self.override is not None


class Decision(Result):
    """The gate's word on one adapter, with every rule's figure."""

    FILE: ClassVar[str] = workspace.DECISION

    word: Word
    adapter: str
    data: str
    evidence: str  # digest of metrics.json
    policy: str  # digest of the policy's rules
    contract: PromptContract
    judges: dict[str, str]  # suite -> name of its judge
    judge_settings: dict[str, str] = {}  # suite -> what decides its judge's rulings; `rules`: none
    champion: str | None = None  # digest of the one it was compared with, or NO_CHAMPION
    rules: tuple[RuleOutcome, ...]
    reasons: tuple[str, ...]  # why not, one line a rule that does not stand; empty when accepted
    refused: tuple[str, ...] = ()  # overrides that do not count, and why

    @property
    def accepted(self) -> bool:
        """Whether the adapter may be registered."""
        return self.word is Word.ACCEPTED


class Report(Result):
    """The report's file and what it is about."""

    FILE: ClassVar[str] = "report.json"

    digest: str  # SHA-256 of report.html
    adapter: str
    accepted: bool


RESULTS: dict[str, type[Result]] = {
    "prepare": PromptSet,
    "models": Models,
    "probe": Probe,
    "train": Adapter,
    "evaluate": Evidence,
    "gate": Decision,
    "report": Report,
    "baselines": Baselines,
    "compare": Comparison,
    "undo": Undo,
    "withstand": Withstand,
}


def load_result(stage: str, folder: Path) -> Any:
    """Return the result of `stage` in `folder`."""
    return RESULTS[stage].load(folder)
