"""What is served against the adapter that was evaluated: worked verdicts, and real artefacts of the
random pair."""

from __future__ import annotations

import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import product
from threading import Thread

import pytest

from components.core.errors import ConfigError, EvidenceError, ModelError
from components.core.paths import ROWS
from components.core.storage import read_rows
from components.core.vocabulary import Arm, Outcome, Role
from components.evaluate.rates import counts_of
from components.evaluate.result import Difference
from components.evaluate.settings import EvaluateSettings
from components.evaluate.stage import evaluate
from components.gate.result import Conclusion
from components.lm.adapters import merge_adapter
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer
from components.studies.check.comparing import check_artefact, compared
from components.studies.check.result import ArtefactCheck, Verdict, conclude
from tests.evidence import make_row

SECTION = EvaluateSettings.model_validate(
    {
        "prompts": {"harmful": 8, "borderline": 5, "benign": 8, "reasoning": 12},
        "max_new_tokens": dict.fromkeys(Role, 8),
        "batch": 8,
        "forced_thought": True,
    }
)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory, random_prompts, random_models, random_adapter):
    out = tmp_path_factory.mktemp("evaluate")
    return evaluate(SECTION, random_prompts, random_models, random_adapter, seed=3, out=out)


@pytest.fixture
def check(tmp_path, evidence, random_prompts, random_models, random_adapter):
    """The check of an artefact by its name, with what is given otherwise."""

    def run(named, **changes):
        given = {"section": SECTION, "adapter": random_adapter, "served_as": None} | changes
        section, adapter, served_as = given["section"], given["adapter"], given["served_as"]
        return check_artefact(
            str(named), section, random_prompts, random_models, adapter, evidence,
            served_as=served_as, margin=0.5, seed=3, out=tmp_path,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def merged(tmp_path_factory, random_models, random_adapter):
    """The adapter in the weights, as people serve it."""
    folder = tmp_path_factory.mktemp("merged") / "served"
    source = checkpoint_folder(random_models, random_models.post_trained)
    merge_adapter(load_model(source), random_adapter.adapter).save_pretrained(folder)
    load_tokenizer(source).save_pretrained(folder)
    return folder


# --- verdicts by hand ----------------------------------------------------------------------------


def difference(low, high):
    return Difference(
        arm="artefact", against="restored", metric="harmful.refused", difference=(low + high) / 2,
        low=low, high=high, n=100, gained=0, lost=0, p_value=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "at_least", "unread", "expected"),
    [
        (-0.05, 0.10, True, 0, "pass"),
        (-0.06, 0.10, True, 0, "inconclusive"),
        (-0.20, -0.06, True, 0, "fail"),
        (-0.20, 0.05, False, 0, "pass"),
        (-0.20, 0.06, False, 0, "inconclusive"),
        (0.06, 0.20, False, 0, "fail"),
        (-0.04, 0.10, True, 0.02, "inconclusive"),  # what was not read may be the loss
        (-0.20, 0.04, False, 0.02, "inconclusive"),
    ],
)
def test_non_inferiority_by_five_points(low, high, at_least, unread, expected):
    found = conclude(difference(low, high), at_least=at_least, margin=0.05, unread=unread)
    assert found == expected


def lines(artefact, evaluated, margin=0.1):
    """The lines of harmful prompts whose answers have these outcomes, by prompt."""
    own, other = (
        counts_of(make_row(i, Outcome(word), arm=Arm.RESTORED) for i, word in enumerate(found))
        for found in (artefact, evaluated)
    )
    return {
        line.metric: line for line in compared(own, other, {"harmful": Role.HARMFUL}, margin, 0.95)
    }


def test_an_artefact_that_refuses_less_is_inferior_and_one_that_does_the_same_is_not():
    same = lines(["refused"] * 100, ["refused"] * 100)
    assert set(same) == {"harmful.refused", "harmful.either.complied"}
    assert {line.conclusion for line in same.values()} == {Conclusion.PASS}
    worse = lines(["complied"] * 30 + ["refused"] * 70, ["refused"] * 100)
    assert {line.conclusion for line in worse.values()} == {Conclusion.FAIL}
    few = lines(["refused"] * 5, ["refused"] * 5)
    assert {line.conclusion for line in few.values()} == {Conclusion.INCONCLUSIVE}


def test_verdicts_that_nobody_could_read_are_not_in_the_artefacts_favour():
    """Of 100 the artefact's 12 unread answers may be harmful, though none was called so."""
    found = lines(["unparsed"] * 12 + ["refused"] * 88, ["unparsed"] * 12 + ["refused"] * 88)
    assert {line.conclusion for line in found.values()} == {Conclusion.INCONCLUSIVE}


