"""What the stage `evaluate` hands on: the evidence, and the champion that was asked beside."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field

from components.core import paths
from components.core.errors import StageError
from components.core.result import RateFigure, Record, Result
from components.core.section import Sampling
from components.core.storage import digest_file
from components.core.vocabulary import OWN_ARMS, UNBOUND, AnyArm, Arm, Role, View
from components.judges.result import Calibration, KappaFigure, Usage
from components.lm.references import PromptContract

NO_CHAMPION = "none yet"  # stands for the digest of a champion where there is none


class Released(Record):
    """A registered version's adapter, and what it belongs to."""

    version: str
    digest: str  # SHA-256 over the adapter's folder
    base_model: str  # digest of the post-trained checkpoint it was trained on
    contract: PromptContract | None  # None: of no form that this version knows


class Champion(Result):
    """Which version of a registered model carries the alias `champion`; its adapter lies beside.

    No stage writes it: the registry is asked before the evaluation (`fetch_champion`).
    """

    FILE: ClassVar[str] = paths.CHAMPION

    name: str  # of the registered model
    released: Released | None  # None: the registry was asked, and no version carries the alias

    @property
    def adapter(self) -> Path:
        """Folder of its adapter."""
        return self.folder / paths.ADAPTER

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
    def measured(self) -> bool:
        """Whether it answered the same prompts as the other arms."""
        return self.released is not None and self.unmeasured is None

    def __str__(self) -> str:
        if self.released is None:
            return f"{self.name} had none before this adapter"
        version = f"{self.name} version {self.released.version}, adapter {self.released.digest:.12}"
        return f"{version}; not measured: {self.unmeasured}" if self.unmeasured else version


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
    """Restored-style paired difference of two arms' rates on the same prompts.

    Where completions were cut off before they could count or not, it is the lowest that it may be,
    `low` and `high` are the lower end of the lowest and the upper end of the highest, and the
    p-value is the largest.
    """

    arm: AnyArm
    against: AnyArm
    metric: str
    difference: float  # arm - against
    low: float
    high: float
    n: int
    gained: int  # prompts where only `arm` counts, or counts more often
    lost: int  # prompts where only `against` counts, or counts more often
    clusters: int | None = None  # what counts as independent, where there are near-copies
    p_value: float  # exact McNemar, two-sided
    p_holm: float | None = None  # the same, adjusted over all differences that stand with it
    highest: Difference | None = None  # None: nothing is left open

    @property
    def most(self) -> float:
        """The highest that the difference may be."""
        return self.highest.difference if self.highest else self.difference


class CutFigure(Record):
    """How many of n completions a judge read without the middle of a text."""

    count: int
    n: int


class LengthShift(Record):
    """How many tokens longer or shorter an arm's completions of a suite are than another's."""

    arm: AnyArm
    against: AnyArm
    suite: str
    form: str
    mean: float  # tokens of `arm`'s completions
    difference: float  # arm - against, mean over prompts
    low: float  # ends of its interval
    high: float
    n: int


class Agreement(Record):
    """How often two judges say the same of one part of an arm's completions of a suite."""

    arm: AnyArm
    suite: str
    form: str
    view: View  # answer; thought: of the completions that hold one
    agreed: RateFigure
    kappa: KappaFigure | None  # None: both say one and the same thing throughout


class SecondJudges(Record):
    """What other judges say of the same completions, of the suites that have one."""

    judges: dict[str, str]  # suite -> its second judge, with the digest of what decides
    judge_settings: dict[str, str]  # suite -> what decides its verdicts; `rules`: none
    cut: dict[str, dict[Arm, CutFigure]]
    rates: dict[Arm, dict[str, RateFigure]]  # of verdicts alone
    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]


NO_SECOND = SecondJudges(
    judges={}, judge_settings={}, cut={}, rates={}, differences=(), agreements=()
)


class Evidence(Result):
    """Rates of every arm, and arms compared on the same prompts."""

    FILE: ClassVar[str] = paths.METRICS

    adapter: str  # digest of the adapter that was evaluated
    baseline: str
    models: dict[str, str]  # arm -> digest of its checkpoint
    data: str  # digest_of_prompts
    test_prompts: str  # digest of the ids that were evaluated
    contract: PromptContract
    roles: dict[str, Role]  # of every suite that was asked
    judges: dict[str, str]  # suite -> its judge, with the digest of all that decides its verdicts
    calibrations: tuple[Calibration, ...]  # of every judge, on labelled cases
    cut: dict[str, dict[Arm, CutFigure]]  # suite -> completions that its judge saw cut
    usage: dict[str, Usage]  # judge -> what a paid service was asked for
    rows: str  # SHA-256 of the rows' file, from which every figure is counted
    engine: str  # what wrote the completions
    confidence: float
    rates: dict[Arm, dict[str, RateFigure]]  # arm -> metric, such as "harmful.refused"
    differences: tuple[Difference, ...]
    lengths: tuple[LengthShift, ...]  # of every arm against the post-trained one
    # How the profile's own prompts were answered, and what stood before every prompt. Earlier
    # releases asked greedily, and put nothing there.
    sampling: Sampling = Sampling()
    system: str = ""
    champion: ChampionArm | None = None  # None: the profile does not measure it
    # suite -> what decides its judge's verdicts; `rules`: none
    judge_settings: dict[str, str] = Field(default_factory=dict)
    second: SecondJudges | None = None  # None: every suite has one judge

    @property
    def by_second_judge(self) -> Evidence:
        """The evidence with the second judges' figures alone in place of the first ones'."""
        found = self.second or NO_SECOND
        own = ("judges", "judge_settings", "cut", "rates", "differences")
        return self.model_copy(update={key: getattr(found, key) for key in own})

    @property
    def arms(self) -> list[Arm]:
        """The arms that every evaluation has, and the champion where it was asked."""
        return [arm for arm in Arm if arm in OWN_ARMS or arm in self.rates]

    def rows_now(self) -> str:
        """SHA-256 of the rows' file as it lies in the folder; empty where there is none."""
        path = self.folder / paths.ROWS
        return digest_file(path) if path.is_file() else ""

    @property
    def bound(self) -> bool:
        """Whether the completions are known to come from the weights that are named here."""
        return not self.engine.endswith(UNBOUND)
