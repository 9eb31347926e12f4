"""What the doctor shows of chat templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.core.paths import Workspace
from components.core.vocabulary import Form
from components.models.settings import Checkpoints
from components.profile import Profile, load_profile
from flows.doctor.examination import Examined, check_checkpoints, check_rendered
from flows.doctor.findings import Finding, State
from tests.checkpoints import TEMPLATE, write_checkpoint
from tests.hostile import steering

PAIR = Checkpoints(base="a/base", post_trained="a/post")


@pytest.fixture
def profile(project: Workspace) -> Profile:
    """A profile of two checkpoints in the forms of which one cannot be put."""
    for seed, name in enumerate((PAIR.base, PAIR.post_trained)):
        write_checkpoint(project.root / name, seed=seed)
    loaded = load_profile(project.profile_file)
    forms = (Form.PREFILLED, Form.UNTHINKING, Form.MANY_SHOT)
    evaluate = loaded.evaluate.model_copy(update={"attacks": forms, "forced_thought": True})
    return loaded.model_copy(update={"models": PAIR, "evaluate": evaluate})


def findings_of(profile: Profile, project: Workspace, template: str) -> list[Finding]:
    place = Path(project.root / PAIR.post_trained / "chat_template.jinja")
    place.write_text(template)
    return list(check_rendered(Examined.of(profile, project)))


def test_each_form_of_the_profile_is_shown_as_the_model_reads_it(profile, project):
    findings = findings_of(
        profile, project, TEMPLATE.replace("<|assistant|>{%", "<|assistant|>\x1b[31m{%")
    )
    reported = {finding.subject: finding.message for finding in findings}
    assert {
        "prompt, served",
        "prompt, forced_thought",
        "prompt, prefilled",
        "completion",
    } <= reported.keys()
    assert "<|user|>" in reported["prompt, served"]
    assert reported["prompt, forced_thought"].rstrip("↵ ").endswith("<think>")
    assert "</think>" in reported["prompt, unthinking"]
    assert reported["completion"].endswith("<|end|>")
    assert not any(steering(line) for line in reported.values())
    assert all(finding.state is not State.MISSING for finding in findings)


def test_the_system_prompt_stands_in_every_form_or_is_missing(profile, project):
    evaluate = profile.evaluate.model_copy(update={"system": "Be brief."})
    profile = profile.model_copy(update={"evaluate": evaluate})
    shown = [one for one in findings_of(profile, project, TEMPLATE) if "prompt, " in one.subject]
    assert shown and all(one.message.count("<|system|>") == 1 for one in shown)
    drops = TEMPLATE.replace("in messages %}", "in messages if m.role != 'system' %}")
    lacking = [one for one in findings_of(profile, project, drops) if one.state is State.MISSING]
    assert lacking[0].subject == "models.post_trained"
    assert "no place for the system prompt" in lacking[0].message


def test_a_form_that_the_template_cannot_write_is_missing(profile, project):
    findings = findings_of(profile, project, TEMPLATE.replace("in messages", "in messages[-1:]"))
    lacking = [finding.subject for finding in findings if finding.state is State.MISSING]
    assert lacking == ["prompt, many-shot"]


def test_a_template_that_cannot_be_used_is_missing_and_shows_no_prompt(profile, project):
    findings = findings_of(profile, project, "{% for m in messages %}U: static{% endfor %}A:")
    assert not any(finding.subject.startswith("prompt") for finding in findings)
    found = check_checkpoints(Examined.of(profile, project))
    (lacking,) = [finding for finding in found if finding.state is State.MISSING]
    assert lacking.subject == "models.post_trained"
    assert "chat_template.jinja" in lacking.message and lacking.remedy