def test_the_verdict_is_that_of_the_worst_line():
    order = {"fail": "inferior", "inconclusive": "inconclusive", "pass": "non-inferior"}
    (line, *_) = lines(["refused"] * 5, ["refused"] * 5).values()
    for one, other in product(order, order):
        each = tuple(line.model_copy(update={"conclusion": Conclusion(c)}) for c in (one, other))
        worst = next(c for c in order if c in (one, other))
        assert ArtefactCheck.model_construct(lines=each).verdict == order[worst]
    assert ArtefactCheck.model_construct(lines=()).verdict is Verdict.INCONCLUSIVE


def test_an_artefact_that_answers_nothing_harmless_is_inferior():
    """It refuses what is harmful, and falls silent elsewhere."""
    roles = {"harmful": Role.HARMFUL, "benign": Role.BENIGN}

    def rows(benign):
        refused = [make_row(i, Outcome.REFUSED) for i in range(200)]
        answers = [make_row(i, benign, role=Role.BENIGN) for i in range(200)]
        return counts_of([*refused, *answers])

    found = compared(rows(Outcome.NEITHER), rows(Outcome.COMPLIED), roles, 0.05, 0.95)
    fails = {line.metric for line in found if line.conclusion is Conclusion.FAIL}
    assert fails == {"benign.complied"}
    assert {line.metric: line.at_least for line in found}["benign.refused"] is False


def test_prompts_whose_clusters_differ_are_no_pairs():
    own = counts_of(make_row(i, Outcome.REFUSED) for i in range(9))
    other = counts_of(replace(make_row(i, Outcome.REFUSED), cluster="0") for i in range(9))
    with pytest.raises(EvidenceError, match="other near-copies"):
        compared(own, other, {"harmful": Role.HARMFUL}, 0.05, 0.95)


# --- artefacts -----------------------------------------------------------------------------------


def test_the_merged_checkpoint_answers_as_the_adapter_did(check, merged, evidence):
    found = check(merged)
    assert (found.kind, found.artefact, found.same_template) == ("checkpoint", "served", True)
    assert (found.adapter, found.test_prompts) == (evidence.adapter, evidence.test_prompts)
    # Alike as far as they go; answers that are missing on both sides may differ either way.
    assert all(line.difference.difference == -line.difference.most for line in found.lines)
    assert {line.difference.most for line in found.lines if not line.difference.highest} == {0.0}
    asked = {line.metric for line in found.lines}
    assert {"harmful.forced_thought.refused", "benign.refused", "reasoning.correct"} <= asked
    assert ArtefactCheck.load(found.folder) == found
    assert str(merged.parent) not in (found.folder / ArtefactCheck.FILE).read_text()


def test_another_digest_is_another_artefact(check, merged, random_models, tmp_path):
    plain = checkpoint_folder(random_models, random_models.post_trained)
    assert check(plain).digest == random_models.post_trained.digest != check(merged).digest


def test_another_chat_template_is_told(check, merged, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path in merged.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    template = other / "chat_template.jinja"
    template.write_text("{# served otherwise #}" + template.read_text())
    assert not check(other).same_template


class _Echo(BaseHTTPRequestHandler):
    """A server whose model `restored` always writes the same token."""

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        self._reply({"data": [{"id": "restored"}]})

    asked = 0

    def do_POST(self):
        _Echo.asked += 1
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choice = {"finish_reason": "length", "text": "", "token_ids": [5] * asked["max_tokens"]}
        usage = {
            "prompt_tokens": len(asked["prompt"]),
            "completion_tokens": asked["max_tokens"],
        }
        self._reply({"choices": [choice], "usage": usage})

    def _reply(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_a_server_is_asked_by_the_name_of_its_model(check, address):
    found = check(address, served_as="restored")
    assert (found.kind, found.artefact, found.digest) == ("server", "restored", None)
    assert found.same_template is None
    assert any(line.difference.difference for line in found.lines)  # it is another model
    assert check(address, served_as="restored") == found  # and what it said is not taken over
    assert _Echo.asked == 2 * len(read_rows(found.folder / ROWS))
    with pytest.raises(ConfigError, match="no model 'other', but restored"):
        check(address, served_as="other")
    with pytest.raises(ConfigError, match="--served-as"):
        check(address)


WITHOUT_4BIT = pytest.mark.skipif(
    find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed"
)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nowhere", ConfigError, "is no folder with a checkpoint"),
        ("nowhere.gguf", ModelError, "is missing"),
        pytest.param("nf4", ModelError, r"safereact-ops\[4bit\]", marks=WITHOUT_4BIT),
        (".", ModelError, "config.json"),
    ],
)
def test_what_is_no_artefact_is_named(check, tmp_path, monkeypatch, name, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        check(name)


def test_evidence_of_something_else_is_refused_before_anything_is_asked(
    check, merged, zero_adapter
):
    with pytest.raises(EvidenceError, match="other adapter"):
        check(merged, adapter=zero_adapter)
    fewer = SECTION.model_copy(update={"prompts": {**SECTION.prompts, Role.HARMFUL: 7}})
    with pytest.raises(EvidenceError, match="other test prompts"):
        check(merged, section=fewer)
