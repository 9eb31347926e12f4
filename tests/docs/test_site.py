"""The documentation builds as a site, strictly, and the site loads nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from tests.root import ROOT

# What makes a browser fetch something by itself, as links do not.
_LOADED = re.compile(
    r"<(?:script|img|iframe|source)[^>]* src=\"?([^\" >]+)|<link[^>]* href=\"?([^\" >]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))  # strict: a warning ends it
    return folder


def test_every_page_is_there(site):
    pages = {page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")}
    assert {page.with_suffix(".html") for page in pages} <= {
        page.relative_to(site) for page in site.rglob("*.html")
    }


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        for found in _LOADED.findall(page.read_text(encoding="utf-8")):
            assert "//" not in "".join(found).replace("data:", "", 1), (page.name, found)


def test_the_reference_has_the_docstrings(site):
    assert "only when it succeeded" in (site / "python.html").read_text(encoding="utf-8")
