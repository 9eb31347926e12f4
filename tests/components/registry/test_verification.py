"""One check of a registered version, for everybody who reads one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from components.core.errors import EvidenceError, RegistryError
from components.core.paths import ROWS
from components.core.storage import digest_file, digest_folder
from components.core.vocabulary import View
from components.evaluate.rows import read_judged
from components.gate.result import Decision
from components.judges.labels import Label, Part, add_label
from components.registry.delivery import fetch_champion, pull
from components.registry.measured import Measured
from components.registry.mlflow_registry import CANDIDATE, CHAMPION, Registry
from components.registry.promotion import promote, rollback
from components.registry.registration import register
from components.registry.status import status
from tests.releases import NAMES, decide_in, write_all

NAME = "demo-safety"
SIGNED = {"by": "ann", "why": "better"}


@pytest.fixture
def champion(states, registered, registry):
    """Version 1, which was promoted."""
    return states.begin("champion", lambda: promote(registry, NAME, **SIGNED))


def stored(workspace, file: str) -> Path:
    """Return a file of the only version, where the embedded store keeps it."""
    (found,) = (workspace.root / "mlruns").rglob(file)
    return found


def made_by_hand(registry: Registry, workspace, tags: dict[str, str]) -> str:
    """Return the number of a version with random weights and the evidence of version 1."""
    files = workspace.root / "by hand"
    registry.fetch(registry.version(NAME, "1"), files)
    save_file(
        {"w": np.random.default_rng(0).random((2, 2))}, files / "adapter/adapter_model.safetensors"
    )
    measured = Measured("by hand", "", {}, {}, [], {}, [])
    home = registry.experiment("by hand")
    about = {"adapter_digest": digest_folder(files / "adapter")}
    logged = registry.log_model(home, files, measured, tags=about)
    return registry.create_version(NAME, logged, tags | about, "by hand")


def readers(registry: Registry, workspace, number: str) -> dict[str, Callable[[], object]]:
    folder = workspace.root / "brought"
    return {
        "pull": lambda: pull(registry, NAME, number, folder),
        "pull by alias": lambda: pull(registry, NAME, CHAMPION, folder),
        "champion": lambda: fetch_champion(registry, NAME, workspace.champion, own=""),
        "promote": lambda: promote(registry, NAME, number, **SIGNED),
    }


@pytest.mark.parametrize("tagged", [pytest.param(False, marks=pytest.mark.slow), True])
def test_random_weights_under_an_alias_moved_by_hand_are_refused(champion, registry, tagged):
    tags = registry.version(NAME, "1").tags if tagged else {}
    number = made_by_hand(registry, champion, tags)
    registry.set_alias(NAME, CHAMPION, number)
    for read in readers(registry, champion, number).values():
        with pytest.raises(RegistryError):
            read()
    assert not (champion.root / "brought").exists()
    (standing, candidate) = status(registry, NAME)
    assert standing.figures == {} and len(standing.problems) == 2
    assert candidate.problems == () and candidate.figures
    assert promote(registry, NAME, "1", **SIGNED).version == "1"  # puts it in order
    assert pull(registry, NAME, CHAMPION, champion.root / "again") == "1"


def test_an_accepted_version_is_pulled_by_number_whoever_is_champion(champion, registry):
    write_all(champion, weight=2)
    register(champion, **NAMES)
    assert pull(registry, NAME, "2", champion.root / "second") == "2"
    registry.set_alias(NAME, CHAMPION, "2")  # accepted, but nobody signed for it
    with pytest.raises(RegistryError, match="moved by hand"):
        pull(registry, NAME, CHAMPION, champion.root / "champion")
    assert pull(registry, NAME, "2", champion.root / "again") == "2"


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("model_card.md", "card_digest"),
        ("report.html", "report_digest"),
        ("metrics.json", "evidence_digest"),
        ("decision.json", "decision_digest"),
        ("policy.json", "evidence_files"),
        ("models.json", "evidence_files"),
    ],
)
def test_a_file_that_was_changed_is_named(champion, registry, file, key):
    path = stored(champion, f"artifacts/evidence/{file}")
    path.write_bytes(path.read_bytes() + b"\n")
    for read in readers(registry, champion, "1").values():
        with pytest.raises(RegistryError, match=f"{key} of demo-safety version 1"):
            read()
    assert status(registry, NAME)[0].problems


def test_a_file_that_came_later_is_found(champion, registry):
    stored(champion, "artifacts/evidence/metrics.json").with_name("more.md").write_text("all well")
    with pytest.raises(RegistryError, match="evidence_files of"):
        pull(registry, NAME, CHAMPION, champion.root / "brought")


def test_a_decision_under_consistent_tags_is_made_again(champion, registry):
    """Whoever forges decision and tags alike is found out by the figures."""
    folder = stored(champion, "artifacts/evidence/decision.json").parent
    decision = Decision.load(folder)
    rules = (*decision.rules[:-1], decision.rules[-1].model_copy(update={"bound": 1.0}))
    decision.model_copy(update={"rules": rules}).save(folder)
    tags = {
        "decision_digest": digest_file(folder / Decision.FILE),
        "evidence_files": digest_folder(folder),
    }
    for key, value in tags.items():
        registry._client.set_model_version_tag(NAME, "1", key, value)
    with pytest.raises(RegistryError, match=r"does not follow.*bound is stated as 1\.0"):
        pull(registry, NAME, CHAMPION, champion.root / "brought")


def test_what_cannot_be_relied_on_is_registered_anew(champion, registry):
    stored(champion, "artifacts/evidence/model_card.md").write_text("another")
    again = register(champion, **NAMES)
    assert (again.version, again.new) == ("2", True)
    assert registry.model(NAME).aliases[CANDIDATE] == "2"
    assert promote(registry, NAME, **SIGNED).version == "2"
    with pytest.raises(RegistryError):
        rollback(registry, NAME, **SIGNED)


def test_a_version_keeps_the_labels_that_its_figures_are_corrected_by(workspace, registry):
    """Labels that come or go later change nothing of it, and where its rows are here it is not
    promoted before it is decided again by what people say now."""
    rows = [row for own in read_judged(workspace.stage("evaluate") / ROWS).values() for row in own]
    for row in (row for row in rows if row.suite == "harmful"):
        part = Part.of(row.arm, row.place, View.ANSWER, row.answer)
        label = Label(**part._asdict(), word=row.outcome_answer, by="ann")
        add_label(workspace.labels, label)
    with pytest.raises(EvidenceError, match="does not follow"):
        register(workspace, **NAMES)
    decision = decide_in(workspace).save(workspace.stage("gate"))
    assert any(rule.accuracy for rule in decision.rules)
    register(workspace, **NAMES)
    labels = workspace.labels.rename(workspace.root / "labels")
    with pytest.raises(EvidenceError, match=r"labels: .* the decision is stale"):
        promote(registry, NAME, **SIGNED)
    labels.rename(workspace.labels)
    assert promote(registry, NAME, **SIGNED).version == "1"
    workspace.labels.unlink()
    pull(registry, NAME, CHAMPION, workspace.root / "brought")
