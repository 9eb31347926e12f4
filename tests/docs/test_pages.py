"""The pages say what the code says."""

from __future__ import annotations

import re
import subprocess

import pytest
from typer.main import get_command

from tests.docs import commands_page, profile_page
from tests.root import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize(
    ("module", "written"),
    [(profile_page, profile_page.profile_page), (commands_page, commands_page.commands_page)],
)
def test_a_written_page_is_that_of_the_code(module, written):
    assert module.PAGE.read_text(encoding="utf-8") == written(), (
        f"{module.PAGE.name} is out of date; write it with `python -m {module.__name__}`"
    )


def test_every_key_of_a_profile_is_described():
    rows = [
        line.split(" | ")
        for line in profile_page.profile_page().splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) > 50
    assert [row[0] for row in rows if row[-1].strip(" |") == ""] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if target and "://" not in target:
            assert (page.parent / target).exists(), target


def test_commands_that_pages_name_exist():
    from flows.cli.commands import app

    known = set(get_command(app).commands)
    for page in PAGES:
        named = set(re.findall(r"`(?:\.venv/bin/)?safereact ([a-z]+)", page.read_text("utf-8")))
        assert named <= known, (page.name, named - known)


def test_git_leaves_out_what_the_quick_start_writes():
    # Its step 4 adds everything to git.
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    folders = re.findall(r"safereact pull \S+ (\w+)", page)
    folders += ["dvc_plots"] if "dvc plots" in page else []
    assert len(folders) == 2
    for folder in folders:
        command = ["git", "check-ignore", "-q", f"{folder}/adapter_config.json"]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0, folder


def test_the_example_of_a_policy_is_a_policy(tmp_path):
    from components.gate.policy_files import load_policy

    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    example = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[1]
    (tmp_path / "example.yaml").write_text(example, encoding="utf-8")
    floor = ROOT / "mlflow" / "policies" / "default.yaml"
    (tmp_path / "default.yaml").write_text(floor.read_text("utf-8"), encoding="utf-8")
    rules = load_policy(tmp_path / "example.yaml").rules
    assert len(rules) == len(load_policy(floor).rules) + 1
    assert [rule.threshold for rule in rules if rule.name == "reasons as well as before"] == [-0.03]
