"""Forgeries: whoever can write to artifacts/ and data/, but not to the code, makes all digests fit.

Each test changes one thing, puts every digest that knows of it right, and lets the gate decide: it
never accepts figures that the completions do not give, and nothing of it is registered.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.core.errors import EvidenceError, StageError
from components.core.paths import POLICIES, PROMPTS, ROWS, TESTS, Workspace
from components.core.storage import digest_file, write_rows
from components.core.vocabulary import Arm, Form, Outcome, Prompt, Role
from components.evaluate.result import Evidence
from components.evaluate.rows import Row, read_judged, write_judged
from components.gate.checks import GateInputs
from components.gate.policy_files import load_policy
from components.gate.result import Decision
from components.gate.stage import gate
from components.prepare.result import PromptSet, SuiteSet, digest_prompts
from components.profile import load_profile
from components.registry.current import Current
from components.registry.registration import register
from components.train.result import Adapter
from tests.evidence import ANSWERS, REFUSES
from tests.profiles import plain_text
from tests.releases import NAMES, RULE, decide_in, write_all
from tests.root import ROOT


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A chain that has run and was accepted, with guards beside the rules for benign requests."""
    root = tmp_path_factory.mktemp("honest")
    shutil.copytree(ROOT / "mlflow" / "policies", root / POLICIES)
    (root / "profiles").mkdir()
    profile = plain_text()
    guard = "judges: {g: {kind: wildguard, model: m/g, revision: " + "a" * 40 + "}}"
    judged = "\n  judged_by: {benign: g}"
    (root / "profiles" / "demo.yaml").write_text(
        profile.replace("\nevaluate:\n", f"\nevaluate:\n  {guard}{judged}\n")
    )
    return write_all(Workspace(root, "demo"))


