"""docs/models.md says what the profiles and estimates say."""

from __future__ import annotations

import re

from components.core.paths import SUITES
from components.core.storage import read_json_lines
from components.core.vocabulary import Role, Split
from components.judges.opening import check_judge
from components.judges.settings import GuardSettings
from components.models.settings import Checkpoints
from components.prepare.settings import Source
from components.prepare.suites import used_suites
from components.profile import load_profile
from flows.doctor.checkpoints import wanted_checkpoints
from tests.docs.models_table import PAGE, ROOT, described, models_page

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_profiles():
    assert models_page(TEXT) == TEXT, (
        "docs/models.md is out of date; write it with `python -m tests.docs.models_table`"
    )


def test_every_profile_of_hub_models_has_a_row_a_shape_and_a_lineage():
    hub = [
        profile
        for profile in map(load_profile, (ROOT / "profiles").glob("*.yaml"))
        if any(wanted.on_hub or "/" in wanted.name for wanted in wanted_checkpoints(profile, ROOT))
        and isinstance(profile.models, Checkpoints)
    ]
    assert len(hub) >= 8
    assert {p.name for p in hub} == {profile.name for profile, *_ in described()}
    for profile in hub:
        assert profile.models.lineage and profile.models.base_revision
        assert max(profile.probe.target_layers) <= profile.models.shape.layers


def test_every_prompt_file_of_such_a_profile_is_in_the_catalogue():
    files = {
        s.path.rpartition("/")[2] for p, *_ in described() for s in p.prepare.sources if s.path
    }
    named = set(re.findall(r"`([\w.-]+\.(?:csv|jsonl))`", TEXT))
    assert files - {"benign.jsonl"} <= named


def test_the_pins_that_the_page_of_gpus_names_are_those_of_the_profiles():
    pins = {
        (wanted.name, wanted.revision)
        for profile, *_ in described()
        for wanted in wanted_checkpoints(profile, ROOT)
    }
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    named = re.findall(r"hf download (\S+) --revision ([0-9a-f]{40})", page)
    assert named and set(named) <= pins


def test_every_profile_of_hub_models_can_be_trained_searched_and_evaluated():
    """By its sources' declared roles and splits; the harmful, benign and reasoning are needed."""
    needed = {(split, role) for split in Split for role in Role if role is not Role.BORDERLINE}
    for profile, *_ in described():
        prepare = profile.prepare
        shared = {Split.TRAIN}
        shared |= {Split.VALIDATION} if prepare.validation_share else set()
        shared |= {Split.TEST} if prepare.test_share else set()
        held = {
            (split, role)
            for source in prepare.sources
            for role in roles_of(source)
            for split in (shared if source.split == "auto" else {source.split})
        }
        assert needed <= held, (profile.name, sorted(needed - held))
        assert profile.evaluate.max_new_tokens.keys() == set(Role), profile.name


def roles_of(source: Source) -> set[Role]:
    """The roles that a source declares, or that its own file does."""
    if source.role is not None:
        return {source.role}
    return {Role(row["role"]) for row in read_json_lines(ROOT / source.path)}


def test_masks_are_made_on_as_many_tokens_as_the_check_reads():
    for profile, *_ in described():
        assert profile.probe.pruning.tokens >= profile.probe.check_tokens, profile.name


def test_every_profile_of_hub_models_has_suites_pinned_judges_and_attacks():
    for profile, *_ in described():
        evaluate, named = profile.evaluate, used_suites(profile.prepare.suites, ROOT / SUITES)
        roles = {suite.role for suite in named.values()}
        assert roles == {Role.HARMFUL, Role.BORDERLINE, Role.REASONING}, profile.name
        assert evaluate.attacks, profile.name
        for guard in evaluate.judges.values():
            assert isinstance(guard, GuardSettings) and guard.revision, profile.name
        used = [(suite.judge, suite.role) for suite in named.values()]
        used += [(judge, role) for role, judge in evaluate.judged_by.items()]
        assert evaluate.judges.keys() <= {judge for judge, _ in used}
        for judge, role in used:
            check_judge(judge, evaluate.judges, [role])
        # By a guard wherever refusing and complying is what counts.
        assert evaluate.judged_by.keys() == set(Role) - {Role.REASONING}
