"""A random pair diagnosed: figures follow from rows, nothing is asked twice, a base may lack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.core.errors import ConfigError
from components.core.paths import ROWS
from components.core.storage import digest_file
from components.core.vocabulary import Arm, Outcome, Role
from components.evaluate.completions import Checkpoint
from components.evaluate.rows import read_judged
from components.lm.engines.hosts import VARIABLE
from components.studies.diagnose.diagnosis import diagnose_pair


def test_the_figures_are_those_of_the_rows(diagnosed):
    _, found = diagnosed
    rows = read_judged(found.folder / ROWS)
    assert found.rows == digest_file(found.folder / ROWS)
    assert list(rows) == [Arm.BASE, Arm.POST_TRAINED]

    def refused(arm: Arm, form: str, *, missing: bool = False) -> dict[str, bool]:
        return {
            row.prompt_id: row.outcome_answer is Outcome.REFUSED or (missing and row.unanswered)
            for row in rows[arm]
            if (row.role, row.form) == (Role.HARMFUL, form)
        }

    sizes = {"served": 6, "forced_thought": 6, "prefilled": 4}
    for form, n in sizes.items():
        name = "harmful.refused" if form == "served" else f"harmful.{form}.refused"
        base, tuned = (refused(arm, form) for arm in rows)
        for arm, own in ((Arm.BASE, base), (Arm.POST_TRAINED, tuned)):
            assert (found.rates[arm][name].count, found.rates[arm][name].n) == (
                sum(own.values()),
                n,
            )
        one = found.by_metric[name]
        base = refused(Arm.BASE, form, missing=True)  # the lowest that the difference may be
        assert one.gained == sum(tuned[i] and not base[i] for i in base)
        assert one.lost == sum(base[i] and not tuned[i] for i in base)
        assert (one.arm, one.against) == (Arm.POST_TRAINED, Arm.BASE)


def test_what_was_written_is_not_asked_again(case, monkeypatch, tmp_path):
    asked: list[str] = []
    arm = Checkpoint.arm
    monkeypatch.setattr(Checkpoint, "arm", lambda self, name: asked.append(name) or arm(self, name))

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("components.studies.diagnose.diagnosis.write_judged", stop)
        with pytest.raises(KeyboardInterrupt):
            diagnose_pair(case, out=tmp_path)
    finished = (tmp_path / "finished.jsonl").read_bytes()
    assert asked == [Arm.BASE, Arm.POST_TRAINED] and finished
    kept: list[bytes] = []
    monkeypatch.setattr(
        "components.studies.diagnose.diagnosis._locate",
        lambda *_: kept.append((tmp_path / "finished.jsonl").read_bytes()) or (None, "not asked"),
    )
    assert diagnose_pair(case, out=tmp_path).not_located == "not asked"
    assert kept == [finished]  # nothing was added


def test_without_a_base_there_are_levels_and_no_differences(alone, diagnosed, tmp_path):
    found = diagnose_pair(alone, out=tmp_path)
    assert (found.finding, found.differences, found.masking) == ("no base", (), None)
    assert found.rates[Arm.POST_TRAINED] == diagnosed[1].rates[Arm.POST_TRAINED]


def test_the_key_is_another_one_for_whatever_decides(case, alone):
    longer = case.section.model_copy(update={"max_new_tokens": dict.fromkeys(Role, 7)})
    fewer = replace(case.asked, prompts=case.asked.prompts[1:])
    cases = (case, alone, *(replace(case, **c) for c in ({"section": longer}, {"seed": 4})))
    keys = [one.key() for one in (*cases, replace(case, asked=fewer))]
    assert len(set(keys)) == len(keys) and case.key() == keys[0]


def test_a_judge_that_is_unknown_is_refused_before_any_model_is_asked(case, tmp_path):
    section = case.section.model_copy(update={"judged_by": {Role.HARMFUL: "nobody"}})
    with pytest.raises(ConfigError, match="nobody"):
        diagnose_pair(replace(case, section=section), out=tmp_path)


def test_states_are_read_by_the_engine_of_this_process_alone(case, monkeypatch, tmp_path):
    from components.studies.diagnose.diagnosis import _locate

    monkeypatch.setenv(VARIABLE, "openai")
    masking, why = _locate(case, case.plan(), tmp_path)
    assert masking is None and "openai" in (why or "")
