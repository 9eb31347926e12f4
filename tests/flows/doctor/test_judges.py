"""What the doctor says of judges: the same as an evaluation would when it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.core.paths import Workspace
from components.evaluate.settings import EvaluateSettings
from components.judges.protocol import URL
from components.profile import Profile, load_profile
from flows.doctor.examination import Examined, check_judges
from flows.doctor.findings import State
from tests.components.judges.guards import write_guard
from tests.components.judges.server import Server
from tests.root import ROOT

COMMIT = "0" * 40


def judged(judges: dict, judged_by: dict, **changes) -> Profile:
    profile = load_profile(ROOT / "profiles" / "tiny.yaml")
    settings = profile.evaluate.model_dump() | {"judges": judges, "judged_by": judged_by} | changes
    return profile.model_copy(update={"evaluate": EvaluateSettings.model_validate(settings)})


def finding_of(judge: dict, role: str = "harmful", root: Path = ROOT):
    """Return what is said of a judge of one role."""
    cases, finding = check_judges(
        Examined.of(judged({"mine": judge}, {role: "mine"}), Workspace(root, "tiny"))
    )
    assert cases.subject == "judges"
    return finding


def test_the_rules_need_nothing_and_the_labelled_cases_are_read():
    (cases,) = check_judges(Examined.of(judged({}, {}), Workspace(ROOT, "tiny")))
    assert cases.state is State.OK and cases.message.endswith("labelled cases")
    gone = judged({}, {}, calibration="data/calibration/gone.jsonl")
    (cases,) = check_judges(Examined.of(gone, Workspace(ROOT, "tiny")))
    assert cases.state is State.MISSING and "gone.jsonl cannot be read" in cases.message


def test_a_judge_that_no_suite_names_is_not_looked_at():
    unused = {"mine": {"kind": "wildguard", "model": "gone"}}
    assert len(list(check_judges(Examined.of(judged(unused, {}), Workspace(ROOT, "tiny"))))) == 1


def test_a_guard_in_a_folder_is_looked_into_below_the_repository(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "calibration").symlink_to(ROOT / "data" / "calibration")
    (tmp_path / "guards").mkdir()  # without it the path would be a hub name
    guard = {"kind": "harmbench", "model": "guards/mine"}
    assert finding_of(guard, root=tmp_path).message == "guards/mine is not there"
    write_guard(tmp_path / "guards" / "mine", "harmbench")
    found = finding_of(guard, root=tmp_path)
    assert (found.state, found.message) == (State.OK, "a harmbench that can judge harmful")
    other = finding_of(guard | {"kind": "wildguard"}, root=tmp_path)
    assert other.state is State.MISSING and "holds a LlamaForCausalLM" in other.message
    pinned = finding_of(guard | {"revision": "0" * 64}, root=tmp_path)
    assert pinned.state is State.MISSING and "is pinned" in pinned.message


def test_a_wrong_role_and_an_unknown_judge():
    role = finding_of({"kind": "harmbench", "model": "gone"}, role="benign")
    assert role.state is State.MISSING and "cannot judge benign suites" in role.message
    _, unknown = check_judges(
        Examined.of(judged({}, {"harmful": "oracle"}), Workspace(ROOT, "tiny"))
    )
    assert unknown.state is State.MISSING and "unknown judge 'oracle'" in unknown.message


@pytest.mark.parametrize(
    ("revision", "offline", "state", "words"),
    [
        (None, "0", State.MISSING, "a/guard is not pinned"),
        (COMMIT, "0", State.WARNING, "a/guard is fetched by the first run"),
        (COMMIT, "1", State.MISSING, "HF_HUB_OFFLINE is set"),
    ],
)
def test_a_guard_on_the_hub_is_not_fetched(monkeypatch, revision, offline, state, words):
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    found = finding_of({"kind": "wildguard", "model": "a/guard", "revision": revision})
    assert found.state is state and words in found.message


def test_the_server_of_a_rubric(monkeypatch):
    rubric = {"kind": "rubric", "model": "judge-model"}
    monkeypatch.delenv(URL, raising=False)
    assert f"{URL} is not set" in finding_of(rubric).message
    server = Server(None)
    monkeypatch.setenv(URL, server.url)
    assert finding_of(rubric, role="benign").message == "a rubric that can judge benign"
    assert server.bodies == [], "a request was paid for"
    server.close()
    gone = finding_of(rubric)
    assert gone.state is State.MISSING and "does not answer (ConnectError)" in gone.message
