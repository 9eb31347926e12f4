"""Registration, promotion, rollback and pull against a real MLflow store."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.chain import STAGES
from components.core.errors import EvidenceError, RegistryError
from components.core.paths import POLICIES, PROMPTS, ROWS, SUITES, Workspace
from components.core.registration import Registration
from components.core.result import Result
from components.core.storage import digest_folder, write_rows, write_text
from components.core.untrusted_text import short_digest
from components.core.vocabulary import Prompt, Role
from components.evaluate.result import Evidence
from components.gate import overrides
from components.judges import opening
from components.judges.rules.outcomes import rules_name
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.registry import history
from components.registry.changes import PROMOTED, chain_of, encode, new_change
from components.registry.delivery import pull
from components.registry.mlflow_registry import CANDIDATE, CHAMPION, Registry
from components.registry.promotion import promote, rollback
from components.registry.registration import register
from components.registry.status import status
from tests.evidence import CONTRACT, model_ref, save_prompts, suite_spec
from tests.releases import NAMES, write_all, write_result
from tests.root import ROOT
from tests.tracking import figures_of


def champion_of(registry: Registry) -> str | None:
    return registry.model("demo-safety").aliases.get(CHAMPION)


def test_the_embedded_store_is_never_taken_for_a_server(workspace, tmp_path, monkeypatch):
    """MLflow itself sets MLFLOW_TRACKING_URI; artifacts would then go to the current folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    Registry(workspace.root).experiment("first")
    assert "MLFLOW_TRACKING_URI" not in os.environ
    register(workspace, **{**NAMES, "experiment": "second"})
    assert list(elsewhere.iterdir()) == []


def test_registers_an_accepted_adapter_with_lineage_and_figures(workspace, registry, tmp_path):
    registered = register(workspace, **NAMES)
    assert (registered.version, registered.new) == ("1", True)
    version = registry.version("demo-safety", "1")
    tags = version.tags
    assert tags["adapter_digest"] == digest_folder(workspace.stage("train") / "adapter")
    assert tags["dvc_prepare"].endswith(".dir") and tags["dvc_train"].endswith(".dir")
    assert tags["base_model"] == "artifacts/demo/models/base"
    assert tags["post_trained_digest"].startswith("post-trained")
    assert {"git_commit", "policy_digest", "evidence_digest", "version_peft"} <= tags.keys()
    assert figures_of(registry, version)["restored/harmful.refused"] == 0.95
    registry.fetch(version, tmp_path / "all")
    files = {p.name for p in (tmp_path / "all" / "evidence").iterdir()}
    results = {"decision.json", "metrics.json", "models.json", "policy.json", "suites.json"}
    beside = {"train.json", "model_card.md", "report.html", "bom.cdx.json", "sources"}
    assert files == results | beside


def test_registers_the_same_adapter_once(registered, registry):
    again = register(registered, **NAMES)
    assert (again.version, again.new) == ("1", False)
    assert registry.numbers("demo-safety") == ["1"]
    write_all(registered, weight=2)
    assert register(registered, **NAMES).version == "2"
    assert registry.model("demo-safety").aliases == {CANDIDATE: "2"}


@pytest.mark.parametrize("last_step", ["log_model", "create_version"])
def test_a_call_killed_half_way_is_completed_by_the_next(
    workspace, registry, monkeypatch, last_step
):
    done = getattr(Registry, last_step)

    def killed(self, *args, **kwargs):
        done(self, *args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, last_step, killed)
        with pytest.raises(KeyboardInterrupt):
            register(workspace, **NAMES)
    assert register(workspace, **NAMES).version == "1"
    assert registry.numbers("demo-safety") == ["1"]
    assert registry.model("demo-safety").aliases == {CANDIDATE: "1"}


def test_refuses_what_the_gate_refused(workspace):
    write_all(workspace, accepted=False)
    with pytest.raises(EvidenceError, match="did not accept"):
        register(workspace, **NAMES)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("train/adapter/prompt_contract.json", "adapter"),
        ("evaluate/metrics.json", "evidence"),
    ],
)
def test_refuses_a_stale_decision(workspace, file, message):
    path = workspace.root / "artifacts" / "demo" / file
    write_text(path, path.read_text() + "\n")
    with pytest.raises(EvidenceError, match=f"decision's {message}.*stale"):
        register(workspace, **NAMES)


