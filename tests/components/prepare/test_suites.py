"""Suites as data: those that are shipped, and what is said of a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.core.errors import ConfigError
from components.core.paths import EMBEDDED
from components.core.vocabulary import Form, Role, Split
from components.prepare.settings import PrepareSettings, SuiteUse
from components.prepare.suites import Suite, load_suite, suites_in, used_suites
from tests.root import ROOT

FOLDER = ROOT / "data" / "suites"
SHIPPED = suites_in(FOLDER)
EMBEDDED_SUITES = {
    *("everyday-benign", "everyday-arithmetic"),
    *("tiny-harmful", "tiny-borderline", "tiny-benign", "tiny-reasoning"),
}

MINIMAL = """
description: Sums.
cite: nobody
role: reasoning
licence: MIT
source: {path: data/raw/sums.jsonl, columns: {text: question}}
max_new_tokens: 64
judge: rules
grader: mathematics
"""
HUB = MINIMAL.replace("path: data/raw/sums.jsonl", "hub: owner/sums")
HARMFUL = MINIMAL.replace("role: reasoning", "role: harmful").replace("grader: mathematics\n", "")


def write(folder: Path, text: str, name: str = "sums") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_agreed_suites_are_there():
    assert {
        *("jailbreakbench", "harmbench", "strongreject", "advbench"),
        *("xstest", "or-bench-hard"),
        *("gsm8k", "math-500", "aime-2024", "aime-2025", "gpqa-diamond", "medqa"),
        *EMBEDDED_SUITES,
    } <= set(SHIPPED)


def test_every_embedded_suite_reads_a_file_that_dvc_watches():
    found = {name: load_suite(FOLDER / f"{name}.yaml").source for name in SHIPPED}
    paths = {name: source.path or "" for name, source in found.items()}
    assert {n for n, path in paths.items() if path.startswith(f"{EMBEDDED}/")} == EMBEDDED_SUITES
    assert all((ROOT / paths[name]).is_file() for name in EMBEDDED_SUITES)


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - EMBEDDED_SUITES))
def test_a_shipped_suite_is_valid_pinned_and_says_where_its_pin_is_from(name: str):
    path = FOLDER / f"{name}.yaml"
    suite = load_suite(path)
    source = suite.rows()
    assert (suite.name, source.name, source.split) == (name, name, Split.TEST)
    assert suite.source.revision or (suite.source.sha256 and suite.source.url)
    lines = path.read_text(encoding="utf-8").splitlines()
    (pin,) = (i for i, line in enumerate(lines) if line.strip().startswith(("revision", "sha256")))
    assert "# " in lines[pin - 1] and "public code" in lines[pin - 1]


def test_a_suite_has_the_files_name_and_the_defaults(tmp_path: Path):
    suite = load_suite(write(tmp_path, MINIMAL))
    assert (suite.name, suite.role, suite.samples, suite.temperature) == (
        "sums",
        Role.REASONING,
        1,
        0,
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (MINIMAL + "name: other\n", "'name' is not allowed"),
        (MINIMAL + "sample: 3\n", "sample: unknown key; see docs/suites.md"),
        (MINIMAL + "samples: 0\n", "samples"),
        (MINIMAL + "samples: 4\n", "4 samples at temperature 0 are 4 times the same"),
        (MINIMAL + "top_p: 0.9\n", "top_p changes nothing at temperature 0"),
        (MINIMAL.replace("role: reasoning", "role: harmful"), "no other suite has one"),
        (MINIMAL.replace("grader: mathematics", ""), "needs a `grader`"),
        (MINIMAL.replace("grader: mathematics", "grader: choice"), "go together"),
        (MINIMAL + "choice: {options: [a, b], answer: a}\n", "go together"),
        (MINIMAL.replace("path:", "hub: o/n, path:"), "exactly one of `path` and `hub`"),
        (MINIMAL.replace("path:", "revision: '" + "a" * 40 + "', path:"), "this is a file"),
        (HUB.replace("hub:", "url: 'https://x', hub:"), "of a file"),
        (MINIMAL.replace("path:", "url: 'http://x', path:"), "source.url"),
        (MINIMAL.replace("path:", "url: 'https://x; rm y', path:"), "source.url"),
        (HUB.replace("hub:", "revision: main, hub:"), "source.revision"),
        (MINIMAL.replace("columns:", "patterns: {answer: '('}, columns:"), "does not compile"),
        (MINIMAL.replace("columns:", "drop: '(', columns:"), "does not compile"),
        (MINIMAL + "attacks: [role-play]\n", "(role-play) are put to harmful prompts, and these"),
        (
            HARMFUL + "attacks: [forced_thought]\n",
            "forced_thought is no attack; ",
        ),
        (HARMFUL + "attacks: [shouted]\n", "(received ['shouted'])"),
        (HARMFUL + "attacks: [prefilled, prefilled]\n", "one attack is named twice"),
        ("- a\n", "mapping"),
    ],
)
def test_a_wrong_suite_is_refused_with_the_key_and_the_value(tmp_path: Path, text: str, told: str):
    with pytest.raises(ConfigError, match="sums") as caught:
        load_suite(write(tmp_path, text))
    assert told in str(caught.value)


def test_a_role_is_no_name_of_a_suite(tmp_path: Path):
    with pytest.raises(ConfigError, match="'harmful' is a role"):
        load_suite(write(tmp_path, MINIMAL, "harmful"))


def test_a_hub_data_set_without_a_commit_is_refused_when_it_is_used(tmp_path: Path):
    suite = load_suite(write(tmp_path, HUB))
    with pytest.raises(ConfigError, match="'sums' is not pinned: the hub data set owner/sums") as e:
        suite.rows()
    assert "hf datasets info owner/sums" in str(e.value)
    assert "prepare.suites.sums.path" in str(e.value)


def test_a_profile_sets_some_things_otherwise(tmp_path: Path):
    write(tmp_path, HUB)
    use = SuiteUse(path="own.csv", prompts=5, samples=3, temperature=0.7, judge="guard")
    (suite,) = used_suites({"sums": use}, tmp_path).values()
    assert (suite.prompts, suite.samples, suite.temperature, suite.judge) == (5, 3, 0.7, "guard")
    assert (suite.source.hub, suite.source.path) == (None, "own.csv")
    assert suite.source.columns == {"text": "question"}
    assert suite.rows().limit == 5
    assert suite.max_new_tokens == 64


def test_a_local_file_is_not_held_against_the_pin_of_another(tmp_path: Path):
    text = MINIMAL.replace("path:", f"url: 'https://x', sha256: '{'0' * 64}', path:")
    write(tmp_path, text)
    (suite,) = used_suites({"sums": SuiteUse(path="own.csv")}, tmp_path).values()
    assert suite.source.sha256 is None


def test_a_local_file_may_have_a_pin_of_its_own(tmp_path: Path):
    write(tmp_path, HUB)
    pinned = SuiteUse(path="own.csv", sha256="1" * 64)
    (suite,) = used_suites({"sums": pinned}, tmp_path).values()
    assert (suite.source.path, suite.source.sha256) == ("own.csv", "1" * 64)
    with pytest.raises(ValueError, match="`sha256` is of the file that `path` names"):
        SuiteUse(sha256="1" * 64)


def test_attacks_are_an_option_of_a_harmful_suite(tmp_path: Path):
    write(tmp_path, HARMFUL + "attacks: [prefilled, role-play]\n")
    (suite,) = used_suites({"sums": SuiteUse(prompts=3)}, tmp_path).values()
    assert suite.attacks == (Form.PREFILLED, Form.ROLE_PLAY)
    (suite,) = used_suites({"sums": SuiteUse(attacks=(Form.MANY_SHOT,))}, tmp_path).values()
    assert suite.attacks == (Form.MANY_SHOT,)
    write(tmp_path, MINIMAL)
    with pytest.raises(ConfigError, match=r"prepare.suites.sums does not fit .*\n.*harmful"):
        used_suites({"sums": SuiteUse(attacks=(Form.MANY_SHOT,))}, tmp_path)


def test_what_is_set_otherwise_must_fit(tmp_path: Path):
    write(tmp_path, MINIMAL)
    with pytest.raises(ConfigError, match=r"prepare.suites.sums does not fit .*\n.*times the same"):
        used_suites({"sums": SuiteUse(samples=8)}, tmp_path)


def test_an_unknown_suite_names_those_there_are(tmp_path: Path):
    write(tmp_path, MINIMAL)
    with pytest.raises(ConfigError, match=r"unknown suite 'summs'; .* holds: sums"):
        used_suites({"summs": SuiteUse()}, tmp_path)


@pytest.mark.parametrize("name", ["mine", "reasoning"])
def test_a_suite_is_neither_a_source_nor_a_role(name: str):
    source = {"name": "mine", "path": "a.jsonl", "licence": "MIT"}
    with pytest.raises(ValueError, match=f"'{name}' is a suite and also"):
        PrepareSettings.model_validate({"sources": [source], "suites": {name: {}}})


def test_multiple_choice_takes_the_answer_from_its_options(tmp_path: Path):
    text = MINIMAL.replace("mathematics", "choice") + "choice: {options: [a, b], answer: a}\n"
    assert isinstance(load_suite(write(tmp_path, text)), Suite)
    text = text.replace("{text: question}", "{text: question, answer: a}")
    with pytest.raises(ConfigError, match="remove it from `columns`"):
        load_suite(write(tmp_path, text))


def test_the_page_names_every_suite_and_its_example_is_one(tmp_path: Path):
    page = (FOLDER.parents[1] / "docs" / "suites.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for name in SHIPPED:
        suite = load_suite(FOLDER / f"{name}.yaml")
        (row,) = (line for line in rows if f"`{name}`" in line)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert (cells[1], cells[3], cells[4]) == (suite.role, suite.licence, suite.judge)
        assert suite.gated == ("gated" in row)
    example = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[1]
    assert load_suite(write(tmp_path, example)).samples == 4
