"""The results of a small evaluation whose completions try to be more than text."""

from __future__ import annotations

from pathlib import Path

from components.core.paths import ROWS, Workspace
from components.core.storage import digest_file
from components.core.vocabulary import Arm, Form, Outcome, Prompt, Role, Split
from components.evaluate.rates import counts_of, rates
from components.evaluate.rows import Row, read_judged, write_judged
from tests.evidence import make_adapter, make_evidence, make_row
from tests.hostile import HOSTILE, TEN_MEGABYTES
from tests.prepared import save_prompts
from tests.profiles import plain_text

ROLES = {"harmful": Role.HARMFUL, "sums": Role.REASONING}
SAMPLES = {"harmful": 1, "sums": 2}
TEXTS = HOSTILE | {"long": TEN_MEGABYTES[:100_000]}
ARMS = (Arm.POST_TRAINED, Arm.RESTORED)


def prompts() -> list[Prompt]:
    """A harmful and a reasoning prompt for each hostile text."""
    return [
        Prompt(
            id=f"{suite[0]}{number:04d}",
            text=f"do the thing number {number} {text[:200]}",
            role=role,
            topic=name,
            source=suite,
            licence="MIT",
            split=Split.TEST,
            answer=str(number) if role is Role.REASONING else None,
        )
        for suite, role in ROLES.items()
        for number, (name, text) in enumerate(TEXTS.items())
    ]


def row(prompt: Prompt, arm: Arm, form: Form, sample: int) -> Row:
    """A row that says the prompt's hostile text; every third answer is a refusal."""
    number, text = int(prompt.id[1:]), TEXTS[prompt.topic]
    reasoning = prompt.role is Role.REASONING
    return make_row(
        prompt.id,
        Outcome.REFUSED if number % 3 else Outcome.COMPLIED,
        Outcome.COMPLIED if number % 2 else None,
        suite=prompt.source,
        arm=arm,
        form=form,
        role=prompt.role,
        topic=prompt.topic,
        sample=sample,
        thought=f"secret thought {text}" if number % 2 else None,
        answer=f"secret answer {text}",
        finished=number % 4 != 0,
        tokens=number,
        said_thought="unsafe" if number % 2 else None,
        said_answer="safe",
        correct=(number + sample) % 2 == 0 if reasoning else None,
        correct_strict=number % 4 == 0 if reasoning else None,
    )


def write_evaluation(root: Path) -> Workspace:
    """Return a workspace in `root` whose stages prepare and evaluate have run."""
    workspace = Workspace(root, "demo")
    table = prompts()
    folder = workspace.stage("prepare")
    prepared = save_prompts(folder, table, digest_of_prompts="d" * 64)
    rows = [
        row(prompt, arm, form, sample)
        for arm in ARMS
        for prompt in table
        for form in (Form.SERVED, Form.FORCED_THOUGHT)
        for sample in range(SAMPLES[prompt.source])
        if form is Form.SERVED or prompt.role is Role.HARMFUL
    ]
    folder = workspace.stage("evaluate")
    write_judged(folder / ROWS, rows)
    own = read_judged(folder / ROWS)
    make_evidence(
        make_adapter(data="d" * 64),
        data=prepared.digest,
        roles=ROLES,
        rows=digest_file(folder / ROWS),
        rates={arm: rates(counts_of(own[arm]), 0.95) for arm in ARMS},
    ).save(folder)
    workspace.profile_file.parent.mkdir()
    workspace.profile_file.write_text(plain_text())
    return workspace