def test_rows_that_nobody_judged_are_not_registered(workspace):
    rows = workspace.stage("evaluate") / ROWS
    rows.write_text("other rows")
    with pytest.raises(EvidenceError, match=r"rows are those that were judged.*stale"):
        register(workspace, **NAMES)
    rows.unlink()
    with pytest.raises(EvidenceError, match=r"here is nothing.*stale"):
        register(workspace, **NAMES)


def change_policy(workspace: Workspace) -> None:
    path = workspace.root / POLICIES / "default.yaml"
    write_text(path, path.read_text().replace("at_least: 0.85", "at_least: 0.86"))


def judge_by(workspace: Workspace, line: str) -> None:
    path = workspace.profile_file
    write_text(path, path.read_text().replace("\nevaluate:\n", f"\nevaluate:\n  {line}\n"))


def rewrite(workspace: Workspace, result: type[Result], stage: str, **changes) -> None:
    folder = workspace.stage(stage)
    result.load(folder).model_copy(update=changes).save(folder)


def test_a_decision_under_another_policy_is_stale(registered, registry):
    change_policy(registered)
    with pytest.raises(EvidenceError, match=r"^the decision's policy .* is not the policy here"):
        register(registered, **NAMES)
    with pytest.raises(EvidenceError, match=r"^the decision's policy .* is stale"):
        promote(registry, "demo-safety", by="ann", why="first")
    write_all(registered, policy=registered.root / POLICIES / "default.yaml")
    register(registered, **NAMES)
    assert promote(registry, "demo-safety", by="ann", why="first").version == "2"


GUARD = "judges: {g: {kind: wildguard, model: m/g, revision: " + "a" * 40 + "}}"
JUDGED_BY = "\n  judged_by: {harmful: g}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rules: {compliance_pattern: yes.*}", r"judge of benign \(rules:.* here \(rules:"),
        (GUARD + JUDGED_BY, r"judge of harmful \(rules:.* here \(wildguard:"),
    ],
)
def test_a_candidate_of_other_judges_is_not_promoted(registered, registry, line, message):
    judge_by(registered, line)
    with pytest.raises(EvidenceError, match=message):
        promote(registry, "demo-safety", by="ann", why="first")


def judged_by_a_guard(workspace: Workspace) -> None:
    """Let the evidence and the decision be of a guard, as the profile has it."""
    judge_by(workspace, GUARD + JUDGED_BY)
    write_all(workspace)


@pytest.mark.parametrize("before", ["kind: wildguard", "kind: wildguard, batch: 2"])
def test_a_guard_of_the_same_settings_is_the_same(workspace, registry, before):
    judged_by_a_guard(workspace)
    register(workspace, **NAMES)
    change_guard(workspace, "kind: wildguard", before)
    assert promote(registry, "demo-safety", by="ann", why="first").version == "1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a" * 40, "b" * 40),
        ("m/g", "m/other"),
        ("kind: wildguard", "kind: wildguard, max_characters: 500"),
        ("kind: wildguard", "kind: harmbench"),
        (JUDGED_BY, JUDGED_BY + "\n  rules: {refusal_patterns: [nope]}"),
    ],
)
def test_a_guard_of_other_settings_is_another(workspace, registry, before, after):
    judged_by_a_guard(workspace)
    register(workspace, **NAMES)
    change_guard(workspace, before, after)
    message = r"judge of harmful \(wildguard:5{12}\) is not the judge of harmful here \((wild|harm)"
    for use in (
        lambda: promote(registry, "demo-safety", by="ann", why="first"),
        lambda: register(workspace, **NAMES),
    ):
        with pytest.raises(EvidenceError, match=message):
            use()


def name_suite(workspace: Workspace, judge: str) -> None:
    """Let the profile name a suite of the repository, and the chain have asked it."""
    folder = workspace.root / SUITES
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / SUITES / "everyday-benign.yaml", folder)
    path = workspace.profile_file
    line = f"\nprepare:\n  suites: {{everyday-benign: {{judge: {judge}}}}}\n"
    write_text(path, path.read_text().replace("\nprepare:\n", line))
    save_prompts(
        workspace.stage("prepare"), {"everyday-benign": suite_spec(Role.BENIGN, judge=judge)}
    )
    for stage in STAGES[STAGES.index("evaluate") :]:
        write_result(stage, workspace)


