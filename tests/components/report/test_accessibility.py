"""The pages for everybody: names, contrast, small screens, and what the script adds."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from pathlib import Path

import pytest

from components.report.page import FOLDER
from tests.browser import needs_browser, needs_printing, printed, run_in_page
from tests.components.report.test_stage import Page

PAPERS = ("paper", "wash")
TEXTS = ("ink", "muted", "accent", "warm", "good", "bad")
OPEN = "document.querySelectorAll('details').forEach(one => one.open = true)"


@pytest.fixture(scope="module")
def pages(good, hostile, tmp_path_factory) -> list[str]:
    """A page of ordinary texts and one of hostile ones, completions shown."""
    return [case.write(tmp_path_factory.mktemp("out"), redact=False)[1] for case in (good, hostile)]


def test_every_label_names_something_that_is_there_once(pages):
    for text in pages:
        attributes = Page(text).attributes
        ids = Counter(value for name, value in attributes if name == "id")
        named = {
            one
            for name, value in attributes
            if name in ("aria-labelledby", "aria-describedby", "for")
            for one in (value or "").split()
        }
        named |= {(v or "")[1:] for n, v in attributes if n == "href" and (v or "").startswith("#")}
        assert named <= ids.keys() and set(ids.values()) == {1}
        assert all(value for name, value in attributes if name in ("alt", "aria-label"))


def test_pictures_say_what_is_seen(pages):
    seen = {value for name, value in Page(pages[0]).attributes if name in ("alt", "aria-label")}
    auc = next(text for text in seen if text.startswith("Lines over the layers: AUC"))
    # Of tests.components.report.cases: 0.63 to 1 in the base, 0.61 to 1 after post-training.
    assert "base, 0.63 at the first and 1.00 at the last" in auc and "post-trained, 0.61" in auc
    assert "4, 8, 12, 16, 20" in auc
    curves = next(text for text in seen if text.startswith("Losses"))
    assert "alignment from 9.3 to" in curves  # 9 / 1 + 0.3


def test_evidence_is_folded_and_what_did_not_pass_is_open(pages):
    accepted, rejected = pages
    assert accepted.count("<details>") > 10 and "<details open" not in accepted
    for page, failing in ((accepted, 0), (rejected, 2)):
        shown = page.partition('id="rules"')[2].partition("<details>")[0]
        assert shown.count("✗ fail") == failing and shown.count("✓ pass") == 0


def luminance(colour: str) -> float:
    """Return the relative luminance of "#rrggbb" (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_every_text_can_be_told_from_its_paper_in_both_modes():
    roots = re.findall(r":root \{(.*?)\}", (FOLDER / "report.css").read_text(), re.DOTALL)
    assert len(roots) == 2
    for root in roots:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", root))
        poor = {
            (text, paper): round(contrast(colours[text], colours[paper]), 2)
            for text in TEXTS
            for paper in PAPERS
            if contrast(colours[text], colours[paper]) < 4.5
        }
        assert poor == {}


def axe() -> str:
    """Return the source of axe-core, without which the test is skipped."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or not found.submodule_search_locations:
        pytest.skip("axe-core-python is not installed")
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("opened", [pytest.param(False, marks=pytest.mark.slow), True])
def test_axe_finds_nothing(pages, tmp_path, dark, opened):
    source = axe()
    for number, page in enumerate(pages):
        folder = tmp_path / str(number)
        folder.mkdir()
        with_axe = page.replace("</head>", f"<script>{source}</script></head>", 1)
        script = f"({OPEN if opened else 0}, axe.run())"
        found = run_in_page(with_axe, script, folder, dark=dark)
        told = {
            one["id"]: [node["html"][:200] for node in one["nodes"]] for one in found["violations"]
        }
        assert told == {} and len(found["passes"]) > 10


@needs_browser
def test_tables_are_sorted_and_filtered(pages, tmp_path):
    script = f"""(() => {{
        {OPEN};
        const region = document.querySelector('[aria-label="Paired differences, table"]');
        const table = region.querySelector('table'), filter = region.previousElementSibling;
        const shown = () => [...table.querySelectorAll('tbody tr:not(.group)')]
            .filter(row => row.offsetParent).map(row => row.cells[0].textContent.trim());
        const figures = () => [...table.tBodies[0].querySelectorAll('tr:not(.group)')]
            .map(row => row.cells[1].firstChild.textContent.trim());
        const before = shown(), button = table.querySelectorAll('th button')[1];
        button.click(); const up = figures(), said = button.closest('th').ariaSort;
        button.click(); const down = figures(), input = filter.querySelector('input');
        input.value = 'Benign'; input.dispatchEvent(new Event('input'));
        const told = filter.querySelector('output').value;
        return {{before, up, down, said, told, after: shown()}};
    }})()"""
    found = run_in_page(pages[0], script, tmp_path)
    # Restored against post-trained, of tests.components.report.cases: 292 of 300 more, and so on.
    assert found["up"] == ["−0.3", "+0.8", "+1.7", "+97.3"] == found["down"][::-1]
    assert found["said"] == "ascending"
    assert 0 < len(found["after"]) < len(found["before"])
    assert all("benign" in name for name in found["after"])
    assert found["told"] == f"{len(found['after'])} of {len(found['before'])}"


@needs_browser
def test_nothing_is_wider_than_a_phone(pages, tmp_path):
    """The page is put into a frame as wide as a phone, since a window cannot be."""
    for number, page in enumerate(pages):
        folder = tmp_path / str(number)
        folder.mkdir()
        script = """new Promise(done => {
            const frame = document.createElement('iframe');
            frame.style.cssText = 'width: 390px; height: 800px; border: 0';
            const page = document.documentElement.outerHTML;
            frame.srcdoc = page.replace(/<script.*?<[/]script>/gs, "");
            frame.onload = () => {
                const inside = frame.contentDocument.documentElement, folded = inside.scrollHeight;
                frame.contentDocument.querySelectorAll('details').forEach(one => one.open = true);
                done([inside.scrollWidth, folded, inside.scrollHeight]);
            };
            document.body.append(frame);
        })"""
        width, folded, opened = run_in_page(page, script, folder)
        assert width <= 390 and folded < opened / 2


@needs_printing
def test_a_table_that_goes_on_overleaf_has_its_heads_there(pages, tmp_path):
    rows = re.compile(r'(<tr><th scope="row"><code>harmful\.<wbr>.*?</tr>)', re.DOTALL)
    page = rows.sub(lambda row: row[0] * 40, pages[0], count=1)
    sheets = [sheet for sheet in printed(page, tmp_path) if sheet.count("harmful.refused") > 10]
    assert len(sheets) > 1
    for sheet in sheets:
        heads = [line for line in sheet.splitlines() if "Post-trained" in line]
        assert any("Metric" in line and "Restored" in line for line in heads), sheet[:600]


@needs_printing
def test_the_last_column_of_a_wide_table_is_on_paper(pages, tmp_path):
    """What is cut off at a sheet's edge has nothing that could be scrolled to."""
    heads = "".join(f'<th scope="col">refuses harmful, attack {i}</th>' for i in range(14))
    line = '<span class="range">'
    cells = "".join(
        f"<td>100.0 %{line}[96.1, 100.0]</span>{line}n=300 (155 independent) c{i}c</span></td>"
        for i in range(14)
    )
    row = f'<tr><th scope="row">safereact-shuffled</th>{cells}</tr>'
    wide = f'<table class="data study"><thead><tr><th>arm</th>{heads}</tr></thead>{row}</table>'
    page = pages[0].replace("</main>", f'<div class="scroll">{wide}</div></main>')
    assert page != pages[0]
    sheets = [re.findall(r"\bc\d+c\b", sheet) for sheet in printed(page, tmp_path)]
    assert {f"c{i}c" for i in range(14)} in map(set, sheets)
