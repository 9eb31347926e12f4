"""The walks of CONTRIBUTING.md name files and forms that there are, and not too many."""

from __future__ import annotations

import re

import pytest

from tests.root import ROOT

CODE = {path: path.read_text(encoding="utf-8") for path in (ROOT / "components").rglob("*.py")}


def walk_of(title: str) -> list[str]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\d+\. (.*(?:\n +.*)*)", section, re.MULTILINE)


@pytest.mark.parametrize(("title", "most"), [("One prompt's way", 20), ("One setting's way", 5)])
def test_a_walk_names_files_that_there_are(title, most):
    steps = walk_of(title)
    files = [re.match(r"`([^`]+)`", step).group(1) for step in steps]
    assert 0 < len(files) == len(set(files)) <= most
    for file in files:
        assert (ROOT / file).is_file(), file


def test_a_prompt_takes_nine_forms_and_each_where_the_walk_says():
    forms = [
        (re.match(r"`([^`]+)`", step).group(1), form)
        for step in walk_of("One prompt's way")
        for form in re.findall(r"\*\*`(\w+)`\*\*", step)
    ]
    assert 0 < len(forms) == len({form for _, form in forms}) <= 9
    for file, form in forms:
        assert re.search(rf"\b{form}\b", CODE[ROOT / file]), f"{file} knows no {form}"
        assert any(f"class {form}" in code for code in CODE.values()), form
