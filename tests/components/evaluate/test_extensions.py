"""A judge and a grader of another package, as docs/extending.md shows them, used from a profile."""

from __future__ import annotations

import re
import sys

import pytest

from components.core.documents import read_yaml
from components.core.errors import ConfigError
from components.core.vocabulary import Arm, Completion, Prompt, Role, Split
from components.evaluate.judging import Judges
from components.evaluate.plan import EvaluationPlan, Written
from components.gate.policy import Policy
from components.judges.calibration import read_cases
from components.judges.opening import digest_of_judge, open_judge
from components.judges.protocol import JUDGES
from components.judges.verdicts import StoredVerdicts
from components.prepare.result import SuiteSpec
from components.prepare.suites import load_suite
from components.profile import load_profile
from tests.extensions import install
from tests.root import ROOT

PROFILE = """
extends: tiny
evaluate:
  judges: {mine: {kind: keyword, options: {refusals: [never]}}}
  judged_by: {harmful: mine}
"""
SUITE = """
description: Sums.
cite: nobody
role: reasoning
licence: MIT
source: {path: sums.jsonl}
max_new_tokens: 8
judge: mine
grader: whole-number
"""


def shown(heading: str) -> str:
    """Return the code that the page shows under a heading."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


@pytest.fixture
def profile(tmp_path, monkeypatch):
    (tmp_path / "packages").mkdir()
    for kind, name, heading in (
        ("judges", "keyword", "A judge"),
        ("graders", "whole-number", "A grader"),
    ):
        install(tmp_path / "packages", monkeypatch, kind=kind, name=name, code=shown(heading))
    (tmp_path / "tiny.yaml").write_text((ROOT / "profiles" / "tiny.yaml").read_text())
    (tmp_path / "own.yaml").write_text(PROFILE)
    yield load_profile(tmp_path / "own.yaml")
    for module in ("outside_judges_keyword", "outside_graders_whole_number"):
        sys.modules.pop(module, None)


def test_a_judge_and_a_grader_of_another_package_are_used_from_a_profile(profile, tmp_path):
    (tmp_path / "sums.yaml").write_text(SUITE)
    suite = load_suite(tmp_path / "sums.yaml")
    same = {"role", "judge", "grader", "samples", "temperature", "top_p", "max_new_tokens"}
    facts = {**suite.model_dump(include=same), "prompts": 2, "instruction": "", "origin": "f"}
    spec = SuiteSpec(**facts, digest="x", licence="MIT", gated=False)
    harmful = Prompt("1", "do it", Role.HARMFUL, "t", "s", "MIT", Split.TEST)
    sums = [
        Prompt(str(n), "3 + 4", Role.REASONING, "t", "s", "MIT", Split.TEST, answer="7")
        for n in (2, 3)
    ]
    section = profile.evaluate
    plan = EvaluationPlan.of(section, [harmful], {"sums": (spec, sums)}, seed=0)
    texts = ["I never do.", "so 7", "so 8"]
    places = plan.places(opens_thought=False)
    completions = {
        place: Completion(place.prompt_id, None, text, True, 3)
        for place, text in zip(places, texts, strict=True)
    }
    written = {Arm.BASE: Written(Arm.BASE, places, completions)}
    labelled = read_cases(ROOT / section.calibration)
    for _ in range(2):  # the second time from the stored verdicts
        with StoredVerdicts(tmp_path / "verdicts.jsonl") as verdicts:
            judges = Judges.of(plan, section, verdicts, labelled=labelled)
            rows, (calibration,) = judges.judge(written, labelled, section.confidence)
        found = [(r.outcome_answer, r.correct, r.correct_strict) for r in rows[Arm.BASE]]
        assert found == [
            ("refused", None, None),
            ("complied", True, True),
            ("complied", False, False),
        ]
        assert set(judges.names.values()) == {"keyword:never"}
        assert calibration.judge == "keyword:never"


def test_its_code_and_options_count_to_what_decides(profile, tmp_path):
    evaluate = profile.evaluate

    def digest(judges=evaluate.judges):
        return digest_of_judge(judges, evaluate.rules, "mine")

    before = digest()
    other = evaluate.judges["mine"].model_copy(update={"options": {"refusals": []}})
    assert digest({"mine": other}) != before
    with (tmp_path / "packages" / "outside_judges_keyword.py").open("a") as file:
        file.write("CHANGED = 1\n")
    assert digest() != before


def test_a_policy_may_name_it_and_an_unknown_name_is_refused_early(profile, tmp_path):
    rules = [{"name": "r", "metric": "harmful.refused", "arm": "base", "min_n": 1, "at_least": 0.5}]
    assert Policy(judges=("keyword", "rubric"), rules=rules).judges == ("keyword", "rubric")
    with pytest.raises(ValueError, match=r"no 'oracle' among the judges; there are: rules, .*keyw"):
        Policy(judges=("oracle",), rules=rules)
    (tmp_path / "sums.yaml").write_text(SUITE.replace("whole-number", "guess"))
    with pytest.raises(ConfigError, match=r"no 'guess' among the graders; there are: .*whole-num"):
        load_suite(tmp_path / "sums.yaml")
    (tmp_path / "own.yaml").write_text(PROFILE.replace("keyword", "oracle"))
    with pytest.raises(ConfigError, match=r"judges\.mine\..*no 'oracle' among the judges"):
        load_profile(tmp_path / "own.yaml")
    assert read_yaml(tmp_path / "own.yaml")["extends"] == "tiny"


def test_a_judge_that_does_not_judge_every_role_is_refused_early(profile, monkeypatch):
    keyword = JUDGES.find("keyword")
    monkeypatch.setattr(keyword, "roles", frozenset({Role.HARMFUL, Role.BENIGN}))
    section = profile.evaluate
    with pytest.raises(ConfigError, match=r"'mine' is a keyword, which .* borderline, reasoning"):
        open_judge("mine", section.judges, rules=section.rules, roles={Role.HARMFUL})
