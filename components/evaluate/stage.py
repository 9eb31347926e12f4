"""The stage `evaluate`: the pair, its adapters and the champion on the same test prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.core.errors import EvidenceError
from components.core.paths import FINISHED, ROWS, VERDICTS
from components.core.storage import digest_file
from components.core.vocabulary import Arm
from components.evaluate.arms import ask_arms, check_adapter, meet
from components.evaluate.asking import Exam, test_exam
from components.evaluate.figures import count_figures
from components.evaluate.judging import Judged, Jury
from components.evaluate.result import Champion, ChampionArm, Evidence
from components.evaluate.rows import write_judged
from components.evaluate.settings import EvaluateSettings
from components.judges.calibration import read_cases
from components.judges.verdicts import StoredVerdicts
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import engine_identity
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.train.result import Adapter


def evaluate(
    section: EvaluateSettings,
    prompts: SuiteSet,
    models: Models,
    adapter: Adapter,
    champion: Champion | None = None,
    *,
    seed: int,
    out: Path,
) -> Evidence:
    """Write rows and figures of all arms into `out` and return the figures.

    The champion is one of them where it can be asked on this model. Raises `EvidenceError` for an
    adapter of another model, contract or data, and for a test set without harmful or without benign
    prompts; and, before any arm is asked, what `Jury.of` raises of the judges and `read_cases` of
    the labelled cases.
    """
    check_adapter(adapter, models, prompts)
    met = _meet(section, champion, adapter, models)
    exam = test_exam(section, prompts, seed)
    with FinishedRequests(out / FINISHED) as finished, StoredVerdicts(out / VERDICTS) as verdicts:
        labelled = read_cases(Path(section.calibration))
        jury = Jury.of(exam, section, verdicts, labelled=labelled)
        asked = champion if met and met.asked else None
        answers = ask_arms(
            exam, models, adapter, champion=asked, batch=section.batch, finished=finished
        )
        judged = jury.judge(answers)
        arms = [arm for arm in Arm if arm in judged.rows]
        write_judged(out / ROWS, [row for arm in arms for row in judged.rows[arm]])
        post_trained = models.post_trained.digest
        return Evidence(
            adapter=adapter.digest,
            baseline=adapter.baseline_digest,
            models={arm: models.base.digest if arm is Arm.BASE else post_trained for arm in arms},
            data=prompts.digest,
            test_prompts=exam.digest,
            contract=models.post_trained.contract,
            engine=engine_identity(),
            champion=met,
            rows=digest_file(out / ROWS),
            judge_settings=exam.judge_settings(section),
            **_figures(judged, exam, section.confidence, seed),
        ).save(out)


def _figures(judged: Judged, exam: Exam, confidence: float, seed: int) -> dict[str, Any]:
    """Return what the evidence says of the judged rows and of who judged them, by its keys."""
    return {
        "roles": exam.roles,
        "judges": judged.judges,
        "calibrations": judged.calibrations,
        "usage": judged.usage,
        "confidence": confidence,
        **count_figures(judged.rows, exam.roles, confidence=confidence, seed=seed),
    }


def _meet(
    section: EvaluateSettings, champion: Champion | None, adapter: Adapter, models: Models
) -> ChampionArm | None:
    """Return the champion as it is met here; None where the profile does not measure it."""
    if section.champion is (champion is None):
        told = "none was given" if champion is None else "one was given"
        raise EvidenceError(f"evaluate.champion is {section.champion}, and {told}")
    return meet(champion, adapter, models) if champion else None
