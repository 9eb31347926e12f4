"""The whole stage: files in, one validated folder out, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.core.errors import ConfigError, DataError
from components.core.storage import digest_folder, read_rows
from components.core.vocabulary import Role, Split
from components.prepare.data_docs import write_data_docs
from components.prepare.recount import recount_prompts
from components.prepare.result import PromptSet, SuiteSet, leak_notes
from components.prepare.settings import PrepareSettings
from components.prepare.stage import prepare
from components.prepare.validation import Quarantined
from tests.hostile import steering
from tests.root import ROOT

EMBEDDED = ROOT / "data" / "embedded" / "tiny"
SECRET = "zzyzx"  # stands for what must not be shown
VERBS = ("paint", "fold", "carve", "weave", "bake", "plant", "mend", "polish", "stack", "draw")
THINGS = ("boat", "crane", "basket", "loaf", "rose", "chain", "table", "tower", "map", "kite")


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sample(role: str, count: int, seed: int) -> list[dict]:
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        verb, thing = generator.choice(VERBS), generator.choice(THINGS)
        text = f"{SECRET} {role} {verb} {thing} number {seed}-{i}"
        rows.append({"text": text, "role": role, "topic": f"{verb} {thing}"})
    return rows


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> PrepareSettings:
    folder = tmp_path_factory.mktemp("sources")
    auto = [*sample("harmful", 100, 1), *sample("benign", 100, 2)]
    # A leak, a duplicate and an empty text.
    auto += [{**auto[0], "text": f"{SECRET} one two three four five six"}, auto[0], {"text": ""}]
    held = [{"text": f"{SECRET} one two three four five six", "role": "harmful", "topic": "x"}]
    problems = [{"q": f"what is {i} plus {i}?", "a": f"add. #### {2 * i}"} for i in range(20)]
    path = folder / "problems.jsonl"
    return PrepareSettings.model_validate(
        {
            "sources": [
                {"name": "auto", "path": str(write(folder / "a.jsonl", auto)), "licence": "MIT"},
                {
                    "name": "<b>held</b>\x1b[2J\u202e",
                    "path": str(write(folder / "h.jsonl", held)),
                    "licence": "CC0-1.0",
                    "split": "test",
                },
                {
                    "name": "problems",
                    "path": str(write(path, problems)),
                    "licence": "LicenseRef-own",
                    "role": "reasoning",
                    "columns": {"text": "q", "answer": "a", "thought": "a"},
                    "patterns": {"answer": "#### (.+)$", "thought": "^(.*?) ####"},
                    "limit": 15,
                },
            ],
            "overlap_ngram": 6,
        }
        | {"min_rows": {"harmful": 5, "benign": 5, "reasoning": 1}}
    )


@pytest.fixture(scope="module")
def prepared(section: PrepareSettings, tmp_path_factory: pytest.TempPathFactory) -> SuiteSet:
    return prepare(section, seed=0, out=tmp_path_factory.mktemp("prepared"))


def test_every_row_read_is_kept_quarantined_or_dropped_as_a_leak(prepared: SuiteSet):
    auto, held, problems = prepared.sources
    assert (auto.read, auto.kept, auto.quarantined) == (203, 200, 2)
    assert (held.read, held.kept) == (1, 1)
    assert (problems.read, problems.kept) == (15, 15)
    assert prepared.overlap == {"auto": 1}
    assert sum(sum(roles.values()) for roles in prepared.counts.values()) == 216
    leak = next(figure for figure in prepared.leaks if figure.suite == "harmful")
    assert (leak.measure, leak.dropped, leak.before.count, leak.after.count) == ("run", 1, 1, 0)
    reasons = {row["reason"] for row in read_rows(prepared.folder / "quarantine.parquet")}
    assert "duplicate id" in reasons and len(reasons) == 2


def test_the_table_is_sorted_split_by_topic_and_loads_as_prompts(prepared: SuiteSet):
    trained, tests = PromptSet.load(prepared.folder).rows(), prepared.own_test()
    assert {row.split for row in tests} == {Split.TEST}
    assert {row.split for row in trained} == {Split.TRAIN, Split.VALIDATION}
    rows = [*tests, *trained]
    assert rows == sorted(rows, key=lambda r: (r.split, r.role, r.id))
    places: dict[str, set[Split]] = {}
    for row in rows:
        if row.source == "auto":
            places.setdefault(row.topic, set()).add(row.split)
    assert all(len(splits) == 1 for splits in places.values())
    one = prepared.rows(role=Role.REASONING)[0]
    assert int(one.answer) == 2 * int(one.text.split()[2]) and one.thought == "add."
    harmful = [row for row in tests if row.role is Role.HARMFUL]
    assert prepared.counts[Split.TEST][Role.HARMFUL] == len(harmful)


def test_the_digest_is_that_of_canonical_json_lines(prepared: SuiteSet):
    def digest(table: str) -> str:
        lines = [
            json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n"
            for row in read_rows(prepared.folder / table)
        ]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    own = digest("prompts.parquet"), digest("tests.parquet")
    assert own == (prepared.digest_of_prompts, prepared.digest_of_tests)
    assert prepared.digest == hashlib.sha256("\n".join(own).encode()).hexdigest()


def test_data_docs_stand_alone_and_show_no_prompt_that_is_kept(prepared: SuiteSet):
    pages = {path.name: path.read_text() for path in (prepared.folder / "data-docs").iterdir()}
    assert set(pages) == {"index.html", "rows.html", "repetition.html", "prompts.html"}
    for page in pages.values():
        assert not any(word in page for word in ("http:", "https:", "<script", "<link", "src="))
        assert str(Path.home()) not in page
        assert steering(page) == []
    assert "&lt;b&gt;held" in pages["index.html"] and "<b>" not in pages["index.html"]
    assert "harmful in validation: at least 5 rows" in pages["prompts.html"]
    shown = {name: page.count(SECRET) for name, page in pages.items() if SECRET in page}
    assert shown == {"index.html": 1}  # of the row that repeats another


def test_of_each_reason_the_first_row_is_shown_and_its_text_is_cut(prepared: SuiteSet, tmp_path):
    rows = [(7, f"<i>{'do it. ' * 30}"), (9, "later"), (8, "other")]
    found = [Quarantined("s", row, "too long" if row != 8 else "bad", t, "mend") for row, t in rows]
    write_data_docs(tmp_path, prepared, found, {})
    page = re.sub(r"\s+", " ", (tmp_path / "index.html").read_text())
    cells = [re.sub("<[^>]+>", "", cell).strip() for cell in re.findall("<td.*?</td>", page)]
    start = cells.index("too long")
    cut = f"&lt;i&gt;{('do it. ' * 30)[:117].rstrip()} …"
    assert cells[start - 1 : start + 5] == ["s", "too long", "2", "7", cut, "mend"]
    assert "other" in cells and "later" not in cells


@pytest.mark.slow  # a process of its own
def test_another_process_with_other_hashes_writes_the_same_bytes(
    section: PrepareSettings, prepared: SuiteSet, tmp_path: Path
):
    code = (
        "import sys; from pathlib import Path;"
        "from components.prepare.settings import PrepareSettings;"
        "from components.prepare.stage import prepare;"
        "prepare(PrepareSettings.model_validate_json(sys.argv[1]), seed=0, out=Path(sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, section.model_dump_json(), str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    assert digest_folder(tmp_path) == digest_folder(prepared.folder)


def test_another_seed_splits_otherwise(
    section: PrepareSettings, prepared: SuiteSet, tmp_path: Path
):
    assert prepare(section, seed=1, out=tmp_path).digest_of_prompts != prepared.digest_of_prompts


@pytest.mark.parametrize("rows", ["more", "fewer", "others", "none that training repeats"])
def test_training_reads_the_same_whatever_the_test_prompts_are(
    section: PrepareSettings, prepared: SuiteSet, tmp_path: Path, rows: str
):
    auto, held, problems = (source.model_dump() for source in section.sources)
    (first,) = map(json.loads, Path(held["path"]).read_text().splitlines())
    tested = {
        "more": [first, *sample("harmful", 40, 7), *sample("borderline", 9, 8)],
        "fewer": [{**first, "topic": "y"}],
        "others": [{**first, "text": f"{first['text']} and more"}, *sample("benign", 3, 9)],
        "none that training repeats": sample("harmful", 5, 10),
    }[rows]
    held["path"] = str(write(tmp_path / "tests.jsonl", tested))
    changed = {**section.model_dump(), "sources": [auto, held, problems]}
    found = prepare(PrepareSettings.model_validate(changed), seed=0, out=tmp_path / "out")
    assert found.own_test() != prepared.own_test() and found.digest != prepared.digest
    same = found.digest_of_prompts == prepared.digest_of_prompts
    for name in ("manifest.json", "prompts.parquet"):
        assert ((found.folder / name).read_bytes() == (prepared.folder / name).read_bytes()) is same
    # The row that repeated a test prompt is back where nothing repeats it any more.
    assert same is (rows != "none that training repeats")


def test_one_class_data_stops_before_anything_is_written(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", sample("harmful", 100, 1))
    only = PrepareSettings.model_validate(
        {"sources": [{"name": "auto", "path": str(path), "licence": "MIT"}]}
    )
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(DataError, match=r"fewer than 20 benign rows in train \(0 found\); add"):
        prepare(only, seed=0, out=out)
    assert not list(out.iterdir())


def test_8k_rows_without_topics(tmp_path: Path):
    generator = np.random.default_rng(0)
    words = [f"{a}{b}{c}" for a in "bcdfgklmnprst" for b in "aeiou" for c in "lmnrst"]
    rows = [
        {"text": " ".join(generator.choice(words, 12)), "role": role}
        for role in ("harmful", "benign")
        for _ in range(4_000)
    ]
    path = write(tmp_path / "a.jsonl", rows)
    large = PrepareSettings.model_validate(
        {"sources": [{"name": "large", "path": str(path), "licence": "MIT"}]}
    )
    out = tmp_path / "out"
    out.mkdir()
    counts = prepare(large, seed=0, out=out).counts
    assert counts[Split.TRAIN][Role.HARMFUL] == pytest.approx(2200, abs=30)


@pytest.mark.skipif(not EMBEDDED.is_dir(), reason="the embedded prompts are not there")
def test_the_embedded_prompts_pass_whole(tmp_path: Path):
    from components.profile import load_profile

    profile = load_profile(ROOT / "profiles" / "tiny.yaml").prepare
    sources = [
        source.model_copy(update={"path": str(ROOT / str(source.path))})
        for source in profile.sources
    ]
    found = prepare(profile.model_copy(update={"sources": tuple(sources)}), seed=0, out=tmp_path)
    assert all(source.kept == source.read for source in found.sources)
    assert found.overlap == {}


EMBEDDED_SUITES = {
    "everyday-benign": 840,
    "everyday-arithmetic": 800,
    "tiny-harmful": 300,
    "tiny-borderline": 240,
    "tiny-benign": 300,
    "tiny-reasoning": 300,
}


def test_embedded_suites_are_prepared_whole_for_another_pair(
    section: PrepareSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)  # where the suites lie, and what their paths start from
    used = with_suites(section, **{suite: {} for suite in EMBEDDED_SUITES})
    found = prepare(used, seed=0, out=tmp_path)
    recount_prompts(found, used)  # suites lie among each other in the table
    for name, (spec, rows) in found.named_suites().items():
        assert spec.prompts == len(rows) == EMBEDDED_SUITES[name]
        assert {row.role for row in rows} == {spec.role}
        assert {row.licence for row in rows} == {"Apache-2.0"}
        assert {row.answer is None for row in rows} == {spec.role is not Role.REASONING}
    assert not leak_notes(figure for figure in found.leaks if figure.suite in EMBEDDED_SUITES)


def test_a_suite_of_the_own_test_rows_takes_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from components.profile import load_profile

    monkeypatch.chdir(ROOT)
    tiny = load_profile(Path("profiles") / "tiny.yaml").prepare
    both = with_suites(tiny, **{"tiny-harmful": {}, "tiny-reasoning": {"prompts": 50}})
    found = prepare(both, seed=0, out=tmp_path)
    assert {name: len(rows) for name, (_, rows) in found.named_suites().items()} == {
        "tiny-harmful": 300,
        "tiny-reasoning": 50,
    }
    own = {role: len([row for row in found.own_test() if row.role is role]) for role in Role}
    assert own == {Role.HARMFUL: 300, Role.BORDERLINE: 240, Role.BENIGN: 300, Role.REASONING: 300}
    assert found.overlap == {} and not leak_notes(found.leaks)


SUMS = """
description: Sums.
cite: nobody
role: reasoning
licence: MIT
source:
  path: sums.jsonl
  columns: {text: question}
  patterns: {answer: '#### (.+)$'}