def test_the_judge_of_a_named_suite_is_compared_where_nothing_is_prepared(workspace, registry):
    judge_by(workspace, GUARD)
    name_suite(workspace, "g")
    register(workspace, **NAMES)
    shutil.rmtree(workspace.stage("prepare"))
    before = workspace.profile_file.read_text()
    message = r"judge of everyday-benign \(wildguard:5{12}\) is not the judge of .* here \("
    for change in (("a" * 40, "b" * 40), ("judge: g", "judge: rules"), ("{judge: g}", "{}")):
        change_guard(workspace, *change)
        with pytest.raises(EvidenceError, match=message):
            promote(registry, "demo-safety", by="ann", why="first")
        write_text(workspace.profile_file, before)
    change_guard(workspace, "suites: {everyday-benign: {judge: g}}", "suites: {}")
    with pytest.raises(EvidenceError, match=message + "none"):
        promote(registry, "demo-safety", by="ann", why="first")
    write_text(workspace.profile_file, before)
    assert promote(registry, "demo-safety", by="ann", why="first").version == "1"


def test_other_code_of_the_judges_makes_another_guard(workspace, registry, tmp_path, monkeypatch):
    judged_by_a_guard(workspace)
    register(workspace, **NAMES)
    (tmp_path / "quoting.py").write_text("# mended")
    monkeypatch.setattr(opening, "_FOLDER", tmp_path)
    with pytest.raises(EvidenceError, match=r"judge of harmful \(wildguard:5{12}\) is not"):
        promote(registry, "demo-safety", by="ann", why="first")


def change_guard(workspace: Workspace, before: str, after: str) -> None:
    text = workspace.profile_file.read_text()
    assert before in text
    write_text(workspace.profile_file, text.replace(before, after))


@pytest.mark.parametrize("stage", ["prepare", "models"])
def test_a_candidate_of_other_data_or_prompt_contract_is_not_promoted(registered, registry, stage):
    what = {"prepare": "data", "models": "prompt contract"}[stage]
    if stage == "prepare":
        rewrite(registered, SuiteSet, stage, digest_of_prompts="e" * 64)
    else:
        contract = CONTRACT.model_copy(update={"generation_prefix": "<think>"})
        ref = model_ref("post-trained").model_copy(update={"contract": contract})
        rewrite(registered, Models, stage, post_trained=ref)
    with pytest.raises(EvidenceError, match=f"^the decision's {what} .* is stale"):
        promote(registry, "demo-safety", by="ann", why="first")


def test_what_is_not_here_to_be_compared_is_logged(registered, registry, caplog):
    for stage in ("prepare", "models"):
        shutil.rmtree(registered.stage(stage))
    assert promote(registry, "demo-safety", by="ann", why="first").version == "1"
    assert "data and prompt contract of profile demo not compared: not here" in caplog.text


def test_promotion_counts_again_without_the_stage_train(registered, registry):
    shutil.rmtree(registered.stage("train"))
    prepared = SuiteSet.load(registered.stage("prepare"))
    write_rows(prepared.folder / PROMPTS, prepared.rows()[1:], Prompt)
    with pytest.raises(EvidenceError):
        promote(registry, "demo-safety", by="ann", why="first")
    assert champion_of(registry) is None


def test_rows_of_another_evaluation_are_not_counted(registered, registry, caplog):
    write_text(registered.stage("evaluate") / Evidence.FILE, "{}")
    assert promote(registry, "demo-safety", by="ann", why="first").version == "1"
    assert "not counted again: the rows behind them are not here" in caplog.text


def test_going_back_is_possible_under_a_newer_policy(registered, registry):
    promote(registry, "demo-safety", by="ann", why="first")
    write_all(registered, weight=2)
    register(registered, **NAMES)
    promote(registry, "demo-safety", by="ann", why="second")
    change_policy(registered)
    judge_by(registered, "rules: {compliance_pattern: yes.*}")
    assert rollback(registry, "demo-safety", by="bob", why="complaints").version == "1"


