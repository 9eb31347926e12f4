"""Examples of each role: one model's misses first, harmful completions hidden."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from components.core.errors import EvidenceError
from components.core.untrusted_text import (
    HARMFUL_CHARACTERS,
    PROMPT_CHARACTERS,
    clip,
    is_withheld,
)
from components.core.vocabulary import Arm, Outcome, Prompt, Role

COMPLETION_CHARACTERS = 600
TOPIC_CHARACTERS = 80
OPENINGS = 8  # openings of refusals that are listed
OPENING_WORDS = 8
OPENING_CHARACTERS = 80
_BEFORE = re.compile(r"^[\W\d_]+")  # quotation marks, numbers of a list
_END = re.compile(r"[.!?;:\u3002\uff01\uff1f](?=\s|$)|\n")

Row = Mapping[str, Any]
Example = dict[str, Any]  # a prompt, whether the model in question missed it, and its `completions`


def choose_examples(
    prompts: Sequence[Prompt],
    rows: Sequence[Row],
    *,
    count: int,
    redact: bool,
    seed: int,
    arm: Arm = Arm.RESTORED,
) -> dict[Role, list[Example]]:
    """Return up to `count` examples of every role that has rows in the served form, each with the
    first of several completions to its prompt.

    Up to half are prompts on which the `arm` missed, where there are any; the rest, and
    which ones, is drawn by `seed`. Raises `EvidenceError` for a row whose prompt is unknown.
    """
    known = {prompt.id: prompt for prompt in prompts}
    by_prompt: dict[Role, dict[str, list[Row]]] = {role: {} for role in Role}
    for row in rows:
        if row["form"] == "served" and not row["sample"]:
            by_prompt[Role(row["role"])].setdefault(row["prompt_id"], []).append(row)
    chosen = {}
    for role, group in by_prompt.items():
        ids = _draw(group, count, random.Random(f"{seed} {role}"), arm)
        if unknown := [i for i in ids if i not in known]:
            raise EvidenceError(
                f"evaluate's rows name the prompt {unknown[0]!r:.40}, which the prepared set does "
                "not hold; run the stage evaluate again on this data"
            )
        if ids:
            chosen[role] = [_example(known[i], group[i], arm, redact=redact) for i in ids]
    return chosen


class Opening(NamedTuple):
    """How refusals of harmful requests begin, and how many of each model's do so."""

    words: str
    counts: Counter[str]  # by arm


class Openings(NamedTuple):
    """The most frequent openings, and of each model how many refusals and openings there are."""

    listed: list[Opening]
    refusals: Counter[str]
    different: Counter[str]


def refusal_openings(rows: Iterable[Row], count: int = OPENINGS) -> Openings:
    """Return the most frequent openings of the answers to harmful prompts, in all forms, that the
    judge called refusals.

    An opening is what stands before the first stop or line break, at most `OPENING_WORDS` words;
    capitals, apostrophes and marks in front of it make no difference. No more of a completion is
    shown where it is hidden.
    """
    found: dict[str, Counter[str]] = {}
    written: dict[str, str] = {}
    for row in rows:
        if row["role"] == Role.HARMFUL and row["outcome_answer"] == Outcome.REFUSED:
            words = _opening(row["answer"] or "")
            key = words.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").casefold()
            written.setdefault(key, words)
            found.setdefault(key, Counter())[row["arm"]] += 1
    order = sorted(found, key=lambda key: (-found[key].total(), key))
    refusals, different = Counter[str](), Counter[str]()
    for counts in found.values():
        refusals += counts
        different += Counter(counts.keys())
    return Openings([Opening(written[k], found[k]) for k in order[:count]], refusals, different)


def _opening(answer: str) -> str:
    text = _BEFORE.sub("", answer) or answer.strip()
    sentence = _END.split(text, maxsplit=1)[0].split()
    return clip(" ".join(sentence[:OPENING_WORDS]), OPENING_CHARACTERS) + (
        " …" if len(sentence) > OPENING_WORDS else ""
    )


def _draw(
    group: Mapping[str, Sequence[Row]], count: int, draw: random.Random, arm: Arm
) -> list[str]:
    ids = sorted(group)
    draw.shuffle(ids)
    missed = [i for i in ids if _arm_missed(group[i], arm)][: (count + 1) // 2]
    return [*missed, *(i for i in ids if i not in missed)][:count]


def _arm_missed(rows: Sequence[Row], arm: Arm) -> bool:
    return any(row["arm"] == arm and _missed(row) for row in rows)


def _missed(row: Row) -> bool:
    role, refused = Role(row["role"]), row["outcome_answer"] == Outcome.REFUSED
    if role is Role.REASONING:
        return not row["correct"]
    return not refused if role is Role.HARMFUL else refused


def _example(prompt: Prompt, rows: Sequence[Row], arm: Arm, *, redact: bool) -> Example:
    hidden, order = is_withheld(prompt.role, redact=redact), list(Arm)
    answer = prompt.answer if prompt.role is Role.REASONING else None
    in_order = sorted(rows, key=lambda row: order.index(Arm(row["arm"])))
    return {
        "id": prompt.id,
        "topic": clip(prompt.topic, TOPIC_CHARACTERS),
        "text": clip(prompt.text, HARMFUL_CHARACTERS if hidden else PROMPT_CHARACTERS),
        "reference": None if answer is None else clip(answer, COMPLETION_CHARACTERS),
        "missed": _arm_missed(rows, arm),
        "completions": [_completion(row, hidden=hidden) for row in in_order],
    }


def _completion(row: Row, *, hidden: bool) -> dict[str, Any]:
    """Return one arm's completion; `thought` and `answer` are None where they are hidden."""
    thought, answer = row["thought"], row["answer"] or ""
    return {
        "arm": row["arm"],
        "outcome": _outcome(row),
        "finished": row["finished"],
        "tokens": row["tokens"],
        "thought": None if hidden or thought is None else clip(thought, COMPLETION_CHARACTERS),
        "answer": None if hidden else clip(answer, COMPLETION_CHARACTERS),
        "hidden": hidden,
    }


def _outcome(row: Row) -> str:
    """Return a completion's outcome in words: the answer's, and the thought's where they differ."""
    words = [str(row["outcome_answer"])]
    if row["outcome_thought"] not in (None, row["outcome_answer"]):
        words.append(f"thought {row['outcome_thought']}")
    if row["correct"] is not None:
        words.append("correct" if row["correct"] else "not correct")
    return ", ".join(words)
