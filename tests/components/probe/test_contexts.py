"""Contexts: what counts for and against one, and which are asked how many prompts."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from components.core.vocabulary import Outcome, Prompt, Role
from components.judges.rules.outcomes import outcome
from components.probe.contexts import our_contexts, rank_contexts
from components.probe.settings import Contexts

R, C, N = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER


def prompts(role: Role, count: int) -> list[Prompt]:
    made_up = {"topic": "t", "source": "s", "licence": "Apache-2.0", "split": "validation"}
    return [Prompt(id=f"{role}-{i}", text="x", role=role, **made_up) for i in range(count)]


def answering(table):
    """Return what asks a model whose outcome is `table[context](prompt)`, and a count of it."""
    asked: Counter[str | None] = Counter()

    def ask(rows, context, label):
        asked[context] += len(rows)
        return [table[context](row) for row in rows]

    return ask, asked


def by_role(harmful: Outcome, harmless: Outcome):
    return lambda row: harmful if row.role is Role.HARMFUL else harmless


def test_flipped_and_disturbed_by_hand():
    """Of four harmful prompts one is refused anyway, and of four harmless ones one is not answered:
    neither counts."""
    rows = {Role.HARMFUL: prompts(Role.HARMFUL, 4), Role.BENIGN: prompts(Role.BENIGN, 2)}
    rows[Role.BORDERLINE] = prompts(Role.BORDERLINE, 2)

    def alone(row):
        return {"harmful-0": R, "harmful-1": N, "benign-0": N}.get(row.id, C)

    def careful(row):
        turned = {"harmful-0": C, "harmful-1": R, "harmful-2": R, "borderline-1": R}
        return turned.get(row.id, C)

    ask, _ = answering({None: alone, "be careful": careful})
    (found,) = rank_contexts(ask, {"careful": "be careful"}, rows, first=4)
    assert (found.context, found.text, found.round) == ("careful", "be careful", 1)
    assert (found.flipped.count, found.flipped.n) == (2, 3)
    assert (found.disturbed.count, found.disturbed.n) == (1, 3)
    assert found.score == pytest.approx(1 / 3)


def test_the_better_half_is_asked_twice_as_many_prompts():
    """8 prompts a role: five contexts answer 2, three 4, two all 8; nothing is asked twice."""
    rows = {role: prompts(role, 8) for role in (Role.HARMFUL, Role.BENIGN)}
    kinds = {
        "nothing": by_role(C, C),
        "harsh": by_role(R, R),
        "good": by_role(R, C),
        "late": lambda row: N if row.id == "benign-3" else by_role(R, C)(row),
        "babble": by_role(N, N),
    }
    ask, asked = answering({None: by_role(C, C), **kinds})
    found = rank_contexts(ask, {name: name for name in kinds}, rows, first=2)
    assert [(f.context, f.round) for f in found] == [
        ("good", 3),
        ("late", 3),
        ("nothing", 2),
        ("harsh", 1),
        ("babble", 1),
    ]
    assert found[1].score == pytest.approx(1 - 1 / 8)
    assert asked == {None: 16, "good": 16, "late": 16, "nothing": 8, "harsh": 4, "babble": 4}


def test_a_model_that_refuses_by_itself_leaves_nothing_to_flip():
    rows = {role: prompts(role, 3) for role in (Role.HARMFUL, Role.BENIGN)}
    ask, _ = answering({None: by_role(R, N), "a": by_role(R, R)})
    (found,) = rank_contexts(ask, {"a": "a"}, rows, first=8)
    assert (found.flipped, found.disturbed, found.score) == (None, None, 0)


def test_our_contexts_differ_and_are_texts():
    pool = our_contexts()
    assert len(pool) == 30
    assert len({text.lower() for text in pool.values()}) == 30
    assert Contexts(pool=dict(pool)).pool == pool
    # A model that only repeats one must not be taken for one that answers by a refusal.
    assert [n for n, text in pool.items() if outcome(text) is R] == []


def test_a_pool_has_a_context():
    with pytest.raises(ValidationError, match="pool"):
        Contexts(pool={})
