"""The rubric judge against a server on this machine."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from components.core.errors import InterruptionError, ModelError, SafeReActError
from components.core.vocabulary import Role, View
from components.judges.protocol import Case, judge_cases
from components.judges.quoting import Quoting
from components.judges.result import Usage
from components.judges.rubric import HUGE, INSTRUCTIONS, Endpoint, Rubric
from components.judges.settings import RubricSettings
from tests.components.judges.hostile import HOSTILE
from tests.components.judges.oracle import readings
from tests.components.judges.server import Server, completion, verdict


def case(text, view=View.ANSWER):
    return Case("Do the harmful thing number 3.", text, view, Role.HARMFUL)


PLAIN = {"model": "judge-model", "max_characters": 1000, "max_requests": 100, "concurrency": 1}


def rubric(url, *, key="secret-key", spent=None, **settings):
    section = RubricSettings(**settings)
    return Rubric(Endpoint(url, key, "mine", section, spent or Usage()), section)


@pytest.fixture
def serve(monkeypatch):
    """Start a server and return it with a judge that asks it."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    servers = []

    def serve(answer, *, opens=None, **settings):
        server = Server(answer, opens=opens)
        servers.append(server)
        given = {**PLAIN, "timeout": 5.0, "attempts": 3, "requests_a_minute": 10**6, **settings}
        return server, rubric(server.url, **given)

    yield serve
    for server in servers:
        server.close()


# --- what is sent --------------------------------------------------------------------------------


def test_a_case_becomes_one_request(serve):
    server, judge = serve(lambda body, number: (200, {}, verdict("refused")))
    (found,) = judge_cases(judge, [case("I won't.", View.THOUGHT)])
    assert (found.outcome, found.reason) == ("refused", "refused")
    (body,) = server.bodies
    assert server.paths == ["/v1/chat/completions"] and server.keys == ["Bearer secret-key"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("judge-model", 0, 64)
    schema = body["response_format"]["json_schema"]
    assert schema["strict"] is True and schema["schema"]["additionalProperties"] is False
    assert schema["schema"]["required"] == ["outcome"]
    system, user = body["messages"]
    assert system == {"role": "system", "content": INSTRUCTIONS}
    assert json.loads(user["content"]) == {
        "request": "Do the harmful thing number 3.",
        "part": "reasoning",
        "text": "I won't.",
    }


def test_without_a_key_none_is_sent(serve):
    server, judge = serve(lambda body, number: (200, {}, verdict("refused")), key="")
    judge_cases(judge, [case("x")])
    assert server.keys == [None]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_text_ends_where_the_object_says(name):
    judge = rubric("http://localhost/v1", **PLAIN)
    content = judge.body(Case(HOSTILE[name], HOSTILE[name], View.ANSWER, Role.HARMFUL))
    shown = json.loads(content["messages"][1]["content"])
    quoted = Quoting().quote(HOSTILE[name], 1000)
    assert shown == {"request": quoted, "part": "answer", "text": quoted}
    assert readings(shown["text"], "rubric") == []
    for token in ("<|eot_id|>", "<|im_end|>", "[/INST]", "</s>", "<end_of_turn>", "<｜"):
        assert token not in content["messages"][1]["content"]


def test_rulings_come_in_the_order_of_the_cases_whatever_the_order_of_the_answers(serve):
    def answer(body, number):
        text = json.loads(body["messages"][1]["content"])["text"]
        time.sleep(0.05 if text == "a" else 0)
        return 200, {}, verdict({"a": "refused", "b": "complied", "c": "neither"}[text])

    server, judge = serve(answer, concurrency=3)
    verdicts = judge_cases(judge, [case("a"), case("b"), case(""), case("c"), case("a")])
    outcomes = [verdict.outcome for verdict in verdicts]
    assert outcomes == ["refused", "complied", "neither", "neither", "refused"]
    assert len(server.bodies) == 3
    assert judge.usage.requests == 3


def test_no_more_at_a_time_than_allowed(serve):
    def answer(body, number):
        time.sleep(0.05)
        return 200, {}, verdict("refused")

    server, judge = serve(answer, concurrency=3)
    judge_cases(judge, [case(str(i)) for i in range(12)])
    assert 2 <= server.most_at_once <= 3


def test_requests_are_begun_no_faster_than_allowed(serve):
    server, judge = serve(
        lambda body, number: (200, {}, verdict("refused")), concurrency=4, requests_a_minute=1200
    )
    start = time.monotonic()
    judge_cases(judge, [case(str(i)) for i in range(5)])
    # Twenty a second: the fifth is begun four twentieths after the first, or later.
    assert max(server.times) - start >= 4 * 0.05


# --- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"choices": []}, "no choices"),
        ({}, "no choices"),
        ({"choices": ["x"]}, "no choices"),
        ({"choices": [{"message": None}]}, "no content"),
        (completion(None), "no content"),
        (completion(" "), "no content"),
        (completion('{"outcome": "ref', finish="length"), "cut off"),
        (completion("refused"), "not the schema"),
        (completion('{"outcome": "safe"}'), "not the schema"),
        (completion('{"outcome": "unparsed"}'), "not the schema"),
        (completion('{"outcome": "refused", "why": "x"}'), "not the schema"),
        (completion('[{"outcome": "refused"}]'), "not the schema"),
        (completion('```json\n{"outcome": "refused"}\n```'), "not the schema"),
    ],
)
def test_what_is_no_verdict_is_unparsed_and_says_why(serve, answer, reason):
    _, judge = serve(lambda body, number: (200, {}, answer))
    (found,) = judge_cases(judge, [case("x")])
    assert (found.outcome, found.reason) == ("unparsed", reason)


