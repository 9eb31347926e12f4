"""An evaluation that was killed goes on, asks no finished prompt again and ends the same."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from pathlib import Path

import pytest

from components.core.paths import FINISHED, METRICS, ROWS, VERDICTS
from components.core.storage import resumable_folder
from components.core.vocabulary import Role
from components.evaluate.result import Evidence
from components.evaluate.settings import EvaluateSettings
from components.evaluate.stage import evaluate
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.train.result import Adapter
from tests.components.evaluate.killing import kill_midway, start
from tests.components.judges.server import Server, verdict

SECTION = EvaluateSettings(
    prompts=dict.fromkeys(Role, 5), max_new_tokens=dict.fromkeys(Role, 12), batch=2
)

JUDGED = EvaluateSettings.model_validate(
    {
        **SECTION.model_dump(),
        "prompts": {role: 12 if role is Role.HARMFUL else 2 for role in Role},
        "max_new_tokens": dict.fromkeys(Role, 4),
        "judges": {
            "written": {
                "kind": "rubric",
                "model": "judge-model",
                "concurrency": 1,
                "requests_a_minute": 10**6,
            }
        },
        "judged_by": {"harmful": "written"},
    }
)


def run(out: str, prompts: str, models: str, adapter: str) -> None:
    """Evaluate into `out` as the stages do; what the killed process runs, too."""
    evaluate_by(SECTION, out, prompts, models, adapter)


def run_judged(out: str, prompts: str, models: str, adapter: str) -> None:
    """The same with a judge behind a server."""
    evaluate_by(JUDGED, out, prompts, models, adapter)


def evaluate_by(
    section: EvaluateSettings, out: str, prompts: str, models: str, adapter: str
) -> None:
    with resumable_folder(Path(out), "key") as scratch:
        evaluate(
            section,
            SuiteSet.load(Path(prompts)),
            Models.load(Path(models)),
            Adapter.load(Path(adapter)),
            seed=3,
            out=scratch,
        )


def test_a_killed_evaluation_goes_on(
    tmp_path, random_prompts, random_models, random_adapter, caplog
):
    inputs = [str(result.folder) for result in (random_prompts, random_models, random_adapter)]
    run(tmp_path / "undisturbed", *inputs)

    store = tmp_path / ".killed.partial" / FINISHED
    before = kill_midway(store, 9, __name__, "run", tmp_path / "killed", *inputs)
    assert 9 <= before < 4 * 4 * 5

    with caplog.at_level(logging.INFO):
        run(tmp_path / "killed", *inputs)
    assert any(f"going on after {before} finished" in message for message in caplog.messages)
    for name in (METRICS, ROWS):
        assert (tmp_path / "killed" / name).read_bytes() == (
            tmp_path / "undisturbed" / name
        ).read_bytes()
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == sorted([METRICS, ROWS])


def answers_of(server, held, until):
    """Answer every case with a refusal, but keep the request of the number `until` waiting."""

    def answer(body, number):
        if number == until:
            held.wait(60)
        return 200, {}, verdict("refused")

    server.answer = answer


@pytest.mark.slow  # three evaluations, one of them in a process of its own
def test_a_killed_evaluation_asks_its_judge_nothing_again(
    tmp_path, random_prompts, random_models, random_adapter, monkeypatch
):
    inputs = [str(result.folder) for result in (random_prompts, random_models, random_adapter)]
    held, server = threading.Event(), Server(None)
    answers_of(server, held, until=21)
    monkeypatch.setenv("SAFEREACT_JUDGE_URL", server.url)

    child = start(__name__, "run_judged", tmp_path / "killed", *inputs)
    kept = tmp_path / ".killed.partial" / VERDICTS
    while child.poll() is None and (not kept.is_file() or kept.read_text().count('"case"') < 20):
        time.sleep(0.01)
    while child.poll() is None and len(server.bodies) < 21:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    held.set()
    before = [json.dumps(body) for body in server.bodies]
    assert len(before) == len(set(before)) == 21

    run_judged(tmp_path / "killed", *inputs)
    asked = [json.dumps(body) for body in server.bodies]
    again = asked[21:]
    assert len(again) == len(set(again)) and set(again) & set(before) == {before[20]}
    killed = Evidence.load(tmp_path / "killed")
    usage = killed.usage["written"]
    # The request that was under way at the kill may have been noted or not; it was not answered.
    assert len(asked) - 1 <= usage.requests <= len(asked)
    assert usage.prompt_tokens == 100 * (len(asked) - 1)
    assert not (tmp_path / "killed" / VERDICTS).exists()

    answers_of(server, held, until=0)
    run_judged(tmp_path / "undisturbed", *inputs)
    assert len(server.bodies) == 2 * len(asked) - 1
    server.close()
    undisturbed = Evidence.load(tmp_path / "undisturbed")
    assert undisturbed.usage["written"].requests == len(set(asked))
    assert killed.model_dump(exclude={"usage"}) == undisturbed.model_dump(exclude={"usage"})