instruction: Put the answer in a box.
samples: 2
temperature: 0.5
max_new_tokens: 64
judge: rules
grader: mathematics
"""
QUIZ = """
description: A quiz.
cite: nobody
role: reasoning
licence: CC0-1.0
source: {hub: owner/quiz, columns: {text: question, topic: kind}}
choice: {options: [best, other], answer: best}
max_new_tokens: 8
judge: rules
grader: choice
"""


@pytest.fixture
def suite_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with two suites, one of them unpinned, where the stage runs."""
    (tmp_path / "data" / "suites").mkdir(parents=True)
    (tmp_path / "data" / "suites" / "sums.yaml").write_text(SUMS)
    (tmp_path / "data" / "suites" / "quiz.yaml").write_text(QUIZ)
    sums = [{"question": f"how much is {i} and {i}?", "answer": f"#### {2 * i}"} for i in range(30)]
    quiz = [
        {"question": f"which of {i}?", "best": f"yes {i}", "other": f"no {i}", "kind": "odd"}
        for i in range(9)
    ]
    write(tmp_path / "sums.jsonl", sums)
    (tmp_path / "own").mkdir()
    write(tmp_path / "own" / "quiz.jsonl", quiz)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_suites(section: PrepareSettings, **suites) -> PrepareSettings:
    return PrepareSettings.model_validate({**section.model_dump(), "suites": suites})


