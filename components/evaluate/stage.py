"""The stage `evaluate`: the pair, its adapters and the champion on the same test prompts."""

from __future__ import annotations

from pathlib import Path

from components.core.errors import EvidenceError
from components.core.paths import FINISHED, ROWS, VERDICTS
from components.core.storage import digest_file
from components.core.vocabulary import Arm
from components.evaluate.arms import check_adapter, meet_champion
from components.evaluate.completions import check_system_prompt, complete_arms
from components.evaluate.judging import Judges, with_second_verdicts
from components.evaluate.plan import test_plan
from components.evaluate.rates import count_figures
from components.evaluate.result import Champion, ChampionArm, Evidence
from components.evaluate.rows import write_judged
from components.evaluate.second import second_judges
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
    prompts; and, before any arm is asked, what `check_system_prompt` and `Judges.of` raise, and
    `read_cases` of the labelled cases.
    """
    check_adapter(adapter, models, prompts)
    check_system_prompt(section.system, models)
    champion_arm = _champion(section, champion, adapter, models)
    plan = test_plan(section, prompts, seed)
    again = plan.second
    with FinishedRequests(out / FINISHED) as finished, StoredVerdicts(out / VERDICTS) as verdicts:
        labelled = read_cases(Path(section.calibration))
        judges = Judges.of(plan, section, verdicts, labelled=labelled)
        others = Judges.of(again, section, verdicts, labelled=labelled, opened=judges.judges)
        measured = champion if champion_arm and champion_arm.measured else None
        written = complete_arms(
            plan, models, adapter, champion=measured, batch=section.batch, finished=finished
        )
        rows, tried = judges.judge(written, labelled, section.confidence)
        reread, tried_again = others.judge(written, labelled, section.confidence)
        rows = {arm: with_second_verdicts(rows[arm], reread[arm]) for arm in rows}
        arms = [arm for arm in Arm if arm in rows]
        write_judged(out / ROWS, [row for arm in arms for row in rows[arm]])
        post_trained = models.post_trained
        return Evidence(
            adapter=adapter.digest,
            baseline=adapter.baseline_digest,
            models={a: (models.base if a is Arm.BASE else post_trained).digest for a in arms},
            data=prompts.digest,
            test_prompts=plan.digest,
            contract=post_trained.contract,
            roles=plan.roles,
            judges=judges.names,
            calibrations=tuple({one.judge: one for one in (*tried, *tried_again)}.values()),
            usage=judges.usage | others.usage,
            rows=digest_file(out / ROWS),
            engine=engine_identity(),
            confidence=section.confidence,
            sampling=section.sampling,
            system=section.system,
            champion=champion_arm,
            judge_settings=plan.judge_settings(section),
            second=second_judges(
                rows, again.roles, others.names, again.judge_settings(section), section.confidence
            ),
            **count_figures(rows, plan.roles, confidence=section.confidence),
        ).save(out)


def _champion(
    section: EvaluateSettings, champion: Champion | None, adapter: Adapter, models: Models
) -> ChampionArm | None:
    """Return the champion as it is here; None where the profile does not measure it."""
    if section.champion is (champion is None):
        given = "none was given" if champion is None else "one was given"
        raise EvidenceError(f"evaluate.champion is {section.champion}, and {given}")
    return meet_champion(champion, adapter, models) if champion else None
