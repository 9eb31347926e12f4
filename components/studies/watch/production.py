"""What people asked and were answered in production: a file of prompts and completions, which are
judged as those of the evaluation; nothing is written anew."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import DataError
from components.core.storage import digest_bytes
from components.core.vocabulary import Arm, Completion, Form, Prompt, Role, Split
from components.evaluate.plan import EvaluationPlan, SuitePlan, Written
from components.evaluate.rows import Place
from components.evaluate.settings import EvaluateSettings
from components.lm.templates import template_of
from components.lm.thoughts import split_text
from components.prepare.files import read_file
from components.studies.watch.comparing import PRODUCTION

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FIELDS = ("prompt", "completion")


def read_production(
    file: Path, section: EvaluateSettings, tokenizer: PreTrainedTokenizerBase
) -> tuple[EvaluationPlan, Written]:
    """Return the prompts of a file as a plan, and their completions as written by its model.

    They are a suite of their own, judged as benign prompts are: nobody knows of what role they are.
    Raises `DataError` for a file that cannot be read, and a row without prompt or completion.
    """
    thoughts = template_of(tokenizer)
    prompts: dict[str, Prompt] = {}
    completions: dict[Place, Completion] = {}
    seen: Counter[str] = Counter()
    for number, row in read_file(file, source=PRODUCTION):
        text, written = (_text(row, field, file, number) for field in _FIELDS)
        key = digest_bytes(text.encode())[:16]
        prompts[key] = Prompt(
            id=key, text=text, role=Role.BENIGN, topic=PRODUCTION, source=PRODUCTION,
            licence="LicenseRef-own", split=Split.TEST,
        )  # fmt: skip
        opened = thoughts.opens_thought and thoughts.thoughts.closing in written
        parts = split_text(written, thoughts.thoughts, opened=opened, finished=True)
        thought = None if parts.thought is None else written[slice(*_ends(parts.thought))]
        answer = written[slice(*_ends(parts.answer))]
        place = Place(PRODUCTION, Form.SERVED, key, seen[key])
        completions[place] = Completion(key, thought, answer, True, 0, parts.closed)
        seen[key] += 1
    suite = SuitePlan(
        PRODUCTION, Role.BENIGN, list(prompts.values()), section.judge_of(Role.BENIGN), 1
    )
    places = {place: (suite, prompts[place.prompt_id]) for place in completions}
    plan = EvaluationPlan((suite,), False, 0)
    return plan, Written(Arm.RESTORED, places, completions)


def _ends(part: range) -> tuple[int, int]:
    return part.start, part.stop


def _text(row: dict[str, Any], field: str, file: Path, number: int) -> str:
    found = row.get(field)
    if not isinstance(found, str) or (field == "prompt" and not found.strip()):
        raise DataError(
            f"{file}, row {number}: {field} is {found!r:.40}; a row of production has the texts "
            f"{' and '.join(_FIELDS)}"
        )
    return found
