"""`safereact doctor`: what it finds, what it advises, and that it shows no secrets."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.core.paths import Workspace
from components.core.vocabulary import Role
from components.judges.settings import GuardSettings
from components.models.settings import Checkpoints, PostTrain, Shape
from components.prepare.settings import Source
from components.profile import Profile, load_profile
from flows.doctor import examination, machine
from flows.doctor.checkpoints import find_shape, wanted_checkpoints
from flows.doctor.estimate import Estimate, workloads
from flows.doctor.examination import Examined, check_checkpoints, check_prompts
from flows.doctor.findings import Finding, State
from flows.doctor.machine import Device
from tests.flows.conftest import ROOT, invoke, safereact
from tests.hub import write_commit

PROFILES = ROOT / "profiles"
REVISION = "0123456789abcdef" * 2 + "01234567"
SHAPE = Shape(
    layers=28,
    hidden=3584,
    feed_forward=18944,
    heads=28,
    kv_heads=4,
    head_width=128,
    vocabulary=152064,
)


@pytest.fixture
def whole(project: Workspace) -> Workspace:
    """The repository with policies, where nothing is missing."""
    return project


@pytest.fixture
def profile(whole: Workspace) -> Profile:
    return load_profile(whole.profile_file)


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server whose /health answers."""

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/api/health" else 404)
            self.end_headers()

        def log_message(self, format, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Healthy) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def with_models(profile: Profile, **changes) -> Profile:
    models = Checkpoints(**{"base": "a/base", "post_trained": "a/post", "shape": SHAPE} | changes)
    return profile.model_copy(update={"models": models})


def missing(findings: Iterable[Finding]) -> dict[str, str]:
    return {f.subject: f.message for f in findings if f.state is State.MISSING}


def test_a_profile_that_can_run_is_exit_code_0(whole: Workspace):
    done = safereact("doctor", "--profile", "demo")
    assert done.returncode == 0, done.stdout
    assert "missing" not in done.stdout
    assert re.search(r"harmful: \d+ rows read; .*left: train \d+", done.stdout)
    for subject in ("git", "dvc", "mlflow", "prefect", "prompts", "disk", "device", "memory"):
        assert subject in done.stdout


def test_what_is_missing_is_exit_code_1_with_the_remedy(whole: Workspace):
    (whole.root / "data" / "embedded" / "tiny" / "train.jsonl").unlink()
    shutil.rmtree(whole.root / "mlflow" / "policies")
    whole.parameters.write_text("profiles: {}\n")
    done = invoke("doctor", "--profile", "demo")
    assert done.returncode == 1
    assert "data/embedded/tiny/train.jsonl is not there" in done.stdout
    assert "put it there, readable; see docs/models.md" in done.stdout
    assert "unknown policy 'default'" in done.stdout
    command = "safereact add demo --checkpoints profiles/demo.yaml"
    assert command in done.stdout
    told = invoke("doctor", "--profile", "demo", "--json")
    assert told.returncode == 1 and "unknown policy 'default'" in told.stderr
    found = json.loads(told.stdout)
    assert any(each["state"] == "missing" and each["remedy"] for each in found)


def test_a_broken_profile_is_reported_with_the_rest(whole: Workspace):
    whole.profile_file.write_text("seed: [1\n")
    found = missing(examination.examine(whole))
    assert "is not YAML" in found["profile"]
    done = invoke("doctor", "--profile", "demo")
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_an_unknown_profile_is_a_mistake_in_usage(project: Workspace):
    done = invoke("doctor", "--profile", "nope")
    assert done.returncode == 2
    assert "unknown profile 'nope'; profiles/ holds: demo" in done.stderr


def test_a_list_that_names_what_is_gone(whole: Workspace, profile: Profile):
    whole.parameters.write_text("profiles:\n  demo: {checkpoints: gone}\n")
    (reported,) = missing(examination.check_profile_file(Examined.of(profile, whole))).values()
    assert reported == "checkpoints of profile 'demo' in params.yaml is 'gone'"
    whole.parameters.write_text("[")
    (reported,) = missing(examination.check_profile_file(Examined.of(profile, whole))).values()
    assert "is not YAML" in reported