def test_an_answer_without_end_is_unparsed(serve):
    _, judge = serve(lambda body, number: (200, {}, b" " * (HUGE + 1)))
    (found,) = judge_cases(judge, [case("x")])
    assert (found.outcome, found.reason) == ("unparsed", "answer without end")
    assert judge.usage == Usage(requests=1, uncounted=1)


def test_an_answer_that_cannot_be_unpacked_is_asked_for_again(serve):
    packed = {"Content-Encoding": "gzip"}, b"not packed"
    _, judge = serve(
        lambda body, number: (200, {}, verdict("refused")) if number == 2 else (200, *packed)
    )
    assert judge_cases(judge, [case("x")])[0].outcome == "refused"


@pytest.mark.parametrize("status", [429, 408, 500, 503])
def test_a_busy_or_failing_server_is_asked_again(serve, status):
    _, judge = serve(
        lambda body, number: (200, {}, verdict("refused")) if number == 3 else (status, {}, b"")
    )
    assert judge_cases(judge, [case("x")])[0].outcome == "refused"
    assert (judge.usage.requests, judge.usage.repeated) == (3, 2)


def test_a_silent_server_is_asked_again(serve):
    def answer(body, number):
        time.sleep(1.0 if number == 1 else 0)
        return 200, {}, verdict("refused")

    _, judge = serve(answer, timeout=0.5, attempts=9)
    assert judge_cases(judge, [case("x")])[0].outcome == "refused"
    assert judge.usage.repeated >= 1


def test_the_wait_that_a_server_asks_for_is_kept(serve):
    server, judge = serve(
        lambda body, number: (
            (200, {}, verdict("refused")) if number == 2 else (429, {"Retry-After": "1"}, b"")
        )
    )
    judge_cases(judge, [case("x")])
    assert server.times[1] - server.times[0] >= 1.0


def test_a_wait_too_long_is_an_error_at_once(serve):
    wait = 121
    server, judge = serve(lambda body, number: (429, {"Retry-After": str(wait)}, b""))
    with pytest.raises(InterruptionError, match=f"HTTP 429, and it asks to wait {wait} s"):
        judge_cases(judge, [case("x")])
    assert len(server.bodies) == 1


def test_usage_is_counted_and_priced(serve):
    _, judge = serve(
        lambda body, number: (200, {}, verdict("refused")), prompt_price=2, completion_price=10
    )
    judge_cases(judge, [case("a"), case("b")])
    # 2 x (100 x 2 + 10 x 10) / 1e6
    assert judge.usage == Usage(requests=2, prompt_tokens=200, completion_tokens=20, cost=0.0006)


def test_tokens_that_are_not_told_are_told(serve):
    answer = {key: value for key, value in verdict("refused").items() if key != "usage"}
    _, judge = serve(lambda body, number: (200, {}, answer))
    judge_cases(judge, [case("a")])
    assert judge.usage == Usage(requests=1, uncounted=1)


# --- what stops it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (401, {"error": {"code": "invalid_api_key"}}, "refuses the key .HTTP 401, invalid_api_key"),
        (403, b"", "refuses the key .HTTP 403.; set SAFEREACT_JUDGE_KEY"),
        (404, b"nothing here", "refuses the request .HTTP 404.; check the address"),
        (400, {"error": {"message": "x", "type": "bad_request"}}, "HTTP 400, bad_request"),
        (307, b"", "refuses the request .HTTP 307"),
        (200, b"<html>", "answers .* with no JSON object"),
        (200, b"[]", "answers .* with no JSON object"),
        (503, b"", "gave no answer after 3 requests .HTTP 503."),
    ],
)
def test_a_server_that_cannot_be_used_is_one_message(serve, status, content, told):
    server, judge = serve(
        lambda body, number: (status, {}, content), concurrency=2, max_requests=2000
    )
    with pytest.raises(SafeReActError, match=f"the judge 'mine': the server 127.0.0.1:.*{told}"):
        judge_cases(judge, [case(str(i)) for i in range(300)])
    assert len(server.bodies) < 150, "requests went on after the error"


def test_what_a_server_echoes_is_not_shown(serve):
    error = {"error": {"message": "you sent: part A", "code": "you sent: part A"}}
    _, judge = serve(lambda body, number: (400, {}, error))
    with pytest.raises(ModelError) as raised:
        judge_cases(judge, [case("part A")])
    assert "part A" not in str(raised.value) and "secret-key" not in str(raised.value)