def test_a_stale_decision_names_all_that_changed(workspace):
    rewrite(workspace, Evidence, "evaluate", engine="another")
    judge_by(workspace, "rules: {refusal_patterns: [nope]}")
    with pytest.raises(EvidenceError) as error:
        register(workspace, **NAMES)
    message = str(error.value)
    before, now = (short_digest(rules_name(patterns)) for patterns in ((), ("nope",)))
    assert f"judge of harmful ({before}) is not the judge of harmful here ({now})" in message
    assert "the decision's evidence (" in message
    assert "decision's policy" not in message and "decision's adapter" not in message


def test_evidence_about_another_model_is_turned_away_even_if_the_gate_was_not_asked(workspace):
    rewrite(workspace, Models, "models", post_trained=model_ref("another"))
    with pytest.raises(EvidenceError, match="not so: adapter belongs to this model"):
        register(workspace, **NAMES)


def test_an_override_that_has_ended_stops_registration_and_promotion(workspace, registry):
    today = datetime.now(UTC).date()
    write_all(workspace, overridden=today)
    register(workspace, **NAMES)
    tags = registry.version("demo-safety", "1").tags
    who = "ann (stated, not verified)"
    assert tags["overrides"] == f"refuses harmful requests ({who}, until {today})"
    assert promote(registry, "demo-safety", by="ann", why="first").version == "1"
    write_all(workspace, weight=2, overridden=today - timedelta(days=1))
    with pytest.raises(EvidenceError, match="overrides that do not hold"):
        register(workspace, **NAMES)


def test_an_override_that_ends_later_stops_the_promotion(workspace, registry, monkeypatch):
    write_all(workspace, overridden=date(2027, 1, 31))
    with monkeypatch.context() as patch:
        patch.setattr(overrides, "datetime", Clock)
        register(workspace, **NAMES)
        Clock.day = date(2027, 2, 1)
        with pytest.raises(EvidenceError, match="ended on 2027-01-31"):
            promote(registry, "demo-safety", by="ann", why="first")


def test_an_override_that_was_withdrawn_stops_registration_and_promotion(workspace, registry):
    write_all(workspace, overridden=datetime.now(UTC).date())
    register(workspace, **NAMES)
    record = workspace.overrides.read_text()
    workspace.overrides.unlink()
    for use in (
        lambda: promote(registry, "demo-safety", by="ann", why="first"),
        lambda: register(workspace, **NAMES),
    ):
        with pytest.raises(EvidenceError, match=r"by ann was withdrawn.*sign again"):
            use()
    assert champion_of(registry) is None
    write_text(workspace.overrides, record.replace('"seen"', '"not seen"'))
    with pytest.raises(EvidenceError, match="by ann was withdrawn or changed"):
        promote(registry, "demo-safety", by="ann", why="first")
    write_text(workspace.overrides, record)
    assert promote(registry, "demo-safety", by="ann", why="first").version == "1"


class Clock:
    """A clock that somebody sets."""

    day = date(2027, 1, 31)

    @classmethod
    def now(cls, zone):
        return datetime.combine(cls.day, datetime.min.time(), zone)


def test_refuses_pickled_weights(workspace):
    write_text(workspace.stage("train") / "adapter" / "adapter_model.bin", "x")
    with pytest.raises(EvidenceError, match=r"unexpected files \(adapter_model.bin\)"):
        register(workspace, **NAMES)


def test_promotes_and_rolls_back_with_who_and_why(workspace, registry):
    nothing = r"no registered model is named 'demo-safety'; nothing is .*`safereact status` says"
    with pytest.raises(RegistryError, match=nothing):
        promote(registry, "demo-safety", by="ann", why="first")
    register(workspace, **NAMES)
    with pytest.raises(RegistryError, match="named 'another'; there are: demo-safety"):
        promote(registry, "another", by="ann", why="first")
    write_all(workspace, weight=2)
    register(workspace, **NAMES)
    assert promote(registry, "demo-safety", "1", by="ann", why="first").previous is None
    with pytest.raises(RegistryError, match="no earlier champion"):
        rollback(registry, "demo-safety", by="bob", why="hm")
    entry = promote(registry, "demo-safety", by="ann", why="better")
    assert (entry.version, entry.previous) == ("2", "1")
    assert promote(registry, "demo-safety", "2", by="carol", why="again") == entry
    champion, candidate = status(registry, "demo-safety")
    assert (champion.version, candidate.version) == ("2", "2")
    assert champion.change == entry and champion.figures["restored/harmful.refused"] == 0.95
    assert rollback(registry, "demo-safety", by="bob", why="complaints").version == "1"
    assert champion_of(registry) == "1"
    with pytest.raises(RegistryError, match="no earlier champion"):
        rollback(registry, "demo-safety", by="bob", why="more")