@pytest.mark.parametrize(
    ("models", "watched"),
    [
        ({}, "--checkpoints profiles/demo.yaml`"),
        ({"base": "own/pair/base", "post_trained": "own/pair/post"}, "--checkpoints own/pair`"),
    ],
)
def test_the_command_that_lists_a_profile(whole: Workspace, profile: Profile, models, watched):
    whole.parameters.write_text("profiles: {}\n")
    (whole.root / "own" / "pair").mkdir()
    (finding,) = examination.check_profile_file(Examined.of(with_models(profile, **models), whole))
    assert finding.remedy.startswith("`safereact add demo ") and watched in finding.remedy
    assert finding.remedy.endswith("` lists it")


def test_hub_checkpoints_must_be_pinned(
    whole: Workspace, profile: Profile, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    other = with_models(profile, base_revision=REVISION)
    base, post = check_checkpoints(Examined.of(other, whole))
    assert base.state is State.WARNING and base.remedy == (
        f"hf download a/base --revision {REVISION}"
    )
    assert post.state is State.MISSING and "hf models info a/post" in post.remedy
    assert "models.post_trained_revision" in post.remedy
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    base, post = check_checkpoints(Examined.of(other, whole))
    assert base.state is State.MISSING and "HF_HUB_OFFLINE" in base.message


def test_a_checkpoint_in_the_hub_cache_is_found_and_looked_into(
    whole: Workspace, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    from tests.checkpoints import write_checkpoint

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--a--post" / "snapshots" / REVISION
    folder.parent.mkdir(parents=True)
    write_checkpoint(folder)
    other = with_models(profile, base_revision=REVISION, post_trained_revision=REVISION)
    wanted = wanted_checkpoints(other, whole.root)
    _, post = check_checkpoints(Examined.of(other, whole))
    assert (post.state, post.message) == (State.OK, "a/post is here")
    # The checkpoint's own sizes come before the declared ones.
    assert find_shape(other, wanted).hidden == 32
    next(folder.glob("*.safetensors")).unlink()
    _, post = check_checkpoints(Examined.of(other, whole))
    assert post.state is State.MISSING and "no .safetensors weights" in post.message


def test_local_checkpoints(whole: Workspace, profile: Profile):
    names = {"base": "own/base", "post_trained": "own/prompts.jsonl"}
    other = with_models(profile, **names)
    base, post = check_checkpoints(Examined.of(other, whole))
    assert (base.state, base.message) == (State.MISSING, "own/base is not there")
    assert post.message == "prompts.jsonl is not a folder"
    assert wanted_checkpoints(profile, whole.root) == []


def test_a_gated_model_wants_a_token_that_is_never_shown(
    whole: Workspace, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    other = with_models(profile, base="meta-llama/Some-Model", base_revision=REVISION)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    base, _ = check_checkpoints(Examined.of(other, whole))
    assert base.state is State.MISSING and "no token is set" in base.message
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    base, _ = check_checkpoints(Examined.of(other, whole))
    assert base.state is State.WARNING and "hf_secret" not in base.message + base.remedy


@pytest.mark.parametrize(("user", "path"), [("", "/api"), ("ann:secret@", "/api/")])
def test_a_server_that_answers(whole, server, monkeypatch, user, path):
    monkeypatch.setenv("PREFECT_API_URL", f"http://{user}{server}{path}")
    _, prefect = machine.check_servers(whole)
    assert prefect.state is State.OK
    assert prefect.message.startswith(server) and "secret" not in prefect.message


def test_a_server_that_does_not(whole, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{server}")  # its /health is 404
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    mlflow, prefect = machine.check_servers(whole)
    assert (mlflow.state, prefect.state) == (State.MISSING, State.MISSING)
    assert "unset MLFLOW_TRACKING_URI" in mlflow.remedy
    assert "ConnectError" in prefect.message and "unset PREFECT_API_URL" in prefect.remedy


@pytest.mark.parametrize("address", ["localhost:5000", "file:///store", "htp://host"])
def test_an_address_that_the_registry_refuses_is_not_ok(whole, monkeypatch, address):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mlflow = next(machine.check_servers(whole))
    assert mlflow.state is State.MISSING and "sqlite://" in mlflow.message + mlflow.remedy


def test_what_cannot_be_read_or_written(whole: Workspace, profile: Profile):
    path = whole.root / "data" / "embedded" / "tiny" / "train.jsonl"
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    whole.root.chmod(0o555)
    try:
        reported = missing(check_prompts(Examined.of(profile, whole)))["prompts"]
        assert reported.endswith("train.jsonl cannot be read")
        assert {"folder"} == missing(machine.check_repository(whole)).keys()
        assert {"mlflow", "prefect"} == missing(machine.check_servers(whole)).keys()
    finally:
        whole.root.chmod(0o755)


def test_a_folder_that_neither_git_nor_dvc_knows(tmp_path: Path):
    git, dvc = machine.check_repository(Workspace(tmp_path, "demo"))
    assert (git.state, dvc.state) == (State.WARNING, State.MISSING)
    assert dvc.remedy == "dvc init"


def test_a_hub_source_is_fetched_unless_its_commit_is_here(
    profile: Profile, whole: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    source = Source(name="s", licence="MIT", hub="owner/name", revision="a" * 40)
    other = profile.model_copy(
        update={"prepare": profile.prepare.model_copy(update={"sources": (source,)})}
    )
    states = []
    for commit in ("b" * 40, "a" * 40):
        write_commit(tmp_path, "owner/name", commit, {"rows.jsonl": '{"text": "x"}'})
        states.append([f.state for f in check_prompts(Examined.of(other, whole))])
    assert states[0] == [State.WARNING]  # nothing is called fine that is not here
    assert states[1][0] is State.OK


def test_prompts_that_prepare_would_refuse_are_reported_before_a_run(
    profile: Profile, whole: Workspace
):
    path = whole.root / "own" / "harmful.csv"
    path.write_text("prompt\nhello\n")
    source = Source(name="s", licence="MIT", path="own/harmful.csv", role=Role.HARMFUL)
    prepare = profile.prepare.model_copy(update={"sources": (source,)})
    other = profile.model_copy(update={"prepare": prepare})
    reported = missing(check_prompts(Examined.of(other, whole)))["prompts"]
    assert "no column 'text'; there are: prompt" in reported


def test_roles_with_fewer_test_prompts_than_a_rule_needs(whole: Workspace, profile: Profile):
    left = {Role.HARMFUL: 100, Role.BENIGN: 99, Role.REASONING: 300}
    evaluate = profile.evaluate.model_copy(update={"prompts": dict.fromkeys(Role, 100)})
    asked = profile.model_copy(update={"evaluate": evaluate})
    found = list(examination._too_few(asked, whole.root, left))
    assert {each.state for each in found} == {State.WARNING}
    lacking = {tuple(each.message.split()[:2]) for each in found}
    assert lacking == {("99", "benign"), ("0", "borderline")}
    evaluate = profile.evaluate.model_copy(update={"prompts": {Role.HARMFUL: 50}})
    fewer = profile.model_copy(update={"evaluate": evaluate})
    assert len(list(examination._too_few(fewer, whole.root, dict.fromkeys(Role, 300)))) == 4


def test_a_launcher_that_is_not_installed(monkeypatch):
    assert list(machine.check_launcher()) == []
    monkeypatch.setenv("SAFEREACT_LAUNCHER", "no-such-program --nproc-per-node 2")
    assert "no-such-program" in missing(machine.check_launcher())["launcher"]


def test_memory_is_compared_with_the_device(profile: Profile):
    other = with_models(profile)
    loads = workloads(other, {})
    states = {}
    for memory in (10, 16, 400):
        device = Device("GPU", 2, memory * 10**9, True, True)
        states[memory] = [f.state for f in machine.check_memory(other, loads, SHAPE, device)]
    # 15.2 GB of weights; the demo's batches of 16 and 150 need more than the rest of 16 GB.
    assert states == {
        10: [State.MISSING, State.MISSING],
        16: [State.WARNING, State.WARNING],
        400: [State.OK, State.OK],
    }


def test_devices_that_divide_the_model_need_less_each(profile: Profile):
    kept = profile.train.model_copy(update={"checkpoint_activations": False})
    other = with_models(profile).model_copy(update={"train": kept})
    loads = workloads(other, {})
    need = Estimate(other, SHAPE).needs(loads)["training"]

    def training(memory: float, sharing: int) -> State:
        device = Device("GPU", 2, round(memory), True, True)
        first, *_ = machine.check_memory(other, loads, SHAPE, device, sharing=sharing)
        return first.state

    between = (need.total + need.on_each_of(2)) / 2
    assert (training(between, 1), training(between, 2)) == (State.WARNING, State.OK)
    # Each device loads the weights whole before they are divided.
    assert training(0.9 * need.weights, 2) is State.MISSING


def test_activations_that_are_computed_again_are_told(profile: Profile):
    other = with_models(profile)
    kept, again = (
        Estimate(other, SHAPE).needs([], checkpointed=on)["training"].total / 1e9
        for on in (False, True)
    )
    for memory in (kept, 4 * kept):
        device = Device("GPU", 1, round(memory * 1e9), True, True)
        first, *_ = machine.check_memory(other, [], SHAPE, device)
        assert first.state is State.OK
        told = f"about {again:.1f} GB" in first.message and f"kept: {kept:.1f} GB" in first.message
        assert told is (memory == kept)


@pytest.mark.parametrize(
    ("launcher", "devices"),
    [
        ("torchrun --nproc-per-node 8", 1),
        ("accelerate launch --config_file fsdp.yaml", 8),
        ("accelerate launch --config_file gone.yaml", 1),
    ],
)
def test_only_a_launcher_that_divides_the_model_lowers_the_need(
    whole: Workspace, profile: Profile, monkeypatch, launcher: str, devices: int
):
    pair = "kind: checkpoints\n  base: own/a\n  post_trained: own/b"
    models = f"{pair}\n  shape: {SHAPE.model_dump_json()}"
    text = whole.profile_file.read_text().replace("kind: tiny", models)
    whole.profile_file.write_text(text)
    shutil.copy(ROOT / "docs" / "fsdp.yaml", whole.root)
    monkeypatch.setenv("SAFEREACT_LAUNCHER", launcher)
    monkeypatch.setattr(machine, "find_device", lambda: Device("GPU", 8, 10**12, True, True))
    findings = list(examination.examine(whole))
    need = Estimate(profile, SHAPE).needs([])["training"]
    (training,) = (f.message for f in findings if f.subject == "memory, training")
    assert training.startswith(f"about {need.on_each_of(devices) / 1e9:.1f} GB")
    assert ("gone.yaml" in launcher) is ("gone.yaml" in missing(findings).get("launcher", ""))


def test_a_device_fit_for_the_model(profile: Profile):
    def state(device: Device, shape: Shape = SHAPE) -> State:
        (finding,) = machine.check_device(profile, shape, device)
        return finding.state

    small = SHAPE.model_copy(update={"layers": 1, "vocabulary": 300})
    assert state(Device("CPU", 1, 1, False, False)) is State.WARNING
    assert state(Device("CPU", 1, 1, False, False), small) is State.OK
    assert state(Device("old", 1, 1, False, True)) is State.WARNING
    assert state(Device("new", 1, 1, True, True)) is State.OK


def test_four_bits_need_their_library(profile: Profile):
    from importlib.util import find_spec

    train = profile.train.model_copy(update={"load_in_4bit": True})
    other = profile.model_copy(update={"train": train})
    device = Device("new", 1, 1, True, True)
    lacking = "4 bits" in missing(machine.check_device(other, SHAPE, device))
    assert lacking is (find_spec("bitsandbytes") is None)
    assert "4 bits" in missing(
        machine.check_device(other, SHAPE, Device("CPU", 1, 1, False, False))
    )


def test_a_disk_that_is_too_small(whole: Workspace, profile: Profile):
    other = with_models(profile, base_revision=REVISION, post_trained_revision=REVISION)
    absent = [1e18, 1e18]
    huge = SHAPE.model_copy(update={"layers": 10**6})
    assert missing(machine.check_disk(other, huge, absent, whole.root)).keys() == {
        "disk",
        "hub cache",
    }
    small = SHAPE.model_copy(update={"layers": 1, "vocabulary": 300, "feed_forward": 8})
    assert missing(machine.check_disk(other, small, [], whole.root)) == {}


def test_an_ancestor_may_lack_a_template_but_no_weights(whole: Workspace, profile: Profile):
    from tests.checkpoints import write_checkpoint

    folder = write_checkpoint(whole.root / "own" / "ancestor")
    (folder / "chat_template.jinja").unlink()
    names = {"base": "own/base", "post_trained": "own/post", "ancestor": "own/ancestor"}
    other = with_models(profile, **names)
    _, ancestor, post = check_checkpoints(Examined.of(other, whole))
    assert (ancestor.subject, ancestor.state) == ("models.ancestor", State.OK)
    assert post.subject == "models.post_trained"  # the one whose size is estimated
    next(folder.glob("*.safetensors")).unlink()
    _, ancestor, _ = check_checkpoints(Examined.of(other, whole))
    assert ancestor.state is State.MISSING and "no .safetensors weights" in ancestor.message


def test_a_model_of_unknown_size_is_reported(whole: Workspace):
    text = whole.profile_file.read_text().replace(
        "kind: tiny", "kind: checkpoints\n  base: own/a\n  post_trained: own/b"
    )
    whole.profile_file.write_text(text)
    *_, size = examination.examine(whole)
    assert (size.subject, size.state) == ("size", State.WARNING)
    assert isinstance(load_profile(whole.profile_file).models, Checkpoints)


def test_the_size_of_a_gguf_file_is_unknown_until_it_is_there(whole: Workspace, profile: Profile):
    source = PostTrain(source="data/raw/x.gguf", post_train={"benign": 1})
    other = profile.model_copy(update={"models": source})
    wanted = wanted_checkpoints(other, whole.root)
    assert find_shape(other, wanted) is None
    assert missing(check_checkpoints(Examined.of(other, whole))) == {
        "models.source": "data/raw/x.gguf is not there"
    }


def test_versions_that_are_asked_for(monkeypatch):
    findings = list(machine.check_packages())
    assert findings and all(f.subject == "packages" for f in findings)
    # pip is there in every environment; a requirement that no version meets is not met.
    monkeypatch.setattr(machine, "requires", lambda name: ["pip<0.1", "no-such-package>=1"])
    reported = [f.message for f in machine.check_packages() if f.state is State.MISSING]
    assert len(reported) == 2 and "<0.1 is needed" in reported[0] and "not installed" in reported[1]


def test_a_guard_needs_memory_of_its_own(profile: Profile):
    guard = GuardSettings(kind="wildguard", model="a/guard", revision=REVISION)
    evaluate = profile.evaluate.model_copy(
        update={"judges": {"guard": guard}, "judged_by": {Role.HARMFUL: "guard"}}
    )
    other = with_models(profile).model_copy(update={"evaluate": evaluate})
    device = Device("GPU", 1, 10 * 10**9, True, True)
    small = SHAPE.model_copy(update={"layers": 1, "vocabulary": 300})
    found = {f.subject: f for f in machine.check_memory(other, workloads(other, {}), small, device)}
    assert found["memory, generation"].state is State.OK
    # Seven billion weights of two bytes.
    assert found["memory, judging"].state is State.MISSING
    assert "a smaller guard" in found["memory, judging"].remedy


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_profile_is_examined_without_a_crash(
    whole: Workspace, tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Neither models nor prompts nor guards are here, which is reported line by line."""
    from huggingface_hub import constants

    for name in ("HF_HUB_CACHE", "HF_TOKEN_PATH"):
        monkeypatch.setattr(constants, name, str(tmp_path / name))
    shutil.copytree(PROFILES, whole.root / "profiles", dirs_exist_ok=True)
    workspace = Workspace(whole.root, path.stem)
    profile = load_profile(path)
    findings = list(examination.examine(workspace))
    reported = " ".join(f"{found.subject} {found.message} {found.remedy}" for found in findings)
    for name in profile.prepare.suites:
        assert f"suite {name}" in reported
    assert all(found.remedy for found in findings if found.state is State.MISSING)
    if "size" not in {found.subject for found in findings}:
        assert "memory, generation" in reported
        assert ("memory, judging" in reported) is bool(profile.evaluate.judged_by)
