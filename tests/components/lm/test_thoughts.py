"""Thoughts told from answers, in every way in which models mark them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.lm.thought_formats import FORMATS, HARMONY, THINK, ThoughtFormat
from components.lm.thoughts import split_text

PLAN, ANSWER = "I weigh it.\n\nThen I plan.", "The answer is 4.\n\nIt follows."
MARKS = [mark for form in FORMATS for mark in (form.opening, form.closing, *form.answer) if mark]


def parts(
    text: str, own: ThoughtFormat = THINK, *, opened: bool = False, finished: bool = True
) -> tuple[str | None, str, bool]:
    found = split_text(text, own, opened=opened, finished=finished)
    thought = None if found.thought is None else text[found.thought.start : found.thought.stop]
    return thought, text[found.answer.start : found.answer.stop], found.closed


LONG = "They ask how it is done. I could explain it, or not. I should weigh it. "


@pytest.mark.parametrize(
    ("text", "opened", "thought", "answer"),
    [
        # Closed at once, gone on with, and closed again.
        ("</think>plan the answer</think>It is 4.", True, "plan the answer", "It is 4."),
        ("<think>\n</think>plan</think>It is 4.", False, "plan", "It is 4."),
        (f"</think>{LONG}</think>I'm sorry, I can't.", True, LONG.strip(), "I'm sorry, I can't."),
        (f"</think>{LONG}</think>I'm sorry, I can't.", False, LONG.strip(), "I'm sorry, I can't."),
        ("<think></think>\n<think>plan</think>Four.", False, "plan", "Four."),
        ("<think>a</think>\n\n<think>b</think>Four.", False, "a</think>\n\n<think>b", "Four."),
        # An empty thought, and an answer that speaks of the mark.
        ("<think>\n\n</think>\n\nFour.", False, "", "Four."),
        ("<think>\n\n</think>\n\nUse `</think>` here.", False, "", "Use `</think>` here."),
        ("<think>\n\n</think>\n\nEnd by </think> then.", False, "", "End by </think> then."),
        (
            "<think></think>Put it in <think> and </think>.",
            0,
            "",
            "Put it in <think> and </think>.",
        ),
        ("<think></think>Four.</think>", False, "", "Four.</think>"),
        # Spoken of within the thought.
        (
            "<think>The tag `</think>` ends it.</think>Split.",
            0,
            "The tag `</think>` ends it.",
            "Split.",
        ),
        ('<think>They say "</think>" here.</think>Yes.', 0, 'They say "</think>" here.', "Yes."),
        (
            "<think>I end by </think> and go on.</think>Yes.",
            0,
            "I end by </think> and go on.",
            "Yes.",
        ),
        ("<think>As </think>, say.\n</think>\n\nYes.", False, "As </think>, say.", "Yes."),
        (
            "<think>So:\n```\n<think>x\n</think>\n```\nDone.\n</think>\nYes.",
            False,
            "So:\n```\n<think>x\n</think>\n```\nDone.",
            "Yes.",
        ),
        (
            "<think>As <think>x</think> is asked, and <think>y</think>, so.</think>Yes.",
            False,
            "As <think>x</think> is asked, and <think>y</think>, so.",
            "Yes.",
        ),
        ("<think>a <think> b</think>Yes.", False, "a <think> b", "Yes."),
        # Real ends that look like it.
        ('<think>He said "hi"</think>"Hi" it is.', False, 'He said "hi"', '"Hi" it is.'),
        ("<think>so 10 </think> the answer is 10.", False, "so 10", "the answer is 10."),
        ("<think>a ``` b</think>```python\nx\n```", False, "a ``` b", "```python\nx\n```"),
        # Gone on with behind a first end, or an answer that speaks of the mark.
        ("<think>a</think>b</think>Four.", False, "a</think>b", "Four."),
        ("a\n</think>\nb\n</think>\nc\n</think>\nFour.", 1, "a\n</think>\nb\n</think>\nc", "Four."),
        ("<think>plan</think>Four.</think>", False, "plan", "Four.</think>"),
        ("<think>plan</think>It is </think> Four", False, "plan", "It is </think> Four"),
        ("<think>plan</think>The **</think>** mark.", False, "plan", "The **</think>** mark."),
        ("<think>plan</think>Split (</think>) it.", False, "plan", "Split (</think>) it."),
        ("<think>plan</think>So:\n```\nx\n</think>\n```", 0, "plan", "So:\n```\nx\n</think>\n```"),
        ("<think>a</think>One.\n<think>b</think>Two.", 0, "a", "One.\n<think>b</think>Two."),
        # Behind one line, opened by the model itself.
        ("Okay. <think>plan</think>Four.", False, "plan", "Four."),
        ("Sure.\n<think>plan</think>\nFour.", False, "plan", "Four."),
        ("<|im_start|>assistant\n<think>\nplan\n</think>\nFour.", False, "plan", "Four."),
        ("The form is:\n<think>plan</think>\nFour.", False, None, ...),
        ("Sure.\n<think>plan</think>", False, None, ...),
        ("One line.\nAnother.\n<think>plan</think>\nFour.", False, None, ...),
        ("```\n<think>plan</think>\n```\nFour.", False, None, ...),
        # Closed in another way than it was opened.
        ("<think>plan</thinking>Four.", False, "plan", "Four."),
        ("plan\n</thought>\nFour.", True, "plan", "Four."),
        ("<think>As <reason>x</reason> is.</think>Four.", 0, "As <reason>x</reason> is.", "Four."),
        ("< think >plan</ think >Four.", False, "plan", "Four."),
        # No thought at all: the whole text is the answer.
        ("Write it between <think> and </think> now.", False, None, ...),
        ("Close the thought with `</think>`.", False, None, ...),
        ("The tag </think> closes it.", False, None, ...),
        ("The mark [THINK] opens and [/THINK] closes.", False, None, ...),
        ("First ## Thinking, then ## Final Response.", False, None, ...),
        ("`<think>` opens, `</think>` closes.", False, None, ...),
    ],
)
def test_a_mark_that_is_repeated_or_spoken_of(text, opened, thought, answer):
    expected = text if answer is ... else answer
    assert parts(text, opened=bool(opened)) == (thought, expected, True)


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("[THINK]plan[/THINK]Four.", "plan", "Four."),
        ("<thinking>plan</thinking>Four.", "plan", "Four."),
        ("◁think▷plan◁/think▷Four.", "plan", "Four."),
        ("<seed:think>plan</seed:think>Four.", "plan", "Four."),
        ("<reasoning>\nplan\n</reasoning>\n<answer>\nFour.\n</answer>", "plan", "Four."),
        ("<Thought>\nplan\n</Thought>\n<Output>\nFour.\n</Output>", "plan", "Four."),
        ("<think>plan</think><response>Four.</response>", "plan", "Four."),
        (
            "<|START_THINKING|>plan<|END_THINKING|><|START_RESPONSE|>Four.<|END_RESPONSE|>",
            "plan",
            "Four.",
        ),
        (
            "<|begin_of_thought|>\n\nplan\n\n<|end_of_thought|>\n\n"
            "<|begin_of_solution|>\n\nFour.\n\n<|end_of_solution|>",
            "plan",
            "Four.",
        ),
        (
            "Here is my thought process:\n\nplan\n\nHere is my response:\n\nFour.",
            "plan",
            "Four.",
        ),
        ("## Thinking\n\nplan\n\n## Final Response\n\nFour.", "plan", "Four."),
        ("### Thinking\nplan\n### Final Response\nFour.", "plan", "Four."),
        ("Here's my thought process: plan\nHere’s my response: Four.", "plan", "Four."),
        ("plan[/THINK]Four.", "plan", "Four."),
        ("<cot>plan</cot>Four.", "plan", "Four."),
        ("[REASONING]plan[/REASONING]Four.", "plan", "Four."),
        ("<|thinking|>plan<|/thinking|>Four.", "plan", "Four."),
        ("<|start_thinking|>plan<|end_thinking|>Four.", "plan", "Four."),
        ("<inner_monologue>\nplan\n</inner_monologue>\nFour.", "plan", "Four."),
        ("<table>plan</table>Four.", None, "<table>plan</table>Four."),
        ("<analysis>plan</analysis>\n<answer>Four.</answer>", "plan", "Four."),
        ("<steps>plan</steps><final_answer>Four.</final_answer>", "plan", "Four."),
        ("<think>plan</think>\n<final>Four.</final>", "plan", "Four."),
        ("<answer>Four.</answer>", None, "<answer>Four.</answer>"),
        ("<b>Four.</b> So <answer>4</answer>", None, "<b>Four.</b> So <answer>4</answer>"),
        ("<cot>plan Four.", None, "<cot>plan Four."),
        ("<THINK>plan</Think><ANSWER>Four.</ANSWER>", "plan", "Four."),
        (
            "<|channel|>analysis<|message|>plan<|end|>"
            "<|start|>assistant<|channel|>final<|message|>Four.<|return|>",
            "plan",
            "Four.",
        ),
        ("<|channel|>final<|message|>Four.", None, "Four."),
        ("<|channel|>commentary<|message|>Four.<|end|>", None, "Four."),
        (
            "<|channel|>commentary<|message|>Look.<|end|><|start|>assistant<|channel|>analysis"
            "<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Four.",
            "Look.<|end|><|start|>assistant<|channel|>analysis<|message|>a",
            "Four.",
        ),
        (
            "<|channel|>analysis<|message|>plan<|end|><|start|>assistant to=functions.f"
            "<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
            "plan",
            "{}",
        ),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis"
            "<|message|>b<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>4",
            "a<|end|><|start|>assistant<|channel|>analysis<|message|>b",
            "4",
        ),
        (
            "<|start|> assistant <|channel|> analysis <|message|> plan <|end|> <|start|> "
            "assistant <|channel|> final <|message|> Four.",
            "plan",
            "Four.",
        ),
    ],
)
def test_a_text_in_other_marks_is_read_whatever_the_model(text, thought, answer):
    for own in (THINK, HARMONY):
        assert parts(text, own) == (thought, answer, True)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.opening)
@pytest.mark.parametrize("opened", [False, True])
def test_every_format_gives_back_what_was_written(form, opened):
    start = "" if opened else form.begins
    text = f"{start}{PLAN}{form.ends}{ANSWER}{form.answer[1]}"
    assert parts(text, form, opened=opened) == (PLAN, ANSWER, True)
    empty = f"{start}{form.ends}{ANSWER}{form.answer[1]}"
    assert parts(empty, form, opened=opened) == ("", ANSWER, True)
    assert parts(form.alone + ANSWER, form) == (None, ANSWER, True)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.opening)
def test_a_thought_that_was_cut_off_has_no_answer(form):
    for own, text, opened in ((form, PLAN, True), (THINK, form.begins + PLAN, False)):
        assert parts(text, own, opened=opened, finished=False) == (PLAN, "", False)
    assert parts(form.begins + PLAN, form) == (PLAN, "", False)  # ended within it
    assert parts(PLAN, form, opened=True) == (None, PLAN, True)  # never began it
    quoted = f"{PLAN} It ends by `{form.closing}`"
    if form is not HARMONY:
        assert parts(quoted, form, opened=True, finished=False) == (quoted, "", False)


def test_a_thought_in_unnamed_marks_that_was_cut_off_has_no_answer():
    assert parts("<cot>plan", finished=False) == ("plan", "", False)


def test_a_thought_behind_one_line_that_was_cut_off_has_no_answer():
    assert parts("Okay, so\n<think>plan", finished=False) == ("plan", "", False)
    assert parts("Okay, so\n<think>plan") == (None, "Okay, so\n<think>plan", True)


def test_an_empty_thought_that_is_gone_on_with_and_cut_off_is_no_answer():
    assert parts("</think>plan\n</think>", opened=True, finished=False) == ("plan", "", True)


PIECES = st.lists(
    st.one_of(
        st.sampled_from([*MARKS, "\n", " ", "`", "```\n", '"', ".", "<answer>", "</answer>"]),
        st.text(max_size=12),
    ),
    max_size=12,
)


@given(PIECES, st.booleans(), st.booleans(), st.sampled_from(FORMATS))
def test_nothing_is_lost_or_told_twice(pieces, opened, finished, own):
    text = "".join(pieces)
    found = split_text(text, own, opened=opened, finished=finished)
    thought = found.thought if found.thought is not None else range(0)
    assert (
        0 <= thought.start <= thought.stop <= found.answer.start <= found.answer.stop <= len(text)
    )
    around = [
        text[: thought.start],
        text[thought.stop : found.answer.start],
        text[found.answer.stop :],
    ]
    for number, rest in enumerate(around):  # what is in neither part is marks and blanks
        for mark in sorted([*MARKS, "<|start|>", "<|end|>", "assistant", "<|return|>"], key=len)[
            ::-1
        ]:
            rest = rest.replace(mark, "")
        for form in FORMATS:
            rest = form.opens.sub("", rest)
        rest = rest.replace("<answer>", "").replace("</answer>", "")
        line = rest.strip()  # or one line before a thought
        assert not line or (number == 0 and "\n" not in line and len(line) < 120), rest
    if found.thought is None:
        assert found.closed
    if not found.closed:
        assert not found.answer


WORDS = st.text(st.characters(exclude_characters="<>[]◁▷`|#\"'“‘«「"), min_size=1)


@given(WORDS, WORDS, st.sampled_from(FORMATS), st.booleans())
def test_any_thought_and_answer_come_back(thought, answer, form, opened):
    text = f"{'' if opened else form.begins}{thought}{form.ends}{answer}{form.answer[1]}"
    if any(mark in thought + answer for mark in MARKS):
        return
    assert parts(text, form, opened=opened)[:2] == (thought.strip(), answer.strip())


@given(st.text())
def test_a_text_without_marks_is_an_answer(text):
    if not any(mark in text for mark in MARKS):
        assert parts(text) == (None, text.strip(), True)


@pytest.mark.parametrize(
    "piece", ["<think></think>", "</think>", "<think>", "a </think> b\n", "`</think>"]
)
def test_a_model_that_repeats_marks_is_read_in_time(piece):
    start = time.process_time()
    parts(piece * 5000, opened=True)
    assert time.process_time() - start < 5
