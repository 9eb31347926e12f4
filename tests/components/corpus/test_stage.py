"""The whole stage: files in, one validated folder out, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.config import Prepare
from components.corpus.stage import prepare
from components.errors import DataError
from components.records import Role, Split
from components.results import PromptSet
from components.storage import digest_folder, read_rows

ROOT = Path(__file__).parents[3]
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
def section(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    folder = tmp_path_factory.mktemp("sources")
    auto = [*sample("harmful", 100, 1), *sample("benign", 100, 2)]
    # A leak, a duplicate and an empty text.
    auto += [{**auto[0], "text": f"{SECRET} one two three four five six"}, auto[0], {"text": ""}]
    held = [{"text": f"{SECRET} one two three four five six", "role": "harmful", "topic": "x"}]
    problems = [{"q": f"what is {i} plus {i}?", "a": f"add. #### {2 * i}"} for i in range(20)]
    path = folder / "problems.jsonl"
    return Prepare.model_validate(
        {
            "sources": [
                {"name": "auto", "path": str(write(folder / "a.jsonl", auto)), "licence": "MIT"},
                {
                    "name": "<b>held</b>",
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
def prepared(section: Prepare, tmp_path_factory: pytest.TempPathFactory) -> PromptSet:
    return prepare(section, seed=0, out=tmp_path_factory.mktemp("prepared"))


def test_every_row_read_is_kept_quarantined_or_dropped_as_a_leak(prepared: PromptSet):
    auto, held, problems = prepared.sources
    assert (auto.read, auto.kept, auto.quarantined) == (203, 200, 2)
    assert (held.read, held.kept) == (1, 1)
    assert (problems.read, problems.kept) == (15, 15)
    assert prepared.overlap == {"auto": 1}
    assert sum(sum(roles.values()) for roles in prepared.counts.values()) == 216
    reasons = {row["reason"] for row in read_rows(prepared.folder / "quarantine.parquet")}
    assert "duplicate id" in reasons and len(reasons) == 2


def test_the_table_is_sorted_split_by_topic_and_loads_as_prompts(prepared: PromptSet):
    rows = PromptSet.load(prepared.folder).rows()
    assert rows == sorted(rows, key=lambda r: (r.split, r.role, r.id))
    places: dict[str, set[Split]] = {}
    for row in rows:
        if row.source == "auto":
            places.setdefault(row.topic, set()).add(row.split)
    assert all(len(splits) == 1 for splits in places.values())
    one = prepared.rows(role=Role.REASONING)[0]
    assert int(one.answer) == 2 * int(one.text.split()[2]) and one.thought == "add."
    assert prepared.counts[Split.TEST][Role.HARMFUL] == len(
        prepared.rows(split=Split.TEST, role=Role.HARMFUL)
    )


def test_the_digest_is_that_of_canonical_json_lines(prepared: PromptSet):
    lines = [
        json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n"
        for row in read_rows(prepared.folder / "prompts.parquet")
    ]
    assert prepared.digest_of_prompts == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_data_docs_stand_alone_and_show_no_prompt(prepared: PromptSet):
    pages = {path.name: path.read_text() for path in (prepared.folder / "data-docs").iterdir()}
    assert set(pages) == {"index.html", "rows.html", "repetition.html", "prompts.html"}
    for page in pages.values():
        assert SECRET not in page
        assert not any(word in page for word in ("http:", "https:", "<script", "<link", "src="))
        assert str(Path.home()) not in page
    assert "&lt;b&gt;held" in pages["index.html"] and "<b>" not in pages["index.html"]
    assert "harmful in validation: at least 5 rows" in pages["prompts.html"]


def test_another_process_with_other_hashes_writes_the_same_bytes(
    section: Prepare, prepared: PromptSet, tmp_path: Path
):
    code = (
        "import sys; from pathlib import Path; from components.config import Prepare;"
        "from components.corpus.stage import prepare;"
        "prepare(Prepare.model_validate_json(sys.argv[1]), seed=0, out=Path(sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, section.model_dump_json(), str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    assert digest_folder(tmp_path) == digest_folder(prepared.folder)


def test_another_seed_splits_otherwise(section: Prepare, prepared: PromptSet, tmp_path: Path):
    assert prepare(section, seed=1, out=tmp_path).digest_of_prompts != prepared.digest_of_prompts


def test_one_class_data_stops_before_anything_is_written(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", sample("harmful", 100, 1))
    only = Prepare.model_validate(
        {"sources": [{"name": "auto", "path": str(path), "licence": "MIT"}]}
    )
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(DataError, match=r"fewer than 20 benign rows in train \(0 found\); add"):
        prepare(only, seed=0, out=out)
    assert not list(out.iterdir())


def test_20k_rows_without_topics(tmp_path: Path):
    generator = np.random.default_rng(0)
    words = [f"{a}{b}{c}" for a in "bcdfgklmnprst" for b in "aeiou" for c in "lmnrst"]
    rows = [
        {"text": " ".join(generator.choice(words, 12)), "role": role}
        for role in ("harmful", "benign")
        for _ in range(10_000)
    ]
    path = write(tmp_path / "a.jsonl", rows)
    large = Prepare.model_validate(
        {"sources": [{"name": "large", "path": str(path), "licence": "MIT"}]}
    )
    out = tmp_path / "out"
    out.mkdir()
    counts = prepare(large, seed=0, out=out).counts
    assert counts[Split.TRAIN][Role.HARMFUL] == pytest.approx(5500, abs=30)


@pytest.mark.skipif(not EMBEDDED.is_dir(), reason="the embedded prompts are not there")
def test_the_embedded_prompts_pass_whole(tmp_path: Path):
    from components.config import load_profile

    profile = load_profile(ROOT / "profiles" / "tiny.yaml").prepare
    sources = [
        source.model_copy(update={"path": str(ROOT / str(source.path))})
        for source in profile.sources
    ]
    found = prepare(profile.model_copy(update={"sources": tuple(sources)}), seed=0, out=tmp_path)
    assert all(source.kept == source.read for source in found.sources)
    assert found.overlap == {}
