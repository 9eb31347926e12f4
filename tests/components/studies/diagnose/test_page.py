"""The page of a diagnosis: self-contained, redacted, and plain whatever it shows."""

from __future__ import annotations

from dataclasses import replace

from components.core.paths import ROWS
from components.core.vocabulary import Arm, Role
from components.evaluate.rows import read_judged, write_judged
from components.studies.diagnose.page import lines_of, render, where, where_in_short
from tests.components.report.test_stage import Page, runs_its_own_script_alone
from tests.diagnoses import make_diagnosis
from tests.evidence import teacher_figures
from tests.hostile import TOGETHER, steering
from tests.masking import masking, put_in


def test_the_page_needs_nothing_and_runs_nothing(diagnosed):
    case, found = diagnosed
    text = render(found, case.asked.prompts)
    page = Page(text)
    assert runs_its_own_script_alone(text)
    assert all(link.startswith("#") for link in page.links)
    for line in lines_of(found):
        assert line.title in page.text
    assert found.by_metric and "Difference" in page.text


def test_completions_to_harmful_prompts_are_hidden_unless_a_profile_shows_them(diagnosed, tmp_path):
    case, found = diagnosed
    rows = [row for own in read_judged(found.folder / ROWS).values() for row in own]
    marked = [
        replace(
            row,
            answer=f"No. A secret {row.role} {row.form}",
            thought=None if not row.thought else "t",
        )
        for row in rows
    ]
    write_judged(tmp_path / ROWS, marked)
    found.model_copy().save(tmp_path)
    found = type(found).load(tmp_path)
    shut, open_ = (render(found, case.asked.prompts, redact=redact) for redact in (True, False))
    assert "secret harmful" not in shut and "hidden" in shut and ">No</th>" in shut
    assert "secret harmful served" in open_
    assert "secret benign served" in shut


def test_whatever_a_name_a_topic_or_a_teacher_holds_is_text(diagnosed):
    case, found = diagnosed
    refs = {
        arm: ref.model_copy(update={"location": TOGETHER, "where": "hub"})
        for arm, ref in found.models.items()
    }
    hostile = found.model_copy(update={"models": refs, "tried": (TOGETHER,), "asked": TOGETHER})
    hostile._folder = found.folder
    prompts = [replace(prompt, text=TOGETHER, topic=TOGETHER) for prompt in case.asked.prompts]
    text = render(hostile, prompts)
    page = Page(text)
    assert not {"img", "x", "b"} & set(page.tags) and runs_its_own_script_alone(text)
    assert steering(page.text) == []
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_what_was_tried_is_shown(diagnosed):
    case, found = diagnosed
    tried = found.model_copy(update={"teachers": (teacher_figures("pruned", refused=0.25),)})
    tried._folder = found.folder
    assert "25.0" in Page(render(tried, case.asked.prompts)).text
    failed = found.model_copy(update={"tried": ("reminder: refuses 3% of harmful (n=64)",)})
    failed._folder = found.folder
    assert "reminder: refuses 3%" in Page(render(failed, case.asked.prompts)).text
    assert "What was tried" not in Page(render(found, case.asked.prompts)).text


def test_where_it_was_lost_is_said_with_its_figures_or_why_not():
    counts = {"harmful.refused": (100, 0, 100)}
    masked = make_diagnosis(counts, masking=masking(put_in(harmful=36)), not_located=None)
    assert "AUC" in where(masked) and "validation" not in where(masked)
    assert "36 of 40" in where_in_short(masked) and "AUC" not in where_in_short(masked)
    assert "made up" in where(make_diagnosis(counts)) == where_in_short(make_diagnosis(counts))
    kept = make_diagnosis(counts, masking=masking(alone=40), not_located=None)
    assert where(kept) == where_in_short(kept)


def test_a_page_of_one_model_has_no_differences(alone, diagnosed):
    case, found = diagnosed
    rates = {Arm.POST_TRAINED: found.rates[Arm.POST_TRAINED]}
    models = {Arm.POST_TRAINED: found.models[Arm.POST_TRAINED]}
    one = found.model_copy(update={"rates": rates, "models": models, "differences": ()})
    one._folder = found.folder
    page = Page(render(one, [p for p in case.asked.prompts if p.role in Role]))
    assert "Difference" not in page.text and "Levels only" in page.text
