"""What a judge has ruled on is not asked again; what is asked of a paid one is summed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest

from components.core.errors import StageError
from components.core.vocabulary import Outcome, Role, View
from components.judges.protocol import Case, Verdict, judge_cases
from components.judges.result import Usage
from components.judges.verdicts import CachedJudge, StoredVerdicts

FILE = "verdicts.jsonl"


def case(text, view=View.ANSWER):
    return Case("Do the harmful thing number 3.", text, view, Role.HARMFUL)


@dataclass
class Counted:
    """A judge that rules case by case, notes what it is asked, and fails at the text "bad"."""

    name: str = "counted:0"
    place: str = "here"
    roles: frozenset[Role] = frozenset(Role)
    requests: int = 0
    paid: bool = True
    asked: list[str] = field(default_factory=list)

    @property
    def usage(self):
        return Usage(requests=self.requests) if self.paid else None

    def check(self):
        """Nothing keeps it from judging."""

    def close(self):
        """It takes no memory."""

    def judge(self, cases):
        for one in cases:
            self.requests += 1
            if one.text == "bad":
                raise RuntimeError("stopped")
            self.asked.append(one.text)
            yield {one: Verdict(Outcome.REFUSED, one.text, cut=one.text == "long")}


def stopped(path, judge, texts):
    """Judge the texts, then "bad", and let the process's block end with the error."""
    with pytest.raises(RuntimeError), StoredVerdicts(path) as stored:
        judge_cases(CachedJudge(judge, "mine", stored), [case(text) for text in (*texts, "bad")])


def test_after_a_stop_nothing_is_asked_twice(tmp_path):
    path, judge = tmp_path / FILE, Counted()
    stopped(path, judge, ["a", "long", ""])
    again = Counted()
    with StoredVerdicts(path) as stored:
        cases = [case("b"), case("long"), case("a"), case("")]
        verdicts = judge_cases(CachedJudge(again, "mine", stored), cases)
    assert (judge.asked, again.asked) == (["a", "long"], ["b"])
    assert [verdict.reason for verdict in verdicts] == ["b", "long", "a", "empty"]
    assert [verdict.cut for verdict in verdicts] == [False, True, False, False]
    assert not path.exists()


def test_a_known_ruling_is_of_this_judge_and_this_case(tmp_path):
    path = tmp_path / FILE
    stopped(path, Counted(), ["a"])
    for judge, one in (
        (Counted(name="counted:1"), case("a")),
        (Counted(place="elsewhere"), case("a")),
        (Counted(), case("a", View.THOUGHT)),
        (Counted(), replace(case("a"), request="other")),
        (Counted(), replace(case("a"), role=Role.BENIGN)),
    ):
        with pytest.raises(RuntimeError), StoredVerdicts(path) as stored:
            judge_cases(CachedJudge(judge, "mine", stored), [one])
            assert judge.asked == ["a"]
            raise RuntimeError
    with StoredVerdicts(path) as stored:
        judge = Counted()
        judge_cases(CachedJudge(judge, "mine", stored), [case("a")])
    assert judge.asked == []


def test_what_was_asked_is_kept_with_the_request_that_failed(tmp_path):
    path = tmp_path / FILE
    stopped(path, Counted(), ["a", "b"])
    with StoredVerdicts(path) as stored:
        assert stored.usage("mine") == Usage(requests=3)
        assert stored.usage("other") is None


def test_of_a_judge_that_nobody_pays_no_usage_is_kept(tmp_path):
    path = tmp_path / FILE
    stopped(path, Counted(paid=False), ["a"])
    assert [set(json.loads(line)) for line in path.read_text().splitlines()] == [
        {"case", "outcome", "reason", "cut"}
    ]


def test_no_text_of_a_case_is_on_the_disk(tmp_path):
    path = tmp_path / FILE

    class Silent(Counted):
        def judge(self, cases):
            yield {one: Verdict(Outcome.COMPLIED, "unsafe") for one in cases}

    with pytest.raises(RuntimeError), StoredVerdicts(path) as stored:
        judge_cases(CachedJudge(Silent(), "mine", stored), [case("take part A")])
        raise RuntimeError
    content = path.read_text()
    assert "unsafe" in content and "part A" not in content and "harmful thing" not in content


def test_a_torn_last_line_is_asked_anew_and_a_broken_one_is_named(tmp_path):
    path = tmp_path / FILE
    stopped(path, Counted(paid=False), ["a", "b"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    judge = Counted(paid=False)
    with StoredVerdicts(path) as stored:
        judge_cases(CachedJudge(judge, "mine", stored), [case("a"), case("b")])
    assert judge.asked == ["b"]
    path.write_bytes(whole.replace(b'"refused"', b'"perhaps"', 1))
    with pytest.raises(StageError, match=r"line 1 of .* is broken \('perhaps' is not a valid Out"):
        StoredVerdicts(path)
