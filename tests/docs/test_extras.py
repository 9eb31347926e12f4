"""Extras that messages and pages tell people to install are those that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("components", "flows", "docs", "tests")


def test_extras_that_are_named_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")]
    texts = [
        path.read_text()
        for path in (*files, ROOT / "README.md", ROOT / "CONTRIBUTING.md")
        if path.suffix in (".py", ".md")
    ]
    named = {
        extra
        for text in texts
        for names in re.findall(r"(?:safereact-ops|-e \.|-e '\.)\[([\w,]+)\]", text)
        for extra in names.split(",")
    }
    assert {"ray", "inspect"} <= named <= project["optional-dependencies"].keys()
