"""The stage `withstand`: what is left of the restored model's safety when somebody undoes it."""

from __future__ import annotations

import gc
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.core.errors import EvidenceError
from components.core.paths import DIRECTIONS, FINISHED, VERDICTS
from components.core.storage import digest_folder
from components.core.vocabulary import Arm, Prompt, Role, Split
from components.evaluate.arms import check_adapter
from components.evaluate.asking import Exam
from components.evaluate.judging import Jury
from components.evaluate.settings import EvaluateSettings
from components.judges.rules.judge import RulesJudge
from components.judges.verdicts import StoredVerdicts
from components.lm.adapters import merge_adapter
from components.lm.engines.finished import FinishedRequests
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer
from components.models.result import Models
from components.prepare.result import PromptSet
from components.probe.result import Probe
from components.studies.undo.result import Undo
from components.studies.withstand.directions import (
    candidate_layers,
    own_directions,
    stored_directions,
)
from components.studies.withstand.inquiry import Chosen, Inquiry, Subject, Variant
from components.studies.withstand.result import (
    Ablation,
    Standing,
    TunedStanding,
    Undoing,
    Withstand,
)
from components.studies.withstand.settings import WithstandSettings
from components.train.result import Adapter


def withstand(
    section: WithstandSettings,
    settings: EvaluateSettings,
    prompts: PromptSet,
    models: Models,
    probe: Probe,
    adapter: Adapter,
    undone: Undo,
    *,
    seed: int,
    out: Path,
) -> Withstand:
    """Return what restored model and LoRA-SFT baseline do after a fine-tune on harmless rows, and
    what base and restored model do without their refusal direction.

    All are asked the same test prompts, as served. Raises `EvidenceError` for adapters of another
    model, contract or data, for changed ones, and where a split lacks harmful or benign prompts;
    and, before anything is asked, what `Jury.of` raises of the judges.
    """
    check_adapter(adapter, models, prompts)
    check_undone(undone, adapter)
    with FinishedRequests(out / FINISHED) as finished, StoredVerdicts(out / VERDICTS) as verdicts:
        inquiry = _inquiry(section, settings, prompts, finished, seed)
        jury = Jury.of(inquiry.test, settings, verdicts)
        trained = draw(prompts.rows(split=Split.TRAIN), section.direction_prompts, seed)
        chosen = {
            Arm.BASE: _ask_base(inquiry, section, models, probe),
            Arm.RESTORED: _ask_restored(inquiry, section, models, probe, adapter, undone, trained),
        }
        _ask_baseline(inquiry, models, adapter, undone)
        gc.collect()
        standings = inquiry.standings(jury, settings.confidence)
        return Withstand(
            adapter=adapter.digest,
            baseline=adapter.baseline_digest,
            data=prompts.digest_of_prompts,
            test_prompts=inquiry.test.digest,
            judges=jury.names,
            usage=jury.usage,
            confidence=settings.confidence,
            undoings=tuple(_undoing(arm, standings) for arm in (Arm.RESTORED, Arm.BASELINE)),
            ablations=tuple(_ablation(arm, found, standings) for arm, found in chosen.items()),
        ).save(out)


def check_undone(undone: Undo, adapter: Adapter) -> None:
    """Raise `EvidenceError` unless the fine-tunes are whole and on top of these adapters."""
    pairs = [
        ("the restored arm's adapter", undone.adapters.get(Arm.RESTORED), adapter.digest),
        ("the baseline's adapter", undone.adapters.get(Arm.BASELINE), adapter.baseline_digest),
    ]
    pairs += [
        (
            f"{line.arm} after {line.steps} steps",
            line.digest,
            digest_folder(undone.adapter(line.arm, line.steps)),
        )
        for line in undone.tuned
    ]
    for what, expected, found in pairs:
        if expected != found:
            raise EvidenceError(
                f"{what}: its digest was {expected} in the stage undo and is {found} now; run undo "
                "again"
            )


