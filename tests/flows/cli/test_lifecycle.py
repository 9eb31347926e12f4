"""The life of a registered version on the command line: one message each, and exit codes."""

from __future__ import annotations

import json

import pytest

from components.core.errors import RegistryError
from components.core.paths import Workspace
from components.registry.changes import PREFIX
from components.registry.mlflow_registry import Registry
from components.registry.promotion import reject
from components.registry.registration import register
from tests.flows.conftest import invoke
from tests.releases import NAMES, write_all

NAME = NAMES["name"]
WHY = ("--by", "ann", "--why", "it does harm")


@pytest.fixture
def two(project: Workspace) -> Workspace:
    """Two versions, the second of them candidate."""
    register(write_all(project), **NAMES)
    register(write_all(project, weight=2), **NAMES)
    return project


def one_line(words: str) -> str:
    return " ".join(words.split())


def test_from_candidate_to_withdrawn(two: Workspace, tmp_path):
    assert "version 2 is champion" in invoke("promote", NAME, *WHY).stdout
    walked = invoke("audit", NAME)
    assert walked.returncode == 0, walked.stderr
    assert [line.split(":")[0] for line in walked.stdout.splitlines() if ": " in line][:2] == [
        *("champion", "decision")
    ]
    nameless = invoke("audit", f"{NAME}@")  # a variable that was not set
    assert nameless.returncode == 2 and "NAME@ALIAS" in nameless.stderr
    done = invoke("withdraw", f"{NAME}@champion", *WHY)
    assert done.returncode == 0, done.stderr
    assert (
        "version 2 is withdrawn; champion: none (ann (stated, not verified): it does harm)"
        in one_line(done.stdout)
    )
    pulled = invoke("pull", f"{NAME}@champion", str(tmp_path / "out"))
    assert pulled.returncode == 1 and "no champion: version 2 was withdrawn" in pulled.stderr
    broken = invoke("audit", NAME, "--json")
    (link,) = json.loads(broken.stdout)
    assert broken.returncode == 1 and (link["name"], link["holds"]) == ("champion", False)
    assert f"champion: {link['found']}" in one_line(broken.stderr)
    refused = invoke("promote", NAME, "--version", "2", *WHY)
    assert refused.returncode == 1 and "--despite 2" in refused.stderr
    again = invoke("promote", NAME, "--version", "2", "--despite", "2", *WHY)
    assert again.returncode == 0, again.stderr
    listed = invoke("history", NAME)
    assert listed.returncode == 0, listed.stderr
    lines = one_line(listed.stdout)
    for words in (
        "withdrawn version 2, ann",
        "promoted version 2 despite change 2",
        "whole: 3 changes",
    ):
        assert words in lines


def test_a_rejected_candidate_is_not_asked_for_approval(two: Workspace, monkeypatch):
    done = invoke("reject", f"{NAME}@candidate", *WHY)
    assert done.returncode == 0, done.stderr
    assert (
        "version 2 is no candidate: rejected (ann (stated, not verified): it does harm)"
        in one_line(done.stdout)
    )
    assert invoke("reject", NAME, *WHY).returncode == 2
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.promote import promote

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        for version in (None, "2"):
            with pytest.raises(RegistryError, match=r"no alias 'candidate'|rejected by ann"):
                promote.fn(NAME, version)


def test_who_approves_what_was_rejected_meanwhile_promotes_nothing(two: Workspace, monkeypatch):
    """Prefect's pause is where a person takes hours to answer."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    import flows.promote

    registry = Registry(two.root)

    def answered_late(**_):
        reject(registry, NAME, "2", by="eve", why="it does harm")
        return flows.promote.Approval(approve=True, by="ann", why="looks good")

    monkeypatch.setattr(flows.promote, "pause_flow_run", answered_late)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(RegistryError, match="rejected by eve"),
    ):
        flows.promote.promote.fn(NAME)
    assert "champion" not in registry.model(NAME).aliases


def test_a_broken_history_is_listed_and_1(two: Workspace):
    for version in ("1", "2"):
        assert invoke("promote", NAME, "--version", version, *WHY).returncode == 0
    registry, key = Registry(two.root), f"{PREFIX}000001"
    registry.set_tag(NAME, key, registry.model(NAME).tags[key].replace('"ann"', '"eve"'))
    listed = invoke("history", NAME)
    assert listed.returncode == 1 and "promoted version 1, eve" in one_line(listed.stdout)
    assert f"{PREFIX}000002 was not written after" in listed.stderr
    told = invoke("history", NAME, "--json")
    document = json.loads(told.stdout)
    assert told.returncode == 1 and document["problem"] in one_line(told.stderr)
    assert [change["version"] for change in document["changes"]] == ["1", "2"]


def test_a_name_with_an_alias_is_told_how_it_stands_here(two: Workspace):
    done = invoke("promote", f"{NAME}@candidate", *WHY)
    assert done.returncode == 1 and f"stands alone, '{NAME}'" in one_line(done.stderr)
