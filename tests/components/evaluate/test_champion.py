"""The champion as an arm: the same prompts for it, and a reason where it cannot be asked."""

from __future__ import annotations

import shutil

import pytest

from components.core.errors import EvidenceError
from components.core.paths import ADAPTER, ROWS
from components.core.storage import digest_folder
from components.core.vocabulary import OWN_ARMS, Arm, Role
from components.evaluate.arms import meet_champion
from components.evaluate.result import NO_CHAMPION, Champion, Evidence, Released
from components.evaluate.rows import read_judged
from components.evaluate.settings import EvaluateSettings
from components.evaluate.stage import evaluate

SECTION = EvaluateSettings(
    prompts={Role.HARMFUL: 6, Role.BENIGN: 6},
    max_new_tokens=dict.fromkeys(Role, 8),
    batch=6,
    champion=True,
)


@pytest.fixture
def champion(tmp_path, random_models, random_adapter):
    """A champion whose adapter is that of the SFT baseline, so that its answers are known."""
    folder = tmp_path / "champion"
    shutil.copytree(random_adapter.baseline, folder / ADAPTER)
    released = Released(
        version="3",
        digest=digest_folder(folder / ADAPTER),
        base_model=random_models.post_trained.digest,
        contract=random_models.post_trained.contract,
    )
    return Champion(name="demo-safety", released=released).save(folder)


def test_the_champion_is_asked_what_the_others_are(
    tmp_path, random_prompts, random_models, random_adapter, champion
):
    out = tmp_path / "evaluate"
    out.mkdir()
    found = evaluate(
        SECTION, random_prompts, random_models, random_adapter, champion, seed=3, out=out
    )
    assert found.arms == list(found.rates) == [*OWN_ARMS, Arm.CHAMPION]
    assert found.rates[Arm.CHAMPION] == found.rates[Arm.BASELINE]
    assert found.models["champion"] == random_models.post_trained.digest
    assert found.champion.measured
    assert str(found.champion) == f"demo-safety version 3, adapter {champion.released.digest:.12}"

    compared = {
        other: [
            (d.metric, d.difference, d.low, d.high, d.n)
            for d in found.differences
            if (d.arm, d.against) == (Arm.RESTORED, other)
        ]
        for other in (Arm.CHAMPION, Arm.BASELINE)
    }
    assert compared[Arm.CHAMPION] == compared[Arm.BASELINE] != []
    assert {shift.arm for shift in found.lengths} == {
        Arm.BASE,
        Arm.RESTORED,
        Arm.BASELINE,
        Arm.CHAMPION,
    }
    rows = read_judged(out / ROWS)
    asked = {tuple(row.prompt_id for row in own) for own in rows.values()}
    assert len(rows) == 5 and len(asked) == 1
    assert Evidence.load(out) == found


def changed(champion, **changes):
    released = champion.released.model_copy(update=changes)
    other = champion.model_copy(update={"released": released})
    other._folder = champion.folder
    return other


def test_who_cannot_be_asked_is_named_with_the_reason(champion, random_models, random_adapter):
    def reason(one):
        met = meet_champion(one, random_adapter, random_models)
        assert not met.measured and met.released == one.released
        return met.unmeasured

    other = changed(champion, base_model="f" * 64)
    assert reason(other).startswith("it belongs to the model ffffffffffff, and this is ")
    contract = champion.released.contract.model_copy(update={"template": "0" * 64})
    assert "another prompt contract" in reason(changed(champion, contract=contract))
    assert "another prompt contract" in reason(changed(champion, contract=None))
    own = changed(champion, digest=random_adapter.digest)
    assert reason(own) == "it is the adapter under evaluation"


def test_there_may_be_none_yet(champion, random_models, random_adapter):
    none = champion.model_copy(update={"released": None})
    met = meet_champion(none, random_adapter, random_models)
    assert (met.measured, met.digest, met.unmeasured) == (False, NO_CHAMPION, None)
    assert str(met) == "demo-safety had none before this adapter"


def test_changed_files_are_refused(champion, random_models, random_adapter):
    (champion.adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(EvidenceError, match=r"the registry gave .*; `safereact champion` brings"):
        meet_champion(champion, random_adapter, random_models)


@pytest.mark.parametrize("measures", [True, False])
def test_section_and_champion_must_agree(
    tmp_path, random_prompts, random_models, random_adapter, champion, measures
):
    section = SECTION.model_copy(update={"champion": measures})
    given = () if measures else (champion,)
    with pytest.raises(EvidenceError, match=f"evaluate.champion is {measures}"):
        evaluate(
            section, random_prompts, random_models, random_adapter, *given, seed=0, out=tmp_path
        )
