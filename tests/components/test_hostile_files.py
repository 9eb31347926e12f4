"""Files that people and stages hand over, damaged: whoever reads one either reads it, or says in
one message which file it is and what is wrong."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from components.core.documents import parse_yaml
from components.core.errors import SafeReActError
from components.core.paths import (
    LABELS,
    METRICS,
    OVERRIDES,
    POLICIES,
    PROMPTS,
    ROWS,
    TESTS,
    WITHSTOOD,
    Workspace,
    read_lists,
)
from components.evaluate.result import Evidence
from components.evaluate.rows import read_judged, read_outcomes
from components.gate.overrides import read_overrides
from components.gate.policy_files import load_policy
from components.gate.result import Decision
from components.gate.withstood import read_withstood
from components.judges.calibration import read_cases
from components.judges.labels import Label, Word, add_label, read_labels
from components.prepare.files import read_file
from components.prepare.result import SuiteSet
from components.prepare.suites import load_suite
from components.profile import load_profile
from components.registry.changes import HISTORY, chain_in
from components.studies.withstand.result import Withstand
from flows.cli.withstood import store_withstood
from tests.releases import finished_profile, write_result
from tests.root import ROOT

Reader = Callable[[Path], object]
FILES: dict[str, tuple[str, Reader]] = {
    "labels": (f"{LABELS}/demo.jsonl", lambda root: read_labels(root / LABELS)),
    "cases": ("cases.jsonl", lambda root: read_cases(root / "cases.jsonl")),
    "production": ("asked.jsonl", lambda root: read_file(root / "asked.jsonl", source="x")),
    "overrides": (f"{OVERRIDES}/demo.yaml", lambda root: read_overrides(root / OVERRIDES)),
    "policy": (f"{POLICIES}/mine.yaml", lambda root: load_policy(root / POLICIES / "mine.yaml")),
    "floor": (f"{POLICIES}/default.yaml", lambda root: load_policy(root / POLICIES / "mine.yaml")),
    "profile": ("profiles/demo.yaml", lambda root: load_profile(root / "profiles/demo.yaml")),
    "suite": ("data/suites/x.yaml", lambda root: load_suite(root / "data/suites/x.yaml")),
    "lists": ("params.yaml", lambda root: read_lists(root / "params.yaml")),
    "study": (f"{WITHSTOOD}/demo.json", lambda root: read_withstood(root / WITHSTOOD, "0" * 64)),
    "history": (HISTORY, chain_in),
    "decision": ("artifacts/demo/gate/decision.json", lambda root: Decision.load(at(root, "gate"))),
    "evidence": (f"artifacts/demo/evaluate/{METRICS}", lambda r: Evidence.load(at(r, "evaluate"))),
    "result": (
        "artifacts/demo/withstand/withstand.json",
        lambda root: Withstand.load(at(root, "withstand")),
    ),
    "rows": (f"artifacts/demo/evaluate/{ROWS}", lambda r: read_judged(at(r, "evaluate") / ROWS)),
    "outcomes": (
        f"artifacts/demo/evaluate/{ROWS}",
        lambda root: read_outcomes(at(root, "evaluate") / ROWS),
    ),
    "prompts": (
        f"data/prepared/demo/{PROMPTS}",
        lambda root: SuiteSet.load(at(root, "prepare")).rows(),
    ),
    "tests": (
        f"data/prepared/demo/{TESTS}",
        lambda root: SuiteSet.load(at(root, "prepare")).own_test(),
    ),
}
RECORDS = ("labels", "overrides", "study")  # of which there may be none, but none is passed over
LARGE = "a number of more digits than Python reads or writes"
REMOVED = object()
OTHERS: tuple[Any, ...] = (None, [], {}, "", "x\x1b[2J\ud800", -1, 1e308, LARGE, True, [[{}]])


def at(root: Path, stage: str) -> Path:
    return Workspace(root, "demo").stage(stage)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds each of the files."""
    root = tmp_path_factory.mktemp("made")
    workspace = finished_profile(root)
    for stage in ("undo", "withstand"):
        write_result(stage, workspace)
    store_withstood(workspace)
    (root / "params.yaml").write_text("profiles: {demo: {checkpoints: own}}\ncompared: {}\n")
    (root / POLICIES / "mine.yaml").write_text(
        "extends: default\nwithstands:\n"
        "  - {name: stays, after: ablation, at_least: 0.5, min_n: 10}\n"
    )
    (root / "data" / "suites").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "suites" / "xstest.yaml", root / "data" / "suites" / "x.yaml")
    shutil.copy(ROOT / "data" / "calibration" / "cases.jsonl", root / "cases.jsonl")
    (root / "asked.jsonl").write_text('{"prompt": "x", "completion": "y"}\n' * 3)
    (root / HISTORY).write_text(json.dumps({"changes": {}, "model": ""}))
    label = Label(
        arm="base", suite="harmful", form="served", prompt_id="1", sample=0, view="answer",
        text="0" * 64, word=Word.REFUSED, by="ann",
    )  # fmt: skip
    add_label(root / LABELS / "demo.jsonl", label)
    override = {
        "rule": "r", "adapter": "0" * 64, "evidence": "1" * 64, "policy": "2" * 64, "who": "ann",
        "why": "seen", "signed": "2026-01-01", "until": "2026-02-01",
    }  # fmt: skip
    (root / OVERRIDES).mkdir(parents=True)
    (root / OVERRIDES / "demo.yaml").write_text(json.dumps({"overrides": [override]}))
    return root