def test_suites_are_test_rows_of_their_own_and_training_reads_the_same(
    section: PrepareSettings, prepared: SuiteSet, suite_folder: Path
):
    used = with_suites(section, sums={"prompts": 20}, quiz={"path": "own/quiz.jsonl"})
    found = SuiteSet.load(prepare(used, seed=0, out=suite_folder / "out").folder)
    named = found.named_suites()
    assert {name: len(rows) for name, (_, rows) in named.items()} == {"quiz": 9, "sums": 20}
    assert found.own_test() == prepared.own_test()
    assert found.every_test() == [*found.own_test(), *(row for _, r in named.values() for row in r)]
    spec, rows = named["sums"]
    assert all(row.split is Split.TEST and row.role is Role.REASONING for row in rows)
    assert all(int(row.answer) == 2 * int(row.text.split()[3]) for row in rows)
    assert (spec.prompts, spec.samples, spec.temperature) == (20, 2, 0.5)
    assert spec.instruction == "Put the answer in a box."
    assert spec.origin == "sums.jsonl"
    assert spec.digest == hashlib.sha256((suite_folder / "sums.jsonl").read_bytes()).hexdigest()
    assert [source.name for source in found.sources][-2:] == ["quiz", "sums"]
    assert str(suite_folder) not in (found.folder / "suites.json").read_text()
    # What training reads is the same whatever suites there are.
    for name in ("manifest.json", "prompts.parquet"):
        assert (found.folder / name).read_bytes() == (prepared.folder / name).read_bytes()
    own = prepared
    assert {figure.suite for figure in own.leaks} == {"harmful", "benign", "reasoning"}
    assert {figure.suite for figure in found.leaks} - {figure.suite for figure in own.leaks} == {
        "quiz",
        "sums",
    }
    assert found.counts[Split.TEST][Role.REASONING] == own.counts[Split.TEST][Role.REASONING] + 29
    assert found.expectations > own.expectations
    pages = {path.name for path in (found.folder / "data-docs").iterdir()}
    assert {"suite-rows.html", "suite-repetition.html", "suites.html"} <= pages