def draw(rows: Sequence[Prompt], count: int, seed: int) -> list[Prompt]:
    """Return at most `count` harmful and as many benign prompts, drawn by the seed, in order of
    their ids. Raises `EvidenceError` where there are none of a role."""
    drawn: list[Prompt] = []
    for role in (Role.HARMFUL, Role.BENIGN):
        known = sorted((row for row in rows if row.role is role), key=lambda row: row.id)
        if not known:
            raise EvidenceError(
                f"the stage withstand needs {role} prompts in every split, and one split has none; "
                "add a source of them to the section prepare, or raise its validation_share"
            )
        chosen = random.Random(f"{seed} {role}").sample(known, min(count, len(known)))
        drawn += sorted(chosen, key=lambda row: row.id)
    return drawn


def _inquiry(
    section: WithstandSettings,
    settings: EvaluateSettings,
    prompts: PromptSet,
    finished: FinishedRequests,
    seed: int,
) -> Inquiry:
    validation = prompts.rows(split=Split.VALIDATION)
    test, tried = (
        Exam.of(settings, draw(rows, count, seed), seed=seed, forced_thought=False)
        for rows, count in (
            (prompts.own_test(), section.prompts),
            (validation, section.validation_prompts),
        )
    )
    rules = RulesJudge(settings.rules.refusal_patterns, settings.rules.compliance_pattern)
    return Inquiry(test, tried, rules, settings.batch, finished)


def _ask_base(inquiry: Inquiry, section: WithstandSettings, models: Models, probe: Probe) -> Chosen:
    folder = checkpoint_folder(models, models.base)
    made_of = (models.base.digest,)
    subject = Subject(Arm.BASE, load_model(folder), load_tokenizer(folder), made_of)
    inquiry.ask(subject)
    layers = candidate_layers(models.base.layers, section.layers)
    directions = stored_directions(probe.folder / DIRECTIONS, "base", layers)
    return inquiry.ask_ablated(subject, directions, min_coherent=section.min_coherent)


def _ask_restored(
    inquiry: Inquiry,
    section: WithstandSettings,
    models: Models,
    probe: Probe,
    adapter: Adapter,
    undone: Undo,
    trained: Sequence[Prompt],
) -> Chosen:
    """Its directions are its own and those of the pair; the base's only where both are of one
    lineage, since elsewhere they mean nothing."""
    gc.collect()  # a model is part of reference cycles, so it is not freed when its name is gone
    subject = _merged(Arm.RESTORED, models, adapter.adapter, adapter.digest)
    inquiry.ask(subject)
    inquiry.ask_tuned(subject, undone)
    layers = candidate_layers(models.post_trained.layers, section.layers)
    directions = own_directions(
        subject.model, subject.tokenizer, trained, layers=layers, batch=inquiry.batch
    )
    directions += stored_directions(probe.folder / DIRECTIONS, "post-trained", layers)
    if models.same_lineage:
        directions += stored_directions(probe.folder / DIRECTIONS, "base", layers)
    return inquiry.ask_ablated(subject, directions, min_coherent=section.min_coherent)


def _ask_baseline(inquiry: Inquiry, models: Models, adapter: Adapter, undone: Undo) -> None:
    gc.collect()
    subject = _merged(Arm.BASELINE, models, adapter.baseline, adapter.baseline_digest)
    inquiry.ask(subject)
    inquiry.ask_tuned(subject, undone)


def _merged(arm: Arm, models: Models, adapter: Path, digest: str) -> Subject:
    """Return the post-trained model with an adapter in its weights."""
    folder = checkpoint_folder(models, models.post_trained)
    model = merge_adapter(load_model(folder), adapter)
    return Subject(arm, model, load_tokenizer(folder), (models.post_trained.digest, digest))


def _undoing(arm: Arm, standings: Mapping[Variant, Standing]) -> Undoing:
    found = sorted(v for v in standings if v.arm is arm and not v.ablated)
    points = (TunedStanding(steps=v.steps, standing=standings[v]) for v in found)
    return Undoing(arm=arm, points=tuple(points))


def _ablation(arm: Arm, chosen: Chosen, standings: Mapping[Variant, Standing]) -> Ablation:
    return Ablation(
        arm=arm,
        direction_of=chosen.direction.of,
        layer=chosen.direction.layer,
        tried=chosen.tried,
        coherent=chosen.coherent,
        before=standings[Variant(arm)],
        after=standings[Variant(arm, ablated=True)],
    )