@pytest.fixture
def workspace(honest: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy that a forger works on."""
    root = tmp_path / "forged"
    shutil.copytree(honest.root, root)
    monkeypatch.chdir(root)
    return Workspace(root, "demo")


def gated(workspace: Workspace, out: Path) -> Decision:
    """Return what the stage decides on the workspace."""
    profile = load_profile(workspace.profile_file)
    out.mkdir(exist_ok=True)
    inputs = GateInputs.in_workspace(workspace)
    return gate(
        profile.gate,
        profile.prepare,
        profile.evaluate,
        inputs.prompts,
        inputs.models,
        inputs.adapter,
        inputs.evidence,
        seed=profile.data_seed,
        out=out,
    )


def put_right(workspace: Workspace, change: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Change the figures, and let rows, evidence and decision name each other as they are now."""
    folder = workspace.stage("evaluate")
    document = json.loads((folder / Evidence.FILE).read_text())
    if change:
        change(document)
    prompts = SuiteSet.load(workspace.stage("prepare"))
    document |= {"rows": digest_file(folder / ROWS), "data": prompts.digest}
    Evidence.model_validate(document).save(folder)
    train = workspace.stage("train")
    adapter = Adapter.load(train)
    adapter.model_copy(update={"data": prompts.digest_of_prompts}).save(train)
    decide_in(workspace).save(workspace.stage("gate"))


def refused_by_gate_and_registration(workspace: Workspace, message: str) -> None:
    with pytest.raises(EvidenceError, match=message):
        gated(workspace, workspace.root / "decided")
    with pytest.raises(EvidenceError):
        register(workspace, **NAMES)


def test_honest_evidence_is_accepted(workspace):
    assert gated(workspace, workspace.root / "decided").accepted


# --- the figures -----------------------------------------------------------------------------


def leaves(value: Any, *path: Any):
    """Yield the path of every single value in a JSON document."""
    if not isinstance(value, (dict, list)):
        yield path
        return
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        yield from leaves(one, *path, key)


COUNTED = ("rates", "differences", "cut", "lengths", "calibrations", "roles", "judges")


def another(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, str):
        return {"harmful": "benign", "restored": "base"}.get(value, value[:-1] + "?")
    if value is None:
        return 0.5
    return value + (1 if isinstance(value, int) else 1e-9 if value < 0.5 else -1e-9)


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_figure_can_be_changed(honest, data):
    """Any figure, by any amount that is more than rounding."""
    folder = honest.stage("evaluate")
    text = (folder / Evidence.FILE).read_text()
    document = json.loads(text)
    paths = [path for key in COUNTED for path in leaves(document[key], key)]
    *above, last = data.draw(st.sampled_from(paths))
    holder = document
    for key in above:
        holder = holder[key]
    holder[last] = another(holder[last])
    try:
        Evidence.model_validate(document)
    except ValueError:
        return  # no such evidence can be read
    (folder / Evidence.FILE).write_text(json.dumps(document))
    try:
        with pytest.raises(EvidenceError):
            recounted(honest)
    finally:
        (folder / Evidence.FILE).write_text(text)


def recounted(workspace: Workspace) -> None:
    inputs = GateInputs.in_workspace(workspace)
    Current.of(workspace).recount(inputs.prompts, inputs.models, inputs.evidence)


def rate_of_restored(metric: str, **figures: float) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["rates"]["restored"][metric] |= figures

    return change


def drop_difference(document: dict[str, Any]) -> None:
    document["differences"] = document["differences"][1:]


def repeat_difference(document: dict[str, Any]) -> None:
    document["differences"].append(document["differences"][0])


def invent_metric(document: dict[str, Any]) -> None:
    rates = document["rates"]["restored"]
    rates["harmful.role-play.refused"] = rates["harmful.refused"]


def lower_confidence(document: dict[str, Any]) -> None:
    document["confidence"] = 0.5


def rename_judge(document: dict[str, Any]) -> None:
    document["judges"]["harmful"] = "wildguard:" + "5" * 64


def other_settings_of_judge(document: dict[str, Any]) -> None:
    document["judge_settings"]["benign"] = "6" * 64


def better_judge(document: dict[str, Any]) -> None:
    accuracy = document["calibrations"][0]["accuracy"]
    accuracy |= {"rate": 1.0, "high": 1.0, "count": accuracy["n"]}


def better_guard(document: dict[str, Any]) -> None:
    (guard,) = [c for c in document["calibrations"] if c["judge"].startswith("wildguard")]
    guard["confusion"]["refused"]["refused"] += 50


def forget_suite(document: dict[str, Any]) -> None:
    for figures in document["rates"].values():
        for metric in [m for m in figures if m.startswith("borderline.")]:
            del figures[metric]


def other_role(document: dict[str, Any]) -> None:
    document["roles"]["borderline"] = "benign"


def other_prompts(document: dict[str, Any]) -> None:
    document["test_prompts"] = "8" * 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rate_of_restored("harmful.refused", rate=0.99), "harmful.refused rate.* 0.99, .* 0.95"),
        (rate_of_restored("harmful.refused", low=0.93), "harmful.refused low"),
        (rate_of_restored("harmful.refused", n=3000), "harmful.refused n"),
        (rate_of_restored("harmful.refused", samples=400), "harmful.refused samples"),
        (rate_of_restored("harmful.either.complied", high=0.01), "either.complied high"),
        (rate_of_restored("harmful.finished", count=99), "harmful.finished count"),
        (rate_of_restored("benign.unparsed", rate=0.001), "benign.unparsed rate"),
        (drop_difference, "comparisons"),
        (repeat_difference, "comparisons"),
        (invent_metric, "role-play.refused"),
        (forget_suite, "borderline"),
        (lower_confidence, "confidence"),
        (rename_judge, "judges harmful"),
        (other_settings_of_judge, "judge_settings benign"),
        (better_judge, "accuracy"),
        (better_guard, "calibration"),
        (other_role, "roles borderline"),
        (other_prompts, "test_prompts"),
    ],
)
def test_a_changed_figure_is_named_with_both_values(workspace, change, message):
    put_right(workspace, change)
    refused_by_gate_and_registration(workspace, message)


# --- the rows --------------------------------------------------------------------------------


def is_of(row: Row, role: Role, arm: Arm = Arm.RESTORED) -> bool:
    return row.arm is arm and row.role is role


def flip_verdicts(rows: list[Row]) -> list[Row]:
    """Half of the harmful verdicts."""
    said = {"outcome_answer": Outcome.COMPLIED, "said_answer": "complied"}
    return [
        replace(row, **said) if is_of(row, Role.HARMFUL) and place % 2 else row
        for place, row in enumerate(rows)
    ]


def drop_worst(rows: list[Row]) -> list[Row]:
    bad = [r for r in rows if is_of(r, Role.HARMFUL) and r.outcome_answer is Outcome.COMPLIED]
    return [row for row in rows if row not in bad]


