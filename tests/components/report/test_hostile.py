"""The report of an evaluation whose prompts and completions try to be more than text."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from components.core.paths import ROWS, TESTS
from components.core.storage import write_rows
from components.core.untrusted_text import visible
from components.core.vocabulary import Arm, Form, Outcome, Prompt, Role, Split
from components.evaluate.rows import Row, write_judged
from tests.components.report.cases import make_case
from tests.components.report.test_stage import Page
from tests.hostile import HOSTILE, steering


def prompts_and_rows() -> tuple[list[Prompt], list[Row]]:
    prompts, rows = [], []
    for role in (Role.HARMFUL, Role.REASONING):
        for number, (name, text) in enumerate(HOSTILE.items()):
            prompt = Prompt(
                id=f"{role.value[:1]}{number:04d}",
                text=f"{name}: {text}",
                role=role,
                topic=text,
                source="hostile",
                licence="MIT",
                split=Split.TEST,
                answer=text if role is Role.REASONING else None,
            )
            prompts.append(prompt)
            rows.append(
                Row(
                    prompt_id=prompt.id,
                    suite=role,
                    arm=Arm.RESTORED,
                    form=Form.SERVED,
                    role=role,
                    topic=text,
                    sample=0,
                    thought=f"thinking {name} {text}",
                    answer=f"saying {name} {text}",
                    closed=True,
                    finished=True,
                    tokens=3,
                    outcome_thought=Outcome.COMPLIED,
                    outcome_answer=Outcome.COMPLIED,
                    said_thought=None,
                    said_answer="",
                    cut=False,
                    correct=False if role is Role.REASONING else None,
                    correct_strict=None,
                )
            )
    return prompts, rows


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    case = make_case(tmp_path_factory.mktemp("case") / "in")
    prompts, rows = prompts_and_rows()
    write_rows(case.prompts.folder / TESTS, prompts, Prompt)
    write_judged(case.evidence.folder / ROWS, rows)
    return replace(case, section=case.section.model_copy(update={"examples": len(HOSTILE)}))


def test_hostile_completions_are_read_and_never_obeyed(case, tmp_path):
    _, text = case.write(tmp_path, redact=False)
    page = Page(text)  # every element is closed where it should be
    _, benign = make_case(tmp_path / "benign").write(tmp_path / "out", examples=0)
    added = set(page.tags) - set(Page(benign).tags)
    assert added <= {"article", "dl", "dt", "dd", "div", "h3", "p"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in page.links)
    assert steering(text) == []
    assert re.findall(r"url\((?!#)", text) == []
    for name, said in HOSTILE.items():
        if name not in ("long", "surrogates"):
            assert " ".join(visible(f"saying {name} {said}").split()) in page.text
    assert len(text) < 1_000_000


def test_by_default_what_was_said_to_harmful_prompts_is_hidden(case, tmp_path):
    page = Page(case.write(tmp_path)[1])
    for name in HOSTILE:
        assert page.text.count(f"saying {name} ") == 1  # to the reasoning prompt
        assert page.text.count(f"thinking {name} ") == 1
    assert page.text.count(", hidden") == len(HOSTILE)
