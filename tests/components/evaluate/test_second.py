"""Second judges: the same completions read twice, and how often both say the same."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from components.core.errors import ConfigError
from components.core.paths import METRICS, ROWS
from components.core.vocabulary import Arm, Outcome, Role, View
from components.evaluate.judging import Judges
from components.evaluate.plan import EvaluationPlan, Written
from components.evaluate.result import Evidence
from components.evaluate.rows import Asked, read_judged, read_outcomes
from components.evaluate.second import agreement, second_judges
from components.evaluate.settings import EvaluateSettings
from components.evaluate.stage import evaluate
from components.judges.calibration import kappa
from components.judges.verdicts import StoredVerdicts
from tests.components.evaluate.test_judging import written
from tests.components.judges.server import Server, verdict
from tests.evidence import make_row

R, C, N = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER
TWICE = {
    "prompts": dict.fromkeys(Role, 4),
    "max_new_tokens": dict.fromkeys(Role, 4),
    "judges": {"written": {"kind": "rubric", "model": "m", "requests_a_minute": 10**6}},
    "second_judge": {"harmful": "written"},
}


@pytest.fixture
def server(monkeypatch):
    """A judge that says of everything that it refuses."""
    server = Server(lambda body, number: (200, {}, verdict("refused")))
    monkeypatch.setenv("SAFEREACT_JUDGE_URL", server.url)
    yield server
    server.close()


def alone(prompts):
    """Prompts that have no near-copies, with the pairs of their completions."""
    return {Asked(str(i), str(i)): pairs for i, pairs in enumerate(prompts)}


def test_agreement_worked_by_hand():
    """Of ten pairs 4 are refused twice, 3 complied twice: 0.7 alike. By chance it would be
    0.6 * 0.5 + 0.4 * 0.5 = 0.5, so kappa is (0.7 - 0.5) / (1 - 0.5) = 0.4."""
    pairs = [(R, R)] * 4 + [(R, C)] * 2 + [(C, C)] * 3 + [(C, R)]
    agreed, found = agreement(alone([pair] for pair in pairs), 0.95)
    assert (agreed.count, agreed.n, agreed.samples) == (7, 10, None)
    assert found.kappa == pytest.approx(0.4)
    assert found == kappa(pairs, 0.95)
    assert agreement(alone([[(R, R)]] * 5), 0.95)[1] is None  # chance agrees as well


def test_completions_that_repeat_each_other_make_no_interval_narrower():
    draw = random.Random(0)
    pairs = [(draw.choice([R, C, N]), draw.choice([R, C])) for _ in range(60)]
    once, repeated = (agreement(alone([pair] * k for pair in pairs), 0.95) for k in (1, 4))
    assert repeated[1].kappa == pytest.approx(once[1].kappa)
    widths = [found[1].high - found[1].low for found in (once, repeated)]
    assert widths[1] == pytest.approx(widths[0], rel=0.02)
    assert repeated[0].high - repeated[0].low == pytest.approx(once[0].high - once[0].low, rel=0.02)
    assert repeated[0].samples == 240 and repeated[0].n == 60
    copies = {Asked(f"{i} {k}", str(i)): [pair] for i, pair in enumerate(pairs) for k in range(4)}
    shared = agreement(copies, 0.95)
    assert (shared[0].n, shared[0].clusters) == (240, 60) and shared[1] == repeated[1]


def test_figures_of_the_second_are_those_of_its_verdicts_alone():
    rows = [make_row(i, R, C).with_second(make_row(i, C if i < 3 else R, R)) for i in range(10)] + [
        make_row(1, R, suite="other", role=Role.BENIGN)
    ]
    by_arm = dict.fromkeys(Arm, rows)
    roles = {"harmful": Role.HARMFUL}
    found = second_judges(by_arm, roles, {"harmful": "rubric:1"}, {}, 0.95)
    rates = found.rates[Arm.RESTORED]
    assert rates["harmful.refused"].count == 7 and rates["harmful.thought.refused"].count == 10
    assert rates["harmful.either.complied"].count == 3
    assert not [name for name in rates if name.startswith("other") or name.endswith("finished")]
    views = {one.view: one.agreed.count for one in found.agreements if one.arm is Arm.BASE}
    assert views == {View.ANSWER: 7, View.THOUGHT: 0}
    assert {d.metric for d in found.differences} == {
        "harmful.refused", "harmful.complied", "harmful.either.complied"
    }  # fmt: skip
    assert second_judges(by_arm, {}, {}, {}, 0.95) is None


def test_the_stage_stores_both_verdicts(
    tmp_path, server, random_prompts, random_models, random_adapter
):
    section = EvaluateSettings.model_validate(TWICE)
    inputs = (section, random_prompts, random_models, random_adapter)
    for name in ("twice", "once"):
        (tmp_path / name).mkdir()
    evidence = evaluate(*inputs, seed=3, out=tmp_path / "twice")
    rows = [row for own in read_judged(tmp_path / "twice" / ROWS).values() for row in own]
    harmful = [row for row in rows if row.role is Role.HARMFUL]
    assert harmful and all(row.second_answer in (R, N) for row in harmful)
    assert all(row.second_answer is None for row in rows if row.role is not Role.HARMFUL)
    assert [c.judge.partition(":")[0] for c in evidence.calibrations] == ["rules", "rubric"]
    assert evidence.second.judges.keys() == evidence.second.judge_settings.keys() == {"harmful"}
    assert evidence.usage["written"].requests == len(server.bodies)
    assert Evidence.load(tmp_path / "twice") == evidence
    assert evidence.by_second_judge.rates[Arm.BASE]["harmful.complied"].count == 0

    once = evaluate(
        section.model_copy(update={"second_judge": {}}), *inputs[1:], seed=3, out=tmp_path / "once"
    )
    assert once.second is None and once.rates == evidence.rates
    for arm, own in read_outcomes(tmp_path / "once" / ROWS).items():
        assert own == read_outcomes(tmp_path / "twice" / ROWS)[arm]
    assert (tmp_path / "once" / METRICS).is_file()


def test_verdicts_of_a_second_judge_are_stored_as_the_firsts_are(tmp_path, server):
    section = EvaluateSettings.model_validate(TWICE)
    one = written(("some words", None), ("other words", None))
    (suite, prompt), *_ = one.places.values()
    suite = replace(suite, second_judge="written")
    places = dict.fromkeys(one.places, (suite, prompt))
    plan = EvaluationPlan((suite,), forced_thought=False, seed=0)
    arms = {Arm.BASE: Written(Arm.BASE, places, one.completions)}
    with StoredVerdicts(tmp_path / "verdicts.jsonl") as verdicts:
        for _ in range(2):
            rows, _none = Judges.of(plan.second, section, verdicts).judge(arms, (), 0.95)
            assert [row.outcome_answer for row in rows[Arm.BASE]] == [R, R]
    assert len(server.bodies) == 2


def test_one_judge_of_some_suites_and_second_of_others_is_opened_once(server):
    section = EvaluateSettings.model_validate(TWICE)
    first = Judges.of(
        EvaluationPlan((replace(written(("a", None)).places.popitem()[1][0], judge="written"),),
                       forced_thought=False, seed=0),
        section,
    )  # fmt: skip
    again = Judges.of(
        EvaluationPlan((replace(written(("a", None)).places.popitem()[1][0], judge="written"),),
                       forced_thought=False, seed=0),
        section, opened=first.judges,
    )  # fmt: skip
    assert again.judges["written"] is first.judges["written"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"second_judge": {"harmful": "rules"}}, "the same judge"),
        ({"second_judge": {"harmful": "gone"}}, "unknown judge 'gone'"),
        ({"judged_by": {"harmful": "written"}}, "the same judge"),
        (
            {
                "judges": {"guard": {"kind": "harmbench", "model": "m/g", "revision": "a" * 40}},
                "second_judge": {"benign": "guard"},
            },
            "cannot judge benign",
        ),
    ],
)
def test_a_second_judge_that_would_say_nothing_new_stops_before_anything_is_asked(
    random_prompts, changes, said
):
    section = EvaluateSettings.model_validate(TWICE | changes)
    with pytest.raises(ConfigError, match=said):
        EvaluationPlan.of(section, random_prompts.own_test(), seed=0)


def test_kappa_stays_within_its_bounds():
    agreed, found = agreement(alone([[(R, C)], [(C, R)], [(R, R)]]), 0.95)
    assert -1 <= found.low <= found.kappa <= found.high <= 1
    assert math.isclose(agreed.rate, 1 / 3)