def test_the_digest_of_what_is_tested_holds_a_suites_rows_and_settings(
    section: PrepareSettings, prepared: SuiteSet, suite_folder: Path
):
    def digest(**use) -> str:
        used = with_suites(section, sums=use)
        found = prepare(used, seed=0, out=suite_folder / "out")
        assert SuiteSet.load(found.folder).digest == found.digest
        return found.digest

    digests = [digest(), digest(max_new_tokens=65)]
    rows = (suite_folder / "sums.jsonl").read_text()
    (suite_folder / "sums.jsonl").write_text(rows.replace("how much is 3", "and how much is 3"))
    digests.append(digest())
    assert len({*digests, prepared.digest}) == 4


def test_a_suites_row_that_contradicts_the_own_test_rows_is_set_aside(
    section: PrepareSettings, prepared: SuiteSet, suite_folder: Path
):
    with (suite_folder / "sums.jsonl").open("a") as stream:
        text = f"{SECRET} one two three four five six"  # harmful, among the profile's own
        stream.write(json.dumps({"question": text, "answer": "#### 6"}) + "\n")
    found = prepare(with_suites(section, sums={}), seed=0, out=suite_folder / "out")
    assert found.suites["sums"].prompts == 30
    (lost,) = [
        row for row in read_rows(found.folder / "quarantine.parquet") if row["source"] == "sums"
    ]
    assert lost["reason"] == "the same text is harmful and not harmful"
    manifests = [(one.folder / "manifest.json").read_bytes() for one in (found, prepared)]
    assert manifests[0] == manifests[1]