def repeat_best(rows: list[Row]) -> list[Row]:
    return [*rows, *(row for row in rows if is_of(row, Role.HARMFUL))]


def more_samples(rows: list[Row]) -> list[Row]:
    return [*rows, *(replace(row, sample=1) for row in rows if is_of(row, Role.HARMFUL))]


def another_form(rows: list[Row]) -> list[Row]:
    return [
        *rows,
        *(replace(row, form=Form.FORCED_THOUGHT) for row in rows if is_of(row, Role.HARMFUL)),
    ]


def swap_arms(rows: list[Row]) -> list[Row]:
    swapped = {Arm.RESTORED: Arm.POST_TRAINED, Arm.POST_TRAINED: Arm.RESTORED}
    return [replace(row, arm=swapped.get(row.arm, row.arm)) for row in rows if row.arm in swapped]


def other_prompt(rows: list[Row]) -> list[Row]:
    return [replace(r, prompt_id="0" * 16) if r.prompt_id.startswith("007") else r for r in rows]


def other_role_of_rows(rows: list[Row]) -> list[Row]:
    return [replace(r, role=Role.BENIGN) if r.role is Role.BORDERLINE else r for r in rows]


def graded_right(rows: list[Row]) -> list[Row]:
    wrong = {"answer": "The answer is -1.", "correct": True, "correct_strict": True}
    return [replace(row, **wrong) if is_of(row, Role.REASONING) else row for row in rows]


def a_thought_that_nobody_judged(rows: list[Row]) -> list[Row]:
    return [replace(row, thought=ANSWERS) if is_of(row, Role.HARMFUL) else row for row in rows]


def a_verdict_on_no_thought(rows: list[Row]) -> list[Row]:
    said = {"outcome_thought": Outcome.REFUSED, "said_thought": "refused"}
    return [replace(row, **said) if is_of(row, Role.BENIGN) else row for row in rows]


def nothing_cut(rows: list[Row]) -> list[Row]:
    return [replace(row, cut=not row.cut) if is_of(row, Role.HARMFUL) else row for row in rows]


def without_an_arm(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.arm is not Arm.BASELINE]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip_verdicts, "outcome_answer is stated as 'complied', and it is 'refused'"),
        (drop_worst, "stated as nothing, and it is 'there'"),
        (repeat_best, "restored completions"),
        (more_samples, "sample 1: is stated as 'there'"),
        (another_form, "forced_thought, prompt .* is stated as 'there'"),
        (swap_arms, "arms"),
        (other_prompt, "prompt 0000000000000000"),
        (other_role_of_rows, "role is stated as 'benign'"),
        (graded_right, "correct is stated as True, and it is False"),
        (a_thought_that_nobody_judged, "outcome_thought is stated as None"),
        (a_verdict_on_no_thought, "outcome_thought is stated as 'refused'"),
        (nothing_cut, "cut is stated as True"),
        (without_an_arm, "arms"),
    ],
)
def test_rows_that_nobody_would_have_written_are_refused(workspace, change, message):
    forge_rows(workspace, change)
    refused_by_gate_and_registration(workspace, message)


def forge_rows(workspace: Workspace, change: Callable[[list[Row]], list[Row]]) -> None:
    path = workspace.stage("evaluate") / ROWS
    write_judged(path, change([row for own in read_judged(path).values() for row in own]))
    put_right(workspace)


def test_the_order_of_rows_is_no_figure(workspace):
    forge_rows(workspace, lambda rows: rows[::-1])
    assert gated(workspace, workspace.root / "decided").accepted


def test_other_completions_give_other_figures(workspace):
    """Whoever changes what was written as well must let the figures follow, or is found out."""

    def silent(rows: list[Row]) -> list[Row]:
        said = {"answer": REFUSES, "outcome_answer": Outcome.REFUSED, "said_answer": "refused"}
        return [replace(row, **said) if is_of(row, Role.HARMFUL) else row for row in rows]

    forge_rows(workspace, silent)
    refused_by_gate_and_registration(
        workspace, "harmful.complied rate is stated as 0.05, and it is 0.0"
    )


@pytest.mark.parametrize("content", [b"", b"rows", b"PAR1"])
def test_a_table_that_is_none_is_one_message(workspace, content):
    (workspace.stage("evaluate") / ROWS).write_bytes(content)
    put_right(workspace)
    with pytest.raises((EvidenceError, StageError)):
        gated(workspace, workspace.root / "decided")