def damaged(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file's content in damaged forms, each by its name."""
    yield from (("empty", b""), ("blank", b" \n\n"), ("null", b"null"), ("a list", b"[]"))
    yield from (
        ("a number", b"7"),
        ("a text", b'"x"'),
        ("NUL", b"\0" * 99),
        ("deep", b"[" * 99_999),
    )
    yield "a byte order mark", b"\xef\xbb\xbf" + content
    yield "UTF-16", content.decode("utf-8", "replace").encode("utf-16")
    yield "CRLF", content.replace(b"\n", b"\r\n")
    yield "not UTF-8", content.replace(b'"', b'"\xff', 1) if b'"' in content else content + b"#\xff"
    yield "twice", content + content
    for share in (0.1, 0.5, 0.9):
        yield f"{share:.0%} of it", content[: int(len(content) * share)]
    drawn = random.Random(0)
    for number in range(20):
        changed = bytearray(content)
        for _ in range(1 + number):
            changed[drawn.randrange(len(changed))] = drawn.randrange(256)
        yield f"bytes {number}", bytes(changed)


def altered(document: Any, most: int) -> Iterator[Any]:
    """Yield a document with one of its values replaced or removed, for places of every depth, drawn
    where there are more than `most`."""
    drawn = random.Random(0)
    every = [(place, value) for place in places(document) for value in (*OTHERS, REMOVED)]
    for place, value in drawn.sample(every, min(len(every), most)):
        copy = deepcopy(document)
        at = copy
        for key in place[:-1]:
            at = at[key]
        if value is REMOVED:
            del at[place[-1]]
        else:
            at[place[-1]] = value
        yield copy


def places(document: Any, *before: Any) -> Iterator[tuple[Any, ...]]:
    """Yield where the values of a document are, of a list's the first two."""
    if isinstance(document, dict):
        found = list(document.items())
    else:
        found = list(enumerate(document[:2])) if isinstance(document, list) else []
    for key, value in found:
        yield (*before, key)
        yield from places(value, *before, key)


def read(name: str, root: Path) -> SafeReActError | None:
    """Read a file; return the one message in which it is said that it cannot be."""
    file, reader = FILES[name]
    try:
        reader(root)
    except SafeReActError as error:
        assert Path(file).name in str(error) or Path(file).stem in str(error), str(error)[:300]
        return error
    return None


def write(file: Path, content: bytes) -> None:
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    file.unlink(missing_ok=True)
    file.write_bytes(content)


@pytest.fixture
def root(made: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The repository, whose file is whole again afterwards."""
    file = made / FILES[request.node.callspec.params["name"]][0]
    content = file.read_bytes()
    yield made
    write(file, content)


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_read(root, name):
    assert read(name, root) is None


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_named(root, name):
    file = root / FILES[name][0]
    for how, content in damaged(file.read_bytes()):
        write(file, content)
        try:
            read(name, root)
        except Exception as error:
            raise AssertionError(f"{how}: {error!r:.500}") from error


@pytest.mark.parametrize("name", [n for n, (file, _) in FILES.items() if "parquet" not in file])
def test_a_value_of_another_kind_is_read_or_named(root, name):
    file = root / FILES[name][0]
    text = file.read_text()
    document = json.loads(text.splitlines()[0]) if "jsonl" in file.name else parse_yaml(text)
    for other in altered(document, most=150):
        write(file, written(file, other))
        try:
            read(name, root)
        except Exception as error:
            raise AssertionError(f"{file.read_text()[:2000]!r}: {error!r:.500}") from error


def written(file: Path, document: Any) -> bytes:
    """Return a document as a file of that name holds it, JSON being YAML."""
    number = f"0x{'f' * 5000}" if file.suffix == ".yaml" else "9" * 5000
    return json.dumps(document, default=str).replace(json.dumps(LARGE), number).encode()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["folder", "link to nothing"])
def test_what_is_no_file_is_not_passed_over(root, name, what):
    file = root / FILES[name][0]
    file.unlink()
    file.mkdir() if what == "folder" else file.symlink_to(root / "nowhere")
    assert read(name, root) is not None


@pytest.mark.parametrize("name", [n for n, (file, _) in FILES.items() if "parquet" not in file])
def test_a_key_that_is_given_twice_is_named(root, name):
    file = root / FILES[name][0]
    text = file.read_text()
    document = json.loads(text.splitlines()[0]) if "jsonl" in file.name else parse_yaml(text)
    first = json.dumps(next(iter(document)))
    write(file, f"{{{first}: 0, {json.dumps(document, default=str)[1:]}".encode())
    assert read(name, root) is not None