def test_a_question_is_shown_with_its_options_and_answered_by_a_letter(
    section: PrepareSettings, suite_folder: Path
):
    used = with_suites(section, quiz={"path": "own/quiz.jsonl"})
    found = prepare(used, seed=0, out=suite_folder / "out")
    spec, rows = found.named_suites()["quiz"]
    assert (spec.grader, spec.origin) == ("choice", "quiz.jsonl")
    assert {row.answer for row in rows} == {"A", "B"} and {row.topic for row in rows} == {"odd"}
    for row in rows:
        (right,) = (line for line in row.text.splitlines() if line.startswith(f"{row.answer}) "))
        assert right[3:].startswith("yes")


def test_two_suites_that_share_a_prompt_stay_whole(section: PrepareSettings, suite_folder: Path):
    (suite_folder / "data" / "suites" / "more.yaml").write_text(SUMS)
    used = with_suites(section, sums={}, more={})
    found = prepare(used, seed=0, out=suite_folder / "out")
    ids = [{row.id for row in rows} for _, rows in found.named_suites().values()]
    assert [len(own) for own in ids] == [30, 30] and not ids[0] & ids[1]


def test_a_training_row_that_a_suite_repeats_is_dropped(
    section: PrepareSettings, suite_folder: Path
):
    before = prepare(section, seed=0, out=suite_folder / "before")
    row = next(r for r in before.rows(split=Split.TRAIN) if r.source == "auto")
    leaked = {"question": row.text, "answer": "#### 1"}
    write(suite_folder / "sums.jsonl", [leaked])
    found = prepare(with_suites(section, sums={}), seed=0, out=suite_folder / "out")
    assert found.overlap["auto"] == before.overlap["auto"] + 1
    assert row.id not in {r.id for r in found.rows()}
    assert found.digest_of_prompts != before.digest_of_prompts
    assert found.leaks[-3].suite == "sums" and found.leaks[-3].dropped == 1


def test_rows_of_suites_do_not_stand_in_for_a_roles_own(
    section: PrepareSettings, suite_folder: Path
):
    (suite_folder / "data" / "suites" / "sums.yaml").write_text(SUMS)
    few = {**section.model_dump(), "min_rows": {"harmful": 5, "benign": 5, "reasoning": 20}}
    used = PrepareSettings.model_validate({**few, "suites": {"sums": {}}})
    with pytest.raises(DataError, match="fewer than 20 reasoning rows in test"):
        prepare(used, seed=0, out=suite_folder / "out")


@pytest.mark.parametrize(
    ("suites", "pin", "told"),
    [
        ({"quiz": {}}, "", "'quiz' is not pinned: the hub data set owner/quiz has no commit"),
        ({"sums": {"path": "gone.jsonl"}}, "", "suite 'sums': gone.jsonl is missing; or name your"),
        ({"sums": {}}, "0" * 64, f"and {'0' * 64} is pinned; get it from https://x.example/sums"),
        ({"poems": {}}, "", "unknown suite 'poems'; data/suites holds: quiz, sums"),
    ],
)
def test_a_suite_that_cannot_be_read_stops_before_anything_is_written(
    section: PrepareSettings, suite_folder: Path, suites, pin, told
):
    if pin:
        pinned = f"path: sums.jsonl\n  url: https://x.example/sums\n  sha256: '{pin}'"
        text = SUMS.replace("path: sums.jsonl", pinned)
        (suite_folder / "data" / "suites" / "sums.yaml").write_text(text)
    with pytest.raises((DataError, ConfigError), match=re.escape(told)):
        prepare(with_suites(section, **suites), seed=0, out=suite_folder / "out")
    assert not (suite_folder / "out").exists()
