"""From a profile's settings to a judge."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from components.core.errors import ConfigError
from components.core.vocabulary import Role
from components.evaluate.settings import EvaluateSettings
from components.judges.opening import check_judge, open_judge
from components.judges.protocol import KEY, URL
from components.judges.rules.judge import RulesJudge
from components.judges.settings import GuardSettings, JudgeSettings, RubricSettings, RulesSettings
from tests.root import ROOT

HARMFUL, BENIGN, BORDERLINE = Role.HARMFUL, Role.BENIGN, Role.BORDERLINE


@pytest.fixture
def judges(guards):
    guard = {"batch": 4, "max_characters": 1500, "model": str(guards["harmbench"].folder)}
    settings = {
        "harm": {"kind": "harmbench", **guard},
        "wild": {"kind": "wildguard", **guard, "model": str(guards["wildguard"].folder)},
        "written": {"kind": "rubric", "model": "judge-model", "max_requests": 7},
    }
    return TypeAdapter(dict[str, JudgeSettings]).validate_python(settings)


def test_rules_need_no_settings():
    rules = RulesSettings(refusal_patterns=("never",), compliance_pattern="^first")
    assert open_judge("rules", {}, rules=rules) == RulesJudge(("never",), "^first")


def test_a_guard_is_opened_with_the_profiles_settings(judges, guards):
    guard = open_judge("harm", judges, rules=RulesSettings(), roles={HARMFUL})
    assert guard.name == guards["harmbench"].name
    own = open_judge("harm", judges, rules=RulesSettings(refusal_patterns=("never",)))
    assert own.name != guard.name and own.refusal_patterns == ("never",)


def test_the_environment_says_where_the_server_is(judges, monkeypatch):
    monkeypatch.setenv(URL, "http://localhost:8000/v1/")
    monkeypatch.setenv(KEY, "secret-key")
    judge = open_judge("written", judges, rules=RulesSettings(), roles=set(Role))
    assert (judge.endpoint.url, judge.endpoint.key) == ("http://localhost:8000/v1", "secret-key")
    assert (judge.settings.model, judge.endpoint.settings.max_requests) == ("judge-model", 7)
    monkeypatch.setenv(KEY, "")
    assert open_judge("written", judges, rules=RulesSettings()).endpoint.key == ""


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "is not set"),
        ("", "is not set"),
        ("localhost:8000", "no http"),
        ("ftp://user:word@x/v1", "no http"),
        ("http://user:word@[x/v1", "no http"),
        ("http://host:port/v1", "no http"),
        ("http://word@host\x1b/v1", "no http"),
    ],
)
def test_an_address_that_is_none_is_told_without_its_secrets(judges, monkeypatch, url, told):
    monkeypatch.delenv(URL, raising=False)
    if url is not None:
        monkeypatch.setenv(URL, url)
    with pytest.raises(ConfigError, match=f"{URL} .*{told}") as raised:
        open_judge("written", judges, rules=RulesSettings())
    assert "word" not in str(raised.value)


def test_an_unknown_judge_names_those_there_are(judges):
    with pytest.raises(ConfigError, match="unknown judge 'him'; there are rules, harm, wild, writ"):
        check_judge("him", judges, {HARMFUL})


def test_a_guard_that_knows_no_refusals_is_not_for_other_suites(judges):
    told = "'harm' is a harmbench, .* cannot judge benign, borderline suites; give them `rules`"
    with pytest.raises(ConfigError, match=told):
        open_judge("harm", judges, rules=RulesSettings(), roles={HARMFUL, BENIGN, BORDERLINE})
    for name in ("rules", "wild", "written"):
        check_judge(name, judges, set(Role))
    check_judge("harm", judges, {HARMFUL})


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("rules", {"kind": "rubric", "model": "x"}, "built in"),
        ("Mine", {"kind": "rubric", "model": "x"}, "pattern"),
        ("mine", {"kind": "oracle", "model": "x"}, "no 'oracle' among the judges"),
        ("mine", {"kind": "wildguard", "model": "x", "revision": "main"}, "pattern"),
        ("mine", {"kind": "rubric", "model": "x", "batch": 3}, "Extra inputs"),
    ],
)
def test_settings_that_mean_nothing_are_refused(name, settings, told):
    with pytest.raises(ValidationError, match=told):
        EvaluateSettings.model_validate({"judges": {name: settings}})


def test_choosing_a_judge_loads_nothing_heavy():
    code = (
        "import sys, components.judges.opening, components.judges.calibration"
        "; print(*sorted({'torch', 'transformers', 'httpx2', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


def test_the_page_has_every_key_of_a_judge():
    page = (ROOT / "docs" / "judges.md").read_text(encoding="utf-8")
    for settings in (GuardSettings, RubricSettings):
        assert [key for key in settings.model_fields if f"`{key}`" not in page] == []