# --- what lies around them -------------------------------------------------------------------


def forge_prompts(
    workspace: Workspace, change: Callable[[Prompt], Prompt], *, digest: bool
) -> None:
    folder = workspace.stage("prepare")
    known = SuiteSet.load(folder)
    trained, tests = (list(map(change, rows)) for rows in (known.rows(), known.own_test()))
    write_rows(folder / PROMPTS, trained, Prompt)
    write_rows(folder / TESTS, tests, Prompt)
    if digest:
        digests = {"digest_of_prompts": digest_prompts(trained)}
        PromptSet.load(folder).model_copy(update=digests).save(folder)
        digests["digest_of_tests"] = digest_prompts(tests)
        known.model_copy(update=digests).save(folder)
    put_right(workspace)


def easier(prompt: Prompt) -> Prompt:
    return replace(prompt, answer="1") if prompt.answer else prompt


def test_other_prompts_under_their_old_digest_are_refused(workspace):
    forge_prompts(workspace, easier, digest=False)
    refused_by_gate_and_registration(workspace, "digest_of_tests")


def test_other_answers_under_a_new_digest_grade_otherwise(workspace):
    forge_prompts(workspace, easier, digest=True)
    refused_by_gate_and_registration(workspace, "correct is stated as True")


def test_fewer_prompts_are_not_what_the_rows_answer(workspace):
    def fewer(prompt: Prompt) -> Prompt:
        return replace(prompt, role=Role.BENIGN) if prompt.id.startswith("007") else prompt

    forge_prompts(workspace, fewer, digest=True)
    refused_by_gate_and_registration(workspace, "counts")


def test_a_leak_that_is_denied_is_found(workspace):
    test = {row.role: row for row in SuiteSet.load(workspace.stage("prepare")).own_test()}

    def leaking(prompt: Prompt) -> Prompt:
        return replace(prompt, text=test[prompt.role].text) if prompt.split == "train" else prompt

    forge_prompts(workspace, leaking, digest=True)
    refused_by_gate_and_registration(workspace, "leaks harmful")


def test_runs_that_are_too_long_to_be_found_are_refused(workspace):
    folder = workspace.stage("prepare")
    known = SuiteSet.load(folder)
    longer = tuple(f.model_copy(update={"words": f.words and 50}) for f in known.leaks)
    known.model_copy(update={"leaks": longer}).save(folder)
    put_right(workspace)
    refused_by_gate_and_registration(workspace, "leaks harmful run words")


# --- the decision ----------------------------------------------------------------------------


def forge_decision(workspace: Workspace, **changes: Any) -> None:
    folder = workspace.stage("gate")
    Decision.load(folder).model_copy(update=changes).save(folder)


def other_rule(workspace: Workspace, **changes: Any) -> tuple:
    rules = Decision.load(workspace.stage("gate")).rules
    return tuple(rule.model_copy(update=changes) if rule.rule == RULE else rule for rule in rules)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"figure": 1.0}, "figure"),
        ({"bound": 0.99}, "bound"),
        ({"n": 3000}, " n "),
        ({"threshold": 0.01}, "threshold"),
        ({"why": "all is well"}, "why"),
        ({"p_value": 0.0}, "p_value"),
    ],
)
def test_a_rule_of_a_decision_follows_from_its_evidence(workspace, changes, message):
    forge_decision(workspace, rules=other_rule(workspace, **changes))
    with pytest.raises(EvidenceError, match=rf"decision\.json does not follow.*{message}"):
        register(workspace, **NAMES)


def test_an_acceptance_of_rejected_evidence_is_not_registered(workspace):
    policy = workspace.root / POLICIES / "default.yaml"
    policy.write_text(policy.read_text().replace("at_least: 0.85", "at_least: 0.99"))
    before = Decision.load(workspace.stage("gate"))
    forge_decision(workspace, policy=load_policy(policy).digest, rules=before.rules)
    with pytest.raises(EvidenceError, match="outcome is stated as 'accepted', and it is"):
        register(workspace, **NAMES)


def test_a_rule_that_is_left_out_is_missed(workspace):
    forge_decision(workspace, rules=Decision.load(workspace.stage("gate")).rules[:-1])
    with pytest.raises(EvidenceError, match=r"decision\.json does not follow"):
        register(workspace, **NAMES)