def test_a_rollback_goes_to_another_adapter(registered, registry):
    """The same adapter with other evidence is another version, and no way out."""
    promote(registry, "demo-safety", by="ann", why="first")
    tags = registry.version("demo-safety", "1").tags
    logged = registry.finished_model(
        registry.experiment("safereact"), {"adapter_digest": tags["adapter_digest"]}
    )
    registry.create_version("demo-safety", logged, tags, "again")
    promote(registry, "demo-safety", "2", by="ann", why="again")
    with pytest.raises(RegistryError, match="no earlier champion than version 2"):
        rollback(registry, "demo-safety", by="bob", why="complaints")
    assert champion_of(registry) == "2"


def test_a_promotion_that_was_cut_off_is_no_way_back(three_versions, registry, monkeypatch):
    """The alias stands at 1, the history ends with 2: a rollback has nothing to go back to."""
    promote(registry, "demo-safety", "1", by="ann", why="first")
    monkeypatch.setattr(history, "_PATIENCE", 0)
    ledger = history.read_history(registry, "demo-safety")
    entry = new_change(PROMOTED, "2", "1", by="ann", why="second")
    assert registry.claim(ledger.run, *encode(ledger.chain.extended(entry)))
    with pytest.raises(RegistryError, match="no earlier champion than version 1"):
        rollback(registry, "demo-safety", by="bob", why="complaints")
    assert promote(registry, "demo-safety", "3", by="ann", why="third").previous == "1"
    assert rollback(registry, "demo-safety", by="bob", why="complaints").version == "2"


def test_a_claim_is_won_once(registered, registry):
    run = registry.oldest_run("demo-safety")
    assert registry.claim(run, "ledger.000001", "mine")
    assert registry.claim(run, "ledger.000001", "mine")
    assert not registry.claim(run, "ledger.000001", "other")
    assert registry.claims(run, "ledger.") == {"ledger.000001": "mine"}


@pytest.mark.parametrize("step", ["fetch", "claim"])
def test_who_comes_late_is_refused_and_leaves_nothing(three_versions, registry, monkeypatch, step):
    """Somebody else promotes while the version's files are fetched, or between look and claim."""
    promote(registry, "demo-safety", "1", by="ann", why="first")
    done = getattr(Registry, step)

    def first_another(self, *arguments):
        patch.undo()
        promote(registry, "demo-safety", "2", by="eve", why="faster")
        return done(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, step, first_another)
        with pytest.raises(RegistryError, match=r"meanwhile.*by eve .*: 'faster'"):
            promote(registry, "demo-safety", "3", by="bob", why="slow")
    written = chain_of(registry.model("demo-safety").tags).changes
    assert [change.version for change in written] == ["1", "2"]
    assert champion_of(registry) == "2"


def test_who_was_held_up_does_not_undo_what_came_after(three_versions, registry, monkeypatch):
    """Its alias is written last, although its entry is not the last one."""
    promote(registry, "demo-safety", "1", by="ann", why="first")
    monkeypatch.setattr(history, "_PATIENCE", 0)

    def held_up(self, *arguments):
        patch.undo()
        monkeypatch.setattr(history, "_PATIENCE", 0)
        promote(registry, "demo-safety", "3", by="eve", why="took over")
        self.set_alias(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "set_alias", held_up)
        with pytest.raises(RegistryError, match=r"meanwhile: its champion is version 3.*by eve"):
            promote(registry, "demo-safety", "2", by="bob", why="slow")
    assert champion_of(registry) == "3"


@pytest.mark.parametrize("move", [promote, rollback])
def test_a_move_cut_off_before_the_alias_is_completed(registered, registry, monkeypatch, move):
    write_all(registered, weight=2)
    register(registered, **NAMES)
    promote(registry, "demo-safety", "1", by="ann", why="first")
    if move is rollback:
        promote(registry, "demo-safety", "2", by="ann", why="second")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            move(registry, "demo-safety", by="bob", why="now")
    monkeypatch.setattr(history, "_PATIENCE", 0.3)
    entries = len(registry.model("demo-safety").tags)
    entry = move(registry, "demo-safety", by="bob", why="now")
    assert entry.version == champion_of(registry) == ("2" if move is promote else "1")
    assert len(registry.model("demo-safety").tags) == entries


