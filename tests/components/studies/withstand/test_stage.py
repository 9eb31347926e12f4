"""The stage on the random pair: every variant of a model before the same prompts."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from components.core.errors import EvidenceError, ModelError
from components.core.paths import DIRECTIONS, FINISHED, tuned_adapter
from components.core.storage import resumable_folder
from components.core.vocabulary import Arm, Role
from components.evaluate.settings import EvaluateSettings
from components.judges.settings import RulesSettings
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.probe.result import Probe
from components.studies.undo.result import Tuned, Undo
from components.studies.withstand.result import Withstand
from components.studies.withstand.settings import WithstandSettings
from components.studies.withstand.stage import drawn, withstand
from components.train.result import Adapter
from tests.adapters import write_adapter
from tests.components.evaluate.killing import kill_midway
from tests.components.judges.server import Server, verdict

SETTINGS = EvaluateSettings(
    max_new_tokens=dict.fromkeys(Role, 6),
    batch=8,
    # Refusals of a random model: what begins with a letter of the first half of the alphabet.
    rules=RulesSettings(refusal_patterns=("^[a-m]",), compliance_pattern="."),
)
SECTION = WithstandSettings(prompts=8, validation_prompts=6, direction_prompts=6, layers=2)


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    generator = torch.Generator().manual_seed(1)
    vectors = {name: torch.randn(3, 32, generator=generator) for name in ("base", "post_trained")}
    save_file(vectors, folder / DIRECTIONS)
    return probe_in(folder)


def probe_in(folder: Path) -> Probe:
    """Return a probe that has nothing but its directions."""
    found = Probe.model_construct()
    found._folder = folder
    return found


def withstand_in(
    out: str, prompts: str, models: str, directions: str, adapter: str, undone: str
) -> None:
    """Try to undo as the stages do; what the killed process runs, too."""
    with resumable_folder(Path(out), "key") as scratch:
        withstand(
            SECTION,
            SETTINGS,
            SuiteSet.load(Path(prompts)),
            Models.load(Path(models)),
            probe_in(Path(directions)),
            Adapter.load(Path(adapter)),
            Undo.load(Path(undone)),
            seed=3,
            out=scratch,
        )


@pytest.fixture(scope="module")
def undone(tmp_path_factory, random_models, random_prompts, random_adapter):
    """The restored arm is changed by its first adapter, not by its second; the baseline by none."""
    folder = tmp_path_factory.mktemp("undo")
    checkpoint = random_models.folder / random_models.post_trained.location
    tuned = [
        Tuned(
            arm=arm,
            steps=steps,
            digest=write_adapter(
                tuned_adapter(folder, arm, steps), checkpoint, seed=steps, zero=zero
            ),
        )
        for arm, steps, zero in (
            (Arm.RESTORED, 2, False),
            (Arm.RESTORED, 5, True),
            (Arm.BASELINE, 2, True),
        )
    ]
    return Undo(
        base_model=random_models.post_trained.digest,
        adapters={
            Arm.RESTORED: random_adapter.digest,
            Arm.BASELINE: random_adapter.baseline_digest,
        },
        data=random_prompts.digest_of_prompts,
        contract=random_models.post_trained.contract,
        rows=4,
        loss={},
        tuned=tuple(tuned),
    ).save(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory, random_prompts, random_models, random_adapter, probe, undone):
    def stage(seed=3, **changes):
        given = {
            "section": SECTION,
            "settings": SETTINGS,
            "prompts": random_prompts,
            "undone": undone,
            **changes,
        }
        return withstand(
            given["section"],
            given["settings"],
            given["prompts"],
            random_models,
            probe,
            random_adapter,
            given["undone"],
            seed=seed,
            out=changes.get("out") or tmp_path_factory.mktemp("withstand"),
        )

    return stage


@pytest.fixture(scope="module")
def found(run):
    return run()


def test_every_variant_has_its_figures(found):
    assert [(u.arm, [p.steps for p in u.points]) for u in found.undoings] == [
        (Arm.RESTORED, [0, 2, 5]),
        (Arm.BASELINE, [0, 2]),
    ]
    assert [a.arm for a in found.ablations] == [Arm.BASE, Arm.RESTORED]
    # Two layers: of the base its own; of the restored model its own and those of both others.
    assert [a.tried for a in found.ablations] == [2, 6]
    rates = [p.rates for u in found.undoings for p in u.points]
    for one in (*rates, *(s for a in found.ablations for s in (a.before, a.after))):
        for figure in (one.harmful_refused, one.benign_coherent):
            assert figure.n == 8 and figure.low <= figure.rate <= figure.high
    assert found.judges.keys() == {"harmful", "benign"}
    assert Withstand.load(found.folder) == found


def test_an_adapter_that_changes_nothing_changes_no_figure(found):
    restored, baseline = ([p.rates for p in u.points] for u in found.undoings)
    assert restored[0] == restored[2] and baseline[0] == baseline[1]
    assert restored[0] != restored[1], "the first adapter is not at work"
    assert found.ablations[1].before == restored[0]
    assert found.ablations[1].after != restored[0], "the ablation is not at work"


def test_the_same_seed_gives_the_same_figures(found, run):
    assert run().model_dump() == found.model_dump()


@pytest.mark.slow  # in a process of its own
def test_a_killed_trial_goes_on(
    tmp_path, found, random_prompts, random_models, probe, random_adapter, undone, caplog
):
    inputs = [
        str(result.folder)
        for result in (random_prompts, random_models, probe, random_adapter, undone)
    ]
    store = tmp_path / ".killed.partial" / FINISHED
    before = kill_midway(store, 9, __name__, "withstand_in", tmp_path / "killed", *inputs)
    assert not (tmp_path / "killed").exists()

    with caplog.at_level(logging.INFO):
        withstand_in(str(tmp_path / "killed"), *inputs)
    assert any(f"going on after {before} finished" in message for message in caplog.messages)
    assert Withstand.load(tmp_path / "killed").model_dump() == found.model_dump()
    assert not (tmp_path / "killed" / FINISHED).exists()


def test_what_is_drawn_goes_by_the_seed_and_not_by_the_order(random_prompts):
    rows = random_prompts.own_test()
    found = drawn(rows, 5, 3)
    assert found == drawn(rows[::-1], 5, 3) != drawn(rows, 5, 4)
    assert [row.role for row in found] == 5 * [Role.HARMFUL] + 5 * [Role.BENIGN]


@pytest.mark.parametrize(
    ("update", "told"),
    [
        ({"adapters": {Arm.RESTORED: "0", Arm.BASELINE: "1"}}, "the restored arm's adapter"),
        (
            {"tuned": (Tuned(arm=Arm.RESTORED, steps=2, digest="0"),)},
            "restored after 2 steps",
        ),
    ],
)
def test_fine_tunes_of_other_adapters_and_changed_ones_are_refused(run, undone, update, told):
    changed = undone.model_copy(update=update)
    changed._folder = undone.folder
    with pytest.raises(EvidenceError, match=f"{told} differs"):
        run(undone=changed)


def test_a_split_without_harmful_prompts_is_refused(run, random_prompts):
    class Emptied(type(random_prompts)):
        def rows(self, *, split=None, role=None):
            return [r for r in super().rows(split=split, role=role) if r.role is not Role.HARMFUL]

    emptied = Emptied.load(random_prompts.folder)
    with pytest.raises(EvidenceError, match="needs harmful prompts in every split"):
        run(prompts=emptied)


JUDGE = {"kind": "rubric", "model": "judge-model", "concurrency": 1, "requests_a_minute": 10**6}


def test_a_stopped_stage_goes_on_and_asks_nothing_again(run, tmp_path, monkeypatch, caplog):
    """The judge's server refuses the seventh request, and is mended."""
    server = Server(
        lambda body, number: (400, {}, b"") if number == 7 else (200, {}, verdict("refused"))
    )
    monkeypatch.setenv("SAFEREACT_JUDGE_URL", server.url)
    settings = EvaluateSettings.model_validate(
        {
            **SETTINGS.model_dump(),
            "judges": {"written": JUDGE},
            "judged_by": {"harmful": "written"},
        }
    )
    small = SECTION.model_copy(update={"prompts": 3, "validation_prompts": 2, "layers": 1})
    given = {"out": tmp_path, "settings": settings, "section": small}
    with pytest.raises(ModelError, match="HTTP 400"):
        run(**given)
    finished = (tmp_path / FINISHED).read_bytes()
    assert finished.count(b'"key"') > 20

    seen = []

    def answer(body, number):
        seen.append((tmp_path / FINISHED).read_bytes())
        return 200, {}, verdict("refused")

    server.answer = answer
    with caplog.at_level("INFO"):
        found = run(**given)
    server.close()
    assert set(seen) == {finished}, "a model was asked again"
    asked = [json.dumps(body) for body in server.bodies]
    assert len(asked) == len(set(asked)) + 1 and asked[6] in asked[7:]
    assert found.usage["written"].requests == len(asked)
    # The eighth request may have been under way when the seventh was refused; then it is kept.
    assert {"going on after 6 verdicts", "going on after 7 verdicts"} & set(caplog.messages)
    rates = [point.rates for arm in found.undoings for point in arm.points]
    assert all(one.harmful_refused.rate == 1 for one in rates)
    assert [path.name for path in tmp_path.iterdir()] == [Withstand.FILE]