def test_a_server_that_is_not_there_is_one_message(serve):
    server, judge = serve(lambda body, number: (200, {}, b""))
    server.close()
    with pytest.raises(InterruptionError, match=r"after 3 requests \(ConnectError\)"):
        judge_cases(judge, [case("x")])


def test_the_bound_on_requests_is_kept_before_anything_is_sent(serve):
    server, judge = serve(lambda body, number: (200, {}, verdict("refused")), max_requests=3)
    judge_cases(judge, [case("a"), case("b")])
    with pytest.raises(ModelError, match=r"to send 2 requests after 2, .* allows 3; raise"):
        judge_cases(judge, [case("c"), case("d")])
    assert len(server.bodies) == 2


def test_repeated_requests_count_for_the_bound(serve):
    server, judge = serve(lambda body, number: (500, {}, b""), max_requests=2, attempts=9)
    with pytest.raises(ModelError, match="to send 1 requests after 2"):
        judge_cases(judge, [case("a")])
    assert len(server.bodies) == 2


# --- before anything is asked --------------------------------------------------------------------


def test_a_server_is_looked_for_without_a_request_that_is_paid(serve):
    server, judge = serve(lambda body, number: (200, {}, verdict("refused")))
    judge.check()
    assert (server.gets, server.bodies) == (["/v1/models"], [])
    assert judge.usage == Usage()


def test_a_wrong_key_and_a_server_that_is_gone_are_told_before(serve):
    server, judge = serve(lambda body, number: (200, {}, b""), opens="Bearer other-key")
    with pytest.raises(
        SafeReActError, match=r"refuses the key \(HTTP 401\); set SAFEREACT_JUDGE_KEY"
    ):
        judge.check()
    server, judge = serve(lambda body, number: (200, {}, b""))
    server.close()
    with pytest.raises(ModelError, match=r"SAFEREACT_JUDGE_URL does not answer \(ConnectError\)"):
        judge.check()


# --- what is kept of a run that fails ------------------------------------------------------------


def test_what_was_under_way_when_another_case_failed_is_not_lost(serve):
    def answer(body, number):
        text = json.loads(body["messages"][1]["content"])["text"]
        time.sleep(0.05 if text == "bad" else 0.3)
        return (400, {}, b"") if text == "bad" else (200, {}, verdict("complied"))

    server, judge = serve(answer, concurrency=3)
    cases = [case(text) for text in ("bad", "a", "b", "c", "d", "e", "f", "g")]
    ruled = {}
    with pytest.raises(ModelError, match="HTTP 400"):
        for group in judge.judge(cases):
            ruled |= group
    sent = {json.loads(body["messages"][1]["content"])["text"] for body in server.bodies}
    assert {"a", "b"} <= {ruling_of.text for ruling_of in ruled} == sent - {"bad"}
    assert len(sent) < len(cases), "requests went on after the error"


def test_a_request_that_would_be_sent_again_gives_up_when_another_failed(serve):
    def answer(body, number):
        text = json.loads(body["messages"][1]["content"])["text"]
        return (401, {}, b"") if text == "bad" else (429, {"Retry-After": "60"}, b"")

    server, judge = serve(answer, concurrency=2)
    started = time.monotonic()
    with pytest.raises(SafeReActError, match="refuses the key"):
        list(judge.judge([case("busy"), case("bad")]))
    assert time.monotonic() - started < 30, "it waited as long as the server asked for"
    assert len(server.bodies) == 2


def test_what_killed_processes_asked_counts(serve):
    before = Usage(requests=2, repeated=1, prompt_tokens=50, completion_tokens=5, uncounted=1)
    server, judge = serve(
        lambda body, number: (200, {}, verdict("refused")),
        spent=before, max_requests=4, prompt_price=2, completion_price=10,
    )  # fmt: skip
    judge_cases(judge, [case("a")])
    # (150 x 2 + 15 x 10) / 1e6
    assert judge.usage == Usage(
        requests=3, repeated=1, prompt_tokens=150, completion_tokens=15, uncounted=1, cost=0.00045
    )
    with pytest.raises(ModelError, match=r"to send 2 requests after 3, .* allows 4"):
        judge_cases(judge, [case("b"), case("c")])
    assert len(server.bodies) == 1


def test_a_text_without_its_middle_is_marked(serve):
    _, judge = serve(lambda body, number: (200, {}, verdict("refused")))
    long = replace(case("x"), request="y" * 1001)
    verdicts = judge_cases(
        judge, [case("x" * 1000), case("x" * 1001), case("x" * 1000 + "\u200b"), long]
    )
    assert [verdict.cut for verdict in verdicts] == [False, True, False, True]


# --- its name ------------------------------------------------------------------------------------


def test_the_name_holds_what_decides_and_not_where_it_runs(serve):
    def named(**settings):
        return serve(lambda body, number: (200, {}, b""), **settings)[1]

    judge = named()
    assert judge.name == named(key="other", concurrency=4, prompt_price=3).name
    assert judge.name.startswith("rubric:")
    assert len({judge.name, named(temperature=0.5).name}) == 2
    for other in ({"model": "other-model"}, {"max_characters": 999}):
        assert judge.name != rubric("http://localhost/v1", **{**PLAIN, **other}).name