def test_nobody_promotes_without_name_and_reason(registered, registry):
    with pytest.raises(RegistryError, match="say who"):
        promote(registry, "demo-safety", by=" ", why="x")
    assert champion_of(registry) is None


def test_promotes_only_what_was_registered(registered, registry):
    with pytest.raises(RegistryError, match="has no version '7'"):
        promote(registry, "demo-safety", "7", by="ann", why="x")
    stored = next((registered.root / "mlruns").rglob("adapter_config.json"))
    write_text(stored, "{}")
    with pytest.raises(RegistryError, match=r"adapter_digest of .* changed"):
        promote(registry, "demo-safety", by="ann", why="x")
    assert champion_of(registry) is None


@pytest.mark.parametrize(
    ("there", "put"),
    [
        ('"champion": null', '"champion": "none yet"'),
        ('"override": null', '"override":  null'),
        ('"policy": "', '"policy": "0'),
    ],
)
def test_a_decision_that_was_edited_is_not_promoted(registered, registry, there, put):
    """It alone says which policy and champion it was about, and when an override ends."""
    stored = next((registered.root / "mlruns").rglob("decision.json"))
    assert there in stored.read_text()
    write_text(stored, stored.read_text().replace(there, put))
    with pytest.raises(RegistryError, match=r"decision_digest of demo-safety version 1 is .* chan"):
        promote(registry, "demo-safety", by="ann", why="x")
    assert champion_of(registry) is None


def test_a_version_of_nobodys_profile_is_not_promoted(registered, registry):
    made = registry.version("demo-safety", "1")
    tags = {key: value for key, value in made.tags.items() if key != "profile"}
    home = registry.experiment("safereact")
    logged = registry.finished_model(home, {"adapter_digest": tags["adapter_digest"]})
    assert registry.create_version("demo-safety", logged, tags, "made elsewhere") == "2"
    with pytest.raises(RegistryError, match=r"version 2 has no tag `profile`.*`safereact run`"):
        promote(registry, "demo-safety", "2", by="ann", why="x")


def test_pull_brings_the_same_adapter_back(registered, registry, tmp_path):
    folder = tmp_path / "new" / "adapter"
    assert pull(registry, "demo-safety", CANDIDATE, folder) == "1"
    (folder / "README.md").unlink()  # the model card
    assert digest_folder(folder) == digest_folder(registered.stage("train") / "adapter")
    assert [p.name for p in folder.parent.iterdir()] == ["adapter"]
    with pytest.raises(RegistryError, match="not an empty folder"):
        pull(registry, "demo-safety", CANDIDATE, folder)
    with pytest.raises(RegistryError, match="no alias 'champion'; it has: candidate"):
        pull(registry, "demo-safety", CHAMPION, tmp_path / "other")


def test_pull_refuses_pickled_weights_and_leaves_nothing(registered, registry, tmp_path):
    stored = next((registered.root / "mlruns").rglob("adapter_config.json"))
    write_text(stored.with_name("adapter_model.bin"), "x")
    folder = tmp_path / "new" / "adapter"
    with pytest.raises(RegistryError, match=r"unexpected files \(adapter_model.bin\)"):
        pull(registry, "demo-safety", CANDIDATE, folder)
    assert list(folder.parent.iterdir()) == []


def test_a_server_that_is_down_is_one_clear_message(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:9.*server runs") as caught:
        register(workspace, **NAMES)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert register(workspace, **NAMES).new


@given(st.text(max_size=12) | st.text("ab./: _-@'", max_size=6))
def test_a_name_that_mlflow_refuses_is_found_in_the_profile(name):
    from mlflow.utils.validation import _validate_model_name

    try:
        accepted = Registration(name=name).name
    except ValidationError:
        return
    _validate_model_name(accepted)
    assert not set(accepted) & set("'\"@#?%")


@pytest.mark.parametrize("name", ["a/b", "a:b", ".", "..", " ", "a@b", "it's", "x" * 251])
def test_these_names_are_refused(name):
    with pytest.raises(ValidationError):
        Registration(name=name)
