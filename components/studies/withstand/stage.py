"""The stage `withstand`: what is left of the restored model's safety when somebody undoes it."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.core.errors import EvidenceError
from components.core.paths import DIRECTIONS, FINISHED, VERDICTS
from components.core.storage import digest_folder
from components.core.vocabulary import Arm, Prompt, Role, Split
from components.evaluate.arms import check_adapter, check_same
from components.evaluate.judging import Judges
from components.evaluate.plan import EvaluationPlan, draw
from components.evaluate.settings import EvaluateSettings
from components.judges.rules.judge import RulesJudge
from components.judges.verdicts import StoredVerdicts
from components.lm.adapters import merge_adapter
from components.lm.engines.finished import FinishedRequests
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.probe.result import Probe
from components.studies.undo.result import Undo
from components.studies.withstand.attacked import (
    AttackedModel,
    AttackRun,
    Chosen,
    Variant,
    safety_rates,
)
from components.studies.withstand.directions import (
    candidate_layers,
    own_directions,
    stored_directions,
)
from components.studies.withstand.result import (
    Ablation,
    SafetyRates,
    TunedRates,
    Undoing,
    Withstand,
)
from components.studies.withstand.settings import WithstandSettings
from components.train.result import Adapter


def withstand(
    section: WithstandSettings,
    settings: EvaluateSettings,
    prompts: SuiteSet,
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
    and, before anything is asked, what `Judges.of` raises.
    """
    check_adapter(adapter, models, prompts)
    check_undone(undone, adapter)
    with FinishedRequests(out / FINISHED) as finished, StoredVerdicts(out / VERDICTS) as verdicts:
        run = _run(section, settings, prompts, finished, seed)
        judges = Judges.of(run.test, settings, verdicts)
        trained = drawn(prompts.rows(split=Split.TRAIN), section.direction_prompts, seed)
        chosen = {
            Arm.BASE: _attack_base(run, section, models, probe),
            Arm.RESTORED: _attack_restored(run, section, models, probe, adapter, undone, trained),
        }
        _attack_baseline(run, models, adapter, undone)
        gc.collect()
        rows, _ = judges.judge(run.written, (), settings.confidence)
        rates = {variant: safety_rates(own, settings.confidence) for variant, own in rows.items()}
        return Withstand(
            adapter=adapter.digest,
            baseline=adapter.baseline_digest,
            data=prompts.own_digest,
            test_prompts=run.test.digest,
            judges=judges.names,
            usage=judges.usage,
            confidence=settings.confidence,
            undoings=tuple(_undoing(arm, rates) for arm in (Arm.RESTORED, Arm.BASELINE)),
            ablations=tuple(_ablation(arm, found, rates) for arm, found in chosen.items()),
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
    check_same(pairs, remedy="run the stage undo again")


def drawn(rows: Sequence[Prompt], count: int, seed: int) -> list[Prompt]:
    """Return at most `count` harmful and as many benign prompts, drawn by the seed, in order of
    their ids. Raises `EvidenceError` where there are none of a role."""
    found: list[Prompt] = []
    for role in (Role.HARMFUL, Role.BENIGN):
        chosen = draw([row for row in rows if row.role is role], count, key=f"{seed} {role}")
        if not chosen:
            raise EvidenceError(
                f"the stage withstand needs {role} prompts in every split, and one split has none; "
                "add a source of them to the section prepare, or raise its validation_share"
            )
        found += chosen
    return found


def _run(
    section: WithstandSettings,
    settings: EvaluateSettings,
    prompts: SuiteSet,
    finished: FinishedRequests,
    seed: int,
) -> AttackRun:
    def plan(rows: Sequence[Prompt], count: int) -> EvaluationPlan:
        return EvaluationPlan.of(settings, drawn(rows, count, seed), seed=seed)

    return AttackRun(
        test=plan(prompts.own_test(), section.prompts),
        validation=plan(prompts.rows(split=Split.VALIDATION), section.validation_prompts),
        rules=RulesJudge(settings.rules.refusal_patterns, settings.rules.compliance_pattern),
        min_coherent=section.min_coherent,
        batch=settings.batch,
        finished=finished,
    )


def _attack_base(
    run: AttackRun, section: WithstandSettings, models: Models, probe: Probe
) -> Chosen:
    folder = checkpoint_folder(models, models.base)
    made_of = (models.base.digest,)
    attacked = AttackedModel(Arm.BASE, load_model(folder), load_tokenizer(folder), made_of)
    run.whole(attacked)
    layers = candidate_layers(models.base.layers, section.layers)
    directions = stored_directions(probe.folder / DIRECTIONS, "base", layers)
    return run.without_direction(attacked, directions)


def _attack_restored(
    run: AttackRun,
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
    attacked = _merged(Arm.RESTORED, models, adapter.adapter, adapter.digest)
    run.whole(attacked)
    run.tuned(attacked, undone)
    layers = candidate_layers(models.post_trained.layers, section.layers)
    directions = own_directions(
        attacked.model, attacked.tokenizer, trained, layers=layers, batch=run.batch
    )
    directions += stored_directions(probe.folder / DIRECTIONS, "post-trained", layers)
    if models.same_lineage:
        directions += stored_directions(probe.folder / DIRECTIONS, "base", layers)
    return run.without_direction(attacked, directions)


def _attack_baseline(run: AttackRun, models: Models, adapter: Adapter, undone: Undo) -> None:
    gc.collect()
    attacked = _merged(Arm.BASELINE, models, adapter.baseline, adapter.baseline_digest)
    run.whole(attacked)
    run.tuned(attacked, undone)


def _merged(arm: Arm, models: Models, adapter: Path, digest: str) -> AttackedModel:
    """Return the post-trained model with an adapter in its weights."""
    folder = checkpoint_folder(models, models.post_trained)
    model = merge_adapter(load_model(folder), adapter)
    return AttackedModel(arm, model, load_tokenizer(folder), (models.post_trained.digest, digest))


def _undoing(arm: Arm, rates: Mapping[Variant, SafetyRates]) -> Undoing:
    found = sorted(v for v in rates if v.arm is arm and not v.ablated)
    return Undoing(arm=arm, points=tuple(TunedRates(steps=v.steps, rates=rates[v]) for v in found))


def _ablation(arm: Arm, chosen: Chosen, rates: Mapping[Variant, SafetyRates]) -> Ablation:
    return Ablation(
        arm=arm,
        direction_of=chosen.direction.of,
        layer=chosen.direction.layer,
        tried=chosen.tried,
        coherent=chosen.coherent,
        before=rates[Variant(arm)],
        after=rates[Variant(arm, ablated=True)],
    )
